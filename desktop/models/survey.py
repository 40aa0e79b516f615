"""What a project holds, at a glance: artifacts, runs with their status, the state of every stage. No Qt; read in a thread.

A run is read by the head and the tail of its events only, so that a look costs milliseconds however long the run was. Whoever shows a
run's whole curve follows it with desktop/jobs instead.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from desktop.models import verifier_checks
from desktop.models.beside import BESIDE
from engine.contract.errors import FledgeError
from engine.contract.events import Facts, from_line
from engine.contract.units import number, percent
from engine.contract.words import tr
from engine.pipeline import STAGES, Stage
from engine.project import layout, queue, taken_sets
from engine.project.artifacts import Artifact
from engine.project.lineage import stale_ids
from engine.project.project import Project
from engine.project.run_state import RunState, apply
from engine.project.runs import Run

LOOK_BYTES = 1 << 16
FEW_RUNS = 10
ACTIVE = ("running", "waiting", "starting")
BROKEN = ("failed", "crashed", "interrupted")


TUNING = {"sft": ("sft", "adapt"), "dpo": ("dpo", "ppo"), "grpo": ("grpo",)}
"""Stages that make a model of a model, and the stages whose runs stand at their place in the rail."""
LABELLED = "preference"
"""The stage whose work is people's."""
VERIFIED = "grpo"
"""The stage that learns from verifiers; before it stand those, and the problems they are for."""
IMPORTED = "import_model"
"""What brings a model in: it says nothing about whether one was raised here."""


@dataclass(frozen=True)
class RunGlance:
    """A run in one line. `share` 0 to 1; `eta` seconds left, -1 unknown; `loss` None where there is none."""

    id: str
    stage: str
    number: int
    title: str
    status: str
    created: float
    share: float = 0.0
    step: int = 0
    steps: int = 0
    loss: float | None = None
    eta: float = -1.0
    sentence: str = ""
    preview: bool = False

    @property
    def active(self) -> bool:
        return self.status in ACTIVE


@dataclass(frozen=True)
class StageState:
    """state: nothing, ready, running, done, stale, failed. `words` stand at the right of the rail item."""

    id: str
    title: str
    state: str = "nothing"
    share: float = 0.0
    words: str = ""


@dataclass(frozen=True)
class Survey:
    """Everything the rail and the pages need to know about what there is; equal surveys look the same on the screen."""

    project_dir: Path
    artifacts: tuple[Artifact, ...] = ()
    runs: tuple[RunGlance, ...] = ()
    stages: tuple[StageState, ...] = ()

    def of_kind(self, kind: str) -> list[Artifact]:
        """Artifacts of a kind, newest first."""
        return [a for a in reversed(self.artifacts) if a.kind == kind]

    def choices(self, kind: str) -> list[tuple[str, str]]:
        """(id, words) for a form, newest first; the id is said where the title alone does not tell them apart."""
        found = self.of_kind(kind)
        titles = [a.title for a in found]
        return [(a.id, a.title if a.title == a.id or titles.count(a.title) == 1 else f"{a.title} ({a.id})") for a in found]

    def of_stage(self, stage: str) -> list[RunGlance]:
        """Runs of a stage, newest first."""
        return [r for r in reversed(self.runs) if r.stage == stage]

    @property
    def running(self) -> RunGlance | None:
        return next((r for r in reversed(self.runs) if r.active), None)

    @property
    def model_title(self) -> str:
        """The newest model's name (of the one in the making while there is none), for the top of the rail."""
        models = self.of_kind("model")
        running = next((r for r in reversed(self.runs) if r.active and r.stage in STAGES and STAGES[r.stage].makes == "model"), None)
        return models[0].title if models else running.title if running is not None else ""


def survey(project: Project) -> Survey:
    """Look at a project's folder."""
    artifacts, waiting = tuple(project.artifacts.list()), {e.run for e in queue.entries() if e.project == str(project.dir)}
    there = project.runs.list()
    runs = tuple(glance(run, run.id in waiting) for run in there)
    steps = [stage for stage in STAGES.values() if stage.id not in BESIDE]
    changed = frozenset(taken_sets.changed(project.dir, [run for run in there if run.sets and not run.spec.get("preview")]))
    states = stage_states(steps, artifacts, runs, changed)
    return Survey(project.dir, artifacts, runs, tuple(_with_verifiers([_with_labels(s, project) if s.id == LABELLED else s for s in states],
                                                                      project, runs)))


def _with_verifiers(states: list[StageState], project: Project, runs: Sequence[RunGlance]) -> Iterator[StageState]:
    """The verifiers' place before the stage that learns from them: people write them, and no run makes them."""
    for state in states:
        if state.id == VERIFIED:
            yield _verifiers(project, any(r.stage == VERIFIED and not r.preview for r in runs))
        yield state


def _verifiers(project: Project, used: bool) -> StageState:
    """Nothing while there are neither problems nor verifiers; done where one was checked on problems, or a run used one."""
    title, state = tr("Verifiers"), "done" if used else "nothing"
    if layout.library_file(project.dir).exists():
        try:
            known, sets = project.library.verifiers.list(), project.library.problems.sets()
            if known and not used:
                checked = verifier_checks.read(project.dir)
                used = bool(checked) and any(project.library.verifiers.version(v.ref).sha256 in checked for v in known)
            state = "done" if used else "ready" if known or sets else "nothing"
        except FledgeError:
            pass
    return StageState("verifiers", title, state, words=tr("ready") if state == "ready" else "")


