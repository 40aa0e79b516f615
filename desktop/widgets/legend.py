"""The names of a chart's lines, above it and never in a box on it. What does not fit is counted, or wrapped below where there is room."""

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetricsF, QPainter, QPen
from PySide6.QtWidgets import QSizePolicy

from desktop.theme.theme import Theme
from desktop.widgets.painted import Painted

Line = tuple[str, str, bool]  # words, token of the palette, dashed
MARK, NEAR, GAP, TALL = 18, 6, 16, 18


class Legend(Painted):
    """`set([(words, token, dashed)])`. `wrap`: as many rows as it takes; else one row, and "+3" for those that have no room."""

    def __init__(self, theme: Theme, wrap: bool = False) -> None:
        super().__init__(theme)
        self.wrap = wrap
        self.lines: list[Line] = []
        policy = QSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(wrap)
        self.setSizePolicy(policy)

    def set(self, lines: list[Line]) -> None:
        if lines != self.lines:
            self.lines = lines
            self.setAccessibleName(", ".join(words for words, _, _ in lines))
            self.setToolTip("\n".join(words for words, _, _ in lines))
            self.updateGeometry()
            self.update()

    def _places(self, width: float) -> list[tuple[float, int]]:
        """(x, row) of each line; in one row those beyond the width are left out."""
        metrics, px, x, row, found = QFontMetricsF(self.theme.font("small")), self.theme.px, 0.0, 0, []
        for words, _, _ in self.lines:
            wide = px(MARK + NEAR) + metrics.horizontalAdvance(words)
            if x and x + wide > width:
                if not self.wrap:
                    break
                x, row = 0.0, row + 1
            elif not x and wide > width and not self.wrap:
                break
            found.append((x, row))
            x += wide + px(GAP)
        return found

    def sizeHint(self) -> QSize:
        return QSize(self.theme.px(120), self.heightForWidth(max(self.width(), self.theme.px(120))))

    def minimumSizeHint(self) -> QSize:
        return QSize(0, self.theme.px(TALL))

    def heightForWidth(self, width: int) -> int:
        rows = max((row for _, row in self._places(width)), default=0) + 1 if self.wrap else 1
        return rows * self.theme.px(TALL)

    def draw(self, painter: QPainter, rect: QRectF) -> None:
        theme, px = self.theme, self.theme.px
        painter.setFont(theme.font("small"))
        metrics, tall = QFontMetricsF(theme.font("small")), px(TALL)
        middle, end = Qt.AlignmentFlag.AlignVCenter, 0.0
        top = 0.0 if self.wrap else (rect.height() - tall) / 2
        places = self._places(rect.width())
        for (words, token, dashed), (x, row) in zip(self.lines, places, strict=False):
            y = top + row * tall + tall / 2
            painter.setPen(QPen(theme.colour(token), 2, Qt.PenStyle.DashLine if dashed else Qt.PenStyle.SolidLine))
            painter.drawLine(QPointF(x, y), QPointF(x + px(MARK), y))
            painter.setPen(theme.colour("text2"))
            wide = metrics.horizontalAdvance(words)
            painter.drawText(QRectF(x + px(MARK + NEAR), y - tall / 2, wide + 2, tall), middle, words)
            end = x + px(MARK + NEAR) + wide + px(GAP)
        if len(places) < len(self.lines):
            painter.setPen(theme.colour("text2"))
            painter.drawText(QRectF(end, top, px(40), tall), middle, f"+{len(self.lines) - len(places)}")
