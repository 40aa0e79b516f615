"""Which sets of the library went into a run, and what has changed in them since. It only reads, and opens no library that others write.

A run is made with a copy of its examples (snapshots.py), the rows of one set after another, and with a line about each set: `taken`.
Later `changed` compares that copy with what the library would give now. As long as the library's own counters stand where they stood,
nothing is read; else ids and texts are compared by 64-bit hashes, once for each state of the library.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import orjson

from engine.contract.words import tr, trn
from engine.project import layout
from engine.project.examples import library_mark, own_id, packed
from engine.project.pairs import Pairs
from engine.project.problems import Problems
from engine.project.runs import Run

FIELDS = {"examples": "examples", "seeds": "seeds", "questions": "examples", "held_out": "held_out", "pairs": "pairs",
          "unlabelled": "pairs", "problems": "problem_sets"}
"""Streams of examples, pairs and problems that runs are made with, and the settings that name their sets."""
OF_PAIRS, OF_PROBLEMS = ("pairs", "unlabelled"), ("problems",)
"""Of those, the streams of pairs and of problems."""
ASKED = ("ppo",)
"""Stages that ask the prompts of pairs: what people say of the answers is nothing to them."""
LEARNED = ("examples", "seeds", "questions", "pairs", "problems")
"""What a result was made from; the rest are only looked at."""
VERSION, PAIRS_VERSION, PROBLEMS_VERSION = 3, 4, 5
"""Of the library that has sets, sets of pairs, and sets of problems."""


@dataclass(frozen=True)
class TakenSet:
    """One set in the rows `stream` of a run: `count` rows of it went in. `run` filled it ("" for a person or an import); `mark` is where
    the library's counters stood."""

    stream: str
    id: str
    title: str
    count: int
    run: str = ""
    origin: str = ""
    mark: tuple[int, ...] = ()


@dataclass(frozen=True)
class SetChange:
    """What is different in a set since a run took it: examples that would come in now, that would not any more, and that have other words;
    or pairs that were labelled, lost their label, and were labelled otherwise; or problems that came in, went (an edited one does both),
    and are held out now, or not any more. `deleted`: there is no such set now."""

    id: str
    title: str
    added: int = 0
    removed: int = 0
    edited: int = 0
    deleted: bool = False
    pairs: bool = False
    problems: bool = False

    @property
    def count(self) -> int:
        return self.added + self.removed + self.edited


def plain(sets: Iterable[TakenSet]) -> list[dict[str, Any]]:
    """For the run's file."""
    return [asdict(one) for one in sets]


def taken(run: Run) -> tuple[TakenSet, ...]:
    """The sets that a run was made with; none where its file says nothing of them."""
    return parsed(run.sets)


def parsed(said: Iterable[Mapping[str, Any]]) -> tuple[TakenSet, ...]:
    """As a run's file has them."""
    found = []
    for raw in said:
        try:
            found.append(TakenSet(str(raw["stream"]), str(raw["id"]), str(raw["title"]), int(raw["count"]), str(raw.get("run", "")),
                                  str(raw.get("origin", "")), tuple(int(n) for n in raw.get("mark", ()))))
        except (KeyError, TypeError, ValueError):  # changed by something else: nothing is known then
            return ()
    return tuple(found)


def told(sets: Iterable[TakenSet], stage: str = "") -> list[dict[str, Any]]:
    """What a result keeps of the sets it was made from, so that it can be said when run and library are gone: id, title, how many
    "examples", "pairs" or "problems", the run that filled it."""
    counts: dict[tuple[str, str], tuple[TakenSet, int]] = {}
    for one in sets:
        if one.stream in LEARNED or stage in ASKED and one.stream in OF_PAIRS:
            what = "pairs" if one.stream in OF_PAIRS else "problems" if one.stream in OF_PROBLEMS else "examples"
            counts[what, one.id] = one, counts.get((what, one.id), (one, 0))[1] + one.count
    return [{"id": id, "title": one.title, what: count} | ({"run": one.run} if one.run else {})
            for (what, id), (one, count) in counts.items()]


