"""What an import would find, fast and bounded: for the window, before an import. Each file by `look_into`, which a watched process may call
for files nobody trusts; `preview` does all in this process."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.contract.errors import FledgeError
from engine.contract.words import tr
from engine.text.readers.base import ReadOptions, Skipped, SourceFile
from engine.text.readers.listing import list_files
from engine.text.readers.reader import Reader

ONE_DOCUMENT = ("text", "code", "html", "pdf", "docx", "odt", "rtf", "epub")
LARGER_INSIDE = ("zip", "tar", "warc", "pdf", "docx", "odt", "epub")
"""Kinds whose text may be much more or much less than their bytes: a preview stops by the text it has seen."""


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
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Preview:
    """For the window, before an import. Sizes in bytes; `texts` are the beginnings of the first documents, (file name, text).
    `unread` files were too many to look into; they count in the estimates. `by_root`: (files, bytes) of each source, all counted."""

    files: tuple[FilePreview, ...]
    skipped: tuple[Skipped, ...]
    unread: int
    size: int
    documents: int
    tokens: int
    texts: tuple[tuple[str, str], ...]
    by_root: tuple[tuple[int, int], ...] = ()


def preview(sources: Sequence[str | Path], options: ReadOptions | None = None, *, files: int = 50, bytes_of_each: int = 400_000,
            texts: int = 5, characters: int = 600) -> Preview:
    """Look into the first `files` files, `bytes_of_each` bytes of each. Raises what `list_files` raises; a file that cannot be read says so
    in its own row."""
    found, skipped = list_files(sources)
    rows: list[FilePreview] = []
    shown: list[tuple[str, str]] = []
    for file in found[:files]:
        row, begun = look_into(file, options or ReadOptions(), bytes_of_each, texts - len(shown), characters)
        rows.append(row)
        shown += begun
    return summary(found, skipped, rows, shown)


def look_into(file: SourceFile, options: ReadOptions, bytes_of_each: int = 400_000, texts: int = 5,
              characters: int = 600) -> tuple[FilePreview, list[tuple[str, str]]]:
    """One file's row and the beginnings of its first texts."""
    shown: list[tuple[str, str]] = []
    whole = file.size <= bytes_of_each and file.kind not in LARGER_INSIDE and not file.packing
    reader = Reader(file, options, None if whole else bytes_of_each)
    count, taken, problem, remedy = 0, 0, "", ""
    exact = whole
    try:
        for part in reader:
            count += part.last
            taken += len(part.text)
            if len(shown) < texts and part.text.strip():
                shown.append((part.source or file.name, part.text[:characters]))
            if reader.enough(taken) and reader.done < file.size and file.kind in LARGER_INSIDE:
                break
        else:
            exact = exact or file.kind in LARGER_INSIDE and reader.done >= file.size
    except FledgeError as wrong:
        problem, remedy, exact = wrong.sentence, wrong.remedy, False
    if not exact and not problem:
        one = file.kind in ONE_DOCUMENT and (file.kind != "text" or options.split_by == "file")
        count = 1 if one else max(count, round(count * file.size / max(1, reader.done)))
        exact = one
    return FilePreview(file.name, file.kind, file.size, reader.encoding, reader.column, reader.columns, count, exact, reader.bad_count,
                       reader.replaced, problem, remedy, tuple(reader.notes)), shown


def refused(file: SourceFile, reason: str) -> FilePreview:
    """The row of a file over which looking had to be given up."""
    return FilePreview(file.name, file.kind, file.size, "", "", (), 0, False, 0, 0, tr("It could not be looked into."), reason)


def summary(found: Sequence[SourceFile], skipped: Sequence[Skipped], rows: Sequence[FilePreview],
            shown: Sequence[tuple[str, str]]) -> Preview:
    """The rows of the first files, and what they let one expect of all."""
    documents = sum(row.documents for row in rows)
    looked = sum(row.size for row in rows if not row.problem)
    size = sum(f.size for f in found) - sum(r.size for r in rows if r.problem)
    unread = len(found) - len(rows)
    if unread and looked:
        documents = round(documents * size / looked)
    by_root = [(0, 0)] * (1 + max((f.root for f in found), default=-1))
    for file in found:
        count, held = by_root[file.root]
        by_root[file.root] = (count + 1, held + file.size)
    return Preview(tuple(rows), tuple(skipped), unread, size, documents, round(size / 4), tuple(shown), tuple(by_root))
