"""Text files, JSON lines and .csv and .tsv: whatever is read line by line. Streamed; a line that is too long is counted, not held."""

import csv
import json
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from engine.contract.errors import FormatError
from engine.contract.units import size as shown_size
from engine.contract.words import tr, trn
from engine.text.readers import base
from engine.text.readers.columns import choose_column
from engine.text.readers.cutting import chain, documents_of, lines_of
from engine.text.readers.encoding import Decoded

if TYPE_CHECKING:
    from engine.text.readers.reader import Pieces, Reader


def pieces(reader: "Reader") -> "Pieces":
    with reader.opened() as stream:
        source = Decoded(stream, reader.options.encoding, reader.limit, reader.tick)
        reader.encoding = source.encoding
        found: Pieces
        if reader.file.kind in ("text", "code"):
            found = documents_of(source, reader.options.split_by if reader.file.kind == "text" else "file")
        elif reader.file.kind == "jsonl":
            found = ((text, True) for text in json_lines(reader, lines_of(source, base.LONGEST_LINE, reader.limit is not None)))
        else:
            found = ((text, True) for text in _table(reader, source))
        for piece in found:
            reader.replaced = source.replaced
            reader.at(stream, source.bytes)
            yield piece
        reader.replaced = source.replaced
        reader.at(stream, source.bytes)


def json_lines(reader: "Reader", lines: Iterator[tuple[int, str | None]]) -> Iterator[str]:
    yield from texts_of_rows(reader, json_rows(reader, lines))


def texts_of_rows(reader: "Reader", rows: Iterator[tuple[int, Any]]) -> Iterator[str]:
    """The texts of objects or strings that come with their numbers. The first 200 decide the column."""
    first: list[tuple[int, Any]] = []
    broken: FormatError | None = None
    try:
        for row in rows:
            first.append(row)
            if len(first) >= 200:
                break
    except FormatError as wrong:  # what stands before it is kept
        if not first:
            raise
        broken = wrong
    seen: dict[str, list[Any]] = {}
    for _, row in first:
        if isinstance(row, dict):
            for key, value in row.items():
                seen.setdefault(str(key), []).append(value)
    reader.columns = tuple(seen)
    if any(isinstance(row, dict) for _, row in first):
        reader.column = choose_column(reader.file.name, seen, reader.options.text_column)
    elif not first:
        if reader.bad_count:
            raise FormatError(tr("{name} holds no JSON objects, one a line.", name=reader.file.name),
                              tr("Each line should look like {example}.", example='{"text": "..."}'))
        return
    column = reader.column
    for number, row in chain(first, rows):
        value = row.get(column) if isinstance(row, dict) else row
        if isinstance(value, str):
            yield value
        elif value is None:
            reader.empty += 1
        else:
            reader.note_bad(number, tr("{column} is no text", column=column or tr("the line")))
    if broken is not None:
        raise broken


def json_rows(reader: "Reader", lines: Iterator[tuple[int, str | None]]) -> Iterator[tuple[int, Any]]:
    """Objects and strings with the numbers of their lines; what is neither is noted."""
    import orjson

    for number, line in lines:
        if line is None:
            reader.note_bad(number, tr("the line is longer than {size}", size=shown_size(base.LONGEST_LINE)))
            continue
        if not line or line.isspace():
            continue
        try:
            row = orjson.loads(line)
        except ValueError:
            try:
                row = json.loads(line)  # takes NaN, and lone surrogates, which are replaced later
            except (ValueError, RecursionError):
                reader.note_bad(number, tr("not JSON"))
                continue
        if isinstance(row, (dict, str)):
            yield number, row
        else:
            reader.note_bad(number, tr("no object"))


