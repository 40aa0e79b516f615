"""AppContext: what pages and the window share, passed in and never global. Theme, settings, the open project and what is in it, short work
in threads, the way to another page, toasts, this machine. It builds no widget.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtWidgets import QApplication

from desktop.jobs.background import Background
from desktop.jobs.collector import Collector
from desktop.jobs.machine_probe import MachineProbe
from desktop.settings import Settings
from desktop.theme.theme import MODES, SCALES, Theme
from engine.contract.machine import DeviceFacts, MachineFacts
from engine.project import layout, recent

if TYPE_CHECKING:  # what reads projects is loaded when the first one is opened: numpy and the library cost the first paint a third
    from desktop.jobs.chat_client import ChatClient
    from desktop.models.survey import Survey
    from engine.project.project import Project

LOOK_MS = 1000
SETTLE_MS = 400


class AppContext(QObject):
    """`project` is None until one is open, `survey` None until it was looked at (in a thread, every second; small projects at once)."""

    project_changed = Signal()
    survey_changed = Signal()
    machine_changed = Signal()
    recent_changed = Signal()
    navigate_requested = Signal(str, dict)
    toast_requested = Signal(str, str, object)
    open_folder_requested = Signal()

    def __init__(self, app: QApplication) -> None:
        super().__init__()
        self.settings = Settings(layout.settings_file())
        mode, scale = self.settings.get("theme", "system"), self.settings.get("scale", 1.0)
        self.theme = Theme(app, mode if mode in MODES else "system", scale if scale in SCALES else 1.0)
        self.jobs, self.collector = Background(self), Collector(self)
        self.project: Project | None = None
        self.survey: Survey | None = None
        self.machine: MachineFacts | None = MachineFacts.read(layout.machine_file())
        self.probe = MachineProbe(self)
        self.probe.found.connect(self._machine_found)
        self._look = QTimer(self)
        self._look.setInterval(LOOK_MS)
        self._look.timeout.connect(self.look)
        self._looking = False
        self._server: ChatClient | None = None
        self._save = QTimer(self)
        self._save.setSingleShot(True)
        self._save.setInterval(SETTLE_MS)
        self._save.timeout.connect(self.settings.flush)

    # the project ------------------------------------------------------------------------------------------------------

    def open_project(self, dir: Path | str) -> "Project":
        """Open a project's folder; a FledgeError says why it cannot be."""
        from engine.project.project import Project
        self._take(Project.open(dir))
        assert self.project is not None
        return self.project

    def create_project(self, dir: Path | str, name: str, origin: str = "") -> "Project":
        """Make a project in a new or empty folder and open it."""
        from engine.project.project import Project
        self._take(Project.create(dir, name, origin))
        assert self.project is not None
        return self.project

    def close_project(self) -> None:
        if self.project is not None:
            self._take(None)

    def look(self) -> None:
        """Look at the project's folder now; `survey_changed` follows if anything is different."""
        if self.project is None or self._looking:
            return
        from desktop.models.survey import survey
        project, self._looking = self.project, True
        self.jobs.run(lambda: survey(project), then=self._looked, failed=self._not_looked, owner=self)

    def choices(self, kind: str) -> list[tuple[str, str]]:
        """(id, words) of the project's artifacts of a kind, newest first: what a SpecForm asks for."""
        return self.survey.choices(kind) if self.survey is not None else []

    @property
    def server(self) -> "ChatClient":
        """The open project's local server, one for everybody who asks: the Chat page, and other programs where the person lets them in."""
        if self._server is None:
            from desktop.jobs import serving
            from desktop.jobs.chat_client import ChatClient
            assert self.project is not None
            self._server = ChatClient(self.project.dir, self, self.device, lambda: serving.options(self.settings))
        return self._server

    def _take(self, project: "Project | None") -> None:
        self._end_server()
        self.project, self.survey, self._looking = project, None, False
        if project is not None:
            from desktop.models.survey import few_runs, survey
            recent.remember(project.dir, project.name)
            if few_runs(project):  # pages are whole at once; a folder of many runs is read in a thread, and they fill when it is there
                self.survey = survey(project)
            else:
                self.look()
            self._look.start()
        else:
            self._look.stop()
        self.remember("last_project", str(project.dir) if project is not None else None)
        self.recent_changed.emit()
        self.project_changed.emit()
        self.survey_changed.emit()
        if project is not None and self.settings.get("serve.on"):
            QTimer.singleShot(0, self, lambda: self.server.start() if self.project is not None else None)

    def _end_server(self) -> None:
        if self._server is not None:
            self._server.stop_server()
            self._server.deleteLater()
            self._server = None

    def _looked(self, found: "Survey") -> None:
        self._looking = False
        if self.project is not None and found.project_dir == self.project.dir and found != self.survey:
            self.survey = found
            self.survey_changed.emit()

    def _not_looked(self, wrong: Exception) -> None:
        self._looking = False
        if not isinstance(wrong, OSError):  # a folder that moves while we look is looked at again
            raise wrong

    # around -----------------------------------------------------------------------------------------------------------

    def navigate(self, page: str, **args: Any) -> None:
        """Show a page by its id; it gets `opened(**args)`."""
        self.navigate_requested.emit(page, args)

    def toast(self, words: str, button: str = "", action: Callable[[], object] | None = None) -> None:
        """Say what has been done, with Undo perhaps. Never for errors."""
        self.toast_requested.emit(words, button, action)

    def remember(self, key: str, value: Any) -> None:
        """Keep a setting; it is on the disk a moment later."""
        self.settings.set(key, value)
        if self.settings.waiting:
            self._save.start()

    def set_theme(self, mode: str) -> None:
        self.theme.set_mode(mode)
        self.remember("theme", mode)

    @property
    def device(self) -> str:
        """The device that runs start on: "auto" (the best there is) unless the person chose one that this machine has."""
        chosen = str(self.settings.get("device", "auto"))
        return chosen if self.machine is None or self.machine.device(chosen) is not None else "auto"

    @property
    def device_facts(self) -> DeviceFacts | None:
        """What is known about that device; None until the machine was looked at."""
        return self.machine.device(self.device) if self.machine is not None else None

    def set_device(self, id: str) -> None:
        self.remember("device", id)
        self.machine_changed.emit()

    def set_scale(self, scale: float) -> None:
        self.remember("scale", scale)
        self.theme.set_scale(scale)

    def _machine_found(self, facts: MachineFacts) -> None:
        self.machine = facts
        self.machine_changed.emit()

    def close(self) -> None:
        """The window is going: write what waits, stop looking. Runs go on by themselves."""
        self._look.stop()
        self._save.stop()
        self.settings.flush()
        self.probe.stop()
        self._end_server()
        self.jobs.close()
        self.collector.close()
