"""`Library.problems`: sets of problems with their known answers: taken whole or not at all, paged, edited, with a history for undo, and
with what was found of them elsewhere (contamination).

A problem's id is the hash of what it says (rows.problem_id), so an edit changes it. Which problems are held out goes by the hash of the
prompt, the same on every machine, so that no prompt is ever on both sides. Nothing here reads people's files (engine/text/problem_files)
or makes problems (engine/verifiers/making.py).
"""

import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson

from engine.contract.errors import InputError, NotFound, SettingError
from engine.contract.rows import Example, Message, Problem, problem_id
from engine.contract.words import tr
from engine.project.examples import Examples, packed, unpacked

SET = "problems"
CHUNK = 4_000
"""Rows of one transaction of `take`."""
PAGE = 1_000
"""Rows read at once where all of a set are streamed."""
KEYS = 2**63
"""How many keys of prompts there are."""
ABANDONED = 24 * 3600.0
"""Seconds after which a set that nobody finished is taken for left behind."""
HELD_OUT_PERCENT = 10.0
SHORT_ANSWER = 80
"""Characters of an example's last answer that can be compared with."""
KEPT_FACTS = ("inputs", "document", "quote", "check", "kind", "recipe")
"""What a problem keeps of the example it was made of."""
SORTS = {"place": "p.number", "difficulty": "p.difficulty is null, p.difficulty, p.number",
         "answer": "x.answer collate nocase, p.number"}
REVERSED = {"place": "p.number desc", "difficulty": "p.difficulty is null, p.difficulty desc, p.number",
            "answer": "x.answer collate nocase desc, p.number"}
_SIDES = ("id", "prompt_key", "held_out", "gone")
_TOUCHED = (*_SIDES, "prompt", "answer")
"""Columns that a step of the history can change."""
_COLUMNS = "p.id, x.prompt, x.answer, p.held_out, p.difficulty, p.origin, x.facts"

Read = Callable[[str, Sequence[Any] | Mapping[str, Any]], list[tuple[Any, ...]]]
Write = Callable[[], Any]


@dataclass(frozen=True)
class ProblemSet:
    """A named set of `count` problems, `held_out` of them among these. `origin` as in rows.Problem, `run` the run it came from (""),
    `source` what it was made of, as JSON (a file with its columns, a generator with its settings). `difficulties` are (difficulty, count),
    easy ones first; problems without one are in none."""

    id: str
    title: str
    created: float
    origin: str
    run: str
    count: int
    held_out: int
    difficulties: tuple[tuple[float, int], ...] = ()
    author: str = ""
    source: str = ""


@dataclass(frozen=True)
class ProblemStep:
    """One step of the history: edit, hold_out or remove, and how many problems it touched. `undone`: can be redone."""

    number: int
    made: float
    author: str
    what: str
    problems: int
    undone: bool


@dataclass(frozen=True)
class Seen:
    """That a problem was looked for in `source` (a corpus or a set of examples): `quote` is what of it stands there, "" for nothing.
    facts: `document` or `example`, `share` of its words, `where` ("prompt", "answer", "solution")."""

    source: str
    quote: str
    made: float
    facts: dict[str, Any] = field(default_factory=dict)


