"""The report of a finished tuning: what was measured before and after, the same questions before and after, and the facts; where it learned
from answers of its own also the last of these with their rewards."""

from collections.abc import Sequence

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QFontMetricsF, QPainter, QPen
from PySide6.QtWidgets import QWidget

from desktop.models.moved import FAR, Measure
from desktop.theme.theme import Theme
from desktop.widgets.before_now import BeforeNow
from desktop.widgets.buttons import Segments
from desktop.widgets.facts import Facts
from desktop.widgets.flexible import Beside
from desktop.widgets.layout import col, row
from desktop.widgets.painted import Painted
from desktop.widgets.panel import Panel
from desktop.widgets.run_panel import Heard, Part
from desktop.widgets.text import Text, small
from engine.contract.units import significant
from engine.contract.words import tr
from engine.project.run_state import RunState

SIDE = 328
TALL = 44


class Moved(Painted):
    """A value before and after on one line: a hollow dot, an arrow, a full dot, with their numbers; zero (or one half) is marked."""

    def __init__(self, theme: Theme, measure: Measure) -> None:
        super().__init__(theme, 104, TALL)
        self.measure = measure
        self.setAccessibleName(tr("{title}: {before} before, {after} after", title=measure.title, before=measure.words(measure.before),
                                  after=measure.words(measure.after)))

    def sizeHint(self) -> QSize:
        return QSize(self.theme.px(220), self.theme.px(TALL))

    def draw(self, painter: QPainter, rect: QRectF) -> None:
        theme, px, made = self.theme, self.theme.px, self.measure
        low, high = (0.0, 1.0) if made.share else (min(0.0, made.before, made.after), max(0.0, made.before, made.after))
        high = high if high > low else low + 1.0
        metrics = QFontMetricsF(theme.font("small"))
        left, right, y = px(20), rect.width() - px(20), px(14)

        def at(value: float) -> float:
            return left + (right - left) * (value - low) / (high - low)
        painter.setFont(theme.font("small"))
        painter.setPen(QPen(theme.colour("line"), px(2)))
        painter.drawLine(int(left), int(y), int(right), int(y))
        mark = 0.5 if made.share else 0.0
        painter.setPen(QPen(theme.colour("text3"), 1, Qt.PenStyle.DashLine))
        painter.drawLine(int(at(mark)), int(y - px(8)), int(at(mark)), int(y + px(8)))
        tone = theme.colour("warn" if made.good is False else "accent")
        painter.setPen(QPen(tone, px(3), c=Qt.PenCapStyle.RoundCap))
        painter.drawLine(int(at(made.before)), int(y), int(at(made.after)), int(y))
        for value, full in ((made.before, False), (made.after, True)):
            painter.setPen(QPen(theme.colour("text2") if not full else tone, px(2)))
            painter.setBrush(tone if full else theme.colour("surface"))
            painter.drawEllipse(QRectF(at(value) - px(5), y - px(5), px(10), px(10)))
        words = [(made.before, made.words(made.before), "text2"), (made.after, made.words(made.after), "text")]
        places = [at(value) for value, _, _ in words]
        wide = [metrics.horizontalAdvance(w) for _, w, _ in words]
        starts = [min(max(p - w / 2, 0.0), rect.width() - w) for p, w in zip(places, wide, strict=True)]
        first, second = (0, 1) if places[0] <= places[1] else (1, 0)
        if starts[first] + wide[first] + px(8) > starts[second]:  # they would run into one another
            middle = (places[0] + places[1]) / 2
            starts[first] = min(max(0.0, middle - wide[first] - px(4)), rect.width() - wide[0] - wide[1] - px(8))
            starts[second] = starts[first] + wide[first] + px(8)
        for (_, text, ink), start in zip(words, starts, strict=True):
            painter.setPen(theme.colour(ink))
            painter.drawText(QRectF(start, y + px(10), metrics.horizontalAdvance(text) + 2, metrics.height()), 0, text)


class Report(QWidget):
    """Of a run that is done. What was not measured is not shown. `told`: the rest as names and values; `kl`: nats an answer from where it
    started; `how`: how it was measured, below the measures; `rollouts`: its own answers with their rewards."""

    def __init__(self, theme: Theme, state: RunState, measures: Sequence[Measure], told: Sequence[tuple[str, str]], *,
                 kl: float | None = None, how: str = "", rollouts: Heard | None = None) -> None:
        super().__init__()
        self.measures = list(measures)
        cells = [self._cell(theme, m) for m in self._most(kl is not None)]
        if kl is not None:
            tone = "warn" if float(kl) >= FAR else ""
            cells.append(col(Text("KL", "section"), row(Text(significant(float(kl), 2), "title", tone), small(tr("nats")), "+", gap=6), "+",
                             small(tr("an answer, from where it started"), "text3", elide=True), gap=2))
        heads = Panel(row(*[(c, 1) for c in cells], gap=24), small(how, "text3", wrap=True) if how else None, pad=(16, 12, 16, 10),
                      gap=6) if cells else None
        self.answers = BeforeNow(theme, beside=True, finished=True, whole=True)
        self.answers.set(state.samples)
        title = Text(tr("The same questions before and after"), "section")
        self.what = Segments(theme, (("same", tr("Before and after")), ("rewards", tr("With rewards"))), "same",
                             name=tr("Which answers"), on_change=self._show) if rollouts is not None else None
        body = Part()
        self._parts = body.parts
        self._parts.addWidget(self.answers)
        if rollouts is not None:
            rollouts.refresh(state)
            self._parts.addWidget(rollouts)
        head = row(title, (small(tr("likeliest tokens"), elide=True), 1), self.what, gap=10, pad=(0, 0, 8, 0))
        self._title = title
        heard = Panel(head, (body, 1), pad=(16, 12, 8, 12), gap=8)
        heard.setMinimumHeight(theme.px(150))
        side = Panel(Text(tr("What was trained"), "section"), Facts(list(told), gap=6, elide=True), "+", pad=(16, 12, 16, 12), gap=8)
        col((Beside(theme, col(heads, (heard, 1), gap=12), side, side_width=SIDE, least=260), 1), gap=0, host=self)

    def _most(self, beside: bool) -> list[Measure]:
        """Those there is room for: what was learned, then what may have been forgotten."""
        forgotten = [m for m in self.measures if m.key == "general_bpb"]
        return [*[m for m in self.measures if m.key != "general_bpb"][:2 if beside or forgotten else 3], *forgotten]

    def _cell(self, theme: Theme, m: Measure) -> QWidget:
        moved = small(m.change, "ok" if m.good else "warn" if m.good is False else "text2")
        return col(Text(m.title, "section", elide=True), Moved(theme, m),
                   row((small(", ".join(w for w in (m.unit, m.what) if w), "text3", elide=True), 1), moved, gap=8), gap=2)

    def _show(self, what: str) -> None:
        self._title.set(tr("The same questions before and after") if what == "same" else tr("What it was trained on"))
        self._parts.setCurrentIndex(("same", "rewards").index(what))
