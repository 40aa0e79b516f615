"""Sets of pairs in the library: added in streams, each pair once however many sets hold it, with counts that are kept and not counted.

A pair is found by the hash of what it says (rows.pair_id), which is the same on every machine and for its answers in either order. So
labels name an answer by the order of the two texts ("a" sorts before "b"), and only labels.py turns that into first and second.
"""

import json
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from engine.contract.errors import NotFound
from engine.contract.rows import Answer, Message, Pair
from engine.contract.words import tr
from engine.project.examples import packed, unpacked
from engine.project.run_sets import RunSets

CHUNK = 4_000
"""Rows of one transaction of `add`."""
PAGE = 1_000
"""Rows read at once where all of a set are streamed."""
DECIDED = ("first", "second", "tie", "bad")
"""Choices that say something about the answers; "skip" does not."""
TEXTS = "p.id, x.prompt, x.first, x.second, p.origin, x.rest"
"""What `pair_of` needs, of pairs p and pair_texts x."""
_NOBODY = (0, 0, 0, 0, 0)
_COUNTED = ("done", "skipped", "flagged", "free", "given")

Read = Callable[[str, Sequence[Any] | Mapping[str, Any]], list[tuple[Any, ...]]]
Write = Callable[[], Any]
States = dict[int, dict[str, tuple[int, ...]]]
"""{pair: {who: (done, skipped, flagged, free, given)}}, as pair_counts adds them up."""


@dataclass(frozen=True)
class PairSet:
    """A named set. `origin` says where it came from ("import:FILE", "run:RUN", "vote", "judge", "labels"; "" by hand), `run` the run that
    fills it. Of its `count` pairs `labelled` have a label of anybody, or came with one (`given`: from a file, the judge, a vote); `skipped`
    were skipped and not labelled; the rest are `todo`. `flagged` ones can be any."""

    id: str
    title: str
    created: float
    origin: str
    run: str
    count: int
    labelled: int
    todo: int
    skipped: int
    flagged: int
    given: int