class Problems:
    """On the library's connection, safe in several threads and processes."""

    def __init__(self, read: Read, write: Write) -> None:
        self._rows, self._write = read, write

    # sets

    def sets(self) -> list[ProblemSet]:
        """Oldest first. Their counts are kept, not counted."""
        return [_set(r) for r in self._rows(_SETS + " order by number", [])]

    def set_of(self, id: str) -> ProblemSet:
        return _set(self._rows(_SETS + " and number = ?", [self._number(id)])[0])

    def rename(self, id: str, title: str) -> None:
        with self._write() as db:
            db.execute("update problem_sets set title = ? where number = ?", (title, self._number(id)))

    def delete_set(self, id: str) -> None:
        """Remove a set, its problems and their history for good: no step of the history, so ask first."""
        number = self._number(id)
        with self._write() as db:
            db.execute("begin immediate")
            _forget(db, number)

    def clock(self) -> int:
        """Moves with every change of problems and sets."""
        return int(self._rows("select ticks from problem_clock", [])[0][0])

    # adding

    def take(self, title: str, rows: Iterable[Problem], *, origin: str, held_out_percent: float = HELD_OUT_PERCENT, author: str = "",
             source: str = "", run: str = "", into: str = "") -> ProblemSet:
        """Make a set of the problems of a stream, or put them `into` one: all of them or, after an error or a kill, none. Each once by its
        id. `held_out_percent` of the prompts, chosen by their hash, are held out beside those whose row says so; of two prompts or more
        neither side is left empty by that share. A prompt is on one side, whatever its rows say. Raises InputError where there is none, or
        one that does not end with a person's turn."""
        if not 0 <= held_out_percent <= 100:
            raise SettingError(tr("{percent} % cannot be held out.", percent=held_out_percent), tr("Choose 0 to 100."),
                               field="held_out_percent")
        target = self._number(into) if into else 0
        with self._write() as db:
            self._sweep(db)
            now = time.time()
            number = db.execute("insert into problem_sets (title, created, origin, run, author, source, touched) values"
                                " (?, ?, ?, ?, ?, ?, ?)", (title, now, origin, run, author, source, now)).lastrowid
        try:
            below, stream = round(held_out_percent / 100 * KEYS), iter(rows)
            while chunk := list(islice(stream, CHUNK)):
                with self._write() as db:
                    db.execute("begin immediate")
                    _insert(db, number, chunk, below, origin)
            with self._write() as db:
                db.execute("begin immediate")
                _divide(db, number, held_out_percent, alone=not target)
                if target:
                    _join(db, number, target)
                _finish(db, target or number)
        except BaseException:
            with self._write() as db:
                db.execute("begin immediate")
                _forget(db, number)
            raise
        return self.set_of(_name(target or number))

    def from_examples(self, set_ids: Sequence[str], title: str = "", *, last_answers: bool = False,
                      held_out_percent: float = HELD_OUT_PERCENT, author: str = "", into: str = "") -> ProblemSet:
        """Make problems of the examples of these sets that have a known answer (facts["answer"]), or also of those whose last answer is
        short enough to be compared with (`last_answers`). Rejected examples are left out. InputError where none has one."""
        examples = Examples(self._rows, self._write)
        sets = [examples.get_set(id) for id in dict.fromkeys(set_ids)]
        origin = f"examples:{sets[0].id}" if len(sets) == 1 else "examples"

        def rows() -> Iterator[Problem]:
            for one in sets:
                for example in examples.for_training([one.id]):
                    if (made := problem_of_example(example, f"examples:{one.id}", last_answers)) is not None:
                        yield made
        try:
            return self.take(title or ", ".join(one.title for one in sets), rows(), origin=origin, held_out_percent=held_out_percent,
                             author=author, source=", ".join(one.id for one in sets), run=sets[0].run if len(sets) == 1 else "", into=into)
        except InputError as wrong:
            if wrong.code != "no_problems":
                raise
            raise InputError(tr("None of these examples has a known answer."),
                             tr("Take their last answers where these are short, or choose other sets."), code="no_answers",
                             field="examples") from None

    def _sweep(self, db: sqlite3.Connection) -> None:
        """What a kill left of an earlier `take`."""
        db.execute("begin immediate")
        for (number,) in db.execute("select number from problem_sets where complete = 0 and touched < ?",
                                    (time.time() - ABANDONED,)).fetchall():
            _forget(db, number)

    # reading

    def count(self, set_ids: Sequence[str] = (), *, search: str = "", held_out: bool | None = None, seen: bool | None = None) -> int:
        """How many `page` would go through."""
        tables, where, values = self._where(set_ids, search, held_out, seen)
        return int(self._rows(f"select count(*) from {tables} where {where}", values)[0][0])

    def page(self, set_ids: Sequence[str] = (), start: int = 0, count: int = 50, *, search: str = "", held_out: bool | None = None,
             sort: str = "place", seen: bool | None = None) -> list[Problem]:
        """Some problems of sets (of all where empty): with `search` in prompt or answer, held out or not, found elsewhere or not. Sorts:
        place (as added), difficulty (easy first; without one last), answer; with "-" before it the other way round. One that is in several
        of the sets is there as often."""
        return [problem_of(r) for r in self._page(_COLUMNS, set_ids, start, count, search, held_out, sort, seen)]

    def places(self, set_ids: Sequence[str] = (), start: int = 0, count: int = 50, *, search: str = "", held_out: bool | None = None,
               sort: str = "place", seen: bool | None = None) -> list[tuple[str, str]]:
        """(set, problem) by their ids, of what `page` gives."""
        return [(_name(r[0]), r[1]) for r in self._page("p.set_number, p.id", set_ids, start, count, search, held_out, sort, seen)]

    def _page(self, columns: str, set_ids: Sequence[str], start: int, count: int, search: str, held_out: bool | None, sort: str,
              seen: bool | None) -> list[tuple[Any, ...]]:
        ordered = (REVERSED if sort.startswith("-") else SORTS).get(sort.removeprefix("-"))
        if ordered is None:
            raise SettingError(tr("Problems cannot be ordered by {order}.", order=sort),
                               tr("Choose one of: {choices}.", choices=", ".join(SORTS)), field="sort")
        tables, where, values = self._where(set_ids, search, held_out, seen)
        if "x." in ordered and " x " not in tables:
            tables += _TEXTS
        # The page is chosen from the small columns; only its own texts are read.
        return self._rows(f"with page as (select p.number from {tables} where {where} order by {ordered} limit :limit offset :start)"
                          f" select {columns} from page join problems p on p.number = page.number{_TEXTS} order by {ordered}",
                          values | {"limit": count, "start": start})

    def get(self, id: str, set_id: str = "") -> Problem:
        """By id, in one set or in whichever has it. NotFound."""
        tables, where, values = self._where([set_id] if set_id else (), "", None, None)
        found = self._rows(f"select {_COLUMNS} from {tables}{_TEXTS} where {where} and p.id = :id order by p.number limit 1",
                           values | {"id": id})
        if not found:
            raise _unknown(id)
        return problem_of(found[0])

    def rows(self, set_ids: Sequence[str], held_out: bool | None = None, beside: Sequence[str] = ()) -> Iterator[Problem]:
        """All problems of these sets, each once, in the order of the sets and of adding; those of the sets `beside` are passed over.
        Streams; NotFound for an unknown set before the first."""
        numbers = [self._number(id) for id in dict.fromkeys(set_ids)]
        return self._stream(numbers, held_out, [self._number(id) for id in beside])

    def _stream(self, numbers: Sequence[int], held_out: bool | None, beside: Sequence[int]) -> Iterator[Problem]:
        side = "" if held_out is None else f" and p.held_out = {int(held_out)}"
        for n, number in enumerate(numbers):
            after, others = 0, ", ".join(map(str, (*beside, *numbers[:n])))
            earlier = f" and not exists (select 1 from problems o where o.id = p.id and o.gone = 0 and o.set_number in" \
                f" ({others}){side.replace('p.', 'o.')})" if others else ""
            while True:
                found = self._rows(f"select {_COLUMNS}, p.number from problems p{_TEXTS} where p.set_number = ? and p.gone = 0"
                                   f" and p.number > ?{side}{earlier} order by p.number limit ?", [number, after, PAGE])
                if not found:
                    break
                after = found[-1][-1]
                yield from (problem_of(r) for r in found)

    # changing: each call is one step of the history

    def edit(self, id: str, set_id: str, *, prompt: Sequence[Message] | str | None = None, answer: Any = None,
             held_out: bool | None = None, author: str = "") -> Problem:
        """Give a problem of a set another prompt (a text: of its last turn), answer or side; None leaves what is. Others with its prompt
        change sides with it, and one whose prompt becomes that of others takes theirs. Its id becomes that of what it says now. InputError
        where the set has such a problem already."""
        number = self._number(set_id)
        with self._write() as db:
            db.execute("begin immediate")
            found = db.execute(f"select {_COLUMNS}, p.number from problems p{_TEXTS} where p.set_number = ? and p.id = ? and p.gone = 0",
                               (number, id)).fetchone()
            if found is None:
                raise _unknown(id)
            was = problem_of(found)
            if isinstance(prompt, str):
                prompt = (*was.prompt[:-1], Message(role="user", content=prompt))
            now = was.model_copy(update={"prompt": was.prompt if prompt is None else tuple(prompt),
                                         "answer": was.answer if answer is None else answer,
                                         "held_out": was.held_out if held_out is None else held_out})
            _check(now)
            now = now.model_copy(update={"id": problem_id(now.prompt, now.answer)})
            key, place = prompt_key(now.prompt), found[-1]
            if now.id != id and db.execute("select 1 from problems where set_number = ? and id = ? and gone = 0",
                                           (number, now.id)).fetchone():
                raise InputError(tr("The set has this problem already."), tr("Remove one of the two."), code="same_problem")
            peers = db.execute("select held_out from problems where set_number = ? and prompt_key = ? and gone = 0 and number <> ?",
                               (number, key, place)).fetchone()
            if peers is not None and held_out is None:
                now = now.model_copy(update={"held_out": bool(peers[0])})
            if now != was:
                step = _new_step(db, "edit" if now.id != id else "hold_out", author)
                changes = [(place, {"id": now.id, "prompt_key": key, "held_out": int(now.held_out),
                                    "prompt": _pack(now.prompt), "answer": _answer(now.answer)})]
                if held_out is not None:
                    changes += [(peer, {"held_out": int(held_out)}) for (peer,) in db.execute(
                        "select number from problems where set_number = ? and prompt_key = ? and gone = 0 and number <> ? and"
                        " held_out <> ?", (number, key, place, int(held_out))).fetchall()]
                for problem, columns in changes:
                    _note(db, step, columns, "p.number = :number", {"number": problem})
                _put_in_force(db, step)
        return now

    def hold_out(self, ids: Iterable[str], held_out: bool = True, *, set_id: str = "", author: str = "") -> int:
        """Move problems to one side, in one set or wherever they are, and with each all that have its prompt there. One step however many;
        how many changed."""
        chosen = json.dumps(list(ids))
        where, values = self._in(set_id)
        with self._write() as db:
            db.execute("begin immediate")
            step = _new_step(db, "hold_out", author)
            _note(db, step, {"held_out": int(held_out)},
                  f"p.held_out <> :held_out and {where} and (p.set_number, p.prompt_key) in (select p.set_number, p.prompt_key from"
                  f" problems p where p.gone = 0 and {where} and p.id in (select value from json_each(:ids)))", values | {"ids": chosen})
            return _put_in_force(db, step)

    def remove(self, ids: Iterable[str], *, set_id: str = "", author: str = "") -> int:
        """Take problems out of one set, or of all that hold them: undo brings them back. One step however many; how many went."""
        where, values = self._in(set_id)
        with self._write() as db:
            db.execute("begin immediate")
            step = _new_step(db, "remove", author)
            _note(db, step, {"gone": 1}, f"{where} and p.id in (select value from json_each(:ids))",
                  values | {"ids": json.dumps(list(ids))})
            return _put_in_force(db, step)

    # history

    def undo(self) -> ProblemStep | None:
        """Take the newest step back. A problem that the set has anew since then is left as it is. None when there is nothing to undo."""
        return self._step("select max(number) from problem_steps where undone = 0", "before")

    def redo(self) -> ProblemStep | None:
        """Bring back what was undone last. None when there is nothing to redo."""
        return self._step("select min(number) from problem_steps where undone = 1", "after")

    def steps(self, limit: int = 100) -> list[ProblemStep]:
        """Newest first, those that a later step overtook left out."""
        return [_stepped(r) for r in self._rows(_STEPS + " where undone < 2 order by number desc limit ?", [limit])]

    def _step(self, which: str, side: str) -> ProblemStep | None:
        with self._write() as db:
            db.execute("begin immediate")
            number = db.execute(which).fetchone()[0]
            if number is None:
                return None
            _apply(db, number, side)
            db.execute("update problem_steps set undone = ? where number = ?", (int(side == "before"), number))
            return _stepped(db.execute(_STEPS + " where number = ?", (number,)).fetchone())

    # found elsewhere

    def mark_seen(self, found: Mapping[str, Mapping[str, Any]], *, looked: Mapping[str, Iterable[str]] | None = None) -> None:
        """Keep what a search for problems found: {problem id: {"corpus": id, "quote": text, ...}}, and by corpus (or set of examples) which
        problems were looked for at all. What was kept of these from an earlier search is replaced."""
        now = time.time()
        with self._write() as db:
            db.execute("begin immediate")
            db.executemany("insert or replace into problem_seen values (?, ?, '', '{}', ?)",
                           ((id, source, now) for source, ids in (looked or {}).items() for id in ids))
            db.executemany("insert or replace into problem_seen values (?, ?, ?, ?, ?)", (
                (id, str(one["corpus"]), str(one["quote"]), json.dumps({k: v for k, v in one.items() if k not in ("corpus", "quote")}), now)
                for id, one in found.items()))

    def seen(self, ids: Iterable[str]) -> dict[str, tuple[Seen, ...]]:
        """Where problems were looked for, by their ids: those that were found first. Problems nobody looked for are left out."""
        made: dict[str, list[Seen]] = {}
        for r in self._rows("select problem, source, quote, made, facts from problem_seen where problem in (select value from json_each(?))"
                            " order by quote = '', source", [json.dumps(list(ids))]):
            made.setdefault(r[0], []).append(Seen(r[1], r[2], r[3], json.loads(r[4])))
        return {id: tuple(all) for id, all in made.items()}

    def seen_counts(self, set_ids: Sequence[str] = ()) -> dict[str, tuple[int, int]]:
        """By corpus or set of examples: how many problems of these sets were looked for there, and how many were found."""
        _, where, values = self._where(set_ids, "", None, None)
        return {r[0]: (r[1], r[2]) for r in self._rows(
            "select s.source, count(*), sum(s.quote <> '') from problems p join problem_seen s on s.problem = p.id"
            f" where {where} group by s.source order by s.source", values)}

    # SQL

    def _where(self, set_ids: Sequence[str], search: str, held_out: bool | None, seen: bool | None) -> tuple[str, str, dict[str, Any]]:
        """(tables, condition, values by name)."""
        tables, parts, values = "problems p", ["p.gone = 0"], dict[str, Any]()
        if set_ids:
            parts.append(f"p.set_number in ({', '.join(str(self._number(id)) for id in dict.fromkeys(set_ids))})")
        else:
            parts.append("p.set_number in (select number from problem_sets where complete = 1)")
        if held_out is not None:
            parts.append(f"p.held_out = {int(held_out)}")
        if seen is not None:
            parts.append(f"{'' if seen else 'not '}exists (select 1 from problem_seen s where s.problem = p.id and s.quote <> '')")
        if search:
            tables += _TEXTS
            forms = dict.fromkeys([search] if search.isascii() else [search, search.lower(), search.upper(), search.capitalize()])
            values |= {f"search{n}": f"%{_like(form)}%" for n, form in enumerate(_quoted(form) for form in forms)}
            parts.append("(" + " or ".join(f"x.{column} like :search{n} escape '\\'" for n in range(len(forms))
                                           for column in ("prompt", "answer")) + ")")
        return tables, " and ".join(parts), values

    def _in(self, set_id: str) -> tuple[str, dict[str, Any]]:
        if set_id:
            return "p.set_number = :set_number", {"set_number": self._number(set_id)}
        return "p.set_number in (select number from problem_sets where complete = 1)", {}

    def _number(self, id: str) -> int:
        """A set's number, by its id; NotFound names those that there are."""
        head, _, tail = id.rpartition("-")
        if head == SET and tail.isdecimal() and len(tail) < 16 and \
                self._rows("select 1 from problem_sets where number = ? and complete = 1", [int(tail)]):
            return int(tail)
        known = ", ".join(s.id for s in self.sets())
        raise NotFound(tr("There is no set of problems called {id}.", id=id), tr("The library has: {known}.", known=known) if known else
                       tr("The library has none yet."))


