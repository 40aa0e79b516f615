"""A corpus on disk: documents in Arrow files that `datasets.load_from_disk` opens too, split into train and validation.

    corpus.json                  what is in it: counts for each split and file
    train/ validation/ removed/  data-00000.arrow ..., dataset_info.json, state.json

`removed` holds the removed documents as they were read; corpora of Fledge 0.1 have none, and then the split is empty.

Reading only (corpus_writer.py writes), by pyarrow alone, with the files mapped into memory: opening is instant whatever the size.
"""

import json
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from engine.contract.errors import Corrupt, NotFound
from engine.contract.rows import Document
from engine.contract.words import tr

RECORD = "corpus.json"
SPLITS = ("train", "validation")
REMOVED = "removed"
VERSION = 1


@dataclass
class Counts:
    """Documents, UTF-8 bytes and characters."""

    documents: int = 0
    bytes: int = 0
    characters: int = 0

    def add(self, bytes: int, characters: int) -> None:
        self.documents += 1
        self.bytes += bytes
        self.characters += characters

    def plain(self) -> dict[str, int]:
        return {"documents": self.documents, "bytes": self.bytes, "characters": self.characters}


_NONE: dict[str, Any] = {"documents": 0, "bytes": 0, "characters": 0, "files": []}


@dataclass
class _Split:
    folder: Path
    counts: Counts
    names: list[str]
    ends: list[int]
    tables: dict[int, Any] = field(default_factory=dict)

    def table(self, number: int) -> Any:
        """The mapped table of one file, with the first row of each of its batches."""
        if number not in self.tables:
            import pyarrow as pa

            path = self.folder / self.names[number]
            try:
                with pa.memory_map(str(path)) as file:
                    batches = list(pa.ipc.open_stream(file))
            except (OSError, pa.ArrowException) as wrong:
                raise Corrupt(tr("{file} of this corpus cannot be read.", file=str(path)), tr("Import the text again.")) from wrong
            self.tables[number] = (batches, [0, *accumulate(b.num_rows for b in batches)])
        return self.tables[number]


class Corpus:
    """Read-only, random access by (split, number). Opened per process; cheap."""

    def __init__(self, folder: Path, splits: dict[str, _Split]) -> None:
        self.folder, self._splits = folder, splits

    @classmethod
    def open(cls, folder: Path | str) -> "Corpus":
        folder = Path(folder)
        try:
            record = json.loads((folder / RECORD).read_text("utf-8"))
            splits = {}
            for name in (*SPLITS, REMOVED):
                made = record["splits"][name] if name in SPLITS else record["splits"].get(name, _NONE)
                splits[name] = _Split(folder / name, Counts(made["documents"], made["bytes"], made["characters"]),
                                      [f["name"] for f in made["files"]], list(accumulate(f["documents"] for f in made["files"])))
        except FileNotFoundError as wrong:
            raise NotFound(tr("There is no corpus in {place}.", place=str(folder)), tr("Import text first, or choose a corpus.")) from wrong
        except (ValueError, KeyError, TypeError) as wrong:
            raise Corrupt(tr("The corpus in {place} is damaged.", place=str(folder)), tr("Import the text again.")) from wrong
        return cls(folder, splits)

    def counts(self, split: str) -> Counts:
        return self._split(split).counts

    def count(self, split: str) -> int:
        """Documents of a split."""
        return self._split(split).counts.documents

    def document(self, split: str, number: int) -> Document:
        if not 0 <= number < self.count(split):
            raise IndexError(number)
        return next(self.documents(split, number, number + 1))

    def documents(self, split: str, start: int = 0, stop: int | None = None) -> Iterator[Document]:
        for ids, sources, texts in self._columns(split, start, stop, ("id", "source", "text")):
            for id, source, text in zip(ids, sources, texts, strict=True):
                yield Document(id=id, source=source, text=text)

    def texts(self, split: str, start: int = 0, stop: int | None = None) -> Iterator[list[str]]:
        """Texts of documents start..stop in batches of a few megabytes: the fast way through a corpus."""
        for (texts,) in self._columns(split, start, stop, ("text",)):
            yield texts

    def take(self, split: str, rows: Any, column: str = "text") -> Any:
        """The texts (or ids, or sources) of `rows` (int64, rising) as one Arrow array: gathered in Arrow, nothing becomes Python."""
        import numpy as np
        import pyarrow as pa

        made = self._split(split)
        rows = np.asarray(rows, np.int64)
        assert not len(rows) or (rows[0] >= 0 and rows[-1] < made.counts.documents)
        found, at = [], 0
        while at < len(rows):
            number = bisect_right(made.ends, rows[at])
            first = made.ends[number - 1] if number else 0
            batches, begins = made.table(number)
            batch = bisect_right(begins, rows[at] - first) - 1
            upto = at + int(np.searchsorted(rows[at:], first + begins[batch + 1]))
            inside = rows[at:upto] - first - begins[batch]
            whole = batches[batch].column(column)
            # Neighbours are a slice, which copies nothing.
            found.append(whole.slice(inside[0], len(inside)) if inside[-1] - inside[0] + 1 == len(inside) else whole.take(pa.array(inside)))
            at = upto
        return pa.concat_arrays(found) if found else pa.array([], pa.string())

    def lengths(self, split: str) -> Any:
        """UTF-8 bytes of each document, int64, without reading the texts."""
        import numpy as np
        import pyarrow.compute as pc

        made = self._split(split)
        found = [np.zeros(0, np.int64)]
        for number in range(len(made.names)):
            for batch in made.table(number)[0]:
                found.append(pc.binary_length(batch.column("text")).to_numpy(zero_copy_only=False).astype(np.int64))
        return np.concatenate(found)

    def _columns(self, split: str, start: int, stop: int | None, columns: tuple[str, ...],
                 rows: int = 512) -> Iterator[tuple[list[str], ...]]:
        made = self._split(split)
        stop = made.counts.documents if stop is None else min(stop, made.counts.documents)
        if not 0 <= start <= made.counts.documents:
            raise IndexError(start)
        while start < stop:
            number = bisect_right(made.ends, start)
            first = made.ends[number - 1] if number else 0
            batches, begins = made.table(number)
            at = bisect_right(begins, start - first) - 1
            inside = start - first - begins[at]
            take = min(batches[at].num_rows - inside, stop - start, rows)
            part = batches[at].slice(inside, take)
            yield tuple(part.column(c).to_pylist() for c in columns)
            start += take

    def _split(self, name: str) -> _Split:
        assert name in self._splits, f"no split {name!r}"
        return self._splits[name]
