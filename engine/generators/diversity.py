"""How varied a set of examples is, without embeddings: words that recur, prompts that begin alike, neighbours that overlap, where it all
comes from. One plain dictionary for the page; nothing is judged, and no row is flagged.

Counts are over all examples, in one pass; what compares examples with one another works on an even sample, drawn by content so that the
same set gives the same report.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from engine.contract.rows import Example
from engine.generators.seen_prompts import SHINGLE, SeenPrompts
from engine.text import lots
from engine.text.cleaning import language
from engine.text.dedup import grams

SAMPLE = 2_000
"""Prompts whose nearest neighbour is looked for: four million comparisons."""
TOP = 30
CURVE = 40
"""Points of the type-token curve."""
NEAR = 0.8
LENGTHS = (0, 5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560)
"""Borders of the length histograms, in words."""
KEPT_WORDS = 4_000_000
"""Words that distinct-n and the curve are counted over; of more, the first of an even sample of prompts."""
_BATCH = 1024
_POLITE = frozenset("please kindly can could would will you i we hi hello hey bitte por favor s'il".split())


def report(examples: Iterable[Example], *, near: float = NEAR) -> dict[str, Any]:
    """
    count            examples
    distinct         {"1", "2", "3"}: different word sequences of prompts over all of them, 0..1; `answers` the same of answers
    curve            {"words", "kinds"}: different words among the first so many of the prompts
    overlap          {"sample", "mean", "median", "high": share of prompts whose nearest neighbour shares half of its sequences,
                      "histogram": 10 counts by similarity of the nearest neighbour}
    near_duplicates  {"share", "count", "threshold"}
    openings         [(first two words, count)], most frequent first; first_words: [(word, count)], courtesies aside
    opening_entropy  0 (all begin alike) .. 1 (all openings equally frequent)
    prompt_words, answer_words   {"borders", "counts", "median", "mean"}
    topics, kinds, sources, origins, languages, turns   [(value, count)]; what was not said counts as ""
    topic_spread, source_spread   0..1 evenness, None where there are fewer than two
    """
    prompts, answers = _Texts(), _Texts()
    seen, duplicates, count = SeenPrompts(near), 0, 0
    facts: dict[str, Counter[str]] = {name: Counter() for name in ("topics", "kinds", "sources", "origins", "languages", "turns")}
    first: Counter[str] = Counter()
    openings: Counter[str] = Counter()
    sample = _Sample(SAMPLE)
    for batch in _batches(examples):
        asked = ["\n".join(m.content for m in e.messages if m.role == "user") for e in batch]
        said = [next((m.content for m in reversed(e.messages) if m.role == "assistant"), "") for e in batch]
        count += len(batch)
        prompts.add(asked)
        answers.add(said)
        sample.add(asked)
        duplicates += sum(near is not None for near in seen.look(asked))
        for text in asked:
            opening = _opening(text)
            if opening:
                first[opening[0]] += 1
                openings[" ".join(opening)] += 1
        spoken = language.identify([f"{a}\n{b}" for a, b in zip(asked, said, strict=True)])
        for example, found in zip(batch, spoken, strict=True):
            facts["topics"][str(example.facts.get("topic", ""))] += 1
            facts["kinds"][str(example.facts.get("kind", ""))] += 1
            facts["sources"][str(example.facts.get("source") or example.facts.get("document") or "")] += 1
            facts["origins"][example.origin] += 1
            facts["languages"][found.code] += 1
            facts["turns"][str(sum(m.role == "user" for m in example.messages))] += 1
    made: dict[str, Any] = {
        "count": count, "distinct": prompts.distinct(), "distinct_answers": answers.distinct(), "curve": prompts.curve(),
        "overlap": _overlap(sample.texts()),
        "near_duplicates": {"count": duplicates, "share": duplicates / max(1, count), "threshold": near},
        "openings": openings.most_common(TOP), "first_words": first.most_common(TOP), "opening_entropy": evenness(openings.values()),
        "prompt_words": prompts.lengths(), "answer_words": answers.lengths(),
        "topic_spread": evenness(_named(facts["topics"])), "source_spread": evenness(_named(facts["sources"]))}
    made |= {name: counter.most_common(TOP) for name, counter in facts.items()}
    return made


def evenness(counts: Iterable[int]) -> float | None:
    """Entropy over its highest value: 1 where all occur equally often, near 0 where one has nearly everything; None for fewer than two."""
    values = np.array([c for c in counts if c], np.float64)
    if len(values) < 2:
        return None
    shares = values / values.sum()
    return float(-(shares * np.log(shares)).sum() / np.log(len(values)))


def _named(counter: Counter[str]) -> list[int]:
    return [count for name, count in counter.items() if name]


def _batches(examples: Iterable[Example]) -> Iterable[list[Example]]:
    batch: list[Example] = []
    for example in examples:
        batch.append(example)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _opening(text: str) -> list[str]:
    """The first two words of a prompt, courtesies aside: what it asks for, usually a verb or question word and what follows."""
    words = grams.words(text[:200])
    at = 0
    while at < len(words) - 1 and words[at] in _POLITE:
        at += 1
    return words[at:at + 2]


class _Texts:
    """Words of many texts, counted as they come."""

    def __init__(self) -> None:
        self._sizes: list[np.ndarray] = []
        self._words: list[np.ndarray] = []
        self._ends: list[np.ndarray] = []
        self._kept = 0

    def add(self, texts: Sequence[str]) -> None:
        hashes, offsets = grams.word_hashes(texts)
        self._sizes.append(grams.weight(hashes, offsets))
        if self._kept < KEPT_WORDS:
            self._words.append(hashes)
            self._ends.append(offsets[1:] + self._kept)
            self._kept += len(hashes)

    def distinct(self) -> dict[str, float]:
        words, offsets = self._all()
        made = {}
        for n in (1, 2, 3):
            if n == 1:
                found = words
            else:
                long = np.diff(offsets) >= n
                starts = grams.ranges_of(offsets[:-1][long], np.diff(offsets)[long] - n + 1)
                found = grams.span_hashes(words, starts, starts + n)
            made[str(n)] = len(np.unique(found)) / len(found) if len(found) else 0.0
        return made

    def curve(self) -> dict[str, list[int]]:
        words, _ = self._all()
        if not len(words):
            return {"words": [], "kinds": []}
        new = np.zeros(len(words), bool)
        new[np.unique(words, return_index=True)[1]] = True
        kinds = np.cumsum(new)
        points = np.unique(np.linspace(1, len(words), min(CURVE, len(words))).astype(np.int64))
        return {"words": points.tolist(), "kinds": kinds[points - 1].tolist()}

    def lengths(self) -> dict[str, Any]:
        sizes = np.concatenate([np.zeros(0), *self._sizes])
        counts = np.histogram(sizes, [*LENGTHS, np.inf])[0]
        return {"borders": list(LENGTHS), "counts": counts.tolist(), "median": float(np.median(sizes)) if len(sizes) else 0.0,
                "mean": float(sizes.mean()) if len(sizes) else 0.0}

    def _all(self) -> tuple[np.ndarray, np.ndarray]:
        return (np.concatenate([np.zeros(0, np.uint64), *self._words]),
                np.concatenate([np.zeros(1, np.int64), *self._ends]).astype(np.int64))


class _Sample:
    """So many texts of a stream, those whose hash is least: the same texts give the same sample in any order."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: list[tuple[int, int, str]] = []
        self._seen = 0

    def add(self, texts: Sequence[str]) -> None:
        for key, text in zip(lots.scattered(lots.of_texts(texts), "diversity").tolist(), texts, strict=True):
            self._seen += 1
            self._kept.append((key, self._seen, text))
        if len(self._kept) > 4 * self._size:
            self._kept = sorted(self._kept)[:self._size]

    def texts(self) -> list[str]:
        return [text for _, _, text in sorted(self._kept)[:self._size]]


