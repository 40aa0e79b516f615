"""The Pretrain page chooses what to show: nothing to learn from yet, the wizard, or a run. What each shows is in its own file."""

from typing import TYPE_CHECKING, Any

from PySide6.QtWidgets import QWidget

from desktop.jobs.collector import set_aside
from desktop.jobs.process import RunProcess
from desktop.models.survey import RunGlance
from desktop.pages.pretrain.view import STAGE, stage_view
from desktop.pages.pretrain.wizard import Wizard
from desktop.widgets.buttons import Button
from desktop.widgets.empty_state import EmptyState
from desktop.widgets.flow_strip import FlowStrip
from desktop.widgets.layout import col
from desktop.widgets.page import Page
from desktop.widgets.page_header import PageHeader
from desktop.widgets.run_side import RunSide
from engine.contract.errors import FledgeError
from engine.contract.words import tr
from engine.project.runs import Run
from engine.stages.pretrain.spec import PretrainSpec

if TYPE_CHECKING:
    from desktop.context import AppContext



class PretrainPage(Page):
    """From random weights to a base model."""

    def __init__(self, context: "AppContext") -> None:
        super().__init__(context)
        assert context.project is not None
        self.project = context.project
        self.shown: QWidget | None = None
        self.run_side: RunSide | None = None
        self.wizard: Wizard | None = None
        self._mode = ""
        context.survey_changed.connect(self._survey_changed)

    # coming and going -------------------------------------------------------------------------------------------------

    def opened(self, **args: Any) -> None:
        run = str(args.get("run", ""))
        if run:
            self.show_run(self.project.runs.get(run))
        elif self._mode == "wizard" and self.wizard is not None:
            self.wizard.refresh_inputs()
        elif self._mode == "run" and self.run_side is not None and self.run_side.follower.status not in ("done",):
            self.run_side.go_on_following()
        else:
            self._choose()

    def left(self) -> None:
        if self.run_side is not None:
            self.run_side.pause_following()

    def _choose(self) -> None:
        """The run that matters now, else the wizard, else what to do first."""
        runs = self.context.survey.of_stage(STAGE) if self.context.survey is not None else []
        chosen = next((r for r in runs if r.active), None) or next((r for r in runs if r.status == "queued"), None) \
            or (runs[0] if runs else None)
        if chosen is not None:
            self.show_run(self.project.runs.get(chosen.id))
        elif self._ready():
            self.show_wizard()
        else:
            self._show_empty()

    def _ready(self) -> bool:
        survey = self.context.survey
        return survey is not None and bool(survey.of_kind("corpus")) and bool(survey.of_kind("tokenizer"))

    def _survey_changed(self) -> None:
        if self.isVisible() and self._mode == "empty":
            self._choose()
        elif self.isVisible() and self._mode == "wizard" and self.wizard is not None:
            inputs = [a.id for a in self.context.survey.artifacts] if self.context.survey is not None else []
            if inputs != self._inputs:
                self._inputs = inputs
                self.wizard.refresh_inputs()

    _inputs: list[str] = []

    # what is shown ----------------------------------------------------------------------------------------------------

    def _put(self, mode: str, widget: QWidget) -> None:
        if self.run_side is not None:
            self.run_side.close_down()
        self._mode, self.run_side, self.wizard = mode, None, None
        self.shown = widget
        self.set_body((widget, 1))
        set_aside()

    def show_run(self, run: Run) -> None:
        if self.run_side is not None and self.run_side.run.id == run.id:
            self.run_side.go_on_following()
            return
        side = RunSide(self.context, run, stage_view(self.context))
        side.edit_wanted.connect(self.show_wizard)
        side.new_wanted.connect(lambda: self.show_wizard())
        self._put("run", side)
        self.run_side = side

    def show_wizard(self, values: dict[str, Any] | None = None) -> None:
        """`values` of an earlier run to begin with; a new title is asked for."""
        known = {k: v for k, v in (values or {}).items() if k in PretrainSpec.model_fields and k != "title"}
        if isinstance(known.get("sample_prompts"), list):
            known["sample_prompts"] = tuple(known["sample_prompts"])
        runs: list[RunGlance] = self.context.survey.of_stage(STAGE) if self.context.survey is not None else []
        wizard = Wizard(self.context, known, can_cancel=bool(runs))
        wizard.start_wanted.connect(self._start)
        wizard.cancelled.connect(self._choose)
        self._put("wizard", wizard)
        self._inputs = [a.id for a in self.context.survey.artifacts] if self.context.survey is not None else []
        self.wizard = wizard

    def _show_empty(self) -> None:
        theme, survey = self.theme, self.context.survey
        corpus = survey is not None and bool(survey.of_kind("corpus"))
        words = tr("A model learns from text cut into tokens. Import some text and train a tokenizer on it; then choose how big the model "
                   "becomes, or how long it may take.")
        first = Button(theme, tr("Train a tokenizer"), "primary", on_click=lambda: self.context.navigate("tokenizer")) if corpus else \
            Button(theme, tr("Import text"), "primary", icon="plus", on_click=lambda: self.context.navigate("corpus"))
        bring = Button(theme, tr("Start from an open model"), icon="in", on_click=lambda: self.context.navigate("import_model"))
        empty = EmptyState(theme, tr("A tokenizer is missing") if corpus else tr("Nothing to learn from yet"), words, first, bring, steps=[
            (tr("Text to learn from"), survey.of_kind("corpus")[0].title if corpus and survey is not None else tr("a corpus"), corpus),
            (tr("A tokenizer"), tr("seconds to minutes"), False), (tr("A design"), tr("one dial sets everything"), False),
            (tr("Training"), tr("minutes to days, as you choose"), False)])
        flow = FlowStrip(theme, (tr("Nothing yet"), tr("a corpus and a tokenizer")), (tr("Random weights learn"),
                         tr("as long as you choose")), (tr("Nothing yet"), tr("a base model to chat with")))
        self._put("empty", col(PageHeader(tr("Pretrain"), tr("From random weights to a base model that continues text.")), 14, flow,
                               (empty, 1), gap=0))

    # acting -----------------------------------------------------------------------------------------------------------

    def _start(self, spec: PretrainSpec) -> None:
        """Make the run and start it; when the device is taken it waits in the queue."""
        assert self.wizard is not None
        try:
            run = self.project.runs.create(spec)
        except FledgeError as wrong:
            self.wizard.notes.show_error(wrong)
            return
        self.show_run(run)
        side = self.run_side
        assert side is not None
        process: RunProcess = side.process
        process.start(self.context.device)
        self.context.look()
