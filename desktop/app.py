"""Builds the application: QApplication, AppContext, MainWindow. No exec() and no look at the command line: tests build it the same way."""

from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QCoreApplication, QTimer
from PySide6.QtWidgets import QApplication

from desktop.context import AppContext
from desktop.main_window import MainWindow
from engine import __version__
from engine.contract.errors import FledgeError


@dataclass
class App:
    """What lives as long as the application does."""

    qt: QApplication
    context: AppContext
    window: MainWindow

    def show(self) -> None:
        self.window.show_page("home")
        self.window.show()

    def open_first(self, folder: Path | None = None) -> None:
        """The project that was asked for, else the one that was open last: after the first paint, so that the window is there at once."""
        asked = folder or self.context.settings.get("last_project")
        if asked:
            QTimer.singleShot(0, self.window, lambda: self._open(Path(asked), folder is not None))

    def _open(self, folder: Path, asked: bool) -> None:
        if asked:
            self.window.open_project(folder)
            return
        try:
            self.context.open_project(folder)
        except FledgeError:
            self.context.remember("last_project", None)  # moved or deleted since: Home says so in its list
        if self.window.shown == "home":
            self.window.show_page("home")


def build(arguments: list[str] | None = None) -> App:
    """The application, not yet shown. One QApplication a process: an existing one is taken."""
    found = QCoreApplication.instance()
    qt = found if isinstance(found, QApplication) else QApplication(arguments or ["fledge"])
    qt.setApplicationName("fledge")
    qt.setApplicationDisplayName("Fledge")
    qt.setApplicationVersion(__version__)
    qt.setDesktopFileName("fledge")
    context = AppContext(qt)
    return App(qt, context, MainWindow(context))
