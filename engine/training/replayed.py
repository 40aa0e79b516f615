"""Documents of pretraining that go into every step of a later training, so that the model does not forget them. Which they are follows from
the step alone; an epoch of them sees each once, in an order drawn from the seed.
"""

import math

import numpy as np

from engine.training.examples import ReplaySplit


class Replayed:
    """`a_step` documents in each step, cut at `longest` tokens; `begin` goes before one that does not start with it."""

    def __init__(self, split: ReplaySplit | None, a_step: int, *, longest: int, seed: int, begin: int | None = None) -> None:
        self.split, self.longest, self.begin = split, longest, begin
        self.a_step = a_step if split is not None and split.documents else 0
        if self.a_step:
            assert split is not None
            draw = np.random.default_rng([seed, 13])
            self._first = int(draw.integers(split.documents))
            self._stride = int(draw.integers(1, split.documents + 1))
            while math.gcd(self._stride, split.documents) != 1:
                self._stride += 1

    @property
    def state(self) -> dict[str, int | None]:
        """What must be equal for a step number to mean the same documents."""
        return {"replay_documents": self.a_step, "replay_tokens": int(self.split.tokens) if self.split and self.a_step else 0,
                "begin": self.begin if self.a_step else None}

    @property
    def tokens_per_step(self) -> float:
        """On average, about."""
        return self.a_step * min(self.longest, self.split.tokens / self.split.documents) if self.split and self.a_step else 0.0

    def documents(self, step: int) -> list[np.ndarray]:
        """The ids of a step's documents; those of fewer than two tokens, of which nothing can be learned, are passed over."""
        if not self.a_step:
            return []
        assert self.split is not None
        first = step * self.a_step
        made = [self._document((self._first + n * self._stride) % self.split.documents) for n in range(first, first + self.a_step)]
        return [ids for ids in made if len(ids) > 1]

    def _document(self, number: int) -> np.ndarray:
        assert self.split is not None
        ids = self.split.document(number)[:self.longest]
        if self.begin is not None and (not len(ids) or int(ids[0]) != self.begin):
            ids = np.concatenate([[self.begin], ids[:self.longest - 1]])
        return ids
