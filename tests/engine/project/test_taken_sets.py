"""Which sets of the library a run was made with, and what has changed in them since: counted right, and read only when something moved."""

import json
import shutil
from pathlib import Path

import pytest

from engine.contract.rows import Answer, Example, Message, Pair, pair_id
from engine.project import layout, lineage, snapshots, taken_sets
from engine.project.labels import Label
from engine.project.project import Project
from engine.project.runs import Run
from engine.project.taken_sets import SetChange
from engine.stages.dpo.spec import DpoSpec
from engine.stages.evaluate.spec import EvaluateSpec
from engine.stages.instruct.spec import InstructSpec
from engine.stages.ppo.spec import PpoSpec
from engine.stages.reward.spec import RewardSpec
from engine.stages.sft.spec import SftSpec


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "p", "Ferry")


def talk(id: str, answer: str = "") -> Example:
    return Example(id=id, messages=(Message(role="user", content=f"What is {id}?"),
                                    Message(role="assistant", content=answer or f"It is {id}.")))


def add(project: Project, title: str, *ids: str, **more: str) -> str:
    made = project.library.examples.create_set(title, **more)
    project.library.examples.add(made.id, [talk(id) for id in ids], "person")
    return made.id


def tuned(project: Project, *sets: str, **more: object) -> Run:
    return project.runs.create(SftSpec(model="model-1", examples=sets, **more))


def changes(project: Project, run: Run) -> tuple[SetChange, ...]:
    return taken_sets.changed(project.dir, [run]).get(run.id, ())


def test_a_run_says_which_sets_went_in_and_how_much_of_each(project: Project) -> None:
    one, other = add(project, "Boats", "a", "b", "c"), add(project, "Ports", "d", run="4-instruct")
    project.library.examples.set_status("b", "rejected")
    run = tuned(project, other, one)
    assert [(s.stream, s.id, s.title, s.count, s.run) for s in taken_sets.taken(run)] == [
        ("examples", other, "Ports", 1, "4-instruct"), ("examples", one, "Boats", 2, "")]
    assert taken_sets.told(taken_sets.taken(run)) == [{"id": other, "title": "Ports", "examples": 1, "run": "4-instruct"},
                                                      {"id": one, "title": "Boats", "examples": 2}]
    lines = [json.loads(line)["id"] for line in layout.input_rows(run.dir, "examples").read_text().splitlines()]
    assert {id: lines[at:at + count] for id, (at, count) in taken_sets.split(run.dir, taken_sets.taken(run), "examples").items()} == {
        other: ["d"], one: ["a", "c"]}
    asked = project.runs.create(EvaluateSpec(models=("model-1",), examples=(one,)))
    seeded = project.runs.create(InstructSpec(responder="ollama:x", recipe="seeds", seeds=(one,), held_out=(other, "/some/file.jsonl")))
    assert [(s.stream, s.id) for s in taken_sets.taken(asked)] == [("questions", one)]
    assert [(s.stream, s.id, s.count) for s in taken_sets.taken(seeded)] == [("seeds", one, 2), ("held_out", other, 1)]


def test_what_came_in_was_edited_or_went_is_counted_each(project: Project) -> None:
    boats = add(project, "Boats", *"abcdef")
    run = tuned(project, boats)
    examples = project.library.examples
    assert changes(project, run) == ()
    examples.add(boats, [talk("g"), talk("h")])
    examples.edit("a", talk("a", "Another answer.").messages, "person")
    examples.set_status(["b", "c"], "rejected")
    examples.delete("d")
    examples.set_comment("e", "look again")
    examples.set_status("f", "accepted")
    assert changes(project, run) == (SetChange(boats, "Boats", added=2, removed=3, edited=1),)
    words = taken_sets.change_words(changes(project, run)[0])
    assert words == ("The set “Boats” (set-1) has changed since: 2 examples came in, 1 was edited, 3 were rejected or deleted.")
    assert changes(project, tuned(project, boats)) == ()


def test_undone_is_unchanged_and_redone_is_changed_again(project: Project) -> None:
    boats = add(project, "Boats", *"abc")
    project.library.examples.set_status("a", "rejected")
    run = tuned(project, boats)
    project.library.examples.undo()
    assert changes(project, run) == (SetChange(boats, "Boats", added=1),)
    project.library.examples.redo()
    assert changes(project, run) == ()
    project.library.examples.edit("b", talk("b", "So it is.").messages)
    project.library.examples.edit("b", talk("b").messages)
    assert changes(project, run) == ()


