"""What to label next, and the lists of what is to do, skipped, done and flagged, for one author.

Nothing here is drawn anew at each look: which answer stands left and which pairs are shown again follow from hashes of pair and author.

Pairs shown again. One in twenty of those that an author labels in this library comes a second time, its sides swapped, so that the author's
agreement with himself can be measured. It comes among the others, so that nobody notices it: after 10 to 20 other labels, never within five
labels of another repeat. When nothing else is left, ten other labels in between are enough; those with fewer do not come. Pairs that were
skipped, or labelled on another machine, are not repeated here.
"""

import json
import sqlite3
import time
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from engine.contract.errors import SettingError
from engine.contract.rows import Pair
from engine.contract.words import tr
from engine.project.label_merge import LabelFiles
from engine.project.labels import FIELDS, Label, Side, label_of
from engine.project.pair_sets import CHUNK, TEXTS, pair_of, set_name, tick

ORDERS = ("order", "unsure", "random")
QUEUES = ("todo", "skipped", "done", "flagged", "given")
SOONEST, SPREAD, APART = 10, 11, 5
"""Other labels before a pair is shown again: 10 to 20; and between two that are."""
SHORT_WALK = 200
"""Pairs passed over before the place is remembered."""
PAUSE = 120.0
"""Seconds between two labels that are no more labelling."""
RECENT = 1_000
"""Labels that the rate is taken from."""


@dataclass(frozen=True)
class Card:
    """A pair to be labelled. `left` is the answer to show left; `round` 2 for one shown again (nobody should be told); `why` it comes now,
    "" for no special reason. `set` holds it; `label` is what the author said of it before in this round: nothing, or a flag or comment."""

    pair: Pair
    left: Side
    round: int = 1
    why: str = ""
    set: str = ""
    label: Label | None = None


@dataclass(frozen=True)
class QueueRow:
    """A pair in a list with the author's label, where there is one, else the flag or comment."""

    pair: Pair
    set: str
    label: Label | None
    flagged: bool


@dataclass(frozen=True)
class Progress:
    """How far an author is in some sets; a pair in two of them counts twice. `given` ones came with a label and are neither to do nor done
    (unless the author labelled them). `a_minute` is the rate of the latest labels without pauses of more than two minutes, and
    `seconds_left` what is to do at that rate; both None before there is one."""

    count: int
    done: int
    todo: int
    skipped: int
    flagged: int
    given: int
    repeats: int
    a_minute: float | None
    seconds_left: float | None


