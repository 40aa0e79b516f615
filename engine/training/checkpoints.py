"""A run's checkpoints: the exact state of training, written so that a crash leaves the old or the new. No pickle, no training logic.

    runs/<id>/checkpoints/step-00000200/
      config.json model.safetensors tokenizer.json      the model, ready to be chatted with
      optimizer.safetensors state.json                  what a resume needs besides (absent in a weights-only checkpoint)
      manifest.json                                     SHA-256 and size of each, written last

A folder is written aside, synced and renamed. Reading compares hashes; a damaged checkpoint is passed over for the one before it, and said.
"""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from engine.contract.context import RunContext
from engine.contract.errors import Corrupt
from engine.contract.events import CheckpointRemoved, CheckpointSaved, Notice, Resumed
from engine.contract.words import tr
from engine.model.checkpoint import load_tensors, save_tensors
from engine.project import files, layout
from engine.project.models import needed_steps
from engine.project.runs import CHECKPOINT
from engine.training.ranks import Ranks

OPTIMIZER_FILE = "optimizer.safetensors"
STATE_FILE = "state.json"
FORMAT = 1


@dataclass
class TrainState:
    """Where training stands. Everything that decides the next step is here, in the weights, or in the optimizer's tensors; random numbers
    are drawn afresh for each step from (seed, step), so there is no generator to keep. `first_values` were measured before the first
    step; `kept` is a stage's own (say, an adaptive coefficient)."""

    step: int = 0
    micro_batch_size: int = 1
    tokens: int = 0
    elapsed: float = 0.0
    best_value: float | None = None
    best_step: int = -1
    evaluations_without_best: int = 0
    skipped: int = 0
    bad_in_a_row: int = 0
    compiled: bool = False
    dtype: str = "float32"
    checkpointing: bool = False
    source: dict[str, Any] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    first_values: dict[str, float] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint on disk."""

    step: int
    path: Path

    @property
    def resumable(self) -> bool:
        return (self.path / STATE_FILE).is_file()

    def state(self) -> TrainState:
        raw = json.loads((self.path / STATE_FILE).read_text("utf-8"))
        known = TrainState.__dataclass_fields__
        return TrainState(**{k: v for k, v in raw["train"].items() if k in known})

    def optimizer(self) -> dict[str, torch.Tensor]:
        return load_tensors(self.path / OPTIMIZER_FILE)

    def verify(self) -> None:
        """Compare every file with the manifest; Corrupt if one differs."""
        manifest = files.read_json(self.path / layout.MANIFEST)
        entries = manifest.get("files") if isinstance(manifest, dict) else None
        if not entries:
            raise Corrupt(tr("The checkpoint of step {step} has no manifest.", step=f"{self.step:,}"), tr("Use another checkpoint."))
        for name, entry in entries.items():
            path = self.path / name
            if not path.is_file() or path.stat().st_size != entry["size"] or files.hash_file(path) != entry["sha256"]:
                raise Corrupt(tr("The checkpoint of step {step} is damaged: {file} is not what was written.", step=f"{self.step:,}",
                                 file=name),
                              tr("Use another checkpoint."))


class Checkpoints:
    """The checkpoints of one run. `write_model(folder)` writes the model's own files (weights, config, tokenizer) into a folder; `facts`
    is what their manifests tell about the model (`chat`: it was tuned to answer)."""

    def __init__(self, context: RunContext, write_model: Callable[[Path], None], keep: int = 3,
                 facts: dict[str, Any] | None = None) -> None:
        self.context, self.write_model, self.keep, self.facts = context, write_model, keep, facts or {}
        self.folder = layout.checkpoints(context.run_dir)
        self.last_saved = time.monotonic()
        self._told: set[int] = set()

    def save(self, state: TrainState, optimizer: dict[str, torch.Tensor] | None, why: str, best: bool = False) -> Path:
        """Write the checkpoint of `state.step`; without `optimizer` it holds the weights only. A full disk raises DiskFull and leaves
        nothing half-written. Only rank 0 calls this."""
        final = layout.checkpoint(self.context.run_dir, state.step)
        if self._whole(final):
            if best:
                self.context.emit(CheckpointSaved(step=state.step, path=self._relative(final), why="best", best=True,
                                                  size=files.folder_size(final)))
            return final
        files.remove_tree(final)
        with files.atomic_folder(final) as aside:
            self.write_model(aside)
            if optimizer is not None:
                save_tensors(aside / OPTIMIZER_FILE, optimizer)
                kept = {"format": FORMAT, "torch": torch.__version__, "seed": self.context.seed, "train": asdict(state)}
                (aside / STATE_FILE).write_text(json.dumps(kept, indent=1), "utf-8")
            manifest = {"kind": "checkpoint", "run": self.context.run_id, "step": state.step, "why": why, "created": time.time(),
                        "facts": self.facts, "files": files.hash_folder(aside)}
            (aside / layout.MANIFEST).write_text(json.dumps(manifest, indent=1), "utf-8")
        self.last_saved = time.monotonic()
        self.context.emit(CheckpointSaved(step=state.step, path=self._relative(final), why=why, best=best, size=files.folder_size(final)))
        return final

    def all(self) -> list[Checkpoint]:
        """Checkpoints that have a manifest, oldest first."""
        if not self.folder.is_dir():
            return []
        found = [Checkpoint(int(p.name.removeprefix("step-")), p) for p in self.folder.iterdir() if CHECKPOINT.fullmatch(p.name)
                 and self._whole(p)]
        return sorted(found, key=lambda c: c.step)

    def latest(self) -> tuple[Checkpoint | None, list[Notice]]:
        """The newest resumable checkpoint that is what was written, and notices of damaged newer ones. Those are removed, so that the
        resumed run can write its own. Rank 0 looks; the others take its step."""
        notices = []
        for found in reversed([c for c in self.all() if c.step]):
            try:
                found.verify()
                if found.resumable:
                    return found, notices
            except Corrupt as wrong:
                files.remove_tree(found.path)
                self.context.emit(CheckpointRemoved(step=found.step))
                notices.append(Notice(level="warning", code="checkpoint_damaged", title=tr("A checkpoint was damaged"), text=wrong.sentence,
                                      remedy=tr("Training continues from the checkpoint before it.")))
        return None, notices

    def prune(self, best_step: int) -> None:
        """Keep the last K, the best one, step 0, and what another run of the project cannot do without (said once)."""
        found = self.all()
        spared = {c.step for c in found[-self.keep:]} | {0, best_step}
        if all(c.step in spared for c in found):
            return
        needed = needed_steps(self.context.project_dir, self.context.run_id)
        for checkpoint in found:
            if checkpoint.step in spared:
                continue
            if checkpoint.step in needed:
                if checkpoint.step not in self._told:
                    self._told.add(checkpoint.step)
                    self.context.emit(Notice(level="info", code="checkpoint_needed", title=tr("An older checkpoint is kept"), text=tr(
                        "{id} needs the checkpoint of step {step}.", id=needed[checkpoint.step], step=f"{checkpoint.step:,}")))
            else:
                files.remove_tree(checkpoint.path)
                self.context.emit(CheckpointRemoved(step=checkpoint.step))

    def sweep(self) -> None:
        """Clear what earlier crashes left aside. Called once when training begins: this run's lock is held, so nobody else is writing
        here."""
        files.sweep(self.folder, older_than=0.0)

    @staticmethod
    def _whole(path: Path) -> bool:
        return (path / layout.MANIFEST).is_file()

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.context.run_dir).as_posix()


def resume_point(context: RunContext, ranks: Ranks) -> Checkpoint | None:
    """The checkpoint that a later attempt continues from, None for the beginning; readers are told which. Rank 0 looks, all take its
    word."""
    checkpoints = Checkpoints(context, lambda folder: None)
    found, notices = None, []
    if context.is_main:
        checkpoints.sweep()
        found, notices = checkpoints.latest()
    step = ranks.first(found.step if found else -1)
    if context.attempt > 1:
        context.emit(Resumed(step=step))
        if step < 0:
            notices = [*notices, Notice(level="info", code="from_the_beginning", title=tr("Training begins anew"), step=0,
                                        text=tr("There is no checkpoint to continue from."))]
    for notice in notices:
        context.emit(notice)
    return found if context.is_main or step < 0 else next(c for c in checkpoints.all() if c.step == step)


def free_space(folder: Path) -> int:
    """Bytes free where `folder` lies."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
