"""The one number that tells how a run of a stage does: what a row in a list of runs, the terminal and the Home page show of it. A run's own
page shows more. Pure, no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.contract.units import number, percent, significant
from engine.contract.words import tr

if TYPE_CHECKING:
    from engine.project.run_state import RunState


@dataclass(frozen=True)
class Measure:
    """`step`: the column of a step's metrics, `held`: the value measured on what is held out, in the order in which they are looked for."""

    step: str
    held: tuple[str, ...]


LOSS = Measure("loss", ("bpb", "val_loss"))
MEASURES = {"reward": Measure("accuracy", ("val_accuracy", "val_loss")), "dpo": Measure("accuracy", ("val_accuracy", "val_loss")),
            "ppo": Measure("reward", ("val_reward",)), "grpo": Measure("reward", ("pass_at_1", "val_reward"))}
"""By stage; LOSS for all others."""


SHARES = frozenset({"val_accuracy", "pass_at_1"})
"""Values that are shown in per cent."""


def of_stage(stage: str) -> Measure:
    return MEASURES.get(stage, LOSS)


def short_words(stage: str, value: float) -> str:
    """A run's best value where its heading says what it is."""
    return percent(value, 1) if of_stage(stage).held[0] in SHARES else significant(value, 4)


def held_words(name: str, value: float) -> str:
    """A value measured on what is held out, with what it is."""
    if name == "bpb":
        return tr("{value} bits per byte", value=number(value, 3))
    if name == "val_accuracy":
        return tr("{share} right", share=percent(value, 1))
    if name == "pass_at_1":
        return tr("{share} solved", share=percent(value, 1))
    if name == "val_reward":
        return tr("reward {value}", value=significant(value, 3))
    return tr("loss {loss}", loss=significant(value, 4))


def best_words(stage: str, values: Mapping[str, float | None]) -> str:
    """The best validation of a run; "" where nothing was measured."""
    found = next(((name, value) for name in of_stage(stage).held if (value := values.get(name)) is not None), None)
    found = found or next(((name, value) for name, value in values.items() if value is not None), None)
    return held_words(*found) if found is not None else ""


def now_words(state: "RunState", digits: int = 3) -> str:
    """How the last step did; "" before the first."""
    measure = of_stage(state.stage)
    value = state.metrics.last(measure.step)
    if value is None:
        return ""
    if measure.step == "reward":
        return tr("reward {value}", value=number(value, digits))
    if measure.step == "accuracy":
        return tr("{share} of pairs right", share=percent(value))
    return tr("loss {loss}", loss=number(value, digits))
