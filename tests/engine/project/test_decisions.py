"""Decisions about documents and labels of harmful texts in the library: on disk when the call returns, undone and redone without loss."""

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.project import layout, migrations
from engine.project.library import LABEL_CHARACTERS, Library
from engine.project.project import Project


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Project.create(tmp_path / "p").library


def in_force(library: Library) -> dict[str, bool]:
    return {id: made.keep for id, made in library.decisions().items()}


def test_a_decision_is_kept_withdrawn_and_counted(library: Library) -> None:
    assert library.decide(["a", "b"], False, corpus="corpus-1", author="Ada", note="spam", sources={"a": "x.txt"}) == 2
    assert library.decide(["c"], True) == 1
    made = library.decisions()["a"]
    assert (made.keep, made.author, made.corpus, made.source, made.note) == (False, "Ada", "corpus-1", "x.txt", "spam")
    assert abs(made.decided - time.time()) < 60
    assert set(library.decisions(True)) == {"c"} and set(library.decisions(False)) == {"a", "b"}
    assert library.decision_counts() == {"kept": 1, "excluded": 2}
    assert library.decide(["a", "never decided"]) == 1
    assert in_force(library) == {"b": False, "c": True}


def test_the_same_word_again_changes_nothing_and_takes_no_step(library: Library) -> None:
    library.decide(["a"], True)
    assert library.decide(["a"], True) == 0 and library.decide(["b"], None) == 0 and library.decide([], True) == 0
    assert len(library.decision_history()) == 1
    assert library.decide(["a"], True, note="seen again") == 1


def test_keep_this_one_of_a_group_is_one_step(library: Library) -> None:
    library.decide(["kept"], True, note="first")
    library.decide({"copy": True, "kept": False})
    assert in_force(library) == {"copy": True, "kept": False}
    step = library.undo_decision()
    assert step is not None and step.documents == 2 and step.undone
    assert in_force(library) == {"kept": True} and library.decisions()["kept"].note == "first"


def test_undo_and_redo_walk_the_history_and_a_new_decision_ends_redo(library: Library) -> None:
    assert library.undo_decision() is None and library.redo_decision() is None
    library.decide(["a"], False)
    library.decide(["a"], True)
    library.decide(["a"])
    assert [library.undo_decision() is not None for _ in range(2)] == [True, True] and in_force(library) == {"a": False}
    assert library.redo_decision() is not None and in_force(library) == {"a": True}
    assert [h.undone for h in library.decision_history()] == [True, False, False]
    library.decide(["b"], True)
    assert library.redo_decision() is None and in_force(library) == {"a": True, "b": True}


DOCUMENTS = st.sampled_from("abcde")
STEPS = st.lists(st.one_of(st.just("undo"), st.just("redo"), st.dictionaries(DOCUMENTS, st.sampled_from([True, False, None]), max_size=4)),
                 max_size=25)


@given(STEPS)
def test_undo_and_redo_in_any_order_lose_and_double_nothing(tmp_path_factory: pytest.TempPathFactory, steps: list) -> None:
    folder = tmp_path_factory.mktemp("library")
    library = Library(folder)
    past: list[dict[str, bool]] = [{}]     # a model of the history: states, and where we are in it
    here = 0
    try:
        for step in steps:
            if step == "undo":
                assert (library.undo_decision() is None) == (here == 0)
                here = max(0, here - 1)
            elif step == "redo":
                assert (library.redo_decision() is None) == (here == len(past) - 1)
                here = min(len(past) - 1, here + 1)
            else:
                after = {id: keep for id, keep in (past[here] | step).items() if keep is not None}
                changed = {id for id in step if past[here].get(id) != after.get(id)}
                assert library.decide(step) == len(changed)
                if changed:
                    past, here = [*past[:here + 1], after], here + 1
            assert in_force(library) == past[here]
            history = library.decision_history()
            assert len(history) == len(past) - 1 and sum(not h.undone for h in history) == here
        rows = library.db.conn.execute("select count(*) from decision_changed where change not in (select number from decision_changes)")
        assert rows.fetchone() == (0,)
    finally:
        library.close()


def test_decisions_are_on_disk_when_the_call_returns(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p")
    program = ("import os, sys; from pathlib import Path; from engine.project.library import Library;"
               "Library(Path(sys.argv[1])).decide(['a', 'b'], False); os._exit(9)")
    assert subprocess.run([sys.executable, "-c", program, str(project.dir)], timeout=60).returncode == 9
    assert in_force(project.library) == {"a": False, "b": False}


def test_two_windows_share_one_history(library: Library) -> None:
    other = Library(library.path.parent)
    library.decide(["a"], True)
    other.decide(["b"], False)
    assert library.undo_decision() is not None
    assert in_force(library) == in_force(other) == {"a": True}
    assert other.redo_decision() is not None and in_force(library) == {"a": True, "b": False}
    other.close()


def test_a_hundred_thousand_decisions_take_less_than_two_seconds(library: Library) -> None:
    ids = [f"{n:032x}" for n in range(100_000)]
    started = time.process_time()
    assert library.decide(ids, False, corpus="corpus-1", sources=dict.fromkeys(ids, "a.txt")) == 100_000
    assert library.undo_decision() is not None and library.decision_counts() == {"kept": 0, "excluded": 0}
    assert library.redo_decision() is not None and library.decision_counts()["excluded"] == 100_000
    assert time.process_time() - started < 4    # three such steps; each below two seconds on a machine with other work


def test_labels_of_harm_are_kept_replaced_and_taken_back(library: Library) -> None:
    library.label_harm("a", True, kind="adult", text="x" * 50_000, corpus="corpus-1", author="Ada")
    library.label_harm("a", False, kind="hate", text="y")
    library.label_harm("b", True, kind="adult")
    library.label_harm("b", False, kind="adult", text="z")
    assert [(m.document, m.kind, m.harmful) for m in library.harm_labels()] == [("a", "adult", True), ("a", "hate", False),
                                                                                  ("b", "adult", False)]
    assert len(library.harm_labels("adult")[0].text) == LABEL_CHARACTERS
    assert library.harm_counts() == {"adult": {"harmful": 1, "harmless": 1}, "hate": {"harmful": 0, "harmless": 1}}
    library.label_harm("a", None, kind="adult")
    assert [m.document for m in library.harm_labels("adult")] == ["b"]


def test_a_library_of_the_first_version_is_upgraded_after_a_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project.create(tmp_path / "p")
    monkeypatch.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:1])
    old = Library(project.dir)
    old.new_chat("kept", "chat")
    old.close()
    monkeypatch.undo()
    new = Library(project.dir)
    assert [c.title for c in new.chats()] == ["kept"] and new.decide(["a"], True) == 1
    (backup,) = layout.backups(project.dir).iterdir()
    with sqlite3.connect(backup) as before:
        assert before.execute("pragma user_version").fetchone() == (1,)
        assert before.execute("select count(*) from sqlite_master where name = 'decisions'").fetchone() == (0,)
