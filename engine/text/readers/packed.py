"""Streams out of compressed files, and files out of streams, within bounds: a bomb is refused before it fills memory or disk.

The bounds hold for what is unpacked, not for what a header claims. Nesting is refused by whoever opens archives (archives.py).
"""

import bz2
import gzip
import io
import lzma
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from engine.contract.errors import FormatError
from engine.contract.units import size as shown_size
from engine.contract.words import tr
from engine.text.readers import base
from engine.text.readers.base import SourceFile

RATIO = 200
"""What is unpacked may be so many times as large as what is packed..."""
RATIO_FROM = 10_000_000
"""...from so many bytes on: small files of zeros are harmless."""
LARGEST = 4_000_000_000
"""Bytes that an archive may unpack to in all, and a single compressed file that must lie unpacked on the disk to be read."""


class Counted(io.RawIOBase):
    """A stream that counts what was taken from it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self.taken = stream, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1) -> bytes:
        raw = self._stream.read(size)
        self.taken += len(raw)
        return raw

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        raw = self.read(len(buffer))
        buffer[:len(raw)] = raw
        return len(raw)


class Unpacked(io.RawIOBase):
    """The unpacked bytes of a compressed file; FormatError when they are too many for what was packed, or damaged."""

    def __init__(self, path: Path, name: str, packing: str) -> None:
        self._file = open(path, "rb")
        self.source = Counted(self._file)
        self.name, self.packing, self.given = name, packing, 0
        self._inner = _decompressor(self.source, packing)

    @property
    def taken(self) -> int:
        """Bytes of the compressed file that were read."""
        return self.source.taken

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            # Never everything at once: the decompressor would make it all before anybody can count it.
            raw = self._inner.read(base.CHUNK if size is None or size < 0 else min(size, 8_000_000))
        except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as wrong:
            raise base.damaged(self.name, self.packing, str(wrong) or tr("it ends too early")) from wrong
        self.given += len(raw)
        if self.given > RATIO_FROM and self.given > RATIO * max(1, self.taken):
            raise bomb(self.name)
        return raw

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        raw = self.read(len(buffer))
        buffer[:len(raw)] = raw
        return len(raw)

    def close(self) -> None:
        if not self.closed:
            self._inner.close()
            self._file.close()
        super().close()


def _decompressor(source: Counted, packing: str) -> BinaryIO:
    stream = cast(BinaryIO, source)
    if packing == "gz":
        return cast(BinaryIO, gzip.GzipFile(fileobj=stream))
    if packing == "bz2":
        return cast(BinaryIO, bz2.BZ2File(stream))
    if packing == "xz":
        return cast(BinaryIO, lzma.LZMAFile(stream))
    assert packing == "zst", packing
    import pyarrow as pa

    return cast(BinaryIO, pa.CompressedInputStream(pa.PythonFile(source, "r"), "zstd"))


def bomb(name: str) -> FormatError:
    return FormatError(tr("{name} unpacks to more than {ratio} times its size, as only a trap does.", name=name, ratio=RATIO),
                       tr("Leave it out, or unpack it yourself if you know what it is."), code="bomb")


def too_large(name: str) -> FormatError:
    return FormatError(tr("{name} unpacks to more than {size}.", name=name, size=shown_size(LARGEST)),
                       tr("Unpack it and import the folder."), code="too_large")


@contextmanager
def opened(file: SourceFile) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked where it is compressed. Not seekable then."""
    if not file.packing:
        with open(file.path, "rb") as plain:
            yield plain
        return
    stream = Unpacked(file.path, file.name, file.packing)
    try:
        yield cast(BinaryIO, stream)
    finally:
        stream.close()


@contextmanager
def on_disk(stream: BinaryIO, name: str, tick: Callable[[], None], most: int = LARGEST) -> Iterator[BinaryIO]:
    """A seekable copy of a stream, in memory while it is small, else in a temporary file that goes away with it."""
    with tempfile.SpooledTemporaryFile(max_size=16_000_000) as copy:
        taken = 0
        while raw := stream.read(base.CHUNK):
            taken += len(raw)
            if taken > most:
                raise too_large(name)
            copy.write(raw)
            tick()
        copy.seek(0)
        yield cast(BinaryIO, copy)
