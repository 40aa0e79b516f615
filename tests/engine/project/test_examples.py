"""Examples in the library: nothing lost or doubled by adding, reviewing, undoing, ingesting, in one process or two."""

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.contract.errors import Corrupt, InputError, NotFound, SettingError
from engine.contract.rows import Example, Message
from engine.project import layout, migrations, snapshots
from engine.project.examples import ExampleFilter, Examples
from engine.project.ingest import ingest_run, ingest_runs
from engine.project.library import Library
from engine.project.project import Project
from engine.project.votes import Vote
from engine.stages.evaluate.spec import EvaluateSpec
from engine.stages.instruct.spec import InstructSpec
from engine.stages.sft.spec import SftSpec


def example(id: str, question: str = "", answer: str = "", **rest: object) -> Example:
    return Example(id=id, messages=turns(question or f"What is {id}?", answer or f"It is {id}."), **rest)  # type: ignore[arg-type]


def turns(question: str, answer: str) -> tuple[Message, ...]:
    return (Message(role="user", content=question), Message(role="assistant", content=answer))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "p")


@pytest.fixture
def examples(project: Project) -> Examples:
    return project.library.examples


def ids(examples: Examples, *, order: str = "position", **filter: object) -> list[str]:
    return [row.example.id for row in examples.rows(ExampleFilter(**filter), order, count=10_000)]  # type: ignore[arg-type]


def test_an_example_comes_back_as_it_was_added(examples: Examples) -> None:
    made = examples.create_set("Ours", origin="import:a.jsonl")
    given_row = Example(id="x", messages=(Message(role="system", content="Be brief.\x00\n\"q\" \\"), Message(role="tool", content="😀"),
                                          Message(role="narrator", content="")), origin="import:a.jsonl", score=7.5,
                        flags=("too_long", "ünï"), facts={"answer": "72", "scores": [1, 2.5, None], "deep": {"a": {"b": "\ud800"}}})
    assert examples.add(made.id, [given_row], "Ada") == 1
    row = examples.get("x")
    assert row.example == given_row and (row.set, row.status, row.edited_by) == (made.id, "new", "")
    assert row.length == sum(len(m.content) for m in given_row.messages) and abs(row.updated - time.time()) < 60
    assert list(examples.for_training([made.id])) == [given_row]
    (only,) = examples.sets()
    assert (only.title, only.origin, only.count, only.new) == ("Ours", "import:a.jsonl", 1, 1)
    (added,) = examples.history("x")
    assert (added.what, added.author) == ("add", "Ada")


def test_the_same_rows_twice_are_not_doubled_and_two_sets_may_hold_the_same(examples: Examples) -> None:
    first, second = examples.create_set("a").id, examples.create_set("b").id
    rows = [example("1"), example("2"), example("1", "again")]
    assert examples.add(first, rows) == 2 and examples.add(first, iter(rows)) == 0
    assert examples.add(second, rows) == 2 and examples.add(second, rows) == 0
    assert ids(examples, sets=(first,)) == ["1", "2"] and ids(examples, sets=(second,)) == [f"1@{second}", f"2@{second}"]
    examples.delete_set(first)  # the ids are free again, and the second set still knows what it has
    assert examples.add(second, rows) == 0 and ids(examples) == [f"1@{second}", f"2@{second}"]


def test_filters_and_orders(examples: Examples) -> None:
    a, b = examples.create_set("a").id, examples.create_set("b").id
    examples.add(a, [example("1", "100% sure?", "x" * 50, score=3.0, origin="m1"), example("2", "50 cents", "a_b", score=9.0, origin="m2"),
                     example("3", "Äpfel", 'say "hi" \\ there', flags=("short",))])
    examples.add(b, [example("4", "User's\nline", "yes", score=9.0, flags=("short", "refusal"))])
    assert ids(examples) == ["1", "2", "3", "4"] and ids(examples, order="-position") == ["4", "3", "2", "1"]
    assert ids(examples, order="score") == ["2", "4", "1", "3"] and ids(examples, order="-score") == ["1", "2", "4", "3"]
    assert ids(examples, order="length")[0] == "1" and ids(examples, order="-length")[0] == "2"
    assert ids(examples, sets=(b, a)) == ["1", "2", "3", "4"] and ids(examples, sets=(b,)) == ["4"]
    assert ids(examples, low=3.0, high=8.0) == ["1"] and ids(examples, low=3.5) == ["2", "4"]
    assert ids(examples, flag="short") == ["3", "4"] and ids(examples, flag="shor") == [] and ids(examples, origin="m2") == ["2"]
    for text, found in {"100%": ["1"], "0%": ["1"], "a_b": ["2"], "SURE": ["1"], "äpfel": ["3"], "ÄPFEL": ["3"], '"hi" \\': ["3"],
                        "'s\nline": ["4"], "assistant": [], "user": ["4"], "%": ["1"]}.items():
        assert ids(examples, search=text) == found, text
        assert examples.count(ExampleFilter(search=text)) == len(found)
    assert examples.flags() == {"short": 2, "refusal": 1} and examples.origins((a,)) == {"": 1, "m1": 1, "m2": 1}
    assert [r.example.id for r in examples.rows(order="position", start=1, count=2)] == ["2", "3"]
    with pytest.raises(SettingError):
        examples.rows(order="mood")
    with pytest.raises(SettingError):
        examples.count(ExampleFilter(status="good"))
    with pytest.raises(NotFound) as unknown:
        examples.rows(ExampleFilter(sets=("set-99",)))
    assert a in unknown.value.remedy


