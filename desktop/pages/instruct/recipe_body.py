"""Step 2 of the wizard: which recipe, and what it starts from: a corpus, examples, topics."""

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QGridLayout, QSizePolicy, QWidget

from desktop.context import AppContext
from desktop.models.instruct_plan import InstructPlan, RecipeChoice
from desktop.theme.theme import Theme
from desktop.widgets.badge import Badge
from desktop.widgets.buttons import Button
from desktop.widgets.choice_card import Card
from desktop.widgets.fields import Choice, Lines, TextField, set_wrong
from desktop.widgets.flexible import Beside, scrolled
from desktop.widgets.layout import col, row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.panel import Panel, rule
from desktop.widgets.plan_body import PlanBody
from desktop.widgets.text import Icon, Text, small
from desktop.widgets.toggles import Toggles
from engine.contract.spec import Problem
from engine.contract.units import number
from engine.contract.words import tr

SIDE = 332
NEED_ICONS = {"documents": "text", "seeds": "list", "topics": "pairs"}


def need_words(recipe: RecipeChoice) -> str:
    """What a recipe starts from."""
    words = {"documents": tr("a corpus"), "seeds": tr("examples"), "topics": tr("topics"), "language": tr("a language"),
             "topics_or_seeds": tr("topics or examples")}
    needs = ", ".join(words[n] for n in recipe.needs if n in words)
    return tr("needs {needs}", needs=needs) if needs else tr("needs nothing")


class RecipeCard(Card):
    """A recipe; one that cannot be read says why and can still be opened."""

    def __init__(self, theme: Theme, recipe: RecipeChoice) -> None:
        self.recipe = recipe
        icon = NEED_ICONS.get(recipe.needs[0], "pairs") if recipe.needs else "pairs"
        own = Badge(tr("yours"), "accent") if recipe.path else None
        program = Badge(tr("program"), "warn", why=tr("A recipe in Python: it has to be read and trusted before it runs.")) \
            if recipe.python else None
        super().__init__(theme, row(Icon(theme, icon, "accent"), (Text(recipe.title, "strong", elide=True), 1), program, own, gap=10),
                         Text(recipe.problem or recipe.sentence, tone="danger" if recipe.problem else "text2", wrap=True), "+",
                         small(need_words(recipe), "text2"), pad=(16, 12, 16, 12), gap=6)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.setMinimumWidth(theme.px(200))
        self.setAccessibleName(f"{recipe.title}. {recipe.problem or recipe.sentence} {need_words(recipe)}")


