"""Bars with their intervals: a name, a bar from zero to the value, a whisker over what the value could be, the figure in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QLineF, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QPen

from desktop.theme.palette import mix
from desktop.theme.theme import Theme
from desktop.widgets.painted import Painted
from engine.contract.words import tr

ROW, BAR, NAME, WORDS = 40, 8, 168, 132


@dataclass(frozen=True)
class BarLine:
    """`tone` of the bar; `said` is a word or two at the right ("better"). low and high may be unknown."""

    name: str
    note: str
    value: float
    low: float | None
    high: float | None
    words: str
    said: str = ""
    tone: str = "accent"


class IntervalBars(Painted):
    """`set(lines, most, mark)`: `most` is the value at the right end; `mark` draws a line there (a half, of win rates)."""

    def __init__(self, theme: Theme, name: str) -> None:
        super().__init__(theme, 240, ROW)
        self._name = name
        self.lines: list[BarLine] = []
        self._most, self._mark = 1.0, 0.0

    def set(self, lines: Sequence[BarLine], most: float = 1.0, mark: float = 0.0) -> None:
        self.lines, self._most, self._mark = list(lines), most or 1.0, mark
        self.setFixedHeight(self.theme.px(ROW) * max(1, len(self.lines)))
        self.setAccessibleName(f"{self._name}: " + "; ".join(
            ", ".join(x for x in (line.name, line.note, line.words, line.said) if x) for line in self.lines))
        self.update()

    def draw(self, painter: QPainter, rect: QRectF) -> None:
        t, high = self.theme, self.theme.px(ROW)
        name, words = min(t.px(NAME), rect.width() * 0.34), t.px(WORDS)
        left, right = name + t.px(12), rect.width() - words - t.px(12)
        track = QColor(mix(t["control"], t["surface"], 0.28))
        for place, line in enumerate(self.lines):
            top = place * high
            middle = top + high / 2
            self._words(painter, QRectF(0, top, name, high), line.name, line.note, Qt.AlignmentFlag.AlignLeft)
            painter.setPen(Qt.PenStyle.NoPen)
            size = t.px(BAR)
            painter.setBrush(track)
            painter.drawRoundedRect(QRectF(left, middle - size / 2, right - left, size), size / 2, size / 2)

            def at(value: float) -> float:
                return left + (right - left) * min(1.0, max(0.0, value / self._most))
            painter.setBrush(t.colour(line.tone))
            if line.value > 0:
                painter.drawRoundedRect(QRectF(left, middle - size / 2, max(size, at(line.value) - left), size), size / 2, size / 2)
            if line.low is not None and line.high is not None:
                painter.setPen(QPen(t.colour("text"), 1.5))
                a, b = at(line.low), at(line.high)
                painter.drawLine(QLineF(a, middle, b, middle))
                for x in (a, b):
                    painter.drawLine(QLineF(x, middle - size * 0.75, x, middle + size * 0.75))
            self._words(painter, QRectF(right + t.px(12), top, words, high), line.words, line.said, Qt.AlignmentFlag.AlignRight,
                        line.tone if line.tone != "accent" else "text")
        if self._mark and self.lines:
            x = left + (right - left) * self._mark / self._most
            painter.setPen(QPen(t.colour("control"), 1, Qt.PenStyle.DashLine))
            painter.drawLine(QLineF(x, 0, x, rect.height()))

    def _words(self, painter: QPainter, box: QRectF, words: str, note: str, side: Qt.AlignmentFlag, tone: str = "text") -> None:
        t = self.theme
        font, quiet = t.font("medium"), t.font("small")
        tall, low = QFontMetrics(font).height(), QFontMetrics(quiet).height() if note else 0
        top = box.center().y() - (tall + low) / 2
        for text, face, ink, y, height in ((words, font, "text", top, tall), (note, quiet, tone if tone != "text" else "text2",
                                                                             top + tall, low)):
            if text:
                painter.setFont(face)
                painter.setPen(t.colour(ink))
                shown = QFontMetrics(face).elidedText(text, Qt.TextElideMode.ElideRight, int(box.width()) + 1)
                painter.drawText(QRectF(box.left(), y, box.width(), height), side | Qt.AlignmentFlag.AlignVCenter, shown)


def verdict(mark: int) -> tuple[str, str]:
    """(a word, its tone) for a real difference."""
    return {1: (tr("better"), "ok"), -1: (tr("worse"), "danger")}.get(mark, ("", "accent"))