class PairSets(RunSets[Pair]):
    """The part of `Library.pairs` that holds pairs and sets."""

    runs_table = "pair_runs"

    def __init__(self, read: Read, write: Write) -> None:
        self._rows, self._write = read, write

    # sets

    def sets(self) -> list[PairSet]:
        """Oldest first."""
        return [_set(r) for r in self._rows(_SETS + " order by s.number", [])]

    def get_set(self, id: str) -> PairSet:
        return _set(self._rows(_SETS + " where s.number = ?", [self._number(id)])[0])

    def create_set(self, title: str, *, origin: str = "", run: str = "") -> PairSet:
        with self._write() as db:
            number = new_set(db, title, origin, run)
        return self.get_set(set_name(number))

    def rename_set(self, id: str, title: str) -> None:
        with self._write() as db:
            db.execute("update pair_sets set title = ? where number = ?", (title, self._number(id)))

    def delete_set(self, id: str) -> None:
        """Remove a set for good, and those of its pairs that are in no other set, with their labels and the history of these: undo does not
        bring them back, so ask first. The run that filled it does not fill it again."""
        number = self._number(id)
        with self._write() as db:
            db.execute("begin immediate")
            db.execute("create temp table gone as select m.pair from pair_members m where m.set_number = ? and not exists"
                       " (select 1 from pair_members o where o.pair = m.pair and o.set_number <> m.set_number)", (number,))
            for table, column in (("labels", "pair"), ("label_steps", "pair"), ("pair_scores", "pair"), ("pair_texts", "number"),
                                  ("pairs", "number")):
                db.execute(f"delete from {table} where {column} in (select pair from gone)")
            db.execute("drop table gone")
            for table in ("pair_members", "pair_counts", "pair_fronts"):
                db.execute(f"delete from {table} where set_number = ?", (number,))
            db.execute("update pair_runs set set_number = null where set_number = ?", (number,))
            db.execute("delete from pair_sets where number = ?", (number,))
            tick(db)

    def clock(self) -> int:
        """Moves with every change of pairs, labels and sets."""
        return int(self._rows("select ticks from pair_clock", [])[0][0])

    # adding

    def add(self, set_id: str, rows: Iterable[Pair], author: str = "") -> int:
        """Add pairs of a stream, some thousands in each transaction. One that the set has is not added again; one that another set has is
        shared with it, labels and all. What an added pair says about the better answer (facts["best"]) is kept where the library knew the
        pair without; `author` is who said so where the pair does not name anybody. Returns how many the set did not have."""
        number, added, stream = self._number(set_id), 0, iter(rows)
        while chunk := list(islice(stream, CHUNK)):
            with self._write() as db:
                db.execute("begin immediate")
                added += insert(db, number, chunk, author)
        return added

    # runs that fill a set (run_sets.py)

    def _made(self, db: sqlite3.Connection, title: str, origin: str, run: str) -> int:
        return new_set(db, title, origin, run)

    def _named(self, number: int) -> str:
        return set_name(number)

    def _put(self, db: sqlite3.Connection, number: int, rows: Sequence[Pair]) -> int:
        return insert(db, number, rows, "")

    # reading

    def get(self, id: str) -> Pair:
        found = self._rows(f"select {TEXTS} from pairs p join pair_texts x on x.number = p.number where p.id = ?", [id])
        if not found:
            raise _unknown(id)
        return pair_of(found[0])

    def rows(self, set_id: str, start: int = 0, count: int = 50) -> list[Pair]:
        """A page of a set, in the order of adding."""
        number = self._number(set_id)
        # The page is chosen from an index; only its own texts are read.
        return [pair_of(r) for r in self._rows(
            "with page as (select m.place, m.pair from pair_members m not indexed where m.set_number = ? order by m.place limit ? offset ?)"
            f" select {TEXTS} from page join pairs p on p.number = page.pair join pair_texts x on x.number = page.pair"
            " order by page.place", [number, count, start])]

    def stream(self, set_ids: Sequence[str]) -> Iterator[Pair]:
        """All pairs of sets, each once, in the order of the sets and of adding. NotFound for an unknown set before the first."""
        numbers = [self._number(id) for id in dict.fromkeys(set_ids)]
        return (pair_of(r) for r in self._stream(numbers, ""))

    def unlabelled(self, set_ids: Sequence[str], beside: Sequence[str] = ()) -> Iterator[Pair]:
        """Pairs of sets that nobody has labelled and that came without a label, each once; skipped ones too. Those of the sets `beside` are
        passed over."""
        numbers = [self._number(id) for id in dict.fromkeys(set_ids)]
        earlier = [self._number(id) for id in beside]
        return (pair_of(r) for r in self._stream(numbers, f" and m.given = 0 and not exists ({_LABELLED})", earlier))

    def _stream(self, numbers: Sequence[int], where: str, beside: Sequence[int] = ()) -> Iterator[tuple[Any, ...]]:
        earlier = list(beside)
        for number in numbers:
            after, others = 0, f" and not exists (select 1 from pair_members o where o.pair = m.pair and o.set_number in"\
                f" ({', '.join(map(str, earlier))}))" if earlier else ""
            while True:
                found = self._rows(f"select {TEXTS}, p.number, p.swapped, p.given, m.place from pair_members m not indexed"
                                   " join pairs p on p.number = m.pair join pair_texts x on x.number = m.pair"
                                   f" where m.set_number = ? and m.place > ?{where}{others} order by m.place limit ?",
                                   [number, after, PAGE])
                if not found:
                    break
                after = found[-1][-1]
                yield from found
            earlier.append(number)

    def _number(self, id: str) -> int:
        """A set's number, by its id; NotFound names those that there are."""
        head, _, tail = id.rpartition("-")
        if head == SET and tail.isdecimal() and len(tail) < 16 and self._rows("select 1 from pair_sets where number = ?", [int(tail)]):
            return int(tail)
        known = ", ".join(s.id for s in self.sets())
        raise NotFound(tr("There is no set of pairs called {id}.", id=id), tr("The library has: {known}.", known=known) if known else
                       tr("The library has none yet."))


