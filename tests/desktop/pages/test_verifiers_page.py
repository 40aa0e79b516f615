"""The Verifiers page by clicks and keys, with the real process that judges: problems are generated, imported and edited, a verifier is
written with a mistake in it, mended, checked, saved and used; one that came from elsewhere waits for a yes."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QDialog, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from desktop.context import AppContext
from desktop.main_window import MainWindow
from desktop.models.verifier_hand import VerifierHand
from desktop.pages.verifiers import VerifiersPage
from desktop.pages.verifiers.dialogs import DiffText, ForeignDialog, ProblemDialog, VersionsDialog, changed_lines
from desktop.pages.verifiers.making_view import ExamplesDialog, GenerateDialog, LookDialog
from desktop.pages.verifiers.parts_editor import PartsEditor, first_parts, fresh_part, full_of
from desktop.pages.verifiers.results import CheckDialog, score_words
from engine.contract.rows import Example, Message, Problem, problem_id
from engine.project import layout, trials
from engine.project.project import Project
from engine.project.trials import Completion, Group, TrialSettings
from engine.verifiers.registry import KINDS
from engine.verifiers.starters import starters

CONTROL = Qt.KeyboardModifier.ControlModifier
SOURCE = '''import re


def verify(prompt, completion, answer):
    """The last number is the answer."""
    found = re.findall(r"-?[0-9]+", completion[-200:])
    return 1.0 if found and found[-1] == answer else 0.0
'''
LONG = 60_000


def problem(n: int, **more: Any) -> Problem:
    prompt, answer = (Message(role="user", content=f"What is {n} + {n}?"),), str(2 * n)
    return Problem(id=problem_id(prompt, answer), prompt=prompt, answer=answer, difficulty=float(1 + n % 3), origin="person", **more)


def example(n: int) -> Example:
    turns = (Message(role="user", content=f"Say {n}."), Message(role="assistant", content=f"Gladly: {n}"))
    return Example(id=f"{n:032x}", messages=turns, facts={"answer": str(n)})


@pytest.fixture
def sums(project: Project) -> str:
    """Sixty sums in a set."""
    return project.library.problems.take("Sums", [problem(n) for n in range(60)], origin="person", held_out_percent=20).id


@pytest.fixture
def written(project: Project, sums: str) -> str:
    """The sums, and a verifier for them."""
    return project.library.verifiers.create("sums.py", "python", SOURCE).id


def show(window: MainWindow, qtbot: QtBot, **args: Any) -> VerifiersPage:
    window.resize(1280, 800)
    window.show_page("verifiers", args)
    page = window.pages["verifiers"]
    assert isinstance(page, VerifiersPage)
    qtbot.waitUntil(lambda: page._view != "" and page.hand.verifiers is not None, timeout=20_000)
    return page


@pytest.fixture
def page(window: MainWindow, written: str, qtbot: QtBot) -> VerifiersPage:
    shown = show(window, qtbot)
    qtbot.waitUntil(lambda: shown.hand.verifier is not None and shown.bench.count > 0 and shown.bench.chosen is not None, timeout=20_000)
    return shown


def judged(page: VerifiersPage, qtbot: QtBot) -> None:
    """The process has looked at the source, and at the chosen problem."""
    qtbot.waitUntil(lambda: page.bench.good and page.bench.checks is not None and not page.bench.checks.stale, timeout=LONG)


def usable(page: VerifiersPage) -> bool:
    return page.use is not None and page.use.isEnabled()


def click(host: QWidget, words: str) -> None:
    """Once it is there: a page's parts are built a little after it is shown."""
    def there() -> list[QPushButton]:
        return [b for b in host.findChildren(QPushButton) if b.text().strip() == words and b.isVisibleTo(host)]

    until = time.monotonic() + 10
    while not there() and time.monotonic() < until:
        QTest.qWait(10)
    buttons = there()
    assert len(buttons) == 1, (words, [b.text() for b in host.findChildren(QPushButton)])
    assert buttons[0].isEnabled(), words
    QTest.mouseClick(buttons[0], Qt.MouseButton.LeftButton)


def dialog(page: VerifiersPage, kind: type, qtbot: QtBot) -> Any:
    qtbot.waitUntil(lambda: any(d.isVisible() for d in page.findChildren(kind)), timeout=5000)
    return next(d for d in page.findChildren(kind) if d.isVisible())


# --- the way to a full page -------------------------------------------------------------------------------------------


