"""Curves on axes, drawn with QPainter: no box, no legend, horizontal hairlines, whole run by default. Data comes in as growing columns or
as short lists of points; reducing them to the screen is chart_data.py's work.

Not pyqtgraph: with the reduction done here a repaint is a few milliseconds for a million points, the first chart does not wait for a
160 ms import, and ticks, ends and labels are exactly ours. The picture is kept; the pointer's line is drawn over it. Hidden plots
never draw, and a shown one at most ten times a second.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from PySide6.QtCore import QEvent, QLineF, QPointF, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QFocusEvent,
    QFontMetricsF,
    QHideEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QResizeEvent,
    QShowEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from desktop.theme.theme import Theme
from desktop.widgets import chart_data
from desktop.widgets.chart_data import Numbers, Pyramid
from desktop.widgets.painted import KeyboardRing, draw_ring
from engine.contract.units import count, number, significant
from engine.contract.words import tr
from engine.project.run_state import Series

REFRESH_MS = 100
TOP, BOTTOM, RIGHT, LEFT = 8, 26, 28, 42
PIECE = 16  # points of a thick line drawn at once: a long noisy one takes Qt's stroker three times as long in one go


@dataclass(eq=False)
class Curve:
    """One line. Either `series` and `key` (a growing column; drawn raw and smoothed) or `points` [(step, value)] (drawn with dots).

    `tone` is a token of the palette; `raw` whether each value is drawn behind the smoothed line; `at` turns a step into the axis's x.
    `spread` is a column drawn as a band so far to both sides of the line, in place of each value.
    """

    name: str
    tone: str = "accent"
    series: Series | None = None
    key: str = "loss"
    points: Sequence[tuple[float, float]] = ()
    dashed: bool = False
    dotted: bool = False
    dots: bool = False
    raw: bool = True
    unit: str = ""
    steps: Series | None = None
    spread: str = ""
    pyramid: Pyramid = field(default_factory=Pyramid)
    wide: Pyramid = field(default_factory=Pyramid)
    cuts: int = 0


@dataclass(frozen=True)
class Mark:
    """Something that happened at a step: a small sign on the lower axis. kind: checkpoint, best, notice."""

    step: float
    kind: str
    words: str


@dataclass
class _Drawn:
    """A curve as it stands on the screen, for the readout."""

    curve: Curve
    x: Numbers
    y: Numbers
    spread: Numbers | None = None


class Plot(KeyboardRing, QWidget):
    """`zoomed`: the part of the x axis that is shown changed, (low, high) or None for the whole; `pointed`: the readout moved."""

    zoomed = Signal(object)
    pointed = Signal(object)
    room_changed = Signal()

    def __init__(self, theme: Theme, name: str, *, unit: str = "", show_x: bool = True) -> None:
        super().__init__()
        self.theme, self.name, self.unit, self.show_x = theme, name, unit, show_x
        self.curves: list[Curve] = []
        self.marks: list[Mark] = []
        self.x_kind, self.log_x, self.log_y, self.clip, self.smoothing = "step", False, False, False, 0.9
        self.x_end = 0.0
        self.now: float | None = None
        self.view: tuple[float, float] | None = None
        self.draws = 0
        self._drawn: list[_Drawn] = []
        self._raws: list[tuple[Curve, chart_data.Bins]] = []
        self._picture: QPixmap | None = None
        self._stale = True
        self._x = (0.0, 1.0)
        self._y = (0.0, 1.0)
        self._point: float | None = None
        self._drag: tuple[float, float] | None = None
        self._left = self.room = LEFT
        self.min_left = 0
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._redraw)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(theme.px(96))
        self.setAccessibleName(name)
        theme.changed.connect(self._dirty_now)

    # what is shown ----------------------------------------------------------------------------------------------------

    def set_curves(self, curves: Sequence[Curve]) -> None:
        self.curves = list(curves)
        self._dirty_now()

    def set_view(self, view: tuple[float, float] | None) -> None:
        """Show this part of the x axis, without telling; None for the whole."""
        if view != self.view:
            self.view = view
            self._dirty_now()

    def zoom(self, view: tuple[float, float] | None) -> None:
        if view != self.view:
            self.set_view(view)
            self.zoomed.emit(view)

    def refresh(self) -> None:
        """There is new data: draw soon, if anybody looks."""
        self._stale = True
        if self.isVisible() and not self._timer.isActive():
            self._timer.start(REFRESH_MS)

    def _dirty_now(self) -> None:
        """The way of showing changed: draw with the next event."""
        self._stale = True
        if self.isVisible():
            self._timer.start(0)

    def set_axes(self, *, x_kind: str | None = None, log_x: bool | None = None, log_y: bool | None = None, clip: bool | None = None,
                 smoothing: float | None = None) -> None:
        """Change what is given, keep the rest. Another kind of x shows the whole run again."""
        if x_kind is not None and x_kind != self.x_kind:
            self.x_kind, self.view, self._point = x_kind, None, None
        self.log_x = self.log_x if log_x is None else log_x
        self.log_y = self.log_y if log_y is None else log_y
        self.clip = self.clip if clip is None else clip
        self.smoothing = self.smoothing if smoothing is None else smoothing
        self._dirty_now()

    def point_at(self, x: float | None) -> None:
        """Put the readout at x of the axis (None takes it away), without telling."""
        if x != self._point:
            self._point = x
            self.update()

    def sizeHint(self) -> QSize:
        return QSize(self.theme.px(480), self.theme.px(220))

    # geometry ---------------------------------------------------------------------------------------------------------

    def set_min_left(self, room: int) -> None:
        """Keep at least this much room for the labels of the y axis: plots one above the other end on the same line."""
        if room != self.min_left:
            self.min_left = room
            if max(self.room, room) != self._left:
                self._dirty_now()

    def area(self) -> QRectF:
        px = self.theme.px
        bottom = px(BOTTOM) if self.show_x else px(8)
        return QRectF(self._left, px(TOP), max(1.0, self.width() - self._left - px(RIGHT)), max(1.0, self.height() - px(TOP) - bottom))

    def _place(self, x: float) -> float:
        """x of the axis as a pixel."""
        area, (low, high) = self.area(), self._x
        value = math.log10(max(x, 1e-12)) if self.log_x else x
        return area.left() + (value - low) / (high - low) * area.width()

    def _places(self, x: Numbers) -> Numbers:
        area, (low, high) = self.area(), self._x
        values = np.log10(np.maximum(x, 1e-12)) if self.log_x else x
        made: Numbers = area.left() + (values - low) / (high - low) * area.width()
        return made

    def _heights(self, y: Numbers) -> Numbers:
        area, (low, high) = self.area(), self._y
        with np.errstate(invalid="ignore", divide="ignore"):
            values = np.where(y > 0, np.log10(np.where(y > 0, y, 1.0)), np.nan) if self.log_y else y
            made: Numbers = area.bottom() - (values - low) / (high - low) * area.height()
        return made

    def _value(self, pixel: float) -> float:
        """A pixel as x of the axis."""
        area, (low, high) = self.area(), self._x
        value = low + (pixel - area.left()) / area.width() * (high - low)
        return float(10 ** value if self.log_x else value)

    # computing --------------------------------------------------------------------------------------------------------

    def _columns(self, curve: Curve) -> tuple[Numbers, Numbers]:
        """x and y of a curve on the present axis."""
        if curve.series is not None:
            x, y = curve.series.column(self.x_kind), curve.series.column(curve.key)
            return (x, y) if x.size and y.size and not np.isnan(x[-1]) else (np.empty(0), np.empty(0))
        if not curve.points:
            return np.empty(0), np.empty(0)
        points = np.asarray(curve.points, dtype=np.float64)
        return at_steps(curve.steps, points[:, 0], self.x_kind), points[:, 1]

    def _take_in(self) -> bool:
        """Bring the pyramids up to date, a few milliseconds' worth; whether all are."""
        room = 200_000
        for curve in self.curves:
            if curve.series is None:
                continue
            if curve.cuts != curve.series.cuts:
                curve.pyramid.reset()
                curve.wide.reset()
                curve.cuts = curve.series.cuts
            for key, pyramid in ((curve.key, curve.pyramid), *(((curve.spread, curve.wide),) if curve.spread else ())):
                before = pyramid.length
                done = pyramid.update(curve.series.column(key), max(1, room))
                room -= pyramid.length - before
                if not done:
                    return False
        return True

    def _whole(self) -> tuple[float, float]:
        """The x axis from its start to the planned end, or as far as there is data."""
        low, high = math.inf, self.x_end if self.x_kind == "step" else 0.0
        for curve in self.curves:
            x, _ = self._columns(curve)
            if x.size:
                low, high = min(low, float(x[0])), max(high, float(x[-1]))
        if self.x_kind != "step" and self.x_end > 0:
            high = max(high, self._end_by_rate())
        if not math.isfinite(low):
            low = 0.0
        return (max(low, 1.0) if self.log_x else min(0.0, low)), high

    def _end_by_rate(self) -> float:
        """Where the run will end on an axis of tokens or seconds, from how far it is by steps."""
        for curve in self.curves:
            if curve.series is not None and not curve.dashed and not curve.dotted:
                step, here = curve.series.last("step"), curve.series.last(self.x_kind)
                if step and here:
                    return here * self.x_end / step
        return 0.0

    def _compute(self) -> None:
        low, high = self.view or self._whole()
        if high <= low:
            high = low + 1
        if self.log_x:
            low, high = math.log10(max(low, 1e-9)), math.log10(max(high, 1e-9))
            high = max(high, low + 1e-6)
        self._x = (low, high)
        wide = max(2, int(self.area().width()))
        edges = np.linspace(low, high, wide + 1)
        if self.log_x:
            edges = 10 ** edges
        self._drawn, self._raws = [], []
        for curve in self.curves:
            x, y = self._columns(curve)
            if not x.size:
                continue
            if curve.series is None:
                self._drawn.append(_Drawn(curve, x, y))
                continue
            length = min(x.size, curve.pyramid.length)
            x, y = x[:length], y[:length]
            if curve.raw and not curve.spread:
                self._raws.append((curve, chart_data.reduced(x, y, curve.pyramid, edges)))
            start, end = int(np.searchsorted(x, edges[0])), int(np.searchsorted(x, edges[-1], "right"))
            at, line = chart_data.smoothed(y, curve.pyramid, max(0, start - 1), min(length, end + 1), self.smoothing,
                                              150 if curve.dashed or curve.dotted else 1000)
            band = None
            if curve.spread and curve.wide.length >= length:
                values = curve.series.column(curve.spread)[:length]
                band = chart_data.smoothed(values, curve.wide, max(0, start - 1), min(length, end + 1), self.smoothing)[1]
            self._drawn.append(_Drawn(curve, x[at], line, band if band is not None and band.size == line.size else None))
        self._y = self._y_range()
        self.room = self._label_room()
        if max(self.room, self.min_left) != self._left:
            self._left = max(self.room, self.min_left)
            self.room_changed.emit()

    def _y_range(self) -> tuple[float, float]:
        parts = [bins.y for _, bins in self._raws] + [_inside(d.x, d.y, self._x, self.log_x) for d in self._drawn]
        parts += [_inside(d.x, d.y + side * d.spread, self._x, self.log_x) for d in self._drawn if d.spread is not None for side in (-1, 1)]
        values = np.concatenate(parts) if parts else np.empty(0)
        if self.log_y:
            values = np.log10(values[values > 0])
        values = values[np.isfinite(values)]
        if not values.size:
            return 0.0, 1.0
        low, high = float(values.min()), float(values.max())
        if self.clip and (held := chart_data.robust_range(values)):
            low, high = held
        if high - low < 1e-12:
            low, high = low - (abs(low) * 0.1 or 0.5), high + (abs(high) * 0.1 or 0.5)
        pad = (high - low) * 0.05
        return low - pad, high + pad

    def _y_ticks(self) -> list[tuple[float, str]]:
        most = max(3, int(self.area().height() / self.theme.px(38)))
        return chart_data.log_ticks(*self._y, most) if self.log_y else chart_data.ticks(*self._y, most)

    def _x_ticks(self) -> list[tuple[float, str]]:
        most = max(2, int(self.area().width() / self.theme.px(88)))
        if self.log_x:
            return chart_data.log_ticks(*self._x, most, self.x_kind)
        made = chart_data.ticks(*self._x, most, self.x_kind)
        if self.x_kind == "step" and self.view is None and self.x_end and abs(self._x[1] - self.x_end) < 1e-9:
            gap = (self._x[1] - self._x[0]) / self.area().width() * self.theme.px(56)
            made = [t for t in made if t[0] <= self.x_end - gap] + [(self.x_end, tr("end"))]
        return made

    def _label_room(self) -> int:
        metrics = QFontMetricsF(self.theme.font("small"))
        widest = max((metrics.horizontalAdvance(words) for _, words in self._y_ticks()), default=0)
        return max(self.theme.px(LEFT), math.ceil(widest) + self.theme.px(14))

    # drawing ----------------------------------------------------------------------------------------------------------

    def _redraw(self) -> None:
        if not self.isVisible():
            return
        complete = self._take_in()
        self._stale = False
        self._picture = None
        self.update()
        if not complete:
            self._stale = True
            self._timer.start(10)

    def paintEvent(self, event: QPaintEvent) -> None:
        ratio = self.devicePixelRatioF()
        if self._picture is None or self._picture.size() != self.size() * ratio:
            self._picture = QPixmap(self.size() * ratio)
            self._picture.setDevicePixelRatio(ratio)
            self._picture.fill(self.theme.colour("surface"))
            painter = QPainter(self._picture)
            self._compute()
            self._draw(painter)
            painter.end()
            self.draws += 1
        painter = QPainter(self)
        painter.drawPixmap(0, 0, self._picture)
        self._draw_over(painter)
        painter.end()

    def _draw(self, painter: QPainter) -> None:
        theme, area = self.theme, self.area()
        painter.setFont(theme.font("small"))
        grid, ink = theme.colour("grid"), theme.colour("text2")
        if not self._drawn:
            painter.setPen(theme.colour("text3"))
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter, tr("Nothing to draw yet"))
            return
        for value, words in self._y_ticks():
            y = float(self._height_of_axis(value))
            painter.setPen(QPen(grid, 1))
            painter.drawLine(QPointF(area.left(), round(y) + 0.5), QPointF(area.right(), round(y) + 0.5))
            painter.setPen(ink)
            painter.drawText(QRectF(0, y - 10, area.left() - theme.px(9), 20), Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter,
                             words)
        base = round(area.bottom()) + 0.5
        painter.setPen(QPen(theme.colour("control"), 1))
        painter.drawLine(QPointF(area.left(), base), QPointF(area.right(), base))
        for value, words in self._x_ticks():
            x = area.left() + (value - self._x[0]) / (self._x[1] - self._x[0]) * area.width()
            painter.setPen(QPen(theme.colour("control"), 1))
            painter.drawLine(QPointF(round(x) + 0.5, base), QPointF(round(x) + 0.5, base - 2))
            if self.show_x:
                painter.setPen(ink)
                painter.drawText(QRectF(x - 60, base + 4, 120, 20), Qt.AlignmentFlag.AlignCenter, words)
        painter.save()
        painter.setClipRect(area.adjusted(-4, -4, 4, 4))
        self._draw_curves(painter)
        painter.restore()
        self._draw_marks(painter, base)
        self._draw_now(painter, area)

    def _height_of_axis(self, value: float) -> float:
        area, (low, high) = self.area(), self._y
        return area.bottom() - (value - low) / (high - low) * area.height()

    def _draw_curves(self, painter: QPainter) -> None:
        theme = self.theme
        for curve, bins in self._raws:
            ink = theme.colour("raw" if curve.tone == "accent" else curve.tone)
            if curve.tone != "accent":
                ink.setAlphaF(0.35)
            painter.setPen(QPen(ink, 1))
            self._polylines(painter, bins.x, bins.y)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for drawn in self._drawn:
            if drawn.spread is not None:
                self._band(painter, drawn)
        for drawn in sorted(self._drawn, key=lambda d: not d.curve.dashed):
            curve = drawn.curve
            style = Qt.PenStyle.DashLine if curve.dashed else Qt.PenStyle.DotLine if curve.dotted else Qt.PenStyle.SolidLine
            wide = 1.2 if curve.tone in ("text3", "text2") else 2.0
            pen = QPen(theme.colour(curve.tone), wide, style)
            pen.setJoinStyle(Qt.PenJoinStyle.BevelJoin)
            painter.setPen(pen)
            self._polylines(painter, drawn.x, drawn.y)
            if curve.dots and drawn.x.size <= 400:
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(theme.colour(curve.tone))
                for x, y in zip(self._places(drawn.x).tolist(), self._heights(drawn.y).tolist(), strict=True):
                    if math.isfinite(y):
                        painter.drawEllipse(QPointF(x, y), 3, 3)
                painter.setBrush(Qt.BrushStyle.NoBrush)

    def _band(self, painter: QPainter, drawn: _Drawn) -> None:
        assert drawn.spread is not None
        known = np.isfinite(drawn.y) & np.isfinite(drawn.spread)
        places = np.clip(self._places(drawn.x[known]), -5000.0, 20000.0).tolist()
        edges = [np.clip(self._heights(drawn.y[known] + side * drawn.spread[known]), -5000.0, 9000.0).tolist() for side in (1, -1)]
        ink = self.theme.colour(drawn.curve.tone)
        ink.setAlphaF(0.16)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(ink)
        painter.drawPolygon([*map(QPointF, places, edges[0]), *map(QPointF, reversed(places), reversed(edges[1]))])
        painter.setBrush(Qt.BrushStyle.NoBrush)

    def _polylines(self, painter: QPainter, x: Numbers, y: Numbers) -> None:
        """A line that breaks where y is missing; far-off values are brought near, so that no pixel is computed outside."""
        places, heights = self._places(x), self._heights(y)
        known = np.isfinite(heights)
        heights = np.clip(np.where(known, heights, 0.0), -5000.0, 9000.0)
        places = np.clip(places, -5000.0, 20000.0)
        points = list(map(QPointF, places.tolist(), heights.tolist()))
        cuts = np.flatnonzero(np.diff(np.concatenate(([0], known.astype(np.int8), [0]))))
        whole = painter.pen().style() != Qt.PenStyle.SolidLine  # dashes would start anew in each piece
        for a, b in zip(cuts[0::2].tolist(), cuts[1::2].tolist(), strict=True):
            if b - a == 1:
                painter.drawPoint(points[a])
            for start in range(a, b - 1, b if whole else PIECE):
                painter.drawPolyline(points[start:b if whole else min(b, start + PIECE + 1)])

    def _draw_marks(self, painter: QPainter, base: float) -> None:
        area = self.area()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        for mark in self.marks:
            x = self._place(self._mark_x(mark))
            if not area.left() - 1 <= x <= area.right() + 1:
                continue
            if mark.kind == "notice":
                painter.setBrush(self.theme.colour("warn"))
                painter.drawPolygon([QPointF(x - 4, area.top() - 2), QPointF(x + 4, area.top() - 2), QPointF(x, area.top() + 5)])
            else:
                painter.setBrush(self.theme.colour("accent" if mark.kind == "best" else "control"))
                painter.drawPolygon([QPointF(x, base - 4), QPointF(x + 3.5, base), QPointF(x, base + 4), QPointF(x - 3.5, base)])
        painter.setBrush(Qt.BrushStyle.NoBrush)

    def _mark_x(self, mark: Mark) -> float:
        first = next((c.series or c.steps for c in self.curves if (c.series or c.steps) is not None), None)
        return float(at_steps(first, np.array([mark.step]), self.x_kind)[0])

    def _draw_now(self, painter: QPainter, area: QRectF) -> None:
        if self.now is None:
            return
        here = self._place(self._mark_x(Mark(self.now, "now", "")))
        if not area.left() <= here <= area.right():
            return
        x = round(here) + 0.5
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.setPen(QPen(self.theme.colour("control"), 1, Qt.PenStyle.DashLine))
        painter.drawLine(QPointF(x, area.top() - self.theme.px(4)), QPointF(x, area.bottom()))
        if self.show_now_word:
            words, metrics = tr("now"), QFontMetricsF(self.theme.font("small"))
            wide = metrics.horizontalAdvance(words)
            left = x + 5 if x + 8 + wide < self.width() else x - 5 - wide
            painter.setPen(self.theme.colour("text2"))
            painter.drawText(QPointF(left, area.top() + metrics.ascent() + 2), words)

    show_now_word = True

    def _draw_over(self, painter: QPainter) -> None:
        """The selection being drawn, the readout's line and its values, the focus ring."""
        area = self.area()
        if self._drag:
            a, b = sorted(self._drag)
            ground = self.theme.colour("accent")
            ground.setAlphaF(0.15)
            painter.fillRect(QRectF(a, area.top(), b - a, area.height()), ground)
        elif self._point is not None and self._drawn:
            self._draw_readout(painter, area, self._point)
        if self.hasFocus() and self.ring:
            draw_ring(painter, QRectF(self.rect()), self.theme.colour("accent"))

    def _draw_readout(self, painter: QPainter, area: QRectF, at: float) -> None:
        x = self._place(at)
        if not area.left() - 1 <= x <= area.right() + 1:
            return
        theme = self.theme
        painter.setPen(QPen(theme.colour("text3"), 1))
        painter.drawLine(QLineF(round(x) + 0.5, area.top(), round(x) + 0.5, area.bottom()))
        head, lines = self.readout(at)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for drawn in self._drawn:
            if (y := _nearest(drawn.x, drawn.y, at)) is not None and math.isfinite(height := float(self._heights(np.array([y[1]]))[0])):
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(theme.colour(drawn.curve.tone))
                painter.drawEllipse(QPointF(self._place(y[0]), min(max(height, area.top()), area.bottom())), 3.5, 3.5)
        font, bold = theme.font("small"), theme.font("small_strong")
        plain, strong = QFontMetricsF(font), QFontMetricsF(bold)
        names = max((plain.horizontalAdvance(n) for n, _, _ in lines), default=0.0)
        values = max((strong.horizontalAdvance(v) for _, v, _ in lines), default=0.0)
        wide = max(strong.horizontalAdvance(head), names + values + theme.px(30)) + theme.px(24)
        tall = theme.px(20) * (len(lines) + 1) + theme.px(12)
        left = x + theme.px(12) if x + theme.px(16) + wide < self.width() else x - theme.px(12) - wide
        box = QRectF(max(2.0, left), area.top() + theme.px(4), wide, min(tall, area.height()))
        painter.setPen(QPen(theme.colour("control"), 1))
        painter.setBrush(theme.colour("surface"))
        painter.drawRoundedRect(box, 6, 6)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        line = QRectF(box.left() + theme.px(12), box.top() + theme.px(6), wide - theme.px(24), theme.px(20))
        middle = Qt.AlignmentFlag.AlignVCenter
        painter.setFont(bold)
        painter.setPen(theme.colour("text"))
        painter.drawText(line, middle, head)
        for name, value, tone in lines:
            line.translate(0, theme.px(20))
            if line.bottom() > box.bottom():
                break
            painter.setPen(QPen(theme.colour(tone), 2))
            painter.drawLine(QPointF(line.left(), line.center().y()), QPointF(line.left() + theme.px(12), line.center().y()))
            painter.setFont(font)
            painter.setPen(theme.colour("text2"))
            painter.drawText(line.adjusted(theme.px(20), 0, 0, 0), middle, name)
            painter.setFont(bold)
            painter.setPen(theme.colour("text"))
            painter.drawText(line, middle | Qt.AlignmentFlag.AlignRight, value)

    # the readout ------------------------------------------------------------------------------------------------------

    def readout(self, at: float) -> tuple[str, list[tuple[str, str, str]]]:
        """(where, [(curve, value, tone)]) at the data nearest to x."""
        lines: list[tuple[str, str, str]] = []
        where = at
        for curve, _ in self._raws:
            x, y = self._columns(curve)
            if (found := _nearest(x, y, at)) is not None:
                where = found[0]
                lines.append((tr("{curve}, this step", curve=curve.name), value_words(found[1], curve.unit),
                              "raw" if curve.tone == "accent" else curve.tone))
        for drawn in self._drawn:
            if (found := _nearest(drawn.x, drawn.y, at)) is not None:
                name = drawn.curve.name
                if drawn.curve.series is not None and drawn.curve.raw:
                    name = tr("smoothed {beta}", beta=f"{self.smoothing:.2f}")
                elif not self._raws and drawn.curve.dots:
                    where = found[0]
                lines.append((name, value_words(found[1], drawn.curve.unit), drawn.curve.tone))
        return self.x_words(where), lines

    def x_words(self, x: float) -> str:
        if self.x_kind == "tokens":
            return tr("{tokens} tokens", tokens=count(x))
        if self.x_kind == "elapsed":
            return tr("after {time}", time=chart_data.short_time(x))
        return tr("Step {step}", step=number(round(x)))

    def _move_point(self, x: float | None) -> None:
        self.point_at(x)
        self.pointed.emit(x)
        if x is not None:
            head, lines = self.readout(x)
            self.setAccessibleDescription(head + ": " + ", ".join(f"{name} {value}" for name, value, _ in lines))

    # pointer and keys -------------------------------------------------------------------------------------------------

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        area, x = self.area(), event.position().x()
        if self._drag:
            self._drag = (self._drag[0], min(max(x, area.left()), area.right()))
            self.update()
        elif area.left() <= x <= area.right():
            self._move_point(self._value(x))
        else:
            self._move_point(None)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self.area().left() <= event.position().x() <= self.area().right():
            self._drag = (event.position().x(), event.position().x())
            self.setFocus(Qt.FocusReason.MouseFocusReason)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        drag, self._drag = self._drag, None
        if drag and abs(drag[1] - drag[0]) > 4:
            a, b = sorted(drag)
            self.zoom((self._value(a), self._value(b)))
        self.update()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self._drag = None
        self.zoom(None)

    def leaveEvent(self, event: QEvent) -> None:
        if not self.hasFocus() or not self.ring:
            self._move_point(None)

    def wheelEvent(self, event: QWheelEvent) -> None:
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._zoom_by(0.8 if event.angleDelta().y() > 0 else 1.25, self._value(event.position().x()))
        else:
            event.ignore()

    def _zoom_by(self, factor: float, around: float) -> None:
        low, high = (self._value(self.area().left()), self._value(self.area().right()))
        whole = self._whole()
        made = (max(whole[0], around - (around - low) * factor), min(whole[1], around + (high - around) * factor))
        self.zoom(None if made[0] <= whole[0] and made[1] >= whole[1] else made if made[1] - made[0] > 1e-9 else self.view)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        area, key = self.area(), event.key()
        here = self._place(self._point) if self._point is not None else (self._place(self.now) if self.now is not None else area.right())
        far = 10 if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else 1
        pixel = max(1.0, area.width() / 300)
        moves: dict[int, Callable[[], float]] = {
            Qt.Key.Key_Left: lambda: here - far * pixel, Qt.Key.Key_Right: lambda: here + far * pixel,
            Qt.Key.Key_Home: area.left, Qt.Key.Key_End: area.right}
        if key in moves:
            self._move_point(self._value(min(max(moves[key](), area.left()), area.right())))
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self._zoom_by(0.5, self._value(here))
        elif key == Qt.Key.Key_Minus:
            self._zoom_by(2.0, self._value(here))
        elif key == Qt.Key.Key_0:
            self.zoom(None)
        elif key == Qt.Key.Key_Escape and (self._point is not None or self.view is not None):
            if self._point is not None:
                self._move_point(None)
            else:
                self.zoom(None)
        else:
            super().keyPressEvent(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self._move_point(None)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._stale:
            self._timer.start(0)

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._timer.stop()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._picture = None


def at_steps(series: Series | None, steps: Numbers, x_kind: str) -> Numbers:
    """Steps as x of another axis, by the rows of a series."""
    if x_kind == "step":
        return steps
    if series is None or not series.length:
        return np.full(steps.size, np.nan)
    known, values = series.column("step"), series.column(x_kind)
    if not values.size:
        return np.full(steps.size, np.nan)
    places = np.clip(np.searchsorted(known, steps), 0, known.size - 1)
    made: Numbers = np.where(steps <= 0, 0.0, values[places])
    return made


def _inside(x: Numbers, y: Numbers, view: tuple[float, float], log_x: bool) -> Numbers:
    low, high = (10 ** view[0], 10 ** view[1]) if log_x else view
    return y[(x >= low) & (x <= high)]


def _nearest(x: Numbers, y: Numbers, at: float) -> tuple[float, float] | None:
    """The point whose x is nearest; None without data there or when it is missing."""
    size = min(x.size, y.size)
    if not size:
        return None
    place = int(np.clip(np.searchsorted(x[:size], at), 0, size - 1))
    if place and abs(x[place - 1] - at) < abs(x[place] - at):
        place -= 1
    return (float(x[place]), float(y[place])) if not math.isnan(y[place]) else None


def value_words(value: float, unit: str) -> str:
    """A value with three or four figures and its unit."""
    words = significant(value, 4 if abs(value) >= 1 else 3)
    return f"{words} {unit}".strip()


