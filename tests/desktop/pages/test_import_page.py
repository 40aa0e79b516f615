"""The import page with a real folder: looked at by a process, shown, taken over by the real stage; refusals by name; nothing on the net."""

import json
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QApplication, QPushButton
from pytestqt.qtbot import QtBot

from desktop.main_window import MainWindow
from desktop.models.import_plan import FoundModel, kind_of_drop
from desktop.pages.import_model import ImportModelPage
from engine.project.project import Project
from engine.stages.export.spec import ExportSpec
from tests.serving import make_project


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in Hugging Face's form, written by our own exporter."""
    from engine.project import launch
    from engine.project.follow import follow
    source = make_project(tmp_path_factory.mktemp("give") / "project", context=512)
    out = tmp_path_factory.mktemp("there") / "ferry"
    run = source.runs.create(ExportSpec(model="model-1", to="hf", out=str(out), licence="apache-2.0"))
    assert follow(run, launch.start(run)).status == "done", run.log_tail()
    return out


@pytest.fixture
def page(window: MainWindow, project: Project) -> ImportModelPage:
    window.resize(1280, 800)
    window.show_page("import_model")
    shown = window.pages["import_model"]
    assert isinstance(shown, ImportModelPage)
    return shown


def button(page: ImportModelPage, words: str) -> QPushButton:
    QApplication.processEvents()
    return next(b for b in page.findChildren(QPushButton) if b.text().strip() == words and b.isVisible())


def drop(page: ImportModelPage, path: Path) -> bool:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    event = QDropEvent(QPointF(50, 50), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier)
    page.start.dropEvent(event)
    return event.isAccepted()


def test_a_dropped_folder_is_shown_imported_and_can_be_talked_to(page: ImportModelPage, folder: Path, qtbot: QtBot) -> None:
    assert drop(page, folder) and page.start._looking.words() == "Looking at ferry"
    qtbot.waitUntil(lambda: page._view == "found", timeout=60_000)
    assert isinstance(page.found, FoundModel) and page.found.architecture == "llama" and page.found.licence == "apache-2.0"
    assert not page.project.artifacts.list("model") and not page.project.runs.list()  # nothing is made before it is asked for
    values = dict(page.found.facts())
    assert values["Licence"] == "apache-2.0" and values["Context"] == "512 tokens" and "safetensors" in values["Kind"]
    page.details.form.set("dtype", "bfloat16")
    assert page.found.stored("bfloat16") == page.found.parameters * 2
    title = page.details.form.rows["title"].control
    title.setFocus()
    qtbot.keyClicks(title, "Ferry")
    qtbot.mouseClick(button(page, "Import"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: page._view == "done", timeout=90_000)
    (made,) = page.project.artifacts.list("model")
    assert made.title == "Ferry" and made.facts["dtype"] == "bfloat16"
    qtbot.mouseClick(button(page, "Chat with it"), Qt.MouseButton.LeftButton)
    assert page.context.settings is not None and page.isHidden()


def test_what_cannot_be_taken_over_is_refused_by_name(page: ImportModelPage, tmp_path: Path, qtbot: QtBot) -> None:
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "config.json").write_text(json.dumps({"model_type": "mamba"}))
    page.look(str(strange))
    qtbot.waitUntil(lambda: page._notes.note is not None, timeout=60_000)
    assert page._notes.note is not None and "strange cannot be imported. Models of type mamba" in page._notes.note.accessibleName()
    assert page._view == "start" and not page.start._busy.isVisible() and button(page, "Choose a folder").isVisible()
    assert not drop(page, tmp_path / "picture.png") and not page._probe.busy


def test_a_look_can_be_called_off(page: ImportModelPage, folder: Path, qtbot: QtBot) -> None:
    page.look(str(folder))
    qtbot.mouseClick(button(page, "Cancel"), Qt.MouseButton.LeftButton)
    assert not page._probe.busy and not page.start._busy.isVisible()
    qtbot.wait(300)
    assert page._view == "start" and page._notes.note is None


def test_the_hub_is_asked_only_while_the_network_is_allowed(page: ImportModelPage, window: MainWindow, qtbot: QtBot) -> None:
    assert not page.start._hub_on.isVisible() and page.start._hub_off.isVisible()
    page.look_up("owner/name")  # whoever gets here all the same is refused by the engine
    qtbot.waitUntil(lambda: page._notes.note is not None, timeout=60_000)
    assert page._notes.note is not None and "network is off" in page._notes.note.accessibleName()
    window.show_page("settings")
    qtbot.mouseClick(window.pages["settings"].network, Qt.MouseButton.LeftButton)  # type: ignore[attr-defined]
    assert json.loads(page.context.settings.path.read_text())["network"] is True
    window.show_page("import_model")
    assert page.start._hub_on.isVisible() and not page.start._hub_off.isVisible()


def test_home_and_pretrain_lead_here(window: MainWindow, project: Project, qtbot: QtBot) -> None:
    for start in ("home", "pretrain"):
        window.show_page(start)
        QApplication.processEvents()
        words = {"home": "Import a model", "pretrain": "Start from an open model"}[start]
        found = next(b for b in window.pages[start].findChildren(QPushButton) if b.text().strip() == words and b.isVisible())
        qtbot.mouseClick(found, Qt.MouseButton.LeftButton)
        assert window.shown == "import_model"


def test_of_what_is_dropped_the_first_possible_model_is_taken(tmp_path: Path) -> None:
    assert kind_of_drop(["/x/notes.txt", "/x/model.GGUF", str(tmp_path)]) == "/x/model.GGUF"
    assert kind_of_drop([str(tmp_path)]) == str(tmp_path) and kind_of_drop([]) == ""
