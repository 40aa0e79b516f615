"""Documents that hold what the model will be tested on: word sequences that they share with held-out sets, or with the validation split.

The rule (after GPT-3: Brown et al. 2020, appendix C)
- An item is found in a document when they share a sequence of n words (13 as there), letter case, punctuation and white space aside; 12n/5
  characters where words are not spaced (grams.py). Question, answer and other fields of an item count each by itself. Of an item without a
  field that long, those of 8 words and more are found when the document has them whole; what is shorter still is not looked for, and is
  counted.
- Common phrases are no evidence. A sequence that stands in more than 10 items is left out, and so is one that stands in more than 10
  documents. Unlike there, a document that holds half of an item or more is not counted for the latter: a test set that was copied
  twenty times is still found.
- A row says which document, which item, what share of the item's sequences it has, and the longest passage they have in common.

`find` does it all over clean parts, with several processes; a part that is done is not scanned again. `validation_overlap` does the same
with the documents of the validation split as items: it says what of it stands in training documents, although no near duplicate does.

It removes nothing. Paraphrases and translations are not found.
"""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.contract.errors import InputError
from engine.contract.words import tr
from engine.text import pool
from engine.text.dedup.grams import gram_spans, grams, span_hashes, weight, word_hashes, word_spans
from engine.text.dedup.held_out_rows import Item, read_items
from engine.text.parts import Parts, read_part, write_part

WORDS = 13
SHORT = 8
"""Words of the shortest text that is looked for (whole)."""
COMMON_ITEMS = COMMON_DOCUMENTS = 10
SHOWN = 240
"""Characters of a common passage that are shown."""
LONG = 50
"""Words of a sequence that a training and a validation document are told to share."""
KEPT_SEQUENCES = 16_000_000
"""Sequences of validation documents that are kept; of more, an even sample by hash is."""
_SCANNED = 4_000_000
"""Characters that are scanned at once."""

FOUND = pa.schema([("row", pa.int64()), ("item", pa.int64()), ("sequences", pa.list_(pa.int64())), ("words", pa.string())])


