"""A run's events.jsonl: appended by its worker, read by anybody from any byte. Torn last lines (a kill in the middle) are healed on append.

The writer gathers the metrics of every step and writes them as columns a few times a second; everything else is written at once.
"""

import errno
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

from engine.contract.errors import DiskFull
from engine.contract.events import Event, Metrics, from_line, to_line
from engine.project import files

FLUSH_SECONDS = 0.25


class EventWriter:
    """Append events, handed to the operating system (a kill of this process loses nothing that was written).

    A full disk does not end a run: what finds no room waits here and is written, from the very byte, as soon as there is some.
    """

    def __init__(self, path: Path, attempt: int) -> None:
        self.path, self.attempt = path, attempt
        self._lock = threading.Lock()
        self._columns: dict[str, list[float | None]] = {}
        self._steps = 0
        self._flushed = time.monotonic()
        path.parent.mkdir(parents=True, exist_ok=True)
        torn = path.exists() and path.stat().st_size > 0 and not _ends_with_newline(path)
        self._file: IO[bytes] = files.append(path)
        self._unwritten = b"\n" if torn else b""

    def write(self, event: Event) -> None:
        """Metrics wait up to a quarter of a second for more; any other event is on its way at once, after the metrics before it."""
        with self._lock:
            if isinstance(event, Metrics):
                self._gather(event)
                if time.monotonic() - self._flushed >= FLUSH_SECONDS:
                    self._flush_metrics()
                return
            self._flush_metrics()
            self._append(event)

    def flush(self) -> None:
        with self._lock:
            self._flush_metrics()

    def close(self) -> None:
        """The last lines, to the disk itself. DiskFull when they find no room even now."""
        with self._lock:
            try:
                self._flush_metrics()
                self._write()
                os.fsync(self._file.fileno())
                if self._unwritten:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as wrong:
                raise files.disk_error(wrong, self.path) from wrong
            finally:
                self._file.close()

    def _gather(self, event: Metrics) -> None:
        count = len(next(iter(event.columns.values()), []))
        for key, values in event.columns.items():
            self._columns.setdefault(key, [None] * self._steps).extend(values)
        self._steps += count
        for key, column in self._columns.items():
            column.extend([None] * (self._steps - len(self._columns[key])))

    def _flush_metrics(self) -> None:
        self._flushed = time.monotonic()
        if self._steps:
            columns, self._columns, self._steps = self._columns, {}, 0
            self._append(Metrics(columns=columns))

    def _append(self, event: Event) -> None:
        line = to_line(replace(event, time=time.time(), attempt=self.attempt)) + "\n"
        self._unwritten += line.encode("utf-8", "surrogatepass")
        self._write()

    def _write(self) -> None:
        try:
            while self._unwritten:
                written = self._file.write(self._unwritten)
                self._unwritten = self._unwritten[written or 0:]
        except OSError as wrong:
            if not isinstance(files.disk_error(wrong, self.path), DiskFull):
                raise


def _ends_with_newline(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


class EventReader:
    """Follow an events.jsonl from any place: each `read` gives the whole lines that are new, at most `limit` bytes of them."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path, self.offset = path, offset

    def read(self, limit: int = 1 << 18) -> list[Event]:
        """New events; [] when there are none. A line that is not whole yet waits; one that is longer than `limit` is read whole; torn and
        unknown ones are passed over, however many."""
        while True:
            before = self.offset
            found = self._next(limit)
            if found or self.offset == before:
                return found

    def _next(self, limit: int) -> list[Event]:
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                data = file.read(limit)
                while data and b"\n" not in data:
                    more = file.read(limit)
                    if not more:
                        return []
                    data += more
        except FileNotFoundError:
            return []
        end = data.rfind(b"\n") + 1
        self.offset += end
        found = (from_line(line) for line in data[:end].splitlines())
        return [event for event in found if event is not None]

    def pending(self) -> int:
        """Bytes not read yet."""
        try:
            return self.path.stat().st_size - self.offset
        except FileNotFoundError:
            return 0


def read_events(path: Path) -> Iterator[Event]:
    """All events of a file."""
    reader = EventReader(path)
    while events := reader.read(1 << 22):
        yield from events
