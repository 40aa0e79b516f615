"""What came of learning from problems, from a run's state: the share solved before and after and how sure that is, in words. No Qt."""

import math
from collections.abc import Mapping
from typing import Any

from desktop.models.moved import Measure, ending_facts, moved
from engine.contract.units import duration, number, percent
from engine.contract.words import tr, trn
from engine.project.run_state import RunState
from engine.stages.grpo.spec import PRESETS

LONGER = 1.5


def measures(outcome: Mapping[str, Any]) -> list[Measure]:
    """What can be compared, the most important first."""
    return [*moved(outcome, tr("Solved"), tr("held-out problems"), "pass_at_1", 1, share=True),
            *moved(outcome, tr("Reward"), tr("held-out problems"), "val_reward", 1),
            *moved(outcome, tr("Length"), tr("tokens an answer"), "val_length", 0)]


def by_chance(share: float, count: int) -> float:
    """Half of the 95 % interval of a share of `count` tries (the normal approximation, with two tries added to either side: Agresti and
    Coull, 1998)."""
    tried = count + 4
    middle = (share * count + 2) / tried
    return 1.96 * math.sqrt(middle * (1 - middle) / tried)


def how_measured(outcome: Mapping[str, Any]) -> str:
    """A sentence; "" where nothing was measured."""
    count, after = int(outcome.get("held_out") or 0), outcome.get("pass_at_1_after")
    if not count or after is None:
        return ""
    said = trn("Sampled, one answer to the {shown} held-out problem (pass@1), with the same random numbers before and after.",
               "Sampled, one answer to each of {shown} held-out problems (pass@1), with the same random numbers before and after.", count,
               shown=number(count))
    return said + " " + tr("Chance alone moves a share of so many by up to {points} points.",
                           points=f"{100 * by_chance(float(after), count):.0f}")


def sentence(outcome: Mapping[str, Any]) -> str:
    """What the numbers mean, with what speaks against them."""
    words: list[str] = []
    known = {m.key: m for m in measures(outcome)}
    solved, length = known.get("pass_at_1"), known.get("val_length")
    if solved is None:
        words.append(tr("No problem was held out, so how many it solves is not measured."))
    else:
        words.append(tr("It solves {after} of the held-out problems now, {before} before.", after=percent(solved.after, 1),
                        before=percent(solved.before, 1)))
        count = int(outcome.get("held_out") or 0)
        if count and abs(solved.after - solved.before) < by_chance(solved.after, count):
            words.append(tr("With {count} problems held out, that can be chance.", count=number(count)))
    if length is not None and length.before and length.after > LONGER * length.before:
        words.append(tr("Its answers became {times} times as long.", times=number(length.after / length.before, 1)))
    if outcome.get("seconds"):
        words.append(tr("It took {time}.", time=duration(float(outcome["seconds"]))))
    return " ".join(words)


def facts(outcome: Mapping[str, Any], verifier: str = "") -> list[tuple[str, str]]:
    """The rest as names and values."""
    if not outcome:
        return []
    rounds, preset = int(outcome.get("rounds") or 0), PRESETS.get(str(outcome.get("preset") or ""))
    found = [(tr("Recipe"), preset.title)] if preset is not None else []
    if verifier:
        found.append((tr("Verifier"), verifier))
    return [*found, (tr("Problems"), number(int(outcome.get("prompts") or 0))), (tr("Held out"), number(int(outcome.get("held_out") or 0))),
            (tr("Rounds"), tr("{rounds} of {answers} answers", rounds=number(rounds), answers=number(int(outcome.get("answers") or 0)))),
            *ending_facts(outcome)]


def solved_now(state: RunState) -> float | None:
    """The share of held-out problems, as last measured."""
    return next((value for made in reversed(state.evaluations) if (value := made.values.get("pass_at_1")) is not None), None)


def time_shares(state: RunState, last: int = 20) -> list[tuple[str, float]]:
    """How the time of the last steps was spent: (what, share), without what took none."""
    names = (("sampling_seconds", tr("sampling")), ("verifying_seconds", tr("waiting for the verifier")),
             ("reading_seconds", tr("reading")), ("learning_seconds", tr("learning")))
    sums = []
    for key, words in names:
        values = state.metrics.column(key)[-last:]
        sums.append((words, float(values[values == values].sum())))
    total = sum(value for _, value in sums)
    return [(words, value / total) for words, value in sums if value > 0] if total > 0 else []
