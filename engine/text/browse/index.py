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
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.text.browse.words import LONGEST, UNSPACED, terms

SEGMENT_DOCUMENTS, SEGMENT_BYTES = 65_536, 32_000_000
MOST_BITS = 18
BLOCK = 1 << 18
"""Pairs that are hashed at once: what stays in the processor's cache."""
ARRAYS = ("terms", "term_ends", "posting_ends", "postings", "pair_ends", "pair_postings")
TYPES = (np.uint8, np.uint32, np.uint32, np.uint16, np.uint32, np.uint16)
_MIX, _STIR = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_POWERS = np.cumprod(np.full(4 * LONGEST, 0xFF51AFD7ED558CCD, np.uint64))
"""For each byte of a term (of at most LONGEST characters), so that the order of bytes counts."""
_SIGNS = "".join(chr(c) for c in range(33, 127) if not chr(c).isalnum())


class Segment(NamedTuple):
    """What one segment's arrays hold; `bits` is the binary logarithm of the number of buckets of pairs."""

    documents_total: int
    bits: int
    arrays: tuple[np.ndarray, ...]


def hashes_of(joined: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """64 bits (uint64) of each term, the same in every process: of UTF-8 bytes (uint8) and where each term's begin, terms + 1."""
    if len(ends) < 2:
        return np.zeros(0, np.uint64)
    at = np.arange(len(joined), dtype=np.uint32) - np.repeat(ends[:-1], np.diff(ends))
    mixed = np.add.reduceat(_POWERS[np.minimum(at, len(_POWERS) - 1)] * (joined.astype(np.uint64) + np.uint64(1)), ends[:-1])
    return mixed ^ mixed >> np.uint64(29)


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
    """Index some texts (string or large_string, at most SEGMENT_DOCUMENTS). Arrow and numpy do the work, outside Python's lock."""
    assert len(texts) <= SEGMENT_DOCUMENTS
    cut = pc.ascii_split_whitespace(_apart(texts))
    stretches = pc.list_value_length(cut).to_numpy(zero_copy_only=False)
    coded = cut.flatten().dictionary_encode()
    of_stretch, names, found, begins, counts = coded.indices.to_numpy(zero_copy_only=False), *_terms(coded.dictionary)
    del cut, coded
    order = pc.sort_indices(names.cast(pa.binary()))
    rank = np.empty(len(order), np.uint32)
    rank[order.to_numpy()] = np.arange(len(order), dtype=np.uint32)
    ranked = rank[found]
    names = names.take(order)
    term_ends = np.frombuffer(names.buffers()[1], np.int32, len(names) + 1).astype(np.uint32)
    joined = np.frombuffer(names.buffers()[2] or b"", np.uint8, int(term_ends[-1]))
    hashes = hashes_of(joined, term_ends)

    # One element for each term of each document, in order. Arrays are let go as soon as they have served: they are the memory of a build.
    document = np.repeat(np.arange(len(texts), dtype=np.uint16), stretches)
    many = counts[of_stretch]
    total = int(many.sum())
    if total == len(many) and (many == 1).all():
        term = ranked[begins[of_stretch]]
    else:
        document = np.repeat(document, many)
        at = np.repeat(begins[of_stretch] - (np.cumsum(many, dtype=np.int32) - many), many)
        at += np.arange(total, dtype=np.int32)
        term = ranked[at]
        del at
    del of_stretch, many

    postings, ends = _postings(term, document, len(names))
    bits = int(min(MOST_BITS, max(8, np.log2(total / 4 + 1))))
    pairs = np.empty(max(0, total - 1), np.uint32)
    for start in range(0, len(pairs), BLOCK):
        stop = min(start + BLOCK, len(pairs))
        pairs[start:stop] = bucket(hashes[term[start:stop]], hashes[term[start + 1:stop + 1]], bits)
    del term
    beside = document[1:] == document[:-1]
    pair_postings, pair_ends = _postings(pairs[beside], document[1:][beside], 1 << bits)
    return Segment(len(texts), bits, (joined, term_ends, ends, postings, pair_ends, pair_postings))


def _apart(texts: pa.Array) -> pa.Array:
    """The texts with spaces around every letter of scripts that do not space words, so that those letters are stretches of their own:
    whole sentences would be distinct, and slow."""
    here = np.flatnonzero(pc.match_substring_regex(texts, f"[{UNSPACED}]").to_numpy(zero_copy_only=False))
    if not len(here):
        return texts
    spaced = pc.replace_substring_regex(texts.take(pa.array(here)), f"([{UNSPACED}])", r" \1 ")
    place = np.arange(len(texts))
    place[here] = len(texts) + np.arange(len(here))
    return pa.concat_arrays([texts, spaced]).take(pa.array(place))


def _terms(stretches: pa.Array) -> tuple[pa.Array, np.ndarray, np.ndarray, np.ndarray]:
    """Of distinct stretches between spaces: their distinct terms, and for each stretch where its terms begin in a list of numbers of terms,
    and how many they are: (terms, list, begins, counts). Most are one plain word, which Arrow recognises; Python cuts the others."""
    bare = pc.utf8_trim(pc.ascii_lower(stretches), _SIGNS)
    plain = pc.match_substring_regex(bare, f"^[a-z0-9]{{1,{LONGEST}}}$").to_numpy(zero_copy_only=False)
    counts, begins = np.ones(len(stretches), np.int32), np.zeros(len(stretches), np.int32)
    begins[plain] = np.arange(int(plain.sum()))
    cut = [terms(stretch) for stretch in stretches.filter(pa.array(~plain)).to_pylist()]
    counts[~plain] = np.fromiter(map(len, cut), np.int32, len(cut))
    begins[~plain] = int(plain.sum()) + np.cumsum(counts[~plain]) - counts[~plain]
    flat = pa.array(chain.from_iterable(cut), pa.string())
    every = pa.concat_arrays([bare.filter(pa.array(plain)).cast(pa.string()), flat]).dictionary_encode()
    return every.dictionary, every.indices.to_numpy(zero_copy_only=False), begins, counts


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
        raw = [term.encode("utf-8", "surrogatepass") for term in (first_term, second_term)]
        one, two = (hashes_of(np.frombuffer(term, np.uint8), np.array([0, len(term)], np.uint32)) for term in raw)
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
