"""The documents of a corpus artifact as columns that filters, orders and counts run over, and their texts by number. Reads only.

`Table` is what the browser's folder holds beside the index: numbers and codes in raw arrays mapped into memory, the strings of a row (id,
detail, overlap) in an uncompressed Arrow file. `Texts` finds a document's text, as it is now or as it was read, in the artifact itself.
Artifacts of Fledge 0.1 have no documents.parquet: their documents are listed in the order of their splits, without steps.
"""

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine.contract.errors import Corrupt
from engine.contract.words import tr
from engine.text.corpus import REMOVED, SPLITS, Corpus

DOCUMENTS, ORIGINALS = "documents.parquet", "originals.parquet"
ROWS = 65_536
"""Rows of a batch."""

TRAIN, VALIDATION, GONE = 1, 2, 4
"""Bits of the column `split`."""

NUMBERS: dict[str, type] = {
    "train_row": np.int64, "validation_row": np.int64, "removed_row": np.int64, "bytes": np.int64, "cluster": np.int64,
    "duplicate_of": np.int64, "root": np.int32, "file": np.int32, "document": np.int32, "copies": np.int32, "similarity": np.float32,
    "quality": np.float32, "harm": np.float32, "language_score": np.float32,
}
CODES = ("language", "step", "rule", "harm_kind", "borderline")
"""Columns of strings with few values: a code (int32) into the names; 0 is none."""
DERIVED: dict[str, type] = {"split": np.uint8, "source": np.int32, "touched": np.uint64, "overlap": np.uint8, "id_key": np.uint64,
                            "id_order": np.int64}
STRINGS = pa.schema([("id", pa.string()), ("detail", pa.string()), ("overlap", pa.string())])

_NONE: dict[str, Any] = {"root": 0, "file": -1, "document": -1, "copies": 1, "language": "", "language_score": 0.0, "step": None,
                         "rule": None, "detail": None, "touched": [], "quality": None, "harm": None, "harm_kind": "", "borderline": None,
                         "cluster": -1, "duplicate_of": -1, "similarity": 0.0, "overlap": None}
_HEX = np.zeros(256, np.uint64)
_HEX[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16, dtype=np.uint64)


def id_keys(ids: Sequence[str]) -> np.ndarray:
    """64 bits of each id (uint64): ids are hexadecimal hashes, of which the first 16 digits tell nearly all apart."""
    raw = np.array(ids, "S16") if len(ids) else np.zeros(0, "S16")
    digits = _HEX[raw.view(np.uint8).reshape(-1, 16)]
    return (digits << np.arange(60, -1, -4, dtype=np.uint64)).sum(axis=1, dtype=np.uint64)


def listed(artifact: Path) -> Iterator[pa.RecordBatch]:
    """The rows of documents.parquet, ROWS at a time; for older artifacts, rows of the same columns."""
    path = artifact / DOCUMENTS
    if path.exists():
        yield from pq.ParquetFile(path).iter_batches(batch_size=ROWS)
        return
    corpus, number = Corpus.open(artifact), 0
    for split in (*SPLITS, REMOVED):
        lengths = corpus.lengths(split)
        for start in range(0, corpus.count(split), ROWS):
            rows = np.arange(start, min(start + ROWS, corpus.count(split)))
            none = np.full(len(rows), -1, np.int64)
            own = {"number": number + np.arange(len(rows)), "id": corpus.take(split, rows, "id"),
                   "source": corpus.take(split, rows, "source"), "bytes": lengths[rows],
                   **{f"{name}_row": rows if name == split else none for name in (*SPLITS, REMOVED)}}
            yield pa.RecordBatch.from_pydict(own | {name: [value] * len(rows) for name, value in _NONE.items()})
            number += len(rows)


