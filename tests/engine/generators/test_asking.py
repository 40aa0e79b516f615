"""Rows against servers that fail in every way: each row comes once, waits are honoured, a hopeless model is named, a stop is prompt."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engine.contract.errors import FledgeError, MachineError, NotFound
from engine.contract.events import Event, Notice, Waiting
from engine.contract.rows import Example, Message
from engine.generators import asking, provider
from engine.generators.asking import Asking, Ended, Made, Tick
from engine.generators.asks import Ask, Reply
from engine.generators.journal import Journal
from tests.engine.generators.servers import Hostile, hostile


@dataclass(frozen=True)
class Row:
    id: str
    wanted: int = 1


def steps(row: Row, ask: Callable[[Ask, str], Reply], asks: int = 2) -> Iterator[Example]:
    """One question after the other, each with the answer before it in it."""
    said = row.id
    for number in range(asks):
        said = ask(Ask((Message(role="user", content=f"{row.id} {number} {said}"),), 16, 0.5, number), "responder").text
    yield Example(id=row.id, messages=(Message(role="user", content=row.id), Message(role="assistant", content=said)))


def echo(number: int, body: dict[str, Any]) -> str:
    return "about " + body["messages"][-1]["content"]


class Drive:
    """A run of rows, and what came of it."""

    def __init__(self, folder: Path, server: Hostile, rows: int = 12, **settings: Any) -> None:
        self.told: list[Event] = []
        self.journal = Journal(folder / "journal.jsonl")
        self.provider = provider.of(server.name, timeout=settings.pop("timeout", 10.0))
        self.steps = settings.pop("steps", steps)
        self.asking = Asking({"responder": self.provider}, self.journal, recipe="r", tell=self.told.append, first_wait=0.02, **settings)
        self.rows = rows
        self.made: list[str] = []
        self.ended: dict[str, Ended] = {}

    def take(self, event: Any) -> None:
        if isinstance(event, Made):
            self.made.append(event.example.id)
        elif isinstance(event, Ended):
            assert event.row not in self.ended
            self.ended[event.row] = event
            self.journal.finish(event.row, event.reason or "done", event.wanted)

    def run(self) -> "Drive":
        try:
            for event in self.asking.drive((Row(str(n)) for n in range(self.rows)), self.steps):
                self.take(event)
        finally:
            self.close()
        return self

    def close(self) -> None:
        self.asking.close()
        self.journal.close()

    @property
    def kinds(self) -> list[tuple[type, str]]:
        return [(type(e), getattr(e, "code", "") or getattr(e, "reason", "")) for e in self.told]


def test_all_rows_come_once_and_no_more_at_once_than_said(tmp_path: Path) -> None:
    with hostile(lambda n, body: ("slow", 0.02, echo(n, body))) as server:
        run = Drive(tmp_path, server, rows=20, concurrency=5).run()
        assert sorted(run.made, key=int) == [str(n) for n in range(20)] and len(run.ended) == 20
        assert server.asks == 40 and 2 <= server.most_at_once <= 5


def test_a_second_start_asks_nothing_that_was_answered(tmp_path: Path) -> None:
    with hostile(echo) as server:
        first = Drive(tmp_path, server, rows=6, concurrency=1)
        for event in first.asking.drive((Row(str(n)) for n in range(6)), steps):
            if isinstance(event, Ended) and event.row == "2":
                break  # three rows made, none of them ended in the journal: as if killed right there
        first.close()
        asked = server.asks
        again = Drive(tmp_path, server, rows=6).run()
        assert sorted(again.made) == [str(n) for n in range(6)] and server.asks <= 12 + 1 and server.asks > asked
        assert Drive(tmp_path, server, rows=6).run().made == [] and server.asks <= 13


def test_equal_asks_of_a_row_are_two_asks(tmp_path: Path) -> None:
    def twice(row: Row, ask: Callable[[Ask, str], Reply]) -> Iterator[Example]:
        said = [ask(Ask((Message(role="user", content="same"),)), "responder").text for _ in range(3)]
        yield Example(id=row.id, messages=(Message(role="user", content=" ".join(said)),))
    with hostile(lambda n, body: f"answer {n}") as server:
        Drive(tmp_path, server, rows=1, steps=twice).run()
        assert server.asks == 3


def test_faults_that_pass_are_asked_through(tmp_path: Path) -> None:
    """A third of all requests fails, each in another way."""
    draw, lock = random.Random(5), threading.Lock()
    faults = [("drop",), ("status", 500, {}, "oops"), ("raw", b"{half"), ("status", 502, {}, ""), ("slow", 0.6, "late"), ("raw", b"null"),
              ("status", 429, {"Retry-After": "0.05"}, ""), ("status", 503, {}, "")]

    def script(number: int, body: dict[str, Any]) -> Any:
        with lock:
            return draw.choice(faults) if draw.random() < 0.33 else echo(number, body)
    with hostile(script) as server:
        run = Drive(tmp_path, server, rows=40, concurrency=6, retries=8, timeout=0.4).run()
        assert sorted(run.made, key=int) == [str(n) for n in range(40)]
        assert all(not e.reason for e in run.ended.values()) and server.asks > 80
        assert run.journal.counts[server.name]["asked"] == 80


def test_a_server_that_cannot_read_its_own_model_is_asked_with_another_seed(tmp_path: Path) -> None:
    """llama.cpp answers 500 where the model's text has half a character in it; the same seed would write the same again."""
    refused = ("status", 500, {}, {"error": {"message": "The model produced output that does not match the expected peg-native format"}})
    with hostile(lambda n, body: refused if body["seed"] < 2 else "well") as server:
        run = Drive(tmp_path, server, rows=1, concurrency=1).run()
        assert run.made == ["0"] and server.asks == 4 and len({b["seed"] for b in server.bodies}) == 4
        again = Drive(tmp_path, server, rows=1).run()
        assert not again.made and server.asks == 4


