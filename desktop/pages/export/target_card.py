"""A place a model can go, as a card to choose: what it is for, whether this model loads there, how large it becomes."""

from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy

from desktop.theme.theme import Theme
from desktop.widgets.layout import row, show_if
from desktop.widgets.painted import KeyboardRing, draw_ring
from desktop.widgets.panel import Panel
from desktop.widgets.text import Icon, Text, small


class TargetCard(KeyboardRing, Panel):
    """`clicked` by mouse, Space or Enter. A card whose program cannot load the model can be read, and says why; it cannot be chosen."""

    clicked = Signal()

    def __init__(self, theme: Theme, icon: str, title: str, words: str) -> None:
        self.theme, self._title, self._words = theme, title, words
        self._icon, self.mark = Icon(theme, icon, "accent"), Icon(theme, "check", "ok")
        self._says, self._foot = Text(words, tone="text2", wrap=True), small(wrap=True)
        super().__init__(row(self._icon, (Text(title, "strong", elide=True), 1), self.mark, gap=10), self._says, "+", self._foot,
                         pad=(16, 12, 16, 12), gap=6)
        self.usable, self.chosen = True, False
        self._glyph = icon
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumWidth(theme.px(168))
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)  # cards of equal width, whatever they say
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.set_verdict(None, "")

    def set_verdict(self, loads: bool | None, foot: str, why: str = "") -> None:
        """None: not known yet. `foot` is the size, or the reason why not."""
        self.usable = loads is not False
        self.mark.set("check" if loads else "close", "ok" if loads else "warn")
        show_if(self.mark, loads is not None)
        self.mark.setToolTip(why)
        self._foot.set(foot)
        self._icon.set(self._glyph, "accent" if self.usable else "text3")
        self.setCursor(Qt.CursorShape.PointingHandCursor if self.usable else Qt.CursorShape.ArrowCursor)
        self.setAccessibleName(f"{self._title}. {self._words} {foot}".strip())

    def set_chosen(self, chosen: bool) -> None:
        self.chosen = chosen
        super().set_chosen(chosen)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self.usable:
            self.clicked.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter):
            if self.usable:
                self.clicked.emit()
        elif event.key() in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            self.focusNextPrevChild(event.key() == Qt.Key.Key_Right)
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self.hasFocus() and self.ring:
            painter = QPainter(self)
            draw_ring(painter, QRectF(self.rect()).adjusted(3, 3, -3, -3), self.theme.colour("accent"), 5, 1.5)
            painter.end()
