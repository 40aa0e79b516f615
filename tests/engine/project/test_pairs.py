"""Pairs in the library: each once however often it comes, in whatever order its answers stand; what is learned from them; into runs."""

import sqlite3
import time
from pathlib import Path

import pytest

from engine.contract.errors import Corrupt, InputError, NotFound, SettingError
from engine.contract.rows import Answer, Example, Message, Pair, pair_id
from engine.project import layout, lineage, migrations, snapshots, taken_sets
from engine.project.ingest import ingest_run, ingest_runs
from engine.project.labels import Label
from engine.project.library import Library
from engine.project.pairs import Pairs, preferred
from engine.project.project import Project
from engine.project.taken_sets import SetChange
from engine.project.votes import Vote
from engine.stages.dpo.spec import DpoSpec
from engine.stages.ppo.spec import PpoSpec
from engine.stages.preference.spec import PreferenceSpec
from engine.stages.reward.spec import RewardSpec


def pair(name: str, first: str = "", second: str = "", **rest: object) -> Pair:
    prompt = (Message(role="system", content="Be kind."), Message(role="user", content=f"What is {name}?"))
    first, second = first or f"{name} is one thing.", second or f"{name} is another thing."
    return Pair(id=pair_id(prompt, first, second), prompt=prompt, first=Answer(text=first, model="m1", facts={"seed": 1}),
                second=Answer(text=second, model="m2"), **rest)  # type: ignore[arg-type]


def turned(one: Pair) -> Pair:
    """The same pair as another file has it: its answers the other way round."""
    facts = {**one.facts, "best": {"first": "second", "second": "first"}.get(one.facts["best"], one.facts["best"])} if "best" in one.facts \
        else one.facts
    return one.model_copy(update={"first": one.second, "second": one.first, "facts": facts})


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "p")


@pytest.fixture
def pairs(project: Project) -> Pairs:
    return project.library.pairs


def say(pairs: Pairs, one: Pair, choice: str, author: str = "Ada", **rest: object) -> Label:
    return pairs.label(one.id, Label(choice, author=author, **rest))  # type: ignore[arg-type]


def counts(pairs: Pairs, set_id: str) -> tuple[int, ...]:
    one = pairs.get_set(set_id)
    return one.count, one.labelled, one.todo, one.skipped, one.flagged, one.given


def test_a_pair_comes_back_as_it_was_added(pairs: Pairs) -> None:
    made = pairs.create_set("Ours", origin="import:a.jsonl")
    one = pair("x", "b\x00 \"q\" 😀", "a", origin="import:a.jsonl",
               facts={"best": "second", "strength": 2, "deep": {"a": [None, "\ud800"]}})
    assert pairs.add(made.id, [one], "Ada") == 1
    assert pairs.get(one.id) == one.model_copy(update={"facts": {**one.facts, "by": "Ada"}})
    assert pairs.rows(made.id) == [pairs.get(one.id)] == list(pairs.stream([made.id]))
    (only,) = pairs.sets()
    assert (only.id, only.title, only.origin, only.count, only.given) == (made.id, "Ours", "import:a.jsonl", 1, 1)
    pairs.rename_set(made.id, "Theirs")
    assert pairs.get_set(made.id).title == "Theirs"


def test_no_set_can_be_taken_for_an_artifact(project: Project, pairs: Pairs) -> None:
    """What the stage makes is called "pairs-1"; a run made with a set must not become its child."""
    set_id = pairs.create_set("a").id
    one = pair("x", facts={"best": "first"})
    pairs.add(set_id, [one])
    with project.artifacts.create("pairs", title="Made", run="1-preference") as writer:
        writer.finish()
    run = project.runs.create(DpoSpec(model="m", pairs=(set_id,)))
    assert set_id not in {a.id for a in project.artifacts.list()} and "pairs-1" not in lineage.read(project).users.get(run.id, ())
    for wrong in ("pairs-1", "set-1", "pair-set-2", "pair-set-x", ""):
        with pytest.raises(NotFound):
            pairs.get_set(wrong)


