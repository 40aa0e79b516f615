"""Boxes that take the room that is left and ask for no more than they need at least; one turns from beside to below.

Layouts that hold wrapped text ask for their preferred height at a width, and a scroll area grants it: a page of charts and lists would
scroll although all of it could shrink. These stop the question.
"""

from PySide6.QtCore import QEvent, QSize
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QWidget

from desktop.theme.theme import Theme
from desktop.widgets.layout import Item, Scroll, col

WIDEST = 16_777_215


class Flexible(QWidget):
    """Give it a layout as usual; `least` is its smallest height in logical pixels (0: what its content needs)."""

    def __init__(self, least: int = 0) -> None:
        super().__init__()
        if least:
            self.setMinimumHeight(least)

    def hasHeightForWidth(self) -> bool:
        return False

    def sizeHint(self) -> QSize:
        return self.minimumSizeHint().expandedTo(self.minimumSize())


class Poured(QWidget):
    """The content of a scroll area: as high as its wrapped text is at the width it gets, not as high as it would be at its narrowest.
    Without wrapped text it is as high as it needs to be."""

    def minimumSizeHint(self) -> QSize:
        found = super().minimumSizeHint()
        return QSize(found.width(), 0) if self.hasHeightForWidth() else found


class Whole(QWidget):
    """As high as its content is at the width it has, and never less: the page scrolls as a whole, and nothing scrolls inside it."""

    def hasHeightForWidth(self) -> bool:
        return False

    def minimumSizeHint(self) -> QSize:
        return QSize(super().minimumSizeHint().width(), self.minimumHeight())

    def sizeHint(self) -> QSize:
        return QSize(super().sizeHint().width(), self.minimumHeight())

    def event(self, event: QEvent) -> bool:
        done = super().event(event)
        layout = self.layout()
        if layout is not None and event.type() in (QEvent.Type.LayoutRequest, QEvent.Type.Resize, QEvent.Type.Show):
            high = layout.totalHeightForWidth(self.width()) if layout.hasHeightForWidth() else layout.totalMinimumSize().height()
            if high != self.minimumHeight():
                self.setMinimumHeight(high)
        return done


class Beside(Flexible):
    """A main part with a narrower one beside it; under it where the width does not suffice for both (small windows, large text).

    `side_width`, `needed` (the width from which they stand side by side) and `least` (the main part's height) are in design pixels.
    """

    def __init__(self, theme: Theme, main: QWidget, side: QWidget, *, side_width: int, needed: int = 840, least: int = 330) -> None:
        super().__init__()
        self._side, self._side_width, self._needed, self._least = side, theme.px(side_width), theme.px(needed), theme.px(least)
        self._main = main
        self._box = QBoxLayout(QBoxLayout.Direction.LeftToRight, self)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(12)
        self._box.addWidget(main, 1)
        self._box.addWidget(side)
        self._lay(True)

    def _lay(self, beside: bool) -> None:
        self._beside = beside
        self._box.setDirection(QBoxLayout.Direction.LeftToRight if beside else QBoxLayout.Direction.TopToBottom)
        self._side.setMinimumWidth(self._side_width if beside else 0)
        self._side.setMaximumWidth(self._side_width if beside else WIDEST)
        self._main.setMinimumHeight(self._least)

    def minimumSizeHint(self) -> QSize:
        found = super().minimumSizeHint()
        return QSize(min(found.width(), self._side_width), found.height())  # narrow is no reason to scroll sideways: it turns

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if (self.width() >= self._needed) != self._beside:
            self._lay(not self._beside)
            self.updateGeometry()


class Turning(QWidget):
    """Parts side by side, each with its stretch, where `needed` design pixels suffice; else one under the other. It is never a reason to
    scroll sideways."""

    def __init__(self, theme: Theme, *parts: tuple[QWidget, int], needed: int, gap: int = 12) -> None:
        super().__init__()
        self._needed, self._beside = theme.px(needed), True
        self._box = QBoxLayout(QBoxLayout.Direction.LeftToRight, self)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(gap)
        for part, stretch in parts:
            self._box.addWidget(part, stretch)

    def minimumSizeHint(self) -> QSize:
        return QSize(0, super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        beside = self.width() >= self._needed
        if beside != self._beside:
            self._beside = beside
            self._box.setDirection(QBoxLayout.Direction.LeftToRight if beside else QBoxLayout.Direction.TopToBottom)
            self.updateGeometry()


def scrolled(*items: Item, gap: int = 12) -> Scroll:
    """A column that scrolls in what height there is."""
    return Scroll(col(*items, "+", gap=gap, pad=(0, 0, 8, 0), host=Poured()), horizontal=False)
