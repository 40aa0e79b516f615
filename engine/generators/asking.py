"""Drives the rows of a recipe: several at once, each in a thread, until all are done or the person says stop. What models answer is in the
journal before it counts.

A server that is gone or busy is waited for, all its askers together and one of them trying, as long as `patience` says. A request that
fails otherwise is made again after a growing, jittered wait, up to `retries` times. A model that fails and fails ends the run, named.
What is asked, and whether an answer fits, is the recipe's; how one request is made is the provider's.
"""

import logging
import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from engine.contract.errors import MachineError
from engine.contract.events import Event, Notice, Waiting
from engine.contract.units import duration
from engine.contract.words import tr
from engine.generators.asks import Ask, Reply, Role
from engine.generators.journal import Journal
from engine.generators.provider import Provider, TooLong, Unavailable

log = logging.getLogger("fledge.generators")

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
PATIENCE = 900.0
"""Seconds that a server may be gone, or busy without one answer, before the run ends (and can be resumed)."""
SAY_AFTER = 2.0
"""Seconds of waiting before anybody is told."""
TICK = 0.1
JOIN_SECONDS = 3.0
SEED_STEP = 1_000_003


class AnyRow(Protocol):
    """Of a recipe's plan. `wanted`: how many examples it makes at most."""

    @property
    def id(self) -> str: ...
    @property
    def wanted(self) -> int: ...


@dataclass(frozen=True)
class Made:
    """An example of a row (or what else its steps make), the moment it is whole."""

    row: str
    example: Any


@dataclass(frozen=True)
class Ended:
    """A row is over. `reason` "": its examples were all made; else why it was given up: slow, dropped, server, form, too_long."""

    row: str
    wanted: int
    examples: int
    reason: str = ""


@dataclass(frozen=True)
class Tick:
    """Nothing for a moment: time to look at commands."""


Steps = Callable[[Any, Callable[[Ask, Role], Reply]], Iterator[Any]]


class _Over(Exception):
    """The run ends: this row is left as it is."""


