"""What a reward model learns and how it is measured while it does: the loss of a micro batch with what it tells besides, and accuracy on
held-out pairs. Nothing of the finished model's report.

P pairs, C hidden size.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from engine.model.decoder import Decoder
from engine.model.reward_model import RewardHead, RewardModel
from engine.rl.preferences import bradley_terry_loss
from engine.stages.reward.spec import RewardSpec
from engine.training.pair_rows import EncodedPairs, PairBatch, pair_batches
from engine.training.ranks import Ranks

LEAST_HELD_OUT, MOST_HELD_OUT = 512, 2048
"""Held-out pairs that are read at each validation, where there are so many: evenly spread over the lengths, and between these two as many
as all validations together may cost (tuning_plan.evaluated_tokens). The finished model's report is of all of them."""
MEASURES = ("accuracy", "margin", "chosen_reward", "rejected_reward")


class Learning:
    """The `loss` of the Trainer, and its `measures`: means over the pairs of the step that is just over, all ranks."""

    def __init__(self, spec: RewardSpec, ranks: Ranks) -> None:
        self.spec, self.ranks = spec, ranks
        self._sums: torch.Tensor | None = None

    def __call__(self, runner: Any, batch: PairBatch) -> torch.Tensor:
        spec = self.spec
        chosen_P, rejected_P = runner(batch.tokens_BT, batch.ends_N, batch.documents).chunk(2)
        loss = bradley_terry_loss(chosen_P, rejected_P, margin_N=spec.margin * batch.strength_P if spec.margin else None, tie_N=batch.tie_P,
                                  centre=spec.centre, label_smoothing=spec.label_smoothing)
        self._add(chosen_P.detach(), rejected_P.detach(), batch)
        return loss * batch.weight

    def measures(self) -> dict[str, float]:
        """Accuracy counts pairs that are no ties; equal rewards are half right."""
        sums = [0.0] * 6 if self._sums is None else self._sums.tolist()
        self._sums = None
        right, decided, margin, chosen, rejected, pairs = self.ranks.sum(*sums)
        values = right / max(1.0, decided), margin / max(1.0, decided), chosen / max(1.0, pairs), rejected / max(1.0, pairs)
        return dict(zip(MEASURES, values, strict=True))

    def _add(self, chosen_P: torch.Tensor, rejected_P: torch.Tensor, batch: PairBatch) -> None:
        if not batch.weight:
            return
        decided_P = (~batch.tie_P).float()
        difference_P = chosen_P - rejected_P
        right_P = (difference_P > 0).float() + 0.5 * (difference_P == 0)
        sums = torch.stack([(right_P * decided_P).sum(), decided_P.sum(), (difference_P * decided_P).sum(), chosen_P.sum(),
                            rejected_P.sum(), torch.full((), batch.weight, device=chosen_P.device)])
        self._sums = sums if self._sums is None else self._sums + sums


def around(head: RewardHead, decoder: Decoder) -> RewardModel:
    """Decoder and head as they are trained; what predicts the next token takes no part."""
    for unread in (decoder.head, None if decoder.tokens is None else decoder.tokens.head):
        if unread is not None:
            unread.requires_grad_(False)
    return RewardModel(decoder, head)


@dataclass(frozen=True)
class Read:
    """What a reward model says of P pairs, in the order asked: rewards float64 [P, 2] of chosen and rejected; `differences` float32 [P, F]
    of what it says them from (see `read`)."""

    rewards: np.ndarray
    differences: np.ndarray


@torch.no_grad()
def read(model: RewardModel, pairs: EncodedPairs, numbers: Iterable[int], *, means: bool = False, batch_tokens: int = 4096) -> Read:
    """Rewards of these pairs, and chosen less rejected of the hidden states at their last tokens; with `means` those of the answers' mean
    hidden states beside them. The model comes back in the mode it was in."""
    asked = [int(n) for n in numbers]
    place = {n: at for at, n in enumerate(asked)}
    width = model.decoder.config.hidden_size * (2 if means else 1)
    rewards, differences = np.zeros((len(asked), 2)), np.zeros((len(asked), width), np.float32)
    was_training = model.training
    model.eval()
    for made in pair_batches(pairs, asked, batch_tokens=batch_tokens):
        batch = made.to(model.device)
        hidden_BTC = model.decoder(batch.tokens_BT, document_lengths=batch.documents, positions=batch.documents.positions_BT)
        flat = hidden_BTC.flatten(0, 1)
        last_NC = flat[batch.ends_N]
        given = [last_NC.float()]
        if means:
            sums_NC = torch.zeros_like(given[0]).index_add_(0, batch.owner_A, flat[batch.after_A].float())
            given.append(sums_NC / batch.answer_tokens_N[:, None])
        chosen, rejected = torch.cat(given, 1).cpu().numpy().reshape(2, made.pairs, width)
        scored = model.head(last_NC).double().cpu().numpy().reshape(2, made.pairs)
        at = [place[n] for n in made.pairs_P.tolist()]
        rewards[at], differences[at] = scored.T, chosen - rejected
    model.train(was_training)
    return Read(rewards, differences)


def spread(pairs: EncodedPairs, most: int) -> np.ndarray:
    """Numbers of at most `most` pairs, evenly spread over the lengths; in order."""
    order = np.argsort(-pairs.lengths().sum(1), kind="stable")
    return np.sort(order if len(order) <= most else order[np.arange(most) * len(order) // most])


class HeldOut:
    """Loss (of Bradley and Terry: without margin, smoothing and centring, so that runs can be compared) and accuracy on held-out pairs;
    ranks share them."""

    def __init__(self, pairs: EncodedPairs, head: RewardHead, ranks: Ranks, most: int = MOST_HELD_OUT) -> None:
        self.pairs, self.head, self.ranks = pairs, head, ranks
        self.numbers = spread(pairs, max(LEAST_HELD_OUT, min(MOST_HELD_OUT, most)))

    def __call__(self, decoder: Decoder) -> dict[str, float]:
        mine = self.numbers[self.ranks.rank::self.ranks.world_size]
        was_training = decoder.training
        made = read(RewardModel(decoder, self.head), self.pairs, mine)
        decoder.train(was_training)
        difference, tie = made.rewards[:, 0] - made.rewards[:, 1], self.pairs.ties[mine]
        nats = bradley_terry_nats(difference, tie)
        right = (difference > 0) + 0.5 * (difference == 0)
        count, total, decided, sure, margin = self.ranks.sum(len(mine), float(nats.sum()), float((~tie).sum()), float(right[~tie].sum()),
                                                             float(difference[~tie].sum()))
        told = {"val_accuracy": sure / decided, "val_margin": margin / decided} if decided else {}  # of ties alone neither is known
        return {"val_loss": total / max(1, count), **told}


def bradley_terry_nats(difference_P: np.ndarray, tie_P: np.ndarray) -> np.ndarray:
    """Loss of each pair."""
    difference = torch.from_numpy(difference_P)
    won, lost = -F.logsigmoid(difference).numpy(), -F.logsigmoid(-difference).numpy()
    return np.where(tie_P, 0.5 * (won + lost), won)
