"""Repeated paragraphs and long repeated passages are cut out of all documents but the first that has them.

1. Marks of every part (marks.py), in several processes; which marks are repeated, in ranges of hashes.
2. Passages: the words of all documents with a hit go to disk as 32-bit numbers; each hit is then extended to the left and to the right
   for as long as the words are the same, and counts from `words` words on (cf. Lee et al. 2022, who use a suffix array of everything).
   A paragraph is as long as it is.
3. Every part is written once more, same rows in the same order, without those pieces. Punctuation that hangs on a piece goes with it, and
   what is left is joined by the white space that was there. A document of which no word is left is removed.

Whatever is cut stands, word for word, in an earlier text, and there it stays or stands in one that is earlier still: nothing is lost;
letter case and punctuation are all that may differ. Removed documents take no part. Each phase takes the files that are there already.

Memory: one part and its words (about 200 MB a process), `memory_bytes` for the hits, 9 bytes a document; the words on disk are mapped.
"""

import json
import os
import shutil
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from engine.text.cleaning.excerpt import LENGTH, shown
from engine.text.dedup import grams
from engine.text.dedup.marks import PARAGRAPHS, PASSAGES, MarkJob, hits_between, mark_part, repeated, save
from engine.text.dedup.signatures import chunks
from engine.text.parts import CLEAN, Parts, read_part, write_part
from engine.text.pool import each

STEPS = {PARAGRAPHS: "repeated_paragraphs", PASSAGES: "repeated_passages"}
NOTHING_LEFT = "repeated_passages"
"""Step of documents of which nothing is left; the rule is the step that cut most of it."""
EXAMPLES = 20
TRIES = 64
"""Places of one document in one other that lie within pieces already found, and are followed all the same."""


@dataclass(frozen=True)
class PassageSettings:
    """words: of passages, 0 where they are not looked for."""

    paragraphs: bool = False
    words: int = 0

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "PassageSettings":
        """From the plain values of a corpus spec."""
        return cls(bool(settings.get("repeated_paragraphs", False)),
                   int(settings.get("passage_words", 50)) if settings.get("repeated_passages", False) else 0)

    @property
    def any(self) -> bool:
        return self.paragraphs or self.words > 0


@dataclass
class Passages:
    """
    parts    the documents, without what was cut
    steps    step -> {"documents": changed, "edits": pieces cut, "words": cut, "examples": [{"number", "source", "before", "after", "rule",
             "first"}]}; `first` is the document that keeps the piece
    emptied  int64: documents that are removed since nothing is left of them
    """

    parts: Parts
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)
    emptied: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


def cut(clean: Path, folder: Path, kept: np.ndarray, settings: PassageSettings, *, processes: int = 0,
        report: Callable[[str, int, int], None] = lambda phase, done, total: None, check: Callable[[], None] = lambda: None,
        memory_bytes: float = 5e8) -> Passages:
    """Cut what is repeated out of the clean parts in `clean` into new parts in `folder/parts`. kept: bool [documents], those that are kept
    so far. `report(phase, done, total)` with the phases mark, match, words, cut; `check` may raise to stop."""
    assert settings.any
    parts = Parts(clean)
    assert len(kept) == parts.documents
    out = folder / "parts"
    out.mkdir(parents=True, exist_ok=True)
    firsts = np.array([parts.first(i) for i in range(len(parts.paths))], np.int64)
    kept_path = folder / "kept.npy"
    if not kept_path.exists():
        save(kept_path, np.asarray(kept, bool))
    names = [path.stem for path in parts.paths]
    marking = [MarkJob(path, kept_path, int(first), folder, settings.paragraphs, settings.words)
               for path, first in zip(parts.paths, firsts, strict=True)]
    for done, _ in enumerate(each(mark_part, marking, processes, check=check), 1):
        report("mark", done, len(names))

    texts = _texts(parts)
    hits: dict[str, tuple[Path, ...]] = {}
    for kind in [k for k, on in ((PARAGRAPHS, settings.paragraphs), (PASSAGES, settings.words)) if on]:
        hits[kind] = tuple(repeated(folder, kind, names, firsts, texts, memory_bytes,
                                    lambda done, total: report("match", done, total), check))
    del texts
    words = folder / "words"
    if settings.words:
        words.mkdir(exist_ok=True)
        involved = _involved(hits[PASSAGES], parts.documents)
        save(folder / "involved.npy", involved)
        wanted = [WordsJob(path, folder / "involved.npy", int(first), words) for path, first in zip(parts.paths, firsts, strict=True)]
        for done, _ in enumerate(each(write_words, wanted, processes, check=check), 1):
            report("words", done, len(names))
    jobs = [CutJob(path, out / path.name, length, tuple(firsts.tolist()), tuple(names), words, hits, settings.words)
            for path, length in zip(parts.paths, parts.lengths, strict=True)]
    counts: dict[int, dict[str, Any]] = {}
    for done, (number, result) in enumerate(each(cut_part, jobs, processes, check=check), 1):
        counts[number] = result
        report("cut", done, len(names))
    shutil.rmtree(words, ignore_errors=True)
    return _merged(Parts(out), [counts[i] for i in sorted(counts)], settings)


