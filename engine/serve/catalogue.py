"""The models of a project as the server lists them: every finished model and every checkpoint, the untrained one included. No torch.

What costs a read (shapes, what runs measured) is kept and only read on; the list itself is made anew at each look, so that a checkpoint
saved a moment ago is there.
"""

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.contract.errors import NotFound, SettingError
from engine.contract.events import Evaluation, Event, Resumed, from_line
from engine.contract.words import tr
from engine.model.config import ModelConfig
from engine.project import files, layout
from engine.project.models import ModelRef, list_models, resolve_reward
from engine.project.project import Project

CONFIG = "config.json"
MARKS = tuple(f'{{"e":"{kind.name}"'.encode() for kind in (Evaluation, Resumed))
READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Listed:
    """A model and its shape. `bpb` is validation bits per byte, None where it was not measured; `best` the run's best so far; `reward`:
    it scores answers and writes none."""

    ref: ModelRef
    config: ModelConfig
    bpb: float | None = None
    best: bool = False
    reward: bool = False

    def body(self, loaded: bool = False) -> dict[str, Any]:
        """One entry of /v1/models: OpenAI's four fields, then ours. `chat` false: it completes text, it was not tuned to answer."""
        ref = self.ref
        return {"id": ref.id, "object": "model", "created": int(ref.created), "owned_by": "fledge", "title": ref.title, "step": ref.step,
                "run": ref.run, "stage": ref.stage, "chat": ref.chat, "untrained": ref.untrained, "bpb": self.bpb,
                "parameters": self.config.parameters, "vocab_size": self.config.vocab_size, "context": self.config.max_seq_len,
                "best": self.best, "loaded": loaded}


class Catalogue:
    """The models of one project, by id."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._shapes: dict[tuple[Path, int], ModelConfig] = {}
        self._measured: dict[str, _Measured] = {}
        self._lock = threading.Lock()  # asked from the threads of several requests

    def list(self) -> list[Listed]:
        """All that have a readable shape: a folder that vanishes or is damaged while we look is left out here and explained by `get`."""
        with self._lock:
            return [made for ref in list_models(self.project) if (made := self._listed(ref))]

    def get(self, id: str) -> Listed:
        """By id; NotFound names those there are."""
        known = list_models(self.project)
        ref = next((m for m in known if m.id == id), None)
        if ref is None:
            ids = ", ".join(m.id for m in known[:12])
            raise NotFound(tr("There is no model called {id} in this project.", id=id), tr("It has: {known}.", known=ids) if known else
                           tr("It has none yet: pretrain one first."), code="model_not_found", field="model")
        with self._lock:
            made = self._listed(ref)
        if made is None:
            raise NotFound(tr("The shape of model {id} cannot be read.", id=id), tr("Choose another checkpoint of the run."),
                           code="model_damaged", field="model")
        return made

    def get_reward(self, id: str) -> Listed:
        """A reward model by id; NotFound names those there are. SettingError for a model that writes."""
        if any(ref.id == id for ref in list_models(self.project)):
            raise SettingError(tr("{model} is a language model and gives no rewards.", model=id), tr("Choose a reward model."),
                               code="no_reward_model", field="model")
        ref = resolve_reward(self.project, id)
        with self._lock:
            made = self._listed(ref)
        if made is None:
            raise NotFound(tr("The shape of model {id} cannot be read.", id=id), tr("Choose another one."), code="model_damaged",
                           field="model")
        return replace(made, reward=True)

    def _listed(self, ref: ModelRef) -> Listed | None:
        path = ref.folder / CONFIG
        try:
            key = (path, path.stat().st_mtime_ns)
        except FileNotFoundError:
            return None
        if key not in self._shapes:
            try:
                self._shapes[key] = ModelConfig.model_validate(files.read_json(path))
            except ValueError:  # pydantic's, for anything that is no shape
                return None
        bpb, best = ref.facts.get("bpb"), False
        if ref.run:
            measured = self._measured.setdefault(ref.run, _Measured(layout.events_file(layout.run(self.project.dir, ref.run))))
            measured.look()
            bpb, best = measured.bpb.get(ref.step), ref.step == measured.best
        return Listed(ref, self._shapes[key], float(bpb) if isinstance(bpb, (int, float)) else None, best)


class _Measured:
    """What a run measured on validation text, by step; `look` reads on where it stopped, a block at a time. Only the lines of evaluations
    and resumes are parsed: a long run has a million others."""

    def __init__(self, path: Path) -> None:
        self.path, self.offset = path, 0
        self.bpb: dict[int, float] = {}
        self._bests: list[int] = []

    @property
    def best(self) -> int:
        return self._bests[-1] if self._bests else -1

    def look(self) -> None:
        rest = b""
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                while data := file.read(READ_BYTES):
                    *lines, rest = (rest + data).split(b"\n")
                    self.offset += sum(len(line) + 1 for line in lines)
                    for line in lines:
                        if line.startswith(MARKS):
                            self._take(from_line(line))
        except FileNotFoundError:
            return

    def _take(self, event: Event | None) -> None:
        if isinstance(event, Resumed):  # what came past the checkpoint is void
            self.bpb = {step: value for step, value in self.bpb.items() if step <= event.step}
            self._bests = [step for step in self._bests if step <= event.step]
        elif isinstance(event, Evaluation):
            value = event.values.get("bpb")
            if value is not None:
                self.bpb[event.step] = value
            if event.best:
                self._bests.append(event.step)
