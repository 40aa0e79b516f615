"""A box that takes the height that is left and asks for no more than it needs at least.

Layouts that hold wrapped text ask for their preferred height at a width, and a scroll area grants it: a page of charts and lists would
scroll although all of it could shrink. This box stops the question.
"""

from PySide6.QtCore import QSize
from PySide6.QtWidgets import QWidget


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