_SETS = "select number, title, created, origin, run, problems, held_out, difficulties, author, source from problem_sets where complete = 1"
_STEPS = "select number, made, author, what, problems, undone from problem_steps"
_TEXTS = " join problem_texts x on x.number = p.number"


def problem_of_example(row: Example, origin: str, last_answers: bool = False) -> Problem | None:
    """The problem in an example: what was asked before its last answer, and the known one; None where it has none."""
    last = max((n for n, m in enumerate(row.messages) if m.role == "assistant"), default=len(row.messages))
    prompt, said = row.messages[:last], row.messages[last].content if last < len(row.messages) else ""
    answer = row.facts.get("answer")
    if answer is None and last_answers and said.strip() and len(said) <= SHORT_ANSWER and "\n" not in said.strip():
        answer = said.strip()
    if answer is None or answer == "" or not prompt or prompt[-1].role != "user" or not prompt[-1].content.strip():
        return None
    facts: dict[str, Any] = {"example": row.id}
    if said.strip() and said.strip() != answer:
        facts["solution"] = said
    facts |= {name: row.facts[name] for name in KEPT_FACTS if name in row.facts}
    hard = row.facts.get("difficulty", row.facts.get("level"))
    return Problem(id=problem_id(prompt, answer), prompt=prompt, answer=answer, origin=origin, facts=facts,
                   difficulty=float(hard) if isinstance(hard, (int, float)) and not isinstance(hard, bool) else None)