@dataclass(frozen=True)
class HeldOut:
    """G sequences of I items, sorted.

    value_G         uint64, hashes of the sequences, ascending
    item_P, begin_G items of each sequence: item_P[begin_G[g]:begin_G[g + 1]]; begin has G + 1 entries
    total_I         how many sequences each item has
    whole_I         bool: short, and found only when all its sequences are
    names, sets     of the items; names is empty where items are numbers of documents, in number_I
    """

    n: int
    value_G: np.ndarray
    begin_G: np.ndarray
    item_P: np.ndarray
    total_I: np.ndarray
    whole_I: np.ndarray
    names: tuple[str, ...]
    sets: tuple[str, ...]
    number_I: np.ndarray
    short: int = 0
    common: int = 0
    modulus: int = 1
    _quick: list[np.ndarray] = field(default_factory=list, repr=False, compare=False)

    @classmethod
    def load(cls, paths: Sequence[str | Path], n: int = WORDS) -> "HeldOut":
        """Of files and folders. InputError when nothing in them is long enough to be looked for."""
        made = cls.of_items(read_items(paths), n)
        if not len(made.value_G):
            raise InputError(tr("The held-out sets hold no text of {count} words or more.", count=min(n, SHORT)),
                             tr("Choose files with the problems themselves."), field="held_out", code="empty_held_out")
        return made

    @classmethod
    def of_items(cls, items: Iterable[Item], n: int = WORDS) -> "HeldOut":
        names: list[str] = []
        sets: list[str] = []
        wholes: list[bool] = []
        values: list[np.ndarray] = []
        owners: list[np.ndarray] = []
        seen: set[tuple[str, ...]] = set()
        short = 0
        for batch in _batched(items):
            for item, (value, whole) in zip(batch, _of_fields([item.fields for item in batch], n), strict=True):
                if item.fields in seen:
                    continue
                seen.add(item.fields)
                if not len(value):
                    short += 1
                    continue
                owners.append(np.full(len(value), len(names)))
                values.append(value)
                names.append(item.name)
                sets.append(item.set)
                wholes.append(whole)
        return cls._of(n, _joined(values, np.uint64), _joined(owners, np.int64), np.array(wholes, bool), tuple(names), tuple(sets),
                       np.arange(len(names)), short)

    @classmethod
    def _of(cls, n: int, value_S: np.ndarray, owner_S: np.ndarray, whole_I: np.ndarray, names: tuple[str, ...], sets: tuple[str, ...],
            number_I: np.ndarray, short: int = 0, modulus: int = 1) -> "HeldOut":
        """From S pairs (sequence, item), in any order."""
        order = np.lexsort((owner_S, value_S))
        value_S, owner_S = value_S[order], owner_S[order]
        new = np.ones(len(value_S), bool)
        new[1:] = (value_S[1:] != value_S[:-1]) | (owner_S[1:] != owner_S[:-1])
        value_S, owner_S = value_S[new], owner_S[new]
        value_G, begin, counts = np.unique(value_S, return_index=True, return_counts=True)
        rare = counts <= COMMON_ITEMS
        keep = np.repeat(rare, counts)
        return cls(n, value_G[rare], np.concatenate([np.zeros(1, np.int64), np.cumsum(counts[rare])]), owner_S[keep],
                   np.bincount(owner_S[keep], minlength=len(whole_I)), whole_I, names, sets, number_I, short, int((~rare).sum()), modulus)

    def find(self, value_S: np.ndarray) -> np.ndarray:
        """Number of each hash among the sequences, -1 where it is none of them."""
        found = np.full(len(value_S), -1, np.int64)
        if not len(self.value_G):
            return found
        bits = min(27, max(16, int(16 * len(self.value_G)).bit_length()))
        shift = np.uint64(64 - bits)
        if not self._quick:
            quick = np.zeros(1 << bits, bool)
            quick[self.value_G >> shift] = True
            self._quick.append(quick)
        maybe = np.flatnonzero(self._quick[0][value_S >> shift])
        at = np.searchsorted(self.value_G, value_S[maybe])
        hit = self.value_G[np.minimum(at, len(self.value_G) - 1)] == value_S[maybe]
        found[maybe[hit]] = at[hit]
        return found

    @property
    def sizes(self) -> tuple[int, ...]:
        """Words of the sequences that are compared."""
        return (self.n, SHORT) if self.whole_I.any() and SHORT < self.n else (self.n,)

    def name(self, item: int) -> str:
        return self.names[item] if self.names else str(self.number_I[item])

    def save(self, path: Path) -> None:
        """One file, aside and renamed; no pickle in it."""
        aside = path.with_name(f".tmp-{path.name}-{os.getpid()}")
        words = json.dumps({"n": self.n, "short": self.short, "common": self.common, "modulus": self.modulus, "names": self.names,
                            "sets": self.sets})
        with open(aside, "wb") as file:
            np.savez(file, value=self.value_G, begin=self.begin_G, item=self.item_P, total=self.total_I, whole=self.whole_I,
                     number=self.number_I, words=np.frombuffer(words.encode("utf-8", "surrogatepass"), np.uint8))
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)

    @classmethod
    def open(cls, path: Path) -> "HeldOut":
        with np.load(path, allow_pickle=False) as file:
            words = json.loads(file["words"].tobytes().decode("utf-8", "surrogatepass"))
            return cls(words["n"], file["value"], file["begin"], file["item"], file["total"], file["whole"], tuple(words["names"]),
                       tuple(words["sets"]), file["number"], words["short"], words["common"], words["modulus"])


@lru_cache(maxsize=1)
def _opened(path: Path, stamp: int) -> HeldOut:
    return HeldOut.open(path)


def opened(path: Path) -> HeldOut:
    """What was saved there; kept for the next call, since a process is asked many times."""
    return _opened(path, path.stat().st_mtime_ns)


def _batched(items: Iterable[Item], size: int = 1000) -> Iterable[list[Item]]:
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) >= size:
            yield batch
            batch = []
    if batch:
        yield batch


def _of_fields(items: Sequence[tuple[str, ...]], n: int) -> list[tuple[np.ndarray, bool]]:
    """(sequences, whether it is short) of each item: of its fields of n words and more, or else whole of those of SHORT words and more."""
    texts = [text for fields in items for text in fields]
    hashes, offsets = word_hashes(texts)
    lengths = weight(hashes, offsets)
    long, long_offsets = grams(hashes, offsets, n)
    brief, brief_offsets = grams(hashes, offsets, SHORT)
    made: list[tuple[np.ndarray, bool]] = []
    first = 0
    for fields in items:
        numbers = range(first, first + len(fields))
        first += len(fields)
        enough = [t for t in numbers if lengths[t] >= n]
        fair = [t for t in numbers if lengths[t] >= SHORT]
        if enough or n <= SHORT:
            made.append((_joined([long[long_offsets[t]:long_offsets[t + 1]] for t in enough], np.uint64), False))
        else:
            made.append((_joined([brief[brief_offsets[t]:brief_offsets[t + 1]] for t in fair], np.uint64), bool(fair)))
    return made


