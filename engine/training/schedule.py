"""The learning rate over the steps of a run, as a share of its peak. Pure functions; no optimizer, no torch."""

import math
from dataclasses import dataclass
from typing import Literal

Decay = Literal["linear", "cosine", "constant"]


@dataclass(frozen=True)
class Schedule:
    """Warm-up, then constant, then decay over the last `decay_share` of the steps down to `final_share` of the peak."""

    steps: int
    warmup_steps: int = 0
    decay: Decay = "linear"
    decay_share: float = 0.5
    final_share: float = 0.0

    def share(self, step: int) -> float:
        """Share of the peak for step `step`, counted from 0. Warm-up reaches 1 in its last step; the last step of a decay is one notch
        above `final_share` (a step at zero would be a step for nothing)."""
        rise = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        return rise * decayed(step, self.steps, self.decay, self.decay_share, self.final_share)


def decayed(step: int, steps: int, decay: Decay, decay_share: float, final_share: float) -> float:
    """The decay alone: 1 until it begins, then linear or half a cosine towards `final_share`."""
    length = round(steps * decay_share)
    left = steps - step
    if decay == "constant" or length <= 0 or left >= length:
        return 1.0
    rest = max(0.0, left / length)
    if decay == "cosine":
        rest = 0.5 * (1 - math.cos(math.pi * rest))
    return final_share + (1 - final_share) * rest
