"""Labels: which of a pair's answers a person found better. Each is on disk when the call returns; undo goes back without limit.

One author has one label in force on a pair in each round (2: the pair shown again). Changing it makes a new revision, taking it back a
deleted one: so label files of two machines come to the same whatever the order in which they are joined (label_merge.py).
"""

import json
import sqlite3
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from engine.contract.errors import InputError, NotFound, SettingError
from engine.contract.words import tr
from engine.project.pair_sets import PairSets, count, find_pair, settle, states, tick

Choice = Literal["first", "second", "tie", "bad", "skip"]
CHOICES: tuple[Choice, ...] = ("first", "second", "tie", "bad", "skip")
Side = Literal["first", "second"]
SAYS = ("pair_id", "author", "round", "choice", "strength", "edited", "comment", "flagged", "left_side", "seconds", "position", "made")
"""Columns that say what a label says; the rest say how it came to be."""
NOTE = 0
"""The round of a flag or comment on a pair that has no label of its author yet."""

Said = dict[str, Any]
"""What a label says: {column of SAYS: value}, answers by the order of their texts."""


@dataclass(frozen=True)
class Label:
    """What one author said about one pair in one round. `choice` "skip" puts the pair aside; "bad": both are. `strength` is 1 to 3, 0 where
    nobody said; `edited` the better answer as the author rewrote it. `left` is the answer that stood left, `seconds` how long the author
    looked, `position` the place in the sitting, from 1. The library fills in the rest: `id`, `made` (seconds), `pair`, `revision` (how
    often it was changed), `changed`. Round 0: no label, but a flag or a comment."""

    choice: Choice | Literal[""]
    strength: int = 0
    edited: str = ""
    comment: str = ""
    flagged: bool = False
    author: str = ""
    round: int = 1
    left: Side = "first"
    seconds: float = 0.0
    position: int = 0
    id: str = ""
    made: float = 0.0
    pair: str = ""
    revision: int = 0
    changed: float = 0.0


@dataclass(frozen=True)
class LabelStep:
    """One step of the history: label, flag or comment, with the label before and after it (None for none). `undone`: can be redone;
    `overtaken`: undone, and a later step took its place, or another machine's change did."""

    number: int
    made: float
    author: str
    what: str
    pair: str
    before: Label | None
    after: Label | None
    undone: bool
    overtaken: bool


