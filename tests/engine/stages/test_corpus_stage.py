"""A corpus run end to end: the split, duplicates, decisions by hand, the mix, the artifact, what is left out, stopping."""

import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from engine.contract.context import Command, RunContext
from engine.contract.errors import FledgeError, FormatError, InputError, NotFound, Stopped
from engine.contract.events import ArtifactMade, Notice, Phase, Progress
from engine.project.project import Project
from engine.stages.corpus.run import run
from engine.stages.corpus.spec import CorpusSpec
from engine.stages.corpus.write import read_again
from engine.text.corpus import Corpus
from engine.text.parts import Parts

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


def import_text(project, *sources, reader=lambda: None, heard=None, **settings):
    events = [] if heard is None else heard
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
    assert [e.id for e in events if isinstance(e, Phase)] == ["look", "read", "clean", "sign", "match", "write", "save", "index"]
    assert [e.id for e in events if isinstance(e, ArtifactMade)] == [artifact.id]
    assert all(e.done <= e.total for e in events if isinstance(e, Progress))


def test_a_long_file_is_split_once_though_it_comes_in_parts(project, tmp_path):
    text = prose(400)
    (tmp_path / "book.txt").write_text(text)
    artifact, _ = import_text(project, tmp_path / "book.txt", max_document_bytes=5_000, validation_percent=20, whitespace=False)
    corpus = Corpus.open(artifact.path)
    assert corpus.count("train") > 5 and corpus.count("validation") > 2
    assert whole(corpus, "train") + whole(corpus, "validation") == text
    assert len(whole(corpus, "validation")) / len(text) == pytest.approx(0.2, abs=0.02)


def rows_of(artifact):
    return pq.read_table(artifact.path / "documents.parquet").to_pylist()


def test_many_documents_are_split_by_the_hash_of_what_they_are(project, tmp_path):
    rng = random.Random(1)
    rows = list(dict.fromkeys(" ".join(rng.choices(WORDS, k=12)) + f" {i}" for i in range(1500)))
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in rows))
    artifact, _ = import_text(project, tmp_path / "rows.jsonl", near_duplicates=False)
    corpus = Corpus.open(artifact.path)
    train, validation = [d.text for d in corpus.documents("train")], [d.text for d in corpus.documents("validation")]
    assert sorted(train + validation) == sorted(rows) and artifact.facts["split_by"] == "hash"
    assert 0.07 < len(validation) / len(rows) < 0.13
    again, _ = import_text(project, tmp_path / "rows.jsonl", near_duplicates=False)
    assert [d.text for d in Corpus.open(again.path).documents("validation")] == validation


def test_copies_that_are_kept_never_land_on_both_sides(project, tmp_path):
    for n in range(150):
        (tmp_path / f"{n}.txt").write_text(f"text number {n % 30}")
    artifact, _ = import_text(project, *sorted(tmp_path.glob("*.txt")), exact_duplicates=False, near_duplicates=False)
    corpus = Corpus.open(artifact.path)
    assert artifact.facts["documents"] == 150
    assert not {d.text for d in corpus.documents("train")} & {d.text for d in corpus.documents("validation")}


def test_duplicates_are_removed_counted_and_kept_aside(project, tmp_path):
    rng = random.Random(2)
    made = [" ".join(rng.choices([w + str(i) for w in WORDS for i in range(40)], k=150)) for _ in range(120)]
    near = [" ".join(t.split()[:148]) + " the end" for t in made[:10]]
    exact = [t.upper() for t in made[10:15]]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in made + near + exact))
    artifact, _ = import_text(project, tmp_path / "rows.jsonl")
    facts = artifact.facts
    assert facts["removed"] == {"exact_duplicates": 5, "near_duplicates": 10} and facts["documents"] == 120 and facts["read"] == 135
    corpus = Corpus.open(artifact.path)
    assert sorted(d.text for d in corpus.documents("removed")) == sorted(near + exact)
    listed = rows_of(artifact)
    assert [r["number"] for r in listed] == list(range(135))
    gone = [r for r in listed if r["step"]]
    assert {r["duplicate_of"] for r in gone} == set(range(15)) and all(r["similarity"] > 0.7 for r in gone)
    assert [row["step"] for row in facts["funnel"]] == ["read", "exact_duplicates", "near_duplicates", "kept"]