def prompt_key(prompt: Sequence[Message]) -> int:
    """0 up to KEYS: chance, but the same on every machine."""
    text = _pack(prompt).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8]) >> 1


def problem_of(r: Sequence[Any]) -> Problem:
    """A problem from its columns."""
    return Problem(id=r[0], prompt=tuple(Message(role=role, content=content) for role, content in unpacked(r[1])), answer=json.loads(r[2]),
                   held_out=bool(r[3]), difficulty=r[4], origin=r[5], facts=json.loads(r[6]))


def _check(row: Problem) -> None:
    if not row.prompt or row.prompt[-1].role != "user" or not row.prompt[-1].content.strip():
        raise InputError(tr("A problem needs a prompt that ends with a question."), tr("Write what is asked."), code="no_prompt",
                         field="prompt")
    try:
        for text in (*(m.content for m in row.prompt), json.dumps([row.answer, row.facts], ensure_ascii=False)):
            text.encode()
    except UnicodeEncodeError as wrong:
        raise InputError(tr("A problem holds what is no text: {reason}.", reason=str(wrong)), tr("Leave it out, or mend it."),
                         code="no_text") from None


def _insert(db: sqlite3.Connection, set_number: int, rows: Sequence[Problem], below: int, origin: str) -> None:
    """Add the rows whose ids the unfinished set does not have, within a transaction."""
    if db.execute("select 1 from problem_sets where number = ?", (set_number,)).fetchone() is None:
        raise NotFound(tr("The set of problems is no longer there."), tr("It may have been deleted in another window."))
    unique: dict[str, Problem] = {}
    for row in rows:
        _check(row)
        unique.setdefault(problem_id(row.prompt, row.answer), row)
    there = {r[0] for r in db.execute("select id from problems where set_number = ? and gone = 0 and id in (select value from"
                                      " json_each(?))", (set_number, json.dumps(list(unique))))}
    number = int(db.execute("select coalesce(max(seq), 0) from sqlite_sequence where name = 'problems'").fetchone()[0])
    small, texts = [], []
    for id, row in unique.items():
        if id in there:
            continue
        number += 1
        key = prompt_key(row.prompt)
        small.append((number, id, set_number, key, int(row.held_out or key < below), row.difficulty, row.origin or origin))
        texts.append((number, _pack(row.prompt), _answer(row.answer), json.dumps(row.facts)))
    db.executemany("insert into problems (number, id, set_number, prompt_key, held_out, difficulty, origin) values (?, ?, ?, ?, ?, ?, ?)",
                   small)
    db.executemany("insert into problem_texts values (?, ?, ?, ?)", texts)
    db.execute("update problem_sets set touched = ? where number = ?", (time.time(), set_number))


