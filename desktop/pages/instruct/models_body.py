"""Step 1 of the wizard: the models found on this machine, and which of them writes, answers too, judges."""

from collections.abc import Callable
from functools import partial
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QWidget

from desktop.context import AppContext
from desktop.models.instruct_plan import ROLES, InstructPlan, ModelChoice, Place, role_title
from desktop.pages.instruct.bodies import Body, scrolled
from desktop.theme.theme import Theme
from desktop.widgets.badge import Badge
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.fields import Choice, Lines, set_wrong
from desktop.widgets.flexible import Beside
from desktop.widgets.layout import Item, clear, col, fill, fixed, row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.panel import Panel, heading, rule
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import Icon, Text, small
from engine.contract.errors import FledgeError
from engine.contract.spec import Problem
from engine.contract.units import size
from engine.contract.words import tr

SIDE = 312
ICONS = {"ollama": "chip", "openai": "globe", "project": "seed", "gguf": "file"}
MOST = 6


def state_words(place: Place) -> str:
    """Whether there is somebody to ask, in a word."""
    if place.kind in ("project", "gguf"):
        return tr("ready") if place.running and place.models else tr("no model yet") if place.kind == "project" else tr("no file yet") \
            if place.running else tr("not installed")
    return tr("running") if place.running else tr("not running")


class PlaceCard(Panel):
    """One place: running or not, its models, what to start. `chosen(model)` when one is picked."""

    chosen = Signal(str)

    def __init__(self, theme: Theme, place: Place, plan: InstructPlan, *actions: Item, extra: QWidget | None = None) -> None:
        self.place, self._plan = place, plan
        state = Badge(state_words(place), "ok" if place.running and place.models else "")
        head = row(Icon(theme, ICONS.get(place.kind, "chip"), "accent"), Text(place.title, "strong"), state,
                   (small(place.address, elide=True, align=Qt.AlignmentFlag.AlignRight), 1), *actions, gap=10, pad=(8, 0, 8, 0))
        parts: list[Item] = [head]
        self.table: Table | None = None
        if place.models:
            self.table = Table(theme, [
                Column(tr("Model"), self._model_cell, least=140), Column(tr("Part"), self._role_cell, 150),
                Column(tr("On disk"), lambda m: size(m.size) if m.size else "", 84, right=True, drop=1)],
                place.models, name=tr("Models of {place}", place=place.title), fit=True, max_rows=MOST)
            self.table.clicked.connect(lambda index: self.chosen.emit(place.models[index.row()].name))
            self.table.opened.connect(lambda m: self.chosen.emit(m.name))
            parts.append(self.table)
        if place.what_to_do and not place.models:
            parts.append(row((small(place.what_to_do, wrap=True), 1), pad=(8, 0, 8, 0)))
        parts.append(extra)
        super().__init__(*parts, pad=(8, 12, 8, 10), gap=8)
        self.setAccessibleName(f"{place.title}, {state.text()}. {place.what_to_do}".strip())

    def _model_cell(self, model: ModelChoice) -> Cell:
        on = bool(self._plan.roles_of(model.name))
        return Cell(model.title, icon="check" if on else "", tone="accent" if on else "", strong=on,
                    tip=tr("Press Enter to let it write.") if not on else "")

    def _role_cell(self, model: ModelChoice) -> Cell:
        roles = [role_title(r).lower() for r in self._plan.roles_of(model.name)]
        return Cell(", ".join(roles), tone="accent") if roles else Cell(tr("loaded") if model.loaded else "", tone="text2")

    def again(self) -> None:
        if self.table is not None:
            self.table.viewport().update()


class RolePicker(QWidget):
    """A role, the models for it, and what is wrong with the chosen one."""

    def __init__(self, theme: Theme, role: str, words: str, edited: Callable[[], object]) -> None:
        super().__init__()
        self.choice = Choice(theme, [], name=role_title(role), empty=tr("No model found"), placeholder=tr("Choose a model"))
        self.choice.setAccessibleDescription(words)
        self.choice.changed.connect(edited)
        self._problem = small(tone="danger", wrap=True)
        col(Text(role_title(role), "medium"), self.choice, small(words, wrap=True), self._problem, gap=4, host=self)
        self.show_problem("")

    def show_problem(self, words: str) -> None:
        self._problem.set(words)
        show_if(self._problem, bool(words))
        set_wrong(self.choice, bool(words))


