"""Cards of which one is chosen: a big radio button with a drawing, a name and a sentence."""

from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from desktop.theme.theme import Theme
from desktop.widgets.layout import Item, row
from desktop.widgets.painted import KeyboardRing, draw_ring
from desktop.widgets.panel import Panel
from desktop.widgets.text import Icon, Text, small


class Card(KeyboardRing, Panel):
    """A panel that is pressed: `clicked` by mouse, Space or Enter while it is `usable`; arrows go to the next. `set_chosen` draws it."""

    clicked = Signal()

    def __init__(self, theme: Theme, *items: Item, pad: tuple[int, int, int, int], gap: int) -> None:
        super().__init__(*items, pad=pad, gap=gap)
        self.theme, self.usable, self.chosen = theme, True, False
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def set_chosen(self, chosen: bool) -> None:
        super().set_chosen(chosen)
        self.chosen = chosen

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


class ChoiceCard(Card):
    """A drawing, a name and a sentence. Words at the foot say time or size."""

    def __init__(self, theme: Theme, icon: str, title: str, words: str, foot: str = "") -> None:
        super().__init__(theme, row(Icon(theme, icon, "accent"), Text(title, "strong"), "+", gap=10),
                         Text(words, tone="text2", wrap=True), "+", small(foot, wrap=True) if foot else None,
                         pad=(16, 14, 16, 14), gap=8)
        self.setAccessibleName(f"{title}. {words}")


def side_by_side(*cards: QWidget) -> QWidget:
    """Cards of equal width."""
    return row(*[(card, 1) for card in cards], gap=12)