def _divide(db: sqlite3.Connection, number: int, percent: float, alone: bool) -> None:
    """Make each prompt stand on one side; of a set that is `alone` neither side is empty where a share is asked for."""
    low, high, held, free = db.execute("select min(prompt_key), max(prompt_key), sum(held_out), sum(held_out = 0) from problems"
                                       " where set_number = ?", (number,)).fetchone()
    if low is None:
        raise InputError(tr("There are no problems to take."), tr("Choose another source."), code="no_problems")
    if alone and 0 < percent < 100 and low != high and not held:
        db.execute("update problems set held_out = 1 where set_number = ? and prompt_key = ?", (number, low))
    elif alone and 0 < percent < 100 and low != high and not free and percent / 100 * KEYS > high:
        db.execute("update problems set held_out = 0 where set_number = ? and prompt_key = ?", (number, high))
    db.execute("update problems set held_out = 1 where set_number = ? and held_out = 0 and prompt_key in"
               " (select prompt_key from problems where set_number = ? and held_out = 1)", (number, number))


def _join(db: sqlite3.Connection, number: int, target: int) -> None:
    """Move the problems of an unfinished set into another one; a prompt that is there decides on the side."""
    if db.execute("select 1 from problem_sets where number = ?", (target,)).fetchone() is None:
        raise NotFound(tr("The set of problems is no longer there."), tr("It may have been deleted in another window."))
    db.execute("delete from problem_texts where number in (select p.number from problems p where p.set_number = ? and exists"
               " (select 1 from problems o where o.set_number = ? and o.id = p.id and o.gone = 0))", (number, target))
    db.execute("delete from problems where set_number = ? and number not in (select number from problem_texts)", (number,))
    db.execute("update problems set held_out = o.held_out from problems o where problems.set_number = ? and o.set_number = ? and o.gone = 0"
               " and o.prompt_key = problems.prompt_key", (number, target))
    db.execute("update problems set set_number = ? where set_number = ?", (target, number))
    db.execute("delete from problem_sets where number = ?", (number,))


