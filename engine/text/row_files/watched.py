"""Rows out of files nobody trusts: parsed by a child process with capped memory, which is killed when it hangs. What a file does
to its reader costs that file a reason, and what came before stays.
"""

import dataclasses
import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.contract.errors import FormatError
from engine.contract.words import tr
from engine.text.read_look import LIMITS as LOOK_LIMITS
from engine.text.read_watch import POLL, Child, Limits
from engine.text.row_files.kind import Look, Refused, RowKind
from engine.text.row_files.reading import file_of

READ_LIMITS = Limits(memory=1_500_000_000, idle_seconds=60.0, seconds=120.0)
"""Seconds of one batch, not of a file."""
AHEAD = 6
"""Batches that are parsed while others are used: whoever writes rows takes them in bursts."""


def look(kind: RowKind, path: str | Path, mapping: Any = None, *, examples: int = 5, characters: int = 4_000,
         bytes_of_each: int = 400_000, limits: Limits = LOOK_LIMITS) -> Look:
    """What the beginning of a file holds, within seconds; `mapping` as the person changed it, or a guess. NotFound and FormatError for a
    path that is no file of rows; what is wrong inside of a file stands in the Look."""
    file = file_of(kind, path)
    inbox: queue.SimpleQueue[tuple[Child, list[Any] | None]] = queue.SimpleQueue()
    child = Child(inbox, limits)
    try:
        child.send({"do": "rows", "what": "look", "kind": kind.name, "file": {**dataclasses.asdict(file), "path": str(file.path)},
                    "mapping": None if mapping is None else dataclasses.asdict(mapping),
                    "limits": {"examples": examples, "characters": characters, "bytes_of_each": bytes_of_each}})
        answer, reason = _answer(child, inbox)
    finally:
        child.kill()
    if answer is None:
        return Look(file.name, file.kind, file.size, (), mapping or kind.mapping({}), problem=tr("It could not be looked into."),
                    remedy=reason)
    plain = answer[1]
    return Look(**{**plain, "mapping": kind.mapping(plain["mapping"]),
                   "preview": tuple(kind.model.model_validate_json(e) for e in plain["preview"]),
                   "problems": tuple(Refused(**p) for p in plain["problems"]), "columns": tuple(plain["columns"]),
                   "notes": tuple(plain["notes"])})


def read(kind: RowKind, path: str | Path, mapping: Any = None, *, limits: Limits = READ_LIMITS) -> Iterator[Any]:
    """Every row of a file, in its order: what it makes, or Refused with line and reason. The mapping is guessed unless given. FormatError
    where the file cannot be read, or not further; what came before it counts. Ends its process when it is closed."""
    file = file_of(kind, path)
    return _read(kind, file, mapping, limits)


def _read(kind: RowKind, file: Any, mapping: Any, limits: Limits) -> Iterator[Any]:
    inbox: queue.SimpleQueue[tuple[Child, list[Any] | None]] = queue.SimpleQueue()
    child = Child(inbox, limits)
    job: dict[str, Any] = {"do": "rows", "what": "open", "kind": kind.name,
                           "file": {**dataclasses.asdict(file), "path": str(file.path)},
                           "mapping": None if mapping is None else dataclasses.asdict(mapping)}
    try:
        child.send(job)
        for _ in range(AHEAD):
            child.send({"do": "rows", "what": "next"})
        while True:
            answer, reason = _answer(child, inbox)
            if answer is None:
                raise FormatError(tr("{name} cannot be read further.", name=file.name), reason, code="reader")
            _, made, refused, wrong, ended = answer
            if not (wrong or ended):
                child.send({"do": "rows", "what": "next"})
            at = 0
            for place, line, why in refused:
                yield from map(kind.model.model_validate_json, made[at:place])
                at = place
                yield Refused(line, why)
            yield from map(kind.model.model_validate_json, made[at:])
            if wrong:
                raise FormatError(wrong["sentence"], wrong["remedy"], code=wrong["code"], field=wrong["field"])
            if ended:
                return
    finally:
        child.kill()


def _answer(child: Child, inbox: "queue.SimpleQueue[tuple[Child, list[Any] | None]]") -> tuple[list[Any] | None, str]:
    """What the child answered, or why it did not."""
    while True:
        try:
            _, message = inbox.get(timeout=POLL)
        except queue.Empty:
            # Only now: what lies in the inbox was said in time, however long nobody looked.
            if reason := child.offence():
                return None, reason
            continue
        if message is None or message[0] == "memory":
            return None, child.cause_of_death()
        if message[0] not in ("ready", "at"):
            child.stop_clock()
            reason = child.offence()  # of its memory: where the system has no cap, this look is the only one
            return (None, reason) if reason else (message, "")
