"""The journal: what `put` has returned for is on the disk, torn lines are healed, nothing is counted twice."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from engine.contract.errors import DiskFull, ProjectError
from engine.contract.rows import Message
from engine.generators.asks import Ask, Reply
from engine.generators.journal import Appended, Journal, lines

ROOT = Path(__file__).resolve().parents[3]


def reply(text: str = "yes") -> Reply:
    return Reply(text, 5, 2, model="m", seconds=0.5)


def test_what_was_put_is_there_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    journal.put("1", "a", reply("first\nline \u2028 “quoted” \U0001f600"))
    journal.put("1", "b", reply())
    journal.put("2", "a", reply("other"))
    journal.finish("2", "done", 3)
    journal.finish("3", "failed:slow", 1, for_good=False)
    assert journal.done == {"2", "3"} and journal.wanted == 4
    journal.close()
    again = Journal(tmp_path / "j.jsonl")
    found = again.get("1", "a")
    assert found == reply("first\nline \u2028 “quoted” \U0001f600") and again.get("1", "b") and again.get("1", "c") is None
    assert again.done == {"2"} and again.get("2", "a") is None and again.wanted == 3  # what is done is let go of
    assert again.counts["m"] == {"asked": 3, "tokens_in": 15, "tokens_out": 6, "seconds": 1.5} and again.outcomes == {"done": 1}
    again.close()


def test_keys_depend_on_everything_an_answer_depends_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    ask = Ask((Message(role="user", content="x"),), 8, 0.5, 1, {"type": "object"}, ("s",))
    base = ("recipe", "row", "judge", "m", ask, {"context": 1}, 0)
    keys = {journal.key(*base)}
    for place, other in enumerate(("recipe2", "row2", "second", "m2", None, {"context": 2}, 1)):
        if other is not None:
            keys.add(journal.key(*(other if i == place else b for i, b in enumerate(base))))
    for change in ({"messages": (Message(role="user", content="y"),)}, {"messages": (Message(role="system", content="x"),)},
                   {"max_tokens": 9}, {"temperature": 0.6}, {"seed": 2}, {"schema": None}, {"stop": ()}):
        keys.add(journal.key("recipe", "row", "judge", "m", Ask(**{**ask.__dict__, **change}), {"context": 1}, 0))
    assert len(keys) == 14 and journal.key(*base) in keys
    journal.close()


def test_a_file_cut_at_any_byte_loses_the_last_line_at_most(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    journal = Journal(path)
    for number in range(2):
        journal.put(str(number), "k", reply(f"answer {number} é"))
    journal.close()
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == 10]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        healed = Journal(path)
        there = sum(healed.get(str(n), "k") is not None for n in range(2))
        assert there == sum(end <= cut for end in ends)
        healed.put("9", "k", reply("new"))
        healed.close()
        again = Journal(path)
        assert again.get("9", "k") == reply("new")
        assert there <= sum(again.get(str(n), "k") is not None for n in range(2)) <= there + 1  # a line that lacked its end only
        again.close()


def test_lines_of_many_threads_are_whole_and_share_their_way_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(1), time.sleep(0.01), real(handle)))
    path = tmp_path / "rows.jsonl"
    file = Appended(path)

    def write(who: int) -> None:
        for number in range(20):
            file.append(json.dumps({"who": who, "n": number, "x": "y" * random.Random(number).randint(0, 5000)}).encode())
            assert f'"who": {who}, "n": {number},'.encode() in path.read_bytes()
    threads = [threading.Thread(target=write, args=(who,)) for who in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.close()
    read = [json.loads(line) for line in lines(path)]
    assert len(read) == 320 and len({(r["who"], r["n"]) for r in read}) == 320
    assert [r["n"] for r in read if r["who"] == 3] == list(range(20))
    assert len(synced) < 160


def test_what_append_has_returned_for_survives_kill_9(tmp_path: Path) -> None:
    code = ("import sys\nfrom pathlib import Path\nfrom engine.generators.journal import Appended\nimport threading\n"
            "file = Appended(Path(sys.argv[1]))\nlock = threading.Lock()\n"
            "def go(who):\n  for n in range(10**6):\n    file.append(f'{who}:{n}'.encode())\n"
            "    with lock:\n      print(f'{who}:{n}', flush=True)\n"
            "for who in range(4): threading.Thread(target=go, args=(who,)).start()\n")
    for turn in range(3):
        path = tmp_path / f"{turn}.jsonl"
        child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, cwd=ROOT)
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(50 + turn * 37)]
        child.send_signal(signal.SIGKILL)
        said += child.stdout.read().splitlines(keepends=True)
        child.wait()
        told = {line.strip() for line in said if line.endswith(b"\n")}
        assert told <= set(lines(path)) and len(told) >= 50


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_full_disk_is_said_and_the_file_stays_whole(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    journal = Journal(tmp_path / "j.jsonl")
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        with pytest.raises(DiskFull):
            for number in range(100):
                journal.put(str(number), "k", reply("x" * 100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    journal.close()
    kept = (tmp_path / "j.jsonl").read_bytes()
    assert kept.endswith(b"}\n") and len(kept) < 1000
    again = Journal(tmp_path / "j.jsonl")
    again.put("200", "k", reply())
    again.close()
    assert len(list(lines(tmp_path / "j.jsonl"))) == number + 1


def test_links_are_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine\n")
    (tmp_path / "j.jsonl").symlink_to(tmp_path / "victim")
    with pytest.raises(ProjectError):
        Journal(tmp_path / "j.jsonl")
    assert (tmp_path / "victim").read_text() == "mine\n"
