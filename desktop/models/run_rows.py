"""Runs as rows of a table, and what two of them differ in. No Qt; `RunRows.look` is called in a thread.

A row needs no metrics but the last ones, so lines of metrics are passed over unread: a file of a million steps is summarised in a fraction
of a second, and again only when it has grown. Whoever draws the curve follows the run with desktop/jobs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.contract.events import from_line
from engine.contract.spec import Spec
from engine.contract.units import number
from engine.contract.words import tr
from engine.pipeline import STAGES
from engine.project import files, layout, queue
from engine.project.project import Project
from engine.project.run_measures import best_words, of_stage
from engine.project.run_state import RunState, apply
from engine.project.runs import RESUMABLE, Run

SKIPPED = (b'{"e":"metrics"', b'{"e":"progress"')
READ_BYTES = 1 << 20


@dataclass(frozen=True)
class RunRow:
    """`best` is (value, step) of the best validation; `seconds` of work in all attempts; `inputs` words for what went in."""

    id: str
    number: int
    stage: str
    title: str
    inputs: str
    status: str
    step: int
    steps: int
    best: tuple[float, int] | None
    best_words: str
    loss: float | None
    seconds: float
    created: float
    size: int
    checkpoints: int
    sentence: str
    made: tuple[str, ...]
    active: bool

    @property
    def resumable(self) -> bool:
        return self.status in RESUMABLE


class RunRows:
    """The rows of a project. What did not change since the last look is not read again."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._known: dict[str, tuple[tuple[int, int], RunState]] = {}
        self._sizes: dict[str, tuple[int, int]] = {}

    def look(self) -> list[RunRow]:
        """All rows, newest first; without previews of a few rows, which are looked at where they are made."""
        waiting = {e.run for e in queue.entries() if e.project == str(self._project.dir)}
        return [self._row(run, run.id in waiting) for run in reversed(self._project.runs.list()) if not run.spec.get("preview")]

    def _row(self, run: Run, queued: bool) -> RunRow:
        state = self._state(run)
        status = run.status_of(state, queued)
        best = state.best
        value = best_value(best.values, run.stage) if best else None
        return RunRow(id=run.id, number=run.number, stage=run.stage, title=run.title or "", status=status, step=state.step,
                      inputs=went_in(run), steps=int(state.facts.get("steps") or 0),
                      best=(value, best.step) if best is not None and value is not None else None,
                      best_words=best_words(run.stage, best.values) if best is not None else "", loss=state.metrics.last("loss"),
                      seconds=spent(state), created=run.created, size=self._size(run, state), checkpoints=len(state.checkpoints),
                      sentence=state.finished.sentence if state.finished else "", made=tuple(state.artifacts),
                      active=status in ("running", "waiting"))

    def _state(self, run: Run) -> RunState:
        path = layout.events_file(run.dir)
        try:
            found = path.stat()
        except FileNotFoundError:
            return RunState(stage=run.stage)
        stamp = (found.st_size, found.st_mtime_ns)
        known = self._known.get(run.id)
        if known is None or known[0] != stamp:
            self._known[run.id] = known = (stamp, summary(path, run.stage))
        return known[1]

    def _size(self, run: Run, state: RunState) -> int:
        """Bytes on disk; walked again only when checkpoints came or went."""
        key = hash(tuple(c.step for c in state.checkpoints)) ^ hash(state.status)
        known = self._sizes.get(run.id)
        if known is None or known[0] != key:
            self._sizes[run.id] = known = (key, files.folder_size(run.dir))
        return known[1]


def summary(path: Path, stage: str = "") -> RunState:
    """The state of a run without its curves: of the metrics only the last line, and the last before each attempt, are read."""
    state, last, rest = RunState(stage=stage), b"", b""
    with open(path, "rb") as file:
        while data := file.read(READ_BYTES):
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            for line in lines:
                if line.startswith(SKIPPED):
                    last = line if line.startswith(SKIPPED[0]) else last
                    continue
                event = from_line(line)
                if event is not None:
                    if event.name == "started":
                        last = _take(state, last)
                    apply(state, event)
    _take(state, last)
    return state


def _take(state: RunState, line: bytes) -> bytes:
    event = from_line(line) if line else None
    if event is not None:
        apply(state, event)
    return b""


def inputs_words(inputs: dict[str, str]) -> str:
    """{"corpus": "corpus-3", "tokenizer": "tokenizer-2"} as "Corpus 3, tokenizer 2"; a checkpoint by its run and step."""
    named: list[str] = []
    for id in inputs.values():
        run, at, step = id.partition("@")
        kind, _, place = id.rpartition("-")
        word = tr("Reward model") if kind == "reward_model" else STAGES[kind].title if kind in STAGES else kind
        words = tr("Run {number}, step {step}", number=run.partition("-")[0], step=step) if at else f"{word} {place}".strip()
        named.append((words[:1].lower() if named else words[:1].upper()) + words[1:])
    return ", ".join(named)


def went_in(run: Run) -> str:
    """What a run was given, in words; of one that goes on training a model, that model first ("Model 1, corpus 2")."""
    start = str(run.spec.get("model") or "")
    if start and "model" not in run.inputs:
        source, at, step = start.partition("@")
        if at:
            first = tr("Run {number}, step {step}", number=source.partition("-")[0], step=step)
            rest = inputs_words(run.inputs)
            return f"{first}, {rest[:1].lower()}{rest[1:]}" if rest else first
        return inputs_words({"model": start, **run.inputs})
    return inputs_words(run.inputs)


def best_value(values: dict[str, float | None], stage: str = "") -> float | None:
    """The number by which runs of a stage are compared; the first value where there is no such."""
    found = (values.get(name) for name in of_stage(stage).held)
    return next((value for value in (*found, *values.values()) if value is not None), None)


def spent(state: RunState) -> float:
    """Seconds of work: what the steps say, else from start to end of the last attempt."""
    elapsed = state.metrics.last("elapsed")
    if elapsed:
        return elapsed
    end = state.ended or state.updated
    return max(0.0, end - state.attempt_started) if state.attempt_started else 0.0


def differences(one: Run, other: Run) -> list[tuple[str, str, str]]:
    """(setting in words, its value in one, in the other) where two runs' specs differ; a setting only one has shows a dash."""
    found = []
    spec_one, spec_other = _spec(one), _spec(other)
    for key in [*one.spec, *(k for k in other.spec if k not in one.spec)]:
        a, b = one.spec.get(key, _MISSING), other.spec.get(key, _MISSING)
        if a != b and key != "title":
            spec = spec_one if key in one.spec else spec_other
            found.append((_label(spec, key), _words(spec_one, key, a), _words(spec_other, key, b)))
    return found


_MISSING = object()


def _spec(run: Run) -> type[Spec] | None:
    stage = STAGES.get(run.stage)
    return stage.spec if stage else None


def _label(spec: type[Spec] | None, key: str) -> str:
    return spec.option_of(key).label if spec is not None and key in spec.model_fields else key


def _words(spec: type[Spec] | None, key: str, value: Any) -> str:
    if value is _MISSING:
        return "–"
    if value is None:
        return tr("auto")
    if spec is not None and key in spec.model_fields:
        for choice, words in spec.option_of(key).choices:
            if choice == value:
                return words
    if isinstance(value, bool):
        return tr("on") if value else tr("off")
    if isinstance(value, int):
        return number(value)
    if isinstance(value, float):
        return f"{value:,.8g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(str(v) for v in value) or tr("empty")
    return str(value) or tr("empty")
