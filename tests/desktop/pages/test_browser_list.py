"""The list of documents at a million rows: what is drawn, asked for and chosen stays as small as the screen."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from PySide6.QtCore import QItemSelectionModel, Qt

from desktop.models.paged import PAGE, Pages
from desktop.pages.corpus.browser_list import MOST_CHOSEN, DocumentList, DocumentsModel
from desktop.theme.theme import Theme

MILLION = 1_000_000


def row(number: int) -> dict[str, Any]:
    return {"number": number, "id": f"id{number}", "source": f"letters/{number}.txt", "bytes": 1200 + number, "language": "en",
            "step": None, "snippet": "The steamer reached the roads", "marks": [[4, 11]], "split": "train", "touched": ["whitespace"]}


@pytest.fixture
def asked() -> list[int]:
    return []


@pytest.fixture
def view(theme: Theme, qtbot, asked: list[int]) -> DocumentList:
    def ask(start: int, count: int, then: Callable[[Sequence[Any]], None], failed: object) -> None:
        asked.append(start)
        then([row(n) for n in range(start, start + count)])
    made: list[DocumentList] = []
    pages = Pages(ask, lambda page: None, lambda first, last: made[0].arrived(first, last), lambda wrong: None)
    made.append(DocumentList(theme, DocumentsModel(pages, lambda id: None)))
    made[0].wants.connect(pages.want)
    qtbot.addWidget(made[0])
    made[0].resize(380, 500)
    made[0].show()
    made[0].documents.reset(MILLION)
    qtbot.waitUntil(lambda: pages.row(0) is not None)
    return made[0]


def test_scrolling_asks_only_for_what_is_seen(view: DocumentList, qtbot, asked: list[int]) -> None:
    bar = view.verticalScrollBar()
    bar.setValue(bar.maximum())
    qtbot.waitUntil(lambda: view.documents.pages.row(MILLION - 1) is not None)
    assert set(asked) <= {0, MILLION - PAGE}
    assert view.visible()[0] > MILLION - 20


def test_a_row_is_said_whole_to_a_screen_reader(view: DocumentList) -> None:
    said = view.documents.data(view.documents.index(0, 0), Qt.ItemDataRole.AccessibleTextRole)
    assert said == "letters/0.txt, changed, The steamer reached the roads, 1.2\u00a0kB"
    assert view.documents.data(view.documents.index(500_000, 0)) == "on its way"


def test_choosing_all_or_a_long_range_takes_no_time(view: DocumentList, qtbot) -> None:
    began = time.thread_time()
    view.choose(0)
    qtbot.keyClick(view, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    assert view.everything and view.chosen_count() == MILLION and view.ranges() == [(0, MILLION - 1)] and view.is_chosen(MILLION // 2)
    qtbot.keyClick(view, Qt.Key.Key_Escape)
    assert view.chosen_count() == 1
    qtbot.keyClick(view, Qt.Key.Key_End, Qt.KeyboardModifier.ShiftModifier)
    assert view.ranges() == [(0, MOST_CHOSEN - 1)]
    assert time.thread_time() - began < 0.25
    qtbot.keyClick(view, Qt.Key.Key_Escape)  # Shift is no longer held
    view.choose(MILLION - 1)
    qtbot.keyClick(view, Qt.Key.Key_Home, Qt.KeyboardModifier.ShiftModifier)
    assert view.ranges() == [(MILLION - MOST_CHOSEN, MILLION - 1)]


def test_another_choice_ends_everything(view: DocumentList) -> None:
    view.selectAll()
    view.selectionModel().select(view.documents.index(3, 0), QItemSelectionModel.SelectionFlag.ClearAndSelect)
    assert not view.everything and view.ranges() == [(3, 3)]
