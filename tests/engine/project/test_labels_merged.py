"""Labels of two people on two machines, joined in any order, edited, undone, killed at random: none is lost, none is doubled."""

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from engine.contract.rows import Answer, Message, Pair, pair_id
from engine.project.label_merge import Merged
from engine.project.labels import Label
from engine.project.pairs import Pairs
from engine.project.project import Project


def pair(name: str, turned: bool = False) -> Pair:
    prompt = (Message(role="user", content=name),)
    first, second = Answer(text=f"{name} is one thing."), Answer(text=f"{name} is another.")
    return Pair(id=pair_id(prompt, first.text, second.text), prompt=prompt, first=second if turned else first,
                second=first if turned else second)


NAMES = "abcdef"
TURNED = {"first": "second", "second": "first"}


def library(folder: Path, turned: bool = False, names: str = NAMES) -> tuple[Pairs, str]:
    pairs = Project.create(folder).library.pairs
    set_id = pairs.create_set("ours").id
    pairs.add(set_id, [pair(name, turned) for name in names])
    return pairs, set_id


def file(pairs: Pairs, **how: Any) -> list[dict[str, Any]]:
    """What a label file holds, through JSON as a file would be."""
    return [orjson.loads(orjson.dumps(row)) for row in pairs.export_labels(**how)]


def said(pairs: Pairs) -> dict[tuple[str, str, int], tuple[str, str, str, bool]]:
    """{(text of the prompt, author, round): (text of the answer that was chosen, or the choice, edited, comment, flagged)}; nothing
    doubled."""
    found: dict[tuple[str, str, int], tuple[str, str, str, bool]] = {}
    for one in pairs.labels(rounds=(0, 1, 2)):
        shown = pairs.get(one.pair)
        key = shown.prompt[0].content, one.author, one.round
        assert key not in found, key
        found[key] = ({"first": shown.first.text, "second": shown.second.text}.get(one.choice, one.choice), one.edited, one.comment,
                      one.flagged)
    return found


def check_counts(pairs: Pairs) -> None:
    """The kept counts are what counting would give."""
    for one in pairs.sets():
        inside = {row.id for row in pairs.stream([one.id])}
        labels = [label for label in pairs.labels([one.id], rounds=(0, 1, 2)) if label.pair in inside]
        done = {label.pair for label in labels if label.round == 1 and label.choice != "skip"}
        skipped = {label.pair for label in labels if label.round == 1 and label.choice == "skip"} - done
        flagged = {label.pair for label in labels if label.flagged}
        assert (one.count, one.labelled, one.skipped, one.flagged) == (len(inside), len(done), len(skipped), len(flagged))
        assert one.todo == len(inside) - len(done) - len(skipped)
        for author in {label.author for label in labels}:
            own = {label.pair: label.choice for label in labels if label.author == author and label.round == 1}
            now = pairs.progress([one.id], author)
            assert (now.done, now.skipped) == (sum(c != "skip" for c in own.values()), sum(c == "skip" for c in own.values()))
            assert now.flagged == len({label.pair for label in labels if label.author == author and label.flagged})
            assert {row.pair.id for row in pairs.queue([one.id], "todo", author, count=100_000)} == inside - set(own)


