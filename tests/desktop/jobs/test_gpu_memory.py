"""nvidia-smi is asked and understood; without it there is simply no answer."""

import stat
from pathlib import Path

import pytest

from desktop.jobs.gpu_memory import cuda_memory


def pretend(folder: Path, script: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text("#!/bin/sh\n" + script)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_used_and_total_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(tmp_path, 'test "$1" = "--id=1" && echo "8487, 24564"')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert cuda_memory("cuda:1") == (8487 * 2**20, 24564 * 2**20)
    assert cuda_memory("cuda:0") is None


def test_without_the_program_or_with_another_answer_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cuda_memory("cuda:0") is None
    pretend(tmp_path, 'echo "[N/A], [N/A]"')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert cuda_memory("cuda:0") is None