def _finish(db: sqlite3.Connection, number: int) -> None:
    db.execute("update problem_sets set complete = 1 where number = ?", (number,))
    _count(db, [number])
    db.execute("update problem_clock set ticks = ticks + 1")


def _count(db: sqlite3.Connection, numbers: Iterable[int]) -> None:
    """Say anew what sets hold."""
    for number in numbers:
        total, held = db.execute("select count(*), coalesce(sum(held_out), 0) from problems where set_number = ? and gone = 0",
                                 (number,)).fetchone()
        by = db.execute("select difficulty, count(*) from problems where set_number = ? and gone = 0 and difficulty is not null"
                        " group by difficulty order by difficulty", (number,)).fetchall()
        db.execute("update problem_sets set problems = ?, held_out = ?, difficulties = ? where number = ?",
                   (total, held, json.dumps(by), number))


def _forget(db: sqlite3.Connection, number: int) -> None:
    """Remove a set with all that is known of its problems."""
    gone = "(select number from problems where set_number = ?)"
    db.execute("create temp table touched as select step, count(*) as problems from problem_changed"
               f" where problem in {gone} group by step", (number,))
    db.execute(f"delete from problem_changed where problem in {gone}", (number,))
    db.execute("update problem_steps set problems = problem_steps.problems - t.problems from touched t where t.step = problem_steps.number")
    db.execute("delete from problem_steps where problems = 0")
    db.execute("drop table touched")
    db.execute("delete from problem_seen where problem in (select p.id from problems p where p.set_number = ?) and not exists"
               " (select 1 from problems o where o.id = problem_seen.problem and o.set_number <> ?)", (number, number))
    db.execute(f"delete from problem_texts where number in {gone}", (number,))
    db.execute("delete from problems where set_number = ?", (number,))
    db.execute("delete from problem_sets where number = ?", (number,))
    db.execute("update problem_clock set ticks = ticks + 1")


