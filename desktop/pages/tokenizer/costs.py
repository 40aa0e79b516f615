"""What a vocabulary costs in models of several sizes, as rows for a table. No widgets."""

from collections.abc import Sequence

from engine.stages.pretrain.dial import model_config
from engine.stages.pretrain.spec import PretrainSpec
from engine.stages.tokenizer.lab import vocabulary_costs

DEPTHS = (2, 4, 8, 12)


def shares(chosen: int, sizes: Sequence[int]) -> list[tuple[float, ...]]:
    """(vocabulary, share at each depth, ..., chosen vocabulary) in order; `chosen` is among them when it is not 0."""
    wanted = sorted({*sizes, *([chosen] if chosen else [])})
    columns = [vocabulary_costs(model_config(PretrainSpec(depth=depth), vocab_size=4096), wanted) for depth in DEPTHS]
    return [(size, *(column[i].share for column in columns), chosen) for i, size in enumerate(wanted)]
