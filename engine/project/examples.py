"""Sets of examples in the library: added in streams, paged, edited, accepted or rejected, with a history that undo goes back through.

Everything is on disk when a call returns. Rows are found by SQL alone, so that a million of them cost the memory of one page. Nothing here
reads people's files (engine/text/conversations) or a run's folder (ingest.py).
"""

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, cast

import orjson

from engine.contract.errors import InputError, NotFound, SettingError
from engine.contract.rows import Example, Message
from engine.contract.words import tr
from engine.project.run_sets import RunSets

Status = Literal["new", "accepted", "rejected"]
STATUSES: tuple[Status, ...] = ("new", "accepted", "rejected")
REJECTED, DELETED = 2, 3
"""States beside 0 (new) and 1 (accepted), as the tables have them."""
ORDERS = {"position": "e.number", "score": "e.score desc, e.number", "edited": "e.updated desc, e.number",
          "length": "e.length desc, e.number"}
REVERSED = {"position": "e.number desc", "score": "e.score is null, e.score, e.number", "edited": "e.updated, e.number",
            "length": "e.length, e.number"}
CHUNK = 4_000
"""Rows of one transaction of `add`."""
PAGE = 1_000
"""Rows read at once where all of a set are streamed."""
_SHORT = {"system": "s", "user": "u", "assistant": "a", "tool": "t"}
_LONG = {short: long for long, short in _SHORT.items()}
_COLUMNS = ("number", "id", "set_number", "state", "score", "origin", "flags", "length", "added", "added_by", "updated", "edited_by",
            "comment")
_SMALL = ", ".join(f"e.{name}" for name in _COLUMNS)
_TOUCHED = ("state", "messages", "length", "comment", "updated", "edited_by")
"""Columns that a step of the history can change."""


@dataclass(frozen=True)
class ExampleSet:
    """A named set. `origin` says where it came from ("import:FILE", "" for by hand), `run` the run that fills it. Deleted rows count
    nowhere."""

    id: str
    title: str
    created: float
    origin: str
    run: str
    count: int
    accepted: int
    rejected: int
    new: int


@dataclass(frozen=True)
class ExampleFilter:
    """Which examples: of these sets (of all where empty), of a status, with a score between `low` and `high` (both inclusive), with a flag,
    of an origin, with `search` somewhere in their messages (in any case of letters)."""

    sets: tuple[str, ...] = ()
    status: str = ""
    low: float | None = None
    high: float | None = None
    flag: str = ""
    origin: str = ""
    search: str = ""


@dataclass(frozen=True)
class ExampleRow:
    """An example with its review. `edited_by` is who wrote its messages last ("" where nobody changed them), `updated` when anything about
    it changed last, `length` the characters of its messages, `position` a number that rises in the order of adding."""

    example: Example
    set: str
    status: Status
    edited_by: str
    updated: float
    comment: str
    length: int = 0
    position: int = 0
    deleted: bool = False


@dataclass(frozen=True)
class ExampleChange:
    """One step of the history: edit, comment, delete or a status. `example` is the one it touched, "" for several. `undone`: can be redone;
    `overtaken`: undone, and a later step took its place."""

    number: int
    made: float
    author: str
    what: str
    examples: int
    undone: bool
    overtaken: bool = False
    example: str = ""


@dataclass(frozen=True)
class ExampleHistory:
    """One event in the life of an example. `messages` are those before it, where it changed them; `status` the one before it ("" when it
    was added)."""

    made: float
    author: str
    what: str
    messages: tuple[Message, ...] | None
    status: str
    undone: bool


Read = Callable[[str, Sequence[Any] | Mapping[str, Any]], list[tuple[Any, ...]]]
Write = Callable[[], Any]


