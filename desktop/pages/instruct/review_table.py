"""The table of examples: smooth at a million rows. Lines come page by page; one that is on its way is empty for a moment.

Which rows there are is models/example_list.py; what is done with them is the review's matter.
"""

from typing import Any

from PySide6.QtCore import QItemSelection, QItemSelectionModel, QModelIndex, QPoint, QRect, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QAbstractItemView, QStyle, QStyleOptionViewItem

from desktop.models.example_list import ExampleList
from desktop.models.example_words import Line, status_look, status_words
from desktop.theme.theme import Theme
from desktop.widgets.run_panel import clock
from desktop.widgets.table import ROOT, Cell, Column, Index, RowsModel, Table
from engine.contract.words import tr

ROW = 36
MOST_CHOSEN = 10_000
"""Rows that can be chosen by Shift at once; all that fit can be chosen beyond it (Ctrl+A)."""
SORTED = {3: ("score", "-score"), 6: ("edited", "-edited")}
"""Columns whose heads sort: first click, second click."""
EMPTY = Cell("")


def _state(line: Line) -> Cell:
    icon, tone = status_look("deleted" if line.row.deleted else line.row.status)
    return Cell(status_words("deleted" if line.row.deleted else line.row.status), tone=tone, icon=icon)


def columns() -> list[Column]:
    """The columns; the last ones go first where there is no room."""
    return [Column(tr("State"), _state, 108), Column(tr("Question"), lambda e: Cell(e.question, strong=True), least=150),
            Column(tr("Answer"), lambda e: e.answer, least=150),
            Column(tr("Score"), lambda e: Cell(e.score), 72, right=True, key=lambda e: e.score),
            Column(tr("Flags"), lambda e: Cell(e.flags, tone="warn"), 128, drop=3), Column(tr("Who"), lambda e: e.who, 106, drop=2),
            Column(tr("When"), lambda e: clock(e.row.updated), 106, right=True, key=lambda e: e.row.updated, drop=1)]


class ExamplesModel(RowsModel):
    """The list as a model of the table. `order_wanted(order)` for a click on a head."""

    order_wanted = Signal(str)

    def __init__(self, listed: ExampleList) -> None:
        super().__init__(columns())
        self.listed = listed
        listed.before_reset.connect(self.beginResetModel)
        listed.after_reset.connect(self.endResetModel)
        listed.before_remove.connect(lambda i: self.beginRemoveRows(ROOT, i, i))
        listed.after_remove.connect(self.endRemoveRows)
        listed.before_grow.connect(lambda first, last: self.beginInsertRows(ROOT, first, last))
        listed.after_grow.connect(self.endInsertRows)

    def rowCount(self, parent: Index = ROOT) -> int:
        return 0 if parent.isValid() else self.listed.total

    def row(self, index: int) -> Line | None:
        return self.listed.line(index)

    def cell(self, row: int, column: int) -> Cell:
        line = self.listed.line(row)
        if line is None:
            return EMPTY
        made = self.columns[column].cell(line)
        return Cell(made) if isinstance(made, str) else made

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        line = self.listed.line(index.row())
        if line is None:
            return tr("on its way") if role == Qt.ItemDataRole.AccessibleTextRole else None
        if role == Qt.ItemDataRole.ToolTipRole:
            return None  # a question of a thousand characters is no tooltip; the card shows it
        return super().data(index, role)

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        if column in SORTED:
            self.order_wanted.emit(SORTED[column][order == Qt.SortOrder.DescendingOrder])


