"""The step of the method: full training, LoRA or QLoRA, with what each takes by formula and as measured, and which is recommended."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QWidget

from desktop.models.tuning_choice import METHODS, MethodFacts, TuningChoice
from desktop.theme.theme import Theme
from desktop.widgets.badge import Badge
from desktop.widgets.bar import Bar
from desktop.widgets.buttons import Button
from desktop.widgets.chart_data import short_time
from desktop.widgets.choice_card import Card
from desktop.widgets.layout import col, fill, row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.panel import Panel, rule
from desktop.widgets.text import Text, small
from desktop.widgets.toggles import Toggles
from desktop.widgets.tuning.body import Gutter, WizardBody
from engine.contract.errors import FledgeError
from engine.contract.tuning import TARGETS
from engine.contract.units import count, duration, size
from engine.contract.words import tr

if TYPE_CHECKING:
    from desktop.context import AppContext

CARD = 236
FIELDS = {"full": ["frozen_layers", "freeze_embeddings"],
          "lora": ["lora_rank", "lora_alpha", "lora_dropout", "rslora", "lora_tokens"]}
WORDS = {"full": tr("Changes every weight. Learns most, and takes most memory."),
         "lora": tr("Trains small matrices beside frozen weights. Far less memory, and a small file to pass on."),
         "qlora": tr("LoRA beside weights kept in 4 bits: large models on small cards.")}


class MethodCard(Card):
    """A method: its sentence, a memory bar, and lines of formula and measurement."""

    def __init__(self, theme: Theme, method: str, title: str) -> None:
        self.method = method
        self._badge, self._bar = Badge(), Bar(theme, height=6, name=tr("Memory"))
        self._head = Text(title, "section")
        self._memory, self._time, self._trains = Text(role="medium"), Text(role="medium"), Text(role="medium")
        right = Qt.AlignmentFlag.AlignRight
        self._memory_note, self._time_note = small(elide=True, align=right), small(elide=True, align=right)
        self._why = small(tone="warn", wrap=True)
        lines = [row(Text(name, tone="text2"), (note, 1) if note is not None else "+", value, gap=8) for name, note, value in (
            (tr("Memory"), self._memory_note, self._memory), (tr("Time"), self._time_note, self._time), (tr("Trains"), None, self._trains))]
        self._lines = col(self._bar, 2, *lines, gap=5)
        super().__init__(theme, row(self._head, "+", self._badge, gap=8), Text(WORDS[method], tone="text2", wrap=True), "+",
                         self._lines, self._why, pad=(16, 12, 16, 14), gap=8)

    def show_facts(self, facts: MethodFacts, recommended: bool) -> None:
        self.usable = facts.usable
        too_big = facts.usable and not facts.fits and bool(facts.memory)
        self._badge.set(tr("Recommended") if recommended else tr("does not fit") if too_big else "",
                        "accent" if recommended else "danger")
        self._head.set_tone("" if facts.usable else "text3")
        self._why.set(facts.why)
        show_if(self._why, bool(facts.why))
        show_if(self._lines, facts.usable and bool(facts.memory))
        memory, seconds = facts.measured_memory or facts.memory, facts.measured_seconds or facts.seconds
        self._memory.set(size(memory))
        self._memory_note.set(tr("formula {value}", value=size(facts.memory)) if facts.measured_memory else tr("by formula"))
        self._time.set(duration(seconds))
        self._time_note.set(tr("formula {value}", value=duration(facts.seconds)) if facts.measured_seconds else tr("by formula"))
        self._trains.set(tr("{count} parameters", count=count(facts.trainable)))
        limit = facts.limit
        self._bar.set(memory / limit if limit else 0.0, facts.memory / limit if limit else 0.0, "accent" if facts.fits else "danger")
        show_if(self._bar, bool(limit))
        said = tr("{memory} of memory, {time}", memory=size(memory), time=duration(seconds)) if facts.memory else facts.why
        self.setAccessibleName(f"{facts.title}. {WORDS[self.method]} {said}")
        self.setEnabled(facts.usable)


class Cards(QWidget):
    """Cards side by side, of equal width; one under the other where that would be too narrow for their words."""

    def __init__(self, theme: Theme, cards: Sequence[QWidget]) -> None:
        super().__init__()
        self._needed = theme.px(CARD) * len(cards)
        self._box = QBoxLayout(QBoxLayout.Direction.LeftToRight, self)
        fill(self._box, tuple((card, 1) for card in cards), 12)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        beside = self.width() >= self._needed
        self._box.setDirection(QBoxLayout.Direction.LeftToRight if beside else QBoxLayout.Direction.TopToBottom)

    def minimumSizeHint(self) -> QSize:
        return QSize(0, super().minimumSizeHint().height())  # narrow is no reason to scroll sideways: they turn


class MethodBody(WizardBody):
    """`measure_wanted`, `cancel_wanted`: the wizard measures all methods, each in a process of its own."""

    measure_wanted = Signal()
    cancel_wanted = Signal()

    def __init__(self, context: "AppContext", plan: TuningChoice) -> None:
        super().__init__(context, plan)
        theme = self.theme
        self.cards = {m.id: MethodCard(theme, m.id, m.title) for m in plan.methods()}
        for method, card in self.cards.items():
            card.clicked.connect(lambda method=method: self.put(method=method))
        self.sentence, self.besides = Text(wrap=True), Text(tone="text2", wrap=True)
        self.measured_words = small(wrap=True)
        self.measure = Button(theme, tr("Measure"), icon="pulse", on_click=self._clicked)
        self.notes = NoteSlot(theme)
        self._measuring = False
        advice = Panel(row((col(self.sentence, self.besides, self.measured_words, gap=3), 1), self.measure, gap=16), self.notes,
                       pad=(16, 12, 16, 12), gap=8)
        self.full, self.lora = self.make_form(FIELDS["full"], bare=True), self.make_form(FIELDS["lora"], bare=True)
        self.forms_title = Text(role="section")
        option = plan.spec_class.option_of("lora_targets")
        self.targets = Toggles(theme, [(t, t, "") for t in TARGETS], TARGETS, name=option.label)
        self.targets.changed.connect(lambda: self.put(lora_targets=tuple(self.targets.value())))
        self.targets_wrong = small(tone="danger", wrap=True)
        self.which = col(rule(), Text(option.label, "medium"), small(option.help, wrap=True), self.targets, self.targets_wrong, 4, gap=4)
        self.settings = Panel(self.forms_title, self.full, self.lora, self.which, pad=(16, 10, 16, 8), gap=4)
        col((Gutter(Cards(theme, list(self.cards.values())), advice, self.settings), 1), gap=0, host=self)

    def fill(self) -> None:
        for form in self.forms:
            form.know(self.plan.values)
        config = self.plan.model.config if self.plan.model else None
        gpt2 = config is not None and config.shape == "gpt2"
        self.targets.set_choices([(t, t, "") for t in TARGETS if not (gpt2 and t == "gate")])
        self.targets.set([t for t in self.plan.values["lora_targets"] if not (gpt2 and t == "gate")])

    def refresh(self) -> None:
        plan = self.plan
        found = {m.id: m for m in plan.methods()}
        best, sentence = plan.recommended()
        for method in METHODS:
            self.cards[method].show_facts(found[method], method == best)
            self.cards[method].set_chosen(method == plan.values["method"])
        self.sentence.set(sentence or tr("Choose a model and data first."))
        self.besides.set(plan.method_notes())
        show_if(self.besides, bool(plan.method_notes()))
        full = plan.values["method"] == "full"
        for form in self.forms:
            form.know({"method": plan.values["method"]})
        self.forms_title.set(tr("What stays as it is") if full else tr("The small matrices"))
        show_if(self.full, full)
        show_if(self.lora, not full)
        show_if(self.which, not full)
        wrong = next((p for p in plan.problems("method") if p.field == "lora_targets"), None)
        self.targets_wrong.set(f"{wrong.sentence} {wrong.remedy}" if wrong is not None else "")
        show_if(self.targets_wrong, wrong is not None)
        measured = plan.measured
        if not self._measuring:
            self.measure.set_words(tr("Measure again") if measured else tr("Measure"))
            self.measured_words.set(tr("Measured with real steps of each method {ago} ago.",
                                       ago=short_time(max(1.0, time.time() - float(measured["when"])))) if measured else
                                    tr("By formula. Measuring takes a few real steps of each method here, about half a minute."))
        self.measure.setEnabled(plan.plan is not None or self._measuring)

    def set_measuring(self, on: bool, seconds: float = 0.0) -> None:
        self._measuring = on
        if on:
            self.notes.clear()
            self.measure.set_words(tr("Cancel"))
            self.measured_words.set(tr("Measuring, {time}", time=duration(round(seconds))))

    def show_error(self, wrong: FledgeError, *buttons: Any) -> None:
        self.notes.show_error(wrong, *buttons)

    def _clicked(self) -> None:
        (self.cancel_wanted if self._measuring else self.measure_wanted).emit()


