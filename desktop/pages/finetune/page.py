"""The Fine-tune page chooses what to show: no model yet, the wizard, or a run of either stage. What each shows is in its own file."""

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget

from desktop.jobs.collector import set_aside
from desktop.pages.finetune.view import ADAPT, SFT, stage_view
from desktop.pages.finetune.wizard import Wizard
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

if TYPE_CHECKING:
    from desktop.context import AppContext

STAGES = (SFT, ADAPT)


class FinetunePage(Page):
    """`opened(run=..)` shows a run; `examples=[..]` or `corpus=..` begins a wizard with these, `model=..` with this model."""

    def __init__(self, context: "AppContext") -> None:
        super().__init__(context)
        assert context.project is not None
        self.project = context.project
        self.run_side: RunSide | None = None
        self.wizard: Wizard | None = None
        self._mode = ""
        self._inputs: list[str] = []
        context.survey_changed.connect(self._survey_changed)

    # coming and going -------------------------------------------------------------------------------------------------

    def opened(self, **args: Any) -> None:
        run = str(args.get("run", ""))
        given = {k: args[k] for k in ("examples", "corpus", "model") if args.get(k)}
        if run:
            self.show_run(self.project.runs.get(run))
        elif given and self._has_model():
            self.show_wizard(ADAPT if "corpus" in given else SFT, given)
        elif self._mode == "wizard" and self.wizard is not None:
            self.wizard.read()
        elif self._mode == "run" and self.run_side is not None and self.run_side.follower.status != "done":
            self.run_side.go_on_following()
        else:
            self._choose()

    def left(self) -> None:
        if self.run_side is not None:
            self.run_side.pause_following()
        if self.wizard is not None:
            self.wizard.rest()

    def _runs(self) -> list[Any]:
        survey = self.context.survey
        found = [r for stage in STAGES for r in survey.of_stage(stage)] if survey is not None else []
        return sorted(found, key=lambda r: -r.number)

    def _choose(self) -> None:
        """The run that matters now, else the wizard, else what to do first."""
        runs = self._runs()
        chosen = next((r for r in runs if r.active), None) or next((r for r in runs if r.status == "queued"), None) \
            or (runs[0] if runs else None)
        if chosen is not None:
            self.show_run(self.project.runs.get(chosen.id))
        elif self._has_model():
            self.show_wizard()
        else:
            self._show_empty()

    def _has_model(self) -> bool:
        survey = self.context.survey
        return survey is not None and (bool(survey.of_kind("model")) or any(r.step for r in survey.of_stage("pretrain")))

    def _survey_changed(self) -> None:
        if not self.isVisible():
            return
        if self._mode == "empty" and (self._has_model() or self._runs()):
            self._choose()
        elif self._mode == "wizard" and self.wizard is not None:
            inputs = self._known_inputs()
            if inputs != self._inputs:
                self._inputs = inputs
                self.wizard.read()

    def _known_inputs(self) -> list[str]:
        return [a.id for a in self.context.survey.artifacts] if self.context.survey is not None else []

    # what is shown ----------------------------------------------------------------------------------------------------

    def _put(self, mode: str, widget: QWidget) -> None:
        if self.run_side is not None:
            self.run_side.close_down()
        if self.wizard is not None:
            self.wizard.rest()
        self._mode, self.run_side, self.wizard = mode, None, None
        self.set_body((widget, 1))
        set_aside()

    def show_run(self, run: Run) -> None:
        if self.run_side is not None and self.run_side.run.id == run.id:
            self.run_side.go_on_following()
            return
        side = RunSide(self.context, run, stage_view(self.context, run.stage))
        side.edit_wanted.connect(lambda values: self.show_wizard(run.stage, values))
        side.new_wanted.connect(lambda: self.show_wizard(run.stage))
        self._put("run", side)
        self.run_side = side

    def show_wizard(self, goal: str = SFT, values: dict[str, Any] | None = None) -> None:
        """`values` of an earlier run to begin with; a new title is asked for."""
        wizard = Wizard(self.context, can_cancel=bool(self._runs()))
        wizard.start_wanted.connect(self._start)
        wizard.cancelled.connect(self._choose)
        wizard.take(goal, values or {})
        self._put("wizard", wizard)
        self._inputs = self._known_inputs()
        self.wizard = wizard
        wizard.forward.setFocus(Qt.FocusReason.OtherFocusReason)  # what had it is gone: the keyboard goes on from here

    def _show_empty(self) -> None:
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
        self._put("empty", col(PageHeader(tr("Fine-tune"), tr("A model that exists learns to answer, or learns a domain.")), 14, flow,
                               (empty, 1), gap=0))

    # acting -----------------------------------------------------------------------------------------------------------

    def _start(self, spec: Any) -> None:
        """Make the run in a thread (its examples are copied) and start it; when the device is taken it waits in the queue."""
        wizard = self.wizard
        assert wizard is not None
        wizard.set_starting(True)
        self.context.jobs.run(lambda: self.project.runs.create(spec), then=self._made, failed=self._not_made, owner=wizard)

    def _made(self, run: Run) -> None:
        self.show_run(run)
        assert self.run_side is not None
        self.run_side.process.start(self.context.device)
        self.context.look()

    def _not_made(self, wrong: Exception) -> None:
        if not isinstance(wrong, FledgeError):
            raise wrong
        if self.wizard is not None:
            self.wizard.set_starting(False)
            self.wizard.notes.show_error(wrong)