def _with_labels(state: StageState, project: Project) -> StageState:
    """How far people have labelled, beside what runs say: labels come one by one, and no run makes them. A library that cannot be read is
    told where it is used."""
    if state.state in ("running", "failed") or not layout.library_file(project.dir).exists():
        return state
    try:
        sets = project.library.pairs.sets()
    except FledgeError:
        return state
    pairs, labels = sum(s.count for s in sets), sum(s.labelled for s in sets)
    if not labels:
        return StageState(state.id, state.title, "ready", words=state.words if state.state == "ready" else tr("ready"))
    done = labels >= pairs
    return StageState(state.id, state.title, "done" if done else "running", labels / pairs, "" if done else number(labels))


def few_runs(project: Project) -> bool:
    """Whether a first look is over in a blink."""
    folder = layout.runs(project.dir)
    return not folder.is_dir() or sum(1 for _ in folder.iterdir()) <= FEW_RUNS


def glance(run: Run, queued: bool = False) -> RunGlance:
    """One run from the head and the tail of its events, which are read again only when the file has changed."""
    path = layout.events_file(run.dir)
    try:
        found = path.stat()
    except FileNotFoundError:
        state = RunState(stage=run.stage)
    else:
        state = _read(path, run.stage, found.st_size, found.st_mtime_ns)
    status = run.status_of(state, queued)
    progress = state.progress
    return RunGlance(id=run.id, stage=run.stage, number=run.number, title=run.title, status=status, created=run.created, share=state.share,
                     step=state.step, steps=int(state.facts.get("steps") or 0), loss=state.metrics.last("loss"),
                     eta=progress.eta if progress is not None and status in ACTIVE else -1.0,
                     sentence=state.finished.sentence if state.finished is not None and status == "failed" else "",
                     preview=bool(run.spec.get("preview")))


@lru_cache(maxsize=1024)
def _read(path: Path, stage: str, size: int, changed: int) -> RunState:
    """`size` and `changed` make a changed file another question. Nobody changes what comes back."""
    state = RunState(stage=stage)
    for line in _ends(path):
        event = from_line(line)
        if event is not None:
            apply(state, event)
    return state


def _ends(path: Path) -> list[bytes]:
    """The lines of the first and the last 64 kB; from between, the facts alone are missed, and they come at the head of each attempt."""
    try:
        with open(path, "rb") as file:
            head = file.read(LOOK_BYTES)
            size = file.seek(0, 2)
            if size <= LOOK_BYTES:
                return head.splitlines()
            start = max(LOOK_BYTES, size - LOOK_BYTES)
            file.seek(start)
            tail = file.read()
    except FileNotFoundError:
        return []
    lines = head.splitlines()[:-1] if start > LOOK_BYTES else head.splitlines()
    rest = tail.splitlines()
    if start == LOOK_BYTES and lines and rest and not head.endswith(b"\n"):
        rest[0] = lines.pop() + rest[0]
    facts = [line for line in lines if isinstance(from_line(line), Facts)]
    return [*lines, *rest] if len(lines) < 4000 else [*lines[:50], *facts, *rest]


def stage_states(stages: Iterable[Stage], artifacts: Sequence[Artifact], runs: Sequence[RunGlance],
                 changed: frozenset[str] = frozenset()) -> list[StageState]:
    """The state of each stage from what was made and what ran. A run under way speaks first, then a newer broken one, then the made.
    Previews count for nothing. `changed` are runs whose sets of examples are not what they were."""
    kinds, stale = {artifact.kind for artifact in artifacts}, stale_ids(artifacts)
    stale |= {artifact.id for artifact in artifacts if artifact.run in changed}
    states = []
    for stage in stages:
        own = TUNING.get(stage.id, (stage.id,))
        made = next((a for a in reversed(artifacts) if a.kind == stage.makes and _belongs(a, stage)), None)
        states.append(_state(stage, made, made is not None and made.id in stale, kinds,
                             [r for r in runs if r.stage in own and not r.preview]))
    return states


def _belongs(artifact: Artifact, stage: Stage) -> bool:
    """Whether it says that the stage is done: a model that was brought in, or made from one that was there, says nothing about whether one
    was raised."""
    maker = artifact.run.partition("-")[2]
    if stage.id in TUNING:
        return maker in TUNING[stage.id]
    return maker != IMPORTED and not any(maker in stages for stages in TUNING.values())


def _state(stage: Stage, made: Artifact | None, stale: bool, kinds: set[str], runs: Sequence[RunGlance]) -> StageState:
    last = runs[-1] if runs else None
    active = next((r for r in reversed(runs) if r.active), None)
    if active is not None:
        words = percent(active.share) if active.status == "running" else tr("waiting")
        return StageState(stage.id, stage.title, "running", active.share, words)
    if any(r.status == "queued" for r in runs):
        return StageState(stage.id, stage.title, "ready", words=tr("queued"))
    if last is not None and last.status in BROKEN and (made is None or last.created > made.created):
        words = {"failed": tr("stopped"), "crashed": tr("crashed"), "interrupted": tr("interrupted")}[last.status]
        return StageState(stage.id, stage.title, "failed", last.share, words)
    if made is not None:
        return StageState(stage.id, stage.title, "stale" if stale else "done", words=tr("stale") if stale else "")
    if last is not None and last.status in ("stopped", "paused"):
        return StageState(stage.id, stage.title, "failed", last.share, tr("stopped") if last.status == "stopped" else tr("paused"))
    ready = all(kind in kinds for kind in stage.needs)
    return StageState(stage.id, stage.title, "ready" if ready else "nothing", words=tr("ready") if ready else "")