def _merged(parts: Parts, counts: list[dict[str, Any]], settings: PassageSettings) -> Passages:
    steps: dict[str, dict[str, Any]] = {}
    for kind, on in ((PARAGRAPHS, settings.paragraphs), (PASSAGES, settings.words)):
        if on:
            mine = [c["steps"][STEPS[kind]] for c in counts]
            steps[STEPS[kind]] = {name: sum(m[name] for m in mine) for name in ("documents", "edits", "words")} | {
                "examples": [e for m in mine for e in m["examples"]][:EXAMPLES]}
    return Passages(parts, steps, np.array([n for c in counts for n in c["emptied"]], np.int64))


def _texts(parts: Parts) -> np.ndarray:
    """int64 [documents]: rises by one with each text; the parts of a long one follow each other and share it."""
    made = np.zeros(parts.documents, np.int64)
    last: tuple[int, ...] | None = None
    for first, table in parts.tables(["root", "file", "document"]):
        if not len(table):
            continue
        columns = [table[c].to_numpy() for c in ("root", "file", "document")]
        new = np.ones(len(table), bool)
        new[1:] = np.any([c[1:] != c[:-1] for c in columns], axis=0)
        new[0] = last is None or tuple(int(c[0]) for c in columns) != last
        last = tuple(int(c[-1]) for c in columns)
        made[first:first + len(table)] = new
    return np.cumsum(made)


# ---- words of the documents with hits


@dataclass(frozen=True)
class WordsJob:
    clean_part: Path
    involved: Path
    first: int
    folder: Path


def _involved(paths: tuple[Path, ...], documents: int) -> np.ndarray:
    made = np.zeros(documents, bool)
    for path in paths:
        hits = np.load(path, mmap_mode="r", allow_pickle=False)
        for start in range(0, len(hits), 1 << 20):
            some = np.asarray(hits[start:start + (1 << 20)])
            made[some["document"]] = made[some["first"]] = True
    return made


def write_words(job: WordsJob) -> None:
    """uint32 numbers of the words of a part's involved documents, and where each document's begin (rows not involved have none). The lowest
    bit is that of the words' hashes."""
    target = job.folder / f"{job.clean_part.stem}.words.npy"
    if target.exists():
        return
    texts = grams.as_array(read_part(job.clean_part, ["text"])["text"])
    rows = np.flatnonzero(np.load(job.involved, mmap_mode="r")[job.first:job.first + len(texts)])
    counts = np.zeros(len(texts), np.int64)
    found = [np.zeros(0, np.uint32)]
    chosen = texts.take(pa.array(rows))
    for first, last in chunks(chosen):
        hashes, offsets = grams.word_hashes(chosen[first:last])
        counts[rows[first:last]] = np.diff(offsets)
        found.append((hashes >> np.uint64(32)).astype(np.uint32) & np.uint32(0xFFFFFFFE) | (hashes & np.uint64(1)).astype(np.uint32))
    save(job.folder / f"{job.clean_part.stem}.begins.npy", np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]))
    save(target, np.concatenate(found))


class _Words:
    """Words of documents by number, mapped from disk."""

    def __init__(self, folder: Path, names: Sequence[str], firsts: Sequence[int]) -> None:
        self.folder, self.names, self.firsts = folder, names, firsts
        self._open: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __call__(self, number: int) -> np.ndarray:
        part = bisect_right(self.firsts, number) - 1
        if part not in self._open:
            if len(self._open) > 64:
                self._open.clear()
            # Plain arrays over the mapped files: slices of np.memmap cost ten times as much.
            begins, words = (np.asarray(np.load(self.folder / f"{self.names[part]}.{what}.npy", mmap_mode="r"))
                             for what in ("begins", "words"))
            self._open[part] = begins, words
        begins, words = self._open[part]
        row = number - self.firsts[part]
        return words[int(begins[row]):int(begins[row + 1])]


