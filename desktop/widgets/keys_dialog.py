"""The keys of the window, in a small dialog. A page's own keys stand on the page."""

from collections.abc import Sequence

from PySide6.QtWidgets import QDialog, QWidget

from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button
from desktop.widgets.layout import col, row
from desktop.widgets.text import Key, Text
from engine.contract.words import tr


class KeysDialog(QDialog):
    """`keys`: (key sequence as written, what it does)."""

    def __init__(self, theme: Theme, keys: Sequence[tuple[str, str]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Keys"))
        self.setMinimumWidth(theme.px(360))
        lines = []
        for pressed, words in keys:
            caps: list[QWidget] = []
            for cap in pressed.split("+"):
                caps.append(Key(theme, cap))
            lines.append(row(Text(words), "+", *caps, gap=4))
        done = Button(theme, tr("Close"), on_click=self.accept)
        col(Text(tr("Keys"), "title"), 12, *lines, 16, row("+", done), gap=8, pad=(24, 20, 24, 20), host=self)
        done.setFocus()
