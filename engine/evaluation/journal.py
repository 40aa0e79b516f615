"""Rows of an evaluation under way: a line each, read again after a kill, so that next to nothing is asked twice. No torch."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from engine.project import files

FLUSH_SECONDS = 0.5
Key = tuple[str, str, str, str, int]


def key_of(row: dict[str, Any]) -> Key:
    """What a row answers: suite, model, form, question, which try."""
    return (row["suite"], row["model"], row["form"], row["id"], int(row.get("sample", 0)))


class Journal:
    """Appends rows; `rows` has them all, also those of earlier attempts. A line that a kill cut off is left behind, not read."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.rows: dict[Key, dict[str, Any]] = {key_of(row): row for row in read(path)}
        try:
            torn = path.exists() and path.stat().st_size and not path.read_bytes().endswith(b"\n")
            self._file = open(path, "ab")
            if torn:
                self._file.write(b"\n")
        except OSError as wrong:
            raise files.disk_error(wrong, path) from wrong
        self._flushed = time.monotonic()

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row; to the disk itself twice a second."""
        key = key_of(row)
        assert key not in self.rows, key
        self.rows[key] = row
        try:
            self._file.write(orjson.dumps(row, option=orjson.OPT_NON_STR_KEYS) + b"\n")
        except OSError as wrong:
            raise files.disk_error(wrong, self.path) from wrong
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as wrong:
            raise files.disk_error(wrong, self.path) from wrong
        self._flushed = time.monotonic()

    def close(self) -> None:
        try:
            self.flush()
        finally:
            self._file.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The whole rows of a file, in order; nothing where there is none."""
    if not path.exists():
        return
    with open(path, "rb") as file:
        for line in file:
            try:
                row = orjson.loads(line)
                key_of(row)
            except (ValueError, KeyError, TypeError):
                continue
            yield row
