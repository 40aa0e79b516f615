"""Keeps the processes of the sandbox: gives them calls, takes replies, ends those that do not answer, and starts new ones in their place.

    with Pool(workers=2) as pool:
        replies = pool.map([Job(request), ...])         # in their order; blocks; from any thread

A call ends by its fuel inside the sandbox. Only when that fails is the process ended, long after: the call is tried once more in a fresh
process, then given up (`end` is "worker_death"). Calls behind it go to another process and lose nothing. Nothing here understands what is
asked or answered.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from engine.contract.errors import FledgeError
from engine.contract.words import tr
from engine.verifiers.frames import Cut, Reply, pack_call, read_reply
from engine.verifiers.image import compiled, refusal

FUEL_PER_SECOND = 10**10
"""Instructions that count as a second: what this takes on a desktop processor of 2024. The same program always ends at the same place."""
SECONDS = 2.0
MEMORY = 320 << 20
"""Bytes an instance may hold, some 80 MB of which the interpreter brings."""
AHEAD = 4096
"""Bytes of calls sent before their replies: fits into every system's pipe, so that neither side ever waits for the other to read."""
QUICK_AHEAD = 16
PATIENCE = 20.0
"""Seconds on top of ten times its own that a call may take on a machine that is busy elsewhere."""
START_SECONDS = 120.0
LOOK = 0.1
ROOT = Path(__file__).resolve().parents[2]
PASSED_ON = ("PATH", "SYSTEMROOT", "TEMP", "TMP", "FLEDGE_HOME", "FLEDGE_LANGUAGE", "LD_LIBRARY_PATH")


@dataclass(frozen=True)
class Job:
    """A request of the image as JSON text. `key`: which calls may share an instance; b"" for one of its own. `seconds`: its limit."""

    request: str
    key: bytes = b""
    seconds: float = SECONDS

    @property
    def fuel(self) -> int:
        return int(self.seconds * FUEL_PER_SECOND)


DEAD = Reply("worker_death", 0.0, 0, "")


@dataclass
class _Batch:
    """The jobs of one `map`."""

    replies: list[Reply | None]
    left: int
    done: threading.Event = field(default_factory=threading.Event)
    given_up: bool = False


@dataclass
class _Item:
    job: Job
    batch: _Batch
    place: int
    deaths: int = 0


class Pool:
    """Sandbox processes, started at the first call. `folder`, `cache`: other places of the image and its compiled form (tests only)."""

    def __init__(self, workers: int = 2, *, memory: int = MEMORY, folder: Path | None = None, cache: Path | None = None,
                 command: Sequence[str] = ()) -> None:
        assert workers >= 1
        self.memory, self.folder, self.cache = memory, folder, cache
        self.command = list(command)
        self.walls: dict[str, str] = {}
        self.deaths = 0
        self._count = workers
        self._waiting: deque[_Item] = deque()
        self._changed = threading.Condition()
        self._workers: list[_Worker] = []
        self._refused: FledgeError | None = None
        self._closed = False

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, kind: type[BaseException] | None, wrong: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def start(self) -> dict[str, str]:
        """Starts a process and waits for its self-test; what walls stand around it. Missing where there is no sandbox to be trusted."""
        self.map([Job('{"do": "check", "source": "def verify(prompt, completion, answer): return 0.0"}')])
        return self.walls

    def map(self, jobs: Sequence[Job], check: Callable[[], None] = lambda: None) -> list[Reply]:
        """The replies, in the order of the jobs. `check` is called some times a second; what it raises gives the rest up."""
        batch = _Batch([None] * len(jobs), len(jobs))
        with self._changed:
            assert not self._closed, "the pool is closed"
            if self._refused:
                raise self._refused
            if not self._workers:
                self._begin()
            self._waiting.extend(_Item(job, batch, place) for place, job in enumerate(jobs))
            self._changed.notify_all()
        try:
            while jobs and not batch.done.wait(LOOK):
                check()
        except BaseException:
            batch.given_up = True
            with self._changed:
                self._waiting = deque(item for item in self._waiting if item.batch is not batch)
            raise
        if self._refused and batch.left:
            raise self._refused
        return [reply or DEAD for reply in batch.replies]

    def close(self) -> None:
        """Ends the processes. Calls under way are given up."""
        with self._changed:
            self._closed = True
            for item in self._waiting:
                item.batch.done.set()
            self._waiting.clear()
            self._changed.notify_all()
        deadline = time.monotonic() + 20
        while any(worker.thread.is_alive() for worker in self._workers) and time.monotonic() < deadline:
            for worker in self._workers:    # again and again: one may be starting its process just now
                worker.end()
                worker.thread.join(0.05)

    def _begin(self) -> None:
        if not self.command:
            made = compiled(self.folder, self.cache)
            self.command = [sys.executable, "-s", "-m", "engine.verifiers.sandbox_child", "serve", str(made), str(self.memory), str(made)]
        self._workers = [_Worker(self) for _ in range(self._count)]
        threading.Thread(target=self._watch, name="verifier-watch", daemon=True).start()

    def _watch(self) -> None:
        """Ends processes whose time is up. A machine that slept is no offence of theirs."""
        looked = time.monotonic()
        while not self._closed:
            time.sleep(LOOK)
            now = time.monotonic()
            for worker in self._workers:
                if now - looked > 5:
                    worker.deadline += now - looked
                elif now > worker.deadline > 0:
                    worker.end()
            looked = now

    # --- for the workers

    def next(self, wait: bool) -> _Item | None:
        """The next item; None when there is none (`wait` false) or the pool is closed."""
        with self._changed:
            while wait and not self._waiting and not self._closed:
                self._changed.wait()
            return self._waiting.popleft() if self._waiting and not self._closed else None

    def finish(self, item: _Item, reply: Reply) -> None:
        with self._changed:
            if item.batch.replies[item.place] is None:
                item.batch.replies[item.place] = reply
                item.batch.left -= 1
                if item.batch.left == 0:
                    item.batch.done.set()

    def died(self, items: Sequence[_Item]) -> None:
        """A process is gone with these: the first was under way, the others waited in it."""
        with self._changed:
            self.deaths += 1
            again = list(items)
            if again:
                again[0].deaths += 1
        if again and again[0].deaths >= 2:
            self.finish(again[0], Reply("worker_death", 0.0, 0, ""))
            del again[0]
        with self._changed:
            self._waiting.extendleft(reversed([item for item in again if not item.batch.given_up]))
            self._changed.notify_all()

    def refuse(self, wrong: FledgeError) -> None:
        """No process can be started: who waits is told why."""
        with self._changed:
            self._refused = self._refused or wrong
            for item in self._waiting:
                item.batch.done.set()
            self._waiting.clear()


