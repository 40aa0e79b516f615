"""Files of problems as engine/text/row_files reads them: the kind of their rows, and `look` and `read` for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.contract.rows import Problem
from engine.contract.words import tr
from engine.text.problem_files.guessing import guess
from engine.text.problem_files.making import make
from engine.text.problem_files.mapping import Mapping, mapping_of
from engine.text.read_look import LIMITS as LOOK_LIMITS
from engine.text.read_watch import Limits
from engine.text.row_files import watched
from engine.text.row_files.kind import Look, Refused, RowKind
from engine.text.row_files.watched import READ_LIMITS


def _cut(problem: Problem, characters: int) -> Problem:
    answer = problem.answer[:characters] if isinstance(problem.answer, str) else problem.answer
    return problem.model_copy(update={"prompt": tuple(m.model_copy(update={"content": m.content[:characters]}) for m in problem.prompt),
                                      "answer": answer})


def _unreadable(name: str, reason: str) -> str:
    return tr("{name} cannot be read as problems: {reason}.", name=name, reason=reason)


def _unclear(name: str) -> str:
    return tr("It is not clear which columns of {name} hold a question and its answer.", name=name)


KIND = RowKind("problem_files", Problem, guess, mapping_of, make, _cut, _unreadable, _unclear)


def look(path: str | Path, mapping: Mapping | None = None, *, limits: Limits = LOOK_LIMITS, **bounds: Any) -> Look:
    """What the beginning of a file holds (row_files/watched.py), as problems."""
    return watched.look(KIND, path, mapping, limits=limits, **bounds)


def read(path: str | Path, mapping: Mapping | None = None, *, limits: Limits = READ_LIMITS) -> Iterator[Problem | Refused]:
    """Every problem of a file, in its order, and Refused with line and reason for each row that is none (row_files/watched.py)."""
    return watched.read(KIND, path, mapping, limits=limits)