def _table(reader: "Reader", source: Decoded) -> Iterator[str]:
    names, rows = cells_of(reader, source)
    if not names:
        return
    first = [row for _, row in zip(range(200), rows, strict=False)]
    seen = {name: [row[i] for _, row in first if i < len(row)] for i, name in enumerate(names)}
    reader.column = choose_column(reader.file.name, seen, reader.options.text_column)
    at = names.index(reader.column)
    for number, row in chain(first, rows):
        if not row:
            continue
        if at >= len(row) or any(cell.strip() for cell in row[len(names):]):
            reader.note_bad(number, wrong_width(len(row), len(names)))
        elif row[at]:
            yield row[at]
        else:
            reader.empty += 1


def cells_of(reader: "Reader", source: Decoded) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The names of a table's columns (numbered ones where it has no header) and its rows with the lines they begin on; no names where it is
    empty."""
    lines = _Lines(source, reader)
    head = lines.peek(200)
    delimiter, quoting = ("\t", _tab_quoting(head)) if reader.file.kind == "tsv" else (_delimiter(head), csv.QUOTE_MINIMAL)
    # The limit is the process's. It bounds what a quote that is never closed can swallow.
    csv.field_size_limit(max(4_000_000, 4 * reader.options.max_document_bytes))
    rows = _rows(reader, csv.reader(lines, delimiter=delimiter, quoting=quoting), lines)
    first = next(rows, None)
    if first is None:
        return [], rows
    named = _looks_like_header(first[1])
    names = [(named and n.strip()) or tr("column {number}", number=i + 1) for i, n in enumerate(first[1])]
    reader.columns = tuple(names)
    return names, rows if named else chain([first], rows)


def wrong_width(cells: int, wanted: int) -> str:
    return trn("{count} cell instead of {wanted}", "{count} cells instead of {wanted}", cells, wanted=wanted)


def _rows(reader: "Reader", table: Any, lines: "_Lines") -> Iterator[tuple[int, list[str]]]:
    while True:
        number = lines.number + 1
        try:
            row = next(table)
        except StopIteration:
            return
        except csv.Error as wrong:
            reader.note_bad(number, str(wrong))
            continue
        yield number, row


class _Lines:
    """Lines with their ends, for the csv module; too long ones are noted and left out."""

    def __init__(self, source: Decoded, reader: "Reader") -> None:
        self._lines, self._reader = lines_of(source, base.LONGEST_LINE, reader.limit is not None), reader
        self._peeked: list[tuple[int, str | None]] = []
        self.number = 0

    def peek(self, count: int) -> list[str]:
        for item in self._lines:
            self._peeked.append(item)
            if len(self._peeked) >= count:
                break
        self._peeked.reverse()
        return [text for _, text in reversed(self._peeked) if text]

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        while True:
            self.number, text = self._peeked.pop() if self._peeked else next(self._lines)
            if text is not None:
                return text + "\n"
            self._reader.note_bad(self.number, tr("the line is longer than {size}", size=shown_size(base.LONGEST_LINE)))


def _delimiter(head: Sequence[str]) -> str:
    """The separator that cuts most of the first lines into the same number of cells, more than one."""
    best, score = ",", 0.0
    for sign in (",", ";", "\t", "|"):
        counts = [len(row) for row in csv.reader(head[:50], delimiter=sign)]
        if counts and counts[0] > 1:
            alike = sum(1 for c in counts if c == counts[0]) / len(counts)
            if alike > score:
                best, score = sign, alike
    return best


def _tab_quoting(head: Sequence[str]) -> Literal[0, 3]:
    """Quotes mean something in a .tsv only where cells begin and end with them."""
    cells = [cell for line in head for cell in line.split("\t")]
    quoted = any(len(c) >= 2 and c[0] == c[-1] == '"' for c in cells)
    return csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE


def _looks_like_header(row: Sequence[str]) -> bool:
    """The first cell may be empty: so pandas writes its row numbers."""
    names = [cell.strip() for cell in row]
    names = names[1:] if len(names) > 1 and not names[0] else names
    return (bool(names) and len(set(names)) == len(names) and all(0 < len(n) <= 64 for n in names)
            and not any(re.fullmatch(r"[-+0-9.,:/%$€ ]+", n) for n in names) and not any(n.endswith((".", "!", "?")) for n in names))