def _new_step(db: sqlite3.Connection, what: str, author: str) -> int:
    number = db.execute("insert into problem_steps (made, author, what, problems) values (?, ?, ?, 0)",
                        (time.time(), author, what)).lastrowid
    assert number is not None
    return int(number)


def _note(db: sqlite3.Connection, step: int, after: Mapping[str, Any], where: str, values: Mapping[str, Any]) -> None:
    """That a step gives the columns in `after` to the problems that `where` chooses."""
    before, then = [], []
    for name in _TOUCHED:
        column = f"p.{name}" if name in _SIDES else f"x.{name}"
        absent = name not in _SIDES and name not in after
        before.append("null" if absent else column)
        then.append("null" if absent else f":{name}" if name in after else column)
    columns = ", ".join(f"{side}_{name}" for side in ("before", "after") for name in _TOUCHED)
    db.execute(f"insert into problem_changed (step, problem, {columns}) select :step, p.number, {', '.join(before + then)}"
               f" from problems p{_TEXTS} where p.gone = 0 and ({where})", {**values, **after, "step": step})


def _put_in_force(db: sqlite3.Connection, step: int) -> int:
    """How many problems the step changes; none is no step."""
    count = int(db.execute("select count(*) from problem_changed where step = ?", (step,)).fetchone()[0])
    if not count:
        db.execute("delete from problem_steps where number = ?", (step,))
        return 0
    db.execute("update problem_steps set undone = 2 where undone = 1")
    db.execute("update problem_steps set problems = ? where number = ?", (count, step))
    _apply(db, step, "after")
    return count