SET = "pair-set"
"""How ids of sets begin: no artifact can be called so ("pairs-1" is one)."""
_SETS = ("select s.number, s.title, s.created, s.origin, s.run, s.pairs, coalesce(c.done, 0), coalesce(c.skipped, 0),"
         " coalesce(c.flagged, 0), coalesce(c.given, 0) from pair_sets s left join pair_counts c on c.set_number = s.number and c.who = ''")
_LABELLED = "select 1 from labels l where l.pair = m.pair and l.force = 1 and l.round = 1 and l.choice <> 'skip'"


def set_name(number: int) -> str:
    return f"{SET}-{number}"


def _set(r: Sequence[Any]) -> PairSet:
    number, title, created, origin, run, count, done, skipped, flagged, given = r
    return PairSet(set_name(number), title, created, origin, run, count, done, count - done - skipped, skipped, flagged, given)


def _unknown(id: str) -> NotFound:
    return NotFound(tr("There is no pair {id} in the library.", id=id), tr("Its set may have been deleted in another window."))


def new_set(db: sqlite3.Connection, title: str, origin: str, run: str) -> int:
    number = db.execute("insert into pair_sets (title, created, origin, run) values (?, ?, ?, ?)",
                        (title, time.time(), origin, run)).lastrowid
    assert number is not None
    return number


def tick(db: sqlite3.Connection) -> None:
    db.execute("update pair_clock set ticks = ticks + 1")


def find_pair(db: sqlite3.Connection, id: str) -> tuple[int, bool]:
    """(number, swapped) of a pair, by its id."""
    found = db.execute("select number, swapped from pairs where id = ?", (id,)).fetchone()
    if found is None:
        raise _unknown(id)
    return int(found[0]), bool(found[1])


def insert(db: sqlite3.Connection, set_number: int, rows: Sequence[Pair], author: str) -> int:
    """Add the pairs that the set does not have, within a transaction. Labels that came before their pair (label_merge.py) find it."""
    if db.execute("select 1 from pair_sets where number = ?", (set_number,)).fetchone() is None:
        raise NotFound(tr("The set of pairs is no longer there."), tr("It may have been deleted in another window."))
    unique = {row.id: row for row in rows}
    asked = json.dumps(list(unique))
    known = {r[0]: r[1:] for r in db.execute("select id, number, given, swapped from pairs where id in (select value from json_each(?))",
                                             (asked,))}
    old = give(db, [(*known[id], row) for id, row in unique.items() if id in known], author)
    number = int(db.execute("select coalesce(max(seq), 0) from sqlite_sequence where name = 'pairs'").fetchone()[0])
    small, texts, new = [], [], dict[str, int]()
    for id, row in unique.items():
        if id in known:
            continue
        number += 1
        new[id] = number
        first, second, facts = row.first, row.second, row.facts
        said = int(facts.get("best") in DECIDED)
        if said and not facts.get("by") and author:
            facts = {**facts, "by": author}
        small.append((number, id, said, int(first.text > second.text), zlib.crc32(id.encode()), len(first.text), len(second.text),
                      row.origin))
        texts.append((number, packed((m.role, m.content) for m in row.prompt), first.text, second.text,
                      _rest(first, second, facts)))
    db.executemany("insert into pairs (number, id, given, swapped, draw, first_length, second_length, origin)"
                   " values (?, ?, ?, ?, ?, ?, ?, ?)", small)
    db.executemany("insert into pair_texts (number, prompt, first, second, rest) values (?, ?, ?, ?, ?)", texts)
    there = {r[0] for r in db.execute("select pair from pair_members where set_number = ? and pair in (select value from json_each(?))",
                                      (set_number, json.dumps(old)))}
    joining = [pair for pair in old if pair not in there]
    marks = {r[0]: (r[2], r[4]) for r in small}
    marks |= {r[0]: r[1:] for r in db.execute("select number, given, draw from pairs where number in (select value from json_each(?))",
                                              (json.dumps(joining),))} if joining else {}
    numbers = [n for id in unique if (n := new[id] if id in new else known[id][0]) in marks]
    place = int(db.execute("select coalesce(max(place), 0) from pair_members where set_number = ?", (set_number,)).fetchone()[0])
    members = [(set_number, place + n, pair, *marks[pair]) for n, pair in enumerate(numbers, 1)]
    db.executemany("insert into pair_members (set_number, place, pair, given, draw) values (?, ?, ?, ?, ?)", members)
    db.execute("update pair_sets set pairs = pairs + ? where number = ?", (len(members), set_number))
    # Hints of orders in which a new pair can come before old ones.
    db.execute("delete from pair_fronts where set_number = ? and sorted <> 'order'", (set_number,))
    waiting = _attach(db, new)
    said = sum(r[2] for r in small if r[0] not in waiting)
    shift(db, {(set_number, ""): (said, 0, 0, said, said)})
    moved: dict[tuple[int, str], tuple[int, ...]] = {}
    for counts in states(db, [*joining, *waiting]).values():
        for who, state in counts.items():
            moved[set_number, who] = _plus(moved.get((set_number, who), _NOBODY), state)
    shift(db, moved)
    tick(db)
    return len(members)