class Labels(PairSets):
    """The part of `Library.pairs` that people label with."""

    def label(self, pair_id: str, label: Label) -> Label:
        """Keep a label: a step of the history of its author. It takes the place of the author's label in that round, if there is one;
        the same again is no step. A flag or comment that the author had put on the pair goes into it. Returns it as it is kept."""
        _check(label)
        with self._write() as db:
            db.execute("begin immediate")
            self._remember(db)
            pair, swapped = find_pair(db, pair_id)
            held = {r: (id, said) for id, r, said in _in_force(db, pair, label.author)}
            id = label.id or (held[label.round][0] if label.round in held else uuid.uuid4().hex)
            old = _said(db, id)
            if old is not None and (old["pair_id"], old["author"], old["round"]) != (pair_id, label.author, label.round):
                raise InputError(tr("There is another label with the id {id}.", id=id), tr("Give each label an id of its own, or none."))
            made = label.made or (old or {}).get("made") or time.time()
            said = as_said(replace(label, made=made, pair=pair_id), swapped)
            before, after = {id: old}, dict[str, Said | None]({id: said})
            if NOTE in held and label.round == 1:
                note, was = held[NOTE]
                said |= {"comment": said["comment"] or was["comment"], "flagged": said["flagged"] or was["flagged"]}
                before[note], after[note] = was, None
            for other, (other_id, was) in held.items():
                if other == label.round and other_id != id:  # one that came with an id of its own takes the place of this one
                    before[other_id], after[other_id] = was, None
            self._step_of(db, label.author, "label", pair, before, after)
            return _read(db, id, swapped)

    def _remember(self, db: sqlite3.Connection) -> None:
        """What is written down along with a label (label_queues.py)."""

    def flag(self, pair_id: str, on: bool, author: str) -> bool:
        """Put an author's flag on a pair, or take it off. False when it is so already."""
        return self._note(pair_id, author, "flag", "flagged", int(on))

    def comment(self, pair_id: str, comment: str, author: str) -> bool:
        """Write an author's note on a pair. False when it says that already."""
        return self._note(pair_id, author, "comment", "comment", comment)

    def _note(self, pair_id: str, author: str, what: str, column: str, value: Any) -> bool:
        if not author:
            raise _no_author()
        with self._write() as db:
            db.execute("begin immediate")
            pair, _ = find_pair(db, pair_id)
            held = sorted(_in_force(db, pair, author), key=lambda r: (r[1] != 1, r[1]))
            before, after = dict[str, Said | None](), dict[str, Said | None]()
            # On one place; off everywhere.
            for id, round, said in held[:1] if value else held:
                before[id] = said
                after[id] = None if round == NOTE and not value and not said["comment" if column == "flagged" else "flagged"] else \
                    {**said, column: value}
            if not held and value:
                id = uuid.uuid4().hex
                before[id] = None
                after[id] = {"pair_id": pair_id, "author": author, "round": NOTE, "choice": "", "strength": 0, "edited": "", "comment": "",
                             "flagged": 0, "left_side": "a", "seconds": 0.0, "position": 0, "made": time.time(), column: value}
            return self._step_of(db, author, what, pair, before, after)

    # history

    def undo(self, author: str) -> LabelStep | None:
        """Take an author's newest step back. None when there is nothing to undo. A step is passed over where something else has changed
        what it left: then that stands."""
        return self._walk(author, "undone = 0", "desc", "after", "before", 1)

    def redo(self, author: str) -> LabelStep | None:
        """Bring back what an author undid last. None when there is nothing to redo."""
        return self._walk(author, "undone = 1", "asc", "before", "after", 0)

    def history(self, pair_id: str) -> list[LabelStep]:
        """What happened to the labels of one pair here, oldest first, undone steps too."""
        found = self._rows("select s.number from label_steps s join pairs p on p.number = s.pair where p.id = ? order by s.number",
                           [pair_id])
        with self._write() as db:
            return [_step(db, number) for (number,) in found]

    def _walk(self, author: str, which: str, order: str, stands: str, wanted: str, undone: int) -> LabelStep | None:
        with self._write() as db:
            db.execute("begin immediate")
            while True:
                found = db.execute(f"select number, pair, {stands}, {wanted} from label_steps where author = ? and {which}"
                                   f" order by number {order} limit 1", (author,)).fetchone()
                if found is None:
                    return None
                number, pair, now, then = found[0], found[1], json.loads(found[2]), json.loads(found[3])
                if all(_said(db, id) == said for id, said in now.items()):
                    put(db, pair, then)
                    db.execute("update label_steps set undone = ? where number = ?", (undone, number))
                    return _step(db, number)
                db.execute("update label_steps set undone = 2 where number = ?", (number,))

    def _step_of(self, db: sqlite3.Connection, author: str, what: str, pair: int, before: Mapping[str, Said | None],
                 after: Mapping[str, Said | None]) -> bool:
        """Do what leads from `before` to `after`, and remember it. False when they are the same."""
        changed = {id: said for id, said in after.items() if said != before[id]}
        if not changed:
            return False
        db.execute("update label_steps set undone = 2 where author = ? and undone = 1", (author,))
        db.execute("insert into label_steps (made, author, what, pair, before, after) values (?, ?, ?, ?, ?, ?)",
                   (time.time(), author, what, pair, json.dumps({id: before[id] for id in changed}), json.dumps(changed)))
        put(db, pair, changed)
        return True

    # reading

    def labels(self, set_ids: Sequence[str] = (), author: str = "", *, rounds: Sequence[int] = (1,)) -> list[Label]:
        """Labels in force, in the order in which they came: of pairs of these sets (of all where empty), of one author or of everybody."""
        where, values = labels_where(self, set_ids, author, rounds)
        return [label_of(r[:-1], bool(r[-1])) for r in self._rows(
            f"select {FIELDS}, p.swapped from labels l join pairs p on p.number = l.pair where {where} order by l.number", values)]

    def labels_of(self, pair_id: str) -> list[Label]:
        """All labels in force on one pair, notes and second rounds too."""
        return [label_of(r[:-1], bool(r[-1])) for r in self._rows(
            f"select {FIELDS}, p.swapped from pairs p join labels l on l.pair = p.number where p.id = ? and l.force = 1 order by l.number",
            [pair_id])]

    def get_label(self, id: str) -> Label:
        """By its id; NotFound where it is deleted."""
        found = self._rows(f"select {FIELDS}, p.swapped from labels l join pairs p on p.number = l.pair where l.id = ? and not l.deleted",
                           [id])
        if not found:
            raise NotFound(tr("There is no label {id} in the library.", id=id), tr("It may have been undone."))
        return label_of(found[0][:-1], bool(found[0][-1]))

    def authors(self, set_ids: Sequence[str] = ()) -> dict[str, int]:
        """How many pairs each author has decided, most first; skipped ones do not count."""
        where, values = labels_where(self, set_ids, "", (1,))
        found = self._rows(f"select l.author, count(*) from labels l where {where} and l.choice <> 'skip' group by l.author", values)
        return dict(sorted(found, key=lambda one: (-one[1], one[0])))


