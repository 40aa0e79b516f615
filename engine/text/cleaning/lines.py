"""Boilerplate: lines that stand in many documents, as menus, page headers and footers do. They are counted over the whole corpus first
(`count_lines`, part by part; `merge_lines`), then cut out (`RepeatedLines`).

Lines are compared without the spaces around them and with every number as one digit, so that "Page 9" and "Page 10" are one. Never cut:
lines without a letter ("}", "***", and "#### 72", which may be an answer), lines of more than 500 bytes, which are paragraphs (see
text/dedup), and anything in files of source code. Short lines are cut like others.

Memory is bounded whatever the corpus: a line is a 64-bit hash; a part's file holds its distinct lines sorted by hash, 16 bytes each,
with in how many of its documents each stands; merging goes through ranges of hashes, as many as keep one range of all parts in `memory`,
and reads only that range of each file. 50 million documents of 20 lines make 16 GB of such files at worst, and merging them holds 64 MB
at a time. Of the result, the lines in at least `threshold` documents, there can be no more than 1/threshold of that.
Two of a billion different lines share a hash with a probability of 3 %.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from engine.text.cleaning.draft import Draft
from engine.text.cleaning.excerpt import shown
from engine.text.cleaning.language import is_code
from engine.text.cleaning.mojibake import Mojibake
from engine.text.cleaning.stepping import changes, run, whole
from engine.text.cleaning.unicode import Unicode
from engine.text.cleaning.whitespace import WhiteSpace, tidy
from engine.text.parts import read_part

BEFORE = ("mojibake", "unicode", "whitespace")
"""The steps that run before boilerplate is cut out."""

LONGEST = 500
"""Bytes of a line that is counted."""
INDENTED = 64
"""Spaces around a line that are looked past."""
FREQUENT = 50
"""Lines listed in the report."""
RECORD = np.dtype([("line", np.uint64), ("documents", np.uint32), ("row", np.uint32)])
_BLOCK = 1 << 18


class Lines(NamedTuple):
    """The lines of some texts that can be boilerplate, in order: hash, the text's row, and the line's bytes [start, end) in the text's
    UTF-8, spaces around it included."""

    hashes: np.ndarray
    rows: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


def lines_of(texts: pa.Array) -> Lines:
    """Of large strings; about 100 MB/s."""
    none = np.zeros(0, np.int64)
    if not len(texts):
        return Lines(none.astype(np.uint64), none, none, none)
    ends_of_texts = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset:texts.offset + len(texts) + 1]
    first, last = int(ends_of_texts[0]), int(ends_of_texts[-1])
    if first == last:
        return Lines(none.astype(np.uint64), none, none, none)
    raw = np.frombuffer(texts.buffers()[2], np.uint8)
    breaks = np.flatnonzero(raw[first:last] == 10) + first
    starts = np.unique(np.concatenate((ends_of_texts[:-1], breaks + 1)))
    starts = starts[starts < last]
    rows = np.searchsorted(ends_of_texts, starts, "right") - 1
    ends = np.minimum(np.append(breaks, last)[np.searchsorted(breaks, starts)], ends_of_texts[rows + 1])
    whole = (ends > starts) & (ends - starts <= LONGEST + 2 * INDENTED)
    rows, starts, ends = rows[whole], starts[whole], ends[whole]
    inner, outer = starts.copy(), ends.copy()
    for _ in range(INDENTED):
        blank = (inner < outer) & ((raw[np.minimum(inner, last - 1)] == 32) | (raw[np.minimum(inner, last - 1)] == 9))
        if not blank.any():
            break
        inner += blank
    for _ in range(INDENTED):
        blank = (inner < outer) & ((raw[outer - 1] == 32) | (raw[outer - 1] == 9))
        if not blank.any():
            break
        outer -= blank
    fits = (outer > inner) & (outer - inner <= LONGEST)
    rows, starts, ends, inner, outer = rows[fits], starts[fits], ends[fits], inner[fits], outer[fits]
    hashes, lettered = np.empty(len(rows), np.uint64), np.empty(len(rows), bool)
    blocks = inner // _BLOCK
    bounds = np.flatnonzero(np.diff(blocks, prepend=-1, append=-1))
    for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        at = int(inner[low])
        hashes[low:high], lettered[low:high] = _hashes(raw[at:int(outer[high - 1])], inner[low:high] - at, outer[low:high] - at)
    base = ends_of_texts[rows]
    return Lines(*(column[lettered] for column in (hashes, rows, starts - base, ends - base)))


def _hashes(raw: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(uint64 hash, whether it has a letter) of each line: the sum of T[byte] * P^place modulo 2^64. One product with the powers
    serves all lines of a block; that of where a line begins is divided out."""
    powers, inverses, table, letters = _tables()
    digit = (raw >= 48) & (raw <= 57)
    stays = np.ones(len(raw), bool)
    stays[1:] = ~(digit[1:] & digit[:-1])
    stays[starts] = True
    place = np.concatenate(([0], np.cumsum(stays)))
    kept = np.where(digit, np.uint8(48), raw)[stays]
    starts, ends = place[starts], place[ends]
    # Neighbours in one array, as reduceat wants them; the last end may lie behind the last byte.
    pairs = np.stack((starts, ends), 1).ravel()
    sums = np.add.reduceat(np.append(table[kept] * powers[:len(kept)], np.uint64(0)), pairs)[::2]
    sums *= inverses[starts]
    sums += (ends - starts).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    sums ^= sums >> np.uint64(31)
    sums *= np.uint64(0xBF58476D1CE4E5B9)
    sums ^= sums >> np.uint64(29)
    said = letters[kept]
    # Lead bytes whose next byte decides: Han and kana but not their punctuation, forms of Arabic, letters beyond the basic plane.
    for lead, low, high in ((0xE3, 0x81, 0xBF), (0xEF, 0xA4, 0xBB), (0xF0, 0x90, 0x9E), (0xF0, 0xA0, 0xBF)):
        at = np.flatnonzero(kept[:-1] == lead)
        said[at] |= (kept[at + 1] >= low) & (kept[at + 1] <= high)
    return sums, np.add.reduceat(np.append(said, 0).astype(np.int32), pairs)[::2] > 0


