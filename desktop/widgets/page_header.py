"""The head of a page: title, one sentence, actions at the right (one primary at most)."""

from PySide6.QtWidgets import QWidget

from desktop.widgets.layout import Item, clear, col, fill, row
from desktop.widgets.text import Text


class PageHeader(QWidget):
    def __init__(self, title: str, sentence: str = "", *actions: Item) -> None:
        super().__init__()
        self._title = Text(title, "title", elide=True)
        self._sentence = Text(sentence, tone="text2", wrap=True)
        self._actions = row(gap=8)
        row((col(self._title, self._sentence, gap=2), 1), self._actions, gap=16, host=self)
        self.set_actions(*actions)

    def set(self, title: str, sentence: str) -> None:
        self._title.set(title)
        self._sentence.set(sentence)

    def set_actions(self, *actions: Item) -> None:
        """Other buttons at the right; the old ones are deleted. To change one button, keep it and call its own methods."""
        box = self._actions.layout()
        clear(box)
        fill(box, actions, 8)
