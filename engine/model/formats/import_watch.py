"""Has a foreign model read in a process of its own, watched: memory and time are capped, a stop is heard. No torch.

The reading is import_child.py's. On Linux the child also caps itself; elsewhere this watch is the only cap.
"""

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from engine.contract import units
from engine.contract.errors import FledgeError, FormatError, Missing
from engine.contract.words import tr
from engine.model.formats import source
from engine.text import read_watch
from engine.text.read_child import MEMORY

POLL = 0.1
START_SECONDS = 120.0


@dataclass(frozen=True)
class Limits:
    """`memory` in bytes beyond the bare process; `idle_seconds` without a sign of life."""

    memory: int = 2_000_000_000
    idle_seconds: float = 60.0


def phases() -> dict[str, str]:
    return {"look": tr("Looking at the model"), "tokenizer": tr("Trying the tokenizer"), "hash": tr("Checking the files"),
            "convert": tr("Taking over the weights")}


def look(path: Path) -> dict[str, Any]:
    """What `read` would make of the model at `path`, judged in the same way; no weight is read and nothing is written."""
    return read(path, None, "as_is")


def read(path: Path, out: Path | None, dtype: str, named: str = "", *, limits: Limits | None = None,
         report: Callable[[str, int, int], None] = lambda phase, done, total: None,
         check: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Fill `out` with the model at `path` (None: only judge it); its facts. `report` hears (phase, bytes done, of all), `check` may
    raise to stop.

    Raises what is wrong with the model as a typed error; OSError when the disk fails.
    """
    limits = limits or Limits()
    child = subprocess.Popen([sys.executable, "-m", "engine.model.formats.import_child", str(limits.memory)], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, env=read_watch._environment(), creationflags=read_watch._no_window())
    inbox: queue.SimpleQueue[list[Any] | None] = queue.SimpleQueue()
    assert child.stdin is not None and child.stdout is not None
    threading.Thread(target=_listen, args=(child.stdout, inbox), daemon=True).start()
    try:
        job = {"path": str(path), "out": str(out or ""), "dtype": dtype, "named": named or str(path)}
        try:
            child.stdin.write(json.dumps(job).encode() + b"\n")
            child.stdin.flush()
        except OSError:
            pass  # it has died: its end says so
        return _Watch(child, inbox, limits, report, check).run()
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            try:
                pipe.close()
            except OSError:
                pass


def _listen(stdout: Any, inbox: "queue.SimpleQueue[list[Any] | None]") -> None:
    try:
        for line in stdout:
            inbox.put(json.loads(line))
    except ValueError:  # torn by its death, or closed
        pass
    inbox.put(None)


class _Watch:
    def __init__(self, child: "subprocess.Popen[bytes]", inbox: "queue.SimpleQueue[list[Any] | None]", limits: Limits,
                 report: Callable[[str, int, int], None], check: Callable[[], None]) -> None:
        self.child, self.inbox, self.limits, self.report, self.check = child, inbox, limits, report, check
        self.phase, self.base = "", 0
        self.worst = 0

    def run(self) -> dict[str, Any]:
        heard = looked = time.monotonic()
        while True:
            self.check()
            try:
                message = self.inbox.get(timeout=POLL)
            except queue.Empty:
                now = time.monotonic()
                if now - looked > 5:  # this process itself did not run
                    heard += now - looked
                looked = now
                if self._memory() > self.base + self.limits.memory and self.phase:
                    raise self._lost(read_watch.too_much_memory(read_watch.Limits(memory=self.limits.memory))) from None
                if now - heard > (self.limits.idle_seconds if self.phase else START_SECONDS):
                    raise self._lost(tr("It did not move on for {time}.", time=units.duration(now - heard))) from None
                continue
            heard = looked = time.monotonic()
            if message is None:
                raise self._lost(self._cause())
            word, *told = message
            if word == "ready":
                self.base = self._memory()
            elif word == "phase":
                self.phase = told[0]
                self.report(self.phase, 0, 0)
            elif word == "at":
                self.report(self.phase, told[0], told[1])
            elif word == "made":
                facts: dict[str, Any] = told[0]
                return facts
            elif word == "refused":
                raise source.from_raw_error(*told)
            elif word == "disk":
                raise OSError(told[0], told[1], told[2])
            else:
                assert word == "memory", word
                raise self._lost(read_watch.too_much_memory(read_watch.Limits(memory=self.limits.memory)))

    def _memory(self) -> int:
        """Its own bytes, without the files it has mapped."""
        try:
            seen = psutil.Process(self.child.pid).memory_info()
        except psutil.Error:
            return 0
        now = seen.rss - getattr(seen, "shared", 0)
        self.worst = max(self.worst, now)
        return now

    def _cause(self) -> str:
        try:
            code = self.child.wait(10)
        except subprocess.TimeoutExpired:
            code = None
        if code == MEMORY or self.worst > self.base + 0.7 * self.limits.memory:
            return read_watch.too_much_memory(read_watch.Limits(memory=self.limits.memory))
        return tr("It made its reader crash.")

    def _lost(self, reason: str) -> FledgeError:
        if not self.phase:
            return Missing(tr("The process that reads models does not start. {reason}", reason=reason),
                           tr("Run `fledge doctor`; the log says more."))
        sentence = {"tokenizer": tr("The tokenizer of this model cannot be used. {reason}", reason=reason),
                    "look": tr("This model cannot be read. {reason}", reason=reason)}.get(
                        self.phase, tr("The weights of this model cannot be read. {reason}", reason=reason))
        return FormatError(sentence, tr("Choose another model: this one is damaged, or made to do harm."), code="killed")


__all__ = ["Limits", "look", "phases", "read"]
