"""What the rows of an evaluation come to: shares with intervals, pass@k, groups, losses, models compared on the same questions. No torch.

Reads rows only, so that a page can make the same figures of any part of them.
"""

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engine.evaluation.intervals import mean_interval, pass_at_k, sign_test, wilson
from engine.evaluation.suites import Suite

EXAMPLES = 5
Row = Mapping[str, Any]


def result(rows: Sequence[Row], suite: Suite) -> dict[str, Any]:
    """Figures of the rows of one suite, model and form.

    {"n": questions, "tries": a question, "value": pass@1 (0 to 1), "low", "high": 95 %, "right": expected number, "pass_at": {k: ..},
     "graders": {name: mean}, "groups": {column: {value: {"n", "value", "low", "high"}}}, "cut": share that reached the limit,
     "tokens": mean}
    or of a loss {"n", "value", "tokens", "nats", "bytes", "low", "high"}; `value` is bits per byte for text_loss, nats a token else.
    """
    if suite.kind == "text_loss":
        nats, tokens, size = (sum(row[key] for row in rows) for key in ("nats", "tokens", "bytes"))
        return {"n": len(rows), "value": _round(nats / math.log(2) / max(1, size)), "per_token": _round(nats / max(1, tokens)),
                "nats": _round(nats), "tokens": tokens, "bytes": size}
    if suite.kind == "example_loss":
        nats, tokens = sum(row["nats"] for row in rows), sum(row["tokens"] for row in rows)
        _, low, high = mean_interval([row["nats"] / max(1, row["tokens"]) for row in rows])
        return {"n": len(rows), "value": _round(nats / max(1, tokens)), "nats": _round(nats), "tokens": tokens,
                "mean_of_examples": [_round(low), _round(high)]}
    return _shares(rows, suite)


def _shares(rows: Sequence[Row], suite: Suite) -> dict[str, Any]:
    by_question: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_question[row["id"]].append(row)
    tries = min((len(some) for some in by_question.values()), default=0)
    right = math.fsum(_mean(some) for some in by_question.values())
    count = len(by_question)
    low, high = wilson(right, count)
    made: dict[str, Any] = {"n": count, "tries": tries, "value": _round(right / max(1, count)), "low": _round(low), "high": _round(high),
                            "right": _round(right)}
    if tries > 1:
        wanted = sorted({k for k in (1, 2, 4, 8, 16, 32, 64, tries) if k <= tries})
        made["pass_at"] = {str(k): _round(math.fsum(pass_at_k(len(some), _count(some), k) for some in by_question.values()) / count)
                           for k in wanted}
    names = list(dict.fromkeys(name for row in rows for name in row.get("grades", {})))
    made["graders"] = {name: _round(math.fsum(row["grades"].get(name, 0.0) for row in rows) / max(1, len(rows))) for name in names}
    made["cut"] = _round(sum(row.get("finish") == "length" for row in rows) / max(1, len(rows)))
    made["too_long"] = sum(row.get("finish") == "too_long" for row in rows)
    made["tokens"] = _round(sum(row.get("tokens", 0) for row in rows) / max(1, len(rows)))
    broken: dict[str, int] = defaultdict(int)
    for row in rows:
        for name in filter(None, str(row.get("why", "")).split(", ")):
            broken[name] += 1
    if broken:
        made["broken"] = dict(sorted(broken.items(), key=lambda item: -item[1]))
    columns = suite.groups or tuple(dict.fromkeys(column for row in rows for column in row.get("group", {})))
    made["groups"] = {column: _group(by_question, column) for column in columns}
    return made


def _group(by_question: Mapping[str, Sequence[Row]], column: str) -> dict[str, Any]:
    parts: dict[str, list[float]] = defaultdict(list)
    for some in by_question.values():
        value = some[0].get("group", {}).get(column)
        if value is not None:
            parts[value].append(_mean(some))
    found = {}
    for value in sorted(parts):
        right, count = math.fsum(parts[value]), len(parts[value])
        low, high = wilson(right, count)
        found[value] = {"n": count, "value": _round(right / count), "low": _round(low), "high": _round(high)}
    return found


def compare(first: Iterable[Row], second: Iterable[Row], keep: int = 200) -> dict[str, Any]:
    """Two models on the same questions: how many only one answers, the exact p of that, and the questions where they differ.

    A question counts as answered where more than half of its tries are right. Questions that only one of them was asked are left out.
    """
    left, right = _answered(first), _answered(second)
    shared = [id for id in left if id in right]
    both = sum(left[id] and right[id] for id in shared)
    lost = [id for id in shared if left[id] and not right[id]]
    gained = [id for id in shared if right[id] and not left[id]]
    return {"n": len(shared), "both": both, "only_first": len(lost), "only_second": len(gained),
            "neither": len(shared) - both - len(lost) - len(gained), "p": _round(sign_test(len(lost), len(gained))),
            "lost": lost[:keep], "gained": gained[:keep]}


def _answered(rows: Iterable[Row]) -> dict[str, bool]:
    scores: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        scores[row["id"]].append(float(row["score"]))
    return {id: sum(score >= 0.5 for score in some) * 2 > len(some) for id, some in scores.items()}


def pick(rows: Sequence[Row], seed: int, loss: bool = False, count: int = EXAMPLES) -> dict[str, list[dict[str, Any]]]:
    """Rows to look at: best, worst, and at random. Where all are right or wrong, order is by length; of losses, by nats a token."""
    ranked = sorted(rows, key=lambda r: (r["nats"] / max(1, r["tokens"])) if loss else (-r["score"], r.get("tokens", 0), r["id"]))
    drawn = random.Random(seed).sample(list(rows), min(count, len(rows)))
    wrong = [row for row in reversed(ranked) if loss or row["score"] < 0.5]
    good = [row for row in ranked if loss or row["score"] >= 0.5]
    return {"best": [dict(r) for r in good[:count]], "worst": [dict(r) for r in wrong[:count]], "random": [dict(r) for r in drawn]}


def win_rate(outcomes: Sequence[str]) -> dict[str, Any]:
    """Of "first", "second", "tie" ("bad": both bad, counted as a tie): how often the second model's answer is better, a tie counting
    half, with its interval; and the same without ties."""
    wins, losses = outcomes.count("second"), outcomes.count("first")
    ties = len(outcomes) - wins - losses
    low, high = wilson(wins + ties / 2, len(outcomes))
    decided = wins + losses
    decided_low, decided_high = wilson(wins, decided)
    return {"n": len(outcomes), "wins": wins, "losses": losses, "ties": ties, "value": _round((wins + ties / 2) / max(1, len(outcomes))),
            "low": _round(low), "high": _round(high), "decided": _round(wins / decided) if decided else None,
            "decided_low": _round(decided_low), "decided_high": _round(decided_high), "p": _round(sign_test(losses, wins))}


def _mean(rows: Sequence[Row]) -> float:
    return math.fsum(float(row["score"]) for row in rows) / len(rows)


def _count(rows: Sequence[Row]) -> int:
    return sum(float(row["score"]) >= 0.5 for row in rows)


def _round(value: float) -> float:
    return round(value, 6)
