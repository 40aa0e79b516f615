"""The reader of one file: opens it, hands it to the module of its kind, and cuts what comes to documents and parts.

It looks into no format itself, and it does not guard against parsers that hang or crash: read_process.py does, around it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from engine.contract.errors import FledgeError, FormatError
from engine.contract.words import tr
from engine.text.readers import packed
from engine.text.readers.base import LISTED, Part, ReadOptions, SourceFile, damaged
from engine.text.readers.cutting import parts_of

Pieces = Iterator[tuple[str, bool]]
"""(text, whether the document ends with it)."""
MEMBERS = 1_000
"""Members of an archive that are listed; the others are only counted."""


@dataclass
class Reader:
    """Iterate to get the parts of one file; meanwhile `done` (bytes of the file taken), `bad` and the rest grow.

    limit        bytes after which it may stop, for a preview
    bad          (line or row number, reason) of the first bad ones; bad_count counts all
    replaced     characters that did not fit the encoding
    column       the text column of a table; `columns` all of them
    notes        what a person should know of how it was read, and how often
    members      of an archive: {"name", "kind", "documents", "problem"} of the first ones; member_count counts all
    leave_out    numbers of members (of an archive, of a WARC) that are passed over, with the reason
    tick         called at each megabyte or page: the sign of life that a watched process gives
    entering     called with (number, name, bytes) before a member is parsed
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
    notes: dict[str, int] = field(default_factory=dict)
    members: list[dict[str, Any]] = field(default_factory=list)
    member_count: int = 0
    leave_out: dict[int, str] = field(default_factory=dict)
    tick: Callable[[], None] = lambda: None
    entering: Callable[[int, str, int], None] = lambda number, name, size: None
    stream: BinaryIO | None = None
    """The bytes, where they are no file of their own: a member of an archive."""

    def __iter__(self) -> Iterator[Part]:
        try:
            if self.file.kind in ("zip", "tar"):
                from engine.text.readers import archives

                yield from archives.parts(self)
            else:
                yield from parts_of(self._pieces(), self.options.max_document_bytes)
        except OSError as wrong:
            raise FormatError(tr("{name} cannot be read: {reason}", name=self.file.name, reason=wrong.strerror or str(wrong)),
                              tr("Check the disk it lies on.")) from wrong
        if self.limit is None:
            self.done = self.file.size

    def _pieces(self) -> Pieces:
        # A format's library is loaded when the first file of its kind comes.
        kind = self.file.kind
        module: Any
        if kind in ("text", "code", "jsonl", "csv", "tsv"):
            from engine.text.readers import tables as module
        elif kind == "json":
            from engine.text.readers import json_file as module
        elif kind in ("parquet", "arrow", "hf"):
            from engine.text.readers import arrow as module
        elif kind == "html":
            from engine.text.readers import html as module
        elif kind == "pdf":
            from engine.text.readers import pdf as module
        elif kind in ("docx", "odt", "epub"):
            from engine.text.readers import zipped as module
        elif kind == "rtf":
            from engine.text.readers import rtf as module
        else:
            assert kind == "warc", kind
            from engine.text.readers import warc as module
        return cast(Pieces, module.pieces(self))

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The bytes from the beginning, unpacked; not always seekable."""
        if self.stream is not None:
            yield self.stream
        else:
            with packed.opened(self.file) as stream:
                yield stream

    @contextmanager
    def seekable(self) -> Iterator[BinaryIO]:
        """The bytes as a file one can seek in."""
        with self.opened() as stream:
            if self.stream is None and not self.file.packing:
                yield stream
            else:
                with packed.on_disk(stream, self.file.name, self.tick) as copy:
                    yield copy

    def at(self, stream: BinaryIO, read: int) -> None:
        """Note how far it is: `read` bytes of the stream."""
        self.done = min(self.file.size, stream.taken if isinstance(stream, packed.Unpacked) else read)

    def enough(self, read: int) -> bool:
        """Whether a preview has seen as much as it wanted."""
        return self.limit is not None and read >= self.limit

    def note_bad(self, number: int, reason: str) -> None:
        self.bad_count += 1
        if len(self.bad) < LISTED:
            self.bad.append((number, reason))

    def note(self, sentence: str) -> None:
        self.notes[sentence] = self.notes.get(sentence, 0) + 1

    def member(self, name: str, kind: str, documents: int, problem: str = "") -> None:
        self.member_count += 1
        if len(self.members) < MEMBERS:
            self.members.append({"name": name, "kind": kind, "documents": documents, "problem": problem})


@contextmanager
def foreign(name: str, kind: str) -> Iterator[None]:
    """Around a library's parser: whatever it raises over a file becomes a FormatError that names the file. Memory is nobody's format."""
    try:
        yield
    except (FledgeError, MemoryError, OSError):
        raise
    except Exception as wrong:
        raise damaged(name, kind, str(wrong) or type(wrong).__name__) from wrong
