"""Losses of pairs: DPO and its relatives on the log-probabilities of whole answers, Bradley and Terry's on rewards, KTO's on single
answers.

N pairs or answers. A log-probability is the sum over an answer's tokens unless it says otherwise, float32, with gradients on the policy's
side. Every loss is the mean over N.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Kind = Literal["sigmoid", "ipo", "hinge", "simpo"]


@dataclass(frozen=True)
class Pairs:
    """What the losses need of N pairs; lengths in tokens, at least 1. SimPO reads no reference: its two may be None."""

    chosen_N: Tensor
    rejected_N: Tensor
    reference_chosen_N: Tensor | None
    reference_rejected_N: Tensor | None
    chosen_tokens_N: Tensor
    rejected_tokens_N: Tensor


def dpo_loss(pairs: Pairs, *, beta: float, kind: Kind = "sigmoid", label_smoothing: float = 0.0, margin: float = 0.0) -> Tensor:
    """Mean loss of the pairs.

    sigmoid   -log sigmoid(beta * difference of log-ratios): Rafailov et al., 2023 (arXiv 2305.18290), equation 7. `label_smoothing` is the
              share of labels taken to be wrong (conservative DPO): (1 - s) times the loss plus s times that of the pair turned round
    ipo       (difference of log-ratios per token - 1 / (2 beta))^2: Azar et al., 2023 (arXiv 2310.12036), equation 17, per token as its
              authors compute it
    hinge     max(0, 1 - beta * difference of log-ratios): SLiC, Zhao et al., 2023 (arXiv 2305.10425)
    simpo     -log sigmoid(beta * difference of log-probabilities per token - margin), without a reference: Meng et al., 2024 (arXiv
              2405.14734), equation 6; `margin` is its gamma. Smoothing as for sigmoid
    """
    assert kind in ("sigmoid", "ipo", "hinge", "simpo"), kind
    assert 0 <= label_smoothing < 0.5, label_smoothing
    assert not label_smoothing or kind in ("sigmoid", "simpo"), "smoothing is for the logistic losses"
    if kind == "simpo":
        logits_N = beta * (pairs.chosen_N / pairs.chosen_tokens_N - pairs.rejected_N / pairs.rejected_tokens_N) - margin
        return _smoothed(logits_N, label_smoothing)
    chosen_N, rejected_N = log_ratios(pairs)
    if kind == "ipo":
        per_token_N = chosen_N / pairs.chosen_tokens_N - rejected_N / pairs.rejected_tokens_N
        return (per_token_N - 1 / (2 * beta)).square().mean()
    if kind == "hinge":
        return torch.relu(1 - beta * (chosen_N - rejected_N)).mean()
    return _smoothed(beta * (chosen_N - rejected_N), label_smoothing)


def log_ratios(pairs: Pairs) -> tuple[Tensor, Tensor]:
    """log policy / reference of chosen and rejected answers; beta times these are DPO's implicit rewards."""
    assert pairs.reference_chosen_N is not None and pairs.reference_rejected_N is not None
    return pairs.chosen_N - pairs.reference_chosen_N, pairs.rejected_N - pairs.reference_rejected_N


def _smoothed(logits_N: Tensor, smoothing: float) -> Tensor:
    return (-(1 - smoothing) * F.logsigmoid(logits_N) - smoothing * F.logsigmoid(-logits_N)).mean()


def bradley_terry_loss(chosen_N: Tensor, rejected_N: Tensor, *, margin_N: Tensor | None = None, tie_N: Tensor | None = None,
                       centre: float = 0.0, label_smoothing: float = 0.0) -> Tensor:
    """Mean loss of a reward model on pairs: -log sigmoid(chosen - rejected - margin) (Bradley and Terry, 1952; the margin by strength of
    preference is Llama 2's, arXiv 2307.09288, equation 2).

    tie_N            bool: neither answer is better; then the mean of both directions without margin, least at equal rewards
    centre           weight of (chosen + rejected)^2, which keeps rewards around zero (Eisenstein et al., 2023, arXiv 2312.09244)
    label_smoothing  share of labels taken to be wrong: (1 - s) times the loss plus s times that of the pair turned round, whose margin is
                     turned round as well (Wang et al., 2024, arXiv 2401.06080, without a margin)
    """
    assert 0 <= label_smoothing < 0.5, label_smoothing
    difference_N = chosen_N - rejected_N
    logits_N = difference_N if margin_N is None else difference_N - margin_N
    loss_N = -F.logsigmoid(logits_N)
    if label_smoothing:
        loss_N = (1 - label_smoothing) * loss_N - label_smoothing * F.logsigmoid(-logits_N)
    if tie_N is not None:
        even_N = -0.5 * (F.logsigmoid(difference_N) + F.logsigmoid(-difference_N))
        loss_N = torch.where(tie_N, even_N, loss_N)
    loss = loss_N.mean()
    return loss + centre * (chosen_N + rejected_N).square().mean() if centre else loss


def kto_loss(policy_N: Tensor, reference_N: Tensor, good_N: Tensor, kl: Tensor, *, beta: float, good_weight: float = 1.0,
             bad_weight: float = 1.0) -> Tensor:
    """Mean loss of single answers with a thumb up (`good_N`) or down: Ethayarajh et al., 2024 (arXiv 2402.01306), equation 8.

    kl   scalar, not negative, no gradient: mean log-ratio of mismatched prompts and answers, their estimate of the divergence
    """
    ratio_N = policy_N - reference_N
    good = good_weight * (1 - torch.sigmoid(beta * (ratio_N - kl)))
    bad = bad_weight * (1 - torch.sigmoid(beta * (kl - ratio_N)))
    return torch.where(good_N, good, bad).mean()
