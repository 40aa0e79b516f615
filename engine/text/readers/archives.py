"""Archives: the members of .zip and .tar files (compressed ones too), each read by the reader of its kind.

Nothing is written under a name from the archive: members are streamed, or copied to a nameless temporary file. Refused, and listed:
names that lead out of the archive, links and devices, archives in archives, whatever needs a password. The bounds are those of packed.py
and zipped.py.
"""

import io
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, BinaryIO, NamedTuple, cast

from engine.contract.errors import FledgeError, FormatError
from engine.contract.words import tr
from engine.text.readers import packed
from engine.text.readers.base import Part, SourceFile, damaged
from engine.text.readers.cutting import storable
from engine.text.readers.encoding import read_fully
from engine.text.readers.kinds import CONTAINERS, PROJECT_FILES, folder_reason, kind_of
from engine.text.readers.listing import START
from engine.text.readers.zipped import MOST_ENTRIES, opened_zip, too_many

if TYPE_CHECKING:
    from engine.text.readers.reader import Reader


class Member(NamedTuple):
    """`reason`: why it is not opened."""

    name: str
    size: int
    file: IO[bytes] | None
    reason: str = ""


def parts(reader: "Reader") -> Iterator[Part]:
    """The parts of all members; documents are counted through."""
    documents = letters = 0
    folders: set[str] = set()
    programmes: set[str] = set()
    with reader.opened() as stream:
        for number, member in enumerate(_zip(reader, programmes) if reader.file.kind == "zip" else _tar(reader, stream)):
            name = storable(member.name)
            reason = member.reason or reader.leave_out.get(number, "")
            if not reason and (left_out := _left_out(name, programmes)):
                if left_out[0] not in folders:
                    folders.add(left_out[0])
                    reader.member(*left_out[:1], "", 0, left_out[1])
                continue
            if reason or member.file is None:
                reader.member(name, "", 0, reason)
                continue
            reader.entering(number, name, member.size)
            before = documents
            try:
                with member.file as file:
                    start = read_fully(cast(BinaryIO, file), START)
                    found = kind_of(name, start, in_project=_in_project(name, programmes))
                    if found.reason or found.packing or found.kind in CONTAINERS:
                        reader.member(name, found.kind, 0, found.reason or tr("an archive in an archive"))
                        continue
                    shown = f"{reader.file.name}/{name}"
                    inside = SourceFile(reader.file.path, shown, found.kind, member.size, reader.file.root)
                    body = cast(BinaryIO, _Joined(start, file))
                    sub = type(reader)(inside, reader.options, reader.limit, tick=reader.tick, stream=body)
                    problem = ""
                    try:
                        for part in sub:
                            letters += len(part.text)
                            yield Part(before + part.document, part.text, part.last, shown)
                            documents = before + part.document + part.last
                    except FledgeError as wrong:
                        problem = str(wrong)
            except (MemoryError, OSError):
                raise
            except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, tarfile.TarError) as wrong:
                reader.member(name, "", documents - before, tr("damaged: {reason}", reason=str(wrong)))
                continue
            _add_up(reader, sub, name)
            reader.member(name, found.kind, documents - before, problem)
            if reader.file.kind == "tar":
                reader.at(stream, 0 if reader.file.packing else stream.tell())
            reader.tick()
            if reader.enough(letters):
                return
    if not documents and reader.member_count:
        why = next((m["problem"] for m in reader.members if m["problem"]), tr("no text"))
        raise FormatError(tr("{name} holds nothing that can be read: {reason}.", name=reader.file.name, reason=why.rstrip(".")),
                          tr("Look at its files."), code="no_text")


def _add_up(reader: "Reader", sub: "Reader", name: str) -> None:
    reader.empty += sub.empty
    reader.replaced += sub.replaced
    for number, reason in sub.bad:
        reader.note_bad(number, f"{name}: {reason}")
    reader.bad_count += sub.bad_count - len(sub.bad)
    for sentence, count in sub.notes.items():
        reader.notes[sentence] = reader.notes.get(sentence, 0) + count
    reader.encoding, reader.column = reader.encoding or sub.encoding, reader.column or sub.column
    reader.columns = reader.columns or sub.columns


