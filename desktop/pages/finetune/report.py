"""The report of a finished run: what was measured before and after as a small chart, the same questions before and after, and the facts."""

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QFontMetricsF, QPainter
from PySide6.QtWidgets import QWidget

from desktop.models.finetune_report import Change, changes, facts, outcome_of
from desktop.theme.theme import Theme
from desktop.widgets.before_now import BeforeNow
from desktop.widgets.facts import Facts
from desktop.widgets.flexible import Beside, Poured
from desktop.widgets.layout import Scroll, col, row
from desktop.widgets.painted import Painted
from desktop.widgets.panel import Panel
from desktop.widgets.text import Text, small
from engine.contract.units import significant
from engine.contract.words import tr
from engine.project.run_state import RunState

SIDE = 348
TALL, BAR = 46, 12


class BeforeAfterBars(Painted):
    """Two bars, one under the other, on a common scale from zero: before in grey, after in ink, the values behind them."""

    def __init__(self, theme: Theme, change: Change) -> None:
        super().__init__(theme, 160, TALL)
        self.change = change
        self.setAccessibleName(tr("{title}: {before} before, {after} after, {unit}", title=change.title,
                                  before=significant(change.before, 3), after=significant(change.after, 3), unit=change.unit))

    def sizeHint(self) -> QSize:
        return QSize(self.theme.px(220), self.theme.px(TALL))

    def draw(self, painter: QPainter, rect: QRectF) -> None:
        theme, px, change = self.theme, self.theme.px, self.change
        metrics = QFontMetricsF(theme.font("small"))
        names = (tr("Before"), tr("After"))
        left = max(metrics.horizontalAdvance(n) for n in names) + px(10)
        values = [significant(v, 3) for v in (change.before, change.after)]
        right = max(metrics.horizontalAdvance(v) for v in values) + px(12)
        room, top = max(10.0, rect.width() - left - right), max(change.before, change.after) or 1.0
        painter.setFont(theme.font("small"))
        tones = ("raw", "warn" if change.worse else "accent")
        middle = Qt.AlignmentFlag.AlignVCenter
        for i, (name, value, words, tone) in enumerate(zip(names, (change.before, change.after), values, tones, strict=True)):
            y = i * rect.height() / 2
            line = QRectF(0, y, rect.width(), rect.height() / 2)
            painter.setPen(theme.colour("text2"))
            painter.drawText(line, middle, name)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.colour(tone))
            wide = max(2.0, room * value / top)
            painter.drawRoundedRect(QRectF(left, y + (line.height() - px(BAR)) / 2, wide, px(BAR)), 2, 2)
            painter.setPen(theme.colour("text" if i else "text2"))
            painter.drawText(QRectF(left + wide + px(6), y, right, line.height()), middle, words)


class Report(QWidget):
    """Of a run that is done. What was not measured is not shown."""

    def __init__(self, theme: Theme, stage: str, state: RunState) -> None:
        super().__init__()
        outcome = outcome_of(state)
        found = changes(stage, outcome)
        measures = [col(row(Text(c.title, "section"), (small(c.what, elide=True), 1),
                            Text(c.words, "medium", "ok" if c.better else "warn" if c.worse else ""), gap=10),
                        BeforeAfterBars(theme, c), small(c.unit, "text3"), gap=4) for c in found]
        heads = Panel(row(*[(m, 1) for m in measures], gap=32), pad=(16, 12, 16, 10)) if measures else None
        answers = BeforeNow(theme, beside=True, finished=True)
        answers.set(state.samples)
        heard = Panel(row(Text(tr("The same questions before and after") if stage == "sft" else tr("The same beginnings before and after"),
                               "section"), (small(tr("always the likeliest token"), elide=True), 1), gap=10),
                      (answers, 1), pad=(16, 12, 8, 12), gap=8)
        heard.setMinimumHeight(theme.px(150))
        facts_panel = Panel(Text(tr("What was trained"), "section"),
                            (_scrolled(Facts(facts(stage, outcome), gap=6)), 1), pad=(16, 12, 8, 12), gap=8)
        main = col(heads, (heard, 1), gap=12)
        col((Beside(theme, main, facts_panel, side_width=SIDE, least=300), 1), gap=0, host=self)
        self.answers, self.measures = answers, found


def _scrolled(widget: QWidget) -> Scroll:
    return Scroll(col(widget, "+", gap=0, pad=(0, 0, 8, 0), host=Poured()), horizontal=False)