class TwoMachines(RuleBasedStateMachine):
    """Ada labels on the first machine, Ben on the second, Cleo on both. Against a model of what Ada and Ben said: each is the only one who
    changes his labels, so that a machine must show the newest of his states that came to it."""

    folder: Path

    @initialize()
    def begin(self) -> None:
        place = Path(tempfile.mkdtemp(dir=self.folder))
        self.machines = [library(place / "one", names=NAMES[:4])[0], library(place / "two", turned=True, names=NAMES[2:])[0]]
        self.own: list[dict[tuple[str, int], str]] = [{}, {}]              # what Ada and Ben said: {(name, round): choice on his machine}
        self.past: list[list[tuple[tuple[str, int], str | None, str | None]]] = [[], []]
        self.future: list[list[tuple[tuple[str, int], str | None, str | None]]] = [[], []]
        self.known: list[dict[int, tuple[int, dict]]] = [{}, {}]           # what each knows of the other: {who: (version, what he said)}
        self.version = [0, 0]
        self.files: list[tuple[int, dict[int, tuple[int, dict]], list[dict[str, Any]]]] = []

    AUTHORS = ("Ada", "Ben")

    @rule(machine=st.integers(0, 1), name=st.sampled_from(NAMES), round=st.sampled_from([1, 1, 1, 2]),
          choice=st.sampled_from(["first", "second", "tie", "bad", "skip"]), both=st.booleans())
    def label(self, machine: int, name: str, round: int, choice: str, both: bool) -> None:
        pairs = self.machines[machine]
        id = pair(name).id
        if not pairs._rows("select 1 from pairs where id = ?", [id]):
            return
        author = "Cleo" if both else self.AUTHORS[machine]
        pairs.label(id, Label(choice, author=author, round=round))  # type: ignore[arg-type]
        if not both:
            was = self.own[machine].get((name, round))
            shown = self.text(machine, name, choice)
            if was != shown:
                self.past[machine].append(((name, round), was, shown))
                self.future[machine].clear()
                self.put(machine, (name, round), shown)

    def text(self, machine: int, name: str, choice: str) -> str:
        """A choice as what was chosen: the machines have the pairs the other way round."""
        shown = self.machines[machine].get(pair(name).id)
        return {"first": shown.first.text, "second": shown.second.text}.get(choice, choice)

    def put(self, machine: int, key: tuple[str, int], choice: str | None) -> None:
        self.own[machine].pop(key, None)
        if choice is not None:
            self.own[machine][key] = choice
        self.version[machine] += 1

    @rule(machine=st.integers(0, 1), both=st.booleans())
    def undo(self, machine: int, both: bool) -> None:
        if both:
            self.machines[machine].undo("Cleo")
            return
        step = self.machines[machine].undo(self.AUTHORS[machine])
        assert (step is None) == (not self.past[machine])
        if self.past[machine]:
            key, was, shown = self.past[machine].pop()
            self.future[machine].append((key, was, shown))
            self.put(machine, key, was)

    @rule(machine=st.integers(0, 1), both=st.booleans())
    def redo(self, machine: int, both: bool) -> None:
        if both:
            self.machines[machine].redo("Cleo")
            return
        step = self.machines[machine].redo(self.AUTHORS[machine])
        assert (step is None) == (not self.future[machine])
        if self.future[machine]:
            key, was, shown = self.future[machine].pop()
            self.past[machine].append((key, was, shown))
            self.put(machine, key, shown)

    @rule(machine=st.integers(0, 1), name=st.sampled_from(NAMES), on=st.booleans())
    def flag(self, machine: int, name: str, on: bool) -> None:
        pairs, id = self.machines[machine], pair(name).id
        if pairs._rows("select 1 from pairs where id = ?", [id]):
            pairs.flag(id, on, "Cleo")

    @rule(machine=st.integers(0, 1))
    def write_file(self, machine: int) -> None:
        told = {machine: (self.version[machine], dict(self.own[machine])), **self.known[machine]}
        self.files.append((machine, told, file(self.machines[machine])))

    @rule(machine=st.integers(0, 1), data=st.data())
    def take_file(self, machine: int, data: st.DataObject) -> None:
        """Any file that was ever written, in any order of its lines, some of them twice: one's own, an old one, again and again."""
        if not self.files:
            return
        _, told, rows = data.draw(st.sampled_from(self.files))
        mixed = data.draw(st.permutations(rows)) + rows[:2]
        merged, labels = self.machines[machine].merge_labels(mixed), sum(row["kind"] == "label" for row in rows)
        assert merged.damaged == 0 and merged.new + merged.newer + merged.same + merged.older >= labels
        older = self.older(machine, rows)
        assert self.machines[machine].merge_labels(rows) == Merged(same=labels - older, older=older)
        for who, (version, state) in told.items():
            if who != machine and version > self.known[machine].get(who, (-1, {}))[0]:
                self.known[machine][who] = version, state

    def older(self, machine: int, rows: list[dict[str, Any]]) -> int:
        here = {r[0]: r[1:] for r in self.machines[machine]._rows("select id, revision, changed from labels", [])}
        return sum(r["kind"] == "label" and (r["revision"], r["changed"]) < here[r["id"]] for r in rows)

    @invariant()
    def each_machine_shows_what_came_to_it(self) -> None:
        for machine, pairs in enumerate(self.machines):
            found = said(pairs)
            check_counts(pairs)
            for who, author in enumerate(self.AUTHORS):
                expected = self.own[machine] if who == machine else self.known[machine].get(who, (0, {}))[1]
                there = {(name, round): text for (name, by, round), (text, *_) in found.items() if by == author}
                assert there == expected, (machine, author)

    def teardown(self) -> None:
        """Both exchange their files: they come to the same, and again nothing changes."""
        if not hasattr(self, "machines"):
            return
        one, two = self.machines
        mine, theirs = file(one), file(two)
        one.merge_labels(theirs)
        two.merge_labels(mine)
        assert said(one) == said(two)
        lines = [sorted(json.dumps(row, sort_keys=True) for row in file(each) if row["kind"] == "label") for each in (one, two)]
        assert lines[0] == lines[1]
        again = one.merge_labels(file(two))
        assert (again.new, again.newer, again.older, again.pairs) == (0, 0, 0, 0) and said(one) == said(two)
        learned = [sorted((p.id, p.chosen, p.tie) for p in each.for_training([s.id for s in each.sets()])) for each in (one, two)]
        assert [[(id, chosen) for id, chosen, tie in side if not tie] for side in learned] == [
            [(id, chosen) for id, chosen, tie in learned[0] if not tie]] * 2
        for who, author in enumerate(self.AUTHORS):
            assert {(n, r): text for (n, by, r), (text, *_) in said(one).items() if by == author} == self.own[who]