class LabelQueues(LabelFiles):
    """The part of `Library.pairs` that says what comes next."""

    _walked: tuple[int, tuple[Any, ...], float] | None = None
    """(clock, (set, author, order, given), up to where): what `next` found out and nobody has written down yet."""

    def next(self, set_ids: Sequence[str], author: str, *, order: str = "order", after: str = "", given: bool = False,
             passing: Iterable[str] = ()) -> Card | None:
        """The next card of an author in these sets: one that the author has neither labelled nor skipped, or a repeat that is due. After
        the pair `after` where that is named (it need not be labelled yet: so the card behind the one that is shown can be fetched ahead),
        and from the beginning behind the last; pairs of `passing`, those at hand already, are passed over. With `given` also pairs that
        came with a label, after the others. None when there is nothing to do. Orders: order (of the sets, and of adding), unsure (the
        newest reward model's least sure first, then the unscored), random."""
        _known(order, ORDERS)
        numbers = [self._number(id) for id in dict.fromkeys(set_ids)]
        if not numbers:
            return None
        skip = sorted({*passing, after} - {""})
        found = self._repeat(numbers, author, skip, spread=True) or self._todo(numbers, author, order, after, skip, given) \
            or self._repeat(numbers, author, skip, spread=False)
        return None if found is None else self._card(*found, author, order)

    def _remember(self, db: sqlite3.Connection) -> None:
        if self._walked is not None and self._walked[0] == db.execute("select ticks from pair_clock").fetchone()[0]:
            db.execute("insert or replace into pair_fronts (set_number, author, sorted, given, at) values (?, ?, ?, ?, ?)",
                       (*self._walked[1], self._walked[2]))
        self._walked = None

    def queue(self, set_ids: Sequence[str], queue: str, author: str, order: str = "order", start: int = 0,
              count: int = 50, search: str = "") -> list[QueueRow]:
        """A page of an author's list: todo, skipped, done, flagged, or given (those that came with a label and have none of the author).
        With `search` those that have it somewhere in prompt or answers (in any case of ASCII letters).
        Orders as of `next`; the lists of what is labelled also in "latest", the last one first."""
        _known(queue, QUEUES)
        _known(order, (*ORDERS, "latest") if queue in ("skipped", "done", "flagged") else ORDERS)
        numbers = [self._number(id) for id in dict.fromkeys(set_ids)]
        inside = _in(numbers)
        if not numbers:
            return []
        scores = ""
        values: dict[str, Any] = {"author": author, "start": start, "count": count}
        keys = {"order": "m.set_number, m.place", "random": "m.draw, m.set_number, m.place", "latest": "l.number desc"}
        if order == "unsure":
            values["scoring"] = self._scoring()
            scores = " left join pair_scores u on u.scoring = :scoring and u.pair = m.pair"
            keys["unsure"] = "u.uncertainty is null, u.uncertainty desc, m.set_number, m.place"
        within = inside
        if search:
            values["search"] = "%" + "".join("\\" + c if c in "\\%_" else c for c in search) + "%"
            within += " and exists (select 1 from pair_texts t where t.number = m.pair and (t.first like :search escape '\\'" \
                " or t.second like :search escape '\\' or t.prompt like :search escape '\\'))"
        if queue in ("todo", "given"):
            first = f"select m.set_number, m.place, m.pair from pair_members m{scores} where m.set_number in {within} and m.given =" \
                f" {int(queue == 'given')} and not exists ({_TOUCHED}) order by {keys[order]}"
        else:
            said = {"skipped": "l.round = 1 and l.choice = 'skip'", "done": "l.round = 1 and l.choice <> 'skip'", "flagged": "l.flagged"}
            first = f"select m.set_number, m.place, m.pair from labels l join pair_members m on m.pair = l.pair{scores} where l.author =" \
                f" :author and l.force = 1 and {said[queue]} and m.set_number in {within} group by m.set_number, m.place order by" \
                f" {keys[order]}"
        found = self._rows(f"with page as ({first} limit :count offset :start) select {TEXTS}, page.set_number, p.number, p.swapped"
                           " from page join pairs p on p.number = page.pair join pair_texts x on x.number = page.pair", values)
        labels = self._labels_on([r[-2] for r in found], author)
        return [QueueRow(pair_of(r), set_name(r[-3]), own[0] if own else None, any(one.flagged for one in own))
                for r in found for own in [labels.get(r[-2], [])]]

    def queue_count(self, set_ids: Sequence[str], queue: str, author: str) -> int:
        """How many pairs `queue` would go through; one in two sets counts twice. From the kept counts."""
        _known(queue, QUEUES)
        at = self.progress(set_ids, author)
        return at.given if queue == "given" else {"todo": at.todo, "skipped": at.skipped, "done": at.done, "flagged": at.flagged}[queue]

    def progress(self, set_ids: Sequence[str], author: str) -> Progress:
        """From the kept counts and the author's latest labels."""
        numbers = [self._number(id) for id in dict.fromkeys(set_ids)]
        inside = _in(numbers)
        total = self._rows(f"select coalesce(sum(pairs), 0) from pair_sets where number in {inside}", [])[0][0]
        given = self._rows(f"select coalesce(sum(given), 0) from pair_counts where set_number in {inside} and who = ''", [])[0][0]
        done, skipped, flagged, free = self._rows(
            "select coalesce(sum(done), 0), coalesce(sum(skipped), 0), coalesce(sum(flagged), 0), coalesce(sum(free), 0) from pair_counts"
            f" where set_number in {inside} and who = ?", ["=" + author])[0]
        touched = done + skipped - free  # of those that came with a label
        repeats = self._rows("select count(*) from labels where author = ? and force = 1 and round = 2", [author])[0][0]
        pace = a_minute([r[0] for r in self._rows("select made from labels where author = ? and force = 1 and round > 0"
                                                  " order by number desc limit ?", [author, RECENT])])
        todo = total - given - free
        return Progress(total, done, todo, skipped, flagged, given - touched, repeats, pace, None if pace is None else todo / pace * 60)

    # what comes next

    def _todo(self, numbers: Sequence[int], author: str, order: str, after: str, passing: Sequence[str],
              given: bool) -> tuple[int, int, int, Any] | None:
        """(set, pair, round, why) of the next pair to do."""
        numbered: dict[str, int] = dict(self._rows("select id, number from pairs where id in (select value from json_each(?))",
                                                   [json.dumps(passing)])) if passing else {}
        skip = json.dumps(list(numbered.values()))
        for came in (0, 1) if given else (0,):
            walk = {"order": self._in_order, "random": self._at_random, "unsure": self._unsure_first}[order]
            if found := walk(numbers, author, came, numbered.get(after, 0), skip):
                return found
        return None

    def _in_order(self, numbers: Sequence[int], author: str, given: int, shown: int, skip: str) -> tuple[int, int, int, Any] | None:
        """Set after set; behind the shown pair first, then from the beginning."""
        at = self._rows(f"select set_number, place, given from pair_members where pair = ? and set_number in {_in(numbers)}",
                        [shown]) if shown else []
        begin = next((n for n, number in enumerate(numbers) if at and at[0][0] == number and at[0][2] == given), None)
        for number, place in [(numbers[begin], at[0][1]), *((n, None) for n in numbers[begin + 1:])] if begin is not None else []:
            if found := self._first_open(number, author, "order", given, skip, place):
                return number, found[0], 1, None
        for number in numbers:
            if found := self._first_open(number, author, "order", given, skip, None):
                return number, found[0], 1, None
        return None

    def _at_random(self, numbers: Sequence[int], author: str, given: int, shown: int, skip: str) -> tuple[int, int, int, Any] | None:
        """The first open one by the number that each pair has drawn, over all sets; behind the shown pair first."""
        at = self._rows("select draw from pairs where number = ?", [shown]) if shown else []
        for start in ([at[0][0]] if at else []) + [None]:
            found = [(f[1], number, f[0]) for number in numbers if (f := self._first_open(number, author, "random", given, skip, start))]
            if found:
                return min(found)[1], min(found)[2], 1, None
        return None

    def _first_open(self, number: int, author: str, order: str, given: int, skip: str, start: int | None) -> tuple[int, int] | None:
        """(pair, key) of the first pair of a set that the author has not touched, those of `skip` passed over; from behind `start`, or from
        where the front stands."""
        key = "place" if order == "order" else "draw"
        front, known = -1, (number, author, order, given)
        clock = self.clock()
        if start is None:
            stored = self._rows("select at from pair_fronts where set_number = ? and author = ? and sorted = ? and given = ?", known)
            front = int(stored[0][0]) if stored else -1
            if self._walked and self._walked[:2] == (clock, known):
                front = max(front, int(self._walked[2]))
        # The random order has several pairs with one number: so ">=" behind a shown one, which is passed over itself.
        found = self._rows(f"select m.pair, m.{key} from pair_members m indexed by pair_members_by_{key} where m.set_number = :set and"
                           f" m.given = :given and m.{key} {'>=' if start is not None and key == 'draw' else '>'} :start"
                           f"{_passing('m', skip)} and not exists ({_TOUCHED}) order by m.{key} limit 1",
                           {"set": number, "given": given, "start": front if start is None else start, "author": author} |
                           _skipped(skip))
        if start is None and found and skip == NONE and found[0][1] - front > SHORT_WALK and self.clock() == clock:
            self._walked = (clock, known, found[0][1] - 1)
        return (int(found[0][0]), int(found[0][1])) if found else None

    def _unsure_first(self, numbers: Sequence[int], author: str, given: int, shown: int, skip: str) -> tuple[int, int, int, Any] | None:
        scoring = self._scoring()
        inside = _in(numbers)
        at = self._rows("select uncertainty, pair from pair_scores where scoring = ? and pair = ?", [scoring, shown])
        for start in ([at[0]] if at else []) + [None]:
            behind = "" if start is None else " and (u.uncertainty, -u.pair) < (:least, -:behind) and u.uncertainty <= :least"
            found = self._rows(
                "select u.pair, u.first, u.second, (select m.set_number from pair_members m where m.pair = u.pair and m.given = :given and"
                f" m.set_number in {inside} limit 1) as held from pair_scores u indexed by pair_scores_unsure where u.scoring = :scoring"
                f"{_passing('u', skip)}{behind} and held is not null and not exists ({_TOUCHED.replace('m.pair', 'u.pair')})"
                " order by u.uncertainty desc, u.pair limit 1",
                {"scoring": scoring, "given": given, "author": author} | _skipped(skip) |
                ({"least": start[0], "behind": start[1]} if start else {}))
            if found:
                return found[0][3], found[0][0], 1, found[0][1:3]
        return self._in_order(numbers, author, given, shown, skip)

    def _repeat(self, numbers: Sequence[int], author: str, passing: Sequence[str], spread: bool) -> tuple[int, int, int, Any] | None:
        """A pair that is due to be shown again."""
        waiting = self._rows("select number, pair, pair_id from labels where author = ? and again = 1 and pair_id not in"
                             " (select value from json_each(?)) order by number limit 50", [author, json.dumps(passing)])
        if not waiting:
            return None
        latest = self._rows("select number, round from labels where author = ? and force = 1 and round > 0 order by number desc limit ?",
                            [author, SOONEST + SPREAD + APART])
        if spread and any(round == 2 for _, round in latest[:APART]):
            return None
        for number, pair, id in waiting:
            gap = SOONEST + (zlib.crc32(f"gap\0{id}\0{author}".encode("utf-8", "surrogatepass")) % SPREAD if spread else 0)
            if sum(other > number and round == 1 for other, round in latest) < gap:
                continue
            held = self._rows(f"select set_number from pair_members where pair = ? and set_number in {_in(numbers)} limit 1", [pair])
            if held:
                return held[0][0], pair, 2, None
        return None

    def _card(self, number: int, pair: int, round: int, why: Any, author: str, order: str) -> Card:
        r = self._rows(f"select {TEXTS} from pairs p join pair_texts x on x.number = p.number where p.number = ?", [pair])[0]
        made, labels = pair_of(r), self._labels_on([pair], author).get(pair, [])
        earlier = next((one for one in labels if one.round == 1), None)
        left: Side = side(made.id, author)
        if round == 2 and earlier is not None:
            left = "second" if earlier.left == "first" else "first"
        words = str(made.facts.get("why") or "")
        if why is not None:
            words = tr("The reward model is unsure here: it gives {first} and {second}.", first=f"{why[0]:.2f}", second=f"{why[1]:.2f}")
        note = next((one for one in labels if one.round == 0), None) if round == 1 else None
        return Card(made, left, round, words, set_name(number), note)

    def _labels_on(self, pairs: Sequence[int], author: str) -> dict[int, list[Label]]:
        """An author's labels in force on pairs, round 1 first, then notes."""
        found: dict[int, list[Label]] = {}
        for r in self._rows(f"select {FIELDS}, p.swapped, p.number from labels l join pairs p on p.number = l.pair where l.author = ? and"
                            " l.force = 1 and l.pair in (select value from json_each(?)) order by l.round <> 1, l.round",
                            [author, json.dumps(list(pairs))]):
            found.setdefault(r[-1], []).append(label_of(r[:-2], bool(r[-2])))
        return found

    # scores of a reward model

    def set_scores(self, run: str, rows: Iterable[tuple[str, float, float, float]]) -> int:
        """Keep what a reward model gives pairs: (pair id, score of the first answer, of the second, uncertainty; higher is less sure), in
        place of all earlier scores. Streams; until the last is there the earlier ones count. Pairs that are not in the library are passed
        over. Returns how many were kept."""
        stream, kept = iter(rows), 0
        with self._write() as db:
            scoring = db.execute("insert into pair_score_runs (run, made) values (?, ?)", (run, time.time())).lastrowid
        while chunk := list(islice(stream, CHUNK)):
            with self._write() as db:
                kept += db.executemany("insert or replace into pair_scores (scoring, pair, first, second, uncertainty)"
                                       " select ?, number, ?, ?, ? from pairs where id = ?",
                                       [(scoring, first, second, unsure, id) for id, first, second, unsure in chunk]).rowcount
        with self._write() as db:
            db.execute("delete from pair_scores where scoring < ?", (scoring,))
            db.execute("delete from pair_score_runs where number < ?", (scoring,))
            db.execute("update pair_score_runs set complete = 1 where number = ?", (scoring,))
            tick(db)
        return kept

    def scored_by(self) -> str:
        """The run whose scores say which pairs are unsure; "" where there are none."""
        found = self._rows("select run from pair_score_runs where complete order by number desc limit 1", [])
        return str(found[0][0]) if found else ""

    def _scoring(self) -> int:
        found = self._rows("select number from pair_score_runs where complete order by number desc limit 1", [])
        return int(found[0][0]) if found else 0