class _Worker:
    """One process and the thread that speaks with it. The thread starts it, so that the kernel ends it with this program."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.process: subprocess.Popen[bytes] | None = None
        self.errors: IO[bytes] | None = None
        self.deadline = 0.0
        self.thread = threading.Thread(target=self._run, name="verifier", daemon=True)
        self.thread.start()

    def end(self) -> None:
        process = self.process
        if process and process.poll() is None:
            with contextlib.suppress(OSError):
                process.kill()

    def _run(self) -> None:
        failures = 0
        while (item := self.pool.next(wait=True)) is not None:
            under_way: deque[_Item] = deque([item])
            try:
                if self.process is None:
                    self._start()
                failures = 0
                self._talk(under_way)
            except _Refused as wrong:
                failures += 1
                self._clear()
                if self.pool._closed:
                    _wake(under_way)
                elif failures >= 3 or wrong.certain:
                    self.pool.refuse(refusal(str(wrong)))
                    _wake(under_way)
                    return
                else:
                    with self.pool._changed:
                        self.pool._waiting.extendleft(reversed(under_way))
            except (Cut, OSError, ValueError):
                self._clear()
                if self.pool._closed:
                    _wake(under_way)
                else:
                    self.pool.died(under_way)
        self._clear()

    def _talk(self, under_way: deque[_Item]) -> None:
        """Sends what is under way, and more as long as it fits ahead; takes replies until nothing is left."""
        assert self.process and self.process.stdin and self.process.stdout
        ahead: deque[int] = deque()
        unsent: deque[_Item] = deque(under_way)
        while under_way:
            while unsent:
                size = self._send(unsent[0], sum(ahead))
                if size == 0:
                    break
                ahead.append(size)
                unsent.popleft()
                if not unsent and sum(ahead) < AHEAD:
                    self._take_more(under_way, unsent)
            self.process.stdin.flush()
            first = under_way[0].job
            self.deadline = time.monotonic() + PATIENCE + 10 * first.seconds
            reply = read_reply(self.process.stdout)
            self.deadline = 0.0
            self.pool.finish(under_way.popleft(), reply)
            ahead.popleft()
            if not unsent:
                self._take_more(under_way, unsent)

    def _take_more(self, under_way: deque[_Item], unsent: deque[_Item]) -> None:
        """One item ahead; more where calls are so short that the way to the process and back is what they cost."""
        if len(under_way) < (QUICK_AHEAD if under_way and under_way[-1].job.key else 2):
            more = self.pool.next(wait=False)
            if more is not None:
                unsent.append(more)
                under_way.append(more)

    def _send(self, item: _Item, ahead: int) -> int:
        """Writes a call and returns its size; 0 where it has to wait for replies first."""
        frame = pack_call(bool(item.job.key), item.job.fuel, item.job.key, item.job.request.encode("utf-8", "replace"))
        if ahead and ahead + len(frame) > AHEAD:
            return 0
        assert self.process and self.process.stdin
        self.deadline = time.monotonic() + PATIENCE + 10 * item.job.seconds
        self.process.stdin.write(frame)
        if ahead == 0:
            self.process.stdin.flush()
        return len(frame)

    def _start(self) -> None:
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self.errors = tempfile.TemporaryFile()
        settings: dict[str, Any] = {"creationflags": 0x08000000} if sys.platform == "win32" else {}      # CREATE_NO_WINDOW
        self.process = subprocess.Popen(self.pool.command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors, **settings)
        assert self.process.stdout
        self.deadline = time.monotonic() + START_SECONDS
        try:
            ready = read_reply(self.process.stdout)
        except Cut:
            self.errors.seek(0)
            said = self.errors.read().decode("utf-8", "replace").strip().splitlines()
            raise _Refused(tr("their process did not start. {reason}", reason=said[-1][:300] if said else "")) from None
        self.deadline = 0.0
        if ready.end != "ready":
            raise _Refused(tr("the sandbox failed its own test ({reason}).", reason=ready.said[:300]), certain=True)
        self.pool.walls = _plain(ready.said)

    def _clear(self) -> None:
        """Nothing of the process is left."""
        self.deadline = 0.0
        self.end()
        if self.process:
            for pipe in (self.process.stdin, self.process.stdout):
                with contextlib.suppress(OSError, ValueError):
                    if pipe:
                        pipe.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        if self.errors:
            self.errors.close()
        self.process = self.errors = None


def _wake(items: deque[_Item]) -> None:
    """Whoever waits for these waits no more: what has no reply yet gets none."""
    for item in items:
        item.batch.done.set()


class _Refused(Exception):
    def __init__(self, reason: str, certain: bool = False) -> None:
        super().__init__(reason)
        self.certain = certain


def _plain(said: str) -> dict[str, str]:
    import json

    found = json.loads(said)
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