@cache
def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    size = _BLOCK + LONGEST + 1
    prime = 0x9E3779B97F4A7C55 | 1
    table = np.frombuffer(b"".join(hashlib.blake2b(bytes([b]), digest_size=8).digest() for b in range(256)), "<u8").astype(np.uint64)
    letters = np.zeros(256, np.uint8)
    letters[[*range(65, 91), *range(97, 123), *range(0xC3, 0xE2), *range(0xE4, 0xEE)]] = 1
    return _powers(prime, size), _powers(pow(prime, -1, 1 << 64), size), table, letters


def _powers(base: int, size: int) -> np.ndarray:
    made = np.full(size, base, np.uint64)
    made[0] = 1
    return np.multiply.accumulate(made)


# ---- counting


def count(texts: pa.Array, sources: Sequence[str]) -> np.ndarray:
    """RECORD [distinct lines], sorted by hash: in how many of the texts each line stands, and the first of them. Source code is left
    out."""
    found = lines_of(texts)
    prose = ~np.fromiter((is_code(source) for source in sources), bool, len(sources))[found.rows]
    hashes, rows = found.hashes[prose], found.rows[prose]
    order = np.lexsort((rows, hashes))
    hashes, rows = hashes[order], rows[order]
    new = np.ones(len(hashes), bool)
    new[1:] = (hashes[1:] != hashes[:-1]) | (rows[1:] != rows[:-1])
    hashes, rows = hashes[new], rows[new]
    starts = np.flatnonzero(np.concatenate(([True], hashes[1:] != hashes[:-1]))) if len(hashes) else np.zeros(0, np.int64)
    made = np.empty(len(starts), RECORD)
    made["line"], made["row"] = hashes[starts], rows[starts]
    made["documents"] = np.diff(np.append(starts, len(hashes)))
    return made


