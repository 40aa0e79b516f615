"""How much of their word sequences documents really share, from their texts: where an estimate is too near to the threshold to decide.

Texts are read part by part, each part once for a batch of pairs; a batch holds as many documents as memory allows. Sequences are compared
by 32 bits of their hashes, as in the signatures.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import pyarrow as pa

from engine.text.dedup import grams
from engine.text.dedup.signatures import Signatures, chunks
from engine.text.parts import Parts, read_part

GRAM_BYTES = 24
"""Memory a word sequence takes while a batch is compared."""


class Sets(Protocol):
    """The word sequences of some documents."""

    def __call__(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(uint32 [G], sorted and each once within a document; offsets int64 [n + 1]) of documents in rising order."""
        ...


class TextSets:
    """Word sequences read from clean parts."""

    def __init__(self, clean: Parts, signatures: Signatures, shingle: int) -> None:
        assert list(clean.lengths) == list(signatures.lengths), "these signatures are not of these parts"
        self.clean, self.firsts, self.shingle = clean, signatures.firsts, shingle

    def __call__(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cuts = np.searchsorted(numbers, self.firsts)
        found: list[np.ndarray] = []
        counts: list[np.ndarray] = []
        for part in np.flatnonzero(np.diff(cuts)).tolist():
            rows = numbers[cuts[part]:cuts[part + 1]] - self.firsts[part]
            texts = grams._arrow(read_part(self.clean.paths[part], ["text"])["text"]).take(pa.array(rows))
            for first, last in chunks(texts):
                kept, ends = _sets(*grams.grams(*grams.word_hashes(texts[first:last]), self.shingle))
                found.append(kept)
                counts.append(np.diff(ends))
        sizes = np.concatenate(counts) if counts else np.zeros(0, np.int64)
        return (np.concatenate(found) if found else np.zeros(0, np.uint32)), np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])


def _sets(hashes: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted and each once within its document, by 32 bits."""
    owner = np.repeat(np.arange(len(offsets) - 1, dtype=np.uint64), np.diff(offsets))
    keys = np.sort((owner << np.uint64(32)) | (hashes >> np.uint64(32)))
    if len(keys):
        keys = keys[np.append(True, keys[1:] != keys[:-1])]
    ends = np.searchsorted(keys, np.arange(len(offsets), dtype=np.uint64) << np.uint64(32))
    return keys.astype(np.uint32), ends


def jaccard(sets: Sets, a: np.ndarray, b: np.ndarray, sizes: np.ndarray, memory_bytes: float,
            check: Callable[[], None]) -> np.ndarray:
    """float32: shared over all word sequences of the pairs a[i], b[i]. sizes: int [documents], sequences of every document."""
    made = np.zeros(len(a), np.float32)
    order = np.lexsort((b, a))
    cost = np.cumsum((sizes[a] + sizes[b])[order] * GRAM_BYTES)
    at = 0
    while at < len(order):
        check()
        before = cost[at - 1] if at else 0
        until = max(at + 1, int(np.searchsorted(cost, before + memory_bytes, "right")))
        batch = order[at:until]
        numbers = np.unique(np.concatenate([a[batch], b[batch]]))
        found, offsets = sets(numbers)
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
        at = grams._ranges(offsets[side], lengths[side])
        keys.append((np.repeat(pair, lengths[side]) << np.uint64(32)) | found[at])
    both = np.sort(np.concatenate(keys))
    twice = both[1:][both[1:] == both[:-1]] >> np.uint64(32)
    return np.bincount(twice.astype(np.int64), minlength=len(a))
