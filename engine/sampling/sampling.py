"""How the next token is chosen: settings, and pure functions on logits. No model here, no state.

Order as in transformers: repetition penalty, temperature, top-k, top-p. The draw inverts the cumulative distribution in float64 with one
uniform number a token from the row's own stream, so that a row's choice depends on nothing but its logits and its seed.

Shapes: B rows, V vocabulary. Every setting may be a number for all rows, or a column B1 with one value a row.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.contract.errors import NonFinite, SettingError
from engine.contract.words import tr

Setting = float | Tensor


@dataclass(frozen=True)
class Sampling:
    """Settings of one completion. Raises SettingError for a value out of range.

    temperature         0 takes the likeliest token; 1 draws from the model's own distribution
    top_k               only the k likeliest tokens; 0: all
    top_p               only the likeliest tokens that together have this probability; 1: all
    repetition_penalty  > 1 makes tokens that stand in prompt or completion less likely (CTRL, arXiv 1909.05858)
    seed                the same seed gives the same completion
    max_new_tokens      the completion ends here at the latest
    stop_ids            tokens that end it; the one that did is the completion's last id
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0
    max_new_tokens: int = 256
    stop_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _check("temperature", tr("Temperature"), self.temperature, 0, 100)
        _check("top_k", tr("Top-k"), self.top_k, 0, 2**31, whole=True)
        _check("top_p", tr("Top-p"), self.top_p, 0, 1, open_low=True)
        _check("repetition_penalty", tr("Repetition penalty"), self.repetition_penalty, 0, 100, open_low=True)
        _check("seed", tr("Seed"), self.seed, 0, 2**63 - 1, whole=True)
        _check("max_new_tokens", tr("Maximum length"), self.max_new_tokens, 1, 2**31, whole=True)
        object.__setattr__(self, "stop_ids", tuple(int(i) for i in self.stop_ids))

    @property
    def greedy(self) -> bool:
        return self.temperature == 0 or self.top_k == 1

    def with_seed(self, seed: int) -> "Sampling":
        return replace(self, seed=seed)


def _check(field: str, label: str, value: Any, low: float, high: float, *, open_low: bool = False, whole: bool = False) -> None:
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if fits and whole:
        fits = value == int(value)
    if not fits or not (low < value if open_low else low <= value) or value > high:
        bounds = {"low": f"{low:,}", "high": f"{high:,}"}
        remedy = tr("Choose a value from {low} to {high}.", **bounds)
        if open_low:
            remedy = tr("Choose a value above {low}, up to {high}.", **bounds)
        raise SettingError(tr("{label} cannot be {value}.", label=label, value=repr(value)), remedy, field=field)


class Uniforms:
    """The stream of a seed: one number in [0, 1) a token, the same however many are asked for at a time."""

    def __init__(self, *seed: int) -> None:
        self._stream = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))
        self._numbers: np.ndarray = np.empty(0)
        self._at = 0

    def next(self) -> float:
        if self._at == len(self._numbers):
            self._numbers, self._at = self._stream.random(256), 0
        self._at += 1
        return float(self._numbers[self._at - 1])


def penalize_repetition(logits_BV: Tensor, seen_BV: Tensor, penalty: Setting) -> Tensor:
    """Logits of tokens seen before are divided by `penalty` where positive and multiplied where negative."""
    return torch.where(seen_BV, torch.where(logits_BV > 0, logits_BV / penalty, logits_BV * penalty), logits_BV)


def apply_temperature(logits_BV: Tensor, temperature: Setting) -> Tensor:
    """Greedy rows (temperature 0) are left as they are."""
    if isinstance(temperature, Tensor):
        return logits_BV / torch.where(temperature == 0, 1.0, temperature)
    return logits_BV if temperature in (0, 1) else logits_BV / temperature


def keep_top_k(logits_BV: Tensor, top_k: int | Tensor) -> Tensor:
    """-inf for all but the k largest of each row (ties with the k-th stay); 0 keeps all."""
    vocab = logits_BV.shape[-1]
    if isinstance(top_k, Tensor):
        most = int(top_k.clamp(max=vocab).max())
        if most == 0:
            return logits_BV
        largest = logits_BV.topk(most, -1).values
        lowest = largest.gather(-1, top_k.clamp(1, most) - 1)
        return logits_BV.masked_fill((logits_BV < lowest) & (top_k > 0), -torch.inf)
    if top_k == 0 or top_k >= vocab:
        return logits_BV
    return logits_BV.masked_fill(logits_BV < logits_BV.topk(top_k, -1).values[..., -1:], -torch.inf)


def keep_top_p(logits_BV: Tensor, top_p: Setting) -> Tensor:
    """-inf for the unlikeliest tokens whose probabilities add up to at most 1 - p; the likeliest token always stays."""
    if not isinstance(top_p, Tensor) and top_p >= 1:
        return logits_BV
    ordered, order = logits_BV.sort(-1, descending=False)
    gone = ordered.softmax(-1).cumsum(-1) <= 1 - top_p
    if isinstance(top_p, Tensor):
        gone &= top_p < 1
    gone[..., -1:] = False
    return logits_BV.masked_fill(torch.zeros_like(gone).scatter_(-1, order, gone), -torch.inf)


def draw(logits_BV: Tensor, uniforms_B: Tensor) -> Tensor:
    """ids_B: the first token whose cumulative probability passes the row's uniform number (float64, on any device). Raises NonFinite for
    broken logits."""
    device = logits_BV.device
    if device.type == "mps":  # has no float64
        logits_BV = logits_BV.cpu()
    likeliest_B1 = logits_BV.amax(-1, keepdim=True)
    cumulative_BV = (logits_BV - likeliest_B1).exp_().cumsum(-1, dtype=torch.float64)
    total_B1 = cumulative_BV[:, -1:]
    _finite(total_B1)
    below_B1 = torch.minimum(uniforms_B.to(total_B1.device)[:, None] * total_B1, torch.nextafter(total_B1, torch.zeros_like(total_B1)))
    return torch.searchsorted(cumulative_BV, below_B1, right=True)[:, 0].to(device)


def likeliest(logits_BV: Tensor) -> Tensor:
    """ids_B of the largest logits. Raises NonFinite for broken logits."""
    top = logits_BV.max(-1)
    _finite(top.values)
    return top.indices


def _finite(values: Tensor) -> None:
    if not bool(torch.isfinite(values).all()):
        raise NonFinite(tr("The model's output is not a number."), tr("Its weights are broken: choose an earlier checkpoint."))


def seen_mask(ids: Sequence[int], vocab: int, device: torch.device | str = "cpu") -> Tensor:
    """bool_V, true for the ids given."""
    mask = torch.zeros(vocab, dtype=torch.bool, device=device)
    mask[torch.as_tensor(ids, dtype=torch.long, device=device)] = True
    return mask
