"""The list of documents: two lines a row, smooth at a million rows. Rows come page by page; one that is on its way is a grey line.

Which rows there are, and what a click does, is the browser's matter.
"""

from collections.abc import Callable, Sequence
from typing import Any

from PySide6.QtCore import (
    QAbstractTableModel,
    QItemSelection,
    QItemSelectionModel,
    QModelIndex,
    QPoint,
    QRect,
    QRectF,
    QSize,
    Qt,
    QTimer,
    Signal,
)
from PySide6.QtGui import QFontMetrics, QKeyEvent, QPainter, QPen
from PySide6.QtWidgets import QAbstractItemView, QFrame, QHeaderView, QStyle, QStyledItemDelegate, QStyleOptionViewItem, QTableView

from desktop.models.paged import Pages, Row
from desktop.pages.corpus.wording import Mark, marks_of, row_words
from desktop.theme.theme import Theme
from desktop.widgets.painted import KEYBOARD
from desktop.widgets.table import ROOT, Index
from engine.contract.units import size
from engine.contract.words import tr

ROW = 58
MOST_CHOSEN = 10_000
"""Rows that can be chosen by Shift at once; all that match can be chosen beyond it (Ctrl+A)."""


class DocumentsModel(QAbstractTableModel):
    """One column over `Pages`."""

    def __init__(self, pages: Pages, keep_of: Callable[[str], bool | None]) -> None:
        super().__init__()
        self.pages, self.keep_of = pages, keep_of

    def reset(self, total: int, first: Sequence[Row] = ()) -> None:
        self.beginResetModel()
        self.pages.reset(total, first)
        self.endResetModel()

    def rowCount(self, parent: Index = ROOT) -> int:
        return 0 if parent.isValid() else self.pages.total

    def columnCount(self, parent: Index = ROOT) -> int:
        return 1

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            row = self.pages.row(index.row())
            return row_words(row, self.keep_of(row["id"])) if row is not None else tr("on its way")
        return None


