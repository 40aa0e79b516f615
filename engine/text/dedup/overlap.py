"""How much of their word sequences documents really share, from their texts: where an estimate is too near to the threshold to decide.

The texts of all documents in question are read once, part by part; their sequences, by 32 bits of their hashes as in the signatures, go
to a file that is mapped while pairs are compared, as many at a time as memory allows.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from engine.text.dedup import grams
from engine.text.dedup.signatures import Signatures, chunks
from engine.text.parts import Parts, read_part

GRAM_BYTES = 24
"""Memory a word sequence takes while a batch is compared."""


class Sets:
    """The word sequences of some documents, each once within a document, sorted."""

    def __init__(self, numbers: np.ndarray, offsets: np.ndarray, values: np.ndarray) -> None:
        self._numbers, self._offsets, self._values = numbers, offsets, values

    def close(self) -> None:
        """Let go of the file, so that it can be removed on every system."""
        self._values = np.zeros(0, np.uint32)

    def take(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(uint32 [G], offsets int64 [n + 1]) of documents in rising order."""
        at = np.searchsorted(self._numbers, numbers)
        counts = self._offsets[at + 1] - self._offsets[at]
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        return self._values[grams.ranges_of(self._offsets[at], counts)], ends


class TextSets:
    """Reads word sequences from clean parts; `folder` is where the file lies meanwhile."""

    def __init__(self, clean: Parts, signatures: Signatures, shingle: int, folder: Path) -> None:
        assert list(clean.lengths) == list(signatures.lengths), "these signatures are not of these parts"
        self.clean, self.firsts, self.shingle, self.folder = clean, signatures.firsts, shingle, folder

    @contextmanager
    def of(self, numbers: np.ndarray, check: Callable[[], None]) -> Iterator[Sets]:
        """Those of documents in rising order."""
        known: Sets | None = None
        path = self.folder / f".tmp-sequences-{os.getpid()}"
        counts = [np.zeros(1, np.int64)]
        cuts = np.searchsorted(numbers, self.firsts)
        try:
            with open(path, "wb") as file:
                for part in np.flatnonzero(np.diff(cuts)).tolist():
                    check()
                    rows = numbers[cuts[part]:cuts[part + 1]] - self.firsts[part]
                    texts = grams.as_array(read_part(self.clean.paths[part], ["text"])["text"]).take(pa.array(rows))
                    for first, last in chunks(texts):
                        kept, ends = _sets(*grams.grams(*grams.word_hashes(texts[first:last]), self.shingle))
                        file.write(kept.data)
                        counts.append(np.diff(ends))
            offsets = np.cumsum(np.concatenate(counts))
            known = Sets(numbers, offsets, np.memmap(path, np.uint32, "r") if offsets[-1] else np.zeros(0, np.uint32))
            yield known
        finally:
            if known is not None:
                known.close()
            path.unlink(missing_ok=True)


def _sets(hashes: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted and each once within its document, by 32 bits."""
    owner = np.repeat(np.arange(len(offsets) - 1, dtype=np.uint64), np.diff(offsets))
    keys = np.sort((owner << np.uint64(32)) | (hashes >> np.uint64(32)))
    if len(keys):
        keys = keys[np.append(True, keys[1:] != keys[:-1])]
    ends = np.searchsorted(keys, np.arange(len(offsets), dtype=np.uint64) << np.uint64(32))
    return keys.astype(np.uint32), ends


def jaccard(sets: TextSets, a: np.ndarray, b: np.ndarray, sizes: np.ndarray, memory_bytes: float,
            check: Callable[[], None]) -> np.ndarray:
    """float32: shared over all word sequences of the pairs a[i], b[i]. sizes: int [documents], sequences of every document."""
    made = np.zeros(len(a), np.float32)
    order = np.lexsort((b, a))
    cost = np.cumsum((sizes[a] + sizes[b])[order] * GRAM_BYTES)
    with sets.of(np.unique(np.concatenate([a, b])), check) as known:
        at = 0
        while at < len(order):
            check()
            before = cost[at - 1] if at else 0
            until = max(at + 1, int(np.searchsorted(cost, before + memory_bytes, "right")))
            batch = order[at:until]
            numbers = np.unique(np.concatenate([a[batch], b[batch]]))
            found, offsets = known.take(numbers)
            left, right = np.searchsorted(numbers, a[batch]), np.searchsorted(numbers, b[batch])
            shared = _shared(found, offsets, left, right)
            lengths = np.diff(offsets)
            made[batch] = shared / np.maximum(1, lengths[left] + lengths[right] - shared)
            at = until
    return made


def _shared(found: np.ndarray, offsets: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """int64: how many sequences the sets a[i] and b[i] share."""
    lengths = np.diff(offsets)
    pair = np.arange(len(a), dtype=np.uint64)
    keys = []
    for side in (a, b):
        at = grams.ranges_of(offsets[side], lengths[side])
        keys.append((np.repeat(pair, lengths[side]) << np.uint64(32)) | found[at])
    both = np.sort(np.concatenate(keys))
    twice = both[1:][both[1:] == both[:-1]] >> np.uint64(32)
    return np.bincount(twice.astype(np.int64), minlength=len(a))