FIELDS = ", ".join(f"l.{name}" for name in ("id", *SAYS, "revision", "changed"))
"""What `label_of` needs."""


def labels_where(pairs: PairSets, set_ids: Sequence[str], author: str, rounds: Sequence[int]) -> tuple[str, list[Any]]:
    """The condition, and its values, of labels l in force."""
    parts, values = [f"l.force = 1 and l.pair is not null and l.round in ({', '.join(str(int(r)) for r in rounds)})"], list[Any]()
    if set_ids:
        numbers = [pairs._number(id) for id in dict.fromkeys(set_ids)]
        parts.append("exists (select 1 from pair_members m where m.pair = l.pair and m.set_number in"
                     f" ({', '.join(map(str, numbers))}))")
    if author:
        parts.append("l.author = ?")
        values.append(author)
    return " and ".join(parts), values


def _check(label: Label) -> None:
    if label.choice not in CHOICES:
        raise SettingError(tr("A label cannot be {choice}.", choice=label.choice),
                           tr("Choose one of: {choices}.", choices=", ".join(CHOICES)))
    if label.strength not in range(4):
        raise SettingError(tr("A label cannot have the strength {strength}.", strength=label.strength),
                           tr("Choose 1, 2 or 3, or 0 for none."))
    if not label.author:
        raise _no_author()
    if label.edited and label.choice not in ("first", "second"):
        raise InputError(tr("Only the better answer can be edited."), tr("Say which answer is better, or leave the texts as they are."))
    assert label.round in (1, 2) and label.left in ("first", "second"), label


def _no_author() -> InputError:
    return InputError(tr("A label needs the name of whoever gives it."), tr("Enter a name for the annotator."))


def _side(value: str, swapped: bool) -> str:
    """"first" and "second" of a pair as "a" and "b" (by the order of their texts); the rest stays."""
    return {"first": "ba"[not swapped], "second": "ab"[not swapped]}.get(value, value)


def _shown(value: str, swapped: bool) -> str:
    """The other way round."""
    return {"a": ("first", "second")[swapped], "b": ("second", "first")[swapped]}.get(value, value)


def as_said(label: Label, swapped: bool) -> Said:
    return {"pair_id": label.pair, "author": label.author, "round": label.round, "choice": _side(label.choice, swapped),
            "strength": label.strength, "edited": label.edited, "comment": label.comment, "flagged": int(label.flagged),
            "left_side": _side(label.left, swapped), "seconds": float(label.seconds), "position": label.position, "made": float(label.made)}


