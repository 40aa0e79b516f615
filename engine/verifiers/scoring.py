"""What a verifier's scores of a model's own completions say: how often it is right, what the scores look like, and whether GRPO could learn
from them. Arithmetic only.

    pass_at_k(8, 3, 4)                                  # chance that 4 of 8 completions, 3 of them right, hold a right one
    found = signal([[0.0, 1.0], [0.0, 0.0]])            # found.sentence: "There is signal: in 1 of 2 groups ..."
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from engine.contract.units import percent
from engine.contract.words import tr, trn
from engine.verifiers.api import Verdict

Level = Literal["ok", "warning", "failure", "skipped"]
CLOSE = 1e-9
BARS, BINS = 8, 12
"""Up to so many different scores get a bar each; more are counted in bins."""
LITTLE = 0.1
"""A share of mixed groups under this is little to learn from."""


def is_full(score: float | None, full: float) -> bool:
    """Whether a score is that of a right answer."""
    return score is not None and score >= full - CLOSE


def pass_at_k(n: int, c: int, k: int) -> float:
    """The chance that at least one of k completions is right, estimated without bias from n of which c are: 1 - C(n - c, k) / C(n, k).
    Chen et al. 2021 (arXiv 2107.03374), equation 1, as their numerically stable product. 1 <= k <= n, 0 <= c <= n."""
    assert 1 <= k <= n and 0 <= c <= n
    if n - c < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - c + 1, n + 1))


@dataclass(frozen=True)
class Bar:
    """Scores from `low` to `high` (without it, but for the last); equal where the bar is one score."""

    low: float
    high: float
    count: int

    @property
    def label(self) -> str:
        return _short(self.low) if self.low == self.high else f"{_short(self.low)}–{_short(self.high)}"


def histogram(scores: Sequence[float]) -> tuple[Bar, ...]:
    """A bar for each score where there are few different ones, else for bins of one width with round borders, empty ones too."""
    if not scores:
        return ()
    counts = Counter(round(score, 6) + 0.0 for score in scores)
    if len(counts) <= BARS:
        return tuple(Bar(value, value, counts[value]) for value in sorted(counts))
    low, high = min(counts), max(counts)
    width = _round_width((high - low) / BINS)
    first = math.floor(low / width + CLOSE)
    last = max(first + 1, math.ceil(high / width - CLOSE))
    made = [0] * (last - first)
    for value, count in counts.items():
        made[min(len(made) - 1, math.floor(value / width + CLOSE) - first)] += count
    return tuple(Bar(round((first + n) * width, 9), round((first + n + 1) * width, 9), count) for n, count in enumerate(made))


def _round_width(width: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(width))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= width * (1 - CLOSE))


def _short(value: float) -> str:
    text = f"{value:.3g}"
    return text if "." in text or "e" in text else f"{text}.0"


@dataclass(frozen=True)
class Signal:
    """Groups of completions to one problem each, by what GRPO could learn from them. mixed: not all of one score. all_right, all_wrong: one
    score, full or less. unsaid: fewer than two were judged. level: whether to train with this."""

    groups: int
    mixed: int
    all_right: int
    all_wrong: int
    unsaid: int
    level: Level
    sentence: str
    remedy: str = ""


def signal(groups: Sequence[Sequence[float | None]], full: float = 1.0) -> Signal:
    """What there is to learn from: GRPO compares the completions of a group, and one where all score the same teaches nothing."""
    mixed = right = wrong = unsaid = 0
    for group in groups:
        said = [score for score in group if score is not None]
        if len(said) < 2:
            unsaid += 1
        elif max(said) - min(said) > CLOSE:
            mixed += 1
        elif is_full(said[0], full):
            right += 1
        else:
            wrong += 1
    judged = len(groups) - unsaid
    level, sentence, remedy = _signal_words(judged, mixed, right, wrong)
    return Signal(len(groups), mixed, right, wrong, unsaid, level, sentence, remedy)


def _signal_words(judged: int, mixed: int, right: int, wrong: int) -> tuple[Level, str, str]:
    easier = tr("Choose easier problems, give more answers to each (raise k), or fine-tune the model on worked examples first.")
    if not judged:
        return "skipped", tr("Nothing to learn from: the verifier could not judge the answers."), tr("Mend the verifier.")
    if right == judged:
        return "failure", tr("No signal: every answer is right already."), tr("Choose harder problems, or go on to the next stage.")
    if wrong == judged:
        return "failure", tr("No signal: in no group does any answer score better than the others, and none is right."), easier
    if not mixed:
        return "failure", tr("No signal: no group has a mixed result; make it easier or raise k."), tr(
            "Groups are all right or all wrong: choose problems between the two.")
    if mixed < LITTLE * judged:
        said = trn("Little signal: only in {mixed} of {count} group the answers differ in score.",
                   "Little signal: only in {mixed} of {count} groups the answers differ in score.", judged, mixed=mixed)
        return "warning", said, easier if wrong >= right else tr("Most problems are solved already: choose harder ones.")
    return "ok", trn("There is signal: in {mixed} of {count} group some answers score and some do not. GRPO learns from these.",
                     "There is signal: in {mixed} of {count} groups some answers score and some do not. GRPO learns from these.",
                     judged, mixed=mixed), ""


@dataclass(frozen=True)
class Scores:
    """What a verifier says of a model's completions. tried, right (a score of `full` or more), errors by kind; pass_at_1 and pass_at_k are
    means over problems with that many judged completions or more (a completion that was not judged counts as wrong, as in a run's
    measurement), None where there is none; k: the most completions a problem has. mean: of the scores that are known."""

    tried: int
    right: int
    mean: float | None
    k: int
    pass_at_1: float | None
    pass_at_k: float | None
    bars: tuple[Bar, ...]
    signal: Signal
    ms: float
    errors: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[tuple[str, int, int, float | None], ...] = ()
    """(problem id, right, tried, mean score) of each."""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "bars": [{**asdict(bar), "label": bar.label} for bar in self.bars],
                "problems": [list(problem) for problem in self.problems]}


def scores_of(groups: Sequence[tuple[str, Sequence[Verdict]]], full: float = 1.0) -> Scores:
    """Of groups as (problem id, verdicts of its completions)."""
    verdicts = [one for _, group in groups for one in group]
    known = [one.score for one in verdicts if one.score is not None]
    right = [sum(is_full(one.score, full) for one in group) for _, group in groups]
    k = max((len(group) for _, group in groups), default=0)
    timed = [one.seconds for one in verdicts if one.seconds > 0]
    firsts = [pass_at_k(len(group), c, 1) for (_, group), c in zip(groups, right, strict=True) if group]
    alls = [pass_at_k(len(group), c, k) for (_, group), c in zip(groups, right, strict=True) if k and len(group) >= k]
    return Scores(
        tried=len(verdicts), right=sum(right), mean=sum(known) / len(known) if known else None, k=k,
        pass_at_1=sum(firsts) / len(firsts) if firsts else None, pass_at_k=sum(alls) / len(alls) if alls else None,
        bars=histogram(known), signal=signal([[one.score for one in group] for _, group in groups], full),
        ms=1000 * sum(timed) / len(timed) if timed else 0.0, errors=dict(Counter(one.error for one in verdicts if one.error)),
        problems=tuple((id, c, len(group), _mean([one.score for one in group])) for (id, group), c in zip(groups, right, strict=True)))


def _mean(scores: Sequence[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known else None


def headline(scores: Scores) -> str:
    """26 % right before training."""
    return "" if scores.pass_at_1 is None else tr("{share} right before training", share=percent(scores.pass_at_1))
