"""Somebody's weights become ours, a few rows at a time: what is in memory is one block, however large the model. Judged before it begins.

The result is the file that checkpoint.save_tensors would write of the same tensors. It knows names and shapes, not where weights come from.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from engine.contract import units
from engine.contract.errors import Corrupt, DiskFull, FormatError, Mismatch
from engine.contract.words import tr
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.model.formats import source
from engine.model.hf import Source
from engine.project.files import disk_error

BLOCK = 16_000_000
"""Numbers that are converted together."""
NAMES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
TARGETS = {"as_is": None, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Weights(Protocol):
    """Foreign weights by name. `rows` gives rows start..stop as a tensor; both are multiples of `granule`, or the end."""

    def names(self) -> list[str]: ...
    def shape(self, name: str) -> tuple[int, ...]: ...
    def dtype(self, name: str) -> torch.dtype: ...
    def granule(self, name: str) -> int: ...
    def rows(self, name: str, start: int, stop: int) -> Tensor: ...


@dataclass(frozen=True)
class Plan:
    """What will be written: {our name: (shape, dtype, where it stands there)}, and the bytes of it."""

    tensors: dict[str, tuple[tuple[int, ...], torch.dtype, Source]]

    @property
    def nbytes(self) -> int:
        return sum(_count(shape) * dtype.itemsize for shape, dtype, _ in self.tensors.values())

    @property
    def dtype(self) -> str:
        """The format of most numbers."""
        counted: dict[str, int] = {}
        for shape, dtype, _ in self.tensors.values():
            name = str(dtype).removeprefix("torch.")
            counted[name] = counted.get(name, 0) + _count(shape)
        return max(counted, key=lambda name: counted[name])


def enough(config: ModelConfig, names: list[str]) -> None:
    """Refuse a config that claims a billion layers before anything is made for each of them. Raises Mismatch."""
    if config.num_layers > len(names):
        raise Mismatch(tr("The weights are {found} tensors, too few for {layers} layers.", found=f"{len(names):,}",
                          layers=f"{config.num_layers:,}"), _two_models())


def plan(config: ModelConfig, table: dict[str, Source], weights: Weights, dtype: str, spare: frozenset[str] = frozenset()) -> Plan:
    """Check that `weights` hold exactly the tensors of `config`, with their shapes; `spare` may be there as well. Ask `enough` first.

    Raises Mismatch, FormatError.
    """
    there = set(weights.names())
    with torch.device("meta"):
        expected = {name: tuple(p.shape) for name, p in Decoder(config, seed=None).state_dict().items()}
    assert expected.keys() == table.keys(), "the table of names and the decoder disagree"
    made, used = {}, set(spare)
    for name, one in table.items():
        found = []
        for their, rows in zip(one.names, one.rows, strict=True):
            if their not in there:
                raise Mismatch(tr("The weights lack {name}, which the config asks for.", name=their),
                               tr("The folder is incomplete, or of a kind this program does not know."))
            shape = (rows, *expected[name][1:])
            wanted = tuple(reversed(shape)) if one.transposed else shape
            if weights.shape(their) != wanted:
                raise Mismatch(tr("{name} is {found}, and {wanted} by the config.", name=their, found=_sides(weights.shape(their)),
                                  wanted=_sides(wanted)), _two_models())
            found.append(weights.dtype(their))
            used.add(their)
        target = TARGETS[dtype] or max(found, key=lambda d: (d.itemsize, d == torch.float32))
        if TARGETS[dtype] is None and len(set(found)) > 1:
            target = torch.float32 if target.itemsize <= 4 else target
        made[name] = (expected[name], target, one)
    if extra := sorted(there - used):
        raise FormatError(tr("The weights hold {name}, of which a model of this kind knows nothing.", name=extra[0][:120]),
                          tr("The model is of a kind this program does not know."), code="unsupported")
    return Plan(made)


def convert(plan: Plan, weights: Weights, path: Path, tick: Callable[[int], None] = lambda done: None) -> None:
    """Write the planned tensors as a safetensors file, synced; `tick` hears the bytes written so far.

    Raises Corrupt (numbers that are none), Mismatch (numbers too large for the format), DiskFull.
    """
    free = shutil.disk_usage(path.parent).free
    if plan.nbytes > free:
        raise DiskFull(tr("The disk has {free} free, and the model needs {need}.", free=units.size(free), need=units.size(plan.nbytes)),
                       tr("Free some space, or store the weights in a smaller format."))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name in sorted(plan.tensors):
        shape, dtype, _ = plan.tensors[name]
        size = _count(shape) * dtype.itemsize
        header[name] = {"dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    try:
        with open(path, "wb", buffering=0) as file:
            file.write(len(text).to_bytes(8, "little") + text)
            done = 0
            for name in sorted(plan.tensors):
                _, dtype, one = plan.tensors[name]
                for their, rows in zip(one.names, one.rows, strict=True):
                    for block in _blocks(weights, their, rows, one.transposed):
                        data = memoryview(_cast(their, block, dtype).reshape(-1).view(torch.uint8).numpy())
                        done += len(data)
                        while data:
                            data = data[file.write(data):]
                        tick(done)
            os.fsync(file.fileno())
    except OSError as wrong:
        raise disk_error(wrong, path) from wrong


def _blocks(weights: Weights, name: str, rows: int, transposed: bool):
    """The tensor's rows in order, as we store them."""
    if transposed:  # small ones, of GPT-2 only
        yield weights.rows(name, 0, weights.shape(name)[0]).T
        return
    granule = weights.granule(name)
    step = max(1, BLOCK // max(1, _count(weights.shape(name)[1:]))) // granule * granule or granule
    for start in range(0, rows, step):
        yield weights.rows(name, start, min(start + step, rows))


def _cast(name: str, block: Tensor, dtype: torch.dtype) -> Tensor:
    if not bool(torch.isfinite(block).all()):
        raise Corrupt(tr("{name} holds values that are no numbers (NaN or infinite).", name=name), source.again())
    made = block.to(dtype).contiguous()
    if dtype == torch.float16 and block.dtype != dtype and not bool(torch.isfinite(made).all()):
        raise Mismatch(tr("{name} holds numbers too large for float16.", name=name), tr("Choose bfloat16 or float32."), field="dtype")
    return made


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for side in shape:
        count *= side
    return count


def _sides(shape: tuple[int, ...]) -> str:
    return " × ".join(f"{side:,}" for side in shape) or "1"


def _two_models() -> str:
    return tr("The config and the weights belong to different models.")
