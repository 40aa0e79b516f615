"""The Preference tuning page: what is missing, the wizard of both ways, or a run of either."""

from typing import Any, ClassVar

from PySide6.QtWidgets import QWidget

from desktop.models.tune_plan import DPO, PPO
from desktop.pages.tune.view import stage_view
from desktop.pages.tune.wizard import Wizard
from desktop.widgets.run_side import StageView
from desktop.widgets.tuning.pairs_page import PairsPage
from engine.contract.words import tr
from engine.project.runs import Run


class TunePage(PairsPage):
    """`opened(reward=..)` begins PPO with this reward model, `pairs=[..]` DPO with these labels, `model=..` with this model."""

    STAGES: ClassVar[tuple[str, ...]] = (DPO, PPO)
    TAKES: ClassVar[tuple[str, ...]] = ("reward", "pairs", "model")

    def can_begin(self) -> bool:
        survey = self.context.survey
        return super().can_begin() or (self.has_model() and survey is not None and bool(survey.of_kind("reward_model")))

    def make_wizard(self, can_cancel: bool) -> Wizard:
        return Wizard(self.context, can_cancel)

    def view_of(self, run: Run) -> StageView:
        return stage_view(self.context, run.stage)

    def make_empty(self) -> QWidget:
        return self.empty(tr("Preference tuning"), tr("A model that answers learns to answer as people prefer."),
                          (tr("It learns what you prefer"), tr("from labels, or with a reward model")),
                          (tr("Nothing yet"), tr("a model that answers as you prefer")), tr("DPO, or a reward model and PPO"),
                          tr("minutes to hours"))

    def goal_of(self, given: dict[str, Any]) -> str:
        return PPO if "reward" in given else DPO
