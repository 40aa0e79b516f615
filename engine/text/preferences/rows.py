"""Files of pairs as engine/text/row_files reads them: the kind of their rows, and `look` and `read` for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.contract.rows import Answer, Pair
from engine.contract.words import tr
from engine.text.preferences.argilla import make_all
from engine.text.preferences.guessing import guess
from engine.text.preferences.mapping import Mapping, mapping_of
from engine.text.read_look import LIMITS as LOOK_LIMITS
from engine.text.read_watch import Limits
from engine.text.row_files import watched
from engine.text.row_files.kind import Look, Refused, RowKind
from engine.text.row_files.watched import READ_LIMITS


def _cut(pair: Pair, characters: int) -> Pair:
    def short(answer: Answer) -> Answer:
        return answer.model_copy(update={"text": answer.text[:characters]})

    return pair.model_copy(update={"prompt": tuple(m.model_copy(update={"content": m.content[:characters]}) for m in pair.prompt),
                                   "first": short(pair.first), "second": short(pair.second)})


def _unreadable(name: str, reason: str) -> str:
    return tr("{name} cannot be read as pairs: {reason}.", name=name, reason=reason)


def _unclear(name: str) -> str:
    return tr("It is not clear which columns of {name} hold a question and two answers.", name=name)


KIND = RowKind("preferences", Pair, guess, mapping_of, make_all, _cut, _unreadable, _unclear)


def look(path: str | Path, mapping: Mapping | None = None, *, limits: Limits = LOOK_LIMITS, **bounds: Any) -> Look:
    """What the beginning of a file holds (row_files/watched.py), as pairs."""
    return watched.look(KIND, path, mapping, limits=limits, **bounds)


def read(path: str | Path, mapping: Mapping | None = None, *, limits: Limits = READ_LIMITS) -> Iterator[Pair | Refused]:
    """Every pair of a file, in its order, and Refused with line and reason for each row that is none (row_files/watched.py). What the file
    knows of an answer being better stands in facts: `best`, `by`, `strength`; and `labels`, a list of everybody's word, where it has one:
    {"author", "choice", "strength", "comment"}, or what Fledge wrote."""
    return watched.read(KIND, path, mapping, limits=limits)
