"""The batches of preference tuning: which pairs and replayed documents a step holds, with what the reference says of each answer, and, for
KTO, the mismatched pairs by which its divergence is estimated. No losses.

A step is `batch_size` pairs and some replayed documents, sorted by length; a micro batch is some of them, laid out by
answer_logprobs.lay: the chosen answer of pair p is answer 2 p, the rejected one 2 p + 1, then come the documents.

Mismatched pairs: the prompt of each pair with both answers of another (TRL: of its neighbour in the batch). Which other is fixed for a
whole run, so that the reference reads them once, like the pairs themselves.

P pairs of a micro batch, N answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from engine.model.length_batches import batched
from engine.training.answer_logprobs import AnswerBatch, Part, lay
from engine.training.pair_rows import EncodedPairs, PairRows
from engine.training.replayed import Replayed


def part_of(pairs: EncodedPairs, number: int) -> Part:
    """A pair: its prompt, with both answers behind."""
    prompt = pairs.prompt(number)
    endings = tuple(pairs.conversation(number, side)[0][len(prompt):] for side in (0, 1))
    return Part(prompt, endings, tuple(len(prompt) + int(skip) for skip in pairs.skips[number]))


def mismatched_part(pairs: EncodedPairs, number: int, other: int, longest: int) -> Part:
    """The prompt of one pair with the answers of another, cut at `longest` tokens."""
    ids, begin = pairs.conversation(number, 0)
    answers = (pairs.conversation(other, side) for side in (0, 1))
    return Part(ids[:begin], tuple(text[start:][:longest - begin] for text, start in answers), (begin, begin))


def mismatches(pairs: EncodedPairs) -> np.ndarray:
    """For each pair the one whose answers are put to its prompt: as long as no prompt has more than half of all pairs, one with another
    prompt; each pair is used once."""
    order = np.lexsort((np.arange(len(pairs)), pairs.keys))
    _, counts = np.unique(pairs.keys, return_counts=True)
    made = np.zeros(len(pairs), np.int64)
    made[order] = np.roll(order, -int(counts.max(initial=1)))  # past all pairs of its own prompt
    return made


@dataclass
class Reference:
    """Log-probabilities of answers under the reference, float32 [pairs, 2], chosen and rejected; None until they are known, or where the
    objective has no use for them. `mismatched` are those of the pairs that `mismatches` makes."""

    train: np.ndarray | None = None
    held_out: np.ndarray | None = None
    train_mismatched: np.ndarray | None = None
    held_out_mismatched: np.ndarray | None = None


@dataclass
class Mismatched:
    """The mismatched pairs of one step, of this rank: batches with the reference's word on their answers [pairs, 2]. `kl` is filled by the
    objective at the step's first micro batch, with the weights as they are then."""

    batches: Sequence[tuple[AnswerBatch, torch.Tensor]]
    kl: float | None = None


@dataclass(frozen=True)
class DpoBatch:
    """One micro batch of P pairs and some documents.

    reference_P2  None for an objective without a reference; bad_P: neither answer of the pair is good
    weight        P
    first         whether it is the first of its step
    pairs_per_chosen, pairs_per_replayed   pairs of the step for each token of its good chosen answers, of its documents: what turns a sum
                  over tokens into a mean over the step, in the scale of sums over pairs
    """

    answers: AnswerBatch
    reference_P2: torch.Tensor | None
    bad_P: torch.Tensor
    weight: float
    first: bool = True
    pairs_per_chosen: float = 0.0
    pairs_per_replayed: float = 0.0
    mismatched: Mismatched | None = field(default=None, compare=False)

    @property
    def tokens(self) -> int:
        return self.answers.tokens

    @property
    def pairs(self) -> int:
        return len(self.bad_P)

    def to(self, device: torch.device) -> "DpoBatch":
        if device.type == "cpu":
            return self
        return replace(self, answers=self.answers.to(device), bad_P=self.bad_P.to(device),
                       reference_P2=None if self.reference_P2 is None else self.reference_P2.to(device))


