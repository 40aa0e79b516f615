"""How much of each source goes into training, and how often each document is seen. Pure functions over arrays; reads and writes nothing,
and knows nothing of validation: it is given the training documents.

For source i with kept bytes b_i, cap c_i, epochs e_i and weight w_i:

    available_i = min(b_i, c_i)                 the text that may be used at all, before repetition
    reach_i     = available_i * e_i             what it can give to training
    taken_i     = reach_i                       without weights
    taken_i     = T * w_i / sum(w)              with weights; T is the largest total with taken_i <= reach_i for all i

So weights only ever thin: the source that is scarcest for its weight is taken whole, and epochs say how far a source may be stretched.
Sources of which nothing is kept take no part in the weights. A document's copies are floor(m) or ceil(m) with m = taken_i / available_i;
who gets more, and who is drawn under a cap, is decided by the hash of the document's id: the same whatever the order, and a larger share
holds all that a smaller one held. What is taken differs from what was wanted by half a document at most, and a source that gives
anything gives at least one document.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.contract.errors import SettingError
from engine.contract.words import tr
from engine.text.lots import keys, scattered


@dataclass(frozen=True)
class MixOptions:
    """What a person sets for one source. `weight` is relative to the other weights; all sources have one or none has.
    `cap_bytes` limits its UTF-8 bytes before repetition."""

    weight: float | None = None
    epochs: float = 1.0
    cap_bytes: int | None = None


@dataclass(frozen=True)
class RootMix:
    """One source in the mix, in UTF-8 bytes. `available`: what may be used of it after its cap; `taken`: what is wanted in training with
    repetition; `share`: its part of all that is taken (0..1)."""

    bytes: int
    available: int
    taken: int
    share: float

    @property
    def multiple(self) -> float:
        """How often its available text is seen on average."""
        return self.taken / self.available if self.available else 0.0


@dataclass(frozen=True)
class Mix:
    """`roots`: what was wanted of each source. `copies_D` int32: how often each document is seen in training, 0 for those not drawn.
    `rows`: what came of it for each source: documents and bytes drawn (each once), bytes in training, mean epochs of its text, share."""

    roots: tuple[RootMix, ...]
    copies_D: np.ndarray
    rows: tuple[dict[str, Any], ...]


def mix(ids: Any, roots: Any, sizes: Any, options: Sequence[MixOptions]) -> Mix:
    """The mix of D kept documents. `ids`: as engine.text.lots.keys takes them; `roots`: which of the options each document has, int;
    `sizes`: UTF-8 bytes of each document."""
    roots_D, sizes_D = np.asarray(roots, np.int32), np.asarray(sizes, np.int64)
    assert len(roots_D) == len(sizes_D) and (not len(roots_D) or 0 <= roots_D.min() and roots_D.max() < len(options))
    kept = np.zeros(len(options), np.int64)
    np.add.at(kept, roots_D, sizes_D)
    plan = amounts(kept.tolist(), options)
    if all(option == MixOptions() for option in options):
        copies_D = np.ones(len(sizes_D), np.int32)
    else:
        copies_D = copies(keys(ids), roots_D, sizes_D, plan)
    return Mix(plan, copies_D, tuple(_rows(roots_D, sizes_D, copies_D, plan)))


def amounts(kept: Sequence[int], options: Sequence[MixOptions]) -> tuple[RootMix, ...]:
    """Bytes available and taken of each source, from its kept bytes. SettingError where only some sources have a weight."""
    assert len(kept) == len(options)
    weighted = [option.weight is not None for option in options]
    if any(weighted) and not all(weighted):
        raise SettingError(tr("Some sources have a weight and others have none."), tr("Give every source a weight, or none of them."),
                           field="source_options")
    available = [size if option.cap_bytes is None else min(size, option.cap_bytes) for size, option in zip(kept, options, strict=True)]
    taken = [size * option.epochs for size, option in zip(available, options, strict=True)]
    if any(weighted):
        unit = min((reach / option.weight for reach, option in zip(taken, options, strict=True) if reach and option.weight), default=0.0)
        taken = [unit * (option.weight or 0.0) if reach else 0.0 for reach, option in zip(taken, options, strict=True)]
    total = sum(taken)
    return tuple(RootMix(size, usable, max(amount > 0, round(amount)), amount / total if total else 0.0)
                 for size, usable, amount in zip(kept, available, taken, strict=True))


def copies(keys: np.ndarray, roots_D: np.ndarray, sizes_D: np.ndarray, plan: Sequence[RootMix]) -> np.ndarray:
    """int32: how often each document is seen, so that each source gives what the plan takes of it."""
    made = np.zeros(len(sizes_D), np.int32)
    for root, wanted in enumerate(plan):
        rows = np.flatnonzero(roots_D == root)
        if not len(rows) or not wanted.taken:
            continue
        if wanted.available < wanted.bytes:
            order = rows[np.argsort(scattered(keys[rows], "cap"), kind="stable")]
            rows = order[:max(1, _prefix(sizes_D[order], wanted.available))]
        # What the draw really gave counts, so that a large document at its edge does not tilt the shares; but nobody gets more copies
        # than were asked for because the draw fell short.
        drawn = max(1, int(sizes_D[rows].sum()))
        whole, rest = divmod(min(wanted.taken, drawn * -(-wanted.taken // wanted.available)), drawn)
        made[rows] = whole
        if rest:
            order = rows[np.argsort(scattered(keys[rows], "copies"), kind="stable")]
            more = _prefix(sizes_D[order], rest)
            made[order[:max(more, 0 if whole else 1)]] += 1
    return made


def _prefix(sizes: np.ndarray, wanted: int) -> int:
    """How many of the first documents come nearest to so many bytes: the last one is taken when at least half of it fits."""
    ends = np.cumsum(sizes)
    return int(np.searchsorted(2 * ends - sizes, 2 * wanted, "right"))


def _rows(roots_D: np.ndarray, sizes_D: np.ndarray, copies_D: np.ndarray, plan: Sequence[RootMix]) -> list[dict[str, Any]]:
    count = len(plan)
    drawn = copies_D > 0
    documents = np.bincount(roots_D[drawn], minlength=count)
    once, repeated = np.zeros(count, np.int64), np.zeros(count, np.int64)
    np.add.at(once, roots_D[drawn], sizes_D[drawn])
    np.add.at(repeated, roots_D, sizes_D * copies_D)
    total = max(1, int(repeated.sum()))
    return [{"root": root, "documents": int(documents[root]), "bytes": int(once[root]), "training_bytes": int(repeated[root]),
             "epochs": float(repeated[root] / once[root]) if once[root] else 0.0, "share": float(repeated[root] / total)}
            for root in range(count)]
