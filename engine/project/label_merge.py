"""Labels of several machines joined: rows for a file that another library takes in, without loss and without doubling.

A row is a pair ({"kind": "pair", ..., as rows.Pair}) or a label ({"kind": "label", ...}), a pair before its labels. A label names answers
by the order of their texts: "a" sorts before "b". Deleted labels travel too, so that what was undone here does not come back from there. Of
two revisions of a label the higher counts; between equal ones the later change, then the larger hash. So it does not matter in which order,
or how often, files are joined. A label whose pair is neither here nor in the file waits until the pair is added.
"""

import hashlib
import json
import math
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pydantic import ValidationError

from engine.contract.rows import Pair, pair_id
from engine.contract.words import tr
from engine.project.labels import SAYS, Labels, reopened
from engine.project.pair_sets import PAGE, TEXTS, count, give, insert, new_set, pair_of, settle, states, tick

ORIGIN = "labels"
"""Of the set that pairs of label files come into."""
LINES = 2_000
"""Rows of one transaction."""
LARGEST = 2**53
_VALUES = {"choice": ("a", "b", "tie", "bad", "skip", ""), "round": (0, 1, 2), "strength": (0, 1, 2, 3), "left_side": ("a", "b")}
_TIMES = ("seconds", "made", "changed")
_KEPT = (*SAYS, "deleted", "revision", "changed")


@dataclass(frozen=True)
class Merged:
    """What came of joining a file: labels that were `new` here, `newer` than here, the `same`, `older` than here; `unknown`: of the new and
    newer ones, those whose pair is not here, which wait for it; `pairs` that were added; `damaged` rows, which were passed over."""

    new: int = 0
    newer: int = 0
    same: int = 0
    older: int = 0
    unknown: int = 0
    pairs: int = 0
    damaged: int = 0


class LabelFiles(Labels):
    """The part of `Library.pairs` that joins labels of several machines."""

    def export_labels(self, set_ids: Sequence[str] = (), author: str = "") -> Iterator[dict[str, Any]]:
        """Rows for `merge_labels` of another library: labels on pairs of these sets (all that there are where empty) of one author or of
        everybody, deleted ones too, and the pairs of those that are not deleted. Streams; NotFound for an unknown set before the first."""
        numbers = [self._number(id) for id in dict.fromkeys(set_ids)]
        return self._export(numbers, author)

    def _export(self, numbers: Sequence[int], author: str) -> Iterator[dict[str, Any]]:
        inside = " and exists (select 1 from pair_members m where m.pair = l.pair and m.set_number in"\
            f" ({', '.join(map(str, numbers))}))" if numbers else ""
        inside += " and l.author = ?" if author else ""
        after, written = 0, set[int]()
        while True:
            found = self._rows(f"select l.number, l.pair, l.id, {', '.join('l.' + name for name in _KEPT)} from labels l where l.number > ?"
                               f"{inside} order by l.number limit ?", [after, *([author] if author else []), PAGE])
            if not found:
                return
            after = found[-1][0]
            lines = [(r[1], {"id": r[2], **dict(zip(_KEPT, r[3:], strict=True))}) for r in found]
            wanted = {pair for pair, line in lines if pair is not None and not line["deleted"]} - written
            texts = {r[-1]: pair_of(r) for r in self._rows(
                f"select {TEXTS}, p.number from pairs p join pair_texts x on x.number = p.number where p.number in"
                " (select value from json_each(?))", [json.dumps(sorted(wanted))])}
            for pair, line in lines:
                if pair in texts and pair not in written:
                    written.add(pair)
                    yield {"kind": "pair", **texts[pair].model_dump(mode="json")}
                yield {"kind": "label", **line, "flagged": bool(line["flagged"]), "deleted": bool(line["deleted"])}

    def merge_labels(self, rows: Iterable[Mapping[str, Any]], set_id: str = "") -> Merged:
        """Take in what `export_labels` of another library, or of this one, gave. Pairs that are not here are added to `set_id`, or to a set
        of their own. Some thousands in each transaction: when it is broken off, doing it again goes on."""
        target = self._number(set_id) if set_id else None
        stream, total = iter(rows), [0] * 7
        while chunk := list(islice(stream, LINES)):
            labels, pairs, damaged = _read(chunk)
            with self._write() as db:
                db.execute("begin immediate")
                added = _take_pairs(db, pairs, target)
                total = [a + b for a, b in zip(total, (*_take_labels(db, labels), added, damaged), strict=True)]
        return Merged(*total)