def test_only_what_was_accepted_counts_where_only_that_was_taken(project: Project) -> None:
    boats = add(project, "Boats", *"abc")
    project.library.examples.set_status(["a", "b"], "accepted")
    run = tuned(project, boats, only_accepted=True)
    project.library.examples.add(boats, [talk("new one")])
    assert changes(project, run) == ()
    project.library.examples.set_status("c", "accepted")
    project.library.examples.set_status("a", "new")
    assert changes(project, run) == (SetChange(boats, "Boats", added=1, removed=1),)


def test_other_sets_and_what_was_held_out_do_not_count_and_a_deleted_set_is_named(project: Project) -> None:
    boats, ports = add(project, "Boats", "a"), add(project, "Ports", "b")
    run = tuned(project, boats)
    seeded = project.runs.create(InstructSpec(responder="ollama:x", recipe="seeds", seeds=(boats,), held_out=(ports,)))
    project.library.examples.set_status("b", "rejected")
    assert changes(project, run) == changes(project, seeded) == ()
    project.library.examples.rename_set(boats, "Ships")
    project.library.examples.delete_set(boats)
    (gone,) = changes(project, run)
    assert gone.deleted and taken_sets.change_words(gone) == "The set “Boats” (set-1) was deleted."


def test_an_example_that_had_to_take_another_id_is_the_same_example(project: Project) -> None:
    add(project, "Boats", "a", "b")
    copy = add(project, "Copy", "a", "b")
    assert project.library.examples.get("a@set-2").example.messages == talk("a").messages
    run = tuned(project, copy)
    lines = layout.input_rows(run.dir, "examples")
    lines.write_text(lines.read_text().replace("@set-2", ""))  # as a replayed recipe has them
    project.library.examples.add(copy, [talk("c")])
    assert changes(project, run) == (SetChange(copy, "Copy", added=1),)


