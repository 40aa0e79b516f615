"""What a stage gets from the worker: where to write, whom to tell, when to stop. No torch; the device is a name until a stage opens it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.contract.events import Event, Phase, Progress


@dataclass(frozen=True)
class Command:
    """What the person asked of a run under way: stop (without saving), stop_save, pause (save, then leave the device), save, resume."""

    word: str
    serial: int = 0


@dataclass
class RunContext:
    """One attempt at one run. Stages use only this: `emit`, `command`, `phase`, `progress`, paths, seed, device.

    run_dir     runs/<n>-<stage>
    project_dir the project
    device      "cpu", "cuda:0", "mps"
    attempt     1 for the first, more after a resume
    rank, world_size   position under torchrun; only rank 0 emits and writes
    """

    run_dir: Path
    project_dir: Path
    run_id: str
    device: str = "cpu"
    seed: int = 42
    attempt: int = 1
    rank: int = 0
    world_size: int = 1
    emitter: Callable[[Event], None] = lambda event: None
    reader: Callable[[], Command | None] = lambda: None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def emit(self, event: Event) -> None:
        """Hand an event to the run's file (rank 0 only); time and attempt are filled in there."""
        if self.is_main:
            self.emitter(event)

    def command(self) -> Command | None:
        """What the person asked since the last look, once; None mostly. Cheap enough for every step."""
        return self.reader()

    @contextmanager
    def phase(self, id: str, title: str) -> Iterator[None]:
        self.emit(Phase(id=id, title=title))
        yield

    def progress(self, done: float, total: float, unit: str, rate: float = 0.0, eta: float = -1.0, detail: str = "") -> None:
        self.emit(Progress(done=done, total=total, unit=unit, rate=rate, eta=eta, detail=detail))
