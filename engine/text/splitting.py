"""Which documents are kept for validation. Two ways; both give the same for the same documents in any order.

sides   100 documents or more: whole documents. All members of a cluster of near duplicates, all parts of one long text and all copies of
        one text are a group, and a group stands on one side, so that nothing in validation has a near duplicate in training. A group is
        drawn by the hash of its smallest key; groups are taken in that order until the share of the bytes is reached. A group larger than
        half of what validation may hold goes to training, so that the share is met within a quarter of itself (when all groups are that
        large, a single one is taken).
tail    fewer: the last share of each document, cut at a paragraph, else line, else sentence. One file gives its last tenth, as in nanoGPT.
        A document that has near duplicates among those kept goes to training whole: the tail of one stands in the other (`cut_at_tail`).

It finds no duplicates (dedup/) and writes nothing.
"""

from typing import Any

import numpy as np

from engine.text.lots import keys, scattered
from engine.text.readers import best_cut

FEW = 100
"""Documents from which on whole documents are kept for validation."""


def sides(ids: Any, clusters: Any, sizes: Any, share: float, originals: Any = None) -> np.ndarray:
    """bool for each of D kept documents: True for validation.

    ids         as engine.text.lots.keys takes them; where duplicates were not looked for, keys of the texts (lots.of_texts) keep copies of
                one text together
    clusters    int64, the number of its cluster, -1 for none
    sizes       UTF-8 bytes
    share       of the bytes, above 0 and below 1
    originals   int64, equal for the parts of one long text; -1 or None: none has parts

    All False when there is only one group: then nothing can be measured that was not trained on.
    """
    assert 0 < share < 1, share
    keys_D, sizes_D = keys(ids), np.asarray(sizes, np.int64)
    group_D = _groups(keys_D, clusters, *(() if originals is None else (originals,)))
    count = int(group_D.max()) + 1 if len(group_D) else 0
    chosen = np.zeros(count, bool)
    if count < 2:
        return chosen[group_D]
    lowest = np.full(count, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(lowest, group_D, keys_D)
    weight = np.zeros(count, np.int64)
    np.add.at(weight, group_D, sizes_D)
    total = int(weight.sum())
    wanted = share * total
    draw = scattered(lowest, "validation")
    able = np.flatnonzero(weight <= wanted / 2)
    order = able[np.argsort(draw[able], kind="stable")]
    ends = np.cumsum(weight[order])
    # The last one is taken when at least half of it fits.
    chosen[order[:int(np.searchsorted(ends - weight[order] / 2, wanted, "right"))]] = True
    if not chosen.any():
        others = np.flatnonzero(weight <= total / 2)
        if not len(others):
            others = np.delete(np.arange(count), int(weight.argmax()))
        chosen[others[draw[others].argmin()]] = True
    return chosen[group_D]


def cut_at_tail(clusters: Any) -> np.ndarray:
    """bool for each kept document of a small corpus: whether its tail is kept for validation; those with near duplicates among the kept
    ones (a cluster with another kept member) are trained on whole."""
    clusters = np.asarray(clusters, np.int64)
    _, place, counts = np.unique(clusters, return_inverse=True, return_counts=True)
    return (clusters < 0) | (counts[place] == 1)


def tail(text: str, before: int, length: int, share: float) -> int:
    """Where to cut `text`, which begins `before` characters into a document of `length` characters, so that the last `share` of the
    document is behind the cut: 0 when all of it is, len(text) when nothing is. The cut may move a quarter of the share to a good place."""
    target = round(length * (1 - share)) - before
    slack = min(50_000, int(length * share / 4))
    if target <= 0:
        return 0
    if target >= len(text):
        return len(text)
    return best_cut(text, max(0, target - slack), min(len(text), target + slack), target)


def _groups(keys_D: np.ndarray, *partitions: Any) -> np.ndarray:
    """Numbers 0.. of the groups that equal keys and equal numbers >= 0 of any partition tie together."""
    _, group_D = np.unique(keys_D, return_inverse=True)
    group_D = group_D.astype(np.int64)
    ties = []
    for partition in partitions:
        numbers = np.asarray(partition, np.int64)
        assert len(numbers) == len(keys_D)
        rows = np.flatnonzero(numbers >= 0)
        rows = rows[np.argsort(numbers[rows], kind="stable")]
        if len(rows):
            starts = np.flatnonzero(np.r_[True, numbers[rows][1:] != numbers[rows][:-1]])
            ties.append((rows, starts, np.diff(np.r_[starts, len(rows)])))
    while ties:
        before = group_D
        for rows, starts, lengths in ties:
            # Each tied set takes its least group; all of a group that is renamed follow.
            least = np.repeat(np.minimum.reduceat(group_D[rows], starts), lengths)
            rename = np.arange(int(group_D.max()) + 1)
            np.minimum.at(rename, group_D[rows], least)
            while not np.array_equal(rename, further := rename[rename]):
                rename = further
            group_D = rename[group_D]
        if np.array_equal(before, group_D):
            break
    return np.unique(group_D, return_inverse=True)[1]