# ---- pieces


Piece = tuple[int, int, int]
"""Words begin:end, and the document that keeps them."""


def passages_of(hits: np.ndarray, words_of: Callable[[int], np.ndarray], least: int) -> list[Piece]:
    """Hits of one document extended to the longest equal passages, those of `least` words and more."""
    mine = words_of(int(hits["document"][0]))
    weights = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.where(mine & np.uint32(1), grams.CHARACTER, grams.WORD))])
    shift = hits["begin"].astype(np.int64) - hits["at"]
    order = np.lexsort((hits["begin"], shift, hits["first"]))
    first, begin, end = hits["first"][order].tolist(), hits["begin"][order].tolist(), hits["end"][order].tolist()
    at, moved = hits["at"][order].tolist(), shift[order].tolist()
    made: list[Piece] = []
    tries: dict[int, int] = {}
    covered = np.zeros(len(mine) + 1, bool)
    line, until = (-1, 0), 0
    for i in range(len(first)):
        if (first[i], moved[i]) == line and end[i] <= until:
            continue        # within the passage just found
        if covered[begin[i]:end[i]].all():
            # Already to be cut. Longer matches may begin here, but where words repeat themselves there is no end of them.
            tries[first[i]] = tries.get(first[i], 0) + 1
            if tries[first[i]] > TRIES:
                continue
        theirs = words_of(first[i])
        left = _common(mine[:begin[i]][::-1], theirs[:at[i]][::-1])
        right = _common(mine[begin[i]:], theirs[at[i]:])
        a, b = begin[i] - left, begin[i] + right
        line, until = (first[i], moved[i]), b
        if weights[b] - weights[a] >= grams.WORD * least:
            made.append((a, b, first[i]))
            covered[a:b] = True
    return made


def _common(a: np.ndarray, b: np.ndarray) -> int:
    """How many numbers two arrays have in common from their beginning on."""
    size = min(len(a), len(b))
    at, step = 0, 256
    while at < size:
        different = np.flatnonzero(a[at:min(size, at + step)] != b[at:min(size, at + step)])
        if len(different):
            return at + int(different[0])
        at += step
        step *= 4
    return size


def joined(pieces: list[Piece]) -> list[Piece]:
    """Pieces that overlap or touch as one, named after the longest of them."""
    made: list[Piece] = []
    longest = 0
    for a, b, first in sorted(pieces):
        if made and a <= made[-1][1]:
            before = made[-1]
            if b - a > longest:
                longest, before = b - a, (before[0], before[1], first)
            made[-1] = (before[0], max(b, before[1]), before[2])
        else:
            made.append((a, b, first))
            longest = b - a
    return made


def without(text: str, spans: list[tuple[int, int]]) -> str:
    """The text without these spans of characters, in order. Punctuation that hangs on a span goes with it; of the white space before and
    after it the one that breaks the text more stays."""
    made = ""
    at = 0
    for low, high in spans:
        low = _with_opening(text, low, at)
        while high < len(text) and _is_closing(text[high]):
            high += 1
        made += text[at:low]
        at = high
        while at < len(text) and text[at].isspace():
            at += 1
        body = made.rstrip()
        gaps = (made[len(body):], text[high:at])
        made = body + max(gaps, key=lambda gap: (gap.count("\n"), len(gap))) if body else ""
    return made + text[at:] if at < len(text) else made.rstrip()


def _with_opening(text: str, low: int, at: int) -> int:
    """Where the opening quotes, brackets or list marks before a place begin, `at` at the earliest."""
    line = max(at, text.rfind("\n", at, low) + 1)
    if not any(sign.isalnum() for sign in text[line:low]):
        return line
    while low > line and (unicodedata.category(text[low - 1]) in ("Ps", "Pi") or text[low - 1] in "\"'"):
        low -= 1
    return low


def _is_closing(sign: str) -> bool:
    kind = unicodedata.category(sign)
    return kind[0] == "P" and kind not in ("Ps", "Pi")


# ---- one part


@dataclass(frozen=True)
class CutJob:
    """A part to be written once more. firsts and names are those of all parts, hits the files of each kind."""

    clean_part: Path
    target: Path
    documents: int
    firsts: tuple[int, ...]
    names: tuple[str, ...]
    words: Path
    hits: dict[str, tuple[Path, ...]]
    least: int


