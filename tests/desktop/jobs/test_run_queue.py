"""The window's view of the queue follows the file, whoever changes it."""

from pathlib import Path

from desktop.jobs.queue import RunQueue
from engine.project import queue


def test_sees_changes_of_others_and_changes_the_order(home: Path, qtbot, monkeypatch) -> None:
    monkeypatch.setattr(queue, "ensure_runner", lambda: None)
    shown = RunQueue()
    shown.start()
    for run in ("1-pretrain", "2-pretrain", "3-pretrain"):
        queue.add(home, run)
    qtbot.waitUntil(lambda: [e.run for e in shown.entries] == ["1-pretrain", "2-pretrain", "3-pretrain"], timeout=5000)
    shown.move(shown.entries[2], 0)
    assert [e.run for e in shown.entries] == ["3-pretrain", "1-pretrain", "2-pretrain"]
    assert [e.run for e in queue.entries()] == ["3-pretrain", "1-pretrain", "2-pretrain"]
    assert shown.place(home, "2-pretrain") == 2
    shown.remove(shown.entries[1])
    assert [e.run for e in queue.entries()] == ["3-pretrain", "2-pretrain"]
    shown.stop()
