"""Bytes to letters: which encoding a file has, and its text in chunks. Nothing is decoded by guess where strict UTF-8 fits."""

import codecs
import io
import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

from engine.text.readers import base


def is_binary(start: bytes) -> bool:
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


def detect_encoding(start: bytes, whole: bool = False, declared: str = "") -> str:
    """Name of the encoding of a file that begins with `start` (all of it when `whole`). `declared` counts where it is no UTF-8."""
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
    if declared and _known(declared):
        return declared.lower()
    import chardet

    found = str(chardet.detect(start).get("encoding") or "utf-8").lower()
    if not _known(found):
        return "utf-8"
    # Text that is UTF-8 but for some damaged bytes is better read as such than as an 8-bit guess.
    shown = start.decode("utf-8", "replace")
    marks = shown.count("\ufffd")
    damaged = marks - start.count(b"\xef\xbf\xbd")
    whole_characters = len(re.findall("[^\x00-\x7f]", shown)) - marks
    return "utf-8" if found == "ascii" or whole_characters > 10 * damaged else found


def _known(encoding: str) -> bool:
    """Whether it is an encoding of text: "base64" and the like are codecs too."""
    try:
        found = codecs.lookup(encoding)
    except (LookupError, ValueError):
        return False
    return bool(getattr(found, "_is_text_encoding", True))


class Decoded:
    """Text of a binary stream in chunks, with line ends as "\\n". `bytes` counts what was read, `replaced` what did not fit. `tick` is
    called at every chunk; `limit` stops after so many bytes; `declared` finds an encoding that the text itself names."""

    def __init__(self, stream: BinaryIO, encoding: str, limit: int | None = None, tick: Callable[[], None] = lambda: None,
                 declared: Callable[[bytes], str] = lambda start: "") -> None:
        self._stream, self._limit, self._tick = stream, limit, tick
        self._start = read_fully(stream, base.SAMPLE)
        if encoding == "auto":
            self.encoding = detect_encoding(self._start, len(self._start) < base.SAMPLE, declared(self._start))
        else:
            self.encoding = encoding
        name = self.encoding
        if self._start.startswith(codecs.BOM_UTF8) and name == "utf-8":
            name = "utf-8-sig"
        self._decoder = codecs.getincrementaldecoder(name)("replace")
        self.bytes = 0
        self.replaced = 0

    def __iter__(self) -> Iterator[str]:
        lines = io.IncrementalNewlineDecoder(None, translate=True)
        while True:
            raw = self._take(base.CHUNK if self._limit is None else min(base.CHUNK, self._limit - self.bytes))
            self.bytes += len(raw)
            text = self._decoder.decode(raw, not raw and self._limit is None)
            if "\ufffd" in text:
                # A U+FFFD that stands in the file itself is no damage; only UTF-8 can be told apart cheaply.
                real = raw.count(b"\xef\xbf\xbd") if self.encoding.startswith("utf-8") else 0
                self.replaced += max(0, text.count("\ufffd") - real)
            text = lines.decode(text, not raw)
            self._tick()
            if text:
                yield text
            if not raw:
                return

    def _take(self, count: int) -> bytes:
        if not self._start:
            return self._stream.read(count)
        raw, self._start = self._start[:count], self._start[count:]
        return raw


def read_fully(stream: BinaryIO, count: int) -> bytes:
    """`count` bytes, or fewer at the end only: decompressing streams may give less than they were asked for."""
    raw = stream.read(count)
    while 0 < len(raw) < count:
        more = stream.read(count - len(raw))
        if not more:
            break
        raw += more
    return raw