def test_an_empty_project_is_led_to_problems_and_then_to_a_verifier(window: MainWindow, project: Project, qtbot: QtBot) -> None:
    page = show(window, qtbot)
    assert page._view == "start"
    click(page, "Generate problems")
    made: GenerateDialog = dialog(page, GenerateDialog, qtbot)
    assert made.kind.value() == "arithmetic"
    qtbot.waitUntil(lambda: len(made.table.rows_model.rows) == 5, timeout=LONG)
    for tick in made.ticks[1:]:
        tick.setChecked(False)
    made.count.setText("30")
    made.count.changed.emit()
    click(made, "Generate")
    qtbot.waitUntil(lambda: page._view == "new", timeout=LONG)
    [found] = project.library.problems.sets()
    assert found.count == 30 and 0 < found.held_out < 30 and found.origin == "generator:arithmetic"
    titles = [line[1] for line in page.new.table.rows_model.rows]
    assert titles[-2:] == ["An empty one", "Built-in parts"] and len(titles) == len(starters()) + 2 >= 8
    page.new.table.select(len(titles) - 2)
    page.new.name.setText("mine.py")
    click(page.new, "Begin")
    qtbot.waitUntil(lambda: page._view == "bench" and page.hand.verifier is not None, timeout=10_000)
    assert page.editor.title.words() == "mine.py" and "def verify" in page.editor.code.text()
    assert page.editor.badge.text() == "version 1, saved" and page.hand.trusted
    judged(page, qtbot)
    assert usable(page)


def test_problems_without_a_verifier_lead_to_one(window: MainWindow, sums: str, project: Project, qtbot: QtBot) -> None:
    page = show(window, qtbot)
    qtbot.waitUntil(lambda: page._view == "bench" and page.bench.count == 60, timeout=10_000)
    assert page.editor.none.isVisible() and not page.editor.code.isVisible() and not usable(page)
    click(page.editor, "Begin one")
    assert page._view == "new"
    click(page.new, "Cancel")
    assert page._view == "bench" and page.editor.none.isVisible()


def test_every_starter_can_be_begun_with_and_is_a_verifier(window: MainWindow, sums: str, project: Project, qtbot: QtBot) -> None:
    page = show(window, qtbot)
    qtbot.waitUntil(lambda: page._view == "bench" or page._view == "new", timeout=10_000)
    page.show_view("new")
    for place, one in enumerate(starters()):
        page.new.table.select(place)
        assert page.new.code.text().strip() == one.source.strip() and page.new.name.value() == one.file
    page.new.make()
    qtbot.waitUntil(lambda: page.hand.verifier is not None, timeout=10_000)
    assert page.hand.verifier is not None and page.hand.verifier.origin.startswith("starter:") and page.hand.trusted


def test_problems_come_out_of_a_file_by_its_columns(window: MainWindow, project: Project, tmp_path: Path, qtbot: QtBot) -> None:
    file = tmp_path / "sums.csv"
    file.write_text("q,gold,level\n" + "".join(f"What is {n} + 1?,{n + 1},{n % 2}\n" for n in range(40)) + ",9,1\n")
    page = show(window, qtbot, files=[str(file)])
    qtbot.waitUntil(lambda: page.bring.plan.look is not None, timeout=LONG)
    assert page._view == "import"
    page.bring.columns["prompt"].set("q")
    page.bring._column_chosen("prompt")
    qtbot.waitUntil(lambda: not page.bring.plan.looking, timeout=LONG)
    page.bring.columns["answer"].set("gold")
    page.bring._column_chosen("answer")
    qtbot.waitUntil(lambda: not page.bring.plan.looking and page.bring.bring.isEnabled(), timeout=LONG)
    page.bring.held.set(50)
    page.bring.title.set("From a file")
    QTest.mouseClick(page.bring.bring, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: page._view != "import", timeout=LONG)
    [found] = project.library.problems.sets()
    assert (found.title, found.count) == ("From a file", 40) and 8 < found.held_out < 32


def test_examples_with_known_answers_become_problems(window: MainWindow, sums: str, project: Project, qtbot: QtBot) -> None:
    library = project.library.examples
    some = library.create_set("Quiz").id
    library.add(some, [example(n) for n in range(5)])
    page = show(window, qtbot)
    page.act_on_problems("examples")
    made: ExamplesDialog = dialog(page, ExamplesDialog, qtbot)
    qtbot.waitUntil(lambda: made.go.isEnabled(), timeout=5000)
    click(made, "Make problems")
    qtbot.waitUntil(lambda: len(page.bench.sets) == 2 and page.bench.count == 5, timeout=10_000)


# --- writing ----------------------------------------------------------------------------------------------------------