def _read(rows: Iterable[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[Pair], int]:
    """(labels, pairs, damaged rows)."""
    labels, pairs, damaged = [], [], 0
    for raw in rows:
        kind = raw.get("kind") if isinstance(raw, Mapping) else None
        if kind == "pair":
            try:
                pair = Pair.model_validate({key: value for key, value in raw.items() if key != "kind"})
                whole = pair.id == pair_id(pair.prompt, pair.first.text, pair.second.text)  # labels must mean what they were given for
            except ValidationError:
                whole = False
            if whole:
                pairs.append(pair)
            damaged += not whole
        elif kind == "label" and (label := _label(raw)) is not None:
            labels.append(label)
        else:
            damaged += 1
    return labels, pairs, damaged


def _label(raw: Mapping[str, Any]) -> dict[str, Any] | None:
    """A label of a file in the types of the table; None for what is none."""
    try:
        made: dict[str, Any] = {"id": raw["id"], **{name: raw[name] for name in _KEPT}}
        texts = [made[name] for name in ("id", "pair_id", "author", "choice", "edited", "comment", "left_side")]
        whole = [made[name] for name in ("round", "strength", "position", "revision", "flagged", "deleted")]
        if not all(isinstance(text, str) for text in texts) or not all(isinstance(number, int) for number in whole):
            return None
        "".join(texts).encode()  # half of a surrogate pair cannot be kept
        made |= {name: int(made[name]) for name in ("flagged", "deleted")} | {name: float(made[name]) for name in _TIMES}
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    sound = (made["id"] and made["pair_id"] and made["author"] and all(made[name] in known for name, known in _VALUES.items())
             and (made["choice"] != "") == (made["round"] > 0) and 1 <= made["revision"] < LARGEST and 0 <= made["position"] < LARGEST
             and made["flagged"] in (0, 1) and made["deleted"] in (0, 1)
             and all(math.isfinite(made[name]) for name in _TIMES))
    return made if sound else None


def _stamp(label: Mapping[str, Any]) -> tuple[int, float, bytes]:
    """What is compared to say which of two revisions counts."""
    said = json.dumps([label[name] for name in _KEPT], ensure_ascii=False)
    return label["revision"], label["changed"], hashlib.sha256(said.encode()).digest()


def _take_pairs(db: sqlite3.Connection, pairs: Sequence[Pair], target: int | None) -> int:
    if not pairs:
        return 0
    known = {r[0]: r[1:] for r in db.execute("select id, number, given, swapped from pairs where id in (select value from json_each(?))",
                                             (json.dumps([pair.id for pair in pairs]),))}
    give(db, [(*known[pair.id], pair) for pair in pairs if pair.id in known], "")
    if not (fresh := [pair for pair in pairs if pair.id not in known]):
        return 0
    if target is None:
        found = db.execute("select number from pair_sets where origin = ? order by number limit 1", (ORIGIN,)).fetchone()
        target = int(found[0]) if found else new_set(db, tr("Pairs of label files"), ORIGIN, "")
    return insert(db, target, fresh, "")


def _take_labels(db: sqlite3.Connection, labels: Sequence[dict[str, Any]]) -> tuple[int, int, int, int, int]:
    """(new, newer, same, older, unknown)."""
    if not labels:
        return 0, 0, 0, 0, 0
    asked = json.dumps(list({label["id"] for label in labels}))
    heads = {r[0]: (r[1], dict(zip(_KEPT, r[2:], strict=True))) for r in db.execute(
        f"select id, pair, {', '.join(_KEPT)} from labels where id in (select value from json_each(?))", (asked,))}
    pairs = dict(db.execute("select id, number from pairs where id in (select value from json_each(?))",
                            (json.dumps(list({label["pair_id"] for label in labels})),)))
    counts, taken, steps = dict.fromkeys(("new", "newer", "same", "older"), 0), dict[str, dict[str, Any]](), []
    for label in labels:
        head = taken.get(label["id"]) or (heads[label["id"]][1] if label["id"] in heads else None)
        own, other = _stamp(label), _stamp(head) if head else None
        what = "new" if other is None else "newer" if own > other else "same" if own == other else "older"
        counts[what] += 1
        if what in ("new", "newer"):
            taken[label["id"]] = label
    touched = {pairs[label["pair_id"]] for label in taken.values() if label["pair_id"] in pairs}
    touched |= {heads[id][0] for id in taken if id in heads and heads[id][0] is not None}
    before = states(db, sorted(touched))
    now = time.time()
    for id, label in taken.items():
        pair = pairs.get(label["pair_id"])
        if id in heads and pair is not None:  # what stood here before is told by the pair's history
            was = heads[id][1]
            steps.append((now, label["author"], "merge", pair, json.dumps({id: None if was["deleted"] else {n: was[n] for n in SAYS}}),
                          json.dumps({id: None if label["deleted"] else {n: label[n] for n in SAYS}})))
    # Those that change leave first: only one label of an author on a pair may be in force.
    db.executemany("update labels set force = 0, again = 0 where id = ?", [(id,) for id in taken if id in heads])
    columns = ("id", *_KEPT, "pair")
    db.executemany(
        f"insert into labels ({', '.join(columns)}, force, here, again) values ({', '.join('?' * len(columns))}, 0, 0, 0) on conflict (id)"
        f" do update set {', '.join(f'{name} = excluded.{name}' for name in columns[1:])}",
        [(id, *(label[name] for name in _KEPT), pairs.get(label["pair_id"])) for id, label in taken.items()])
    db.executemany("insert into label_steps (made, author, what, pair, before, after, undone) values (?, ?, ?, ?, ?, ?, 2)", steps)
    settle(db, touched)
    after = states(db, sorted(touched))
    count(db, before, after)
    reopened(db, before, after)
    if taken:
        tick(db)
    return counts["new"], counts["newer"], counts["same"], counts["older"], sum(one["pair_id"] not in pairs for one in taken.values())
