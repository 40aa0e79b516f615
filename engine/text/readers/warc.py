"""Web archives: the pages of WARC files and the texts of WET files, by warcio. One document a page; records of other kinds are passed over.

Each page's article is taken as in html.py. What a record claims to be is believed only for its kind.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from engine.contract.errors import FormatError
from engine.contract.units import size as shown_size
from engine.contract.words import tr
from engine.text.readers.encoding import detect_encoding
from engine.text.readers.html import declared, text_of_page
from engine.text.readers.reader import foreign

if TYPE_CHECKING:
    from engine.text.readers.reader import Pieces, Reader

LARGEST_RECORD = 10_000_000
PAGES, TEXTS = ("text/html", "application/xhtml+xml"), ("text/plain",)


def pieces(reader: "Reader") -> "Pieces":
    with reader.opened() as stream:
        taken = 0
        for number, record in _records(reader, stream):
            about = _about(record)
            if about is None:
                continue
            if number in reader.leave_out:
                reader.note_bad(number, reader.leave_out[number])
                continue
            kind, charset = about
            with foreign(reader.file.name, "WARC"):
                raw = record.content_stream().read(LARGEST_RECORD + 1)
            if len(raw) > LARGEST_RECORD:
                reader.note_bad(number, tr("a page of more than {size}", size=shown_size(LARGEST_RECORD)))
                continue
            text = _text(reader, number, record, kind, charset, raw)
            reader.at(stream, stream.tell() if stream.seekable() else 0)
            reader.tick()
            taken += len(text)
            if text:
                yield text, True
            else:
                reader.empty += 1
            if reader.enough(taken):
                return


def _records(reader: "Reader", stream: Any) -> Iterator[tuple[int, Any]]:
    from warcio.archiveiterator import ArchiveIterator

    records = enumerate(ArchiveIterator(stream, arc2warc=True), 1)
    while True:
        with foreign(reader.file.name, "WARC"):
            found = next(records, None)
        if found is None:
            return
        reader.tick()
        yield found


def _about(record: Any) -> tuple[str, str] | None:
    """("page" or "text", the encoding it names) of a record that holds text."""
    if record.rec_type == "conversion":
        return "text", "utf-8"
    if record.rec_type == "response":
        if record.http_headers is None or record.http_headers.get_statuscode() not in ("200", "203"):
            return None
        said = record.http_headers.get_header("Content-Type") or ""
    elif record.rec_type == "resource":
        said = record.rec_headers.get_header("Content-Type") or ""
    else:
        return None
    kind, _, rest = said.lower().partition(";")
    charset = rest.partition("charset=")[2].strip(" \"'").split(";")[0]
    return ("page", charset) if kind.strip() in PAGES else ("text", charset) if kind.strip() in TEXTS else None


def _text(reader: "Reader", number: int, record: Any, kind: str, charset: str, raw: bytes) -> str:
    chosen = reader.options.encoding
    encoding = chosen if chosen != "auto" else detect_encoding(raw[:256_000], len(raw) < 256_000, charset or declared(raw))
    reader.encoding = reader.encoding or encoding
    text = raw.decode(encoding, "replace")
    if kind == "text":
        return text.replace("\r\n", "\n").strip("\n")
    reader.entering(number, record.rec_headers.get_header("WARC-Target-URI") or "", len(raw))
    try:
        return text_of_page(reader, text)
    except FormatError as wrong:
        reader.note_bad(number, wrong.sentence)
        return ""
