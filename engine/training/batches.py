"""Rows of tokens for training: shuffled, packed, nothing thrown away, and positioned by the step number alone. No tokenizing here.

An epoch is one stream: blocks of neighbouring documents in a shuffled order, the documents of each block shuffled too. The stream is cut
into rows of `seq_len` targets; a document that does not fit continues in the next row, so every token is a target exactly once an epoch.
Where the cuts fall differs from epoch to epoch, and the rows are shuffled within wide windows. Step `s` takes rows s * rows_per_step
onward, whatever the number of ranks: two ranks together see what one alone would see, and a resume needs no more than the step.

Memory: a few numbers a block, and the orders of the blocks in use; the tokens stay on disk.

B rows, T positions.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch

from engine.model.attention import Documents

IGNORED = -100
BLOCK_TOKENS = 1 << 20
WINDOW_TOKENS = 1 << 25
BLOCKS_KEPT = 64


class Split(Protocol):
    """What is needed of token shards: `starts` [documents + 1] is where documents begin, `slice` reads tokens by position."""

    @property
    def tokens(self) -> int: ...

    @property
    def starts(self) -> np.ndarray: ...

    def slice(self, start: int, stop: int) -> np.ndarray: ...


@dataclass(frozen=True)
class Batch:
    """One micro batch. `weight` is the number of targets that count; `documents` cuts each row into documents (None: one stream)."""

    tokens_BT: torch.Tensor
    targets_BT: torch.Tensor
    documents: Documents | None
    weight: float

    @property
    def tokens(self) -> int:
        return self.tokens_BT.numel()

    def to(self, device: torch.device) -> "Batch":
        if device.type == "cpu":
            return self
        pin = device.type == "cuda"
        def move(x: torch.Tensor) -> torch.Tensor:
            return (x.pin_memory() if pin else x).to(device, non_blocking=pin)
        cut = self.documents and replace(self.documents, ids_BT=move(self.documents.ids_BT), positions_BT=move(self.documents.positions_BT),
                                         borders=move(self.documents.borders))
        return replace(self, tokens_BT=move(self.tokens_BT), targets_BT=move(self.targets_BT), documents=cut)


@dataclass(frozen=True)
class Rows:
    """Rows as arrays: tokens and targets [B, T], the lengths of each row's documents, and how many targets count."""

    tokens: np.ndarray
    targets: np.ndarray
    lengths: list[list[int]]
    weight: int


def joined(parts: Sequence[Rows], seq_len: int, borders: bool) -> Batch:
    """Rows of one or several sources as one batch."""
    lengths = [row for part in parts for row in part.lengths]
    return Batch(torch.from_numpy(np.concatenate([p.tokens for p in parts])), torch.from_numpy(np.concatenate([p.targets for p in parts])),
                 Documents.of(lengths, seq_len) if borders else None, float(sum(p.weight for p in parts)))


class Stream:
    """The tokens of one epoch in its shuffled order, readable at any position."""

    def __init__(self, split: Split, seed: int) -> None:
        self.split, self.seed, self.length = split, seed, int(split.tokens)
        offsets = split.starts
        cuts = [0]
        while cuts[-1] < len(offsets) - 1:
            end = int(np.searchsorted(offsets, offsets[cuts[-1]] + BLOCK_TOKENS))
            cuts.append(min(max(end, cuts[-1] + 1), len(offsets) - 1))
        self._cuts = np.array(cuts, dtype=np.int64)
        self._sizes = offsets[self._cuts[1:]] - offsets[self._cuts[:-1]]
        self._offsets = offsets
        self._epochs: OrderedDict[int, tuple[np.ndarray, np.ndarray]] = OrderedDict()
        self._blocks: OrderedDict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = OrderedDict()

    def read(self, epoch: int, start: int, stop: int) -> tuple[np.ndarray, list[int]]:
        """Tokens start:stop of an epoch (int64), and the lengths of the documents or parts of documents among them."""
        out, lengths = np.empty(stop - start, dtype=np.int64), []
        order, begins = self._epoch(epoch)
        at = start
        while at < stop:
            block = int(np.searchsorted(begins, at, side="right")) - 1
            documents, places = self._block(epoch, int(order[block]))
            inside = at - int(begins[block])
            d = int(np.searchsorted(places, inside, side="right")) - 1
            while at < stop and d < len(documents):
                begin = int(self._offsets[documents[d]]) + inside - int(places[d])
                count = min(stop - at, int(places[d + 1]) - inside)
                if count:
                    out[at - start:at - start + count] = self.split.slice(begin, begin + count)
                    lengths.append(count)
                at, inside, d = at + count, inside + count, d + 1
        return out, lengths

    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """(order of the blocks, where each begins in the stream)."""
        def make() -> tuple[np.ndarray, np.ndarray]:
            order = np.random.default_rng([self.seed, 1, epoch]).permutation(len(self._sizes))
            return order, np.concatenate([[0], np.cumsum(self._sizes[order])])
        return _cached(self._epochs, epoch, 2, make)

    def _block(self, epoch: int, block: int) -> tuple[np.ndarray, np.ndarray]:
        """(documents of a block in this epoch's order, where each begins in the block)."""
        def make() -> tuple[np.ndarray, np.ndarray]:
            first, last = int(self._cuts[block]), int(self._cuts[block + 1])
            documents = first + np.random.default_rng([self.seed, 2, epoch, block]).permutation(last - first)
            sizes = self._offsets[documents + 1] - self._offsets[documents]
            return documents, np.concatenate([[0], np.cumsum(sizes)])
        return _cached(self._blocks, (epoch, block), BLOCKS_KEPT, make)


