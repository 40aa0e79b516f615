"""Marks: numbers that stand for places in texts, so that texts with something in common have a mark in common; and which are repeated.

paragraphs   every paragraph of PARAGRAPH_WORDS and more, as the hash of its words
passages     some of a text's word sequences half as long as the passages that are looked for: of every window of so many neighbours the
             one with the least hash (winnowing, Schleimer et al. 2003), so that every common passage of that length has a mark in common

Marks of a part lie in one file a kind, sorted by hash; repeated ones are found through all parts in ranges of hashes, each as large as
memory allows. A hit is a place in a text with a place in the first text that has the mark. Marks that a text has in common with itself
only, in whatever parts it was cut, are no hits. (A passage whose halves stand in different earlier texts is met too, by the marks across
the seam; that none lies there has a probability of some 0.5 %.) 16 MB of text make about 4 MB of marks of passages of 50 words.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from engine.text.dedup import grams
from engine.text.dedup.signatures import chunks
from engine.text.parts import read_part

MARK = np.dtype([("hash", "<u8"), ("row", "<i4"), ("begin", "<i4"), ("end", "<i4")])
HIT = np.dtype([("document", "<i8"), ("begin", "<i4"), ("end", "<i4"), ("first", "<i8"), ("at", "<i4")])
"""Words begin:end of `document` stand in the earlier document `first` too, from its word `at` on. Documents are numbered through all."""
PARAGRAPH_WORDS = 15
"""Shorter ones are repeated by chance; characters of unspaced scripts count 5/12."""
ROW_BYTES = 100
"""Memory a mark takes while its range is sorted, if it is repeated."""
PARAGRAPHS, PASSAGES = "paragraphs", "passages"
_BREAK = re.compile(r"\n[^\S\n]*\n\s*")
_LINE = re.compile(r"\n+")


@dataclass(frozen=True)
class MarkJob:
    """One clean part; `kept` is an .npy bool [D] of all documents, those that are looked at. `words`: of a passage, 0 for none."""

    clean_part: Path
    kept: Path
    first: int
    folder: Path
    paragraphs: bool
    words: int


def mark_part(job: MarkJob) -> None:
    """Write the marks of one part, unless they are there."""
    targets = {kind: job.folder / f"{job.clean_part.stem}.{kind}.npy" for kind, on in
               ((PARAGRAPHS, job.paragraphs), (PASSAGES, job.words)) if on}
    if all(path.exists() for path in targets.values()):
        return
    texts = grams.as_array(read_part(job.clean_part, ["text"])["text"])
    rows = np.flatnonzero(np.load(job.kept, mmap_mode="r")[job.first:job.first + len(texts)])
    texts = texts.take(pa.array(rows))
    found: dict[str, list[np.ndarray]] = {kind: [] for kind in targets}
    for first, last in chunks(texts):
        some = texts[first:last]
        spans = grams.word_spans(some)
        for kind in targets:
            if kind == PARAGRAPHS:
                begins, ends, owners = _paragraphs(some, spans)
            else:
                begins, ends, owners = _winnowed(spans, job.words)
            made = np.zeros(len(begins), MARK)
            made["hash"] = grams.span_hashes(spans.hashes, begins, ends)
            made["row"] = rows[first + owners]
            made["begin"], made["end"] = begins - spans.offsets[owners], ends - spans.offsets[owners]
            found[kind].append(made)
    for kind, path in targets.items():
        marks = np.concatenate([np.zeros(0, MARK), *found[kind]])
        save(path, marks[np.argsort(marks["hash"], kind="stable")])


def _paragraphs(texts: pa.Array, spans: grams.Words) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(first word, word after the last, text) of paragraphs that are long enough: text between blank lines, or lines where a text has no
    blank ones. Words are counted through all texts."""
    assert spans.starts is not None
    begins: list[np.ndarray] = []
    ends: list[np.ndarray] = []
    owners: list[np.ndarray] = []
    for number, text in enumerate(texts.to_pylist()):
        a, b = int(spans.offsets[number]), int(spans.offsets[number + 1])
        if b - a < PARAGRAPH_WORDS or not text:
            continue
        cuts = [m.end() for m in _BREAK.finditer(text)] or [m.end() for m in _LINE.finditer(text)]
        edges = np.searchsorted(spans.starts[a:b], np.array([0, *cuts, len(text)])) + a
        begins.append(edges[:-1])
        ends.append(edges[1:])
        owners.append(np.full(len(edges) - 1, number))
    if not begins:
        none = np.zeros(0, np.int64)
        return none, none, none
    begin, end, owner = np.concatenate(begins), np.concatenate(ends), np.concatenate(owners)
    characters = np.concatenate([np.zeros(1, np.int64), np.cumsum(spans.hashes & np.uint64(1), dtype=np.int64)])
    unspaced = characters[end] - characters[begin]
    long = grams.WORD * (end - begin - unspaced) + grams.CHARACTER * unspaced >= grams.WORD * PARAGRAPH_WORDS
    return begin[long], end[long], owner[long]


