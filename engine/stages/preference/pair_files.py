"""Pairs and labels between files and the library, for the window's process (pairs_process.py) and the terminal. Reading and writing files
is engine/text/preferences'.
"""

import dataclasses
import gc
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from engine.contract.errors import InputError
from engine.contract.rows import Pair, PreferencePair
from engine.contract.words import tr
from engine.project.label_merge import Merged
from engine.project.labels import CHOICES, Label
from engine.project.pairs import Pairs
from engine.text.preferences import FORMS, Mapping, Refused, Written, read, write
from engine.text.preferences.label_file import read_labels

LISTED = 20
"""Refused rows that are named; the others are counted."""
CHUNK = 4_000
"""Pairs that go into the library at once."""
Tell = Callable[[int], None]
"""Is told, often, how many rows are done."""


@dataclass
class Brought:
    """What came of a file: `added` pairs, `same` ones that the set had or that the file says twice, `refused` rows (`problems` lists the
    first, each (line, reason)), `labels` that came with pairs and are new. `broken`: why the file could not be read to its end."""

    set: str = ""
    added: int = 0
    same: int = 0
    refused: int = 0
    labels: int = 0
    problems: list[tuple[int, str]] = field(default_factory=list)
    broken: InputError | None = None

    @property
    def taken(self) -> int:
        return self.added + self.same


def bring(pairs: Pairs, file: Path, mapping: Mapping | None = None, *, set_id: str = "", title: str = "", tell: Tell = lambda done: None,
          whole: bool = True) -> Brought:
    """A file's pairs into a set, a new one unless named, and what it says of labels. With `whole`, InputError for a file that cannot be
    read, or not to its end, or that holds no pair, and a new set that could not be filled is taken away again, whatever the reason; else
    what came before stays, and `broken` says what was wrong."""
    brought, ready = Brought(set_id), False
    at = file.stat().st_mtime if file.exists() else 0.0
    try:
        with uncollected(), closing(_rows(file, mapping, brought, tell)) as rows:
            while chunk := list(islice(rows, CHUNK)):
                if not brought.set:  # made when there is something to put in
                    brought.set = pairs.create_set(title or file.name, origin=f"import:{file.name}").id
                labels = [row for pair in chunk if "labels" in pair.facts for row in label_rows(pair, pair.facts.get("labels"), at)]
                chunk = [_bare(pair) if "labels" in pair.facts else pair for pair in chunk]
                added = pairs.add(brought.set, chunk)
                brought.added += added
                brought.same += len(chunk) - added
                if labels:
                    merged = pairs.merge_labels(labels)
                    brought.labels += merged.new + merged.newer
        if brought.broken is None and not brought.taken:
            brought.broken = _nothing(file, brought)
        if whole and brought.broken is not None:
            raise brought.broken
        ready = True
    finally:
        if whole and not ready and not set_id and brought.set:
            pairs.delete_set(brought.set)
            brought.set = ""
    return brought


def _rows(file: Path, mapping: Mapping | None, brought: Brought, tell: Tell) -> Iterator[Pair]:
    done = 0
    try:
        with closing(read(file, mapping)) as found:
            for row in found:
                done += 1
                if not done % 200:
                    tell(done)
                if isinstance(row, Refused):
                    brought.refused += 1
                    if len(brought.problems) < LISTED:
                        brought.problems.append((row.line, row.reason))
                else:
                    yield row
    except InputError as wrong:  # ends the rows and nothing else: those before it are on their way
        brought.broken = wrong
    tell(done)


def _nothing(file: Path, brought: Brought) -> InputError:
    why = tr("The first: row {line}, {reason}.", line=brought.problems[0][0], reason=brought.problems[0][1]) if brought.problems else ""
    return InputError(tr("No row of {name} is a pair.", name=file.name), why or tr("Choose other columns."), code="no_rows")