def test_a_row_that_fails_is_given_up_with_its_reason_and_the_others_go_on(tmp_path: Path) -> None:
    reasons = {"1": ("drop",), "3": ("status", 500, {}, ""), "5": ("raw", b"}"), "7": ("slow", 0.5, ""),
               "9": ("status", 400, {}, "exceeds the available context size")}

    def script(number: int, body: dict[str, Any]) -> Any:
        return reasons.get(body["messages"][-1]["content"].split()[0]) or echo(number, body)
    with hostile(script) as server:
        run = Drive(tmp_path, server, rows=12, concurrency=3, retries=2, timeout=0.2).run()
        assert {row: e.reason for row, e in run.ended.items() if e.reason} == {"1": "dropped", "3": "server", "5": "form", "7": "slow",
                                                                               "9": "too_long"}
        assert len(run.made) == 7
        asked = [b["messages"][-1]["content"].split()[0] for b in server.bodies]
        assert all(asked.count(row) == (1 if row == "9" else 2) for row in reasons)


def test_a_server_that_asks_for_patience_gets_it_from_everybody(tmp_path: Path) -> None:
    times: list[float] = []

    def script(number: int, body: dict[str, Any]) -> Any:
        times.append(time.monotonic())
        return ("status", 429, {"Retry-After": "0.5"}, "") if number == 2 else ("slow", 0.01, echo(number, body))
    with hostile(script) as server:
        run = Drive(tmp_path, server, rows=10, concurrency=4).run()
        assert len(run.made) == 10
    later = sorted(t for t in times if t > times[2] + 0.1)  # those under way came through
    assert later[0] - times[2] >= 0.45


def test_waits_grow_and_are_not_in_step(tmp_path: Path) -> None:
    with hostile() as server:
        made = Drive(tmp_path, server)
        waits = [[made.asking._wait(n) for _ in range(50)] for n in range(1, 8)]
        for number, drawn in enumerate(waits):
            top = 0.02 * 2 ** number
            assert all(top / 2 <= w <= top for w in drawn) and len(set(drawn)) > 40
        assert made.asking._wait(1000) <= asking.LONGEST_WAIT
        made.close()


