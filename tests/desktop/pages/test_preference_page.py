"""The Preferences page: pairs are made by real models, brought in from files, labelled by keys and mouse; what is said is on the disk."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QPushButton
from pytestqt.qtbot import QtBot

from desktop.context import AppContext
from desktop.main_window import MainWindow
from desktop.models.label_keys import LabelKeys
from desktop.models.label_quality import habits
from desktop.models.local_models import ModelChoice, Place
from desktop.models.pair_plan import PairPlan, makers
from desktop.pages.preference import PreferencePage
from desktop.pages.preference.label_view import LabelView
from desktop.pages.preference.people import MergeDialog, kappa_words
from engine.contract.errors import ProjectError
from engine.contract.rows import Answer, Example, Message, Pair, pair_id
from engine.project.label_quality import measure, wilson
from engine.project.labels import Label
from engine.project.project import Project
from tests.serving import make_project

LEFT, RIGHT = Qt.Key.Key_Left, Qt.Key.Key_Right


def pair(n: int, **facts: Any) -> Pair:
    prompt = (Message(role="user", content=f"What did the paper write about ferry {n}?"),)
    first, second = f"It left at **{n}** with the mail.", f"Ferry {n} was late because of fog."
    return Pair(id=pair_id(prompt, first, second), prompt=prompt, first=Answer(text=first, model="secret-one"),
                second=Answer(text=second, model="secret-two"), facts=facts)


@pytest.fixture
def filled(project: Project) -> str:
    """Thirty pairs, nobody has compared them."""
    chosen = project.library.pairs.create_set("Ferries").id
    project.library.pairs.add(chosen, [pair(n) for n in range(30)])
    return chosen


@pytest.fixture
def page(window: MainWindow, project: Project, qtbot: QtBot) -> PreferencePage:
    return open_page(window, qtbot)


def open_page(window: MainWindow, qtbot: QtBot, **args: Any) -> PreferencePage:
    window.resize(1280, 800)
    window.show_page("preference", args)
    shown = window.pages["preference"]
    assert isinstance(shown, PreferencePage)
    qtbot.waitUntil(lambda: shown._view != "", timeout=20_000)
    return shown


@pytest.fixture
def view(window: MainWindow, filled: str, qtbot: QtBot) -> LabelView:
    shown = open_page(window, qtbot, set=filled)
    qtbot.waitUntil(lambda: shown._view == "label" and shown.label.desk.now is not None and idle(shown.label), timeout=20_000)
    return shown.label


def idle(view: LabelView) -> bool:
    return not (view.desk.busy or view.desk._fetching or view._waiting)


def press(view: LabelView, qtbot: QtBot, *keys: Any, modifiers: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier,
          wait: bool = True) -> None:
    view.window().activateWindow()
    for key in keys:
        qtbot.keyClick(QApplication.focusWidget() or view, key, modifiers)
    if wait:
        qtbot.waitUntil(lambda: idle(view), timeout=10_000)


def number(view: LabelView) -> int:
    """Which of the pairs stands on the card."""
    assert view.desk.now is not None
    return int(view.desk.now.card.pair.prompt[0].content.rstrip("?").rpartition(" ")[2])


def said(project: Project, n: int) -> Label | None:
    return next((one for one in project.library.pairs.labels_of(pair(n).id) if one.round == 1), None)


def button(host: Any, words: str) -> QPushButton:
    QApplication.processEvents()
    return next(b for b in host.findChildren(QPushButton) if b.text().strip() == words and b.isVisible())


# ------------------------------------------------------------------------------------------------------------------ the card


def test_an_arrow_saves_and_brings_the_next_card(view: LabelView, project: Project, qtbot: QtBot) -> None:
    assert view.desk.now is not None
    left = view.desk.now.card.left
    press(view, qtbot, LEFT)
    kept = said(project, 0)
    assert kept is not None and kept.choice == left and kept.left == left and kept.strength == 0 and kept.position == 1
    assert number(view) == 1 and view.line.words.words() == "1 of 30"
    press(view, qtbot, RIGHT)
    kept, card = said(project, 1), project.library.pairs
    assert kept is not None and kept.choice != kept.left
    press(view, qtbot, Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_S)
    assert [one.choice for one in card.labels()][2:] == ["tie", "bad", "skip"]


def test_the_label_is_on_the_disk_before_the_next_card_shows(view: LabelView, project: Project, qtbot: QtBot,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    slow, kind = threading.Event(), type(project.library.pairs)
    label = kind.label
    monkeypatch.setattr(kind, "label", lambda *given, **named: slow.wait(10) and label(*given, **named))
    press(view, qtbot, LEFT, wait=False)
    qtbot.wait(120)
    assert number(view) == 0 and view.desk.busy and said(project, 0) is None
    slow.set()
    qtbot.waitUntil(lambda: number(view) == 1)
    assert said(project, 0) is not None


def test_keys_pressed_faster_than_cards_come_each_meet_their_own(view: LabelView, project: Project, qtbot: QtBot) -> None:
    press(view, qtbot, LEFT, Qt.Key.Key_3, RIGHT, Qt.Key.Key_Up, Qt.Key.Key_1, LEFT)
    sides = [(one.choice == one.left, one.strength) if (one := said(project, n)) and one.choice != "tie" else "tie" for n in range(4)]
    assert sides == [(True, 0), (False, 3), "tie", (True, 1)] and number(view) == 4
    assert view.verdict.strengths.value == 0  # a strength is one card's


def test_strength_comes_before_the_pick_and_the_same_again_takes_it_back(view: LabelView, project: Project, qtbot: QtBot) -> None:
    press(view, qtbot, Qt.Key.Key_2, Qt.Key.Key_2, LEFT)
    press(view, qtbot, Qt.Key.Key_2, LEFT)
    first, second = said(project, 0), said(project, 1)
    assert first is not None and second is not None and (first.strength, second.strength) == (0, 2)


def test_makers_are_nowhere_on_the_card(view: LabelView) -> None:
    shown = [w.text() for w in view.findChildren(QPushButton)] + [w.accessibleName() + w.toolTip() for w in view.findChildren(object)
                                                                  if hasattr(w, "accessibleName") and hasattr(w, "toolTip")]
    assert not any("secret" in words for words in shown)


def test_undo_goes_back_without_limit_and_redo_forward(view: LabelView, project: Project, qtbot: QtBot) -> None:
    press(view, qtbot, Qt.Key.Key_3, LEFT, RIGHT, Qt.Key.Key_Up)
    for n in (2, 1, 0):
        press(view, qtbot, Qt.Key.Key_U)
        assert said(project, n) is None and number(view) == n
    assert view.desk.now is not None and view.desk.now.was is not None and view.verdict.strengths.value == 3
    press(view, qtbot, Qt.Key.Key_U)
    assert number(view) == 0
    for n in (1, 2, 3):
        press(view, qtbot, Qt.Key.Key_U, modifiers=Qt.KeyboardModifier.ShiftModifier)
        assert said(project, n - 1) is not None and number(view) == n


def test_the_edited_winner_becomes_the_chosen_answer(view: LabelView, project: Project, filled: str, qtbot: QtBot) -> None:
    assert view.desk.now is not None
    other = view.desk.now.left
    press(view, qtbot, Qt.Key.Key_E)
    assert view.card.asks_side
    press(view, qtbot, RIGHT)
    assert view.card.editing == "right" and said(project, 0) is None
    press(view, qtbot, Qt.Key.Key_Exclam, LEFT, Qt.Key.Key_S)  # letters and arrows are the text's now
    assert said(project, 0) is None and number(view) == 0
    press(view, qtbot, Qt.Key.Key_Return, modifiers=Qt.KeyboardModifier.ControlModifier)
    kept = said(project, 0)
    assert kept is not None and kept.choice != kept.left and "s" in kept.edited and number(view) == 1 and not view.card.editing
    learned = next(project.library.pairs.for_training([filled]))
    assert learned.chosen == kept.edited and learned.rejected == other


def test_escape_leaves_the_edit_and_nothing_is_said(view: LabelView, project: Project, qtbot: QtBot) -> None:
    press(view, qtbot, Qt.Key.Key_E, LEFT, Qt.Key.Key_X, Qt.Key.Key_Escape)
    assert not view.card.editing and said(project, 0) is None and number(view) == 0


def test_a_comment_and_a_flag_are_kept_and_go_into_the_label(view: LabelView, project: Project, qtbot: QtBot) -> None:
    press(view, qtbot, Qt.Key.Key_C)
    qtbot.keyClicks(view.verdict.comment, "up to the date")
    press(view, qtbot, Qt.Key.Key_Up)  # no verdict while one writes
    assert said(project, 0) is None
    press(view, qtbot, Qt.Key.Key_Return)
    press(view, qtbot, Qt.Key.Key_F)
    assert project.library.pairs.progress(view.desk.sets, view.desk.author).flagged == 1
    press(view, qtbot, LEFT)
    kept = said(project, 0)
    assert kept is not None and kept.comment == "up to the date" and kept.flagged
    assert view.verdict.comment.value() == "" and view.desk.now is not None and not view.desk.now.flagged


def test_differences_are_marked_on_request(view: LabelView, qtbot: QtBot) -> None:
    assert not view.card.marked
    press(view, qtbot, Qt.Key.Key_D)
    qtbot.waitUntil(lambda: view.card.marked, timeout=20_000)
    press(view, qtbot, Qt.Key.Key_Escape)
    assert not view.card.marked
    view.rest()


def test_marks_that_were_asked_for_come_although_the_pair_was_flagged_meanwhile(view: LabelView, qtbot: QtBot) -> None:
    view.act("marks")
    view.act("flag")
    qtbot.waitUntil(lambda: view.card.marked and view.desk.now is not None and view.desk.now.flagged, timeout=20_000)


def test_the_least_sure_pairs_of_a_reward_model_are_labelled_at_once(window: MainWindow, filled: str, project: Project,
                                                                     qtbot: QtBot) -> None:
    page = open_page(window, qtbot, order="unsure", sets=[filled, "pair-set-99"])
    qtbot.waitUntil(lambda: page._view == "label" and page.label.desk.now is not None, timeout=20_000)
    assert page.label.desk.order == "unsure" and page.label.desk.sets == (filled,)


def test_a_click_does_what_its_key_does(view: LabelView, project: Project, qtbot: QtBot) -> None:
    qtbot.mouseClick(view.verdict.strengths.buttons[2], Qt.MouseButton.LeftButton)
    qtbot.mouseClick(view.card.sides["right"], Qt.MouseButton.LeftButton, pos=view.card.sides["right"].text.pos() * 2)
    qtbot.waitUntil(lambda: idle(view))
    kept = said(project, 0)
    assert kept is not None and kept.choice != kept.left and kept.strength == 2
    qtbot.mouseClick(view.verdict.buttons["bad"], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: idle(view))
    kept = said(project, 1)
    assert kept is not None and kept.choice == "bad"


def test_a_label_that_cannot_be_written_stays_on_the_screen(view: LabelView, project: Project, qtbot: QtBot,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Label:
        raise ProjectError("The disk is full.", "Make room, and try again.", code="library")
    kind = type(project.library.pairs)
    label = kind.label
    monkeypatch.setattr(kind, "label", full)
    press(view, qtbot, LEFT, RIGHT, wait=False)
    qtbot.waitUntil(lambda: view.notes.note is not None)
    assert number(view) == 0 and said(project, 0) is None and not view._waiting
    monkeypatch.setattr(kind, "label", label)
    qtbot.mouseClick(button(view, "Try again"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: idle(view) and number(view) == 1)
    assert view.notes.note is None and said(project, 1) is None  # what was typed blindly is forgotten


def test_keys_can_be_given_to_other_actions(view: LabelView, project: Project, qtbot: QtBot) -> None:
    view.keys.put("left", "A")
    view._show_keys()
    press(view, qtbot, LEFT)
    assert said(project, 0) is None
    press(view, qtbot, Qt.Key.Key_A)
    assert said(project, 0) is not None
    assert LabelKeys(view.keys.kept()).key("left") == "A"


def test_all_keys_are_different_at_the_start() -> None:
    keys = [k for k in LabelKeys().all().values() if k]
    assert len(keys) == len(set(keys))


def test_the_end_says_what_is_next(view: LabelView, project: Project, qtbot: QtBot) -> None:
    while view.desk.now is not None:
        press(view, qtbot, LEFT)
    assert view.desk.over and len(project.library.pairs.labels()) == 30
    assert button(view, "Train reward model").isEnabled() and not view._work.isVisible()
    before = len(project.library.pairs.labels(rounds=(1, 2)))
    press(view, qtbot, Qt.Key.Key_U)  # what was said last may have been of a pair shown again
    assert view._work.isVisible() and len(project.library.pairs.labels(rounds=(1, 2))) == before - 1


def test_guidelines_are_edited_where_they_stand(view: LabelView, project: Project, qtbot: QtBot) -> None:
    press(view, qtbot, Qt.Key.Key_G)
    assert view.guidelines.field is not None
    qtbot.keyClicks(view.guidelines.field, "1. True before fluent.")
    press(view, qtbot, Qt.Key.Key_Return, modifiers=Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: view.guidelines.field is None)
    assert project.library.pairs.guidelines().markdown == "1. True before fluent." and said(project, 0) is None


# ------------------------------------------------------------------------------------------------------------------ lists, people


def test_a_label_is_found_and_changed_in_the_table(view: LabelView, project: Project, window: MainWindow, qtbot: QtBot) -> None:
    press(view, qtbot, Qt.Key.Key_3, LEFT, Qt.Key.Key_S, RIGHT)
    page: Any = window.pages["preference"]
    press(view, qtbot, Qt.Key.Key_Q)
    queues = page.queues
    qtbot.waitUntil(lambda: queues.progress is not None)
    queues.queue.set("done")
    queues.search.setText("ferry 2?")
    qtbot.waitUntil(lambda: [r.pair.id for r in queues.table.rows_model.rows] == [pair(2).id], timeout=10_000)
    queues.table.opened.emit(queues.table.rows_model.rows[0])
    qtbot.waitUntil(lambda: page._view == "label" and view.desk.now is not None and view.desk.now.visit)
    before = said(project, 2)
    assert number(view) == 2 and before is not None and view.desk.now is not None and view.desk.now.label == before
    press(view, qtbot, Qt.Key.Key_Down)
    qtbot.waitUntil(lambda: page._view == "queues")
    after = said(project, 2)
    assert after is not None and after.choice == "bad" and after.id == before.id and len(project.library.pairs.labels()) == 3


def test_the_card_that_was_left_for_a_visit_comes_back(view: LabelView, window: MainWindow, qtbot: QtBot) -> None:
    press(view, qtbot, LEFT, LEFT)
    page: Any = window.pages["preference"]
    page._visit(pair(0).id)
    qtbot.waitUntil(lambda: view.desk.now is not None and view.desk.now.visit)
    press(view, qtbot, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: idle(view) and view.desk.now is not None and not view.desk.now.visit)
    assert number(view) == 2


def test_labels_of_another_machine_are_merged_with_counts(page: PreferencePage, project: Project, tmp_path: Path, qtbot: QtBot) -> None:
    other = Project.create(tmp_path / "other", "Other")
    theirs = other.library.pairs
    chosen = theirs.create_set("Ferries").id
    theirs.add(chosen, [pair(n) for n in range(6)])
    for n in range(4):
        theirs.label(pair(n).id, Label("first", author="Bea"))
    file = tmp_path / "bea.jsonl"
    from engine.text.preferences.label_file import write_labels
    write_labels(file, theirs.export_labels())
    dialog = MergeDialog(page.context, [file, file], lambda: None, page)
    dialog.open()
    qtbot.waitUntil(lambda: not dialog.process.running and not dialog._files, timeout=60_000)
    assert dialog._total["new"] == 4 and dialog._total["same"] == 4 and dialog._total["pairs"] == 4
    assert project.library.pairs.authors() == {"Bea": 4}
    dialog.accept()


def test_agreement_is_in_words() -> None:
    assert [kappa_words(k) for k in (0.9, 0.5, -0.2, None)][:3] == ["almost perfect", "moderate", "less than chance"]


def test_habits_warn_only_where_chance_hardly_explains_it() -> None:
    made = measure([])
    told = habits(made)
    assert all(h.share is None and not h.odd for h in told)
    from dataclasses import replace
    odd = habits(replace(made, left=wilson(52, 100), longer=wilson(71, 100), self_agreement=wilson(19, 21)))
    assert [h.odd for h in odd] == [False, False, True] and odd[1].sentence == "No side bias"
    assert odd[0].sentence == "19 of 21 pairs shown twice"


# ------------------------------------------------------------------------------------------------------------------ bringing pairs in


def test_an_empty_project_says_what_to_do(page: PreferencePage) -> None:
    assert page._empty_place.isVisible() and not page.start.isVisible()
    assert button(page, "Make 200 pairs").isEnabled() and button(page, "Import a file").isEnabled()


def test_a_file_is_looked_at_and_imported(page: PreferencePage, project: Project, tmp_path: Path, qtbot: QtBot) -> None:
    file = tmp_path / "taste.jsonl"
    rows = [{"prompt": f"Ask {n}?", "chosen": f"Good {n}.", "rejected": f"Bad {n}."} for n in range(20)]
    file.write_text("\n".join(json.dumps(r) for r in [*rows, {"prompt": "", "chosen": "", "rejected": ""}]), "utf-8")
    page.take([str(file)])
    qtbot.waitUntil(lambda: page.bring.plan.look is not None, timeout=60_000)
    assert page.bring.plan.title == "taste" and page.bring._bad_panel.isVisible()
    page.bring.start()
    qtbot.waitUntil(lambda: page._view == "start" and bool(page._sets), timeout=60_000)
    made = project.library.pairs.sets()[0]
    assert (made.title, made.count, made.given) == ("taste", 20, 20)


def test_losing_answers_and_votes_become_pairs(window: MainWindow, project: Project, qtbot: QtBot) -> None:
    examples = project.library.examples
    chosen = examples.create_set("Judged").id
    examples.add(chosen, [Example(id=f"row-{n}", messages=(Message(role="user", content=f"Ask {n}?"),
                                                           Message(role="assistant", content=f"Kept {n}.")),
                                  facts={"rejected": {"text": f"Lost {n}.", "model": "b", "score": 2.0}}) for n in range(5)])
    page = open_page(window, qtbot)
    qtbot.waitUntil(lambda: bool(page._sources))
    page._take_source(page._sources[0])
    qtbot.waitUntil(lambda: bool(page._sets) and page._sets[0].given == 5, timeout=20_000)
    qtbot.waitUntil(lambda: page._sources == [], timeout=20_000)


def test_the_newest_model_that_answers_gives_the_answers_unless_somebody_chose() -> None:
    plan = PairPlan()
    plan.places = [Place("project", "This project", running=True, models=(ModelChoice("project:model-3", "tuned"),
                                                                         ModelChoice("project:model-1", "base")))]
    plan.suggest()
    assert plan.values["first"] == "project:model-3"
    plan.choose("first", "project:model-1")
    plan.suggest()
    assert plan.values["first"] == "project:model-1"


def test_the_plan_says_what_is_in_the_way() -> None:
    plan = PairPlan()
    assert [p.field for p in plan.problems()] == ["examples", "first"]
    plan.set_values({"prompts": ("Why?",), "first": "project:model-1", "first_temperature": 0.0, "second_temperature": 0.0})
    assert [p.field for p in plan.problems()] == ["second_temperature"]
    plan.set_values({"second_temperature": 1.0})
    assert not plan.problems() and plan.spec().title == "model-1, twice" and plan.twice
    plan.choose("second", "http://192.168.0.7:1/v1 qwen3")
    assert [p.field for p in plan.problems("models")] == ["second"]
    again = PairPlan()
    again.recall(json.loads(json.dumps(plan.draft())))
    assert again.values == plan.values
    assert makers({"first": "project:model-1", "first_temperature": 0.7, "second_temperature": 1.0}) == "model-1 at 0.7 and 1.0"


def test_a_file_of_prompts_that_goes_missing_is_named_before_the_start(page: PreferencePage, tmp_path: Path) -> None:
    page.make()
    wizard = page.wizard
    assert wizard is not None
    wizard.plan.set_values({"files": (str(tmp_path / "gone.txt"),), "first": "project:model-1", "second_temperature": 1.0})
    wizard.plan.go("amount")
    started: list[object] = []
    wizard.start_wanted.disconnect()
    wizard.start_wanted.connect(started.append)
    wizard._start()
    assert not started and wizard.plan.step == "prompts" and "gone.txt is not there" in wizard.body("prompts")._problem.words()


@pytest.fixture
def trained(context: AppContext, tmp_path: Path) -> Iterator[Project]:
    """A project with tiny models, open in the window."""
    make_project(tmp_path / "trained")
    yield context.open_project(tmp_path / "trained")


def test_pairs_are_made_and_the_first_are_labelled(trained: Project, window: MainWindow, qtbot: QtBot) -> None:
    page = open_page(window, qtbot)
    page.make()
    wizard = page.wizard
    assert wizard is not None
    qtbot.waitUntil(lambda: wizard.plan.places is not None and wizard.plan.sets is not None, timeout=60_000)
    wizard._forward()
    assert wizard.plan.step == "prompts" and wizard.body("prompts")._problem.isVisible()
    wizard.body("prompts").typed.setPlainText("The ferry left\nThe quay was")
    wizard.body("prompts").put(prompts=("The ferry left", "The quay was"))
    wizard._forward()
    assert wizard.plan.step == "models"
    own = [m.name for p in wizard.plan.places or [] if p.kind == "project" for m in p.models]
    wizard.body("models")._give("first", own[0])
    wizard._forward()
    assert wizard.plan.step == "amount"
    wizard.body("amount").put(count=6, max_tokens=6)
    wizard._forward()
    qtbot.waitUntil(lambda: page._view == "run" and page.run_side is not None, timeout=30_000)
    side = page.run_side
    assert side is not None
    qtbot.waitUntil(lambda: side.follower.status in ("done", "failed", "crashed"), timeout=120_000)
    assert side.follower.status == "done", side.follower.log_tail()
    qtbot.waitUntil(lambda: side.label.isVisible(), timeout=10_000)
    side.label.click()
    qtbot.waitUntil(lambda: page._view == "label" and page.label.desk.now is not None, timeout=20_000)
    press(page.label, qtbot, RIGHT)
    made = trained.library.pairs.sets()[0]
    assert made.run and made.count == 6 and made.labelled == 1
    assert "twice" in made.title or " at " in page._made_by
