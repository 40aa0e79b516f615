"""Which documents are duplicates of which, out of the signatures of all parts: exact, near, contained; one answer a document.

Stages: exact groups (exact.py), near pairs among their first documents (near.py), who stays (clusters.py), excerpts among those that stay
(contained.py). Of a group the one that ranks first by the person's rule stays; every removed document names one that stays.

Memory, for N documents: 8 bytes of rank and 30 of lengths, places and marks each, 21 of answers, and `memory_bytes` for whatever is sorted
(the stages go through their keys in ranges of that size). 1M documents: 0.1 GB + memory_bytes at most; 50M: 3 GB + memory_bytes, 45 GB of
signatures on disk, of which each band reads its 8 bytes a document, and the pairs compared theirs. Beyond that a cluster's tools.

Everything is a pure function of signatures, texts and settings. What is saved on the way (near-*.npz, contained-*.npy) is taken up after a
kill; the answer is written last.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from engine.text.dedup.clusters import components, keepers, numbered
from engine.text.dedup.contained import excerpts
from engine.text.dedup.exact import exact_groups
from engine.text.dedup.near import NearSearch
from engine.text.dedup.overlap import TextSets
from engine.text.dedup.settings import DedupSettings
from engine.text.dedup.signatures import Signatures
from engine.text.parts import Parts

__all__ = ["CONTAINED", "EXACT", "NEAR", "STEPS", "DedupSettings", "Duplicates", "find"]

STEPS = ("", "exact", "near", "contained")
EXACT, NEAR, CONTAINED = 1, 2, 3
LARGEST = 20
_ARRAYS = ("step", "duplicate_of", "similarity", "cluster")
Report = Callable[[str, int, int], None]


@dataclass
class Duplicates:
    """
    step          int8 [N]: index into STEPS, 0 for documents that stay
    duplicate_of  int64 [N]: the document that stays in its stead, -1
    similarity    float32 [N]: with that one; Jaccard, or for excerpts the share that stands there
    cluster       int64 [N]: documents that hang together, 0, 1, .. in order of their first; -1 alone. Found even where nothing is removed
    facts         for the report: counts, parameters, the largest clusters (cluster, documents)
    """

    step: np.ndarray
    duplicate_of: np.ndarray
    similarity: np.ndarray
    cluster: np.ndarray
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def codes(self) -> dict[int, str]:
        """Step codes and the ids of the steps."""
        return {code: name for code, name in enumerate(STEPS) if code}

    def summary(self) -> dict[str, Any]:
        """For the report."""
        return dict(self.facts)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in _ARRAYS:
            aside = folder / f".tmp-{name}.npy"
            np.save(aside, getattr(self, name), allow_pickle=False)
            aside.replace(folder / f"{name}.npy")
        aside = folder / ".tmp-facts.json"
        aside.write_bytes(orjson.dumps(self.facts))
        aside.replace(folder / "facts.json")

    @classmethod
    def load(cls, folder: Path) -> "Duplicates":
        arrays = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in _ARRAYS}
        return cls(**arrays, facts=orjson.loads((folder / "facts.json").read_bytes()))


def find(folder: Path, settings: DedupSettings, report: Report = lambda phase, done, total: None,
         check: Callable[[], None] = lambda: None, memory_bytes: float = 1.2e9, clean: Path | None = None,
         search: Callable[..., NearSearch] = NearSearch) -> Duplicates:
    """The duplicates among all documents whose signatures are in `folder` (`work/dup`); `clean` has their parts, by default the folder
    `clean` beside it. Saved in `folder`; an answer that is there is loaded. `report(phase, done, total)` with the phases exact, near,
    contained; `check` may raise to stop. `search` makes the search for near pairs: another one may get its buckets elsewhere."""
    if (folder / "facts.json").exists():
        return Duplicates.load(folder)
    signatures = Signatures(folder)
    parts = Parts(clean if clean is not None else folder.parent / "clean")
    assert len(parts.paths) == len(signatures.folders), "every clean part needs its signatures"
    sets = TextSets(parts, signatures, settings.shingle, folder)
    answer = _answer(folder, signatures, settings, sets, report, check, memory_bytes, search)
    answer.save(folder)
    for path in (*folder.glob("near-*.npz"), *folder.glob("contained-*.npy")):
        path.unlink()
    return answer


def _answer(folder: Path, signatures: Signatures, settings: DedupSettings, sets: TextSets, report: Report, check: Callable[[], None],
            memory_bytes: float, near: Callable[..., NearSearch]) -> Duplicates:
    documents = signatures.documents
    step = np.zeros(documents, np.int8)
    duplicate_of = np.full(documents, -1, np.int64)
    similarity = np.zeros(documents, np.float32)
    alive = signatures.column("alive")
    rank = ranks(signatures, settings.keep_rule)
    links: list[tuple[np.ndarray, np.ndarray]] = []

    equal, first = exact_groups(signatures, rank, memory_bytes, check)
    links.append((equal, first))
    report("exact", 1, 1)
    # Equal texts are as similar as can be: they go as near duplicates where exact ones are not to go by themselves.
    if settings.exact or settings.near:
        step[equal], duplicate_of[equal], similarity[equal] = EXACT if settings.exact else NEAR, first, 1

    single = alive.copy()
    single[equal] = False
    stays = alive & (step == 0)
    if settings.compares:
        part_in = single & (signatures.column("grams") > 0)
        search = near(folder, signatures, settings, part_in, rank, sets, memory_bytes,
                      lambda done, total: report("near", done, total), check)
        a, b, how = search.run()
        del search
        links.append((a, b))
        if settings.near:
            _remove(NEAR, *keepers(rank, a, b, how), step, duplicate_of, similarity, stays)
    if settings.contained:
        found = excerpts(folder, signatures, settings, stays, sets, memory_bytes,
                         lambda done, total: report("contained", done, total), check)
        links.append((found[0], found[1]))
        _remove(CONTAINED, *found, step, duplicate_of, similarity, stays)
    _follow(duplicate_of, similarity)

    root = components(documents, np.concatenate([x[0] for x in links]), np.concatenate([x[1] for x in links]))
    cluster = numbered(root)
    return Duplicates(step, duplicate_of, similarity, cluster, _facts(settings, step, cluster))


def ranks(signatures: Signatures, rule: str) -> np.ndarray:
    """int64 [documents]: which of two to keep, the lower: the first, the longest, or the best by quality; the first of equals."""
    documents = signatures.documents
    if rule == "first":
        return np.arange(documents)
    by = {"longest": "bytes", "quality": "quality"}[rule]
    made = np.empty(documents, np.int64)
    made[np.argsort(-np.nan_to_num(signatures.column(by).astype(np.float64)), kind="stable")] = np.arange(documents)
    return made


def _remove(code: int, numbers: np.ndarray, of: np.ndarray, how: np.ndarray, step: np.ndarray, duplicate_of: np.ndarray,
            similarity: np.ndarray, stays: np.ndarray) -> None:
    assert stays[numbers].all()
    step[numbers], duplicate_of[numbers], similarity[numbers] = code, of, how
    stays[numbers] = False


def _follow(duplicate_of: np.ndarray, similarity: np.ndarray) -> None:
    """Where the one that stayed at first went later (an equal text that was a near duplicate, say), name the one that stays in its stead;
    the similarity is then the least on the way."""
    moved = np.flatnonzero(duplicate_of >= 0)
    while len(moved):
        via = duplicate_of[moved]
        onward = duplicate_of[via]
        moved, via, onward = moved[onward >= 0], via[onward >= 0], onward[onward >= 0]
        duplicate_of[moved] = onward
        similarity[moved] = np.minimum(similarity[moved], similarity[via])


def _facts(settings: DedupSettings, step: np.ndarray, cluster: np.ndarray) -> dict[str, Any]:
    counts = np.bincount(step, minlength=len(STEPS)).tolist()
    sizes = np.bincount(cluster[cluster >= 0])
    largest = np.argsort(-sizes, kind="stable")[:LARGEST]
    bands = settings.bands
    return {"exact": counts[EXACT], "near": counts[NEAR], "contained": counts[CONTAINED], "clusters": len(sizes),
            "largest": [{"cluster": int(c), "documents": int(sizes[c])} for c in largest], "threshold": settings.threshold,
            "containment": settings.containment, "shingle": settings.shingle, "bands": bands.bands, "rows": bands.rows,
            "recall_at_threshold": bands.recall(settings.threshold)}
