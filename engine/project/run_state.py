"""What a run looks like, made from its events by a pure reducer: no files, no Qt, no clock. Live and past runs take the same path.

`apply(state, event)` is deterministic in the list of events. After a resume it drops what the lost steps left behind, so that the chart
of a resumed run is the chart of an undisturbed one.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.contract import events as ev

Numbers = npt.NDArray[np.float64]


class Series:
    """A growing table of float64 columns keyed by name, ordered by "step"; missing values are NaN.

    `cuts` counts how often rows were taken away: whoever keeps something computed from a column starts over when it changes.
    """

    def __init__(self) -> None:
        self._data: dict[str, Numbers] = {}
        self.length = 0
        self.version = 0
        self.cuts = 0

    def append(self, columns: dict[str, list[float | None]]) -> None:
        count = max((len(v) for v in columns.values()), default=0)
        if not count:
            return
        end, early = self.length + count, True
        for key in columns.keys() | self._data.keys():
            column = self._data.get(key)
            if column is None:
                column = self._grow(key, end)
                column[:self.length] = np.nan
            elif column.size < end or (early and column.size * 4 < end * 5 and column.size > 50_000):
                early = False  # long columns grow one an append, a little before they must: a million rows never stall whoever watches
                column = self._grow(key, end)
            column[self.length:end] = np.asarray(columns[key], dtype=np.float64) if key in columns else np.nan
        self.length = end
        self.version += 1

    def _grow(self, key: str, end: int) -> Numbers:
        """Room for `end` rows and half as many more; only the rows that exist are touched."""
        grown, column = np.empty(max(256, end * 3 // 2)), self._data.get(key)
        if column is not None:
            grown[:self.length] = column[:self.length]
        self._data[key] = grown
        return grown

    def column(self, key: str) -> Numbers:
        """The values so far (a view; copy it if it must stay as it is); empty for an unknown key."""
        return self._data[key][:self.length] if key in self._data else np.empty(0)

    @property
    def keys(self) -> list[str]:
        return list(self._data)

    def last(self, key: str) -> float | None:
        """The newest number of a column, None if it has none."""
        column = self.column(key)
        for end in range(column.size, 0, -4096):
            part = column[max(0, end - 4096):end]
            known = np.flatnonzero(~np.isnan(part))
            if known.size:
                return float(part[known[-1]])
        return None

    def cut(self, step: int) -> None:
        """Forget every row past `step`."""
        steps = self.column("step")
        if steps.size:
            self.length = int(np.searchsorted(steps, step, side="right"))
            self.version += 1
            self.cuts += 1


@dataclass
class PhaseState:
    """One named phase; times in unix seconds, 0 where not yet."""

    id: str
    title: str
    started: float = 0.0
    ended: float = 0.0

    @property
    def seconds(self) -> float:
        return self.ended - self.started if self.ended else 0.0


@dataclass
class RunState:
    """status: created, running, waiting, done, stopped, paused, failed. (Queued, interrupted and crashed need a look at the locks.)"""

    status: str = "created"
    stage: str = ""
    attempt: int = 0
    pid: int = 0
    device: str = ""
    device_title: str = ""
    dtype: str = ""
    started: float = 0.0
    attempt_started: float = 0.0
    ended: float = 0.0
    updated: float = 0.0
    phases: list[PhaseState] = field(default_factory=list)
    phase: str = ""
    progress: ev.Progress | None = None
    metrics: Series = field(default_factory=Series)
    evaluations: list[ev.Evaluation] = field(default_factory=list)
    samples: list[ev.Sample] = field(default_factory=list)
    checkpoints: list[ev.CheckpointSaved] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    notices: list[ev.Notice] = field(default_factory=list)
    waiting: ev.Waiting | None = None
    artifacts: list[str] = field(default_factory=list)
    finished: ev.Finished | None = None
    version: int = 0

    @property
    def step(self) -> int:
        """The last step taken, 0 before the first."""
        last = self.metrics.last("step")
        return int(last) if last is not None else 0

    @property
    def best(self) -> ev.Evaluation | None:
        return next((e for e in reversed(self.evaluations) if e.best), None)

    @property
    def share(self) -> float:
        """How far the run is, 0 to 1: by its steps where it has them, else by its phase."""
        total = float(self.facts.get("steps") or 0)
        if total:
            return min(1.0, self.step / total)
        if self.progress and self.progress.total:
            return min(1.0, self.progress.done / self.progress.total)
        return 1.0 if self.status == "done" else 0.0


def apply(state: RunState, event: ev.Event) -> RunState:
    """`state` after `event`. The same object comes back, changed: series of a million steps are not copied."""
    state.version += 1
    state.updated = max(state.updated, event.time)
    match event:
        case ev.Started():
            _start(state, event)
        case ev.Resumed():
            _resume(state, event.step)
        case ev.Phases():
            known = {p.id: p for p in state.phases}
            state.phases = [known.get(id) or PhaseState(id, title) for id, title in event.phases]
        case ev.Phase():
            _phase(state, event)
        case ev.Progress():
            state.progress = event
        case ev.Metrics():
            state.metrics.append(event.columns)
        case ev.Evaluation():
            state.evaluations.append(event)
        case ev.Sample():
            state.samples.append(event)
        case ev.CheckpointSaved():
            state.checkpoints = [c for c in state.checkpoints if c.step != event.step] + [event]
        case ev.CheckpointRemoved():
            state.checkpoints = [c for c in state.checkpoints if c.step != event.step]
        case ev.Facts():
            state.facts = {**state.facts, **event.facts}
        case ev.Notice():
            state.notices = [n for n in state.notices if n.code != event.code]
            if not event.cleared:
                state.notices.append(event)
        case ev.Waiting():
            state.waiting = None if event.over else event
            state.status = "running" if event.over else "waiting"
        case ev.ArtifactMade():
            if event.id not in state.artifacts:
                state.artifacts.append(event.id)
        case ev.Finished():
            state.finished, state.status, state.ended, state.waiting = event, event.status, event.time, None
            for phase in state.phases:
                if phase.id == state.phase and not phase.ended:
                    phase.ended = event.time
    return state


def _start(state: RunState, event: ev.Started) -> None:
    state.status, state.stage, state.attempt, state.pid = "running", event.stage, event.attempt, event.pid
    state.device, state.device_title, state.dtype = event.device, event.device_title, event.dtype
    state.started = state.started or event.time
    state.attempt_started, state.ended, state.finished, state.waiting, state.progress = event.time, 0.0, None, None, None
    state.phase = ""
    for phase in state.phases:
        phase.started = phase.ended = 0.0


def _resume(state: RunState, step: int) -> None:
    state.metrics.cut(step)
    state.evaluations = [e for e in state.evaluations if e.step <= step]
    state.samples = [s for s in state.samples if s.step <= step]
    state.notices = [n for n in state.notices if n.step <= step and n.level != "problem"]


def _phase(state: RunState, event: ev.Phase) -> None:
    for phase in state.phases:
        if phase.id == state.phase and not phase.ended:
            phase.ended = event.time
    if all(p.id != event.id for p in state.phases):
        state.phases.append(PhaseState(event.id, event.title))
    for phase in state.phases:
        if phase.id == event.id:
            phase.started, phase.ended = event.time, 0.0
    state.phase, state.progress = event.id, None
