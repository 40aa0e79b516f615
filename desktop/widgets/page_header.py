"""The head of a page: title, one sentence, actions at the right (one primary at most), or below where the title would have no room."""

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QWidget

from desktop.widgets.layout import Item, clear, col, fill, row
from desktop.widgets.text import Text

GAP = 16
TITLE = 12
"""Widths of the title's letter n that it keeps beside the actions at least."""


class PageHeader(QWidget):
    def __init__(self, title: str, sentence: str = "", *actions: Item) -> None:
        super().__init__()
        self._title = Text(title, "title", elide=True)
        self._sentence = Text(sentence, tone="text2", wrap=True)
        self._actions = row(gap=8)
        self._box = QBoxLayout(QBoxLayout.Direction.LeftToRight, self)
        fill(self._box, ((col(self._title, self._sentence, gap=2), 1), self._actions), GAP)
        self.set_actions(*actions)

    def set(self, title: str, sentence: str) -> None:
        self._title.set(title)
        self._sentence.set(sentence)

    def set_actions(self, *actions: Item) -> None:
        """Other buttons at the right; the old ones are deleted. To change one button, keep it and call its own methods."""
        box = self._actions.layout()
        clear(box)
        fill(box, actions, 8)

    def add_action(self, action: QWidget, *, first: bool = False) -> None:
        """One more, beside those that are there."""
        box = self._actions.layout()
        box.insertWidget(0 if first else box.count(), action)  # type: ignore[attr-defined]

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._turn()

    def event(self, event: QEvent) -> bool:
        found = super().event(event)
        if event.type() == QEvent.Type.LayoutRequest and self.isVisible():  # buttons come and go
            self._turn()
        return found

    def _turn(self) -> None:
        """Actions below where beside them the title would be no more than a few letters."""
        kept = min(self._title.sizeHint().width(), TITLE * self._title.fontMetrics().horizontalAdvance("n"))
        below = self.width() < self._actions.sizeHint().width() + GAP + kept
        wanted = QBoxLayout.Direction.TopToBottom if below else QBoxLayout.Direction.LeftToRight
        if wanted != self._box.direction():
            self._box.setDirection(wanted)
            self._box.setSpacing(8 if below else GAP)
            self._box.setAlignment(self._actions, Qt.AlignmentFlag.AlignLeft if below else Qt.AlignmentFlag(0))
            self.updateGeometry()
