"""A .json file of documents: an array of objects or strings (streamed), an object of columns, an object around an array, or lines of JSON
under the wrong name. Numbers that are no JSON (NaN) are taken; nesting without end is not."""

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from engine.contract.errors import FormatError
from engine.contract.units import size as shown_size
from engine.contract.words import tr
from engine.text.readers import base
from engine.text.readers.cutting import chain, lines_of
from engine.text.readers.encoding import Decoded
from engine.text.readers.tables import json_rows, texts_of_rows

if TYPE_CHECKING:
    from engine.text.readers.reader import Pieces, Reader

LARGEST_OBJECT = 64_000_000
"""Characters of an object, which must be held whole; an array may have any length."""
_SPACE = re.compile(r"\s*")


def pieces(reader: "Reader") -> "Pieces":
    with reader.opened() as stream:
        source = Decoded(stream, reader.options.encoding, None, reader.tick)
        reader.encoding = source.encoding
        for text in _texts(reader, source):
            reader.replaced = source.replaced
            reader.at(stream, source.bytes)
            yield text, True
            if reader.enough(reader.done):
                break
        reader.replaced = source.replaced
        reader.at(stream, source.bytes)


def _texts(reader: "Reader", source: Decoded) -> Iterator[str]:
    yield from texts_of_rows(reader, rows_of(reader, source))


def rows_of(reader: "Reader", source: Decoded) -> Iterator[tuple[int, Any]]:
    """Objects and strings with their numbers: of their elements, or of their lines where the file holds lines. What is neither is noted."""
    chunks = iter(source)
    head = next(chunks, "")
    while head.isspace():
        head = next(chunks, "")
    first = head.lstrip()[:1]
    if first == "[":
        yield from _numbered(reader, _elements(reader, head.lstrip(), chunks))
    elif first == "{":
        if _is_lines(head):
            reader.note(tr("It holds JSON lines, one object a line."))
            yield from json_rows(reader, lines_of(chain([head], chunks), base.LONGEST_LINE))
        else:
            yield from _numbered(reader, _inside(reader, _whole(reader, head, chunks)))
    else:
        raise _no_documents(reader.file.name)


def _numbered(reader: "Reader", values: Iterator[Any]) -> Iterator[tuple[int, Any]]:
    for number, value in enumerate(values, 1):
        if isinstance(value, (dict, str)):
            yield number, value
        else:
            reader.note_bad(number, tr("no object"))


def _is_lines(head: str) -> bool:
    line, _, rest = head.lstrip().partition("\n")
    if not rest.lstrip().startswith("{"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _elements(reader: "Reader", held: str, chunks: Iterator[str]) -> Iterator[Any]:
    """The elements of an array whose text begins with `held`. Only what one element needs is held."""
    scan = json.JSONDecoder().raw_decode
    at, number = 1, 0
    while True:
        at, held = _skip(held, at, chunks)
        if held[at:at + 1] == ",":
            at, held = _skip(held, at + 1, chunks)
        if held[at:at + 1] == "]":
            return
        number += 1
        while True:
            try:
                value, end = scan(held, at)
                if end < len(held) or not isinstance(value, (int, float)):
                    break
                wrong: Exception = ValueError()  # a number may go on in the next chunk
            except ValueError as caught:
                wrong = caught
            except RecursionError as caught:
                raise _broken(reader.file.name, number, tr("it is nested too deeply")) from caught
            # Twice as much each time, so that an element of many chunks is not scanned once for each of them.
            held, at = held[at:], 0
            want, more = max(base.CHUNK, len(held)), []
            while want > 0 and (chunk := next(chunks, "")):
                more.append(chunk)
                want -= len(chunk)
            if not more:
                raise _broken(reader.file.name, number, tr("it is no JSON, or ends too early")) from wrong
            held += "".join(more)
            if len(held) > base.LONGEST_LINE:
                raise _broken(reader.file.name, number, tr("it is longer than {size}", size=shown_size(base.LONGEST_LINE))) from wrong
        yield value
        at = end
        if at > base.CHUNK:
            held, at = held[at:], 0


def _skip(held: str, at: int, chunks: Iterator[str]) -> tuple[int, str]:
    """Go on behind white space, into the next chunks where need be."""
    while True:
        found = _SPACE.match(held, at)
        assert found is not None
        at = found.end()
        if at < len(held):
            return at, held
        more = next(chunks, "")
        if not more:
            return at, held
        held, at = more, 0


def _whole(reader: "Reader", head: str, chunks: Iterator[str]) -> dict[str, Any]:
    name = reader.file.name
    held, length = [head], len(head)
    for chunk in chunks:
        held.append(chunk)
        length += len(chunk)
        if length > LARGEST_OBJECT:
            raise FormatError(tr("{name} is one JSON object of more than {size}.", name=name, size=shown_size(LARGEST_OBJECT)),
                              tr("Save it as an array or as JSON lines."))
    try:
        value: dict[str, Any] = json.loads("".join(held))
    except RecursionError as wrong:
        raise FormatError(tr("{name} is nested too deeply.", name=name), tr("Leave it out.")) from wrong
    except ValueError as wrong:
        raise base.damaged(name, "JSON", str(wrong)) from wrong
    return value


def _inside(reader: "Reader", value: dict[str, Any]) -> Iterator[Any]:
    """The rows of an object: of its columns, of the longest array of objects or texts in it, or itself as the only row."""
    columns = {k: list(v.values()) if isinstance(v, dict) else v for k, v in value.items()}
    lists = {k: v for k, v in columns.items() if isinstance(v, list) and v}
    if lists and len(lists) == len(columns) and len({len(v) for v in lists.values()}) == 1 and not any(
            isinstance(v[0], (dict, list)) for v in lists.values()):
        for row in zip(*lists.values(), strict=True):
            yield dict(zip(lists, row, strict=True))
        return
    arrays = {k: v for k, v in value.items() if isinstance(v, list) and v and isinstance(v[0], (dict, str))}
    if arrays:
        longest = max(arrays, key=lambda k: len(arrays[k]))
        reader.note(tr("The documents are the elements of “{name}”.", name=longest))
        yield from arrays[longest]
        return
    if not any(isinstance(v, str) for v in value.values()):
        raise _no_documents(reader.file.name)
    yield value


def _no_documents(name: str) -> FormatError:
    return FormatError(tr("{name} holds no documents: no array of objects or texts, and no columns.", name=name),
                       tr("Each document should look like {example}.", example='{"text": "..."}'))


def _broken(name: str, number: int, reason: str) -> FormatError:
    return FormatError(tr("{name} cannot be read from its element {number} on: {reason}.", name=name, number=f"{number:,}", reason=reason),
                       tr("Mend it there; what stands before is taken."))