def test_a_mistake_is_shown_at_its_line_mended_checked_saved_and_used(page: VerifiersPage, context: AppContext, project: Project,
                                                                       qtbot: QtBot) -> None:
    judged(page, qtbot)
    area = page.editor.code.area
    area.setFocus()
    area.go_to(7, 1)
    QTest.keyClick(area, Qt.Key.Key_End)
    QTest.keyClicks(area, " (")
    qtbot.waitUntil(lambda: bool(page.bench.marks), timeout=LONG)
    assert page.bench.marks[0].line == 7 and page.editor.code.sentence.startswith("Line 7")
    assert page.editor.badge.text() == "version 1, edited" and not usable(page) and not page._can_check
    qtbot.waitUntil(lambda: project.library.verifiers.get("verifier-1").draft == page.editor.code.text(), timeout=2000)
    for _ in range(2):
        QTest.keyClick(area, Qt.Key.Key_Backspace)
    QTest.keyClicks(area, "  # whole")
    judged(page, qtbot)
    assert page.editor.code.sentence == "" and page.editor.badge.text() == "version 1, edited"
    QTest.keyClick(area, Qt.Key.Key_Return, CONTROL)
    qtbot.waitUntil(lambda: page.bench.checks is not None and page.bench.checks.whole and not page.bench.checks.stale, timeout=LONG)
    assert page.bench.checks is not None and page.bench.checks.problems == 60
    assert {r.id: r.got for r in page.bench.checks.rows}["gold"] == 1.0
    QTest.keyClick(area, Qt.Key.Key_S, CONTROL)
    qtbot.waitUntil(lambda: page.editor.badge.text() == "version 2, saved", timeout=5000)
    assert project.library.verifiers.version("verifier-1@2").body.rstrip().endswith("# whole")
    qtbot.waitUntil(lambda: any(s.id == "verifiers" and s.state == "done" for s in (context.survey.stages if context.survey else ())),
                    timeout=5000)
    asked: list[tuple[str, dict[str, Any]]] = []
    context.navigate_requested.connect(lambda where, args: asked.append((where, args)))
    click(page, "Use in reasoning")
    assert asked[0] == ("grpo", {"verifier": "verifier-1@2", "problem_sets": list(page.bench.chosen_sets), "full_score": 1.0})


def test_what_is_not_saved_is_saved_before_it_is_used(page: VerifiersPage, context: AppContext, qtbot: QtBot) -> None:
    judged(page, qtbot)
    page.editor.code.replace(SOURCE.replace("-200", "-100"))
    qtbot.waitUntil(lambda: page.hand.dirty, timeout=2000)
    judged(page, qtbot)
    asked: list[dict[str, Any]] = []
    context.navigate_requested.connect(lambda where, args: asked.append(args))
    page.use_it()
    qtbot.waitUntil(lambda: bool(asked), timeout=5000)
    assert asked[0]["verifier"] == "verifier-1@2"


def test_a_text_too_long_to_be_kept_says_so_until_it_is_shorter(page: VerifiersPage, qtbot: QtBot) -> None:
    page.editor.code.replace("x = 1\n" * 40_000)
    qtbot.waitUntil(lambda: page._notes.note is not None, timeout=5000)
    page.editor.code.replace(SOURCE)
    qtbot.waitUntil(lambda: page._notes.note is None, timeout=5000)


def test_a_draft_outlives_the_window_and_leaving_writes_it_at_once(page: VerifiersPage, window: MainWindow, project: Project,
                                                                   qtbot: QtBot) -> None:
    page.editor.code.replace("# half a thought")
    page.left()
    assert project.library.verifiers.get("verifier-1").draft == "# half a thought"
    page.hand.open("verifier-1")
    qtbot.waitUntil(lambda: page.editor.code.text() == "# half a thought", timeout=5000)
    assert page.hand.dirty and page.hand.trusted
    page.hand.drop_changes()
    qtbot.waitUntil(lambda: page.editor.code.text().strip() == SOURCE.strip() and not page.hand.dirty, timeout=5000)


def test_versions_are_compared_and_an_older_one_comes_back_as_an_edit(page: VerifiersPage, qtbot: QtBot) -> None:
    page.editor.code.replace(SOURCE.replace("-200", "-50"))
    page.editor.save_now()
    qtbot.waitUntil(lambda: page.editor.badge.text() == "version 2, saved", timeout=5000)
    page.act("versions")
    shown: VersionsDialog = dialog(page, VersionsDialog, qtbot)
    qtbot.waitUntil(lambda: len(shown.versions) == 2, timeout=5000)
    text = shown.text.toPlainText()
    assert "- " in text and "[-200:]" in text and "[-50:]" in text and len(shown.text.extraSelections()) == 2
    shown.table.select(1)
    shown.view.set("whole")
    shown._show()
    assert shown.text.toPlainText().strip() == SOURCE.strip()
    click(shown, "Bring it back")
    assert page.editor.code.text().strip() == SOURCE.strip() and page.hand.dirty
    QTest.keyClick(page.editor.code.area, Qt.Key.Key_Z, CONTROL)
    assert "[-50:]" in page.editor.code.text()


def test_lines_that_changed() -> None:
    assert changed_lines("a\nb\nc", "a\nx\nc") == [(" ", "a"), ("-", "b"), ("+", "x"), (" ", "c")]
    assert changed_lines("a", "a") == []