def test_review_is_undone_and_redone_step_by_step(examples: Examples) -> None:
    set_id = examples.create_set("a").id
    examples.add(set_id, [example(str(n), score=float(n)) for n in range(5)])
    assert examples.undo() is None and examples.redo() is None
    assert examples.set_status(["0", "1", "unknown"], "accepted", "Ada") == 2
    assert examples.set_status(["0"], "accepted") == 0 and examples.delete("4", "Ada") == 1
    assert examples.edit("2", turns("better?", "better."), "ollama:m") and not examples.edit("2", turns("better?", "better."), "x")
    assert examples.set_status(ExampleFilter(low=2.0), "rejected", "Ada") == 2
    (one,) = examples.sets()
    assert (one.count, one.new, one.accepted, one.rejected) == (4, 0, 2, 2)
    assert ids(examples, status="rejected") == ["2", "3"] and list(examples.for_training([set_id])) == [
        examples.get("0").example, examples.get("1").example]
    step = examples.undo()
    assert step is not None and (step.what, step.examples, step.undone, step.author) == ("rejected", 2, True, "Ada")
    assert ids(examples, status="new") == ["2", "3"]
    step = examples.undo()
    assert step is not None and step.example == "2" and examples.get("2").example.messages[0].content == "What is 2?"
    assert examples.get("2").edited_by == "" and examples.get("2").length == len("What is 2?It is 2.")
    assert examples.redo() is not None and examples.get("2").edited_by == "ollama:m"
    assert examples.undo() and examples.undo() and ids(examples) == ["0", "1", "2", "3", "4"]  # the deleted one is back
    assert examples.set_comment("4", "check this", "Ada") and examples.get("4").comment == "check this"
    assert examples.redo() is None
    assert [c.overtaken for c in examples.changes()] == [False, True, True, True, False]
    kept = [(h.what, h.author, h.undone) for h in examples.history("2")]
    assert kept == [("add", "", False), ("edit", "ollama:m", True), ("rejected", "Ada", True)]  # overtaken, and still told
    texts = [h.messages for h in examples.history("2") if h.messages]
    assert texts == [turns("What is 2?", "It is 2.")]


def test_every_text_an_example_ever_had_is_in_its_history(examples: Examples) -> None:
    set_id = examples.create_set("a").id
    examples.add(set_id, [example("1")])
    for text in "abc":
        examples.edit("1", turns(text, text), f"author {text}")
    examples.undo()
    examples.edit("1", turns("d", "d"), "author d")
    told = [(h.author, h.messages[0].content, h.undone) for h in examples.history("1") if h.messages]
    assert told == [("author a", "What is 1?", False), ("author b", "a", False), ("author c", "b", True), ("author d", "b", False)]
    assert examples.get("1").example.messages == turns("d", "d")


def test_what_is_not_there_is_said(examples: Examples) -> None:
    set_id = examples.create_set("a").id
    examples.add(set_id, [example("1")])
    for wrong in (lambda: examples.get("2"), lambda: examples.edit("2", turns("a", "b")), lambda: examples.set_comment("2", "a"),
                  lambda: examples.add("set-9", [example("3")]), lambda: examples.for_training(["set-9"]),
                  lambda: examples.rename_set("corpus-1", "x"), lambda: examples.delete_set("set-0")):
        with pytest.raises(NotFound):
            wrong()
    with pytest.raises(InputError):
        examples.edit("1", [])
    with pytest.raises(SettingError):
        examples.set_status(["1"], "deleted")
    examples.delete(["1"])
    with pytest.raises(NotFound):
        examples.edit("1", turns("a", "b"))
    assert examples.get("1").deleted and examples.add(set_id, [example("1")]) == 0


