"""Runs of a project: create, list, read their state. A run folder tells all about itself, so it can be carried away and back."""

import builtins
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import __version__
from engine.contract.errors import InputError, Locked, NotFound
from engine.contract.spec import Spec
from engine.contract.words import tr
from engine.project import files, layout
from engine.project.event_log import EventReader
from engine.project.locks import FileLock
from engine.project.run_state import RunState, apply

ACTIVE = ("running", "waiting")
LAST_WORDS = ("Traceback (most recent call last)", "Fatal Python error", "Segmentation fault", "MemoryError")
RESUMABLE = ("interrupted", "paused", "stopped", "failed", "crashed")
NAME = re.compile(r"[1-9][0-9]*-[a-z_]+")
"""Folders with other names (a copy made by hand, say) are nobody's runs."""
CHECKPOINT = re.compile(r"step-[0-9]{8,}")
MAKING_SECONDS = 60.0
"""How long one waits for another run to be made: large sets of examples are copied into it."""


@dataclass(frozen=True)
class Run:
    """One run folder: `<n>-<stage>`. Everything else is read from its files when asked."""

    id: str
    stage: str
    dir: Path
    created: float
    spec: dict[str, Any]
    inputs: dict[str, str]
    title: str = ""
    sets: tuple[dict[str, Any], ...] = ()
    """Of the library, as taken_sets.py reads them."""

    @property
    def number(self) -> int:
        return int(self.id.partition("-")[0])

    def lock(self) -> FileLock:
        return FileLock(layout.lock_file(self.dir))

    def alive(self) -> bool:
        """Whether a worker holds this run right now."""
        return self.lock().taken()

    def state(self) -> RunState:
        """The state from all events; `status_of` adds what only the locks tell."""
        state, reader = RunState(stage=self.stage), EventReader(layout.events_file(self.dir))
        while events := reader.read(1 << 22):
            for event in events:
                apply(state, event)
        return state

    def status_of(self, state: RunState, queued: bool = False) -> str:
        """The status for people: the events' own, corrected by whether a worker is there (interrupted: found dead; crashed: it had last
        words), or queued."""
        if state.status in ACTIVE and not self.alive():
            return "crashed" if self.has_last_words() else "interrupted"
        if state.status not in ACTIVE and queued:
            return "queued"
        return state.status

    def has_last_words(self) -> bool:
        """Whether the log of the latest attempt ends with what a dying interpreter says."""
        latest = self.log_tail(80).rpartition(", attempt ")[2]
        return any(words in latest for words in LAST_WORDS)

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of log.txt."""
        path = layout.log_file(self.dir)
        try:
            with open(path, "rb") as file:
                file.seek(max(0, path.stat().st_size - 64_000))
                return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    def checkpoint_steps(self) -> list[int]:
        """Steps of the whole checkpoints on disk, ascending."""
        folder = layout.checkpoints(self.dir)
        if not folder.is_dir():
            return []
        return sorted(int(p.name.removeprefix("step-")) for p in folder.iterdir()
                      if CHECKPOINT.fullmatch(p.name) and (p / layout.MANIFEST).is_file())


class RunStore:
    """The runs of one project."""

    def __init__(self, project_dir: Path) -> None:
        self.folder = layout.runs(project_dir)

    def create(self, spec: Spec) -> Run:
        """A new run folder with its frozen spec. Nothing is started."""
        spec = spec.frozen(self.folder.parent)
        fields = type(spec).model_fields
        inputs = {n: str(getattr(spec, n)) for n in fields if type(spec).option_of(n).artifact and getattr(spec, n)}
        title = str(getattr(spec, "title", ""))
        self.folder.mkdir(parents=True, exist_ok=True)
        making = FileLock(layout.making_lock(self.folder.parent))
        if not making.acquire(wait=MAKING_SECONDS):  # two runs made at the same moment would get one number
            raise Locked(tr("Another run is being made."), tr("Try again in a moment."))
        try:
            return self._create(spec, inputs, title)
        finally:
            making.release()

    def _create(self, spec: Spec, inputs: dict[str, str], title: str) -> Run:
        number = max([self._number(p.name) for p in self.folder.iterdir()], default=0)
        while True:
            number += 1
            id = f"{number}-{spec.stage}"
            if any(self._number(p.name) == number for p in self.folder.iterdir()):
                continue
            try:
                with files.atomic_folder(self.folder / id) as aside:
                    made = {"id": id, "stage": spec.stage, "created": time.time(), "title": title, "inputs": inputs,
                            "engine_version": __version__, "spec": json.loads(spec.model_dump_json())}
                    if spec.rows:
                        from engine.project import snapshots  # the library brings SQLite, which most runs do without

                        if sets := snapshots.take(self.folder.parent, spec, aside):
                            made["sets"] = sets
                        made["inputs"] = {**inputs, **snapshots.asked(aside)}
                    (aside / layout.spec_file(aside).name).write_text(json.dumps(made, ensure_ascii=False, indent=1), "utf-8")
            except OSError:
                if (self.folder / id).exists():
                    continue
                raise
            return self.get(id)

    def get(self, id: str) -> Run:
        """By id ("3-pretrain") or by number ("3")."""
        name = id
        if id.isdecimal() and self.folder.is_dir():
            name = next((p.name for p in self.folder.iterdir() if NAME.fullmatch(p.name) and self._number(p.name) == int(id)), id)
        run = self._read(self.folder / name) if NAME.fullmatch(name) else None
        if run is None:
            known = ", ".join(r.id for r in self.list())
            raise NotFound(tr("There is no run called {id} in this project.", id=id), tr("It has: {known}.", known=known) if known else
                           tr("It has none yet."))
        return run

    def list(self, stage: str | None = None) -> list[Run]:
        """All runs, oldest first."""
        if not self.folder.is_dir():
            return []
        found = [r for p in self.folder.iterdir() if NAME.fullmatch(p.name) and (r := self._read(p))]
        return sorted((r for r in found if stage in (None, r.stage)), key=lambda r: r.number)

    def delete(self, id: str) -> None:
        """Remove a run that is not under way, its checkpoints included. Its number is not given again: a tombstone keeps it, since what
        the run made, and perhaps the queue, still name it."""
        run = self.get(id)
        if needing := self.needing(run.id):
            raise InputError(tr("Checkpoints of run {id} are needed: {needing} holds an adapter of them alone.", id=run.id,
                                needing=", ".join(needing[:4])),
                             tr("Delete it on the Lineage page, with what needs it, or delete that first."), code="needed")
        lock = run.lock()
        if not lock.acquire():
            raise Locked(tr("Run {id} is under way.", id=id), tr("Stop it first."))
        lock.release()
        files.write_json(self.folder / f".gone-{run.id}", {"id": run.id, "title": run.title, "deleted": time.time()})
        files.remove_tree(run.dir)

    def needing(self, id: str) -> builtins.list[str]:
        """Checkpoints of other runs that hold an adapter alone, of one of this run's checkpoints."""
        from engine.project.models import base_of  # models.py reads runs itself

        return [f"{other.id}@{step}" for other in self.list() if other.id != id for step in other.checkpoint_steps()
                if base_of(layout.checkpoint(other.dir, step)).partition("@")[0] == id]

    def size(self, id: str) -> int:
        """Bytes on disk."""
        return files.folder_size(self.get(id).dir)

    @staticmethod
    def _number(name: str) -> int:
        """The number that a folder or a tombstone stands for, 0 for any other name."""
        name = name.removeprefix(".gone-")
        return int(name.partition("-")[0]) if NAME.fullmatch(name) else 0

    def _read(self, path: Path) -> Run | None:
        raw = files.read_json(layout.spec_file(path))
        if not isinstance(raw, dict) or "stage" not in raw:
            return None
        return Run(id=path.name, stage=str(raw["stage"]), dir=path, created=float(raw.get("created", 0)), spec=dict(raw.get("spec", {})),
                   inputs=dict(raw.get("inputs", {})), title=str(raw.get("title", "")),
                   sets=tuple(one for one in raw.get("sets") or () if isinstance(one, dict)))