def changed(project: Path, runs: Iterable[Run]) -> dict[str, tuple[SetChange, ...]]:
    """By run id, the sets that went into it and have changed; runs of which all is as it was are left out. Nothing is known, and so nothing
    said, where there is no library, or one that cannot be read now."""
    wanted = {run.id: (run, [one for one in taken(run) if one.stream in LEARNED and not (
        one.stream in OF_PAIRS and run.stage in ASKED)]) for run in runs}
    wanted = {id: pair for id, pair in wanted.items() if pair[1]}
    path = layout.library_file(project)
    if not wanted or not path.is_file():
        return {}
    found: dict[str, tuple[SetChange, ...]] = {}
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10.0)) as db:
            db.execute("pragma trusted_schema=off")
            version = int(db.execute("pragma user_version").fetchone()[0])
            if version < VERSION:
                return {}
            now = library_mark(lambda query: db.execute(query).fetchall())
            titles = dict(db.execute("select 'set-' || number, title from example_sets"))
            pairs, problems = None, None
            if version >= PAIRS_VERSION:
                pairs = Pairs(lambda query, values: db.execute(query, values).fetchall(), _nothing_is_written)
                titles |= {one.id: one.title for one in pairs.sets()}
            if version >= PROBLEMS_VERSION:
                problems = Problems(lambda query, values: db.execute(query, values).fetchall(), _nothing_is_written)
                titles |= {one.id: one.title for one in problems.sets()}
            for id, (run, sets) in wanted.items():
                changes = []
                for n, one in enumerate(sets):
                    of_pairs, of_problems = one.stream in OF_PAIRS, one.stream in OF_PROBLEMS
                    stands = (pairs.clock(),) if of_pairs and pairs else (problems.clock(),) if of_problems and problems else now
                    if one.id not in titles:
                        changes.append(SetChange(one.id, one.title, deleted=True, pairs=of_pairs, problems=of_problems))
                    elif one.mark != stands and (before := _of_run(run, one)) is not None:
                        earlier = [other.id for other in sets[:n] if other.stream == one.stream and other.id in titles]
                        if of_problems and problems:
                            there = _asked(path, problems, one.id, earlier)
                        elif of_pairs and pairs:
                            there = _labelled(path, pairs, one.id, earlier, run.spec)
                        else:
                            there = _of_library(path, db, now, one.id, (1,) if run.spec.get("only_accepted") else (0, 1))
                        change = _compare(SetChange(one.id, titles[one.id], pairs=of_pairs, problems=of_problems), before, there)
                        changes += [change] if change.count else []
                if changes:
                    found[id] = tuple(changes)
    except sqlite3.Error:
        return {}
    return found


def change_words(change: SetChange) -> str:
    """What changed in a set, as a sentence."""
    if change.deleted:
        return tr("The set “{title}” ({id}) was deleted.", title=change.title, id=change.id)
    parts = [words for count, words in (
        (change.added, trn("{count} problem came in", "{count} problems came in", change.added)),
        (change.removed, trn("{count} was taken out or edited", "{count} were taken out or edited", change.removed)),
        (change.edited, trn("{count} is held out now, or not any more", "{count} are held out now, or not any more", change.edited)))
        if count] if change.problems else [words for count, words in (
        (change.added, trn("{count} pair was labelled", "{count} pairs were labelled", change.added)),
        (change.edited, trn("{count} was labelled otherwise", "{count} were labelled otherwise", change.edited)),
        (change.removed, trn("{count} lost its label", "{count} lost their labels", change.removed))) if count] if change.pairs else [
        words for count, words in (
        (change.added, trn("{count} example came in", "{count} examples came in", change.added)),
        (change.edited, trn("{count} was edited", "{count} were edited", change.edited)),
        (change.removed, trn("{count} was rejected or deleted", "{count} were rejected or deleted", change.removed))) if count]
    return tr("The set “{title}” ({id}) has changed since: {changes}.", title=change.title, id=change.id, changes=", ".join(parts))


def split(run_dir: Path, sets: Iterable[TakenSet], stream: str) -> dict[str, tuple[int, int]]:
    """{set id: (first line, lines)} of a stream's file, in which the sets follow one another."""
    found, at = {}, 0
    for one in sets:
        if one.stream == stream:
            found[one.id] = (at, one.count)
            at += one.count
    return found


# comparing -----------------------------------------------------------------------------------------------------------

_Hashes = tuple[np.ndarray, np.ndarray]
"""uint64: hashes of ids, ascending, and of the texts in that order."""


def _hash(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())


