"""One run as a person sees it: its events (EventTail), whether its worker lives (the lock), and whether it waits in the queue.

It only looks. Starting, stopping and killing are in process.py.
"""

import time
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from desktop.jobs.event_tail import EventTail
from engine.project import launch, layout, queue
from engine.project.run_state import RunState
from engine.project.runs import ACTIVE, RESUMABLE, Run

LOOK_MS = 1000
START_SECONDS = 60.0


class RunFollower(QObject):
    """`status`: created, queued, starting, running, waiting, done, stopped, paused, failed, interrupted (found dead), crashed (last words
    in the log). `changed` comes at most ten times a second; `status_changed` at each change of `status`."""

    changed = Signal()
    status_changed = Signal(str)
    caught_up = Signal()

    def __init__(self, run: Run, project_dir: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.run, self.project_dir = run, project_dir
        self.state = RunState(stage=run.stage)
        self.status = "created"
        self.queue_place: int | None = None
        self._pid = 0
        self._launched = 0.0
        self._attempt_before = 0
        self.tail = EventTail(layout.events_file(run.dir), self.state, self)
        self.tail.changed.connect(self._read)
        self.tail.caught_up.connect(self._read)
        self.tail.caught_up.connect(self.caught_up)
        self._look = QTimer(self)
        self._look.setInterval(LOOK_MS)
        self._look.timeout.connect(self._read_status)

    def start(self) -> None:
        self._look.start()
        self.tail.start()
        self._read_status()

    def stop(self) -> None:
        self._look.stop()
        self.tail.stop()

    @property
    def active(self) -> bool:
        return self.status in ("starting", "running", "waiting")

    @property
    def resumable(self) -> bool:
        return self.status in RESUMABLE

    @property
    def loading(self) -> bool:
        """Whether what lies in the file has not been read to its end for the first time."""
        return not self.tail.has_caught_up

    def launched(self, pid: int) -> None:
        """This process was just started for the run: until it speaks, the run is starting."""
        self._pid, self._launched, self._attempt_before = pid, time.monotonic(), self.state.attempt
        self._read_status()

    def log_tail(self, lines: int = 20) -> str:
        return self.run.log_tail(lines)

    def size(self) -> int:
        """Bytes of the newest checkpoints as their events tell; the folder itself is not walked."""
        return sum(c.size for c in self.state.checkpoints)

    def _read(self) -> None:
        self._read_status()
        self.changed.emit()

    def _read_status(self) -> None:
        status = self._now()
        if status != self.status:
            self.status = status
            self.status_changed.emit(status)
            self.changed.emit()

    def _now(self) -> str:
        state, alive = self.state, self.run.alive()
        self.queue_place = None
        if alive:
            self._launched = time.monotonic() if self._launched else 0.0
            # Between the lock and the first event of a new attempt the file still tells of the old one.
            return state.status if state.status in ACTIVE else "starting"
        if self.loading:
            if self._launched:
                return "starting"
            return self.status if self.status != "created" or state.status == "created" else "starting"
        if state.status in ACTIVE:
            self.tail.drain()  # the lock fell after the last line was written
            if state.status in ACTIVE:
                return "crashed" if self.run.has_last_words() else "interrupted"
        if self._launched and state.attempt == self._attempt_before:
            if launch.running(self._pid) and time.monotonic() - self._launched < START_SECONDS:
                return "starting"
            if state.status == "created" or self.run.has_last_words():
                return "crashed"
        self._launched = 0.0
        self.queue_place = queue.position(self.project_dir, self.run.id)
        return "queued" if self.queue_place is not None else state.status
