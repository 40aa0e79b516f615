"""Excerpts: documents whose word sequences stand, but for a few, in a longer text.

A container is a whole text, however many parts a long one was cut into: a chapter that straddles a cut is found, and the parts of one text
are no excerpts of each other. Which texts may contain which is an order (the longer first), so that two editions never remove each other.

1. Sketches: hashes that several texts share, a range of all hashes at a time. A hash that stands in many texts points to the CONTAINERS
   longest of them only, so that a refrain costs what any sequence costs. Counts by (document, container) go to a file for each range.
2. Candidates: whose share in the sketch could be the threshold by three times its spread; the best BEST containers of each document.
3. On the texts: the share is measured, container by container.
4. Decisions, the longest texts first; a container that itself lost parts is measured again without them.

Memory: of a range of hashes as many as `memory_bytes` allows; of the texts' sequences likewise, but at least one container's.
"""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from engine.text.dedup.grams import ranges_of
from engine.text.dedup.overlap import Sets, TextSets
from engine.text.dedup.settings import LONGER, SHORTEST_EXCERPT, DedupSettings
from engine.text.dedup.signatures import Signatures

CONTAINERS, BEST = 16, 4
ROW_BYTES = 80
"""Memory a hash of the sketch takes while its range is sorted and joined."""
ROUNDS = 4


