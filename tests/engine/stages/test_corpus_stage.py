"""Corpus import end to end: the split, the artifact, what is left out, stopping, a kill in the middle."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.contract.context import Command, RunContext
from engine.contract.errors import FormatError, InputError, NotFound, Stopped
from engine.contract.events import ArtifactMade, Notice, Phase, Progress
from engine.project.project import Project
from engine.stages.corpus.collect import collect, lot, tail
from engine.stages.corpus.run import run
from engine.stages.corpus.spec import CorpusSpec
from engine.text.corpus import Corpus
from engine.text.readers import ReadOptions, list_files

ROOT = Path(__file__).parents[3]
DATA = ROOT / ".." / "shared" / "data"
WORDS = "sea boat harbour wind rope captain sail fish storm calm".split()


def sentence(rng):
    return " ".join(rng.choices(WORDS, k=rng.randint(3, 9))).capitalize() + "."


def prose(count, seed=0):
    rng = random.Random(seed)
    return "\n\n".join(" ".join(sentence(rng) for _ in range(4)) for _ in range(count))


@pytest.fixture
def project(tmp_path):
    return Project.create(tmp_path / "project")


def import_text(project, *sources, reader=lambda: None, **settings):
    events = []
    folder = project.dir / "runs" / "1-corpus"
    folder.mkdir(parents=True, exist_ok=True)
    context = RunContext(run_dir=folder, project_dir=project.dir, run_id="1-corpus", emitter=events.append, reader=reader)
    run(CorpusSpec(sources=tuple(map(str, sources)), **settings), context)
    return project.artifacts.list("corpus")[-1], events


def whole(corpus, split):
    return "".join(d.text for d in corpus.documents(split))


def test_one_file_gives_its_last_tenth_at_a_paragraph(project, tmp_path):
    text = prose(300)
    (tmp_path / "book.txt").write_text(text)
    artifact, events = import_text(project, tmp_path / "book.txt")
    corpus = Corpus.open(artifact.path)
    train, validation = whole(corpus, "train"), whole(corpus, "validation")
    assert train + validation == text and train.endswith("\n\n")
    assert len(validation) / len(text) == pytest.approx(0.1, abs=0.01)
    assert artifact.title == "book.txt" and artifact.run == "1-corpus" and artifact.facts["split_by"] == "tail"
    assert artifact.facts["bytes"] == len(text) and artifact.facts["tokens_estimate"] == round(len(text) / 4)
    assert artifact.facts["splits"]["train"]["characters"] == len(train)
    artifact.verify()
    assert [e.id for e in events if isinstance(e, Phase)] == ["look", "read", "save"]
    assert [e.id for e in events if isinstance(e, ArtifactMade)] == [artifact.id]
    assert [e for e in events if isinstance(e, Progress)][-1].done == len(text)


def test_a_long_file_is_split_once_though_it_comes_in_parts(project, tmp_path):
    text = prose(400)
    (tmp_path / "book.txt").write_text(text)
    artifact, _ = import_text(project, tmp_path / "book.txt", max_document_bytes=5_000, validation_percent=20)
    corpus = Corpus.open(artifact.path)
    assert corpus.count("train") > 5 and corpus.count("validation") > 2
    assert whole(corpus, "train") + whole(corpus, "validation") == text
    assert len(whole(corpus, "validation")) / len(text) == pytest.approx(0.2, abs=0.02)


def test_many_documents_are_split_by_the_hash_of_their_text(project, tmp_path):
    rng = random.Random(1)
    rows = [sentence(rng) + str(i % 900) for i in range(2000)]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in rows))
    artifact, _ = import_text(project, tmp_path / "rows.jsonl")
    corpus = Corpus.open(artifact.path)
    train, validation = [d.text for d in corpus.documents("train")], [d.text for d in corpus.documents("validation")]
    assert sorted(train + validation) == sorted(rows) and artifact.facts["split_by"] == "hash"
    assert not set(train) & set(validation)
    assert 0.07 < len(validation) / 2000 < 0.13
    assert train == [t for t in rows if lot(t) > 0.1]


def test_copies_of_a_text_never_land_on_both_sides(project, tmp_path):
    for n in range(150):
        (tmp_path / f"{n}.txt").write_text(f"text number {n % 30}")
    artifact, _ = import_text(project, *sorted(tmp_path.glob("*.txt")))
    corpus = Corpus.open(artifact.path)
    assert not {d.text for d in corpus.documents("train")} & {d.text for d in corpus.documents("validation")}


def test_a_share_so_small_that_chance_picks_nothing_takes_the_nearest(project, tmp_path):
    rows = [f"row number {i} of the file with words" for i in range(150)]
    assert min(map(lot, rows)) > 0.001
    (tmp_path / "rows.txt").write_text("\n".join(rows))
    artifact, _ = import_text(project, tmp_path / "rows.txt", split_by="line", validation_percent=0.1)
    corpus = Corpus.open(artifact.path)
    assert [d.text for d in corpus.documents("validation")] == [min(rows, key=lot)] and corpus.count("train") == 149


@pytest.mark.parametrize(("text", "expected"), [
    ("a" * 100, 90), ("a" * 88 + "\n\n" + "b" * 10, 90), ("a" * 87 + ". " + "b" * 11, 89), ("word " * 20, 90)])
def test_the_tail_begins_at_a_good_place(text, expected):
    assert tail(text, 0, len(text), 0.1) == expected
    assert tail(text, 200, 1000, 0.1) == len(text) and tail(text, 950, 1000, 0.1) == 0


def test_what_is_left_out_is_told(project, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "a.txt").write_text(prose(20))
    (folder / "b.csv").write_text("x,y\n1,2\n")
    (folder / "c.pdf").write_bytes(b"%PDF")
    (folder / "d.jsonl").write_text('{"text": "' + "word " * 50 + '"}\nbroken\n')
    (folder / "e.txt").write_bytes(b"some text " * 20 + b"\xff\xfe caf\xc3\xa9 " * 3)
    artifact, events = import_text(project, folder, encoding="utf-8")
    notices = {e.code: e for e in events if isinstance(e, Notice)}
    assert "b.csv" in notices["files_skipped"].text and ".pdf files are not read" in notices["files_skipped"].text
    assert "d.jsonl, line 2" in notices["bad_lines"].text and notices["encoding"].title.startswith("6 ")
    assert artifact.facts["skipped_count"] == 2 and artifact.facts["bad_lines"] == 1 and artifact.facts["files"] == 3
    listed = json.loads((artifact.path / "sources.json").read_text())
    assert {s["name"] for s in listed["sources"]} == {"mixed/a.txt", "mixed/d.jsonl", "mixed/e.txt"} and len(listed["skipped"]) == 2
    assert sum(s["documents"] for s in listed["sources"]) == artifact.facts["documents"]


def test_nothing_to_read_is_an_error_and_leaves_nothing(project, tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.png").write_bytes(b"\x89PNG")
    (tmp_path / "c.txt").write_text("  \n")
    (tmp_path / "d.txt").write_text("x")
    for source, kind in (("a.csv", FormatError), ("b.png", InputError), ("c.txt", InputError), ("d.txt", InputError), ("none", NotFound)):
        with pytest.raises(kind):
            import_text(project, tmp_path / source)
    assert project.artifacts.list() == [] and not any(project.dir.glob("artifacts/*"))


def test_a_stop_is_heard_and_leaves_nothing(project, tmp_path):
    for n in range(40):
        (tmp_path / f"{n}.txt").write_text(prose(2, n))
    with pytest.raises(Stopped):
        import_text(project, *sorted(tmp_path.glob("*.txt")), reader=lambda: Command("stop"))
    assert not any(project.dir.glob("artifacts/*"))


def test_the_same_files_give_the_same_corpus(project, tmp_path):
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({"text": sentence(random.Random(i))}) for i in range(500)))
    first, _ = import_text(project, tmp_path / "rows.jsonl")
    second, _ = import_text(project, tmp_path / "rows.jsonl")
    assert first.id != second.id and first.files == second.files


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from engine.contract.context import RunContext
from engine.stages.corpus.run import run
from engine.stages.corpus.spec import CorpusSpec
project = Path({project!r})
context = RunContext(run_dir=project, project_dir=project, run_id="1", emitter=lambda e: print(e.name, flush=True))
run(CorpusSpec(sources=({source!r},)), context)
"""


