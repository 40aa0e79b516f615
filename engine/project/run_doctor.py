"""What is going wrong in a run, told from its numbers: each finding in plain words, with what to do about it, where possible as a change
of settings to start again with.

    findings = rules(state, stage, spec)                       # spec: the run's settings as plain values
    findings = rules(state, stage, spec, before=findings)      # later: a finding goes only when it is clearly over

Pure: no files, no clock. A rule wants enough steps, and two bounds: one to come, a laxer one to stay, so that nothing flickers while a
value hovers about a bound. All rules together take about a millisecond however long the run is (run_trend.py).

Where the bounds are from: entropy, KL, and shares of groups without a spread and of cut answers as Axolotl publishes them for GRPO; PPO's
clip share and explained variance as in "The 37 Implementation Details of PPO" (Huang et al., 2022); gradient norms over 100 as Axolotl.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.contract.units import number, percent, significant
from engine.contract.words import tr
from engine.project.run_state import RunState
from engine.project.run_trend import Trend

TEXT = ("pretrain", "adapt", "sft")
"""Stages whose loss is that of text."""
PAIRS = ("reward", "dpo")
POLICY = ("ppo", "grpo")
TRAINING = (*TEXT, *PAIRS, *POLICY)
MASTERED = 0.95
"""Share of held-out problems solved, from which there is hardly anything left to learn."""
FAILS, OUT_OF_TIME, PAUSES = 0.01, 0.01, 0.05
"""Shares of answers that a verifier could not judge, or had no time for, from which it is said; and from which a run pauses (as
engine/verifiers/pausing.py has it)."""
RISEN = 1.0
"""Times the spread of the first rewards by which the reward has risen where PPO plainly learns."""


@dataclass(frozen=True)
class Finding:
    """`level` is info, warning or problem, as of a Notice. `change`: settings to start again with; None where only a person can tell.
    `step` is where the run stood."""

    code: str
    level: str
    title: str
    sentence: str
    remedy: str = ""
    change: Mapping[str, Any] | None = None
    step: int = -1


@dataclass(frozen=True)
class Look:
    """What rules look at. `before`: codes of findings that stand already."""

    state: RunState
    stage: str
    spec: Mapping[str, Any]
    trend: Trend
    before: Collection[str] = ()
    evaluated: dict[str, list[tuple[int, float]]] = field(default_factory=dict)

    def over(self, code: str, value: float, come: float, stay: float) -> bool:
        """Whether a value is past the bound: `come` for a new finding, `stay` for one that stands. NaN is past nothing."""
        return value > (stay if code in self.before else come)

    def under(self, code: str, value: float, come: float, stay: float) -> bool:
        return value < (stay if code in self.before else come)

    def chosen(self, name: str) -> Any:
        """A setting, or what the stage filled in where it was left open; None where nobody knows."""
        value = self.spec.get(name)
        for told in ("plan", "filled"):
            made = self.state.facts.get(told)
            if value is None and isinstance(made, Mapping):
                value = made.get(name)
        return value

    def setting(self, name: str, default: float = 0.0) -> float:
        """A number of the run's settings, or of the plan that was made of them."""
        value = self.chosen(name)
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else default

    def rate(self, times: float) -> dict[str, Any] | None:
        """The learning rates so many times as high; None where they are not known."""
        found = {name: float(f"{times * value:.2g}") for name in ("learning_rate", "matrix_learning_rate") if (value := self.setting(name))}
        return found or None


Rule = Callable[[Look], Finding | None]
_RULES: list[tuple[tuple[str, ...], int, Rule]] = []


def rules(state: RunState, stage: str, spec: Mapping[str, Any], before: Iterable[Finding] = ()) -> list[Finding]:
    """Everything that stands out now, what is worst first. `before` is what the last call gave."""
    trend = Trend(state.metrics)
    if not trend.length or stage not in TRAINING:
        return []
    look = Look(state, stage, spec, trend, frozenset(one.code for one in before), _evaluated(state))
    found = [made for stages, least, rule in _RULES if stage in stages and trend.length >= least and (made := rule(look)) is not None]
    codes = {one.code for one in found}
    found = [one for one in found if not codes & _SAID_BY.get(one.code, frozenset())]
    return sorted(found, key=lambda one: ("problem", "warning", "info").index(one.level))