class _GivenUp(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class Gate:
    """One model's door. Shut while its server is gone or wants to be left alone: then one asker tries and the others wait. `failures` are
    requests that failed one after the other, with no answer between them."""

    provider: Provider
    turn: threading.Condition = field(default_factory=threading.Condition)
    shut_since: float = 0.0
    opens: float = 0.0
    waits: int = 0
    trying: bool = False
    said: bool = False
    failures: int = 0
    asks: int = 0


class Asking:
    """`providers` by role ("responder", "second", "judge"); the same provider may have several roles. `retries`: how often a request that
    fails is made at most. `tell` gets Notice and Waiting, from any thread."""

    def __init__(self, providers: Mapping[Role, Provider], journal: Journal, *, recipe: str, concurrency: int = 4, retries: int = 4,
                 patience: float = PATIENCE, tell: Callable[[Event], None] = lambda event: None, first_wait: float = FIRST_WAIT) -> None:
        self.providers, self.journal, self.recipe = dict(providers), journal, recipe
        self.concurrency, self.retries, self.patience, self.tell, self.first_wait = concurrency, retries, patience, tell, first_wait
        self.most_failures = max(3 * retries, 2 * concurrency)
        self._gates = {id(p): Gate(p) for p in self.providers.values()}
        self._over = threading.Event()
        self._out: queue.SimpleQueue[Made | Ended | BaseException | None] = queue.SimpleQueue()
        self._rows_lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._random = random.Random()  # the one everybody shares is a recipe's, which plans the same rows each time

    # -- the rows ----------------------------------------------------------------------------------------------------

    def drive(self, rows: Iterator[AnyRow], steps: Steps) -> Iterator[Made | Ended | Tick]:
        """Rows that the journal has as done are passed over. What a row raises is raised here, after the others were told to end."""
        plan = (row for row in rows if row.id not in self.journal.done)
        self._threads = [threading.Thread(target=self._work, args=(plan, steps), name=f"row-{i}", daemon=True)
                         for i in range(self.concurrency)]
        for thread in self._threads:
            thread.start()
        working = len(self._threads)
        try:
            while working:
                try:
                    found = self._out.get(timeout=TICK)
                except queue.Empty:
                    yield Tick()
                    continue
                if found is None:
                    working -= 1
                elif isinstance(found, BaseException):
                    raise found
                else:
                    yield found
        finally:
            self._over.set()
            self._wake()

    def end(self, seconds: float) -> Iterator[Made | Ended]:
        """No further asks. Answers under way have so many seconds to arrive (they are in the journal then); the rest is broken off."""
        self._over.set()
        self._wake()
        until = time.monotonic() + seconds
        while any(t.is_alive() for t in self._threads) and time.monotonic() < until:
            try:
                found = self._out.get(timeout=TICK)
            except queue.Empty:
                continue
            if isinstance(found, (Made, Ended)):
                yield found
        while not self._out.empty():
            found = self._out.get()
            if isinstance(found, (Made, Ended)):
                yield found

    def close(self) -> None:
        """Break off what is under way and let go of the providers."""
        self._over.set()
        self._wake()
        for gate in self._gates.values():
            gate.provider.close()
        until = time.monotonic() + JOIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _work(self, plan: Iterator[AnyRow], steps: Steps) -> None:
        try:
            while not self._over.is_set():
                with self._rows_lock:
                    row = next(plan, None)
                if row is None:
                    return
                self._row(row, steps)
        except _Over:
            return
        except BaseException as wrong:  # the boundary of the thread: raised where rows are waited for
            self._over.set()
            self._wake()
            self._out.put(wrong)
        finally:
            self._out.put(None)

    def _row(self, row: AnyRow, steps: Steps) -> None:
        made = 0
        try:
            for example in steps(row, self.asker(row.id)):
                made += 1
                self._out.put(Made(row.id, example))
        except _GivenUp as wrong:
            self._out.put(Ended(row.id, row.wanted, made, wrong.reason))
            return
        self._out.put(Ended(row.id, row.wanted, made))

    # -- one ask -----------------------------------------------------------------------------------------------------

    def asker(self, row: str) -> Callable[[Ask, Role], Reply]:
        """What the steps of a row ask with: from the journal where it is there."""
        times: Counter[str] = Counter()

        def ask(ask: Ask, role: Role) -> Reply:
            provider = self.providers[role]
            settings = {"context": provider.context, "think": provider.think}
            first = self.journal.key(self.recipe, row, role, provider.name, ask, settings, 0)
            times[first] += 1
            key = first if times[first] == 1 else self.journal.key(self.recipe, row, role, provider.name, ask, settings, times[first] - 1)
            known = self.journal.get(row, key)
            if known is not None:
                return known
            reply = self._ask(self._gates[id(provider)], ask)
            self.journal.put(row, key, reply)
            return reply
        return ask

    def _ask(self, gate: Gate, ask: Ask) -> Reply:
        """The answer, however often it takes. _GivenUp when the row must do without; a FledgeError when the run must."""
        fails, again = 0, ask
        while True:
            trying = self._pass(gate)
            try:
                with gate.turn:
                    gate.asks += 1
                reply = gate.provider.ask(again)
            except TooLong as wrong:
                self._open(gate, trying)
                log.warning("%s", wrong)
                raise _GivenUp("too_long") from wrong
            except Unavailable as wrong:
                if self._over.is_set():
                    raise _Over from wrong
                if wrong.reason in ("gone", "busy"):
                    self._shut(gate, wrong, trying)
                    continue
                self._open(gate, trying)  # something answers there
                fails += 1
                if wrong.reason in ("form", "server"):  # with the same seed it may do the same again
                    again = replace(ask, seed=(ask.seed + fails * SEED_STEP) % 2**31)
                self._failed(gate, wrong)
                if fails >= self.retries:
                    raise _GivenUp(wrong.reason) from wrong
                self._sleep(wrong.retry_after if wrong.retry_after is not None else self._wait(fails))
            except Exception as wrong:
                if self._over.is_set():  # its connection was closed under it
                    raise _Over from wrong
                self._open(gate, trying)
                raise
            else:
                self._open(gate, trying, answered=True)
                return reply

    def _failed(self, gate: Gate, wrong: Unavailable) -> None:
        log.warning("%s: %s", gate.provider.name, wrong.sentence)
        with gate.turn:
            gate.failures += 1
            failures = gate.failures
        if failures >= self.most_failures:
            raise MachineError(tr("The model {model} keeps failing, {count} requests in a row: {reason}", model=gate.provider.name,
                                  count=failures, reason=wrong.sentence),
                               tr("What was answered is kept. {remedy} Then resume the run.", remedy=wrong.remedy), code="model_fails")

    def _pass(self, gate: Gate) -> bool:
        """Wait until the door is open, or until it is this asker's turn to try (True)."""
        with gate.turn:
            while True:
                if self._over.is_set():
                    raise _Over
                if not gate.shut_since:
                    return False
                if not gate.trying and time.monotonic() >= gate.opens:
                    gate.trying = True
                    return True
                self._say(gate)
                gate.turn.wait(max(0.01, min(TICK, gate.opens - time.monotonic())) if not gate.trying else TICK)

    def _shut(self, gate: Gate, wrong: Unavailable, tried: bool) -> None:
        """Gone or busy: the door stays shut for a while, longer each time. MachineError when patience is over."""
        now = time.monotonic()
        with gate.turn:
            if tried:
                gate.trying = False
            if not gate.shut_since:
                gate.shut_since, gate.waits, gate.opens = now, 0, now
                log.warning("%s: %s", gate.provider.name, wrong.sentence)
            if tried or now >= gate.opens:
                gate.waits += 1
                gate.opens = now + self._wait(gate.waits)
            if wrong.retry_after is not None:
                gate.opens = max(gate.opens, now + wrong.retry_after)
            over = now - gate.shut_since > self.patience
            gate.turn.notify_all()
        if over:
            raise MachineError(tr("{model} has not answered for {time}: {reason}", model=gate.provider.name,
                                  time=duration(now - gate.shut_since), reason=wrong.sentence),
                               tr("What was answered is kept. {remedy} Then resume the run.", remedy=wrong.remedy), code="model_gone")

    def _open(self, gate: Gate, tried: bool, answered: bool = False) -> None:
        """Something answers there. What others were asked before the door was shut opens it no sooner than was said."""
        with gate.turn:
            if answered:
                gate.failures = 0
            if gate.shut_since and not tried and (gate.trying or time.monotonic() < gate.opens):
                return
            said, gate.said = gate.said, False
            gate.shut_since, gate.trying = 0.0, False
            gate.turn.notify_all()
        if said:
            self.tell(Waiting(reason="server", over=True))
            self.tell(Notice(code="model_away", cleared=True))

    def _say(self, gate: Gate) -> None:
        """Called with the door held. Tells once that a model is waited for."""
        if gate.said or time.monotonic() - gate.shut_since < SAY_AFTER:
            return
        gate.said = True
        text = tr("Waits for {model}, which does not answer. It goes on by itself as soon as it does.", model=gate.provider.name)
        self.tell(Waiting(reason="server", text=text))
        self.tell(Notice(level="warning", code="model_away", title=tr("A model is away"), text=text,
                         remedy=tr("Look whether its server still runs.")))

    def _wait(self, times: int) -> float:
        """Seconds before try number `times` + 1: doubling, and between half and all of it, so that askers do not come in step."""
        return min(LONGEST_WAIT, self.first_wait * 2 ** min(times - 1, 16)) * self._random.uniform(0.5, 1.0)

    def _sleep(self, seconds: float) -> None:
        if self._over.wait(seconds):
            raise _Over

    def _wake(self) -> None:
        for gate in self._gates.values():
            with gate.turn:
                gate.turn.notify_all()


