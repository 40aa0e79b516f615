"""The drawings of a reward model's report: right as often as it says (calibration), how rewards lie, the learning curve, an interval."""

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPen, QPolygonF

from desktop.theme.theme import Theme
from desktop.widgets.painted import Painted
from engine.contract.units import number, percent, significant
from engine.contract.words import tr

TALL = 190


class _Axes(Painted):
    """A frame with horizontal hairlines and names; `place` puts a value on it."""

    def __init__(self, theme: Theme, height: int = TALL) -> None:
        super().__init__(theme, 170, height)
        self.low_x, self.high_x, self.low_y, self.high_y = 0.0, 1.0, 0.0, 1.0

    def sizeHint(self) -> QSize:
        return QSize(self.theme.px(280), self.height())

    def frame(self, painter: QPainter, rect: QRectF, x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[tuple[float, str]]) -> None:
        theme, px = self.theme, self.theme.px
        font = theme.font("small")
        metrics = QFontMetricsF(font)
        painter.setFont(font)
        left = max((metrics.horizontalAdvance(words) for _, words in y_ticks), default=0.0) + px(8)
        self.room = QRectF(left, px(9), rect.width() - left - px(10), rect.height() - px(9) - metrics.height() - px(5))
        for y, words in y_ticks:
            at = self.place(self.low_x, y).y()
            painter.setPen(QPen(theme.colour("line"), 1))
            painter.drawLine(QPointF(self.room.left(), at), QPointF(self.room.right(), at))
            painter.setPen(theme.colour("text2"))
            painter.drawText(QRectF(0, at - metrics.height() / 2, left - px(8), metrics.height()), Qt.AlignmentFlag.AlignRight, words)
        painter.setPen(QPen(theme.colour("control"), 1))
        painter.drawLine(self.room.bottomLeft(), self.room.bottomRight())
        for x, words in x_ticks:
            at, wide = self.place(x, self.low_y).x(), metrics.horizontalAdvance(words)
            at = min(max(at, self.room.left() + wide / 2), rect.right() - wide / 2)
            painter.setPen(theme.colour("text2"))
            painter.drawText(QRectF(at - wide, self.room.bottom() + px(4), 2 * wide, metrics.height()),
                             Qt.AlignmentFlag.AlignHCenter, words)

    def place(self, x: float, y: float) -> QPointF:
        room = self.room
        return QPointF(room.left() + room.width() * (x - self.low_x) / ((self.high_x - self.low_x) or 1.0),
                       room.bottom() - room.height() * (y - self.low_y) / ((self.high_y - self.low_y) or 1.0))