def _evaluated(state: RunState) -> dict[str, list[tuple[int, float]]]:
    """Values of evaluations by name: (step, value) in their order. The last some hundred; the first ones always."""
    kept = state.evaluations if len(state.evaluations) <= 400 else [*state.evaluations[:100], *state.evaluations[-300:]]
    found: dict[str, list[tuple[int, float]]] = {}
    for each in kept:
        for name, value in each.values.items():
            if value is not None and math.isfinite(value):
                found.setdefault(name, []).append((each.step, value))
    return found


def _rule(*stages: str, least: int) -> Callable[[Rule], Rule]:
    def take(rule: Rule) -> Rule:
        _RULES.append((stages, least, rule))
        return rule
    return take


_SAID_BY: dict[str, frozenset[str]] = {
    "loss_spikes": frozenset({"loss_rises"}),
    "reward_not_held_out": frozenset({"reward_by_length", "reward_hacked"}), "explained_variance": frozenset({"value_loss"}),
    "margin_explodes": frozenset({"overfit"}), "worse_than_before": frozenset({"overfit"}),
    "gradient_spikes": frozenset({"loss_rises", "gradient_high"})}
"""A finding that is left out where another one says the same and more."""


def _lower_rate(look: Look) -> str:
    change = look.rate(0.5)
    return tr("Start again with half the learning rate, {rate}.", rate=f"{next(iter(change.values())):.2g}") if change else \
        tr("Start again with a lower learning rate.")


# ------------------------------------------------------------------------------------------------------- all that is trained


@_rule(*TRAINING, least=20)
def _not_a_number(look: Look) -> Finding | None:
    """Steps that were skipped, since their loss or gradient was no number."""
    values = look.trend.values("loss")
    bad = int((values != values).sum()) + int((abs(values) == math.inf).sum())
    if not look.over("not_a_number", bad, 2, 0):
        return None
    half = look.state.dtype in ("bfloat16", "float16")
    level = "problem" if bad * 10 > values.size else "warning"
    return Finding("not_a_number", level, tr("Some losses are not numbers"),
                   tr("In {count} of the last {steps} steps the loss was not a number; they were skipped.", count=number(bad),
                      steps=number(values.size)),
                   tr("Train in float32.") if half else _lower_rate(look), {"dtype": "float32"} if half else look.rate(0.5),
                   look.state.step)


@_rule(*TEXT, least=60)
def _loss_spikes(look: Look) -> Finding | None:
    count = look.trend.jumps("loss", times=10, share=0.3)
    if not look.over("loss_spikes", count, 2, 0):
        return None
    return Finding("loss_spikes", "warning", tr("The loss jumps"),
                   tr("In {count} of the latest steps it was far above its usual level. One odd batch is nothing; several say that steps "
                      "are too long.", count=number(count)), _lower_rate(look), look.rate(0.5), look.state.step)


@_rule(*TEXT, least=60)
def _loss_rises(look: Look) -> Finding | None:
    """The present against the best there was, beyond what noise explains."""
    trend = look.trend
    now, best, recent = trend.now("loss"), trend.lowest("loss"), trend.recent("loss")
    noise = 4 * float(recent.std()) / math.sqrt(max(1, recent.size)) if recent.size else 0.0
    if not (now - best > noise and look.over("loss_rises", now / best if best > 0 else math.nan, 1.1, 1.05)):
        return None
    broken = now > 1.1 * trend.first("loss")
    return Finding("loss_rises", "problem" if broken else "warning", tr("The loss rises"),
                   tr("It is {now} and was {best} before. The learning rate is likely too high.", now=significant(now, 3),
                      best=significant(best, 3)), _lower_rate(look), look.rate(0.5), look.state.step)


