"""Problems that a model will be tested on, out of files: JSON lines, JSON, CSV, TSV, Parquet, plain text. Each row (of a text file: each
paragraph) is an item, named "file:line"; every text in it, in whatever column, nested or in a list, is one of its fields.

The calculator notes of GSM8K, "9*2 = <<9*2=18>>18", are read with and without, since copies of it have both. Which parts of an item count
as found is not decided here (contamination.py).
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from engine.contract.errors import FormatError, InputError, NotFound
from engine.contract.units import size as shown_size
from engine.contract.words import tr
from engine.text.readers import detect_encoding

KINDS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet", ".txt": "text",
         ".text": "text", ".md": "text"}
LARGEST = 2_000_000_000
"""Bytes of a file with held-out items; a larger one is no set of problems, and would not be kept in memory."""
_NOTES = re.compile(r"<<[^<>]*>>")
_BARE = re.compile(r"[\W\d_]*")


class Item(NamedTuple):
    """One held-out problem: the set's name (its file), where it stands ("gsm8k.jsonl:12"), its texts."""

    set: str
    name: str
    fields: tuple[str, ...]


def read_items(paths: Sequence[str | Path]) -> Iterator[Item]:
    """Items of files, and of all files of these kinds in folders, in a fixed order. NotFound, InputError and FormatError name the file."""
    for path in map(Path, paths):
        path = path.expanduser()
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in KINDS and p.suffix.lower() != ".md" and p.is_file()
                            and not any(part.startswith(".") for part in p.relative_to(path).parts))
            if not inside:
                raise InputError(tr("There are no held-out sets in {folder}.", folder=str(path)), _known(), field="held_out")
            for file in inside:
                yield from _items(file, file.relative_to(path).as_posix())
        elif path.exists():
            yield from _items(path, path.name)
        else:
            raise NotFound(tr("{path} does not exist.", path=str(path)), tr("Choose another held-out set."), field="held_out")


def check_paths(paths: Sequence[str | Path]) -> None:
    """Raise what `read_items` would raise about paths that are not there or of no known kind, without opening a file."""
    for path in (Path(p).expanduser() for p in paths):
        if not path.exists():
            raise NotFound(tr("{path} does not exist.", path=str(path)), tr("Choose another held-out set."), field="held_out")
        if path.is_file() and path.suffix.lower() not in KINDS:
            raise FormatError(tr("{name} cannot be read as a held-out set.", name=path.name), _known(), field="held_out")


def _known() -> str:
    return tr("Held-out sets are files of these kinds: {kinds}.", kinds=", ".join(KINDS))


def _items(path: Path, name: str) -> Iterator[Item]:
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise FormatError(tr("{name} cannot be read as a held-out set.", name=name), _known(), field="held_out")
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(tr("{name} is larger than {size}: too large for a held-out set.", name=name, size=shown_size(LARGEST)),
                             tr("Choose a file with the problems alone."), field="held_out")
        rows = _parquet(path, name) if kind == "parquet" else _written(path, name, kind)
        for line, row in rows:
            fields = tuple(_fields(row))
            if fields:
                yield Item(name, f"{name}:{line}", fields)
    except OSError as wrong:
        raise InputError(tr("{name} cannot be read: {reason}", name=name, reason=wrong.strerror or str(wrong)),
                         tr("Choose another held-out set."), field="held_out") from wrong


def _fields(value: Any, depth: int = 0) -> Iterator[str]:
    """Every text in a row that has letters, once."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        if not _BARE.fullmatch(value):
            yield value
            if "<<" in value and (bare := _NOTES.sub("", value)) != value:
                yield bare
    elif depth < 8 and isinstance(value, dict):
        for inside in value.values():
            yield from _fields(inside, depth + 1)
    elif depth < 8 and isinstance(value, (list, tuple)):
        for inside in value:
            yield from _fields(inside, depth + 1)


def _written(path: Path, name: str, kind: str) -> Iterator[tuple[int, Any]]:
    """(line, row) of a file of text."""
    with open(path, "rb") as file:
        start = file.read(256_000)
        encoding = detect_encoding(start, len(start) < 256_000)
        file.seek(0)
        text = io.TextIOWrapper(file, encoding, "replace", newline="" if kind in ("csv", "tsv") else None)
        yield from {"jsonl": _json_lines, "json": _json, "csv": _table, "tsv": _table, "text": _paragraphs}[kind](text, name)


def _json_lines(file: io.TextIOWrapper, name: str) -> Iterator[tuple[int, Any]]:
    for line, text in enumerate(file, 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as wrong:
            raise FormatError(tr("{name}, line {line}: not JSON", name=name, line=line),
                              tr("Each line should look like {example}.", example='{"question": "..."}'), field="held_out") from wrong
        yield line, row


def _json(file: io.TextIOWrapper, name: str) -> Iterator[tuple[int, Any]]:
    try:
        rows = json.load(file)
    except (ValueError, RecursionError) as wrong:
        raise FormatError(tr("{name} is not JSON.", name=name), tr("Make or download it again."), field="held_out") from wrong
    if isinstance(rows, dict):
        # {"data": [...]}: the list it holds; a single object otherwise.
        rows = next((value for value in rows.values() if isinstance(value, list) and value and isinstance(value[0], dict)), [rows])
    yield from enumerate(rows if isinstance(rows, list) else [rows], 1)


def _table(file: io.TextIOWrapper, name: str) -> Iterator[tuple[int, Any]]:
    """Rows by the line they begin on. A header is a row like others: its names are too short to be found anywhere."""
    head = file.read(64_000)
    file.seek(0)
    delimiter = "\t"
    if not name.lower().endswith(".tsv"):
        first = head.split("\n", 1)[0]
        delimiter = max(",;\t|", key=first.count)
    csv.field_size_limit(max(csv.field_size_limit(), 16_000_000))
    reader = csv.reader(file, delimiter=delimiter)
    line = 1
    try:
        for row in reader:
            yield line, row
            line = reader.line_num + 1
    except csv.Error as wrong:
        raise FormatError(tr("{name}, line {line}: {reason}", name=name, line=line, reason=str(wrong)), tr("Make or download it again."),
                          field="held_out") from wrong


def _paragraphs(file: io.TextIOWrapper, name: str) -> Iterator[tuple[int, Any]]:
    held: list[str] = []
    began = 1
    for line, text in enumerate(file, 1):
        if text.strip():
            if not held:
                began = line
            held.append(text)
        elif held:
            yield began, "".join(held)
            held = []
    if held:
        yield began, "".join(held)


def _parquet(path: Path, name: str) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            row = 1
            for batch in file.iter_batches(batch_size=256):
                for values in batch.to_pylist():
                    yield row, values
                    row += 1
    except (pa.ArrowException, UnicodeDecodeError) as wrong:
        raise FormatError(tr("{name} is a damaged Parquet file: {reason}", name=name, reason=str(wrong)), tr("Make or download it again."),
                          field="held_out") from wrong