class ExampleTable(Table):
    """`opened(line)`, `moved(row)`: another current row; `selection_changed`. Ctrl+A chooses all that fit (`everything`)."""

    moved = Signal(int)
    selection_changed = Signal()

    def __init__(self, theme: Theme, listed: ExampleList) -> None:
        self.everything = False
        self.listed = listed
        self._model = ExamplesModel(listed)
        super().__init__(theme, self._model.columns, name=tr("Examples"), model=self._model, row_height=ROW, multi=True)
        self.verticalScrollBar().setSingleStep(self.row_height // 2)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(20)
        self._soon.timeout.connect(self._tell)
        self.verticalScrollBar().valueChanged.connect(self._scrolled)
        listed.arrived.connect(lambda first, last: self.viewport().update())
        self._model.modelReset.connect(self._was_reset)

    @property
    def model_of_list(self) -> ExamplesModel:
        return self._model

    def show_order(self, order: str) -> None:
        """The arrow over the column that the list is sorted by, if it is."""
        column = next((c for c, both in SORTED.items() if order in both), -1)
        head = self.horizontalHeader()
        head.setSortIndicatorShown(column >= 0)
        self._order = (column, order == SORTED[column][1]) if column >= 0 else None
        if column >= 0:
            head.setSortIndicator(column, Qt.SortOrder.DescendingOrder if order == SORTED[column][1] else Qt.SortOrder.AscendingOrder)

    # what is on the screen --------------------------------------------------------------------------------------------

    def visible(self) -> tuple[int, int]:
        first = self.verticalScrollBar().value() // self.row_height
        return first, first + self.viewport().height() // self.row_height + 1

    def _scrolled(self) -> None:
        if not self._soon.isActive():
            self._soon.start()

    def _tell(self) -> None:
        self.listed.want(*self.visible())

    def _was_reset(self) -> None:
        self.everything = False
        self._soon.start()

    # choosing ---------------------------------------------------------------------------------------------------------

    def choose(self, place: int) -> None:
        """Make this the current row, in view, and the only chosen one."""
        if 0 <= place < self._model.rowCount():
            index = self._model.index(place, 0)
            self.selectionModel().setCurrentIndex(
                index, QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows)
            self.scrollTo(index)

    def ranges(self) -> list[tuple[int, int]]:
        """The chosen rows as (first, last), in order."""
        if self.everything:
            return [(0, self._model.rowCount() - 1)] if self._model.rowCount() else []
        return sorted((r.top(), r.bottom()) for r in self.selectionModel().selection())

    def chosen_count(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges())

    def current_row(self) -> Any:
        index = self.currentIndex()
        return self._model.row(index.row()) if index.isValid() else None

    def selectAll(self) -> None:
        """All that fit, without touching a million rows."""
        if self._model.rowCount():
            self.everything = True
            self.viewport().update()
            self.selection_changed.emit()

    def choose_one(self) -> None:
        """Only the current row again."""
        self.everything = False
        self.choose(max(0, self.currentIndex().row()))
        self.viewport().update()
        self.selection_changed.emit()

    def moveCursor(self, action: QAbstractItemView.CursorAction, modifiers: Qt.KeyboardModifier) -> QModelIndex:
        """Home and End go to the first and the last row; Left and Right to the row beside, as in the card."""
        moves = QAbstractItemView.CursorAction
        last, here = self._model.rowCount() - 1, self.currentIndex().row()
        to = {moves.MoveHome: 0, moves.MoveEnd: last, moves.MoveLeft: max(0, here - 1), moves.MoveRight: min(last, here + 1)}
        return self._model.index(to[action], 0) if action in to else super().moveCursor(action, modifiers)

    def setSelection(self, rect: QRect, command: QItemSelectionModel.SelectionFlag) -> None:
        """A range by Shift or by dragging goes no further than MOST_CHOSEN rows."""
        high = self.row_height * (MOST_CHOSEN - 1)
        far = rect.bottom() - rect.top()
        if abs(far) > high:
            rect = QRect(rect.topLeft(), QPoint(rect.right(), rect.top() + (high if far > 0 else -high)))
        super().setSelection(rect, command)

    def selectionChanged(self, selected: QItemSelection, deselected: QItemSelection) -> None:
        QAbstractItemView.selectionChanged(self, selected, deselected)  # the table's own reads every chosen row
        if self.everything:
            self.everything = False
        self.viewport().update()
        self.selection_changed.emit()

    def currentChanged(self, current: QModelIndex, previous: QModelIndex) -> None:
        super().currentChanged(current, previous)
        if current.isValid():
            self.moved.emit(current.row())

    def initViewItemOption(self, option: QStyleOptionViewItem) -> None:
        super().initViewItemOption(option)
        if self.everything:
            option.state |= QStyle.StateFlag.State_Selected

    # keys and mouse ---------------------------------------------------------------------------------------------------

    def keyPressEvent(self, event: QKeyEvent) -> None:
        self.ring = True
        if event.key() == Qt.Key.Key_Escape and (self.everything or self.chosen_count() > 1):
            self.choose_one()
        elif event.text() and event.text().isprintable() and not event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            event.ignore()  # letters are the review's keys, not a search through the rows
        else:
            super().keyPressEvent(event)

    def mousePressEvent(self, event: Any) -> None:
        if self.everything:
            self.everything = False
            self.viewport().update()
            self.selection_changed.emit()
        super().mousePressEvent(event)

    def resizeEvent(self, event: Any) -> None:
        super().resizeEvent(event)
        self._soon.start()
