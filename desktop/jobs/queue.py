"""The engine's queue of waiting runs for the window: the list as it changes on disk (by any Fledge), and its reordering."""

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QFileSystemWatcher, QObject, QTimer, Signal

from engine.contract.errors import FledgeError
from engine.project import layout, queue
from engine.project.queue import Waiting

NET_MS = 2000


class RunQueue(QObject):
    """`entries` in their order; `changed` when the file changed; `refused` with the FledgeError of a change that could not be made."""

    changed = Signal()
    refused = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.entries: list[Waiting] = []
        self._watcher = QFileSystemWatcher(self)
        self._watcher.fileChanged.connect(self.look)
        self._watcher.directoryChanged.connect(self.look)
        self._net = QTimer(self)
        self._net.setInterval(NET_MS)
        self._net.timeout.connect(self.look)

    def start(self) -> None:
        """Watch; and when runs wait but nobody is there to start them (the machine was switched off), start who does."""
        queue.ensure_runner()
        self._net.start()
        self.look()

    def stop(self) -> None:
        self._net.stop()

    def look(self) -> None:
        """Read the file; tell when it differs. The file is replaced at each change, so it is watched anew."""
        file = layout.queue_file()
        if file.parent.is_dir() and not self._watcher.directories():
            self._watcher.addPath(str(file.parent))
        if file.exists() and not self._watcher.files():
            self._watcher.addPath(str(file))
        found = queue.entries()
        if found != self.entries:
            self.entries = found
            self.changed.emit()

    def place(self, project: Path, run: str) -> int | None:
        """0 for the next, None when it does not wait."""
        return next((i for i, e in enumerate(self.entries) if (e.project, e.run) == (str(project), run)), None)

    def move(self, entry: Waiting, place: int) -> None:
        self._change(lambda: queue.move(Path(entry.project), entry.run, place))

    def remove(self, entry: Waiting) -> None:
        self._change(lambda: queue.remove(Path(entry.project), entry.run))

    def add(self, project: Path, run: str, device: str = "auto") -> None:
        self._change(lambda: queue.add(project, run, device))

    def _change(self, change: Callable[[], None]) -> None:
        try:
            change()
        except FledgeError as wrong:
            self.refused.emit(wrong)
        self.look()
