"""The Reasoning page: what is missing, the wizard, or a run."""

from typing import ClassVar

from PySide6.QtWidgets import QWidget

from desktop.pages.reasoning.view import stage_view
from desktop.widgets.run_side import StageView
from desktop.widgets.text import Text
from desktop.widgets.tuning.page import TuningPage
from desktop.widgets.tuning.wizard import TuningWizard
from engine.project.runs import Run


class ReasoningPage(TuningPage):
    """`opened(verifier=.., problem_sets=[..], model=..)` begins a run with these."""

    STAGES: ClassVar[tuple[str, ...]] = ("grpo",)
    TAKES: ClassVar[tuple[str, ...]] = ("verifier", "problem_sets", "model")

    def can_begin(self) -> bool:
        return False

    def make_wizard(self, can_cancel: bool) -> TuningWizard:
        raise NotImplementedError

    def make_empty(self) -> QWidget:
        return Text("")

    def view_of(self, run: Run) -> StageView:
        return stage_view(self.context, run)
