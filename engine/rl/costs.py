"""What sampling answers costs, by formula: the memory of those under way, and the time they take token by token. No torch, nothing
measured."""

import math

from engine.contract.machine import DeviceFacts
from engine.model import memory
from engine.model.config import ModelConfig
from engine.model.speed import efficiency, launches, peak

BYTES_A_SECOND = {"cpu": 1e10, "cuda": 1.5e12, "mps": 1e11}
MOST_ROWS = 256


def cache_beside(config: ModelConfig, device: DeviceFacts, *, answers: int, learned: int, longest: int, dtype: str,
                 method: memory.Method) -> int:
    """Bytes of keys and values of so many answers of `longest` tokens with their prompts, as far as they pass the activations that the
    same memory holds while `learned` answers are learned from at a time."""
    cache = memory.kv_cache(config, rows=min(MOST_ROWS, answers), columns=longest, dtype=dtype)
    activations = memory.training(config, micro_batch_size=learned, seq_len=longest, dtype=dtype, device=device.kind,
                                  method=method).activations
    return max(0, cache - activations)


def sampling_seconds(config: ModelConfig, device: DeviceFacts, *, answers: int, new_tokens: int, dtype: str) -> float:
    """Seconds of the token by token part: each step reads all weights."""
    a_token = launches(device.kind, config.num_layers) + memory.weights(config, dtype) / BYTES_A_SECOND[device.kind]
    return new_tokens * math.ceil(answers / MOST_ROWS) * a_token


def reading_seconds(config: ModelConfig, device: DeviceFacts, *, tokens: float, length: float, dtype: str) -> float:
    """Seconds of one pass without gradients over so many tokens, in texts of `length`."""
    rate = peak(device, dtype) * efficiency(device.kind, dtype, config.hidden_size)
    return tokens * config.flops_per_token(round(length)) / 3 / rate
