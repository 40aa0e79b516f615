"""What a page shows before it has anything: a drawing of its own parts, what is missing, one primary and one way round, and the steps."""

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget

from desktop.theme.theme import Theme
from desktop.widgets.bar import Bar
from desktop.widgets.layout import Item, col, fixed, row
from desktop.widgets.panel import Panel, rule
from desktop.widgets.text import Icon, Text, small

Step = tuple[str, str, bool]
WIDTH = 480


def cards(theme: Theme, left: Sequence[float] = (1, 0.86, 0.94, 0.5), right: Sequence[float] = (0.9, 1, 0.72, 0.3)) -> QWidget:
    """The usual drawing: a sheet of lines, and beside it the chosen one, coloured."""
    def card(shares: Sequence[float], tone: str, kind: str, top: int) -> QWidget:
        bars = [Bar(theme, share, tone) for share in shares]
        for bar in bars:
            bar.setAccessibleName("")
        return fixed(Panel(*bars, "+", kind=kind, pad=(14, top, 14, 12), gap=10), 132, 92)
    return row(card(left, "raw", "panel", 16), card(right, "accent", "chosen", 15), gap=16)


class EmptyState(QWidget):
    """`steps`: (words, note, done): what leads to a full page, the first ones perhaps done already."""

    def __init__(self, theme: Theme, title: str, words: str, *actions: Item, drawing: QWidget | None = None,
                 steps: Sequence[Step] = ()) -> None:
        super().__init__()
        centre = Qt.AlignmentFlag.AlignHCenter
        lines: list[Item] = []
        for i, (what, note, done) in enumerate(steps, 1):
            mark = Icon(theme, "check", "ok") if done else fixed(Text(str(i), "small_strong", "accent"), theme.px(16))
            line = row(mark, Text(what, "medium", "text2" if done else ""), "+", small(note), gap=10)
            lines += [rule() if i > 1 else None, line]
        width = theme.px(WIDTH)
        drawn = drawing or cards(theme)
        col("+", row("+", drawn, "+", gap=0), 20, Text(title, "title", align=centre), 2,
            row("+", Text(words, tone="text2", wrap=True, width=width, align=centre), "+", gap=0), 14,
            row("+", *actions, "+", gap=8) if actions else None, 24,
            row("+", fixed(Panel(*lines, gap=10), width), "+", gap=0) if lines else None, "+", "+", gap=4, host=self)
        self.setAccessibleName(f"{title}. {words}")
