"""How good labels are: agreement of people with themselves and with one another, and leanings that have nothing to do with the answers.

Pure counting on labels that are given; an interval is Wilson's, 95 %. What a label says in the second round counts for self-agreement
alone.
"""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from statistics import median

from engine.project.labels import Label

Z = 1.959963984540054
"""Standard deviations to either side of which 5 % lie."""
SITTING = (25, 50, 100, 200)
"""Places in a sitting at which its parts end."""
ONE_SIDED = ("first", "second")


@dataclass(frozen=True)
class Share:
    """`count` of `n` cases, with Wilson's 95 % interval; None of all where there is no case."""

    n: int
    count: int
    share: float | None
    low: float | None
    high: float | None

    def excludes(self, value: float) -> bool:
        """Whether chance alone hardly explains the distance to `value`."""
        return self.low is not None and self.high is not None and not self.low <= value <= self.high


@dataclass(frozen=True)
class SittingPart:
    """Labels at the places `first` to `last` of their sitting (None: and later): the usual seconds for one, how often the left answer won,
    how often a repeat agreed with the first time."""

    first: int
    last: int | None
    labels: int
    seconds: float | None
    left: Share
    agreement: Share


@dataclass(frozen=True)
class Kappa:
    """Cohen's kappa of two annotators on the `n` pairs that both decided; None where it is not defined (both always said the same one
    thing, or n is 0). `agreement` is the plain share."""

    one: str
    other: str
    n: int
    agreement: Share
    kappa: float | None


@dataclass(frozen=True)
class Quality:
    """Counts are of decided labels of the first round, but `skipped`. `left`: how often the left answer won, of those that name a winner;
    `longer`: how often the longer one did, of those whose answers differ in length. `days` are (year-month-day here, labels)."""

    labels: int
    ties: int
    bad: int
    skipped: int
    flagged: int
    edited: int
    authors: dict[str, int]
    self_agreement: Share
    left: Share
    longer: Share
    sitting: tuple[SittingPart, ...]
    kappas: tuple[Kappa, ...]
    days: tuple[tuple[str, int], ...]
    seconds: float | None


@dataclass(frozen=True)
class Judged:
    """A label with the characters of its pair's answers."""

    label: Label
    first_length: int = 0
    second_length: int = 0


def wilson(count: int, n: int) -> Share:
    """Wilson (1927), without correction for continuity."""
    if not n:
        return Share(0, 0, None, None, None)
    share = count / n
    middle, spread = share + Z * Z / (2 * n), Z * sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    whole = 1 + Z * Z / n
    return Share(n, count, share, max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole))


def cohen(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Cohen's kappa (1960) of two people's choices for the same things: agreement beyond what their habits alone would bring."""
    n = len(pairs)
    if not n:
        return None
    one, other = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    by_chance = sum(one[choice] * other[choice] for choice in one) / (n * n)
    return None if by_chance == 1 else (sum(a == b for a, b in pairs) / n - by_chance) / (1 - by_chance)


def measure(judged: Iterable[Judged], everybody: Iterable[Label] | None = None) -> Quality:
    """The quality of labels in force, both rounds; `everybody` are those among which annotators are compared, where `judged` is one's."""
    rows = list(judged)
    first = {(row.label.pair, row.label.author): row for row in rows if row.label.round == 1 and row.label.choice != "skip"}
    skipped = sum(row.label.round == 1 and row.label.choice == "skip" for row in rows)
    again = [(first[key].label, row.label) for row in rows if row.label.round == 2 and row.label.choice != "skip"
             and (key := (row.label.pair, row.label.author)) in first]
    sided = [row for row in first.values() if row.label.choice in ONE_SIDED]
    uneven = [row for row in sided if row.first_length != row.second_length]
    longer = sum((row.label.choice == "first") == (row.first_length > row.second_length) for row in uneven)
    kept = [row.label for row in first.values()]
    days = Counter(time.strftime("%Y-%m-%d", time.localtime(label.made)) for label in kept)
    taken = [label.seconds for label in kept if label.seconds > 0]
    compared = kept if everybody is None else [one for one in everybody if one.round == 1 and one.choice != "skip"]
    return Quality(len(kept), sum(one.choice == "tie" for one in kept), sum(one.choice == "bad" for one in kept), skipped,
                   len({row.label.pair for row in rows if row.label.flagged}), sum(bool(one.edited) for one in kept),
                   dict(sorted(Counter(one.author for one in kept).items(), key=lambda each: (-each[1], each[0]))),
                   _same(again), _left([row.label for row in sided]), wilson(longer, len(uneven)), _parts(kept, again),
                   agreements(compared), tuple(sorted(days.items())), median(taken) if taken else None)


def agreements(labels: Iterable[Label]) -> tuple[Kappa, ...]:
    """Each two annotators who decided pairs of the other, those with most pairs first."""
    said: dict[str, dict[str, str]] = {}
    for label in labels:
        said.setdefault(label.pair, {})[label.author] = label.choice
    both: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for choices in said.values():
        for one, other in combinations(sorted(choices), 2):
            both.setdefault((one, other), []).append((choices[one], choices[other]))
    found = [Kappa(one, other, len(pairs), wilson(sum(a == b for a, b in pairs), len(pairs)), cohen(pairs))
             for (one, other), pairs in both.items()]
    return tuple(sorted(found, key=lambda kappa: (-kappa.n, kappa.one, kappa.other)))


def _same(again: Sequence[tuple[Label, Label]]) -> Share:
    return wilson(sum(before.choice == after.choice for before, after in again), len(again))


def _left(sided: Sequence[Label]) -> Share:
    return wilson(sum(one.choice == one.left for one in sided), len(sided))


def _parts(kept: Sequence[Label], again: Sequence[tuple[Label, Label]]) -> tuple[SittingPart, ...]:
    parts, low = [], 1
    for high in (*SITTING, None):
        inside = [one for one in kept if one.position >= low and (high is None or one.position <= high)]
        repeats = [(before, after) for before, after in again if after.position >= low and (high is None or after.position <= high)]
        taken = [one.seconds for one in inside if one.seconds > 0]
        if inside or repeats:
            parts.append(SittingPart(low, high, len(inside), median(taken) if taken else None,
                                     _left([one for one in inside if one.choice in ONE_SIDED]), _same(repeats)))
        low = (high or 0) + 1
    return tuple(parts)
