"""Follows an events.jsonl and keeps a RunState up to date, without ever holding the window for longer than a blink.

A file watcher tells of growth, a slow timer is the net under it. Reading happens in turns of at most 8 ms an event-loop round, shared by
all tails of the process, with one pending continuation. `changed` comes at most ten times a second. It knows nothing of locks or pages.
"""

import time
from collections import deque
from pathlib import Path
from typing import Protocol

from PySide6.QtCore import QCoreApplication, QFileSystemWatcher, QObject, QTimer, Signal

from engine.contract.events import Event, Metrics
from engine.project.event_log import EventReader
from engine.project.run_state import RunState, apply

TURN_SECONDS = 0.008
SLICE_BYTES = 1 << 15
NET_MS = 1000
CHANGED_MS = 100


class Reads(Protocol):
    """What waits for a turn: reads a little of its file, and says whether there may be more."""

    def read_slice(self) -> bool: ...


class ReadingTurns(QObject):
    """Hands out reading time: all tails together get one turn a round of the event loop, so ten replays cost the window as much as one."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._waiting: deque[Reads] = deque()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._turn)

    @staticmethod
    def shared() -> "ReadingTurns":
        """The one of this application."""
        app = QCoreApplication.instance()
        assert app is not None, "tails need an application"
        found = app.findChild(ReadingTurns)
        return found if isinstance(found, ReadingTurns) else ReadingTurns(app)

    def ask(self, tail: Reads) -> None:
        if tail not in self._waiting:
            self._waiting.append(tail)
        if not self._timer.isActive():
            self._timer.start()

    def forget(self, tail: Reads) -> None:
        if tail in self._waiting:
            self._waiting.remove(tail)

    def _turn(self) -> None:
        until = time.perf_counter() + TURN_SECONDS
        while self._waiting and time.perf_counter() < until:
            tail = self._waiting.popleft()
            if tail.read_slice():
                self._waiting.append(tail)
        if self._waiting:
            self._timer.start()


class EventTail(QObject):
    """One file, one state. `changed`: the state is newer (at most ten times a second); `caught_up`: first time at the end."""

    changed = Signal()
    caught_up = Signal()

    def __init__(self, path: Path, state: RunState, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.path, self.state = path, state
        self.has_caught_up = False
        self._reader = EventReader(path)
        self._turns = ReadingTurns.shared()
        self._watcher = QFileSystemWatcher(self)
        self._watcher.fileChanged.connect(self._wake)
        self._watcher.directoryChanged.connect(self._wake)
        self._net = QTimer(self)
        self._net.setInterval(NET_MS)
        self._net.timeout.connect(self._wake)
        self._told = 0.0
        self._tell_later = QTimer(self)
        self._tell_later.setSingleShot(True)
        self._tell_later.timeout.connect(self._tell)

    def start(self) -> None:
        self._net.start()
        self._wake()

    def stop(self) -> None:
        """No more reading, no more signals; `start` goes on where it stood."""
        self._net.stop()
        self._tell_later.stop()
        self._turns.forget(self)
        for paths in (self._watcher.files(), self._watcher.directories()):
            if paths:
                self._watcher.removePaths(paths)

    def read_slice(self) -> bool:
        """Read and apply a few milliseconds' worth; whether there may be more. Called by the turns."""
        events = self._reader.read(SLICE_BYTES)
        for event in merged(events):
            apply(self.state, event)
        more = bool(events) and self._reader.pending() > 0
        if events:
            self._tell()
        if not more and not self.has_caught_up:
            self.has_caught_up = True
            self.caught_up.emit()
        return more

    def drain(self) -> None:
        """Read to the end at once: for a run known to be over, where the last line decides."""
        while self.read_slice():
            pass

    def _wake(self) -> None:
        if not self._net.isActive():
            return
        self._watch()
        if self._reader.pending() > 0 or not self.has_caught_up:
            self._turns.ask(self)

    def _watch(self) -> None:
        """The file once it is there; its folder until then."""
        if self.path.exists():
            if not self._watcher.files():
                self._watcher.addPath(str(self.path))
            if folders := self._watcher.directories():
                self._watcher.removePaths(folders)
        elif not self._watcher.directories() and self.path.parent.is_dir():
            self._watcher.addPath(str(self.path.parent))

    def _tell(self) -> None:
        since = (time.perf_counter() - self._told) * 1000
        if since >= CHANGED_MS:
            self._tell_later.stop()
            self._told = time.perf_counter()
            self.changed.emit()
        elif not self._tell_later.isActive():
            self._tell_later.start(max(1, int(CHANGED_MS - since) + 1))


def merged(events: list[Event]) -> list[Event]:
    """The same events with neighbouring metrics of one attempt and the same columns joined: fewer, longer appends to the series."""
    made: list[Event] = []
    for event in events:
        last = made[-1] if made else None
        if (isinstance(event, Metrics) and isinstance(last, Metrics) and last.attempt == event.attempt
                and last.columns.keys() == event.columns.keys()):
            for key, values in event.columns.items():
                last.columns[key].extend(values)
            continue
        made.append(event)
    return made