def _joined(pieces: Sequence[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate([np.zeros(0, kind), *pieces])


# ---- one part


class Hit(NamedTuple):
    """A document with an item: its row, the item, which of the item's sequences, the longest common passage as it stands there."""

    row: int
    item: int
    sequences: np.ndarray
    words: str


@dataclass(frozen=True)
class OverlapJob:
    """`part`: a clean part. `target`: where the finds go. `rows`: which rows are looked at; None: all that no step removed."""

    part: Path
    target: Path
    held_out_file: Path
    rows: np.ndarray | None = None


def overlap_part(job: OverlapJob) -> int:
    """Write what the documents of a part share with the held-out items (FOUND); their number. Nothing to do where the target exists."""
    if job.target.exists():
        return _rows_of(job.target)
    held = opened(job.held_out_file)
    rows, texts = _texts(job.part, job.rows)
    hits = [hit for start, stop in _slices(texts) for hit in scan(texts.slice(start, stop - start), held, rows[start:stop])]
    write_part(job.target, {"row": [h.row for h in hits], "item": [h.item for h in hits], "sequences": [h.sequences for h in hits],
                            "words": [h.words for h in hits]}, FOUND)
    return len(hits)


def _rows_of(path: Path) -> int:
    return read_part(path, ["row"]).num_rows


def _texts(part: Path, wanted: np.ndarray | None) -> tuple[np.ndarray, pa.Array]:
    """(row numbers, texts) of a part's documents that are looked at."""
    table = read_part(part, ["text", "step"])
    rows = np.asarray(wanted, np.int64) if wanted is not None else np.flatnonzero(pc.is_null(table["step"]).to_numpy())
    texts = table["text"].take(pa.array(rows)) if len(rows) < table.num_rows else table["text"]
    return rows, texts.combine_chunks() if texts.num_chunks != 1 else texts.chunk(0)


def _slices(texts: pa.Array) -> Iterable[tuple[int, int]]:
    ends = np.cumsum(np.concatenate([np.zeros(1, np.int64), pc.binary_length(texts).to_numpy(zero_copy_only=False)]))
    start = 0
    while start < len(texts):
        stop = max(start + 1, int(np.searchsorted(ends, ends[start] + _SCANNED)) - 1)
        yield start, min(stop, len(texts))
        start = stop


def scan(texts: pa.Array | Sequence[str], held: HeldOut, rows: np.ndarray | None = None) -> list[Hit]:
    """What these texts share with the items, in order of the texts and items; `rows` numbers them."""
    hashes, offsets = word_hashes(texts)
    some = np.zeros(len(offsets) - 1, bool)
    for size in held.sizes:
        value_S, begins = grams(hashes, offsets, size)
        hit = np.flatnonzero(held.find(value_S) >= 0)
        some[np.searchsorted(begins, hit, "right") - 1] = True
    found: list[Hit] = []
    for text in np.flatnonzero(some).tolist():
        written = texts[text].as_py() if isinstance(texts, pa.Array) else texts[text]
        found += _hits(written, held, text if rows is None else int(rows[text]))
    return found


def _hits(text: str, held: HeldOut, row: int) -> list[Hit]:
    """What one text has of every item of which it has anything."""
    words = word_spans([text])
    sequences, firsts, lasts = [], [], []
    for size in held.sizes:
        start, stop, _ = gram_spans(words.hashes, words.offsets, size)
        number = held.find(span_hashes(words.hashes, start, stop))
        hit = np.flatnonzero(number >= 0)
        sequences.append(number[hit])
        firsts.append(words.starts[start[hit]])     # type: ignore[index]
        lasts.append(words.ends[stop[hit] - 1])     # type: ignore[index]
    sequence, first, last = np.concatenate(sequences), np.concatenate(firsts), np.concatenate(lasts)
    counts = held.begin_G[sequence + 1] - held.begin_G[sequence]
    pair = np.repeat(np.arange(len(sequence)), counts)
    place = np.arange(len(pair)) - np.repeat(np.cumsum(counts) - counts, counts) + held.begin_G[sequence][pair]
    item = held.item_P[place]
    order = np.lexsort((first[pair], item))
    item, pair = item[order], pair[order]
    found: list[Hit] = []
    borders = np.flatnonzero(np.diff(item)) + 1
    for group in np.split(np.arange(len(item)), borders) if len(item) else []:
        mine = pair[group]
        own = np.unique(sequence[mine])
        number = int(item[group[0]])
        if held.whole_I[number] and len(own) < held.total_I[number]:
            continue
        found.append(Hit(row, number, own, _shown(text, first[mine], last[mine])))
    return found


def _shown(text: str, first: np.ndarray, last: np.ndarray) -> str:
    """The longest passage of those between first and last (in order of first), those that overlap being one."""
    reach = np.maximum.accumulate(last)
    new = np.flatnonzero(np.concatenate([np.ones(1, bool), first[1:] > reach[:-1]]))
    begins, ends = first[new], reach[np.append(new[1:], len(first)) - 1]
    longest = int((ends - begins).argmax())
    passage = " ".join(text[begins[longest]:ends[longest]][:2 * SHOWN].split())
    return passage if len(passage) <= SHOWN else passage[:SHOWN].rsplit(" ", 1)[0] + " …"


# ---- all parts


@dataclass(frozen=True)
class Overlaps:
    """R finds, by document and, for each document, the most complete item first.

    number_R    int64, the document, counted through all parts
    item_R      int64, the item (HeldOut.name); with validation_overlap the number of the validation document
    share_R     float32, the part of the item's sequences that the document has
    words_R     the longest passage they share, as it stands in the document
    names_R     "gsm8k-test.jsonl:12"
    sets        {"set", "items", "found"} for each held-out set
    short, common   items that are too short to be looked for; sequences left out as common phrases
    """

    number_R: np.ndarray
    item_R: np.ndarray
    share_R: np.ndarray
    words_R: tuple[str, ...]
    names_R: tuple[str, ...]
    sets: tuple[dict[str, Any], ...] = ()
    short: int = 0
    common: int = 0

    @property
    def documents(self) -> np.ndarray:
        """Numbers of the documents that hold something, ascending."""
        return np.unique(self.number_R)

    def best(self) -> dict[int, int]:
        """Document -> its first row here: the item it holds most of."""
        numbers, first = np.unique(self.number_R, return_index=True)
        return dict(zip(numbers.tolist(), first.tolist(), strict=True))

    def report(self) -> dict[str, Any]:
        """For report.json."""
        return {"documents": len(self.documents), "items": len(np.unique(self.item_R)), "sets": list(self.sets), "short": self.short,
                "common": self.common}


def find(parts: Path, held: HeldOut, folder: Path, *, gone: np.ndarray | None = None, processes: int = 0,
         report: Callable[[int, int], None] = lambda done, total: None, check: Callable[[], None] = lambda: None) -> Overlaps:
    """What the documents of the clean parts in `parts` share with the held-out items. `folder` (made here) keeps what each part gave, for
    a resume; `gone`: bool for each document, True for those that are out already. `report` gets the parts done and in all."""
    made = Parts(parts)
    rows = _wanted(made, gone)
    return _all(made, held, folder, rows, processes, report, check)


def _wanted(parts: Parts, gone: np.ndarray | None) -> list[np.ndarray | None]:
    if gone is None:
        return [None] * len(parts.paths)
    assert len(gone) == parts.documents
    return [np.flatnonzero(~np.asarray(gone[parts.first(n):parts.ends[n]], bool)) for n in range(len(parts.paths))]


def _all(parts: Parts, held: HeldOut, folder: Path, rows: Sequence[np.ndarray | None], processes: int, report: Callable[[int, int], None],
         check: Callable[[], None]) -> Overlaps:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "held-out.npz"
    if not file.exists():
        held.save(file)
    jobs = [OverlapJob(path, folder / path.name, file, wanted) for path, wanted in zip(parts.paths, rows, strict=True)]
    waiting = [job for job in jobs if not job.target.exists()]
    report(len(jobs) - len(waiting), len(jobs))
    for done, _ in enumerate(pool.each(overlap_part, waiting, processes, check=check), len(jobs) - len(waiting) + 1):
        report(done, len(jobs))
    return merge([job.target for job in jobs], held, [parts.first(n) for n in range(len(jobs))])


def merge(found: Sequence[Path], held: HeldOut, firsts: Sequence[int]) -> Overlaps:
    """What the parts gave, without common phrases. `firsts`: number of each part's first document."""
    numbers, items, counts, sequences, words = [], [], [], [], []
    for path, first in zip(found, firsts, strict=True):
        table = read_part(path)
        numbers.append(table["row"].to_numpy() + first)
        items.append(table["item"].to_numpy())
        counts.append(pc.list_value_length(table["sequences"]).to_numpy())
        sequences.append(pc.list_flatten(table["sequences"]).to_numpy())
        words += table["words"].to_pylist()
    number_R, item_R = _joined(numbers, np.int64), _joined(items, np.int64)
    count_R, sequence_S = _joined(counts, np.int64), _joined(sequences, np.int64)
    row_S = np.repeat(np.arange(len(number_R)), count_R)
    total_R = np.maximum(1, held.total_I[item_R])
    # In how many documents does a sequence stand, apart from those that hold half of what it comes from?
    loose = (count_R * 2 < total_R)[row_S]
    documents = int(number_R.max(initial=0)) + 1
    pairs = np.unique(sequence_S[loose] * documents + number_R[row_S[loose]])
    common = np.bincount(pairs // documents, minlength=len(held.value_G)) > COMMON_DOCUMENTS
    keep_S = ~common[sequence_S] | ~loose
    left_R = np.bincount(row_S[keep_S], minlength=len(number_R))
    rows = np.flatnonzero(left_R)
    share_R = (left_R / total_R).astype(np.float32)
    rows = rows[np.lexsort((item_R[rows], -share_R[rows], number_R[rows]))]
    seen = np.unique(item_R[rows])
    sets: dict[str, dict[str, Any]] = {}
    for name in held.sets:
        sets.setdefault(name, {"set": name, "items": 0, "found": 0})["items"] += 1
    for item in seen.tolist() if held.sets else ():
        sets[held.sets[item]]["found"] += 1
    listed = rows.tolist()
    return Overlaps(number_R[rows], held.number_I[item_R[rows]], share_R[rows], tuple(words[r] for r in listed),
                    tuple(held.name(int(item_R[r])) for r in listed), tuple(sets.values()), held.short,
                    held.common + int(common.sum()))


# ---- the validation split


@dataclass(frozen=True)
class GatherJob:
    part: Path
    rows: np.ndarray
    n: int
    modulus: int


def gather_part(job: GatherJob) -> tuple[np.ndarray, np.ndarray]:
    """(sequences, row of each) of some documents of a part: those whose hash is divisible by the modulus."""
    rows, texts = _texts(job.part, job.rows)
    values, owners = [], []
    for start, stop in _slices(texts):
        hashes, offsets = word_hashes(texts.slice(start, stop - start))
        value, begins = grams(hashes, offsets, job.n)
        owner = np.repeat(np.arange(start, stop), np.diff(begins))
        keep = (weight(hashes, offsets) >= job.n)[owner - start]
        if job.modulus > 1:
            keep &= value % np.uint64(job.modulus) == 0
        values.append(value[keep])
        owners.append(rows[owner[keep]])
    return _joined(values, np.uint64), _joined(owners, np.int64)


def validation_overlap(parts: Path, validation: np.ndarray, gone: np.ndarray, folder: Path, *, n: int = LONG, processes: int = 0,
                       report: Callable[[int, int], None] = lambda done, total: None, check: Callable[[], None] = lambda: None) -> Overlaps:
    """Which training documents share a sequence of n words with validation documents, which are the items (Overlaps.item_R: their
    numbers). `validation` and `gone`: bool for each document. Sequences in more than 10 validation documents, or in more than 10 training
    documents that hold little of theirs, are common phrases here too. Of a large validation split a sample of the sequences is compared:
    a shared passage is then found the surer the longer it is, and the shares are estimates."""
    made = Parts(parts)
    validation, gone = np.asarray(validation, bool), np.asarray(gone, bool)
    assert len(validation) == len(gone) == made.documents
    wanted = validation & ~gone
    chosen = [(n_part, np.flatnonzero(wanted[made.first(n_part):made.ends[n_part]])) for n_part in range(len(made.paths))]
    chosen = [(number, rows) for number, rows in chosen if len(rows)]
    size = sum(path.stat().st_size for path in made.paths) * float(wanted.mean() if len(wanted) else 0)
    # lz4 halves the text, and a word takes six bytes.
    modulus = max(1, round(size * 2 / 6 / KEPT_SEQUENCES))
    file = folder / "held-out.npz"
    if file.exists():
        held = HeldOut.open(file)
    else:
        jobs = [GatherJob(made.paths[number], rows, n, modulus) for number, rows in chosen]
        pieces = sorted(pool.each(gather_part, jobs, processes, check=check))
        value_S = _joined([value for _, (value, _) in pieces], np.uint64)
        number_S = _joined([owner + made.first(chosen[at][0]) for at, (_, owner) in pieces], np.int64)
        number_I, owner_S = np.unique(number_S, return_inverse=True)
        held = HeldOut._of(n, value_S, owner_S, np.zeros(len(number_I), bool), (), (), number_I, int(wanted.sum()) - len(number_I), modulus)
    return _all(made, held, folder, _wanted(made, gone | validation), processes, report, check)