class DocumentList(QTableView):
    """`chosen(row index)`: another current row. `wants(first, last)`: rows on the screen. Ctrl+A chooses all that match (`everything`)."""

    chosen = Signal(int)
    wants = Signal(int, int)
    selection_changed = Signal()

    def __init__(self, theme: Theme, model: DocumentsModel) -> None:
        super().__init__()
        self.theme, self.documents, self.ring, self.hovered, self.everything = theme, model, False, -1, False
        self._signs: dict[tuple[str, str], Any] = {}
        self.setAccessibleName(tr("Documents"))
        self.setModel(model)
        self.setItemDelegate(_Painter(self))
        self.setShowGrid(False)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setMouseTracking(True)
        self.setTabKeyNavigation(False)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.horizontalHeader().hide()
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.verticalHeader().hide()
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.verticalHeader().setDefaultSectionSize(theme.px(ROW))
        self.verticalScrollBar().setSingleStep(theme.px(ROW) // 2)
        self.verticalScrollBar().valueChanged.connect(self._scrolled)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(20)
        self._soon.timeout.connect(self._tell)
        model.modelReset.connect(self._was_reset)
        theme.changed.connect(self._repaint)

    # what is on the screen --------------------------------------------------------------------------------------------

    def visible(self) -> tuple[int, int]:
        high = self.theme.px(ROW)
        first = self.verticalScrollBar().value() // high
        return first, first + self.viewport().height() // high + 1

    def _scrolled(self) -> None:
        if not self._soon.isActive():  # at most one question in 20 ms, whatever the wheel does
            self._soon.start()

    def _tell(self) -> None:
        self.wants.emit(*self.visible())

    def arrived(self, first: int, last: int) -> None:
        self.viewport().update()

    def _was_reset(self) -> None:
        self.everything = False
        self.verticalScrollBar().setValue(0)
        self._soon.start()

    def _repaint(self) -> None:
        self._signs.clear()
        self.viewport().update()

    def sign(self, icon: str, tone: str) -> Any:
        if (icon, tone) not in self._signs:
            self._signs[icon, tone] = self.theme.pixmap(icon, tone, 14, self.devicePixelRatioF())
        return self._signs[icon, tone]

    # choosing ---------------------------------------------------------------------------------------------------------

    def choose(self, row: int) -> None:
        """Make this row the chosen one, in view."""
        if 0 <= row < self.documents.rowCount():
            index = self.documents.index(row, 0)
            self.setCurrentIndex(index)
            self.scrollTo(index)

    def ranges(self) -> list[tuple[int, int]]:
        """The chosen rows as (first, last), in order; all that match when everything is chosen."""
        if self.everything:
            return [(0, self.documents.rowCount() - 1)] if self.documents.rowCount() else []
        return sorted((r.top(), r.bottom()) for r in self.selectionModel().selection())

    def chosen_count(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges())

    def is_chosen(self, row: int) -> bool:
        return self.everything or self.selectionModel().isRowSelected(row, ROOT)

    def selectAll(self) -> None:
        """All that match, without touching a million rows."""
        if self.documents.rowCount():
            self.everything = True
            self.viewport().update()
            self.selection_changed.emit()

    def moveCursor(self, action: QAbstractItemView.CursorAction, modifiers: Qt.KeyboardModifier) -> QModelIndex:
        """Home and End go to the first and the last row, as in any list."""
        ends = {QAbstractItemView.CursorAction.MoveHome: 0, QAbstractItemView.CursorAction.MoveEnd: self.documents.rowCount() - 1}
        if action in ends:
            return self.documents.index(ends[action], 0)
        return super().moveCursor(action, modifiers)

    def setSelection(self, rect: QRect, command: QItemSelectionModel.SelectionFlag) -> None:
        """A range by Shift or by dragging goes no further than MOST_CHOSEN rows from where it began (the rectangle's first corner)."""
        high = self.theme.px(ROW) * (MOST_CHOSEN - 1)
        far = rect.bottom() - rect.top()
        if abs(far) > high:
            rect = QRect(rect.topLeft(), QPoint(rect.right(), rect.top() + (high if far > 0 else -high)))
        super().setSelection(rect, command)

    def selectionChanged(self, selected: QItemSelection, deselected: QItemSelection) -> None:
        super().selectionChanged(selected, deselected)
        if self.everything:
            self.everything = False
            self.viewport().update()
        self.selection_changed.emit()

    def currentChanged(self, current: QModelIndex, previous: QModelIndex) -> None:
        super().currentChanged(current, previous)
        if current.isValid():
            self.chosen.emit(current.row())

    # keys and mouse ---------------------------------------------------------------------------------------------------

    def keyPressEvent(self, event: QKeyEvent) -> None:
        self.ring = True
        if event.key() == Qt.Key.Key_Escape and (self.everything or self.chosen_count() > 1):
            self.everything = False
            self.choose(self.currentIndex().row())
            self.selectRow(self.currentIndex().row())
            self.viewport().update()
            self.selection_changed.emit()
        elif event.text() and event.text().isprintable() and not event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            event.ignore()  # letters are the browser's keys, not a search through the rows
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event) -> None:
        self.ring = event.reason() in KEYBOARD
        super().focusInEvent(event)
        if self.ring and not self.currentIndex().isValid():
            self.choose(0)

    def mousePressEvent(self, event) -> None:
        self.ring = False
        if self.everything:  # a click among all chosen ones begins anew
            self.everything = False
            self.viewport().update()
            self.selection_changed.emit()
        super().mousePressEvent(event)

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

    def resizeEvent(self, event) -> None:
        super().resizeEvent(event)
        self._soon.start()


