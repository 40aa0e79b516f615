"""Follows a file of JSON lines that a run appends to, a few milliseconds at a time; whole lines only. What a line means is the taker's
matter.

It shares the reading turns of the events, so that all that is followed together holds the window no longer than one event file does.
"""

import time
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QFileSystemWatcher, QObject, QTimer, Signal

from desktop.jobs.event_tail import CHANGED_MS, NET_MS, ReadingTurns

SLICE_BYTES = 1 << 16
SLICE_SECONDS = 0.006
Take = Callable[[int, bytes], object]


class RowsTail(QObject):
    """`take(offset, line)` is called for every line, in order. `changed`: there are more (at most ten times a second); `caught_up`: the
    first time at the end."""

    changed = Signal()
    caught_up = Signal()

    def __init__(self, path: Path, take: Take, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.path, self._take = path, take
        self.has_caught_up = False
        self._offset = 0  # of the first byte that was not taken
        self._lines: list[tuple[int, bytes]] = []
        self._told = 0.0
        self._turns = ReadingTurns.shared()
        self._watcher = QFileSystemWatcher(self)
        self._watcher.fileChanged.connect(self._wake)
        self._net = QTimer(self)
        self._net.setInterval(NET_MS)
        self._net.timeout.connect(self._wake)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self._tell)

    def start(self) -> None:
        self._net.start()
        self._wake()

    def stop(self) -> None:
        """No more reading; `start` goes on where it stood."""
        self._net.stop()
        self._later.stop()
        self._turns.forget(self)
        if self._watcher.files():
            self._watcher.removePaths(self._watcher.files())

    def read_slice(self) -> bool:
        """Take a few milliseconds' worth; whether there may be more."""
        if not self._lines:
            self._read()
        until, taken = time.perf_counter() + SLICE_SECONDS, 0
        for offset, line in self._lines:
            self._take(offset, line)
            taken += 1
            if time.perf_counter() > until:
                break
        self._lines = self._lines[taken:]
        if taken:
            self._tell()
        more = bool(self._lines) or (taken > 0 and self._size() > self._offset)
        if not more and not self.has_caught_up:
            self.has_caught_up = True
            self.caught_up.emit()
        return more

    def _read(self) -> None:
        """The whole lines of the next bytes. A line longer than a slice is read whole."""
        wanted = SLICE_BYTES
        try:
            with open(self.path, "rb") as file:
                while True:
                    file.seek(self._offset)
                    data = file.read(wanted)
                    end = data.rfind(b"\n") + 1
                    if end or len(data) < wanted:
                        break
                    wanted *= 4
        except FileNotFoundError:
            return
        place = self._offset
        for line in data[:end].split(b"\n")[:-1]:
            self._lines.append((place, line))
            place += len(line) + 1
        self._offset = place

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def _wake(self) -> None:
        if not self._net.isActive():
            return
        if not self._watcher.files() and self.path.exists():
            self._watcher.addPath(str(self.path))
        if self._lines or self._size() > self._offset or not self.has_caught_up:
            self._turns.ask(self)

    def _tell(self) -> None:
        since = (time.perf_counter() - self._told) * 1000
        if since >= CHANGED_MS:
            self._later.stop()
            self._told = time.perf_counter()
            self.changed.emit()
        elif not self._later.isActive():
            self._later.start(max(1, int(CHANGED_MS - since) + 1))
