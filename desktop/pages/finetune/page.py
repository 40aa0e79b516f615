"""The Fine-tune page: the wizard of answering and of a domain, and their runs."""

from typing import Any, ClassVar

from PySide6.QtWidgets import QWidget

from desktop.pages.finetune.view import ADAPT, SFT, stage_view
from desktop.pages.finetune.wizard import Wizard
from desktop.widgets.buttons import Button
from desktop.widgets.empty_state import EmptyState
from desktop.widgets.flow_strip import FlowStrip
from desktop.widgets.layout import col
from desktop.widgets.page_header import PageHeader
from desktop.widgets.run_side import StageView
from desktop.widgets.tuning.page import TuningPage
from engine.contract.words import tr
from engine.project.runs import Run


class FinetunePage(TuningPage):
    """`opened(examples=[..])` or `corpus=..` begins a wizard with these, `model=..` with this model."""

    STAGES: ClassVar[tuple[str, ...]] = (SFT, ADAPT)
    TAKES: ClassVar[tuple[str, ...]] = ("examples", "corpus", "model")

    def can_begin(self) -> bool:
        survey = self.context.survey
        return survey is not None and (bool(survey.of_kind("model")) or any(r.step for r in survey.of_stage("pretrain")))

    def goal_of(self, given: dict[str, Any]) -> str:
        return ADAPT if "corpus" in given else SFT

    def make_wizard(self, can_cancel: bool) -> Wizard:
        return Wizard(self.context, can_cancel)

    def view_of(self, run: Run) -> StageView:
        return stage_view(self.context, run.stage)

    def make_empty(self) -> QWidget:
        theme = self.theme
        empty = EmptyState(theme, tr("No model to tune yet"),
                           tr("Fine-tuning goes on from a model that exists: raise one from your own text, or bring an open one."),
                           Button(theme, tr("Pretrain a model"), "primary", on_click=lambda: self.context.navigate("pretrain")),
                           Button(theme, tr("Start from an open model"), icon="in", on_click=lambda: self.context.navigate("import_model")),
                           steps=[(tr("A model"), tr("raised here, or imported"), False),
                                  (tr("Instruction data, or text of a domain"), tr("some hundred examples"), False),
                                  (tr("Fine-tuning"), tr("minutes"), False)])
        flow = FlowStrip(theme, (tr("Nothing yet"), tr("a model and examples")), (tr("It learns to answer"), tr("as long as you choose")),
                         (tr("Nothing yet"), tr("a model that answers")))
        return col(PageHeader(tr("Fine-tune"), tr("A model that exists learns to answer, or learns a domain.")), 14, flow, (empty, 1),
                   gap=0)
