"""Parquet, Arrow files and streams, and folders that `datasets` saved. Batch by batch and without memory maps, so that the memory of a
reader is what it uses; `datasets` itself is not needed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.contract.errors import FormatError
from engine.contract.words import tr
from engine.text.readers import base
from engine.text.readers.columns import choose_column, no_column

if TYPE_CHECKING:
    from engine.text.readers.reader import Pieces, Reader

BATCH_BYTES = 4_000_000


def pieces(reader: "Reader") -> "Pieces":
    import pyarrow as pa

    kind = reader.file.kind
    try:
        if kind == "hf":
            yield from _saved(reader)
            return
        with reader.seekable() as stream:
            for text in _parquet(reader, stream) if kind == "parquet" else _texts(reader, stream, Batches(stream, reader.file.name)):
                yield text, True
    except pa.ArrowMemoryError:
        raise
    except (pa.ArrowException, UnicodeDecodeError, OSError) as wrong:
        if isinstance(wrong, OSError) and wrong.errno is not None:
            raise
        raise base.damaged(reader.file.name, "Parquet" if kind == "parquet" else "Arrow", str(wrong)) from wrong


# ---- Parquet


def _parquet(reader: "Reader", stream: Any) -> Iterator[str]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(stream, buffer_size=base.CHUNK, pre_buffer=False) as file:
        kinds = {f.name: f.type for f in file.schema_arrow}
        readable = [n for n, kind in kinds.items() if _holds_text(kind)]
        first = next(file.iter_batches(batch_size=50, columns=readable), None)
        _choose(reader, kinds, readable, first)
        total, taken = max(1, file.metadata.num_rows), 0
        for batch in file.iter_batches(batch_size=rows_at_once(reader.file.size * 4, total), columns=[reader.column]):
            yield from _values(reader, batch.column(0), taken)
            taken += batch.num_rows
            reader.done = min(reader.file.size, reader.file.size * taken // total)
            reader.tick()
            if reader.enough(reader.done):
                return


def rows_at_once(size: int, rows: int) -> int:
    """So many rows of a table of `size` bytes make some megabytes."""
    return max(16, min(8192, BATCH_BYTES * rows // max(1, size)))


# ---- Arrow


class Batches:
    """Record batches of an Arrow file (Feather 2) or stream, and its schema."""

    def __init__(self, stream: Any, name: str) -> None:
        import pyarrow as pa

        start = stream.read(8)
        stream.seek(0)
        if start.startswith(b"FEA1"):
            raise FormatError(tr("{name} is a Feather file of the first version.", name=name), tr("Save it again with a newer program."))
        self._file = pa.ipc.open_file(stream) if start.startswith(b"ARROW1") else None
        self._reader = self._file or pa.ipc.open_stream(stream)
        self.schema = self._reader.schema

    def __iter__(self) -> Iterator[Any]:
        if self._file is None:
            yield from self._reader
        else:
            for i in range(self._file.num_record_batches):
                yield self._file.get_batch(i)


def _texts(reader: "Reader", stream: Any, batches: Batches, before: int = 0, taken: int = 0) -> Iterator[str]:
    """`before`: bytes of other files of the dataset; `taken`: rows of them."""
    kinds = {f.name: f.type for f in batches.schema}
    readable = [n for n, kind in kinds.items() if _holds_text(kind)]
    chosen = ""
    for batch in batches:
        if not chosen:
            if not reader.column:
                _choose(reader, kinds, readable, batch.slice(0, 50).select(readable))
            elif reader.column not in readable:
                raise no_column(reader.file.name, tuple(readable))
            chosen = reader.column
        column = batch.column(batches.schema.get_field_index(chosen))
        column.validate(full=True)  # what a file claims of its own texts may lead out of its memory
        for start in range(0, len(column), 1000):
            yield from _values(reader, column.slice(start, 1000), taken + start)
            reader.tick()
        taken += batch.num_rows
        reader.done = min(reader.file.size, before + stream.tell())
        if reader.enough(reader.done):
            return


def _saved(reader: "Reader") -> "Pieces":
    """The rows of a folder made by `save_to_disk`: of a Dataset, or of all splits of a DatasetDict in their order."""
    before = taken = 0
    for path in shards(reader.file.path, reader.file.name):
        with open(path, "rb") as stream:
            batches = Batches(stream, f"{reader.file.name}/{path.name}")
            for text in _texts(reader, stream, batches, before, taken):
                yield text, True
            before += path.stat().st_size
        reader.tick()
        if reader.enough(before):
            return


def shards(folder: Path, name: str) -> list[Path]:
    """The Arrow files of a saved dataset, as its records list them. A record that points out of the folder is refused."""
    splits = [folder]
    if (folder / "dataset_dict.json").is_file():
        splits = [folder / str(s) for s in _record(folder / "dataset_dict.json", name).get("splits", ())]
    found = []
    for split in splits:
        for file in _record(split / "state.json", name).get("_data_files") or ():
            path = split / str(file.get("filename", "") if isinstance(file, dict) else file)
            if not path.resolve().is_relative_to(folder.resolve()):
                raise FormatError(tr("{name} points to a file outside of itself: {file}", name=name, file=path.name),
                                  tr("Leave it out: no program writes such datasets."))
            if not path.is_file():
                raise FormatError(tr("{name} lacks its file {file}.", name=name, file=path.name), tr("Copy or download it again."))
            found.append(path)
    return found


def _record(path: Path, name: str) -> dict[str, Any]:
    try:
        if not path.resolve().is_relative_to(path.parent.resolve()):
            raise ValueError(path.name)
        with open(path, "rb") as file:
            record = json.loads(file.read(10_000_000))
    except (OSError, ValueError, RecursionError) as wrong:
        raise FormatError(tr("{name} is no whole dataset: {file} is missing or damaged.", name=name, file=path.name),
                          tr("Copy or download it again.")) from wrong
    return record if isinstance(record, dict) else {}


# ---- columns


def _choose(reader: "Reader", kinds: dict[str, Any], readable: list[str], sample: Any) -> None:
    reader.columns = tuple(kinds)
    seen = {n: sample.column(readable.index(n)).to_pylist() if sample is not None and n in readable else [] for n in kinds}
    reader.column = choose_column(reader.file.name, seen, reader.options.text_column)
    if reader.column not in readable:
        raise no_column(reader.file.name, tuple(readable) or reader.columns)


def _values(reader: "Reader", column: Any, before: int) -> Iterator[str]:
    for number, value in enumerate(column.to_pylist(), before + 1):
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if value is None:
            reader.empty += 1
        elif isinstance(value, str):
            yield value
        else:
            reader.note_bad(number, tr("{column} is no text", column=reader.column))


def _holds_text(kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_dictionary(kind):
        kind = kind.value_type
    checks = (types.is_string, types.is_large_string, types.is_string_view, types.is_binary, types.is_large_binary)
    return any(check(kind) for check in checks)
