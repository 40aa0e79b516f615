"""What the steps of the corpus wizard are made of: a setting with its sentence, its switch and what it touches; bodies that load and give
back values by the names of the spec. The decisions are desktop/models/corpus_plan.py's."""

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from desktop.context import AppContext
from desktop.models.corpus_plan import CorpusPlan
from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button
from desktop.widgets.fields import Choice, Switch
from desktop.widgets.layout import Item, col, fixed, row, show_if
from desktop.widgets.panel import Panel, rule
from desktop.widgets.spec_form import SpecForm
from desktop.widgets.text import Icon, Text, small
from engine.contract.spec import Problem
from engine.contract.words import tr
from engine.stages.corpus.spec import CorpusSpec

CONTROL = 176


class SettingCard(QWidget):
    """One switch or choice of the spec: label and sentence at the left, what it touches in the sample, the control at the right; under it
    what belongs to it while it is on. `touched.clicked` is for the page."""

    def __init__(self, theme: Theme, name: str, control: Any, *extra: Item, note: str = "") -> None:
        super().__init__()
        option = CorpusSpec.option_of(name)
        self.name, self.control = name, control
        self.touched = Button(theme, "…", "quiet", name=option.label)
        self.help = small(option.help, wrap=True)
        self.more = col(*extra, gap=8, pad=(0, 4, 0, 4)) if extra else None
        self._problem = small(tone="danger", wrap=True)
        self._problem_line = row(col(1, Icon(theme, "error", "danger"), "+", gap=0), (self._problem, 1), gap=6)
        control.setAccessibleDescription(option.help)
        words = col(Text(option.label, "medium"), self.help, small(note, "text3", wrap=True) if note else None, gap=1)
        place = control if isinstance(control, Switch) else fixed(control, theme.px(CONTROL))
        head = row((words, 1), self.touched, place, gap=16)
        col(head, self.more, self._problem_line, gap=6, pad=(0, 8, 0, 8), host=self)
        self.touched.hide()
        self.show_problem("")

    def set_more(self, on: bool) -> None:
        if self.more is not None:
            show_if(self.more, on)

    def set_touched(self, words: str, examples: bool = True) -> None:
        """What it does in the sample, as a button that shows examples if there are any; "" while that is not known."""
        show_if(self.touched, bool(words))
        self.touched.setEnabled(examples)
        if words:
            self.touched.set_words(words)
            self.touched.setToolTip(tr("Show examples") if examples else "")

    def show_problem(self, words: str) -> None:
        self._problem.set(words)
        show_if(self._problem_line, bool(words))


class Body(QWidget):
    """A step of the wizard. Subclasses make their controls with `switch`, `choice`, `bind` and `form`; `load` fills them from the plan, and
    an edit puts the value into the plan before `edited` is emitted."""

    edited = Signal()

    def __init__(self, context: AppContext, plan: CorpusPlan) -> None:
        super().__init__()
        self.context, self.theme, self.plan = context, context.theme, plan
        self.controls: dict[str, Any] = {}
        self.cards: dict[str, SettingCard] = {}
        self.forms: list[SpecForm] = []
        self._loading = False

    def bind(self, name: str, control: Any) -> Any:
        """A control with value(), set() and changed, for a setting."""
        self.controls[name] = control
        control.changed.connect(lambda: self._edited({name: control.value()}))
        return control

    def switch(self, name: str, *extra: Item, note: str = "") -> SettingCard:
        made = self.bind(name, Switch(self.theme, name=CorpusSpec.option_of(name).label))
        self.cards[name] = SettingCard(self.theme, name, made, *extra, note=note)
        return self.cards[name]

    def choice(self, name: str, *extra: Item, note: str = "") -> SettingCard:
        option = CorpusSpec.option_of(name)
        made = self.bind(name, Choice(self.theme, option.choices, name=option.label))
        self.cards[name] = SettingCard(self.theme, name, made, *extra, note=note)
        return self.cards[name]

    def form(self, *names: str, bare: bool = True, title: str = "", advanced: bool = False) -> SpecForm:
        made = SpecForm(self.theme, CorpusSpec, fields=names, bare=bare, title=title, advanced=advanced)
        made.changed.connect(lambda: self._edited({name: made.values()[name] for name in made.names}))
        self.forms.append(made)
        return made

    def load(self) -> None:
        """Show what the plan holds. Not an edit."""
        self._loading = True
        for name, control in self.controls.items():
            control.set(self.plan.values[name])
        for form in self.forms:
            form.load(self.plan.values)
        self._loading = False
        self.refresh()

    def refresh(self) -> None:
        """The plan or what is known about the files has changed: subclasses show it."""

    def check(self) -> list[Problem]:
        """Show what is wrong beside its field; gives back what has no field here. The first wrong field gets the focus."""
        found = self.plan.problems(self.plan.step)
        for form in self.forms:
            wrong = {p.field for p in form.problems()}
            mine = [p for p in found if p.field in form.names] + [p for p in form.problems()
                                                                  if p.field in form.names and p.field not in {f.field for f in found}]
            found += [p for p in mine if p not in found]
            form.show_problems([p for p in mine if p.field in wrong or p in found])
        for name, card in self.cards.items():
            card.show_problem(" ".join(f"{p.sentence} {p.remedy}".strip() for p in found if p.field == name))
        shown = {*self.cards, *(n for form in self.forms for n in form.names)}
        return [p for p in found if p.field not in shown]

    def problems(self) -> list[Problem]:
        """Everything in the way of going on, unreadable numbers included."""
        found = self.plan.problems(self.plan.step)
        for form in self.forms:
            found += [p for p in form.problems() if p.field in form.names and p.field not in {f.field for f in found}]
        return found

    def _edited(self, values: dict[str, Any]) -> None:
        if not self._loading:
            self.plan.set_values(values)
            for form in self.forms:
                form.know(self.plan.values)
            self.edited.emit()


def section(title: str, note: str, *cards: Item) -> Panel:
    """A panel of settings, hairlines between them."""
    lines: list[Item] = []
    for card in cards:
        lines += [rule() if lines else None, card]
    head = row(Text(title, "section"), (small(note, elide=True), 1), gap=10)
    return Panel(head, *lines, gap=0, pad=(16, 10, 16, 8))


def choices_of(name: str) -> Sequence[tuple[Any, str]]:
    return CorpusSpec.option_of(name).choices