def test_what_a_person_decides_overrules_every_step(project, tmp_path):
    rng = random.Random(3)
    texts = [" ".join(rng.choices([w + str(i) for w in WORDS for i in range(40)], k=80)) for _ in range(130)]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in [*texts, texts[0], "short"]))
    artifact, _ = import_text(project, tmp_path / "rows.jsonl", minimum_length=20)
    assert artifact.facts["removed"] == {"minimum_length": 1, "exact_duplicates": 1}
    listed = rows_of(artifact)
    project.library.decide([listed[131]["id"]], True)
    project.library.decide([listed[7]["id"], listed[9]["id"]], False)
    run_ = project.runs.create(CorpusSpec.check({**artifact.spec, "base": artifact.id}))
    events = []
    run(CorpusSpec.check(run_.spec), RunContext(run_dir=run_.dir, project_dir=project.dir, run_id=run_.id, emitter=events.append))
    again = project.artifacts.list("corpus")[-1]
    assert again.parents == (artifact.id,) and again.facts["removed"] == {"exact_duplicates": 1, "hand": 2}
    assert again.facts["documents"] == artifact.facts["documents"] - 1
    corpus = Corpus.open(again.path)
    kept = {d.text for split in ("train", "validation") for d in corpus.documents(split)}
    assert "short" in kept and texts[7] not in kept and texts[9] not in kept
    assert [r["id"] for r in rows_of(again)] == [r["id"] for r in listed]


def test_a_corpus_made_again_from_itself_has_every_text_as_it_was_read(project, tmp_path):
    texts = [f"  Caf\u00e9 number {i} \n\n\n\n\nhas\x07 a bell and trailing space   \nand {i * 7} more words" for i in range(140)]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in [*texts, texts[3]]))
    artifact, _ = import_text(project, tmp_path / "rows.jsonl", near_duplicates=False)
    assert artifact.facts["touched"]["whitespace"]["documents"] == 141
    target = tmp_path / "again"
    target.mkdir()
    read_again(artifact.path, target, lambda done, total: None, rows=50)
    made = [t for _, table in Parts(target).tables(["text"]) for t in table["text"].to_pylist()]
    assert made == [*texts, texts[3]]


def test_sources_are_mixed_by_weight_epochs_and_cap(project, tmp_path):
    rng = random.Random(4)
    for name, count in (("a", 300), ("b", 300)):
        rows = [" ".join(rng.choices([w + str(i) for w in WORDS for i in range(60)], k=60)) for _ in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in rows))
    a, b = str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")
    artifact, _ = import_text(project, a, b, source_options={a: {"epochs": 2.0}, b: {"epochs": 0.5}})
    mixed = {row["name"]: row for row in artifact.facts["mix"]}
    assert mixed["a.jsonl"]["epochs"] == pytest.approx(2.0) and mixed["b.jsonl"]["share"] == pytest.approx(0.2, abs=0.01)
    corpus = Corpus.open(artifact.path)
    train = [d.text for d in corpus.documents("train")]
    listed = rows_of(artifact)
    assert all(r["copies"] == 2 for r in listed if r["root"] == 0 and r["validation_row"] < 0)
    assert artifact.facts["removed"]["mix"] == sum(1 for r in listed if r["step"] == "mix") > 100
    assert len(train) == sum(r["copies"] for r in listed)
    assert not set(train) & {d.text for d in corpus.documents("validation")}


def test_held_out_text_is_listed_or_removed(project, tmp_path):
    rng = random.Random(5)
    words = [w + str(i) for w in WORDS for i in range(40)]
    items = [" ".join(rng.choices(words, k=30)) for _ in range(5)]
    rows = [" ".join(rng.choices(words, k=60)) for _ in range(150)]
    rows[17] += "\n" + items[2].upper()
    (tmp_path / "test.jsonl").write_text("\n".join(json.dumps({"question": t, "answer": "12"}) for t in items))
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in rows))
    held = {"held_out": (str(tmp_path / "test.jsonl"),)}
    listed, _ = import_text(project, tmp_path / "rows.jsonl", **held)
    assert listed.facts["contamination"]["documents"] == 1 and listed.facts["removed"] == {}
    assert [r["number"] for r in rows_of(listed) if r["overlap"]] == [17] and rows_of(listed)[17]["overlap"].startswith("test.jsonl")
    removed, _ = import_text(project, tmp_path / "rows.jsonl", contamination="remove", **held)
    assert removed.facts["removed"] == {"contamination": 1} and rows_of(removed)[17]["step"] == "contamination"


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
    assert "b.csv" in notices["files_skipped"].text and "not a PDF file" in notices["files_skipped"].text
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
        shutil.rmtree(project.dir / "runs")  # each is another run
    assert project.artifacts.list() == [] and not any(project.dir.glob("artifacts/*"))


def test_a_stop_is_heard_and_what_is_done_stays(project, tmp_path):
    for n in range(40):
        (tmp_path / f"{n}.txt").write_text(prose(2, n))
    seen = []
    with pytest.raises(Stopped):
        import_text(project, *sorted(tmp_path.glob("*.txt")), heard=seen,
                    reader=lambda: Command("stop") if any(isinstance(e, Phase) and e.id == "sign" for e in seen) else None)
    assert project.artifacts.list() == [] and any((project.dir / "runs" / "1-corpus" / "work").rglob("part-*.arrow"))
    artifact, _ = import_text(project, *sorted(tmp_path.glob("*.txt")))
    assert artifact.facts["read"] == 40 and not (project.dir / "runs" / "1-corpus" / "work").exists()


