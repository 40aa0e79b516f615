"""The wizard's third step: what counts as a duplicate and which one stays, with what the threshold finds."""

from PySide6.QtCore import QTimer

from desktop.context import AppContext
from desktop.models.corpus_plan import CorpusPlan
from desktop.pages.corpus.wizard_parts import Body, section
from desktop.widgets.facts import Facts
from desktop.widgets.fields import NumberField
from desktop.widgets.flexible import Beside, scrolled
from desktop.widgets.layout import col, fixed, row, show_if
from desktop.widgets.panel import Panel
from desktop.widgets.text import Text, small
from desktop.widgets.threshold import FoundCurve, ThresholdSlider
from engine.contract.spec import Problem
from engine.contract.units import number, percent
from engine.contract.words import tr
from engine.stages.corpus.spec import CorpusSpec
from engine.text.dedup.derive import derive

SIDE, FIELD = 348, 72


class DuplicatesBody(Body):
    def __init__(self, context: AppContext, plan: CorpusPlan) -> None:
        super().__init__(context, plan)
        theme = self.theme
        low, high = CorpusSpec.bounds("near_threshold")
        assert low is not None and high is not None
        name = CorpusSpec.option_of("near_threshold").label
        self.slider = self.bind("near_threshold", ThresholdSlider(theme, 0.7, low, high, name=name,
                                                                  ends=(tr("finds more"), tr("only what is nearly equal"))))
        self.slider.changed.connect(lambda: self._typed.set(self.slider.value()))
        self._typed = NumberField(0.7, whole=False, name=tr("{name}, as a number", name=name), low=low, high=high)
        self._typed.changed.connect(self._number_typed)
        self._wrong = small(tone="danger", wrap=True)
        threshold = col(row(Text(name), (small(CorpusSpec.option_of("near_threshold").help, elide=True), 1), gap=10),
                        row((self.slider, 1), col(fixed(self._typed, theme.px(FIELD)), "+", gap=0), gap=16), self._wrong, gap=6)
        self._near = self.switch("near_duplicates", threshold)
        whole = section(tr("Whole documents"), tr("one of each group stays"), self.switch("exact_duplicates"), self._near,
                        self.switch("contained"), self.form("keep_rule", "shingle_words"))
        self._parts = col(gap=0)
        self.curve = FoundCurve(theme)
        self._facts = Facts(gap=6)
        self._words = small(wrap=True)
        self.side = Panel(Text(tr("What the threshold finds"), "section"), small(tr("chance that a pair is compared, by its similarity")),
                          self.curve, self._facts, self._words, "+", pad=(16, 10, 16, 12), gap=8)
        row((Beside(theme, scrolled(whole, self._parts), self.side, side_width=SIDE, least=340), 1), gap=0, host=self)

        QTimer.singleShot(0, self, self._build_rest)

    def _build_rest(self) -> None:
        parts = section(tr("Parts of documents"), tr("cut out of what is left, the first one stays"), self.switch("repeated_paragraphs"),
                        self.switch("repeated_passages", self.form("passage_words")))
        self._parts.layout().addWidget(parts)
        self.load()

    def _number_typed(self) -> None:
        value, low, high = self._typed.value(), self.slider.low, self.slider.high
        wrong = self._typed.wrong() or ("" if value is not None and low <= value <= high else
                                        tr("Choose a value from {low} to {high}.", low=low, high=high))
        self._wrong.set(wrong)
        show_if(self._wrong, bool(wrong))
        if not wrong and value is not None:
            self.slider.set(float(value))
            self._edited({"near_threshold": float(value)})

    def problems(self) -> list[Problem]:
        found = super().problems()
        if self.plan.values["near_duplicates"] and self._wrong.words():
            found.append(Problem("near_threshold", self._wrong.words()))
        return found

    def load(self) -> None:
        super().load()
        self._typed.set(float(self.plan.values["near_threshold"]))
        self._wrong.set("")
        show_if(self._wrong, False)

    def refresh(self) -> None:
        values = self.plan.values
        near = bool(values["near_duplicates"])
        self._near.set_more(near)
        show_if(self.cards["contained"], near)
        if "repeated_passages" in self.cards:
            self.cards["repeated_passages"].set_more(bool(values["repeated_passages"]))
        show_if(self.side, True)
        self.curve.setEnabled(near)
        self._show_curve(float(values["near_threshold"]), near)

    def _show_curve(self, threshold: float, near: bool) -> None:
        show_if(self.curve, near)
        if not near:
            self._facts.set([])
            self._words.set(tr("Near duplicates are not looked for."))
            return
        made, above = derive(threshold), min(1.0, threshold + 0.1)
        self.curve.set(made.recall, threshold)
        self._facts.set([(tr("Fingerprints a document"), number(made.permutations)),
                         (tr("Bands, rows in each"), f"{made.bands} × {made.rows}"),
                         *((tr("Of pairs at {alike}", alike=number(alike, 2)), tr("{share} found", share=percent(made.recall(alike), 1)))
                           for alike in (threshold, above))])
        words = self.plan.values["shingle_words"]
        self._words.set(tr("Sequences of {count} words are compared. What is found is checked against the threshold before it is removed.",
                           count=number(words)) if words else
                        tr("Sequences of 5 words are compared, or of 12 characters where words are not spaced. What is found is checked "
                           "against the threshold before it is removed."))
