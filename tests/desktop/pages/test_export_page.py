"""The Export page with a real tiny model and the real stage: verdicts, a whole export with its check, refusals with remedies."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication, QFileDialog, QPushButton
from pytestqt.qtbot import QtBot

from desktop.context import AppContext
from desktop.main_window import MainWindow
from desktop.models.export_plan import ExportPlan, Goes, Handed, slug
from desktop.models.export_result import Result, change
from desktop.pages.export import ExportPage
from engine.project.artifacts import Artifact
from engine.project.models import ModelRef
from engine.project.project import Project
from tests.serving import make_project


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("export") / "project", context=512).dir


@pytest.fixture
def page(window: MainWindow, context: AppContext, made: Path, tmp_path: Path, qtbot: QtBot) -> Iterator[ExportPage]:
    folder = tmp_path / "copy"
    shutil.copytree(made, folder)
    window.resize(1280, 800)
    context.settings.set("export.folder", str(tmp_path / "out"))
    context.open_project(folder)
    window.show_page("export")
    shown = window.pages["export"]
    assert isinstance(shown, ExportPage)
    qtbot.waitUntil(lambda: shown.plan.found is not None, timeout=30_000)
    yield shown


def button(page: ExportPage, words: str) -> QPushButton:
    QApplication.processEvents()
    return next(b for b in page.findChildren(QPushButton) if b.text().strip() == words and b.isVisible())


def end(page: ExportPage, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: page._view == "running", timeout=10_000)
    qtbot.waitUntil(lambda: page._view != "running" and page._awaited == "", timeout=90_000)


def test_without_a_model_the_page_leads_to_one(window: MainWindow, project: Project, qtbot: QtBot) -> None:
    window.show_page("export")
    page = window.pages["export"]
    assert isinstance(page, ExportPage) and page._view == "empty"
    qtbot.mouseClick(button(page, "Import a model"), Qt.MouseButton.LeftButton)
    assert window.shown == "import_model"


def test_the_cards_tell_the_exporters_verdicts_and_sizes(page: ExportPage, qtbot: QtBot) -> None:
    found = page.plan.found
    assert found is not None and [found.verdicts[to].loads for to in ("hf", "gguf", "ollama")] == [True, True, True]
    assert "LlamaForCausalLM" in page.form.cards["hf"].accessibleName() and "loads as llama" in page.form.cards["gguf"].accessibleName()
    before = page.plan.values["out"]
    page.form.cards["gguf"].setFocus()
    qtbot.keyClick(page.form.cards["gguf"], Qt.Key.Key_Space)
    assert page.plan.to == "gguf" and page.plan.values["out"].endswith(".gguf") and page.plan.values["out"] != before
    qtbot.mouseClick(page.form.cards["hf"], Qt.MouseButton.LeftButton)
    assert page.plan.values["out"] == before
    checkpoint = next(m.id for m in page.plan.models if m.id.endswith("@0"))
    page.form.picker.set(checkpoint)
    page.form.picker.changed.emit()
    qtbot.waitUntil(lambda: page.plan.found is not None and page.plan.found.id == checkpoint, timeout=30_000)
    assert page._flow._facts[0].words().endswith("untrained")


def test_an_export_is_made_checked_and_shown_then_refused_until_it_may_be_written_over(page: ExportPage, qtbot: QtBot,
                                                                                       tmp_path: Path) -> None:
    page.form.prompts.setFocus()
    page.form.prompts.selectAll()
    qtbot.keyClicks(page.form.prompts, "2")
    assert page.plan.values["check_prompts"] == 2
    qtbot.mouseClick(button(page, "Export"), Qt.MouseButton.LeftButton)
    end(page, qtbot)
    assert page._view == "result"
    folder = tmp_path / "out" / "gazette-tiny"
    assert (folder / "model.safetensors").is_file() and page.result._where.words() == str(folder)
    (made,) = page.project.artifacts.list("export")
    result = Result(made)
    assert {name for name, _, _ in result.files()} == {p.name for p in folder.iterdir()}
    if result.round_trip and result.round_trip["runtime"]:
        assert page.result._title.words() == "Faithful" and [f.name for f in result.figures()][0] == "Tokenizer"
        assert result.figures()[0].tone == "ok" and result.figures()[1].value == "2 of 2"
    page.result._use_box.itemAt(0).widget().findChild(QPushButton).click()
    assert str(folder) in QGuiApplication.clipboard().text() and "from_pretrained" in QGuiApplication.clipboard().text()
    qtbot.mouseClick(button(page, "Export another"), Qt.MouseButton.LeftButton)
    qtbot.mouseClick(button(page, "Export"), Qt.MouseButton.LeftButton)
    end(page, qtbot)
    assert page._view == "form" and page._notes.note is not None and "is there already" in page._notes.note.accessibleName()
    assert "--replace" not in page._notes.note.accessibleName()
    (folder / "config.json").write_text("{}")
    qtbot.mouseClick(button(page, "Write over it"), Qt.MouseButton.LeftButton)
    end(page, qtbot)
    assert page._view == "result" and len((folder / "config.json").read_text()) > 100
    assert len(page._result_earlier.table.rows_model.rows) == 2
    shutil.rmtree(folder)
    page._refresh()
    page.result.load(result, "gazette-tiny")
    qtbot.waitUntil(lambda: page.result.notes.note is not None, timeout=10_000)


def test_a_place_chosen_by_hand_stays_and_a_dialog_that_asked_may_write_over(page: ExportPage, qtbot: QtBot, tmp_path: Path,
                                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    page.form.cards["gguf"].clicked.emit()
    there = tmp_path / "mine.gguf"
    there.write_bytes(b"old")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a, **k: (str(there), ""))
    qtbot.mouseClick(button(page, "Choose…"), Qt.MouseButton.LeftButton)
    assert page.plan.values["out"] == str(there) and page.plan.values["overwrite"]
    page.form.forms["gguf"].set("quantisation", "f16")
    assert page.plan.values["out"] == str(there) and page.plan.precision == "f16"
    page.form.out.setText("not/whole")
    page.form.out.textEdited.emit("not/whole")
    page._start()
    assert page._view == "form" and page.form.notes.note is not None and "whole path" in page.form.notes.note.accessibleName()


def refusing() -> Handed:
    no = Goes("llama.cpp", False, reason="llama.cpp does not know how this tokenizer splits text", remedy="Choose another tokenizer.")
    return Handed("m", "Möwe 3", 1_000_000, 256, 400, "F32", False, "", False, False, "", "http://127.0.0.1:11434", {"float32": 4_000_000},
                  {"hf": Goes("transformers", True, "LlamaForCausalLM"), "gguf": no, "ollama": no}, {"hf": "", "gguf": "", "ollama": ""})


def test_a_target_that_does_not_load_cannot_be_chosen_and_says_why(page: ExportPage, qtbot: QtBot) -> None:
    page.plan.take(refusing())
    page.form.refresh()
    card = page.form.cards["gguf"]
    qtbot.mouseClick(card, Qt.MouseButton.LeftButton)
    qtbot.keyClick(card, Qt.Key.Key_Return)
    assert page.plan.to == "hf" and "splits text" in card.accessibleName() and card.mark._name == "close"
    assert not page.form.prompts.isEnabled() and "transformers would do" in page.form._check.help.words()
    assert page.plan.spec().check_prompts == 0  # nothing here could try it


def test_the_plan_gives_way_to_what_can_be_made() -> None:
    plan = ExportPlan("/models", {"to": "gguf", "quantisation": "q4_k_m"})
    plan.set_models([ModelRef("m", "Möwe 3", Path("/x"), 7)])
    assert plan.values["out"] == "/models/m-we-3-q4_k_m.gguf" and plan.bytes("gguf") == 0
    plan.take(refusing())
    assert plan.to == "hf" and plan.values["quantisation"] == "q8_0" and plan.bytes("hf") == 4_000_000
    assert [v for v, _ in plan.precisions()] == ["f32", "f16", "bf16", "q8_0"] and not plan.problems()
    assert plan.goes_in()[0] == "Möwe 3" and slug("  ") == "model"


def test_what_is_not_faithful_shows_where_it_parts() -> None:
    told = {"faithful": False, "sentence": "Not faithful: the tokenizers differ on 1 of 9 texts. And so on.", "texts": 9, "texts_equal": 8,
            "prompts": 4, "greedy_equal": 1, "near_ties": 0, "greedy_tokens": 64, "largest_difference": 0.5, "perplexity": 10.0,
            "perplexity_there": 10.5, "runtime": "x", "examples": [{"kind": "greedy", "prompt": "The", "here": " cat", "there": " dog"}]}
    made = Artifact("export-1", "export", "t", 0.0, (), "", Path("/x"), facts={"to": "gguf", "path": "/a b/m.gguf", "round_trip": told})
    kind, title, sentence = Result(made).verdict()
    assert (kind, title) == ("danger", "Not faithful") and sentence.startswith("The tokenizers differ")
    assert Result(made).figures()[0].tone == "warn" and Result(made).figures()[3].value == "+5.00\u00a0%"
    assert Result(made).differences() == [("The", " cat", " dog")] and "'/a b/m.gguf'" in Result(made).lines()[0][1]
    assert change(10.0, 10.0) == "the same" and change(0.0, 1.0) == "unknown"
