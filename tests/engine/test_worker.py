"""The worker's process: what it tells when a run cannot even begin."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.project import control, layout
from engine.project.project import Project
from engine.stages.tokenizer.spec import TokenizerSpec


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    return Project.create(tmp_path / "p").runs.create(TokenizerSpec(corpus="corpus-1")).dir


def work(run_dir: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "engine.worker", str(run_dir)], capture_output=True, text=True, timeout=60,
                          cwd=Path(__file__).parents[2], check=False)


def change(run_dir: Path, **values: object) -> None:
    file = layout.spec_file(run_dir)
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.parametrize(("values", "code"), [({"spec": {"from_a_later_fledge": 1}}, "unknown_setting"),
                                              ({"stage": "from_a_later_fledge"}, "unknown_stage")])
def test_settings_that_this_version_does_not_know_end_the_run_with_words(run_dir: Path, values: dict[str, object], code: str) -> None:
    change(run_dir, **values)
    assert work(run_dir).returncode == 2
    run = Project.open(run_dir.parent.parent).runs.get(run_dir.name)
    state = run.state()
    assert state.status == "failed" and state.finished is not None and state.finished.code == code and state.finished.remedy
    assert not run.alive()


def test_what_was_asked_is_forgotten_at_the_end(run_dir: Path) -> None:
    control.send(run_dir, "save")
    assert work(run_dir).returncode == 3, "there is no corpus-1"
    assert control.ControlReader(run_dir)() is None


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    ended = work(Project.create(tmp_path / "p").dir / "runs" / "9-corpus")
    assert ended.returncode == 3 and "9-corpus" in ended.stderr and "Traceback" not in ended.stderr
