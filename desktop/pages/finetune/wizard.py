"""The wizard of fine-tuning and domain training. Every decision is models/finetune_plan.py's. It asks the microscope what would be trained
on whenever that may have changed."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QTimer

from desktop.jobs.inquiry import Inquiry
from desktop.models import finetune_look, finetune_mask
from desktop.models.finetune_plan import ADAPT, SFT, FinetunePlan
from desktop.pages.finetune.data_body import ExamplesBody, TextBody
from desktop.pages.finetune.goal_body import GoalBody
from desktop.pages.finetune.template_body import TemplateBody
from desktop.widgets.tuning.body import WizardBody
from desktop.widgets.tuning.method_body import MethodBody
from desktop.widgets.tuning.settings_body import SettingsBody
from desktop.widgets.tuning.wizard import TuningWizard
from engine.contract.errors import FledgeError
from engine.contract.spec import Problem
from engine.contract.words import tr
from engine.project.project import Project

if TYPE_CHECKING:
    from desktop.context import AppContext

MICROSCOPE_MODULE = "engine.stages.sft.microscope"
SFT_MODULE = "engine.stages.sft.measure"
ADAPT_MODULE = "engine.stages.adapt.measure"
MEASURES = {SFT: SFT_MODULE, ADAPT: ADAPT_MODULE}
BATCHES, LISTED = "4", "4000"
SETTLE_MS = 350


class Wizard(TuningWizard):
    """Also the look at real batches."""

    plan: FinetunePlan

    def __init__(self, context: "AppContext", can_cancel: bool = False) -> None:
        super().__init__(context, FinetunePlan(context.device_facts), name="finetune", title=tr("Fine-tune"),
                         sentence=tr("A model that exists learns to answer, or learns a domain."), measures=MEASURES, shared=("goal",),
                         can_cancel=can_cancel)
        self._asked = ""
        self._inquiry = Inquiry(self)
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._settle.timeout.connect(self.look)
        self.read()

    def make_body(self, step: str) -> WizardBody:
        context, plan = self.context, self.plan
        if step == "template":
            made = TemplateBody(context, plan)
            made.look_wanted.connect(self._look_again)
            made.remedy_wanted.connect(self._remedy)
            return made
        if step == "method":
            return MethodBody(context, plan)
        if step == "data":
            return ExamplesBody(context, plan) if plan.goal == SFT else TextBody(context, plan)
        return GoalBody(context, plan) if step == "goal" else SettingsBody(context, plan, f"finetune.{plan.goal}")

    @property
    def template(self) -> TemplateBody:
        made = self.body("template")
        assert isinstance(made, TemplateBody)
        return made

    # what there is ----------------------------------------------------------------------------------------------------

    def take_survey(self, survey: Any) -> None:
        self.plan.set_corpora(survey.of_kind("corpus"), survey.of_kind("tokens"))

    def look_at(self, project: Project) -> Callable[[], finetune_look.Found]:
        return lambda: finetune_look.look(project)

    def take_found(self, found: finetune_look.Found) -> None:
        self.plan.set_models(found.models)
        self.plan.set_sets(found.sets)

    def settled(self) -> None:
        self._settle.start()

    def arrived(self) -> None:
        self.look()

    def rest(self) -> None:
        super().rest()
        self._settle.stop()
        self._inquiry.stop()

    # the microscope ---------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Ask what would be trained on, where that is not known for these settings."""
        plan = self.plan
        if not plan.look_is_old or plan.step in ("goal", "data") or self.context.project is None:
            return
        try:
            spec = plan.spec()
        except FledgeError:
            return  # said beside its field; the look comes when it can be read
        values, key = plan.values, plan.mask_key()
        if self._inquiry.busy and key == self._asked:
            return
        self._asked = key
        context = plan.model.config.max_seq_len if plan.model and plan.model.config else 0

        def answered(answer: dict[str, Any]) -> None:
            plan.take_look(key, finetune_mask.looked(answer, values, context))
            self._looked()

        def failed(wrong: FledgeError) -> None:
            plan.take_look(key, None, wrong)
            self._looked()
        self._inquiry.ask(MICROSCOPE_MODULE, str(self.context.project.dir), spec.model_dump(mode="json"), answered, failed,
                          "--batches", BATCHES, "--tokens", LISTED)

    def _looked(self) -> None:
        if not self.plan.blocked:
            self.notes.clear()
        self.refresh()
        self.look()  # the settings may have changed since it was asked

    def _look_again(self) -> None:
        self.plan.take_look("", None)
        self.template.error.clear()
        self.refresh()
        self.look()

    def _remedy(self, problem: Any, remedy: Any) -> None:
        if remedy.act == "go":
            self.plan.step = remedy.to
            self.refresh()
        else:
            sets = self.plan.values["examples"]
            self.context.navigate("instruct", set=sets[0], review=True)

    # showing ----------------------------------------------------------------------------------------------------------

    def unsaid(self, problems: list[Problem]) -> list[Problem]:
        """What the look found stands in the body with its remedy."""
        return [p for p in problems if not (self.plan.step == "template" and self.plan.blocked)]

    def waiting_words(self) -> str:
        return tr("Looking at the data") if self.plan.look_is_due else ""

    def held(self) -> bool:
        return self.plan.step == "template" and self.plan.blocked and not self.plan.look_is_due