def test_what_changed_in_parts_is_shown_setting_by_setting(page: VerifiersPage) -> None:
    shown = DiffText(page.theme)
    before = json.loads(first_parts())
    after = {**before, "together": "product"}
    shown.show_changes(json.dumps(before), json.dumps(dict(reversed(after.items()))))
    changed = [line for line in shown.toPlainText().splitlines() if line[:1] in "+-"]
    assert changed == ['-   "together": "sum"', '+   "together": "product"'], "the order in which it was kept is no change"
    shown.show_whole(SOURCE)
    assert shown.toPlainText().strip() == SOURCE.strip()


def test_a_file_comes_in_and_goes_out(page: VerifiersPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot) -> None:
    file, out = tmp_path / "theirs.py", tmp_path / "out.py"
    file.write_text(SOURCE.replace("last", "final"), encoding="utf-8")
    page.take_verifier(file)
    qtbot.waitUntil(lambda: page.editor.title.words() == "theirs.py", timeout=5000)
    assert page.hand.trusted and page.hand.verifier is not None and page.hand.verifier.origin == "import:theirs"
    monkeypatch.setattr("desktop.pages.verifiers.page.QFileDialog.getSaveFileName", lambda *_: (str(out), ""))
    page.act("export")
    qtbot.waitUntil(out.exists, timeout=5000)
    assert out.read_text(encoding="utf-8") == page.editor.code.text()
    parts = tmp_path / "parts.json"
    parts.write_text(first_parts(), encoding="utf-8")
    page.take_verifier(parts)
    qtbot.waitUntil(lambda: page.editor.of_parts and page.editor.title.words() == "parts", timeout=5000)
    asked: list[dict[str, Any]] = []
    page.context.navigate_requested.connect(lambda where, args: asked.append(args))
    page.use_it()
    assert asked[0]["full_score"] == pytest.approx(1.2), "what is right in both parts is what counts as solved"
    monkeypatch.setattr("desktop.pages.verifiers.page.QFileDialog.getSaveFileName", lambda *_: (str(tmp_path / "again.json"), ""))
    page.act("export")
    qtbot.waitUntil((tmp_path / "again.json").exists, timeout=5000)
    assert [p["name"] for p in json.loads((tmp_path / "again.json").read_text(encoding="utf-8"))["parts"]] == ["number", "tags"]
    broken = tmp_path / "broken.py"
    broken.write_bytes(b"\xff\xfe\x00x")
    page.take_verifier(broken)
    assert page._notes.note is not None


def test_one_is_removed_and_comes_back(page: VerifiersPage, context: AppContext, qtbot: QtBot) -> None:
    undo: list[Any] = []
    context.toast_requested.connect(lambda words, button, action: undo.append(action))
    page.act("remove")
    qtbot.waitUntil(lambda: page.hand.verifiers == [] and bool(undo), timeout=5000)
    undo[-1]()
    qtbot.waitUntil(lambda: page.hand.verifier is not None and page.hand.verifier.id == "verifier-1", timeout=5000)


def test_the_list_of_verifiers_takes_another_in_hand(page: VerifiersPage, project: Project, qtbot: QtBot) -> None:
    project.library.verifiers.create("other.py", "python", "def verify(prompt, completion, answer):\n    return 0.0\n")
    page.hand.refresh()
    qtbot.waitUntil(lambda: len(page.hand.verifiers or []) == 2, timeout=5000)
    page.editor.drop()
    assert [v.words for v in page.editor.menu_of.shown] == ["sums.py", "other.py", "New verifier…"]
    page.editor.menu_of._pick(page.editor.menu_of.shown[1])
    qtbot.waitUntil(lambda: page.editor.title.words() == "other.py" and "return 0.0" in page.editor.code.text(), timeout=5000)


def test_a_link_from_elsewhere_leads_to_the_line(window: MainWindow, written: str, qtbot: QtBot) -> None:
    page = show(window, qtbot, verifier="verifier-1@1", line=6)
    qtbot.waitUntil(lambda: page.hand.verifier is not None and page.editor.code.area.textCursor().blockNumber() == 5, timeout=10_000)


# --- trust ------------------------------------------------------------------------------------------------------------


def test_what_came_from_elsewhere_is_read_only_until_somebody_trusts_it(window: MainWindow, written: str, project: Project,
                                                                         qtbot: QtBot) -> None:
    layout.trust_file().unlink()  # another person's machine
    page = show(window, qtbot)
    qtbot.waitUntil(lambda: page.hand.verifier is not None and not page.hand.trusted, timeout=10_000)
    assert page.editor._trust_place.isVisible() and page.editor.code.area.isReadOnly()
    QTest.keyClicks(page.editor.code.area, "x")
    assert page.editor.code.text().strip() == SOURCE.strip() and page.bench.source is None and not usable(page)
    click(page.editor, "What else came")
    shown: ForeignDialog = dialog(page, ForeignDialog, qtbot)
    qtbot.waitUntil(lambda: "sums.py" in str([getattr(r, "title", "") for t in shown.findChildren(QWidget)
                                              if hasattr(t, "rows_model") for r in t.rows_model.rows]), timeout=5000)
    shown.accept()
    click(page.editor, "Trust this verifier")
    qtbot.waitUntil(lambda: page.hand.trusted, timeout=5000)
    assert not page.editor._trust_place.isVisible() and not page.editor.code.area.isReadOnly()
    judged(page, qtbot)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="the folder of compiled code is a POSIX matter")