def test_a_server_that_dies_is_waited_for_and_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "SAY_AFTER", 0.2)
    with hostile(lambda n, body: ("slow", 0.02, echo(n, body))) as server:
        run = Drive(tmp_path, server, rows=30, concurrency=4)

        def die() -> None:
            while server.asks < 15:
                time.sleep(0.005)
            server.stop()
            time.sleep(1.0)
            server.start()
        dying = threading.Thread(target=die)
        dying.start()
        run.run()
        dying.join()
        assert sorted(run.made, key=int) == [str(n) for n in range(30)]
        assert run.kinds == [(Waiting, "server"), (Notice, "model_away"), (Waiting, "server"), (Notice, "model_away")]
        waiting = [e for e in run.told if isinstance(e, Waiting)]
        assert server.name in waiting[0].text and waiting[1].over
        assert server.asks <= 60 + 4  # those that died with it


def test_a_server_that_stays_away_ends_the_run_when_patience_is_over(tmp_path: Path) -> None:
    with hostile() as server:
        server.stop()
        run = Drive(tmp_path, server, rows=10, concurrency=4, patience=0.5)
        began = time.monotonic()
        with pytest.raises(MachineError) as over:
            run.run()
        assert over.value.code == "model_gone" and server.name in over.value.sentence and "resume" in over.value.remedy
        assert 0.4 < time.monotonic() - began < 5 and run.ended == {}


def test_a_model_that_keeps_failing_is_named_once(tmp_path: Path) -> None:
    with hostile(lambda n, body: ("status", 500, {}, "CUDA error: device-side assert")) as server:
        run = Drive(tmp_path, server, rows=1000, concurrency=4, retries=4)
        with pytest.raises(MachineError) as over:
            run.run()
        assert over.value.code == "model_fails" and server.name in over.value.sentence and "device-side assert" in over.value.sentence
        assert server.asks <= 12 + 4


def test_what_can_never_work_ends_the_run_at_once(tmp_path: Path) -> None:
    with hostile(lambda n, body: ("status", 404, {}, "no such model")) as server:
        run = Drive(tmp_path, server, rows=100, concurrency=2)
        with pytest.raises(NotFound):
            run.run()
        assert server.asks <= 2


def test_a_fault_of_the_recipe_is_raised(tmp_path: Path) -> None:
    def wrong(row: Row, ask: Callable[[Ask, str], Reply]) -> Iterator[Example]:
        raise FledgeError("no good")
        yield
    with hostile() as server:
        with pytest.raises(FledgeError, match="no good"):
            Drive(tmp_path, server, steps=wrong).run()


def test_a_stop_keeps_what_arrives_in_time_and_breaks_off_the_rest(tmp_path: Path) -> None:
    def script(number: int, body: dict[str, Any]) -> Any:
        return ("slow", 30.0 if body["messages"][-1]["content"].startswith("3") else 0.4, echo(number, body))
    with hostile(script) as server:
        run = Drive(tmp_path, server, rows=8, concurrency=4, timeout=60.0)
        driven = run.asking.drive((Row(str(n)) for n in range(8)), steps)
        for event in driven:
            assert isinstance(event, Tick)
            if server.asks == 4:
                break
        began = time.monotonic()
        for event in run.asking.end(1.5):
            run.take(event)
        run.close()
        assert time.monotonic() - began < 4 and server.asks == 4  # no second question was asked
        assert run.journal.counts[server.name]["asked"] == 3 and not run.made
        assert not any(t.is_alive() for t in run.asking._threads)
        server.script = echo
        again = Drive(tmp_path, server, rows=8).run()
        assert sorted(again.made) == [str(n) for n in range(8)] and server.asks == 4 + 16 - 3
