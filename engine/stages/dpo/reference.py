"""What the reference, the model that training starts from, says of each answer: read once before training, kept in the run's folder.

    runs/<id>/reference.safetensors
      train, held_out [pairs, 2]                        log-probabilities of chosen and rejected answers, float32
      train_mismatched, held_out_mismatched             the same of mismatched pairs (KTO)
      key                                               SHA-256 of the model, the pairs and what was asked of them
      check                                             SHA-256 of the values

Values that are not known yet are not numbers: the file is written now and then while the reference reads, so that a killed run goes on
where it was. With all known it is never written again, and later attempts only read it. The model is loaded for this alone and let go
before the one that is trained comes into memory; with LoRA the reference is the base without the adapter, with QLoRA in its 4 bits.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from engine.contract.context import RunContext
from engine.contract.errors import FledgeError, Stopped
from engine.contract.events import Notice
from engine.contract.machine import DeviceFacts
from engine.contract.words import tr
from engine.model.adapter_files import weights_sha256
from engine.model.checkpoint import load_model, load_tensors, save_tensors
from engine.model.decoder import Decoder
from engine.model.length_batches import batched
from engine.model.quantized import load_four_bit
from engine.project import files, layout
from engine.stages.dpo.rows import Reference, mismatched_part, mismatches, part_of
from engine.stages.dpo.spec import DpoSpec
from engine.training import precision
from engine.training.answer_logprobs import Part, answer_logprobs, lay
from engine.training.devices import synchronize
from engine.training.pair_data import PairData
from engine.training.pair_rows import EncodedPairs
from engine.training.ranks import Ranks
from engine.training.tuning_plan import PAYS

SAVE_SECONDS = 60.0
SAID_SECONDS = 0.5


@dataclass
class _Reading:
    """One table of values and the conversations they are of; `others` as in rows.mismatches."""

    name: str
    pairs: EncodedPairs
    values: np.ndarray
    longest: int
    others: np.ndarray | None = None

    def part(self, number: int) -> Part:
        if self.others is None:
            return part_of(self.pairs, number)
        return mismatched_part(self.pairs, number, int(self.others[number]), self.longest)


class ReferencePass:
    """The reference's reading of a run's pairs. `row` and `pad` as in DpoRows."""

    def __init__(self, spec: DpoSpec, data: PairData, facts: DeviceFacts, context: RunContext, ranks: Ranks, row: int | None,
                 pad: int) -> None:
        self.spec, self.data, self.facts, self.context, self.ranks, self.row, self.pad = spec, data, facts, context, ranks, row, pad
        self.path = layout.reference_file(context.run_dir)
        self.tables = [_Reading("train", data.train, _unknown(data.train), data.longest),
                       _Reading("held_out", data.held_out, _unknown(data.held_out), data.longest)]
        if spec.loss == "kto":
            self.tables += [_Reading(f"{one.name}_mismatched", one.pairs, _unknown(one.pairs), data.longest, mismatches(one.pairs))
                            for one in list(self.tables)]

    @property
    def tokens(self) -> int:
        """What is read, about."""
        return sum(int(_sizes(table.pairs, self.row).sum()) for table in self.tables)

    def run(self, into: Reference) -> None:
        """All values into `into`: from the file as far as it has them, the rest read now. Stopped when the person asks (one process),
        DiskFull."""
        self._load()
        todo = [one for table in self.tables for one in self._todo(table)]
        mine = todo[self.ranks.rank::self.ranks.world_size]
        if todo:
            self._read(mine, sum(len(numbers) for _, numbers in mine))
            self._share([table for table in self.tables])
            if self.context.is_main:
                self._save()
        self._fill(into)

    def taste(self, into: Reference) -> float:
        """For a measured fit: the heaviest batches are read, the whole pass' seconds estimated from them and given back. Values that nobody
        has read are 0, which changes no step's time."""
        todo = [one for table in self.tables for one in self._todo(table)]
        began = time.perf_counter()
        model = self.load_model()
        loading = time.perf_counter() - began
        self._read_batch(model, *todo[0])
        began = time.perf_counter()
        self._read_batch(model, *todo[0])
        table, numbers = todo[0]
        taken = time.perf_counter() - began
        tokens = int(_sizes(table.pairs, self.row)[numbers].sum())
        for one in self.tables:
            np.nan_to_num(one.values, copy=False)
        self._fill(into)
        return loading + taken * self.tokens / max(1, tokens)

    def load_model(self) -> Decoder:
        """The reference, frozen, in the dtype that the run's arithmetic has."""
        folder, device = self.data.start.ref.folder, self.context.device
        dtype, _ = precision.choose_dtype(self.spec.dtype, self.facts, self.data.start.config.hidden_size)
        model = load_four_bit(folder, device, dtype) if self.spec.method == "qlora" else load_model(folder, device, dtype)
        return model.eval().requires_grad_(False)

    # ---- reading

    def _todo(self, table: _Reading) -> Iterator[tuple[_Reading, list[int]]]:
        unknown = np.flatnonzero(np.isnan(table.values).any(1)).tolist()
        return ((table, numbers) for numbers in batched(_sizes(table.pairs, self.row), unknown, PAYS[self.facts.kind]))

    def _read(self, todo: list[tuple[_Reading, list[int]]], total: int) -> None:
        model = self.load_model()
        began = saved = said = time.perf_counter()
        done = 0
        for table, numbers in todo:
            self._read_batch(model, table, numbers)
            done += len(numbers)
            now = time.perf_counter()
            if now - said > SAID_SECONDS or done == total:
                said, rate = now, done / max(1e-9, now - began)
                self.context.progress(done, total, tr("pairs"), rate=rate, eta=(total - done) / rate)
            if self.ranks.world_size == 1:
                if now - saved > SAVE_SECONDS:
                    saved = now
                    self._save()
                command = self.context.command()
                if command and command.word in ("stop", "stop_save", "pause"):
                    self._save()
                    raise Stopped(tr("Stopped before the first step."), paused=command.word == "pause")

    @torch.no_grad()
    def _read_batch(self, model: Decoder, table: _Reading, numbers: list[int]) -> None:
        batch = lay([table.part(n) for n in numbers], row=self.row, pad=self.pad).to(model.device)
        sums_N, _ = answer_logprobs(model, batch)
        synchronize(model.device)
        table.values[numbers] = sums_N.cpu().numpy().reshape(-1, 2)

    def _share(self, tables: list[_Reading]) -> None:
        """What each rank has read, to all."""
        if self.ranks.world_size == 1:
            return
        for table in tables:
            known = np.isfinite(table.values)
            mine = np.where(known, table.values, 0.0).reshape(-1).tolist()
            summed = self.ranks.sum(*mine, *known.reshape(-1).astype(float).tolist())
            values, counts = np.array(summed).reshape(2, -1)
            table.values[:] = (values / np.maximum(counts, 1)).reshape(-1, 2)

    # ---- the file

    def key(self) -> str:
        """Hash of what the values depend on."""
        told = {"model": weights_sha256(self.data.start.ref.folder), "train": self.data.train.digest, "held_out": self.data.held_out.digest,
                "tables": [table.name for table in self.tables], "longest": self.data.longest, "four_bit": self.spec.method == "qlora"}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def _load(self) -> None:
        """What the file knows, if it is of this model and these pairs."""
        if not self.path.is_file():
            return
        try:
            found = load_tensors(self.path)
            values = {table.name: found[table.name].numpy() for table in self.tables}
            whole = all(values[table.name].shape == table.values.shape for table in self.tables)
            fits = whole and _hex(found["key"]) == self.key() and _hex(found["check"]) == _check(values)
        except (FledgeError, KeyError):
            fits = False
        if not fits:
            self.context.emit(Notice(level="warning", code="reference_again", title=tr("The reference reads the pairs again"), step=0,
                text=tr("{file} is damaged, or of another model or other pairs.", file=self.path.name)))
            return
        for table in self.tables:
            table.values[:] = values[table.name]

    def _save(self) -> None:
        values = {table.name: table.values for table in self.tables}
        tensors = {name: torch.from_numpy(table) for name, table in values.items()}
        aside = self.path.with_name(f"{files.TEMPORARY}{self.path.name}-{os.getpid()}")
        try:
            save_tensors(aside, {**tensors, "key": _bytes(self.key()), "check": _bytes(_check(values))})
            files.rename(aside, self.path)
            files.sync_folder(self.path.parent)
        finally:
            Path(aside).unlink(missing_ok=True)

    def _fill(self, into: Reference) -> None:
        for table in self.tables:
            assert np.isfinite(table.values).all(), f"the reference gives {table.name} no log-probability"
            setattr(into, table.name, table.values)


def _unknown(pairs: EncodedPairs) -> np.ndarray:
    return np.full((len(pairs), 2), np.nan, np.float32)


def _sizes(pairs: EncodedPairs, row: int | None) -> np.ndarray:
    """Tokens that are read of each pair."""
    return pairs.lengths().sum(1) if row else np.diff(pairs.starts).reshape(-1, 3).sum(1)


def _check(values: dict[str, np.ndarray]) -> str:
    made = hashlib.sha256()
    for name in sorted(values):
        made.update(np.ascontiguousarray(values[name]).tobytes())
    return made.hexdigest()


def _bytes(digest: str) -> torch.Tensor:
    return torch.tensor(list(bytes.fromhex(digest)), dtype=torch.uint8)


def _hex(tensor: torch.Tensor) -> str:
    return bytes(tensor.tolist()).hex()