def _sorted(pairs: Iterable[tuple[int, int]]) -> _Hashes:
    both = np.array(list(pairs), dtype=np.uint64).reshape(-1, 2)
    order = np.argsort(both[:, 0], kind="stable")
    return both[order, 0], both[order, 1]


def _of_run(run: Run, one: TakenSet) -> _Hashes | None:
    """The rows of one set in a run's copy; None where it is not what it was, or not there."""
    path = layout.input_rows(run.dir, one.stream)
    try:
        stamp = path.stat().st_mtime_ns
    except FileNotFoundError:
        return None
    return _read(path, stamp, *split(run.dir, taken(run), one.stream)[one.id])


@lru_cache(maxsize=32)
def _read(path: Path, stamp: int, first: int, count: int) -> _Hashes | None:
    pairs = []
    try:
        with open(path, "rb") as file:
            for line in islice(file, first, first + count):
                row: Mapping[str, Any] = orjson.loads(line)
                text = packed((m["role"], m["content"]) for m in row["messages"]) if "messages" in row else \
                    _side(row) if "held_out" in row else _preference(row)
                pairs.append((_hash(own_id(row["id"]).encode()), _hash(text.encode())))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return _sorted(pairs) if len(pairs) == count else None


_library: dict[tuple[Path, str, tuple[int, ...]], tuple[tuple[int, ...], _Hashes]] = {}


def _of_library(path: Path, db: sqlite3.Connection, now: tuple[int, ...], id: str, states: tuple[int, ...]) -> _Hashes:
    known = _library.get((path, id, states))
    if known is not None and known[0] == now:
        return known[1]
    rows = db.execute("select e.id, x.messages from examples e join example_texts x on x.number = e.number where e.set_number = ?"
                      f" and e.state in ({', '.join(map(str, states))})", (int(id.partition("-")[2]),))
    made = _sorted((_hash(own_id(row_id).encode()), _hash(text.encode())) for row_id, text in rows)
    _library[path, id, states] = now, made
    return made


def _labelled(path: Path, pairs: Pairs, id: str, earlier: Sequence[str], spec: Mapping[str, Any]) -> _Hashes:
    """What a run with these settings would be made with of a set of pairs now."""
    annotators, least = tuple(spec.get("annotators") or ()), int(spec.get("least_strength") or 0)
    key, now = (path, id, (*earlier, *annotators, str(least))), (pairs.clock(),)
    known = _library_pairs.get(key)
    if known is not None and known[0] == now:
        return known[1]
    made = _sorted((_hash(row.id.encode()), _hash(_preference(row.model_dump()).encode()))
                   for row in pairs.for_training([id], annotators, least, earlier))
    _library_pairs[key] = now, made
    return made


def _asked(path: Path, problems: Problems, id: str, earlier: Sequence[str]) -> _Hashes:
    """What a run would be made with of a set of problems now."""
    key, now = (path, id, tuple(earlier)), (problems.clock(),)
    known = _library_problems.get(key)
    if known is not None and known[0] == now:
        return known[1]
    made = _sorted((_hash(row.id.encode()), _hash(_side(row.model_dump()).encode())) for row in problems.rows([id], beside=earlier))
    _library_problems[key] = now, made
    return made


_library_problems: dict[tuple[Path, str, tuple[str, ...]], tuple[tuple[int, ...], _Hashes]] = {}
_library_pairs: dict[tuple[Path, str, tuple[str, ...]], tuple[tuple[int, ...], _Hashes]] = {}


def _preference(row: Mapping[str, Any]) -> str:
    """What is learned from a labelled pair."""
    return orjson.dumps([row[name] for name in ("chosen", "rejected", "strength", "tie", "bad")]).decode()


def _side(row: Mapping[str, Any]) -> str:
    """What can change of a problem without its id: all that it says is in that."""
    return orjson.dumps([bool(row["held_out"]), row["difficulty"]]).decode()


def _nothing_is_written() -> NoReturn:
    raise AssertionError("this library is only read")


def _compare(change: SetChange, before: _Hashes, now: _Hashes) -> SetChange:
    same, at, there = np.intersect1d(before[0], now[0], return_indices=True)
    return replace(change, added=len(now[0]) - len(same), removed=len(before[0]) - len(same),
                   edited=int((before[1][at] != now[1][there]).sum()))
