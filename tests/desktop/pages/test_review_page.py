"""The review of examples, by keys and by mouse: what it shows is in the library, what it says is saved, and nothing is lost on the way."""

import sqlite3
import threading
from typing import Any

import pytest
from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from desktop.main_window import MainWindow
from desktop.models.example_desk import Pace
from desktop.models.example_keys import Keys
from desktop.models.example_words import PERSON, line_of, next_role, range_words, read_range
from desktop.pages.instruct.review import ReviewView
from desktop.pages.instruct.review_keys import KeysOfReview
from desktop.widgets.grown import ENDS, Grown, with_breaks
from desktop.widgets.key_list import key_of
from engine.contract.errors import ProjectError
from engine.contract.rows import Example, Message
from engine.project.project import Project
from engine.stages.instruct.spec import InstructSpec
from engine.text.corpus_writer import CorpusWriter, document_id
from engine.text.quoted import differences, quoted

PASSAGE = "The ferry left at seven. " * 40 + "In thick fog the captain could not see the shore. " + "The harbour master waited. " * 40
QUOTE = "In thick fog the captain could not see the shore."


def example(number: int, **more: Any) -> Example:
    facts = {"rationale": f"Reason {number}.", "rejected": {"text": f"Answer {number}, which lost.", "model": "ollama:b", "score": 3.0}}
    given: dict[str, Any] = {"id": f"row-{number}", "origin": "ollama:a", "score": float(number % 10 + 1), "facts": facts,
                             "messages": (Message(role="user", content=f"Question {number}?"),
                                          Message(role="assistant", content=f"Answer {number}, which was **kept**."))}
    return Example(**{**given, **more})


@pytest.fixture
def filled(project: Project) -> str:
    """Thirty rows; three are flagged, so they wait among the rejected."""
    id = project.library.examples.create_set("Ferries", run="").id
    rows = [example(n, **({"flags": ("tie",)} if n % 10 == 9 else {})) for n in range(30)]
    project.library.examples.ingest(id, rows)
    return id


def idle(view: ReviewView) -> bool:
    return not (view.desk.busy or view.listed.loading or view.listed._busy or view.context.jobs.busy or view._acting)


def open_review(window: MainWindow, qtbot: QtBot, sets: tuple[str, ...], **filters: Any) -> ReviewView:
    window.resize(1280, 800)
    window.show_page("instruct")
    page: Any = window.pages["instruct"]
    page.open_review(sets, **filters)
    qtbot.waitUntil(lambda: page.review is not None and page.review._asked is not None and idle(page.review), timeout=15_000)
    view: ReviewView = page.review
    return view


@pytest.fixture
def view(window: MainWindow, filled: str, qtbot: QtBot) -> ReviewView:
    return open_review(window, qtbot, (filled,))


def press(view: ReviewView, qtbot: QtBot, key: Any, modifiers: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier,
          wait: bool = True) -> None:
    view.window().activateWindow()
    qtbot.keyClick(QApplication.focusWidget() or view.table, key, modifiers)
    if wait:
        qtbot.waitUntil(lambda: idle(view), timeout=10_000)


def shown(view: ReviewView) -> str:
    return view.card.row.example.id if view.card.row is not None else ""


def card(view: ReviewView, qtbot: QtBot) -> ReviewView:
    view.show_view("card")
    qtbot.waitUntil(lambda: idle(view) and shown(view) != "")
    view.card.setFocus()
    return view


def test_what_is_to_be_reviewed_comes_first(view: ReviewView) -> None:
    assert view.filters.value().status == "new" and view.listed.total == 27
    assert view.progress._words.words() == "3 of 30 looked through"
    line = view.listed.line(0)
    assert line is not None and (line.question, line.answer, line.who) == ("Question 0?", "Answer 0, which was **kept**.", "a")


