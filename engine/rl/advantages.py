"""From rewards to advantages: GAE over tokens for PPO, group-relative ones for GRPO, and the per-token reward of PPO with its KL penalty.

N completions, T completion tokens, P prompts, G completions of each. `mask_NT` is 1.0 at tokens of the completion, 0.0 elsewhere.
"""

from typing import Literal

import torch
from torch import Tensor

Scale = Literal["group", "batch", "none"]


def group_advantages(rewards_PG: Tensor, *, scale: Scale = "group", kept_PG: Tensor | None = None, eps: float = 1e-4) -> Tensor:
    """Reward minus the group's mean (Shao et al., 2024, arXiv 2402.03300, section 4.1.2), divided by the group's or the batch's standard
    deviation (with Bessel's correction) plus `eps`, or not at all (Dr. GRPO, Liu et al., 2025, arXiv 2503.20783).

    kept_PG   bool: completions that have a reward; the others get 0 and count in no mean. A group of one has no signal: 0
    """
    kept_PG = torch.ones_like(rewards_PG, dtype=torch.bool) if kept_PG is None else kept_PG
    rewards_PG = torch.where(kept_PG, rewards_PG, 0.0)
    count_P1 = kept_PG.sum(1, keepdim=True)
    centred_PG = torch.where(kept_PG, rewards_PG - rewards_PG.sum(1, keepdim=True) / count_P1.clamp(min=1), 0.0)
    if scale == "group":
        spread = (centred_PG.square().sum(1, keepdim=True) / (count_P1 - 1).clamp(min=1)).sqrt()
        return centred_PG / (spread + eps)
    if scale == "batch":
        whole = rewards_PG[kept_PG]
        return centred_PG / ((whole.std() if whole.numel() > 1 else whole.new_zeros(())) + eps)
    assert scale == "none", scale
    return centred_PG


def without_signal(rewards_PG: Tensor, kept_PG: Tensor | None = None) -> Tensor:
    """bool [P]: groups whose kept rewards are all equal (or that keep fewer than two): nothing can be learned from them."""
    if kept_PG is None:
        return (rewards_PG == rewards_PG[:, :1]).all(1)
    highest = torch.where(kept_PG, rewards_PG, -torch.inf).amax(1)
    lowest = torch.where(kept_PG, rewards_PG, torch.inf).amin(1)
    return (kept_PG.sum(1) < 2) | (highest == lowest)


def token_rewards(scores_N: Tensor, logprobs_NT: Tensor, reference_NT: Tensor, mask_NT: Tensor, *, kl_coef: float) -> Tensor:
    """PPO's reward at each token: minus `kl_coef` times log(policy / reference), and the answer's score at its last token (Ouyang et al.,
    2022, arXiv 2203.02155, equation 2). Completions begin at column 0."""
    rewards_NT = -kl_coef * (logprobs_NT - reference_NT) * mask_NT
    last_N1 = (mask_NT.sum(1, keepdim=True).long() - 1).clamp(min=0)
    return rewards_NT.scatter_add(1, last_N1, torch.where(mask_NT.any(1), scores_N, 0.0)[:, None])


def gae(rewards_NT: Tensor, values_NT: Tensor, mask_NT: Tensor, *, gamma: float = 1.0, lam: float = 0.95) -> tuple[Tensor, Tensor]:
    """(advantages_NT, returns_NT) by generalised advantage estimation (Schulman et al., 2015, arXiv 1506.02438, equation 16), 0 outside the
    mask. The value after the last token is 0: an answer that ended has no future."""
    steps = rewards_NT.shape[1]
    values_NT, rewards_NT = values_NT * mask_NT, rewards_NT * mask_NT
    advantages_NT = torch.zeros_like(rewards_NT)
    carried_N = rewards_NT.new_zeros(rewards_NT.shape[0])
    for t in reversed(range(steps)):
        after_N = values_NT[:, t + 1] if t + 1 < steps else 0.0
        delta_N = rewards_NT[:, t] + gamma * after_N - values_NT[:, t]
        carried_N = (delta_N + gamma * lam * carried_N) * mask_NT[:, t]
        advantages_NT[:, t] = carried_N
    return advantages_NT, (advantages_NT + values_NT) * mask_NT


def whiten(values_NT: Tensor, mask_NT: Tensor, *, shift_mean: bool = True, eps: float = 1e-8) -> Tensor:
    """To mean 0 and variance 1 over the mask (Bessel's correction); without `shift_mean` the mean stays. 0 outside the mask."""
    count = mask_NT.sum().clamp(min=1)
    mean = (values_NT * mask_NT).sum() / count
    variance = ((values_NT - mean).square() * mask_NT).sum() / (count - 1).clamp(min=1)
    white_NT = (values_NT - mean) * torch.rsqrt(variance + eps)
    return (white_NT if shift_mean else white_NT + mean) * mask_NT
