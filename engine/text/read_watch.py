"""One watched child process of read_process.py: started, spoken to, measured, killed. It knows nothing of batches and parts.

Memory is watched on every system by polling the child's resident size; on Linux the child caps itself too (read_child.py). On Windows the
polling stands alone: between two looks a child may take more than the cap for a moment.
"""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import psutil

from engine.contract.units import duration, size
from engine.contract.words import tr
from engine.text import read_child

ROOT = Path(__file__).resolve().parents[2]
POLL = 0.05


@dataclass(frozen=True)
class Limits:
    """What one file may cost. `memory` in bytes of one process; `idle_seconds` without a sign of life; in all `seconds`, and a second for
    each `bytes_per_second` of its size. An archive's members each have their own clock; after `deaths` of them the rest is given up."""

    memory: int = 2_000_000_000
    idle_seconds: float = 60.0
    seconds: float = 120.0
    bytes_per_second: float = 100_000.0
    deaths: int = 5


class Child:
    """A process of read_child.py. Its messages come as (child, message) in `inbox`, None when it has ended."""

    def __init__(self, inbox: "queue.SimpleQueue[tuple[Child, list[Any] | None]]", limits: Limits) -> None:
        self.limits, self._inbox = limits, inbox
        self.peak = 0
        self.ended = False
        self._process = subprocess.Popen([sys.executable, "-m", "engine.text.read_child", str(limits.memory)], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, env=_environment(), creationflags=_no_window())
        try:
            self._seen: psutil.Process | None = psutil.Process(self._process.pid)
        except psutil.NoSuchProcess:
            self._seen = None
        self._heard = time.monotonic()
        self._begun: float | None = None
        self._allowed = 0.0
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._heard = time.monotonic()
            try:
                message = _message(line)
            except ValueError:
                break  # torn by its death
            self._inbox.put((self, message))
        self._inbox.put((self, None))

    def send(self, job: dict[str, Any]) -> None:
        """Hand over a job; one that has died meanwhile says so by its end."""
        self.start_clock(0)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            pass

    def start_clock(self, bytes: int) -> None:
        """A file, or a member of an archive, of so many bytes begins."""
        self._begun = self._heard = time.monotonic()
        self._allowed = self.limits.seconds + bytes / self.limits.bytes_per_second

    def stop_clock(self) -> None:
        self._begun = None

    def forgive(self, seconds: float) -> None:
        """The parent itself did not look for so long."""
        self._heard += seconds
        if self._begun is not None:
            self._begun += seconds

    def offence(self) -> str:
        """What it has done against its limits; "" while it keeps to them."""
        if self._seen is not None:
            try:
                self.peak = max(self.peak, self._seen.memory_info().rss)
            except psutil.Error:
                pass
        if self.peak > self.limits.memory:
            return too_much_memory(self.limits)
        if self._begun is None:
            return ""
        now = time.monotonic()
        if now - self._heard > self.limits.idle_seconds:
            return tr("It did not move on for {time}.", time=duration(self.limits.idle_seconds))
        if now - self._begun > self._allowed:
            return tr("It did not end within {time}.", time=duration(self._allowed))
        return ""

    def cause_of_death(self) -> str:
        """Why a child that ended by itself did so, for people."""
        try:
            code = self._process.wait(10)
        except subprocess.TimeoutExpired:
            code = None
        # A library that cannot get memory under the cap often crashes instead of saying so.
        if code == read_child.MEMORY or self.peak > 0.7 * self.limits.memory:
            return too_much_memory(self.limits)
        return tr("It made its reader crash.")

    def kill(self) -> None:
        self.ended = True
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            try:
                self._process.stdin.close()
            except OSError:
                pass


def _message(line: bytes) -> list[Any]:
    try:
        found: list[Any] = orjson.loads(line)
    except ValueError:  # what UTF-8 cannot hold comes escaped, which only the slower one takes
        found = json.loads(line)
    return found


def too_much_memory(limits: Limits) -> str:
    return tr("It took more than {size} of memory.", size=size(limits.memory))


def _environment() -> dict[str, str]:
    env = dict(os.environ)
    env["PYTHONPATH"] = os.pathsep.join(p for p in (str(ROOT), env.get("PYTHONPATH", "")) if p)
    # Arrow's own allocator takes a gigabyte of addresses at its first call, which the cap would count. One reader is one of several
    # processes: threads of its libraries would only fight over the same processors.
    return env | {"ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1", "ARROW_IO_THREADS": "1"}


def _no_window() -> int:
    return subprocess.CREATE_NO_WINDOW if sys.platform == "win32" else 0
