"""What a model answered before it trained, and what it answers now: one prompt a card, both answers side by side or one under the other."""

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtWidgets import QVBoxLayout, QWidget

from desktop.theme.theme import Theme
from desktop.widgets.flexible import Whole
from desktop.widgets.layout import Scroll, clear, col, row, show_if
from desktop.widgets.panel import rule
from desktop.widgets.text import Text, small
from engine.contract.events import Sample
from engine.contract.units import number
from engine.contract.words import tr


@dataclass(frozen=True)
class Pair:
    """`now` is None until it was asked again."""

    prompt: str
    before: str
    now: str | None
    step: int


def pairs(samples: Sequence[Sample]) -> list[Pair]:
    """By prompt, in the order they were first asked: the first answer (of step 0) and the newest."""
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.prompt, []).append(sample)
    return [Pair(prompt, said[0].text, said[-1].text if len(said) > 1 else None, said[-1].step) for prompt, said in found.items()]


class BeforeNow(QWidget):
    """`set(samples)`. `beside`: both answers side by side (a wide place), else one under the other. `finished`: "after", not "now".
    `whole`: nothing scrolls in it, the page does."""

    def __init__(self, theme: Theme, beside: bool = False, finished: bool = False, whole: bool = False) -> None:
        super().__init__()
        self.theme, self._beside, self._finished = theme, beside, finished
        self._shown: list[Pair] = []
        self._hint = Text(tr("It is asked before the first step, and then while it trains."), tone="text2", wrap=True)
        self._inner = Whole() if whole else QWidget()
        self._box = QVBoxLayout(self._inner)
        self._box.setContentsMargins(0, 0, 8, 0)
        self._box.setSpacing(8)
        self._scroll = None if whole else Scroll(self._inner, horizontal=False)
        self._list = self._scroll or self._inner
        col(self._hint, (self._list, 1), gap=0, host=self)

    def set(self, samples: Sequence[Sample]) -> None:
        wanted = pairs(samples)
        if wanted == self._shown:
            return
        bar = self._scroll.verticalScrollBar() if self._scroll is not None else None
        place = bar.value() if bar is not None else 0
        clear(self._box)
        for i, pair in enumerate(wanted):
            if i:
                self._box.addWidget(rule())
            self._box.addWidget(self._card(pair))
        self._box.addStretch(1)
        self._shown = wanted
        if bar is not None:
            bar.setValue(place)
        show_if(self._hint, not wanted)
        show_if(self._list, bool(wanted))

    def _card(self, pair: Pair) -> QWidget:
        after = tr("After") if self._finished else tr("Now, step {step}", step=number(pair.step))
        before = col(small(tr("Before"), "text3"), Text(pair.before or tr("(nothing)"), tone="text2", wrap=True, select=True), gap=1)
        now = col(small(after, "text2"), Text(pair.now or tr("(nothing)"), wrap=True, select=True), gap=1) if pair.now is not None else None
        for each in (before, now):
            if each is not None:
                each.layout().addStretch(1)
        answers = row((before, 1), (now, 1) if now is not None else None, gap=20) if self._beside else col(before, now, gap=4)
        made = col(Text(pair.prompt, "medium", wrap=True), answers, gap=4)
        made.setAccessibleName(f"{pair.prompt} {tr('Before')}: {pair.before} {after}: {pair.now or ''}")
        return made
