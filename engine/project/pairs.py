"""`Library.pairs`: pairs of answers, people's labels on them, and what of both is learned from.

Sets and pairs are in pair_sets.py, labels and their history in labels.py, what comes next in label_queues.py, labels of other machines in
label_merge.py. Nothing here reads people's files (engine/text/preferences) or a run's folder (ingest.py).
"""

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.contract.rows import Answer, Example, Message, Pair, PreferencePair, pair_id
from engine.contract.words import tr
from engine.project.examples import Examples
from engine.project.label_quality import Judged, Quality, measure
from engine.project.label_queues import LabelQueues
from engine.project.labels import FIELDS, Label, Said, as_said, label_of, labels_where, put
from engine.project.pair_sets import PAGE, find_pair, insert, new_set, pair_of, set_name
from engine.project.votes import Vote, Votes

JUDGE, VOTE = "judge", "vote"
"""Origins of pairs that come from examples' losing answers and from blind comparisons, and of the sets that hold them."""


@dataclass(frozen=True)
class Guidelines:
    """What annotators are asked to do, as Markdown. `number` counts the versions; 0 where there are none yet."""

    markdown: str = ""
    author: str = ""
    made: float = 0.0
    number: int = 0


class Pairs(LabelQueues):
    """On the library's connection, safe in several threads and processes."""

    # what is learned from

    def for_training(self, set_ids: Sequence[str], annotators: Sequence[str] = (), least_strength: int = 0,
                     beside: Sequence[str] = ()) -> Iterator[PreferencePair]:
        """Labelled pairs of sets, each once, in the order of the sets and of adding; skipped ones are left out. Where several people
        labelled a pair, what most said (of `annotators` where named); where no choice has most, it is a tie. What a pair came with counts
        as the label of whoever said so, where no person labelled it. The answer as its labeller rewrote it is the chosen one.
        `least_strength` leaves out what was said less strongly: ties, too. Pairs of the sets `beside` are passed over. Streams; NotFound
        for an unknown set before the first."""
        numbers = [self._number(id) for id in dict.fromkeys(set_ids)]
        return self._for_training(numbers, frozenset(annotators), least_strength, [self._number(id) for id in beside])

    def _for_training(self, numbers: Sequence[int], annotators: frozenset[str], least: int,
                      beside: Sequence[int]) -> Iterator[PreferencePair]:
        rows: list[tuple[Any, ...]] = []
        for r in self._stream(numbers, f" and (m.given = 1 or exists ({_DECIDED}))", beside):
            rows.append(r)
            if len(rows) == PAGE:
                yield from self._judged(rows, annotators, least)
                rows = []
        yield from self._judged(rows, annotators, least)

    def _judged(self, rows: Sequence[tuple[Any, ...]], annotators: frozenset[str], least: int) -> Iterator[PreferencePair]:
        labels: dict[int, list[Label]] = {}
        swapped = {r[-4]: bool(r[-3]) for r in rows}
        for said in self._rows(f"select {FIELDS}, l.pair from labels l where l.pair in (select value from json_each(?)) and l.force = 1"
                            " and l.round = 1 and l.choice <> 'skip' order by l.made, l.id", [json.dumps(list(swapped))]):
            label = label_of(said[:-1], swapped[said[-1]])
            if not annotators or label.author in annotators:
                labels.setdefault(said[-1], []).append(label)
        for r in rows:
            made = preferred(pair_of(r), labels.get(r[-4], []), annotators)
            if made is not None and made.strength >= least:
                yield made

    def count_for_training(self, set_ids: Sequence[str], annotators: Sequence[str] = (), least_strength: int = 0) -> int:
        """How many pairs `for_training` would give. Without limits on annotators and strength no text is read."""
        numbers = [self._number(id) for id in dict.fromkeys(set_ids)]
        if annotators or least_strength:
            return sum(1 for _ in self._for_training(numbers, frozenset(annotators), least_strength, ()))
        return int(self._rows("select count(distinct m.pair) from pair_members m where m.set_number in"
                              f" ({', '.join(map(str, numbers))}) and (m.given = 1 or exists ({_DECIDED}))", [])[0][0])

    # how good labels are

    def quality(self, set_ids: Sequence[str] = (), author: str = "") -> Quality:
        """The quality of the labels on these sets (on all where empty), of one author or of everybody. Annotators are compared in either
        case; with an author, this one with the others."""
        where, values = labels_where(self, set_ids, "", (1, 2))
        # Choices by the order of the texts would do for agreement, but not for lengths.
        found = [Judged(label_of(r[:-3], bool(r[-3])), r[-2], r[-1]) for r in self._rows(
            f"select {FIELDS}, p.swapped, p.first_length, p.second_length from labels l join pairs p on p.number = l.pair where {where}"
            " order by l.number", values)]
        if not author:
            return measure(found)
        own = {row.label.pair for row in found if row.label.author == author}
        made = measure([row for row in found if row.label.author == author], [row.label for row in found if row.label.pair in own])
        return replace(made, kappas=tuple(kappa for kappa in made.kappas if author in (kappa.one, kappa.other)))

    # guidelines

    def guidelines(self) -> Guidelines:
        """The newest version."""
        return next(iter(self.guideline_versions(1)), Guidelines())

    def set_guidelines(self, markdown: str, author: str = "") -> Guidelines:
        """Keep a new version; the same text again is none."""
        with self._write() as db:
            db.execute("begin immediate")
            last = db.execute("select markdown from label_guidelines order by number desc limit 1").fetchone()
            if (last[0] if last else "") != markdown:
                db.execute("insert into label_guidelines (markdown, author, made) values (?, ?, ?)", (markdown, author, time.time()))
        return self.guidelines()

    def guideline_versions(self, limit: int = 100) -> list[Guidelines]:
        """Newest first."""
        return [Guidelines(*r) for r in self._rows("select markdown, author, made, number from label_guidelines order by number desc"
                                                   " limit ?", [limit])]

    # pairs from what else is in the library

    def from_votes(self, purpose: str | None = None) -> int:
        """Make votes of blind comparisons (of one purpose, or of all) pairs with a label of whoever voted, in a set of their own. As often
        as one likes: a vote that was changed or taken back changes its label, unless the label was changed since. A vote on an answer in a
        longer talk has its turns in facts["messages"]. Returns how many labels are different now."""
        votes = Votes(self._rows, self._write)
        now = votes.list()
        changed = 0
        with self._write() as db:
            db.execute("begin immediate")
            there: dict[str, dict[str, tuple[bool, int, int]]] = {}
            for id, deleted, revision, pair in db.execute("select id, deleted, revision, pair from labels where id glob 'vote:*'"):
                there.setdefault(id.rpartition(":")[0], {})[id] = (not deleted, revision, pair)
            for vote in now:
                known = there.pop(f"vote:{vote.id}", {})
                if purpose in (None, vote.purpose):
                    changed += _from_vote(db, vote, known)
            for known in there.values():  # votes that were taken back
                for id, (alive, revision, pair) in known.items():
                    if alive and revision == 1 and pair is not None:
                        put(db, pair, {id: None})
                        changed += 1
        return changed

    def from_examples(self, set_ids: Sequence[str], set_id: str = "") -> int:
        """Make pairs of examples of these sets that have a losing answer beside their own (facts["rejected"]), in a set of their own or in
        `set_id`. They come with the judge's word; its strength is 3 from four points of ten on, 2 from two on. Rejected examples are left
        out. Returns how many pairs are new in the set."""
        rows = Examples(self._rows, self._write).for_training(set_ids)
        if not set_id:
            with self._write() as db:
                db.execute("begin immediate")
                set_id = set_name(_own_set(db, JUDGE, tr("Answers that were judged")))
        return self.add(set_id, (pair for row in rows if (pair := _of_example(row)) is not None))


