"""The Tokenizer page with the real training, and the lab with the real helper process."""

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QPushButton

from desktop.jobs.bench import Bench
from desktop.main_window import MainWindow
from desktop.pages.tokenizer import TokenizerPage
from engine.contract.errors import FledgeError
from engine.project import launch
from engine.project.follow import follow
from engine.project.project import Project
from engine.stages.corpus.spec import CorpusSpec


@pytest.fixture
def corpus(project: Project, tmp_path: Path) -> str:
    source = tmp_path / "ferry.txt"
    source.write_text("The ferry left the quay at seven with forty passengers and the mail.\n\n" * 300)
    run = project.runs.create(CorpusSpec(sources=(str(source),)))
    assert follow(run, launch.start(run)).status == "done", run.log_tail()
    return "corpus-1"


def page_of(window: MainWindow) -> TokenizerPage:
    window.show_page("tokenizer")
    made = window.pages["tokenizer"]
    assert isinstance(made, TokenizerPage)
    return made


def button(page: TokenizerPage, words: str) -> QPushButton:
    QApplication.processEvents()  # new parts of a page are shown by the event loop
    return next(b for b in page.findChildren(QPushButton) if b.text().strip() == words and b.isVisible())


def test_without_text_the_page_leads_to_it(window: MainWindow, project: Project, qtbot) -> None:
    page = page_of(window)
    qtbot.mouseClick(button(page, "Import text"), Qt.MouseButton.LeftButton)
    assert window.shown == "corpus"


def test_train_then_lab(window: MainWindow, project: Project, corpus: str, qtbot) -> None:
    window.context.look()
    qtbot.waitUntil(lambda: bool(window.context.choices("corpus")), timeout=10_000)
    page = page_of(window)
    assert page._view == "new" and page.form.values()["corpus"] == corpus
    page.form.set("vocab_size", 300)
    page._settings_changed()
    qtbot.mouseClick(button(page, "Train the tokenizer"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: page._view == "lab", timeout=40_000)
    (made,) = project.artifacts.list("tokenizer")
    assert made.facts["vocab_size"] == 300 and made.parents == (corpus,)
    page._lab._typed.setPlainText("The ferry: naïve 世界 12")
    qtbot.waitUntil(lambda: "世" in page._lab._colours.toPlainText(), timeout=20_000)
    assert page._lab._colours.toPlainText() == "The ferry: naïve 世界 12"
    assert "23 characters" not in page._lab._words.words() and "22 characters" in page._lab._words.words()
    qtbot.mouseClick(button(page, "Train another"), Qt.MouseButton.LeftButton)
    assert page._view == "new"
    qtbot.mouseClick(button(page, "Cancel"), Qt.MouseButton.LeftButton)
    assert page._view == "lab"


def test_the_lab_survives_the_death_of_its_helper(qtbot) -> None:
    bench = Bench("engine.text.probe")
    answers: list[object] = []
    bench.ask("preview", {"sources": ["/nothing/here"]}, answers.append, lambda wrong: answers.append(wrong.code))
    qtbot.waitUntil(lambda: bool(answers), timeout=20_000)
    assert answers == ["not_found"]
    told: list[FledgeError] = []
    assert bench._process is not None
    launch.kill(bench._process.processId())
    bench.ask("preview", {"sources": ["/nothing/here"]}, answers.append, told.append)
    qtbot.waitUntil(lambda: bool(told) or len(answers) > 1, timeout=20_000)
    bench.ask("preview", {"sources": ["/nothing/here"]}, answers.append, lambda wrong: answers.append(wrong.code))
    qtbot.waitUntil(lambda: answers[-1] == "not_found" and len(answers) > 1, timeout=20_000)
    bench.stop()


def test_only_the_newest_question_of_a_kind_is_answered(qtbot) -> None:
    bench = Bench("engine.text.probe")
    answers: list[str] = []
    for name in ("a", "b", "c"):
        bench.ask("preview", {"sources": [f"/nothing/{name}"]}, lambda _: None, lambda wrong: answers.append(wrong.sentence))
    qtbot.waitUntil(lambda: bool(answers), timeout=20_000)
    qtbot.wait(200)
    assert len(answers) == 1 and answers[0].startswith("/nothing/c")
    bench.stop()