def give(db: sqlite3.Connection, known: Sequence[tuple[int, int, int, Pair]], author: str) -> list[int]:
    """What new rows say about pairs that are there, (number, given, swapped, row), where these said nothing. Their numbers."""
    fresh = {number: (row, swapped) for number, given, swapped, row in known if not given and row.facts.get("best") in DECIDED}
    if fresh:
        before = states(db, list(fresh))
        for number, (row, swapped) in fresh.items():
            (rest,) = db.execute("select rest from pair_texts where number = ?", (number,)).fetchone()
            kept = json.loads(rest)
            said = {key: row.facts[key] for key in ("best", "strength", "by") if key in row.facts}
            if author and not said.get("by"):
                said["by"] = author
            if swapped != (row.first.text > row.second.text):
                said["best"] = OTHER.get(said["best"], said["best"])
            kept["facts"] |= said
            db.execute("update pair_texts set rest = ? where number = ?", (json.dumps(kept), number))
        asked = json.dumps(list(fresh))
        for table, column in (("pairs", "number"), ("pair_members", "pair")):
            db.execute(f"update {table} set given = 1 where {column} in (select value from json_each(?))", (asked,))
        db.execute("delete from pair_fronts where set_number in (select set_number from pair_members where pair in"
                   " (select value from json_each(?)))", (asked,))
        count(db, before, states(db, list(fresh)))
    return [number for number, *_ in known]


OTHER = {"first": "second", "second": "first"}


def _attach(db: sqlite3.Connection, new: Mapping[str, int]) -> set[int]:
    """Labels that waited for these pairs, {id: number}, are theirs now. The pairs that have some."""
    if not new or db.execute("select 1 from labels where pair is null limit 1").fetchone() is None:
        return set()
    found = db.execute("select number, pair_id from labels where pair is null and pair_id in (select value from json_each(?))",
                       (json.dumps(list(new)),)).fetchall()
    db.executemany("update labels set pair = ? where number = ?", [(new[id], number) for number, id in found])
    pairs = {new[id] for _, id in found}
    settle(db, pairs)
    return pairs


def settle(db: sqlite3.Connection, pairs: Iterable[int]) -> None:
    """Say anew which labels of these pairs are in force (of one author in one round the last made that is not deleted), and which wait to
    be shown again."""
    heads: dict[tuple[int, str, int], tuple[Any, ...]] = {}
    found = db.execute("select number, pair, author, round, deleted, made, id, force, here, again, choice, pair_id from labels"
                       " where pair in (select value from json_each(?))", (json.dumps(sorted(pairs)),)).fetchall()
    for r in found:
        key = (r[1], r[2], r[3])
        if not r[4] and (key not in heads or (r[5], r[6]) > (heads[key][5], heads[key][6])):
            heads[key] = r
    changed = []
    for r in found:
        force = int(heads.get((r[1], r[2], r[3])) is r)
        again = int(force and r[8] and r[3] == 1 and r[10] != "skip" and (r[1], r[2], 2) not in heads and shown_again(r[11], r[2]))
        if (force, again) != (r[7], r[9]):
            changed.append((force, again, r[0]))
    for force, again, number in sorted(changed):  # those that leave first: only one may be in force
        db.execute("update labels set force = ?, again = ? where number = ?", (force, again, number))


