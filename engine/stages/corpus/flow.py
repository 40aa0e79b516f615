"""Where a corpus run stands: its folders, its phases with progress, rate and time left, its stop, and how long each phase took.

No phase's work lives here. Everything in `work/` survives a stop or a kill, so that a resume goes on from there.
"""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.contract.context import RunContext
from engine.contract.errors import Stopped
from engine.contract.events import Phase, Phases
from engine.contract.words import tr
from engine.project import files, layout

TITLES = {
    "look": tr("Looking at the files"), "pipeline": tr("Running the datatrove pipeline"),
    "read": tr("Reading"), "lines": tr("Looking for boilerplate lines"), "clean": tr("Cleaning"),
    "sign": tr("Fingerprints of the documents"), "match": tr("Looking for duplicates"), "passages": tr("Looking for repeated passages"),
    "overlap": tr("Comparing with held-out sets"), "write": tr("Writing the corpus"), "save": tr("Checking and saving"),
    "index": tr("Making it searchable"),
}
EVERY = 0.25


@dataclass
class Flow:
    """One attempt. `enter` a phase, `at` how far it is; both raise Stopped when the person asked."""

    context: RunContext
    phase: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    _began: float = 0.0
    _told: float = 0.0
    _first: float = -1.0

    def __post_init__(self) -> None:
        self.work = layout.work(self.context.run_dir)
        self.work.mkdir(exist_ok=True)
        kept = files.read_json(self.work / "seconds.json", {})
        self.seconds = {str(k): float(v) for k, v in kept.items()} if isinstance(kept, dict) else {}

    def folder(self, name: str) -> Path:
        """A folder of this run's work, made if missing. What a kill left half-written in it goes."""
        path = self.work / name
        path.mkdir(parents=True, exist_ok=True)
        for torn in path.glob(".tmp-*"):
            shutil.rmtree(torn) if torn.is_dir() else torn.unlink(missing_ok=True)
        return path

    def announce(self, phases: list[str]) -> None:
        self.context.emit(Phases(phases=[[id, TITLES[id]] for id in phases]))

    @contextmanager
    def enter(self, phase: str) -> Iterator[None]:
        """One phase, timed. The time of attempts that were cut short adds up."""
        self.check()
        self.phase, self._began, self._told, self._first = phase, time.monotonic(), 0.0, -1.0
        self.context.emit(Phase(id=phase, title=TITLES[phase]))
        try:
            yield
        finally:
            self.seconds[phase] = round(self.seconds.get(phase, 0.0) + time.monotonic() - self._began, 2)
            files.write_json(self.work / "seconds.json", self.seconds)

    def at(self, done: float, total: float, unit: str = "", detail: str = "") -> None:
        """How far the phase is. What was done before this attempt does not count for the rate."""
        now = time.monotonic()
        if self._first < 0:
            self._first = done
        if now - self._told < EVERY and done < total:
            return
        self._told = now
        spent = max(1e-6, now - self._began)
        rate = (done - self._first) / spent
        self.context.progress(done, total, unit, rate, (total - done) / rate if rate > 0 else -1.0, detail)
        self.check()

    def check(self) -> None:
        """Raise Stopped when the person asked; what is done stays and a resume goes on from it."""
        command = self.context.command()
        if command and command.word in ("stop", "stop_save", "pause"):
            raise Stopped(tr("The import was stopped. What is done is kept; it can be resumed."), paused=command.word == "pause")

    def remember(self, name: str, value: object) -> None:
        """Keep a small result for a resume."""
        files.write_json(self.work / f"{name}.json", value)

    def recall(self, name: str) -> Any:
        path = self.work / f"{name}.json"
        return json.loads(path.read_text("utf-8")) if path.exists() else None

    def done(self) -> None:
        """The artifact is there: the work is not needed any more."""
        files.remove_tree(self.work)
