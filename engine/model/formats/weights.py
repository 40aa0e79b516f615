"""A model folder's weights for writers of other formats: read in blocks of rows, never a whole model, mostly not even a whole tensor. An
adapter's folder gives those of its base with the adapter added.

A `Piece` says what one tensor of the other format is made of; `blocks` gives its values in order. It knows no format and writes nothing.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from engine.contract.errors import FormatError, Mismatch
from engine.contract.words import tr
from engine.model import hf
from engine.model.adapter_files import weights_of
from engine.model.checkpoint import CONFIG, load_config, read_header
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder

BLOCK = 16 << 20
"""Bytes of float32 that a block has at most, where its rows allow it."""
FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class Piece:
    """One tensor of another format: `shape[0]` rows of our tensor `source` from row `first` on ("": zeros).

    transposed  the rows become columns (GPT-2's Conv1D); `shape` is the one after that
    heads       > 0: rows of each of so many heads go from half-split to interleaved RoPE, as llama.cpp's `llama` has them
    """

    name: str
    shape: tuple[int, ...]
    source: str = ""
    first: int = 0
    transposed: bool = False
    heads: int = 0

    @property
    def numel(self) -> int:
        return prod(self.shape)


class Weights:
    """The open weights of a model folder. Raises NotFound, FormatError, Corrupt, Mismatch when made, before anything is written."""

    def __init__(self, folder: Path) -> None:
        self.config = load_config(folder)
        source = weights_of(Path(folder), self.config)
        path, self._deltas = source.path, source.deltas
        self._header = read_header(path)
        self._check(path)
        self._file = open(path, "rb")
        self._start = 8 + struct.unpack("<Q", self._file.read(8))[0]
        self.nbytes = sum(entry["data_offsets"][1] - entry["data_offsets"][0] for entry in self._header.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    @property
    def names(self) -> list[str]:
        return list(self._header)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._header[name]["shape"])

    @property
    def code(self) -> str:
        """"F32", "BF16" or "F16": how the embedding is stored, which stands for all; F32 where an adapter is added."""
        return "F32" if self._deltas is not None else str(self._header["embed.weight"]["dtype"])

    def rows(self, name: str, first: int, count: int) -> Tensor:
        """Rows of a tensor in the dtype they are stored in, float32 where an adapter adds to them; elements of a vector."""
        entry = self._header[name]
        width = prod(entry["shape"][1:]) * FLOATS[entry["dtype"]].itemsize
        flat = torch.empty(count * width, dtype=torch.uint8)
        self._file.seek(self._start + entry["data_offsets"][0] + first * width)
        got = self._file.readinto(memoryview(flat.numpy()))  # type: ignore[attr-defined]
        assert got == flat.numel(), "the length was checked when the file was opened"
        stored = flat.view(FLOATS[entry["dtype"]]).view(count, *entry["shape"][1:])
        return stored if self._deltas is None else self._deltas.added(name, first, stored)

    def blocks(self, piece: Piece) -> Iterator[Tensor]:
        """The values of a piece as contiguous tensors, one after another, in the dtype they are stored in."""
        if not piece.source:
            yield torch.zeros(piece.shape)
        elif piece.transposed:
            yield self.rows(piece.source, piece.first, piece.shape[1]).T.contiguous()
        else:
            step = max(1, BLOCK // (4 * prod(piece.shape[1:])))
            if piece.heads:
                head = piece.shape[0] // piece.heads
                step = max(1, step // head) * head
            for at in range(0, piece.shape[0], step):
                block = self.rows(piece.source, piece.first + at, min(step, piece.shape[0] - at))
                yield interleaved(block, head) if piece.heads else block

    def _check(self, path: Path) -> None:
        """Names, shapes and dtypes against the config."""
        for name, entry in self._header.items():
            if entry["dtype"] not in FLOATS:
                raise FormatError(tr("{name} in {file} is stored as {dtype}, which this program does not read.", name=name, file=path.name,
                                     dtype=entry["dtype"]), tr("Convert the weights to float32 or bfloat16 first."))
        with torch.device("meta"):
            wanted = {name: list(weight.shape) for name, weight in Decoder(self.config, seed=None).state_dict().items()}
        found = {name: entry["shape"] for name, entry in self._header.items()}
        for name in sorted(wanted.keys() | found.keys()):
            if wanted.get(name) != found.get(name):
                raise Mismatch(tr("{name} in {file} is not as {config} describes it.", name=name, file=path.name, config=CONFIG),
                               tr("The config and the weights belong to different models: restore the folder, or choose another one."))


def interleaved(rows: Tensor, head_dim: int) -> Tensor:
    """Rows of whole heads from half-split to interleaved RoPE: row i and row i + D/2 of a head become neighbours."""
    return rows.reshape(-1, 2, head_dim // 2, *rows.shape[1:]).transpose(1, 2).reshape(rows.shape).contiguous()


def cast(block: Tensor, dtype: torch.dtype, name: str) -> Tensor:
    """`block` in another dtype; a Mismatch where a finite weight would become infinite (float16 ends at 65,504)."""
    made = block.to(dtype)
    if dtype == torch.float16 and not torch.equal(made.isfinite(), block.isfinite()):
        raise Mismatch(tr("{name} has weights too large for float16.", name=name), tr("Choose bfloat16 or float32."), field="dtype")
    return made


def hf_pieces(config: ModelConfig, shape_of: dict[str, tuple[int, ...]]) -> list[Piece]:
    """The tensors of transformers' class for this model, in the order of the layers. `shape_of`: ours by name."""
    made = []
    for name, source in hf.sources(config).items():
        first, rest = 0, shape_of[name][1:]
        for their, rows in zip(source.names, source.rows, strict=True):
            shape = (*rest, rows) if source.transposed else (rows, *rest)
            made.append(Piece(their, shape, name, first, source.transposed))
            first += rows
    return made + [Piece(their, (rows,)) for their, rows in hf.zero_biases(config)]
