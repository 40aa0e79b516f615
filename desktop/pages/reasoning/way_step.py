"""Step 4: a published recipe, what it fills in, and how much is tried: rounds, problems, answers to each, how long they may be."""

from typing import TYPE_CHECKING

from desktop.models.reasoning_plan import AMOUNT, RECIPES, ReasoningPlan
from desktop.theme.theme import Theme
from desktop.widgets.choice_card import Card
from desktop.widgets.facts import Facts
from desktop.widgets.flexible import Beside
from desktop.widgets.layout import Item, clear, col, fill, row, show_if
from desktop.widgets.notes import Note
from desktop.widgets.panel import Panel
from desktop.widgets.text import Icon, Text, small
from desktop.widgets.tuning.body import SIDE, Gutter, WizardBody
from desktop.widgets.tuning.settings_body import value_words
from engine.contract.units import duration, number, size
from engine.contract.words import tr, trn
from engine.stages.grpo.spec import LOSS, PRESETS, GrpoSpec

if TYPE_CHECKING:
    from desktop.context import AppContext

NAME = 84
FEW_TRIES = 4
"""Answers to a problem, under which a group is mostly of one kind."""


class RecipeLine(Card):
    """A published recipe: its name, what it is good for, where it is from."""

    def __init__(self, theme: Theme, title: str, words: str, source: str) -> None:
        name = Text(title, "strong")
        name.setFixedWidth(theme.px(NAME))
        self._mark = Icon(theme, "check", "accent")
        policy = self._mark.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self._mark.setSizePolicy(policy)
        super().__init__(theme, row(name, (col(Text(words, tone="text2", wrap=True), small(source, "text3", wrap=True), gap=1), 1),
                                    self._mark, gap=10), pad=(12, 7, 12, 7), gap=0)
        self.setAccessibleName(f"{title}. {words} {source}")

    def set_chosen(self, chosen: bool) -> None:
        super().set_chosen(chosen)
        self._mark.setVisible(chosen)


class WayBody(WizardBody):
    plan: ReasoningPlan

    def __init__(self, context: "AppContext", plan: ReasoningPlan) -> None:
        super().__init__(context, plan)
        theme = self.theme
        self.cards = {id: RecipeLine(theme, preset.title, RECIPES[id], preset.source) for id, preset in PRESETS.items()}
        for id, card in self.cards.items():
            card.clicked.connect(lambda id=id: self.put(preset=id))
        self.amount = self.make_form([n for n in AMOUNT if n in GrpoSpec.model_fields], title=tr("How much is tried"), key="grpo.amount")
        own = [n for n in GrpoSpec.model_fields if GrpoSpec.option_of(n).group == LOSS and n != "preset"]
        self.loss = self.make_form(own, title=tr("Changed from the recipe"), key="grpo.loss")
        self.facts, self.sets = Facts(gap=6), Facts(gap=6)
        self.sets_title = Text(role="section")
        self.notes = col(gap=8)
        side = Gutter(Panel(Text(tr("What it will do"), "section"), self.facts, pad=(16, 10, 16, 12), gap=8),
                      self.notes, Panel(self.sets_title, self.sets, pad=(16, 10, 16, 12), gap=8))
        recipes = Panel(Text(tr("Recipe"), "section"), *self.cards.values(), pad=(16, 10, 16, 12), gap=6)
        main = Gutter(recipes, Panel(self.amount, pad=(16, 10, 16, 8), gap=4),
                      Panel(self.loss, pad=(16, 10, 16, 8), gap=4))
        col((Beside(theme, main, side, side_width=SIDE, least=300), 1), gap=0, host=self)

    def refresh(self) -> None:
        plan, values = self.plan, self.plan.values
        for id, card in self.cards.items():
            card.set_chosen(id == values["preset"])
        for form in self.forms:
            form.know({k: v for k, v in values.items() if k not in form.names})
            form.set_automatic({k: v for k, v in plan.automatic().items() if k in form.names})
        self.sets_title.set(tr("{recipe} sets", recipe=PRESETS[str(values["preset"])].title))
        self.sets.set([(GrpoSpec.option_of(name).label, value_words(plan, name, values[name] if values[name] is not None else value))
                       for name, value in plan.recipe.items()])
        facts = [(tr("Answers in all"), number(plan.answers))]
        asked = values["rollouts"] * values["prompts"] if isinstance(values["rollouts"], int) and isinstance(values["prompts"], int) else 0
        if plan.problems_to_learn and asked:
            times = max(1, round(asked / plan.problems_to_learn))
            facts.append((tr("Each problem, about"), trn("{shown} time", "{shown} times", times, shown=number(times))))
        if plan.plan is not None:
            here = next(m for m in plan.methods() if m.id == plan.plan.method)
            facts.append((tr("Updates of the weights"), number(plan.plan.steps)))
            facts += [(tr("Time, measured"), duration(here.measured_seconds)), (tr("Memory, measured"), size(here.measured_memory))] \
                if here.measured_seconds else [(tr("Time, by formula"), duration(plan.plan.cost.seconds)),
                                               (tr("Memory, by formula"), size(plan.plan.cost.memory))]
        self.facts.set(facts)
        box = self.notes.layout()
        clear(box)
        notes: list[Item] = []
        if isinstance(values["num_generations"], int) and values["num_generations"] < FEW_TRIES:
            notes.append(Note(self.theme, "warn", tr("Few answers to a problem"), tr("Most groups will be all right or all wrong, and "
                              "nothing is learned from these. 8 or 16 are usual.")))
        if values["temperature"] != 1 or values["top_p"] != 1 or values["top_k"]:
            notes.append(Note(self.theme, "info", tr("Not drawn as it is"), tr("Answers are drawn from another distribution than the one "
                              "that is trained; it is corrected, but less is learned from each.")))
        fill(box, tuple(notes), 8)
        show_if(self.notes, bool(notes))