class RecipeBody(PlanBody):
    """`open_wanted(recipe)`: its text is to be read; `copy_wanted(recipe)`: a copy of it is to be edited; `folder_wanted`: look again."""

    open_wanted = Signal(object)
    copy_wanted = Signal(object)
    look_wanted = Signal()
    step = "recipe"

    def __init__(self, context: AppContext, plan: InstructPlan) -> None:
        super().__init__(context, plan)
        theme = self.theme
        self.cards: dict[str, RecipeCard] = {}
        self.notes = NoteSlot(theme)
        self._shown: list[RecipeChoice] | None = None
        self._grid_host = QWidget()
        self._grid = QGridLayout(self._grid_host)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(12)
        self._scroll = scrolled(self._grid_host)
        main = col(self.notes, (self._scroll, 1), gap=10)
        self._title = Text("", "section", wrap=True)
        self._sentence = small(wrap=True)
        self.corpus = Choice(theme, [], name=tr("Documents"), empty=tr("No corpus yet"), placeholder=tr("Choose a corpus"))
        self.corpus.changed.connect(lambda: self.put(corpus=self.corpus.value() or ""))
        self.seeds = Toggles(theme, name=tr("Seed examples"))
        self.seeds.changed.connect(lambda: self.put(seeds=self.seeds.value()))
        self._no_seeds = small(tr("There are no sets yet. Import some examples first, or choose another recipe."), wrap=True)
        self.topics = Lines(name=tr("Topics"), rows=7, theme=theme, placeholder=tr("One a line:\nsteam ferries\nharbour law\nfog signals"))
        self.topics.changed.connect(lambda: self.put(topics=self.topics.value()))
        self.language = TextField(placeholder=tr("the text's own"), name=tr("Language"))
        self.language.changed.connect(lambda: self.put(language=self.language.value().strip()))
        self._problems = {n: small(tone="danger", wrap=True) for n in ("corpus", "seeds", "topics", "language", "recipe_hash")}
        self._make_corpus = Button(theme, tr("Import text"), "quiet", on_click=lambda: context.navigate("corpus"))
        self._documents_part = col(row(Text(tr("Documents"), "medium"), "+", self._make_corpus), self.corpus,
                                   small(tr("Passages of its training part are asked about."), wrap=True), self._problems["corpus"], gap=4)
        self._seeds_part = col(Text(tr("Seed examples"), "medium"), self.seeds, self._no_seeds, self._problems["seeds"], gap=6)
        self._topics_part = col(row(Text(tr("Topics"), "medium"), "+", small(tr("one a line"))), self.topics, self._problems["topics"],
                                gap=4)
        self._language_part = col(Text(tr("Language"), "medium"), self.language,
                                  small(tr("In words: English, Spanish, 日本語."), wrap=True), self._problems["language"], gap=4)
        self._trust = Button(theme, tr("Read and trust it"), icon="warn", on_click=lambda: self._with(self.open_wanted))
        self._trust_part = col(self._problems["recipe_hash"], self._trust, gap=4)
        self.read = Button(theme, tr("Read it"), icon="text", on_click=lambda: self._with(self.open_wanted))
        self.copy = Button(theme, tr("Copy and edit"), icon="copy", on_click=lambda: self._with(self.copy_wanted))
        self._side = Panel(self._title, self._sentence, 2, self._documents_part, self._seeds_part, self._topics_part, self._language_part,
                           self._trust_part, "+", rule(), row(self.read, self.copy, "+"), pad=(16, 12, 16, 14), gap=12)
        col((Beside(theme, main, self._side, side_width=SIDE), 1), gap=0, host=self)

    def fill(self) -> None:
        values = self.plan.values
        self.topics.set(values["topics"])
        self.seeds.set(values["seeds"])
        self.language.set(values["language"])

    def refresh(self) -> None:
        plan = self.plan
        recipes = plan.recipes or []
        if recipes != self._shown:
            self._shown = list(recipes)
            self._build(recipes)
        chosen = plan.recipe
        for card in self.cards.values():
            card.set_chosen(card.recipe is chosen or (chosen is not None and card.recipe.id == chosen.id))
        show_if(self._side, chosen is not None)
        if plan.corpora != list(zip(self.corpus._values, self._corpus_words(), strict=False)) or \
                self.corpus.value() != (plan.values["corpus"] or None):
            self.corpus.set_choices(plan.corpora)
            self.corpus.set(plan.values["corpus"] or None)
        if chosen is None:
            return
        used = chosen.uses
        self._title.set(chosen.title)
        self._sentence.set(chosen.sentence)
        show_if(self._sentence, bool(chosen.sentence))
        show_if(self._documents_part, "documents" in used)
        show_if(self._seeds_part, "seeds" in used)
        show_if(self._topics_part, "topics" in used)
        show_if(self._make_corpus, not plan.corpora)
        show_if(self._trust_part, chosen.python)
        self._trust.set_words(tr("Trusted; read it again") if plan.values["recipe_hash"] else tr("Read and trust it"))
        self.copy.set_words(tr("Edit") if chosen.path else tr("Copy and edit"))
        self.copy.set_icon("edit" if chosen.path else "copy")
        sets = [(id, title, number(self.counts.get(id, 0)) if id in self.counts else "") for id, title in plan.set_titles.items()]
        self.seeds.set_choices(sets)
        show_if(self.seeds, bool(sets))
        show_if(self._no_seeds, not sets)
        for label in self._problems.values():
            show_if(label, bool(label.words()))

    counts: dict[str, int] = {}

    def _corpus_words(self) -> list[str]:
        return [self.corpus.itemText(i) for i in range(self.corpus.count())]

    def _build(self, recipes: list[RecipeChoice]) -> None:
        while (item := self._grid.takeAt(0)) is not None:
            if (gone := item.widget()) is not None:
                gone.setParent(None)
                gone.deleteLater()
        self.cards = {}
        for place, recipe in enumerate(recipes):
            card = RecipeCard(self.theme, recipe)
            card.clicked.connect(lambda id=recipe.path or recipe.id: self._choose(id))
            self.cards[recipe.path or recipe.id] = card
            self._grid.addWidget(card, place // 2, place % 2)
        chosen = self.cards.get(str(self.plan.values["recipe"]))
        if chosen is not None:
            QTimer.singleShot(0, chosen, lambda: self._scroll.ensureWidgetVisible(chosen, 0, 12))
        self._grid.setColumnStretch(0, 1)
        self._grid.setColumnStretch(1, 1)

    def _choose(self, id: str) -> None:
        self.plan.choose_recipe(id)
        for label in self._problems.values():
            label.set("")
        self.refresh()
        self.edited.emit()

    def _with(self, signal: Signal) -> None:
        if self.plan.recipe is not None:
            signal.emit(self.plan.recipe)  # type: ignore[attr-defined]

    def check(self) -> list[Problem]:
        found = self.plan.problems("recipe")
        for name, label in self._problems.items():
            mine = [p for p in found if p.field == name]
            label.set(f"{mine[0].sentence} {mine[0].remedy}" if mine else "")
            show_if(label, bool(mine))
        set_wrong(self.corpus, any(p.field == "corpus" for p in found))
        set_wrong(self.topics, any(p.field == "topics" for p in found))
        set_wrong(self.language, any(p.field == "language" for p in found))
        return [p for p in found if p.field not in self._problems]

    def put(self, **values: object) -> None:
        for name in values:
            if name in self._problems:
                self._problems[name].set("")
        for control in (self.corpus, self.topics, self.language):
            set_wrong(control, False)
        super().put(**values)