class DpoRows(PairRows):
    """See above. `reference` may be filled after the source is made, before batches are asked for.

    longest          tokens of a conversation at most
    mismatched       whether each step brings its mismatched pairs (KTO)
    mismatch_tokens  of a batch of those, about
    """

    def __init__(self, pairs: EncodedPairs, reference: Reference, *, batch_size: int, seed: int, longest: int, row: int | None = None,
                 pad: int = 0, rank: int = 0, world_size: int = 1, replayed: Replayed | None = None, mismatched: bool = False,
                 mismatch_tokens: int = 8192) -> None:
        super().__init__(pairs, batch_size=batch_size, seed=seed, row=row, pad=pad, rank=rank, world_size=world_size)
        self.reference, self.longest, self.mismatch_tokens = reference, longest, mismatch_tokens
        self.replayed = replayed or Replayed(None, 0, longest=longest, seed=seed)
        self.others = mismatches(pairs) if mismatched else None
        self.sizes = pairs.lengths().sum(1) if row else np.diff(pairs.starts).reshape(-1, 3).sum(1)

    @property
    def state(self) -> dict[str, Any]:
        return {**super().state, **self.replayed.state, "mismatched": self.others is not None}

    @property
    def tokens_per_step(self) -> float:
        """What the model reads on average, mismatched pairs not counted."""
        return float(self.sizes.sum()) / self.steps_per_epoch + self.replayed.tokens_per_step

    def batches(self, step: int, micro_batch_size: int) -> list[DpoBatch]:
        """This rank's micro batches. A rank with nothing to do gets one pair that does not count, so that all ranks take part."""
        numbers, documents = self.numbers(step), self.replayed.documents(step)
        items: list[int | np.ndarray] = sorted([*numbers, *documents], key=lambda one: -self._size(one))
        mine = items[self.rank::self.world_size]
        chosen = int(self.pairs.answer_tokens()[[n for n in numbers if not self.pairs.bad[n]], 0].sum())
        scales = {"pairs_per_chosen": len(numbers) / max(1, chosen),
                  "pairs_per_replayed": len(numbers) / max(1, sum(len(ids) - 1 for ids in documents))}
        mismatched = self._mismatched([n for n in mine if isinstance(n, int)]) if self.others is not None else None
        if not mine:
            return [replace(self._batch([int(self.sizes.argmin())], []), weight=0.0, mismatched=mismatched)]
        made = []
        for at in range(0, len(mine), micro_batch_size):
            some = mine[at:at + micro_batch_size]
            batch = self._batch([n for n in some if isinstance(n, int)], [ids for ids in some if not isinstance(ids, int)])
            made.append(replace(batch, first=at == 0, mismatched=mismatched, **scales))
        return made

    def _size(self, item: int | np.ndarray) -> int:
        return int(self.sizes[item]) if isinstance(item, int) else len(item)

    def _batch(self, numbers: list[int], documents: list[np.ndarray]) -> DpoBatch:
        parts = [part_of(self.pairs, n) for n in numbers] + [Part(ids[:0], (ids,), (1,)) for ids in documents]
        known = self.reference.train
        return DpoBatch(lay(parts, row=self.row, pad=self.pad), None if known is None else torch.from_numpy(known[numbers]),
                        torch.from_numpy(self.pairs.bad[numbers]), float(len(numbers)))

    def _mismatched(self, numbers: list[int]) -> Mismatched:
        assert self.others is not None and self.reference.train_mismatched is not None
        made = []
        for some in batched(self.sizes, numbers, self.mismatch_tokens):
            parts = [mismatched_part(self.pairs, n, int(self.others[n]), self.longest) for n in some]
            made.append((lay(parts, row=self.row, pad=self.pad), torch.from_numpy(self.reference.train_mismatched[some])))
        return Mismatched(made)
