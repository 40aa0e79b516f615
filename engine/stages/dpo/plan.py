"""How fast preference tuning learns. No torch. Batch and steps are engine/training/pair_plan.py's, the rest tuning_plan.py's.

Learning rate: a tenth of fine-tuning's. The loss asks for differences between answers that the model finds alike, which a small change of
its weights gives; with fine-tuning's own rate both answers become unlikely, and the model forgets.
"""

from engine.contract.preferring import PairsSpec
from engine.training.tuning_plan import learning_rate

RATE_SHARE = 0.1


def rate_of(spec: PairsSpec, width: int, tokens_per_step: float) -> float:
    """AdamW's peak."""
    return spec.learning_rate or RATE_SHARE * learning_rate(spec.method, width, tokens_per_step)