@contextmanager
def uncollected() -> Iterator[None]:
    """Rows come and go by the thousand and hold no circles; looking for some among them would take as long as the rest of an import."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _bare(pair: Pair) -> Pair:
    return pair.model_copy(update={"facts": {name: value for name, value in pair.facts.items() if name != "labels"}})


# ---- labels that stand beside pairs


def label_rows(pair: Pair, said: Any, at: float) -> Iterator[dict[str, Any]]:
    """Rows for `merge_labels` of what a file says of one pair (preferences.read): each person's choice, with an id that is the same
    whenever the file is read again. `at` is when it was made, unless it says so. What is no label is passed over; the library looks at the
    values once more."""
    swapped = pair.first.text > pair.second.text
    for one in said if isinstance(said, list) else ():
        if not isinstance(one, dict) or not isinstance(one.get("author"), str) or not one["author"]:
            continue
        choice, round = one.get("choice"), one.get("round", 1)
        if choice not in (*CHOICES, ""):
            continue
        id = one.get("id") or hashlib.sha256(f"{pair.id}\0{one['author']}\0{round}".encode("utf-8", "replace")).hexdigest()[:32]
        made = one.get("made", at)
        yield {"kind": "label", "id": id, "pair_id": pair.id, "author": one["author"], "round": round, "choice": _side(choice, swapped),
               "strength": one.get("strength", 0), "edited": one.get("edited", ""), "comment": one.get("comment", ""),
               "flagged": one.get("flagged", False), "left_side": _side(one.get("left", "first"), swapped),
               "seconds": one.get("seconds", 0.0), "position": one.get("position", 0), "made": made, "deleted": False,
               "revision": one.get("revision", 1), "changed": one.get("changed", made)}


def _side(choice: Any, swapped: bool) -> Any:
    """An answer by the order of the two texts, as the library names it."""
    if choice not in ("first", "second"):
        return choice
    return "b" if (choice == "first") == swapped else "a"


def _with_labels(pair: Pair, labels: Sequence[Label]) -> Pair:
    said = [{name: value for name, value in dataclasses.asdict(label).items() if name != "pair"} for label in labels]
    return pair.model_copy(update={"facts": {**pair.facts, "labels": said}}) if said else pair


# ---- out


def take_out(pairs: Pairs, sets: Sequence[str], target: Path, form: str, *, annotators: Sequence[str] = (), least_strength: int = 0,
             unlabelled: bool = False, replace: bool = True, tell: Tell = lambda done: None) -> Written:
    """Sets into a file. The form "fledge" holds every pair with everybody's labels; the others what is learned from (Pairs.for_training),
    and with `unlabelled` those that nobody has compared as well, where the form holds such."""
    known = pairs.sets()
    missing = next((id for id in sets if id not in {s.id for s in known}), None)
    if missing is not None:
        pairs.get_set(missing)  # says so
    rows: Iterator[Pair | PreferencePair]
    if form == "fledge":
        rows = (_with_labels(pair, pairs.labels_of(pair.id)) for pair in pairs.stream(sets))
    else:
        rows = _learned(pairs, sets, annotators, least_strength, unlabelled and form in FORMS)
    return write(target, _told(rows, tell), form, replace=replace)


def _learned(pairs: Pairs, sets: Sequence[str], annotators: Sequence[str], least: int,
             unlabelled: bool) -> Iterator[Pair | PreferencePair]:
    yield from pairs.for_training(sets, annotators, least)
    if unlabelled:
        yield from pairs.unlabelled(sets)


def _told(rows: Iterator[Any], tell: Tell) -> Iterator[Any]:
    for done, row in enumerate(rows):
        if not done % 200:
            tell(done)
        yield row


def merge(pairs: Pairs, file: Path, *, set_id: str = "", tell: Tell = lambda done: None) -> Merged:
    """A label file of another machine into the library. InputError where nothing in it is a label or a pair."""
    with closing(read_labels(file)) as rows:
        merged = pairs.merge_labels(_told(rows, tell), set_id)
    if not merged.pairs and merged.damaged and not any((merged.new, merged.newer, merged.same, merged.older)):
        raise InputError(tr("{name} is no label file.", name=file.name),
                         tr("Choose a file that was written by “fledge pairs DIR labels export”, or import it as pairs."), code="no_labels")
    return merged
