"""Starts the guided tour (`fledge demo DIR`) as a detached process and waits for its project to appear. It goes on without the window."""

from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from engine.project import launch, layout

LOOK_MS = 200


class DemoStart(QObject):
    """`ready(folder)` when there is a project to open; `refused(str)` with the last lines it said when it ended before."""

    ready = Signal(str)
    refused = Signal(str)

    def __init__(self, folder: Path, arguments: list[str], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._folder = folder
        self._log = layout.user_state() / "demo.log"
        layout.user_state().mkdir(parents=True, exist_ok=True)
        self._log.write_text("", "utf-8")
        self.pid = launch.detach([launch.interpreter(), *arguments], self._log)
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MS)
        self._timer.timeout.connect(self._look)
        self._timer.start()

    def _look(self) -> None:
        if layout.project_file(self._folder).is_file():
            self._timer.stop()
            self.ready.emit(str(self._folder))
        elif not launch.running(self.pid):
            self._timer.stop()
            said = self._log.read_text("utf-8", "replace").strip().splitlines()
            self.refused.emit("\n".join(said[-4:]))
