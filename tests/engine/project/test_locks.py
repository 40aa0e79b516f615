"""Locks end with their process."""

import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from engine.project import locks
from engine.project.locks import FileLock

ROOT = Path(__file__).parents[3]
HOLD = "import sys, time; from pathlib import Path; from engine.project.locks import FileLock; " \
       "lock = FileLock(Path(sys.argv[1])); assert lock.acquire(run='7-pretrain'); print('held', flush=True); time.sleep(60)"


def test_one_holder_at_a_time_and_kill_frees_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        mine = FileLock(path)
        assert mine.taken() and not mine.acquire(wait=0.05)
        assert mine.holder() == {"pid": other.pid, "run": "7-pretrain"}
        other.kill()
        other.wait()
    assert not mine.taken()
    assert mine.acquire(wait=0.05)
    assert FileLock(path).taken(), "another object of this process counts as another holder"
    mine.release()
    assert not FileLock(path).taken()


def test_a_look_never_costs_somebody_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    looker = "import sys; from pathlib import Path; from engine.project.locks import FileLock\n" \
             "print('go', flush=True)\nwhile True: FileLock(Path(sys.argv[1])).taken()"
    path.touch()
    with subprocess.Popen([sys.executable, "-c", looker, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT) as other:
        assert other.stdout is not None and other.stdout.readline() == "go\n"
        try:
            for _ in range(50):
                lock = FileLock(path)
                assert lock.acquire(wait=5.0)
                lock.release()
        finally:
            other.kill()


def test_a_folder_that_may_only_be_read_can_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The superuser may write anywhere, so the refusal is the test's own."""
    lock = FileLock(tmp_path / "lock")
    assert lock.acquire()
    plainly = open

    def read_only(path: Path, mode: str) -> IO[bytes]:
        if mode != "rb":
            raise PermissionError(13, "read-only", str(path))
        return plainly(path, mode)
    monkeypatch.setattr(locks, "open", read_only, raising=False)
    assert FileLock(lock.path).taken()
    lock.release()
    assert not FileLock(lock.path).taken()
