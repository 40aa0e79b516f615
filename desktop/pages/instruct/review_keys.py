"""The keys of the review: the list of them, and the line of the important ones."""

from collections.abc import Callable

from PySide6.QtWidgets import QWidget

from desktop.models.example_keys import Keys, actions
from desktop.theme.theme import Theme
from desktop.widgets.key_list import ALWAYS, KeyList, cap
from desktop.widgets.layout import clear, fill, row
from desktop.widgets.text import small
from engine.contract.words import tr

TAKEN = (*ALWAYS, "Up", "Down", "Ctrl+A", "Ctrl+F")
"""Keys that always mean the same."""


class HintLine(QWidget):
    """The keys that matter most, in one line below the card."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        row(gap=16, host=self)

    def set(self, keys: Keys) -> None:
        clear(self.layout())
        moves = row(cap(self.theme, keys.key("previous")), cap(self.theme, keys.key("next")), small(tr("move")), gap=5)
        others = [row(cap(self.theme, keys.key(a.id)), small(a.hint), gap=5) for a in actions() if a.hint and keys.key(a.id)]
        fill(self.layout(), ("+", moves, *others, "+"), 16)  # type: ignore[arg-type]


class KeysOfReview(KeyList):
    """Every action of the review with its key."""

    def __init__(self, theme: Theme, keys: Keys, changed: Callable[[], object], parent: QWidget | None = None) -> None:
        super().__init__(theme, keys, changed, parent, taken=TAKEN)
