"""Writing aside and renaming: old or new, never half."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.contract.errors import DiskFull
from engine.project import files


def test_write_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"x": 1})
    files.write_json(path, {"x": 2})
    assert files.read_json(path) == {"x": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_torn_json_reads_as_the_default(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"x": ')
    assert files.read_json(tmp_path / "a.json", 7) == 7
    assert files.read_json(tmp_path / "none.json", 8) == 8


def test_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), files.atomic_folder(tmp_path / "made") as aside:
        (aside / "half").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with files.atomic_folder(tmp_path / "made") as aside:
        (aside / "whole").write_text("x")
    assert (tmp_path / "made" / "whole").read_text() == "x"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_said_so_and_the_old_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"x": 1})

    def full(handle: int) -> None:
        raise OSError(code, os.strerror(code))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull) as told:
        files.write_json(path, {"x": 2})
    assert told.value.remedy
    assert files.read_json(path) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_in_earnest(tmp_path: Path) -> None:
    """A real limit by the operating system (RLIMIT_FSIZE): the folder does not appear, nothing is left."""
    if sys.platform == "win32":
        pytest.skip("no file size limits on Windows")
    code = f"""
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
from pathlib import Path
from engine.contract.errors import DiskFull
from engine.project import files
try:
    with files.atomic_folder(Path({str(tmp_path / "made")!r})) as aside:
        (aside / "big").write_bytes(b"x" * 5000)
except DiskFull:
    sys.exit(42)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[3]).returncode == 42
    assert list(tmp_path.iterdir()) == []


def test_kill_while_filling_leaves_nothing_under_the_final_name(tmp_path: Path) -> None:
    code = f"""
import time
from pathlib import Path
from engine.project import files
with files.atomic_folder(Path({str(tmp_path / "made")!r})) as aside:
    (aside / "half").write_text("x")
    print("ready", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as worker:
        assert worker.stdout is not None and worker.stdout.readline() == "ready\n"
        worker.send_signal(signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
        worker.wait()
    assert not (tmp_path / "made").exists()
    left = list(tmp_path.iterdir())
    assert len(left) == 1
    files.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == left, "a writer may still be at work: young leftovers stay"
    for place in (left[0] / "half", left[0]):
        os.utime(place, (time.time() - 7200, time.time() - 7200))
    files.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_remove_tree_renames_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "a").write_text("x")
    monkeypatch.setattr(files.shutil, "rmtree", lambda *a, **k: None)  # killed right after the rename
    files.remove_tree(tmp_path / "made")
    assert not (tmp_path / "made").exists()
