"""How well a model predicts text it has not seen: nats per token and bits per byte. No gradients, no random numbers, nothing of training is
touched.

B rows, T positions.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from engine.model.decoder import Decoder
from engine.training.batches import IGNORED, Split
from engine.training.ranks import Ranks


@dataclass(frozen=True)
class TextLoss:
    """`nats` over `tokens` targets that stand for `bytes` bytes of text."""

    nats: float
    tokens: int
    bytes: int

    @property
    def per_token(self) -> float:
        return self.nats / max(1, self.tokens)

    @property
    def bits_per_byte(self) -> float:
        return self.nats / math.log(2) / max(1, self.bytes)


class TextEvaluation:
    """Validation text cut into windows of `seq_len` targets. At most `max_tokens` of it: windows evenly spread over the whole.

    `token_bytes` [V] is how many bytes of text each id stands for (0 for special tokens).
    """

    def __init__(self, split: Split, token_bytes: np.ndarray, *, seq_len: int, batch_size: int, first_input: int, pad: int,
                 borders: bool = False) -> None:
        self.split, self.token_bytes, self.seq_len, self.batch_size = split, token_bytes, seq_len, batch_size
        self.first_input, self.pad, self.borders = first_input, pad, borders

    def windows(self, max_tokens: int) -> list[int]:
        """First target of each window."""
        every = list(range(0, int(self.split.tokens), self.seq_len))
        wanted = max(1, max_tokens // self.seq_len)
        if wanted >= len(every):
            return every
        return [every[i * len(every) // wanted] for i in range(wanted)]

    @torch.no_grad()
    def measure(self, model: Decoder, max_tokens: int, ranks: Ranks) -> TextLoss:
        """Loss over the windows; ranks share them. The model comes back in the mode it was in."""
        starts = self.windows(max_tokens)
        mine = starts[ranks.rank::ranks.world_size]
        was_training = model.training
        model.eval()
        nats, tokens, size = 0.0, 0, 0
        for tokens_BT, targets_BT, lengths in self._batches(mine):
            loss = model(tokens_BT.to(model.device), targets_BT=targets_BT.to(model.device), reduction="sum", document_lengths=lengths)
            counted = targets_BT[targets_BT != IGNORED].numpy()
            nats, tokens, size = nats + loss.item(), tokens + counted.size, size + int(self.token_bytes[counted].sum())
        model.train(was_training)
        nats, tokens, size = ranks.sum(nats, tokens, size)
        return TextLoss(nats, int(tokens), int(size))

    def _batches(self, starts: Sequence[int]) -> Iterator[tuple[torch.Tensor, torch.Tensor, list[list[int]] | None]]:
        offsets = self.split.starts
        for at in range(0, len(starts), self.batch_size):
            some = starts[at:at + self.batch_size]
            tokens_BT = np.full((len(some), self.seq_len), self.pad, dtype=np.int64)
            targets_BT = np.full((len(some), self.seq_len), IGNORED, dtype=np.int64)
            lengths = []
            for b, start in enumerate(some):
                stop = min(start + self.seq_len, int(self.split.tokens))
                count = stop - start
                targets_BT[b, :count] = self.split.slice(start, stop)
                tokens_BT[b, 0] = self.split.slice(start - 1, start)[0] if start else self.first_input
                tokens_BT[b, 1:count] = targets_BT[b, :count - 1]
                cuts = offsets[np.searchsorted(offsets, start, "left"):np.searchsorted(offsets, stop - 1, "left")] - start + 1
                lengths.append([int(n) for n in np.diff([0, *cuts, self.seq_len]) if n])
            yield torch.from_numpy(tokens_BT), torch.from_numpy(targets_BT), lengths if self.borders else None


def unigram_bits_per_byte(train: Split, validation: Split, token_bytes: np.ndarray, most: int = 50_000_000) -> float:
    """What a model that knows only how frequent each token is would reach on the validation text: counts of the training text plus one."""
    def counts(split: Split) -> np.ndarray:
        total = np.zeros(len(token_bytes), dtype=np.int64)
        for start in range(0, min(most, int(split.tokens)), 1 << 20):
            total += np.bincount(split.slice(start, min(start + (1 << 20), int(split.tokens), most)), minlength=len(token_bytes))
        return total
    known, seen = counts(train) + 1.0, counts(validation)
    bits = -(seen * np.log2(known / known.sum())).sum()
    return float(bits / max(1, int((seen * token_bytes).sum())))
