"""What a person is told of a run, with a worker that is a real process: it runs, ends, is killed, crashes, waits in the queue, obeys."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from desktop.jobs.process import RunProcess
from desktop.jobs.run_follow import RunFollower
from engine.contract.errors import FledgeError
from engine.project import launch, layout, queue
from engine.project.locks import FileLock
from engine.project.project import Project
from engine.stages.pretrain.spec import PretrainSpec

WORKER = Path(__file__).parents[1] / "fake_worker.py"


class World:
    """A project with one run, its follower, and workers to start."""

    def __init__(self, folder: Path) -> None:
        self.project = Project.create(folder, "test")
        self.run = self.project.runs.create(PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1", title="tiny"))
        self.follower = RunFollower(self.run, self.project.dir)
        self.process = RunProcess(self.follower, grace={"stop": 0.6})
        self.workers: list[subprocess.Popen[bytes]] = []

    def work(self, *options: str) -> "subprocess.Popen[bytes]":
        with open(layout.log_file(self.run.dir), "ab") as log:
            made = subprocess.Popen([sys.executable, str(WORKER), str(self.run.dir), *options], stdout=log, stderr=log)
        self.workers.append(made)
        return made


@pytest.fixture
def world(home: Path, tmp_path: Path, qapp) -> Iterator[World]:
    made = World(tmp_path / "project")
    yield made
    made.follower.stop()
    for worker in made.workers:
        worker.kill()
        worker.wait()


def test_a_run_goes_from_created_to_done(world: World, qtbot) -> None:
    seen: list[str] = []
    world.follower.status_changed.connect(seen.append)
    world.follower.start()
    assert world.follower.status == "created"
    world.work("--steps", "30")
    qtbot.waitUntil(lambda: world.follower.status == "done", timeout=10_000)
    assert "running" in seen
    assert world.follower.state.step == 30
    assert world.follower.state.artifacts == ["model-1"]


def test_a_killed_worker_is_interrupted_and_can_resume(world: World, qtbot) -> None:
    world.follower.start()
    worker = world.work("--steps", "10000")
    qtbot.waitUntil(lambda: world.follower.state.step > 5, timeout=10_000)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    qtbot.waitUntil(lambda: world.follower.status == "interrupted", timeout=10_000)
    assert world.follower.resumable
    world.work("--steps", "20")
    qtbot.waitUntil(lambda: world.follower.status == "done", timeout=10_000)
    assert world.follower.state.attempt == 2
    assert world.follower.state.metrics.column("step").tolist() == [float(s) for s in range(1, 21)]


def test_dying_in_mid_line_keeps_all_whole_lines(world: World, qtbot) -> None:
    world.follower.start()
    world.work("--steps", "100", "--die-at", "33")
    qtbot.waitUntil(lambda: world.follower.status == "interrupted", timeout=10_000)
    assert world.follower.state.step == 33


def test_last_words_in_the_log_make_it_a_crash(world: World, qtbot) -> None:
    world.follower.start()
    world.work("--steps", "100", "--die-at", "7", "--traceback")
    qtbot.waitUntil(lambda: world.follower.status == "crashed", timeout=10_000)
    assert "boom" in world.follower.log_tail()


def test_a_run_found_dead_at_the_start_is_interrupted(world: World, qtbot) -> None:
    world.work("--steps", "100", "--die-at", "9").wait()
    world.follower.start()
    qtbot.waitUntil(lambda: world.follower.status == "interrupted", timeout=10_000)


def test_a_failure_carries_the_workers_sentence(world: World, qtbot) -> None:
    world.follower.start()
    world.work("--steps", "3", "--fail")
    qtbot.waitUntil(lambda: world.follower.status == "failed", timeout=10_000)
    finished = world.follower.state.finished
    assert finished is not None and "8,192" in finished.sentence


def test_a_waiting_run_knows_its_place(world: World, qtbot, monkeypatch) -> None:
    monkeypatch.setattr(queue, "ensure_runner", lambda: None)
    queue.add(world.project.dir, "9-pretrain")
    queue.add(world.project.dir, world.run.id)
    world.follower.start()
    qtbot.waitUntil(lambda: world.follower.status == "queued", timeout=5000)
    assert world.follower.queue_place == 1
    queue.move(world.project.dir, world.run.id, 0)
    qtbot.waitUntil(lambda: world.follower.queue_place == 0, timeout=5000)
    world.process.leave_queue()
    assert world.follower.status == "created"


def test_pause_saves_and_the_buttons_wait_for_it(world: World, qtbot) -> None:
    asked: list[str] = []
    world.process.asked_changed.connect(asked.append)
    world.follower.start()
    world.work("--steps", "10000")
    qtbot.waitUntil(lambda: world.follower.state.step > 3, timeout=10_000)
    world.process.pause()
    assert world.process.asked == "pause"
    qtbot.waitUntil(lambda: world.follower.status == "paused", timeout=10_000)
    qtbot.waitUntil(lambda: world.process.asked == "", timeout=2000)
    assert asked == ["pause", ""]
    assert [c.why for c in world.follower.state.checkpoints] == ["stop"]


def test_save_now_is_over_when_the_checkpoint_is_there(world: World, qtbot) -> None:
    world.follower.start()
    world.work("--steps", "10000")
    qtbot.waitUntil(lambda: world.follower.state.step > 3, timeout=10_000)
    world.process.save()
    qtbot.waitUntil(lambda: world.process.asked == "", timeout=5000)
    assert world.follower.state.checkpoints[-1].why == "asked"
    assert world.follower.status == "running"


def test_a_deaf_worker_is_killed_after_its_grace(world: World, qtbot) -> None:
    world.follower.start()
    worker = world.work("--steps", "100000", "--deaf")
    qtbot.waitUntil(lambda: world.follower.state.step > 3, timeout=10_000)
    began = time.monotonic()
    with qtbot.waitSignal(world.process.killed, timeout=10_000):
        world.process.stop()
    assert time.monotonic() - began >= 0.5
    worker.wait(timeout=5)
    qtbot.waitUntil(lambda: world.follower.status == "interrupted", timeout=5000)


def test_start_goes_through_the_engine_and_shows_starting_first(world: World, qtbot, tmp_path: Path, monkeypatch) -> None:
    """The interpreter is the fake worker's: a program that gets `-m engine.worker RUN_DIR ...` as the real one does."""
    shim = tmp_path / "python"
    shim.write_text(f'#!/bin/sh\nsleep 0.4\nexec "{sys.executable}" "{WORKER}" "$3" --steps 25\n', "utf-8")
    shim.chmod(0o755)
    monkeypatch.setenv("FLEDGE_PYTHON", str(shim))
    world.follower.start()
    qtbot.waitUntil(lambda: not world.follower.loading, timeout=3000)
    seen: list[str] = []
    world.follower.status_changed.connect(seen.append)
    world.process.start("cpu")
    qtbot.waitUntil(lambda: world.follower.status == "done", timeout=20_000)
    assert seen[0] in ("starting", "queued")