def test_a_deleted_set_takes_its_history_and_leaves_that_of_others(examples: Examples) -> None:
    a, b = examples.create_set("a").id, examples.create_set("b").id
    examples.add(a, [example("1"), example("2")])
    examples.add(b, [example("3")])
    examples.set_status(["1", "3"], "accepted")
    examples.set_status(["2"], "rejected")
    examples.rename_set(b, "B")
    examples.delete_set(a)
    assert [(s.id, s.title, s.accepted) for s in examples.sets()] == [(b, "B", 1)]
    assert [(c.what, c.examples, c.example) for c in examples.changes()] == [("accepted", 1, "3")]
    assert examples.undo() is not None and ids(examples, status="new") == ["3"] and examples.undo() is None
    assert examples.create_set("c").id not in (a, b)


# ---- any order of anything

ID = st.sampled_from("abcdef")
STEP = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 1), st.lists(ID, max_size=4)),
    st.tuples(st.just("edit"), ID, st.sampled_from("xyz")),
    st.tuples(st.just("status"), st.lists(ID, max_size=4), st.sampled_from(["new", "accepted", "rejected"])),
    st.tuples(st.just("bulk"), st.sampled_from(["", "new", "accepted"]), st.sampled_from(["accepted", "rejected"])),
    st.tuples(st.just("delete"), st.lists(ID, max_size=2), st.just("")),
    st.tuples(st.just("ingest"), st.integers(0, 6), st.just("")),
    st.sampled_from([("undo", "", ""), ("redo", "", ""), ("reopen", "", "")]))


@settings(deadline=None)
@given(st.lists(STEP, max_size=30))
def test_nothing_is_lost_or_doubled_in_any_order(tmp_path_factory: pytest.TempPathFactory, steps: list) -> None:
    """Against a model in plain dictionaries: {id: [set, status or "deleted", question]} and the states between steps of the history."""
    project = Project.create(tmp_path_factory.mktemp("library") / "p")
    run = project.runs.create(InstructSpec(responder="project:m"))
    library = project.library
    sets = [library.examples.create_set("0").id, library.examples.create_set("1").id]
    written = 0
    now: dict[str, list[str]] = {}
    past: list[dict[str, tuple[str, str]]] = []      # what each step in force changed: {id: (status, question) before}
    future: list[dict[str, tuple[str, str]]] = []
    expected_order: list[str] = []

    def step(after: dict[str, tuple[str, str]]) -> int:
        changed = {id: (now[id][1], now[id][2]) for id, values in after.items() if (now[id][1], now[id][2]) != values}
        if changed:
            past.append(changed)
            future.clear()
            for id in changed:
                now[id][1:] = after[id]
        return len(changed)

    def swap(source: list, target: list) -> None:
        changed = source.pop()
        target.append({id: (now[id][1], now[id][2]) for id in changed})
        for id, values in changed.items():
            now[id][1:] = values

    try:
        for what, first, second in steps:
            examples = library.examples
            alive = {id for id, row in now.items() if row[1] != "deleted"}
            if what == "add":
                new = []
                for id in first if isinstance(first, list) else second:
                    own = f"{id}@{sets[first]}"
                    if now.get(id, [""])[0] == sets[first] or own in now:
                        continue
                    name = own if id in now else id
                    now[name] = [sets[first], "new", f"What is {id}?"]
                    new.append(name)
                expected_order += new
                assert examples.add(sets[first], [example(id) for id in second], "Ada") == len(new)
            elif what == "edit" and first in alive:
                assert examples.edit(first, turns(second, second)) == bool(step({first: (now[first][1], second)}))
            elif what == "status":
                assert examples.set_status(first, second) == step({id: (second, now[id][2]) for id in first if id in alive})
            elif what == "bulk":
                chosen = {id for id in alive if first in ("", now[id][1])}
                assert examples.set_status(ExampleFilter(status=first), second) == step({id: (second, now[id][2]) for id in chosen})
            elif what == "delete":
                assert examples.delete(first) == step({id: ("deleted", now[id][2]) for id in first if id in alive})
            elif what == "ingest":
                new = [f"row {n}" for n in range(written, written + first)]
                with open(layout.rows_file(run.dir), "ab") as file:
                    file.writelines(example(id, flags=("short",)).model_dump_json().encode() + b"\n" for id in new)
                written += first
                assert ingest_run(project, run.id) == first and ingest_run(project, run.id) == 0
                now |= {id: ["", "rejected", f"What is {id}?"] for id in new}
                expected_order += new
            elif what == "undo":
                assert (examples.undo() is None) == (not past)
                if past:
                    swap(past, future)
            elif what == "redo":
                assert (examples.redo() is None) == (not future)
                if future:
                    swap(future, past)
            elif what == "reopen":
                library.close()
                vars(project).pop("library")  # kept by cached_property
                library = project.library
            found = {row.example.id: (row.status, row.example.messages[0].content) for row in library.examples.rows(count=1_000)}
            assert found == {id: (row[1], row[2]) for id, row in now.items() if row[1] != "deleted"}
            assert [id for id in expected_order if now[id][1] != "deleted"] == ids(library.examples)
            for one in library.examples.sets():
                statuses = [row[1] for row in now.values() if row[0] == (one.id if one.id in sets else "") and row[1] != "deleted"]
                assert (one.count, one.new, one.accepted, one.rejected) == (
                    len(statuses), *(statuses.count(s) for s in ("new", "accepted", "rejected")))
        orphans = ("select count(*) from example_changed where change not in (select number from example_changes)",
                   "select count(*) from example_texts where number not in (select number from examples)")
        assert [library.db.conn.execute(query).fetchone() for query in orphans] == [(0,), (0,)]
    finally:
        library.close()


