"""How far a policy prefers what people prefer on pairs it has not learned from: loss, accuracy and margin; and bits per byte on held-out
text of the replay corpus where there is one.
"""

from collections.abc import Iterator

import numpy as np
import torch

from engine.model.decoder import Decoder
from engine.model.length_batches import batched
from engine.stages.dpo.objective import NAMES, Objective, divergence, means
from engine.stages.dpo.rows import Reference, mismatched_part, mismatches, part_of
from engine.training.answer_logprobs import AnswerBatch, answer_logprobs, lay
from engine.training.evaluate import TextEvaluation
from engine.training.pair_rows import EncodedPairs
from engine.training.ranks import Ranks

MOST = 2048
BATCH_TOKENS = 4096


class HeldOut:
    """At most MOST pairs, evenly spread over the lengths. The loss has the SFT term, as in training, and no replayed documents. Ranks share
    the pairs."""

    def __init__(self, pairs: EncodedPairs, reference: Reference, objective: Objective, ranks: Ranks, *, longest: int, row: int | None,
                 pad: int, general: TextEvaluation | None = None, general_tokens: int = 0) -> None:
        self.pairs, self.reference, self.objective, self.ranks = pairs, reference, objective, ranks
        self.longest, self.row, self.pad, self.general, self.general_tokens = longest, row, pad, general, general_tokens
        sizes = pairs.lengths().sum(1)
        order = np.argsort(-sizes, kind="stable")
        if len(order) > MOST:
            order = order[np.arange(MOST) * len(order) // MOST]
        self.batches = list(batched(sizes, order.tolist(), BATCH_TOKENS))[ranks.rank::ranks.world_size]
        self.others = mismatches(pairs) if objective.spec.loss == "kto" else None

    @torch.no_grad()
    def __call__(self, model: Decoder) -> dict[str, float]:
        was_training = model.training
        model.eval()
        objective, device = self.objective, model.device
        kl = None
        if self.others is not None:
            kl = torch.tensor(divergence(model, list(self._mismatched(self.others)), self.ranks), dtype=torch.float32, device=device)
        summed = torch.zeros(len(NAMES), dtype=torch.float64)
        loss = count = chosen = chosen_tokens = 0.0
        for numbers in self.batches:
            batch = lay([part_of(self.pairs, n) for n in numbers], row=self.row, pad=self.pad).to(device)
            sums_N, tokens_N = answer_logprobs(model, batch)
            sums_P2, tokens_P2 = sums_N.view(-1, 2), tokens_N.view(-1, 2)
            known = self.reference.held_out
            reference_P2 = None if known is None else torch.from_numpy(known[numbers]).to(device)
            bad_P = torch.from_numpy(self.pairs.bad[numbers]).to(device)
            loss += len(numbers) * objective.mean(sums_P2, tokens_P2, reference_P2, bad_P, kl).item()
            count += len(numbers)
            chosen += (sums_P2[:, 0] * ~bad_P).sum().item()
            chosen_tokens += (tokens_P2[:, 0] * ~bad_P).sum().item()
            summed += objective.told(sums_P2, tokens_P2, reference_P2, bad_P).cpu().double()
        model.train(was_training)
        loss, count, chosen, chosen_tokens, *told = self.ranks.sum(loss, count, chosen, chosen_tokens, *summed.tolist())
        values = {"val_loss": loss / max(1.0, count) - objective.spec.sft_weight * chosen / max(1.0, chosen_tokens)}
        made = means(told)
        values |= {f"val_{name}": made[name] for name in ("accuracy", "margin", "chosen_reward", "chosen_logprob") if name in made}
        if kl is not None:
            values["val_kl"] = kl.item()
        if self.general is not None:
            values["general_bpb"] = self.general.measure(model, self.general_tokens, self.ranks).bits_per_byte
        return values

    def _mismatched(self, others: np.ndarray) -> Iterator[tuple[AnswerBatch, torch.Tensor]]:
        known = self.reference.held_out_mismatched
        assert known is not None
        for numbers in self.batches:
            parts = [mismatched_part(self.pairs, n, int(others[n]), self.longest) for n in numbers]
            yield lay(parts, row=self.row, pad=self.pad), torch.from_numpy(known[numbers])