def test_the_same_files_give_the_same_corpus(project, tmp_path):
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({"text": sentence(random.Random(i))}) for i in range(500)))
    first, _ = import_text(project, tmp_path / "rows.jsonl")
    second, _ = import_text(project, tmp_path / "rows.jsonl")
    assert first.id != second.id and {k: v for k, v in first.files.items() if k != "report.json"} == {
        k: v for k, v in second.files.items() if k != "report.json"}


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from engine.contract.context import RunContext
from engine.stages.corpus.run import run
from engine.stages.corpus.spec import CorpusSpec
project = Path({project!r})
(project / "runs" / "1-corpus").mkdir(parents=True)
context = RunContext(run_dir=project / "runs" / "1-corpus", project_dir=project, run_id="1-corpus",
                     emitter=lambda e: print(e.name, flush=True))
run(CorpusSpec(sources=({source!r},)), context)
"""


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
    artifact, _ = import_text(project, DATA / "tinyshakespeare.txt", whitespace=False)
    corpus, text = Corpus.open(artifact.path), (DATA / "tinyshakespeare.txt").read_text()
    assert whole(corpus, "train") + whole(corpus, "validation") == text
    assert len(whole(corpus, "validation")) / len(text) == pytest.approx(0.1, abs=0.001)


def test_a_run_killed_right_after_it_had_finished_makes_nothing_twice(project, tmp_path):
    (tmp_path / "book.txt").write_text(prose(20))
    artifact, _ = import_text(project, tmp_path / "book.txt")
    events = []
    run(CorpusSpec(sources=(str(tmp_path / "book.txt"),)),
        RunContext(run_dir=project.dir / "runs" / "1-corpus", project_dir=project.dir, run_id="1-corpus", attempt=2, emitter=events.append))
    assert [a.id for a in project.artifacts.list()] == [artifact.id] == [e.id for e in events if isinstance(e, ArtifactMade)]


@pytest.mark.skipif(importlib.util.find_spec("datatrove") is None, reason="the extra datatrove is not installed")
def test_the_same_corpus_comes_out_of_a_datatrove_pipeline(project, tmp_path):
    rng = random.Random(8)
    texts = [" ".join(rng.choices([w + str(i) for w in WORDS for i in range(40)], k=90)) for _ in range(150)]
    texts += [t.replace("sea1 ", "sea2 ") + " more words" for t in texts[:12]] + texts[20:25]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in texts))
    here, _ = import_text(project, tmp_path / "rows.jsonl")
    there, _ = import_text(project, tmp_path / "rows.jsonl", executor="datatrove")
    assert there.facts["removed"] == here.facts["removed"] and there.facts["removed"]["near_duplicates"] >= 10
    assert rows_of(there) == rows_of(here)


def test_a_pipeline_for_a_cluster_is_only_written(project, tmp_path):
    (tmp_path / "a.txt").write_text(prose(30))
    events = []
    context = RunContext(run_dir=project.dir / "runs" / "1-corpus", project_dir=project.dir, run_id="1-corpus", emitter=events.append)
    context.run_dir.mkdir(parents=True)
    run(CorpusSpec(sources=(str(tmp_path / "a.txt"),), executor="datatrove_cluster"), context)
    assert (context.run_dir / "pipeline" / "pipeline.py").exists() and project.artifacts.list() == []
    assert [e.code for e in events if isinstance(e, Notice)] == ["pipeline"]


def test_a_resume_takes_the_files_that_were_there_at_the_start(project, tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for n in range(12):
        (folder / f"{n}.txt").write_text(prose(3, n))
    seen = []
    with pytest.raises(Stopped):
        import_text(project, folder, heard=seen,
                    reader=lambda: Command("stop") if any(isinstance(e, Phase) and e.id == "clean" for e in seen) else None)
    (folder / "00-new.txt").write_text(prose(3, 99))
    artifact, _ = import_text(project, folder)
    assert artifact.facts["read"] == 12 and {s["name"] for s in artifact.facts["sources"]} == {f"texts/{n}.txt" for n in range(12)}


def test_files_that_were_mended_after_a_failure_are_looked_at_anew(project, tmp_path):
    (tmp_path / "a.jsonl").write_text("broken\n")
    with pytest.raises(InputError):
        import_text(project, tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": prose(10)}) + "\n")
    artifact, _ = import_text(project, tmp_path / "a.jsonl")
    assert artifact.facts["documents"] == 1


@pytest.mark.parametrize(("settings", "said"), [
    ({"held_out": ("/nowhere.jsonl",)}, "nowhere.jsonl does not exist"),
    ({"personal_data": True, "phone_region": "XX"}, "XX is not a country"),
    ({"harmful": "list", "harm_judge": "http://127.0.0.1:9/"}, "does not name a local model")])
def test_settings_that_a_later_phase_would_refuse_are_refused_before_anything_is_read(project, tmp_path, settings, said):
    (tmp_path / "a.txt").write_text("\n\n".join(prose(200)))
    heard = []
    with pytest.raises(FledgeError, match=said):
        import_text(project, tmp_path / "a.txt", heard=heard, **settings)
    assert not [e for e in heard if isinstance(e, Phase)]
