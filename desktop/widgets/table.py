"""Tables: quiet heads, hairlines, numbers at the right, a state as icon and word, two-line cells. Fast at 100,000 rows.

Cells are made only for the rows on the screen. Sorting and filtering are the model's matter (SQL, numpy, `sorted`), never a proxy model's.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QItemSelection, QModelIndex, QPersistentModelIndex, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFontMetrics, QKeyEvent, QPainter, QPen, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QFrame, QHeaderView, QStyle, QStyledItemDelegate, QStyleOptionViewItem, QTableView

from desktop.theme.theme import Theme
from desktop.widgets.painted import KEYBOARD
from engine.contract.words import tr

ROOT = QModelIndex()
STRETCH_WIDTH = 96
Index = QModelIndex | QPersistentModelIndex


@dataclass(frozen=True)
class Cell:
    """What a cell shows: words, a second line, a tone, an icon before the words, a tooltip. `strong` is the medium weight of a name, `mono`
    typewriter letters."""

    words: str = ""
    note: str = ""
    tone: str = ""
    icon: str = ""
    strong: bool = False
    tip: str = ""
    mono: bool = False


@dataclass(frozen=True)
class Column:
    """`width` in design pixels, 0 takes what is left, but no less than `least`. `cell` makes the cell of a row; `key` its sort key (None:
    cannot be sorted). `drop`: where there is no room, 1 goes first, then 2; 0 stays, and the table is never narrower than those."""

    title: str
    cell: Callable[[Any], Cell | str]
    width: int = 0
    right: bool = False
    key: Callable[[Any], Any] | None = None
    tip: str = ""
    drop: int = 0
    least: int = STRETCH_WIDTH

    @property
    def needs(self) -> int:
        return self.width or self.least


class RowsModel(QAbstractTableModel):
    """Rows in memory. `set(rows)` replaces them; `sort` orders them by a column's key."""

    def __init__(self, columns: Sequence[Column], rows: Sequence[Any] = ()) -> None:
        super().__init__()
        self.columns, self.rows = list(columns), list(rows)
        self._sorted: tuple[int, bool] | None = None

    def set(self, rows: Sequence[Any]) -> None:
        self.beginResetModel()
        self.rows = list(rows)
        self._order()
        self.endResetModel()

    def row(self, index: int) -> Any:
        return self.rows[index]

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        if 0 <= column < len(self.columns) and self.columns[column].key is not None:
            self.layoutAboutToBeChanged.emit()
            self._sorted = (column, order == Qt.SortOrder.DescendingOrder)
            self._order()
            self.layoutChanged.emit()

    def _order(self) -> None:
        if self._sorted is not None:
            column, descending = self._sorted
            self.rows.sort(key=self.columns[column].key, reverse=descending)

    def rowCount(self, parent: Index = ROOT) -> int:
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = ROOT) -> int:
        return len(self.columns)

    def cell(self, row: int, column: int) -> Cell:
        made = self.columns[column].cell(self.row(row))
        return Cell(made) if isinstance(made, str) else made

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            cell = self.cell(index.row(), index.column())
            return f"{cell.words}, {cell.note}" if cell.note else cell.words
        if role == Qt.ItemDataRole.ToolTipRole:
            return self.cell(index.row(), index.column()).tip or None
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Horizontal:
            if role == Qt.ItemDataRole.DisplayRole:
                return self.columns[section].title
            if role == Qt.ItemDataRole.ToolTipRole:
                return self.columns[section].tip or None
            if role == Qt.ItemDataRole.TextAlignmentRole:
                side = Qt.AlignmentFlag.AlignRight if self.columns[section].right else Qt.AlignmentFlag.AlignLeft
                return side | Qt.AlignmentFlag.AlignVCenter
        return None


