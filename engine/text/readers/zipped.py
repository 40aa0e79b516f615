"""Zip files within bounds, and the documents that are zip files of XML: .docx, .odt, .epub. XML is streamed; a DTD is refused, so that
neither entities nor files from elsewhere can come in. Pictures, comments and tracked deletions are left out."""

import re
import zipfile
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from engine.contract.errors import FormatError
from engine.contract.words import tr
from engine.text.readers import packed
from engine.text.readers.base import damaged
from engine.text.readers.reader import foreign

if TYPE_CHECKING:
    from engine.text.readers.reader import Pieces, Reader

MOST_ENTRIES = 10_000
PIECE = 200_000


def pieces(reader: "Reader") -> "Pieces":
    kind = reader.file.kind
    if kind == "epub":
        from engine.text.readers.epub import chapters as read
    else:
        read = {"docx": _docx, "odt": _odt}[kind]
    letters = 0
    with reader.seekable() as stream, opened_zip(stream, reader.file.name, reader.file.size) as archive:
        held: list[str] = []
        length = 0
        for text in read(reader, archive):
            held.append(text)
            length += len(text)
            if length > PIECE:
                yield "".join(held), False
                letters += length
                held, length = [], 0
                reader.tick()
                if reader.enough(letters):
                    break
        yield "".join(held).rstrip("\n"), True


def opened_zip(stream: Any, name: str, size: int) -> zipfile.ZipFile:
    """The archive, when what it claims to hold is within bounds: zipfile gives no member more bytes than the directory claims."""
    try:
        stream.seek(max(0, size - 66_000))
        end = stream.read()
        mark = end.rfind(b"PK\x05\x06")
        if mark >= 0 and int.from_bytes(end[mark + 12:mark + 16], "little") > 100_000_000:
            raise too_many(name)
        stream.seek(0)
        archive = zipfile.ZipFile(stream)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OverflowError) as wrong:
        raise damaged(name, "zip", str(wrong)) from wrong
    members = archive.infolist()
    total = sum(m.file_size for m in members)
    if len(members) > MOST_ENTRIES:
        raise too_many(name)
    if total > packed.RATIO_FROM and total > packed.RATIO * size:
        raise packed.bomb(name)
    if total > packed.LARGEST:
        raise packed.too_large(name)
    return archive


def too_many(name: str) -> FormatError:
    return FormatError(tr("{name} holds more than {count} files.", name=name, count=f"{MOST_ENTRIES:,}"),
                       tr("Unpack it and import the folder."), code="too_many")


def locked(name: str) -> FormatError:
    return FormatError(tr("{name} needs a password.", name=name), tr("Save it without one."), code="password")


def entry(archive: zipfile.ZipFile, path: str, name: str) -> IO[bytes]:
    try:
        found = archive.getinfo(path)
        if found.flag_bits & 1:
            raise locked(name)
        return archive.open(found)
    except KeyError as wrong:
        raise FormatError(tr("{name} lacks {part}, as if it were of another kind.", name=name, part=path),
                          tr("Make or download it again.")) from wrong


class _Target:
    """What an XML parser calls. `out` takes the text; the parser's user empties it."""

    def __init__(self, name: str, kind: str) -> None:
        self.name, self.kind = name, kind
        self.out: list[str] = []
        self.open: list[str] = []
        self.passed = 0
        """How many elements are open whose text is left out."""

    def doctype(self, *about: Any) -> None:
        raise FormatError(tr("{name} holds a DTD, which no {kind} file needs.", name=self.name, kind=self.kind),
                          tr("Leave it out: it may be a trap."), code="dtd")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        tag = tag.rpartition("}")[2]
        self.begin(tag, attributes)
        self.open.append(tag)

    def end(self, tag: str) -> None:
        self.finish(self.open.pop())

    def data(self, text: str) -> None:
        raise NotImplementedError

    def begin(self, tag: str, attributes: dict[str, str]) -> None:
        raise NotImplementedError

    def finish(self, tag: str) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


