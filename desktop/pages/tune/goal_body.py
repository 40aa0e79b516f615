"""Step 1: from labels directly or with the reward model, and the model that it starts from."""

from typing import TYPE_CHECKING

from desktop.models.tune_plan import DPO, PPO, TunePlan
from desktop.widgets.buttons import Button
from desktop.widgets.choice_card import ChoiceCard
from desktop.widgets.flexible import Beside
from desktop.widgets.layout import col, show_if
from desktop.widgets.notes import Note
from desktop.widgets.tuning.body import SIDE, Gutter, WizardBody
from desktop.widgets.tuning.method_body import Cards
from desktop.widgets.tuning.model_panel import EarlierOf, ModelPanel
from engine.contract.words import tr

if TYPE_CHECKING:
    from desktop.context import AppContext


class GoalBody(WizardBody):
    """Two cards and a picker."""

    plan: TunePlan

    def __init__(self, context: "AppContext", plan: TunePlan) -> None:
        super().__init__(context, plan)
        theme = self.theme
        self.cards = {
            DPO: ChoiceCard(theme, "pairs", tr("From labels directly (DPO)"),
                            tr("Of each labelled pair the better answer is made likelier than the other. Short, steady, little memory: "
                               "take this first."),
                            tr("Needs labelled pairs, no reward model. Learns from answers that others wrote, so it cannot go much beyond "
                               "them.")),
            PPO: ChoiceCard(theme, "scale", tr("With the reward model (PPO)"),
                            tr("It answers prompts itself, the reward model scores the answers, and what scores better becomes likelier. "
                               "Goes further, and also finds what the reward model likes wrongly."),
                            tr("Needs a reward model that can be relied on. Several times as long, and up to four models in memory."))}
        for goal, card in self.cards.items():
            card.clicked.connect(lambda goal=goal: self._choose(goal))
        self.model = ModelPanel(self, Button(theme, tr("Fine-tune a model"), "quiet", icon="plus",
                                             on_click=lambda: context.navigate("sft")))
        self.no_reward = Note(theme, "info", tr("There is no reward model yet"),
                              tr("PPO needs one that scores answers: it is trained from the same labels."),
                              Button(theme, tr("Train a reward model"), on_click=lambda: context.navigate("reward")))
        self.earlier = EarlierOf(self, (DPO, PPO), tr("From"), tr("Validation"))
        side = col(self.model.facts_panel, self.model.remains, "+", gap=12)
        main = Gutter(Cards(theme, list(self.cards.values())), self.no_reward, self.model, self.earlier)
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
        show_if(self.no_reward, self.plan.goal == PPO and self.plan.rewards == [])
        self.model.refresh(self.plan)