class PagedModel(RowsModel):
    """Rows that lie elsewhere (SQL, a memory-mapped file): `fetch(start, count)` gives a page; the last 16 pages are kept.

    `order(column, descending)` is called for a click on a head; it orders at the source, then the pages are read anew.
    """

    PAGE, KEPT = 200, 16

    def __init__(self, columns: Sequence[Column], count: int, fetch: Callable[[int, int], Sequence[Any]],
                 order: Callable[[int, bool], None] | None = None) -> None:
        super().__init__(columns)
        self._count, self._fetch, self._order_by = count, fetch, order
        self._pages: OrderedDict[int, Sequence[Any]] = OrderedDict()

    def reset(self, count: int) -> None:
        """The source has other rows now."""
        self.beginResetModel()
        self._count = count
        self._pages.clear()
        self.endResetModel()

    def grow(self, count: int) -> None:
        """The source has more rows at its end; the selection and the place stay."""
        if count > self._count:
            self._pages.pop(self._count // self.PAGE, None)  # it was not full
            self.beginInsertRows(ROOT, self._count, count - 1)
            self._count = count
            self.endInsertRows()

    def row(self, index: int) -> Any:
        page, place = divmod(index, self.PAGE)
        if page not in self._pages:
            self._pages[page] = self._fetch(page * self.PAGE, min(self.PAGE, self._count - page * self.PAGE))
            while len(self._pages) > self.KEPT:
                self._pages.popitem(last=False)
        self._pages.move_to_end(page)
        return self._pages[page][place]

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        if self._order_by is not None and 0 <= column < len(self.columns) and self.columns[column].key is not None:
            self._order_by(column, order == Qt.SortOrder.DescendingOrder)
            self.reset(self._count)

    def rowCount(self, parent: Index = ROOT) -> int:
        return 0 if parent.isValid() else self._count


class _Painter(QStyledItemDelegate):
    """Draws cells in the house style."""

    def __init__(self, table: "Table") -> None:
        super().__init__(table)
        self.table, self.theme = table, table.theme

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        model, t, px = self.table.rows_model, self.theme, self.theme.px
        cell, box = model.cell(index.row(), index.column()), QRectF(option.rect)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(box, t.colour("accent_soft"))
        elif self.table.hovered == index.row():
            painter.fillRect(box, t.colour("sunken"))
        if index.row() < model.rowCount() - 1:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
            painter.setPen(QPen(t.colour("line"), 1))
            painter.drawLine(option.rect.bottomLeft(), option.rect.bottomRight())
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        right = model.columns[index.column()].right
        side = Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignLeft
        inner = box.adjusted(px(11), 0, -px(11), 0)
        if cell.icon:
            tone = cell.tone or "text2"
            picture = self.table.picture(cell.icon, tone)
            size = px(16)
            painter.drawPixmap(QRectF(inner.left(), box.center().y() - size / 2, size, size), picture, QRectF(picture.rect()))
            inner.setLeft(inner.left() + size + px(6))
        font = t.font("mono" if cell.mono else "medium" if cell.strong or cell.note else "body")
        if cell.note:
            tall = QFontMetrics(font).height()
            low = QFontMetrics(t.font("small")).height()
            top = box.center().y() - (tall + low) / 2
            self._line(painter, QRectF(inner.left(), top, inner.width(), tall), cell.words, font, cell.tone or "text", side)
            self._line(painter, QRectF(inner.left(), top + tall, inner.width(), low), cell.note, t.font("small"), "text2", side)
        else:
            self._line(painter, inner, cell.words, font, cell.tone or "text", side)
        if index.row() == self.table.currentIndex().row() and self.table.hasFocus() and self.table.ring:
            self._ring(painter, box, index.column(), model.columnCount())
        painter.restore()

    def _line(self, painter: QPainter, box: QRectF, words: str, font, tone: str, side: Qt.AlignmentFlag) -> None:
        painter.setFont(font)
        painter.setPen(self.theme.colour(tone))
        shown = QFontMetrics(font).elidedText(words, Qt.TextElideMode.ElideRight, int(box.width()) + 1)
        painter.drawText(box, side | Qt.AlignmentFlag.AlignVCenter, shown)

    def _ring(self, painter: QPainter, box: QRectF, column: int, columns: int) -> None:
        painter.setPen(QPen(self.theme.colour("accent"), 2))
        top, bottom = box.top() + 1, box.bottom() - 2
        painter.drawLine(int(box.left()), int(top), int(box.right()), int(top))
        painter.drawLine(int(box.left()), int(bottom), int(box.right()), int(bottom))
        if column == 0:
            painter.drawLine(int(box.left()) + 1, int(top), int(box.left()) + 1, int(bottom))
        if column == columns - 1:
            painter.drawLine(int(box.right()) - 1, int(top), int(box.right()) - 1, int(bottom))

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return QSize(0, self.table.row_height)


class Table(QTableView):
    """`opened(row)`: Enter or a double click. `chosen(row)`: another row is selected (None: none). Rows are the model's own objects.

    `fit=True` makes it as high as its rows (up to `max_rows`) instead of taking what height there is.
    """

    opened = Signal(object)
    chosen = Signal(object)

    def __init__(self, theme: Theme, columns: Sequence[Column], rows: Sequence[Any] = (), *, name: str, model: RowsModel | None = None,
                 two_lines: bool = False, row_height: int = 0, fit: bool = False, max_rows: int = 12, selectable: bool = True,
                 multi: bool = False) -> None:
        super().__init__()
        self.theme, self._fit, self._max_rows, self.hovered, self.ring = theme, fit, max_rows, -1, False
        self.rows_model = model or RowsModel(columns, rows)
        self.row_height = theme.px(row_height or (62 if two_lines else 32))
        self._pictures: dict[tuple[str, str, str], Any] = {}
        self.setAccessibleName(name)
        self.setModel(self.rows_model)
        self.setItemDelegate(_Painter(self))
        self.setShowGrid(False)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setMouseTracking(True)
        self.setTabKeyNavigation(False)
        self.setWordWrap(False)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        modes = QAbstractItemView.SelectionMode
        self.setSelectionMode(modes.NoSelection if not selectable else modes.ExtendedSelection if multi else modes.SingleSelection)
        if not selectable:
            self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.verticalHeader().hide()
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.verticalHeader().setDefaultSectionSize(self.row_height)
        head = self.horizontalHeader()
        head.setFixedHeight(theme.px(28))
        head.setHighlightSections(False)
        head.setSortIndicatorClearable(False)
        sortable = any(c.key is not None for c in self.rows_model.columns)
        head.setSectionsClickable(sortable)
        for i, column in enumerate(self.rows_model.columns):
            head.setSectionResizeMode(i, QHeaderView.ResizeMode.Fixed if column.width else QHeaderView.ResizeMode.Stretch)
            if column.width:
                head.resizeSection(i, theme.px(column.width))
        self.setMinimumWidth(theme.px(sum(c.needs for c in self.rows_model.columns if not c.drop)))
        head.sectionClicked.connect(self._sort_clicked)
        self._order: tuple[int, bool] | None = None
        self.activated.connect(lambda index: self.opened.emit(self.rows_model.row(index.row())))
        self.rows_model.modelReset.connect(self._resized)
        theme.changed.connect(self.viewport().update)
        self._resized()

    def set_rows(self, rows: Sequence[Any]) -> None:
        """Other rows; the selected one stays selected if it is among them (by `id`, else by itself); the scroll position stays."""
        kept, place = self.current_row(), self.verticalScrollBar().value()
        self.rows_model.set(rows)
        self.verticalScrollBar().setValue(place)
        if kept is not None:
            wanted = getattr(kept, "id", kept)
            for i, each in enumerate(self.rows_model.rows):
                if getattr(each, "id", each) == wanted:
                    blocked = self.selectionModel().blockSignals(True)
                    self.selectRow(i)
                    self.selectionModel().blockSignals(blocked)
                    self.viewport().update()
                    return

    def current_row(self) -> Any:
        """The selected row, None without one."""
        indexes = self.selectionModel().selectedRows() if self.selectionModel() else []
        return self.rows_model.row(indexes[0].row()) if indexes else None

    def selected_rows(self) -> list[Any]:
        return [self.rows_model.row(i.row()) for i in self.selectionModel().selectedRows()]

    def select(self, place: int) -> None:
        self.selectRow(place)

    def picture(self, icon: str, tone: str):
        key = (icon, tone, self.theme["name"])
        if key not in self._pictures:
            self._pictures[key] = self.theme.pixmap(icon, tone, 16, self.devicePixelRatioF())
        return self._pictures[key]

    def _sort_clicked(self, column: int) -> None:
        if self.rows_model.columns[column].key is None:
            return
        descending = self._order == (column, False)
        self._order = (column, descending)
        order = Qt.SortOrder.DescendingOrder if descending else Qt.SortOrder.AscendingOrder
        self.horizontalHeader().setSortIndicatorShown(True)
        self.horizontalHeader().setSortIndicator(column, order)
        self.rows_model.sort(column, order)

    def _resized(self) -> None:
        if self._fit:
            rows = min(self.rows_model.rowCount(), self._max_rows)
            self.setFixedHeight(self.horizontalHeader().height() + self.row_height * rows)
            full = self.rows_model.rowCount() > self._max_rows
            self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded if full else Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def selectionChanged(self, selected: QItemSelection, deselected: QItemSelection) -> None:
        super().selectionChanged(selected, deselected)
        self.chosen.emit(self.current_row())

    def focusInEvent(self, event) -> None:
        self.ring = event.reason() in KEYBOARD
        if self.ring and not self.currentIndex().isValid() and self.rows_model.rowCount():
            self.setCurrentIndex(self.rows_model.index(0, 0))
        super().focusInEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        self.ring = True
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self.opened.emit(self.rows_model.row(self.currentIndex().row()))
        else:
            super().keyPressEvent(event)

    def mousePressEvent(self, event) -> None:
        self.ring = False
        super().mousePressEvent(event)

    def mouseDoubleClickEvent(self, event) -> None:
        index = self.indexAt(event.position().toPoint())
        if index.isValid() and event.button() == Qt.MouseButton.LeftButton:
            self.opened.emit(self.rows_model.row(index.row()))

    def mouseMoveEvent(self, event) -> None:
        self._hover(self.indexAt(event.position().toPoint()).row())
        super().mouseMoveEvent(event)

    def leaveEvent(self, event) -> None:
        self._hover(-1)
        super().leaveEvent(event)

    def _hover(self, row: int) -> None:
        if row != self.hovered:
            self.hovered = row
            self.viewport().update()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.horizontalHeader().setMinimumSectionSize(self.theme.px(24))
        columns = self.rows_model.columns
        over = self.theme.px(sum(c.needs for c in columns)) - self.viewport().width()
        for place in sorted((i for i, c in enumerate(columns) if c.drop), key=lambda i: columns[i].drop):
            if self.isColumnHidden(place) != (over > 0):
                self.setColumnHidden(place, over > 0)
            over -= self.theme.px(columns[place].needs) if over > 0 else 0


STATE_CELLS = {  # status of a run -> (icon, tone)
    "done": ("check", "ok"), "running": ("pulse", "accent"), "waiting": ("clock", "warn"), "queued": ("clock", "text2"),
    "paused": ("pause", "text2"), "stopped": ("stop", "text2"), "failed": ("error", "danger"), "crashed": ("error", "danger"),
    "interrupted": ("warn", "warn"), "created": ("clock", "text2"),
}


def status_words(status: str) -> str:
    """A run's status in words of the interface."""
    return {"done": tr("done"), "running": tr("running"), "waiting": tr("waiting"), "queued": tr("queued"), "paused": tr("paused"),
            "stopped": tr("stopped"), "failed": tr("failed"), "crashed": tr("crashed"), "interrupted": tr("interrupted"),
            "created": tr("not started")}.get(status, status)


def state_cell(status: str, words: str = "") -> Cell:
    """The state of a run as icon and word, never by colour alone."""
    icon, tone = STATE_CELLS.get(status, ("info", "text2"))
    return Cell(words or status_words(status), tone=tone, icon=icon)