def test_a_refused_sandbox_says_why_and_nothing_turns_it_off(window: MainWindow, written: str, monkeypatch: pytest.MonkeyPatch,
                                                             tmp_path: Path, qtbot: QtBot) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "cache" / "fledge").mkdir(parents=True)
    (tmp_path / "cache" / "fledge" / "verifiers").symlink_to(tmp_path / "elsewhere")  # others could write there
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    page = show(window, qtbot)
    qtbot.waitUntil(lambda: bool(page.bench.marks), timeout=LONG)
    assert "compiled code is not kept there" in page.editor.code.sentence
    assert not usable(page) and not page._can_check and page.bench.checks is None
    words = [b.text() for b in page.findChildren(QPushButton)]
    assert not any("sandbox" in w.lower() or "anyway" in w.lower() for w in words)


# --- problems ---------------------------------------------------------------------------------------------------------


def test_problems_are_found_filtered_edited_removed_and_brought_back(page: VerifiersPage, project: Project, sums: str,
                                                                     qtbot: QtBot) -> None:
    store = project.library.problems
    page.problems.search.setText("+ 17?")
    qtbot.waitUntil(lambda: page.bench.count == 1, timeout=5000)
    page.problems.search.clear()
    qtbot.waitUntil(lambda: page.bench.count == 60, timeout=5000)
    page.bench.set_held_out(True)
    qtbot.waitUntil(lambda: page.bench.count == page.bench.held_out_count < 60, timeout=5000)
    click(page.problems, "Show all")
    qtbot.waitUntil(lambda: page.bench.count == 60 and page.bench.problem(0) is not None, timeout=5000)
    page.problems.table.select(3)
    QTest.keyClick(page.problems.table, Qt.Key.Key_Return)
    shown: ProblemDialog = dialog(page, ProblemDialog, qtbot)
    shown.answer.setPlainText("")
    assert not shown.done_button.isEnabled()
    shown.answer.setPlainText("seven")
    shown.held.setChecked(True)
    click(shown, "Save")
    qtbot.waitUntil(lambda: store.count((sums,), search="seven") == 1, timeout=5000)
    [changed] = store.page((sums,), search="seven")
    assert changed.held_out and changed.answer == "seven"
    qtbot.waitUntil(lambda: page.bench.problem(0) is not None, timeout=5000)
    page.problems.table.select(0)
    qtbot.waitUntil(lambda: page.bench.chosen is not None, timeout=5000)
    QTest.keyClick(page.problems.table, Qt.Key.Key_Delete)
    qtbot.waitUntil(lambda: page.bench.count == 59, timeout=5000)
    page.act_on_problems("undo")
    qtbot.waitUntil(lambda: page.bench.count == 60, timeout=5000)
    held = page.bench.held_out_count
    qtbot.waitUntil(lambda: page.bench.problem(0) is not None, timeout=5000)
    page.problems.table.select(1)
    page.hold_problem(not page.bench.chosen.problem.held_out)  # type: ignore[union-attr]
    qtbot.waitUntil(lambda: page.bench.held_out_count != held, timeout=5000)


def test_the_menus_name_what_can_be_done(page: VerifiersPage) -> None:
    words = [a.text() for a in page.problems.menu().actions()]
    assert {"Held out only", "From examples…", "Look for them in the corpus…", "Undo the last edit", "Delete the set…"} <= set(words)
    assert [a.text() for a in page.problems.row_actions().actions()][0] == "Edit…"
    assert {"Export as .py…", "Import a .py file…", "Versions…"} <= {a.text() for a in page.editor.menu().actions()}


def test_a_set_goes_with_its_problems(page: VerifiersPage, project: Project, qtbot: QtBot) -> None:
    page.act_on_problems("delete")
    asked = next(d for d in page.findChildren(QDialog) if d.isVisible())
    click(asked, "Delete")
    qtbot.waitUntil(lambda: project.library.problems.sets() == [] and page.bench.count == 0, timeout=5000)
    assert page._view == "bench" and page.problems._empty.isVisible()


def test_problems_go_out_into_a_file_that_can_come_in_again(page: VerifiersPage, tmp_path: Path, context: AppContext,
                                                             monkeypatch: pytest.MonkeyPatch, qtbot: QtBot) -> None:
    said: list[str] = []
    context.toast_requested.connect(lambda words, button, action: said.append(words))
    out = tmp_path / "sums.jsonl"
    monkeypatch.setattr("desktop.pages.verifiers.page.QFileDialog.getSaveFileName", lambda *_: (str(out), ""))
    page.act_on_problems("export")
    qtbot.waitUntil(lambda: "60 problems are written" in said, timeout=LONG)
    assert len(out.read_text(encoding="utf-8").splitlines()) == 60
    page.take_files([str(out)])
    qtbot.waitUntil(lambda: page.bring.plan.look is not None and page.bring.bring.isEnabled(), timeout=LONG)
    assert page.bring.plan.mapping.kind == "fledge" and page.bring._held_row.isHidden()
    click(page, "Cancel")
    assert page._view == "bench"


