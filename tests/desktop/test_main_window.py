"""The window: pages built when shown, the rail tells the project's state, keys lead everywhere, geometry and theme are remembered."""

import sys
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QDialog

from desktop import pages
from desktop.context import AppContext
from desktop.main_window import MainWindow
from desktop.models.beside import BESIDE
from desktop.pages import PAGES, PageEntry, keys
from desktop.widgets.page import Page
from desktop.widgets.text import Text
from engine.contract.errors import ProjectError
from engine.project.project import Project


class Blank(Page):
    """A page that writes down what happens to it."""

    def __init__(self, context: AppContext) -> None:
        super().__init__(context)
        self.log: list[object] = []
        self.set_body(Text("blank"), "+")

    def opened(self, **args) -> None:
        self.log.append(args)

    def left(self) -> None:
        self.log.append("left")


@pytest.fixture(autouse=True)
def _blank_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that need a project are blank here: their own tests are elsewhere."""
    build = PageEntry.build
    monkeypatch.setattr(PageEntry, "build", lambda self, context: Blank(context) if self.needs_project else build(self, context))


def test_every_stage_of_the_pipeline_has_a_page() -> None:
    from engine.pipeline import STAGES
    assert [e.id for e in PAGES if e.place == "stage" and e.id != "verifiers"] == [s for s in STAGES if s not in BESIDE]
    shown = [e.id for e in PAGES if e.place == "stage"]
    assert shown.index("verifiers") == shown.index("grpo") - 1
    assert pages.page("home").needs_project is False


def test_pages_are_built_when_they_are_first_shown(window: MainWindow, project: Project) -> None:
    assert list(window.pages) == ["home"]
    window.show_page("corpus", {"run": "1-corpus"})
    assert list(window.pages) == ["home", "corpus"]
    page = window.pages["corpus"]
    window.show_page("runs")
    window.show_page("corpus")
    assert window.pages["corpus"] is page and page.log == [{"run": "1-corpus"}, "left", {}]
    assert window.rail.items["corpus"].isChecked() and not window.rail.items["runs"].isChecked()


def test_without_a_project_a_stage_leads_home(window: MainWindow) -> None:
    window.show_page("pretrain")
    assert window.shown == "home" and not window.rail.items["pretrain"].isEnabled()


def test_the_title_names_project_and_page(window: MainWindow, project: Project) -> None:
    window.show_page("chat")
    assert window.windowTitle() == "Lowland Gazette – Chat – Fledge"


def test_the_rail_shows_what_the_project_holds(window: MainWindow, project: Project, context: AppContext, qtbot) -> None:
    assert window.rail.project.title == "Lowland Gazette"
    assert window.rail.items["corpus"].state == "ready" and window.rail.items["tokenizer"].state == "nothing"
    with project.artifacts.create("corpus", title="Books") as made:
        made.finish(documents=3)
    context.look()
    qtbot.waitUntil(lambda: window.rail.items["corpus"].state == "done")
    assert window.rail.items["tokenizer"].state == "ready"
    assert "done" in window.rail.items["corpus"].accessibleName()


def test_another_project_gets_new_pages(window: MainWindow, project: Project, context: AppContext, tmp_path: Path) -> None:
    window.show_page("corpus")
    before = window.pages["corpus"]
    context.create_project(tmp_path / "other", "Other")
    assert window.shown == "home" and "corpus" not in window.pages and before.log[-1] == "left"
    context.close_project()
    assert window.rail.items["corpus"].state == "nothing" and window.rail.project.title == "No project"


def test_control_or_alt_and_a_figure_lead_to_the_pages(window: MainWindow, project: Project, qtbot) -> None:
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    control, alt = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.AltModifier
    last = [e.id for e in PAGES if e.place in ("home", "stage")][-1]
    of = keys()
    assert len(set(of.values())) == len(of) and of[last].startswith("Ctrl+") and of["chat"] == "Alt+1"
    for key, held, id in ((Qt.Key.Key_2, control, "corpus"), (Qt.Key(Qt.Key.Key_0 + int(of["runs"][-1])), alt, "runs"),
                          (Qt.Key.Key_1, control, "home"), (Qt.Key.Key_Comma, control, "settings")):
        qtbot.keyClick(window, key, held)
        qtbot.waitUntil(lambda id=id: window.shown == id)


def test_f1_shows_the_keys(window: MainWindow, qtbot) -> None:
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    qtbot.keyClick(window, Qt.Key.Key_F1)
    qtbot.waitUntil(lambda: any(d.isVisible() for d in window.findChildren(QDialog)))
    dialog = next(d for d in window.findChildren(QDialog) if d.isVisible())
    qtbot.keyClick(dialog, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: not window.findChildren(QDialog))


def test_everything_on_home_is_reached_by_tab(window: MainWindow, project: Project, qtbot) -> None:
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    names, first = [], None
    for _ in range(60):
        qtbot.keyClick(window.focusWidget() or window, Qt.Key.Key_Tab)
        now = window.focusWidget()
        if now is first:
            break
        first = first or now
        names.append(now.accessibleName())
    assert all(names), f"a control without a name: {names}"
    wanted = ["Project: Lowland Gazette", "Home", "Corpus", "Chat", "Runs", "Settings", "Open folder", "New project", "Recent projects"]
    missing = [w for w in wanted if not any(n.startswith(w) for n in names)]
    assert not missing, names


def test_geometry_is_remembered(window: MainWindow, context: AppContext, qtbot, qapp) -> None:
    window.resize(1000, 700)  # the screen of these tests is 800 high
    window.close()
    again = AppContext(qapp)
    try:
        other = MainWindow(again)
        qtbot.addWidget(other)
        assert other.height() == 700
    finally:
        again.close()


@pytest.mark.parametrize("scale", [1.0, 1.25, 1.5])
@pytest.mark.parametrize("size", [(1280, 800), (1920, 1080)])
def test_no_page_grows_the_window(window: MainWindow, context: AppContext, project: Project, size, scale, qtbot) -> None:
    context.set_scale(scale)
    window.resize(*size)
    for id in ("home", "settings"):
        window.show_page(id)
        qtbot.wait(20)
        assert (window.width(), window.height()) == size
        if scale == 1.0:
            assert window.pages[id].scroll.horizontalScrollBar().maximum() == 0
    context.set_scale(1.0)


def test_text_size_rebuilds_the_window_and_stays_on_the_page(window: MainWindow, context: AppContext, project: Project) -> None:
    window.show_page("settings")
    wide = window.rail.width()
    context.set_scale(1.5)
    assert window.shown == "settings" and window.rail.width() == round(wide * 1.5)
    assert window.rail.project.title == "Lowland Gazette"
    context.set_scale(1.0)


def test_a_folder_without_a_project_is_said_above_the_page(window: MainWindow, tmp_path: Path) -> None:
    assert window.open_project(tmp_path) is False
    assert window.notes.note is not None and "no project" in window.notes.note.accessibleName()
    Project.create(tmp_path / "real")
    assert window.open_project(tmp_path / "real") and window.notes.note is None


def test_a_problem_of_ours_can_be_copied(window: MainWindow, qtbot) -> None:
    window.show_problem(ZeroDivisionError("division by zero"))
    copy = next(b for b in window.notes.findChildren(type(window.rail.settings)) if "Copy" in b.accessibleName())
    copy.click()
    assert "division by zero" in QGuiApplication.clipboard().text()
    assert window.toast.isVisible()


def test_a_problem_of_theirs_is_said_in_its_words(window: MainWindow) -> None:
    window.show_problem(ProjectError("The folder is locked.", "Close the other window."))
    assert "The folder is locked." in window.notes.note.accessibleName()


def test_the_last_crash_is_told_once_and_forgotten(window: MainWindow) -> None:
    forgotten: list[int] = []
    window.show_crash("Fatal Python error: Aborted", lambda: forgotten.append(1))
    close = next(b for b in window.notes.findChildren(type(window.rail.settings)) if b.accessibleName() == "Close")
    close.click()
    assert forgotten == [1] and window.notes.note is None


def test_a_toast_says_and_undoes(context: AppContext, window: MainWindow) -> None:
    undone: list[int] = []
    context.toast("Deleted run 3", "Undo", lambda: undone.append(1))
    assert window.toast.isVisible() and window.toast.accessibleName() == "Deleted run 3"
    window.toast._button.click()
    assert undone == [1] and not window.toast.isVisible()


def test_the_theme_is_remembered(context: AppContext, home: Path) -> None:
    context.set_theme("dark")
    context.settings.flush()
    import json
    assert json.loads((home / "settings.json").read_text())["theme"] == "dark"


def test_the_window_never_loads_torch(tmp_path: Path) -> None:
    import os
    import subprocess
    code = ("import sys; from desktop.app import build; a = build(); a.show(); a.window.repaint();"
            "print([m for m in ('torch', 'transformers', 'datasets', 'pandas', 'pyqtgraph', 'numpy') if m in sys.modules]);"
            "a.window.close()")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True,
                          cwd=Path(__file__).parents[2], env={**os.environ, "FLEDGE_HOME": str(tmp_path)})
    assert done.stdout.strip() == "[]"
