"""Short work in threads: results on the window's thread, nothing told to the dead, exceptions not lost."""

import threading

import pytest
from PySide6.QtWidgets import QWidget

from desktop.jobs.background import Background


@pytest.fixture
def jobs(qapp):
    made = Background()
    yield made
    made.close()


def test_work_runs_in_a_thread_and_the_answer_comes_here(jobs: Background, qtbot) -> None:
    seen: list[tuple[int, int]] = []
    jobs.run(threading.get_ident, then=lambda there: seen.append((there, threading.get_ident())))
    qtbot.waitUntil(lambda: bool(seen))
    assert seen[0][0] != threading.get_ident() and seen[0][1] == threading.get_ident()
    assert not jobs.busy


def test_an_exception_goes_to_whoever_takes_it(jobs: Background, qtbot) -> None:
    seen: list[Exception] = []
    jobs.run(lambda: 1 / 0, failed=seen.append)
    qtbot.waitUntil(lambda: bool(seen))
    assert isinstance(seen[0], ZeroDivisionError)


def test_an_exception_nobody_takes_reaches_the_hook(jobs: Background, qtbot) -> None:
    with qtbot.captureExceptions() as caught:
        jobs.run(lambda: 1 / 0)
        qtbot.waitUntil(lambda: bool(caught))
    assert caught[0][0] is ZeroDivisionError


def test_nothing_is_told_to_an_owner_that_is_gone(jobs: Background, qtbot) -> None:
    gate, seen = threading.Event(), []
    owner = QWidget()
    jobs.run(lambda: gate.wait(5), then=seen.append, owner=owner)
    owner.deleteLater()
    qtbot.wait(30)
    gate.set()
    qtbot.waitUntil(lambda: not jobs.busy)
    assert seen == []


def test_after_closing_nothing_is_told(jobs: Background, qtbot) -> None:
    seen: list[int] = []
    jobs.run(lambda: 1, then=seen.append)
    jobs.close()
    jobs.run(lambda: 2, then=seen.append)
    qtbot.wait(60)
    assert seen == []