def test_looking_through_a_corpus_needs_one(page: VerifiersPage, qtbot: QtBot) -> None:
    page.act_on_problems("look")
    shown: LookDialog = dialog(page, LookDialog, qtbot)
    assert not shown.go.isEnabled()
    shown.reject()


# --- what a verifier says ---------------------------------------------------------------------------------------------


def test_checks_name_what_passes_and_open_what_was_handed_in(page: VerifiersPage, qtbot: QtBot) -> None:
    judged(page, qtbot)
    assert [r.title for r in page.checks.table.rows_model.rows] == ["Gold answer", "Empty", "Prompt again", "Every number",
                                                                    "Gold in prose", "One megabyte", "NUL bytes"]
    assert page.checks.badge.text()
    page.checks.show_row(page.checks.table.rows_model.rows[0])
    shown: CheckDialog = dialog(page.checks, CheckDialog, qtbot)  # type: ignore[arg-type]
    shown.accept()


def test_a_note_is_applied_as_one_step_that_can_be_undone(page: VerifiersPage, qtbot: QtBot) -> None:
    loose = SOURCE.replace('found = re.findall(r"-?[0-9]+", completion[-200:])\n    return 1.0 if found and found[-1] == answer else 0.0',
                           'found = re.search("<answer>(.*?)</answer>", completion)\n    text = found[1] if found else completion\n'
                           '    return 1.0 if answer in text else 0.0')
    page.editor.code.replace(loose)
    qtbot.waitUntil(lambda: page.bench.note is not None, timeout=LONG)
    assert page.editor.note.isVisible() and page.bench.note is not None
    if page.bench.note.source:
        QTest.mouseClick(page.editor.note.apply, Qt.MouseButton.LeftButton)
        assert page.editor.code.text() != loose and page.hand.body == page.editor.code.text()
        QTest.keyClick(page.editor.code.area, Qt.Key.Key_Z, CONTROL)
        assert page.editor.code.text() == loose


def test_answers_of_a_model_are_scored_and_follow_every_edit(window: MainWindow, written: str, sums: str, project: Project,
                                                             qtbot: QtBot) -> None:
    with project.artifacts.create("model", title="tiny") as made:
        made.finish(parameters=1)
    model = project.artifacts.list("model")[0].id
    store = project.library.problems
    held = store.page((sums,), 0, 60, held_out=True)
    some = tuple({p.id: p for p in (*held, *store.page((sums,), 0, 60 - len(held), held_out=False))}.values())
    trial = trials.prepare(project.dir, TrialSettings(model), some)
    writer = trials.Writer(trial)
    for n, p in enumerate(some):
        writer.add([Group(p, tuple(Completion(f"It is {p.answer}." if k < n % 9 else "No idea.") for k in range(8)))])
    writer.finish()
    window.context.look()
    page = show(window, qtbot)
    qtbot.waitUntil(lambda: page.bench.scores is not None and not page.bench.scores.stale, timeout=LONG)
    right = sum(n % 9 for n in range(len(some)))
    scores = page.bench.scores
    assert scores is not None and scores.tried == 8 * len(some) and scores.right == right
    qtbot.waitUntil(lambda: page.rewards.chart.isVisible(), timeout=5000)
    assert page.rewards._words.words().startswith("There is signal") and page.rewards._k_name.text() == "pass@8"
    asked: list[dict[str, Any]] = []
    window.context.navigate_requested.connect(lambda where, args: asked.append(args))
    page.use_it()
    assert asked.pop()["model"] == model, "what was tried is what learns"
    show(window, qtbot)
    page.bench.set_trial(k=4)
    qtbot.waitUntil(lambda: page.bench.trial.stale, timeout=5000)
    assert page.rewards._words.words().startswith("Of answers that were tried before"), "they are not those that are asked for now"
    page.bench.set_trial(k=8)
    qtbot.waitUntil(lambda: page.rewards._words.words().startswith("There is signal"), timeout=5000)
    page.bench.show_all(True)
    qtbot.waitUntil(lambda: page.bench.completion_count == 8 * len(some), timeout=LONG)
    page.editor.code.replace(SOURCE.replace("1.0 if found", "0.5 if found"))
    qtbot.waitUntil(lambda: page.bench.scores is not None and not page.bench.scores.stale and page.bench.scores.right == 0, timeout=LONG)


