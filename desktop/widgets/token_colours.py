"""A text with each token on a tint of its own, so that the borders show; the id under the pointer. Nothing is computed here."""

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QPoint, QTimer
from PySide6.QtGui import QColor, QHelpEvent, QTextCharFormat, QTextCursor, QTextOption
from PySide6.QtWidgets import QTextEdit, QToolTip

from desktop.theme.palette import mix
from desktop.theme.theme import Theme
from engine.contract.words import tr

TINTS = ("accent", "series2", "series3", "ok")
AT_ONCE = 300


class TokenColours(QTextEdit):
    """`set` pieces [(text, ids)]. Drawn a few hundred at a time, so that a long text never holds the window up."""

    def __init__(self, theme: Theme, name: str) -> None:
        super().__init__()
        self.theme = theme
        self._pieces: Sequence[tuple[str, Sequence[int]]] = ()
        self._ends: list[int] = []
        self._done = 0
        self.setReadOnly(True)
        self.setAccessibleName(name)
        self.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self.setProperty("kind", "reading")
        self._timer = QTimer(self)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._more)
        theme.follow(self, self._again)

    def set(self, pieces: Sequence[tuple[str, Sequence[int]]]) -> None:
        self._pieces = pieces
        self._again()

    def _again(self) -> None:
        self.setFont(self.theme.font("read"))
        self.clear()
        self._done, self._ends = 0, []
        self._formats = []
        for tint in TINTS:
            made = QTextCharFormat()
            made.setBackground(QColor(mix(self.theme[tint], self.theme["surface"], 0.34 if self.theme.is_dark else 0.24)))
            made.setForeground(self.theme.colour("text"))
            self._formats.append(made)
        self._more()

    def _more(self) -> None:
        cursor = QTextCursor(self.document())
        cursor.movePosition(QTextCursor.MoveOperation.End)
        cursor.beginEditBlock()
        for i in range(self._done, min(len(self._pieces), self._done + AT_ONCE)):
            # A line end is shown as its sign too: it is (part of) a token like any other.
            cursor.insertText(self._pieces[i][0].replace("\n", "↵\n").replace("\t", "→\t"), self._formats[i % len(self._formats)])
            self._ends.append(cursor.position())
        cursor.endEditBlock()
        self._done = len(self._ends)
        self._timer.start() if self._done < len(self._pieces) else self._timer.stop()

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            QToolTip.showText(event.globalPos(), self._words_at(event.pos()), self)
            return True
        return super().event(event)

    def _words_at(self, place: QPoint) -> str:
        position = self.cursorForPosition(self.viewport().mapFrom(self, place)).position()
        for (text, ids), end in zip(self._pieces, self._ends, strict=False):
            if position < end or (position == end and end == (self._ends[-1] if self._ends else 0)):
                shown = text.replace(" ", "␣").replace("\n", "↵").replace("\t", "→")
                return tr("{text}  token {ids}", text=shown, ids=", ".join(f"{id:,}" for id in ids)) if ids else tr("no token")
        return ""
