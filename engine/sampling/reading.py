"""Texts that are read, not continued: log-probabilities of their tokens, or the mean of the last hidden states. No sampling, no network.

`Reader` works in small steps, so that the caller can let others go on between them; `score` is the same in one call. Log-probabilities are
the model's own: softmax(logits) at temperature 1, in float32.

Shapes: B texts read side by side, T tokens in a step, N positions that count, C hidden size, V vocabulary.
"""

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.contract.errors import InputError
from engine.contract.words import tr
from engine.model.decoder import Decoder
from engine.model.kv_cache import KVCache

BATCH_TOKENS = 8192  # right-padded tokens of the texts that are read side by side
BATCH_ROWS = 64
STEP_TOKENS = 2048


@dataclass(frozen=True)
class Read:
    """logprobs[i] is that of ids[start + i], and so `ranks` (1: the likeliest) and `tops`; `mean_C` where it was wanted, of length 1."""

    request: Hashable
    logprobs: list[float]
    ranks: list[int]
    tops: list[tuple[tuple[int, float], ...]]
    mean_C: np.ndarray | None = None


@dataclass
class _Text:
    request: Hashable
    ids: Sequence[int]
    start: int
    alternatives: int
    mean: bool
    logprobs: list[float] = field(default_factory=list)
    ranks: list[int] = field(default_factory=list)
    tops: list[Any] = field(default_factory=list)
    sum_C: Tensor | None = None


class Reader:
    """`add` texts, `step` until nothing is left, `remove` what nobody waits for. Results come when the texts read side by side are done."""

    def __init__(self, model: Decoder) -> None:
        self.model = model.eval()
        self._waiting: deque[_Text] = deque()
        self._texts: list[_Text] = []
        self._cache: KVCache | None = None
        self._done = 0

    def add(self, request: Hashable, ids: Sequence[int], *, start: int = 1, alternatives: int = 0, mean: bool = False) -> None:
        """A text whose tokens from place `start` (1 at least: the first has nothing before it) are wanted, or its mean. Raises InputError
        for a text the model cannot read."""
        config = self.model.config
        if not len(ids):
            raise InputError(tr("The text is empty."), tr("Give at least one token."), code="prompt_empty")
        if len(ids) > config.max_seq_len:
            raise InputError(tr("The text has {tokens} tokens; the model reads at most {limit}.", tokens=f"{len(ids):,}",
                                limit=f"{config.max_seq_len:,}"), tr("Shorten the text."), code="prompt_too_long")
        assert start >= 1 and 0 <= min(ids) and max(ids) < config.vocab_size
        self._waiting.append(_Text(request, ids, start, alternatives, mean))

    @property
    def busy(self) -> bool:
        return bool(self._texts or self._waiting)

    @property
    def nbytes(self) -> int:
        return self._cache.nbytes if self._cache else 0

    def remove(self, request: Hashable) -> None:
        self._waiting = deque(t for t in self._waiting if t.request != request)
        for text in self._texts:
            if text.request == request:
                text.start, text.mean = len(text.ids), False  # its place is read on, for the others' sake; nothing is computed
        if self._texts and all(t.start == len(t.ids) and not t.mean for t in self._texts):
            self._texts, self._cache = [], None

    @torch.inference_mode()
    def step(self, tokens: int = STEP_TOKENS) -> list[Read]:
        """About `tokens` more tokens; the texts that are read now, [] while it takes longer."""
        if not self._texts:
            self._gather()
            if not self._texts:
                return []
        assert self._cache is not None
        texts, device = self._texts, self.model.device
        longest = max(len(t.ids) for t in texts)
        width = min(longest - self._done, max(1, tokens // len(texts)))
        tokens_BT = torch.zeros(len(texts), width, dtype=torch.long)
        for row, text in enumerate(texts):
            piece = text.ids[self._done : self._done + width]
            tokens_BT[row, : len(piece)] = torch.as_tensor(piece, dtype=torch.long)
        hidden_BTC = self.model(tokens_BT.to(device), cache=self._cache.plan(width))
        for row, text in enumerate(texts):
            if text.mean and self._done < len(text.ids):
                part_C = hidden_BTC[row, : len(text.ids) - self._done].float().sum(0)
                text.sum_C = part_C if text.sum_C is None else text.sum_C + part_C
        self._score(texts, hidden_BTC, width)
        self._done += width
        if self._done < longest:
            return []
        self._texts, self._cache = [], None
        return [Read(t.request, t.logprobs, t.ranks, t.tops, _unit(t.sum_C)) for t in texts]

    def _gather(self) -> None:
        """The next texts to read side by side, in order of arrival."""
        longest = 0
        while self._waiting and len(self._texts) < BATCH_ROWS:
            widest = max(longest, len(self._waiting[0].ids))
            if self._texts and widest * (len(self._texts) + 1) > BATCH_TOKENS:
                break
            longest = widest
            self._texts.append(self._waiting.popleft())
        if self._texts:
            dtype = self.model.compute_dtype or self.model.embed.weight.dtype
            self._cache = KVCache(self.model.config, len(self._texts), longest, dtype=dtype, device=self.model.device)
            self._cache.add_rows(len(self._texts))
            self._done = 0

    def _score(self, texts: list[_Text], hidden_BTC: Tensor, width: int) -> None:
        """The probabilities of the tokens that follow these places."""
        rows, places, targets = [], [], []
        for row, text in enumerate(texts):
            first, last = max(self._done, text.start - 1), min(self._done + width, len(text.ids) - 1)
            if text.mean:
                continue
            for place in range(first, last):
                rows.append(row)
                places.append(place - self._done)
                targets.append(int(text.ids[place + 1]))
        if not rows:
            return
        logprobs_NV = self.model.logits(hidden_BTC[rows, places]).float().log_softmax(-1)
        own_N1 = logprobs_NV.gather(-1, torch.tensor(targets, device=logprobs_NV.device)[:, None])
        ranks = (1 + (logprobs_NV > own_N1).sum(-1)).tolist()
        most = max(text.alternatives for text in texts)
        tops: list[Any] = [()] * len(rows)
        if most:
            best = logprobs_NV.topk(min(most, logprobs_NV.shape[-1]), -1)
            tops = [tuple(zip(ids, values, strict=True)) for ids, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)]
        for row, logprob, rank, top in zip(rows, own_N1[:, 0].tolist(), ranks, tops, strict=True):
            texts[row].logprobs.append(logprob)
            texts[row].ranks.append(rank)
            texts[row].tops.append(top[: texts[row].alternatives])


def _unit(sum_C: Tensor | None) -> np.ndarray | None:
    """The direction of a sum: that of the mean."""
    if sum_C is None:
        return None
    return torch.nn.functional.normalize(sum_C, dim=0).cpu().numpy()


def score(model: Decoder, texts: Sequence[Sequence[int]], starts: Sequence[int] | None = None) -> list[list[float]]:
    """Log-probabilities (nats) of each text's tokens from place `start` on, 1 unless given."""
    reader = Reader(model)
    for place, ids in enumerate(texts):
        reader.add(place, ids, start=starts[place] if starts else 1)
    made: dict[Hashable, list[float]] = {}
    while reader.busy:
        made |= {read.request: read.logprobs for read in reader.step()}
    return [made[place] for place in range(len(texts))]