def _winnowed(spans: grams.Words, words: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    size = words // 2
    starts, ends, _ = grams.gram_spans(spans.hashes, spans.offsets, size)
    if not len(starts):
        return starts, ends, starts
    hashes = grams.span_hashes(spans.hashes, starts, ends)
    window = min(words - size + 1, len(hashes))
    least = _sliding(hashes, window, np.minimum)
    none = np.zeros(window - 1, np.uint64)
    marked = _sliding(np.concatenate([none, least, none]), window, np.maximum) == hashes
    # In a run of equal sequences (a table of zeros) only the ends say something.
    inner = np.zeros(len(hashes), bool)
    inner[1:-1] = (hashes[1:-1] == hashes[:-2]) & (hashes[1:-1] == hashes[2:])
    chosen = np.flatnonzero(marked & ~inner)
    return starts[chosen], ends[chosen], np.searchsorted(spans.offsets, starts[chosen], "right") - 1


def _sliding(values: np.ndarray, window: int, of: np.ufunc) -> np.ndarray:
    """of.reduce over every `window` neighbours."""
    done = 1
    while done * 2 <= window:
        values = of(values[:-done], values[done:])
        done *= 2
    rest = window - done
    return of(values[:-rest], values[rest:]) if rest else values


def repeated(folder: Path, kind: str, names: Sequence[str], firsts: np.ndarray, texts: np.ndarray, memory_bytes: float,
             report: Callable[[int, int], None], check: Callable[[], None]) -> list[Path]:
    """Files of hits, each sorted by document, of the marks of all parts. names: stems of the parts; firsts: number of each part's first
    document; texts: int64 [documents], which documents are parts of one text, rising with their number."""
    marks = [np.load(folder / f"{name}.{kind}.npy", mmap_mode="r", allow_pickle=False) for name in names]
    total = sum(len(m) for m in marks)
    ranges = max(1, int(np.ceil(total * ROW_BYTES / memory_bytes)))
    paths: list[Path] = []
    for number in range(ranges):
        path = folder / f"hits-{kind}-{ranges}-{number:04d}.npy"
        paths.append(path)
        if not path.exists():
            check()
            low, high = ((1 << 64) * number // ranges, (1 << 64) * (number + 1) // ranges - 1)
            some, documents = [], []
            for part, of in enumerate(marks):
                a = np.searchsorted(of["hash"], np.uint64(low))
                b = np.searchsorted(of["hash"], np.uint64(high), "right")
                some.append(np.asarray(of[a:b]))
                documents.append(some[-1]["row"] + firsts[part])
            save(path, _hits(np.concatenate([np.zeros(0, MARK), *some]), np.concatenate([np.zeros(0, np.int64), *documents]), texts))
        report(number + 1, ranges)
    return paths


def _hits(marks: np.ndarray, documents: np.ndarray, texts: np.ndarray) -> np.ndarray:
    order = np.argsort(marks["hash"], kind="stable")
    hashes = marks["hash"][order]
    shared = np.zeros(len(order), bool)
    again = hashes[1:] == hashes[:-1]
    shared[1:] |= again
    shared[:-1] |= again
    order = order[shared]
    order = order[np.lexsort((marks["begin"][order], documents[order], marks["hash"][order]))]
    marks, documents = marks[order], documents[order]
    new = np.ones(len(marks), bool)
    new[1:] = marks["hash"][1:] != marks["hash"][:-1]
    head = np.maximum.accumulate(np.where(new, np.arange(len(marks)), 0)) if len(marks) else np.zeros(0, np.int64)
    of = np.flatnonzero(texts[documents] != texts[documents[head]])
    by = head[of]
    made = np.zeros(len(of), HIT)
    made["document"], made["begin"], made["end"] = documents[of], marks["begin"][of], marks["end"][of]
    made["first"], made["at"] = documents[by], marks["begin"][by]
    return made[np.lexsort((made["at"], made["first"], made["begin"], made["document"]))]


def hits_between(paths: Sequence[Path], low: int, high: int) -> np.ndarray:
    """Hits of documents low .. high - 1, sorted by document and place."""
    pieces = []
    for path in paths:
        hits = np.load(path, mmap_mode="r", allow_pickle=False)
        a, b = np.searchsorted(hits["document"], [low, high])
        pieces.append(np.asarray(hits[a:b]))
    every = np.concatenate([np.zeros(0, HIT), *pieces])
    return every[np.lexsort((every["at"], every["first"], every["begin"], every["document"]))]


def save(path: Path, array: np.ndarray) -> None:
    """Written aside and renamed."""
    aside = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    with open(aside, "wb") as file:
        np.lib.format.write_array(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
