"""Prompts that were there before, and whether a new one is nearly one of them: Jaccard similarity of word sequences.

Candidates come from MinHash bands (engine/text/dedup), whose keys lie in a few sorted arrays that double in size, as they come; each
candidate is then measured on its true sequences, so what is called near is near. At the threshold itself one in fifty is missed, further
above it hardly any (engine/text/dedup/derive.py). Equal words in equal order are always found.

A prompt of 30 words takes some 230 bytes. In memory only: a resume feeds it again. One writer at a time.
"""

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np

from engine.text.dedup import grams
from engine.text.dedup.derive import derive
from engine.text.dedup.signatures import band_keys, minhash

SHINGLE = 3
"""Words in a sequence: prompts are too short for the five of documents."""
PERMUTATIONS = 32
_BATCH = 2048
_PENDING = 4096
"""Keys that wait in a dictionary until they are sorted in."""
MOST = 20_000
"""Candidates that are measured, the latest ones; more share a band only where thousands of prompts come from one template."""


class SeenPrompts:
    def __init__(self, threshold: float) -> None:
        assert 0 < threshold <= 1
        self.threshold = threshold
        self._bands = derive(threshold, PERMUTATIONS)
        self._values = np.empty(1 << 16, np.uint32)
        self._ends = np.zeros(1 << 12, np.int64)
        self._count = 0
        self._levels: list[tuple[np.ndarray, np.ndarray]] = []
        self._pending: dict[int, list[int]] = {}
        self._waiting = 0

    def __len__(self) -> int:
        return self._count

    def add(self, texts: Iterable[str]) -> None:
        """Takes texts in without a look at whether they are near one another."""
        rest = iter(texts)
        while some := list(islice(rest, _BATCH)):
            sets, keys = self._signed(some)
            for found, own in zip(sets, keys, strict=True):
                self._take(found, own)

    def look(self, texts: Sequence[str], keep: bool | Sequence[bool] = True) -> list[tuple[int, float] | None]:
        """For each text the earlier one it is nearest to, as (number, similarity), if that reaches the threshold; None otherwise, and then
        the text is taken in (where `keep` says so), so that later ones of these texts are compared with it too."""
        out: list[tuple[int, float] | None] = []
        keeps = [keep] * len(texts) if isinstance(keep, bool) else keep
        for at in range(0, len(texts), _BATCH):
            sets, keys = self._signed(texts[at:at + _BATCH])
            for found, own, taken in zip(sets, keys, keeps[at:at + _BATCH], strict=True):
                near = self._nearest(found, own)
                out.append(near)
                if near is None and taken:
                    self._take(found, own)
        return out

    # ---- one batch

    def _signed(self, texts: Sequence[str]) -> tuple[list[np.ndarray], np.ndarray]:
        """(the sorted sequences of each text, keys uint64 [texts, bands + 1]); the last key is that of all words in their order."""
        hashes, offsets = grams.word_hashes(texts)
        values, ends = grams.grams(hashes, offsets, SHINGLE)
        signatures = minhash(values, ends, self._bands.permutations)
        keys = np.empty((len(texts), self._bands.bands + 1), np.uint64)
        keys[:, :-1] = band_keys(signatures, self._bands.bands).T
        keys[:, -1] = grams.span_hashes(hashes, offsets[:-1], offsets[1:]) if len(hashes) else 0
        short = (values >> np.uint64(32)).astype(np.uint32)
        return [np.unique(short[a:b]) for a, b in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)], keys

    def _take(self, found: np.ndarray, keys: np.ndarray) -> None:
        if not len(found):
            return
        number, start = self._count, int(self._ends[self._count])
        while start + len(found) > len(self._values):
            self._values = np.concatenate([self._values, np.empty_like(self._values)])
        if number + 2 > len(self._ends):
            self._ends = np.concatenate([self._ends, np.zeros_like(self._ends)])
        self._values[start:start + len(found)] = found
        self._ends[number + 1] = start + len(found)
        self._count += 1
        for key in keys.tolist():
            self._pending.setdefault(key, []).append(number)
        self._waiting += len(keys)
        if self._waiting >= _PENDING:
            self._sort_in()

    def _sort_in(self) -> None:
        keys = np.fromiter((key for key, numbers in self._pending.items() for _ in numbers), np.uint64, self._waiting)
        numbers = np.fromiter((n for numbers in self._pending.values() for n in numbers), np.uint32, self._waiting)
        self._pending, self._waiting = {}, 0
        while self._levels and len(self._levels[-1][0]) <= 2 * len(keys):
            more, of = self._levels.pop()
            keys, numbers = np.concatenate([more, keys]), np.concatenate([of, numbers])
        order = np.argsort(keys, kind="stable")
        self._levels.append((keys[order], numbers[order]))

    def _nearest(self, found: np.ndarray, keys: np.ndarray) -> tuple[int, float] | None:
        if not len(found) or not self._count:
            return None
        pieces = [np.array(self._pending[key], np.int64) for key in keys.tolist() if key in self._pending]
        for known, numbers in self._levels:
            low, high = np.searchsorted(known, keys), np.searchsorted(known, keys, "right")
            pieces += [numbers[a:b].astype(np.int64) for a, b in zip(low.tolist(), high.tolist(), strict=True) if b > a]
        if not pieces:
            return None
        candidates = np.unique(np.concatenate(pieces))[-MOST:]
        starts, sizes = self._ends[candidates], self._ends[candidates + 1] - self._ends[candidates]
        # Sets of very different sizes cannot be near.
        fits = (sizes >= self.threshold * len(found)) & (len(found) >= self.threshold * sizes)
        candidates, starts, sizes = candidates[fits], starts[fits], sizes[fits]
        if not len(candidates):
            return None
        theirs = self._values[grams.ranges_of(starts, sizes)]
        at = np.minimum(np.searchsorted(found, theirs), len(found) - 1)
        hits = np.concatenate([np.zeros(1, np.int64), np.cumsum(found[at] == theirs)])
        ends = np.cumsum(sizes)
        shared = hits[ends] - hits[ends - sizes]
        similarity = shared / (sizes + len(found) - shared)
        best = int(similarity.argmax())
        return (int(candidates[best]), float(similarity[best])) if similarity[best] >= self.threshold else None
