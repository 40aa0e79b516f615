"""The guided demo with a tiny world and model, through the real worker: complete, repeatable, resumable, and never mixed up."""

import json
import os
import re
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.contract.errors import FledgeError, InputError, Locked, MachineError, ProjectError
from engine.contract.events import Metrics
from engine.demo import demo as guided
from engine.demo import run_demo, settings
from engine.project import layout
from engine.project.locks import FileLock
from engine.project.project import Project
from engine.stages.pretrain.spec import PretrainSpec
from engine.world import World

TINY = PretrainSpec(depth=1, width=32, num_heads=2, intermediate_size=64, max_seq_len=64, steps=12, tokens_per_step=256, compile="off",
                    dtype="float32", eval_every=6, eval_tokens=2_000, sample_every=6, sample_tokens=8, checkpoint_every_steps=2)


@pytest.fixture(autouse=True)
def tiny(tmp_path, monkeypatch):
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(settings, "QUICK", settings.Size(seconds=1, vocab_size=320, people=8, text_bytes=120_000))
    monkeypatch.setattr(settings, "world_spec", lambda quick: TINY)
    monkeypatch.setattr(settings, "own_text_spec", lambda text_bytes, seconds, device: (TINY, 512))


def test_the_demo_ends_with_a_report_and_a_second_call_changes_nothing(tmp_path):
    made = run_demo(tmp_path / "demo", quick=True)
    assert list(made["stages"]) == ["corpus", "tokenizer", "pretrain", "knowledge"] and made["left_out"] == []
    pretrain, knowledge = made["stages"]["pretrain"], made["stages"]["knowledge"]
    assert 0 < pretrain["bpb_after"] < pretrain["bpb_before"] < 9
    assert pretrain["seconds"] > 0 and made["seconds"] >= sum(stage["seconds"] for stage in made["stages"].values()) - 0.1
    assert len(pretrain["samples"]) == 4 and all(sample["before"] != sample["after"] for sample in pretrain["samples"])
    assert 0 <= knowledge["facts_completed"] <= 1 and knowledge["sums"] == 153
    assert json.loads(layout.demo_report(tmp_path / "demo", "json").read_text()) == json.loads(json.dumps(made))
    page = layout.demo_report(tmp_path / "demo", "md").read_text()
    assert "generated world" in page and "fledge chat" in page

    project = Project.open(tmp_path / "demo")
    runs, artifacts = [run.id for run in project.runs.list()], [artifact.id for artifact in project.artifacts.list()]
    again = run_demo(tmp_path / "demo")
    assert [run.id for run in project.runs.list()] == runs
    assert [artifact.id for artifact in project.artifacts.list()] == artifacts
    assert again["quick"] and again["stages"]["pretrain"]["bpb_after"] == pretrain["bpb_after"]
    with pytest.raises(ProjectError) as wrong:
        run_demo(tmp_path / "demo", seed=7)
    assert wrong.value.code == "other_demo"


def test_the_imported_text_keeps_its_spaces_and_holds_no_question(tmp_path, monkeypatch):
    from engine.text.corpus import Corpus

    monkeypatch.setattr(guided, "STEPS", guided.STEPS[:1])
    monkeypatch.setattr(guided, "_conclude", lambda demo: demo.made)
    made = run_demo(tmp_path / "demo", quick=True)
    corpus = Corpus.open(made["corpus"].path)
    texts = [document.text for split in ("train", "validation") for document in corpus.documents(split)]
    world = World(guided.SEED, 8)
    assert sorted(texts) == sorted(world.documents(120_000))
    assert corpus.count("validation") > 10
    held = {(each.left, each.right) for each in world.sums("held_out")}
    written = {(int(a), int(b)) for text in texts for a, b in re.findall(r"(?<!\d)(\d\d)\+(\d)=", text)}
    assert written and not written & held
    assert not any("?" in text for text in texts)


def test_after_a_killed_worker_the_same_command_goes_on_with_the_same_run(tmp_path):
    class Killer:
        done = False

        def say(self, words):
            pass

        @contextmanager
        def watch(self, run, pid):
            def on_event(state, event):
                if not self.done and run.stage == "pretrain" and isinstance(event, Metrics) and run.checkpoint_steps():
                    self.done = True
                    os.kill(pid, signal.SIGKILL)
            yield on_event

    with pytest.raises(MachineError) as wrong:
        run_demo(tmp_path / "demo", quick=True, report=Killer())
    assert wrong.value.code == "crashed"
    project = Project.open(tmp_path / "demo")
    before = [run.id for run in project.runs.list()]
    made = run_demo(tmp_path / "demo", quick=True)
    assert [run.id for run in project.runs.list()] == before
    assert project.runs.list("pretrain")[0].state().attempt == 2
    assert made["stages"]["pretrain"]["steps"] == TINY.steps


def test_own_text_leaves_out_by_name_what_needs_the_world(tmp_path):
    text = tmp_path / "poem.txt"
    text.write_text("\n\n".join(f"The {thing} of number {n} sings in the rain." for n in range(600) for thing in ("bird", "tree")))
    made = run_demo(tmp_path / "demo", quick=True, corpus=text)
    assert [left["stage"] for left in made["left_out"]] == ["knowledge"]
    assert made["left_out"][0]["reason"] and made["corpus"] == str(text) and not made["generated"]
    assert "knowledge" not in made["stages"] and made["stages"]["pretrain"]["bpb_after"] < made["stages"]["pretrain"]["bpb_before"]
    assert "left out" in layout.demo_report(tmp_path / "demo", "md").read_text()


def test_a_project_of_ones_own_is_left_alone(tmp_path):
    Project.create(tmp_path / "mine", "Mine")
    with pytest.raises(ProjectError) as wrong:
        run_demo(tmp_path / "mine", quick=True)
    assert wrong.value.code == "not_a_demo"
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["project.json"]


def test_a_corpus_that_is_not_there_is_refused_before_a_folder_is_made(tmp_path):
    with pytest.raises(InputError):
        run_demo(tmp_path / "demo", corpus=tmp_path / "nothing.txt")
    assert not (tmp_path / "demo").exists()


def test_two_demos_at_once_in_a_folder_are_refused(tmp_path):
    Project.create(tmp_path / "demo", "Demo", origin=guided.ORIGIN)
    lock = FileLock(layout.demo_lock(tmp_path / "demo"))
    assert lock.acquire()
    try:
        with pytest.raises(Locked):
            run_demo(tmp_path / "demo", quick=True)
    finally:
        lock.release()


def test_a_failed_run_fails_the_demo_with_its_own_error(tmp_path, monkeypatch):
    text = tmp_path / "empty.txt"
    text.write_text("   ")
    with pytest.raises(FledgeError) as wrong:
        run_demo(tmp_path / "demo", corpus=text)
    assert wrong.value.code == "no_text" and wrong.value.sentence and wrong.value.remedy
    assert Path(tmp_path / "demo" / "demo.json").exists()
