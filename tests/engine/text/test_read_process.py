"""Reading through watched processes: the same parts whatever the number of processes, resumes, deaths, limits."""

import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import psutil
import pytest

from engine.contract.errors import Missing
from engine.text import probe
from engine.text.parts import Parts, read_part
from engine.text.read_look import look
from engine.text.read_process import Limits, plan, read
from engine.text.readers import ReadOptions, list_files
from tests.running import children

ROOT = Path(__file__).parents[3]
FEW = Limits(memory=600_000_000, idle_seconds=2.5, seconds=30)


def contents(folder):
    """Every part, as a table."""
    return [read_part(path) for path in Parts(folder).paths]


def rows_of(folder):
    return [row for part in contents(folder) for row in part.to_pylist()]


def readers():
    """Reading processes of this one that still run; other tests leave processes of their own."""
    return children("engine.text.read_child")


def pile(folder, count=12, seed=0):
    rng = random.Random(seed)
    for i in range(count):
        (folder / f"{i:03}.txt").write_text(f"document {i} " + " ".join(str(rng.random()) for _ in range(200)))
    with open(folder / "rows.jsonl", "w") as file:
        for i in range(3000):
            file.write(json.dumps({"n": i, "text": f"row {i} " + "x" * rng.randint(1, 800)}) + "\n")


def test_parts_hold_every_document_with_its_place_and_id(tmp_path):
    (tmp_path / "in").mkdir()
    pile(tmp_path / "in")
    (tmp_path / "more.txt").write_text("Другой корень")
    files, _ = list_files([tmp_path / "in", tmp_path / "more.txt"])
    rows = read(files, [ReadOptions(), ReadOptions(encoding="utf-8")], tmp_path / "work", processes=1)
    assert [r.name for r in rows] == [f.name for f in files] and [r.root for r in rows] == [0] * 13 + [1]
    assert rows[12].documents == rows[12].texts == 3000 and rows[12].column == "text" and rows[13].bytes == 25 and rows[13].characters == 13
    documents = rows_of(tmp_path / "work")
    assert len(documents) == 3013 == Parts(tmp_path / "work").documents
    assert [d["file"] for d in documents] == [*range(12), *[12] * 3000, 13] and documents[-1]["root"] == 1
    assert [d["document"] for d in documents[12:-1]] == list(range(3000))
    last = documents[-1]
    assert last["source"] == "more.txt" and last["text"] == "Другой корень"
    assert last["id"] == hashlib.blake2b(b"more.txt\0" + last["text"].encode(), digest_size=16).hexdigest()
    assert sorted(p.name for p in (tmp_path / "work").iterdir()) == ["part-000000.arrow", "read.json"]
    assert read(files, [ReadOptions()] * 2, tmp_path / "work") == rows


def test_parts_do_not_depend_on_the_number_of_processes(tmp_path, monkeypatch):
    monkeypatch.setattr("engine.text.read_process.BATCH_BYTES", 20_000)
    (tmp_path / "in").mkdir()
    pile(tmp_path / "in")
    files, _ = list_files([tmp_path / "in"])
    assert len(plan(files)) > 3
    one = read(files, [ReadOptions()], tmp_path / "one", processes=1)
    three = read(files, [ReadOptions()], tmp_path / "three", processes=3)
    assert one == three and contents(tmp_path / "one") == contents(tmp_path / "three") and len(Parts(tmp_path / "one").paths) > 3


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are Unicode")
def test_names_that_are_no_unicode_do_not_stop_an_import(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / os.fsdecode(b"caf\xe9.txt")).write_text("words")
    with tarfile.open(tmp_path / "in" / "b.tar", "w") as archive:
        about = tarfile.TarInfo(os.fsdecode(b"\xe9.txt"))
        about.size = 5
        archive.addfile(about, io.BytesIO(b"words"))
    rows = read(list_files([tmp_path / "in"])[0], [ReadOptions()], tmp_path / "work")
    assert [(row.name, row.documents, row.problem) for row in rows] == [("in/b.tar", 1, ""), ("in/caf\ufffd.txt", 1, "")]
    assert [d["source"] for d in rows_of(tmp_path / "work")] == ["in/b.tar/\ufffd.txt", "in/caf\ufffd.txt"]


# ---- resumes


