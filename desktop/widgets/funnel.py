"""A funnel: what was there, what each step took away and why, what is left. Rows are bars with their numbers; a row with something to see
opens it."""

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QPaintEvent
from PySide6.QtWidgets import QAbstractButton, QSizePolicy, QWidget

from desktop.theme.palette import mix
from desktop.theme.theme import Theme
from desktop.widgets.layout import clear, col
from desktop.widgets.painted import KeyboardRing, draw_ring
from engine.contract.units import MINUS, number
from engine.contract.words import tr


@dataclass(frozen=True)
class FunnelRow:
    """`left` after the step, `removed` by it (0: shown without a number), `note` why; `strong` are the first and the last row. `opens`
    says that there is something to be read behind it."""

    id: str
    title: str
    left: int
    removed: int = 0
    note: str = ""
    strong: bool = False
    opens: bool = False
    tip: str = ""


HEIGHT, GAP = 28, 16
BAR_SHARE, BAR_LEAST = 0.215, 72


class _Columns:
    """Where the columns stand at a width: name, bar, left, removed, note. Wide enough for their words, the note takes what is left."""

    def __init__(self, theme: Theme) -> None:
        self.theme = theme
        self.name = self.left = self.removed = 0

    def measure(self, rows: Sequence[FunnelRow]) -> None:
        body, strong = QFontMetrics(self.theme.font("body")), QFontMetrics(self.theme.font("strong"))
        small = QFontMetrics(self.theme.font("small"))
        self.name = max([(strong if r.strong else body).horizontalAdvance(r.title) for r in rows] + [small.horizontalAdvance(tr("Step"))])
        self.left = max([strong.horizontalAdvance(number(r.left)) for r in rows] + [0])
        self.removed = max([strong.horizontalAdvance(MINUS + number(r.removed)) for r in rows] + [small.horizontalAdvance(tr("Removed"))])

    def at(self, width: float) -> list[tuple[float, float]]:
        """(left, width) of the five columns. Where it is narrow the note goes, then the name is cut."""
        gap = self.theme.px(GAP)
        bar = max(self.theme.px(BAR_LEAST), width * BAR_SHARE)
        rest = width - bar - self.left - self.removed - 3 * gap
        name = min(self.name + 2.0, max(self.theme.px(96), rest))
        note = max(0.0, rest - name - gap)
        note = note if note >= self.theme.px(56) else 0.0
        made, x = [], 0.0
        for size in (name, bar, float(self.left), float(self.removed), note):
            made.append((x, size))
            x += size + gap
        return made


class _Row(KeyboardRing, QAbstractButton):
    def __init__(self, theme: Theme, row: FunnelRow, first: int, columns: _Columns) -> None:
        super().__init__()
        self.theme, self.row, self._first, self._columns, self._over = theme, row, max(1, first), columns, False
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(theme.px(HEIGHT))
        self.setEnabled(row.opens)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus if row.opens else Qt.FocusPolicy.NoFocus)
        if row.opens:
            self.setCursor(Qt.CursorShape.PointingHandCursor)
        words = [row.title, tr("{count} left", count=number(row.left))]
        if row.removed:
            words.append(tr("{count} removed", count=number(row.removed)))
        self.setAccessibleName(", ".join([*words, row.note] if row.note else words))
        self.setToolTip(row.tip)
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        return QSize(self.theme.px(320), self.theme.px(HEIGHT))

    def enterEvent(self, event) -> None:
        self._over = True
        self.update()

    def leaveEvent(self, event) -> None:
        self._over = False
        self.update()

    def keyPressEvent(self, event) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and not event.isAutoRepeat():
            self.click()
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        t, row, painter = self.theme, self.row, QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self._over and row.opens:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(t.colour("sunken"))
            painter.drawRoundedRect(QRectF(self.rect()), 6, 6)
        edge = t.px(8)
        name, bar, left, removed, note = self._columns.at(self.width() - 2 * edge)

        def write(place: tuple[float, float], words: str, role: str, tone: str, right: bool = False) -> None:
            font = t.font(role)
            painter.setFont(font)
            painter.setPen(t.colour(tone))
            shown = QFontMetrics(font).elidedText(words, Qt.TextElideMode.ElideRight, int(place[1]) + 2)
            side = Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignLeft
            painter.drawText(QRectF(edge + place[0], 0, place[1] + 2, self.height()), side | Qt.AlignmentFlag.AlignVCenter, shown)
        write(name, row.title, "strong" if row.strong else "body", "text")
        write(left, number(row.left), "strong" if row.strong else "body", "text", right=True)
        if row.removed:
            write(removed, MINUS + number(row.removed), "strong", "text", right=True)
        if note[1]:
            write(note, row.note, "small", "text2")
        self._bar(painter, edge + bar[0], bar[1])
        if self.hasFocus() and self.ring:
            draw_ring(painter, QRectF(self.rect()), t.colour("accent"), 6)
        painter.end()

    def _bar(self, painter: QPainter, x: float, width: float) -> None:
        t, row = self.theme, self.row
        height, track = t.px(10), mix(t["control"], t["surface"], 0.28)
        top = (self.height() - height) / 2
        painter.setPen(Qt.PenStyle.NoPen)
        for share, ink in ((1.0, track), ((row.left + row.removed) / self._first, mix(t["control"], t["surface"], 0.55)),
                           (row.left / self._first, t["accent"])):
            if share > 0:
                painter.setBrush(QColor(ink))
                painter.drawRoundedRect(QRectF(x, top, max(height, width * min(1.0, share)), height), height / 2, height / 2)


class _Head(QWidget):
    def __init__(self, theme: Theme, columns: _Columns) -> None:
        super().__init__()
        self.theme, self._columns = theme, columns
        self.setFixedHeight(theme.px(24))
        theme.changed.connect(self.update)

    def paintEvent(self, event: QPaintEvent) -> None:
        t, painter, edge = self.theme, QPainter(self), self.theme.px(8)
        name, bar, left, removed, _ = self._columns.at(self.width() - 2 * edge)
        painter.setFont(t.font("small"))
        painter.setPen(t.colour("text2"))
        begin, end = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight
        for place, width, side, words in ((name[0], name[1], begin, tr("Step")), (bar[0], bar[1] + left[1], begin, tr("Documents left")),
                                          (removed[0], removed[1], end, tr("Removed"))):
            painter.drawText(QRectF(edge + place, 0, width + 2, self.height()), side, words)
        painter.end()


class Funnel(QWidget):
    """`set(rows)`: the first row's `left` is the full bar. `opened(id)` when a row that opens is pressed."""

    opened = Signal(str)

    def __init__(self, theme: Theme, name: str) -> None:
        super().__init__()
        self.theme = theme
        self._columns = _Columns(theme)
        self.rows: list[_Row] = []
        self._shown: list[FunnelRow] = []
        self._name = name
        self._lines = col(gap=0)
        col(_Head(theme, self._columns), self._lines, gap=0, host=self)

    def set(self, rows: Sequence[FunnelRow]) -> None:
        if list(rows) == self._shown:
            return
        self._shown = list(rows)
        self._columns.measure(rows)
        clear(self._lines.layout())
        first = rows[0].left if rows else 0
        self.rows = [_Row(self.theme, row, first, self._columns) for row in rows]
        for line in self.rows:
            line.clicked.connect(lambda _=False, id=line.row.id: self.opened.emit(id))
            self._lines.layout().addWidget(line)
        if rows:
            self.setAccessibleName(tr("{name}: {first} at first, {last} left", name=self._name, first=number(first),
                                      last=number(rows[-1].left)))
        self.update()