@pytest.mark.slow
def test_a_model_of_the_project_is_tried_for_real(context: AppContext, tmp_path: Path, qtbot: QtBot) -> None:
    from tests.serving import make_project
    made = make_project(tmp_path / "tried")
    made.library.problems.take("Sums", [problem(n) for n in range(6)], origin="person", held_out_percent=50)
    made.library.verifiers.create("sums.py", "python", SOURCE)
    context.open_project(made.dir)
    window = MainWindow(context)
    qtbot.addWidget(window)
    window.show()
    page = show(window, qtbot)
    page.bench.set_trial(count=3, k=2, max_new_tokens=8)
    qtbot.waitUntil(lambda: page.rewards.try_button.isVisible() and page.rewards.try_button.isEnabled() and page.bench.trial.of == 3,
                    timeout=LONG)
    QTest.mouseClick(page.rewards.try_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: page.bench.trial.running and page.rewards.stop_button.isVisible(), timeout=LONG)
    qtbot.waitUntil(lambda: page.bench.trial.phase == "whole" and page.bench.scores is not None and not page.bench.scores.stale,
                    timeout=LONG)
    assert page.bench.scores is not None and page.bench.scores.tried == 6
    page.bench.close()


def test_scores_are_said_in_few_figures() -> None:
    assert [score_words(s) for s in (None, 0.0, 1.0, 0.5, 1 / 3, -1.0)] == ["–", "0.0", "1.0", "0.5", "0.33", "\N{MINUS SIGN}1.0"]


# --- parts ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def parts(context: AppContext, project: Project, qtbot: QtBot) -> PartsEditor:
    known = [project.library.verifiers.create("sums.py", "python", SOURCE)]
    made = PartsEditor(context, lambda: known)
    qtbot.addWidget(made)
    made.resize(460, 700)
    made.load(first_parts())
    made.show()
    return made


def test_loading_parts_is_no_edit_and_gives_them_back(parts: PartsEditor, qtbot: QtBot) -> None:
    with qtbot.assertNotEmitted(parts.changed):
        parts.load(first_parts())
    found = parts.value()
    assert [p["name"] for p in found["parts"]] == ["number", "tags"] and found["together"] == "sum"
    assert full_of(found) == pytest.approx(1.2) and full_of({**found, "together": "product"}) == 1.0
    parts.load(parts.text())
    assert parts.value() == found


def test_many_parts_come_one_a_turn_and_whoever_asks_has_them_all(parts: PartsEditor, qtbot: QtBot) -> None:
    many = {"together": "sum", "parts": [fresh_part("number") for _ in range(8)]}
    with qtbot.assertNotEmitted(parts.changed):
        parts.load(many)
        assert len(parts._cards) == 1, "the rest comes when the window had its turn"
        qtbot.waitUntil(lambda: len(parts._cards) == 8, timeout=5000)
    parts.load(many)
    assert len(parts.value()["parts"]) == len(parts.cards) == 8
    parts.load(first_parts())
    qtbot.wait(50)
    assert [p["name"] for p in parts.value()["parts"]] == ["number", "tags"], "nothing comes of those before"
    assert not parts.cards[-1].down.isEnabled() and parts.cards[0].down.isEnabled()


def test_parts_are_added_weighed_moved_and_removed(parts: PartsEditor, qtbot: QtBot) -> None:
    offered = [a.text() for a in parts.menu().actions()]
    assert {KINDS["math"].title, KINDS["judge"].title, "sums.py"} <= set(offered) and KINDS["python"].title not in offered
    with qtbot.waitSignal(parts.changed):
        next(a for a in parts.menu().actions() if a.text() == "sums.py").trigger()
    assert parts.value()["parts"][2] == {"name": "python", "title": "", "weight": 1.0, "settings": {"verifier": "verifier-1@1"}}
    card = parts.cards[2]
    card.weight.setText("0.5")
    card.weight.changed.emit()
    QTest.mouseClick(card.up, Qt.MouseButton.LeftButton)
    assert [p["name"] for p in parts.value()["parts"]] == ["number", "python", "tags"] and parts.value()["parts"][1]["weight"] == 0.5
    QTest.mouseClick(parts.cards[0].away, Qt.MouseButton.LeftButton)
    parts.together.set("product")
    parts._edited()
    assert [p["name"] for p in parts.value()["parts"]] == ["python", "tags"] and parts.value()["together"] == "product"


def test_settings_of_a_part_are_its_form_and_a_group_holds_parts(parts: PartsEditor) -> None:
    form = parts.cards[0].form
    assert form is not None
    form.set("tolerance", 0.25)
    assert parts.value()["parts"][0]["settings"]["tolerance"] == 0.25
    parts.add_part(fresh_part("group"))
    inner = parts.cards[-1].inner
    assert inner is not None
    inner.add_part(fresh_part("length"))
    assert [p["name"] for p in parts.value()["parts"][-1]["settings"]["parts"]] == ["number", "length"]
    json.loads(parts.text())


def test_every_kind_of_part_has_a_card(parts: PartsEditor) -> None:
    names = [n for n in KINDS if n != "python"]
    for name in names:
        parts.add_part(fresh_part(name))
    assert [p["name"] for p in parts.value()["parts"]][2:] == names
    assert not parts.grab().isNull()


