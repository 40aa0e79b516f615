"""Files of conversations as engine/text/row_files reads them: the kind of their rows, and `look` and `read` for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.contract.rows import Example
from engine.contract.words import tr
from engine.text.conversations.guessing import guess
from engine.text.conversations.making import make
from engine.text.conversations.mapping import Mapping, mapping_of
from engine.text.read_look import LIMITS as LOOK_LIMITS
from engine.text.read_watch import Limits
from engine.text.row_files import watched
from engine.text.row_files.kind import Look, Refused, RowKind
from engine.text.row_files.watched import READ_LIMITS


def _cut(example: Example, characters: int) -> Example:
    return example.model_copy(update={"messages": tuple(m.model_copy(update={"content": m.content[:characters]})
                                                        for m in example.messages)})


def _unreadable(name: str, reason: str) -> str:
    return tr("{name} cannot be read as conversations: {reason}.", name=name, reason=reason)


def _unclear(name: str) -> str:
    return tr("It is not clear which columns of {name} hold questions and answers.", name=name)


KIND = RowKind("conversations", Example, guess, mapping_of, lambda row, mapping, origin: (make(row, mapping, origin),), _cut, _unreadable,
               _unclear)


def look(path: str | Path, mapping: Mapping | None = None, *, limits: Limits = LOOK_LIMITS, **bounds: Any) -> Look:
    """What the beginning of a file holds (row_files/watched.py), as conversations."""
    return watched.look(KIND, path, mapping, limits=limits, **bounds)


def read(path: str | Path, mapping: Mapping | None = None, *, limits: Limits = READ_LIMITS) -> Iterator[Example | Refused]:
    """Every row of a file, in its order: an Example, or Refused with line and reason (row_files/watched.py)."""
    return watched.read(KIND, path, mapping, limits=limits)
