"""A slider for a share between two ends, and the small curve of what a threshold finds. They know nothing of what is compared."""

from collections.abc import Callable, Sequence

from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QWheelEvent
from PySide6.QtWidgets import QSlider

from desktop.theme.palette import mix
from desktop.theme.theme import Theme
from desktop.widgets.painted import Painted
from engine.contract.units import number, percent
from engine.contract.words import tr

STEPS = 100


class ThresholdSlider(QSlider):
    """Hundredths from `low` to `high`. `value()` and `set()` as every field has them (`value()` in shares); `changed` when moved by a
    person. `ends`: words under the two ends."""

    changed = Signal()

    def __init__(self, theme: Theme, value: float, low: float, high: float, *, name: str, ends: tuple[str, str] = ("", "")) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.theme, self.low, self.high, self._name, self._ends = theme, low, high, name, ends
        self._loading = False
        self._given = value
        self.setRange(round(low * STEPS), round(high * STEPS))
        self.setSingleStep(1)
        self.setPageStep(5)
        self.setFixedHeight(theme.px(48))
        self.setAccessibleDescription(", ".join(e for e in ends if e))
        self.valueChanged.connect(self._moved)
        theme.changed.connect(self.update)
        self.set(value)

    def value(self) -> float:  # type: ignore[override]
        """A value that was loaded and not moved comes back exactly as it was."""
        return self._given if round(self._given * STEPS) == super().value() else super().value() / STEPS

    def set(self, value: float) -> None:
        self._loading, self._given = True, float(value)
        self.setValue(round(float(value) * STEPS))
        self._loading = False
        self._speak()
        self.update()

    def _moved(self) -> None:
        self._speak()
        if not self._loading:
            self.changed.emit()

    def _speak(self) -> None:
        self.setAccessibleName(f"{self._name}: {number(self.value(), 2)}")

    def _edge(self) -> int:
        return self.theme.px(10)

    def _at(self, value: float) -> float:
        return self._edge() + (value - self.low) / (self.high - self.low) * (self.width() - 2 * self._edge())

    def _pull(self, x: float) -> None:
        share = (x - self._edge()) / max(1, self.width() - 2 * self._edge())
        self.setValue(round((self.low + min(1.0, max(0.0, share)) * (self.high - self.low)) * STEPS))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.setSliderDown(True)
            self._pull(event.position().x())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self.isSliderDown():
            self._pull(event.position().x())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self.setSliderDown(False)

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()  # scrolling a page must not change a setting on the way

    def keyPressEvent(self, event: QKeyEvent) -> None:
        super().keyPressEvent(event)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        t, px, painter = self.theme, self.theme.px, QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        y, here, usable = px(12), self._at(self.value()), self.isEnabled()
        for colour, end in ((mix(t["control"], t["surface"], 0.45), self._at(self.high)), (t["accent" if usable else "control"], here)):
            painter.setPen(QPen(QColor(colour), 4, c=Qt.PenCapStyle.RoundCap))
            painter.drawLine(QPointF(self._at(self.low), y), QPointF(end, y))
        painter.setFont(t.font("small"))
        painter.setPen(t.colour("text2"))
        half, line = self.width() / 2, QRectF(0, px(26), self.width() / 2, px(18))
        painter.drawText(line, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, self._ends[0])
        painter.drawText(line.translated(half, 0), Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, self._ends[1])
        painter.setPen(QPen(t.colour("accent" if usable else "control"), 4 if self.hasFocus() else 2))
        painter.setBrush(t.colour("surface"))
        painter.drawEllipse(QPointF(here, y), px(8.5), px(8.5))
        painter.end()


class FoundCurve(Painted):
    """How likely two things are found (up) that are so alike (along): a curve from 0 to 1, the threshold as a line.
    `set(curve, threshold)`; `curve` gives the chance for a similarity."""

    def __init__(self, theme: Theme, height: int = 168) -> None:
        super().__init__(theme, 200, height)
        self._curve: Sequence[tuple[float, float]] = ()
        self.threshold = 0.7

    def set(self, curve: Callable[[float], float], threshold: float) -> None:
        self._curve = [(i / STEPS, curve(i / STEPS)) for i in range(STEPS + 1)]
        self.threshold = threshold
        at = next((chance for alike, chance in self._curve if alike >= threshold), 0.0)
        self.setAccessibleName(tr("Of pairs with similarity {alike}, {share} are found", alike=number(threshold, 2), share=percent(at, 1)))
        self.update()

    def draw(self, painter: QPainter, rect: QRectF) -> None:
        t, px = self.theme, self.theme.px
        box = QRectF(px(40), px(6), rect.width() - px(52), rect.height() - px(28))
        painter.setFont(t.font("small"))
        for share in (0.0, 0.5, 1.0):
            y = box.bottom() - share * box.height()
            painter.setPen(QPen(t.colour("grid" if share else "control"), 1))
            painter.drawLine(QPointF(box.left(), y), QPointF(box.right(), y))
            painter.setPen(t.colour("text2"))
            painter.drawText(QRectF(0, y - px(9), px(36), px(18)), Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter,
                             percent(share))
        for alike in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
            x = box.left() + alike * box.width()
            painter.drawText(QRectF(x - px(20), box.bottom() + px(4), px(40), px(18)), Qt.AlignmentFlag.AlignCenter, number(alike, 1))
        x = box.left() + self.threshold * box.width()
        painter.setPen(QPen(t.colour("text2"), 1, Qt.PenStyle.DashLine))
        painter.drawLine(QPointF(x, box.top()), QPointF(x, box.bottom()))
        if self._curve:
            painter.setPen(QPen(t.colour("accent"), 2, c=Qt.PenCapStyle.RoundCap, j=Qt.PenJoinStyle.RoundJoin))
            painter.drawPolyline([QPointF(box.left() + a * box.width(), box.bottom() - c * box.height()) for a, c in self._curve])
