"""The wizard that makes pairs: the strip of steps, one body a step, and the draft that is kept of all of it. Decisions are
desktop/models/pair_plan.py's; what a step shows is in bodies.py."""

from typing import Any

from desktop.context import AppContext
from desktop.models.pair_plan import PairPlan, PromptSet, step_title
from desktop.pages.preference.bodies import AnswerModelsBody, PairAmountBody, PromptsBody
from desktop.widgets.layout import show_if
from desktop.widgets.model_wizard import ModelWizard
from desktop.widgets.plan_body import PlanBody
from engine.contract.units import number
from engine.contract.words import tr, trn
from engine.stages.preference.spec import PreferenceSpec

BODIES: dict[str, type[PlanBody]] = {"prompts": PromptsBody, "models": AnswerModelsBody, "amount": PairAmountBody}


class PairWizard(ModelWizard):
    """The wizard, with the sets whose questions can be asked."""

    draft_name = "preference_draft"
    plan: PairPlan

    def __init__(self, context: AppContext) -> None:
        super().__init__(context, PairPlan(), step_title, title=tr("Make pairs"),
                         sentence=tr("Two answers to every prompt, for you to compare."), now=tr("Start"))

    def make_body(self, step: str) -> PlanBody:
        return BODIES[step](self.context, self.plan)

    # what there is ----------------------------------------------------------------------------------------------------

    def look_around(self) -> None:
        """Models and sets, as they are now."""
        self.plan.confirmed = self.finder.confirmed
        self.finder.look()
        self.read_sets()
        self._survey_changed()

    def _sets_read(self, sets: list[Any]) -> None:
        self.plan.sets = [PromptSet(s.id, s.title, s.accepted + s.new) for s in sorted(sets, key=lambda s: -s.created)
                          if s.accepted + s.new]
        self.refresh()

    def file_role(self) -> str:
        return "first" if not self.plan.values["first"] else "second"

    def spec(self) -> PreferenceSpec:
        return self.plan.spec()

    def _show_forward(self) -> None:
        plan = self.plan
        show_if(self.now, False)
        self.forward.setEnabled(True)
        self.forward.set_words(tr("Next: {step}", step=step_title(plan.following).lower()) if plan.following else
                               trn("Make {shown} pair", "Make {shown} pairs", plan.count, shown=number(plan.count)))