class Examples(RunSets[Example]):
    """`Library.examples`: on the library's connection, safe in several threads and processes."""

    runs_table = "example_runs"

    def __init__(self, read: Read, write: Write) -> None:
        self._rows, self._write = read, write

    # sets

    def sets(self) -> list[ExampleSet]:
        """Oldest first. Their counts are kept, not counted."""
        return [_set(r) for r in self._rows("select number, title, created, origin, run, new, accepted, rejected from example_sets"
                                            " order by number", [])]

    def get_set(self, id: str) -> ExampleSet:
        return _set(self._rows("select number, title, created, origin, run, new, accepted, rejected from example_sets where number = ?",
                               [self._number(id)])[0])

    def create_set(self, title: str, *, origin: str = "", run: str = "") -> ExampleSet:
        with self._write() as db:
            number = _new_set(db, title, origin, run)
        return self.get_set(_name(number))

    def rename_set(self, id: str, title: str) -> None:
        with self._write() as db:
            db.execute("update example_sets set title = ? where number = ?", (title, self._number(id)))

    def delete_set(self, id: str) -> None:
        """Remove a set, its examples and their history for good: no step of the history, so ask first. The run that filled it does not fill
        it again."""
        number = self._number(id)
        with self._write() as db:
            db.execute("begin immediate")
            gone = "(select number from examples where set_number = ?)"
            db.execute("create temp table touched as select change, count(*) as examples from example_changed"
                       f" where example in {gone} group by change", (number,))
            db.execute(f"delete from example_changed where example in {gone}", (number,))
            db.execute("update example_changes set examples = example_changes.examples - t.examples from touched t"
                       " where t.change = example_changes.number")
            db.execute("delete from example_changes where examples = 0")
            db.execute("drop table touched")
            db.execute(f"delete from example_texts where number in {gone}", (number,))
            db.execute("delete from examples where set_number = ?", (number,))
            db.execute("update example_runs set set_number = null where set_number = ?", (number,))
            db.execute("delete from example_sets where number = ?", (number,))

    def mark(self) -> tuple[int, ...]:
        """Where the library's counters stand (library_mark)."""
        return library_mark(lambda query: self._rows(query, []))

    # adding

    def add(self, set_id: str, rows: Iterable[Example], author: str = "") -> int:
        """Add examples of a stream, some thousands in each transaction. One whose id the set has already, even as a deleted one, is not
        added again; one whose id another set has gets an id of its own (`ID@SET`). Returns how many were added."""
        return self._add(set_id, rows, author, flagged=0)

    def ingest(self, set_id: str, rows: Iterable[Example]) -> int:
        """Add rows of a run, each once by its id, however often and by however many processes this is called. Flagged ones wait among the
        rejected. Returns how many were new."""
        return self._add(set_id, rows, "", flagged=REJECTED)

    def _add(self, set_id: str, rows: Iterable[Example], author: str, flagged: int) -> int:
        number, added, stream = self._number(set_id), 0, iter(rows)
        while chunk := list(islice(stream, CHUNK)):
            with self._write() as db:
                db.execute("begin immediate")  # what another process adds meanwhile would be doubled
                added += _insert(db, number, chunk, author, flagged)
        return added

    # runs that fill a set (run_sets.py)

    def _made(self, db: sqlite3.Connection, title: str, origin: str, run: str) -> int:
        return _new_set(db, title, origin, run)

    def _named(self, number: int) -> str:
        return _name(number)

    def _put(self, db: sqlite3.Connection, number: int, rows: Sequence[Example]) -> int:
        return _insert(db, number, rows, "", REJECTED)

    # reading

    def count(self, filter: ExampleFilter | None = None) -> int:
        """How many `rows` would go through. From the kept counts where only sets and status are asked."""
        asked = filter or ExampleFilter()
        if asked == ExampleFilter(sets=asked.sets, status=asked.status):
            _check_status(asked.status)
            wanted = {self._number(id) for id in asked.sets}
            found = self._rows("select number, new, accepted, rejected from example_sets", [])
            columns = range(1, 4) if not asked.status else [1 + STATUSES.index(cast(Status, asked.status))]
            return sum(r[c] for r in found if not wanted or r[0] in wanted for c in columns)
        tables, where, values = self._where(asked)
        return int(self._rows(f"select count(*) from {tables} where {where}", values)[0][0])

    def rows(self, filter: ExampleFilter | None = None, order: str = "position", start: int = 0, count: int = 50) -> list[ExampleRow]:
        """A page. Orders: position (as added), score (highest first; without one last), edited (latest change first), length (longest
        first); with "-" before it the other way round."""
        ordered = (REVERSED if order.startswith("-") else ORDERS).get(order.removeprefix("-"))
        if ordered is None:
            raise SettingError(tr("Examples cannot be ordered by {order}.", order=order),
                               tr("Choose one of: {choices}.", choices=", ".join(ORDERS)))
        tables, where, values = self._where(filter or ExampleFilter())
        # The page is chosen from the small columns; only its own texts are read.
        return [_row(r) for r in self._rows(
            f"with page as (select e.number from {tables} where {where} order by {ordered} limit :limit offset :start)"
            f" select {_SMALL}, x.messages, x.facts from page join examples e on e.number = page.number"
            f" join example_texts x on x.number = e.number order by {ordered}", values | {"limit": count, "start": start})]

    def get(self, id: str) -> ExampleRow:
        """By id; a deleted one too, until its set is deleted."""
        found = self._rows(f"select {_SMALL}, x.messages, x.facts from examples e join example_texts x on x.number = e.number"
                           " where e.id = ?", [id])
        if not found:
            raise NotFound(tr("There is no example {id} in the library.", id=id), tr("Its set may have been deleted in another window."))
        return _row(found[0])

    def for_training(self, set_ids: Sequence[str], only_accepted: bool = False) -> Iterator[Example]:
        """Examples of sets, in the order of the sets and of adding: never a rejected or deleted one; with `only_accepted` no new
        one either. Streams; NotFound for an unknown set before the first."""
        numbers = [self._number(id) for id in dict.fromkeys(set_ids)]
        return self._stream(numbers, (1,) if only_accepted else (0, 1))

    def _stream(self, numbers: Sequence[int], states: Sequence[int]) -> Iterator[Example]:
        for number in numbers:
            after = 0
            while True:
                found = self._rows(
                    f"select {_SMALL}, x.messages, x.facts from examples e join example_texts x on x.number = e.number"
                    f" where e.set_number = ? and e.state <> {DELETED} and e.number > ? and +e.state in ({', '.join(map(str, states))})"
                    " order by e.number limit ?", [number, after, PAGE])
                if not found:
                    break
                after = found[-1][0]
                yield from (_row(r).example for r in found)

    def flags(self, sets: Sequence[str] = ()) -> dict[str, int]:
        """How many examples have each flag, most frequent first."""
        _, where, values = self._where(ExampleFilter(sets=tuple(sets)))
        counts: dict[str, int] = {}
        query = f"select e.flags, count(*) from examples e where {where} and e.flags <> '[]' group by e.flags"
        for raw, count in self._rows(query, values):
            for flag in orjson.loads(raw):
                counts[flag] = counts.get(flag, 0) + count
        return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))

    def origins(self, sets: Sequence[str] = ()) -> dict[str, int]:
        """How many examples each origin wrote, most first."""
        _, where, values = self._where(ExampleFilter(sets=tuple(sets)))
        found = self._rows(f"select e.origin, count(*) from examples e where {where} group by e.origin", values)
        return dict(sorted(found, key=lambda pair: (-pair[1], pair[0])))

    # changing: each call is one step of the history

    def edit(self, id: str, messages: Sequence[Message], author: str = "") -> bool:
        """Give an example other messages. False when they are what it has."""
        if not messages:
            raise InputError(tr("An example needs at least one message."), tr("Delete the example, or write a message."))
        text, length = _pack(messages), _length(messages)
        with self._write() as db:
            number = _choose_one(db, id)
            return bool(_change(db, "edit", author, {"messages": text, "length": length, "edited_by": author},
                                f"x.messages is not :messages and e.state <> {DELETED}", "e.number = :number", {"number": number}))

    def set_comment(self, id: str, comment: str, author: str = "") -> bool:
        """Write a note beside an example. False when it says that already."""
        with self._write() as db:
            number = _choose_one(db, id)
            return bool(_change(db, "comment", author, {"comment": comment}, f"e.comment is not :comment and e.state <> {DELETED}",
                                "e.number = :number", {"number": number}))

    def set_status(self, ids: str | Iterable[str] | ExampleFilter, status: str, author: str = "") -> int:
        """Accept, reject, or make new again: examples by id, or all that a filter lets through. One step however many. Returns how many
        have another status now."""
        _check_status(status, empty=False)
        return self._set_state(ids, status, STATUSES.index(cast(Status, status)), author)

    def delete(self, ids: str | Iterable[str] | ExampleFilter, author: str = "") -> int:
        """Take examples out of their sets: undo brings them back. One step however many. Returns how many went."""
        return self._set_state(ids, "delete", DELETED, author)

    def _set_state(self, ids: str | Iterable[str] | ExampleFilter, what: str, state: int, author: str) -> int:
        touched = f"e.state <> :state and e.state <> {DELETED}"
        if isinstance(ids, ExampleFilter):
            tables, where, values = self._where(ids)
            if tables != "examples e":
                where = f"e.number in (select e.number from {tables} where {where})"
            with self._write() as db:
                db.execute("begin immediate")
                return _change(db, what, author, {"state": state}, touched, where, values)
        chosen = json.dumps([ids] if isinstance(ids, str) else list(ids))
        with self._write() as db:
            db.execute("begin immediate")
            return _change(db, what, author, {"state": state}, touched, "e.id in (select value from json_each(:ids))", {"ids": chosen})

    # history

    def undo(self) -> ExampleChange | None:
        """Take the newest step back. None when there is nothing to undo."""
        return self._step("select max(number) from example_changes where undone = 0", "before")

    def redo(self) -> ExampleChange | None:
        """Bring back what was undone last. None when there is nothing to redo."""
        return self._step("select min(number) from example_changes where undone = 1", "after")

    def changes(self, limit: int = 100) -> list[ExampleChange]:
        """Newest first, overtaken ones too."""
        rows = self._rows("select number, made, author, what, examples, undone,"
                          " case when examples = 1 then (select e.id from example_changed c join examples e on e.number = c.example"
                          " where c.change = example_changes.number) else '' end"
                          " from example_changes order by number desc limit ?", [limit])
        return [_changed(r) for r in rows]

    def history(self, id: str) -> list[ExampleHistory]:
        """What happened to one example, oldest first, undone steps too: every text it ever had is in here or in force."""
        row = self.get(id)
        added = self._rows("select added, added_by from examples where id = ?", [id])[0]
        found = self._rows("select h.made, h.author, h.what, c.before_messages, c.before_state, h.undone from example_changed c"
                           " join example_changes h on h.number = c.change where c.example = ? order by h.number", [row.position])
        events = [ExampleHistory(r[0], r[1], r[2], None if r[3] is None else _unpack(r[3]), STATUSES[r[4]], bool(r[5])) for r in found]
        return [ExampleHistory(added[0], added[1] or row.example.origin, "add", None, "", False), *events]

    def _step(self, which: str, side: str) -> ExampleChange | None:
        with self._write() as db:
            db.execute("begin immediate")
            number = db.execute(which).fetchone()[0]
            if number is None:
                return None
            _apply(db, number, side)
            db.execute("update example_changes set undone = ? where number = ?", (int(side == "before"), number))
            found = db.execute("select number, made, author, what, examples, undone from example_changes where number = ?",
                               (number,)).fetchone()
            ids = db.execute("select e.id from example_changed c join examples e on e.number = c.example where c.change = ? limit 2",
                             (number,)).fetchall()
        return _changed((*found, ids[0][0] if len(ids) == 1 else ""))

    # SQL

    def _where(self, filter: ExampleFilter) -> tuple[str, str, dict[str, Any]]:
        """(tables, condition, values by name) of a filter."""
        parts, values = [f"e.state <> {DELETED}"], dict[str, Any]()
        tables = "examples e"
        if filter.sets:
            values |= {f"set{n}": self._number(id) for n, id in enumerate(filter.sets)}
            parts.append("e.set_number = :set0" if len(filter.sets) == 1 else
                         f"e.set_number in ({', '.join(f':set{n}' for n in range(len(filter.sets)))})")
        if filter.status:
            _check_status(filter.status)
            values["status"] = STATUSES.index(cast(Status, filter.status))
            parts.append("e.state = :status")
        for name, sign in (("low", ">="), ("high", "<=")):
            if getattr(filter, name) is not None:
                values[name] = getattr(filter, name)
                parts.append(f"e.score {sign} :{name}")
        if filter.origin:
            values["origin"] = filter.origin
            parts.append("e.origin = :origin")
        if filter.flag:
            values["flag"] = f"%{_like(orjson.dumps(filter.flag).decode())}%"
            parts.append("e.flags like :flag escape '\\'")
        if filter.search:
            tables += " join example_texts t on t.number = e.number"
            # As the text stands in its JSON. SQLite folds only the case of ASCII; other words are looked for as people write them.
            forms = dict.fromkeys([filter.search] if filter.search.isascii() else
                                  [filter.search, filter.search.lower(), filter.search.upper(), filter.search.capitalize(),
                                   filter.search.title()])
            values |= {f"search{n}": f"%{_like(orjson.dumps(form).decode()[1:-1])}%" for n, form in enumerate(forms)}
            parts.append("(" + " or ".join(f"t.messages like :search{n} escape '\\'" for n in range(len(forms))) + ")")
        return tables, " and ".join(parts), values

    def _number(self, id: str) -> int:
        """A set's number, by its id; NotFound names those that there are."""
        head, _, tail = id.partition("-")
        if head == "set" and tail.isdecimal() and len(tail) < 16 and \
                self._rows("select 1 from example_sets where number = ?", [int(tail)]):
            return int(tail)
        known = ", ".join(s.id for s in self.sets())
        raise NotFound(tr("There is no set of examples called {id}.", id=id), tr("The library has: {known}.", known=known) if known else
                       tr("The library has none yet."))


