"""Files to a corpus folder: reads, splits, writes, counts. No project, no torch; `run` wires it to one.

The split
- 100 documents or more: a document belongs to validation when the hash of its text says so. The same text always lands on the same side,
  so no copy of a validation text is trained on.
- Fewer: the last share of each document, cut at the nearest paragraph, else line, else sentence. One file gives its last tenth, as in
  nanoGPT.
Counting the first 100 documents is a first, quick pass. The same files and settings give the same corpus.
"""

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.contract.errors import FormatError, InputError
from engine.contract.words import tr
from engine.text.corpus import SPLITS
from engine.text.corpus_writer import CorpusWriter
from engine.text.readers import Part, Reader, ReadOptions, Skipped, SourceFile, best_cut

FEW = 100
"""Documents from which on whole documents are kept for validation."""


@dataclass(frozen=True)
class Standing:
    """How far the reading is: bytes of the files taken and in all, documents so far, seconds."""

    done: int
    total: int
    documents: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def eta(self) -> float:
        return (self.total - self.done) / self.rate if self.rate > 0 else -1.0


@dataclass
class Collected:
    """What came of it. `sources` has a row for each file; `by_tail` says that the last part of each document is the validation text;
    `originals` counts the texts before long ones were cut; `lowest` is the least share that would have chosen one."""

    splits: dict[str, dict[str, int]] = field(default_factory=dict)
    sources: list[dict[str, Any]] = field(default_factory=list)
    failed: list[Skipped] = field(default_factory=list)
    by_tail: bool = False
    originals: int = 0
    lowest: float = 1.0

    def total(self, key: str) -> int:
        """documents, bytes or characters of both splits."""
        return sum(split[key] for split in self.splits.values())


def collect(files: Sequence[SourceFile], options: ReadOptions, share: float, folder: Path, *,
            report: Callable[[str, Standing], None] = lambda phase, standing: None) -> Collected:
    """Fill `folder` (made here) with the documents of `files`, a `share` of them (0..1) for validation. `report` is called a few times a
    second with the phase ("look" or "read") and may raise to stop. Files that cannot be read are in `failed`; nothing readable at all
    raises the file's own FormatError, or an InputError with the reasons."""
    lengths = _measure(files, options, report, FEW)
    made = _write(files, options, share, folder, lengths if len(lengths) < FEW else None, report)
    if made.originals and not made.splits["validation"]["documents"] and not made.by_tail:
        # So few documents, or so small a share, that chance picked none: the one that came nearest is taken.
        shutil.rmtree(folder)
        made = _write(files, options, made.lowest, folder, None, report)
    if not made.originals:
        raise _nothing(files, made.failed)
    if not all(made.splits[name]["documents"] for name in SPLITS):
        raise InputError(tr("There is too little text to train on one part and measure on another."),
                         tr("Add more text, or keep a larger share for validation."), code="too_little")
    return made


def _measure(files: Sequence[SourceFile], options: ReadOptions, report: Callable[[str, Standing], None],
             enough: int | None) -> dict[tuple[int, int], int]:
    """(file, document) -> characters, up to `enough` documents."""
    lengths: dict[tuple[int, int], int] = {}
    for number, _, part in _read(files, options, lambda standing: report("look", standing), []):
        key = number, part.document
        lengths[key] = lengths.get(key, 0) + len(part.text)
        if enough is not None and len(lengths) >= enough:
            break
    return lengths


def _write(files: Sequence[SourceFile], options: ReadOptions, share: float, folder: Path, lengths: dict[tuple[int, int], int] | None,
           report: Callable[[str, Standing], None]) -> Collected:
    """`lengths` given: the tail of each document is kept for validation; else whole documents by hash."""
    made = Collected(by_tail=lengths is not None)
    readers: dict[int, Reader] = {}
    writer = CorpusWriter(folder)
    side, before, current = "train", 0, (-1, -1)
    for number, reader, part in _read(files, options, lambda standing: report("read", standing), made.failed):
        readers[number] = reader
        name = files[number].name
        if (number, part.document) != current:
            current, before = (number, part.document), 0
            made.originals += 1
            drawn = lot(part.text)
            made.lowest = min(made.lowest, drawn)
            side = "validation" if lengths is None and drawn <= share else "train"
        if lengths is None:
            if part.text:
                writer.add(side, part.text, name)
            continue
        cut = tail(part.text, before, lengths[current], share)
        for split, text in (("train", part.text[:cut]), ("validation", part.text[cut:])):
            if text and not text.isspace():
                writer.add(split, text, name)
        before += len(part.text)
    writer.finish()
    made.splits = {name: writer.counts(name).plain() for name in SPLITS}
    for number, reader in readers.items():
        counts = writer.sources.get(files[number].name)
        made.sources.append({"name": files[number].name, "kind": files[number].kind, "size": files[number].size,
                             "encoding": reader.encoding, "column": reader.column, "bad": reader.bad_count,
                             "bad_lines": [list(line) for line in reader.bad], "empty": reader.empty, "replaced": reader.replaced,
                             **(counts.plain() if counts else {"documents": 0, "bytes": 0, "characters": 0})})
    return made


def _read(files: Sequence[SourceFile], options: ReadOptions, report: Callable[[Standing], None],
          failed: list[Skipped]) -> Iterator[tuple[int, Reader, Part]]:
    """All parts of all files in order. What cannot be read (any more) goes to `failed`, and the next file follows."""
    began = last = time.monotonic()
    total, before, documents = sum(f.size for f in files), 0, 0
    for number, file in enumerate(files):
        reader = Reader(file, options)
        try:
            for part in reader:
                documents += part.last
                now = time.monotonic()
                if now - last > 0.25:
                    last = now
                    report(Standing(min(total, before + reader.done), total, documents, now - began))
                yield number, reader, part
        except FormatError as wrong:
            failed.append(Skipped(file.name, str(wrong)))
        before += file.size
    report(Standing(total, total, documents, time.monotonic() - began))


def lot(text: str) -> float:
    """The hash of a text as a number from 0 to 1: a document is kept for validation when it is not above the share."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big") / 2**64


def tail(text: str, before: int, length: int, share: float) -> int:
    """Where to cut `text`, which begins `before` characters into a document of `length` characters, so that the last `share` of the
    document is behind the cut: 0 when all of it is, len(text) when nothing is. The cut may move a quarter of the share to a good place."""
    target = round(length * (1 - share)) - before
    slack = min(50_000, int(length * share / 4))
    if target <= 0:
        return 0
    if target >= len(text):
        return len(text)
    return best_cut(text, max(0, target - slack), min(len(text), target + slack), target)


def _nothing(files: Sequence[SourceFile], failed: Sequence[Skipped]) -> InputError:
    if len(failed) == 1 and len(files) == 1:
        return FormatError(failed[0].reason, code="unreadable")
    reasons = "; ".join(f"{f.name}: {f.reason}" for f in failed[:5])
    return InputError(tr("No text was found in what was given. {reasons}", reasons=reasons).strip(), tr("Choose other files."),
                      code="no_text")
