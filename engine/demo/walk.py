"""What the demo's steps share: the demo under way, what a step is, and bringing a run of the project to its end. No step stands here."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

from engine import __version__
from engine.contract.errors import FledgeError, MachineError, Stopped
from engine.contract.events import Event
from engine.contract.spec import Spec
from engine.contract.words import tr
from engine.demo import settings
from engine.project import files, launch, layout
from engine.project.artifacts import Artifact
from engine.project.follow import follow
from engine.project.project import Project
from engine.project.run_state import RunState
from engine.project.runs import Run
from engine.world import World


class Reporter(Protocol):
    """What shows the demo to a person: a line now and then, and one watcher for each run."""

    def say(self, words: str) -> None: ...

    def watch(self, run: Run, pid: int) -> AbstractContextManager[Callable[[RunState, Event], None]]: ...


class Silent:
    """Shows nothing."""

    def say(self, words: str) -> None:
        return None

    def watch(self, run: Run, pid: int) -> AbstractContextManager[Callable[[RunState, Event], None]]:
        return nullcontext(lambda state, event: None)


@dataclass
class Demo:
    """One demo under way. `asked` is what it was begun with, `seconds` and `cpu_seconds` what each step took so far (kept in demo.json)."""

    project: Project
    quick: bool
    corpus: str
    seed: int
    device: str
    reporter: Reporter
    seconds: dict[str, float] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    made: dict[str, Artifact] = field(default_factory=dict)

    @property
    def size(self) -> settings.Size:
        return settings.QUICK if self.quick else settings.FULL

    def world(self) -> World:
        return World(self.seed, self.size.people)

    def save(self) -> None:
        files.write_json(layout.demo_file(self.project.dir), {
            "version": 1, "quick": self.quick, "corpus": self.corpus, "seed": self.seed, "engine_version": __version__,
            "seconds": self.seconds, "cpu_seconds": self.cpu_seconds, "results": self.results})


@dataclass(frozen=True)
class Step:
    """One step. `run` makes (or finds) its results, a plain dict; `needs_world` leaves it out for a person's own text, with `reason`."""

    id: str
    title: str
    run: Callable[[Demo], dict[str, Any]]
    needs_world: bool = False
    reason: str = ""


def stage(demo: Demo, spec: Spec) -> tuple[RunState, Artifact]:
    """Bring the run of this spec to its end: made if there is none, followed if it is under way, resumed if it was cut short."""
    wanted = json.loads(spec.frozen(demo.project.dir).model_dump_json())
    run = next((run for run in reversed(demo.project.runs.list(spec.stage)) if run.spec == wanted), None) or demo.project.runs.create(spec)
    state = run.state()
    if state.status != "done":
        if run.alive():
            pid = state.pid
        else:
            pid = launch.start(run, demo.device, wait_for_device=True)
        with demo.reporter.watch(run, pid) as on_event:
            state = follow(run, pid, on_event)
    if state.status != "done":
        raise _ending(run, state)
    artifact = demo.project.artifacts.get(state.artifacts[-1])
    demo.made[spec.stage] = artifact
    return state, artifact


def _ending(run: Run, state: RunState) -> FledgeError:
    """The error a run ended with, as this process's own."""
    if state.status in ("stopped", "paused"):
        return Stopped(tr("The demo was stopped in {run}. Give the same command to go on.", run=run.id), saved=True)
    if state.status == "failed" and state.finished:
        kinds = [FledgeError]
        for kind in kinds:
            kinds += kind.__subclasses__()
        kind = next((kind for kind in kinds if kind.code == state.finished.code), FledgeError)
        return kind(state.finished.sentence, state.finished.remedy, code=state.finished.code, field=state.finished.field)
    return MachineError(tr("The worker of {run} died without a last word.", run=run.id) + "\n" + run.log_tail(20),
                        tr("Give the same command to go on from the last checkpoint."), code="crashed")