@_rule("pretrain", "sft", least=150)
def _loss_flat(look: Look) -> Finding | None:
    """Nothing was learned from the beginning on. A model that was good before may have little to learn: then validation tells."""
    trend = look.trend
    now, first = trend.now("loss"), trend.first("loss")
    if not first > 0.05 or not look.over("loss_flat", now / first, 0.98, 0.96) or now > 1.1 * first:
        return None
    measured = look.evaluated.get("val_loss", [])
    if look.stage == "sft" and (len(measured) < 2 or measured[-1][1] < 0.98 * measured[0][1]):
        return None
    change = look.rate(3)
    return Finding("loss_flat", "warning", tr("The loss does not fall"),
                   tr("It was {first} and is {now} after {steps} steps. The learning rate is likely too low.", first=significant(first, 3),
                      now=significant(now, 3), steps=number(look.state.step)),
                   tr("Start again with three times the learning rate, {rate}.", rate=f"{next(iter(change.values())):.2g}") if change else
                   tr("Start again with a higher learning rate."), change, look.state.step)


@_rule(*TRAINING, least=40)
def _gradient_spikes(look: Look) -> Finding | None:
    count = look.trend.jumps("grad_norm", times=8, share=9, above=100)
    share = count / max(1, min(2 * look.trend.window, look.trend.length))
    if not (look.over("gradient_spikes", count, 2, 0) and look.over("gradient_spikes", share, 0.02, 0.005)):
        return None
    unclipped = "grad_clip" in look.spec and look.setting("grad_clip") == 0
    return Finding("gradient_spikes", "warning", tr("Gradients jump"),
                   tr("In {count} of the latest steps the gradient was over 100, or ten times its usual length.", count=number(count)),
                   tr("Start again with gradient clipping at 1.") if unclipped else _lower_rate(look),
                   {"grad_clip": 1.0} if unclipped else look.rate(0.5), look.state.step)


@_rule(*TEXT, *PAIRS, least=10)
def _overfit(look: Look) -> Finding | None:
    """Validation gets worse while what is trained on does not. Means of three measurements, since one may be odd."""
    measured = look.evaluated.get("val_loss", [])
    if len(measured) < 4:
        return None
    steady = [sum(value for _, value in measured[max(0, i - 1):i + 2]) / len(measured[max(0, i - 1):i + 2]) for i in range(len(measured))]
    place = min(range(len(steady)), key=steady.__getitem__)
    best_at, best, last = measured[place][0], steady[place], steady[-1]
    worse = (last - best) / max(abs(best), 0.05)
    if best_at == 0 or place > len(measured) - 3 or not look.over("overfit", worse, 0.03, 0.015):
        return None
    if not (look.trend.now("loss") < look.trend.first("loss") and look.trend.now("loss") < 1.05 * look.trend.lowest("loss")):
        return None  # what rises in training too is not learned by heart
    epochs, steps = look.setting("epochs"), float(look.state.facts.get("steps") or look.state.step)
    shorter = max(0.1, round(epochs * best_at / max(1.0, steps), 1)) if epochs else 0.0
    stopped = {"patience": 3} if not look.setting("patience") else None
    change: dict[str, Any] | None = {"epochs": shorter} if 0 < shorter < epochs else stopped
    kept = " " + tr("The finished model has the weights of step {step}, unless you chose otherwise.", step=number(best_at)) \
        if look.spec.get("keep_best") else ""
    return Finding("overfit", "warning", tr("It learns by heart"),
                   tr("On what was kept for validation the loss was lowest at step {step}, {best}, and is {now} now, while it still falls "
                      "in training.", step=number(best_at), best=significant(best, 3), now=significant(last, 3)) + kept,
                   tr("Start again with {count} epochs, or with more data.", count=f"{shorter:g}") if change and "epochs" in change else
                   tr("Stop early, or give it more data."), change, look.state.step)


# ------------------------------------------------------------------------------------------------------------------- pairs


