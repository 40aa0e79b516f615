"""How much a run trains that learns from labelled pairs: the longest conversation, the batch, the steps. No torch, nothing read.

Batch: a power of two of which an epoch has about a hundred, from 4 to 64, as in fine-tuning (engine/stages/sft/plan.py).
"""

import math

from engine.contract.errors import SettingError
from engine.contract.preferring import PairsSpec
from engine.contract.words import tr
from engine.model.config import ModelConfig
from engine.training.tuning_plan import Load

STEPS_AN_EPOCH = 110
LEAST, MOST = 4, 64


def longest_read(spec: PairsSpec, config: ModelConfig) -> int:
    """Tokens of the longest conversation. SettingError where the model cannot read as many."""
    if spec.max_seq_len and spec.max_seq_len > config.max_seq_len:
        raise SettingError(tr("The model reads {context} tokens at a time, not {asked}.", context=f"{config.max_seq_len:,}",
                              asked=f"{spec.max_seq_len:,}"), tr("Choose a longest answer of at most that."), field="max_seq_len")
    return spec.max_seq_len or config.max_seq_len


def batch_size(spec: PairsSpec, pairs: int) -> int:
    """Pairs between two updates."""
    wanted = spec.batch_size or min(MOST, max(LEAST, 2 ** round(math.log2(max(1.0, pairs / STEPS_AN_EPOCH)))))
    return max(1, min(wanted, pairs))


def load_of(spec: PairsSpec, *, pairs: int, tokens_a_pair: float, longest_pair: int, predicts: bool = True) -> Load:
    """Before anything is encoded: `tokens_a_pair` of both conversations of a pair on average, `longest_pair` of the longest. A unit is a
    pair."""
    batch = batch_size(spec, pairs)
    return Load(steps=max(1, math.ceil(spec.epochs * pairs / batch)), batch=batch, units=batch, seq_len=longest_pair,
                tokens_per_step=tokens_a_pair * batch, epochs=spec.epochs, unit="pairs", predicts=predicts)
