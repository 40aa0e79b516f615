"""`Library.pairs`: pairs of answers, people's labels on them, and what of both is learned from.

Sets and pairs are in pair_sets.py, labels and their history in labels.py, what comes next in label_queues.py. Nothing here reads people's
files (engine/text/preferences) or a run's folder (ingest.py).
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from engine.contract.rows import Pair, PreferencePair
from engine.project.label_queues import LabelQueues
from engine.project.labels import FIELDS, Label, label_of
from engine.project.pair_sets import PAGE, pair_of


class Pairs(LabelQueues):
    """On the library's connection, safe in several threads and processes."""

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
