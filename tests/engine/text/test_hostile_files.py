"""Every hostile file that concerns the import of text: each ends in a listed reason, or in a right import, within its limits."""

import json
import sys
import time

import hostile
import pytest

from engine.text.parts import Parts, read_part
from engine.text.read_look import look
from engine.text.read_process import Limits, read
from engine.text.readers import ReadOptions, list_files

LIMITS = Limits(memory=1_000_000_000, idle_seconds=15, seconds=40)
TRAP, MEMORY = "unpacks to more than 200 times its size", "It took more than 1.0\xa0GB of memory."
REASONS = {
    "archives/bomb.tar.gz": TRAP, "archives/bomb.zip": TRAP, "archives/overlap.zip": TRAP,
    "archives/five.tar": "unpacks to more than 4.0\xa0GB",
    "archives/many.zip": "holds more than 10,000 files", "archives/noise.zip": "a damaged zip file",
    "archives/locked.zip": "needs a password",
    "packed/bomb.txt.gz": TRAP, "packed/bomb.txt.bz2": TRAP, "packed/bomb.txt.xz": TRAP, "packed/bomb.txt.zst": TRAP,
    "packed/line.jsonl.gz": TRAP, "packed/bomb.parquet.gz": TRAP,
    "documents/xxe.docx": "holds a DTD", "documents/laughs.docx": "holds a DTD", "documents/laughs.odt": "holds a DTD",
    "documents/xxe.epub": "a damaged EPUB file", "documents/much.docx": TRAP, "documents/deep.docx": "a damaged Word file",
    "documents/bomb.pdf": MEMORY, "documents/letters.pdf": MEMORY, "documents/loop.pdf": "a damaged PDF file",
    "documents/deep.pdf": "a damaged PDF file",
    "tables/deep.json": "nested too deeply", "tables/object.json": "nested too deeply", "tables/lies.parquet": "a damaged Parquet file",
    "tables/line.json": "longer than 64.0\xa0MB", "tables/saved": "points to a file outside"}
