"""Project folders, runs, control, library, models."""

import json
import os
import shutil
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.contract.errors import Corrupt, DiskFull, FormatError, NotFound, ProjectError, TooNew
from engine.project import control, files, launch, layout, recent
from engine.project.library import Library
from engine.project.models import list_models, resolve
from engine.project.project import Project, place_warning
from engine.project.run_state import RunState
from engine.stages.corpus.spec import CorpusSpec
from engine.stages.pretrain.spec import PretrainSpec
from engine.stages.tokenizer.spec import TokenizerSpec


def test_create_then_open(tmp_path: Path) -> None:
    made = Project.create(tmp_path / "a" / "b", "Ferry")
    assert Project.open(made.dir).name == "Ferry"
    assert made.runs.list() == [] and made.artifacts.list() == [] and list_models(made) == []


def test_a_folder_with_other_things_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ProjectError):
        Project.create(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(NotFound):
        Project.open(tmp_path)


def test_creating_twice_is_refused(tmp_path: Path) -> None:
    Project.create(tmp_path / "p")
    with pytest.raises(ProjectError):
        Project.create(tmp_path / "p")


def test_later_and_broken_projects_are_told(tmp_path: Path) -> None:
    made = Project.create(tmp_path / "p")
    files.write_json(layout.project_file(made.dir), {"schema": 99, "name": "x"})
    with pytest.raises(TooNew):
        Project.open(made.dir)
    layout.project_file(made.dir).write_text("{")
    with pytest.raises(FormatError):
        Project.open(made.dir)


def test_runs_are_numbered_across_stages_and_keep_their_spec(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p")
    first = project.runs.create(TokenizerSpec(corpus="corpus-1", vocab_size=999))
    second = project.runs.create(PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1", title="Tiny"))
    assert (first.id, second.id) == ("1-tokenizer", "2-pretrain")
    assert TokenizerSpec.check(project.runs.get("1").spec).vocab_size == 999
    assert project.runs.get("2-pretrain").inputs == {"corpus": "corpus-1", "tokenizer": "tokenizer-1"}
    assert first.state().status == "created" and not first.alive()
    project.runs.delete("1")
    assert [r.id for r in project.runs.list()] == ["2-pretrain"]
    with pytest.raises(NotFound):
        project.runs.get("../2-pretrain")


def test_control_gives_each_command_once(tmp_path: Path) -> None:
    reader = control.ControlReader(tmp_path)
    assert reader() is None
    for serial in (1, 2):
        control.send(tmp_path, "save")
        got = reader()
        assert got is not None and (got.word, got.serial) == ("save", serial)
        assert reader() is None


def test_a_command_to_a_worker_that_is_still_starting_is_heard(tmp_path: Path) -> None:
    control.send(tmp_path, "stop")
    got = control.ControlReader(tmp_path)()
    assert got is not None and got.word == "stop"


def test_a_new_attempt_hears_nothing_that_the_one_before_was_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Project.create(tmp_path / "p").runs.create(TokenizerSpec(corpus="corpus-1"))
    control.send(run.dir, "stop")
    monkeypatch.setattr(launch, "detach", lambda command, log: 7)
    launch.start(run)
    assert control.ControlReader(run.dir)() is None


def test_copies_made_by_hand_are_passed_over(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p")
    run = project.runs.create(TokenizerSpec(corpus="corpus-1"))
    with project.artifacts.create("model") as made:
        made.finish()
    for folder in (run.dir, project.dir / "artifacts" / "model-1"):
        for name in (f"{folder.name} (copy)", f"copy of {folder.name}"):
            shutil.copytree(folder, folder.with_name(name))
    (layout.checkpoints(run.dir) / "step-last").mkdir(parents=True)
    (layout.checkpoints(run.dir) / "step-last" / layout.MANIFEST).write_text("{}")
    assert [r.id for r in project.runs.list()] == [run.id] and [a.id for a in project.artifacts.list()] == ["model-1"]
    assert run.checkpoint_steps() == []
    with pytest.raises(NotFound):
        project.runs.get("1-tokenizer (copy)")


def test_the_number_of_a_deleted_run_is_not_given_again(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p")
    first = project.runs.create(TokenizerSpec(corpus="corpus-1"))
    project.runs.delete(first.id)
    assert project.runs.list() == []
    assert project.runs.create(TokenizerSpec(corpus="corpus-1")).id == "2-tokenizer", "the queue and artifacts may still name the first"


def test_a_project_opened_elsewhere_leaves_a_slow_writer_alone(tmp_path: Path) -> None:
    """An import of hours writes into one file of a folder whose own time stands still."""
    project = Project.create(tmp_path / "p")
    long_ago = time.time() - 7200
    with project.artifacts.create("corpus") as made:
        (made.path / "train").mkdir()
        (made.path / "train" / "data").write_text("still growing")
        for place in (made.path / "train", made.path):
            os.utime(place, (long_ago, long_ago))
        Project.open(project.dir)
        assert made.finish().id == "corpus-1"
    left = layout.artifacts(project.dir) / ".tmp-corpus-dead"
    (left / "train").mkdir(parents=True)
    for place in (left / "train", left):
        os.utime(place, (long_ago, long_ago))
    Project.open(project.dir)
    assert not left.exists()


def test_a_worker_under_torchrun_hands_no_rank_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "OMP_NUM_THREADS": "1",
                        "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    handed = launch.environment()
    assert not {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "OMP_NUM_THREADS"} & handed.keys()


def test_chats_are_on_disk_when_the_call_returns(tmp_path: Path) -> None:
    library = Library(tmp_path)
    chat = library.new_chat("First", "complete", {"temperature": 0.5})
    library.add_turn(chat.id, "prompt", "The ferry")
    library.add_turn(chat.id, "completion", " left.", place=1, side=0, model="model-1", facts={"tokens": 2})
    library.add_turn(chat.id, "completion", " sank.", place=1, side=1, model="1-pretrain@0")
    other = Library(tmp_path)  # another process would see the same
    assert other.chat(chat.id).settings == {"temperature": 0.5}
    assert [(t.place, t.side, t.content) for t in other.turns(chat.id)] == [(0, 0, "The ferry"), (1, 0, " left."), (1, 1, " sank.")]
    other.delete_chat(chat.id)
    assert library.chats() == []
    with pytest.raises(NotFound):
        library.chat(chat.id)


def test_a_library_with_code_in_it_or_from_later_is_refused(tmp_path: Path) -> None:
    Library(tmp_path).close()
    db = sqlite3.connect(layout.library_file(tmp_path))
    db.execute("create view evil as with recursive c(x) as (select 1 union all select x + 1 from c) select x from c")
    db.commit()
    with pytest.raises(Corrupt, match="evil"):
        Library(tmp_path)
    db.execute("drop view evil")
    db.execute("pragma user_version = 999")
    db.commit()
    with pytest.raises(TooNew):
        Library(tmp_path)


def test_a_damaged_library_is_told(tmp_path: Path) -> None:
    layout.library_file(tmp_path).write_bytes(b"not a database at all, but long enough to be looked at as one" * 40)
    with pytest.raises(Corrupt):
        Library(tmp_path)


def test_models_are_artifacts_and_whole_checkpoints(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p")
    run = project.runs.create(PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1"))
    for step in (0, 10):
        folder = layout.checkpoint(run.dir, step)
        folder.mkdir(parents=True)
        (folder / layout.MANIFEST).write_text(json.dumps({"facts": {"bpb": 2.5}}))
    layout.checkpoint(run.dir, 20).mkdir()  # no manifest: a crash left it
    with project.artifacts.create("model", title="Done") as made:
        made.finish(steps=30)
    assert [m.id for m in list_models(project)] == ["model-1", "1-pretrain@10", "1-pretrain@0"]
    assert resolve(project, "1@0").untrained and resolve(project, "1-pretrain@10").facts == {"bpb": 2.5}
    with pytest.raises(NotFound):
        resolve(project, "1-pretrain@20")


def test_recent_projects_newest_first_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    for name in ("a", "b", "a"):
        recent.remember(tmp_path / name, name)
    assert [r.name for r in recent.recent()] == ["a", "b"] and not recent.recent()[0].exists
    recent.forget(str(tmp_path / "a"))
    assert [r.name for r in recent.recent()] == ["b"]


def test_synced_folders_are_warned_about(tmp_path: Path) -> None:
    assert place_warning(tmp_path / "Dropbox" / "p")
    assert not place_warning(tmp_path / "p")


def test_a_library_that_cannot_be_opened_is_not_called_damaged(tmp_path: Path) -> None:
    layout.library_file(tmp_path).mkdir()
    with pytest.raises(ProjectError) as told:
        Library(tmp_path)
    assert not isinstance(told.value, Corrupt) and told.value.remedy


def test_a_full_disk_is_told_and_the_chat_stays_as_it_was(tmp_path: Path) -> None:
    library = Library(tmp_path)
    chat = library.new_chat("First", "complete")
    pages = library.db.conn.execute("pragma page_count").fetchone()[0]
    library.db.conn.execute(f"pragma max_page_count = {pages}")
    with pytest.raises(DiskFull):
        library.add_turn(chat.id, "prompt", "x" * 100_000)
    assert library.turns(chat.id) == []
    library.db.conn.execute(f"pragma max_page_count = {pages + 1000}")
    library.add_turn(chat.id, "prompt", "x" * 100_000)
    assert len(library.turns(chat.id)) == 1


def test_a_worker_that_died_with_last_words_crashed_one_without_was_interrupted(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p")
    run = project.runs.create(TokenizerSpec(corpus="corpus-1"))
    dead = RunState(status="running")
    log = layout.log_file(run.dir)
    log.write_text("12:00:00 1-tokenizer, attempt 1, cpu, seed 42\nTraceback (most recent call last):\n  ...\nValueError: x\n")
    assert run.status_of(dead) == "crashed"
    log.write_text(log.read_text() + "12:01:00 1-tokenizer, attempt 2, cpu, seed 42\n")
    assert run.status_of(dead) == "interrupted", "the words of an earlier attempt do not count"


def test_runs_made_at_the_same_moment_get_numbers_of_their_own(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project", "Busy")
    specs = [CorpusSpec(sources=(str(n),)) if n % 2 else TokenizerSpec(corpus="corpus-1") for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda spec: Project.open(project.dir).runs.create(spec), specs))
    assert sorted(run.number for run in made) == list(range(1, 9))
