"""The newest run of one stage, whatever it is doing: found, followed, started. What a stage's page asks about its run; no widgets."""

from PySide6.QtCore import QObject, Signal

from desktop.jobs.process import RunProcess
from desktop.jobs.run_follow import RunFollower
from engine.contract.errors import FledgeError
from engine.contract.spec import Spec
from engine.contract.words import tr
from engine.project.project import Project
from engine.project.runs import Run


class StageRun(QObject):
    """`show(project, run_id)` follows a run, `start(project, spec)` makes and starts one. `changed` when another run is followed."""

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.follower: RunFollower | None = None
        self.process: RunProcess | None = None

    @property
    def run_id(self) -> str:
        return self.follower.run.id if self.follower else ""

    def show(self, project: Project, id: str) -> None:
        """Follow this run from its first event on."""
        if id != self.run_id or self.follower is None or self.follower.run.dir.parent.parent != project.dir:
            self._follow(project, project.runs.get(id))

    def start(self, project: Project, spec: Spec) -> Run:
        """A new run of this spec, started now (or queued when its device is busy)."""
        run = project.runs.create(spec)
        self._follow(project, run)
        assert self.process is not None
        self.process.start()
        return run

    def trouble(self) -> FledgeError | None:
        """Why the run that is over made nothing, with what to do; None when it is done. Never called while it is under way."""
        assert self.follower is not None
        status, end = self.follower.status, self.follower.state.finished
        if status == "done":
            return None
        if status == "failed" and end is not None:
            return FledgeError(end.sentence, end.remedy, code=end.code, field=end.field)
        if status in ("crashed", "interrupted"):
            return FledgeError(tr("The run broke off."), tr("Try again. Its last words: {words}", words=self.follower.log_tail(3) or "–"),
                               code="crashed")
        return FledgeError(tr("The run was stopped."), tr("It made nothing yet. Resume it, or start another."), code="stopped")

    def forget(self) -> None:
        """Follow nothing."""
        if self.follower is not None:
            self.follower.stop()
            self.follower.deleteLater()
        self.follower = self.process = None
        self.changed.emit()

    def _follow(self, project: Project, run: Run) -> None:
        if self.follower is not None:
            self.follower.stop()
            self.follower.deleteLater()
        self.follower = RunFollower(run, project.dir, self)
        self.process = RunProcess(self.follower, self.follower)
        self.follower.start()
        self.changed.emit()
