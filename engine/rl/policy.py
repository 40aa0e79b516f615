"""Losses of a policy on its own samples: PPO's and GRPO's clipped ratios in their variants, the value loss, and estimates of KL.

N completions, T completion tokens. `mask_NT` is 1.0 at tokens that count, 0.0 elsewhere. Log-probabilities are of the sampled tokens,
float32; `old_NT` without gradients.
"""

from typing import Literal

import torch
from torch import Tensor

Level = Literal["token", "sequence"]
Mean = Literal["sequence", "token", "constant"]


def clipped_policy_loss_NT(logprobs_NT: Tensor, old_NT: Tensor, advantages: Tensor, mask_NT: Tensor, *, clip_low: float = 0.2,
                           clip_high: float = 0.2, level: Level = "token", most: float | None = None) -> tuple[Tensor, Tensor]:
    """(loss of each token, ratio): -min(ratio A, clip(ratio, 1 - low, 1 + high) A) (PPO: Schulman et al., 2017, arXiv 1707.06347, equation
    7; a wider bound above is DAPO's clip-higher, Yu et al., 2025, arXiv 2503.14476).

    advantages   [N] or [N, T]
    level        "sequence": one ratio a completion, the geometric mean of its tokens' (GSPO: Zheng et al., 2025, arXiv 2507.18071,
                 equation 7); the ratio, and with [N] advantages the loss, is then [N, 1]
    most         the ratio is never taken above this where the advantage is negative (two-sided clipping, as INTELLECT-2's delta)
    """
    log_ratio = logprobs_NT - old_NT
    if level == "sequence":
        log_ratio = ((log_ratio * mask_NT).sum(1) / mask_NT.sum(1).clamp(min=1))[:, None]
    advantages = advantages[:, None] if advantages.dim() == 1 else advantages
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    free = ratio if most is None else ratio.clamp(max=most)
    return -torch.minimum(free * advantages, clipped * advantages), ratio


def clipped_share(ratio: Tensor, advantages: Tensor, mask_NT: Tensor, clip_low: float, clip_high: float) -> tuple[Tensor, Tensor]:
    """Shares of tokens at which the lower and the upper bound cut the gradient off."""
    advantages = advantages[:, None] if advantages.dim() == 1 else advantages
    low = ((ratio < 1 - clip_low) & (advantages < 0)).float() * mask_NT
    high = ((ratio > 1 + clip_high) & (advantages > 0)).float() * mask_NT
    count = mask_NT.sum().clamp(min=1)
    return low.sum() / count, high.sum() / count


def average(loss: Tensor, mask_NT: Tensor, how: Mean, *, longest: int = 0, total: float = 0.0) -> Tensor:
    """One number from the losses of tokens.

    sequence   mean over each completion's tokens, then over completions (GRPO)
    token      mean over all tokens (DAPO), or the sum over `total` tokens where a batch comes in parts
    constant   sum over N * `longest`: no completion's length changes its weight (Dr. GRPO)
    """
    weighted_NT = loss * mask_NT
    if how == "sequence":
        return (weighted_NT.sum(1) / mask_NT.sum(1).clamp(min=1)).mean()
    if how == "token":
        return weighted_NT.sum() / (total or mask_NT.sum().clamp(min=1))
    assert how == "constant" and longest > 0, (how, longest)
    return weighted_NT.sum() / (mask_NT.shape[0] * longest)


def value_loss(values_NT: Tensor, old_NT: Tensor, returns_NT: Tensor, mask_NT: Tensor, *, clip: float = 0.2) -> Tensor:
    """PPO's clipped value loss: half the mean over the mask of the larger of two squared errors, the value's and that of the value held
    within `clip` of its old one; 0 does not clip."""
    error_NT = (values_NT - returns_NT).square()
    if clip:
        held_NT = torch.clamp(values_NT, old_NT - clip, old_NT + clip)
        error_NT = torch.maximum(error_NT, (held_NT - returns_NT).square())
    return 0.5 * (error_NT * mask_NT).sum() / mask_NT.sum().clamp(min=1)


def kl_NT(logprobs_NT: Tensor, reference_NT: Tensor, estimate: Literal["k1", "k2", "k3"] = "k3") -> Tensor:
    """KL(policy || reference) at each sampled token (Schulman, 2020, "Approximating KL divergence"): k1 = log-ratio, unbiased, noisy; k2
    its half square; k3 = exp(-log-ratio) - 1 + log-ratio, unbiased, never negative."""
    log_ratio_NT = logprobs_NT - reference_NT
    if estimate == "k1":
        return log_ratio_NT
    if estimate == "k2":
        return 0.5 * log_ratio_NT.square()
    return torch.exp(-log_ratio_NT) - 1 + log_ratio_NT


class KlController:
    """The KL penalty's coefficient: fixed, or following `target` as in Ziegler et al., 2019 (arXiv 1909.08593, section 2.2). Its value is
    all its state."""

    def __init__(self, value: float, target: float = 0.0, horizon: float = 10_000.0) -> None:
        self.value, self.target, self.horizon = value, target, horizon

    def update(self, kl: float, samples: int) -> None:
        """`kl` as measured over `samples` completions; nothing without a target."""
        if self.target > 0:
            error = min(max(kl / self.target - 1, -0.2), 0.2)
            self.value *= 1 + error * samples / self.horizon
