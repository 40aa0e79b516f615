"""What preference tuning minimises, and what it measures while it does: the losses of engine/rl/preferences.py on the batches of rows.py.

A step's loss is the mean over its pairs; to it come `sft_weight` times the mean loss of a token of the chosen answers (RPO: Liu et al.,
2024, arXiv 2405.16436, per token as TRL has it) and the mean loss of a replayed token.

P pairs of a micro batch.
"""

from collections.abc import Sequence

import torch
from torch import nn

from engine.rl.preferences import Pairs, dpo_loss, kto_loss
from engine.stages.dpo.rows import DpoBatch
from engine.stages.dpo.spec import DpoSpec
from engine.training.answer_logprobs import AnswerBatch, answer_logprobs, decoder_of
from engine.training.ranks import Ranks

BETA, SIMPO_BETA = 0.1, 2.0
NAMES = ("counted", "right", "chosen_reward", "rejected_reward", "chosen_logprob", "chosen_tokens", "rejected_logprob", "rejected_tokens")


def beta_of(spec: DpoSpec) -> float:
    """How tightly the policy is held."""
    return spec.beta or (SIMPO_BETA if spec.loss == "simpo" else BETA)


def needs_reference(spec: DpoSpec) -> bool:
    return spec.loss != "simpo"


class Objective:
    """The `loss` of the Trainer, and its `measures`."""

    def __init__(self, spec: DpoSpec, ranks: Ranks) -> None:
        self.spec, self.ranks, self.beta = spec, ranks, beta_of(spec)
        self._summed: torch.Tensor | None = None
        self._kl: float | None = None

    def __call__(self, runner: nn.Module, batch: DpoBatch) -> torch.Tensor:
        """Summed over the micro batch's pairs, its other terms in the same scale."""
        if batch.first:
            self._summed, self._kl = None, None
        kl = self._divergence(runner, batch) if self.spec.loss == "kto" else None
        sums_N, tokens_N = answer_logprobs(runner, batch.answers)
        count = 2 * batch.pairs
        sums_P2, tokens_P2 = sums_N[:count].view(-1, 2), tokens_N[:count].view(-1, 2)
        loss = sums_N.new_zeros(())
        if batch.weight:
            loss = loss + batch.pairs * self.mean(sums_P2, tokens_P2, batch.reference_P2, batch.bad_P, kl)
            if self.spec.sft_weight:
                loss = loss - self.spec.sft_weight * batch.pairs_per_chosen * (sums_P2[:, 0] * ~batch.bad_P).sum()
            told = self.told(sums_P2.detach(), tokens_P2, batch.reference_P2, batch.bad_P)
            self._summed = told if self._summed is None else self._summed + told
        else:  # nothing of the pair counts, and all ranks take part all the same
            loss = loss + 0.0 * sums_P2.sum()
        if len(sums_N) > count:
            loss = loss - batch.pairs_per_replayed * sums_N[count:].sum()
        return loss

    def mean(self, sums_P2: torch.Tensor, tokens_P2: torch.Tensor, reference_P2: torch.Tensor | None, bad_P: torch.Tensor,
             kl: torch.Tensor | None) -> torch.Tensor:
        """Mean loss of the pairs alone. `kl`: KTO's estimate."""
        spec = self.spec
        if spec.loss == "kto":
            assert reference_P2 is not None and kl is not None
            good_P2 = torch.stack([~bad_P, torch.zeros_like(bad_P)], 1)
            return kto_loss(sums_P2.flatten(), reference_P2.flatten(), good_P2.flatten(), kl, beta=self.beta, good_weight=spec.good_weight,
                            bad_weight=spec.bad_weight)
        known = (None, None) if reference_P2 is None else reference_P2.unbind(1)
        pairs = Pairs(*sums_P2.unbind(1), *known, *tokens_P2.unbind(1))
        return dpo_loss(pairs, beta=self.beta, kind=spec.loss, label_smoothing=spec.label_smoothing, margin=spec.simpo_margin)

    def told(self, sums_P2: torch.Tensor, tokens_P2: torch.Tensor, reference_P2: torch.Tensor | None, bad_P: torch.Tensor) -> torch.Tensor:
        """NAMES, summed over the pairs of which one answer is the better one: float32 [8]. Equal rewards are half right."""
        rewards_P2 = self.beta * (sums_P2 / tokens_P2 if reference_P2 is None else sums_P2 - reference_P2)
        counted_P = (~bad_P).float()
        margins_P = rewards_P2[:, 0] - rewards_P2[:, 1]
        right_P = (margins_P > 0).float() + 0.5 * (margins_P == 0).float()
        values_P8 = torch.stack([torch.ones_like(right_P), right_P, *rewards_P2.unbind(1), sums_P2[:, 0], tokens_P2[:, 0], sums_P2[:, 1],
                                 tokens_P2[:, 1]], 1)
        return (values_P8 * counted_P[:, None]).sum(0)

    def measures(self) -> dict[str, float]:
        """Of the step that is just over, the same on every rank. Empty where no pair of it has a better answer."""
        mine = [0.0] * len(NAMES) if self._summed is None else self._summed.tolist()
        made = means(self.ranks.sum(*mine))
        return made if self._kl is None else {**made, "kl": self._kl}

    # ---- KTO's divergence

    def _divergence(self, runner: nn.Module, batch: DpoBatch) -> torch.Tensor:
        """The same for all micro batches of a step, over all ranks; every rank comes here at its first micro batch."""
        mismatched = batch.mismatched
        assert mismatched is not None
        if mismatched.kl is None:
            mismatched.kl = divergence(decoder_of(runner), mismatched.batches, self.ranks)
        self._kl = mismatched.kl
        return torch.tensor(mismatched.kl, dtype=torch.float32, device=batch.bad_P.device)


@torch.no_grad()
def divergence(model: nn.Module, batches: Sequence[tuple[AnswerBatch, torch.Tensor]], ranks: Ranks) -> float:
    """KTO's estimate: the mean log-ratio of mismatched answers, not below 0. Ranks share the batches. The model comes back in the mode it
    was in."""
    was_training = model.training
    model.eval()
    total, count = 0.0, 0
    for answers, reference_P2 in batches:
        sums_N, _ = answer_logprobs(model, answers.to(decoder_of(model).device))
        total += (sums_N.cpu() - reference_P2.flatten()).double().sum().item()
        count += len(sums_N)
    model.train(was_training)
    total, number = ranks.sum(total, float(count))
    return max(0.0, total / max(1.0, number))


def means(summed: Sequence[float]) -> dict[str, float]:
    """NAMES summed, as what is told: rewards and accuracy a pair, log-probabilities a token."""
    told = dict(zip(NAMES, summed, strict=True))
    if not told["counted"]:
        return {}
    made = {name: told[name] / told["counted"] for name in ("chosen_reward", "rejected_reward")}
    return {"accuracy": told["right"] / told["counted"], "margin": made["chosen_reward"] - made["rejected_reward"], **made,
            "chosen_logprob": told["chosen_logprob"] / told["chosen_tokens"],
            "rejected_logprob": told["rejected_logprob"] / told["rejected_tokens"]}
