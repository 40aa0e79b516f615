"""What goes into a recipe and what it plans: documents, seeds and topics in, rows out. A row is all that its asks need, as plain values, so
that a run that was killed plans the same rows again.

Nothing is asked here; how a row is answered is recipe_kinds.py's.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np

from engine.contract.rows import Document, Example
from engine.text.corpus import Corpus
from engine.text.lots import scattered


class Documents(Protocol):
    """Documents by number. `lengths`: int64 [len], of each, in any one unit."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> Document: ...
    def lengths(self) -> np.ndarray: ...


class CorpusDocuments:
    """The training documents of a corpus, read one by one when they are asked about. Validation documents stay unasked."""

    def __init__(self, corpus: Corpus, split: str = "train") -> None:
        self._corpus, self._split = corpus, split

    def __len__(self) -> int:
        return self._corpus.count(self._split)

    def __getitem__(self, number: int) -> Document:
        return self._corpus.document(self._split, number)

    def lengths(self) -> np.ndarray:
        found: np.ndarray = self._corpus.lengths(self._split)
        return found


class ListedDocuments:
    """Documents in memory."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self._documents = documents

    def __len__(self) -> int:
        return len(self._documents)

    def __getitem__(self, number: int) -> Document:
        return self._documents[number]

    def lengths(self) -> np.ndarray:
        return np.array([len(d.text.encode()) for d in self._documents], np.int64)


@dataclass(frozen=True)
class RecipeInputs:
    """`language` in words, "" for the text's own. `count` rows are planned at most. The same inputs plan the same rows."""

    documents: Documents = field(default_factory=lambda: ListedDocuments(()))
    seeds: Sequence[Example] = ()
    topics: tuple[str, ...] = ()
    language: str = ""
    count: int = 200
    seed: int = 0


@dataclass(frozen=True)
class Row:
    """One row of a plan. `id` is unique in its run, and `seed` in all likelihood; `given` holds plain values; `wanted` examples may come of
    it at most."""

    id: str
    number: int
    seed: int
    given: dict[str, Any]
    wanted: int = 1


@dataclass(frozen=True)
class Writing:
    """How a row is written.

    second, judge   whether there is a second responder, and a judge
    rubric          instead of the recipe's own, if not empty
    margin          judged answers nearer than this are a tie
    lowest_score    a best answer below it is set aside
    keep_thinking   what a model thought aloud goes before its answer, in think tags
    prefix          before each example's id: the run's, so that no two runs share ids
    """

    temperature: float = 0.7
    max_tokens: int = 512
    second: bool = False
    judge: bool = False
    rubric: str = ""
    margin: float = 1.0
    lowest_score: float = 0.0
    keep_rejected: bool = True
    keep_thinking: bool = False
    prefix: str = ""


def make(inputs: RecipeInputs, number: int, given: dict[str, Any], wanted: int = 1) -> Row:
    given = {"language": inputs.language, **given}
    return Row(f"{number:07d}", number, number_of(inputs.seed, "row", number), given, wanted)


def number_of(*parts: object) -> int:
    """An integer below 2^31 that depends on all parts, the same on every machine."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=4).digest(), "little") >> 1


def shuffled(count: int, *parts: object) -> np.ndarray:
    """0 .. count - 1 in an order that depends on the parts: int64 [count]."""
    return np.argsort(scattered(np.arange(count, dtype=np.uint64), repr(parts)), kind="stable")


def picks(seeds: Sequence[Any], number: int, count: int, seed: int) -> list[Any]:
    """`count` of the seeds for the row of this number. All are used about equally often, in ever new company."""
    if not seeds:
        return []
    count = min(count, len(seeds))
    first = number * count
    found: list[int] = []
    at = first
    while len(found) < count:
        turn, place = divmod(at, len(seeds))
        order = _order(len(seeds), seed, turn)
        if (pick := order[place]) not in found:
            found.append(pick)
        at += 1
    return [seeds[i] for i in found]


def _order(count: int, seed: int, turn: int) -> list[int]:
    key = (count, seed, turn)
    if key not in _orders:
        while len(_orders) > 8:
            _orders.pop(next(iter(_orders)))
        order = list(range(count))
        random.Random(number_of("picks", *key)).shuffle(order)
        _orders[key] = order
    return _orders[key]


_orders: dict[tuple[int, int, int], list[int]] = {}


def cycled(items: Sequence[Any], seed: int) -> Iterator[tuple[int, Any]]:
    """(turn, item): all items again and again, in another order each turn."""
    turn = 0
    while items:
        for place in shuffled(len(items), "cycled", seed, turn).tolist():
            yield turn, items[place]
        turn += 1