@_rule(*PAIRS, least=60)
def _chance(look: Look) -> Finding | None:
    """Two answers are told apart no better than by a coin."""
    now, measured = look.trend.now("accuracy"), look.evaluated.get("val_accuracy", [])
    seen = max(now, measured[-1][1]) if measured else now
    if not look.under("chance", seen, 0.55, 0.58) or look.state.share < 0.25:
        return None
    change = look.rate(3)
    return Finding("chance", "warning", tr("No better than a coin"),
                   tr("After {steps} steps it tells the better answer in {share} of the pairs. Either it has hardly begun to learn, or the "
                      "labels follow nothing it can see.", steps=number(look.state.step), share=percent(seen)),
                   tr("Look at the agreement of the labels. If that is good: a higher learning rate, more epochs, or a larger model."),
                   change, look.state.step)


@_rule(*PAIRS, least=20)
def _worse_than_before(look: Look) -> Finding | None:
    """Pairs it has not seen are told apart worse than before the first step: it breaks what it starts from."""
    measured = look.evaluated.get("val_loss", [])
    if len(measured) < 2 or measured[0][0] > 0 or not measured[0][1] > 0:
        return None
    first, last = measured[0][1], measured[-1][1]
    if not look.over("worse_than_before", last / first, 1.3, 1.15):
        return None
    return Finding("worse_than_before", "problem", tr("It is worse than before it learned"),
                   tr("On pairs it has not seen the loss is {now}, and was {first} before the first step. Steps are too long, and it may "
                      "forget how to answer: look at its answers.", now=significant(last, 3), first=significant(first, 3)),
                   _lower_rate(look), look.rate(0.5), look.state.step)


@_rule("dpo", least=30)
def _chosen_falls(look: Look) -> Finding | None:
    """Both answers become less likely, the rejected one faster (Pal et al., 2024; Rafailov et al., 2024)."""
    trend = look.trend
    fallen = -trend.gain("chosen_logprob") if trend.has("chosen_logprob") else -trend.now("chosen_reward") / 10
    if not trend.gain("margin") > 0 or not look.over("chosen_falls", fallen, 0.1, 0.05):
        return None
    far = look.over("chosen_falls", fallen, 0.5, 0.4)
    anchored = look.setting("sft_weight") > 0
    if trend.has("chosen_logprob"):
        said = tr("A token of a chosen answer has become {times} times less likely on average, while the margin grows.",
                  times=significant(math.exp(fallen), 2))
    else:
        reward = significant(trend.now("chosen_reward"), 2)
        said = tr("The reward of chosen answers fell to {reward}, while the margin grows.", reward=reward)
    usual = tr("The rejected ones fall faster, and that is all the loss asks for. To a degree this is usual.")
    return Finding("chosen_falls", "warning" if far else "info", tr("Chosen answers become less likely too"), f"{said} {usual}",
                   _lower_rate(look) + " " + tr("Or take IPO.") if anchored else
                   tr("Start again with an SFT term of 1, which keeps chosen answers likely; a lower learning rate or IPO help too."),
                   look.rate(0.5) if anchored else {"sft_weight": 1.0}, look.state.step)


@_rule("reward", least=60)
def _margin_explodes(look: Look) -> Finding | None:
    margin = look.trend.now("margin")
    if not look.over("margin_explodes", margin, 10, 8) or not look.trend.gain("margin") > 0:
        return None
    return Finding("margin_explodes", "warning", tr("Rewards drift apart without end"),
                   tr("Chosen answers score {margin} more than rejected ones on average: it is surer than any label can make it, and what "
                      "is trained with it will chase that.", margin=significant(margin, 3)),
                   tr("Start again with label smoothing of 0.1 and centring, or fewer epochs."),
                   {"label_smoothing": 0.1, "centre": max(0.01, look.setting("centre"))}, look.state.step)


@_rule("dpo", least=30)
def _dpo_kl(look: Look) -> Finding | None:
    kl = look.trend.now("kl")
    if not look.over("kl", kl, 50, 35) or not look.trend.gain("kl") > 0:
        return None
    beta = look.setting("beta") or 0.1
    return Finding("kl", "warning", tr("It moves far from where it started"),
                   tr("An answer differs by {kl} nats from the model it started from; what that could do may be lost.",
                      kl=significant(kl, 2)),
                   tr("Start again with a beta of {beta}, which holds it tighter.", beta=f"{2 * beta:g}"), {"beta": 2 * beta},
                   look.state.step)


