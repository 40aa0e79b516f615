"""Locks that the operating system drops when their process dies: no stale lock after a crash, no confusion by reused process numbers."""

import json
import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self


class FileLock:
    """An exclusive lock on a file, held until `release` or the end of the process. The file also says who holds it, for people.

    The holder's note is kept in a sibling `<name>.holder`, since on Windows a locked file cannot be read by others.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None

    def acquire(self, wait: float = 0.5, **note: Any) -> bool:
        """Take the lock or return False after `wait` seconds. Never 0 in earnest: a look by `taken` holds it for an instant."""
        assert self._file is None, "already held"
        until = time.monotonic() + wait
        while not self._try(note):
            if time.monotonic() >= until:
                return False
            time.sleep(0.01)
        return True

    def _try(self, note: dict[str, Any]) -> bool:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = open(self.path, "ab+")
        os.set_inheritable(file.fileno(), False)
        if not _lock(file):
            file.close()
            return False
        self._file = file
        try:
            self._holder.write_text(json.dumps({"pid": os.getpid(), **note}), "utf-8")
        except OSError:
            pass  # the note is a courtesy; the lock holds without it
        return True

    def release(self) -> None:
        if self._file is not None:
            self._holder.unlink(missing_ok=True)
            _unlock(self._file)
            self._file.close()
            self._file = None

    @property
    def held(self) -> bool:
        return self._file is not None

    def taken(self) -> bool:
        """Whether another process (or another lock object of this one) holds it right now."""
        if self._file is not None:
            return True
        if not self.path.exists():
            return False
        try:
            file: IO[bytes] = open(self.path, "ab+")
        except PermissionError:  # a project that may only be read: to look is allowed
            file = open(self.path, "rb")
        with file:
            if not _lock(file):
                return True
            _unlock(file)
            return False

    def holder(self) -> dict[str, Any]:
        """What the holder wrote about itself: {"pid": ..., ...}; empty when unknown."""
        try:
            note = json.loads(self._holder.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) else {}

    @property
    def _holder(self) -> Path:
        return self.path.with_name(self.path.name + ".holder")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[bytes]) -> bool:
        file.seek(0)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(file: IO[bytes]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _lock(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(file: IO[bytes]) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_UN)
