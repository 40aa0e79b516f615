"""Rows of training text by what becomes of each token: trained, only read, cut off, padding. Told by colour and by form, so that nobody
needs to see colours: trained stands on a tint, what is only read is grey, what is cut is struck out. Nothing is computed here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import QEvent, QPoint, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import (
    QColor,
    QHelpEvent,
    QKeyEvent,
    QPainter,
    QPen,
    QTextBlockFormat,
    QTextCharFormat,
    QTextCursor,
    QTextOption,
)
from PySide6.QtWidgets import QTextEdit, QToolTip, QWidget

from desktop.theme.palette import mix
from desktop.theme.theme import Theme
from desktop.widgets.layout import row
from desktop.widgets.painted import Painted
from desktop.widgets.text import small
from engine.contract.words import tr, trn

STATES = ("trained", "masked", "truncated", "pad")
AT_ONCE = 400
LINE = 24


def state_words(state: str) -> str:
    return {"trained": tr("trained"), "masked": tr("only read"), "truncated": tr("cut off"), "pad": tr("padding")}[state]


def state_format(theme: Theme, state: str) -> QTextCharFormat:
    """How the text of a state is drawn."""
    made = QTextCharFormat()
    made.setForeground(theme.colour({"trained": "text", "masked": "text2", "truncated": "danger", "pad": "text3"}[state]))
    if state == "trained":
        made.setBackground(QColor(mix(theme["accent"], theme["surface"], 0.36 if theme.is_dark else 0.22)))
    elif state == "truncated":
        made.setFontStrikeOut(True)
    elif state == "pad":
        made.setFontItalic(True)
    return made


class Swatch(Painted):
    """A short piece of the look of a state, for the legend."""

    def __init__(self, theme: Theme, state: str) -> None:
        super().__init__(theme, 26, 16)
        self.state = state
        self.setFixedWidth(theme.px(26))

    def draw(self, painter: QPainter, rect: QRectF) -> None:
        form = state_format(self.theme, self.state)
        if self.state == "trained":
            painter.fillRect(rect.adjusted(0, 1, 0, -1), form.background())
        font = self.theme.font("small")
        font.setStrikeOut(self.state == "truncated")
        font.setItalic(self.state == "pad")
        painter.setFont(font)
        painter.setPen(QPen(form.foreground().color(), 1))
        painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, "…" if self.state == "pad" else tr("abc"))


def mask_legend(theme: Theme, states: Sequence[str] = STATES) -> QWidget:
    """What the looks mean."""
    return row(*[row(Swatch(theme, state), small(state_words(state)), gap=6) for state in states], gap=14)


class MaskText(QTextEdit):
    """`set([(heading, pieces)])`: pieces are mappings with text, state, example, count (of padding). A line begins with each example; it is
    drawn a few hundred pieces at a time. Left and right (`turned`) go to the page before and after."""

    turned = Signal(int)

    def __init__(self, theme: Theme, name: str) -> None:
        super().__init__()
        self.theme = theme
        self._rows: Sequence[tuple[str, Sequence[Mapping[str, Any]]]] = ()
        self._todo: list[tuple[str, Any]] = []
        self._ends: list[tuple[int, Mapping[str, Any]]] = []
        self._example = None
        self.setReadOnly(True)
        self.setAccessibleName(name)
        self.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self.setProperty("kind", "reading")
        self._timer = QTimer(self)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._more)
        theme.follow(self, self._again)

    def set(self, rows: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]) -> None:
        self._rows = rows
        self._again()

    def _again(self) -> None:
        self.setFont(self.theme.font("read"))
        self.clear()
        self._formats = {state: state_format(self.theme, state) for state in STATES}
        self._head = QTextCharFormat()
        self._head.setFont(self.theme.font("small"))
        self._head.setForeground(self.theme.colour("text2"))
        self._todo = [item for heading, pieces in self._rows for item in (("head", heading), *(("piece", p) for p in pieces))]
        self._ends, self._example, self._first = [], None, True
        self._more()

    def _more(self) -> None:
        cursor = QTextCursor(self.document())
        cursor.movePosition(QTextCursor.MoveOperation.End)
        cursor.beginEditBlock()
        for kind, what in self._todo[:AT_ONCE]:
            if kind == "head":
                self._block(cursor, 14)
                cursor.insertText(what, self._head)
                self._example = None
            else:
                self._piece(cursor, what)
        cursor.endEditBlock()
        del self._todo[:AT_ONCE]
        self._timer.start() if self._todo else self._timer.stop()

    def _piece(self, cursor: QTextCursor, piece: Mapping[str, Any]) -> None:
        place = (piece["example"], piece["state"] == "pad")
        if place != self._example:
            self._block(cursor, 4)
            self._example = place
        text = piece["text"]
        if piece["state"] == "pad":
            text = trn("{count} place of padding", "{count} places of padding", int(piece.get("count", 1)))
        cursor.insertText(text.replace("\n", "↵\n").replace("\t", "→\t"), self._formats[piece["state"]])
        self._ends.append((cursor.position(), piece))

    def _block(self, cursor: QTextCursor, above: int) -> None:
        """A new line with some room above it."""
        form = QTextBlockFormat()
        form.setLineHeight(self.theme.px(LINE), QTextBlockFormat.LineHeightTypes.FixedHeight.value)
        form.setTopMargin(0 if self._first else self.theme.px(above))
        if self._first or not cursor.block().text():  # a text that ends with a line end has made the new line already
            cursor.setBlockFormat(form)
            self._first = False
        else:
            cursor.insertBlock(form)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Left, Qt.Key.Key_Right) and event.modifiers() == Qt.KeyboardModifier.NoModifier:
            self.turned.emit(1 if event.key() == Qt.Key.Key_Right else -1)
        else:
            super().keyPressEvent(event)

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            QToolTip.showText(event.globalPos(), self.words_at(event.pos()), self)
            return True
        return super().event(event)

    def words_at(self, place: QPoint) -> str:
        """What the token under a place of the widget is."""
        position = self.cursorForPosition(self.viewport().mapFrom(self, place)).position()
        for end, piece in self._ends:
            if position < end:
                shown = str(piece["text"]).replace(" ", "␣").replace("\n", "↵").replace("\t", "→")
                return f"{shown}  {state_words(piece['state'])}"
        return ""
