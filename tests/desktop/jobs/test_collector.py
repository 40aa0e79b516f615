"""Garbage is collected on the window's thread alone, and it is collected."""

import gc
import threading

from pytestqt.qtbot import QtBot

from desktop.jobs.background import Background
from desktop.jobs.collector import Collector

ENDED: list[str] = []


class Knot:
    """Holds itself, as a widget does whose button calls it."""

    def __init__(self) -> None:
        self.own = self

    def __del__(self) -> None:
        ENDED.append(threading.current_thread().name)


def make_garbage() -> None:
    for _ in range(20_000):
        Knot()


def test_what_a_thread_leaves_is_collected_by_the_window(qtbot: QtBot) -> None:
    ENDED.clear()
    jobs, collector, done = Background(), Collector(), []
    jobs.run(make_garbage, then=done.append)
    qtbot.waitUntil(lambda: bool(done), timeout=10_000)
    qtbot.waitUntil(lambda: len(ENDED) >= 19_000, timeout=10_000)
    assert set(ENDED) == {threading.current_thread().name}
    jobs.close()
    collector.close()
    assert gc.isenabled()


def test_without_it_a_thread_would_collect(qtbot: QtBot) -> None:
    """Negative control."""
    ENDED.clear()
    gc.enable()
    jobs, done = Background(), []
    jobs.run(make_garbage, then=done.append)
    qtbot.waitUntil(lambda: bool(done), timeout=10_000)
    jobs.close()
    assert any(name.startswith("background") for name in ENDED)