def _apply(db: sqlite3.Connection, step: int, side: str) -> None:
    """Put the problems of one step as they were before or after it, and the counts of their sets with them. One whose place in its set was
    taken by an equal one meanwhile stays as it is."""
    fits = f"c.step = :step and (c.{side}_gone = 1 or not exists (select 1 from problems o join problems m on m.number = c.problem where" \
        f" o.set_number = m.set_number and o.id = c.{side}_id and o.gone = 0 and o.number <> c.problem))"
    db.execute(f"create temp table fitting as select c.* from problem_changed c where {fits}", {"step": step})
    db.execute("update problems set " + ", ".join(f"{name} = c.{side}_{name}" for name in _SIDES) +
               " from fitting c where c.problem = problems.number")
    db.execute(f"update problem_texts set prompt = coalesce(c.{side}_prompt, prompt), answer = coalesce(c.{side}_answer, answer)"
               " from fitting c where c.problem = problem_texts.number")
    sets = [r[0] for r in db.execute("select distinct p.set_number from fitting c join problems p on p.number = c.problem")]
    db.execute("drop table fitting")
    _count(db, sets)
    db.execute("update problem_clock set ticks = ticks + 1")


def _set(r: Sequence[Any]) -> ProblemSet:
    return ProblemSet(_name(r[0]), r[1], r[2], r[3], r[4], r[5], r[6], tuple((float(d), int(n)) for d, n in orjson.loads(r[7])), r[8], r[9])


def _stepped(r: Sequence[Any]) -> ProblemStep:
    return ProblemStep(r[0], r[1], r[2], r[3], r[4], r[5] == 1)


def _name(number: int) -> str:
    return f"{SET}-{number}"


def _pack(prompt: Iterable[Message]) -> str:
    return packed((m.role, m.content) for m in prompt)


def _answer(answer: Any) -> str:
    return json.dumps(answer, ensure_ascii=False)


def _quoted(text: str) -> str:
    """As it stands in JSON."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _like(text: str) -> str:
    """Text that LIKE takes literally."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _unknown(id: str) -> NotFound:
    return NotFound(tr("There is no problem {id} in the library.", id=id), tr("It may have been edited or removed in another window."))