def library_mark(rows: Callable[[str], list[tuple[Any, ...]]]) -> tuple[int, ...]:
    """Counters that move with every change of examples, and come back to where they were only when a change is undone."""
    counted = dict(rows("select name, seq from sqlite_sequence where name in ('examples', 'example_changes')"))
    undone = rows("select coalesce(sum(undone), 0) from example_changes")[0][0]
    return int(counted.get("examples", 0)), int(counted.get("example_changes", 0)), int(undone)


def _new_set(db: sqlite3.Connection, title: str, origin: str, run: str) -> int:
    number = db.execute("insert into example_sets (title, created, origin, run) values (?, ?, ?, ?)",
                        (title, time.time(), origin, run)).lastrowid
    assert number is not None
    return number


def _insert(db: sqlite3.Connection, set_number: int, rows: Sequence[Example], author: str, flagged: int) -> int:
    """Add the rows whose ids the set does not have, within a transaction. `flagged` is the state of those with flags."""
    if db.execute("select 1 from example_sets where number = ?", (set_number,)).fetchone() is None:
        raise NotFound(tr("The set of examples is no longer there."), tr("It may have been deleted in another window."))
    own = f"@{_name(set_number)}"
    asked = json.dumps([name for row in rows for name in (row.id, row.id + own)])
    taken = dict(db.execute("select id, set_number from examples where id in (select value from json_each(?))", (asked,)))
    number = int(db.execute("select coalesce(max(seq), 0) from sqlite_sequence where name = 'examples'").fetchone()[0])
    now, small, texts, states = time.time(), [], [], [0, 0, 0]
    for row in rows:
        if taken.get(row.id) == set_number or row.id + own in taken:
            continue
        id = row.id + own if row.id in taken else row.id
        taken[id] = set_number
        number += 1
        state = flagged if row.flags else 0
        states[state] += 1
        small.append((number, id, set_number, state, row.score, row.origin, orjson.dumps(row.flags).decode(), _length(row.messages), now,
                      author, now, "", ""))
        texts.append((number, _pack(row.messages), json.dumps(row.facts)))
    db.executemany("insert into examples (number, id, set_number, state, score, origin, flags, length, added, added_by, updated, edited_by,"
                   " comment) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", small)
    db.executemany("insert into example_texts (number, messages, facts) values (?, ?, ?)", texts)
    db.execute("update example_sets set new = new + ?, accepted = accepted + ?, rejected = rejected + ? where number = ?",
               (*states, set_number))
    return len(small)