# ---- several processes, kills


WRITER = """
import sys
from pathlib import Path
from engine.contract.rows import Example, Message
from engine.project.library import Library
folder, set_id, who, count = sys.argv[1:]
examples = Library(Path(folder)).examples
for start in range(0, int(count), 50):
    examples.add(set_id, [Example(id=f"{who} {n}", messages=(Message(role="user", content="?"),)) for n in range(start, start + 50)], who)
    examples.set_status([f"{who} {start}"], "accepted", who)
    examples.edit(f"{who} {start + 1}", [Message(role="user", content="edited")], who)
"""
INGESTER = """
import sys, time
from engine.project.ingest import ingest_run
from engine.project.project import Project
project = Project.open(sys.argv[1])
for _ in range(300):
    ingest_run(project, sys.argv[2])
    time.sleep(0.002)
"""


def test_two_processes_writing_at_once_lose_nothing(project: Project, examples: Examples) -> None:
    set_id = examples.create_set("both").id
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(project.dir), set_id, who, "500"]) for who in ("a", "b")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    (found,) = examples.sets()
    assert (found.count, found.accepted, found.new) == (1_000, 20, 980)
    assert sorted(ids(examples)) == sorted(f"{who} {n}" for who in "ab" for n in range(500))
    assert len(examples.changes(1_000)) == 40 and examples.count(ExampleFilter(search="edited")) == 20
    while examples.undo():
        pass
    assert examples.count(ExampleFilter(status="new")) == 1_000 and examples.count(ExampleFilter(search="edited")) == 0


def test_rows_of_a_run_under_way_come_in_once_whoever_reads_them(project: Project, examples: Examples) -> None:
    run = project.runs.create(InstructSpec(responder="project:m", title="Made here"))
    readers = [subprocess.Popen([sys.executable, "-c", INGESTER, str(project.dir), run.id]) for _ in range(2)]
    with open(layout.rows_file(run.dir), "ab", buffering=0) as file:
        for n in range(400):
            line = example(f"row {n}", flags=("short",) if n % 4 == 0 else ()).model_dump_json().encode() + b"\n"
            file.write(line[:20])
            time.sleep(0.001)
            file.write(line[20:])
    assert [reader.wait(60) for reader in readers] == [0, 0]
    ingest_run(project, run.id)
    (made,) = examples.sets()
    assert (made.title, made.run, made.count, made.rejected) == ("Made here", run.id, 400, 100)
    assert ids(examples) == [f"row {n}" for n in range(400)]


def test_a_row_that_is_finished_while_it_is_read_is_not_lost(project: Project, examples: Examples, monkeypatch) -> None:
    """Between two reads of one look the rest of a torn line arrives."""
    run = project.runs.create(InstructSpec(responder="project:m", title="Made here"))
    path = layout.rows_file(run.dir)
    first, second, third = (example(f"row {n}").model_dump_json().encode() + b"\n" for n in range(3))
    path.write_bytes(first + second[:20])
    take = Examples.ingest_of_run

    def meanwhile(self: Examples, run_id: str, rows: list, at: int) -> int:
        with open(path, "ab") as file:
            file.write(second[20:] + third)
        monkeypatch.undo()
        return take(self, run_id, rows, at)

    monkeypatch.setattr(Examples, "ingest_of_run", meanwhile)
    assert ingest_run(project, run.id) + ingest_run(project, run.id) == 3
    assert ids(examples) == ["row 0", "row 1", "row 2"]