NONE = "[]"


def _passing(table: str, skip: str) -> str:
    """The condition that pairs of `skip`, numbers as JSON, are passed over; "" where there are none."""
    return f" and {table}.pair not in (select value from json_each(:skip))" if skip != NONE else ""


def _skipped(skip: str) -> dict[str, Any]:
    return {"skip": skip} if skip != NONE else {}


def _in(numbers: Sequence[int]) -> str:
    return f"({', '.join(map(str, numbers))})"


_TOUCHED = "select 1 from labels l where l.pair = m.pair and l.author = :author and l.round = 1 and l.force = 1"


def side(pair_id: str, author: str) -> Side:
    """Which answer of a pair an author sees at the left in the first round: chance, but always the same."""
    return "first" if zlib.crc32(f"side\0{pair_id}\0{author}".encode("utf-8", "surrogatepass")) & 1 else "second"


def a_minute(made: Sequence[float]) -> float | None:
    """Labels a minute from the times at which they were made, in any order; pauses of more than two minutes do not count."""
    times = sorted(made)
    gaps = [later - earlier for earlier, later in zip(times, times[1:], strict=False) if later - earlier <= PAUSE]
    return len(gaps) / sum(gaps) * 60 if gaps and sum(gaps) > 0 else None


def _known(value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise SettingError(tr("Pairs have no list or order called {name}.", name=value),
                           tr("Choose one of: {choices}.", choices=", ".join(choices)))
