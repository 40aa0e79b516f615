"""The step of the labels: which sets of pairs, whose labels, how strong, and how many are held out; with a warning where they are few."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QWidget

from desktop.models.pairs_choice import USUAL, PairsChoice
from desktop.theme.theme import Theme
from desktop.widgets.bar import Bar
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.facts import Facts
from desktop.widgets.fields import Tick
from desktop.widgets.flexible import Beside
from desktop.widgets.layout import Item, clear, col, fill, row, show_if
from desktop.widgets.notes import Note
from desktop.widgets.panel import Panel, rule
from desktop.widgets.text import Text, small
from desktop.widgets.toggles import Toggles
from desktop.widgets.tuning.body import SIDE, Gutter, WizardBody
from engine.contract.units import number
from engine.contract.words import tr

if TYPE_CHECKING:
    from desktop.context import AppContext

Line = tuple[str, str, tuple[int, ...]]
"""(id, title, counts) of a set."""
STRENGTHS = ((0, tr("All")), (1, tr("Slightly better")), (2, tr("Better")), (3, tr("Much better")))


class SetTicks(QWidget):
    """A tick and some counts for each set. `changed` is called with the ids that are ticked."""

    def __init__(self, theme: Theme, heads: Sequence[str], changed: Any) -> None:
        super().__init__()
        self.theme, self._heads, self._changed = theme, tuple(heads), changed
        self.ticks: dict[str, Tick] = {}
        self._shown: list[Line] = []
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(16)
        self._grid.setVerticalSpacing(0)
        self._grid.setColumnStretch(0, 1)

    def set(self, lines: Sequence[Line], chosen: Sequence[str]) -> None:
        if list(lines) != self._shown:
            self._build(lines)
        for id, tick in self.ticks.items():
            tick.set(id in chosen)

    def _build(self, lines: Sequence[Line]) -> None:
        clear(self._grid)
        self._shown, self.ticks = list(lines), {}
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for c, words in enumerate(self._heads):
            head = small(words)
            head.setMinimumHeight(self.theme.px(26))
            self._grid.addWidget(head, 0, c, right if c else Qt.AlignmentFlag.AlignLeft)
        for r, (id, title, counts) in enumerate(lines, 1):
            self._grid.addWidget(rule(), 2 * r - 1, 0, 1, len(self._heads))
            tick = Tick(self.theme, title)
            tick.setMinimumHeight(self.theme.px(36))
            tick.setToolTip(title)
            tick.changed.connect(lambda: self._changed(self.value()))
            self.ticks[id] = tick
            self._grid.addWidget(tick, 2 * r, 0)
            for c, value in enumerate(counts, 1):
                self._grid.addWidget(Text(number(value), tone="" if value else "text3"), 2 * r, c, right)

    def value(self) -> tuple[str, ...]:
        return tuple(id for id, tick in self.ticks.items() if tick.value())

    def order(self, first: QWidget, last: QWidget) -> None:
        """Tab goes from `first` through the ticks to `last`, as they stand."""
        for tick in (*self.ticks.values(), last):
            QWidget.setTabOrder(first, tick)
            first = tick


class PairsBody(WizardBody):
    """`form` are the settings of how pairs are read, under `title`; `above` and `below` the sets stands what else the step asks."""

    plan: PairsChoice

    def __init__(self, context: "AppContext", plan: PairsChoice, form: Sequence[str], key: str, above: Sequence[Item] = (),
                 below: Sequence[Item] = ()) -> None:
        super().__init__(context, plan)
        theme = self.theme
        self.more = Button(theme, tr("Label more"), "quiet", icon="plus", on_click=lambda: context.navigate("preference"))
        self.sets = SetTicks(theme, (tr("Set"), tr("Labelled"), tr("To do"), tr("Skipped")), lambda ids: self.put(pairs=ids))
        self.none = Text(tr("There are no pairs in this project yet: let a model write two answers to each prompt, or import labelled "
                            "ones."),
                         tone="text2", wrap=True)
        self.people = Toggles(theme, (), (), name=tr("Whose labels"))
        self.people.changed.connect(self._people_chosen)
        self.people_panel = col(rule(), 6, Text(tr("Whose labels"), "medium"),
                                small(tr("Where people disagree, what most of those chosen said counts."), wrap=True), self.people, 2,
                                gap=4)
        self.strength = Segments(theme, STRENGTHS, 0, name=tr("Least strength"), on_change=lambda v: self.put(least_strength=v))
        self.wrong = small(tone="danger", wrap=True)
        strength = col(rule(), 6, row((col(Text(tr("Least strength"), "medium"),
                                           small(tr("Leaves out labels that say less, ties with them."), wrap=True), gap=1), 1),
                                      self.strength, gap=12), 2, gap=4)
        data = Panel(row(Text(tr("Labelled pairs"), "section"), "+", self.more, gap=10), self.none, self.sets, self.wrong,
                     self.people_panel, strength, pad=(16, 10, 16, 10), gap=4)
        self.form = self.make_form(list(form), title=tr("How they are read"), key=key)
        reading = Panel(self.form, pad=(16, 10, 16, 8), gap=4)
        self.total, self.enough, self.facts = Text("", "hero"), Bar(theme, height=6, name=tr("Labels")), Facts(gap=6)
        self.measure = small(wrap=True)
        self.warnings = col(gap=8)
        side = Gutter(Panel(Text(tr("What it will learn from"), "section"), self.total, self.enough, self.measure, 2, self.facts,
                            pad=(16, 10, 16, 12), gap=6), self.warnings,
                      Panel(small(tr("The labels are copied into the run when it starts. What you label later does not touch it."),
                                  wrap=True), pad=(16, 10, 16, 10)))
        col((Beside(theme, Gutter(*above, data, *below, reading), side, side_width=SIDE, least=300), 1), gap=0, host=self)

    def _people_chosen(self) -> None:
        chosen = tuple(self.people.value())
        self.put(annotators=() if len(chosen) == len(self.plan.annotators) else chosen)

    def fill(self) -> None:
        plan = self.plan
        self.sets.set([(s.id, s.title, (s.labelled, s.todo, s.skipped)) for s in plan.sets or ()], plan.values["pairs"])
        names = list(plan.annotators)
        self.people.set_choices([(n, n, number(plan.annotators[n])) for n in names])
        self.people.set([n for n in names if not plan.values["annotators"] or n in plan.values["annotators"]])
        self.strength.set(plan.values["least_strength"])

    def refresh(self) -> None:
        plan = self.plan
        show_if(self.none, plan.sets is not None and not plan.sets)
        show_if(self.sets, bool(plan.sets))
        show_if(self.people_panel, len(plan.annotators) > 1)
        self.form.know({k: v for k, v in plan.values.items() if k not in self.form.names})
        self.form.set_automatic({k: v for k, v in plan.automatic().items() if k in self.form.names})
        wrong = next((p for p in plan.problems("pairs" if "pairs" in plan.steps else "data") if p.field == "pairs"), None)
        self.wrong.set(f"{wrong.sentence} {wrong.remedy}" if wrong is not None and plan.chosen_sets else "")
        show_if(self.wrong, bool(self.wrong.words()))
        known, usable = plan.known, plan.usable
        self.total.set(number(usable))
        self.enough.set(usable / USUAL, tone="warn" if plan.warning() else "accent")
        self.measure.set(tr("pairs to learn from; {usual} are usual for a first try", usual=number(USUAL)))
        facts = [(tr("To train on"), number(usable - plan.held_out)),
                 (tr("For validation"), tr("about {count}", count=number(plan.held_out)) if plan.held_out else tr("none"))]
        if known is not None:
            facts += [(tr("Prompts"), number(known.prompts)), (tr("Ties"), self.tie_words(known.ties))]
            if known.bad:
                facts.append((tr("Both bad"), self.bad_words(known.bad)))
            if known.people:
                facts.append((tr("Labelled by"), ", ".join(known.people[:2]) if len(known.people) < 3 else number(len(known.people))))
        elif plan.count_is_due:
            facts.append((tr("Ties"), tr("counting …")))
        self.facts.set(facts)
        box = self.warnings.layout()
        clear(box)
        notes: list[Item] = []
        if (few := plan.warning()) is not None:
            notes.append(Note(self.theme, "warn", *few, Button(self.theme, tr("Label more"), on_click=lambda:
                                                               self.context.navigate("preference"))))
        if usable and not plan.held_out:
            notes.append(Note(self.theme, "warn", tr("Nothing is held out"), tr("How well it does is not measured then, and the best step "
                              "is not known.")))
        notes += self.further_notes()
        fill(box, tuple(notes), 8)
        show_if(self.warnings, bool(notes))

    def tie_words(self, count: int) -> str:
        if not count:
            return tr("none")
        return tr("{count}, learned from", count=number(count)) if self.plan.takes_ties else tr("{count}, left out", count=number(count))

    def bad_words(self, count: int) -> str:
        return tr("{count}, left out", count=number(count))

    def further_notes(self) -> list[Item]:
        return []
