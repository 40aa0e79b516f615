"""The Corpus page with the real import: from files through the wizard to a report; mistakes are told where they happen."""

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
    return next(b for b in page.findChildren(QPushButton) if b.text().strip().partition(":")[0] == words and b.isVisible())


def drop(page: CorpusPage, *paths: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(p)) for p in paths])
    page.dropEvent(QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier))


def ready(page: CorpusPage, qtbot) -> None:
    qtbot.waitUntil(lambda: page.wizard is not None and page.wizard.plan.ready, timeout=20_000)


def test_empty_page_says_what_to_do(page: CorpusPage) -> None:
    assert page._view == "empty"
    assert button(page, "Add a folder").isEnabled() and button(page, "Add files").isEnabled()


def test_dropped_files_go_through_the_wizard_to_a_report(page: CorpusPage, project: Project, tmp_path: Path, qtbot) -> None:
    text = tmp_path / "ferry.txt"
    text.write_text("The ferry left the quay.  \n\n" * 200)
    table = tmp_path / "letters.csv"
    letters = [f"{1900 + i},Dear sir number {i} the ferry of the year {1900 + i} is late again" for i in range(120)]
    table.write_text("date,body\n" + "\n".join([*letters, letters[3]]) + "\n")
    picture = tmp_path / "quay.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    drop(page, text, table, picture)
    ready(page, qtbot)
    wizard = page.wizard
    assert wizard is not None and wizard.plan.found is not None
    assert [f["name"] for f in wizard.plan.found["files"]] == ["ferry.txt", "letters.csv"]
    assert wizard.plan.found["files"][1]["column"] == "body"
    assert [s["name"] for s in wizard.plan.found["skipped"]] == ["quay.png"]
    for step in ("clean", "duplicates", "split", "start"):
        qtbot.mouseClick(button(page, "Next"), Qt.MouseButton.LeftButton)
        assert wizard.plan.step == step
    qtbot.mouseClick(button(page, "Start"), Qt.MouseButton.LeftButton)
    assert page._view == "running"
    qtbot.waitUntil(lambda: page._view == "report", timeout=60_000)
    (made,) = project.artifacts.list("corpus")
    assert made.facts["skipped_count"] == 1 and made.facts["documents"] + sum(made.facts["removed"].values()) == made.facts["read"] == 122
    rows = page.report.funnel.rows
    assert rows[0].row.left == 122 and rows[-1].row.left == made.facts["documents"] < 122
    assert wizard.plan.sources == [] and wizard.plan.changed() == {}


def test_the_draft_survives_a_crash_of_the_app(page: CorpusPage, context: AppContext, tmp_path: Path, qtbot) -> None:
    text = tmp_path / "ferry.txt"
    text.write_text("The ferry left the quay.")
    drop(page, text)
    wizard = page.wizard
    assert wizard is not None
    wizard.go("clean")
    card = wizard.body("clean").cards["personal_data"]
    qtbot.mouseClick(card.control, Qt.MouseButton.LeftButton)
    wizard.plan.set_option(str(text), "encoding", "latin-1")
    wizard.keep()
    context.settings.flush()
    again = CorpusPage(context)
    qtbot.addWidget(again)
    again.opened()
    assert again._view == "wizard" and again.wizard is not None
    plan = again.wizard.plan
    assert plan.sources == [str(text)] and plan.step == "clean" and plan.changed() == {"personal_data": True}
    assert plan.option(str(text), "encoding") == "latin-1"
    again.wizard._cancel()
    assert again._view == "empty" and again.wizard.plan.sources == []


def test_nothing_readable_is_told_on_the_page(page: CorpusPage, tmp_path: Path, qtbot) -> None:
    broken = tmp_path / "rows.jsonl"
    broken.write_text("not json\n" * 50)
    drop(page, broken)
    qtbot.waitUntil(lambda: page.wizard.plan.found is not None, timeout=20_000)
    assert page.wizard.plan.found["files"][0]["problem"] and not page.wizard.plan.ready
    assert not button(page, "Next").isEnabled() and not button(page, "Start now").isEnabled()


def test_a_source_that_went_away_is_told_and_nothing_is_lost(page: CorpusPage, tmp_path: Path, qtbot) -> None:
    text = tmp_path / "ferry.txt"
    text.write_text("The ferry left the quay.\n" * 10)
    drop(page, text)
    ready(page, qtbot)
    text.unlink()
    qtbot.mouseClick(button(page, "Start now"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: page.running is not None and page.running.trouble.note is not None, timeout=40_000)
    qtbot.mouseClick(button(page, "Change settings"), Qt.MouseButton.LeftButton)
    assert page._view == "wizard" and page.wizard.plan.sources == [str(text)]


def test_a_setting_out_of_range_keeps_the_wizard_on_its_step(page: CorpusPage, tmp_path: Path, qtbot) -> None:
    text = tmp_path / "ferry.txt"
    text.write_text("The ferry left the quay.\n" * 10)
    drop(page, text)
    ready(page, qtbot)
    page.wizard.go("split")
    form = page.wizard.body("split").forms[0]
    control = form.rows["validation_percent"].control
    control.setText("99")
    control.textEdited.emit("99")
    qtbot.mouseClick(button(page, "Next"), Qt.MouseButton.LeftButton)
    assert page.wizard.plan.step == "split" and "50" in form._shown_problems["validation_percent"]
    qtbot.mouseClick(button(page, "Start now"), Qt.MouseButton.LeftButton)
    assert page._view == "wizard" and not page.context.project.runs.list()
