"""A few lines for a terminal or another program, in typewriter letters, with a button that copies them."""

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication

from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button
from desktop.widgets.layout import col
from desktop.widgets.panel import Panel
from desktop.widgets.text import Text
from engine.contract.words import tr


class Snippet(Panel):
    """`set(lines)`; what is copied is `lines` as it stands, or `copied` where the screen shows less (a token that is hidden)."""

    def __init__(self, theme: Theme, lines: str = "", *, name: str, said: Callable[[str], object] = lambda words: None) -> None:
        self._words = Text(role="mono", wrap=True, select=True)
        self._words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._copied, self._said, self._name = lines, said, name
        self.button = Button(theme, kind="icon", icon="copy", name=tr("Copy: {name}", name=name), on_click=self.copy)
        super().__init__((self._words, 1), col(self.button, "+", gap=0), kind="sunken", flat=True, pad=(12, 8, 6, 8), gap=8)
        self.set(lines)

    def set(self, lines: str, copied: str = "") -> None:
        self._words.set(lines)
        self._copied = copied or lines

    def words(self) -> str:
        return self._words.words()

    def copy(self) -> None:
        QGuiApplication.clipboard().setText(self._copied)
        self._said(tr("Copied"))
