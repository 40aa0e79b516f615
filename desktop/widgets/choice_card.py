"""Cards of which one is chosen: a big radio button with a drawing, a name and a sentence."""

from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from desktop.theme.theme import Theme
from desktop.widgets.layout import row
from desktop.widgets.painted import KeyboardRing, draw_ring
from desktop.widgets.panel import Panel
from desktop.widgets.text import Icon, Text, small


class ChoiceCard(KeyboardRing, Panel):
    """`clicked` by mouse, Space or Enter; `set_chosen` draws it. Words at the foot say time or size."""

    clicked = Signal()

    def __init__(self, theme: Theme, icon: str, title: str, words: str, foot: str = "") -> None:
        super().__init__(row(Icon(theme, icon, "accent"), Text(title, "strong"), "+", gap=10), Text(words, tone="text2", wrap=True), "+",
                         small(foot, wrap=True) if foot else None, pad=(16, 14, 16, 14), gap=8)
        self.theme = theme
        self._name = f"{title}. {words}"
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName(self._name)

    def set_chosen(self, chosen: bool) -> None:
        super().set_chosen(chosen)
        self.chosen = chosen

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.clicked.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter):
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


def side_by_side(*cards: QWidget) -> QWidget:
    """Cards of equal width."""
    return row(*[(card, 1) for card in cards], gap=12)