class ModelsBody(Body):
    """`look_wanted`: look for models again. `add_server_wanted`, `add_file_wanted`, `pull_wanted`: the page asks for what is needed."""

    look_wanted = Signal()
    add_server_wanted = Signal()
    add_file_wanted = Signal()
    pull_wanted = Signal()

    def __init__(self, context: AppContext, plan: InstructPlan) -> None:
        super().__init__(context, plan)
        theme = self.theme
        self.cards: list[PlaceCard] = []
        self._shown: Any = None
        self.notes = NoteSlot(theme)
        self.again = Button(theme, tr("Look again"), icon="refresh", on_click=self.look_wanted.emit)
        self.server = Button(theme, tr("Add a server"), icon="plus", on_click=self.add_server_wanted.emit)
        self.file = Button(theme, tr("Choose a GGUF file"), icon="file", on_click=self.add_file_wanted.emit)
        self._said = small(tr("Looking for models…"))
        self._places = col(gap=12)
        head = row(Text(tr("On this machine"), "section"), self._said, "+", self.server, self.file, self.again, gap=8, pad=(0, 0, 8, 0))
        main = col(head, self.notes, (scrolled(self._places), 1), gap=10)
        self.mode = Segments(theme, [("one", tr("One")), ("scored", tr("One, judged")), ("two", tr("Two, judged"))], "one",
                             name=tr("How many models"), on_change=self._mode_chosen)
        about = {"responder": tr("Asks and answers, or answers what the recipe asks."),
                 "second_responder": tr("Answers the same question. The first model again is allowed: it answers twice."),
                 "judge": tr("Scores answers by the rubric; two of them in both orders, and the better one is kept.")}
        self.pickers = {r: RolePicker(theme, r, about[r], partial(self._picked, r)) for r in ROLES}
        self.rubric = Lines(name=tr("Rubric"), rows=7, theme=theme, placeholder=tr("Empty: the recipe's own"))
        self.rubric.changed.connect(lambda: self.put(rubric="\n".join(self.rubric.value())))
        self._rubric = col(row(Text(tr("Rubric"), "medium"), "+", small(tr("what the judge looks at"))), self.rubric, gap=4)
        side = Panel(heading(tr("Who does what")), self.mode, 2, *self.pickers.values(), self._rubric, "+", pad=(16, 10, 16, 14), gap=12)
        col((Beside(theme, main, side, side_width=SIDE), 1), gap=0, host=self)

    # showing ----------------------------------------------------------------------------------------------------------

    def fill(self) -> None:
        self.mode.set(self.plan.mode)
        self.rubric.set(tuple(str(self.plan.values["rubric"]).splitlines()))

    def refresh(self) -> None:
        plan = self.plan
        places = plan.places
        if places != self._shown and places is not None:
            self._shown = list(places)
            self._build(places)
        self._said.set(tr("Looking for models…") if places is None else "")
        self.again.setEnabled(places is not None)
        choices = [(m.name, tr("{model}, {place}", model=m.title, place=p.title)) for p in places or () for m in p.models]
        for role, picker in self.pickers.items():
            if picker.choice._values != [v for v, _ in choices] or picker.choice.value() != (plan.values[role] or None):
                picker.choice.set_choices(choices)
                picker.choice.set(plan.values[role] or None)
            show_if(picker, role in plan.parts)
        show_if(self._rubric, plan.judged)
        recipe = plan.recipe
        if recipe is not None and recipe.rubric:
            self.rubric.setPlaceholderText(recipe.rubric)
        for card in self.cards:
            card.again()

    def _build(self, places: list[Place]) -> None:
        theme = self.theme
        clear(self._places.layout())
        self.cards = []
        useful = [p for p in places if p.running and (p.models or p.kind not in ("project", "gguf"))]
        for place in useful:
            actions: list[Item] = []
            if place.kind == "ollama":
                actions.append(Button(theme, tr("Get a model"), "quiet", on_click=self.pull_wanted.emit))
            card = PlaceCard(theme, place, self.plan, *actions)
            card.chosen.connect(self._pick)
            self.cards.append(card)
        lines: list[Item] = []
        for place in (p for p in places if p not in useful):
            lines += [rule() if lines else None, self._absent(place)]
        absent = [Panel(heading(tr("Not there now")), *lines, pad=(16, 10, 16, 12), gap=8)] if lines else []
        if not any(p.running and p.models for p in places):
            lead = Panel(Text(tr("No local model runs"), "section"),
                         small(tr("Start Ollama or LM Studio, or any server that speaks OpenAI's protocol; choose a GGUF file; or train or "
                                  "import a model here, which needs nothing else. Then look again."), wrap=True),
                         row(Button(theme, tr("Look again"), "primary", icon="refresh", on_click=self.look_wanted.emit),
                             Button(theme, tr("Import a model"), icon="in", on_click=lambda: self.context.navigate("import_model")), "+"),
                         pad=(16, 12, 16, 14), gap=8)
            fill(self._places.layout(), (lead, *self.cards, *absent), 12)  # type: ignore[arg-type]
        else:
            fill(self._places.layout(), (*self.cards, *absent), 12)  # type: ignore[arg-type]

    def _absent(self, place: Place) -> QWidget:
        """A place where nobody answers, and what to do about it."""
        words = place.what_to_do or (tr("Choose a file, or fetch one with LM Studio or llama.cpp.") if place.kind == "gguf" else "")
        name = row(Icon(self.theme, ICONS.get(place.kind, "chip"), "text2"), fixed(Text(place.title, "medium"), self.theme.px(92)), gap=10)
        made = row(name, (small(words, wrap=True), 1), small(state_words(place), "text3"), gap=10)
        made.setAccessibleName(f"{place.title}, {state_words(place)}. {words}")
        return made

    def show_error(self, wrong: FledgeError) -> None:
        self.notes.show_error(wrong, Button(self.theme, tr("Look again"), on_click=self.look_wanted.emit))

    # acting -----------------------------------------------------------------------------------------------------------

    def _mode_chosen(self, mode: str) -> None:
        if self._loading:
            return
        self.plan.set_mode(mode)
        self.refresh()
        self.edited.emit()

    def _picked(self, role: str) -> None:
        self._give(role, self.pickers[role].choice.value() or "")

    def _give(self, role: str, model: str) -> None:
        if self._loading:
            return
        self.plan.choose(role, model)
        self.refresh()
        self.edited.emit()
        self.pickers[role].show_problem("")

    def _pick(self, model: str) -> None:
        """A model of a list: it takes the first part that nobody has, else it writes."""
        free = [r for r in self.plan.parts if not self.plan.values[r]]
        role = free[0] if free else "responder"
        self._give(role, model)

    def check(self) -> list[Problem]:
        found = self.plan.problems("models")
        for role, picker in self.pickers.items():
            mine = [p for p in found if p.field == role]
            picker.show_problem(f"{mine[0].sentence} {mine[0].remedy}" if mine else "")
        if found:
            self.pickers[found[0].field].choice.setFocus()
        return []