def test_a_kill_in_the_middle_leaves_no_artifact_and_the_next_attempt_is_whole(project, tmp_path):
    (tmp_path / "big.txt").write_text(prose(60_000))
    code = KILLED.format(root=str(ROOT), project=str(project.dir), source=str(tmp_path / "big.txt"))
    worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not any(project.dir.glob("artifacts/.tmp-*/data/train/*.arrow")) and worker.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    worker.stdout.close()
    assert Project.open(project.dir).artifacts.list() == []
    artifact, _ = import_text(project, tmp_path / "big.txt")
    corpus = Corpus.open(artifact.path)
    assert whole(corpus, "train") + whole(corpus, "validation") == (tmp_path / "big.txt").read_text()
    artifact.verify()


def test_nothing_is_written_outside_the_project(project, tmp_path):
    (tmp_path / "a.txt").write_text(prose(30))
    home = tmp_path / "home"
    home.mkdir()
    code = KILLED.format(root=str(ROOT), project=str(project.dir), source=str(tmp_path / "a.txt"))
    names = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "XDG_", "FLEDGE"))}
    subprocess.run([sys.executable, "-c", code], env={**names, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}, check=True, timeout=60,
                   capture_output=True)
    assert list(home.rglob("*")) == [] and len(project.artifacts.list("corpus")) == 1


@pytest.mark.skipif(not DATA.exists(), reason="the shared texts are not beside this checkout")
def test_tinyshakespeare_gives_the_last_tenth_for_validation(project):
    artifact, _ = import_text(project, DATA / "tinyshakespeare.txt")
    corpus, text = Corpus.open(artifact.path), (DATA / "tinyshakespeare.txt").read_text()
    assert whole(corpus, "train") + whole(corpus, "validation") == text
    assert len(whole(corpus, "validation")) / len(text) == pytest.approx(0.1, abs=0.001)


def test_a_damaged_file_keeps_what_was_read_before_it(tmp_path):
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": f"line {i} of it"}) for i in range(200)))
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no more")
    files, _ = list_files([tmp_path])
    made = collect(files, ReadOptions(), 0.1, tmp_path / "out")
    assert made.total("documents") == 200 and [f.name.split("/")[1] for f in made.failed] == ["b.parquet"]


def test_a_run_killed_right_after_it_had_finished_makes_nothing_twice(project, tmp_path):
    (tmp_path / "book.txt").write_text(prose(20))
    artifact, _ = import_text(project, tmp_path / "book.txt")
    events = []
    run(CorpusSpec(sources=(str(tmp_path / "book.txt"),)),
        RunContext(run_dir=project.dir / "runs" / "1-corpus", project_dir=project.dir, run_id="1-corpus", attempt=2, emitter=events.append))
    assert [a.id for a in project.artifacts.list()] == [artifact.id] == [e.id for e in events if isinstance(e, ArtifactMade)]