_DECIDED = "select 1 from labels l where l.pair = m.pair and l.force = 1 and l.round = 1 and l.choice <> 'skip'"


def preferred(pair: Pair, labels: Sequence[Label], annotators: frozenset[str] = frozenset()) -> PreferencePair | None:
    """What people's labels make of a pair, or what it came with; None for nothing. `labels` are in the order in which they were made."""
    if not labels:
        by, best = str(pair.facts.get("by") or pair.origin), pair.facts.get("best")
        if best not in ("first", "second", "tie", "bad") or annotators and by not in annotators:
            return None
        strength = pair.facts.get("strength")
        return _preference(pair, best, strength if isinstance(strength, int) and 0 <= strength <= 3 else 0, "", by)
    said = Counter(one.choice for one in labels)
    most = max(said.values())
    winners = [choice for choice, count in said.items() if count == most]
    choice = winners[0] if len(winners) == 1 else "tie"
    agreeing = [one for one in labels if one.choice == choice] if len(winners) == 1 else list(labels)
    strengths = [one.strength for one in agreeing if one.strength]
    edits = [one.edited for one in agreeing if one.edited]
    one_sided = choice in ("first", "second")
    return _preference(pair, choice, int(sum(strengths) / len(strengths) + 0.5) if strengths and one_sided else 0,
                       edits[-1] if edits and one_sided else "", ", ".join(sorted({one.author for one in agreeing})))