class _Painter(QStyledItemDelegate):
    """Source and marks in the first line; the first words, language and size in the second."""

    def __init__(self, view: DocumentList) -> None:
        super().__init__(view)
        self.view, self.theme = view, view.theme

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return QSize(0, self.theme.px(ROW))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        t, px, view = self.theme, self.theme.px, self.view
        box, number = QRectF(option.rect), index.row()
        painter.save()
        selected = view.everything or bool(option.state & QStyle.StateFlag.State_Selected)
        if selected:
            painter.fillRect(box, t.colour("accent_soft"))
        elif view.hovered == number:
            painter.fillRect(box, t.colour("sunken"))
        if number == view.currentIndex().row():
            painter.fillRect(QRectF(box.left(), box.top(), px(3), box.height()), t.colour("accent"))
        painter.setPen(QPen(t.colour("line"), 1))
        painter.drawLine(option.rect.bottomLeft(), option.rect.bottomRight())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        row = view.documents.pages.row(number)
        inner = box.adjusted(px(12), px(9), -px(12), -px(9))
        if row is None:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(t.colour("sunken" if not selected else "surface"))
            painter.drawRoundedRect(QRectF(inner.left(), inner.top() + px(3), inner.width() * 0.4, px(10)), 3, 3)
            painter.drawRoundedRect(QRectF(inner.left(), inner.top() + px(24), inner.width() * 0.8, px(10)), 3, 3)
        else:
            half = inner.height() / 2
            self._first(painter, QRectF(inner.left(), inner.top(), inner.width(), half), row, selected)
            self._second(painter, QRectF(inner.left(), inner.top() + half, inner.width(), half), row)
        if number == view.currentIndex().row() and view.hasFocus() and view.ring:
            painter.setPen(QPen(t.colour("accent"), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(box.adjusted(1, 1, -1, -2))
        painter.restore()

    def _first(self, painter: QPainter, box: QRectF, row: Row, selected: bool) -> None:
        right = box.right()
        for mark in reversed(marks_of(row, self.view.documents.keep_of(row["id"]))):
            right = self._badge(painter, box, right, mark) - self.theme.px(6)
        words = QRectF(box.left(), box.top(), max(0.0, right - box.left() - self.theme.px(4)), box.height())
        self._line(painter, words, str(row["source"]), "medium", "text", Qt.TextElideMode.ElideLeft)

    def _second(self, painter: QPainter, box: QRectF, row: Row) -> None:
        px = self.theme.px
        facts = "  ".join(p for p in (str(row.get("language") or ""), size(row["bytes"])) if p)
        font = self.theme.font("small")
        wide = QFontMetrics(font).horizontalAdvance(facts)
        painter.setFont(font)
        painter.setPen(self.theme.colour("text2"))
        painter.drawText(box, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, facts)
        self._snippet(painter, QRectF(box.left(), box.top(), box.width() - wide - px(14), box.height()), row)

    def _snippet(self, painter: QPainter, box: QRectF, row: Row) -> None:
        """The words on one line, with what was searched for on the ground of a find."""
        t, metrics, left = self.theme, QFontMetrics(self.theme.font("small")), box.left()
        high, pieces = metrics.height(), snippet_pieces(str(row.get("snippet") or ""), row.get("marks") or ())
        if len(pieces) > 1 and not pieces[0][1]:
            pieces[0] = (shorter(pieces[0][0], int(box.width() / 2 / max(1, metrics.averageCharWidth()))), False)
        for words, found in pieces:
            room, wide = box.right() - left, metrics.horizontalAdvance(words)
            drawn = metrics.elidedText(words, Qt.TextElideMode.ElideRight, int(room)) if wide > room else words
            if found and drawn:
                painter.fillRect(QRectF(left, box.center().y() - high / 2, min(wide, room), high), t.colour("warn_soft"))
            painter.setPen(t.colour("text" if found else "text2"))
            painter.drawText(QRectF(left, box.top(), room, box.height()), Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, drawn)
            if wide > room:
                break
            left += wide

    def _badge(self, painter: QPainter, line: QRectF, right: float, mark: Mark) -> float:
        """A badge that ends at `right`; where it begins."""
        t, px, font = self.theme, self.theme.px, self.theme.font("small_strong")
        metrics = QFontMetrics(font)
        words = metrics.elidedText(mark.words, Qt.TextElideMode.ElideRight, px(150))
        wide = metrics.horizontalAdvance(words) + px(12)
        box = QRectF(right - wide, line.center().y() - px(9.5), wide, px(19))
        painter.setPen(QPen(t.colour(f"{mark.tone}_soft" if mark.tone else "line"), 1))
        painter.setBrush(t.colour(f"{mark.tone}_soft" if mark.tone else "surface"))
        painter.drawRoundedRect(box.adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
        painter.setFont(font)
        painter.setPen(t.colour(mark.tone or "text2"))
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, words)
        return box.left()

    def _line(self, painter: QPainter, box: QRectF, words: str, role: str, tone: str, mode: Qt.TextElideMode) -> None:
        font = self.theme.font(role)
        painter.setFont(font)
        painter.setPen(self.theme.colour(tone))
        shown = QFontMetrics(font).elidedText(words, mode, int(box.width()) + 1)
        painter.drawText(box, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, shown)


def snippet_pieces(snippet: str, marks: Sequence[Sequence[int]]) -> list[tuple[str, bool]]:
    """(words, found) in order; `marks` are the places found, in characters."""
    pieces, end = [], 0
    for start, stop in marks:
        if start > end:
            pieces.append((snippet[end:start], False))
        if stop > max(start, end):
            pieces.append((snippet[max(start, end):stop], True))
            end = stop
    return [*pieces, (snippet[end:], False)] if end < len(snippet) else pieces


def shorter(words: str, most: int) -> str:
    """The end of what stands before a find, at most so many characters, so that the find itself is in view."""
    if len(words) <= most:
        return words
    cut = words[-max(8, most):]
    return "…" + cut[cut.find(" ") + 1:] if " " in cut[:-1] else "…" + cut
