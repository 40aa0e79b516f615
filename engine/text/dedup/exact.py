"""Exact duplicates: documents whose hashes of 128 bits are equal, by sorting. Reads signatures, not texts."""

from collections.abc import Callable

import numpy as np

from engine.text.dedup.signatures import Signatures

ROW_BYTES = 64
"""Memory that sorting takes for each document: two hashes, rank, number, order and what lexsort holds meanwhile."""


def exact_groups(signatures: Signatures, rank: np.ndarray, memory_bytes: float, check: Callable[[], None]) -> tuple[np.ndarray, np.ndarray]:
    """(document, the one of its group that ranks first), for every document that is not the first of its group; by number. Only documents
    that are alive take part. The hashes are gone through in as many ranges as memory asks for."""
    documents = signatures.documents
    ranges = max(1, int(np.ceil(documents * ROW_BYTES / memory_bytes)))
    members: list[np.ndarray] = []
    firsts: list[np.ndarray] = []
    for number in range(ranges):
        check()
        low, high = (number << 32) // ranges, ((number + 1) << 32) // ranges
        hashes: list[np.ndarray] = []
        numbers: list[np.ndarray] = []
        for part in range(len(signatures.folders)):
            records = signatures.open(part, "documents")
            exact = records["exact"]
            inside = np.flatnonzero(records["alive"] & _between(exact[:, 0] >> np.uint64(32), low, high))
            hashes.append(exact[inside])
            numbers.append(inside + signatures.firsts[part])
        if not hashes:
            break
        key, of = np.concatenate(hashes), np.concatenate(numbers)
        order = np.lexsort((rank[of], key[:, 1], key[:, 0]))
        key, of = key[order], of[order]
        same = np.zeros(len(of), bool)
        same[1:] = (key[1:] == key[:-1]).all(axis=1)
        head = np.maximum.accumulate(np.where(same, 0, np.arange(len(of))))
        members.append(of[same])
        firsts.append(of[head[same]])
    if not members:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    of, first = np.concatenate(members), np.concatenate(firsts)
    order = np.argsort(of)
    return of[order], first[order]


def _between(values: np.ndarray, low: int, high: int) -> np.ndarray:
    return (values >= low) & (values < high)