def test_the_same_pair_twice_is_one_pair_even_the_other_way_round(pairs: Pairs) -> None:
    a, b = pairs.create_set("a").id, pairs.create_set("b").id
    one, other = pair("1"), pair("2")
    assert pairs.add(a, [one, turned(one), one]) == 1 and pairs.add(a, iter([one, other])) == 1
    say(pairs, one, "first")
    assert pairs.add(b, [turned(one)]) == 1 and counts(pairs, b) == (1, 1, 0, 0, 0, 0)  # shared, label and all
    assert [p.chosen for p in pairs.for_training([b, a])] == [one.first.text]
    assert len(list(pairs.stream([b, a]))) == 2 and [p.id for p in pairs.unlabelled([a, b])] == [other.id]
    pairs.delete_set(a)
    assert pairs.get(one.id) == one and counts(pairs, b) == (1, 1, 0, 0, 0, 0)
    with pytest.raises(NotFound):
        pairs.get(other.id)


def test_what_a_file_says_of_a_pair_that_is_there_is_kept(pairs: Pairs) -> None:
    a, b = pairs.create_set("a").id, pairs.create_set("b").id
    one = pair("1")
    pairs.add(a, [one])
    assert counts(pairs, a) == (1, 0, 1, 0, 0, 0)
    said = one.model_copy(update={"facts": {"best": "second", "strength": 3, "by": "file"}})
    assert pairs.add(b, [turned(said)]) == 1
    assert counts(pairs, a) == counts(pairs, b) == (1, 1, 0, 0, 0, 1)
    (learned,) = pairs.for_training([a])
    assert (learned.chosen, learned.strength, learned.by) == (one.second.text, 3, "file")
    pairs.add(a, [one.model_copy(update={"facts": {"best": "tie"}})])  # the first word stands
    assert [p.chosen for p in pairs.for_training([a])] == [one.second.text]


def test_a_deleted_set_takes_its_labels_and_their_history_and_leaves_those_of_others(pairs: Pairs) -> None:
    a, b = pairs.create_set("a").id, pairs.create_set("b").id
    one, two, three = pair("1"), pair("2"), pair("3")
    pairs.add(a, [one, two])
    pairs.add(b, [two, three])
    for each in (one, two, three):
        say(pairs, each, "first")
    pairs.set_scores("7-reward", [(one.id, 1, 2, 0.5)])
    pairs.delete_set(a)
    assert [s.id for s in pairs.sets()] == [b] and counts(pairs, b) == (2, 2, 0, 0, 0, 0)
    assert [one.pair for one in pairs.labels()] == [two.id, three.id] and pairs.authors() == {"Ada": 2}
    assert pairs.undo("Ada").pair == three.id and pairs.undo("Ada").pair == two.id  # type: ignore[union-attr]
    assert pairs.undo("Ada") is None and counts(pairs, b) == (2, 0, 2, 0, 0, 0)
    assert pairs.create_set("c").id not in (a, b)
    for query in ("select count(*) from pair_texts where number not in (select number from pairs)", "select count(*) from pair_scores",
                  "select count(*) from pair_counts where set_number not in (select number from pair_sets)"):
        assert pairs._rows(query, []) == [(0,)]


# ---- what is learned


