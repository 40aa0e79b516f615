"""A small classifier made from a person's own decisions: which texts they called harmful and which not. Logistic regression on hashed word
and character sequences, numpy only; seconds for thousands of texts, the same result every time. It knows no kinds, and judges only the
first few thousand characters.

A sequence's place in the weights is a hash of it, so that there is no vocabulary to keep, and text of any language and script will do.
"""

import base64
import binascii
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.contract.errors import Corrupt
from engine.contract.words import tr
from engine.text.cleaning.fold import fold

FEATURES = 1 << 18
FEWEST = 20
"""Decisions of each sort below which nothing is learned."""
MOST_ROWS = 20_000
"""Newest decisions used; more would take minutes and change little."""
_CHARACTERS = 6_000
_EPOCHS, _RATE, _DECAY, _FOLDS = 12, 0.5, 1e-5, 4
_WORD = re.compile(r"\w+")

Rows = Sequence[tuple[str, bool]]
Sparse = tuple[NDArray[np.int64], NDArray[np.float32]]      # places (ascending), values of length 1 in all


def features(text: str) -> Sparse:
    """Words, pairs of words, and sequences of 3 and 4 characters, each counted on a logarithmic scale."""
    folded = fold(text[:_CHARACTERS])
    words = np.fromiter((zlib.crc32(w.encode()) for w in _WORD.findall(folded)), np.uint32)
    codes = np.frombuffer(f" {folded} ".encode("utf-32-le", "surrogatepass"), np.uint32)
    with np.errstate(over="ignore"):
        hashed = [words * np.uint32(0x9E3779B1)]
        if len(words) > 1:
            hashed.append((words[:-1] * np.uint32(0x85EBCA6B)) ^ (words[1:] * np.uint32(0xC2B2AE35)) + np.uint32(1))
        for length, salt in ((3, 0x27D4EB2F), (4, 0x165667B1)):
            if len(codes) >= length:
                rolled = np.full(len(codes) - length + 1, salt, np.uint32)
                for i in range(length):
                    rolled = (rolled ^ codes[i:len(codes) - length + 1 + i]) * np.uint32(0x01000193) + np.uint32(salt)
                hashed.append(rolled * np.uint32(0x9E3779B1))
    places, counts = np.unique(np.concatenate(hashed) >> np.uint32(32 - 18), return_counts=True)
    values = np.log1p(counts).astype(np.float32)
    return places.astype(np.int64), values / max(1e-9, float(np.linalg.norm(values)))


@dataclass(frozen=True)
class Learned:
    """The trained weights. `accuracy` is the mean over both sorts of how many were told right by a model that had not seen them
    (cross-validated; 0.5 is chance). `trust` is how much a score counts beside the word lists."""

    weights: NDArray[np.float32]
    bias: float
    rows: int
    harmful: int
    accuracy: float

    @property
    def trust(self) -> float:
        return min(0.75, max(0.0, (self.accuracy - 0.5) * 1.6))

    def score(self, text: str) -> float:
        """How likely the person would call it harmful, 0..1."""
        places, values = features(text)
        return float(1 / (1 + np.exp(-(self.weights[places] @ values + self.bias))))

    def plain(self) -> dict[str, Any]:
        """As it goes into a run's inputs: JSON values only, some hundred kilobytes."""
        packed = zlib.compress(self.weights.astype(np.float16).tobytes(), 6)
        return {"version": 1, "features": FEATURES, "weights": base64.b64encode(packed).decode(), "bias": self.bias, "rows": self.rows,
                "harmful": self.harmful, "accuracy": self.accuracy}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Learned":
        """From what `plain` made. Raises Corrupt."""
        try:
            if (plain["version"], plain["features"]) != (1, FEATURES):
                raise ValueError("another version")
            inflate = zlib.decompressobj()
            weights = np.frombuffer(inflate.decompress(base64.b64decode(plain["weights"]), FEATURES * 2), np.float16).astype(np.float32)
            if weights.shape != (FEATURES,) or not np.isfinite(weights).all():
                raise ValueError("not the weights")
            return cls(weights, float(plain["bias"]), int(plain["rows"]), int(plain["harmful"]), float(plain["accuracy"]))
        except (KeyError, ValueError, TypeError, zlib.error, binascii.Error) as error:
            raise Corrupt(tr("What was learned from your decisions cannot be read: {reason}", reason=str(error)),
                          tr("Start the run again; it is then learned anew.")) from error


def train(rows: Rows) -> Learned | None:
    """From (text, harmful) decisions, oldest first. None where there are fewer than FEWEST of either sort. Deterministic."""
    rows = list(rows)[-MOST_ROWS:]
    labels = np.array([harmful for _, harmful in rows], bool)
    if min(int(labels.sum()), int((~labels).sum())) < FEWEST:
        return None
    made = [features(text) for text, _ in rows]
    # Equal texts in the same fold, else the check would know the answer.
    fold_of = np.array([zlib.crc32(text.encode("utf-8", "surrogatepass")) % 1_000_003 % _FOLDS for text, _ in rows])
    right: dict[bool, list[bool]] = {True: [], False: []}
    for number in range(_FOLDS):
        inside = fold_of == number
        if not inside.any() or labels[~inside].all() or not labels[~inside].any():
            continue
        weights, bias = _fit([m for m, i in zip(made, inside, strict=True) if not i], labels[~inside])
        for (places, values), harmful in ((m, bool(y)) for m, y, i in zip(made, labels, inside, strict=True) if i):
            right[harmful].append((weights[places] @ values + bias > 0) == harmful)
    accuracy = float(np.mean([np.mean(r) for r in right.values() if r])) if all(right.values()) else 0.5
    weights, bias = _fit(made, labels)
    return Learned(weights.astype(np.float16).astype(np.float32), float(bias), len(rows), int(labels.sum()), accuracy)


def _fit(made: Sequence[Sparse], labels: NDArray[np.bool_]) -> tuple[NDArray[np.float32], float]:
    """AdaGrad over the texts in a fixed random order; both sorts weigh the same, however many there are of each."""
    weights, squares = np.zeros(FEATURES, np.float32), np.full(FEATURES, 1e-3, np.float32)
    bias, bias_square = 0.0, 1e-3
    share = labels.mean()
    order = np.random.default_rng(0)
    for _ in range(_EPOCHS):
        for row in order.permutation(len(made)):
            places, values = made[row]
            harmful = labels[row]
            error = 1 / (1 + np.exp(-(weights[places] @ values + bias))) - harmful
            error *= 0.5 / share if harmful else 0.5 / (1 - share)
            slope = np.float32(error) * values + np.float32(_DECAY) * weights[places]
            squares[places] += slope * slope
            weights[places] -= np.float32(_RATE) * slope / np.sqrt(squares[places])
            bias_square += error * error
            bias -= 0.1 * error / bias_square ** 0.5
    return weights, float(bias)
