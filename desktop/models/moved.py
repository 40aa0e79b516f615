"""Something that was measured before and after a training run, as reports show it. No Qt."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.contract.units import count, duration, number, percent, significant
from engine.contract.words import tr

FAR = 20.0
"""Nats of a whole answer beyond which a policy is said to have moved far."""


@dataclass(frozen=True)
class Measure:
    """Something before and after. `good`: it went where it should, None where neither way is good by itself. `share`: shown in per cent."""

    title: str
    what: str
    before: float
    after: float
    good: bool | None = None
    share: bool = False
    unit: str = ""
    key: str = ""

    def words(self, value: float) -> str:
        return percent(value, 1) if self.share else significant(value, 3) if abs(value) >= 5e-4 else "0"

    @property
    def change(self) -> str:
        moved = self.after - self.before
        if self.share:
            return tr("{points} points", points=f"{100 * moved:+.{0 if abs(moved) >= 0.1 else 1}f}".replace("-", "−"))
        return f"{moved:+.3g}".replace("-", "−")


def moved(outcome: Mapping[str, Any], title: str, what: str, key: str, better: int, share: bool = False, unit: str = "") -> list[Measure]:
    """A run's `key` before and after, in a list; none where it was not measured. `better`: 1 higher, -1 lower, 0 neither."""
    before, after = outcome.get(f"{key}_before"), outcome.get(f"{key}_after")
    if before is None or after is None:
        return []
    good = None if not better or before == after else (after > before) == (better > 0)
    return [Measure(title, what, float(before), float(after), good, share, unit, key)]


def ending_facts(outcome: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How it was trained and how it ended, as names and values."""
    method = {"full": tr("Full training"), "lora": "LoRA", "qlora": "QLoRA"}.get(str(outcome.get("method")), "–")
    found = [(tr("Left out"), number(int(outcome["left_out"])))] if outcome.get("left_out") else []
    found += [(tr("Method"), method), (tr("Trained parameters"), count(float(outcome.get("trainable") or 0)))]
    best, steps = outcome.get("best_step"), int(outcome.get("steps") or 0)
    if best:
        found.append((tr("Best step"), tr("{step} of {steps}", step=number(int(best)), steps=number(steps))))
    return [*found, (tr("Its weights are"), tr("of the best step") if outcome.get("weights") == "best" else tr("of the last step")),
            (tr("Epochs"), significant(float(outcome.get("epochs") or 0), 2)),
            (tr("Learning rate"), f"{float(outcome.get('learning_rate') or 0):.2g}"),
            (tr("Time"), duration(float(outcome.get("seconds") or 0)))]
