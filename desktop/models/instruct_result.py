"""What a generation comes to, live and afterwards: kept and set aside by reason, ties, scores, tokens, models, the judge's bias. No Qt.

Counts of rows are of the rows themselves; what rows do not tell (ties, tokens, requests) the run's facts do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from desktop.models.instruct_plan import Measured
from desktop.models.instruct_rows import SCORES, Arrived
from desktop.models.instruct_words import flag_words
from desktop.models.local_models import short_name
from engine.contract.units import count, number, percent
from engine.contract.words import tr, trn
from engine.project.run_state import RunState

if TYPE_CHECKING:
    from engine.project.project import Project

MOST_READ, READ_AT_ONCE = 20_000, 1_000
"""Rows of a set that are read for the judge's bias and for variety."""
ALIKE = 0.3
"""Share of questions that share half of their word sequences with another from which a set is called alike."""
FEWEST = 5
"""Rows from which on it makes sense to speak of variety."""
MUCH = 0.4
"""Share of verdicts that follow the place from which a judge is said to be unsure."""


def fact(facts: Mapping[str, Any], *names: str) -> float:
    """The first number among these facts, 0 without one."""
    for name in names:
        value = facts.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    return 0.0


def counts(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """The counts that a run tells (and its artifact keeps): rows, asked, ties, tokens_in, tokens_out, by_model."""
    told = facts.get("counts")
    return told if isinstance(told, dict) else facts


def measured(state: RunState, arrived: Arrived) -> Measured | None:
    """What each row of a preview took; None when nothing came."""
    told = counts(state.facts)
    if not arrived.count:
        return None
    rows = float(arrived.count)  # one thing that is asked can give several
    seconds = sum(p.seconds for p in state.phases if p.id == "rows") or (state.ended - state.attempt_started)
    tokens = fact(told, "tokens_in") + fact(told, "tokens_out")
    return Measured(max(0.01, seconds) / rows, max(1.0, fact(told, "asked") / rows), tokens / rows, arrived.kept / rows)


def reasons(flags: Mapping[str, int], total: int) -> list[tuple[str, float, str]]:
    """Why rows were set aside, most first: (name, share of all, amount in words)."""
    merged: dict[str, int] = {}
    for flag, amount in flags.items():
        words = flag_words(flag)
        merged[words] = merged.get(words, 0) + amount
    most = sorted(merged.items(), key=lambda item: (-item[1], item[0]))
    return [(words, amount / total if total else 0.0, tr("{count}, {share}", count=number(amount), share=percent(amount / max(1, total))))
            for words, amount in most]


def by_model(facts: Mapping[str, Any], arrived: Arrived | None = None) -> list[tuple[str, str, str, str]]:
    """(model, requests, share of its rows that were kept, tokens), most requests first."""
    told = counts(facts).get("by_model")
    spent: dict[str, Any] = {k: v for k, v in told.items() if isinstance(v, dict)} if isinstance(told, dict) else {}
    written = arrived.written if arrived is not None else {}
    names = sorted({*spent, *(n for n in written if n)}, key=lambda n: (-fact(spent.get(n, {}), "asked"), n))
    made = []
    for name in names:
        mine, rows = spent.get(name, {}), written.get(name, 0)
        tokens = fact(mine, "tokens_out") + fact(mine, "tokens_in")
        kept = percent(arrived.written_kept[name] / rows) if arrived is not None and rows else ""
        made.append((short_name(name), number(fact(mine, "asked")) if mine else "", kept, count(tokens) if tokens else ""))
    return made


def histogram(scores: Sequence[tuple[int, int]]) -> list[tuple[str, float, str]]:
    """Bars for the scores 1 to 10."""
    return [(str(score), float(amount), number(amount) if amount else "") for score, amount in scores]


def bias_words(told: Mapping[str, Any]) -> tuple[str, str, bool] | None:
    """How often the judge followed the place instead of the answer: (share, what that means, whether it is much). None without a judge.
    `told` is what judging.Bias says."""
    pairs = fact(told, "pairs")
    if not pairs:
        return None
    share, favour = fact(told, "flip_share"), fact(told, "favour")
    words = trn("In {share} of {shown} verdict the winner changed with the order.",
                "In {share} of {shown} verdicts the winner changed with the order.", int(pairs), share=percent(share), shown=number(pairs))
    words += " " + tr("Both orders are asked, so it cancels out.")
    if abs(favour) >= 0.1:
        side = tr("first") if favour > 0 else tr("second")
        words += " " + tr("The {side} place is given {points} points more.", side=side, points=f"{abs(favour):.1f}")
    if share > MUCH:
        words += " " + tr("That is much: this judge is unsure, or too small for it.")
    return percent(share), words, share > MUCH


@dataclass(frozen=True)
class Outcome:
    """What is in a set, read in a thread: rows by score (those set aside apart), reasons, the judge's bias, a report on variety (None: not
    made). `looked` rows were read for the last two."""

    scores: tuple[tuple[int, int], ...]
    aside_scores: tuple[tuple[int, int], ...]
    flags: dict[str, int]
    bias: dict[str, Any]
    looked: int
    variety: "Variety | None" = None
    pairs: int = 0


@dataclass(frozen=True)
class Variety:
    """How varied a set is, as a person reads it: figures, a verdict in a word (with its tone), a sentence."""

    badge: str
    tone: str
    pairs: list[tuple[str, str]]
    words: str


def variety(report: Mapping[str, Any]) -> Variety:
    """What engine/generators/diversity.py counted."""
    overlap, near = report["overlap"], report["near_duplicates"]
    high, openings = float(overlap["high"]), list(report["openings"])
    entropy = report["opening_entropy"]
    alike = openings[0][1] / max(1, report["count"]) if openings else 0.0
    pairs = [(tr("Different word pairs"), percent(report["distinct"]["2"])),
             (tr("Share half with a neighbour"), percent(high)),
             (tr("Near duplicates"), number(near["count"])),
             (tr("Words of a question, median"), number(report["prompt_words"]["median"])),
             (tr("Words of an answer, median"), number(report["answer_words"]["median"]))]
    if entropy is not None:
        pairs.append((tr("Openings, evenness"), percent(entropy)))
    if report["source_spread"] is not None:
        pairs.append((tr("Sources, evenness"), percent(report["source_spread"])))
    if high > ALIKE or near["share"] > ALIKE / 2:
        badge, tone = tr("alike"), "warn"
    elif high > ALIKE / 3 or alike > ALIKE:
        badge, tone = tr("fair"), ""
    else:
        badge, tone = tr("varied"), "ok"
    words = ""
    if openings:
        words = tr("Most begin with “{words}”: {share}.", words=str(openings[0][0]), share=percent(alike))
        if badge == tr("alike"):
            words += " " + tr("More topics, another recipe or a higher temperature bring variety.")
    return Variety(badge, tone, pairs, words)


def read_outcome(project: "Project", set_id: str) -> Outcome:
    """Called in a thread: it opens the library and reads up to MOST_READ rows of it."""
    from engine.generators import diversity, judging
    from engine.project.examples import ExampleFilter
    library = project.library.examples

    def spread(status: str) -> tuple[tuple[int, int], ...]:
        made = []
        for score in SCORES:  # 7.5 is nearer to 8: halves go up
            low = 0.0 if score == SCORES[0] else score - 0.5
            made.append((score, library.count(ExampleFilter((set_id,), status, low=low, high=score + 0.4999))))
        return tuple(made)
    every, aside = spread(""), spread("rejected")
    bias, found, pairs = judging.Bias(), [], 0
    for start in range(0, MOST_READ, READ_AT_ONCE):
        rows = library.rows(ExampleFilter((set_id,)), start=start, count=READ_AT_ONCE)
        for each in rows:
            bias.add(each.example.facts)
            pairs += bool(each.example.facts.get("rejected"))
            if each.status != "rejected":
                found.append(each.example)
        if len(rows) < READ_AT_ONCE:
            break
    kept = tuple((score, amount - less) for (score, amount), (_, less) in zip(every, aside, strict=True))
    return Outcome(kept, aside, library.flags((set_id,)), bias.plain(), start + len(rows),
                   variety(diversity.report(found)) if len(found) >= FEWEST else None, pairs)
