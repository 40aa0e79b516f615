"""What the model might have written instead: the likeliest tokens at one place, over the text. It follows the chosen token."""

import math

from PySide6.QtCore import QPoint, QRect, Qt
from PySide6.QtWidgets import QWidget

from desktop.pages.chat.wording import chance, place_of
from desktop.theme.theme import Theme
from desktop.widgets.bar import Bar
from desktop.widgets.layout import clear, fill, fixed, row
from desktop.widgets.panel import Panel
from desktop.widgets.text import Text, small
from desktop.widgets.token_text import NEWLINE_MARK, Cell
from engine.contract.words import tr

WIDTH = 264
GAP = 6
FULL_BAR = 0.25


def shown(data: bytes) -> str:
    """A token as a short word of a list: blanks and newlines get signs, half characters their bytes."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return " ".join(f"{b:02X}" for b in data)
    text = text.replace("\n", NEWLINE_MARK).replace("\t", "\u21e5").replace("\r", "\u240d")
    if not text.strip(" "):
        return "\u2423" * len(text) if text else tr("nothing")
    return text.strip(" ")


class TokenPopover(Panel):
    """`show_for(cell, place, room)`: beside `place` (a rectangle of the parent), within `room`."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(kind="popover", gap=4, pad=(14, 10, 14, 12))
        self.theme = theme
        self.setParent(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setFixedWidth(theme.px(WIDTH))
        self.hide()

    def show_for(self, cell: Cell, place: QRect, room: QRect) -> None:
        token = cell.tokens[-1]
        clear(self.box)
        name = shown(b"".join(t.bytes for t in cell.tokens))
        note = f"{chance(cell.probability)}, {place_of(token.rank)}" if len(cell.tokens) == 1 else \
            tr("{chance}, in {count} tokens", chance=chance(cell.probability), count=len(cell.tokens))
        lines = [self._line(shown(c.bytes), math.exp(c.logprob), token.top[0].logprob, c.bytes == token.bytes) for c in token.top]
        fill(self.box, (row((Text(name, "strong", elide=True), 1), small(note), gap=12), *lines), 4, (14, 10, 14, 12))
        said = ", ".join(f"{shown(c.bytes)} {chance(math.exp(c.logprob))}" for c in token.top)
        self.setAccessibleName(tr("{token}: {note}. Likeliest: {choices}", token=name, note=note, choices=said))
        self.adjustSize()
        self.move(self._corner(place, room))
        self.show()
        self.raise_()

    def _line(self, name: str, probability: float, best: float, chosen: bool) -> QWidget:
        theme = self.theme
        share = probability / max(math.exp(best), FULL_BAR)  # a quarter fills the bar, unless the best is likelier
        return row(fixed(row((Text(name, "small_strong" if chosen else "small", "", elide=True), 1)), theme.px(72)),
                   (Bar(theme, share, "series2", 4), 1),
                   fixed(small(chance(probability), "text2", align=Qt.AlignmentFlag.AlignRight), theme.px(58)), gap=8)

    def _corner(self, place: QRect, room: QRect) -> QPoint:
        """Below the token; above it where there is no room below."""
        x = max(room.left(), min(place.left() - 4, room.right() - self.width()))
        below = place.bottom() + GAP
        above = place.top() - GAP - self.height()
        return QPoint(x, below if below + self.height() <= room.bottom() or above < room.top() else above)

