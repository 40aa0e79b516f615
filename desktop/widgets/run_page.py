"""A page that starts runs of one stage and takes in how they end. What the page shows of either is the page's own."""

from collections.abc import Callable

from desktop.jobs.run_follow import RunFollower
from desktop.jobs.stage_run import StageRun
from desktop.widgets.notes import NoteSlot
from desktop.widgets.page import Page
from engine.contract.errors import FledgeError
from engine.contract.spec import Spec


class RunPage(Page):
    """The page sets `_run`, `_notes` (where mistakes are told) and `_seen` (the run whose end was taken in, "" for none)."""

    _run: StageRun
    _notes: NoteSlot
    _seen: str

    def launch(self, make: Callable[[], Spec], notes: NoteSlot | None = None) -> bool:
        """Start a run of the spec that `make` gives; what it or the start raises is told, and False given."""
        project, notes = self.context.project, notes or self._notes
        if project is None:
            return False
        notes.clear()
        try:
            self._seen = ""
            self._run.start(project, make())
        except FledgeError as wrong:
            notes.show_error(wrong)
            return False
        self.context.look()
        return True

    def take_end(self) -> tuple[RunFollower, FledgeError | None] | None:
        """The run that is over, with why it made nothing (None when it did); None when no run is followed any more."""
        follower = self._run.follower
        if follower is None:
            return None
        self._seen, trouble = follower.run.id, self._run.trouble()
        self.context.look()
        return follower, trouble
