"""Two processes under torchrun, through the command line's own way: they end, they stop when asked, and one alone can go on."""

import random
import threading
import time
from pathlib import Path

import psutil
import pytest

from engine.project import control, launch
from engine.project.follow import follow
from engine.project.project import Project
from engine.project.run_state import RunState
from engine.project.runs import Run
from engine.stages.corpus.spec import CorpusSpec
from engine.stages.pretrain.spec import PretrainSpec
from engine.stages.tokenizer.spec import TokenizerSpec

STEPS = 60


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    monkey = pytest.MonkeyPatch()
    monkey.setenv("FLEDGE_HOME", str(tmp_path_factory.mktemp("home")))
    monkey.setenv("FLEDGE_THREADS", "1")
    made = Project.create(tmp_path_factory.mktemp("project") / "p", "Two")
    words = "the ferry left quay at seven with forty passengers and mail for island harbour light wind rose tide fell".split()
    chance = random.Random(5)
    source: Path = tmp_path_factory.mktemp("source") / "ferry.txt"
    source.write_text("\n\n".join(" ".join(chance.choices(words, k=60)) + "." for _ in range(200)))
    for spec in (CorpusSpec(sources=(str(source),), split_by="blank_lines"), TokenizerSpec(corpus="corpus-1", vocab_size=300)):
        run = made.runs.create(spec)
        assert follow(run, launch.start(run)).status == "done", run.log_tail()
    yield made
    monkey.undo()


def tiny(project: Project, **more: object) -> Run:
    return project.runs.create(PretrainSpec.check({
        "corpus": "corpus-1", "tokenizer": "tokenizer-1", "depth": 1, "width": 32, "num_heads": 2, "max_seq_len": 32, "steps": STEPS,
        "tokens_per_step": 256, "micro_batch_size": 4, "compile": "off", "dtype": "float32", "eval_every": 20, "eval_tokens": 1000,
        "sample_every": 0, **more}))


def watched(run: Run, pid: int, seconds: float = 60.0) -> RunState:
    """The state at the end; a run that does not end is a failure, not a test that hangs."""
    found: list[RunState] = []
    follower = threading.Thread(target=lambda: found.append(follow(run, pid)), daemon=True)
    follower.start()
    follower.join(seconds)
    hangs = follower.is_alive()
    if hangs:
        launch.kill(pid)
    assert not hangs, f"did not end in {seconds} s: {run.log_tail()}"
    return found[0]


def test_all_processes_end_and_the_model_is_the_one_of_a_single_process(project: Project) -> None:
    alone, two = tiny(project), tiny(project)
    one_state = watched(alone, launch.start(alone, "cpu"))
    state = watched(two, launch.start(two, "cpu", processes=2))
    assert state.status == "done", two.log_tail()
    ours, theirs = state.metrics.column("loss"), one_state.metrics.column("loss")
    assert len(ours) == STEPS and abs(ours - theirs).max() < 2e-3


def test_stopped_with_two_and_continued_with_one(project: Project) -> None:
    run = tiny(project, steps=4000)
    pid = launch.start(run, "cpu", processes=2)
    until = time.monotonic() + 40
    while run.state().step < 5 and time.monotonic() < until:
        time.sleep(0.1)
    control.send(run.dir, "pause")
    paused = watched(run, pid)
    assert paused.status == "paused" and not psutil.pid_exists(pid), run.log_tail()
    pid = launch.start(run, "cpu")
    while run.state().step <= paused.step and time.monotonic() < until + 40:
        time.sleep(0.1)
    control.send(run.dir, "stop_save")
    state = watched(run, pid)
    assert state.status == "stopped", run.log_tail()
    assert state.metrics.column("step").tolist() == list(range(1, state.step + 1)) and state.step > paused.step
