"""kill -9 of the worker or the app at random moments: the project opens each time, and the final weights are the undisturbed run's.

Five kills in the gate; a hundred by hand: `python -m pytest tests/e2e/test_kills.py -m slow`.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.contract import events as ev
from engine.project import launch, layout
from engine.project.event_log import read_events
from engine.project.follow import follow
from engine.project.project import Project
from engine.project.runs import Run
from engine.stages.corpus.spec import CorpusSpec
from engine.stages.pretrain.spec import PretrainSpec
from engine.stages.tokenizer.spec import TokenizerSpec

ROOT = Path(__file__).parents[2]
STEPS = 120

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A small corpus and tokenizer, made by the real stages."""
    home = tmp_path_factory.mktemp("home")
    os.environ["FLEDGE_HOME"] = str(home)
    os.environ["FLEDGE_THREADS"] = "1"
    made = Project.create(tmp_path_factory.mktemp("project") / "p", "Kills")
    words = "the ferry left quay at seven with forty passengers and mail for island harbour light wind rose tide fell".split()
    random.seed(5)
    text = "\n\n".join(" ".join(random.choices(words, k=60)) + "." for _ in range(400))
    source = tmp_path_factory.mktemp("source") / "ferry.txt"
    source.write_text(text)
    for spec in (CorpusSpec(sources=(str(source),), split_by="blank_lines"), TokenizerSpec(corpus="corpus-1", vocab_size=320)):
        run = made.runs.create(spec)
        state = follow(run, launch.start(run))
        assert state.status == "done", run.log_tail()
    return made


def tiny(title: str) -> PretrainSpec:
    return PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1", title=title, depth=1, width=32, num_heads=2, max_seq_len=32,
                        steps=STEPS, tokens_per_step=256, micro_batch_size=4, compile="off", dtype="float32", checkpoint_every_steps=7,
                        checkpoint_every_minutes=0, eval_every=25, eval_tokens=1000, sample_every=40, sample_tokens=8, keep_checkpoints=2)


def finish(run: Run) -> ev.Finished:
    state = follow(run, launch.start(run, "cpu"))
    assert state.status == "done" and state.finished is not None, run.log_tail()
    return state.finished


def weights(project: Project, run: Run) -> str:
    made = project.artifacts.get(run.state().artifacts[-1])
    made.verify()
    return str(made.files["model.safetensors"]["sha256"])


def curve(run: Run) -> list[tuple[float, float]]:
    series = run.state().metrics
    return list(zip(series.column("step").tolist(), series.column("loss").tolist(), strict=True))


@pytest.fixture(scope="module")
def undisturbed(project: Project) -> tuple[str, list[tuple[float, float]]]:
    run = project.runs.create(tiny("Undisturbed"))
    finish(run)
    return weights(project, run), curve(run)


def kill_worker(run: Run, chance: random.Random) -> None:
    """Start the run and kill its worker a random while later: in start-up, between steps, in the middle of a save."""
    pid = launch.start(run, "cpu")
    time.sleep(chance.uniform(0.5, 6.0))
    launch.kill(pid)


def kill_app(run: Run, chance: random.Random) -> None:
    """Start the run, open the project in the real app without a display, and kill the app: the run must not notice."""
    pid = launch.start(run, "cpu")
    env = dict(os.environ, QT_QPA_PLATFORM="offscreen", PYTHONPATH=str(ROOT))
    app = subprocess.Popen([sys.executable, "-m", "desktop.main", str(run.dir.parent.parent)], env=env, cwd=ROOT, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
    time.sleep(chance.uniform(0.5, 4.0))
    assert launch.running(pid) or run.state().status == "done", run.log_tail()
    app.send_signal(signal.SIGKILL)
    app.wait()
    time.sleep(0.2)
    assert launch.running(pid) or run.state().status == "done", run.log_tail()
    launch.kill(pid)


def disturbed(project: Project, undisturbed: tuple[str, list[tuple[float, float]]], kills: int, seed: int,
              ways: tuple[Callable[[Run, random.Random], None], ...]) -> None:
    chance = random.Random(seed)
    run = project.runs.create(tiny(f"Killed {kills} times"))
    for _ in range(kills):
        if run.state().status == "done":
            assert (weights(project, run), curve(run)) == undisturbed
            run = project.runs.create(tiny("Killed again"))
        chance.choice(ways)(run, chance)
        again = Project.open(project.dir).runs.get(run.id)
        assert again.status_of(again.state()) in ("interrupted", "created", "done")
    if run.state().status != "done":
        finish(run)
    assert weights(project, run) == undisturbed[0]
    assert curve(run) == undisturbed[1]
    steps = [s for e in read_events(layout.events_file(run.dir)) if isinstance(e, ev.Resumed) for s in [e.step]]
    assert all(s >= -1 for s in steps)


def test_five_kills_of_the_worker_change_nothing(project: Project, undisturbed: tuple[str, list[tuple[float, float]]]) -> None:
    disturbed(project, undisturbed, 4, 1, (kill_worker,))
    disturbed(project, undisturbed, 1, 2, (kill_app,))


@pytest.mark.slow
def test_a_hundred_kills_of_worker_or_app_change_nothing(project: Project, undisturbed: tuple[str, list[tuple[float, float]]]) -> None:
    for batch in range(10):
        disturbed(project, undisturbed, 10, 100 + batch, (kill_worker, kill_worker, kill_app))