GOOD = {"archives/inside.zip": 3, "archives/lies.zip": 1, "archives/links.zip": 1, "archives/links.tar": 1, "archives/nested.zip": 1,
        "archives/slip.zip": 1, "documents/deep.rtf": 1, "pages/deep.html": 1, "pages/mixed.html": 1, "pages/unclosed.html": 1,
        "tables/deep.jsonl": 2, "tables/nan.json": 1, "tables/nan.jsonl": 2, "tables/line.csv": 2, "tables/line.jsonl": 2,
        "tables/quote.csv": 2, "text/invalid.txt": 1, "text/wide.txt": 1, "text/line.txt": 401, "zz-good.txt": 1}


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """(rows by name, skipped, documents, record) of an import of all of them together."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "in").mkdir()
    hostile.write_all(folder / "in", folder / "secret.txt")
    files, skipped = list_files([folder / "in"])
    began = time.monotonic()
    rows = read(files, [ReadOptions()], folder / "work", limits=LIMITS)
    record = json.loads((folder / "work" / "read.json").read_text())
    record["seconds"] = time.monotonic() - began
    yield {row.name.removeprefix("in/"): row for row in rows}, skipped, folder, record
    for path in (folder / "in").rglob("line.*"):
        path.unlink()


def test_every_hostile_file_has_a_reason_or_is_read(imported):
    rows, skipped, folder, record = imported
    for name, reason in REASONS.items():
        assert reason in rows[name].problem, (name, rows[name].problem)
        assert rows[name].documents == (1 if name in ("tables/deep.json", "tables/line.json") else 0), name
    for name, documents in GOOD.items():
        assert (rows[name].problem, rows[name].documents) == ("", documents), name
    damaged = [row for name, row in rows.items() if "/damaged-" in name]
    assert len(damaged) == 30 and all(row.documents == 500 or row.problem for row in damaged)
    assert sum(bool(row.problem) for row in damaged) > 15
    assert set(rows) == {*REASONS, *GOOD, *(row.name.removeprefix("in/") for row in damaged)}
    assert {s.name.removeprefix("in/"): s.reason for s in skipped} == {
        "text/nul.txt": "not text", "text/stolen.txt": "a link that leads out of the folder"}
    assert record["seconds"] < 90


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux caps a process by itself")
def test_memory_stays_under_the_cap(imported):
    _, _, _, record = imported
    assert 0 < record["peak"] < LIMITS.memory and record["worst"] < 1.15 * LIMITS.memory


def test_nothing_is_written_outside_and_no_secret_comes_in(imported):
    _, _, folder, _ = imported
    assert sorted(p.name for p in folder.iterdir()) == ["in", "secret.txt", "work"]
    assert not list(folder.parent.glob("outside*")) and not list(folder.rglob("outside*"))
    for path in Parts(folder / "work").paths:
        for text in read_part(path, ["text"])["text"]:
            assert hostile.SECRET not in text.as_py()[:10_000] and "root:" not in text.as_py()[:10_000]


def test_what_is_left_of_hostile_files_is_right(imported):
    rows, _, folder, _ = imported
    texts = {}
    for path in Parts(folder / "work").paths:
        for row in read_part(path, ["source", "text"]).to_pylist():
            if not row["source"].endswith("line.txt"):
                texts.setdefault(row["source"].removeprefix("in/"), []).append(row["text"])
    assert "the words at the bottom of it all" in texts["pages/deep.html"][0] and "bottom" in texts["pages/mixed.html"][0]
    assert texts["pages/unclosed.html"] == ["words before"] and texts["documents/deep.rtf"] == ["deep"]
    assert texts["tables/line.jsonl"] == ["first", "after the long line"] and texts["tables/line.csv"][1] == "after the long line"
    assert texts["tables/deep.jsonl"] == ["one", "two"] and texts["tables/nan.jsonl"] == ["one", "two"]
    assert texts["text/wide.txt"] == ["Words in sixteen bits, without a mark. " * 20] and rows["text/wide.txt"].encoding == "utf-16-le"
    assert texts["archives/slip.zip/good.txt"] == ["good"] and texts["archives/links.tar/good.txt"] == ["good"]
    problems = {m["name"]: m["problem"] for name in ("slip.zip", "links.tar", "links.zip", "nested.zip", "lies.zip", "inside.zip")
                for m in rows[f"archives/{name}"].members if m["problem"]}
    assert problems == {
        "../../outside.txt": "a name that leads out of the archive", "/etc/absolute.txt": "an absolute name",
        "C:\\windows.txt": "an absolute name", "a/..\\..\\b.txt": "a name that leads out of the archive",
        "/absolute.txt": "an absolute name",
        "soft.txt": "a link", "hard.txt": "a link", "device.txt": "not a file", "pipe.txt": "not a file", "link.txt": "a link",
        "inner.zip": "an archive in an archive", "inner.tar.gz": "an archive in an archive", "small.txt": problems["small.txt"],
        "zeros.txt": "it unpacks to more than 200 times its size, as only a trap does"}
    assert problems["small.txt"].startswith("damaged: Bad CRC-32")


def test_the_preview_stands_them_too(imported):
    _, _, folder, _ = imported
    began = time.monotonic()
    found = look([folder / "in" / n for n in ("documents", "pages", "archives", "zz-good.txt")], [ReadOptions()] * 4, in_all=40)
    assert time.monotonic() - began < 60
    rows = {row.name: row for row in found.files}
    assert rows["zz-good.txt"].documents == 1 and found.unread == 0
    for name in ("documents/much.docx", "documents/laughs.docx", "documents/bomb.pdf", "archives/bomb.zip", "archives/many.zip"):
        assert rows[name].problem, name


def test_the_members_of_an_honest_archive_may_be_small_and_many(tmp_path):
    (tmp_path / "a.zip").write_bytes(hostile.zip_of_many(10_000))
    (row,) = read(list_files([tmp_path / "a.zip"])[0], [ReadOptions()], tmp_path / "work", limits=LIMITS)
    assert row.documents == row.member_count == 10_000 and not row.problem
