"""How many bands and rows find near duplicates from a similarity on, and how surely. Arithmetic without numpy, for engine and window.

A signature of b bands with r rows each makes two documents of Jaccard similarity s meet with probability 1 - (1 - s^r)^b (Leskovec,
Rajaraman, Ullman: Mining of Massive Datasets, 3.4). More rows mean fewer useless comparisons, fewer rows higher recall.
"""

from typing import NamedTuple

PERMUTATIONS = 128
RECALL, BIT = 0.98, 0.02
"""Pairs that are this bit above the threshold are met with at least this probability."""


class Bands(NamedTuple):
    """`curve`: (similarity, probability that two documents so similar are compared), similarity from 0 to 1 in steps of 0.02."""

    bands: int
    rows: int
    curve: tuple[tuple[float, float], ...]

    @property
    def permutations(self) -> int:
        """Rows of the signature that are used."""
        return self.bands * self.rows

    def recall(self, similarity: float) -> float:
        """Probability that two documents of this similarity are compared."""
        return meeting(similarity, self.bands, self.rows)


def meeting(similarity: float, bands: int, rows: int) -> float:
    return 1.0 - (1.0 - similarity**rows) ** bands


def derive(threshold: float, permutations: int = PERMUTATIONS) -> Bands:
    """The most rows whose recall just above `threshold` is still RECALL."""
    assert 0 < threshold <= 1 and permutations >= 1
    rows = 1
    for more in range(2, permutations + 1):
        if meeting(min(1.0, threshold + BIT), permutations // more, more) < RECALL:
            break
        rows = more
    bands = permutations // rows
    return Bands(bands, rows, tuple((step / 50, meeting(step / 50, bands, rows)) for step in range(51)))
