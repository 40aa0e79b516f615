"""What a run of pairs has on the disk: lines that are appended, whole after a kill at any moment, and the answers and outcomes of rows that
are under way. Nothing is asked here.

A line is with the system the moment `add` returns, so that a killed worker loses none; the disk itself has it twice a second, so that a
power cut costs half a second of answers, which are then asked again.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
from pydantic import ValidationError

from engine.contract.rows import Answer
from engine.project import files

SYNC_SECONDS = 0.5
SCAN = 1 << 22


class LineFile:
    """The lines of a file by number, read from the disk when they are asked for, from any thread."""

    def __init__(self, path: Path) -> None:
        self._starts = _line_starts(path)
        self._file = open(path, "rb")
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, number: int) -> bytes:
        start, end = int(self._starts[number]), int(self._starts[number + 1])
        with self._lock:
            self._file.seek(start)
            return self._file.read(end - start)

    def close(self) -> None:
        self._file.close()


def _line_starts(path: Path) -> np.ndarray:
    """int64 [lines + 1]: where each line begins, and where the last one ends."""
    found, at = [np.zeros(1, np.int64)], 0
    with open(path, "rb") as file:
        while block := file.read(SCAN):
            found.append(np.flatnonzero(np.frombuffer(block, np.uint8) == 10).astype(np.int64) + at + 1)
            at += len(block)
    starts = np.concatenate(found)
    return starts if starts[-1] == at else np.append(starts, at)


class Appending:
    """A file of JSON lines under way. One thread writes. A line that a kill has torn is closed here and passed over by `whole_lines`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = not path.exists()
        self._file = files.append(path)
        self.size = path.stat().st_size
        self._synced = time.monotonic()
        if fresh:
            files.sync_folder(path.parent)
        elif self.size:
            with open(path, "rb") as file:
                file.seek(-1, os.SEEK_END)
                torn = file.read(1) != b"\n"
            if torn:
                self._write(b"\n")

    def add(self, line: bytes) -> int:
        """The line, without its end, is with the system when this returns; where in the file it begins. DiskFull, and then nothing of it is
        there."""
        assert b"\n" not in line
        start = self.size
        self._write(line + b"\n")
        if time.monotonic() - self._synced > SYNC_SECONDS:
            self.sync()
        return start

    def sync(self) -> None:
        """All of it is on the disk itself when this returns."""
        try:
            os.fsync(self._file.fileno())
        except OSError as wrong:
            raise files.disk_error(wrong, self.path) from wrong
        self._synced = time.monotonic()

    def close(self) -> None:
        try:
            self.sync()
        finally:
            self._file.close()

    def _write(self, data: bytes) -> None:
        done = 0
        try:
            while done < len(data):
                done += self._file.write(data[done:]) or 0
        except OSError as wrong:
            os.ftruncate(self._file.fileno(), self.size)
            raise files.disk_error(wrong, self.path) from wrong
        self.size += len(data)


def whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(where it begins, the line without its end) of every line that is whole; none where there is no file, or a link to one."""
    if not path.is_file() or path.is_symlink():
        return
    at = 0
    with open(path, "rb") as file:
        for line in file:
            if line.endswith(b"\n") and len(line) > 1:
                yield at, line[:-1]
            at += len(line)


class Kept:
    """Answers of rows that are not done, and why rows were left out, over all attempts.

    first    the answer of the first model by row, None where there is none with a text yet
    tries    how often each side of a row has answered; `add` counts on
    out      by row, why it was left out
    """

    def __init__(self, path: Path, rows: int) -> None:
        self.path = path
        self.out: dict[int, str] = {}
        self.tries: Counter[tuple[int, str]] = Counter()
        self._first_at = np.full(rows, -1, np.int64)
        self._last: dict[int, Answer] = {}
        for at, line in whole_lines(path):
            self._take(at, line)
        self._file = Appending(path)
        self._read = open(path, "rb")
        self._lock = threading.Lock()

    def has_first(self, row: int) -> bool:
        return bool(self._first_at[row] >= 0)

    @property
    def has_firsts(self) -> np.ndarray:
        """bool [rows]."""
        return np.asarray(self._first_at >= 0)

    def first(self, row: int) -> Answer | None:
        """From any thread."""
        at = int(self._first_at[row])
        if at < 0:
            return None
        with self._lock:
            self._read.seek(at)
            line = self._read.readline()
        return Answer.model_validate(orjson.loads(line)["answer"])

    def under_way(self) -> list[tuple[int, str]]:
        """(row, side) of what was answered and settles nothing yet."""
        return list(self.tries)

    def last(self, row: int) -> Answer | None:
        """What the second model said last in a row that is not done."""
        return self._last.get(row)

    def add(self, row: int, side: str, answer: Answer) -> None:
        at = self._file.add(orjson.dumps({"row": row, "side": side, "answer": answer.model_dump()}))
        self._count(row, side, answer, at)

    def leave_out(self, row: int, why: str) -> None:
        """For good: a resume does not ask again."""
        self._file.add(orjson.dumps({"row": row, "out": why}))
        self.out[row] = why
        self.done(row)

    def done(self, row: int) -> None:
        """The row's pair is written, or it was left out: what was kept of it is let go of."""
        self._last.pop(row, None)
        for side in ("first", "second"):
            self.tries.pop((row, side), None)

    def sync(self) -> None:
        self._file.sync()

    def close(self) -> None:
        self._read.close()
        self._file.close()

    def _take(self, at: int, line: bytes) -> None:
        try:
            raw = orjson.loads(line)
            row = int(raw["row"])
            if not 0 <= row < len(self._first_at):
                return
            if "out" in raw:
                self.out[row] = str(raw["out"])
                self.done(row)
            else:
                self._count(row, str(raw["side"]), Answer.model_validate(raw["answer"]), at)
        except (ValueError, KeyError, TypeError, ValidationError):
            return  # torn by a kill

    def _count(self, row: int, side: str, answer: Answer, at: int) -> None:
        self.tries[row, side] += 1
        if side == "first" and answer.text:
            self._first_at[row] = at
            del self.tries[row, side]  # it is asked no more
        elif side == "second":
            self._last[row] = answer