def merge(counted: Sequence[Path], target: Path, threshold: int, memory: int = 64_000_000) -> int:
    """Lines that stand in at least `threshold` documents of all parts, into `target` (RECORD sorted by hash; `row` is the part where the
    line first occurs). Returns how many."""
    entries = [len(np.load(path, mmap_mode="r")) for path in counted]
    ranges = max(1, -(-sum(entries) * RECORD.itemsize * 4 // memory))     # sorting holds it about four times
    bounds = np.array([(i << 64) // ranges for i in range(1, ranges)], np.uint64)
    places, first = [], []
    for path, length in zip(counted, entries, strict=True):
        held = np.load(path, mmap_mode="r")
        places.append([0, *np.searchsorted(held["line"], bounds).tolist(), length])
        first.append(held.offset)
    made = []
    for i in range(ranges):
        # Read, not mapped: pages of a mapped file would count as this process's memory.
        pieces = [np.fromfile(path, RECORD, p[i + 1] - p[i], offset=at + p[i] * RECORD.itemsize)
                  for path, p, at in zip(counted, places, first, strict=True)]
        lines = np.concatenate([piece["line"] for piece in pieces] or [np.zeros(0, np.uint64)])
        documents = np.concatenate([piece["documents"] for piece in pieces] or [np.zeros(0, np.uint32)])
        parts = np.repeat(np.arange(len(pieces), dtype=np.uint32), [len(piece) for piece in pieces])
        order = np.argsort(lines, kind="stable")
        lines = lines[order]
        starts = np.flatnonzero(np.concatenate(([True], lines[1:] != lines[:-1]))) if len(lines) else np.zeros(0, np.int64)
        totals = np.add.reduceat(documents[order].astype(np.int64), starts) if len(lines) else np.zeros(0, np.int64)
        often = totals >= threshold
        out = np.empty(int(often.sum()), RECORD)
        out["line"], out["documents"], out["row"] = lines[starts[often]], totals[often], parts[order][starts[often]]
        made.append(out)
    result = np.concatenate(made)
    save(target, result)
    return len(result)


def save(path: Path, records: np.ndarray) -> None:
    """Whole or not at all."""
    aside = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    with open(aside, "wb") as file:
        np.save(file, records, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)


def most_frequent(boilerplate: np.ndarray) -> np.ndarray:
    """RECORD [up to FREQUENT], most documents first."""
    return boilerplate[np.lexsort((boilerplate["line"], -boilerplate["documents"].astype(np.int64)))[:FREQUENT]]


def save_plain(path: Path, value: Any) -> None:
    aside = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    aside.write_text(json.dumps(value, ensure_ascii=False), "utf-8")
    os.replace(aside, path)


# ---- part by part, resumable


@dataclass(frozen=True)
class LineJob:
    """A part of schema READ whose lines are counted into a file called as `target`, with the ending .lines. `before` names the steps that
    documents go through before boilerplate is cut out of them, so that the lines are those that will be met then."""

    source: Path
    target: Path
    before: tuple[str, ...] = BEFORE


def count_lines(job: LineJob) -> None:
    """Count the lines of one part. Left alone if it is done."""
    target = job.target.with_suffix(".lines")
    if not target.exists():
        table = read_part(job.source, ("text", "source"))
        save_plain(target.with_suffix(".json"), {"source": os.path.relpath(job.source, target.parent), "before": job.before})
        save(target, count(prepared(whole(table["text"]), job.before), table["source"].to_pylist()))


def merge_lines(folder: Path, threshold: int, memory: int = 64_000_000) -> tuple[Path, list[dict[str, Any]]]:
    """The boilerplate of all parts counted into a folder: (file for RepeatedLines.load, the most frequent lines for the report
    [{"line", "documents"}]). Both are kept, so that a resume gets them without merging again."""
    target, listed = folder / f"boilerplate-{threshold}.npy", folder / f"boilerplate-{threshold}.json"
    if not target.exists():
        counted = sorted(folder.glob("*.lines"))
        aside = folder / f"merging-{threshold}.npy"
        merge(counted, aside, threshold, memory)
        found = []
        for line, documents, part in most_frequent(np.load(aside, mmap_mode="r")).tolist():
            found.append({"line": shown(_line_text(counted[part], line)), "documents": documents})
        save_plain(listed, found)
        os.replace(aside, target)
    rows: list[dict[str, Any]] = json.loads(listed.read_text("utf-8"))
    return target, rows


def _line_text(counted: Path, line: int) -> str:
    """What a hash stands for, from the part where it occurs."""
    held = np.load(counted, mmap_mode="r")
    row = int(held[np.searchsorted(held["line"], np.uint64(line))]["row"])
    about = json.loads(counted.with_suffix(".json").read_text("utf-8"))
    table = read_part(counted.parent / about["source"], ("text",))
    text = prepared(whole(table.slice(row, 1)["text"]), about["before"])
    found = lines_of(text)
    at = int(np.flatnonzero(found.hashes == np.uint64(line))[0])
    return text[0].as_py().encode()[found.starts[at]:found.ends[at]].decode().strip()


def prepared(texts: pa.Array, before: Sequence[str]) -> pa.Array:
    """Texts after some of the steps of BEFORE."""
    steps = [kind() for kind in (Mojibake, Unicode, WhiteSpace) if kind.id in before]
    none = [""] * len(texts)
    return changes(texts, run(steps, texts, none, none, {}))[0]


# ---- cutting out


class RepeatedLines:
    """Cuts out the lines whose hashes are given (uint64, sorted)."""

    id = "repeated_lines"

    def __init__(self, hashes: np.ndarray) -> None:
        self.hashes = hashes

    @classmethod
    def load(cls, path: Path) -> "RepeatedLines":
        return cls(np.ascontiguousarray(np.load(path, mmap_mode="r")["line"]))

    def suspects(self, texts: pa.Array) -> np.ndarray:
        """bool [documents]: which hold a boilerplate line."""
        found = lines_of(texts)
        made = np.zeros(len(texts), bool)
        made[found.rows[self._known(found.hashes)]] = True
        return made

    def _known(self, hashes: np.ndarray) -> np.ndarray:
        if not len(self.hashes):
            return np.zeros(len(hashes), bool)
        at = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        return self.hashes[at] == hashes

    def __call__(self, draft: Draft) -> None:
        if is_code(draft.source):
            return
        found = lines_of(pa.array([draft.text], pa.large_string()))
        cut = self._known(found.hashes)
        if not cut.any():
            return
        raw, kept, at = draft.text.encode(), [], 0
        spans = list(zip(found.starts[cut].tolist(), found.ends[cut].tolist(), strict=True))
        for start, end in spans:
            kept.append(raw[at:start])
            at = end + 1
        kept.append(raw[at:])
        line = raw[spans[0][0]:spans[0][1]].decode()
        draft.touch(self.id, tidy(b"".join(kept).decode())[0], len(spans), shown(line[:80]), "")