def test_a_torn_row_waits_or_is_passed_over(project: Project, examples: Examples) -> None:
    run = project.runs.create(InstructSpec(responder="project:m"))
    path = layout.rows_file(run.dir)
    whole, torn = example("1").model_dump_json().encode() + b"\n", example("2").model_dump_json().encode()
    path.write_bytes(whole + torn[:30])
    assert ingest_run(project, run.id) == 1
    path.write_bytes(whole + torn + b"\n")
    assert ingest_run(project, run.id) == 1
    path.write_bytes(whole + torn + b"\n" + torn[:30] + b"\n" + b"[1]\n\xff\n" + example("3").model_dump_json().encode() + b"\n")
    assert ingest_runs(project) == {run.id: 1} and ingest_runs(project) == {}
    path.write_bytes(example("4").model_dump_json().encode() + b"\n")  # shorter than what was read
    assert ingest_run(project, run.id) == 1 and ids(examples) == ["1", "2", "3", "4"]


def test_a_preview_and_a_deleted_set_stay_out(project: Project, examples: Examples) -> None:
    shown = project.runs.create(InstructSpec(responder="project:m", preview=5))
    kept = project.runs.create(InstructSpec(responder="project:m"))
    for run in (shown, kept):
        layout.rows_file(run.dir).write_bytes(example("1").model_dump_json().encode() + b"\n")
    assert ingest_runs(project) == {kept.id: 1}
    examples.delete(["1"])
    with open(layout.rows_file(kept.dir), "ab") as file:
        file.write(example("1").model_dump_json().encode() + b"\n")
    assert ingest_run(project, kept.id) == 0 and ids(examples) == []
    examples.delete_set(examples.sets()[0].id)
    with open(layout.rows_file(kept.dir), "ab") as file:
        file.write(example("2").model_dump_json().encode() + b"\n")
    assert ingest_run(project, kept.id) == 0 and examples.sets() == []


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="links need rights on Windows")
def test_rows_that_are_a_link_are_not_followed(project: Project, tmp_path: Path) -> None:
    run = project.runs.create(InstructSpec(responder="project:m"))
    (tmp_path / "elsewhere.jsonl").write_bytes(example("1").model_dump_json().encode() + b"\n")
    layout.rows_file(run.dir).symlink_to(tmp_path / "elsewhere.jsonl")
    assert ingest_run(project, run.id) == 0


def test_changes_are_on_disk_when_the_call_returns(project: Project, examples: Examples) -> None:
    set_id = examples.create_set("a").id
    examples.add(set_id, [example("1"), example("2")])
    program = ("import os, sys; from pathlib import Path; from engine.contract.rows import Message;"
               "from engine.project.library import Library;"
               "x = Library(Path(sys.argv[1])).examples; x.edit('1', [Message(role='user', content='kept')], 'Ada');"
               "x.set_status(['2'], 'rejected', 'Ada'); os._exit(9)")
    assert subprocess.run([sys.executable, "-c", program, str(project.dir)], timeout=60).returncode == 9
    assert examples.get("1").example.messages[0].content == "kept" and ids(examples, status="rejected") == ["2"]
    assert project.library.db.conn.execute("pragma synchronous").fetchone() == (2,)


# ---- into runs


def test_a_run_keeps_the_examples_it_was_made_with(project: Project, examples: Examples) -> None:
    a, b = examples.create_set("a").id, examples.create_set("b").id
    examples.add(a, [example("1"), example("2", facts={"answer": "2"}), example("3")])
    examples.add(b, [example("4")])
    examples.set_status(["1"], "rejected")
    examples.set_status(["2"], "accepted")
    tuned = project.runs.create(SftSpec(model="m", examples=(b, a)))
    strict = project.runs.create(SftSpec(model="m", examples=(a,), only_accepted=True))
    asked = project.runs.create(EvaluateSpec(models=("m",), examples=(a,)))
    seeded = project.runs.create(InstructSpec(responder="project:m", seeds=(b,)))
    bare = project.runs.create(EvaluateSpec(models=("m",)))
    examples.edit("2", turns("later", "later"))
    examples.delete_set(b)
    assert [e.id for e in snapshots.rows(tuned.dir, "examples")] == ["4", "2", "3"]
    assert [e.messages for e in snapshots.rows(strict.dir, "examples")] == [turns("What is 2?", "It is 2.")]
    assert [e.facts for e in snapshots.rows(asked.dir, "questions")] == [{"answer": "2"}, {}]
    assert [e.id for e in snapshots.rows(seeded.dir, "seeds")] == ["4"] and list(snapshots.rows(bare.dir, "questions")) == []
    layout.input_rows(strict.dir, "examples").write_text("{}\n")
    with pytest.raises(Corrupt):
        list(snapshots.rows(strict.dir, "examples"))


