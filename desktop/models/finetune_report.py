"""What came of a fine-tuning or a domain training run, from its state: losses before and after, what was trained, which step was best. In
words and numbers, no Qt."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.contract.units import count, duration, number, percent, significant
from engine.contract.words import tr, trn
from engine.project.run_state import RunState

NOISE = 0.02


@dataclass(frozen=True)
class Change:
    """One measure before and after; lower is better. `unit` in words; `what` says what was measured."""

    title: str
    what: str
    unit: str
    before: float
    after: float

    @property
    def better(self) -> bool:
        return self.after < self.before

    @property
    def worse(self) -> bool:
        """By more than what is within the noise of a measure on held-out text."""
        return self.after > self.before * (1 + NOISE)

    @property
    def words(self) -> str:
        """How much it moved, as a share of where it began."""
        if not self.before:
            return ""
        share = (self.after - self.before) / self.before
        if abs(share) < 0.0005:
            return tr("the same")
        return tr("{share} lower", share=percent(-share, 1)) if share < 0 else tr("{share} higher", share=percent(share, 1))


def outcome_of(state: RunState) -> Mapping[str, Any]:
    """What the run said at its end; empty before."""
    made = state.facts.get("outcome")
    return made if isinstance(made, dict) else {}


def changes(stage: str, outcome: Mapping[str, Any]) -> list[Change]:
    """What can be compared: what it was taught first, then what it may have forgotten."""
    def pair(title: str, what: str, unit: str, key: str) -> list[Change]:
        before, after = outcome.get(f"{key}_before"), outcome.get(f"{key}_after")
        return [Change(title, what, unit, float(before), float(after))] if before is not None and after is not None else []
    if stage == "adapt":
        return [*pair(tr("The domain"), tr("held-out text of the domain"), tr("bits per byte"), "domain_bpb"),
                *pair(tr("General text"), tr("held-out text of what it knew before"), tr("bits per byte"), "general_bpb")]
    return [*pair(tr("Answers"), tr("held-out examples"), tr("nats a token"), "val_loss"),
            *pair(tr("General text"), tr("held-out text of the replay corpus"), tr("bits per byte"), "general_bpb")]


def facts(stage: str, outcome: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The rest as names and values."""
    if not outcome:
        return []
    trainable, whole = float(outcome.get("trainable") or 0), float(outcome.get("parameters") or 0)
    method = {"full": tr("Full training"), "lora": "LoRA", "qlora": "QLoRA"}.get(str(outcome.get("method")), "–")
    found = [(tr("Method"), method),
             (tr("Trained parameters"), tr("{trainable} of {all}", trainable=count(trainable), all=count(whole)))]
    best, steps = outcome.get("best_step"), int(outcome.get("steps") or 0)
    if best:
        found.append((tr("Best step"), tr("{step} of {steps}", step=number(best), steps=number(steps))))
    found.append((tr("Its weights are"), tr("of the best step") if outcome.get("weights") == "best" else tr("of the last step")))
    if stage == "sft":
        found += [(tr("Examples"), number(int(outcome.get("examples") or 0))),
                  (tr("Held out"), number(int(outcome.get("held_out") or 0)))]
        if outcome.get("left_out"):
            found.append((tr("Left out"), number(int(outcome["left_out"]))))
    else:
        found.append((tr("Tokens of the domain"), count(float(outcome.get("domain_tokens") or 0))))
    if outcome.get("replay_documents"):
        found.append((tr("Replayed"), trn("{count} document a step", "{count} documents a step", int(outcome["replay_documents"]))))
    elif outcome.get("replay_percent"):
        found.append((tr("Replayed"), tr("{share} of the text", share=percent(float(outcome["replay_percent"]) / 100))))
    found += [(tr("Epochs"), significant(float(outcome.get("epochs") or 0), 2)),
              (tr("Learning rate"), f"{float(outcome.get('learning_rate') or 0):.2g}"),
              (tr("Time"), duration(float(outcome.get("seconds") or 0)))]
    return found


def sentence(stage: str, outcome: Mapping[str, Any]) -> str:
    """What the numbers mean."""
    found = changes(stage, outcome)
    words = []
    if stage == "sft":
        if found and found[0].title == tr("Answers"):
            words.append(tr("Loss on answers it has not seen: {before} before, {after} now.", before=significant(found[0].before, 3),
                            after=significant(found[0].after, 3)))
        else:
            words.append(tr("Nothing was held out, so how well it answers is not measured."))
    elif found:
        words.append(tr("On the domain {before} bits per byte before, {after} now.", before=number(found[0].before, 3),
                        after=number(found[0].after, 3)))
    general = next((c for c in found if c.title == tr("General text")), None)
    if general is not None:
        words.append(tr("On general text {change}: it forgot nothing to speak of.", change=general.words)
                     if not general.worse else
                     tr("On general text {change}: it forgot some. More replay, or fewer epochs, keep more.", change=general.words))
    elif stage == "adapt":
        words.append(tr("What it forgot was not measured: no general text was chosen."))
    words.append(tr("It took {time}.", time=duration(float(outcome.get("seconds") or 0))))
    return " ".join(words)