class TableWriter:
    """Fills a folder with the columns, batch after batch; `finish` writes the record that makes it readable."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = {name: open(folder / f"{name}.column", "wb", buffering=1 << 20) for name in (*NUMBERS, *CODES, *DERIVED)
                       if name != "id_order"}
        self._strings = pa.OSFile(str(folder / "rows.arrow"), "wb")
        self._rows = pa.ipc.new_file(self._strings, STRINGS)
        self._sources = pa.OSFile(str(folder / "sources.arrow"), "wb")
        self._names = pa.ipc.new_file(self._sources, pa.schema([("source", pa.string())]))
        self._codes: dict[str, dict[str, int]] = {name: {} for name in (*CODES, "touched")}
        self._source, self._source_code = None, -1
        self.rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """The next rows, in order of their numbers."""
        numbers = batch.column("number").to_numpy()
        if len(numbers) and (numbers[0] != self.rows or (np.diff(numbers) != 1).any()):
            raise Corrupt(tr("The list of documents of this corpus is not in order."), tr("Import the text again."))
        for name, kind in NUMBERS.items():
            column = batch.column(name)
            if np.issubdtype(kind, np.floating):
                column = column.cast(pa.float32())
            elif column.null_count:
                column = column.fill_null(-1)
            self._put(name, column.to_numpy(zero_copy_only=False).astype(kind))
        for name in CODES:
            self._put(name, self._coded(name, batch.column(name)).astype(np.int32))
        split = sum((batch.column(f"{name}_row").to_numpy() >= 0).astype(np.uint8) * bit
                    for name, bit in (("train", TRAIN), ("validation", VALIDATION), (REMOVED, GONE)))
        self._put("split", np.asarray(split, np.uint8))
        self._put("source", self._source_codes(batch.column("source")))
        touched = batch.column("touched")
        flags = np.zeros(len(numbers), np.uint64)
        if len(flat := touched.flatten()) and flat.type != pa.null():
            which = self._coded("touched", flat)
            if len(self._codes["touched"]) > 62:
                raise Corrupt(tr("The list of documents of this corpus names too many steps."), tr("Import the text again."))
            np.bitwise_or.at(flags, pc.list_parent_indices(touched).to_numpy(), np.uint64(1) << which.astype(np.uint64))
        self._put("touched", flags)
        overlap = batch.column("overlap").cast(pa.string())
        self._put("overlap", pc.is_valid(overlap).to_numpy(zero_copy_only=False).astype(np.uint8))
        self._put("id_key", id_keys(batch.column("id").to_pylist()))
        self._rows.write_batch(pa.record_batch([batch.column("id").cast(pa.string()), batch.column("detail").cast(pa.string()), overlap],
                                               schema=STRINGS))
        self.rows += len(numbers)

    def _put(self, name: str, values: np.ndarray) -> None:
        self._files[name].write(memoryview(np.ascontiguousarray(values)).cast("B") if len(values) else b"")

    def _coded(self, name: str, column: pa.Array) -> np.ndarray:
        """int64 codes of strings; null and "" are 0."""
        known = self._codes[name]
        coded = (column if column.type != pa.null() else column.cast(pa.string())).dictionary_encode()
        of = np.array([known.setdefault(value, len(known) + 1) if value else 0 for value in coded.dictionary.to_pylist()] + [0], np.int64)
        return of[coded.indices.fill_null(len(of) - 1).to_numpy(zero_copy_only=False)]

    def _source_codes(self, column: pa.Array) -> np.ndarray:
        """A new code wherever the file changes: documents stand in the order of their files, which may be as many as they are."""
        names = (column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column).fill_null("").cast(pa.string())
        if not len(names):
            return np.zeros(0, np.int32)
        new = np.ones(len(names), bool)
        new[1:] = pc.not_equal(names[1:], names[:-1]).to_numpy(zero_copy_only=False)
        new[0] = names[0].as_py() != self._source
        codes = self._source_code + np.cumsum(new)
        self._names.write_batch(pa.record_batch([names.filter(pa.array(new))], names=["source"]))
        self._source, self._source_code = names[-1].as_py(), int(codes[-1])
        return codes.astype(np.int32)

    def finish(self, record: dict[str, Any]) -> None:
        """Close everything, sort the ids, and write `record` with the names of the codes."""
        for file in self._files.values():
            file.close()
        for file in (self._rows, self._strings, self._names, self._sources):
            file.close()
        keys = np.fromfile(self._folder / "id_key.column", np.uint64)
        np.argsort(keys, kind="stable").astype(np.int64).tofile(self._folder / "id_order.column")
        names = {name: ["", *known] for name, known in self._codes.items()}
        (self._folder / "table.json").write_text(json.dumps({**record, "documents": self.rows, "names": names}), "utf-8")


class Table:
    """A written table. Columns by name, as numpy arrays over all documents, mapped into memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record: dict[str, Any] = json.loads((folder / "table.json").read_text("utf-8"))
        self.documents: int = self.record["documents"]
        self.names: dict[str, list[str]] = self.record["names"]
        self._columns: dict[str, np.ndarray] = {}
        self._rows = self._batches("rows.arrow")
        self._ends = list(accumulate(b.num_rows for b in self._rows))
        self.sources: pa.Array = pa.chunked_array(
            [b.column(0) for b in self._batches("sources.arrow")] or [pa.array([], pa.string())])

    def _batches(self, name: str) -> list[pa.RecordBatch]:
        with pa.memory_map(str(self.folder / name)) as file:
            reader = pa.ipc.open_file(file)
            return [reader.get_batch(i) for i in range(reader.num_record_batches)]

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._columns:
            kind = NUMBERS.get(name) or DERIVED.get(name) or np.int32
            path = self.folder / f"{name}.column"
            self._columns[name] = np.asarray(np.memmap(path, kind, "r")) if self.documents else np.zeros(0, kind)
        return self._columns[name]

    def code(self, name: str, value: str) -> int:
        """The code of a name, -1 for one that no document has."""
        try:
            return self.names[name].index(value)
        except ValueError:
            return -1

    def source(self, number: int) -> str:
        return str(self.sources[int(self["source"][number])].as_py())

    def strings(self, number: int) -> dict[str, Any]:
        """id, detail and overlap of one document."""
        batch = bisect_right(self._ends, number)
        row: dict[str, Any] = self._rows[batch].slice(number - self._ends[batch] + self._rows[batch].num_rows, 1).to_pylist()[0]
        return row

    def ids(self, numbers: np.ndarray) -> list[str]:
        """Of documents with rising numbers."""
        found: list[str] = []
        for batch, end in zip(self._rows, self._ends, strict=True):
            first = end - batch.num_rows
            low, high = np.searchsorted(numbers, [first, end])
            if low < high:
                found += batch.column(0).take(pa.array(numbers[low:high] - first)).to_pylist()
        return found

    def numbers(self, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(numbers int64, places in `ids`) of every document with one of these ids; ids of other corpora are not found."""
        keys, order = self["id_key"], self["id_order"]
        wanted = id_keys(ids)
        low, high = np.searchsorted(self._sorted_keys, wanted, "left"), np.searchsorted(self._sorted_keys, wanted, "right")
        many = high - low
        place = np.repeat(np.arange(len(wanted)), many)
        at = np.repeat(low - (np.cumsum(many) - many), many) + np.arange(int(many.sum()))
        found = order[at]
        assert (keys[found] == wanted[place]).all()
        return found, place

    @cached_property
    def _sorted_keys(self) -> np.ndarray:
        return self["id_key"][self["id_order"]]


class Texts:
    """Texts of documents by number, from the artifact itself."""

    def __init__(self, artifact: Path, rows: Any) -> None:
        """`rows`: anything that gives the columns train_row, validation_row, removed_row by name."""
        self._corpus, self._rows = Corpus.open(artifact), rows
        path = artifact / ORIGINALS
        self._originals = pq.ParquetFile(path) if path.exists() else None
        self._last: tuple[int, pa.Table] | None = None
        self._limits = [(s.min, s.max) for g in range(self._originals.metadata.num_row_groups)
                        if (s := self._originals.metadata.row_group(g).column(0).statistics)] if self._originals else []

    def now(self, numbers: np.ndarray) -> pa.Array:
        """Of each document (numbers rising) its text as it is now, of a removed one as it was read: one Arrow array of strings. Documents
        in both splits are put together."""
        numbers = np.asarray(numbers, np.int64)
        train, validation, gone = (self._rows[f"{name}_row"][numbers] for name in (*SPLITS, REMOVED))
        both = np.flatnonzero((train >= 0) & (validation >= 0))
        found, place = [], []
        for name, rows, mask in (("train", train, train >= 0), ("validation", validation, (validation >= 0) & (train < 0)),
                                 (REMOVED, gone, gone >= 0)):
            if mask.any():
                found.append(self._take(name, rows[mask]))
                place.append(np.flatnonzero(mask))
        if len(both):
            tails = self._take("validation", validation[both])
            heads = self._take("train", train[both])
            found.append(pa.array([a + b for a, b in zip(heads.to_pylist(), tails.to_pylist(), strict=True)], pa.string()))
            for i, which in enumerate(place):   # the heads alone, taken above, give way
                place[i] = np.where(np.isin(which, both), -1, which)
            place.append(both)
        if len(found) == 1 and len(place[0]) == len(numbers):
            return found[0]
        at = np.zeros(len(numbers), np.int64)
        order = np.concatenate(place) if place else np.zeros(0, np.int64)
        at[order[order >= 0]] = np.flatnonzero(order >= 0)
        assert len(order[order >= 0]) == len(numbers), "a document without a text"
        return pa.concat_arrays([f.cast(pa.string()) for f in found]).take(pa.array(at)) if found else pa.array([], pa.string())

    def _take(self, split: str, rows: np.ndarray) -> pa.Array:
        if len(rows) > 1 and (np.diff(rows) <= 0).any():
            order = np.argsort(rows, kind="stable")
            back = np.empty_like(order)
            back[order] = np.arange(len(order))
            return self._corpus.take(split, rows[order]).take(pa.array(back))
        return self._corpus.take(split, rows)

    def text(self, number: int) -> str:
        return str(self.now(np.array([number]))[0].as_py())

    def original(self, number: int) -> str | None:
        """The text as read of a kept document that a step changed; None where nothing changed (or it was removed: then `text` is that)."""
        for group, (least, most) in enumerate(self._limits):
            if least <= number <= most:
                assert self._originals is not None
                if self._last is None or self._last[0] != group:
                    self._last = (group, self._originals.read_row_group(group))
                numbers = self._last[1]["number"].to_numpy()
                at = int(np.searchsorted(numbers, number))
                if at < len(numbers) and numbers[at] == number:
                    return str(self._last[1]["text"][at].as_py())
        return None