def _overlap(texts: Sequence[str]) -> dict[str, Any]:
    """How much each text shares with the one it shares most with: Jaccard over sequences of three words."""
    nearest = nearest_similarity(texts)
    histogram = np.histogram(nearest, np.linspace(0, 1, 11))[0]
    return {"sample": len(texts), "mean": float(nearest.mean()) if len(nearest) else 0.0,
            "median": float(np.median(nearest)) if len(nearest) else 0.0, "high": float((nearest >= 0.5).mean()) if len(nearest) else 0.0,
            "histogram": histogram.tolist()}


def nearest_similarity(texts: Sequence[str]) -> np.ndarray:
    """float64 [texts]: similarity of each to its nearest other one, 0 to 1; exact, by an index of the sequences."""
    if len(texts) < 2:
        return np.zeros(0)
    values, ends = grams.grams(*grams.word_hashes(texts), SHINGLE)
    owner = np.repeat(np.arange(len(texts)), np.diff(ends))
    pairs = np.unique(np.stack([values, owner.astype(np.uint64)], 1), axis=0)
    values, owner = pairs[:, 0], pairs[:, 1].astype(np.int64)
    sizes = np.bincount(owner, minlength=len(texts))
    begins = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]])) if len(values) else np.zeros(0, np.int64)
    lengths = np.diff(np.append(begins, len(values)))
    shared = np.zeros((len(texts), len(texts)), np.int32)
    for begin, length in zip(begins[lengths > 1].tolist(), lengths[lengths > 1].tolist(), strict=True):
        mine = owner[begin:begin + length]
        shared[np.ix_(mine, mine)] += 1
    np.fill_diagonal(shared, 0)
    both = sizes[:, None] + sizes[None, :] - shared
    found: np.ndarray = np.divide(shared, both, out=np.zeros(shared.shape), where=both > 0).max(axis=1)
    return found
