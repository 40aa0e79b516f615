"""The pool with processes that die, hang, lie or never start: nobody waits for ever, and nobody pays for another's call."""

import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from engine.contract.errors import FledgeError, Missing
from engine.verifiers import pool as pool_module
from engine.verifiers.api import Attempt
from engine.verifiers.frames import ENDS, Reply
from engine.verifiers.pool import Job, Pool
from engine.verifiers.python_verifier import PythonVerifier
from tests.running import children

ROOT = Path(__file__).resolve().parents[3]
CHILD = '''
import os, sys, time
sys.path.insert(0, {root!r})
from engine.verifiers.frames import Reply, pack_reply, read_call
out, into, folder = os.fdopen(os.dup(1), "wb"), os.fdopen(os.dup(0), "rb"), {folder!r}
def say(reply):
    out.write(pack_reply(reply)); out.flush()
{start}
while (call := read_call(into)) is not None:
    asked = call[3].decode()
    if asked == "die" or (asked == "die once" and not os.path.exists(folder + "/died")):
        open(folder + "/died", "w").close()
        os._exit(3)
    if asked == "hang":
        time.sleep(1000)
    if asked == "lie":
        out.write(b"\\xff" * 1000); out.flush()
        continue
    if asked.startswith("long"):
        asked = "x" * 300_000
    say(Reply("answered", 0.0, 1, asked))
'''
READY = 'say(Reply("ready", 0.0, 0, "{}"))'


def fake(folder: Path, start: str = READY, workers: int = 1) -> Pool:
    """A pool of processes that speak as the sandbox does, and behave as they are told."""
    program = folder / "child.py"
    program.write_text(CHILD.format(root=str(ROOT), folder=str(folder), start=start))
    return Pool(workers, command=[sys.executable, str(program)])


def ends(replies: list[Reply]) -> list[str]:
    return [reply.end for reply in replies]


def jobs(*words: str) -> list[Job]:
    return [Job(word, seconds=0.1) for word in words]


def test_replies_come_in_the_order_of_the_jobs(tmp_path: Path) -> None:
    with fake(tmp_path, workers=3) as pool:
        words = [f"{n}" for n in range(500)]
        assert [reply.said for reply in pool.map(jobs(*words))] == words
        quick = [Job(word, b"key") for word in words]
        assert [reply.said for reply in pool.map(quick)] == words
        assert pool.map([]) == []


def test_a_call_over_which_a_process_died_is_tried_once_more(tmp_path: Path) -> None:
    with fake(tmp_path) as pool:
        assert ends(pool.map(jobs("a", "die once", "b"))) == ["answered"] * 3
        assert pool.deaths == 1


def test_a_call_that_kills_twice_is_given_up_and_the_others_are_not(tmp_path: Path) -> None:
    with fake(tmp_path) as pool:
        replies = pool.map([Job(word, b"key", 0.1) for word in ("a", "die", "b", "c", "die", "d")])
        assert ends(replies) == ["answered", "worker_death", "answered", "answered", "worker_death", "answered"]
        assert pool.deaths == 4


def test_a_process_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "PATIENCE", 0.2)
    with fake(tmp_path) as pool:
        pool.map(jobs("up"))
        began = time.monotonic()
        assert ends(pool.map(jobs("a", "hang", "b"))) == ["answered", "worker_death", "answered"]
        assert time.monotonic() - began < 20


def test_what_is_no_frame_counts_as_a_death(tmp_path: Path) -> None:
    with fake(tmp_path) as pool:
        assert ends(pool.map(jobs("lie", "a"))) == ["worker_death", "answered"]


def test_large_calls_and_large_replies_never_wait_for_each_other(tmp_path: Path) -> None:
    with fake(tmp_path) as pool:
        words = ["long" + "y" * 300_000] * 5 + ["a"] * 20 + ["long"] * 5
        assert [len(reply.said) for reply in pool.map([Job(word, b"key") for word in words])] == [300_000] * 5 + [1] * 20 + [300_000] * 5


@pytest.mark.parametrize(("start", "expected"), [
    ("sys.exit('no such module')", "no such module"), ('say(Reply("refused", 0.0, 0, "a file could be opened"))', "a file could be opened"),
    ("os.abort()", "did not start"),
])
def test_a_sandbox_that_does_not_start_is_refused_with_the_reason(start: str, expected: str, tmp_path: Path) -> None:
    with fake(tmp_path, start) as pool:
        for _ in range(2):
            with pytest.raises(Missing) as wrong:
                pool.start()
            assert expected in wrong.value.sentence and wrong.value.remedy and wrong.value.code == "no_verifier_image"


def test_a_start_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "START_SECONDS", 0.3)
    with fake(tmp_path, "time.sleep(1000)") as pool, pytest.raises(Missing):
        pool.start()


def test_stopping_gives_the_rest_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "PATIENCE", 0.2)

    def stop() -> None:
        raise FledgeError("asked")

    with fake(tmp_path) as pool:
        pool.map(jobs("up"))
        with pytest.raises(FledgeError):
            pool.map(jobs("hang", *["a"] * 50), stop)
        assert ends(pool.map(jobs("b"))) == ["answered"]


def test_closing_leaves_no_process_and_wakes_who_waits(tmp_path: Path) -> None:
    pool = fake(tmp_path, workers=2)
    pool.map(jobs("up"))
    before = children(str(tmp_path), recursive=True)    # others' may lie about
    assert before
    said: list[list[str]] = []
    waiting = threading.Thread(target=lambda: said.append(ends(pool.map(jobs("hang", "hang", "a")))))
    waiting.start()
    time.sleep(0.3)
    pool.close()
    waiting.join(10)
    assert [replies[:2] for replies in said] == [["worker_death"] * 2]      # the third may have come through
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in before)


def test_many_threads_share_a_pool(tmp_path: Path) -> None:
    with fake(tmp_path, workers=2) as pool:
        said: dict[int, list[str]] = {}

        def ask(number: int) -> None:
            said[number] = [reply.said for reply in pool.map([Job(f"{number}-{n}", b"k") for n in range(100)])]

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert said == {number: [f"{number}-{n}" for n in range(100)] for number in range(8)}


def test_every_end_has_a_place_in_the_frame() -> None:
    assert len(set(ENDS)) == len(ENDS) <= 255


# --- with the real sandbox -------------------------------------------------------------------------------------------------------


def test_a_killed_sandbox_costs_nothing(pool: Pool) -> None:
    """Its processes killed in the midst of a batch: every call is judged all the same."""
    verifier = PythonVerifier("def verify(prompt, completion, answer):\n    return sum(range(200_000)) > 0 and completion == answer", pool)
    victims = children("sandbox_child", recursive=True)
    assert victims

    def kill() -> None:
        time.sleep(0.2)
        for victim in victims:
            victim.kill()

    killing = threading.Thread(target=kill)
    killing.start()
    verdicts = verifier.score([Attempt((), str(n), str(n)) for n in range(200)])
    killing.join()
    assert [verdict.score for verdict in verdicts] == [1.0] * 200
    verifier.score([Attempt((), "1", "1")] * 8)     # whoever died after the last answer is missed now
    pool.deaths = 0     # ours: the fixture counts what tests did not mean to end


def test_nothing_secret_is_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEDGE_TEST_SECRET", "fledge-canary-5d1c")
    start = 'import json; say(Reply("ready", 0.0, 0, json.dumps(dict(os.environ))))'
    with fake(tmp_path, start) as pool:
        assert set(pool.start()) <= {*pool_module.PASSED_ON, "LC_CTYPE"} and "PATH" in pool.walls