def test_a_start_that_dies_at_once_is_a_crash(world: World, qtbot, tmp_path: Path, monkeypatch) -> None:
    shim = tmp_path / "python"
    shim.write_text('#!/bin/sh\necho "Traceback (most recent call last):"\necho "ImportError: no torch"\nexit 1\n', "utf-8")
    shim.chmod(0o755)
    monkeypatch.setenv("FLEDGE_PYTHON", str(shim))
    world.follower.start()
    world.process.start("cpu")
    qtbot.waitUntil(lambda: world.follower.status == "crashed", timeout=20_000)
    assert "no torch" in world.follower.log_tail()


def test_resume_of_a_run_under_way_is_refused_in_words(world: World, qtbot) -> None:
    world.follower.start()
    world.work("--steps", "10000")
    qtbot.waitUntil(lambda: world.follower.state.step > 1, timeout=10_000)
    refused: list[FledgeError] = []
    world.process.refused.connect(refused.append)
    world.process.resume("cpu")
    assert refused and refused[0].sentence


def test_a_process_that_ended_does_not_run() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    psutil.Process(ended.pid)
    deadline = time.monotonic() + 10
    while launch.running(ended.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not launch.running(ended.pid)
    assert launch.running(os.getpid())
    ended.wait()


def test_the_lock_alone_says_that_a_run_lives(world: World, qtbot) -> None:
    world.follower.start()
    lock = FileLock(layout.lock_file(world.run.dir))
    lock.acquire()
    qtbot.waitUntil(lambda: world.follower.status == "starting", timeout=5000)
    lock.release()
    qtbot.waitUntil(lambda: world.follower.status == "created", timeout=5000)