class TokenRows:
    """The batch source of pretraining: `batches(step, micro_batch_size)` gives this rank's micro batches of a step.

    `first_input` is what the very first target of an epoch is predicted from (the end-of-text token); `pad` fills the two rows an epoch may
    leave unfilled; `borders` tells rows where documents end, so that attention can stop there. `begin` is for a stream of few long
    documents: every second row starts from this token instead of the one before it, so that a prompt, which begins with it, does not begin
    with a token that training hardly ever showed.
    """

    def __init__(self, split: Split, *, seq_len: int, rows_per_step: int, seed: int, first_input: int, pad: int, borders: bool,
                 begin: int | None = None, rank: int = 0, world_size: int = 1) -> None:
        assert split.tokens > 0 and rows_per_step >= world_size
        self.stream, self.seq_len, self.rows_per_step, self.seed = Stream(split, seed), seq_len, rows_per_step, seed
        self.first_input, self.pad, self.borders, self.rank, self.world_size = first_input, pad, borders, rank, world_size
        self.begin = begin
        self.rows_per_epoch = self.stream.length // seq_len + (1 if self.stream.length % seq_len or seq_len > 1 else 0)
        self._window = max(256, min(1 << 16, WINDOW_TOKENS // seq_len))
        self._orders: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()

    @property
    def state(self) -> dict[str, Any]:
        """What must be equal for a step number to mean the same rows; kept in checkpoints."""
        return {"tokens": self.stream.length, "documents": len(self.stream._offsets) - 1, "seq_len": self.seq_len,
                "rows_per_step": self.rows_per_step, "seed": self.seed, "borders": self.borders, "begin": self.begin}

    def epoch_of(self, step: int) -> float:
        """Epochs seen after `step` steps."""
        return step * self.rows_per_step / self.rows_per_epoch

    def batches(self, step: int, micro_batch_size: int) -> list[Batch]:
        first = step * self.rows_per_step
        low = first + self.rows_per_step * self.rank // self.world_size
        high = first + self.rows_per_step * (self.rank + 1) // self.world_size
        return [self.rows(range(at, min(at + micro_batch_size, high))) for at in range(low, high, micro_batch_size)]

    def rows(self, numbers: Sequence[int]) -> Batch:
        """The rows with these numbers, counted over all epochs, as one batch."""
        return joined([self.read(numbers)], self.seq_len, self.borders)

    def read(self, numbers: Sequence[int]) -> "Rows":
        """The rows with these numbers, counted over all epochs."""
        tokens = np.full((len(numbers), self.seq_len), self.pad, dtype=np.int64)
        targets = np.full((len(numbers), self.seq_len), IGNORED, dtype=np.int64)
        all_lengths, weight = [], 0
        for b, number in enumerate(numbers):
            epoch, row = divmod(number, self.rows_per_epoch)
            start, stop = self._bounds(epoch, self._shuffled(epoch, row))
            count = stop - start
            stream, lengths = self.stream.read(epoch, max(0, start - 1), stop)
            if start:
                tokens[b, :count], targets[b, :count] = stream[:-1], stream[1:]
            else:
                tokens[b, 0], tokens[b, 1:count], targets[b, :count] = self.first_input, stream[:-1], stream
                lengths = [1, *lengths]
            if self.begin is not None and number % 2:
                tokens[b, 0] = self.begin
            lengths[-1] -= 1
            if count < self.seq_len:
                lengths.append(self.seq_len - count)
            all_lengths.append([n for n in lengths if n])
            weight += count
        return Rows(tokens, targets, all_lengths, weight)

    def _bounds(self, epoch: int, row: int) -> tuple[int, int]:
        """Where a row of an epoch begins and ends in its stream. The first row is cut at a place drawn for the epoch, chosen so that every
        epoch has the same number of rows."""
        length, T = self.stream.length, self.seq_len
        rest = length % T
        last = T if rest else T - 1
        first_cut = int(np.random.default_rng([self.seed, 3, epoch]).integers(max(1, rest), max(1, rest, last) + 1)) if T > 1 else T
        start = 0 if row == 0 else first_cut + (row - 1) * T
        return start, min(length, first_cut + row * T)

    def _shuffled(self, epoch: int, row: int) -> int:
        """The row at this place of the epoch's order."""
        window, inside = divmod(row, self._window)
        size = min(self._window, self.rows_per_epoch - window * self._window)
        order = _cached(self._orders, (epoch, window), 2, lambda: np.random.default_rng([self.seed, 4, epoch, window]).permutation(size))
        return window * self._window + int(order[inside])


def _cached(store: OrderedDict, key: Any, most: int, make: Any) -> Any:
    """`make()` under `key`, keeping the last `most` used."""
    if key in store:
        store.move_to_end(key)
        return store[key]
    store[key] = made = make()
    while len(store) > most:
        store.popitem(last=False)
    return made
