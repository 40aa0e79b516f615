"""The size dial: one slider for the whole design; each stop has its parameters and its time here, and what does not fit says so."""

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSlider

from desktop.theme.palette import mix
from desktop.theme.theme import Theme
from engine.contract.words import tr

EDGE = 40


class SizeDial(QSlider):
    """`stops`: (size, time) words; from index `limit` on they do not fit this machine, yet can be chosen (the page says why not)."""

    def __init__(self, theme: Theme, stops: Sequence[tuple[str, str]], value: int = 0, limit: int | None = None, name: str = "") -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.theme = theme
        self.setFixedHeight(theme.px(68))
        self._name = name or tr("Model size")
        self.setPageStep(1)
        self.set_stops(stops, limit)
        self.setValue(value)
        self.valueChanged.connect(self._speak)
        theme.changed.connect(self.update)

    def set_stops(self, stops: Sequence[tuple[str, str]], limit: int | None = None) -> None:
        """Other words under the stops (a new measurement); the value stays where it can."""
        self.stops, self.limit = list(stops), len(stops) if limit is None else limit
        self.setRange(0, len(self.stops) - 1)
        self._speak()
        self.update()

    def _speak(self) -> None:
        self.setAccessibleName(f"{self._name}: {', '.join(self.stops[self.value()])}")

    def _at(self, index: int) -> float:
        edge = self.theme.px(EDGE)
        return edge + index * (self.width() - 2 * edge) / max(1, len(self.stops) - 1)

    def _nearest(self, x: float) -> int:
        return min(range(len(self.stops)), key=lambda i: abs(self._at(i) - x))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.setSliderDown(True)
            self.setValue(self._nearest(event.position().x()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self.isSliderDown():
            self.setValue(self._nearest(event.position().x()))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self.setSliderDown(False)

    def paintEvent(self, event: QPaintEvent) -> None:
        t, px, painter = self.theme, self.theme.px, QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        y, at = px(12), [self._at(i) for i in range(len(self.stops))]
        here, fits = at[self.value()], min(self.limit, len(at))
        if fits < len(at):
            stop = (at[fits] + at[fits - 1]) / 2 if fits else at[0]
            painter.setPen(QPen(t.colour("control"), 1.6, Qt.PenStyle.DotLine))
            painter.drawLine(QPointF(stop + 6, y), QPointF(at[-1], y))
        else:
            stop = at[-1]
        track = QColor(mix(t["control"], t["surface"], 0.45))
        for colour, end in ((track, stop), (t.colour("accent"), min(here, stop))):
            if end > at[0]:
                painter.setPen(QPen(colour, 4, c=Qt.PenCapStyle.RoundCap))
                painter.drawLine(QPointF(at[0], y), QPointF(end, y))
        for i, (x, (size, time)) in enumerate(zip(at, self.stops, strict=True)):
            chosen = i == self.value()
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(t.colour("accent" if x <= here else "control"))
            painter.drawEllipse(QPointF(x, y), 3, 3)
            painter.setFont(t.font("strong" if chosen else "small"))
            painter.setPen(t.colour("text" if chosen else "text3" if i >= self.limit else "text2"))
            for top, words in ((28, size), (46, time)):
                painter.drawText(QRectF(x - px(56), px(top), px(112), px(18)), Qt.AlignmentFlag.AlignCenter, words)
        painter.setPen(QPen(t.colour("accent"), 4 if self.hasFocus() else 2))
        painter.setBrush(t.colour("surface"))
        painter.drawEllipse(QPointF(here, y), px(8.5), px(8.5))
        painter.end()
