"""The base of widgets that draw themselves with the theme's colours, and the focus ring they share."""

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QFocusEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from desktop.theme.theme import Theme

KEYBOARD = (Qt.FocusReason.TabFocusReason, Qt.FocusReason.BacktabFocusReason, Qt.FocusReason.ShortcutFocusReason,
            Qt.FocusReason.OtherFocusReason)

PASSING = (Qt.FocusReason.ActiveWindowFocusReason, Qt.FocusReason.PopupFocusReason, Qt.FocusReason.MenuBarFocusReason)


class Painted(QWidget):
    """Subclasses draw in `draw(painter, rect)`; `height` and `width` are in design pixels."""

    def __init__(self, theme: Theme, width: int = 0, height: int = 0) -> None:
        super().__init__()
        self.theme = theme
        self.setMinimumWidth(theme.px(width))
        if height:
            self.setFixedHeight(theme.px(height))
        theme.changed.connect(self.update)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self.draw(painter, QRectF(self.rect()))
        painter.end()

    def draw(self, painter: QPainter, rect: QRectF) -> None:
        raise NotImplementedError


class KeyboardRing:
    """Mixed into a focusable widget: `ring` is true while it has the focus by keyboard, not by a click."""

    ring = False

    def focusInEvent(self, event: QFocusEvent) -> None:
        if event.reason() not in PASSING:
            self.ring = event.reason() in KEYBOARD
        super().focusInEvent(event)  # type: ignore[misc]

    def focusOutEvent(self, event: QFocusEvent) -> None:
        if event.reason() not in PASSING:
            self.ring = False
        super().focusOutEvent(event)  # type: ignore[misc]


def draw_ring(painter: QPainter, rect: QRectF, colour: QColor, radius: float = 6, width: float = 2) -> None:
    """The focus ring inside `rect`."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(colour, width))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    inset = width / 2
    painter.drawRoundedRect(rect.adjusted(inset, inset, -inset, -inset), radius, radius)
