"""The document browser with the real engine: what is searched, filtered, read, decided and compared, by mouse and by keyboard."""

from collections.abc import Iterator

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QPushButton, QWidget

from desktop.context import AppContext
from desktop.pages.corpus.browser import BrowserView
from desktop.widgets.reader import ADDED, CUT, FOUND
from engine.contract.errors import NotFound
from engine.project import launch
from engine.project.project import Project
from engine.project.runs import Run
from engine.stages.corpus.spec import CorpusSpec
from tests.desktop.corpus_made import GROUPS, corpus, documents
from tests.engine.text.browse.made import make

WAIT = 20_000


class Calls:
    back = 0
    apply = 0


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def view(context: AppContext, project: Project, qtbot, calls: Calls) -> Iterator[BrowserView]:
    made = BrowserView(context, on_back=lambda: setattr(calls, "back", calls.back + 1),
                       on_apply=lambda: setattr(calls, "apply", calls.apply + 1))
    qtbot.addWidget(made)
    made.resize(1000, 700)
    made.show()
    yield made
    made.rest()


@pytest.fixture
def full(view: BrowserView, project: Project, qtbot) -> BrowserView:
    """The made corpus is on the screen, its counts are there."""
    view.load(corpus(project))
    shows(view, qtbot, GROUPS * 8)
    qtbot.waitUntil(lambda: bool(view.filters._facets), timeout=WAIT)
    return view


def shows(view: BrowserView, qtbot, total: int) -> None:
    """This many documents are listed, and the chosen one's text is here."""
    def right() -> bool:
        return view.pages.total == total and "Looking" not in view._count.words() and (total == 0 or view.reading._document is not None)
    qtbot.waitUntil(right, timeout=WAIT)


