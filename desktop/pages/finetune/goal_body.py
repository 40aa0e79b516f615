"""Step 1: what is taught, to answer or a domain, and the model that it starts from."""

from typing import TYPE_CHECKING

from desktop.models.finetune_plan import ADAPT, SFT, STEPS, FinetunePlan
from desktop.widgets.buttons import Button
from desktop.widgets.choice_card import ChoiceCard, side_by_side
from desktop.widgets.flexible import Beside
from desktop.widgets.layout import col
from desktop.widgets.tuning.body import SIDE, Gutter, WizardBody
from desktop.widgets.tuning.model_panel import EarlierOf, ModelPanel
from engine.contract.words import tr

if TYPE_CHECKING:
    from desktop.context import AppContext


class GoalBody(WizardBody):
    """Two cards and a picker."""

    def __init__(self, context: "AppContext", plan: FinetunePlan) -> None:
        super().__init__(context, plan)
        theme = self.theme
        self.cards = {
            SFT: ChoiceCard(theme, "chat", tr("To answer"), tr("Conversations teach a model to reply: when to speak, in which form, and "
                            "when to stop. It keeps what it knows."), tr("Needs instruction data: some hundred examples to begin with.")),
            ADAPT: ChoiceCard(theme, "text", tr("A domain"), tr("The model goes on reading, now your own texts: medicine, law, your notes. "
                              "General text is mixed in, so that it forgets little."), tr("Needs a corpus of that domain: megabytes, "
                              "better more."))}
        for goal, card in self.cards.items():
            card.clicked.connect(lambda goal=goal: self._choose(goal))
        self.model = ModelPanel(self, Button(theme, tr("Import an open model"), "quiet", icon="in",
                                             on_click=lambda: context.navigate("import_model")))
        self.earlier = EarlierOf(self, tuple(STEPS), tr("From"), tr("Validation"))
        main = Gutter(side_by_side(*self.cards.values()), self.model, self.earlier)
        side = col(self.model.facts_panel, self.model.remains, "+", gap=12)
        col((Beside(theme, main, side, side_width=SIDE, least=300), 1), gap=0, host=self)

    def _choose(self, goal: str) -> None:
        if goal != self.plan.goal:
            self.plan.set_goal(goal)
            self.edited.emit()

    def fill(self) -> None:
        self.earlier.read()
        self.model.load(self.plan)

    def refresh(self) -> None:
        for goal, card in self.cards.items():
            card.set_chosen(goal == self.plan.goal)
        self.model.refresh(self.plan)