def run_two_machines(folder: Path, examples: int, steps: int) -> None:
    machine = type("Machines", (TwoMachines,), {"folder": folder})
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None))


def test_two_peoples_labels_joined_in_any_order_are_neither_lost_nor_doubled(tmp_path: Path) -> None:
    run_two_machines(tmp_path, 12, 25)


@pytest.mark.slow
def test_two_peoples_labels_joined_many_times_over(tmp_path: Path) -> None:
    run_two_machines(tmp_path, 200, 50)


# ---- case by case


def test_two_labels_of_one_person_from_two_machines_count_once_and_both_are_kept(tmp_path: Path) -> None:
    (one, _), (two, _) = library(tmp_path / "1"), library(tmp_path / "2", turned=True)
    id = pair("a").id
    one.label(id, Label("first", author="Cleo", made=1_000.0))
    two.label(id, Label("first", author="Cleo", made=2_000.0))  # the other answer: the pair stands the other way round there
    assert one.merge_labels(file(two)) == Merged(new=1, pairs=0) and two.merge_labels(file(one)) == Merged(new=1, same=1)
    later = ("a is another.", "", "", False)
    assert said(one) == said(two) == {("a", "Cleo", 1): later} and one.authors() == {"Cleo": 1}
    assert two.undo("Cleo") is not None and said(two) == {("a", "Cleo", 1): ("a is one thing.", "", "", False)}
    assert one.merge_labels(file(two)) == Merged(newer=1, same=1) and said(one) == said(two)
    assert [step.what for step in one.history(id)] == ["label", "merge"]


def test_what_was_undone_does_not_come_back_and_what_was_changed_elsewhere_is_not_undone(tmp_path: Path) -> None:
    (one, _), (two, _) = library(tmp_path / "1"), library(tmp_path / "2")
    for name in "ab":
        one.label(pair(name).id, Label("first", author="Cleo"))
    old = file(one)
    two.merge_labels(old)
    one.undo("Cleo")
    two.label(pair("a").id, Label("tie", author="Cleo"))
    two.merge_labels(file(one))
    one.merge_labels(file(two))
    assert one.merge_labels(old) == Merged(older=2) and two.merge_labels(old) == Merged(older=2)
    assert said(one) == said(two) == {("a", "Cleo", 1): ("tie", "", "", False)}
    assert one.undo("Cleo") is None  # the label of "a" is no more what it was: what the other machine made of it stands
    assert said(one) == {("a", "Cleo", 1): ("tie", "", "", False)}