def _choose_one(db: sqlite3.Connection, id: str) -> int:
    db.execute("begin immediate")
    found = db.execute(f"select number from examples where id = ? and state < {DELETED}", (id,)).fetchone()
    if found is None:
        raise NotFound(tr("There is no example {id} in the library.", id=id), tr("It may have been deleted in another window."))
    return int(found[0])


def _change(db: sqlite3.Connection, what: str, author: str, after: Mapping[str, Any], touched: str, where: str,
            values: Mapping[str, Any]) -> int:
    """One step of the history: examples that `where` and `touched` choose get the columns in `after`. Returns how many; none is no step."""
    now = time.time()
    number = db.execute("insert into example_changes (made, author, what, examples) values (?, ?, ?, 0)", (now, author, what)).lastrowid
    assert number is not None
    after = {**after, "updated": now}
    before, then = [], []
    for name in _TOUCHED:
        kept = name not in after
        column = f"x.{name}" if name == "messages" else f"e.{name}"
        absent = kept and name in ("messages", "length", "comment")
        before.append("null" if absent else column)
        then.append("null" if absent else column if kept else f":{name}")
    columns = ", ".join(f"{side}_{name}" for side in ("before", "after") for name in _TOUCHED)
    texts = " join example_texts x on x.number = e.number" if "messages" in after else ""
    count = db.execute(f"insert into example_changed (change, example, {columns}) select :change, e.number, {', '.join(before + then)}"
                       f" from examples e{texts} where ({where}) and {touched}", {**values, **after, "change": number}).rowcount
    if not count:
        db.execute("delete from example_changes where number = ?", (number,))
        return 0
    db.execute("update example_changes set undone = 2 where undone = 1")
    db.execute("update example_changes set examples = ? where number = ?", (count, number))
    _apply(db, number, "after")
    return count


