"""A place a model can go, as a card to choose: what it is for, whether this model loads there, how large it becomes."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSizePolicy

from desktop.theme.theme import Theme
from desktop.widgets.choice_card import Card
from desktop.widgets.layout import row, show_if
from desktop.widgets.text import Icon, Text, small


class TargetCard(Card):
    """A card whose program cannot load the model can be read, and says why; it cannot be chosen."""

    def __init__(self, theme: Theme, icon: str, title: str, words: str) -> None:
        self._title, self._words = title, words
        self._icon, self.mark = Icon(theme, icon, "accent"), Icon(theme, "check", "ok")
        self._says, self._foot = Text(words, tone="text2", wrap=True), small(wrap=True)
        super().__init__(theme, row(self._icon, (Text(title, "strong", elide=True), 1), self.mark, gap=10), self._says, "+", self._foot,
                         pad=(16, 12, 16, 12), gap=6)
        self._glyph = icon
        self.setMinimumWidth(theme.px(168))
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)  # cards of equal width, whatever they say
        self.set_verdict(None, "")

    def set_verdict(self, loads: bool | None, foot: str, why: str = "") -> None:
        """None: not known yet. `foot` is the size, or the reason why not."""
        self.usable = loads is not False
        self.mark.set("check" if loads else "close", "ok" if loads else "warn")
        show_if(self.mark, loads is not None)
        self.mark.setToolTip(why)
        self._foot.set(foot)
        self._icon.set(self._glyph, "accent" if self.usable else "text3")
        self.setCursor(Qt.CursorShape.PointingHandCursor if self.usable else Qt.CursorShape.ArrowCursor)
        self.setAccessibleName(f"{self._title}. {self._words} {foot}".strip())
