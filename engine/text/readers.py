"""Documents out of people's files: .txt, .md, .jsonl, .csv, .tsv, .parquet, and folders of them. Streamed: a megabyte at a time, whatever
the length of a file, a line or a text. `preview` shows what an import would find, fast and bounded.

Rules
- A folder is walked in sorted order; hidden files are left out, files of other kinds and unreadable ones are listed with the reason.
- Encoding "auto": byte-order mark, else strict UTF-8, else chardet, on the first 256 KB. What does not fit becomes U+FFFD and is counted.
- Line ends become "\\n"; otherwise the text is left as it is. Texts of white space alone are no documents.
- Tables: the text column is the one named so ("text", "content", ...), else the one with the longest texts.
- A bad line or row is counted and listed with its number; the rest goes on.
- A text longer than `max_document_bytes` comes in parts, cut at a paragraph, else a line, a sentence, a word.

It splits nothing into train and validation and writes nothing.
"""

import codecs
import csv
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

from engine.contract.errors import FledgeError, FormatError, InputError, NotFound
from engine.contract.units import size as shown_size
from engine.contract.words import tr

CHUNK = 1_000_000
SAMPLE = 256_000
LONGEST_LINE = 64_000_000
"""Characters of a JSON line or table cell; a longer one is counted as bad and skipped without being held."""
LISTED = 20
"""Bad lines that are listed with their number; the others are only counted."""

KINDS = {".txt": "text", ".text": "text", ".md": "text", ".markdown": "text", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv",
         ".tsv": "tsv", ".parquet": "parquet"}
TEXT_NAMES = ("text", "content", "body", "document", "article", "passage", "story", "raw_content", "document_text", "text_content",
              "markdown", "message", "review", "post", "abstract", "transcript", "code")


@dataclass(frozen=True)
class ReadOptions:
    """What the person may override: see CorpusSpec. `split_by` (file, blank_lines, line) applies to text files."""

    encoding: str = "auto"
    text_column: str = ""
    split_by: str = "file"
    max_document_bytes: int = 1_000_000


@dataclass(frozen=True)
class SourceFile:
    """A file to be read; `name` is how it is called in the corpus: its path inside what was given."""

    path: Path
    name: str
    kind: str
    size: int


@dataclass(frozen=True)
class Skipped:
    """A file that is left out, and why."""

    name: str
    reason: str


class Part(NamedTuple):
    """A text, or a part of a long one. `document` counts the documents of the file; `last` marks the last part of a document."""

    document: int
    text: str
    last: bool


# ---- which files


def list_files(sources: Sequence[str | Path]) -> tuple[list[SourceFile], list[Skipped]]:
    """What can be read and what is left out, in a fixed order. A source that does not exist is a NotFound."""
    files: list[SourceFile] = []
    skipped: list[Skipped] = []
    seen: set[Path] = set()
    for source in sources:
        path = Path(source).expanduser()
        try:
            if path.is_dir():
                for inside in _walk(path):
                    name = f"{path.resolve().name}/{inside.relative_to(path).as_posix()}"
                    _sort_in(inside, name, files, skipped, seen, given=False)
            elif path.exists():
                _sort_in(path, path.name, files, skipped, seen, given=True)
            else:
                raise NotFound(tr("{path} does not exist.", path=str(path)), tr("Choose another file or folder."))
        except PermissionError as wrong:
            raise InputError(tr("{path} may not be read.", path=str(path)), tr("Change its permissions, or choose another.")) from wrong
    return files, skipped


