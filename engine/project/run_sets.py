"""Sets of the library that a run fills while it is under way: which set is whose, and how far a run's rows have been taken in. What a row
is, and how it is put into a set, is said by the subclass (examples.py, pair_sets.py)."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Generic, TypeVar

Row = TypeVar("Row")


class RunSets(Generic[Row]):
    """The methods that ingest.py calls. A subclass names its table of runs (run, set_number, taken) and gives `_made`, `_named`, `_put`."""

    runs_table: ClassVar[str] = ""
    _rows: Callable[..., list[Any]]
    _write: Callable[[], AbstractContextManager[sqlite3.Connection]]

    def set_of_run(self, run: str, title: str) -> str | None:
        """The set that a run fills, made at the first call; None when a person has deleted it."""
        with self._write() as db:
            db.execute("begin immediate")
            found = db.execute(f"select set_number from {self.runs_table} where run = ?", (run,)).fetchone()
            if found is None:
                number = self._made(db, title, f"run:{run}", run)
                db.execute(f"insert into {self.runs_table} (run, set_number) values (?, ?)", (run, number))
                return self._named(number)
            return None if found[0] is None else self._named(found[0])

    def taken_of_run(self, run: str) -> int:
        """Bytes of the run's rows that are in the library."""
        found = self._rows(f"select taken from {self.runs_table} where run = ?", [run])
        return int(found[0][0]) if found else 0

    def ingest_of_run(self, run: str, rows: Sequence[Row], taken: int) -> int:
        """Rows of a run and how far its file has been read with them, in one transaction; 0 when its set was deleted."""
        with self._write() as db:
            db.execute("begin immediate")
            found = db.execute(f"select set_number from {self.runs_table} where run = ?", (run,)).fetchone()
            if found is None or found[0] is None:
                return 0
            added = self._put(db, found[0], rows)
            db.execute(f"update {self.runs_table} set taken = ? where run = ?", (taken, run))
        return added

    def _made(self, db: sqlite3.Connection, title: str, origin: str, run: str) -> int:
        """A new set; its number."""
        raise NotImplementedError

    def _named(self, number: int) -> str:
        """The id of a set."""
        raise NotImplementedError

    def _put(self, db: sqlite3.Connection, number: int, rows: Sequence[Row]) -> int:
        """Put a run's rows into a set; how many it did not have."""
        raise NotImplementedError
