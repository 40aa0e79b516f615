"""From pairs to groups: connected documents, and which of them stay. Pure functions of arrays; what makes a pair is decided elsewhere."""

import numpy as np


def components(documents: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """int64 [documents]: the lowest number that each document is connected with, itself if none. Time grows with the pairs, times the
    logarithm of the longest chain at worst."""
    parent = np.arange(documents)
    while len(a):
        ra, rb = parent[a], parent[b]
        apart = ra != rb
        a, b, ra, rb = a[apart], b[apart], ra[apart], rb[apart]
        np.minimum.at(parent, np.maximum(ra, rb), np.minimum(ra, rb))
        while True:
            above = parent[parent]
            if np.array_equal(above, parent):
                break
            parent = above
    return parent


def keepers(rank: np.ndarray, a: np.ndarray, b: np.ndarray, similarity: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(removed, the document that stays in its stead, their similarity), by number of the removed one.

    In order of rank, a document stays unless it is similar to one that stays: chains of ever less similar documents do not go as one.
    rank: int [documents], lowest first. a, b, similarity: pairs of similar documents, each once. Of several that stay the most similar is
    named, the first of equals.
    """
    first, second = np.where(rank[a] < rank[b], a, b), np.where(rank[a] < rank[b], b, a)
    order = np.lexsort((rank[first], -similarity, rank[second]))
    removed: dict[int, tuple[int, float]] = {}
    for start in range(0, len(order), 1 << 20):
        some = order[start:start + (1 << 20)]
        for of, by, how in zip(second[some].tolist(), first[some].tolist(), similarity[some].tolist(), strict=True):
            if of not in removed and by not in removed:
                removed[of] = (by, how)
    numbers = np.array(sorted(removed), np.int64)
    return (numbers, np.array([removed[n][0] for n in numbers.tolist()], np.int64),
            np.array([removed[n][1] for n in numbers.tolist()], np.float32))


def numbered(root: np.ndarray) -> np.ndarray:
    """int64: clusters 0, 1, .. in the order of their first documents, -1 for documents that are alone. root: as components gives it."""
    sizes = np.bincount(root, minlength=len(root)) if len(root) else np.zeros(0, np.int64)
    heads = np.flatnonzero(sizes > 1)
    names = np.full(len(root), -1, np.int64)
    names[heads] = np.arange(len(heads))
    return names[root]