def test_what_is_learned_is_what_most_say(pairs: Pairs) -> None:
    one = pair("1", facts={"best": "second", "by": "judge", "strength": 1})

    def learned(*said: tuple) -> tuple:
        labels = [Label(choice, strength, edited, author=author) for author, choice, strength, edited in said]
        made = preferred(one, labels)
        assert made is not None
        return made.chosen, made.strength, made.tie, made.bad, made.by
    first, second = one.first.text, one.second.text
    assert learned() == (second, 1, False, False, "judge")
    assert learned(("Ada", "first", 3, "")) == (first, 3, False, False, "Ada")
    assert learned(("Ada", "first", 3, ""), ("Ben", "second", 1, ""), ("Cy", "first", 2, "")) == (first, 3, False, False, "Ada, Cy")
    assert learned(("Ada", "first", 3, "x"), ("Ben", "second", 1, "")) == (first, 0, True, False, "Ada, Ben")
    assert learned(("Ada", "tie", 0, ""), ("Ben", "tie", 0, ""), ("Cy", "first", 2, "")) == (first, 0, True, False, "Ada, Ben")
    assert learned(("Ada", "bad", 0, "")) == (first, 0, True, True, "Ada")
    assert learned(("Ada", "second", 0, "better yet")) == ("better yet", 0, False, False, "Ada")
    assert learned(("Ada", "second", 1, "older"), ("Ben", "second", 0, "newer")) == ("newer", 1, False, False, "Ada, Ben")
    assert preferred(pair("2"), []) is None


def test_whose_labels_and_how_strong_can_be_asked(pairs: Pairs) -> None:
    a = pairs.create_set("a").id
    one, two, three, four, five = (pair(n) for n in "12345")
    given = pair("6", facts={"best": "second", "by": "judge", "strength": 2})
    pairs.add(a, [one, two, three, four, five, given])
    say(pairs, one, "first", strength=3)
    say(pairs, one, "second", "Ben", strength=3)
    say(pairs, two, "second", strength=1, edited="my own")
    say(pairs, three, "skip")
    say(pairs, four, "tie", "Ben")
    say(pairs, given, "first", "Ben", strength=2)

    def learned(annotators: tuple[str, ...] = (), least: int = 0) -> list[str]:
        found = [p.chosen for p in pairs.for_training([a], annotators, least)]
        assert pairs.count_for_training([a], annotators, least) == len(found)
        return found
    assert learned() == [one.first.text, "my own", four.first.text, given.first.text]  # a tie, and three words
    assert learned(("Ada",)) == [one.first.text, "my own"] and learned(("judge",)) == [given.second.text]
    assert learned((), 2) == [given.first.text] and learned(("Ben",), 3) == [one.second.text] and learned(("Nobody",)) == []
    assert [p.id for p in pairs.unlabelled([a])] == [three.id, five.id]
    with pytest.raises(NotFound):
        pairs.for_training(["pair-set-9"])


def test_more_than_a_page_is_streamed_in_the_order_of_adding(pairs: Pairs) -> None:
    a, b = pairs.create_set("a").id, pairs.create_set("b").id
    rows = [pair(str(n), facts={"best": "first"} if n % 3 else {}) for n in range(2_500)]
    pairs.add(b, rows[1_000:1_500])
    pairs.add(a, rows)
    assert [p.id for p in pairs.stream([a])] == [p.id for p in rows]
    assert [p.id for p in pairs.for_training([a])] == [p.id for p in rows if p.facts]
    assert [p.id for p in pairs.unlabelled([b, a])] == [p.id for p in [*rows[1_000:1_500], *rows[:1_000], *rows[1_500:]] if not p.facts]
    assert [p.id for p in pairs.rows(a, 2_490)] == [p.id for p in rows[2_490:]]


# ---- votes and examples


