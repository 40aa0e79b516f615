"""Which documents hold a term: an inverted index in one file, built segment by segment and read through memory mapping. Knows texts only.

    segment     at most SEGMENT_DOCUMENTS documents and about SEGMENT_BYTES of text:
      terms       all terms sorted by their UTF-8 bytes, joined, with offsets (uint32)
      postings    for each term the documents that hold it, rising (uint16, counted from the segment's first), with offsets (uint32)
      pairs       the same for pairs of neighbouring terms, not by name but in 2**bits buckets by their hash

One word is answered exactly; the words that begin with a prefix stand side by side. A phrase is answered by its pairs, with about one
wrong document in a thousand, so that who wants certainty looks into the texts of what is found. No positions and no frequencies are kept:
results are in the corpus's order or by a column, never by relevance.

Why not SQLite's FTS5: its index of a million documents of 200 words takes as long and as much room, but every hit passes through a virtual
machine: 0.4 s to filter or order the hits of a common word, 0.15 s for a phrase without any, 1.4 s for a prefix of one letter; and it cuts
no words in Chinese. Here all of these are unions and intersections of arrays.
"""

import json
import os
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.text.browse.words import terms

SEGMENT_DOCUMENTS, SEGMENT_BYTES = 65_536, 32_000_000
MOST_BITS = 18
ARRAYS = ("terms", "term_ends", "posting_ends", "postings", "pair_ends", "pair_postings")
TYPES = (np.uint8, np.uint32, np.uint32, np.uint16, np.uint32, np.uint16)
_MIX, _STIR = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)


class Segment(NamedTuple):
    """What one segment's arrays hold; `bits` is the binary logarithm of the number of buckets of pairs."""

    documents_total: int
    bits: int
    arrays: tuple[np.ndarray, ...]


def hash_of(term: str) -> int:
    """32 bits of a term, the same in every process."""
    return zlib.crc32(term.encode("utf-8", "surrogatepass"))


def bucket(first: np.ndarray, second: np.ndarray, bits: int) -> np.ndarray:
    """The bucket of each pair of neighbours, from their hashes (uint64)."""
    mixed = first * _MIX
    mixed += second
    mixed *= _STIR
    mixed ^= mixed >> np.uint64(32)
    mixed *= _MIX
    mixed >>= np.uint64(64 - bits)
    return mixed


def make_segment(texts: pa.Array) -> Segment:
    """Index some texts (string or large_string, at most SEGMENT_DOCUMENTS). Arrow and numpy do the work, outside Python's lock; Python
    itself sees each distinct stretch between spaces once."""
    assert len(texts) <= SEGMENT_DOCUMENTS
    cut = pc.ascii_split_whitespace(texts)
    stretches = pc.list_value_length(cut).to_numpy(zero_copy_only=False).astype(np.int64)
    coded = cut.flatten().dictionary_encode()
    of_stretch = coded.indices.to_numpy(zero_copy_only=False)
    known: dict[str, int] = {}
    flat: list[int] = []
    counts = np.zeros(len(coded.dictionary), np.int64)
    for number, stretch in enumerate(coded.dictionary.to_pylist()):
        found = terms(stretch)
        counts[number] = len(found)
        for term in found:
            flat.append(known.setdefault(term, len(known)))
    names = list(known)
    raw = [name.encode("utf-8", "surrogatepass") for name in names]
    order = sorted(range(len(raw)), key=raw.__getitem__)
    rank = np.empty(len(raw), np.uint32)
    rank[order] = np.arange(len(raw), dtype=np.uint32)
    hashes = np.fromiter((zlib.crc32(raw[i]) for i in order), np.uint64, len(raw))
    ranked = rank[np.asarray(flat, np.int64)] if flat else np.zeros(0, np.uint32)

    # One element for each term of each document, in order. Arrays are let go as soon as they have served: they are the memory of a build.
    document = np.repeat(np.arange(len(texts), dtype=np.uint16), stretches)
    many = counts[of_stretch]
    begins = np.cumsum(counts) - counts
    total = int(many.sum())
    if total == len(many) and (many == 1).all():
        term = ranked[begins[of_stretch]]
    else:
        at = np.repeat(begins[of_stretch] - (np.cumsum(many) - many), many)
        at += np.arange(total)
        term = ranked[at]
        document = np.repeat(document, many)
        del at
    del cut, coded, of_stretch, many

    postings, ends = _postings(term, document, len(names))
    bits = int(min(MOST_BITS, max(8, np.log2(total / 4 + 1))))
    pairs = bucket(*(hashes[side] for side in (term[:-1], term[1:])), bits).astype(np.uint32)
    del term
    beside = document[1:] == document[:-1]
    pair_postings, pair_ends = _postings(pairs[beside], document[1:][beside], 1 << bits)
    joined = np.frombuffer(b"".join(raw[i] for i in order), np.uint8)
    term_ends = np.concatenate([[0], np.cumsum([len(raw[i]) for i in order], dtype=np.int64)]).astype(np.uint32)
    return Segment(len(texts), bits, (joined, term_ends, ends, postings, pair_ends, pair_postings))