class CalibrationPlot(_Axes):
    """How sure it is against how often it is right: a dot a bin, larger for more pairs, with its interval; the dashed line is perfect."""

    def __init__(self, theme: Theme, bins: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(theme)
        self.bins = list(bins)
        self.low_x, self.high_x = 0.5, 1.0
        lowest = min((float(b["low"] if b["low"] is not None else b["share"]) for b in self.bins), default=0.0)
        self.low_y, self.high_y = (0.0 if lowest < 0.25 else 0.25 if lowest < 0.4 else 0.4), 1.0
        self.setAccessibleName(tr("Calibration: ") + ", ".join(
            tr("says {sure}, right in {right} of {count}", sure=percent(b["predicted"]), right=percent(b["share"]),
               count=number(b["count"]))
            for b in self.bins))

    def draw(self, painter: QPainter, rect: QRectF) -> None:
        ticks = [v for v in (0.0, 0.25, 0.5, 0.75, 1.0) if v >= self.low_y]
        self.frame(painter, rect, [(v, percent(v)) for v in (0.5, 0.75, 1.0)], [(v, percent(v)) for v in ticks])
        painter.setPen(QPen(self.theme.colour("text3"), 1, Qt.PenStyle.DashLine))
        painter.drawLine(self.place(0.5, 0.5), self.place(1.0, 1.0))
        most = max((int(b["count"]) for b in self.bins), default=1)
        accent = self.theme.colour("accent")
        for one in self.bins:
            middle = self.place(float(one["predicted"]), float(one["share"]))
            if one["low"] is not None:
                painter.setPen(QPen(accent, 1))
                painter.drawLine(self.place(float(one["predicted"]), float(one["low"])),
                                 self.place(float(one["predicted"]), float(one["high"])))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(accent)
            wide = self.theme.px(3) + self.theme.px(4) * (int(one["count"]) / most) ** 0.5
            painter.drawEllipse(middle, wide, wide)


class RewardHistogram(_Axes):
    """Rewards of better and of worse answers, as counts between common edges."""

    def __init__(self, theme: Theme, made: Mapping[str, Any]) -> None:
        super().__init__(theme)
        self.edges, self.better, self.worse = list(made["edges"]), list(made["chosen"]), list(made["rejected"])
        if self.edges:
            self.low_x, self.high_x = float(self.edges[0]), float(self.edges[-1])
        self.high_y = float(max([*self.better, *self.worse, 1]))
        self.setAccessibleName(tr("Rewards of better and worse answers, from {low} to {high}", low=significant(self.low_x, 2),
                                  high=significant(self.high_x, 2)))

    def draw(self, painter: QPainter, rect: QRectF) -> None:
        middle = 0.0 if self.low_x < 0 < self.high_x else (self.low_x + self.high_x) / 2
        self.frame(painter, rect, [(v, significant(v, 2) if v else "0") for v in (self.low_x, middle, self.high_x)],
                   [(self.high_y, number(int(self.high_y))), (0.0, "0")])
        for counts, tone in ((self.worse, "text3"), (self.better, "accent")):
            line = QPolygonF([self.place(self.low_x, 0)])
            for i, amount in enumerate(counts):
                line.append(self.place(float(self.edges[i]), float(amount)))
                line.append(self.place(float(self.edges[i + 1]), float(amount)))
            line.append(self.place(self.high_x, 0))
            colour = self.theme.colour(tone)
            fill = QColor(colour)
            fill.setAlphaF(0.18)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(fill)
            painter.drawPolygon(line)
            painter.setPen(QPen(colour, 1.5))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawPolyline(line)


class LearningCurve(_Axes):
    """Accuracy by labels: what was measured with its interval, the curve through it, and where more labels would lead."""

    def __init__(self, theme: Theme, made: Mapping[str, Any]) -> None:
        super().__init__(theme, 150)
        self.made = made
        points = made["points"]
        self.low_x, self.high_x = 0.0, float(made["labels"] + made["more"])
        lows, highs = [float(p["low"]) for p in points], [float(p["high"]) for p in points]
        self.low_y = max(0.0, int(min([*lows, 0.5]) * 10) / 10)
        self.high_y = min(1.0, int(max(highs) * 10 + 1) / 10)
        self.setAccessibleName(tr("Learning curve: ") + ", ".join(
            tr("{labels} labels {accuracy}", labels=number(p["labels"]), accuracy=percent(p["accuracy"])) for p in points))

    def _at(self, labels: float) -> float:
        return float(self.made["a"]) - float(self.made["b"]) * labels ** -float(self.made["c"])

    def draw(self, painter: QPainter, rect: QRectF) -> None:
        labels, end = float(self.made["labels"]), self.high_x
        self.frame(painter, rect, [(0.0, "0"), (labels, number(int(labels)))],
                   [(v, percent(v)) for v in (self.low_y, (self.low_y + self.high_y) / 2, self.high_y)])
        accent, points = self.theme.colour("accent"), self.made["points"]
        band = QColor(accent)
        band.setAlphaF(0.14)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(band)
        painter.drawPolygon(QPolygonF([*(self.place(float(p["labels"]), float(p["high"])) for p in points),
                                       *(self.place(float(p["labels"]), float(p["low"])) for p in reversed(points))]))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        first = float(points[0]["labels"])
        for start, stop, style in ((first, labels, Qt.PenStyle.SolidLine), (labels, end, Qt.PenStyle.DotLine)):
            painter.setPen(QPen(accent, 1.5, style))
            steps = [start + (stop - start) * i / 40 for i in range(41)]
            painter.drawPolyline([self.place(x, min(self.high_y, max(self.low_y, self._at(x)))) for x in steps])
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(accent)
        for p in points:
            painter.drawEllipse(self.place(float(p["labels"]), float(p["accuracy"])), self.theme.px(3), self.theme.px(3))


class IntervalLine(Painted):
    """A share as a dot with its interval on a line from 0 to 100 %, and a mark at chance."""

    def __init__(self, theme: Theme, share: float | None, low: float | None, high: float | None, height: int = 22, chance: float = 0.5,
                 name: str = "") -> None:
        super().__init__(theme, 56, height)
        self.share, self.low, self.high, self.chance = share, low, high, chance
        self.setAccessibleName(name)

    def draw(self, painter: QPainter, rect: QRectF) -> None:
        theme, px, y = self.theme, self.theme.px, rect.center().y()
        left, wide = px(6), rect.width() - 2 * px(6)
        painter.setPen(QPen(theme.colour("line"), px(2)))
        painter.drawLine(QPointF(left, y), QPointF(left + wide, y))
        at = left + wide * self.chance
        painter.setPen(QPen(theme.colour("text3"), 1, Qt.PenStyle.DashLine))
        painter.drawLine(QPointF(at, rect.top() + 1), QPointF(at, rect.bottom() - 1))
        if self.share is None:
            return
        unsure = self.low is not None and self.low <= self.chance
        tone = theme.colour("warn" if unsure else "accent")
        if self.low is not None and self.high is not None:
            painter.setPen(QPen(tone, px(3), c=Qt.PenCapStyle.RoundCap))
            painter.drawLine(QPointF(left + wide * self.low, y), QPointF(left + wide * self.high, y))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(tone)
        painter.drawEllipse(QPointF(left + wide * self.share, y), px(5), px(5))