def test_pairs_travel_with_their_labels_and_labels_wait_for_their_pairs(tmp_path: Path) -> None:
    (one, _), (two, set_id) = library(tmp_path / "1"), library(tmp_path / "2", names="a")
    for name in "abc":
        one.label(pair(name).id, Label("first", author="Ada", comment=name))
    one.undo("Ada")
    rows = file(one)
    assert [row["prompt"][0]["content"] for row in rows if row["kind"] == "pair"] == ["a", "b"]
    bare = [row for row in rows if row["kind"] == "label"]
    assert two.merge_labels(bare) == Merged(new=3, unknown=2) and set(said(two)) == {("a", "Ada", 1)}
    assert two.add(set_id, [pair("c"), pair("b")]) == 2 and set(said(two)) == {("a", "Ada", 1), ("b", "Ada", 1)}
    check_counts(two)
    (three, _) = library(tmp_path / "3", names="")
    assert three.merge_labels(rows) == Merged(new=3, pairs=2, unknown=1)
    assert [(s.origin, s.count, s.labelled) for s in three.sets() if s.count] == [("labels", 2, 2)]
    assert three.merge_labels(file(two)).pairs == 0 and said(three) == said(two)
    assert {row["pair_id"] for row in file(one, set_ids=["pair-set-1"], author="Ben")} == set()


def test_a_damaged_file_takes_nothing_wrong_along(tmp_path: Path) -> None:
    (one, _), (two, _) = library(tmp_path / "1"), library(tmp_path / "2", names="")
    one.label(pair("a").id, Label("first", author="Ada"))
    whole, label = file(one)
    wrong = [{**whole, "id": "0" * 32}, {**whole, "first": {"text": "other"}}, {"kind": "pair"}, {**whole, "prompt": "a"}, {}, [], None,
             "x",
             {**label, "choice": "first"}, {**label, "author": ""}, {**label, "revision": 0}, {**label, "revision": 2**60},
             {**label, "changed": float("nan")}, {**label, "made": float("inf")}, {**label, "round": 3}, {**label, "round": 0},
             {**label, "id": ""}, {**label, "strength": "2"}, {**label, "edited": "\ud800"}, {**label, "comment": None},
             {**label, "flagged": 2}, {k: v for k, v in label.items() if k != "left_side"},
             {**label, "position": -1}]
    assert two.merge_labels(wrong) == Merged(damaged=len(wrong))  # type: ignore[arg-type]
    assert two.labels() == [] and file(two) == [] and two.merge_labels([whole, label]) == Merged(new=1, pairs=1)


# ---- killed


LABELLER = """
import sys
from engine.project.labels import Label
from engine.project.project import Project
pairs, author, seed = Project.open(sys.argv[1]).library.pairs, sys.argv[2], int(sys.argv[3])
import random
rng = random.Random(seed)
print("ready", flush=True)
given = 0
while (card := pairs.next(["pair-set-1"], author)) is not None:
    if given and rng.random() < 0.2:
        step = pairs.undo(author)
        print("undo", step.pair, step.after.round, flush=True)
        pairs.redo(author)
        print("redo", step.pair, step.after.round, flush=True)
    choice = rng.choice(["first", "second", "tie", "bad"])
    pairs.label(card.pair.id, Label(choice, author=author, round=card.round, left=card.left))
    print("label", card.pair.id, card.round, choice, flush=True)
    given += 1
"""
MERGER = """
import sys, orjson
from engine.project import label_merge
from engine.project.project import Project
label_merge.LINES = 10
pairs = Project.open(sys.argv[1]).library.pairs
rows = [orjson.loads(line) for line in open(sys.argv[2], "rb")]
print("ready", flush=True)
while True:
    pairs.merge_labels(rows)
    print("merged", flush=True)
"""