def test_votes_become_labelled_pairs_once_and_follow_their_votes(project: Project, pairs: Pairs) -> None:
    votes = project.library.votes
    first = votes.add(Vote("q", "left text", "a right text", "m1", "m2", "left", "Ada", "chat", {"seconds": 3}))
    votes.add(Vote("q", "a right text", "left text", "m2", "m1", "left", "Ben", "evaluation-1"))
    talk = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes?"}, {"role": "user", "content": "q"}]
    votes.add(Vote("q", "l", "r", "m1", "m2", "bad", "", "chat", {"messages": talk}))
    assert pairs.from_votes("chat") == 2 and pairs.from_votes() == 1 and pairs.from_votes() == 0
    (made,) = pairs.sets()
    assert (made.origin, made.count, made.labelled) == ("vote", 2, 2)
    by = {one.author: one for one in pairs.labels()}
    assert (by["Ada"].choice, by["Ada"].left, by["Ada"].seconds) == ("first", "first", 3.0)
    assert (by["Ben"].choice, by["Ben"].left) == ("second", "second")  # the answer that stood left for Ben is the pair's second
    assert [p.tie for p in pairs.for_training([made.id])] == [True, True]
    assert [len(p.prompt) for p in pairs.stream([made.id])] == [1, 3]
    votes.add(Vote(**{**vars(first), "choice": "right"}))
    assert pairs.from_votes() == 1 and pairs.from_votes() == 0
    assert [p.chosen for p in pairs.for_training([made.id], ["Ada"])] == ["a right text"]
    votes.add(first)
    assert pairs.from_votes() == 1 and [p.chosen for p in pairs.for_training([made.id], ["Ada"])] == ["left text"]
    changed = pairs.label(by["Ada"].pair, Label("tie", author="Ada"))  # a word of later stands
    assert pairs.from_votes() == 0 and pairs.get_label(changed.id).choice == "tie"
    votes.remove(votes.list("evaluation-1")[0].id)
    assert pairs.from_votes() == 1 and set(pairs.authors()) == {"Ada", "annotator"} and pairs.from_votes() == 0
    assert pairs.undo("Ada") is not None and pairs.undo("Ada") is None  # a vote is no step


def test_losing_answers_of_examples_become_pairs_with_the_judges_word(project: Project, pairs: Pairs) -> None:
    examples = project.library.examples
    set_id = examples.create_set("made").id

    def talk(id: str, **facts: object) -> Example:
        return Example(id=id, messages=(Message(role="user", content=id), Message(role="assistant", content="kept")), origin="m1",
                       score=8.0, facts=facts)
    examples.add(set_id, [talk("a", rejected={"text": "lost", "model": "m2", "score": 3.0}, scores=[9.0, 3.0]), talk("b"),
                          talk("c", rejected={"text": "kept", "model": "m2", "score": 8.0}),
                          talk("d", rejected={"text": "lost", "model": "", "score": None}), talk("e", rejected={"text": "lost"})])
    examples.set_status(["e"], "rejected")
    assert pairs.from_examples([set_id]) == 2 and pairs.from_examples([set_id]) == 0
    (made,) = pairs.sets()
    learned = list(pairs.for_training([made.id]))
    assert [(p.prompt[0].content, p.chosen, p.rejected, p.strength, p.by) for p in learned] == [
        ("a", "kept", "lost", 3, "judge"), ("d", "kept", "lost", 0, "judge")]
    assert made.given == 2 and pairs.next([made.id], "Ada") is None
    assert pairs.next([made.id], "Ada", given=True).pair.prompt[0].content == "a"  # type: ignore[union-attr]


# ---- runs


def test_pairs_of_a_run_come_in_once_and_not_after_their_set_was_deleted(project: Project, pairs: Pairs) -> None:
    run = project.runs.create(PreferenceSpec(title="Made here", first="project:m", prompts=("x",)))
    path = layout.rows_file(run.dir)
    lines = [pair(str(n)).model_dump_json().encode() + b"\n" for n in range(4)]
    path.write_bytes(lines[0] + lines[1][:20])
    assert ingest_runs(project) == {run.id: 1}
    path.write_bytes(b"".join(lines[:3]) + b"no pair\n" + lines[0] + lines[3][:-1])
    assert ingest_run(project, run.id) == 2 and ingest_run(project, run.id) == 0
    path.write_bytes(b"".join(lines[:3]) + b"no pair\n" + lines[0] + lines[3])
    assert ingest_run(project, run.id) == 1
    (made,) = pairs.sets()
    assert (made.title, made.run, made.origin, made.count) == ("Made here", run.id, f"run:{run.id}", 4)
    assert project.library.examples.sets() == []
    pairs.delete_set(made.id)
    with open(path, "ab") as file:
        file.write(lines[0])
    assert ingest_runs(project) == {} and pairs.sets() == []


