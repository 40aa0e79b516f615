"""The steps of the wizard that makes pairs: where prompts are from, who answers, how many. A body loads from the plan; an edit goes into
the plan before `edited` is emitted."""

from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QFileDialog

from desktop.context import AppContext
from desktop.models.pair_plan import ROLES, PairPlan, PromptSet, role_title
from desktop.widgets.buttons import Button
from desktop.widgets.facts import Facts
from desktop.widgets.fields import Choice, Lines, NumberField, Tick, set_wrong
from desktop.widgets.flexible import Beside, Poured, scrolled
from desktop.widgets.layout import Item, Scroll, clear, col, fill, row, show_if
from desktop.widgets.model_places import ModelPlaces, PartPicker
from desktop.widgets.panel import Panel, heading, rule
from desktop.widgets.plan_body import FormBody, PlanBody
from desktop.widgets.spec_form import SpecForm
from desktop.widgets.text import Icon, Text, small
from engine.contract.errors import FledgeError
from engine.contract.rows import Example
from engine.contract.spec import Problem
from engine.contract.units import count, duration, number
from engine.contract.words import tr, trn
from engine.project.examples import ExampleFilter
from engine.stages.preference.spec import PreferenceSpec

SIDE = 312
SHOWN = 8
"""Prompts that are shown before anything is made."""
AMOUNT_FIELDS = ("title", "count", "system", "corpus_prompt", "turns", "beginning", "top_p", "max_tokens", "equal", "concurrency",
                 "context", "timeout", "seed")