def _walk(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(n for n in folders if not n.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(root) / name


def _sort_in(path: Path, name: str, files: list[SourceFile], skipped: list[Skipped], seen: set[Path], given: bool) -> None:
    kind = KINDS.get(path.suffix.lower())
    real = path.resolve()
    if real in seen:
        skipped.append(Skipped(name, tr("given twice")))
        return
    seen.add(real)
    try:
        if not path.is_file():
            skipped.append(Skipped(name, tr("not a file")))
            return
        size = path.stat().st_size
        with open(path, "rb") as file:
            start = file.read(4096)
    except OSError as wrong:
        skipped.append(Skipped(name, tr("cannot be opened: {reason}", reason=wrong.strerror or str(wrong))))
        return
    if not start:
        skipped.append(Skipped(name, tr("empty")))
    elif kind is None and start.startswith((b"\x1f\x8b", b"PK\x03\x04", b"\xfd7zXZ", b"BZh", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf")):
        skipped.append(Skipped(name, tr("packed: unpack it first")))
    elif kind is None and given and not _is_binary(start):
        files.append(SourceFile(path, name, "text", size))
    elif kind is None:
        skipped.append(Skipped(name, tr("{kind} files are not read", kind=path.suffix or tr("such"))))
    elif kind == "parquet" and not start.startswith(b"PAR1"):
        skipped.append(Skipped(name, tr("not a Parquet file")))
    elif kind != "parquet" and _is_binary(start):
        skipped.append(Skipped(name, tr("not text")))
    else:
        files.append(SourceFile(path, name, kind, size))


def _is_binary(start: bytes) -> bool:
    """Whether a file begins as no text would: NUL bytes that are no UTF-16 or UTF-32, or mostly control characters."""
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)) or _wide(start):
        return False
    controls = sum(start.count(bytes([b])) for b in (*range(0, 9), *range(14, 27), *range(28, 32)))
    return controls * 10 > len(start)


def _wide(start: bytes) -> str:
    """UTF-16 without a mark shows by NULs in every second place of Latin text."""
    even, odd = start[0::2].count(0), start[1::2].count(0)
    if len(start) >= 16 and max(even, odd) > len(start) * 0.3 and min(even, odd) < len(start) * 0.03:
        return "utf-16-be" if even > odd else "utf-16-le"
    return ""


# ---- encodings


def detect_encoding(start: bytes, whole: bool = False) -> str:
    """Name of the encoding of a file that begins with `start` (all of it when `whole`)."""
    for mark, name in ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
                       (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if start.startswith(mark):
            return name
    if wide := _wide(start):
        return wide
    try:
        codecs.getincrementaldecoder("utf-8")("strict").decode(start, whole)
        return "utf-8"
    except UnicodeDecodeError:
        pass
    import chardet

    found = str(chardet.detect(start).get("encoding") or "utf-8").lower()
    try:
        codecs.lookup(found)
    except LookupError:
        return "utf-8"
    # Text that is UTF-8 but for some damaged bytes is better read as such than as an 8-bit guess.
    shown = start.decode("utf-8", "replace")
    marks = shown.count("\ufffd")
    damaged = marks - start.count(b"\xef\xbf\xbd")
    whole_characters = len(re.findall("[^\x00-\x7f]", shown)) - marks
    return "utf-8" if found == "ascii" or whole_characters > 10 * damaged else found


class _Decoded:
    """Text of a binary file in chunks, with line ends as "\\n". `bytes` counts what was read, `replaced` what did not fit."""

    def __init__(self, file: BinaryIO, encoding: str, limit: int | None = None) -> None:
        self._file, self._limit = file, limit
        start = file.read(SAMPLE)
        file.seek(0)
        self.encoding = detect_encoding(start, len(start) < SAMPLE) if encoding == "auto" else encoding
        name = self.encoding
        if start.startswith(codecs.BOM_UTF8) and name == "utf-8":
            name = "utf-8-sig"
        self._decoder = codecs.getincrementaldecoder(name)("replace")
        self.bytes = 0
        self.replaced = 0

    def __iter__(self) -> Iterator[str]:
        lines = io.IncrementalNewlineDecoder(None, translate=True)
        while True:
            raw = self._file.read(CHUNK if self._limit is None else min(CHUNK, self._limit - self.bytes))
            self.bytes += len(raw)
            text = self._decoder.decode(raw, not raw and self._limit is None)
            if "\ufffd" in text:
                # A U+FFFD that stands in the file itself is no damage; only UTF-8 can be told apart cheaply.
                real = raw.count(b"\xef\xbf\xbd") if self.encoding.startswith("utf-8") else 0
                self.replaced += max(0, text.count("\ufffd") - real)
            text = lines.decode(text, not raw)
            if text:
                yield text
            if not raw:
                return


# ---- one file


@dataclass
class Reader:
    """Iterate to get the parts of one file; meanwhile `done` (bytes of the file taken), `bad` and the rest grow.

    bad          (line or row number, reason) of the first bad ones; bad_count counts all
    replaced     characters that did not fit the encoding
    column       the text column of a table; `columns` all of them
    """

    file: SourceFile
    options: ReadOptions = field(default_factory=ReadOptions)
    limit: int | None = None
    done: int = 0
    bad: list[tuple[int, str]] = field(default_factory=list)
    bad_count: int = 0
    empty: int = 0
    replaced: int = 0
    encoding: str = ""
    column: str = ""
    columns: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Part]:
        try:
            yield from _parts(self._pieces(), self.options.max_document_bytes)
        except OSError as wrong:
            raise FormatError(tr("{name} cannot be read: {reason}", name=self.file.name, reason=wrong.strerror or str(wrong)),
                              tr("Check the disk it lies on.")) from wrong
        if self.limit is None:
            self.done = self.file.size

    def _pieces(self) -> Iterator[tuple[str, bool]]:
        """(text, whether the document ends with it)."""
        if self.file.kind == "parquet":
            for text in self._parquet():
                yield text, True
            return
        with open(self.file.path, "rb") as file:
            source = _Decoded(file, self.options.encoding, self.limit)
            self.encoding = source.encoding
            pieces: Iterator[tuple[str, bool]]
            if self.file.kind == "text":
                pieces = _documents(source, self.options.split_by)
            elif self.file.kind == "jsonl":
                pieces = ((text, True) for text in self._json(_lines(source, LONGEST_LINE, self.limit is not None)))
            else:
                pieces = ((text, True) for text in self._table(source))
            for piece in pieces:
                self.done, self.replaced = source.bytes, source.replaced
                yield piece
            self.done, self.replaced = source.bytes, source.replaced

    def _note(self, number: int, reason: str) -> None:
        self.bad_count += 1
        if len(self.bad) < LISTED:
            self.bad.append((number, reason))

    # JSON lines

    def _json(self, lines: Iterator[tuple[int, str | None]]) -> Iterator[str]:
        rows = self._json_rows(lines)
        first: list[tuple[int, Any]] = []
        for row in rows:
            first.append(row)
            if len(first) >= 200:
                break
        seen: dict[str, list[Any]] = {}
        for _, row in first:
            if isinstance(row, dict):
                for key, value in row.items():
                    seen.setdefault(str(key), []).append(value)
        self.columns = tuple(seen)
        if any(isinstance(row, dict) for _, row in first):
            self.column = choose_column(self.file.name, seen, self.options.text_column)
        elif not first:
            if self.bad_count:
                raise FormatError(tr("{name} holds no JSON objects, one a line.", name=self.file.name),
                                  tr("Each line should look like {example}.", example='{"text": "..."}'))
            return
        for number, row in _chain(first, rows):
            value = row.get(self.column) if isinstance(row, dict) else row
            if isinstance(value, str):
                yield value
            elif value is None:
                self.empty += 1
            else:
                self._note(number, tr("{column} is no text", column=self.column or tr("the line")))

    def _json_rows(self, lines: Iterator[tuple[int, str | None]]) -> Iterator[tuple[int, Any]]:
        import orjson

        for number, line in lines:
            if line is None:
                self._note(number, tr("the line is longer than {size}", size=shown_size(LONGEST_LINE)))
                continue
            if not line or line.isspace():
                continue
            try:
                row = orjson.loads(line)
            except ValueError:
                try:
                    row = json.loads(line)  # takes NaN, and lone surrogates, which _storable replaces
                except (ValueError, RecursionError):
                    self._note(number, tr("not JSON"))
                    continue
            if isinstance(row, (dict, str)):
                yield number, row
            else:
                self._note(number, tr("no object"))

    # tables

    def _table(self, source: _Decoded) -> Iterator[str]:
        lines = _Lines(source, self)
        head = lines.peek(200)
        delimiter, quoting = ("\t", _tab_quoting(head)) if self.file.kind == "tsv" else (_delimiter(head), csv.QUOTE_MINIMAL)
        # The limit is the process's. It bounds what a quote that is never closed can swallow.
        csv.field_size_limit(max(4_000_000, 4 * self.options.max_document_bytes))
        rows = self._rows(csv.reader(lines, delimiter=delimiter, quoting=quoting), lines)
        first = [row for _, row in zip(range(200), rows, strict=False)]
        if not first:
            return
        named = _looks_like_header(first[0][1])
        names = [n.strip() for n in first[0][1]] if named else [tr("column {number}", number=i + 1) for i in range(len(first[0][1]))]
        body = first[1:] if named else first
        self.columns = tuple(names)
        seen = {name: [row[i] for _, row in body if i < len(row)] for i, name in enumerate(names)}
        self.column = choose_column(self.file.name, seen, self.options.text_column)
        at = names.index(self.column)
        for number, row in _chain(body, rows):
            if not row:
                continue
            if at >= len(row) or any(cell.strip() for cell in row[len(names):]):
                self._note(number, tr("{found} cells instead of {wanted}", found=len(row), wanted=len(names)))
            elif row[at]:
                yield row[at]
            else:
                self.empty += 1

    def _rows(self, reader: Any, lines: "_Lines") -> Iterator[tuple[int, list[str]]]:
        while True:
            number = lines.number + 1
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as wrong:
                self._note(number, str(wrong))
                continue
            yield number, row

    # Parquet

    def _parquet(self) -> Iterator[str]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self.file.path, memory_map=True, buffer_size=CHUNK, pre_buffer=False) as file:
                names = [f.name for f in file.schema_arrow]
                self.columns = tuple(names)
                kinds = {f.name: f.type for f in file.schema_arrow}
                readable = [n for n, kind in kinds.items() if _holds_text(kind)]
                sample = next(file.iter_batches(batch_size=50, columns=readable), None)
                seen = {n: sample.column(n).to_pylist() if sample is not None and n in readable else [] for n in names}
                self.column = choose_column(self.file.name, seen, self.options.text_column)
                if self.column not in readable:
                    raise _no_column(self.file.name, tuple(readable) or self.columns)
                total, taken = max(1, file.metadata.num_rows), 0
                for batch in file.iter_batches(batch_size=64, columns=[self.column]):
                    for number, value in enumerate(batch.column(0).to_pylist(), taken + 1):
                        if isinstance(value, bytes):
                            value = value.decode("utf-8", "replace")
                        if value is None:
                            self.empty += 1
                        elif isinstance(value, str):
                            yield value
                        else:
                            self._note(number, tr("{column} is no text", column=self.column))
                    taken += batch.num_rows
                    self.done = self.file.size * taken // total
                    if self.limit is not None and self.done >= self.limit:
                        return
        except (pa.ArrowException, UnicodeDecodeError) as wrong:
            raise FormatError(tr("{name} is a damaged Parquet file: {reason}", name=self.file.name, reason=str(wrong)),
                              tr("Make or download it again.")) from wrong


# ---- columns


def choose_column(name: str, columns: dict[str, list[Any]], wanted: str = "") -> str:
    """The column that holds the text; a FormatError names the columns where none can be told."""
    if wanted:
        for column in columns:
            if column == wanted or column.casefold() == wanted.strip().casefold():
                return column
        raise FormatError(tr("{name} has no column called {column}.", name=name, column=wanted),
                          tr("Its columns: {columns}.", columns=", ".join(columns) or tr("none")), code="no_such_column",
                          field="text_column")
    folded = {column.strip().casefold(): column for column in reversed(columns)}
    for known in TEXT_NAMES:
        if known in folded and (_mean_length(columns[folded[known]]) > 0 or not any(columns.values())):
            return folded[known]
    lengths = {column: _mean_length(values) for column, values in columns.items()}
    best = max(lengths, key=lengths.__getitem__, default="")
    alone = sum(length > 0 for length in lengths.values()) == 1
    if best and lengths[best] >= (1 if len(columns) == 1 else 8 if alone else 20):
        return best
    raise _no_column(name, tuple(columns))


def _no_column(name: str, columns: Sequence[str]) -> FormatError:
    return FormatError(tr("It is not clear which column of {name} holds the text.", name=name),
                       tr("Set the text column to one of: {columns}.", columns=", ".join(columns) or tr("none")), code="which_column",
                       field="text_column")


def _mean_length(values: Sequence[Any]) -> float:
    texts = [v for v in values if isinstance(v, (str, bytes))]
    # Numbers as text (ids, dates, prices) are no prose however long.
    prose = [v for v in texts if not isinstance(v, str) or re.search(r"[^\W\d_]{2}", v)]
    return sum(map(len, prose)) / len(values) if values and len(texts) * 2 >= len(values) else 0.0


def _holds_text(kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_dictionary(kind):
        kind = kind.value_type
    checks = (types.is_string, types.is_large_string, types.is_string_view, types.is_binary, types.is_large_binary)
    return any(check(kind) for check in checks)


# ---- lines and pieces


def _lines(chunks: Iterable[str], longest: int, torn: bool = False) -> Iterator[tuple[int, str | None]]:
    """(number from 1, line without its end); None for a line over `longest`, whose text is not held. When the chunks are only the beginning
    of a file (`torn`), the last line without an end is left out."""
    held: list[str] = []
    number, length, dropped = 1, 0, False
    for chunk in chunks:
        start = 0
        while (end := chunk.find("\n", start)) >= 0:
            if dropped or length + end - start > longest:
                yield number, None
            elif held:
                held.append(chunk[start:end])
                yield number, "".join(held)
            else:
                yield number, chunk[start:end]
            number, held, length, dropped, start = number + 1, [], 0, False, end + 1
        length += len(chunk) - start
        if length > longest:
            held, dropped = [], True
        elif start < len(chunk):
            held.append(chunk[start:])
    if torn:
        return
    if dropped:
        yield number, None
    elif held:
        yield number, "".join(held)


class _Lines:
    """Lines with their ends, for the csv module; too long ones are noted and left out."""

    def __init__(self, source: _Decoded, reader: Reader) -> None:
        self._lines, self._reader = _lines(source, LONGEST_LINE, reader.limit is not None), reader
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
            self._reader._note(self.number, tr("the line is longer than {size}", size=shown_size(LONGEST_LINE)))


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
    names = [cell.strip() for cell in row]
    return (bool(names) and len(set(names)) == len(names) and all(0 < len(n) <= 64 for n in names)
            and not any(re.fullmatch(r"[-+0-9.,:/%$€ ]+", n) for n in names) and not any(n.endswith((".", "!", "?")) for n in names))


_BLANK = re.compile(r"\n[ \t]*\n\s*")


def _documents(chunks: Iterable[str], split_by: str) -> Iterator[tuple[str, bool]]:
    """(text, ends a document) of a text file."""
    if split_by == "file":
        for chunk in chunks:
            yield chunk, False
        yield "", True
    elif split_by == "line":
        for chunk in chunks:
            lines = chunk.split("\n")
            for line in lines[:-1]:
                yield line, True
            yield lines[-1], False
        yield "", True
    else:
        assert split_by == "blank_lines", split_by
        held = ""
        for chunk in chunks:
            held += chunk
            start = 0
            for border in _BLANK.finditer(held):
                if border.end() == len(held):
                    break  # the blank lines may go on in the next chunk
                yield held[start:border.start()], True
                start = border.end()
            held = held[start:]
            if len(held) > CHUNK and not held[-CHUNK // 2:].isspace():
                keep = len(held) - len(held.rstrip())
                yield held[:len(held) - keep], False
                held = held[len(held) - keep:]
        yield held, True


def _parts(pieces: Iterable[tuple[str, bool]], longest: int) -> Iterator[Part]:
    """Pieces joined to documents, documents cut to at most `longest` bytes each. The last part of a long document may be empty."""
    document, held, length, begun = 0, [], 0, False
    for text, ends in _chain(pieces, [("", True)]):
        held.append(text)
        length += len(text)
        if not ends and length <= longest:
            continue
        parts = list(cut_long(_storable("".join(held)), longest))
        for part in parts[:-1]:
            if not part.isspace():
                yield Part(document, part, False)
                begun = True
        held, length = parts[-1:], len(parts[-1])
        if ends:
            blank = not parts[-1] or parts[-1].isspace()
            if begun or not blank:
                yield Part(document, "" if blank else parts[-1], True)
                document += 1
            held, length, begun = [], 0, False


def cut_long(text: str, longest: int) -> Iterator[str]:
    """`text` in parts of at most `longest` UTF-8 bytes (at least one character each), cut where it hurts least."""
    start = 0
    # No character has more than 4 bytes: most texts are settled without being encoded.
    while (len(text) - start) * 4 > longest:
        raw = text[start:start + longest].encode("utf-8")
        if len(raw) <= longest and start + longest >= len(text):
            break
        fits = max(1, len(raw[:longest].decode("utf-8", "ignore")))
        end = best_cut(text, start + max(1, fits - fits // 4), start + fits)
        yield text[start:end]
        start = end
    yield text[start:] if start else text


_BORDERS = (re.compile(r"\n[ \t]*\n+"), re.compile(r"\n+"), re.compile(r"[.!?…。！？][\"'”’)\]]*\s+|[。！？]"), re.compile(r"\s+"))


def best_cut(text: str, low: int, high: int, near: int | None = None) -> int:
    """Where to cut `text` between `low` and `high`: behind a paragraph, else a line, a sentence, a word, else at `near` (`high` unless
    said). Of several the one nearest to `near`."""
    near = high if near is None else near
    for border in _BORDERS:
        ends = [m.end() for m in border.finditer(text, max(0, low - 200), min(len(text), high + 200)) if low <= m.end() <= high]
        if ends:
            return min(ends, key=lambda end: abs(end - near))
    return near


def _storable(text: str) -> str:
    """Lone surrogates, which JSON can smuggle in and UTF-8 cannot hold, become U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
        return text
    except UnicodeEncodeError:
        return re.sub("[\ud800-\udfff]", "\ufffd", text)


def _chain(first: Iterable[Any], rest: Iterable[Any]) -> Iterator[Any]:
    yield from first
    yield from rest


# ---- preview


@dataclass(frozen=True)
class FilePreview:
    """What the import would find in one file. `documents` is an estimate where `exact` is False."""

    name: str
    kind: str
    size: int
    encoding: str
    column: str
    columns: tuple[str, ...]
    documents: int
    exact: bool
    bad: int
    replaced: int
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Preview:
    """For the window, before an import. Sizes in bytes; `texts` are the beginnings of the first documents, (file name, text).
    `unread` files were too many to look into; they count in the estimates."""

    files: tuple[FilePreview, ...]
    skipped: tuple[Skipped, ...]
    unread: int
    size: int
    documents: int
    tokens: int
    texts: tuple[tuple[str, str], ...]


def preview(sources: Sequence[str | Path], options: ReadOptions | None = None, *, files: int = 50, bytes_of_each: int = 400_000,
            texts: int = 5, characters: int = 600) -> Preview:
    """Look into the first `files` files, `bytes_of_each` bytes of each. Raises what `list_files` raises; a file that cannot be read says so
    in its own row."""
    options = options or ReadOptions()
    found, skipped = list_files(sources)
    rows: list[FilePreview] = []
    shown: list[tuple[str, str]] = []
    looked = documents = 0
    for file in found[:files]:
        whole = file.size <= bytes_of_each
        reader = Reader(file, options, None if whole else bytes_of_each)
        count, problem, remedy = 0, "", ""
        try:
            for part in reader:
                count += part.last
                if len(shown) < texts and part.text.strip():
                    shown.append((file.name, part.text[:characters]))
        except FledgeError as wrong:
            problem, remedy = wrong.sentence, wrong.remedy
        exact = whole and not problem
        if not whole and not problem:
            one = file.kind == "text" and options.split_by == "file"
            count = 1 if one else max(count, round(count * file.size / max(1, reader.done)))
            exact = one
        rows.append(FilePreview(file.name, file.kind, file.size, reader.encoding, reader.column, reader.columns, count, exact,
                                reader.bad_count, reader.replaced, problem, remedy))
        looked += file.size if not problem else 0
        documents += count
    size = sum(f.size for f in found) - sum(r.size for r in rows if r.problem)
    unread = len(found) - len(rows)
    if unread and looked:
        documents = round(documents * size / looked)
    return Preview(tuple(rows), tuple(skipped), unread, size, documents, round(size / 4), tuple(shown))
