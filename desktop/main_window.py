"""The window: the rail and the pages beside it, nothing else. Pages are built when they are first shown."""

import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from PySide6.QtCore import QByteArray, QEvent, QPoint, QSize, Qt, QTimer
from PySide6.QtGui import QAction, QCloseEvent, QGuiApplication, QKeySequence, QShortcut
from PySide6.QtWidgets import QFileDialog, QMainWindow, QMenu, QStackedWidget, QWidget

from desktop.context import AppContext
from desktop.jobs.collector import set_aside
from desktop.jobs.gpu_memory import cuda_memory
from desktop.pages import PAGES, PageEntry, keys, page
from desktop.widgets.buttons import Button
from desktop.widgets.layout import col, row
from desktop.widgets.notes import Note, NoteSlot
from desktop.widgets.page import Page
from desktop.widgets.rail import Rail
from desktop.widgets.toast import Toast
from engine.contract.errors import FledgeError
from engine.contract.units import size
from engine.contract.words import tr
from engine.project import recent

MEMORY_MS, SLOW_MEMORY_MS = 2000, 5000
OPENS = QSize(1280, 800)
FRAME_MS = (0, 250, 1000)  # a window manager puts its frame round the window some time after it is shown
RECENT = 8


class MainWindow(QMainWindow):
    """Built whole from the context; `show_page` is the only way to a page."""

    def __init__(self, context: AppContext) -> None:
        super().__init__()
        self.context = context
        self.setWindowTitle("Fledge")
        self.setMinimumSize(960, 600)
        self.pages: dict[str, Page] = {}
        self.shown = ""
        self._asking = self._fitted = False
        self._memory = QTimer(self)
        self._memory.setInterval(MEMORY_MS)
        self._memory.timeout.connect(self._read_memory)
        self._build()
        self._keys()
        self._restore_geometry()
        context.navigate_requested.connect(self.show_page)
        context.toast_requested.connect(lambda words, button, action: self.toast.say(words, button, action))
        context.open_folder_requested.connect(self.open_folder)
        context.project_changed.connect(self._project_changed)
        context.survey_changed.connect(self._survey_changed)
        context.machine_changed.connect(self._read_memory)
        context.theme.scale_changed.connect(self._rebuild)
        self._project_changed()

    # building ---------------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        theme = self.context.theme
        listed = [entry for entry in PAGES if entry.place != "hidden"]
        of = keys()
        self.rail = Rail(theme, [(e.id, e.title, e.place, e.icon, f"{e.title}  {of.get(e.id, '')}".strip()) for e in listed])
        self.rail.page_clicked.connect(self.show_page)
        self.rail.project_clicked.connect(self._project_menu)
        self.rail.settings_clicked.connect(lambda: self.show_page("settings"))
        self.stack = QStackedWidget()
        self.notes = NoteSlot(theme)
        self.notes.layout().setContentsMargins(32, 16, 32, 0)
        side = col(self.notes, (self.stack, 1), gap=0)
        side.setProperty("kind", "page")
        side.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setCentralWidget(row(self.rail, (side, 1), gap=0))
        self.toast = Toast(theme, side)

    def _rebuild(self) -> None:
        """The text has another size: everything that measured itself is built again. The project and its runs are untouched."""
        shown, self.pages = self.shown, {}
        old = self.takeCentralWidget()
        self._build()
        old.deleteLater()
        self.shown = ""
        self._project_changed()
        self.show_page(shown or "home")

    def _keys(self) -> None:
        for id, key in keys().items():
            self._key(key, partial(self.show_page, id))
        self._key("Ctrl+N", self.new_project)
        self._key("Ctrl+O", self.open_folder)
        self._key("Ctrl+,", partial(self.show_page, "settings"))
        self._key("Ctrl+Q", self.close)
        self._key("F1", self.show_keys)

    def _key(self, keys: str, act: Any) -> None:
        QShortcut(QKeySequence(keys), self).activated.connect(lambda: act())

    # pages ------------------------------------------------------------------------------------------------------------

    def show_page(self, id: str, args: dict[str, Any] | None = None) -> None:
        """Show a page, built if it is the first time; a stage page without a project leads home."""
        entry: PageEntry = page(id)
        if entry.needs_project and self.context.project is None:
            entry, args = page("home"), None
        before = self.pages.get(self.shown)
        if entry.id not in self.pages:
            made = entry.build(self.context)
            self.pages[entry.id] = made
            self.stack.addWidget(made)
        now = self.pages[entry.id]
        if before is not None and before is not now:
            before.left()
        self.shown = entry.id
        self.stack.setCurrentWidget(now)
        self.rail.show_page(entry.id)
        project = f"{self.context.project.name} – " if self.context.project is not None else ""
        self.setWindowTitle(f"{project}{entry.title} – Fledge")
        now.opened(**(args or {}))
        set_aside()

    def _drop_pages(self) -> None:
        """Pages show one project; another one gets new pages."""
        for id in [id for id in self.pages if page(id).needs_project]:
            gone = self.pages.pop(id)
            gone.left()
            self.stack.removeWidget(gone)
            gone.deleteLater()

    # the project ------------------------------------------------------------------------------------------------------

    def _project_changed(self) -> None:
        project = self.context.project
        self._drop_pages()
        for entry in PAGES:
            if entry.place in ("stage", "tool"):
                self.rail.set_usable(entry.id, project is not None)
        self._survey_changed()
        if self.shown and page(self.shown).needs_project:
            self.show_page("home")

    def _survey_changed(self) -> None:
        project, found = self.context.project, self.context.survey
        if project is None:
            self.rail.set_project(tr("No project"), tr("Click to open one"))
        else:
            self.rail.set_project(project.name, (found.model_title if found is not None else "") or tr("no model yet"))
        self.rail.set_stages([(s.id, s.state, s.share, s.words) for s in found.stages] if found is not None else
                             [(e.id, "nothing", 0.0, "") for e in PAGES if e.place == "stage"])

    def _project_menu(self) -> None:
        menu = QMenu(self)
        icon = self.context.theme.icon
        menu.addAction(icon("plus"), tr("New project…"), self.new_project).setShortcut(QKeySequence("Ctrl+N"))
        menu.addAction(icon("folder"), tr("Open folder…"), self.open_folder).setShortcut(QKeySequence("Ctrl+O"))
        here = str(self.context.project.dir) if self.context.project is not None else ""
        known = [r for r in recent.recent() if r.exists and r.path != here][:RECENT]
        if known:
            menu.addSeparator()
            for entry in known:
                action = QAction(entry.name, menu)
                action.setToolTip(entry.path)
                action.triggered.connect(lambda _=False, path=entry.path: self.open_project(path))
                menu.addAction(action)
        if self.context.project is not None:
            menu.addSeparator()
            menu.addAction(tr("Close project"), self.context.close_project)
        self._menu = menu
        menu.popup(self.rail.project.mapToGlobal(QPoint(0, self.rail.project.height() + 2)))

    def new_project(self) -> None:
        from desktop.widgets.new_project import NewProjectDialog
        dialog = NewProjectDialog(self.context, self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.made.connect(lambda: self.show_page("corpus" if dialog.draft.start == "text" else "home"))
        dialog.open()

    def open_folder(self) -> None:
        start = str(self.context.project.dir.parent) if self.context.project is not None else str(Path.home())
        chosen = QFileDialog.getExistingDirectory(self, tr("Open a project's folder"), start)
        if chosen:
            self.open_project(chosen)

    def open_project(self, path: str | Path) -> bool:
        """Open a project and show Home; what is in the way is said above the page."""
        try:
            self.context.open_project(path)
        except FledgeError as wrong:
            self.notes.show_error(wrong, self._close_note())
            return False
        self.notes.clear()
        if self.shown:
            self.show_page("home")
        return True

    def show_note(self, note: Note) -> None:
        """A note above every page: for what concerns the whole window."""
        self.notes.show_note(note)

    def show_problem(self, wrong: Exception) -> None:
        """What a boundary caught: a typed error in its words; ours as what it is, with the details to copy."""
        if isinstance(wrong, FledgeError):
            self.notes.show_error(wrong, self._close_note())
        else:
            self._show_details(tr("Something went wrong inside Fledge"),
                               tr("What you did last may not have happened. Runs are not affected. The details were written down."),
                               "".join(traceback.format_exception(wrong)))

    def show_crash(self, details: str, forget: Callable[[], object]) -> None:
        """The last session ended badly: said once, calmly."""
        self._show_details(tr("Fledge ended unexpectedly last time"),
                           tr("Runs are processes of their own and were not affected. The details help whoever mends it."), details, "info",
                           forget)

    def _show_details(self, title: str, words: str, details: str, kind: str = "danger", then: Callable[[], object] | None = None) -> None:
        theme = self.context.theme

        def close() -> None:
            self.notes.clear()
            if then is not None:
                then()

        def copy() -> None:
            QGuiApplication.clipboard().setText(details)
            self.context.toast(tr("Details copied"))
        self.show_note(Note(theme, kind, title, words, Button(theme, tr("Copy details"), icon="copy", on_click=copy),
                            Button(theme, tr("Close"), on_click=close)))

    def _close_note(self) -> Button:
        return Button(self.context.theme, tr("Close"), on_click=self.notes.clear)

    def show_keys(self) -> None:
        from desktop.widgets.keys_dialog import KeysDialog
        listed = [(key, page(id).title) for id, key in keys().items()]
        dialog = KeysDialog(self.context.theme, [*listed, ("Ctrl+N", tr("New project")), ("Ctrl+O", tr("Open folder")),
                            ("Ctrl+,", tr("Settings")), ("Ctrl+Q", tr("Quit; runs go on")), ("Tab", tr("Next control")),
                            ("F1", tr("These keys"))], self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()

    # the machine ------------------------------------------------------------------------------------------------------

    def _read_memory(self) -> None:
        device = self.context.device_facts
        if device is not None and device.kind == "cuda":
            self._show_memory(device.title, device.memory_total - device.memory_free, device.memory_total)
            if not self._asking:
                self._asking = True
                self.context.jobs.run(lambda: cuda_memory(device.id), then=partial(self._cuda_read, device.title), owner=self)
            return
        memory = psutil.virtual_memory()
        self._show_memory(device.title if device is not None else tr("This machine"), memory.total - memory.available, memory.total)

    def _cuda_read(self, title: str, found: tuple[int, int] | None) -> None:
        self._asking = False
        if found is not None:
            self._memory.setInterval(SLOW_MEMORY_MS)
            self._show_memory(title, *found)

    def _show_memory(self, title: str, used: int, total: int) -> None:
        self.rail.set_machine(title, used / total if total else 0.0, tr("{used} of {total} in use", used=size(used), total=size(total)))

    # the window itself ------------------------------------------------------------------------------------------------

    def _restore_geometry(self) -> None:
        kept = self.context.settings.get("geometry")
        if not (isinstance(kept, str) and self.restoreGeometry(QByteArray.fromBase64(kept.encode()))):
            self.resize(OPENS)

    def _fit_screen(self) -> None:
        """The whole window, its frame included, stands inside what the screen leaves free."""
        if self.screen() is None or self.isMaximized() or self.isFullScreen() or QGuiApplication.platformName() == "offscreen":
            return  # offscreen has no real screen: pictures and tests set the size they want
        room, frame = self.screen().availableGeometry(), self.frameGeometry()
        fitting = frame.size().boundedTo(room.size())
        if fitting != frame.size():
            self.resize(self.size() - (frame.size() - fitting))
            frame.setSize(fitting)
        if not room.contains(frame):
            self.move(max(room.left(), min(frame.left(), room.right() + 1 - frame.width())),
                      max(room.top(), min(frame.top(), room.bottom() + 1 - frame.height())))

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.WindowStateChange:
            self._memory.stop() if self.isMinimized() else self._memory.start()

    def showEvent(self, event) -> None:
        super().showEvent(event)
        self._memory.start()
        QTimer.singleShot(0, self._read_memory)
        if not self._fitted:
            self._fitted = True
            self._fit_screen()
            for wait in FRAME_MS:
                QTimer.singleShot(wait, self, self._fit_screen)

    def closeEvent(self, event: QCloseEvent) -> None:
        self.context.remember("geometry", bytes(self.saveGeometry().toBase64().data()).decode())
        for each in self.pages.values():
            each.left()
        self._memory.stop()
        self.context.close()
        super().closeEvent(event)


def raise_window(window: QWidget) -> None:
    """Bring a window to the front, from wherever it was."""
    window.setWindowState(window.windowState() & ~Qt.WindowState.WindowMinimized)
    window.show()
    window.raise_()
    window.activateWindow()