def _preference(pair: Pair, choice: str, strength: int, edited: str, by: str) -> PreferencePair:
    first, second = pair.first.text, pair.second.text
    chosen, rejected = (second, first) if choice == "second" else (first, second)
    undecided = choice in ("tie", "bad")
    return PreferencePair(id=pair.id, prompt=pair.prompt, chosen=edited or chosen, rejected=rejected, strength=0 if undecided else strength,
                          tie=undecided, bad=choice == "bad", by=by)


def _own_set(db: sqlite3.Connection, origin: str, title: str) -> int:
    """The set that pairs of an origin come into."""
    found = db.execute("select number from pair_sets where origin = ? order by number limit 1", (origin,)).fetchone()
    return int(found[0]) if found else new_set(db, title, origin, "")


def _from_vote(db: sqlite3.Connection, vote: Vote, known: dict[str, tuple[bool, int, int]]) -> int:
    """1 where a vote's label is different now. Its id says what was voted, so that a changed vote is told from a changed label."""
    id = f"vote:{vote.id}:{vote.choice}"
    others = [(other, pair) for other, (alive, _, pair) in known.items() if alive and other != id and pair is not None]
    if id in known and not others:
        return 0
    try:
        prompt = tuple(Message.model_validate(turn) for turn in vote.facts["messages"])
    except (KeyError, TypeError, ValueError):
        prompt = (Message(role="user", content=vote.prompt),)
    pair = Pair(id=pair_id(prompt, vote.left_text, vote.right_text), prompt=prompt, origin=VOTE,
                first=Answer(text=vote.left_text, model=vote.left_model), second=Answer(text=vote.right_text, model=vote.right_model),
                facts={"purpose": vote.purpose} if vote.purpose else {})
    insert(db, _own_set(db, VOTE, tr("Votes")), [pair], "")
    for other, number in others:
        put(db, number, {other: None})
    number, _ = find_pair(db, pair.id)
    # As the answers stood in the vote; the library's pair may have them the other way round.
    swapped = vote.left_text > vote.right_text
    choice: Any = {"left": "first", "right": "second"}.get(vote.choice, vote.choice)
    seconds = vote.facts.get("seconds")
    said: Said = as_said(Label(choice, author=vote.author or tr("annotator"), pair=pair.id, made=vote.made,
                               seconds=float(seconds) if isinstance(seconds, (int, float)) else 0.0), swapped)
    put(db, number, {id: said}, here=0)
    return 1


def _of_example(row: Example) -> Pair | None:
    """The pair in an example with a losing answer; None where it has none."""
    lost = row.facts.get("rejected")
    if not isinstance(lost, dict) or not isinstance(lost.get("text"), str) or len(row.messages) < 2 or row.messages[-1].role != "assistant":
        return None
    kept, other, prompt = row.messages[-1].content, lost["text"], row.messages[:-1]
    if kept == other:
        return None
    scores = row.facts.get("scores")
    mine = scores[0] if isinstance(scores, list) and scores else row.score
    apart = mine - lost["score"] if isinstance(mine, (int, float)) and isinstance(lost.get("score"), (int, float)) else None
    strength = 0 if apart is None or apart <= 0 else 3 if apart >= 4 else 2 if apart >= 2 else 1
    facts = {"best": "first", "strength": strength, "by": str(row.facts.get("judge") or JUDGE), "example": row.id}
    return Pair(id=pair_id(prompt, kept, other), prompt=prompt, first=Answer(text=kept, model=row.origin),
                second=Answer(text=other, model=str(lost.get("model") or "")), origin=JUDGE, facts=facts)
