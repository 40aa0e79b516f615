"""Rows of a kind out of a file, in this very process. For files nobody trusts take watched.py, which does the same in another one."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from engine.contract.errors import FledgeError, FormatError, NotFound
from engine.contract.words import tr
from engine.text.readers.base import SourceFile
from engine.text.readers.listing import list_files
from engine.text.readers.reader import Reader
from engine.text.readers.rows import KINDS, rows
from engine.text.row_files.kind import Look, NoRow, Refused, RowKind

FIRST = 200
"""Rows that a guess is made from."""
PROBLEMS = 20
"""Refused rows that a look lists."""


def file_of(kind: RowKind, path: str | Path) -> SourceFile:
    """The one file (or saved dataset) of rows at a path. NotFound, FormatError."""
    path = Path(path).expanduser()
    if not path.exists():
        raise NotFound(tr("{path} does not exist.", path=str(path)), tr("Choose another file."))
    found, skipped = list_files([path])
    fitting = [f for f in found if f.kind in KINDS]
    if len(fitting) == 1 and (path.is_file() or len(found) == 1):
        return fitting[0]
    if path.is_dir():
        raise FormatError(tr("{name} is a folder.", name=path.name), tr("Choose a file, or the folder of a saved dataset."))
    reason = skipped[0].reason if skipped and not found else tr("it holds no rows")
    raise FormatError(kind.unreadable(path.name, reason),
                      tr("Take a file of one of these kinds: {kinds}.", kinds=", ".join(f".{k}" for k in KINDS if k != "hf")))


def look_into(kind: RowKind, file: SourceFile, mapping: Any = None, *, examples: int = 5, characters: int = 4_000,
              bytes_of_each: int = 400_000) -> Look:
    """What the beginning of a file holds; `mapping` as the person changed it, or a guess. Texts of the preview are cut to `characters`."""
    reader = _Reader(file, limit=None if file.size <= bytes_of_each and not file.packing else bytes_of_each)
    held: list[tuple[int, Any]] = []
    problem = remedy = ""
    taken = 0
    whole = True
    try:
        for number, row in rows(reader):
            held.append((number, row))
            taken += 1
            if len(held) >= 10_000:
                whole = False
                break
    except FledgeError as wrong:
        problem, remedy, whole = wrong.sentence, wrong.remedy, False
    whole = whole and reader.limit is None
    names = dict.fromkeys(str(name) for _, row in held for name in (row if isinstance(row, dict) else ()))
    told = mapping or kind.guess([row for _, row in held[:FIRST]])
    shown: list[Any] = []
    refused = list(reader.refused)
    if told.complete:
        for number, row in held:
            for made in _made(kind, number, row, told, file):
                if isinstance(made, Refused):
                    refused.append(made)
                elif len(shown) < examples:
                    shown.append(kind.cut(made, characters))
    if not problem and not taken and not refused:
        problem, remedy = tr("{name} holds no rows.", name=file.name), tr("Choose another file.")
    seen = taken + len(reader.refused)
    count = seen if whole or not reader.done else max(seen, round(seen * file.size / max(1, min(reader.done, file.size))))
    return Look(file.name, file.kind, file.size, tuple(names), told, tuple(shown), tuple(sorted(refused, key=lambda r: r.line)[:PROBLEMS]),
                seen, len(refused), count, whole, tuple(reader.notes), problem, remedy)


def read_rows(kind: RowKind, file: SourceFile, mapping: Any = None, tick: Any = None) -> Iterator[Any]:
    """Every row of a file, in its order: what it makes, or Refused with the reason. The mapping is guessed from the first rows unless
    given; a FormatError names the columns where nothing can be told, or says from where on the file cannot be read."""
    reader = _Reader(file)
    if tick is not None:
        reader.tick = tick
    stream = rows(reader)
    first: list[tuple[int, Any]] = []
    broken: FledgeError | None = None
    if mapping is None:
        try:
            for row in stream:
                first.append(row)
                if len(first) >= FIRST:
                    break
        except FledgeError as wrong:
            broken = wrong
        mapping = kind.guess([row for _, row in first])
    if not mapping.complete and first:
        raise FormatError(kind.unclear(file.name),
                          tr("Say which of these: {columns}.", columns=", ".join(reader.columns or _names(first)) or tr("none")),
                          code="which_column", field="mapping")
    for number, row in first:
        yield from reader.drain(number)
        yield from _made(kind, number, row, mapping, file)
    if broken is None:
        for number, row in stream:
            if reader.refused:
                yield from reader.drain()
            yield from _made(kind, number, row, mapping, file)
    yield from reader.drain()
    if broken is not None:
        raise broken


def _names(held: list[tuple[int, Any]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(name) for _, row in held if isinstance(row, dict) for name in row))


def _made(kind: RowKind, number: int, row: Any, mapping: Any, file: SourceFile) -> Sequence[Any]:
    try:
        return kind.make(row, mapping, f"import:{file.name}")
    except NoRow as why:
        return (Refused(number, str(why)),)


@dataclasses.dataclass
class _Reader(Reader):
    """A reader that keeps what it finds bad, to be told in its place."""

    refused: list[Refused] = dataclasses.field(default_factory=list)

    def note_bad(self, number: int, reason: str) -> None:
        super().note_bad(number, reason)
        self.refused.append(Refused(number, reason))

    def drain(self, before: float = float("inf")) -> Iterator[Refused]:
        """What was noted of rows before the one with this number, once."""
        while self.refused and self.refused[0].line < before:
            yield self.refused.pop(0)