def test_scores_of_a_reward_model_come_in_and_the_newest_count(project: Project, pairs: Pairs) -> None:
    set_id = pairs.create_set("a").id
    rows = [pair(str(n)) for n in range(5)]
    pairs.add(set_id, rows)
    say(pairs, rows[4], "first")
    runs = [project.runs.create(RewardSpec(model="m", pairs=(set_id,))) for _ in range(2)]

    def write(run: object, unsure: dict[int, float]) -> None:
        layout.scores_file(run.dir).write_text("".join(  # type: ignore[attr-defined]
            f'{{"id": "{rows[n].id}", "first": 0.5, "second": 0.25, "uncertainty": {value}}}\n' for n, value in unsure.items())
            + '{"id": "unknown", "first": 1, "second": 1, "uncertainty": 9}\nnonsense\n')

    def order() -> list[int]:
        page = pairs.queue([set_id], "todo", "Ada", "unsure")
        found: list[str] = []
        while card := pairs.next([set_id], "Ada", order="unsure", after=found[-1] if found else "", passing=found):
            found.append(card.pair.id)
        assert [row.pair.id for row in page] == found
        return [next(n for n, row in enumerate(rows) if row.id == id) for id in found]
    assert order() == [0, 1, 2, 3]
    write(runs[1], {3: 0.9, 1: 0.2, 4: 1.0, 2: 0.9})
    ingest_runs(project)
    assert pairs.scored_by() == runs[1].id and order() == [2, 3, 1, 0]
    card = pairs.next([set_id], "Ada", order="unsure")
    assert card is not None and "0.50" in card.why and "0.25" in card.why and not pairs.next([set_id], "Ada").why  # type: ignore[union-attr]
    write(runs[0], {0: 1.0})
    ingest_runs(project)
    assert pairs.scored_by() == runs[1].id and order() == [2, 3, 1, 0]  # an earlier run is no news


def test_scores_half_written_do_not_count(pairs: Pairs) -> None:
    set_id = pairs.create_set("a").id
    rows = [pair(str(n)) for n in range(3)]
    pairs.add(set_id, rows)
    pairs.set_scores("1-reward", [(rows[1].id, 0, 0, 1.0)])

    def broken():
        yield rows[2].id, 0.0, 0.0, 1.0
        raise OSError("the disk is gone")
    with pytest.raises(OSError):
        pairs.set_scores("2-reward", broken())
    assert pairs.scored_by() == "1-reward"
    assert pairs.next([set_id], "Ada", order="unsure").pair.id == rows[1].id  # type: ignore[union-attr]


def test_a_run_keeps_the_labels_it_was_made_with(project: Project, pairs: Pairs) -> None:
    a, b = pairs.create_set("a").id, pairs.create_set("b").id
    one, two, three, four = (pair(n) for n in "1234")
    pairs.add(a, [one, two, three])
    pairs.add(b, [two, four])
    say(pairs, one, "second", strength=2, edited="mine")
    say(pairs, two, "tie", "Ben")
    reward = project.runs.create(RewardSpec(model="m", pairs=(b, a)))
    plain = project.runs.create(RewardSpec(model="m", pairs=(a,), score_unlabelled=False))
    strict = project.runs.create(DpoSpec(model="m", pairs=(a, b), annotators=("Ada",), least_strength=2))
    asked = project.runs.create(PpoSpec(model="m", reward="r", pairs=(a,)))
    while pairs.undo("Ada"):
        pass
    pairs.delete_set(b)
    assert [(p.id, p.chosen, p.tie) for p in snapshots.pairs(reward.dir)] == [(two.id, two.first.text, True), (one.id, "mine", False)]
    assert [p.id for p in snapshots.unlabelled(reward.dir)] == [four.id, three.id]
    assert list(snapshots.unlabelled(plain.dir)) == [] == list(snapshots.unlabelled(strict.dir))
    assert [p.chosen for p in snapshots.pairs(strict.dir)] == ["mine"]
    assert {p.id for p in snapshots.pairs(asked.dir)} | {p.id for p in snapshots.unlabelled(asked.dir)} == {one.id, two.id, three.id}
    assert snapshots.sets(reward.dir) == [{"id": b, "title": "b", "pairs": 1}, {"id": a, "title": "a", "pairs": 1}]
    layout.input_rows(strict.dir, "pairs").write_text("{}\n")
    with pytest.raises(Corrupt):
        list(snapshots.pairs(strict.dir))


