"""PDF: the text of the pages by pdfium, or by pypdf where pdfium cannot open the file. No recognition of letters in pictures: a file
without text is a scan, and is said to be one."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from engine.contract.errors import FormatError
from engine.contract.words import tr
from engine.text.readers.reader import foreign

if TYPE_CHECKING:
    from engine.text.readers.reader import Pieces, Reader

MOST_PAGES = 50_000
_HYPHEN = re.compile("[\ufffe\u0002]\r?\n?")
"""How pdfium marks a hyphen at the end of a line, where a word goes on in the next."""


def pieces(reader: "Reader") -> "Pieces":
    with reader.seekable() as stream:
        letters = 0
        for text in _pages(reader, stream):
            text = text.strip("\n")
            if text and not text.isspace():
                yield ("\n" if letters else "") + text, False
                letters += len(text)
            reader.tick()
            if reader.enough(letters):
                break
    if not letters:
        raise FormatError(tr("{name} is a scan without text.", name=reader.file.name),
                          tr("Run it through a program that recognises letters (OCR), and import what that makes."), code="scan")
    yield "", True


def _pages(reader: "Reader", stream: Any) -> Iterator[str]:
    import pypdfium2

    name = reader.file.name
    try:
        document = pypdfium2.PdfDocument(stream)
        count = len(document)
    except pypdfium2.PdfiumError as wrong:
        if "assword" in str(wrong):
            raise _locked(name) from wrong
        stream.seek(0)
        reader.note(tr("Opened with pypdf: pdfium could not ({reason}).", reason=str(wrong).strip()))
        yield from _by_pypdf(reader, stream)
        return
    try:
        _few_enough(name, count)
        for number in range(count):
            reader.done = reader.file.size * number // count
            with foreign(name, "PDF"):
                text = _page(document, number)
            yield _HYPHEN.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    finally:
        document.close()


def _page(document: Any, number: int) -> str:
    page = document[number]
    try:
        letters = page.get_textpage()
        try:
            return str(letters.get_text_range(errors="replace"))
        finally:
            letters.close()
    finally:
        page.close()


def _by_pypdf(reader: "Reader", stream: Any) -> Iterator[str]:
    import pypdf

    name = reader.file.name
    with foreign(name, "PDF"):
        document = pypdf.PdfReader(stream)
        if document.is_encrypted and not document.decrypt(""):
            raise _locked(name)
        count = len(document.pages)
    _few_enough(name, count)
    for number in range(count):
        reader.done = reader.file.size * number // count
        with foreign(name, "PDF"):
            text = document.pages[number].extract_text()
        yield text


def _few_enough(name: str, count: int) -> None:
    if count > MOST_PAGES:
        raise FormatError(tr("{name} claims to have {count} pages.", name=name, count=f"{count:,}"), tr("Split it."))


def _locked(name: str) -> FormatError:
    return FormatError(tr("{name} needs a password.", name=name), tr("Save it without one."), code="password")
