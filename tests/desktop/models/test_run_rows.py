"""Rows of the runs table: read without the curves, equal to what the whole replay says; what differs between two runs."""

import time
from pathlib import Path

import pytest

from desktop.models.run_rows import RunRows, differences, inputs_words, summary
from engine.project import layout
from engine.project.project import Project
from engine.stages.corpus.spec import CorpusSpec
from engine.stages.instruct.spec import InstructSpec
from engine.stages.pretrain.spec import PretrainSpec
from tests.recordings.record import Story, newspaper, write_run


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return newspaper(tmp_path_factory.mktemp("recorded") / "gazette")


def test_a_summary_says_what_the_whole_replay_says(recorded: Project) -> None:
    for run in recorded.runs.list():
        whole, short = run.state(), summary(layout.events_file(run.dir), run.stage)
        assert (short.status, short.step, short.best, short.facts, short.checkpoints, short.samples) == \
            (whole.status, whole.step, whole.best, whole.facts, whole.checkpoints, whole.samples)
        assert short.metrics.last("loss") == whole.metrics.last("loss")
        assert short.metrics.length <= 5


def test_rows_come_newest_first_with_their_words(recorded: Project, home: Path) -> None:
    rows = RunRows(recorded).look()
    assert [r.number for r in rows] == [6, 5, 4, 3, 2, 1]
    by_number = {r.number: r for r in rows}
    assert by_number[6].status == "interrupted" and by_number[6].resumable  # nobody holds its lock here
    assert by_number[5].status == "failed" and "8,192" in by_number[5].sentence
    assert by_number[4].status == "done" and by_number[4].best[0] == pytest.approx(1.03, abs=0.02)
    assert by_number[4].inputs == "Corpus 1, tokenizer 1"
    assert by_number[4].seconds == pytest.approx(2290 * 262_144 / 171_204, rel=0.01)
    assert by_number[1].size > 0


def test_a_second_look_reads_only_what_grew(recorded: Project, home: Path, monkeypatch) -> None:
    rows = RunRows(recorded)
    first = rows.look()
    read: list[Path] = []
    monkeypatch.setattr("desktop.models.run_rows.summary", lambda path, stage="": read.append(path) or summary(path, stage))
    assert rows.look() == first and read == []
    run = recorded.runs.get("6")
    with open(layout.events_file(run.dir), "a") as file:
        file.write('{"e":"finished","t":9.0,"a":1,"status":"stopped"}\n')
    changed = {r.number: r for r in rows.look()}
    assert read == [layout.events_file(run.dir)] and changed[6].status == "stopped"


def test_a_long_run_is_summarised_fast(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p", "p")
    run = project.runs.create(PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1"))
    write_run(run, Story(steps=60_000, upto=60_000, eval_every=5000, sample_every=5000, checkpoint_every=5000, odd=0))
    began = time.perf_counter()
    assert summary(layout.events_file(run.dir)).step == 60_000
    assert time.perf_counter() - began < 1.0


def test_only_changed_settings_differ(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p", "p")
    one = project.runs.create(PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1", depth=4, qk_norm=True, title="a"))
    two = project.runs.create(PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1", depth=8, qk_norm=False, learning_rate=0.004,
                                           optimizer="adamw", title="b"))
    assert set(differences(one, two)) == {("Size", "4", "8"), ("QK-norm", "on", "off"), ("Learning rate", "auto", "0.004"),
                                          ("Optimizer", "Muon + AdamW", "AdamW")}
    assert differences(one, one) == []
    third = project.runs.create(CorpusSpec(sources=("a.txt",)))
    assert ("Sources", "a.txt", "–") in differences(third, one)


def test_inputs_in_words() -> None:
    assert inputs_words({"corpus": "corpus-3", "tokenizer": "tokenizer-2"}) == "Corpus 3, tokenizer 2"
    assert inputs_words({"model": "model-2", "reward": "reward_model-1"}) == "Model 2, reward model 1"
    assert inputs_words({"model": "model-2", "reward": "8-reward@18"}) == "Model 2, run 8, step 18"
    assert inputs_words({}) == ""


def test_previews_are_no_runs_of_their_own(tmp_path: Path, home: Path) -> None:
    project = Project.create(tmp_path / "project", "Previews")
    for preview in (0, 5):
        project.runs.create(InstructSpec(responder="project:model-1", recipe="reasoning", preview=preview))
    assert [row.number for row in RunRows(project).look()] == [1]
