"""A histogram of a few bars with their numbers above and their names below; and lines of names with thin bars (shares)."""

from collections.abc import Sequence

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QFontMetrics, QPainter, QPen
from PySide6.QtWidgets import QWidget

from desktop.theme.theme import Theme
from desktop.widgets.bar import Bar
from desktop.widgets.layout import clear, col, fixed, row
from desktop.widgets.painted import Painted
from desktop.widgets.text import Text, small
from engine.contract.words import tr

WORDS = 18


class Histogram(Painted):
    """`set(bars)`: (name below, amount, words above); `tones` colours them one by one, the accent where nothing is said."""

    def __init__(self, theme: Theme, height: int = 148, name: str = "", widest: int = 44) -> None:
        super().__init__(theme, 120, height)
        self._name, self._widest = name, widest
        self.bars: list[tuple[str, float, str]] = []
        self.tones: list[str] = []

    def set(self, bars: Sequence[tuple[str, float, str]], tones: Sequence[str] = ()) -> None:
        self.bars, self.tones = list(bars), list(tones)
        self.setAccessibleName(f"{self._name}: " + ", ".join(f"{below} {above}" for below, _, above in self.bars))
        self.update()

    def draw(self, painter: QPainter, rect: QRectF) -> None:
        if not self.bars:
            return
        t, words = self.theme, self.theme.px(WORDS)
        base, top = rect.height() - words - t.px(4), float(words)
        most = max(amount for _, amount, _ in self.bars) or 1.0
        step = rect.width() / len(self.bars)
        wide = min(step * 0.76, t.px(self._widest))
        painter.setFont(t.font("small"))
        metrics = QFontMetrics(t.font("small"))
        for i, (below, amount, above) in enumerate(self.bars):
            middle = step * (i + 0.5)
            high = (base - top) * amount / most
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(t.colour(self.tones[i] if i < len(self.tones) else "accent"))
            if amount:
                painter.drawRect(QRectF(middle - wide / 2, base - max(1.0, high), wide, max(1.0, high)))
            painter.setPen(t.colour("text"))
            if metrics.horizontalAdvance(above) <= step + 4:
                painter.drawText(QRectF(middle - step, base - high - words - 1, step * 2, words), Qt.AlignmentFlag.AlignCenter, above)
            painter.setPen(t.colour("text2"))
            painter.drawText(QRectF(middle - step, base + t.px(4), step * 2, words), Qt.AlignmentFlag.AlignCenter, below)
        painter.setPen(QPen(t.colour("control"), 1))
        painter.drawLine(int(rect.left()), int(base), int(rect.right()), int(base))


class ShareLines(QWidget):
    """`set(lines)`: (name, share 0..1, amount in words): a name, a thin bar, the amount at the right."""

    def __init__(self, theme: Theme, name_width: int = 96, amount_width: int = 104) -> None:
        super().__init__()
        self.theme, self._name_width, self._amount_width = theme, name_width, amount_width
        col(gap=6, host=self)

    def set(self, lines: Sequence[tuple[str, float, str]]) -> None:
        clear(self.layout())
        for name, share, amount in lines:
            bar = Bar(self.theme, share, height=8, name=name)
            words = fixed(Text(amount, align=Qt.AlignmentFlag.AlignRight), self.theme.px(self._amount_width))
            line = row(fixed(row((Text(name, elide=True), 1), gap=0), self.theme.px(self._name_width)), (bar, 1), words, gap=12)
            line.setAccessibleName(f"{name}: {amount}")
            self.layout().addWidget(line)
        if not lines:
            self.layout().addWidget(small(tr("Nothing to show."), "text3"))
