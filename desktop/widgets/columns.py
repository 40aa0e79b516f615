"""A wide column and a narrow one beside it, or below it where there is no room for both: small windows, large text."""

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QWidget

from desktop.theme.theme import Theme

UNLIMITED = 16_777_215
ROOM = 520


class Columns(QWidget):
    """`main` takes what is left of `side` (its width in design pixels); below `room` for the main column they stand one under the other."""

    def __init__(self, theme: Theme, main: QWidget, side: QWidget, *, side_width: int = 312, gap: int = 24, room: int = ROOM) -> None:
        super().__init__()
        self._main, self._side = main, side
        self._side_width, self._needed = theme.px(side_width), theme.px(room) + gap + theme.px(side_width)
        self._box = QBoxLayout(QBoxLayout.Direction.LeftToRight, self)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(gap)
        self._box.addWidget(main, 1)
        self._box.addWidget(side)
        side.setFixedWidth(self._side_width)

    @property
    def stacked(self) -> bool:
        return self._box.direction() == QBoxLayout.Direction.TopToBottom

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        stacked = self.width() < self._needed
        if stacked != self.stacked:
            self._box.setDirection(QBoxLayout.Direction.TopToBottom if stacked else QBoxLayout.Direction.LeftToRight)
            self._side.setMinimumWidth(0 if stacked else self._side_width)
            self._side.setMaximumWidth(UNLIMITED if stacked else self._side_width)
            self._box.setStretch(0, 0 if stacked else 1)
            self._box.setAlignment(self._side, Qt.AlignmentFlag(0))
            self.updateGeometry()

    def minimumSizeHint(self) -> QSize:
        """As narrow as when stacked: a narrower parent is what makes it stack."""
        main, side = self._main.minimumSizeHint(), self._side.minimumSizeHint()
        if self.stacked:
            return QSize(max(main.width(), side.width()), main.height() + side.height() + self._box.spacing())
        return QSize(max(main.width(), min(side.width(), self._side_width)), max(main.height(), side.height()))
