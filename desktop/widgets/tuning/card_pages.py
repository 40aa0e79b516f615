"""Cards that come a few at a time: Back, More, and where one is."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from PySide6.QtWidgets import QVBoxLayout, QWidget

from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button
from desktop.widgets.layout import clear, show_if
from desktop.widgets.panel import rule
from desktop.widgets.text import small
from engine.contract.words import tr

Row = TypeVar("Row")


class CardPages:
    """`before`, `words` and `after` are the widgets, to be put where they belong; `page` counts from 0; `turned` shows the rows again."""

    def __init__(self, theme: Theme, size: int, turned: Callable[[], object]) -> None:
        self.size, self.page, self._turned = size, 0, turned
        self.before, self.after = (Button(theme, words, "quiet", on_click=lambda by=by: self.turn(self.page + by))
                                   for words, by in ((tr("Back"), -1), (tr("More"), 1)))
        self.words = small()

    def turn(self, page: int) -> None:
        self.page = max(0, page)
        self._turned()

    def take(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Those of the page, or of the last one where there are fewer now."""
        pages = max(1, -(-len(rows) // self.size))
        self.page = min(self.page, pages - 1)
        for widget in (self.before, self.after, self.words):
            show_if(widget, pages > 1)
        self.before.setEnabled(self.page > 0)
        self.after.setEnabled(self.page < pages - 1)
        self.words.set(tr("{page} of {pages}", page=self.page + 1, pages=pages))
        return rows[self.page * self.size:(self.page + 1) * self.size]


def pour(box: QVBoxLayout, cards: Iterable[QWidget]) -> None:
    """In place of what is in the box, with a line between two."""
    clear(box)
    for n, card in enumerate(cards):
        if n:
            box.addWidget(rule())
        box.addWidget(card)
    box.addStretch(1)
