"""The wizard of a reward model: which model it grows from, which labels, by which method. Every decision is models/reward_plan.py's."""

from typing import TYPE_CHECKING

from desktop.models.reward_plan import LOSS, REWARD, RewardPlan
from desktop.widgets.buttons import Button
from desktop.widgets.flexible import Beside
from desktop.widgets.layout import col
from desktop.widgets.panel import Panel
from desktop.widgets.text import Text, small
from desktop.widgets.tuning.body import SIDE, Gutter, WizardBody
from desktop.widgets.tuning.method_body import MethodBody
from desktop.widgets.tuning.model_panel import EarlierOf, ModelPanel
from desktop.widgets.tuning.pairs_body import PairsBody
from desktop.widgets.tuning.pairs_wizard import PairsWizard
from desktop.widgets.tuning.settings_body import SettingsBody
from engine.contract.tuning import RUN, SCHEDULE
from engine.contract.words import tr

if TYPE_CHECKING:
    from desktop.context import AppContext

REWARD_MODULE = "engine.stages.reward.measure"
READING = ("validation_percent", "ties", "max_seq_len", "too_long", "template", "system")
FIRST = ("title", "epochs", "batch_size", "learning_rate", "score_unlabelled")


class ModelBody(WizardBody):
    """Which model learns to judge, and what a reward model is."""

    def __init__(self, context: "AppContext", plan: RewardPlan) -> None:
        super().__init__(context, plan)
        self.model = ModelPanel(self, Button(self.theme, tr("Import an open model"), "quiet", icon="in",
                                             on_click=lambda: context.navigate("import_model")),
                                title=tr("The model it grows from"),
                                words=tr("Usually the fine-tuned one: it has read answers in the form that is to be judged. Its weights "
                                         "are copied; what guessed the next token is replaced by one number, the reward."))
        steps = [(tr("It reads a prompt with both answers"), tr("each by itself, so that it can score one answer later")),
                 (tr("It gives each a number"), tr("only the difference counts: the better one should have the higher number")),
                 (tr("It is measured on labels it has not seen"), tr("50 % is guessing; people agree with one another in 65 to 75 %"))]
        what = Panel(Text(tr("How it learns"), "section"),
                     *[col(Text(f"{i}  {words}", "medium", wrap=True), small(note, wrap=True), gap=1) for i, (words, note) in
                       enumerate(steps, 1)], pad=(16, 10, 16, 14), gap=8)
        self.earlier = EarlierOf(self, (REWARD,), tr("From"), tr("Validation loss"))
        side = col(self.model.facts_panel, self.model.remains, "+", gap=12)
        col((Beside(self.theme, Gutter(self.model, what, self.earlier), side, side_width=SIDE, least=300), 1), gap=0, host=self)

    def fill(self) -> None:
        self.earlier.read()
        self.model.load(self.plan)

    def refresh(self) -> None:
        self.model.refresh(self.plan)


class Wizard(PairsWizard):
    def __init__(self, context: "AppContext", can_cancel: bool = False) -> None:
        super().__init__(context, RewardPlan(context.device_facts), name=REWARD, title=tr("Reward model"),
                         sentence=tr("Your labels become a model that scores answers as you would."), measures={REWARD: REWARD_MODULE},
                         can_cancel=can_cancel)
        self.read()

    def make_body(self, step: str) -> WizardBody:
        context, plan = self.context, self.plan
        if step == "model":
            return ModelBody(context, plan)
        if step == "pairs":
            return PairsBody(context, plan, READING, "reward.reading")
        if step == "method":
            return MethodBody(context, plan)
        return SettingsBody(context, plan, "reward", FIRST, (LOSS, SCHEDULE, RUN), leave_out=READING)