def press(qtbot, widget: QWidget, key: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
    widget.setFocus()
    qtbot.keyClick(widget, key, modifier)


def keeps(project: Project) -> dict[str, bool]:
    return {id: d.keep for id, d in project.library.decisions().items()}


def shown_button(view: BrowserView, qtbot) -> QPushButton:
    """The one button in the place of the list."""
    qtbot.waitUntil(lambda: any(b.isVisible() for b in view.blank.findChildren(QPushButton)), timeout=WAIT)
    return next(b for b in view.blank.findChildren(QPushButton) if b.isVisible())


def pick(view: BrowserView, group: str, words: str) -> None:
    """Open a chip's menu and pick the value with these words, as a click does."""
    view.filters._chips[group].click()
    chosen = next(v for v in view.filters._menu.shown if v.words.strip() == words)
    view.filters._menu._pick(chosen)


# finding ------------------------------------------------------------------------------------------------------------------


def test_a_search_marks_what_it_found_in_list_and_text(full: BrowserView, qtbot) -> None:
    qtbot.keyClicks(full.search, "unique3")
    shows(full, qtbot, 1)
    row = full.pages.row(0)
    assert row is not None and any(row["snippet"][a:b] == "unique3" for a, b in row["marks"])
    assert [text for text, mark in full.reading.reader.pieces if mark == FOUND] == ["unique3"]
    assert full._count.words() == "1 document"


def test_filters_count_and_choose(full: BrowserView, qtbot) -> None:
    full.filters._chips["step"].click()
    counts = {v.words.strip(): v.count for v in full.filters._menu.shown}
    assert counts["Near duplicates"] == 2 * GROUPS and counts["Gopher: many symbols"] == GROUPS
    full.filters._menu.hide()
    pick(full, "step", "Near duplicates")
    shows(full, qtbot, 2 * GROUPS)
    assert full.filters.value() == {"step": "near_duplicates"}
    assert "near duplicates" in full.filters._chips["step"].text()
    pick(full, "source", "letters/4.txt")
    shows(full, qtbot, 1)
    full.filters._chips["step"].cleared.emit()
    shows(full, qtbot, 2)
    qtbot.mouseClick(full.filters._clear, Qt.MouseButton.LeftButton)
    shows(full, qtbot, GROUPS * 8)


def test_every_filter_of_the_menus_is_understood_by_the_engine(full: BrowserView, qtbot) -> None:
    expected = {"holds held-out text": 1, "borderline": GROUPS, "in a group of duplicates": 3 * GROUPS, "Portuguese": GROUPS,
                "Validation": GROUPS, "Removed": 3 * GROUPS, "Boilerplate lines": GROUPS, "harmful: violent": GROUPS}
    found = {}
    for group in full.filters._chips:
        for value in full.filters._values(group):
            if value.words in expected:
                full.filters.set(dict(value.value))
                full._ask_list()
                shows(full, qtbot, expected[value.words])
                found[value.words] = value.count
    assert found == expected


def test_a_cross_on_a_chip_clears_it_and_a_click_opens_it(full: BrowserView, qtbot) -> None:
    full.filters.put("split", "removed")
    shows(full, qtbot, 3 * GROUPS)
    chip = full.filters._chips["split"]
    qtbot.mouseClick(chip, Qt.MouseButton.LeftButton, pos=QPoint(20, chip.height() // 2))
    assert full.filters._menu.isVisible() and full.filters.value() == {"split": "removed"}
    full.filters._menu.hide()
    qtbot.mouseClick(chip, Qt.MouseButton.LeftButton, pos=QPoint(chip.width() - 8, chip.height() // 2))
    shows(full, qtbot, GROUPS * 8)


def test_a_menu_is_worked_by_keyboard(full: BrowserView, qtbot) -> None:
    chip = full.filters._chips["source"]
    press(qtbot, chip, Qt.Key.Key_Down)
    menu = full.filters._menu
    assert menu.isVisible()
    qtbot.keyClicks(menu._find, "letters/7")
    qtbot.keyClick(menu._find, Qt.Key.Key_Return)
    shows(full, qtbot, 2)
    assert full.filters.value() == {"source": "letters/7.txt"} and not menu.isVisible()
    press(qtbot, chip, Qt.Key.Key_Delete)
    shows(full, qtbot, GROUPS * 8)
    press(qtbot, chip, Qt.Key.Key_Down)
    qtbot.keyClicks(menu._find, "etters")
    menu._pick(menu.shown[-1])  # what was typed, as a pattern
    shows(full, qtbot, 2 * GROUPS)
    assert full.filters.value() == {"source": "*etters*"}


def test_nothing_found_says_so_and_leads_back(full: BrowserView, qtbot) -> None:
    qtbot.keyClicks(full.search, "zeppelin")
    shows(full, qtbot, 0)
    assert full._states.currentWidget() is full.blank and "No document fits" in full.blank._title.words()
    button = shown_button(full, qtbot)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    shows(full, qtbot, GROUPS * 8)


def test_a_corpus_without_removed_documents_says_so(view: BrowserView, project: Project, qtbot) -> None:
    view.load(corpus(project, [m for m in documents(2) if not m.step]), {"split": "removed"})
    shows(view, qtbot, 0)
    assert "Nothing was removed" in view.blank._title.words()


def test_orders_are_the_engines(full: BrowserView, qtbot) -> None:
    for order in [full.order._values[i] for i in range(full.order.count())]:
        full.order.set(order)
        full._ask_list()
        shows(full, qtbot, GROUPS * 8)
        assert full._states.currentWidget() is full.list, order


# reading ------------------------------------------------------------------------------------------------------------------


def test_changes_are_marked_and_both_texts_can_be_read(full: BrowserView, qtbot) -> None:
    full.filters.put("touched", "repeated_lines")
    shows(full, qtbot, GROUPS)
    marks = {mark for _, mark in full.reading.reader.pieces}
    assert CUT in marks and full.reading._views.isVisible()
    texts = documents()[3]
    qtbot.mouseClick(next(b for b in full.reading._views.findChildren(QPushButton) if b.text() == "As read"), Qt.MouseButton.LeftButton)
    assert full.reading.reader.toPlainText() == texts.original
    press(qtbot, full.list, Qt.Key.Key_V)  # round to the text as it is now
    assert full.reading.reader.toPlainText() == texts.text


def test_a_removed_document_is_readable_and_says_why(full: BrowserView, qtbot) -> None:
    full.filters.put("step", "near_duplicates")
    shows(full, qtbot, 2 * GROUPS)
    qtbot.waitUntil(lambda: "gazette/1890.txt" in full.reading._why.words(), timeout=WAIT)
    assert "0.91" in full.reading._why.words()
    assert {mark for _, mark in full.reading.reader.pieces} == {""} and not full.reading._views.isVisible()
    qtbot.mouseClick(full.reading._stayed, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: full.reading._row["number"] == 0 and full.reading._document is not None, timeout=WAIT)
    assert full.reading.reader.toPlainText() == documents()[0].text
    full.filters.put("step", "quality")
    shows(full, qtbot, GROUPS)
    assert "at most 0.10" in full.reading._why.words()


def test_the_keyboard_goes_through_the_documents(full: BrowserView, qtbot) -> None:
    assert full.list.hasFocus() and not full.list.ring
    press(qtbot, full.list, Qt.Key.Key_J)
    press(qtbot, full.list, Qt.Key.Key_Down)
    qtbot.waitUntil(lambda: full.reading._document is not None and full.reading._document["row"]["number"] == 2, timeout=WAIT)
    press(qtbot, full.list, Qt.Key.Key_K)
    assert full.reading._row["number"] == 1 and full.reading._where.words() == "2 of 96"
    press(qtbot, full.list, Qt.Key.Key_End)
    qtbot.waitUntil(lambda: full.reading._row["number"] == GROUPS * 8 - 1, timeout=WAIT)
    assert not full.reading._next.isEnabled()
    press(qtbot, full.list, Qt.Key.Key_Slash)
    assert full.search.hasFocus()


def test_long_documents_are_read_on(view: BrowserView, project: Project, qtbot) -> None:
    long = documents(1)[7]
    long.text = "The ferry left the quay. " * 4000
    view.load(corpus(project, [long]))
    shows(view, qtbot, 1)
    assert view.reading._more.isVisible() and len(view.reading.text()) < 40_000
    qtbot.mouseClick(view.reading._more, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: view.reading.text() == long.text, timeout=WAIT)
    assert not view.reading._more.isVisible()


# deciding -----------------------------------------------------------------------------------------------------------------


def test_decisions_are_in_the_library_before_the_screen_shows_them(full: BrowserView, project: Project, qtbot, calls: Calls) -> None:
    id = full.pages.row(0)["id"]
    shown: list[bool] = []
    full.decisions.changed.connect(lambda: shown.append(keeps(project) == dict(full.decisions.all)))
    press(qtbot, full.list, Qt.Key.Key_E)
    qtbot.waitUntil(lambda: full.decisions.keep_of(id) is False, timeout=WAIT)
    assert keeps(project) == {id: False} and all(shown)
    assert full.pending.isVisible() and full.pending._words.words().startswith("1 decision not yet applied to Gazette corpus")
    assert full.reading.restore.isVisible() and not full.reading.exclude.isVisible()
    qtbot.mouseClick(full.pending.button, Qt.MouseButton.LeftButton)
    assert calls.apply == 1
    press(qtbot, full.list, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: full.decisions.keep_of(id) is None, timeout=WAIT)
    assert keeps(project) == {} and not full.pending.isVisible() and full.redo.isEnabled()
    press(qtbot, full.list, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    qtbot.waitUntil(lambda: full.decisions.keep_of(id) is False, timeout=WAIT)
    press(qtbot, full.list, Qt.Key.Key_R)  # the corpus holds it: nothing has to be decided for it to stay
    qtbot.waitUntil(lambda: full.decisions.keep_of(id) is None, timeout=WAIT)
    assert keeps(project) == {}


def test_a_removed_document_is_restored_by_mouse(full: BrowserView, project: Project, qtbot) -> None:
    full.filters.put("split", "removed")
    shows(full, qtbot, 3 * GROUPS)
    qtbot.mouseClick(full.reading.restore, Qt.MouseButton.LeftButton)
    id = full.pages.row(0)["id"]
    qtbot.waitUntil(lambda: full.decisions.keep_of(id) is True, timeout=WAIT)
    assert keeps(project) == {id: True} and full.reading._next_words.words() == "will be in the next corpus"
    qtbot.mouseClick(full.reading.exclude, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: keeps(project) == {}, timeout=WAIT)


def test_everything_that_matches_is_excluded_and_undone_at_once(full: BrowserView, project: Project, qtbot) -> None:
    full.filters.put("language", "pt")
    shows(full, qtbot, GROUPS)
    press(qtbot, full.list, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    assert full._count.words() == f"{GROUPS} chosen"
    qtbot.mouseClick(full._bulk_exclude, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: full.decisions.pending == GROUPS, timeout=WAIT)
    assert len(keeps(project)) == GROUPS and set(keeps(project).values()) == {False}
    said: list[str] = []
    full.context.toast_requested.connect(lambda words, *more: said.append(words))
    full.decisions.undo()
    qtbot.waitUntil(lambda: not full.decisions.all, timeout=WAIT)
    assert keeps(project) == {} and said == [f"{GROUPS} decisions undone"]


def test_a_range_of_rows_is_restored_and_the_kept_ones_among_them_are_left_alone(full: BrowserView, project: Project, qtbot) -> None:
    full.list.choose(0)
    for _ in range(4):
        qtbot.keyClick(full.list, Qt.Key.Key_Down, Qt.KeyboardModifier.ShiftModifier)
    assert full.list.chosen_count() == 5
    qtbot.mouseClick(full._bulk_restore, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(keeps(project)) == 3, timeout=WAIT)  # two near duplicates and one of the quality rules
    assert set(keeps(project).values()) == {True}
    qtbot.keyClick(full.list, Qt.Key.Key_Escape)
    assert full.list.chosen_count() == 1


def test_decided_documents_can_be_filtered(full: BrowserView, qtbot) -> None:
    press(qtbot, full.list, Qt.Key.Key_E)
    qtbot.waitUntil(lambda: full.decisions.pending == 1, timeout=WAIT)
    full.filters.put("decided", "exclude")
    shows(full, qtbot, 1)
    press(qtbot, full.list, Qt.Key.Key_R)
    shows(full, qtbot, 0)


def test_decisions_that_the_corpus_was_made_with_do_not_wait(view: BrowserView, project: Project, qtbot) -> None:
    first = documents(1)
    project.library.decide({first[0].id: False, first[4].id: True})
    run: Run = project.runs.create(CorpusSpec(sources=("text",)))
    first[0].step, first[0].rule, first[4].step = "hand", None, None
    with project.artifacts.create("corpus", title="Second", run=run.id, spec={"decisions": True}) as writer:
        make(writer.path, first)
        made = writer.finish(documents=1)
    view.load(made)
    shows(view, qtbot, 8)
    qtbot.waitUntil(lambda: len(view.decisions.all) == 2, timeout=WAIT)
    assert view.decisions.pending == 0 and not view.pending.isVisible()
    press(qtbot, view.list, Qt.Key.Key_R)
    qtbot.waitUntil(lambda: view.decisions.pending == 1, timeout=WAIT)
    assert keeps(project) == {first[4].id: True} and view.decisions.kept_next(first[0].id, "hand")


def test_labels_of_harm_teach_and_go_on(full: BrowserView, project: Project, qtbot) -> None:
    assert not full.reading._harm.isVisible()
    full.filters.put("borderline", True)
    shows(full, qtbot, GROUPS)
    assert full.reading._harm.isVisible()
    press(qtbot, full.list, Qt.Key.Key_H)
    press(qtbot, full.list, Qt.Key.Key_N)
    qtbot.waitUntil(lambda: full.decisions.labels == (1, 1), timeout=WAIT)
    labels = project.library.harm_labels()
    assert [(label.kind, label.harmful) for label in labels] == [("violence", True), ("violence", False)]
    assert labels[0].text == documents()[5].text and full._place == 2
    assert "1 and 1 of the 20" in full.reading._count.words()
    press(qtbot, full.list, Qt.Key.Key_K)
    press(qtbot, full.list, Qt.Key.Key_N)  # again takes it back
    qtbot.waitUntil(lambda: full.decisions.labels == (1, 0), timeout=WAIT)
    assert len(project.library.harm_labels()) == 1


# groups -------------------------------------------------------------------------------------------------------------------


def test_groups_are_compared_and_another_member_is_kept(full: BrowserView, project: Project, qtbot) -> None:
    press(qtbot, full.list, Qt.Key.Key_C)
    assert full.clusters.table.hasFocus()
    cards = full.clusters.compare.cards
    qtbot.waitUntil(lambda: cards[0].member is not None and full.clusters.pages.total == GROUPS, timeout=WAIT)
    assert [c.member["number"] for c in cards[:3]] == [0, 2, 1]  # the kept one, then the most alike
    assert [c._badge.text() for c in cards[:3]] == ["kept", "removed", "removed"]
    assert {mark for _, mark in cards[2]._reader.pieces} == {"", CUT, ADDED}
    press(qtbot, full.clusters.table, Qt.Key.Key_2)
    qtbot.waitUntil(lambda: cards[1]._badge.text() == "kept", timeout=WAIT)
    first, _, second = documents()[:3]
    assert keeps(project) == {first.id: False, second.id: True} and cards[0]._badge.text() == "removed"
    qtbot.mouseClick(cards[0].keep, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: cards[0]._badge.text() == "kept" and cards[1]._badge.text() == "removed", timeout=WAIT)
    press(qtbot, full.clusters.table, Qt.Key.Key_J)
    qtbot.waitUntil(lambda: cards[0].member["cluster"] == 1, timeout=WAIT)
    assert full.clusters._where.words() == f"2 of {GROUPS}"
    qtbot.mouseClick(cards[1].read, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: full._sides.currentIndex() == 0 and full.reading._row["number"] == 10, timeout=WAIT)


def test_a_corpus_without_duplicates_says_so(view: BrowserView, project: Project, qtbot) -> None:
    view.load(corpus(project, [m for m in documents(1) if m.cluster < 0]))
    view.sides._group.button(1).click()
    qtbot.waitUntil(lambda: "No duplicates" in view.clusters._blank._title.words(), timeout=WAIT)


# what goes wrong ----------------------------------------------------------------------------------------------------------


def test_a_process_that_died_is_told_and_asked_again(full: BrowserView, qtbot) -> None:
    process = full.desk._near._process
    assert process is not None
    full._ask_list()
    launch.kill(process.processId())
    qtbot.waitUntil(lambda: full._states.currentWidget() is full.blank, timeout=WAIT)
    button = shown_button(full, qtbot)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    shows(full, qtbot, GROUPS * 8)


def test_a_missing_index_is_made_and_then_the_list_comes(view: BrowserView, project: Project, qtbot, monkeypatch) -> None:
    real, asked = view.desk.browse, []

    def browse(wanted, start, count, then, failed, **more) -> None:
        asked.append(start)
        if len(asked) == 1:  # what the engine says of a large corpus
            failed(NotFound("There is no index.", code="no_index"))
        else:
            real(wanted, start, count, then, failed, **more)
    monkeypatch.setattr(view.desk, "browse", browse)
    view.load(corpus(project, documents(2)))
    assert view._states.currentWidget() is view.building
    view.desk.index_changed.emit({"state": "building", "done": 3e6, "total": 12e6})
    assert view.building._words.words() == "3.0\u00a0MB of 12.0\u00a0MB"
    shows(view, qtbot, 16)


def test_an_old_artifact_is_an_error_with_words(view: BrowserView, project: Project, qtbot) -> None:
    with project.artifacts.create("corpus", title="Old") as writer:
        made = writer.finish(documents=1)
    view.load(made)
    qtbot.waitUntil(lambda: view._states.currentWidget() is view.blank, timeout=WAIT)
    assert view.blank._title.words() and not view.reading._body.isVisible()


def test_nobody_looks_no_process_runs(full: BrowserView) -> None:
    full.rest()
    assert full.desk._near._process is None and full.desk._far._process is None
