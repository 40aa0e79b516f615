"""The Reward model page: what is missing, the wizard, or a run of the stage."""

from typing import Any, ClassVar

from PySide6.QtWidgets import QWidget

from desktop.models.reward_plan import REWARD
from desktop.pages.reward.view import stage_view
from desktop.pages.reward.wizard import Wizard
from desktop.widgets.run_side import StageView
from desktop.widgets.tuning.pairs_page import PairsPage
from engine.contract.words import tr
from engine.project.runs import Run


class RewardPage(PairsPage):
    """`opened(pairs=[..])` or `model=..` begins a wizard with these."""

    STAGES: ClassVar[tuple[str, ...]] = (REWARD,)
    TAKES: ClassVar[tuple[str, ...]] = ("pairs", "model")

    def make_wizard(self, can_cancel: bool) -> Wizard:
        return Wizard(self.context, can_cancel)

    def view_of(self, run: Run) -> StageView:
        return stage_view(self.context)

    def make_empty(self) -> QWidget:
        return self.empty(tr("Reward model"), tr("Your labels become a model that scores answers as you would."),
                          (tr("It learns your taste"), tr("minutes")), (tr("Nothing yet"), tr("a model that scores answers")),
                          tr("Reward model"), tr("minutes"))

    def goal_of(self, given: dict[str, Any]) -> str:
        return REWARD