def test_local_models_are_looked_for_and_one_becomes_the_judge(parts: PartsEditor, qtbot: QtBot) -> None:
    parts.add_part(fresh_part("judge"))
    card = parts.cards[-1]
    assert not card._wrong.isHidden() or card.form is not None and card.form.problems()
    QTest.mouseClick(card.find, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: card.finder.places is not None, timeout=LONG)
    assert card._finding.words() == "" or not card.judges()
    card.form.set("model", "ollama:llama3.2")
    assert parts.value()["parts"][-1]["settings"]["model"] == "ollama:llama3.2" and card.form.problems() == []


def test_a_verifier_of_parts_is_judged_and_saved(window: MainWindow, sums: str, project: Project, qtbot: QtBot) -> None:
    page = show(window, qtbot)
    page.create("Number and tags", "parts", first_parts(), "person")
    qtbot.waitUntil(lambda: page.editor.of_parts and page.editor.parts.isVisible() and not page.editor.code.isVisible(), timeout=10_000)
    qtbot.waitUntil(lambda: page.bench.good, timeout=LONG)
    page.editor.parts.add_part(fresh_part("reward_model"))
    qtbot.waitUntil(lambda: bool(page.bench.marks), timeout=LONG)
    assert page.editor._parts_wrong.isVisible() and page.hand.dirty
    QTest.mouseClick(page.editor.parts.cards[-1].away, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: page.bench.good and not page.bench.marks, timeout=LONG)
    page.editor.parts.cards[0].weight.setText("2")
    page.editor.parts.cards[0].weight.changed.emit()
    page.editor.save_now()
    qtbot.waitUntil(lambda: page.editor.badge.text() == "version 2, saved", timeout=5000)
    assert json.loads(project.library.verifiers.version("verifier-1@2").body)["parts"][0]["weight"] == 2.0


# --- the hand ---------------------------------------------------------------------------------------------------------


def test_another_verifier_in_hand_keeps_what_was_typed_in_the_one_before(context: AppContext, written: str, project: Project,
                                                                          qtbot: QtBot) -> None:
    other = project.library.verifiers.create("other.py", "python", SOURCE)
    hand = VerifierHand(context)
    hand.open(written)
    qtbot.waitUntil(lambda: hand.verifier is not None, timeout=5000)
    hand.edit("# typed")
    hand.open(other.id)
    assert project.library.verifiers.get(written).draft == "# typed"
    qtbot.waitUntil(lambda: hand.verifier is not None and hand.verifier.id == other.id, timeout=5000)
    assert not hand.dirty


@pytest.mark.parametrize(("width", "columns"), [(1024, 2), (1280, 3), (1920, 3)])
def test_the_columns_turn_with_the_width_and_nothing_is_wider_than_the_window(page: VerifiersPage, window: MainWindow, width: int,
                                                                              columns: int, qtbot: QtBot) -> None:
    window.resize(width, 800)
    qtbot.waitUntil(lambda: page.columns.columns == columns, timeout=2000)
    assert page.scroll.horizontalScrollBar().maximum() == 0


def test_a_narrow_place_has_one_column(page: VerifiersPage) -> None:
    page.columns.resize(500, 2000)
    assert page.columns.columns == 1


def test_one_that_is_asked_for_stays_in_hand_whatever_the_list_says_meanwhile(context: AppContext, written: str, project: Project,
                                                                               monkeypatch: pytest.MonkeyPatch, qtbot: QtBot) -> None:
    other = project.library.verifiers.create("other.py", "python", SOURCE)
    read = type(project.library.verifiers).get
    monkeypatch.setattr(type(project.library.verifiers), "get", lambda self, id: (time.sleep(0.3), read(self, id))[1])
    hand = VerifierHand(context)
    hand.open(written)
    hand.refresh()
    qtbot.waitUntil(lambda: hand.verifiers is not None and hand.verifier is not None, timeout=5000)
    qtbot.wait(500)
    assert hand.verifier is not None and hand.verifier.id == written
    gone = VerifierHand(context)
    with qtbot.waitSignal(gone.failed, timeout=5000):
        gone.open("verifier-77")
        gone.refresh()
    qtbot.waitUntil(lambda: gone.verifier is not None and gone.verifier.id in (written, other.id), timeout=5000)


def test_who_types_on_and_on_has_a_draft_on_the_disk(context: AppContext, written: str, project: Project, qtbot: QtBot) -> None:
    hand = VerifierHand(context)
    hand.open(written)
    qtbot.waitUntil(lambda: hand.verifier is not None, timeout=5000)
    for n in range(40):  # a key every 20 ms, for 0.8 s: never as long a rest as the draft waits
        hand.edit(f"# {n}")
        qtbot.wait(20)
    assert (project.library.verifiers.get(written).draft or "").startswith("# ")
