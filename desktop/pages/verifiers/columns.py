"""Three columns that share the width; where it does not suffice the results go below, then everything one under the other."""

from PySide6.QtCore import QSize
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QGridLayout, QWidget

from desktop.theme.theme import Theme

THREE, TWO = 900, 600
"""Widths in design pixels from which three and two columns stand side by side."""
LEFT, RIGHT = (232, 440), (280, 380)
"""Of the outer columns, at their narrowest and widest."""
NARROW, GROWS = 1000, 1632
"""The widths up to which they are narrowest, and from which they are widest."""
LOW, TALL = 420, 520
"""The least heights of lists and of the editor where they stand under one another."""
GAP = 12
ANY = 16_777_215


class ThreeColumns(QWidget):
    """`left` and the two of `right` beside `middle`."""

    def __init__(self, theme: Theme, left: QWidget, middle: QWidget, upper: QWidget, lower: QWidget) -> None:
        super().__init__()
        self.theme, self.parts = theme, (left, middle, upper, lower)
        self.columns = 0
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(GAP)
        self._lay(3)

    def hasHeightForWidth(self) -> bool:
        return False

    def _lay(self, columns: int) -> None:
        self.columns = columns
        grid, px = self._grid, self.theme.px
        left, middle, upper, lower = self.parts
        for part in self.parts:
            grid.removeWidget(part)
            part.setMinimumSize(0, 0)
            part.setMaximumSize(ANY, ANY)
        for i in range(4):
            grid.setRowStretch(i, 0)
            grid.setColumnStretch(i, 0)
        if columns == 3:
            grid.addWidget(left, 0, 0, 2, 1)
            grid.addWidget(middle, 0, 1, 2, 1)
            grid.addWidget(upper, 0, 2)
            grid.addWidget(lower, 1, 2)
            grid.setColumnStretch(1, 1)
            grid.setRowStretch(1, 1)
        elif columns == 2:
            grid.addWidget(left, 0, 0)
            grid.addWidget(middle, 0, 1)
            grid.addWidget(upper, 1, 0)
            grid.addWidget(lower, 1, 1)
            grid.setColumnStretch(1, 1)
            middle.setMinimumHeight(px(TALL))
        else:
            for place, part in enumerate((middle, left, upper, lower)):
                grid.addWidget(part, place, 0)
            middle.setMinimumHeight(px(TALL))
            left.setMinimumHeight(px(LOW))
        self._widths()

    def _widths(self) -> None:
        px, (left, _, upper, lower) = self.theme.px, self.parts
        if self.columns == 1:
            return
        share = min(1.0, max(0.0, (self.width() - px(NARROW)) / max(1, px(GROWS) - px(NARROW)))) if self.columns == 3 else 0.0
        left_width = px(round(LEFT[0] + (LEFT[1] - LEFT[0]) * share))
        right_width = px(round(RIGHT[0] + (RIGHT[1] - RIGHT[0]) * share))
        if self.columns == 3:
            left.setFixedWidth(left_width)
            for part in (upper, lower):
                part.setFixedWidth(right_width)
        else:
            left.setFixedWidth(max(left_width, px(RIGHT[0])))
            upper.setFixedWidth(max(left_width, px(RIGHT[0])))

    def minimumSizeHint(self) -> QSize:
        """As narrow as one column: a narrower parent is what makes it turn."""
        found = super().minimumSizeHint()
        return QSize(min(found.width(), self.theme.px(360)), found.height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        px = self.theme.px
        columns = 3 if self.width() >= px(THREE) else 2 if self.width() >= px(TWO) else 1
        if columns != self.columns:
            self._lay(columns)
            self.updateGeometry()
        else:
            self._widths()
