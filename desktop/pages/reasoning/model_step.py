"""Step 1: the model it starts from, which must be right at times, and the earlier runs."""

from typing import TYPE_CHECKING

from desktop.models.reasoning_plan import GRPO, ReasoningPlan
from desktop.widgets.buttons import Button
from desktop.widgets.flexible import Beside
from desktop.widgets.layout import col, show_if
from desktop.widgets.notes import Note
from desktop.widgets.tuning.body import SIDE, Gutter, WizardBody
from desktop.widgets.tuning.model_panel import EarlierOf, ModelPanel
from engine.contract.words import tr

if TYPE_CHECKING:
    from desktop.context import AppContext


class ModelBody(WizardBody):
    plan: ReasoningPlan

    def __init__(self, context: "AppContext", plan: ReasoningPlan) -> None:
        super().__init__(context, plan)
        theme = self.theme
        self.model = ModelPanel(self, Button(theme, tr("Fine-tune a model"), "quiet", icon="plus",
                                             on_click=lambda: context.navigate("sft")),
                                words=tr("It tries every problem several times, and learns from what was better than its other tries. "
                                         "What it never gets right it cannot learn this way."))
        self.base = Note(theme, "warn", tr("This model does not answer"),
                         tr("It was not tuned on questions and answers, so nearly all of its tries will be wrong."),
                         Button(theme, tr("Fine-tune it first"), on_click=lambda: context.navigate("sft", model=plan.values["model"])))
        self.earlier = EarlierOf(self, (GRPO,), tr("From"), tr("Solved"))
        side = col(self.model.facts_panel, self.model.remains, "+", gap=12)
        col((Beside(theme, Gutter(self.model, self.base, self.earlier), side, side_width=SIDE, least=300), 1), gap=0, host=self)

    def fill(self) -> None:
        self.earlier.read()
        self.model.load(self.plan)

    def refresh(self) -> None:
        self.model.refresh(self.plan)
        model = self.plan.model
        show_if(self.base, model is not None and not model.chat)
