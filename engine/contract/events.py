"""Every event a run can emit; nothing else defines one. A run's truth is the list of these in its events.jsonl, one JSON object a line.

A line is `{"e": name, "t": unix time, "a": attempt, ...fields}`. Attempts count from 1; a resume starts the next one, and its `Resumed`
tells readers to drop what came past the checkpoint it continues from. Metrics come as columns, many steps a line, so that a million steps
replay in seconds. An unknown event or field (a later Fledge's) is skipped, never an error.
"""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

EVENTS: dict[str, type["Event"]] = {}


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base: when it happened (unix seconds) and in which attempt; both are filled in by the writer."""

    name: ClassVar[str] = ""
    time: float = 0.0
    attempt: int = 1

    def __init_subclass__(cls) -> None:
        cls.name = "".join("_" + c.lower() if c.isupper() else c for c in cls.__name__).lstrip("_")
        EVENTS[cls.name] = cls


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    """A worker has the run."""

    pid: int = 0
    stage: str = ""
    device: str = ""
    device_title: str = ""
    dtype: str = ""
    threads: int = 0
    world_size: int = 1
    engine_version: str = ""


@dataclass(frozen=True, kw_only=True)
class Resumed(Event):
    """A later attempt continues from the checkpoint of `step` (-1: from the beginning). Metrics, samples and evaluations past it are void.
    Every training stage emits it before its first step of an attempt after the first."""

    step: int = -1


@dataclass(frozen=True, kw_only=True)
class Phases(Event):
    """The phases this run will go through, in order: (id, title)."""

    phases: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Phase(Event):
    """A phase begins; the one before it is over."""

    id: str = ""
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class Progress(Event):
    """Where the phase stands: `done` of `total` (0: unknown) in `unit`; rate in units a second; seconds left (-1: unknown)."""

    done: float = 0.0
    total: float = 0.0
    unit: str = ""
    rate: float = 0.0
    eta: float = -1.0
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Metrics(Event):
    """Columns of equal length, one value a step: always "step"; loss, lr, grad_norm, tokens, tokens_per_second, elapsed, mfu, memory.
    NaN and infinity travel as null."""

    columns: dict[str, list[float | None]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Evaluation(Event):
    """Values measured at `step` on held-out data, say {"val_loss": .., "bpb": ..}; `best` marks the best so far by the run's criterion."""

    step: int = 0
    values: dict[str, float | None] = field(default_factory=dict)
    best: bool = False


@dataclass(frozen=True, kw_only=True)
class Sample(Event):
    """A text the model wrote at `step`: `prompt` continued by `text`."""

    step: int = 0
    prompt: str = ""
    text: str = ""
    temperature: float = 0.0


@dataclass(frozen=True, kw_only=True)
class CheckpointSaved(Event):
    """A checkpoint is on disk, whole. `why`: start, interval, time, best, asked, stop, final. `path` is relative to the run folder."""

    step: int = 0
    path: str = ""
    why: str = ""
    best: bool = False
    size: int = 0


@dataclass(frozen=True, kw_only=True)
class CheckpointRemoved(Event):
    """An old checkpoint made room (only the last K and the best are kept)."""

    step: int = 0


@dataclass(frozen=True, kw_only=True)
class Facts(Event):
    """Facts for the page, merged by key: parameters, steps, tokens_per_step, estimates, counts, compile decision, fit."""

    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Notice(Event):
    """Something the person should know. level: info, warning, problem. `code` is stable; `remedy` says what to do; `step` if it has one.
    A notice with the same code replaces the one before it in the run panel; `cleared` takes it away."""

    level: str = "info"
    code: str = ""
    title: str = ""
    text: str = ""
    remedy: str = ""
    step: int = -1
    cleared: bool = False


@dataclass(frozen=True, kw_only=True)
class Waiting(Event):
    """The worker is alive and waits for the person: reason "disk_full" (free space, then resume), or "device" (another run has it)."""

    reason: str = ""
    text: str = ""
    over: bool = False


@dataclass(frozen=True, kw_only=True)
class ArtifactMade(Event):
    """A finished artifact of this run."""

    id: str = ""
    kind: str = ""


@dataclass(frozen=True, kw_only=True)
class Finished(Event):
    """The last event of an attempt. status: done, stopped, paused, failed. A failure carries the error's code, sentence and remedy.
    `exit_code` is the worker's."""

    status: str = "done"
    code: str = ""
    exit_code: int = 0
    sentence: str = ""
    remedy: str = ""
    field: str = ""
    step: int = -1


def to_line(event: Event) -> str:
    """One JSON line without the newline. Non-finite numbers become null: strict JSON only."""
    made: dict[str, Any] = {"e": event.name, "t": round(event.time, 3), "a": event.attempt}
    for key in dataclasses.fields(event):
        if key.name not in ("time", "attempt"):
            made[key.name] = getattr(event, key.name)
    try:
        return json.dumps(made, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return json.dumps(_finite(made), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value


def from_line(line: str | bytes) -> Event | None:
    """The event of a line; None for a torn or unknown one."""
    try:
        raw = json.loads(line)
        kind = EVENTS[raw.pop("e")]
    except (ValueError, KeyError, AttributeError, TypeError):
        return None
    known = _fields(kind)
    return kind(time=raw.pop("t", 0.0), attempt=raw.pop("a", 1), **{k: v for k, v in raw.items() if k in known})


_KNOWN: dict[type, frozenset[str]] = {}


def _fields(kind: type[Event]) -> frozenset[str]:
    if kind not in _KNOWN:
        _KNOWN[kind] = frozenset(f.name for f in dataclasses.fields(kind))
    return _KNOWN[kind]
