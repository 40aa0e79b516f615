"""The wizard of reasoning. Every decision is models/reasoning_plan.py's."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from desktop.models import reasoning_look
from desktop.models.reasoning_plan import AMOUNT, GRPO, ReasoningPlan
from desktop.pages.reasoning.model_step import ModelBody
from desktop.pages.reasoning.problems_step import ProblemsBody
from desktop.pages.reasoning.verifier_step import VerifierBody
from desktop.pages.reasoning.way_step import WayBody
from desktop.widgets.tuning.body import WizardBody
from desktop.widgets.tuning.method_body import MethodBody
from desktop.widgets.tuning.settings_body import SettingsBody
from desktop.widgets.tuning.wizard import TuningWizard
from engine.contract.spec import Problem
from engine.contract.tuning import RUN, SCHEDULE
from engine.contract.words import tr
from engine.project.project import Project

if TYPE_CHECKING:
    from desktop.context import AppContext

MODULE = "engine.stages.grpo.measure"
FIRST = ("title", "patience", "sample_every", "sample_prompts")
SAID = ("problem_sets", "verifier")
"""Settings whose problems their steps say themselves."""


class Wizard(TuningWizard):
    plan: ReasoningPlan

    def __init__(self, context: "AppContext", can_cancel: bool = False) -> None:
        super().__init__(context, ReasoningPlan(context.device_facts), name="reasoning", title=tr("Reasoning"),
                         sentence=tr("A model tries problems, a verifier checks; what was right becomes likelier."),
                         measures={GRPO: MODULE}, can_cancel=can_cancel)
        self.read()

    def look_at(self, project: Project) -> Callable[[], reasoning_look.Found]:
        return lambda: reasoning_look.look(project)

    def take_found(self, found: reasoning_look.Found) -> None:
        self.plan.set_models(found.models)
        self.plan.set_problems(found.sets, found.verifiers, found.trials, found.sandbox)

    def take(self, goal: str, values: dict[str, Any]) -> None:
        """Settings of an earlier run, or a few that another page gave: these go into what was begun, the rest stays as it was left."""
        if values and not values.keys() & {"rollouts", "preset"} and self.begun(goal):
            self.plan.set_values(values)
            self.plan.step = self.plan.steps[0]
            self.keep()
            self.reload()
        else:
            super().take(goal, values)

    def make_body(self, step: str) -> WizardBody:
        context, plan = self.context, self.plan
        made = {"model": ModelBody, "problems": ProblemsBody, "verifier": VerifierBody, "way": WayBody}.get(step)
        if made is not None:
            return made(context, plan)
        if step == "method":
            return MethodBody(context, plan)
        return SettingsBody(context, plan, GRPO, FIRST, (SCHEDULE, RUN), leave_out=AMOUNT)

    def unsaid(self, problems: list[Problem]) -> list[Problem]:
        return [p for p in problems if p.field not in SAID or (p.field == "problem_sets" and not self.plan.sets)]