# ------------------------------------------------------------------------------------------------------------------- policy


def _hold(look: Look, times: float = 2.0) -> tuple[str, dict[str, Any] | None]:
    """Held nearer to the reference: (remedy, change)."""
    if look.stage == "grpo":
        beta = float(f"{max(0.02, times * look.setting('beta')):.2g}")
        return tr("Start again with a KL coefficient of {value}, which holds it nearer to where it started.", value=f"{beta:g}"), \
            {"beta": beta}
    coefficient = float(f"{max(0.01, times * look.setting('kl_coef')):.2g}")
    return (tr("Start again with a KL coefficient of {value}, which holds it nearer to where it started.", value=f"{coefficient:g}"),
            {"kl_coef": coefficient})


@_rule("ppo", least=12)
def _ppo_kl(look: Look) -> Finding | None:
    """Over what was aimed at, or more than a third of a nat a token."""
    kl, length, target = look.trend.now("kl"), look.trend.now("length"), look.setting("kl_target")
    relative = kl / (4 * target) if target else kl / max(10.0, 0.35 * length)
    if not look.over("kl", relative, 1.0, 0.8) or not look.trend.gain("kl") > 0:
        return None
    remedy, change = _hold(look, 3)
    return Finding("kl", "problem" if relative > 3 else "warning", tr("KL runs away"),
                   tr("An answer differs by {kl} nats from the model it started from, and by more in each round. High rewards this far "
                      "away are mostly mistakes of the reward model.", kl=significant(kl, 2)), remedy, change, look.state.step)


@_rule("ppo", least=24)
def _reward_by_length(look: Look) -> Finding | None:
    trend = look.trend
    longer = trend.now("length") / trend.first("length") if trend.first("length") else math.nan
    spread = trend.now("reward_std")
    grown = trend.gain("reward") / max(spread if spread == spread else 0.0, 0.1)
    if not (look.over("reward_by_length", trend.together("reward", "length"), 0.8, 0.65)
            and look.over("reward_by_length", longer, 1.4, 1.25) and look.over("reward_by_length", grown, 0.5, 0.25)):
        return None
    remedy, change = _hold(look)
    return Finding("reward_by_length", "warning", tr("The reward comes from length"),
                   tr("Answers became {times} times as long, and the reward rises with them. The reward model likely prefers long answers, "
                      "whatever they say.", times=significant(longer, 2)),
                   tr("Look at the length correlation of the reward model, and label pairs in which the shorter answer is the better one.")
                   + " " + remedy, change, look.state.step)


@_rule("ppo", "grpo", least=24)
def _reward_not_held_out(look: Look) -> Finding | None:
    """Rewards of trained prompts rise by a good part of their spread, those of other prompts do not."""
    trend, measured = look.trend, look.evaluated.get("val_reward", [])
    spread = trend.now("reward_std")
    gain = trend.gain("reward")
    if len(measured) < 3 or not gain > 0.3 * max(spread if spread == spread else 0.0, 0.1):
        return None
    held_out = (sum(value for _, value in measured[-2:]) / 2 - measured[0][1]) / gain
    if not look.under("reward_not_held_out", held_out, 0.1, 0.3):
        return None
    remedy, change = _hold(look)
    return Finding("reward_not_held_out", "warning", tr("Other prompts gain nothing"),
                   tr("The reward rose by {gain} on the prompts it trains on, and by {other} on those kept for validation.",
                      gain=significant(gain, 2), other=significant(measured[-1][1] - measured[0][1], 2)),
                   tr("More prompts, or fewer rounds.") + " " + remedy, change, look.state.step)


