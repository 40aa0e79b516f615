"""What is to be measured: the models, the suites as cards, what those need, and the settings. All decided by EvaluatePlan."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QSize, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QGridLayout, QSizePolicy, QWidget

from desktop.models.evaluate_plan import EvaluatePlan, SuiteChoice
from desktop.models.local_models import Place
from desktop.widgets.badge import Badge
from desktop.widgets.buttons import Button
from desktop.widgets.choice_card import Card
from desktop.widgets.columns import Columns
from desktop.widgets.fields import Choice, Tick
from desktop.widgets.layout import clear, col, row, show_if
from desktop.widgets.notes import Note, NoteSlot
from desktop.widgets.panel import Panel, heading, table_panel
from desktop.widgets.spec_form import SpecForm
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import Icon, Text, small
from engine.contract.errors import FledgeError
from engine.contract.spec import Problem
from engine.contract.units import number
from engine.contract.words import tr, trn
from engine.project.models import ModelRef
from engine.stages.evaluate.spec import EvaluateSpec

if TYPE_CHECKING:
    from desktop.context import AppContext

SIDE, CARD = 304, 272
ICONS = {"questions": "help", "choices": "list", "text_loss": "text", "example_loss": "chat", "win_rate": "chip", "blind": "pairs"}
OWN_ROWS = ("questions", "choices", "win_rate", "blind")
"""Kinds whose questions can be changed here."""


class SuiteCard(Card):
    """A suite to choose, by click, Space or Enter. `edit_wanted`: its own button, or the key E."""

    edit_wanted = Signal()

    def __init__(self, theme, suite: SuiteChoice) -> None:
        self.suite = suite
        self.mark = Icon(theme, "check", "accent")
        words = suite.problem or suite.sentence
        editable = suite.kind in OWN_ROWS and (suite.own or suite.questions > 0)
        self.edit = Button(theme, kind="icon", icon="edit" if suite.own else "copy", on_click=lambda: self.edit_wanted.emit(),
                           name=tr("Change {suite}", suite=suite.title) if suite.own else tr("Copy {suite} and change it",
                                                                                             suite=suite.title))
        head = row(Icon(theme, "error" if suite.problem else ICONS.get(suite.kind, "help"), "danger" if suite.problem else "accent"),
                   (Text(suite.title, "strong", elide=True), 1), Badge(tr("own")) if suite.own else None, self.mark,
                   self.edit if editable or suite.problem else None, gap=8)
        head.setMinimumHeight(theme.px(32))
        super().__init__(theme, head, small(words, "danger" if suite.problem else "text2", wrap=True), "+",
                         small(suite.foot(), "text3", wrap=True) if suite.foot() else None, pad=(14, 8, 8, 10), gap=4)
        if not (editable or suite.problem):
            self.edit.setParent(self)
            self.edit.hide()
        self.usable = not suite.problem
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.set_chosen(False)

    def set_chosen(self, chosen: bool) -> None:
        super().set_chosen(chosen)
        show_if(self.mark, chosen)
        said = tr("chosen") if chosen else tr("not chosen")
        self.setAccessibleName(f"{self.suite.title}, {said}. {self.suite.problem or self.suite.sentence} {self.suite.foot()}".strip())


class CardGrid(QWidget):
    """Cards of equal width, as many beside each other as there is room for."""

    def __init__(self, least: int) -> None:
        super().__init__()
        self._least, self._columns = least, 0
        self.cards: list[QWidget] = []
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(12)

    def set(self, cards: Sequence[QWidget]) -> None:
        clear(self._grid)
        self.cards, self._columns = list(cards), 0
        self._lay()

    def _lay(self) -> None:
        columns = max(1, (self.width() + 12) // (self._least + 12))
        if columns == self._columns:
            return
        for card in self.cards:
            self._grid.removeWidget(card)
        for c in range(self._grid.columnCount()):
            self._grid.setColumnStretch(c, 1 if c < columns else 0)
        for c in range(columns):
            self._grid.setColumnStretch(c, 1)
        self._columns = columns
        for i, card in enumerate(self.cards):
            self._grid.addWidget(card, i // columns, i % columns)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._lay()

    def minimumSizeHint(self) -> QSize:
        return QSize(min(self._least, super().minimumSizeHint().width()), super().minimumSizeHint().height())


class SetupView(QWidget):
    """`changed` after every edit; `judges_wanted`: look for local models; `suite_wanted(id)`: make or change a suite ("" a new one)."""

    changed = Signal()
    judges_wanted = Signal()
    suite_wanted = Signal(str)

    def __init__(self, context: "AppContext", plan: EvaluatePlan) -> None:
        super().__init__()
        self.context, self.plan, theme = context, plan, context.theme
        self.theme, self._loading = theme, False
        self.notes = NoteSlot(theme)
        self.models = Table(theme, [
            Column(tr("Model"), self._model_cell, least=160), Column(tr("Part"), self._part_cell, 128),
            Column(tr("Talks"), lambda m: Cell(tr("answers") if m.chat else tr("continues text"), tone="text2"), 120, drop=1),
            Column(tr("Step"), lambda m: number(m.step) if m.step else "", 80, right=True, drop=2)],
            name=tr("Models to measure"), fit=True, max_rows=5)
        self.models.clicked.connect(lambda index: self._toggle_model(self.models.rows_model.row(index.row())))
        self.models.opened.connect(self._toggle_model)
        self.models.chosen.connect(lambda _: self._show_first())
        self._first = Button(theme, tr("Compare with it"), "quiet",
                             tip=tr("The chosen row becomes the model that others are compared with."),
                             on_click=self._compare_with)
        self._chosen = small()
        models = table_panel(heading(tr("Models"), "", self._chosen, self._first), self.models)
        self.cards: dict[str, SuiteCard] = {}
        self.grid = CardGrid(theme.px(CARD))
        new = Button(theme, tr("New suite"), icon="plus", on_click=lambda: self.suite_wanted.emit(""))
        self._suites_words = small(tr("Reading the suites…"))
        suites = col(row(Text(tr("Suites"), "section"), self._suites_words, "+", new, gap=10), self.grid, gap=8)
        names = ("title", "limit", "form", "max_tokens", "samples", "temperature", "grader", "held_out_percent", "text_bytes", "rubric",
                 "margin", "seed")
        self.form = SpecForm(theme, EvaluateSpec, fields=[n for n in names if n in EvaluateSpec.model_fields], title=tr("Settings"))
        self.form.changed.connect(self._form_edited)
        settings = Panel(self.form, pad=(16, 10, 16, 10))
        self._build_side()
        main = col(self.notes, models, suites, settings, "+", gap=12)
        self.columns = Columns(theme, main, self._side, side_width=SIDE, gap=12)
        col((self.columns, 1), gap=0, host=self)

    def _build_side(self) -> None:
        theme = self.theme
        self._sets = col(gap=2)
        self._ticks: dict[str, Tick] = {}
        self._sets_note, self._sets_problem = small(wrap=True), small(tone="danger", wrap=True)
        bring = Button(theme, tr("Make or import some"), "quiet", on_click=lambda: self.context.navigate("instruct"))
        self.sets_panel = Panel(heading(tr("Questions")), self._sets_note, self._sets, row(bring, "+"), self._sets_problem,
                                pad=(16, 10, 16, 12), gap=6)
        self._seen = Note(theme, "warn", tr("Trained on these"), "")
        self._part = Button(theme, tr("Only what was kept for validation"), on_click=self._only_held_out)
        self.corpus = Choice(theme, (), name=tr("Held-out text"), empty=tr("No corpus yet"))
        self.corpus.changed.connect(lambda: self._put(corpus=self.corpus.value() or ""))
        self._corpus_problem = small(tone="danger", wrap=True)
        self.corpus_panel = Panel(heading(tr("Held-out text")), small(tr("Its validation part is what loss is measured on."), wrap=True),
                                  self.corpus, self._corpus_problem, pad=(16, 10, 16, 14), gap=6)
        self.judge = Choice(theme, (), name=tr("Judge"), empty=tr("Looking for models…"), placeholder=tr("Choose a model"))
        self.judge.changed.connect(lambda: (self._put(judge=self.judge.value() or ""), self._say_judge()))
        self._judge_note, self._judge_problem = small(wrap=True), small(tone="danger", wrap=True)
        again = Button(theme, tr("Look again"), "quiet", icon="refresh", on_click=self.judges_wanted.emit)
        self.judge_panel = Panel(heading(tr("Judge"), "", again), self.judge, self._judge_note, self._judge_problem,
                                 pad=(16, 10, 16, 14), gap=6)
        about = Panel(Text(tr("How to read it"), "section"),
                      small(tr("Each figure comes with the range it could really have (95 %). A difference between models is marked only "
                               "where it is more than chance."), wrap=True),
                      small(tr("What was answered is kept while it runs. Stop and resume whenever you like: nothing is asked twice."),
                            wrap=True), pad=(16, 10, 16, 14), gap=8)
        self._side = col(self.sets_panel, self._seen, self.corpus_panel, self.judge_panel, about, "+", gap=12)

    # showing ----------------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Everything from the plan, settings included."""
        self._loading = True
        self.form.load(self.plan.values)
        self._loading = False
        self.refresh()

    def set_models(self, models: Sequence[ModelRef]) -> None:
        if list(models) != self.models.rows_model.rows:
            self.models.set_rows(list(models))
        self.refresh()

    def set_suites(self, suites: Sequence[SuiteChoice]) -> None:
        if [card.suite for card in self.cards.values()] != list(suites):
            self.cards = {}
            for suite in suites:
                card = SuiteCard(self.theme, suite)
                card.clicked.connect(lambda id=suite.id: self._toggle_suite(id))
                card.edit_wanted.connect(lambda id=suite.id: self.suite_wanted.emit(id))
                self.cards[suite.id] = card
            self.grid.set(list(self.cards.values()))
        self._suites_words.set(tr("Choose what is measured."))
        self.refresh()

    def set_judges(self, places: Sequence[Place]) -> None:
        survey = self.context.survey
        choices = [(f"reward:{made.id}", tr("{model}, {place}", model=made.title, place=tr("a reward model")))
                   for made in (survey.of_kind("reward_model") if survey else ())]
        choices += [(m.name, tr("{model}, {place}", model=m.title, place=p.title)) for p in places if p.running for m in p.models]
        self.judge.set_choices(choices)
        self.judge.set(self.plan.values["judge"] or None)
        if not choices:
            self._judge_note.set(tr("No local model runs here. Start Ollama or a server of OpenAI's protocol, then look again; or train a "
                                    "reward model."))
        else:
            self._say_judge()

    def _say_judge(self) -> None:
        self._judge_note.set(
            tr("It scores every answer; the higher reward wins. It knows only the taste of the labels it was trained on.")
            if str(self.judge.value() or "").startswith("reward:") else
            tr("It sees every pair in both orders; how often it changed its mind is told."))

    def judges_failed(self, wrong: FledgeError) -> None:
        self._judge_note.set(f"{wrong.sentence} {wrong.remedy}")

    def refresh(self) -> None:
        plan = self.plan
        self.models.viewport().update()
        chosen = plan.values["models"]
        self._chosen.set(trn("{count} chosen", "{count} chosen", len(chosen)))
        for id, card in self.cards.items():
            if card.chosen != (id in plan.values["suites"]):
                card.set_chosen(id in plan.values["suites"])
        self._show_sets()
        show_if(self.corpus_panel, "corpus" in plan.needs)
        if self.corpus._values != [id for id, _ in plan.corpora]:
            self.corpus.set_choices(plan.corpora)
        if self.corpus.value() != (plan.values["corpus"] or None) and plan.values["corpus"]:
            self.corpus.set(plan.values["corpus"])
        show_if(self.judge_panel, "judge" in plan.needs)
        self._show_first()

    def _show_sets(self) -> None:
        plan = self.plan
        show_if(self.sets_panel, plan.takes_sets)
        sets = plan.sets or []
        if list(self._ticks) != [s.id for s in sets]:
            clear(self._sets.layout())
            self._ticks = {}
            for each in sets:
                tick = Tick(self.theme, each.title)
                tick.setToolTip(each.title)
                tick.changed.connect(lambda id=each.id: self._toggle_set(id))
                self._ticks[each.id] = tick
                self._sets.layout().addWidget(row((tick, 1), small(number(each.count - each.rejected)), gap=8))
        for id, tick in self._ticks.items():
            tick.set(id in plan.values["examples"])
        must = "examples" in plan.needs
        self._sets_note.set(tr("This project has no sets of examples yet.") if not sets and plan.sets is not None else
                            tr("Sets of the library whose answers are known.") if must else
                            tr("Prompts of your own instead of the suite's, if you like."))
        titles, share = plan.seen()
        show_if(self._seen, bool(titles) and plan.takes_sets)
        if titles:
            part = "held_out_examples" in plan.values["suites"] and share > 0 and plan.values["held_out_percent"] != share
            self._seen.set(tr("Trained on these"), tr("{models} learned from a chosen set. What it answers here says little about what it "
                                                      "answers elsewhere.", models=", ".join(titles)))
            self._part.setParent(None)
            self._part = Button(self.theme, tr("Only what was kept for validation"), on_click=self._only_held_out)
            self._seen.set_actions(*([self._part] if part else []))

    def _model_cell(self, model: ModelRef) -> Cell:
        on = model.id in self.plan.values["models"]
        return Cell(model.title, icon="check" if on else "", tone="accent" if on else "", strong=on, tip=model.id)

    def _part_cell(self, model: ModelRef) -> Cell:
        chosen = self.plan.values["models"]
        if model.id not in chosen:
            return Cell("")
        if len(chosen) == 1:
            return Cell(tr("measured"), tone="accent")
        return Cell(tr("compared with") if chosen[0] == model.id else tr("measured"), tone="accent")

    def _show_first(self) -> None:
        model, chosen = self.models.current_row(), self.plan.values["models"]
        self._first.setEnabled(model is not None and len(chosen) > (0 if model.id not in chosen else 1) and chosen[:1] != (model.id,))
        show_if(self._first, len(chosen) > 1)

    def show_problems(self, problems: Sequence[Problem]) -> None:
        """Each where it can be put right; those of models and suites above everything."""
        rest = self.form.show_problems(problems)
        for field, words in (("examples", self._sets_problem), ("corpus", self._corpus_problem), ("judge", self._judge_problem)):
            mine = [p for p in rest if p.field == field]
            words.set(" ".join(f"{p.sentence} {p.remedy}" for p in mine))
            show_if(words, bool(mine))
        shown_here = {"examples": self.plan.takes_sets, "corpus": "corpus" in self.plan.needs, "judge": "judge" in self.plan.needs}
        above = [p for p in rest if not shown_here.get(p.field)]
        if above:
            self.notes.show_error(FledgeError(above[0].sentence, above[0].remedy))
        else:
            self.notes.clear()

    # acting -----------------------------------------------------------------------------------------------------------

    def _edited(self) -> None:
        self.refresh()
        self.show_problems(())
        self.changed.emit()

    def _put(self, **values: object) -> None:
        self.plan.values |= values
        self._edited()

    def _toggle_model(self, model: ModelRef) -> None:
        self.plan.toggle("models", model.id)
        self._edited()

    def _compare_with(self) -> None:
        model = self.models.current_row()
        if model is not None:
            self.plan.compare_with(model.id)
            self._edited()

    def _toggle_suite(self, id: str) -> None:
        before = "judge" in self.plan.needs
        self.plan.toggle("suites", id)
        if "judge" in self.plan.needs and not before:
            self.judges_wanted.emit()
        self._edited()

    def _toggle_set(self, id: str) -> None:
        self.plan.toggle("examples", id)
        self._edited()

    def _only_held_out(self) -> None:
        self.form.set("held_out_percent", self.plan.seen()[1])

    def _form_edited(self) -> None:
        if not self._loading:
            values = self.form.values()
            self.plan.values |= {name: values[name] for name in self.form.names}
            self._edited()
