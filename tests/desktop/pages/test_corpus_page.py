"""The Corpus page with the real import: from files to a result that can be read; mistakes are told where they happen."""

from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QPushButton

from desktop.context import AppContext
from desktop.main_window import MainWindow
from desktop.pages.corpus import CorpusPage
from engine.project.project import Project


@pytest.fixture
def page(window: MainWindow, project: Project) -> CorpusPage:
    window.show_page("corpus")
    made = window.pages["corpus"]
    assert isinstance(made, CorpusPage)
    return made


def button(page: CorpusPage, words: str) -> QPushButton:
    return next(b for b in page.findChildren(QPushButton) if b.text().strip() == words and b.isVisible())


def drop(page: CorpusPage, *paths: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(p)) for p in paths])
    page.dropEvent(QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier))


def test_empty_page_says_what_to_do(page: CorpusPage) -> None:
    assert page._view == "empty"
    assert button(page, "Add a folder").isEnabled() and button(page, "Add files").isEnabled()


def test_dropped_files_are_looked_at_imported_and_read(page: CorpusPage, project: Project, tmp_path: Path, qtbot) -> None:
    text = tmp_path / "ferry.txt"
    text.write_text("The ferry left the quay.\n\n" * 200)
    table = tmp_path / "letters.csv"
    table.write_text("date,body\n1912,Dear sir the ferry is late again\n1913,Dear madam it is not late\n")
    picture = tmp_path / "quay.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    drop(page, text, table, picture)
    qtbot.waitUntil(lambda: page._sources.ready, timeout=20_000)
    found = page._sources.found
    assert found is not None
    assert [f["name"] for f in found["files"]] == ["ferry.txt", "letters.csv"] and found["files"][1]["column"] == "body"
    assert [s["name"] for s in found["skipped"]] == ["quay.png"]
    qtbot.mouseClick(button(page, "Import"), Qt.MouseButton.LeftButton)
    assert page._view == "running"
    qtbot.waitUntil(lambda: page._view == "result", timeout=40_000)
    (made,) = project.artifacts.list("corpus")
    assert made.facts["originals"] == 3 and made.facts["skipped_count"] == 1
    qtbot.waitUntil(lambda: "The ferry left the quay." in page._result._text.words(), timeout=20_000)
    assert page._sources.sources == []


def test_sources_survive_a_crash_of_the_app(page: CorpusPage, context: AppContext, tmp_path: Path, qtbot) -> None:
    text = tmp_path / "ferry.txt"
    text.write_text("The ferry left the quay.")
    drop(page, text)
    context.settings.flush()
    again = CorpusPage(context)
    qtbot.addWidget(again)
    again.opened()
    assert again._sources.sources == [str(text)] and again._view == "sources"
    again._leave_sources()
    assert again._view == "empty"


def test_nothing_readable_is_told_on_the_page(page: CorpusPage, tmp_path: Path, qtbot) -> None:
    broken = tmp_path / "rows.jsonl"
    broken.write_text("not json\n" * 50)
    drop(page, broken)
    qtbot.waitUntil(lambda: page._sources.found is not None, timeout=20_000)
    assert page._sources.found["files"][0]["problem"]
    assert not page._sources.ready and page._import is not None and not page._import.isEnabled()


def test_a_source_that_went_away_is_told_and_nothing_is_lost(page: CorpusPage, tmp_path: Path, qtbot) -> None:
    text = tmp_path / "ferry.txt"
    text.write_text("The ferry left the quay.\n" * 10)
    drop(page, text)
    qtbot.waitUntil(lambda: page._sources.ready, timeout=20_000)
    text.unlink()
    page._start()
    qtbot.waitUntil(lambda: page._view == "sources" and page._notes.note is not None, timeout=40_000)
    assert page._sources.sources == [str(text)]


def test_a_setting_out_of_range_is_shown_beside_its_field(page: CorpusPage, tmp_path: Path, qtbot) -> None:
    text = tmp_path / "ferry.txt"
    text.write_text("The ferry left the quay.\n" * 10)
    drop(page, text)
    qtbot.waitUntil(lambda: page._sources.ready, timeout=20_000)
    page._sources.form.set("validation_percent", 99.0)
    page._start()
    assert page._view == "sources" and page._sources.form.problems()