def test_a_run_without_a_label_is_not_made(project: Project, pairs: Pairs) -> None:
    set_id = pairs.create_set("a").id
    one = pair("1")
    pairs.add(set_id, [one])
    for spec in (DpoSpec(model="m", pairs=(set_id,)), RewardSpec(model="m", pairs=(set_id,))):
        with pytest.raises(InputError) as wrong:
            project.runs.create(spec)
        assert wrong.value.field == "pairs"
    say(pairs, one, "first")
    with pytest.raises(InputError):
        project.runs.create(DpoSpec(model="m", pairs=(set_id,), annotators=("Ben",)))
    with pytest.raises(NotFound):
        project.runs.create(DpoSpec(model="m", pairs=("pair-set-9",)))
    assert project.runs.list() == []
    assert project.runs.create(PpoSpec(model="m", reward="r", pairs=(set_id,))).id


def test_labels_that_change_make_what_was_learned_from_them_stale(project: Project, pairs: Pairs) -> None:
    a, b = pairs.create_set("a").id, pairs.create_set("b").id
    one, two, three = (pair(n) for n in "123")
    pairs.add(a, [one, two, three])
    pairs.add(b, [one])
    say(pairs, one, "first")
    say(pairs, two, "first")
    run = project.runs.create(DpoSpec(model="m", pairs=(b, a)))

    def changes() -> tuple[SetChange, ...]:
        return taken_sets.changed(project.dir, [project.runs.get(run.id)]).get(run.id, ())
    assert changes() == ()
    say(pairs, two, "second", "Ben")
    assert changes() == (SetChange(a, "a", edited=1, pairs=True),)
    pairs.undo("Ben")
    pairs.flag(two.id, True, "Ada")
    say(pairs, three, "skip")
    assert changes() == ()
    say(pairs, three, "bad")
    pairs.label(two.id, Label("skip", author="Ada"))
    (change,) = changes()
    assert change == SetChange(a, "a", added=1, removed=1, pairs=True)
    assert taken_sets.change_words(change) == f"The set “a” ({a}) has changed since: 1 pair was labelled, 1 lost its label."
    with project.artifacts.create("model", title="Tuned", parents=(), run=run.id, spec=run.spec) as writer:
        writer.finish()
    assert [r.changed for r in lineage.read(project).nodes["model-1"].stale] == [change]
    pairs.delete_set(b)
    assert changes()[0].deleted


# ---- upgrade, size


def test_a_library_of_the_third_version_is_upgraded_after_a_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project.create(tmp_path / "p")
    monkeypatch.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:3])
    old = Library(project.dir)
    old.votes.add(Vote("q", "l", "r", "a", "b", "left", "Ada"))
    old.close()
    monkeypatch.undo()
    new = Library(project.dir)
    assert new.pairs.sets() == [] and new.pairs.from_votes() == 1
    (backup,) = layout.backups(project.dir).iterdir()
    with sqlite3.connect(backup) as before:
        assert before.execute("pragma user_version").fetchone() == (3,)
    new.close()


