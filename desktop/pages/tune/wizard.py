"""The wizard of preference tuning. Every decision is models/tune_plan.py's."""

from typing import TYPE_CHECKING

from desktop.models import pairs_look
from desktop.models.tune_plan import DPO, DPO_DATA, PPO, PPO_DATA, TunePlan
from desktop.pages.tune.goal_body import GoalBody
from desktop.pages.tune.pairs_step import DpoPairsBody
from desktop.pages.tune.prompts_step import NEAR, ROUNDS, PromptsBody
from desktop.widgets.tuning.body import WizardBody
from desktop.widgets.tuning.method_body import MethodBody
from desktop.widgets.tuning.pairs_wizard import PairsWizard
from desktop.widgets.tuning.settings_body import SIMPLE, SettingsBody
from engine.contract.tuning import RUN, SCHEDULE
from engine.contract.words import tr
from engine.stages.ppo.spec import LOSS

if TYPE_CHECKING:
    from desktop.context import AppContext

DPO_MODULE = "engine.stages.dpo.measure"
PPO_MODULE = "engine.stages.ppo.measure"


class Wizard(PairsWizard):
    plan: TunePlan

    def __init__(self, context: "AppContext", can_cancel: bool = False) -> None:
        super().__init__(context, TunePlan(context.device_facts), name="tune", title=tr("Preference tuning"),
                         sentence=tr("A model that answers learns to answer as people prefer."),
                         measures={DPO: DPO_MODULE, PPO: PPO_MODULE},
                         shared=("goal",), can_cancel=can_cancel)
        self.read()

    def take_found(self, found: pairs_look.Found) -> None:
        super().take_found(found)
        self.plan.set_prompts(found.examples, found.rewards)

    def make_body(self, step: str) -> WizardBody:
        context, plan = self.context, self.plan
        if step == "goal":
            return GoalBody(context, plan)
        if step == "data":
            return DpoPairsBody(context, plan) if plan.goal == DPO else PromptsBody(context, plan)
        if step == "method":
            return MethodBody(context, plan)
        if plan.goal == DPO:
            return SettingsBody(context, plan, "dpo", SIMPLE, (SCHEDULE, RUN), leave_out=DPO_DATA)
        return SettingsBody(context, plan, "ppo", SIMPLE, (SCHEDULE, LOSS, RUN), leave_out=(*PPO_DATA, *ROUNDS, *NEAR))