AGAIN = 20
"""One pair in so many is shown again."""


def shown_again(pair_id: str, author: str) -> bool:
    """Whether an author gets a pair a second time: chance, but the same on every machine."""
    return zlib.crc32(f"again\0{pair_id}\0{author}".encode("utf-8", "surrogatepass")) % AGAIN == 0


def states(db: sqlite3.Connection, pairs: Sequence[int]) -> States:
    """How pairs stand, for everybody ("") and each author ("=NAME")."""
    if not pairs:
        return {}
    asked = json.dumps(pairs)
    given = dict(db.execute("select number, given from pairs where number in (select value from json_each(?))", (asked,)))
    found: dict[int, dict[str, list[int]]] = {pair: {} for pair in given}
    for pair, author, round, choice, flagged in db.execute(
            "select pair, author, round, choice, flagged from labels where force = 1 and pair in (select value from json_each(?))",
            (asked,)):
        own = found[pair].setdefault(author, [0, 0, 0])
        if round == 1:
            own[0], own[1] = int(choice != "skip"), int(choice == "skip")
        own[2] |= flagged
    made: States = {}
    for pair, authors in found.items():
        done = int(given[pair] or any(a[0] for a in authors.values()))
        skipped = int(not done and any(a[1] for a in authors.values()))
        counts: dict[str, tuple[int, ...]] = {
            "": (done, skipped, int(any(a[2] for a in authors.values())), int(done or skipped), given[pair])}
        for author, (d, s, f) in authors.items():
            counts["=" + author] = (d, s, f, int((d or s) and not given[pair]), 0)
        made[pair] = counts
    return made


def count(db: sqlite3.Connection, before: States, after: States) -> None:
    """Move the counts of all sets that hold these pairs from how they stood to how they stand."""
    different = {pair for pair in {*before, *after} if before.get(pair) != after.get(pair)}
    if not different:
        return
    moved: dict[tuple[int, str], tuple[int, ...]] = {}
    for set_number, pair in db.execute("select set_number, pair from pair_members where pair in (select value from json_each(?))",
                                       (json.dumps(sorted(different)),)).fetchall():
        old, new = before.get(pair, {}), after.get(pair, {})
        for who in {*old, *new}:
            change = tuple(n - o for o, n in zip(old.get(who, _NOBODY), new.get(who, _NOBODY), strict=True))
            moved[set_number, who] = _plus(moved.get((set_number, who), _NOBODY), change)
    shift(db, moved)


def shift(db: sqlite3.Connection, moved: Mapping[tuple[int, str], Sequence[int]]) -> None:
    db.executemany(
        f"insert into pair_counts (set_number, who, {', '.join(_COUNTED)}) values (?, ?, ?, ?, ?, ?, ?) on conflict (set_number, who)"
        f" do update set {', '.join(f'{name} = {name} + excluded.{name}' for name in _COUNTED)}",
        [(*key, *change) for key, change in moved.items() if any(change)])


def _plus(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(one, other, strict=True))


def _rest(first: Answer, second: Answer, facts: Mapping[str, Any]) -> str:
    return json.dumps({"models": [first.model, second.model], "facts_of": [first.facts, second.facts], "facts": facts})


def pair_of(r: Sequence[Any]) -> Pair:
    """A pair from the columns TEXTS."""
    rest: dict[str, Any] = json.loads(r[5])
    models, facts = rest["models"], rest["facts_of"]
    return Pair(id=r[0], prompt=tuple(Message(role=role, content=content) for role, content in unpacked(r[1])),
                first=Answer(text=r[2], model=models[0], facts=facts[0]), second=Answer(text=r[3], model=models[1], facts=facts[1]),
                origin=r[4], facts=rest["facts"])
