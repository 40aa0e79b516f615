"""Lines, documents and parts of bounded size out of text that comes in chunks. No files, no formats."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from engine.text.readers import base
from engine.text.readers.base import Part


def lines_of(chunks: Iterable[str], longest: int, torn: bool = False) -> Iterator[tuple[int, str | None]]:
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


_BLANK = re.compile(r"\n[ \t]*\n\s*")


def documents_of(chunks: Iterable[str], split_by: str) -> Iterator[tuple[str, bool]]:
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
            if len(held) > base.CHUNK and not held[-base.CHUNK // 2:].isspace():
                keep = len(held) - len(held.rstrip())
                yield held[:len(held) - keep], False
                held = held[len(held) - keep:]
        yield held, True


def parts_of(pieces: Iterable[tuple[str, bool]], longest: int) -> Iterator[Part]:
    """Pieces joined to documents, documents cut to at most `longest` bytes each. The last part of a long document may be empty."""
    document, held, length, begun = 0, [], 0, False
    for text, ends in chain(pieces, [("", True)]):
        held.append(text)
        length += len(text)
        if not ends and length <= longest:
            continue
        parts = list(cut_long(storable("".join(held)), longest))
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


def storable(text: str) -> str:
    """Lone surrogates, which JSON can smuggle in and UTF-8 cannot hold, become U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
        return text
    except UnicodeEncodeError:
        return re.sub("[\ud800-\udfff]", "\ufffd", text)


def chain(first: Iterable[Any], rest: Iterable[Any]) -> Iterator[Any]:
    yield from first
    yield from rest
