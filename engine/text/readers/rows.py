"""The rows of a file of rows as dictionaries, with every column: JSON lines, JSON, CSV, TSV, Parquet, Arrow, saved datasets. Streamed.

For readers that want more than one text of a row (conversations); what a column means is not decided here.
"""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from engine.text.readers import arrow, base, json_file, tables
from engine.text.readers.cutting import lines_of
from engine.text.readers.encoding import Decoded
from engine.text.readers.reader import Reader

KINDS = ("jsonl", "json", "csv", "tsv", "parquet", "arrow", "hf")
ROWS_AT_ONCE = 256


def rows(reader: Reader) -> Iterator[tuple[int, Any]]:
    """(number, row) of one file, where a row is a dictionary or, in JSON, a string. `number` is the line of text files, the row of tables
    and arrays. What is neither goes to `reader.note_bad`. FormatError where the file cannot be read on."""
    kind = reader.file.kind
    assert kind in KINDS, kind
    if kind in ("parquet", "arrow", "hf"):
        yield from _columns(reader)
        return
    with reader.opened() as stream:
        source = Decoded(stream, reader.options.encoding, None if kind == "json" else reader.limit, reader.tick)
        reader.encoding = source.encoding
        if kind == "jsonl":
            found = tables.json_rows(reader, lines_of(source, base.LONGEST_LINE, reader.limit is not None))
        elif kind == "json":
            found = json_file.rows_of(reader, source)
        else:
            found = _cells(reader, source)
        for row in found:
            reader.replaced = source.replaced
            reader.at(stream, source.bytes)
            yield row
            if kind == "json" and reader.enough(reader.done):
                return
        reader.at(stream, source.bytes)


def _cells(reader: Reader, source: Decoded) -> Iterator[tuple[int, Any]]:
    names, found = tables.cells_of(reader, source)
    for number, cells in found:
        if not cells:
            continue
        if len(cells) != len(names) and any(cell.strip() for cell in cells[len(names):]) or len(cells) < len(names):
            reader.note_bad(number, tables.wrong_width(len(cells), len(names)))
        else:
            yield number, dict(zip(names, cells, strict=False))


def _columns(reader: Reader) -> Iterator[tuple[int, Any]]:
    try:
        number = 0
        for batch in _batches(reader):
            reader.columns = tuple(batch.schema.names)
            batch.validate(full=True)  # what a file claims of its own texts may lead out of its memory
            for start in range(0, batch.num_rows, ROWS_AT_ONCE):
                for row in batch.slice(start, ROWS_AT_ONCE).to_pylist():
                    number += 1
                    yield number, row
                reader.tick()
            if reader.enough(reader.done):
                return
    except pa.ArrowMemoryError:
        raise
    except (pa.ArrowException, UnicodeDecodeError, OSError) as wrong:
        if isinstance(wrong, OSError) and wrong.errno is not None:
            raise
        raise base.damaged(reader.file.name, "Parquet" if reader.file.kind == "parquet" else "Arrow", str(wrong)) from wrong


def _batches(reader: Reader) -> Iterator[Any]:
    """Record batches of some megabytes; `reader.done` follows."""
    if reader.file.kind == "hf":
        before = 0
        for path in arrow.shards(reader.file.path, reader.file.name):
            with open(path, "rb") as stream:
                for batch in arrow.Batches(stream, f"{reader.file.name}/{path.name}"):
                    reader.done = min(reader.file.size, before + stream.tell())
                    yield batch
            before += path.stat().st_size
        return
    with reader.seekable() as stream:
        if reader.file.kind == "arrow":
            for batch in arrow.Batches(stream, reader.file.name):
                reader.done = min(reader.file.size, stream.tell())
                yield batch
            return
        import pyarrow.parquet as pq

        with pq.ParquetFile(stream, buffer_size=base.CHUNK, pre_buffer=False) as file:
            total, taken = max(1, file.metadata.num_rows), 0
            for batch in file.iter_batches(batch_size=arrow.rows_at_once(reader.file.size * 4, total)):
                taken += batch.num_rows
                reader.done = min(reader.file.size, reader.file.size * taken // total)
                yield batch