@_rule("ppo", least=16)
def _value_loss(look: Look) -> Finding | None:
    trend = look.trend
    usual = trend.lowest("value_loss")
    if not usual > 0 or not look.over("value_loss", trend.now("value_loss") / usual, 10, 5):
        return None
    if not look.over("value_loss", trend.now("value_loss") / max(trend.first("value_loss"), 1e-9), 1.5, 1.0):
        return None
    return Finding("value_loss", "problem", tr("The value loss explodes"),
                   tr("It is {now} and was {best} before: the value head has lost its way, and advantages are noise.",
                      now=significant(trend.now("value_loss"), 2), best=significant(usual, 2)), _lower_rate(look), look.rate(0.5),
                   look.state.step)


@_rule("ppo", least=24)
def _explained_variance(look: Look) -> Finding | None:
    """For the last third of the run, which has gone on for a while. Where the reward rises all the same there is nothing to mend: answers
    that have become alike leave a value head little to explain."""
    if look.trend.gain("reward") > RISEN * max(look.trend.first("reward_std"), 0.1):
        return None
    means = look.trend.spread("explained_variance")
    late = means[-max(4, means.size // 3):] if means.size >= 12 else means[:0]
    if not late.size or look.state.share < 0.3 or not look.under("explained_variance", float(late.max()), 0.0, 0.1):
        return None
    shared = look.spec.get("value", "shared") == "shared"
    return Finding("explained_variance", "warning", tr("The value head foresees nothing"),
                   tr("It explains none of what rewards come to. Advantages are then as noisy as the rewards themselves."),
                   tr("Start again with a value model of its own.") if shared else
                   tr("Start again with twice the weight of the value loss."),
                   {"value": "separate"} if shared else {"value_weight": 2 * (look.setting("value_weight") or 0.1)}, look.state.step)


@_rule("ppo", "grpo", least=12)
def _clip_share(look: Look) -> Finding | None:
    share = look.trend.now("clip_share")
    if not look.over("clip_share", share, 0.3, 0.22):
        return None
    name = "passes" if "passes" in look.spec else "ppo_epochs"
    passes = int(look.setting(name))
    fewer = max(1, passes // 2)
    said = tr("{share} of the tokens moved as far as one round may move them, and learn nothing more.", share=percent(share))
    return Finding("clip_share", "warning", tr("Updates are too large"), said,
                   tr("Start again with fewer passes over each round: {count}.", count=fewer) if passes > 1 else _lower_rate(look),
                   {name: fewer} if passes > 1 else look.rate(0.5), look.state.step)


@_rule("ppo", "grpo", least=12)
def _entropy(look: Look) -> Finding | None:
    """Hardly any choice is left, and there was some."""
    now, first = look.trend.now("entropy"), look.trend.first("entropy")
    if not look.under("entropy", now, 0.05, 0.08) or not now < 0.5 * first:
        return None
    solved = look.evaluated.get("pass_at_1", [])
    if look.stage == "grpo" and look.trend.now("reward") >= MASTERED * (look.setting("full_score") or 1.0) or \
            solved and solved[-1][1] >= MASTERED:
        return None  # who knows the answer says it
    if look.trend.has("frac_reward_zero_std") and look.trend.now("frac_reward_zero_std") < 0.8:
        return None  # sure as it is, groups still differ
    varied = look.stage == "ppo" and not look.setting("entropy_weight")
    remedy, change = _hold(look)
    return Finding("entropy", "warning", tr("It always says the same"),
                   tr("The entropy fell from {first} to {now} nats a token: answers to a prompt hardly differ any more, and nothing can be "
                      "learned from comparing them.", first=significant(first, 2), now=significant(now, 2)),
                   tr("Start again with an entropy weight of 0.01, or a higher KL coefficient.") if varied else remedy,
                   {"entropy_weight": 0.01} if varied else change, look.state.step)


@_rule("ppo", "grpo", least=12)
def _ended(look: Look) -> Finding | None:
    """Over three in ten answers are cut at the longest length."""
    trend = look.trend
    key = next((name for name in ("clipped_share", "completions_clipped") if trend.has(name)), "")
    now, first = (1 - trend.now(key), 1 - trend.first(key)) if key else (trend.now("ended"), trend.first("ended"))
    if not look.under("ended", now, 0.7, 0.78):
        return None
    from_the_start = first < 0.75
    said = tr("Only {share} of the answers come to an end; the others are cut at the longest length.", share=percent(now))
    if from_the_start:
        longer = int(2 * (look.setting("max_new_tokens") or 128))
        return Finding("ended", "warning", tr("Answers do not end"), said,
                       tr("Start again with answers of up to {count} tokens. If they do not end then either, the model never learned to "
                          "end: fine-tune it first.", count=number(longer)), {"max_new_tokens": longer}, look.state.step)
    penalty = min(-1.0, 2 * look.setting("missing_end"))
    marked = look.stage == "grpo" and look.chosen("cut") != "penalise"  # its penalty counts for nothing yet
    penalty = min(-0.5, look.setting("missing_end")) if marked else penalty
    return Finding("ended", "warning", tr("Answers do not end"), said + " " + tr("That was not so at first."),
                   tr("Start again with a penalty of {value} for answers without an end.", value=f"{penalty:g}"),
                   {"missing_end": penalty} | ({"cut": "penalise"} if marked else {}), look.state.step)


# --------------------------------------------------------------------------------------------------------------- groups of answers


@_rule("grpo", least=12)
def _no_spread(look: Look) -> Finding | None:
    """Groups whose answers all got the same reward teach nothing (Axolotl: under 0.8 of them is healthy)."""
    share = look.trend.now("frac_reward_zero_std")
    if not look.over("no_spread", share, 0.8, 0.7):
        return None
    solved = look.evaluated.get("pass_at_1", [])
    if solved and solved[-1][1] >= MASTERED:
        return Finding("no_spread", "info", tr("Hardly anything is left to learn"),
                       tr("In {share} of the groups all answers got the same reward, and of the held-out problems {solved} are solved.",
                          share=percent(share), solved=percent(solved[-1][1])), tr("Stop here, or choose harder problems."), None,
                       look.state.step)
    said = tr("In {share} of the groups all answers got the same reward, and nothing is learned from them.", share=percent(share))
    if look.trend.now("reward") > 0.5 * (look.setting("full_score") or 1.0):
        curriculum = look.spec.get("curriculum", "off") != "measured"
        again = int(look.setting("resample")) + 2
        return Finding("no_spread", "warning", tr("Groups without a difference"), said,
                       tr("The problems are too easy: choose harder ones.") + " " +
                       (tr("Or start again with those first that are solved sometimes.") if curriculum else
                        tr("Or start again with {count} tries to find groups with a signal.", count=again)),
                       {"curriculum": "measured"} if curriculum else {"resample": again}, look.state.step)
    more = 2 * int(look.setting("num_generations") or 8)
    return Finding("no_spread", "warning", tr("Groups without a difference"), said,
                   tr("The problems are too hard, or the reward too rare: choose easier ones, or reward parts of the way. Or start again "
                      "with {count} answers to each problem, of which one is right more often.", count=number(more)),
                   {"num_generations": more}, look.state.step)


@_rule("grpo", least=12)
def _grpo_kl(look: Look) -> Finding | None:
    kl = look.trend.now("kl")
    if not look.over("kl", kl, 2, 1.5):
        return None
    remedy, change = _hold(look)
    return Finding("kl", "warning", tr("KL runs away"), tr("It is {kl}; up to 2 is usual.", kl=significant(kl, 2)), remedy, change,
                   look.state.step)


@_rule("grpo", least=12)
def _too_varied(look: Look) -> Finding | None:
    """Over what is usual, and half as much again as at first: a small model of few tokens may well begin above it."""
    now, first = look.trend.now("entropy"), look.trend.first("entropy")
    if not look.over("too_varied", now, 0.5, 0.4) or not look.over("too_varied", now / first if first > 0 else math.nan, 1.5, 1.3):
        return None
    return Finding("too_varied", "info", tr("Answers become random"),
                   tr("The entropy is {now} nats a token and was {first}; between 0.05 and 0.5 is usual.", now=significant(now, 2),
                      first=significant(first, 2)), _lower_rate(look), look.rate(0.5), look.state.step)


@_rule(*POLICY, least=12)
def _gradient_high(look: Look) -> Finding | None:
    """Not a jump: it stays there."""
    norm = look.trend.now("grad_norm")
    if not look.over("gradient_high", norm, 100, 70):
        return None
    unclipped = "grad_clip" in look.spec and look.setting("grad_clip") == 0
    return Finding("gradient_high", "warning", tr("Gradients are very long"),
                   tr("The gradient is {norm} long on average; over 100 an update follows chance more than the reward.",
                      norm=significant(norm, 3)), tr("Start again with gradient clipping at 1.") if unclipped else _lower_rate(look),
                   {"grad_clip": 1.0} if unclipped else look.rate(0.5), look.state.step)


def _share_of_answers(look: Look, key: str) -> float:
    """Of the present rounds' answers; NaN where nothing is known."""
    answers = look.trend.now("groups") * look.setting("num_generations")
    count = look.trend.now(key)
    return count / answers if answers > 0 and count == count else math.nan


@_rule("grpo", least=1)
def _verifier_fails(look: Look) -> Finding | None:
    """Answers of which it could not say how right they are. They leave their group; beyond PAUSES the run pauses."""
    share = _share_of_answers(look, "verifier_errors")
    if not look.over("verifier_errors", share, FAILS, FAILS / 2):
        return None
    said = next((n.text for n in reversed(look.state.notices) if n.code == "verifier_errors" and not n.cleared), "")
    return Finding("verifier_errors", "problem" if share > PAUSES else "warning", tr("The verifier fails"),
                   tr("It could not judge {share} of the answers: they leave their group, and a problem may look harder or easier than it "
                      "is.", share=percent(share, 1)) + (f" {said}" if said else ""),
                   tr("Mend the verifier, and start again with its new version."), None, look.state.step)


@_rule("grpo", least=1)
def _verifier_slow(look: Look) -> Finding | None:
    share = _share_of_answers(look, "verifier_timeout")
    if not look.over("verifier_timeouts", share, OUT_OF_TIME, OUT_OF_TIME / 2):
        return None
    return Finding("verifier_timeouts", "warning", tr("The verifier runs out of time"),
                   tr("It did not end in time on {share} of the answers, and these count as wrong.", share=percent(share, 1)),
                   tr("Make it quicker, or give it more time, and start again with its new version."), None, look.state.step)


@_rule("grpo", least=12)
def _reward_hacked(look: Look) -> Finding | None:
    """The reward rises while fewer of the held-out problems are solved, by more than chance explains: what is rewarded is not what is
    wanted."""
    solved = look.evaluated.get("pass_at_1", [])
    spread = look.trend.now("reward_std")
    if len(solved) < 3 or not look.trend.gain("reward") > 0.2 * max(spread if spread == spread else 0.0, 0.1):
        return None
    best_at, best = max(solved[:-1], key=lambda one: one[1])
    now = (solved[-1][1] + solved[-2][1]) / 2
    tried = max(1.0, float(look.state.facts.get("held_out") or 1))
    chance = 2 * math.sqrt(max(best * (1 - best), 0.01) / tried)
    if not look.over("reward_hacked", best - now, max(0.05, chance), max(0.03, 0.7 * chance)):
        return None
    remedy, change = _hold(look)
    kept = " " + tr("The finished model has the weights of step {step}, unless you chose otherwise.", step=number(best_at)) \
        if look.spec.get("keep_best", True) else ""
    return Finding("reward_hacked", "problem", tr("The reward rises, what is solved falls"),
                   tr("Of the held-out problems it solved {best} at step {step} and solves {now} now, while its reward rises: it may have "
                      "found what the verifier likes wrongly.", best=percent(best), step=number(best_at), now=percent(now)) + kept,
                   tr("Read its best answers, and mend the verifier.") + " " + remedy, change, look.state.step)
