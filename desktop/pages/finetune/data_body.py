"""Step 2: which sets of instruction data, and text against forgetting; or the corpus of the domain and general text beside it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QWidget

from desktop.models.finetune_plan import FinetunePlan
from desktop.widgets.buttons import Button
from desktop.widgets.facts import Facts
from desktop.widgets.fields import Tick
from desktop.widgets.flexible import Beside
from desktop.widgets.layout import clear, col, fill, row, show_if
from desktop.widgets.notes import Note
from desktop.widgets.panel import Panel, rule
from desktop.widgets.text import Text, small
from desktop.widgets.tuning.body import SIDE, Gutter, WizardBody
from engine.contract.units import count, number, percent
from engine.contract.words import tr, trn
from engine.project.examples import ExampleSet

if TYPE_CHECKING:
    from desktop.context import AppContext

FEW = 100


class Sets(QWidget):
    """A tick and three counts for each set."""

    def __init__(self, body: "ExamplesBody") -> None:
        super().__init__()
        self.body, self.theme = body, body.theme
        self.ticks: dict[str, Tick] = {}
        self._shown: Sequence[ExampleSet] = ()
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(16)
        self._grid.setVerticalSpacing(0)
        self._grid.setColumnStretch(0, 1)

    def set(self, sets: Sequence[ExampleSet], chosen: Sequence[str]) -> None:
        if list(sets) != list(self._shown):
            self._build(sets)
        for id, tick in self.ticks.items():
            tick.set(id in chosen)

    def _build(self, sets: Sequence[ExampleSet]) -> None:
        clear(self._grid)
        self._shown, self.ticks = list(sets), {}
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for c, words in enumerate((tr("Set"), tr("Accepted"), tr("Not looked at"), tr("Rejected"))):
            head = small(words)
            head.setMinimumHeight(self.theme.px(26))
            self._grid.addWidget(head, 0, c, right if c else Qt.AlignmentFlag.AlignLeft)
        for r, each in enumerate(sets, 1):
            self._grid.addWidget(rule(), 2 * r - 1, 0, 1, 4)
            tick = Tick(self.theme, each.title)
            tick.setMinimumHeight(self.theme.px(36))
            tick.setToolTip(each.title)
            tick.changed.connect(self._ticked)
            self.ticks[each.id] = tick
            self._grid.addWidget(tick, 2 * r, 0)
            for c, value in enumerate((each.accepted, each.new, each.rejected), 1):
                self._grid.addWidget(Text(number(value), tone="" if value else "text3"), 2 * r, c, right)

    def order(self, first: QWidget, last: QWidget) -> None:
        """Tab goes from `first` through the ticks to `last`, as they stand."""
        for tick in (*self.ticks.values(), last):
            QWidget.setTabOrder(first, tick)
            first = tick

    def _ticked(self) -> None:
        self.body.put(examples=tuple(id for id, tick in self.ticks.items() if tick.value()))


class ExamplesBody(WizardBody):
    """Instruction data and replay."""

    def __init__(self, context: "AppContext", plan: FinetunePlan) -> None:
        super().__init__(context, plan)
        theme = self.theme
        self.make = make = Button(theme, tr("Make or import some"), "quiet", icon="plus", on_click=lambda: context.navigate("instruct"))
        self.sets = Sets(self)
        self.none = Text(tr("There is no instruction data in this project yet: let a local model write some, or import a file of "
                            "conversations."), tone="text2", wrap=True)
        self.which = self.make_form(["only_accepted", "validation_percent"], bare=True)
        data = Panel(row(Text(tr("Instruction data"), "section"), "+", make, gap=10), self.none, self.sets, rule(), self.which,
                     pad=(16, 10, 16, 8), gap=4)
        self.replay = self.make_form(["replay", "replay_documents"], bare=True)
        against = Panel(Text(tr("Against forgetting"), "section"),
                        Text(tr("A model that learns only answers forgets what no answer mentions. Some documents of what it was raised "
                                "on, mixed into each step, keep that: recommended for small models."), tone="text2", wrap=True),
                        self.replay, pad=(16, 10, 16, 8), gap=4)
        self.facts, self.warnings = Facts(gap=6), col(gap=8)
        side = col(Panel(Text(tr("What it will learn from"), "section"), self.facts,
                         small(tr("The examples are copied into the run when it starts. What you change in the library later does not "
                                  "touch it."), wrap=True), pad=(16, 10, 16, 12), gap=8), self.warnings, "+", gap=12)
        col((Beside(theme, Gutter(data, against), side, side_width=SIDE, least=300), 1), gap=0, host=self)

    def choices(self, kind: str) -> list[tuple[str, str]]:
        return [("", tr("None")), *self.context.choices(kind)]

    def fill(self) -> None:
        self.sets.set(self.plan.sets or (), self.plan.values["examples"])
        self.sets.order(self.make, self.which.rows["only_accepted"].control)
        self.replay.refresh_artifacts()

    def refresh(self) -> None:
        plan = self.plan
        show_if(self.none, plan.sets is not None and not plan.sets)
        show_if(self.sets, bool(plan.sets))
        kept = plan.values["validation_percent"] / 100 if isinstance(plan.values["validation_percent"], (int, float)) else 0.0
        held = round(plan.examples * kept)
        facts = [(tr("Examples"), number(plan.examples)), (tr("To train on"), number(plan.examples - held)),
                 (tr("For validation"), tr("about {count}", count=number(held)) if held else tr("none"))]
        left = sum(s.rejected + (s.new if plan.values["only_accepted"] else 0) for s in plan.chosen_sets)
        if left:
            facts.append((tr("Not taken"), number(left)))
        if plan.automatic().get("batch_size"):
            facts.append((tr("In each step"), trn("{count} example", "{count} examples", plan.automatic()["batch_size"])))
        self.facts.set(facts)
        box = self.warnings.layout()
        clear(box)
        notes = []
        if plan.chosen_sets and 0 < plan.examples < FEW:
            notes.append(Note(self.theme, "warn", tr("Few examples"), tr("With less than a hundred a model learns them by heart rather "
                              "than how to answer. Make more, or take several sets.")))
        if plan.examples and not held:
            notes.append(Note(self.theme, "warn", tr("Nothing is held out"), tr("How well it answers is not measured then, and the best "
                              "step is not known.")))
        if (note := replay_note(self)) is not None:
            notes.append(note)
        fill(box, tuple(notes), 8)  # type: ignore[arg-type]


def replay_note(body: WizardBody) -> Note | None:
    """Offers the text that the model was raised on, while nothing is replayed."""
    plan = body.plan
    source = plan.raised_on
    if plan.values["replay"] or source is None:
        return None

    def take() -> None:
        body.put(replay=source.id)
        body.load()
    return Note(body.theme, "info", tr("It was raised on {corpus}", corpus=source.title),
                tr("Replaying some of that text keeps what it knows, and shows what tuning has cost."),
                Button(body.theme, tr("Replay it"), on_click=take))


class TextBody(WizardBody):
    """The corpus of the domain, and general text."""

    def __init__(self, context: "AppContext", plan: FinetunePlan) -> None:
        super().__init__(context, plan)
        theme = self.theme
        add = Button(theme, tr("Import text"), "quiet", icon="plus", on_click=lambda: context.navigate("corpus"))
        self.domain = self.make_form(["corpus", "max_seq_len"], bare=True)
        self.general = self.make_form(["replay", "replay_percent"], bare=True)
        domain = Panel(row(Text(tr("Text of the domain"), "section"), "+", add, gap=10), self.domain, pad=(16, 10, 16, 8), gap=4)
        against = Panel(Text(tr("Against forgetting"), "section"),
                        Text(tr("Text of what the model knows already, mixed in. Its loss is measured before and after, so that you see "
                                "what learning the domain has cost."), tone="text2", wrap=True), self.general, pad=(16, 10, 16, 8), gap=4)
        self.facts, self.warnings = Facts(gap=6), col(gap=8)
        side = col(Panel(Text(tr("What it will read"), "section"), self.facts, pad=(16, 10, 16, 12), gap=8), self.warnings, "+", gap=12)
        col((Beside(theme, Gutter(domain, against), side, side_width=SIDE, least=300), 1), gap=0, host=self)

    def choices(self, kind: str) -> list[tuple[str, str]]:
        return [("", tr("None")), *self.context.choices(kind)]

    def fill(self) -> None:
        for form in self.forms:
            form.refresh_artifacts()

    def refresh(self) -> None:
        plan = self.plan
        corpus = plan.corpus(str(plan.values["corpus"]))
        general = plan.corpus(str(plan.values["replay"]))
        for form in self.forms:
            form.set_automatic({k: v for k, v in plan.automatic().items() if k in form.names})
        facts = []
        if corpus is not None:
            facts += [(tr("Documents"), number(int(corpus.facts.get("documents", 0) or 0))),
                      (tr("Tokens"), tr("about {tokens}", tokens=count(plan.corpus_tokens(corpus.id))))]
        if general is not None and plan.values["replay_percent"]:
            facts.append((tr("General text"), percent(plan.values["replay_percent"] / 100)))
        if plan.plan is not None:
            facts += [(tr("Steps"), number(plan.plan.steps)),
                      (tr("In each step"), tr("{tokens} tokens", tokens=number(round(plan.plan.load.tokens_per_step))))]
        self.facts.set(facts)
        box = self.warnings.layout()
        clear(box)
        notes = []
        if (note := replay_note(self)) is not None:
            notes.append(note)
        elif corpus is not None and general is None:
            notes.append(Note(self.theme, "warn", tr("What it forgets is not measured"), tr("Choose a corpus of general text, such as the "
                              "one the model was raised on.")))
        fill(box, tuple(notes), 8)  # type: ignore[arg-type]