def test_a_run_without_anything_to_train_on_is_not_made(project: Project, examples: Examples) -> None:
    set_id = examples.create_set("a").id
    examples.add(set_id, [example("1")])
    with pytest.raises(InputError) as wrong:
        project.runs.create(SftSpec(model="m", examples=(set_id,), only_accepted=True))
    assert wrong.value.field == "examples"
    with pytest.raises(NotFound):
        project.runs.create(SftSpec(model="m", examples=("set-7",)))
    assert project.runs.list() == []


def test_a_set_is_asked_for_in_a_project_without_a_library(tmp_path: Path) -> None:
    bare = Project.create(tmp_path / "bare")
    with pytest.raises(NotFound):
        bare.runs.create(SftSpec(model="m", examples=("set-1",)))


# ---- votes, upgrade, size


def test_votes_are_kept_changed_and_taken_back(project: Project) -> None:
    votes = project.library.votes
    first = votes.add(Vote("q", "l", "r", "model-1", "model-2", "left", "Ada", "evaluation-1", {"seconds": 3}))
    votes.add(Vote("q2", "l", "r", "model-2", "model-1", "bad"))
    assert votes.list("evaluation-1") == [first] and first.id and first.made and len(votes.list()) == 2
    again = votes.add(Vote(**{**vars(first), "choice": "tie"}))
    assert votes.list("evaluation-1") == [again] and again.choice == "tie" and [v.prompt for v in votes.list()] == ["q", "q2"]
    assert votes.list(start=1, count=5)[0].prompt == "q2"
    assert votes.remove(first.id) and not votes.remove(first.id) and votes.list("evaluation-1") == []
    with pytest.raises(SettingError):
        votes.add(Vote("q", "l", "r", "a", "b", "both"))  # type: ignore[arg-type]


def test_a_library_of_the_second_version_is_upgraded_after_a_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project.create(tmp_path / "p")
    monkeypatch.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:2])
    old = Library(project.dir)
    old.decide(["a"], True)
    old.close()
    monkeypatch.undo()
    new = Library(project.dir)
    assert new.decision_counts() == {"kept": 1, "excluded": 0} and new.examples.sets() == []
    (backup,) = layout.backups(project.dir).iterdir()
    with sqlite3.connect(backup) as before:
        assert before.execute("pragma user_version").fetchone() == (2,)
    new.close()


def test_a_hundred_thousand_examples_are_added_and_paged_quickly(examples: Examples) -> None:
    set_id, other = examples.create_set("large").id, examples.create_set("small").id
    rows = [example(f"{n * 2654435761 % 2**32:08x}", "question " * 10, "answer " * 20, score=n % 100 / 10) for n in range(100_000)]
    began = time.process_time()
    assert examples.add(set_id, rows, "Ada") == 100_000
    assert time.process_time() - began < 5          # 20,000 rows a second
    examples.add(other, [example("last")])
    for order in ("position", "score", "edited", "length"):
        for filter in (ExampleFilter(), ExampleFilter(sets=(set_id,)), ExampleFilter(sets=(other,)), ExampleFilter(status="new"),
                       ExampleFilter(low=9.9), ExampleFilter(sets=(set_id,), status="accepted")):
            took = []
            for _ in range(3):
                began = time.process_time()
                examples.rows(filter, order)
                took.append(time.process_time() - began)
            assert min(took) < 0.1, (order, filter)
    began = time.process_time()
    assert examples.count(ExampleFilter(sets=(set_id,))) == 100_000 and examples.sets()[0].new == 100_000
    assert time.process_time() - began < 0.02
    began = time.process_time()
    assert examples.set_status(ExampleFilter(low=5.0), "accepted") == 50_000 and examples.undo() is not None
    assert time.process_time() - began < 3
