"""The page of stages that go on training a model chooses what to show: what is missing, the wizard, or a run of one of its stages."""

from typing import TYPE_CHECKING, Any, ClassVar

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget

from desktop.jobs.collector import set_aside
from desktop.widgets.page import Page
from desktop.widgets.run_side import RunSide, StageView
from desktop.widgets.tuning.wizard import TuningWizard
from engine.contract.errors import FledgeError
from engine.project.runs import Run

if TYPE_CHECKING:
    from desktop.context import AppContext


class TuningPage(Page):
    """`opened(run=..)` shows a run; a setting's name (`model=..`) begins a wizard with it.

    STAGES   whose runs are shown here, the first one's wizard is the page's own
    TAKES    names of settings that may be given to `opened`
    """

    STAGES: ClassVar[tuple[str, ...]] = ()
    TAKES: ClassVar[tuple[str, ...]] = ("model",)

    def __init__(self, context: "AppContext") -> None:
        super().__init__(context)
        assert context.project is not None
        self.project = context.project
        self.run_side: RunSide | None = None
        self.wizard: TuningWizard | None = None
        self._mode = ""
        self._inputs: list[str] = []
        self._given: dict[str, Any] = {}
        context.survey_changed.connect(self._survey_changed)

    # what a page says of itself ---------------------------------------------------------------------------------------

    def can_begin(self) -> bool:
        """Whether there is what a wizard needs."""
        raise NotImplementedError

    def make_wizard(self, can_cancel: bool) -> TuningWizard:
        raise NotImplementedError

    def make_empty(self) -> QWidget:
        """What is missing, and the way to it."""
        raise NotImplementedError

    def view_of(self, run: Run) -> StageView:
        raise NotImplementedError

    def goal_of(self, given: dict[str, Any]) -> str:
        """The stage whose wizard begins with these settings."""
        return self.STAGES[0]

    # coming and going -------------------------------------------------------------------------------------------------

    def opened(self, **args: Any) -> None:
        run = str(args.get("run", ""))
        given = {k: args[k] for k in self.TAKES if args.get(k)}
        self._given = given
        if run:
            self.show_run(self.project.runs.get(run))
        elif given and self.can_begin():
            self.show_wizard(self.goal_of(given), given)
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
        found = [r for stage in self.STAGES for r in survey.of_stage(stage)] if survey is not None else []
        return sorted(found, key=lambda r: -r.number)

    def _choose(self) -> None:
        """What was asked for when it could not begin yet; the run that matters now, else the wizard, else what to do first."""
        if self._given and self.can_begin():
            self.show_wizard(self.goal_of(self._given), self._given)
            return
        runs = self._runs()
        chosen = next((r for r in runs if r.active), None) or next((r for r in runs if r.status == "queued"), None) \
            or (runs[0] if runs else None)
        if chosen is not None:
            self.show_run(self.project.runs.get(chosen.id))
        elif self.can_begin():
            self.show_wizard()
        else:
            self._put("empty", self.make_empty())

    def _survey_changed(self) -> None:
        if not self.isVisible():
            return
        if self._mode == "empty" and (self.can_begin() or self._runs()):
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
        self._given = {}
        if self.run_side is not None and self.run_side.run.id == run.id:
            self.run_side.go_on_following()
            return
        side = RunSide(self.context, run, self.view_of(run))
        side.edit_wanted.connect(lambda values: self.show_wizard(run.stage, values))
        side.new_wanted.connect(lambda: self.show_wizard(run.stage))
        self._put("run", side)
        self.run_side = side

    def show_wizard(self, goal: str = "", values: dict[str, Any] | None = None) -> None:
        """`values` to begin with (of an earlier run, whose title is not taken); without them, as it was left."""
        self._given = {}
        wizard = self.make_wizard(bool(self._runs()))
        wizard.start_wanted.connect(self._start)
        wizard.cancelled.connect(self._choose)
        if values or not wizard.begun(goal):
            wizard.take(goal or self.STAGES[0], values or {})
        self._put("wizard", wizard)
        self._inputs = self._known_inputs()
        self.wizard = wizard
        wizard.forward.setFocus(Qt.FocusReason.OtherFocusReason)  # what had it is gone: the keyboard goes on from here

    # acting -----------------------------------------------------------------------------------------------------------

    def _start(self, spec: Any) -> None:
        """Make the run in a thread (what it learns from is copied) and start it; when the device is taken it waits in the queue."""
        wizard = self.wizard
        assert wizard is not None
        wizard.set_starting(True)
        self.context.jobs.run(lambda: self.project.runs.create(spec), then=self._made, failed=self._not_made, owner=wizard)

    def _made(self, run: Run) -> None:
        assert self.wizard is not None
        self.wizard.forget()
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