def test_a_stop_anywhere_resumes_to_the_same_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("engine.text.read_process.BATCH_BYTES", 300_000)
    (tmp_path / "in").mkdir()
    pile(tmp_path / "in")
    with open(tmp_path / "in" / "large.jsonl", "w") as file:  # several parts in one batch
        for i in range(45_000):
            file.write(json.dumps({"text": f"line {i} of the large one"}) + "\n")
    files, _ = list_files([tmp_path / "in"])
    whole = read(files, [ReadOptions()], tmp_path / "whole", processes=1)

    class Enough(Exception):
        pass

    made = 0
    for _ in range(20):
        def check(before=made):
            if len(list((tmp_path / "work").glob("*/part-*.arrow"))) > before:
                raise Enough
        try:
            rows = read(files, [ReadOptions()], tmp_path / "work", processes=1, check=check)
            break
        except Enough:
            made = len(list((tmp_path / "work").glob("*/part-*.arrow")))
            assert not readers()
    assert made >= 3 and rows == whole and contents(tmp_path / "work") == contents(tmp_path / "whole")


DRIVER = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from engine.text import read_process
from engine.text.readers import ReadOptions, list_files
read_process.BATCH_BYTES = 1_000_000
read_process.read(list_files([{folder!r}])[0], [ReadOptions()], Path({work!r}), processes=2)
"""


def test_a_kill_leaves_no_process_and_resumes_to_the_same_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("engine.text.read_process.BATCH_BYTES", 1_000_000)
    (tmp_path / "in").mkdir()
    pile(tmp_path / "in")
    for name in ("a", "b"):
        with open(tmp_path / "in" / f"large-{name}.jsonl", "w") as file:
            for i in range(25_000):
                file.write(json.dumps({"text": f"line {i} of {name} " + "x" * (i % 50)}) + "\n")
    files, _ = list_files([tmp_path / "in"])
    driver = DRIVER.format(root=str(ROOT), folder=str(tmp_path / "in"), work=str(tmp_path / "work"))
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", driver])
        before = len(list((tmp_path / "work").glob("*/part-*.arrow")))
        until = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < until and len(list((tmp_path / "work").glob("*/part-*.arrow"))) <= before:
            time.sleep(0.01)
        children = psutil.Process(process.pid).children() if process.poll() is None else []
        process.kill()
        process.wait()
        assert not psutil.wait_procs(children, timeout=5)[1]
    assert read(files, [ReadOptions()], tmp_path / "work") == read(files, [ReadOptions()], tmp_path / "whole")
    assert contents(tmp_path / "work") == contents(tmp_path / "whole")


# ---- parsers that hang and crash


@pytest.fixture
def parsers(monkeypatch):
    """Reading processes in which the first word of a text says what its parser does."""
    monkeypatch.setenv("FLEDGE_READ_TRIAL", "hostile_parsers")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


REASONS = {"spin": "It did not move on for 2.5\xa0s.", "deaf": "It did not move on for 2.5\xa0s.",
           "eat": "It took more than 600\xa0MB of memory.", "gulp": "It took more than 600\xa0MB of memory.",
           "abort": "It made its reader crash.", "crash": "It made its reader crash.", "leave": "It made its reader crash.",
           "raise": "KeyError: 'odd'", "call": "Forbidden: a reader may not: socket.getaddrinfo",
           "start": "Forbidden: a reader may not: subprocess.Popen"}


def test_what_its_parser_dies_over_is_listed_and_the_rest_goes_on(tmp_path, parsers):
    (tmp_path / "in").mkdir()
    for word in REASONS:
        (tmp_path / "in" / f"{word}.txt").write_text(f"{word} and more words")
    pile(tmp_path / "in", count=3)
    began = time.monotonic()
    rows = read(list_files([tmp_path / "in"])[0], [ReadOptions()], tmp_path / "work", limits=FEW, processes=1)
    assert time.monotonic() - began < 60
    problems = {row.name.removeprefix("in/").removesuffix(".txt"): row.problem for row in rows if row.problem}
    assert problems == REASONS
    assert sum(row.documents for row in rows) == 3003 == Parts(tmp_path / "work").documents
    sources = {d["source"] for d in rows_of(tmp_path / "work")}
    assert sources == {"in/000.txt", "in/001.txt", "in/002.txt", "in/rows.jsonl"}
    again = read(list_files([tmp_path / "in"])[0], [ReadOptions()], tmp_path / "again", limits=FEW, processes=3)
    assert again == rows and contents(tmp_path / "again") == contents(tmp_path / "work")


def test_of_an_archive_only_the_members_go_that_kill_their_parser(tmp_path, parsers):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for i in range(20):
            archive.writestr(f"{i:02}.txt", {5: "abort", 11: "spin"}.get(i, "good") + f" words {i}")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for i in range(20):
            archive.writestr(f"{i:02}.txt", ("abort" if i % 2 else "good") + f" words {i}")
    files, _ = list_files([tmp_path / "a.zip", tmp_path / "b.zip"])
    rows = read(files, [ReadOptions()] * 2, tmp_path / "work", limits=FEW)
    assert rows[0].documents == 18 and not rows[0].problem and rows[0].member_count == 20
    assert {m["name"]: m["problem"] for m in rows[0].members if m["problem"]} == {
        "05.txt": "It made its reader crash.", "11.txt": "It did not move on for 2.5\xa0s."}
    assert rows[1].documents == 0 and rows[1].problem == "It made its reader crash. So it was with 5 of its members."
    texts = [d["text"] for d in rows_of(tmp_path / "work")]
    assert texts == [f"good words {i}" for i in range(20) if i not in (5, 11)]


def test_parts_written_before_a_death_go_with_their_file(tmp_path, parsers):
    """A member that dies after parts were written: what came of it goes, what came before it stays."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("0.txt", "good words\n" * 30_000)
        archive.writestr("1.txt", "good words\n" * 30_000 + "abort now\n")
        archive.writestr("2.txt", "last words\n" * 10)
    files, _ = list_files([tmp_path / "a.zip"])
    (row,) = read(files, [ReadOptions(split_by="line")], tmp_path / "work", limits=FEW)
    assert row.documents == 30_010 == Parts(tmp_path / "work").documents
    texts = [d["text"] for d in rows_of(tmp_path / "work")]
    assert texts == ["good words"] * 30_000 + ["last words"] * 10
    assert [m["name"] for m in row.members if m["problem"]] == ["1.txt"]