def _apply(db: sqlite3.Connection, change: int, side: str) -> None:
    """Put the examples of one step as they were before or after it, and the counts of their sets with them."""
    other = "after" if side == "before" else "before"
    for set_number, left, state, count in db.execute(
            f"select e.set_number, c.{other}_state, c.{side}_state, count(*) from example_changed c join examples e on e.number = c.example"
            f" where c.change = ? and c.{other}_state <> c.{side}_state group by 1, 2, 3", (change,)).fetchall():
        for place, sign in ((left, "-"), (state, "+")):
            if place != DELETED:
                db.execute(f"update example_sets set {STATUSES[place]} = {STATUSES[place]} {sign} ? where number = ?", (count, set_number))
    db.execute(f"update examples set state = c.{side}_state, length = coalesce(c.{side}_length, length),"
               f" comment = coalesce(c.{side}_comment, comment), updated = c.{side}_updated, edited_by = c.{side}_edited_by"
               " from example_changed c where c.change = ? and c.example = examples.number", (change,))
    db.execute(f"update example_texts set messages = c.{side}_messages from example_changed c"
               f" where c.change = ? and c.example = example_texts.number and c.{side}_messages is not null", (change,))


def _name(set_number: int) -> str:
    return f"set-{set_number}"


def _set(r: Sequence[Any]) -> ExampleSet:
    return ExampleSet(_name(r[0]), r[1], r[2], r[3], r[4], r[5] + r[6] + r[7], r[6], r[7], r[5])


