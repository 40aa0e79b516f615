"""Where local models run, as cards with their models; and a picker for a part that a model can have. It asks nobody: it shows what was
found, and says what was chosen."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QWidget

from desktop.models.local_models import ModelChoice, Place
from desktop.theme.theme import Theme
from desktop.widgets.badge import Badge
from desktop.widgets.buttons import Button
from desktop.widgets.fields import Choice, set_wrong
from desktop.widgets.flexible import Poured
from desktop.widgets.layout import Item, Scroll, clear, col, fill, fixed, row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.panel import Panel, heading, rule
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import Icon, Text, small
from engine.contract.errors import FledgeError
from engine.contract.units import size
from engine.contract.words import tr

if TYPE_CHECKING:
    from desktop.context import AppContext

ICONS = {"ollama": "chip", "openai": "globe", "project": "seed", "gguf": "file"}
MOST = 6


def state_words(place: Place) -> str:
    """Whether there is somebody to ask, in a word."""
    if place.kind in ("project", "gguf"):
        return tr("ready") if place.running and place.models else tr("no model yet") if place.kind == "project" else tr("no file yet") \
            if place.running else tr("not installed")
    return tr("running") if place.running else tr("not running")


class PlaceCard(Panel):
    """One place: running or not, its models, what to start. `parts_of(model)`: what it does now, in words. `chosen(model)` when one is
    picked."""

    chosen = Signal(str)

    def __init__(self, theme: Theme, place: Place, parts_of: Callable[[str], list[str]], *actions: Item) -> None:
        self.place, self._parts_of = place, parts_of
        state = Badge(state_words(place), "ok" if place.running and place.models else "")
        head = row(Icon(theme, ICONS.get(place.kind, "chip"), "accent"), Text(place.title, "strong"), state,
                   (small(place.address, elide=True, align=Qt.AlignmentFlag.AlignRight), 1), *actions, gap=10, pad=(8, 0, 8, 0))
        parts: list[Item] = [head]
        self.table: Table | None = None
        if place.models:
            self.table = Table(theme, [
                Column(tr("Model"), self._model_cell, least=140), Column(tr("Part"), self._part_cell, 150),
                Column(tr("On disk"), lambda m: size(m.size) if m.size else "", 84, right=True, drop=1)],
                place.models, name=tr("Models of {place}", place=place.title), fit=True, max_rows=MOST)
            self.table.clicked.connect(lambda index: self.chosen.emit(place.models[index.row()].name))
            self.table.opened.connect(lambda m: self.chosen.emit(m.name))
            parts.append(self.table)
        if place.what_to_do and not place.models:
            parts.append(row((small(place.what_to_do, wrap=True), 1), pad=(8, 0, 8, 0)))
        super().__init__(*parts, pad=(8, 12, 8, 10), gap=8)
        self.setAccessibleName(f"{place.title}, {state.text()}. {place.what_to_do}".strip())

    def _model_cell(self, model: ModelChoice) -> Cell:
        on = bool(self._parts_of(model.name))
        return Cell(model.title, icon="check" if on else "", tone="accent" if on else "", strong=on,
                    tip=tr("Press Enter to choose it.") if not on else "")

    def _part_cell(self, model: ModelChoice) -> Cell:
        parts = self._parts_of(model.name)
        return Cell(", ".join(parts), tone="accent") if parts else Cell(tr("loaded") if model.loaded else "", tone="text2")

    def again(self) -> None:
        if self.table is not None:
            self.table.viewport().update()


class PartPicker(QWidget):
    """A part, the models for it, and what is wrong with the chosen one. `more` stands below the choice."""

    def __init__(self, theme: Theme, title: str, words: str, edited: Callable[[], object], *more: Item, empty: str = "") -> None:
        super().__init__()
        self.choice = Choice(theme, [], name=title, empty=tr("No model found"), placeholder=empty or tr("Choose a model"))
        self.choice.setAccessibleDescription(words)
        self.choice.changed.connect(edited)
        self._problem = small(tone="danger", wrap=True)
        col(Text(title, "medium"), self.choice, *more, small(words, wrap=True), self._problem, gap=4, host=self)
        self.show_problem("")

    def show_problem(self, words: str) -> None:
        self._problem.set(words)
        show_if(self._problem, bool(words))
        set_wrong(self.choice, bool(words))


class ModelPlaces(QWidget):
    """`set(places)` (None: still looking). `chosen(model)`; `look_wanted`: look again; `add_server_wanted`, `add_file_wanted`,
    `pull_wanted`: whoever asks for more."""

    chosen = Signal(str)
    look_wanted, add_server_wanted, add_file_wanted, pull_wanted = Signal(), Signal(), Signal(), Signal()

    def __init__(self, context: "AppContext", parts_of: Callable[[str], list[str]]) -> None:
        super().__init__()
        self.context, self.theme, self._parts_of = context, context.theme, parts_of
        theme = self.theme
        self.cards: list[PlaceCard] = []
        self._shown: list[Place] | None = None
        self.notes = NoteSlot(theme)
        self.again = Button(theme, tr("Look again"), icon="refresh", on_click=self.look_wanted.emit)
        self.server = Button(theme, tr("Add a server"), icon="plus", on_click=self.add_server_wanted.emit)
        self.file = Button(theme, tr("Choose a GGUF file"), icon="file", on_click=self.add_file_wanted.emit)
        self._said = small(tr("Looking for models…"))
        self._places = col(gap=12)
        head = row(Text(tr("On this machine"), "section"), self._said, "+", self.server, self.file, self.again, gap=8, pad=(0, 0, 8, 0))
        scroll = Scroll(col(self._places, "+", gap=12, pad=(0, 0, 8, 0), host=Poured()), horizontal=False)
        col(head, self.notes, (scroll, 1), gap=10, host=self)

    def set(self, places: Sequence[Place] | None) -> None:
        if places is not None and list(places) != self._shown:
            self._shown = list(places)
            self._build(self._shown)
        self._said.set(tr("Looking for models…") if places is None else "")
        self.again.setEnabled(places is not None)
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
            card = PlaceCard(theme, place, self._parts_of, *actions)
            card.chosen.connect(self.chosen)
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