def label_of(r: Sequence[Any], swapped: bool) -> Label:
    """A label from the columns FIELDS."""
    id, pair, author, round, choice, strength, edited, comment, flagged, left, seconds, position, made, revision, changed = r
    return Label(cast(Choice, _shown(choice, swapped)), strength, edited, comment, bool(flagged), author, round,
                 cast(Side, _shown(left, swapped)), seconds, position, id, made, pair, revision, changed)


def _in_force(db: sqlite3.Connection, pair: int, author: str) -> list[tuple[str, int, Said]]:
    """(id, round, what it says) of an author's labels in force on a pair."""
    return [(r[0], r[3], dict(zip(SAYS, r[1:], strict=True))) for r in db.execute(
        f"select id, {', '.join(SAYS)} from labels where pair = ? and author = ? and force = 1", (pair, author))]


def _said(db: sqlite3.Connection, id: str) -> Said | None:
    """What a label says now; None where it is deleted or unknown."""
    found = db.execute(f"select {', '.join(SAYS)} from labels where id = ? and not deleted", (id,)).fetchone()
    return None if found is None else dict(zip(SAYS, found, strict=True))


def put(db: sqlite3.Connection, pair: int, after: Mapping[str, Said | None], here: int = 1) -> None:
    """Make labels of one pair say what `after` has, each as a new revision, None as deleted, within a transaction. New ones count as made
    `here`, by labelling, or not."""
    now, held = time.time(), states(db, [pair])
    for id, said in after.items():
        if said is None:
            db.execute("update labels set deleted = 1, revision = revision + 1, changed = ? where id = ?", (now, id))
            continue
        columns = (*SAYS, "pair", "changed")
        db.execute(
            f"insert into labels (id, {', '.join(columns)}, revision, deleted, force, here, again)"
            f" values ({', '.join('?' * 15)}, 1, 0, 0, ?, 0)"
            f" on conflict (id) do update set {', '.join(f'{name} = excluded.{name}' for name in columns)}, revision = revision + 1,"
            " deleted = 0", (id, *(said[name] for name in SAYS), pair, now, here))
    settle(db, [pair])
    there = states(db, [pair])
    count(db, held, there)
    reopened(db, held, there)
    tick(db)


def reopened(db: sqlite3.Connection, before: Mapping[int, Mapping[str, Sequence[int]]],
             after: Mapping[int, Mapping[str, Sequence[int]]]) -> None:
    """Take back the hints that an author has nothing to do up to some place where a pair is to do again."""
    for pair, counts in before.items():
        for who, state in counts.items():
            if who and (state[0] or state[1]) and not any(after.get(pair, {}).get(who, (0, 0))[:2]):
                db.execute("delete from pair_fronts where author = ? and set_number in (select set_number from pair_members where pair = ?)"
                           " and sorted not in ('order', 'random')", (who[1:], pair))
                for sorted_by, key in (("order", "place"), ("random", "draw")):
                    db.execute(f"update pair_fronts set at = min(at, m.{key} - 1) from pair_members m where m.pair = ? and m.set_number ="
                               " pair_fronts.set_number and pair_fronts.author = ? and pair_fronts.sorted = ?", (pair, who[1:], sorted_by))


def _read(db: sqlite3.Connection, id: str, swapped: bool) -> Label:
    return label_of(db.execute(f"select {FIELDS} from labels l where l.id = ?", (id,)).fetchone(), swapped)


def _step(db: sqlite3.Connection, number: int) -> LabelStep:
    made, author, what, pair, swapped, before, after, undone = db.execute(
        "select s.made, s.author, s.what, p.id, p.swapped, s.before, s.after, s.undone from label_steps s join pairs p on p.number = s.pair"
        " where s.number = ?", (number,)).fetchone()

    def main(raw: str) -> Label | None:
        said = {id: one for id, one in json.loads(raw).items() if one is not None}
        if not said:
            return None
        id = max(said, key=lambda each: said[each]["round"])
        return label_of((id, *(said[id][name] for name in SAYS), 0, 0.0), bool(swapped))
    return LabelStep(number, made, author, what, pair, main(before), main(after), undone == 1, undone == 2)
