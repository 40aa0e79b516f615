"""How much a fine-tuning run trains: batch and steps from the examples. No torch, nothing measured; the rest of the plan is
engine/training/tuning_plan.py's.

Batch: a power of two of which an epoch has about a hundred, from 4 to 64: with fewer updates a small set is not learned, and past 64 an
epoch of many examples gains nothing by larger steps (3,500 examples: 32, as measured on the demo).
"""

import math

from engine.contract.errors import SettingError
from engine.contract.words import tr
from engine.model.config import ModelConfig
from engine.stages.sft.spec import SftSpec
from engine.training.tuning_plan import Load

STEPS_AN_EPOCH = 110
LEAST, MOST = 4, 64
LEAST_ROW = 1024


def longest(spec: SftSpec, config: ModelConfig) -> int:
    """Tokens of the longest example that is trained on. SettingError where the model cannot read as many."""
    if spec.max_seq_len and spec.max_seq_len > config.max_seq_len:
        raise SettingError(tr("The model reads {context} tokens at a time, not {asked}.", context=f"{config.max_seq_len:,}",
                              asked=f"{spec.max_seq_len:,}"), tr("Choose a longest example of at most that."), field="max_seq_len")
    return spec.max_seq_len or config.max_seq_len


def row_length(longest: int, longest_example: int) -> int:
    """Positions of a packed row: enough for the longest example there is, and for several short ones; of a long context no more."""
    return min(longest, max(LEAST_ROW, 64 * math.ceil(longest_example / 64)))


def batch_size(spec: SftSpec, examples: int) -> int:
    """Examples between two updates."""
    wanted = spec.batch_size or min(MOST, max(LEAST, 2 ** round(math.log2(max(1.0, examples / STEPS_AN_EPOCH)))))
    return max(1, min(wanted, examples))


def replayed(spec: SftSpec, batch: int) -> int:
    """Documents of the replay corpus in each step."""
    return (spec.replay_documents or max(1, batch // 4)) if spec.replay else 0


def load_of(spec: SftSpec, *, steps: int, batch: int, tokens_per_step: float, replay_tokens: float, row: int, longest_example: int) -> Load:
    """`tokens_per_step` of examples and `replay_tokens` of replayed documents on average; `row`: positions of a packed row."""
    tokens = tokens_per_step + replay_tokens
    if spec.packing:
        units, seq_len = max(1, math.ceil(tokens / row)), row
    else:
        units, seq_len = batch + replayed(spec, batch), longest_example
    return Load(steps=steps, batch=batch, units=units, seq_len=seq_len, tokens_per_step=tokens, epochs=spec.epochs, unit="examples")