class PromptsBody(PlanBody):
    """Step 1: sets of examples, typed prompts, files, documents; beside it the first of them, as they will be asked."""

    step = "prompts"

    def __init__(self, context: AppContext, plan: PairPlan) -> None:
        super().__init__(context, plan)
        theme = self.theme
        self.ticks: dict[str, Tick] = {}
        self._shown: list[PromptSet] | None = None
        self._read: dict[str, list[str]] = {}
        self._reading: set[str] = set()
        self._problem = small(tone="danger", wrap=True)
        show_if(self._problem, False)
        self._sets, self._sets_note = col(gap=2), small(tr("Reading the sets…"))
        sets = Panel(heading(tr("Questions of instruction data"), tr("their answers are not shown to anybody")), self._sets_note,
                     self._sets, pad=(16, 10, 16, 12), gap=6)
        self.typed = Lines(name=tr("Typed prompts"), rows=4, theme=theme,
                           placeholder=tr("One a line:\nWhy did ferries stop in fog?\nWrite a short notice about the harbour."))
        self.typed.changed.connect(lambda: self.put(prompts=self.typed.value()))
        typed = Panel(heading(tr("Typed prompts"), tr("one a line")), self.typed, pad=(16, 10, 16, 14), gap=6)
        self._files = col(gap=4)
        self.add_file = Button(theme, tr("Choose files"), icon="plus", on_click=self._choose_files)
        files = Panel(heading(tr("Files of prompts"), tr("text with one a line, CSV or JSONL"), self.add_file), self._files,
                      pad=(16, 10, 16, 12), gap=6)
        self.corpus = Choice(theme, [], name=tr("Documents"), empty=tr("No corpus yet"), placeholder=tr("None"))
        self.corpus.changed.connect(lambda: self.put(corpus=self.corpus.value() or ""))
        corpus = Panel(heading(tr("Documents"), tr("their beginnings, to be continued")), self.corpus, pad=(16, 10, 16, 14), gap=6)
        self._first, self._first_note = col(gap=8), small(wrap=True)
        side = Panel(heading(tr("The first prompts")), self._first_note, (Scroll(col(self._first, "+", gap=0, host=Poured()),
                                                                                 horizontal=False), 1), pad=(16, 10, 8, 12), gap=8)
        col((Beside(theme, scrolled(self._problem, sets, typed, files, corpus), side, side_width=SIDE), 1), gap=0, host=self)

    def fill(self) -> None:
        self.typed.set(self.plan.values["prompts"])

    def refresh(self) -> None:
        plan = self.plan
        if plan.sets is not None and plan.sets != self._shown:
            self._shown = list(plan.sets)
            clear(self._sets.layout())
            self.ticks = {}
            for one in plan.sets:
                tick = Tick(self.theme, one.title)
                tick.changed.connect(lambda id=one.id: self._ticked(id))
                self.ticks[one.id] = tick
                self._sets.layout().addWidget(row(tick, "+", small(trn("{shown} question", "{shown} questions", one.rows,
                                                                       shown=number(one.rows))), gap=8))
        self._sets_note.set(tr("There is no set yet. Type some prompts, or choose a file.") if plan.sets == [] else
                            tr("Reading the sets…") if plan.sets is None else "")
        show_if(self._sets_note, not plan.sets)
        if not self.problems():
            show_if(self._problem, False)
        for id, tick in self.ticks.items():
            tick.set(id in plan.values["examples"])
        clear(self._files.layout())
        for name in plan.values["files"]:
            drop = Button(self.theme, "", "icon", icon="close", name=tr("Take {file} out", file=Path(name).name),
                          on_click=lambda name=name: self._drop(name))
            self._files.layout().addWidget(row(Icon(self.theme, "file"), (Text(Path(name).name, elide=True), 1), drop, gap=8))
        show_if(self._files, bool(plan.values["files"]))
        choices = [("", tr("None")), *plan.corpora] if plan.corpora else []
        if self.corpus._values != [v for v, _ in choices]:
            self.corpus.set_choices(choices)
        if choices and self.corpus.value() != plan.values["corpus"]:
            self.corpus.set(plan.values["corpus"])
        self._show_first()

    def _show_first(self) -> None:
        """The first prompts of what is chosen: those of sets are read in a thread."""
        plan, project = self.plan, self.context.project
        found = [p for p in plan.values["prompts"] if p.strip()]
        for id in plan.values["examples"]:
            if id in self._read:
                found += self._read[id]
            elif id not in self._reading and project is not None:
                self._reading.add(id)

                def read(id: str = id, library: Any = project.library.examples) -> list[str]:
                    return [first_question(r.example) for r in library.rows(ExampleFilter(sets=(id,)), "position", 0, SHOWN)]

                def came(rows: list[str], id: str = id) -> None:
                    self._reading.discard(id)
                    self._read[id] = [r for r in rows if r]
                    self._show_first()

                def wrong(error: Exception, id: str = id) -> None:
                    self._reading.discard(id)
                    self._read[id] = []
                    if not isinstance(error, FledgeError):
                        raise error
                self.context.jobs.run(read, then=came, failed=wrong, owner=self)
        many, all_ = plan.prompts()
        self._first_note.set(tr("Choose where prompts are from; the first ones are shown here.") if not found and all_ else
                             tr("Prompts of files and documents are read when the run starts.") if not all_ else
                             trn("{shown} prompt in all", "{shown} prompts in all", many, shown=number(many)))
        clear(self._first.layout())
        lines: list[Item] = []
        for words in found[:SHOWN]:
            lines += [rule() if lines else None, Text(words[:300], wrap=True)]
        fill(self._first.layout(), tuple(lines), 8)  # type: ignore[arg-type]

    def _ticked(self, id: str) -> None:
        if not self._loading:
            self.plan.toggle_set(id, self.ticks[id].value())
            self.refresh()
            self.edited.emit()

    def _choose_files(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self, tr("Files of prompts"), str(Path.home()),
                                                tr("Prompts ({kinds});;All files (*)", kinds="*.txt *.md *.csv *.tsv *.jsonl *.json"))
        if names:
            self.plan.add_files(names)
            self.refresh()
            self.edited.emit()

    def _drop(self, name: str) -> None:
        self.plan.drop_file(name)
        self.refresh()
        self.edited.emit()

    def check(self) -> list[Problem]:
        found = self.problems()
        self._problem.set(f"{found[0].sentence} {found[0].remedy}" if found else "")
        show_if(self._problem, bool(found))
        if found and self.ticks:
            next(iter(self.ticks.values())).setFocus()
        elif found:
            self.typed.setFocus()
        return []


def first_question(example: Example) -> str:
    """What an example asks last, on a few lines."""
    return next((m.content for m in reversed(example.messages) if m.role == "user"), "")


