"""The queue: order, one at a time, nothing lost between looks."""

import subprocess
import sys
from pathlib import Path

import pytest

from engine.project import launch, layout, queue
from engine.project.locks import FileLock
from engine.project.project import Project
from engine.project.runs import Run
from engine.stages.pretrain.spec import PretrainSpec


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(queue, "ensure_runner", lambda: None)  # the tests are the runner
    return Project.create(tmp_path / "p")


def add(project: Project, count: int) -> list[str]:
    ids = [project.runs.create(PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1")).id for _ in range(count)]
    for id in ids:
        queue.add(project.dir, id, "cpu")
    return ids


def test_order_can_be_changed_and_is_on_disk(project: Project) -> None:
    a, b, c = add(project, 3)
    queue.move(project.dir, c, 0)
    queue.add(project.dir, a)  # twice is once
    assert [e.run for e in queue.entries()] == [c, a, b]
    assert queue.position(project.dir, b) == 2
    queue.remove(project.dir, a)
    assert [e.run for e in queue.entries()] == [c, b] and queue.position(project.dir, a) is None


def test_nothing_starts_while_the_device_is_held(project: Project) -> None:
    (a,) = add(project, 1)
    started: list[str] = []
    busy = FileLock(layout.device_lock("cpu"))
    assert busy.acquire()
    assert not queue.start_next(lambda e: started.append(e.run)) and started == []
    busy.release()
    assert queue.start_next(lambda e: started.append(e.run)) and started == [a] and queue.entries() == []


def test_a_runner_killed_at_the_start_loses_no_run(project: Project) -> None:
    (a,) = add(project, 1)

    def killed(entry: queue.Waiting) -> None:
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        queue.start_next(killed)
    assert [e.run for e in queue.entries()] == [a]


def test_runs_that_are_gone_or_under_way_leave_the_queue(project: Project) -> None:
    a, b = add(project, 2)
    project.runs.delete(a)
    lock = FileLock(layout.lock_file(layout.run(project.dir, b)))
    assert lock.acquire()
    assert not queue.start_next(lambda e: None)
    assert queue.entries() == []


def test_one_that_was_just_started_has_the_device_before_it_holds_the_lock(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    loading = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    monkeypatch.setattr(launch, "start", lambda run, device, wait_for_device: loading.pid)
    a, b, c = [project.runs.create(PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1")).id for _ in range(3)]
    try:
        assert queue.submit(project.dir, a, "cpu") == loading.pid
        assert queue.submit(project.dir, b, "cpu") is None and queue.submit(project.dir, c, "cpu") is None
        assert not queue.start_next(queue._start)
        assert [e.run for e in queue.entries()] == [b, c]
    finally:
        loading.kill()
        loading.wait()
    assert queue.start_next(queue._start), "its death frees the device"
    assert [e.run for e in queue.entries()] == [c]


def test_submit_starts_at_once_only_on_a_free_device(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    def start(run: Run, device: str, wait_for_device: bool) -> int:
        started.append(run.id)
        return 7
    monkeypatch.setattr(launch, "start", start)
    a, b, c = [project.runs.create(PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1")).id for _ in range(3)]
    assert queue.submit(project.dir, a, "cpu") and started == [a]
    busy = FileLock(layout.device_lock("cpu"))
    assert busy.acquire()
    assert not queue.submit(project.dir, b, "cpu")
    busy.release()
    assert not queue.submit(project.dir, c, "cpu"), "those who wait go first"
    assert [e.run for e in queue.entries()] == [b, c] and started == [a]


def test_a_run_that_cannot_be_started_does_not_keep_the_others_waiting(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = add(project, 2)

    def refused(run: Run, device: str, wait_for_device: bool) -> int:
        raise PermissionError(13, "not yours")
    monkeypatch.setattr(launch, "start", refused)
    assert queue.start_next(queue._start)
    assert [e.run for e in queue.entries()] == [b]


def test_entries_of_something_else_are_passed_over(project: Project) -> None:
    (a,) = add(project, 1)
    file = layout.queue_file()
    file.write_text(file.read_text().replace("[", '[{"run": 3}, 7,', 1))
    assert [e.run for e in queue.entries()] == [a]