def _postings(key: np.ndarray, document: np.ndarray, keys: int) -> tuple[np.ndarray, np.ndarray]:
    """(documents uint16 of every key, rising; where each key's begin, keys + 1) from pairs of key and document."""
    both = key.astype(np.uint64)
    both <<= np.uint64(16)
    both |= document
    both.sort()
    if len(both):
        both = both[np.concatenate([[True], both[1:] != both[:-1]])]
    ends = np.searchsorted(both, np.arange(keys + 1, dtype=np.uint64) << np.uint64(16)).astype(np.uint32)
    return both.astype(np.uint16), ends     # the low 16 bits are the document


def write_index(path: Path, segments: Iterable[pa.Array], threads: int = 0) -> Iterator[int]:
    """Write the index of `segments` (texts in order) to `path` and `path`.json; yields the number of documents after each. Holds as many
    segments as threads in memory."""
    threads = threads or min(4, os.cpu_count() or 1)
    table, done = [], 0
    with open(path, "wb", buffering=1 << 20) as file, ThreadPoolExecutor(threads) as pool:
        def put(future: "Future[Segment]") -> int:
            made = future.result()
            entry: dict[str, Any] = {"first": done, "documents": made.documents_total, "bits": made.bits}
            for name, array in zip(ARRAYS, made.arrays, strict=True):
                file.write(b"\0" * (-file.tell() % 8))
                entry[name] = [file.tell(), len(array)]
                file.write(memoryview(np.ascontiguousarray(array)).cast("B") if len(array) else b"")
            table.append(entry)
            return done + made.documents_total

        waiting: list[Future[Segment]] = []
        for texts in segments:
            waiting.append(pool.submit(make_segment, texts))
            del texts
            if len(waiting) >= threads:
                done = put(waiting.pop(0))
                yield done
        while waiting:
            done = put(waiting.pop(0))
            yield done
    path.with_suffix(".json").write_text(json.dumps({"documents": done, "segments": table}), "utf-8")


class Index:
    """A written index, mapped into memory. Answers are boolean arrays over all documents."""

    def __init__(self, path: Path) -> None:
        record = json.loads(path.with_suffix(".json").read_text("utf-8"))
        self.documents: int = record["documents"]
        mapped = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)
        self._segments = []
        for entry in record["segments"]:
            arrays = [mapped[entry[name][0]:entry[name][0] + entry[name][1] * np.dtype(kind).itemsize].view(kind)
                      for name, kind in zip(ARRAYS, TYPES, strict=True)]
            self._segments.append((entry["first"], entry["documents"], entry["bits"], *(np.asarray(a) for a in arrays)))

    def word(self, term: str, prefix: bool = False) -> np.ndarray:
        """Which documents hold a term, or any term that begins with it."""
        raw = term.encode("utf-8", "surrogatepass")
        found = np.zeros(self.documents, bool)
        for first, total, _, names, name_ends, ends, documents, *_ in self._segments:
            names_of = _Names(names, name_ends)
            start = bisect_left(names_of, raw)
            if prefix:
                # Behind every term that begins so: 0xff stands in no UTF-8.
                stop = bisect_left(names_of, raw + b"\xff", lo=start)
            else:
                stop = start + (start < len(names_of) and names_of[start] == raw)
            found[first:first + total][documents[ends[start]:ends[stop]]] = True
        return found

    def pair(self, first_term: str, second_term: str) -> np.ndarray:
        """Which documents may hold two terms side by side: all that do, and few that do not."""
        one, two = (np.array([hash_of(term)], np.uint64) for term in (first_term, second_term))
        found = np.zeros(self.documents, bool)
        for first, total, bits, *_, pair_ends, pair_documents in self._segments:
            place = int(bucket(one, two, bits)[0])
            found[first:first + total][pair_documents[pair_ends[place]:pair_ends[place + 1]]] = True
        return found

    def phrase(self, phrase: Sequence[str], prefix: bool = False) -> np.ndarray:
        """Which documents may hold terms side by side in this order; of one term exactly. `prefix`: the last is only begun."""
        found = self.word(phrase[-1], prefix)
        for term in set(phrase[:-1]):
            found &= self.word(term)
        whole = phrase[:-1] if prefix else phrase
        for pair in set(zip(whole[:-1], whole[1:], strict=True)):
            found &= self.pair(*pair)
        return found


class _Names(Sequence[bytes]):
    """The sorted terms of a segment, for bisecting."""

    def __init__(self, joined: np.ndarray, ends: np.ndarray) -> None:
        self._joined, self._ends = joined, ends

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> bytes:  # type: ignore[override]
        return self._joined[self._ends[number]:self._ends[number + 1]].tobytes()
