"""The Corpus page with the real import: from files through the wizard to a report; mistakes are told where they happen."""

import json
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QPushButton

from desktop.context import AppContext
from desktop.main_window import MainWindow
from desktop.pages.corpus import CorpusPage
from desktop.widgets.reader import ADDED, Reader
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


def test_each_switch_says_what_it_does_to_a_sample(page: CorpusPage, tmp_path: Path, qtbot) -> None:
    text = tmp_path / "letters.jsonl"
    said = [f"Dear Sir {i}, write to anna{i}@kelford.example.  \n\n\n\nYours, the ferry company of Kelford" for i in range(8)]
    said.append("The ferry left the quay on time, and nobody was late this morning.")
    text.write_text("\n".join(json.dumps({"text": t}) for t in said) + "\n")
    drop(page, text)
    ready(page, qtbot)
    page.wizard.go("clean")
    body = page.wizard.body("clean")
    qtbot.waitUntil(lambda: body.sample.sample is not None and body.whole, timeout=60_000)
    qtbot.waitUntil(lambda: body.cards["personal_data"].touched.isVisible(), timeout=5_000)
    assert body.cards["personal_data"].touched.text() == "would touch 8 of 9"
    assert body.cards["unicode"].touched.text() == "touches 0 of 9" and not body.cards["unicode"].touched.isEnabled()
    qtbot.mouseClick(body.cards["personal_data"].touched, Qt.MouseButton.LeftButton)
    shown = body.sample.findChildren(Reader)
    assert shown and "EMAIL" in "".join(piece for piece, mark in shown[-1].pieces if mark == ADDED)
    qtbot.mouseClick(body.cards["personal_data"].control, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: body.cards["personal_data"].touched.text() == "touches 8 of 9", timeout=30_000)
    assert body.personal.isVisible() and page.wizard.plan.values["personal_data"] is True
    page.wizard.rest()


def test_amounts_of_a_mix_go_into_the_run(page: CorpusPage, tmp_path: Path, qtbot) -> None:
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for file, times in zip(files, (100, 300), strict=True):
        file.write_text("The ferry left the quay.\n" * times)
    drop(page, *files)
    ready(page, qtbot)
    mix = page.wizard.sources.mix
    mix.how.set(True)
    mix._how(True)
    for file, weight in zip(files, ("1", "1"), strict=True):
        field = mix.fields[(str(file), "weight")]
        field.setText(weight)
        field.textEdited.emit(weight)
        assert button(page, "Next").isEnabled()
    assert mix._shares[str(files[0])].words().startswith("50") and mix._shares[str(files[1])].words().startswith("50")
    assert page.wizard.plan.spec().options_of(str(files[0])).weight == 1.0
    mix.fields[(str(files[1]), "weight")].setText("")
    mix.fields[(str(files[1]), "weight")].textEdited.emit("")
    qtbot.mouseClick(button(page, "Next"), Qt.MouseButton.LeftButton)
    assert page.wizard.plan.step == "sources" and "weight" in page.wizard.notes.note.accessibleName()