def cut_part(job: CutJob) -> dict[str, Any]:
    """Write a part without its repeated pieces; what was counted lies beside it. A part that is there already is left."""
    counted = job.target.with_suffix(".json")
    if job.target.exists():
        found: dict[str, Any] = json.loads(counted.read_text("utf-8"))
        return found
    first = job.firsts[job.names.index(job.clean_part.stem)]
    words = _Words(job.words, job.names, job.firsts)
    pieces: dict[int, dict[str, list[Piece]]] = {}
    for kind, paths in job.hits.items():
        hits = hits_between(paths, first, first + job.documents)
        borders = [0, *(np.flatnonzero(np.diff(hits["document"])) + 1).tolist(), len(hits)]
        for a, b in pairwise(borders):
            if kind == PASSAGES and b > a:
                mine = passages_of(hits[a:b], words, job.least)
            else:
                mine = list(zip(*(hits[a:b][name].tolist() for name in ("begin", "end", "first")), strict=True))
            if mine:
                pieces.setdefault(int(hits["document"][a]) - first, {})[kind] = joined(mine)
    counts: dict[str, Any] = {"steps": {STEPS[kind]: {"documents": 0, "edits": 0, "words": 0, "examples": []} for kind in job.hits},
                              "emptied": []}
    made = _rewritten(read_part(job.clean_part), pieces, first, counts) if pieces else None
    counted.write_text(json.dumps(counts), "utf-8")
    if made is not None:
        write_part(job.target, made)
        return counts
    aside = job.target.with_name(f".tmp-{job.target.name}-{os.getpid()}")
    shutil.copyfile(job.clean_part, aside)
    os.replace(aside, job.target)
    return counts


def _rewritten(table: pa.Table, pieces: dict[int, dict[str, list[Piece]]], first: int, counts: dict[str, Any]) -> pa.Table:
    rows = sorted(pieces)
    texts, originals = table["text"].to_pylist(), table["original"].to_pylist()
    touched, steps, rules = (table[name].to_pylist() for name in ("touched", "step", "rule"))
    sources = table["source"]
    spans = grams.word_spans([texts[row] for row in rows])
    assert spans.starts is not None and spans.ends is not None
    for i, row in enumerate(rows):
        a, b = int(spans.offsets[i]), int(spans.offsets[i + 1])
        starts, ends = spans.starts[a:b], spans.ends[a:b]
        text, by = texts[row], pieces[row]
        whole = by.get(PARAGRAPHS, [])
        # A passage within a paragraph that goes anyway is that paragraph's cut.
        inside = {kind: [p for p in mine if kind == PARAGRAPHS or not any(q[0] <= p[0] and p[1] <= q[1] for q in whole)]
                  for kind, mine in by.items()}
        every = joined([p for mine in inside.values() for p in mine])
        left = without(text, [(int(starts[p[0]]), int(ends[p[1] - 1])) for p in every])
        cuts = {kind: sum(p[1] - p[0] for p in mine) for kind, mine in inside.items() if mine}
        for kind, count in cuts.items():
            step = counts["steps"][STEPS[kind]]
            step["documents"] += 1
            step["edits"] += len(inside[kind])
            step["words"] += count
            if len(step["examples"]) < EXAMPLES:
                p = inside[kind][0]
                begins, stops = int(starts[p[0]]), int(ends[p[1] - 1])
                step["examples"].append({"number": first + row, "source": sources[row].as_py() or "", "rule": STEPS[kind], "after": "",
                    "before": shown(text[begins:min(stops, begins + LENGTH)]) + ("…" if stops > begins + LENGTH else ""), "first": p[2]})
        if sum(p[1] - p[0] for p in every) == b - a:
            steps[row], rules[row] = NOTHING_LEFT, STEPS[max(cuts, key=lambda kind: cuts[kind])]
            counts["emptied"].append(first + row)
            continue        # its text stays as it was when it was removed
        if originals[row] is None:
            originals[row] = text
        texts[row] = left
        touched[row] = [*(touched[row] or []), *(STEPS[kind] for kind in cuts)]
    for name, values in (("text", texts), ("original", originals), ("touched", touched), ("step", steps), ("rule", rules)):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, CLEAN.field(name), pa.array(values, CLEAN.field(name).type))
    return table