def _row(r: Sequence[Any]) -> ExampleRow:
    example = Example(id=r[1], messages=_unpack(r[13]), origin=r[5], score=r[4], flags=tuple(orjson.loads(r[6])), facts=json.loads(r[14]))
    gone = r[3] == DELETED
    return ExampleRow(example, _name(r[2]), STATUSES[0 if gone else r[3]], r[11], r[10], r[12], r[7], r[0], gone)


def _changed(r: Sequence[Any]) -> ExampleChange:
    return ExampleChange(r[0], r[1], r[2], r[3], r[4], r[5] == 1, r[5] == 2, r[6] or "")


def packed(messages: Iterable[tuple[str, str]]) -> str:
    """Messages, (role, content), as the library keeps them: JSON with one letter a role, so that a search for "user" finds texts and not
    roles."""
    return orjson.dumps([[_SHORT.get(role, role), content] for role, content in messages]).decode()


def own_id(id: str) -> str:
    """The id that an example came with, where the library had to give it another one (`ID@SET`)."""
    head, at, tail = id.rpartition("@set-")
    return head if at and tail.isdecimal() else id


def _pack(messages: Iterable[Message]) -> str:
    return packed((m.role, m.content) for m in messages)


def unpacked(text: str) -> list[tuple[str, str]]:
    """What `packed` made, as (role, content)."""
    return [(_LONG.get(role, role), content) for role, content in orjson.loads(text)]


def _unpack(text: str) -> tuple[Message, ...]:
    return tuple(Message(role=role, content=content) for role, content in unpacked(text))


def _length(messages: Iterable[Message]) -> int:
    return sum(len(m.content) for m in messages)


def _like(text: str) -> str:
    """Text that LIKE takes literally."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _check_status(status: str, empty: bool = True) -> None:
    if status not in STATUSES and not (empty and not status):
        raise SettingError(tr("There is no status called {status}.", status=status),
                           tr("Choose one of: {choices}.", choices=", ".join(STATUSES)))