def _parsed(file: IO[bytes], target: _Target) -> Iterator[str]:
    """What the target puts out, chunk by chunk."""
    import lxml.etree

    with foreign(target.name, target.kind):
        parser = lxml.etree.XMLParser(target=target, resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False)
        while raw := file.read(256_000):
            parser.feed(raw)
            yield "".join(target.out)
            target.out.clear()
        parser.close()
        yield "".join(target.out)


class _Word(_Target):
    PASSED = ("Fallback", "moveFrom", "txbxContent")
    """A second version of what stands beside it; text boxes would come in the middle of a sentence."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "Word")
        self.cells = 0
        self.cell_begins = False

    def begin(self, tag: str, attributes: dict[str, str]) -> None:
        self.passed += tag in self.PASSED
        if self.passed:
            return
        if tag == "tc":
            if self.cell_begins:
                self.out.append("\t")
            self.cells += 1
        elif tag == "tr":
            self.cell_begins = False
        elif tag in ("tab", "br", "cr", "noBreakHyphen") and self.open and self.open[-1] == "r":
            self.out.append({"tab": "\t", "noBreakHyphen": "-"}.get(tag, "\n"))

    def data(self, text: str) -> None:
        if not self.passed and self.open[-1] == "t":
            self.out.append(text)

    def finish(self, tag: str) -> None:
        self.passed -= tag in self.PASSED
        if self.passed:
            return
        if tag == "p":
            self.out.append(" " if self.cells else "\n")
        elif tag == "tc":
            self.cells -= 1
            self.cell_begins = True
        elif tag == "tr":
            self.out.append("\n" if not self.cells else " ")


class _OpenText(_Target):
    PASSED = ("annotation", "tracked-changes", "forms", "note-citation")

    def __init__(self, name: str) -> None:
        super().__init__(name, "OpenDocument")
        self.inside = self.cells = 0
        self.cell_begins = False

    def begin(self, tag: str, attributes: dict[str, str]) -> None:
        self.passed += tag in self.PASSED
        if self.passed:
            return
        if tag in ("p", "h"):
            self.inside += 1
        elif tag == "s":
            self.out.append(" " * _count(attributes))
        elif tag in ("tab", "line-break"):
            self.out.append("\t" if tag == "tab" else "\n")
        elif tag == "table-row":
            self.cell_begins = False
        elif tag == "table-cell":
            if self.cell_begins:
                self.out.append("\t")
            self.cells += 1

    def data(self, text: str) -> None:
        if self.inside and not self.passed:
            self.out.append(re.sub(r"[ \t\r\n]+", " ", text))

    def finish(self, tag: str) -> None:
        self.passed -= tag in self.PASSED
        if self.passed:
            return
        if tag in ("p", "h"):
            self.inside -= 1
            self.out.append(" " if self.cells else "\n")
        elif tag == "table-cell":
            self.cells -= 1
            self.cell_begins = True
        elif tag == "table-row":
            self.out.append("\n" if not self.cells else " ")


def _count(attributes: dict[str, str]) -> int:
    """How many spaces <text:s text:c="3"/> stands for."""
    number = next((v for k, v in attributes.items() if k.endswith("}c")), "1")
    return min(1000, int(number)) if number.isdigit() else 1


def _docx(reader: "Reader", archive: zipfile.ZipFile) -> Iterator[str]:
    with entry(archive, "word/document.xml", reader.file.name) as file:
        yield from _parsed(file, _Word(reader.file.name))


def _odt(reader: "Reader", archive: zipfile.ZipFile) -> Iterator[str]:
    manifest = "META-INF/manifest.xml"
    if manifest in archive.namelist() and b"encryption-data" in entry(archive, manifest, reader.file.name).read(1_000_000):
        raise locked(reader.file.name)
    with entry(archive, "content.xml", reader.file.name) as file:
        yield from _parsed(file, _OpenText(reader.file.name))