def _zip(reader: "Reader", programmes: set[str]) -> Iterator[Member]:
    size = reader.file.size
    with reader.seekable() as stream:
        size = stream.seek(0, io.SEEK_END)
        with opened_zip(stream, reader.file.name, size) as archive:
            entries = archive.infolist()
            total, taken = max(1, sum(e.compress_size for e in entries)), 0
            programmes |= {_folder(e.filename) for e in entries if e.filename.rsplit("/", 1)[-1].lower() in PROJECT_FILES}
            for entry in entries:
                name = _mended(entry)
                taken += entry.compress_size
                reason = _bad_name(name)
                if entry.is_dir() or not reason and _hidden(name):
                    continue
                if not reason and (entry.external_attr >> 16) & 0o170000 == 0o120000:
                    reason = tr("a link")
                if not reason and entry.flag_bits & 1:
                    reason = tr("it needs a password")
                if not reason and entry.file_size > packed.RATIO_FROM and entry.file_size > packed.RATIO * max(1, entry.compress_size):
                    reason = tr("it unpacks to more than {ratio} times its size, as only a trap does", ratio=packed.RATIO)
                try:
                    file = None if reason else archive.open(entry)
                except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as wrong:
                    file, reason = None, tr("damaged: {reason}", reason=str(wrong))
                yield Member(name, entry.file_size, file, reason)
                reader.done = min(reader.file.size, reader.file.size * taken // total)


def _tar(reader: "Reader", stream: BinaryIO) -> Iterator[Member]:
    count = total = 0
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for entry in archive:
                count += 1
                total += entry.size
                if count > MOST_ENTRIES:
                    raise too_many(reader.file.name)
                if total > packed.LARGEST:
                    raise packed.too_large(reader.file.name)
                reason = _bad_name(entry.name)
                if entry.isdir() or not reason and _hidden(entry.name):
                    continue
                if not reason and not entry.isreg():
                    reason = tr("a link") if entry.issym() or entry.islnk() else tr("not a file")
                yield Member(entry.name, entry.size, None if reason else archive.extractfile(entry), reason)
                reader.tick()
    except (tarfile.TarError, EOFError, ValueError, RecursionError) as wrong:
        raise damaged(reader.file.name, "tar", str(wrong)) from wrong


def _mended(entry: zipfile.ZipInfo) -> str:
    """The name of a member. Many programs write UTF-8 without saying so."""
    if entry.flag_bits & 0x800:
        return entry.filename
    try:
        return entry.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return entry.filename


def _bad_name(name: str) -> str:
    """Why a name is none for a file inside an archive."""
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        return tr("an absolute name")
    if ".." in re.split(r"[/\\]", name):
        return tr("a name that leads out of the archive")
    return tr("a name with a NUL") if "\0" in name else ""


def _hidden(name: str) -> bool:
    """Hidden files and the notes of macOS, as in folders."""
    return any(p.startswith(".") and p.strip(".") or p == "__MACOSX" for p in name.split("/"))


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _in_project(name: str, programmes: set[str]) -> bool:
    return any(not p or name.startswith(f"{p}/") for p in programmes)


def _left_out(name: str, programmes: set[str]) -> tuple[str, str] | None:
    """(folder, reason) when a member lies in a folder that is left out."""
    steps = name.split("/")[:-1]
    for i, step in enumerate(steps):
        beside = PROJECT_FILES if "/".join(steps[:i]) in programmes else set()
        if reason := folder_reason(step, beside):
            return "/".join(steps[:i + 1]), reason
    return None


class _Joined(io.RawIOBase):
    """A stream whose first bytes have been taken already."""

    def __init__(self, start: bytes, rest: IO[bytes]) -> None:
        self._start, self._rest = start, rest

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._start:
            size = len(self._start) if size is None or size < 0 else size
            raw, self._start = self._start[:size], self._start[size:]
            return raw
        return self._rest.read(1_000_000 if size is None or size < 0 else size)

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        raw = self.read(len(buffer))
        buffer[:len(raw)] = raw
        return len(raw)
