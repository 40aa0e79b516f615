"""Starts, resumes and steers the worker of a run from the window. The worker is detached: it outlives the window, and this file only asks.

A run that was asked to stop and does not within its grace period is killed with everything it started.
"""

import time

from PySide6.QtCore import QObject, QTimer, Signal

from desktop.jobs.run_follow import RunFollower
from engine.contract.errors import FledgeError
from engine.contract.events import CheckpointSaved
from engine.pipeline import STAGES
from engine.project import control, launch, queue

GRACE_SECONDS = {"stop": 30.0, "stop_save": 300.0, "pause": 300.0}


class RunProcess(QObject):
    """The commands for one followed run. `asked` is the command on its way ("" when none): buttons show it until the run obeys.

    `refused` carries the FledgeError of a start that could not be; `killed` tells that the grace period ended.
    """

    asked_changed = Signal(str)
    refused = Signal(object)
    killed = Signal()

    def __init__(self, follower: RunFollower, parent: QObject | None = None, grace: dict[str, float] | None = None) -> None:
        super().__init__(parent)
        self.follower = follower
        self.asked = ""
        self._asked_at = 0.0
        self._saved_before: CheckpointSaved | None = None
        self._grace = {**GRACE_SECONDS, **(grace or {})}
        self._watch = QTimer(self)
        self._watch.setInterval(250)
        self._watch.timeout.connect(self._look)
        follower.changed.connect(self._look)

    def start(self, device: str = "auto") -> None:
        """Start or resume: the worker sees by itself what there is to continue. Waits in the queue while another run has the device."""
        run, project = self.follower.run, self.follower.project_dir
        try:
            pid = queue.submit(project, run.id, device) if STAGES[run.stage].device else launch.start(run, device)
            if pid is not None:
                self.follower.launched(pid)
        except FledgeError as wrong:
            self.refused.emit(wrong)
        self.follower._read_status()

    resume = start

    def leave_queue(self) -> None:
        try:
            queue.remove(self.follower.project_dir, self.follower.run.id)
        except FledgeError as wrong:
            self.refused.emit(wrong)
        self.follower._read_status()

    def save(self) -> None:
        self._ask("save")

    def pause(self) -> None:
        self._ask("pause")

    def stop(self) -> None:
        """Stop at the next step and throw away what was not saved."""
        self._ask("stop")

    def stop_save(self) -> None:
        self._ask("stop_save")

    def go_on(self) -> None:
        """Tell a run that waits (a full disk) to try again."""
        control.send(self.follower.run.dir, "resume")

    def _ask(self, word: str) -> None:
        control.send(self.follower.run.dir, word)
        saved = self.follower.state.checkpoints
        self.asked, self._asked_at, self._saved_before = word, time.monotonic(), saved[-1] if saved else None
        self._watch.start()
        self.asked_changed.emit(word)

    def _look(self) -> None:
        if not self.asked:
            return
        if not self.follower.active or (self.asked == "save" and self._saved()):
            self._done()
        elif self.asked in self._grace and time.monotonic() - self._asked_at > self._grace[self.asked]:
            self.kill()
            self._done()

    def _saved(self) -> bool:
        saved = self.follower.state.checkpoints
        return bool(saved) and saved[-1] is not self._saved_before

    def _done(self) -> None:
        self.asked = ""
        self._watch.stop()
        self.asked_changed.emit("")

    def kill(self) -> None:
        """Kill the worker's whole tree at once. The lock names the process, so a number used again by another program is never hit."""
        lock = self.follower.run.lock()
        pid = lock.holder().get("pid") if lock.taken() else None
        if not isinstance(pid, int):
            return
        launch.kill(pid, wait=0.0)
        self.killed.emit()