def test_nothing_is_read_while_the_library_stands_where_it_stood(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tuned(project, add(project, "Boats", *"abc"))
    project.library.new_chat("Hello", "chat")
    monkeypatch.setattr(taken_sets, "_of_run", lambda *_: pytest.fail("read"))
    assert changes(project, run) == ()


def test_a_library_or_a_copy_that_is_not_there_says_nothing(project: Project) -> None:
    boats = add(project, "Boats", *"abc")
    run = tuned(project, boats)
    project.library.examples.add(boats, [talk("d")])
    assert changes(project, run)
    layout.input_rows(run.dir, "examples").unlink()
    assert changes(project, run) == ()
    other = tuned(project, boats)
    project.library.close()
    for path in project.dir.glob("library.sqlite*"):
        path.unlink()
    assert changes(project, other) == ()
    (project.dir / "library.sqlite").write_bytes(b"no database at all" * 100)
    assert changes(project, other) == ()
    shutil.rmtree(other.dir)
    assert taken_sets.changed(project.dir, project.runs.list()) == {}


def test_what_came_of_changed_sets_is_stale_and_so_is_what_came_of_that(project: Project) -> None:
    boats = add(project, "Boats", *"abc")
    run = tuned(project, boats)
    with project.artifacts.create("model", title="Ferryman", parents=(), run=run.id, spec=run.spec) as writer:
        writer.finish(sets=taken_sets.told(taken_sets.taken(run)))
    with project.artifacts.create("evaluation", title="Exam", parents=("model-1",), run="9-evaluate") as writer:
        writer.finish()
    assert not any(node.stale for node in lineage.read(project).nodes.values())
    project.library.examples.set_status("a", "rejected")
    graph = lineage.read(project)
    (own,), (through,) = graph.nodes["model-1"].stale, graph.nodes["evaluation-1"].stale
    assert own.changed == SetChange(boats, "Boats", removed=1) and not own.through and through.through == "model-1"
    assert lineage.reason_words(own, graph) == "The set “Boats” (set-1) has changed since: 1 was rejected or deleted."
    assert lineage.reason_words(through, graph).endswith("It comes in through Ferryman (model-1).")
    assert [s.title for s in graph.nodes["model-1"].sets] == ["Boats"]


def test_what_generated_a_set_is_a_parent_of_what_learns_from_it(project: Project) -> None:
    with project.artifacts.create("examples", title="Made", run="4-instruct") as writer:
        writer.finish()
    run = tuned(project, add(project, "Ports", "a", run="4-instruct"), add(project, "More ports", "b", run="4-instruct"),
                add(project, "Boats", "c"), add(project, "Of a run that is gone", "d", run="3-instruct"))
    assert snapshots.made_from(project, run.dir) == ("examples-1",)
    assert [one["title"] for one in snapshots.sets(run.dir)] == ["Ports", "More ports", "Boats", "Of a run that is gone"]


def labelled(project: Project, title: str, count: int, waiting: int = 0) -> str:
    made = project.library.pairs.create_set(title, run="7-preference")
    rows = [Pair(id=pair_id(prompt, "Yes.", "No."), prompt=prompt, first=Answer(text="Yes."), second=Answer(text="No."))
            for n in range(count + waiting) for prompt in [(Message(role="user", content=f"Is {n} so?"),)]]
    project.library.pairs.add(made.id, rows)
    for row in rows[:count]:
        project.library.pairs.label(row.id, Label("first", author="Ada"))
    return made.id


def test_labels_that_came_later_are_told_to_those_who_learned_from_labels(project: Project) -> None:
    """A reward model and DPO learned from them; PPO asked the prompts only, and follows through its reward model."""
    one = labelled(project, "Ferries", 4, waiting=3)
    with project.artifacts.create("pairs", title="Ferries", run="7-preference") as writer:
        writer.finish()
    reward, direct = (project.runs.create(kind(model="model-1", pairs=(one,))) for kind in (RewardSpec, DpoSpec))
    asked = project.runs.create(PpoSpec(model="model-1", reward="reward_model-1", pairs=(one,)))
    for run in (reward, direct, asked):
        assert snapshots.made_from(project, run.dir) == ("pairs-1",)
    assert snapshots.sets(reward.dir) == [{"id": one, "title": "Ferries", "pairs": 4, "run": "7-preference"}]
    assert snapshots.sets(asked.dir) == [{"id": one, "title": "Ferries", "pairs": 7, "run": "7-preference"}]
    with project.artifacts.create("reward_model", title="Taste", run=reward.id, spec=reward.spec) as writer:
        writer.finish()
    with project.artifacts.create("model", title="Tuned", run=asked.id, spec=asked.spec, parents=("reward_model-1",)) as writer:
        writer.finish()
    rows = project.library.pairs.rows(one)
    project.library.pairs.label(rows[0].id, Label("second", author="Ada"))
    project.library.pairs.label(rows[5].id, Label("first", author="Ada"))
    changed = SetChange(one, "Ferries", added=1, edited=1, pairs=True)
    assert changes(project, reward) == changes(project, direct) == (changed,) and changes(project, asked) == ()
    graph = lineage.read(project)
    said = [lineage.reason_words(reason, graph) for reason in graph.nodes["model-1"].stale]
    assert len(said) == 1 and "1 pair was labelled, 1 was labelled otherwise" in said[0] and "through Taste (reward_model-1)" in said[0]
    assert [gone.id for gone in lineage.plan_deletion(project, "reward_model-1").goes] == ["model-1", "reward_model-1"]
    project.library.pairs.undo("Ada")
    project.library.pairs.undo("Ada")
    assert changes(project, reward) == () and not lineage.read(project).nodes["model-1"].stale


def test_a_reward_model_that_judges_or_is_a_checkpoint_is_a_parent(project: Project) -> None:
    with project.artifacts.create("reward_model", title="Taste") as writer:
        writer.finish()
    run = project.runs.create(EvaluateSpec(models=("model-1",), suites=("win_rate",), judge="reward:reward_model-1"))
    assert "reward_model-1" in lineage._inputs(run, {"reward_model-1", "model-1"})
    one = labelled(project, "Ferries", 1)
    asked = project.runs.create(PpoSpec(model="model-1", reward="3-reward@18", pairs=(one,)))
    assert "3-reward@18" in lineage._inputs(asked, {"model-1"})
