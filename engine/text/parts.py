"""Parts: the files that a corpus passes through on its way, each holding some thousands of documents as one Arrow file.

A part is written aside, synced and renamed: it is there whole or not at all, so that a resume takes those that exist and makes the rest.
Documents are numbered through all parts in order; `Parts` finds the part of a number. What the columns mean stands beside the schemas.
"""

import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa

PART_BYTES, PART_DOCUMENTS = 16_000_000, 20_000
"""A part is closed when it holds this much text or this many documents."""

READ = pa.schema([
    ("id", pa.string()),        # hash of source name and text: the same document has the same id in every import
    ("root", pa.int32()),       # which of the spec's sources it came from
    ("file", pa.int32()),       # which of the listed files it came from
    ("document", pa.int32()),   # which document of that file; the parts of one long text share it
    ("source", pa.string()),    # the file's name for people, "letters/1912.txt", or "old.zip/1912.txt" inside an archive
    ("text", pa.large_string()),
])
CLEAN = pa.schema([
    ("id", pa.string()), ("root", pa.int32()), ("file", pa.int32()), ("document", pa.int32()), ("source", pa.string()),
    ("text", pa.large_string()),        # as cleaned; of a removed document as it was when the step removed it
    ("original", pa.large_string()),    # as read, null where nothing changed
    ("language", pa.string()), ("language_score", pa.float32()),
    ("step", pa.string()), ("rule", pa.string()), ("detail", pa.string()),      # why it was removed; null when kept
    ("touched", pa.list_(pa.string())),                                         # ids of the steps that changed it
    ("quality", pa.float32()),
    ("harm", pa.float32()), ("harm_kind", pa.string()),                         # the highest of its harm scores
    ("borderline", pa.string()),                                                # the step that wants a person to look, or null
])


def write_part(path: Path, columns: Mapping[str, Sequence[Any]] | pa.Table, schema: pa.Schema | None = None) -> None:
    """One part, from columns of equal length (or a table), lz4-compressed."""
    table = columns if isinstance(columns, pa.Table) else pa.table(dict(columns), schema=schema)
    aside = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    with open(aside, "wb") as file:
        with pa.ipc.new_file(file, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
            writer.write_table(table)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)


def read_part(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A part, or some columns of it."""
    with pa.memory_map(str(path)) as source:
        options = None
        if columns is not None:
            with pa.ipc.open_file(source) as file:
                wanted = [file.schema.get_field_index(c) for c in columns]
            options = pa.ipc.IpcReadOptions(included_fields=wanted)
        with pa.ipc.open_file(source, options=options) as file:
            table = file.read_all()
    return table if columns is None else table.select(list(columns))


def part_name(number: int) -> str:
    return f"part-{number:06d}.arrow"


class Parts:
    """The parts of a folder, in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = sorted(folder.glob("part-*.arrow"))
        self.lengths = [_rows(p) for p in self.paths]
        self.ends = list(accumulate(self.lengths))

    @property
    def documents(self) -> int:
        return self.ends[-1] if self.ends else 0

    def first(self, part: int) -> int:
        """The number of a part's first document."""
        return self.ends[part - 1] if part else 0

    def place(self, number: int) -> tuple[int, int]:
        """(part, row) of a document."""
        part = bisect_right(self.ends, number)
        return part, number - self.first(part)

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[tuple[int, pa.Table]]:
        """(number of its first document, table) of every part."""
        for part, path in enumerate(self.paths):
            yield self.first(part), read_part(path, columns)


def _rows(path: Path) -> int:
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
        return sum(file.get_batch(i).num_rows for i in range(file.num_record_batches))