def excerpts(folder: Path, signatures: Signatures, settings: DedupSettings, stays: np.ndarray, sets: TextSets, memory_bytes: float,
             report: Callable[[int, int], None], check: Callable[[], None]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(document, the part of the container it shares most with, share) by number. stays: bool [documents], who takes part."""
    texts = _Texts(signatures, stays)
    p, g = _candidates(folder, signatures, settings, stays, texts, memory_bytes, report, check)
    return _decided(p, g, settings.containment, stays, texts, sets, memory_bytes, check)


class _Texts:
    """Which documents are parts of one text.

    of      int64 [documents]: the text of each document; rank  int64 [texts]: the longest first; words  float32 [texts], of parts that stay
    """

    def __init__(self, signatures: Signatures, stays: np.ndarray) -> None:
        new = np.ones(signatures.documents, bool)
        words = signatures.column("words")
        place = [signatures.column(name) for name in ("root", "file", "document")]
        new[1:] = np.any([c[1:] != c[:-1] for c in place], axis=0)      # the parts of a text follow each other
        self.of = np.cumsum(new) - 1
        count = int(self.of[-1]) + 1 if len(self.of) else 0
        self.words = np.bincount(self.of[stays], weights=words[stays], minlength=count)
        self.rank = np.empty(count, np.int64)
        self.rank[np.argsort(-self.words, kind="stable")] = np.arange(count)
        self.own = words
        self.firsts = np.append(np.flatnonzero(new), len(new))

    def parts(self, text: int) -> np.ndarray:
        return np.arange(self.firsts[text], self.firsts[text + 1])


def _candidates(folder: Path, signatures: Signatures, settings: DedupSettings, stays: np.ndarray, texts: _Texts, memory_bytes: float,
                report: Callable[[int, int], None], check: Callable[[], None]) -> tuple[np.ndarray, np.ndarray]:
    """(document, text) that may contain it."""
    kept = signatures.column("kept")
    small = (signatures.column("grams") >= SHORTEST_EXCERPT) & stays & (kept > 0)
    ranges = max(1, int(np.ceil(int(kept[stays].sum()) * ROW_BYTES / memory_bytes)))
    top = int(np.max([signatures.open(i, "sketch")[-1:].max(initial=0) for i in range(len(signatures.folders))], initial=0)) + 1
    files: list[Path] = []
    for number in range(ranges):
        path = folder / f"contained-{ranges}-{number:04d}.npy"
        files.append(path)
        if not path.exists():
            check()
            low, high = top * number // ranges, top * (number + 1) // ranges
            counted = _counted(signatures, low, high, stays, small, texts, memory_bytes)
            aside = path.with_name(f".tmp-{path.name}")
            np.save(aside, counted, allow_pickle=False)
            aside.replace(path)
        report(number + 1, ranges)
    found = _likely(files, kept, settings.containment, texts, memory_bytes)
    return found


def _counted(signatures: Signatures, low: int, high: int, stays: np.ndarray, small: np.ndarray, texts: _Texts,
             memory_bytes: float) -> np.ndarray:
    """uint64 [n, 2]: (document << 32 | text, hashes shared) for hashes from low to high, sorted."""
    hashes: list[np.ndarray] = []
    owners: list[np.ndarray] = []
    for part in range(len(signatures.folders)):
        sketch = signatures.open(part, "sketch")
        a, b = np.searchsorted(sketch, np.array([low, high], np.uint64))
        rows = signatures.open(part, "sketch_rows")[a:b] + signatures.firsts[part]
        living = stays[rows]
        hashes.append(sketch[a:b][living])
        owners.append(rows[living])
    key, of = np.concatenate(hashes), np.concatenate(owners)
    order = np.argsort(key, kind="stable")
    key, of = key[order], of[order]
    again = key[1:] == key[:-1]
    shared = np.zeros(len(key), bool)
    shared[1:] |= again
    shared[:-1] |= again
    key, of = key[shared], of[shared]
    order = np.lexsort((texts.rank[texts.of[of]], key))
    key, of = key[order], of[order]
    if not len(key):
        return np.zeros((0, 2), np.uint64)
    text = texts.of[of]
    new = np.ones(len(key), bool)
    new[1:] = key[1:] != key[:-1]
    start = np.flatnonzero(new)
    run = np.cumsum(new) - 1
    different = new.copy()
    different[1:] |= text[1:] != text[:-1]
    # Containers: the first of each text in a run, the longest CONTAINERS of them.
    heads = np.flatnonzero(different)
    nth = np.arange(len(heads)) - np.searchsorted(heads, start)[run[heads]]
    heads = heads[nth < CONTAINERS]
    counts = np.bincount(run[heads], minlength=len(start))
    firsts = np.cumsum(counts) - counts
    asking = np.flatnonzero(small[of])
    made: list[np.ndarray] = []
    step = max(1, int(memory_bytes / ROW_BYTES / CONTAINERS))
    for at in range(0, len(asking), step):
        some = asking[at:at + step]
        many = counts[run[some]]
        p = np.repeat(of[some], many)
        g = text[heads[ranges_of(firsts[run[some]], many)]]
        mine = texts.of[p]
        good = (g != mine) & (texts.rank[g] < texts.rank[mine]) & (texts.words[g] >= LONGER * texts.own[p])
        pairs, times = np.unique((p[good].astype(np.uint64) << np.uint64(32)) | g[good].astype(np.uint64), return_counts=True)
        made.append(np.stack([pairs, times.astype(np.uint64)], axis=1))
    return _merged(made)


def _merged(pieces: list[np.ndarray]) -> np.ndarray:
    """Counts of equal pairs added."""
    if not pieces:
        return np.zeros((0, 2), np.uint64)
    every = np.concatenate(pieces)
    every = every[np.argsort(every[:, 0], kind="stable")]
    new = np.ones(len(every), bool)
    new[1:] = every[1:, 0] != every[:-1, 0]
    starts = np.flatnonzero(new)
    if not len(starts):
        return every
    return np.stack([every[starts, 0], np.add.reduceat(every[:, 1], starts)], axis=1)


def _likely(files: list[Path], kept: np.ndarray, share: float, texts: _Texts, memory_bytes: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs whose count could come from the wanted share, at most BEST a document; some documents at a time."""
    maps = [np.load(path, mmap_mode="r", allow_pickle=False) for path in files]
    total = sum(len(m) for m in maps)
    blocks = max(1, int(np.ceil(total * 64 / memory_bytes)))
    p_all: list[np.ndarray] = []
    g_all: list[np.ndarray] = []
    for block in range(blocks):
        low, high = len(kept) * block // blocks, len(kept) * (block + 1) // blocks
        bounds = np.array([low << 32, high << 32], np.uint64)
        cuts = [np.searchsorted(m[:, 0], bounds) for m in maps]
        counted = _merged([np.asarray(m[a:b]) for m, (a, b) in zip(maps, cuts, strict=True)])
        p, g = (counted[:, 0] >> np.uint64(32)).astype(np.int64), (counted[:, 0] & np.uint64(0xFFFFFFFF)).astype(np.int64)
        wanted = kept[p] * share
        good = counted[:, 1] >= np.maximum(1, wanted - 3 * np.sqrt(wanted * (1 - share)))
        p, g, count = p[good], g[good], counted[good, 1].astype(np.int64)
        order = np.lexsort((texts.rank[g], -count, p))
        p, g = p[order], g[order]
        new = np.ones(len(p), bool)
        new[1:] = p[1:] != p[:-1]
        nth = np.arange(len(p)) - np.maximum.accumulate(np.where(new, np.arange(len(p)), 0))
        p_all.append(p[nth < BEST])
        g_all.append(g[nth < BEST])
    return np.concatenate(p_all), np.concatenate(g_all)


# ---- on the texts


def _decided(p: np.ndarray, g: np.ndarray, share: float, stays: np.ndarray, texts: _Texts, sets: TextSets, memory_bytes: float,
             check: Callable[[], None]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    stays = stays.copy()
    found: dict[int, tuple[int, float]] = {}
    for _ in range(ROUNDS):
        if not len(p):
            break
        asked = [texts.parts(text) for text in np.unique(g).tolist()]
        involved = np.unique(np.concatenate([p, *asked]))
        with sets.of(involved[stays[involved]], check) as known:
            shares, parts = _measured(p, g, stays, texts, known, memory_bytes, check)
        good = np.flatnonzero(shares >= share)
        # The longest texts first, as a container's own fate must be known; of a document's containers the best first.
        order = good[np.lexsort((texts.rank[g[good]], -shares[good], p[good], texts.rank[texts.of[p[good]]]))]
        lost: set[int] = set()
        again: list[int] = []
        for i in order.tolist():
            document, text = int(p[i]), int(g[i])
            if document in found:
                continue
            if text in lost:
                again.append(i)
                continue
            found[document] = (int(parts[i]), float(shares[i]))
            stays[document] = False
            lost.add(int(texts.of[document]))
        again = [i for i in again if int(p[i]) not in found and stays[texts.parts(int(g[i]))].any()]
        p, g = p[again], g[again]
    numbers = np.array(sorted(found), np.int64)
    return (numbers, np.array([found[n][0] for n in numbers.tolist()], np.int64),
            np.array([found[n][1] for n in numbers.tolist()], np.float32))


def _measured(p: np.ndarray, g: np.ndarray, stays: np.ndarray, texts: _Texts, known: Sets, memory_bytes: float,
              check: Callable[[], None]) -> tuple[np.ndarray, np.ndarray]:
    """(share of the document's sequences that stand in the text's parts that stay, the part that holds most of them)."""
    shares, best = np.zeros(len(p), np.float32), np.zeros(len(p), np.int64)
    by_text: dict[int, list[int]] = defaultdict(list)
    for i, text in enumerate(g.tolist()):
        by_text[text].append(i)
    waiting: list[tuple[list[int], np.ndarray]] = []
    need: list[np.ndarray] = []
    size = 0.0
    names = sorted(by_text)
    for position, text in enumerate(names):
        mine = by_text[text]
        parts = texts.parts(text)
        parts = parts[stays[parts]]
        if len(parts):
            waiting.append((mine, parts))
            need += [parts, p[mine]]
            size += float(texts.own[parts].sum() + texts.own[p[mine]].sum()) * 24
        if need and (size >= memory_bytes / 4 or position == len(names) - 1):
            check()
            numbers = np.unique(np.concatenate(need))
            values, offsets = known.take(numbers)
            for ask, among in waiting:
                _shares_in(numbers, values, offsets, p, ask, among, shares, best)
            waiting, need, size = [], [], 0.0
    return shares, best


def _shares_in(numbers: np.ndarray, values: np.ndarray, offsets: np.ndarray, p: np.ndarray, ask: list[int], among: np.ndarray,
               shares: np.ndarray, best: np.ndarray) -> None:
    at = np.searchsorted(numbers, among)
    pieces = [values[offsets[i]:offsets[i + 1]] for i in at.tolist()]
    whole = pieces[0] if len(pieces) == 1 else np.unique(np.concatenate(pieces))
    for i in ask:
        own = int(np.searchsorted(numbers, p[i]))
        mine = values[offsets[own]:offsets[own + 1]]
        inside = mine[_among(mine, whole)]
        shares[i] = len(inside) / max(1, len(mine))
        best[i] = among[0] if len(pieces) == 1 else among[int(np.argmax([_among(inside, piece).sum() for piece in pieces]))]


def _among(values: np.ndarray, sorted_set: np.ndarray) -> np.ndarray:
    if not len(sorted_set):
        return np.zeros(len(values), bool)
    found: np.ndarray = sorted_set[np.minimum(np.searchsorted(sorted_set, values), len(sorted_set) - 1)] == values
    return found