class AnswerModelsBody(PlanBody):
    """Step 2: who gives the first and the second answer, and how freely."""

    step = "models"

    def __init__(self, context: AppContext, plan: PairPlan) -> None:
        super().__init__(context, plan)
        theme = self.theme
        self.places = ModelPlaces(context, plan.parts_of)
        self.places.chosen.connect(self._pick)
        about = {"first": tr("A checkpoint of this project, or a local model."),
                 "second": tr("The same model may answer twice: two answers of one model teach it to prefer its own better one.")}
        self.temperatures: dict[str, NumberField] = {}
        self.pickers: dict[str, PartPicker] = {}
        for role in ROLES:
            field = NumberField(whole=False, name=tr("Temperature, {part}", part=role_title(role).lower()), low=0, high=5)
            field.changed.connect(lambda role=role: self._warm(role))
            self.temperatures[role] = field
            self.pickers[role] = PartPicker(theme, role_title(role), about[role], partial(self._picked, role),
                                            row(small(tr("Temperature")), (field, 1), gap=10),
                                            empty=tr("The same model again") if role == "second" else "")
        self._heat = small("", "danger", wrap=True)
        show_if(self._heat, False)
        why = small(tr("Two answers must differ to be worth comparing: a little more temperature in one of them helps."), wrap=True)
        side = Panel(heading(tr("Who answers")), *self.pickers.values(), self._heat, rule(), why, "+", pad=(16, 10, 16, 14), gap=12)
        col((Beside(theme, self.places, side, side_width=SIDE), 1), gap=0, host=self)

    def fill(self) -> None:
        for role in ROLES:
            self.temperatures[role].set(self.plan.values[f"{role}_temperature"])

    def refresh(self) -> None:
        plan = self.plan
        self.places.set(plan.places)
        choices = [(m.name, tr("{model}, {place}", model=m.title, place=p.title)) for p in plan.places or () for m in p.models]
        for role, picker in self.pickers.items():
            own = [("", tr("The same model again")), *choices] if role == "second" and choices else choices
            value = plan.values[role] or ("" if role == "second" and choices else None)
            if picker.choice._values != [v for v, _ in own] or picker.choice.value() != value:
                picker.choice.set_choices(own)
                picker.choice.set(value)

    def _warm(self, role: str) -> None:
        value = self.temperatures[role].value()
        if value is not None and not self.temperatures[role].wrong():
            self.put(**{f"{role}_temperature": float(value)})

    def _picked(self, role: str) -> None:
        self._give(role, self.pickers[role].choice.value() or "")

    def _give(self, role: str, model: str) -> None:
        if not self._loading:
            self.plan.choose(role, model)
            self.refresh()
            self.edited.emit()
            self.pickers[role].show_problem("")

    def _pick(self, model: str) -> None:
        """A model of a list: the first answer while nobody gives it, then the second."""
        self._give("first" if not self.plan.values["first"] or self.plan.values["first"] == model else "second", model)

    def problems(self) -> list[Problem]:
        wrong = [Problem(f"{role}_temperature", words) for role, field in self.temperatures.items() if (words := field.wrong())]
        return wrong + self.plan.problems("models")

    def check(self) -> list[Problem]:
        found = self.problems()
        for role, picker in self.pickers.items():
            mine = [p for p in found if p.field == role]
            picker.show_problem(f"{mine[0].sentence} {mine[0].remedy}" if mine else "")
            set_wrong(self.temperatures[role], any(p.field == f"{role}_temperature" for p in found))
        heat = [p for p in found if p.field.endswith("_temperature")]
        self._heat.set(f"{heat[0].sentence} {heat[0].remedy}".strip() if heat else "")
        show_if(self._heat, bool(heat))
        first = next((p.field for p in found), "")
        if first in self.pickers:
            self.pickers[first].choice.setFocus()
        elif heat:
            self.temperatures[heat[0].field.removesuffix("_temperature")].setFocus()
        return [p for p in found if p.field not in (*ROLES, *(f"{r}_temperature" for r in ROLES))]


class PairAmountBody(FormBody):
    """Step 3: how many, and what an answer may be; beside it what that takes."""

    step = "amount"

    def __init__(self, context: AppContext, plan: PairPlan) -> None:
        super().__init__(context, plan)
        fields = [f for f in AMOUNT_FIELDS if f in PreferenceSpec.model_fields]
        self.form: SpecForm = self.make_form(fields, tr("How many, and how long"))
        self._takes, self._note = Facts(gap=6), small(wrap=True)
        takes = Panel(Text(tr("What it takes"), "section"), self._takes, self._note, pad=(16, 10, 16, 14), gap=8)
        then = Panel(Text(tr("What happens"), "section"),
                     small(tr("Both answers to every prompt are made ahead, in bulk, so that labelling needs no model and never waits."),
                           wrap=True),
                     small(tr("Pairs come into the library as they are made: label the first ones while the rest is on its way."),
                           wrap=True),
                     small(tr("Two equal answers are asked for again, and left out when they stay equal."), wrap=True),
                     pad=(16, 10, 16, 14), gap=8)
        col((Beside(self.theme, scrolled(Panel(self.form, pad=(16, 10, 16, 8))), col(takes, then, "+", gap=12), side_width=SIDE), 1), gap=0,
            host=self)

    def fill(self) -> None:
        self.form.load(self.plan.values)

    def refresh(self) -> None:
        plan = self.plan
        title = self.form.rows["title"].control
        if hasattr(title, "setPlaceholderText"):
            title.setPlaceholderText(plan.title)
        seconds = plan.seconds()
        self._takes.set([(tr("Answers"), number(2 * plan.count)), (tr("Tokens, at most"), count(plan.most_tokens())),
                         (tr("Time"), duration(seconds) if seconds is not None else tr("told by the first pairs")),
                         (tr("To label them"), tr("about {time}", time=duration(plan.count * 6.5)))])
        self._note.set(tr("Measured in an earlier run with these models.") if seconds is not None else
                       tr("The run says how long it takes as soon as the first pairs are there. It can be stopped and resumed."))