def kill_labellers(folder: Path, kills: int, names: list[str], seed: int) -> None:
    """Two machines; on each a labeller that is killed with -9 after a random time, while files of the other are joined and the join is
    killed, too. What a labeller said was kept is there, once, and nothing else."""
    rng = random.Random(seed)
    rows = [pair(name) for name in names]
    machines = []
    for n, author in enumerate(("Ada", "Ben")):
        project = Project.create(folder / author)
        project.library.pairs.create_set("ours")
        project.library.pairs.add("pair-set-1", rows if n == 0 else [pair(name, True) for name in names])
        machines.append((project, author, dict[tuple[str, int], str]()))
    for kill in range(kills):
        for n, (project, author, told) in enumerate(machines):
            other = machines[1 - n][0]
            path = folder / f"{author}.labels.jsonl"
            path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in other.library.pairs.export_labels()))
            with subprocess.Popen([sys.executable, "-c", LABELLER, str(project.dir), author, str(kill)], stdout=subprocess.PIPE,
                                  text=True) as labeller, \
                    subprocess.Popen([sys.executable, "-c", MERGER, str(project.dir), str(path)], stdout=subprocess.PIPE,
                                     text=True) as merger:
                assert labeller.stdout and merger.stdout and labeller.stdout.readline() and merger.stdout.readline()
                time.sleep(rng.uniform(0.0, 0.25))
                for process in rng.sample([labeller, merger], 2):
                    process.send_signal(signal.SIGKILL)
                    time.sleep(rng.uniform(0.0, 0.01))
                lines = [line.split() for line in labeller.stdout.read().splitlines(True) if line.endswith("\n")]
            undone: tuple[str, int] | None = None
            for line in lines:
                if line[0] == "label":
                    told[line[1], int(line[2])] = line[3]
                undone = (line[1], int(line[2])) if line[0] == "undo" else None
            pairs = project.library.pairs
            there = {(one.pair, one.round): one.choice for one in pairs.labels(author=author, rounds=(1, 2))}
            # At most one call was under way: its label may be there, or be the one that was undone.
            surplus, missing = set(there) - set(told), set(told) - set(there)
            assert len(surplus) <= 1 and missing <= {undone} and all(there[key] == told[key] for key in there if key in told)
            told |= {key: there[key] for key in surplus}
            for key in missing:
                assert pairs.redo(author) is not None, key
            assert {(one.pair, one.round): one.choice for one in pairs.labels(author=author, rounds=(1, 2))} == told
            check_counts(pairs)
            assert pairs._rows("pragma quick_check", []) == [("ok",)]
    one, two = (project.library.pairs for project, _, _ in machines)
    one.merge_labels(file(two))
    two.merge_labels(file(one))
    assert said(one) == said(two) and len(said(one)) == sum(len(told) for _, _, told in machines)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no such signal here")
def test_a_kill_while_labelling_and_joining_costs_no_label(tmp_path: Path) -> None:
    kill_labellers(tmp_path, 2, [f"pair {n}" for n in range(300)], 1)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no such signal here")
def test_many_kills_while_labelling_and_joining_cost_no_label(tmp_path: Path) -> None:
    kill_labellers(tmp_path, 12, [f"pair {n}" for n in range(3_000)], 2)


def test_the_higher_revision_counts_whatever_the_clocks_say_and_ties_fall_the_same_way_everywhere(tmp_path: Path) -> None:
    (one, _), (two, _) = library(tmp_path / "1"), library(tmp_path / "2", turned=True)
    one.label(pair("a").id, Label("first", author="Ada"))
    line = next(row for row in file(one) if row["kind"] == "label")
    early = {**line, "id": "x", "changed": 2_000.0, "comment": "first word"}
    changed = [early, {**early, "revision": 2, "changed": 1_000.0, "comment": "by a clock that is behind"}]
    tie = [{**line, "id": "y", "round": 2, "comment": comment} for comment in ("this", "that")]
    one.merge_labels([*changed, *tie])
    two.merge_labels([*tie[::-1], *changed[::-1], *file(one)])
    assert said(one) == said(two) and said(one)["a", "Ada", 2][2] in ("this", "that")
    assert {row["comment"] for row in file(two) if row["kind"] == "label" and row["id"] == "x"} == {"by a clock that is behind"}
