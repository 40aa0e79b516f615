"""One of several choices in a line: its name and what it is good for."""

from PySide6.QtWidgets import QSizePolicy

from desktop.theme.theme import Theme
from desktop.widgets.choice_card import Card
from desktop.widgets.layout import row
from desktop.widgets.text import Icon, Text, small

NAME = 132


class ChoiceLine(Card):
    """`note` stands at the right of the words."""

    def __init__(self, theme: Theme, name: str, words: str, note: str = "", width: int = NAME) -> None:
        self._mark = Icon(theme, "check", "accent")
        title = Text(name, "medium", elide=True)
        title.setFixedWidth(theme.px(width))
        title.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        super().__init__(theme, row(title, (Text(words, tone="text2", wrap=True), 1),
                                    small(note) if note else None, self._mark, gap=10), pad=(12, 7, 12, 7), gap=0)
        self.setAccessibleName(f"{name}. {words}")
        policy = self._mark.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self._mark.setSizePolicy(policy)

    def set_chosen(self, chosen: bool) -> None:
        super().set_chosen(chosen)
        self._mark.setVisible(chosen)
