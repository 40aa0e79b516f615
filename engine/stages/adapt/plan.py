"""How much a domain run trains: batch and steps from the amount of text. No torch, nothing measured; the rest of the plan is
engine/training/tuning_plan.py's.

A domain is learned in a few hundred updates at least: the batch is a power of two small enough for that, and never so small that a step
has less than four rows, so that replayed text is in every second step or so.
"""

import math

from engine.contract.errors import SettingError
from engine.contract.words import tr
from engine.model.config import ModelConfig
from engine.stages.adapt.spec import AdaptSpec
from engine.training.tuning_plan import Load

UPDATES = 400
LEAST_ROWS, MOST_TOKENS = 4, 2**17
MOST_SEQUENCE = 2048
"""Length of a row where nothing is set: long contexts of other people's models would take all memory for text that rarely needs them."""


def sequence_length(spec: AdaptSpec, config: ModelConfig) -> int:
    """Tokens of a row. SettingError where the model cannot read as many."""
    if spec.max_seq_len and spec.max_seq_len > config.max_seq_len:
        raise SettingError(tr("The model reads {context} tokens at a time, not {asked}.", context=f"{config.max_seq_len:,}",
                              asked=f"{spec.max_seq_len:,}"), tr("Choose a context of at most that."), field="max_seq_len")
    return spec.max_seq_len or min(config.max_seq_len, MOST_SEQUENCE)


def load_of(spec: AdaptSpec, config: ModelConfig, domain_tokens: int, *, replayed: bool, world_size: int = 1) -> Load:
    """Steps and batch. `domain_tokens`: of the domain's training text."""
    T = sequence_length(spec, config)
    share = spec.replay_percent / 100 if replayed else 0.0
    total = spec.epochs * domain_tokens / (1 - share)
    wanted = 2 ** round(math.log2(max(1.0, min(total / UPDATES, MOST_TOKENS))))
    rows = max(world_size, round(spec.tokens_per_step / T) if spec.tokens_per_step else max(LEAST_ROWS, round(wanted / T)))
    rows += -rows % world_size
    per_epoch = domain_tokens // T + 1
    steps = max(1, math.ceil(spec.epochs * per_epoch / (1 - share) / rows - 1e-6))
    return Load(steps=steps, batch=rows, units=rows, seq_len=T, tokens_per_step=rows * T, epochs=spec.epochs)
