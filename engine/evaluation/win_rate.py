"""Two models' answers to the same prompts, set side by side: judged by a local model in both orders, scored by a reward model, or laid out
for people who do not see whose answer is whose. No torch; nothing is answered here.

A judge is not the truth: how often it changed its mind with the order is told with every win rate. Wins are the second model's; the first
is the one it is compared with.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from engine.contract.rows import Message
from engine.evaluation.report import win_rate
from engine.generators.asks import Ask, Reply
from engine.generators.judging import RUBRIC, Bias, judge
from engine.generators.provider import Provider, TooLong, Unavailable

AT_ONCE = 4
WAITS = (1.0, 3.0, 10.0)
"""Seconds before a judge that did not answer is asked again."""
SCORED_AT_ONCE = 64
"""Pairs that a reward model reads between two looks at what the person wants."""


class Scores(Protocol):
    """A reward model, as engine/model/scorer.py has it."""

    def score(self, conversations: Sequence[Sequence[Message]]) -> list[float]: ...

    def normalised(self, rewards: Sequence[float]) -> list[float]: ...


@dataclass(frozen=True)
class Pair:
    """One prompt with the answers of the first and the second model."""

    id: str
    prompt: str
    first: str
    second: str


@dataclass(frozen=True)
class Comparison:
    """A pair as a person sees it: `left` and `right` are drawn, the models stand in the facts that are not shown."""

    id: str
    prompt: str
    left_text: str
    right_text: str
    left_model: str
    right_model: str
    facts: dict[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def pairs(first: Iterable[Mapping[str, Any]], second: Iterable[Mapping[str, Any]]) -> list[Pair]:
    """Rows of two models on the same suite, brought together by question and try."""
    other = {(row["id"], row.get("sample", 0)): row for row in second}
    return [Pair(f"{row['id']}#{row.get('sample', 0)}" if row.get("sample", 0) else row["id"], row["prompt"], row["said"],
                 other[row["id"], row.get("sample", 0)]["said"])
            for row in first if (row["id"], row.get("sample", 0)) in other]


def judged(provider: Provider, made: Sequence[Pair], rubric: str, margin: float, seed: int,
           stop: Callable[[], bool] = lambda: False) -> Iterator[dict[str, Any]]:
    """A row for each pair, as verdicts come: {"id", "outcome": "first" | "second" | "tie" | "unreadable", "scores", "rationale", ...}.
    Equal texts are a tie without being asked about. `stop` ends it after those under way."""

    def ask(wanted: Ask) -> Reply:
        for seconds in WAITS:
            try:
                return provider.ask(wanted)
            except Unavailable as wrong:
                if stop():
                    raise
                time.sleep(wrong.retry_after or seconds)
        return provider.ask(wanted)

    def one(pair: Pair) -> dict[str, Any]:
        if pair.first.strip() == pair.second.strip():
            return {"id": pair.id, "outcome": "tie", "same": True}
        number = int.from_bytes(hashlib.sha256(f"{seed} {pair.id}".encode()).digest()[:4], "big") >> 1
        try:
            verdict = judge(ask, rubric or RUBRIC, pair.prompt, pair.first, pair.second, margin=margin, seed=number)
        except TooLong as wrong:  # of this pair; the judge may read the others
            return {"id": pair.id, "outcome": "unreadable", "judged": False, "why": wrong.sentence}
        outcome = ("unreadable" if not verdict.readable else "tie" if verdict.tie else "first" if verdict.winner == "a" else
                   "second")
        return {"id": pair.id, "outcome": outcome, **verdict.facts()}

    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = iter(made)
        under_way: set[Future[dict[str, Any]]] = set()
        while True:
            while len(under_way) < AT_ONCE and not stop() and (pair := next(waiting, None)) is not None:
                under_way.add(pool.submit(one, pair))
            if not under_way:
                return
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


def scored(scorer: Scores, made: Sequence[Pair], stop: Callable[[], bool] = lambda: False) -> Iterator[dict[str, Any]]:
    """A row for each pair, as `judged` gives them, by a reward model: the higher reward is the better answer, equal ones are a tie. The
    rewards are over the spread of the reward model's own training answers ("rewards": [first's, second's])."""
    for start in range(0, len(made), SCORED_AT_ONCE):
        if stop():
            return
        group = made[start:start + SCORED_AT_ONCE]
        rewards = scorer.normalised(scorer.score([
            (Message(role="user", content=pair.prompt), Message(role="assistant", content=text)) for pair in group
            for text in (pair.first, pair.second)]))
        for pair, first, second in zip(group, rewards[::2], rewards[1::2], strict=True):
            outcome = "tie" if pair.first.strip() == pair.second.strip() else "first" if first > second else "second"
            yield {"id": pair.id, "outcome": outcome, "rewards": [round(first, 5), round(second, 5)]}


def tally(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The win rate of the second model from the rows of `judged` or `scored`; what the verdicts say of the judge, or the mean rewards."""
    rate = win_rate([row["outcome"] for row in rows if row["outcome"] != "unreadable"])
    rewards = [row["rewards"] for row in rows if row.get("rewards")]
    if rewards:
        return {**rate, "rewards": [round(math.fsum(values) / len(rewards), 5) for values in zip(*rewards, strict=True)]}
    bias = Bias()
    for row in rows:
        bias.add(row)
    return {**rate, "judge": bias.plain()}


def comparisons(made: Sequence[Pair], first: str, second: str, seed: int) -> list[Comparison]:
    """The pairs with sides drawn and in a drawn order, for people; the same seed lays them out alike. Equal texts are left out: there is
    nothing to choose."""
    drawn = []
    for pair in made:
        if pair.first.strip() == pair.second.strip():
            continue
        mark = hashlib.sha256(f"{seed} {first} {second} {pair.id}".encode()).digest()
        swapped = bool(mark[0] & 1)
        left, right = ((pair.second, second), (pair.first, first)) if swapped else ((pair.first, first), (pair.second, second))
        drawn.append((mark, Comparison(pair.id, pair.prompt, left[0], right[0], left[1], right[1])))
    return [one for _, one in sorted(drawn, key=lambda item: item[0])]


def of_votes(votes: Iterable[Any], first: str, second: str) -> dict[str, Any]:
    """The win rate of the second model from people's votes (library.votes: left_model, right_model, choice left, right, tie or bad)."""
    outcomes = []
    for vote in votes:
        if {vote.left_model, vote.right_model} != {first, second}:
            continue
        chosen = {"left": vote.left_model, "right": vote.right_model}.get(vote.choice)
        outcomes.append("tie" if chosen is None else "first" if chosen == first else "second")
    return win_rate(outcomes)