def test_accepting_saves_and_advances(view: ReviewView, project: Project, qtbot: QtBot) -> None:
    card(view, qtbot)
    first = shown(view)
    press(view, qtbot, Qt.Key.Key_A)
    assert project.library.examples.get(first).status == "accepted"
    assert shown(view) == "row-1" and view.listed.total == 26
    press(view, qtbot, Qt.Key.Key_R)
    assert project.library.examples.get("row-1").status == "rejected" and shown(view) == "row-2"
    assert view.progress._words.words() == "5 of 30 looked through"


def test_fast_keys_each_meet_their_own_row(view: ReviewView, project: Project, qtbot: QtBot) -> None:
    card(view, qtbot)
    for _ in range(6):
        press(view, qtbot, Qt.Key.Key_A, wait=False)
    press(view, qtbot, Qt.Key.Key_R, wait=False)
    qtbot.waitUntil(lambda: idle(view) and not view._waiting, timeout=10_000)
    get = project.library.examples.get
    assert [get(f"row-{n}").status for n in range(8)] == ["accepted"] * 6 + ["rejected", "new"]
    assert shown(view) == "row-7"


def test_undo_goes_back_to_the_row_without_limit(view: ReviewView, project: Project, qtbot: QtBot) -> None:
    card(view, qtbot)
    for _ in range(4):
        press(view, qtbot, Qt.Key.Key_A)
    for n in (3, 2, 1, 0):
        press(view, qtbot, Qt.Key.Key_U)
        assert project.library.examples.get(f"row-{n}").status == "new" and shown(view) == f"row-{n}"
    assert view.listed.total == 27
    press(view, qtbot, Qt.Key.Key_U, Qt.KeyboardModifier.ShiftModifier)
    assert project.library.examples.get("row-0").status == "accepted"


def test_skipping_leaves_the_row_as_it_is(view: ReviewView, project: Project, qtbot: QtBot) -> None:
    card(view, qtbot)
    press(view, qtbot, Qt.Key.Key_S)
    assert shown(view) == "row-1" and project.library.examples.get("row-0").status == "new"
    assert view.progress._skipped.words() == "1 skipped"
    press(view, qtbot, Qt.Key.Key_Left)
    assert shown(view) == "row-0"


