"""What the process of engine/text/read_child.py does for files of rows: a look, or rows by the batch whenever they are asked for.

Batches are asked for one by one, so that a parent that is slower than the parser is not buried in rows.
"""

import dataclasses
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.contract.errors import FledgeError
from engine.text.readers.base import SourceFile
from engine.text.row_files.kind import Look, Refused, kind_of
from engine.text.row_files.reading import look_into, read_rows

BATCH, BATCH_CHARACTERS = 1_000, 4_000_000
EVERY = 0.2
"""Seconds between two signs of life."""


class RowJobs:
    """The jobs of one process; `say` sends a message to the parent."""

    def __init__(self, say: Any) -> None:
        self._say = say
        self._stream: Iterator[Any] = iter(())
        self._heard = time.monotonic()

    def answer(self, job: dict[str, Any]) -> None:
        """"look", "open" (a file, to be read) or "next" (batch of it)."""
        if job["what"] == "next":
            self._next()
            return
        file = SourceFile(**{**job["file"], "path": Path(job["file"]["path"])})
        kind = kind_of(job["kind"])
        mapping = None if job["mapping"] is None else kind.mapping(job["mapping"])
        if job["what"] == "open":
            self._stream = read_rows(kind, file, mapping, self._tick)
            self._next()
            return
        try:
            found = look_into(kind, file, mapping, **job["limits"])
        except MemoryError:
            raise
        except Exception as wrong:  # a parser's own bug over a strange file: the boundary of the file
            traceback.print_exc()
            found = Look(file.name, file.kind, file.size, (), mapping or kind.mapping({}), problem=f"{type(wrong).__name__}: {wrong}"[:300])
        self._say("looked", {**dataclasses.asdict(dataclasses.replace(found, preview=())),
                             "preview": [e.model_dump_json() for e in found.preview]})

    def _next(self) -> None:
        made: list[str] = []
        refused: list[tuple[int, int, str]] = []     # (how many rows stand before it, line, reason)
        length = 0
        wrong: dict[str, str] = {}
        ended = True
        try:
            for row in self._stream:
                if isinstance(row, Refused):
                    refused.append((len(made), row.line, row.reason))
                else:
                    made.append(row.model_dump_json())
                    length += len(made[-1])
                if len(made) + len(refused) >= BATCH or length >= BATCH_CHARACTERS:
                    ended = False
                    break
        except MemoryError:
            raise
        except FledgeError as why:
            wrong = {"sentence": why.sentence, "remedy": why.remedy, "code": why.code, "field": why.field}
        except Exception as why:  # a parser's own bug over a strange file: the boundary of the file
            traceback.print_exc()
            wrong = {"sentence": f"{type(why).__name__}: {why}"[:300], "remedy": "", "code": "format", "field": ""}
        self._say("batch", made, refused, wrong, ended)

    def _tick(self) -> None:
        if time.monotonic() - self._heard > EVERY:
            self._heard = time.monotonic()
            self._say("at")
