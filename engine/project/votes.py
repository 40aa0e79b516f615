"""Votes of blind comparisons in the library: which of two answers a person found better. They become preference pairs later, not here."""

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.contract.errors import SettingError
from engine.contract.words import tr

Choice = Literal["left", "right", "tie", "bad"]
CHOICES: tuple[Choice, ...] = ("left", "right", "tie", "bad")
_COLUMNS = ("id", "prompt", "left_text", "right_text", "left_model", "right_model", "choice", "author", "made", "purpose", "facts")


@dataclass(frozen=True)
class Vote:
    """One comparison as it was shown: the better side, a tie, or both bad. `purpose` says what it was for (say, an evaluation's id)."""

    prompt: str
    left_text: str
    right_text: str
    left_model: str
    right_model: str
    choice: Choice
    author: str = ""
    purpose: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    id: str = ""
    made: float = 0.0


class Votes:
    """`Library.votes`."""

    def __init__(self, read: Callable[[str, Sequence[Any] | Mapping[str, Any]], list[tuple[Any, ...]]], write: Callable[[], Any]) -> None:
        self._rows, self._write = read, write

    def add(self, vote: Vote) -> Vote:
        """Keep a vote; id and time are filled in. One with an id that is there already replaces it."""
        if vote.choice not in CHOICES:
            raise SettingError(tr("A vote cannot be {choice}.", choice=vote.choice),
                               tr("Choose one of: {choices}.", choices=", ".join(CHOICES)))
        made = Vote(**{**{name: getattr(vote, name) for name in _COLUMNS}, "id": vote.id or uuid.uuid4().hex,
                       "made": vote.made or time.time()})
        values = [getattr(made, name) for name in _COLUMNS[:-1]] + [json.dumps(made.facts)]
        kept = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[1:])
        with self._write() as db:
            db.execute(f"insert into votes ({', '.join(_COLUMNS)}) values ({', '.join('?' * len(_COLUMNS))})"
                       f" on conflict (id) do update set {kept}", values)
        return made

    def list(self, purpose: str | None = None, start: int = 0, count: int = -1) -> list[Vote]:
        """In the order they were given; of all purposes, or of one."""
        where, values = ("", []) if purpose is None else (" where purpose = ?", [purpose])
        rows = self._rows(f"select {', '.join(_COLUMNS)} from votes{where} order by number limit ? offset ?", [*values, count, start])
        return [Vote(**{**dict(zip(_COLUMNS, r, strict=True)), "facts": json.loads(r[-1])}) for r in rows]

    def remove(self, id: str) -> bool:
        """Take a vote back. False when it is not there."""
        with self._write() as db:
            return bool(db.execute("delete from votes where id = ?", (id,)).rowcount)
