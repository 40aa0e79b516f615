"""Near duplicates: pairs of documents whose word sequences overlap by the threshold or more, out of their signatures.

Bands are taken one at a time. Documents whose key of the band is equal form a bucket; each is compared with the bucket's best-ranked one,
those that turn out different once more among themselves, a few rounds: a bucket of ten thousand costs ten thousand comparisons, not fifty
million. A pair is compared by its signatures; where that estimate lies within MARGIN of the threshold, later by its texts, and if some are
found different there, the bands are gone through again with that knowledge.

Memory: one band's keys and their order (ROW_BYTES a document, in ranges of the keys if need be), the pairs compared so far (12 bytes each),
the signatures of one batch. What a band has found is saved, so that a run that was killed goes on with the next band.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from engine.text.dedup.clusters import components, keepers
from engine.text.dedup.overlap import TextSets, jaccard
from engine.text.dedup.settings import DedupSettings
from engine.text.dedup.signatures import Signatures

ROUNDS = 6
"""Comparisons of a document within one bucket, at most."""
SWEEPS = 3
MARGIN = 0.1
"""Two and a half times the spread of an estimate from 128 values at 0.7."""
BATCH = 100_000
"""Pairs whose signatures are held at a time: 2 x 512 bytes each."""
ROW_BYTES = 48
LATE = 32
"""Documents that stay with which one more of their cluster is compared, at most."""


class Compared:
    """Pairs that were compared, lower number first, with what came out; sorted, so that a pair is looked up in all at once.

    similarity float32; true bool: measured on the texts, not estimated.
    """

    def __init__(self) -> None:
        self.keys = np.zeros(0, np.uint64)
        self.similarity = np.zeros(0, np.float32)
        self.true = np.zeros(0, bool)

    @property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        return (self.keys >> np.uint64(32)).astype(np.int64), (self.keys & np.uint64(0xFFFFFFFF)).astype(np.int64)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Where each key stands, -1 if it does not."""
        if not len(self.keys):
            return np.full(len(keys), -1)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[at] == keys, at, -1)

    def add(self, keys: np.ndarray, similarity: np.ndarray) -> None:
        """New pairs, none of them there yet, each once."""
        every = np.concatenate([self.keys, keys])
        order = np.argsort(every, kind="stable")
        self.keys = every[order]
        self.similarity = np.concatenate([self.similarity, similarity.astype(np.float32)])[order]
        self.true = np.concatenate([self.true, np.zeros(len(keys), bool)])[order]

    def save(self, path: Path) -> None:
        aside = path.with_name(f".tmp-{path.name}")
        with open(aside, "wb") as file:
            np.savez(file, keys=self.keys, similarity=self.similarity, true=self.true)
        aside.replace(path)

    def load(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as file:
            self.keys, self.similarity, self.true = file["keys"], file["similarity"], file["true"]


def pair_keys(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    low, high = np.minimum(a, b).astype(np.uint64), np.maximum(a, b).astype(np.uint64)
    return (low << np.uint64(32)) | high


class NearSearch:
    """
    part_in  bool [documents]: who takes part
    rank     int [documents]: whom to keep first
    sets     the true word sequences
    """

    def __init__(self, folder: Path, signatures: Signatures, settings: DedupSettings, part_in: np.ndarray, rank: np.ndarray, sets: TextSets,
                 memory_bytes: float, report: Callable[[int, int], None], check: Callable[[], None]) -> None:
        assert signatures.documents < 1 << 32
        self.folder, self.signatures, self.settings, self.sets = folder, signatures, settings, sets
        self.rank, self.memory_bytes, self.report, self.check = rank, memory_bytes, report, check
        self.part_in, self.count = part_in, int(part_in.sum())
        self.sizes = signatures.column("grams")
        self.compared = Compared()
        self.threshold = settings.threshold

    def run(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(a, b, similarity) of pairs found similar, a < b, each once."""
        bands, saved = self.settings.bands.bands, sorted(self.folder.glob("near-*.npz"))
        done = 0
        if saved:
            self.compared.load(saved[-1])
            done = int(saved[-1].stem.split("-")[1])
        for sweep in range(SWEEPS):
            # A sweep that was under way when the run was killed goes on with what it knew.
            if sweep and done <= sweep * bands and not self._measure():
                break
            for band in range(bands):
                number = sweep * bands + band + 1
                if number > done:
                    self._band(band)
                    path = self.folder / f"near-{number:04d}.npz"
                    self.compared.save(path)
                    for old in saved:
                        old.unlink(missing_ok=True)
                    saved = [path]
                self.report(band + 1, bands)
        self._measure()
        for _ in range(SWEEPS):
            if not self._late():
                break
        a, b = self.compared.pairs
        similar = self.compared.similarity >= self.threshold
        return a[similar], b[similar], self.compared.similarity[similar]

    # ---- bands

    def _band(self, band: int) -> None:
        if not self.count:
            return
        ranges = max(1, int(np.ceil(self.count * ROW_BYTES / self.memory_bytes)))
        found: list[tuple[np.ndarray, np.ndarray]] = []
        for number in range(ranges):
            self.check()
            members, bucket = self._buckets(band, number, ranges)
            for _ in range(ROUNDS):
                if not len(members):
                    break
                head = np.ones(len(members), bool)
                head[1:] = bucket[1:] != bucket[:-1]
                first = np.maximum.accumulate(np.where(head, np.arange(len(members)), 0))
                a, b = members[first][~head], members[~head]
                similarity, new = self._compare(a, b)
                new &= similarity >= self._floor        # what is certainly different is not remembered
                found.append((pair_keys(a[new], b[new]), similarity[new]))
                # What may be similar is taken as such until its texts are read: those that are not come again.
                rest = np.flatnonzero(~head)[similarity < self._floor]
                members, bucket = members[rest], bucket[rest]
                alone = np.ones(len(members), bool)
                alone[1:] &= bucket[1:] != bucket[:-1]
                alone[:-1] &= bucket[1:] != bucket[:-1]
                members, bucket = members[~alone], bucket[~alone]
        if found:
            self.compared.add(np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found]))

    @property
    def _floor(self) -> float:
        return max(0.0, self.threshold - MARGIN)

    def _buckets(self, band: int, number: int, ranges: int) -> tuple[np.ndarray, np.ndarray]:
        """(documents, number of their bucket), bucket after bucket, in order of rank in each; only buckets of two and more."""
        signatures = self.signatures
        some: list[np.ndarray] = []
        numbers: list[np.ndarray] = []
        for part in range(len(signatures.folders)):
            first, last = int(signatures.firsts[part]), int(signatures.firsts[part + 1])
            mine = signatures.open(part, "keys")[band]
            inside = self.part_in[first:last]
            if ranges > 1:
                inside = inside & (((mine >> np.uint64(32)) * np.uint64(ranges)) >> np.uint64(32) == number)
            some.append(mine[inside])
            numbers.append(np.flatnonzero(inside) + first)
        keys, of = np.concatenate(some), np.concatenate(numbers)
        if self.settings.keep_rule != "first":      # in order of rank, so that a stable sort by key leaves each bucket in that order
            by_rank = np.argsort(self.rank[of], kind="stable")
            keys, of = keys[by_rank], of[by_rank]
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        again = keys[1:] == keys[:-1]
        shared = np.zeros(len(keys), bool)
        shared[1:] |= again
        shared[:-1] |= again
        keys, of = keys[shared], of[order[shared]]
        new = np.ones(len(keys), bool)
        new[1:] = keys[1:] != keys[:-1]
        return of, np.cumsum(new)

    def _compare(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(similarity, whether the pair is new): known pairs are looked up, others estimated from their signatures. What measured below
        the threshold on the texts counts as 0 here."""
        at = self.compared.find(pair_keys(a, b))
        new = at < 0
        similarity = np.zeros(len(a), np.float32)
        known = at[~new]
        if len(known):
            values = self.compared.similarity[known]
            similarity[~new] = np.where(self.compared.true[known] & (values < self.threshold), 0, values)
        similarity[new] = self.estimate(a[new], b[new])
        return similarity, new

    def estimate(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """float32: share of equal values in the signatures."""
        made = np.zeros(len(a), np.float32)
        for start in range(0, len(a), BATCH):
            self.check()
            left, right = a[start:start + BATCH], b[start:start + BATCH]
            numbers = np.unique(np.concatenate([left, right]))
            rows = self.signatures.of("signatures", numbers)
            at, to = np.searchsorted(numbers, left), np.searchsorted(numbers, right)
            for some in range(0, len(left), 4096):
                equal = rows[at[some:some + 4096]] == rows[to[some:some + 4096]]
                made[start + some:start + some + len(equal)] = equal.mean(axis=1)
        return made

    # ---- on the texts

    def _measure(self) -> bool:
        """Measure pairs whose estimate is near the threshold; True if some are less similar than that."""
        compared = self.compared
        unsure = np.flatnonzero(~compared.true & (np.abs(compared.similarity - self.threshold) < MARGIN))
        if not len(unsure):
            return False
        a, b = compared.pairs
        compared.similarity[unsure] = jaccard(self.sets, a[unsure], b[unsure], self.sizes, self.memory_bytes / 4, self.check)
        compared.true[unsure] = True
        return bool((compared.similarity[unsure] < self.threshold).any())

    def _late(self) -> bool:
        """Documents that stay only because the one they resemble went: compared with others of their cluster that stay."""
        a, b = self.compared.pairs
        similar = self.compared.similarity >= self.threshold
        a, b, similarity = a[similar], b[similar], self.compared.similarity[similar]
        if not len(a):
            return False
        inside = np.unique(np.concatenate([a, b]))
        a, b = np.searchsorted(inside, a), np.searchsorted(inside, b)
        rank = self.rank[inside]
        root = components(len(inside), a, b)
        stays = np.ones(len(inside), bool)
        stays[keepers(rank, a, b, similarity)[0]] = False
        staying = np.flatnonzero(stays)
        staying = staying[np.lexsort((rank[staying], root[staying]))]
        group = root[staying]
        head = np.ones(len(staying), bool)
        head[1:] = group[1:] != group[:-1]
        place = np.arange(len(staying)) - np.maximum.accumulate(np.where(head, np.arange(len(staying)), 0))
        pairs: list[tuple[np.ndarray, np.ndarray]] = []
        for nth in range(LATE):
            # Every one that stays, with the nth of its cluster, if that ranks before it.
            later = np.flatnonzero(place > nth)
            if not len(later):
                break
            pairs.append((staying[later - place[later] + nth], staying[later]))
        if not pairs:
            return False
        left, right = inside[np.concatenate([p[0] for p in pairs])], inside[np.concatenate([p[1] for p in pairs])]
        new = self.compared.find(pair_keys(left, right)) < 0
        left, right = left[new], right[new]
        if not len(left):
            return False
        estimates = self.estimate(left, right)
        maybe = estimates >= self._floor
        self.compared.add(pair_keys(left, right)[maybe], estimates[maybe])
        self._measure()
        return bool(maybe.any())