@pytest.mark.parametrize(("large", "table", "refused"), [(False, "pair_texts", True), (True, "pair_texts", False), (True, "labels", True)])
def test_a_large_library_opens_without_reading_all_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool, table: str,
                                                        refused: bool) -> None:
    project = Project.create(tmp_path / "p")
    library = project.library
    library.pairs.add(library.pairs.create_set("a").id, [pair(str(n)) for n in range(300)])
    for one in library.pairs.rows("pair-set-1", count=300):
        say(library.pairs, one, "first")
    ((root,),) = library.db.execute("select rootpage from sqlite_master where name = ?", [table]).fetchall()
    (size,) = library.db.execute("pragma page_size").fetchone()
    library.close()
    with open(layout.library_file(project.dir), "r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * 100)
    if large:
        monkeypatch.setattr(migrations, "LARGE", 0)
    if refused:
        with pytest.raises(Corrupt):
            Library(project.dir)
    else:
        Library(project.dir).close()


def test_guidelines_keep_their_versions(pairs: Pairs) -> None:
    assert pairs.guidelines().markdown == "" and pairs.set_guidelines("").number == 0
    assert pairs.set_guidelines("# Be fair", "Ada").number == 1 and pairs.set_guidelines("# Be fair", "Ben").author == "Ada"
    pairs.set_guidelines("# Be strict", "Ben")
    assert pairs.guidelines().markdown == "# Be strict" and [g.markdown for g in pairs.guideline_versions()] == ["# Be strict", "# Be fair"]


def test_a_hundred_thousand_pairs_are_added_and_the_next_card_comes_at_once(pairs: Pairs) -> None:
    set_id = pairs.create_set("large").id
    prompt, first = (Message(role="user", content="What is it? " * 5),), Answer(text="answer " * 20)
    rows = [Pair.model_construct(id=f"{n * 2654435761 % 2**32:032x}", prompt=prompt, first=first, origin="", facts={},
                                 second=Answer.model_construct(text=f"other {n} " * 10, model="", facts={})) for n in range(100_000)]
    began = time.process_time()
    assert pairs.add(set_id, rows, "Ada") == 100_000
    assert time.process_time() - began < 5  # 20,000 pairs a second
    # An annotator far into the set: its first 10,000 pairs are labelled, as another machine's file has them.
    lines = ({"kind": "label", "id": f"l{n}", "pair_id": row.id, "author": "Ada", "round": 1, "choice": "a", "strength": 0, "edited": "",
              "comment": "", "flagged": False, "left_side": "a", "seconds": 1.0, "position": 1, "made": float(n), "revision": 1,
              "changed": float(n), "deleted": False} for n, row in enumerate(rows[:10_000]))
    assert pairs.merge_labels(lines).new == 10_000
    pairs.set_scores("1-reward", [(row.id, 0.0, 0.0, n / 100_000) for n, row in enumerate(rows[:30_000])])
    first_time = 0
    for order in ("order", "random", "unsure"):
        card, took = pairs.next([set_id], "Ada", order=order), []
        for n in range(12):
            assert card is not None and (card.round == 2) == bool(pairs.labels_of(card.pair.id))
            first_time += card.round == 1
            say(pairs, card.pair, "first", left=card.left, round=card.round)
            began = time.process_time()
            card = pairs.next([set_id], "Ada", order=order, after=card.pair.id if n % 2 else "")
            took.append(time.process_time() - began)
        assert sorted(took)[6] < 0.05, (order, took)
    began = time.process_time()
    assert pairs.get_set(set_id).labelled == 10_000 + first_time and pairs.progress([set_id], "Ada").todo == 90_000 - first_time
    assert time.process_time() - began < 0.05
    for wrong in (lambda: pairs.next([set_id], "Ada", order="mood"), lambda: pairs.queue([set_id], "done", "Ada", "mood"),
                  lambda: pairs.queue([set_id], "lost", "Ada")):
        with pytest.raises(SettingError):
            wrong()
