"""How fast preference tuning learns. No torch. Batch and steps are engine/training/pair_plan.py's, the rest tuning_plan.py's.

Learning rate: a tenth of fine-tuning's, with LoRA a thirtieth. The loss asks for differences between answers that the model finds alike,
which a small change of its weights gives; with more of it both answers become unlikely. Measured on a model of width 64 that ended a fifth
of its answers as people liked, 72 pairs, 33 to 65 steps: with a tenth 56 % (with an SFT term of 1 80 %) and nothing forgotten, with a third
44 % (with an SFT term 100 %), with more none, since the model then wrote neither; LoRA with a twentieth 3 % (99 %), with a fiftieth 65 %.
"""

from engine.contract.preferring import PairsSpec
from engine.training.tuning_plan import learning_rate

RATE_SHARE = {"full": 0.1, "lora": 0.03, "qlora": 0.03}


def rate_of(spec: PairsSpec, width: int, tokens_per_step: float) -> float:
    """AdamW's peak."""
    return spec.learning_rate or RATE_SHARE[spec.method] * learning_rate(spec.method, width, tokens_per_step)