def test_an_edit_is_on_the_disk_before_it_is_shown(view: ReviewView, project: Project, qtbot: QtBot,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    card(view, qtbot)
    press(view, qtbot, Qt.Key.Key_E)
    bubble = view.card._bubbles[1]
    assert bubble.editing and bubble._field is not None and QApplication.focusWidget() is bubble._field
    press(view, qtbot, Qt.Key.Key_A)  # a letter of the text, not a decision
    assert project.library.examples.get("row-0").status == "new" and bubble.draft.content.endswith("**kept**.a")
    slow, kind = threading.Event(), type(project.library.examples)
    edit = kind.edit
    monkeypatch.setattr(kind, "edit", lambda *given, **named: slow.wait(10) and edit(*given, **named))
    press(view, qtbot, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier, wait=False)
    qtbot.wait(60)
    assert bubble.editing and bubble._field.isReadOnly() and not bubble.message.content.endswith("a")
    slow.set()
    qtbot.waitUntil(lambda: not bubble.editing)
    row = project.library.examples.get("row-0")
    assert row.example.messages[1].content == bubble.message.content == "Answer 0, which was **kept**.a"
    assert row.edited_by == PERSON and view.card._by.words() == "edited by you"


def test_what_is_being_written_is_saved_when_the_row_is_left(view: ReviewView, project: Project, qtbot: QtBot) -> None:
    card(view, qtbot)
    view.card.edit()
    view.card._bubbles[1]._field.setPlainText("Another answer")  # type: ignore[union-attr]
    view.decide.next.click()
    qtbot.waitUntil(lambda: idle(view))
    assert shown(view) == "row-1" and project.library.examples.get("row-0").example.messages[1].content == "Another answer"


def test_escape_leaves_the_message_as_it_was_and_the_draft_can_be_had_back(view: ReviewView, project: Project, qtbot: QtBot) -> None:
    card(view, qtbot)
    told: list[Any] = []
    view.context.toast_requested.connect(lambda words, button, act: told.append(act))
    view.card.edit()
    view.card._bubbles[1]._field.setPlainText("Half a thought")  # type: ignore[union-attr]
    press(view, qtbot, Qt.Key.Key_Escape)
    assert not view.card.editing and project.library.examples.get("row-0").edited_by == ""
    told[-1]()
    assert view.card.editing and view.card._bubbles[1].draft.content == "Half a thought"


def test_an_edit_that_cannot_be_saved_stays_in_the_field(view: ReviewView, project: Project, qtbot: QtBot,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    card(view, qtbot)
    view.card.edit()
    view.card._bubbles[1]._field.setPlainText("Too much for this disk")  # type: ignore[union-attr]
    full = ProjectError("The disk is full.", "Free some space.")

    def refuse(*given: Any, **named: Any) -> bool:
        raise full
    with monkeypatch.context() as broken:
        broken.setattr(type(project.library.examples), "edit", refuse)
        view.card.save()
        qtbot.waitUntil(lambda: view.notes.note is not None and idle(view))
    assert view.card.editing and view.card._bubbles[1].draft.content == "Too much for this disk"
    assert not view.card._bubbles[1]._field.isReadOnly()  # type: ignore[union-attr]
    view.card.save()
    qtbot.waitUntil(lambda: idle(view) and not view.card.editing)
    assert project.library.examples.get("row-0").example.messages[1].content == "Too much for this disk"


def test_turns_are_added_and_removed(view: ReviewView, project: Project, qtbot: QtBot) -> None:
    card(view, qtbot)
    press(view, qtbot, Qt.Key.Key_T)
    bubble = view.card._bubbles[2]
    assert bubble.editing and bubble.draft.role == "user"
    bubble._field.setPlainText("And then?")  # type: ignore[union-attr]
    press(view, qtbot, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    get = project.library.examples.get
    assert [m.role for m in get("row-0").example.messages] == ["user", "assistant", "user"]
    view.card.remove(2)
    qtbot.waitUntil(lambda: idle(view))
    assert len(get("row-0").example.messages) == 2 and view.card._bubbles[2].isHidden()
    view.card.add_turn()
    view.card.save()  # nothing was written: no turn, no step
    assert not view.card.editing and len(get("row-0").example.messages) == 2


def test_an_older_version_is_looked_at_and_restored(view: ReviewView, project: Project, qtbot: QtBot) -> None:
    card(view, qtbot)
    before = project.library.examples.get("row-0").example.messages
    view._edited([before[0], Message(role="assistant", content="Worse.")])
    qtbot.waitUntil(lambda: idle(view) and len(view.side._events) == 2)
    view.side.look_wanted.emit(1)
    assert not view.card.beside.isHidden()
    assert view.card.beside.texts[1].toPlainText().endswith("Answer 0, which was **kept**.")
    view._restore(view.side.event_at(1).messages or ())
    qtbot.waitUntil(lambda: idle(view))
    assert project.library.examples.get("row-0").example.messages == before
    assert len(project.library.examples.history("row-0")) == 3


def test_the_losing_answer_stands_beside_the_kept_one_with_differences_marked(view: ReviewView, qtbot: QtBot) -> None:
    card(view, qtbot)
    press(view, qtbot, Qt.Key.Key_L)
    left, right = view.card.beside.texts
    qtbot.waitUntil(lambda: len(left.pieces) > 1, timeout=20_000)
    assert "".join(t for t, _ in left.pieces) == "Answer 0, which was **kept**."
    assert "".join(t for t, _ in right.pieces) == "Answer 0, which lost."
    assert any(mark for _, mark in left.pieces) and any(mark for _, mark in right.pieces)
    view.bench.stop()


def test_a_comment_is_saved_when_it_is_left(view: ReviewView, project: Project, qtbot: QtBot) -> None:
    card(view, qtbot)
    press(view, qtbot, Qt.Key.Key_C)
    qtbot.keyClicks(view.side.comment, "look again")
    press(view, qtbot, Qt.Key.Key_Return)
    assert project.library.examples.get("row-0").comment == "look again"
    view.side.comment.setText("and again")
    view.decide.next.click()
    qtbot.waitUntil(lambda: idle(view))
    assert project.library.examples.get("row-0").comment == "and again" and view.side.comment.value() == ""


def test_many_are_decided_in_one_step(view: ReviewView, project: Project, qtbot: QtBot) -> None:
    view.filters.put(status="")
    qtbot.waitUntil(lambda: idle(view) and view.listed.total == 30)
    view.table.choose(2)
    for _ in range(3):
        press(view, qtbot, Qt.Key.Key_Down, Qt.KeyboardModifier.ShiftModifier)
    assert view.table.chosen_count() == 4 and view.many.buttons["rejected"].text() == "Reject 4"
    press(view, qtbot, Qt.Key.Key_R)
    get = project.library.examples.get
    assert [get(f"row-{n}").status for n in range(1, 7)] == ["new", *["rejected"] * 4, "new"]
    view.undo()
    qtbot.waitUntil(lambda: idle(view))
    assert project.library.examples.get_set(view.filters.value().sets[0]).rejected == 3


def test_all_that_fit_are_decided_and_no_others(view: ReviewView, project: Project, qtbot: QtBot) -> None:
    view.filters.search.setText("Question 1")
    qtbot.waitUntil(lambda: idle(view) and view.listed.filter.search == "Question 1")
    assert view.listed.total == 10  # 1 and 10 to 18; 19 is set aside
    view.table.selectAll()
    assert view.many.buttons["accepted"].text() == "Accept 10"
    view.many.buttons["accepted"].click()
    qtbot.waitUntil(lambda: idle(view))
    found = project.library.examples.get_set(view.filters.value().sets[0])
    assert (found.accepted, found.rejected) == (10, 3)
    assert view.blank.isVisible() and view.blank.title == "No example fits"


def test_filters_and_orders_ask_the_library(view: ReviewView, qtbot: QtBot) -> None:
    view.filters.put(status="", flag="tie")
    qtbot.waitUntil(lambda: idle(view) and view.listed.total == 3)
    view.filters.put(flag="", low=9.0)
    qtbot.waitUntil(lambda: idle(view) and view.listed.total == 6)
    view.filters.clear()
    view.filters.set_order("score")
    qtbot.waitUntil(lambda: idle(view) and view.listed.order == "score" and view.listed.total == 30)
    scores = [float(line.score) for i in range(30) if (line := view.listed.line(i)) is not None]
    assert len(scores) == 30 and scores == sorted(scores, reverse=True)
    view.table._sort_clicked(3)
    qtbot.waitUntil(lambda: idle(view) and view.listed.order == "-score")
    assert view.filters.order() == "-score"


def test_keys_work_after_a_filter_was_clicked(view: ReviewView, project: Project, qtbot: QtBot) -> None:
    card(view, qtbot)
    button = view.filters.state._group.button(0)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    button.setFocus(Qt.FocusReason.MouseFocusReason)
    qtbot.waitUntil(lambda: idle(view) and view.listed.total == 30)
    assert QApplication.focusWidget() is view.card
    view.filters.search.setFocus()
    view.filters.search.setText("Question 1")
    qtbot.waitUntil(lambda: idle(view) and view.listed.total == 11)
    assert QApplication.focusWidget() is view.filters.search


def test_all_looked_through_is_said(view: ReviewView, qtbot: QtBot) -> None:
    view.table.selectAll()
    view.decide_many("accepted")
    qtbot.waitUntil(lambda: idle(view) and view.blank.isVisible())
    assert view.blank.title == "All of it is looked through"
    assert view.hints.isHidden()


def test_an_empty_set_offers_to_write(window: MainWindow, project: Project, qtbot: QtBot) -> None:
    view = open_review(window, qtbot, (project.library.examples.create_set("Empty").id,))
    assert view.blank.isVisible() and view.blank.title == "No examples here yet"


def test_a_set_that_is_gone_is_named_with_a_way_out(view: ReviewView, project: Project, filled: str, qtbot: QtBot) -> None:
    project.library.examples.delete_set(filled)
    view.filters.put(status="accepted")
    qtbot.waitUntil(lambda: idle(view) and view.blank.isVisible())
    assert filled in view.blank.title


def test_an_example_is_written_by_hand(view: ReviewView, project: Project, filled: str, qtbot: QtBot) -> None:
    view.write()
    user, answer = view.writing._bubbles
    view.writing.save()
    assert view.writing._wrong.words() == "An answer is missing: a model learns from the assistant's turns."
    user._field.setPlainText("Who waits?")  # type: ignore[union-attr]
    user._field.setFocus()  # type: ignore[union-attr]
    press(view, qtbot, Qt.Key.Key_Tab)  # who says the next one
    press(view, qtbot, Qt.Key.Key_Tab)
    assert QApplication.focusWidget() is answer._field
    qtbot.keyClicks(answer._field, "The harbour master.")
    view.writing.save_button.click()
    qtbot.waitUntil(lambda: idle(view) and not view.writing.isVisible())
    made = project.library.examples.rows(order="-position", count=1)[0]
    assert (made.set, made.status, made.example.origin) == (filled, "accepted", PERSON)
    assert [m.content for m in made.example.messages] == ["Who waits?", "The harbour master."]


def test_deleting_can_be_undone(view: ReviewView, project: Project, qtbot: QtBot) -> None:
    card(view, qtbot)
    press(view, qtbot, Qt.Key.Key_Delete)
    assert project.library.examples.get("row-0").deleted and shown(view) == "row-1"
    press(view, qtbot, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert not project.library.examples.get("row-0").deleted and shown(view) == "row-0"


def test_the_quote_is_marked_in_its_passage(window: MainWindow, project: Project, qtbot: QtBot) -> None:
    with project.artifacts.create("corpus", title="Gazette") as made:
        writer = CorpusWriter(made.path)
        writer.add("train", "Something else. " * 20, "a.txt")
        writer.add("train", PASSAGE, "b.txt")
        writer.finish()
        made.finish(documents=2)
    corpus = project.artifacts.list("corpus")[0]
    run = project.runs.create(InstructSpec(corpus=corpus.id, responder="ollama:a"))
    set_id = project.library.examples.set_of_run(run.id, "Grounded") or ""
    at = PASSAGE.index(QUOTE)
    facts = {"document": document_id("b.txt", PASSAGE.encode()), "source": "b.txt", "quote": QUOTE, "quote_start": at,
             "quote_end": at + len(QUOTE)}
    project.library.examples.ingest(set_id, [example(1, facts=facts), example(2, facts={**facts, "document": "gone"})])
    view = card(open_review(window, qtbot, (set_id,)), qtbot)
    qtbot.waitUntil(lambda: len(view.side._passage.pieces) == 3, timeout=20_000)
    before, found, after = view.side._passage.pieces
    assert found == (QUOTE, "found") and before[0].endswith("left at seven. ") and after[0].strip().startswith("The harbour")
    press(view, qtbot, Qt.Key.Key_Right)
    qtbot.waitUntil(lambda: not view.side._passage_note.isHidden(), timeout=20_000)
    assert view.side._passage.pieces == [(QUOTE, "found")]
    view.bench.stop()
    answer = quoted(str(corpus.path), facts["document"], QUOTE)
    assert answer["text"][slice(*answer["mark"])] == QUOTE and answer["before"] and answer["after"]
    assert quoted(str(corpus.path), facts["document"], "stands nowhere")["mark"] is None


def test_keys_are_given_others_and_kept(view: ReviewView, project: Project, qtbot: QtBot) -> None:
    card(view, qtbot)
    view.show_keys()
    dialog = next(d for d in QApplication.topLevelWidgets() if isinstance(d, KeysOfReview) and d.isVisible())
    dialog.wait_for("accept")
    qtbot.keyClick(dialog, Qt.Key.Key_R)
    assert view.keys.key("accept") == "R" and view.keys.key("reject") == ""
    dialog.accept()
    view.card.setFocus()
    press(view, qtbot, Qt.Key.Key_R)
    assert project.library.examples.get("row-0").status == "accepted"
    assert view.context.settings.get("review.keys") == {"accept": "R", "reject": ""}
    keys = Keys(view.context.settings.get("review.keys"))
    keys.reset()
    assert keys.key("accept") == "A" and keys.kept() is None


def test_a_sign_is_itself_on_every_keyboard(qapp: QApplication) -> None:
    shift, none = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.NoModifier
    assert key_of(QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_Question, shift, "?")) == "?"
    assert key_of(QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_U, shift, "U")) == "Shift+U"
    assert key_of(QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_Left, none, "")) == "Left"


def test_what_a_model_wrote_is_no_markup_beyond_markdown(theme: Any, qtbot: QtBot) -> None:
    text = Grown(theme)
    qtbot.addWidget(text)
    text.resize(400, 100)
    text.set('<b onclick="x">bold</b> ![picture](file:///etc/hostname) **strong**\nsecond line')
    assert '<b onclick="x">bold</b>' in text.toPlainText() and "**" not in text.toPlainText()
    assert text.document().loadResource(2, "file:///etc/hostname") is None
    assert text.toPlainText().endswith(" strong\nsecond line")
    assert text.document().begin().blockFormat().bottomMargin() == 0 == text.document().lastBlock().blockFormat().topMargin()
    text.set("**as written**", raw=True)
    assert text.toPlainText() == "**as written**"
    text.set("x" * 13_000)
    assert text.cut == 1_000 and len(text.toPlainText()) == 12_000
    text.show_all()
    assert len(text.toPlainText()) == 13_000


def test_lines_end_where_they_end_but_not_in_code_or_tables() -> None:
    assert with_breaks("one\ntwo\n\nthree") == f"one {ENDS}  \ntwo\n\nthree"
    assert with_breaks("```\na\nb\n```") == "```\na\nb\n```"
    assert with_breaks("| a | b |\n|---|---|\n| 1 | 2 |") == "| a | b |\n|---|---|\n| 1 | 2 |"


def test_ranges_of_scores_are_read_as_people_write_them() -> None:
    assert [read_range(t) for t in ("7", "7+", "3-7", "7 to 3", "4,5+")] == [(7, 7), (7, None), (3, 7), (3, 7), (4.5, None)]
    assert read_range("good") is None
    assert range_words(3, 7) == "3 to 7" and range_words(9, None) == "9 and more" and range_words(None, 5) == "up to 5"


def test_pauses_do_not_count_in_the_pace() -> None:
    pace = Pace()
    for at in (0, 6, 12, 18, 24):
        pace.count(at)
    pace.count(4000)
    assert pace.per_minute() == pytest.approx(10.0)
    assert Pace().per_minute() is None


def test_the_next_turn_is_the_other_one() -> None:
    said = [Message(role="system", content="s"), Message(role="user", content="q")]
    assert next_role([]) == "user" and next_role(said) == "assistant"


def test_differences_of_long_texts_are_cut() -> None:
    found = differences("a " * 20_000, "b " * 20_000)
    assert found["cut"] is True and {kind for kind, _ in found["pieces"]} <= {"same", "removed", "added"}


def test_a_line_of_a_long_example_is_short(project: Project) -> None:
    id = project.library.examples.create_set("Long").id
    project.library.examples.add(id, [example(1, messages=(Message(role="user", content="q\n" * 100_000),))])
    line = line_of(project.library.examples.get("row-1"))
    assert len(line.question) <= 240 and "\n" not in line.question and line.answer == ""


def test_a_library_that_cannot_be_read_offers_to_try_again(view: ReviewView, project: Project, qtbot: QtBot,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: Any, **named: Any) -> Any:
        raise ProjectError("The library cannot be read.", "Look at the disk.") from sqlite3.OperationalError()
    with monkeypatch.context() as patch:
        patch.setattr(type(project.library.examples), "rows", broken)
        view.filters.put(status="accepted")
        qtbot.waitUntil(lambda: view.blank.isVisible() and idle(view))
        assert view.blank.title == "The library cannot be read."
    view._ask()
    qtbot.waitUntil(lambda: idle(view) and view.blank.title != "The library cannot be read.")
