"""Small measures that draw themselves: progress and memory (Bar), a curve without axes (Sparkline), a legend's line."""

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen
from PySide6.QtWidgets import QWidget

from desktop.theme.palette import mix
from desktop.theme.theme import Theme
from desktop.widgets.layout import row
from desktop.widgets.painted import Painted
from desktop.widgets.text import small
from engine.contract.units import percent


class Bar(Painted):
    """A thin measure: `share` filled (0 to 1), and a paler `ghost` share behind it. The words beside it say the same."""

    def __init__(self, theme: Theme, share: float = 0.0, tone: str = "accent", height: int = 6, ghost: float = 0.0, name: str = "") -> None:
        super().__init__(theme, 24, height)
        self.share, self.tone, self.ghost, self._name = share, tone, ghost, name
        self.set(share, ghost)

    def set(self, share: float, ghost: float = 0.0, tone: str = "") -> None:
        self.share, self.ghost, self.tone = min(1.0, max(0.0, share)), min(1.0, max(0.0, ghost)), tone or self.tone
        self.setAccessibleName(f"{self._name} {percent(self.share)}".strip())
        self.update()

    def draw(self, painter: QPainter, rect: QRectF) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        track = mix(self.theme["control"], self.theme["surface"], 0.28)
        for share, ink in ((1.0, track), (self.ghost, self.theme["raw"]), (self.share, self.theme[self.tone])):
            if share > 0:
                painter.setBrush(QColor(ink))
                painter.drawRoundedRect(QRectF(0, 0, max(rect.height(), rect.width() * share), rect.height()), rect.height() / 2,
                                        rect.height() / 2)


def legend(theme: Theme, *lines: tuple[str, str, bool]) -> QWidget:
    """Named lines above a chart, never a box on it: (words, token, dashed)."""
    return row(*[row(LegendLine(theme, tone, dashed), small(words), gap=6) for words, tone, dashed in lines], gap=16)


class LegendLine(Painted):
    def __init__(self, theme: Theme, tone: str, dashed: bool) -> None:
        super().__init__(theme, 18, 12)
        self.tone, self.dashed = tone, dashed
        self.setFixedWidth(theme.px(18))

    def draw(self, painter: QPainter, rect: QRectF) -> None:
        painter.setPen(QPen(self.theme.colour(self.tone), 2, Qt.PenStyle.DashLine if self.dashed else Qt.PenStyle.SolidLine))
        painter.drawLine(QPointF(rect.left(), rect.center().y()), QPointF(rect.right(), rect.center().y()))


class Sparkline(Painted):
    """A curve without axes, beside words that say its ends. `set(values)` takes any sequence; 200 points are drawn at most."""

    def __init__(self, theme: Theme, width: int = 176, height: int = 44, tone: str = "accent", name: str = "") -> None:
        super().__init__(theme, width, height)
        self.setFixedWidth(theme.px(width))
        self.tone, self.values = tone, []
        self.setAccessibleName(name)

    def set(self, values: Sequence[float]) -> None:
        stride = max(1, len(values) // 200)
        self.values = [float(v) for v in values[::stride]]
        if len(values) and stride > 1:
            self.values.append(float(values[-1]))
        self.update()

    def draw(self, painter: QPainter, rect: QRectF) -> None:
        if len(self.values) < 2:
            return
        low, high = min(self.values), max(self.values)
        tall, span = rect.height() - 4, (high - low) or 1.0
        step = (rect.width() - 4) / (len(self.values) - 1)
        painter.setPen(QPen(self.theme.colour(self.tone), 2, c=Qt.PenCapStyle.RoundCap, j=Qt.PenJoinStyle.RoundJoin))
        painter.drawPolyline([QPointF(2 + i * step, 2 + tall * (high - v) / span) for i, v in enumerate(self.values)])
