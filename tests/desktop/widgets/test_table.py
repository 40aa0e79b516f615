"""Tables: fast with many rows, sorted by key, the selection survives new rows, everything by keyboard."""

import time

import pytest
from PySide6.QtCore import Qt

from desktop.widgets.table import Cell, Column, PagedModel, Table, state_cell, status_words

COLUMNS = [Column("Name", lambda r: Cell(r[1], "second line", tip=f"tip {r[0]}"), key=lambda r: r[1]),
           Column("Number", lambda r: f"{r[0]:,}", 90, right=True, key=lambda r: r[0])]


def make(theme, qtbot, rows, **more) -> Table:
    table = Table(theme, COLUMNS, rows, name="Things", **more)
    qtbot.addWidget(table)
    table.resize(600, 400)
    table.show()
    return table


def test_a_hundred_thousand_rows_show_at_once(theme, qtbot) -> None:
    rows = [(i, f"row {i}") for i in range(100_000)]
    began = time.perf_counter()
    table = make(theme, qtbot, rows)
    table.grab()
    table.scrollToBottom()
    table.grab()
    assert time.perf_counter() - began < 2.0
    began = time.perf_counter()
    table.rows_model.sort(1, Qt.SortOrder.DescendingOrder)
    assert time.perf_counter() - began < 2.0
    assert table.rows_model.row(0)[0] == 99_999


def test_only_the_rows_on_the_screen_are_made(theme, qtbot) -> None:
    made: set[int] = set()
    columns = [Column("n", lambda r: made.add(r) or str(r))]
    table = Table(theme, columns, range(100_000), name="n")
    qtbot.addWidget(table)
    table.resize(300, 400)
    table.show()
    table.grab()
    assert 0 < len(made) < 100


def test_a_paged_model_fetches_what_is_shown(theme, qtbot) -> None:
    fetched: list[int] = []

    def fetch(start: int, count: int) -> list[tuple[int, str]]:
        fetched.append(start)
        return [(i, f"row {i}") for i in range(start, start + count)]
    table = make(theme, qtbot, (), model=PagedModel(COLUMNS, 1_000_050, fetch))
    table.grab()
    table.scrollToBottom()
    table.grab()
    assert len(fetched) < 6
    assert table.rows_model.row(1_000_049)[0] == 1_000_049


def test_the_selection_survives_new_rows(theme, qtbot) -> None:
    table = make(theme, qtbot, [(1, "a"), (2, "b"), (3, "c")])
    table.select(1)
    with qtbot.assertNotEmitted(table.chosen):
        table.set_rows([(0, "z"), (1, "a"), (2, "b")])
    assert table.current_row() == (2, "b")


def test_enter_and_double_click_open_the_row(theme, qtbot) -> None:
    table = make(theme, qtbot, [(1, "a"), (2, "b")])
    table.activateWindow()
    table.setFocus(Qt.FocusReason.TabFocusReason)
    qtbot.waitUntil(lambda: table.hasFocus() and table.currentIndex().row() == 0)
    qtbot.keyClick(table, Qt.Key.Key_Down)
    with qtbot.waitSignal(table.opened) as opened:
        qtbot.keyClick(table, Qt.Key.Key_Return)
    assert opened.args == [(2, "b")]
    place = table.visualRect(table.rows_model.index(0, 0)).center()
    with qtbot.waitSignal(table.opened) as opened:
        qtbot.mouseDClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert opened.args == [(1, "a")]


def test_a_click_on_a_head_sorts_and_again_turns_it_round(theme, qtbot) -> None:
    table = make(theme, qtbot, [(2, "b"), (3, "a"), (1, "c")])
    table._sort_clicked(1)
    assert [r[0] for r in table.rows_model.rows] == [1, 2, 3]
    table._sort_clicked(1)
    assert [r[0] for r in table.rows_model.rows] == [3, 2, 1]
    table.set_rows([(5, "x"), (9, "y")])
    assert [r[0] for r in table.rows_model.rows] == [9, 5]


def test_a_fitting_table_is_as_high_as_its_rows(theme, qtbot) -> None:
    table = make(theme, qtbot, [(1, "a")], fit=True, max_rows=3)
    one = table.height()
    table.set_rows([(i, "a") for i in range(3)])
    assert table.height() == one + 2 * table.row_height
    table.set_rows([(i, "a") for i in range(30)])
    assert table.height() == one + 2 * table.row_height


def test_screen_readers_get_words_and_note(theme, qtbot) -> None:
    table = make(theme, qtbot, [(1, "a")])
    index = table.rows_model.index(0, 0)
    assert table.rows_model.data(index, Qt.ItemDataRole.AccessibleTextRole) == "a, second line"
    assert table.rows_model.data(index, Qt.ItemDataRole.ToolTipRole) == "tip 1"


@pytest.mark.parametrize("status", ["created", "queued", "running", "waiting", "done", "stopped", "paused", "failed", "interrupted",
                                    "crashed"])
def test_every_status_has_an_icon_and_a_word(status: str) -> None:
    cell = state_cell(status)
    assert cell.icon and cell.words == status_words(status)
