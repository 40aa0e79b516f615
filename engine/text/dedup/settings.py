"""What counts as a duplicate: the person's settings, and what follows from them. Reads and writes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from engine.text.dedup.derive import PERMUTATIONS, Bands, derive

KEEP_RULES = ("first", "longest", "quality")
SHINGLE_WORDS = 5
SCALE = 8
"""One in so many word sequences goes into the sketch by which excerpts are found."""
SHORTEST_EXCERPT = 24
"""Word sequences. What is shorter stands in other texts by chance, as a refrain or a formula does."""
LONGER = 1.5
"""An excerpt's container is at least so many times as long; what is nearer in length is a matter of near duplicates."""


@dataclass(frozen=True)
class DedupSettings:
    """
    exact         remove documents whose normalised text is equal to another's
    near          remove those that share `threshold` of their word sequences (Jaccard)
    contained     remove those that stand in a longer one
    keep_rule     which of a group stays: first, longest, quality
    shingle       words in a sequence (12/5 as many characters where words are not spaced)
    cluster_only  find near duplicates even if none is removed: the split keeps them on one side
    """

    exact: bool = True
    near: bool = True
    contained: bool = True
    threshold: float = 0.7
    keep_rule: str = "first"
    shingle: int = SHINGLE_WORDS
    cluster_only: bool = True
    permutations: int = PERMUTATIONS

    def __post_init__(self) -> None:
        assert self.keep_rule in KEEP_RULES and 0 < self.threshold <= 1 and self.shingle >= 1

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "DedupSettings":
        """From the plain values of a corpus spec. Excerpts are looked for with near duplicates only."""
        near = bool(settings.get("near_duplicates", True))
        return cls(exact=bool(settings.get("exact_duplicates", True)), near=near, contained=near and bool(settings.get("contained", True)),
                   threshold=float(settings.get("near_threshold", 0.7)), keep_rule=str(settings.get("keep_rule", "first")),
                   shingle=int(settings.get("shingle_words", 0)) or SHINGLE_WORDS)

    @cached_property
    def bands(self) -> Bands:
        return derive(self.threshold, self.permutations)

    @property
    def compares(self) -> bool:
        """Whether near duplicates are looked for at all."""
        return self.near or self.cluster_only

    @property
    def containment(self) -> float:
        """Share of a document's word sequences that must stand in the longer text. Two equally long documents at the Jaccard threshold J
        share 2J / (1 + J) of their sequences: an excerpt must be as faithful as they are."""
        return 2 * self.threshold / (1 + self.threshold)
