"""What came of preference tuning, from a run's state: what was measured before and after, in words and numbers. No Qt."""

from collections.abc import Mapping
from typing import Any

from desktop.models.moved import FAR, Measure, ending_facts, moved
from engine.contract.units import duration, number, percent, significant
from engine.contract.words import tr, trn
from engine.project.run_state import RunState

LONGER = 1.5


def measures(stage: str, outcome: Mapping[str, Any]) -> list[Measure]:
    """What can be compared, the most important first."""
    if stage == "ppo":
        found = [*moved(outcome, tr("Reward"), tr("standard deviations"), "val_reward", 1),
                 *moved(outcome, tr("Length"), tr("tokens an answer"), "val_length", 0)]
    else:
        simpo = outcome.get("loss") == "simpo"
        found = [*moved(outcome, tr("Better is likelier") if simpo else tr("Right direction"), tr("in held-out pairs"), "accuracy", 1,
                        True),
                 *moved(outcome, tr("Difference"), tr("of rewards, held out"), "margin", 1),
                 *moved(outcome, tr("Loss"), tr("in held-out pairs"), "val_loss", -1)]
    return [*found, *moved(outcome, tr("General text"), tr("held-out text of the replay corpus"), "general_bpb", -1,
                           unit=tr("bits per byte"))]


def sentence(stage: str, outcome: Mapping[str, Any]) -> str:
    """What the numbers mean, with what speaks against them."""
    known = {m.title: m for m in measures(stage, outcome)}
    words: list[str] = []
    if stage == "ppo":
        reward, length, kl = known.get(tr("Reward")), known.get(tr("Length")), outcome.get("kl")
        if reward is None:
            words.append(tr("No prompt was held out, so what it gained is not measured."))
        else:
            words.append(tr("The reward model gives its answers {after} now, {before} before.", after=reward.words(reward.after),
                            before=reward.words(reward.before)))
        if kl is not None:
            words.append(tr("It moved {kl} nats an answer away from where it started.", kl=significant(float(kl), 2)) if kl < FAR else
                         tr("It moved {kl} nats an answer away, which is far: read its answers before you trust the reward.",
                            kl=significant(float(kl), 2)))
        if length is not None and length.before and length.after > LONGER * length.before:
            words.append(tr("Its answers became much longer: the reward model may like length."))
    else:
        share = next((m for m in known.values() if m.share), None)
        if share is None:
            words.append(tr("No pair was held out, so what it gained is not measured."))
        elif outcome.get("loss") == "simpo":
            words.append(tr("It finds the better answer likelier in {after} of held-out pairs, {before} before.",
                            after=percent(share.after, 1), before=percent(share.before, 1)))
        else:
            words.append(tr("In {after} of held-out pairs it moved towards the better answer.", after=percent(share.after, 1)))
        if outcome.get("kl") is not None and float(outcome["kl"]) >= FAR:
            words.append(tr("It moved {kl} nats an answer away from where it started, which is far: read its answers before you use it.",
                            kl=significant(float(outcome["kl"]), 3)))
    if outcome.get("seconds"):
        words.append(tr("It took {time}.", time=duration(float(outcome["seconds"]))))
    return " ".join(words)


def facts(stage: str, outcome: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The rest as names and values."""
    if not outcome:
        return []
    found: list[tuple[str, str]] = []
    if stage == "ppo":
        if outcome.get("reward_title"):
            found.append((tr("Scored by"), str(outcome["reward_title"])))
        found += [(tr("Prompts"), number(int(outcome.get("prompts") or 0))), (tr("Held out"), number(int(outcome.get("held_out") or 0))),
                  (tr("Rounds"), trn("{shown} of {answers} answers", "{shown} of {answers} answers", int(outcome.get("rounds") or 0),
                                     shown=number(int(outcome.get("rounds") or 0)), answers=number(int(outcome.get("answers") or 0))))]
        if outcome.get("kl") is not None:
            found.append((tr("KL, at the end"), tr("{kl} nats", kl=significant(float(outcome["kl"]), 2))))
        if outcome.get("kl_coef") is not None:
            found.append((tr("KL coefficient"), f"{float(outcome['kl_coef']):.3g}"))
    else:
        names = {"sigmoid": tr("DPO (sigmoid)"), "ipo": "IPO", "hinge": tr("Hinge (SLiC)"), "simpo": "SimPO", "kto": "KTO"}
        found += [(tr("Loss"), names.get(str(outcome.get("loss")), "–")), ("Beta", f"{float(outcome.get('beta') or 0):.3g}"),
                  (tr("Pairs"), number(int(outcome.get("pairs") or 0))), (tr("Held out"), number(int(outcome.get("held_out") or 0)))]
    return [*found, *ending_facts(outcome)]


def kl_now(state: RunState) -> float | None:
    """Nats an answer against the reference: as last measured on held-out prompts, else in training."""
    for made in reversed(state.evaluations):
        if (value := made.values.get("val_kl")) is not None:
            return value
    return state.metrics.last("kl")
