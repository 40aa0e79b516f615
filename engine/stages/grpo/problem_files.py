"""Problems between files and the library, for the window's process (problems_process.py) and the terminal. Reading and writing files is
engine/text/problem_files'.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from engine.contract.errors import FledgeError, InputError
from engine.contract.rows import Problem
from engine.contract.words import tr
from engine.project.problems import HELD_OUT_PERCENT, Problems, ProblemSet
from engine.text.problem_files import Mapping, Refused, Written, look, read, write

LISTED = 20
"""Refused rows that are named; the others are counted."""
Tell = Callable[[int], None]
"""Is told, often, how many rows are done."""


@dataclass
class Brought:
    """What came of a file: the set as it is now, `same` rows that the file says twice or that the set had, `refused` ones (`problems` lists
    the first, each (line, reason))."""

    set: ProblemSet | None = None
    added: int = 0
    same: int = 0
    refused: int = 0
    problems: list[tuple[int, str]] = field(default_factory=list)


def bring(problems: Problems, file: Path, mapping: Mapping | None = None, *, title: str = "", into: str = "",
          held_out_percent: float | None = None, author: str = "", tell: Tell = lambda done: None) -> Brought:
    """A file's problems into a new set, or `into` one: all that are problems, or nothing where the file cannot be read to its end. Which
    are held out says the file where a column does, else chance by the prompt (`held_out_percent`). InputError where no row is one."""
    if mapping is None:
        mapping = look(file, examples=0).mapping
    if held_out_percent is None:
        held_out_percent = 0.0 if mapping.held_out or mapping.kind == "fledge" else HELD_OUT_PERCENT
    before = problems.set_of(into).count if into else 0
    brought, taken = Brought(), [0]
    source = json.dumps({"file": file.name, "mapping": asdict(mapping)}, ensure_ascii=False)
    try:
        with closing(_rows(file, mapping if mapping.complete else None, brought, taken, tell)) as rows:
            brought.set = problems.take(title or file.name, rows, origin=f"import:{file.name}", held_out_percent=held_out_percent,
                                        author=author, source=source, into=into)
    except InputError as wrong:
        if wrong.code != "no_problems":
            raise
        why = tr("The first: row {line}, {reason}.", line=brought.problems[0][0], reason=brought.problems[0][1]) if brought.problems else ""
        raise InputError(tr("No row of {name} is a problem.", name=file.name), why or tr("Choose other columns."), code="no_rows") from None
    brought.added = brought.set.count - before
    brought.same = taken[0] - brought.added
    return brought


def _rows(file: Path, mapping: Mapping | None, brought: Brought, taken: list[int], tell: Tell) -> Iterator[Problem]:
    done = 0
    with closing(read(file, mapping)) as found:
        for row in found:
            done += 1
            if not done % 200:
                tell(done)
            if isinstance(row, Refused):
                brought.refused += 1
                if len(brought.problems) < LISTED:
                    brought.problems.append((row.line, row.reason))
            else:
                taken[0] += 1
                yield row
    tell(done)


def take_out(problems: Problems, sets: Sequence[str], target: Path, form: str, *, held_out: bool | None = None, replace: bool = True,
             tell: Tell = lambda done: None) -> Written:
    """Sets into a file, in one of the forms of text/problem_files/writing.py."""
    def rows() -> Iterator[Problem]:
        for done, row in enumerate(problems.rows(sets, held_out)):
            if not done % 200:
                tell(done)
            yield row
    return write(target, rows(), form, replace=replace)


def unreadable(wrong: FledgeError) -> FledgeError:
    """That nothing of a file was taken, where the file is what is wrong."""
    if wrong.code in ("no_rows", "which_column") or not isinstance(wrong, InputError):
        return wrong
    return InputError(wrong.sentence, wrong.remedy or tr("Nothing was taken. Mend the file there, and import it again."), code=wrong.code,
                      field=wrong.field)