def test_a_file_has_so_much_time_as_its_size_allows(tmp_path, parsers):
    (tmp_path / "spin.txt").write_text("spin words")
    limits = Limits(idle_seconds=60, seconds=1, bytes_per_second=1000)
    (row,) = read(list_files([tmp_path / "spin.txt"])[0], [ReadOptions()], tmp_path / "work", limits=limits)
    assert row.problem == "It did not end within 1.0\xa0s."


def test_a_reader_that_never_starts_is_an_error_and_no_endless_loop(tmp_path, monkeypatch):
    monkeypatch.setenv("FLEDGE_READ_TRIAL", "no_such_module_at_all")
    (tmp_path / "a.txt").write_text("words")
    with pytest.raises(Missing, match="does not start"):
        read(list_files([tmp_path / "a.txt"])[0], [ReadOptions()], tmp_path / "work", limits=FEW)
    assert not readers()


def test_a_full_disk_is_an_error_of_the_import_not_of_a_file(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("words")
    files, _ = list_files([tmp_path / "a.txt"])
    monkeypatch.setattr("engine.text.read_batch.Batch.prepare", lambda batch: batch.folder.write_text("in the way of the folder"))
    with pytest.raises(OSError, match="Not a directory"):
        read(files, [ReadOptions()], tmp_path / "work", limits=FEW)


# ---- the preview


def test_a_hostile_file_costs_its_row_of_the_preview_a_reason(tmp_path, parsers):
    (tmp_path / "in").mkdir()
    for name, text in (("a", "good words"), ("b", "spin"), ("c", "abort"), ("d", "gulp"), ("e", "raise"), ("f", "also good")):
        (tmp_path / "in" / f"{name}.txt").write_text(text)
    began = time.monotonic()
    found = look([tmp_path / "in"], [ReadOptions()], limits=Limits(memory=600_000_000, idle_seconds=1, seconds=1))
    assert time.monotonic() - began < 20
    assert [(row.name, row.documents) for row in found.files] == [(f"in/{n}.txt", int(n in "af")) for n in "abcdef"]
    assert [row.problem for row in found.files] == ["", *["It could not be looked into."] * 4, ""]
    assert [row.remedy for row in found.files[1:5]] == ["It did not move on for 1.0\xa0s.", "It made its reader crash.",
                                                        "It took more than 600\xa0MB of memory.", "KeyError: 'odd'"]
    assert found.texts == (("in/a.txt", "good words"), ("in/f.txt", "also good")) and not readers()


def test_the_preview_stops_beginning_files_after_a_while(tmp_path, parsers):
    for i in range(6):
        (tmp_path / f"{i}.txt").write_text("spin")
    found = look([tmp_path], [ReadOptions()], limits=Limits(idle_seconds=0.8, seconds=0.8), in_all=1.2)
    assert len(found.files) == 2 and found.unread == 4


def test_the_probe_previews_with_options_of_single_sources(tmp_path):
    (tmp_path / "a.txt").write_bytes("Größe".encode("latin-1") * 9)
    (tmp_path / "b.txt").write_text("one\ntwo\nthree")
    a, b = str(tmp_path / "a.txt"), str(tmp_path / "b.txt")
    found = probe.look([a, b], {"encoding": "latin-1"}, {b: {"split_by": "line"}})
    assert [row["documents"] for row in found["files"]] == [1, 3] and found["texts"][0][1].startswith("Größe")
