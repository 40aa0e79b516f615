"""Pairs of answers as training batches: encoded once, the prompt kept once, positioned by the step number alone. No losses, no files, no
library.

A step is exactly `batch_size` pairs, sorted by length; a micro batch holds both answers of some of them, laid end to end as documents.
Where attention works document by document that is one row without padding, and the prompt of a pair stands in it once for both answers
(engine/model/forks.py); where the device makes a mask of a whole row, conversations are packed whole into several. Answer n of P pairs is
the chosen one of pair n, answer P + n the rejected one.

Two ranks together see what one alone would see. What a step means depends on the seed, the pairs and the settings (`state`), nothing
else; a resume needs no more than the step.

P pairs of a micro batch, N = 2 P answers, A tokens of all answers, B rows, T positions.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch

from engine.contract.errors import FledgeError, InputError
from engine.contract.rows import Example, PreferencePair
from engine.contract.words import tr
from engine.model.attention import Documents
from engine.model.length_batches import batched
from engine.text.answer_ids import AnswerIds, fit_answers
from engine.text.tokenizer import Tokenizer
from engine.training.epochs import Epochs
from engine.training.examples import counted, held_out, pack, prompt_key

TooLong = Literal["leave_out", "cut_prompt"]


# ------------------------------------------------------------------------------------------------------------------ encoding


@dataclass(frozen=True)
class PairsLeftOut:
    """How many pairs are not trained on, and why: too long, the same text twice, neither better (where ties teach nothing), both bad (the
    same), nothing of an answer written, refused by the template. `cut` ones are trained on without the oldest turns of their prompt,
    `unended` ones with an answer that no token ends. `refusal` is what the template said of the first it refused. `places`: numbers of the
    first few of each kind, by the names of the fields here."""

    too_long: int = 0
    same: int = 0
    ties: int = 0
    bad: int = 0
    empty: int = 0
    refused: int = 0
    cut: int = 0
    unended: int = 0
    refusal: FledgeError | None = None
    places: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return self.too_long + self.same + self.ties + self.bad + self.empty + self.refused


@dataclass(frozen=True)
class EncodedPairs:
    """ids uint32 of all pairs laid end to end, of each its prompt, then what follows it with the chosen, then with the rejected answer;
    `starts` int64 [3 count + 1] their borders. For each pair: `skips` int64 [count, 2], how many tokens that follow the prompt belong to
    it still (not 0 only where the answers' first letters change how the prompt's end is cut into tokens); `strengths` int8, 0 to 3; `ties`
    and `bad` bool; `numbers` int64, its place among those given; `keys` uint64, a hash of the prompt (examples.prompt_key)."""

    ids: np.ndarray
    starts: np.ndarray
    skips: np.ndarray
    strengths: np.ndarray
    ties: np.ndarray
    bad: np.ndarray
    numbers: np.ndarray
    keys: np.ndarray
    left_out: PairsLeftOut = field(default_factory=PairsLeftOut)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def tokens(self) -> int:
        """What a model reads of all of them: both conversations of each."""
        return int(self.lengths().sum())

    def lengths(self) -> np.ndarray:
        """Tokens of the conversation with the chosen and with the rejected answer, [count, 2]."""
        parts = np.diff(self.starts).reshape(-1, 3)
        return parts[:, :1] + parts[:, 1:]

    def sizes(self) -> np.ndarray:
        """Tokens of a pair with its prompt once, [count]."""
        return np.diff(self.starts).reshape(-1, 3).sum(1)

    def answer_tokens(self) -> np.ndarray:
        """Tokens of the chosen and the rejected answer, the one that closes it with it, [count, 2]."""
        return np.diff(self.starts).reshape(-1, 3)[:, 1:] - self.skips

    def prompt(self, number: int) -> np.ndarray:
        """The tokens that both conversations begin with."""
        return self._part(3 * number)

    def conversation(self, number: int, side: int) -> tuple[np.ndarray, int]:
        """(ids, where the answer begins) with the chosen (side 0) or the rejected answer (1)."""
        prompt = self.prompt(number)
        return np.concatenate([prompt, self._part(3 * number + 1 + side)]), len(prompt) + int(self.skips[number, side])

    def _part(self, place: int) -> np.ndarray:
        return self.ids[int(self.starts[place]):int(self.starts[place + 1])]

    def take(self, which: np.ndarray) -> "EncodedPairs":
        """Only these, in this order."""
        places = (3 * np.asarray(which, np.int64)[:, None] + np.arange(3)).reshape(-1)
        sizes = np.diff(self.starts)[places]
        ids = np.concatenate([self._part(int(place)) for place in places]) if len(places) else self.ids[:0]
        return EncodedPairs(ids, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), self.skips[which], self.strengths[which],
                            self.ties[which], self.bad[which], self.numbers[which], self.keys[which], self.left_out)

    def split(self, percent: float) -> tuple["EncodedPairs", "EncodedPairs"]:
        """(for training, for validation): see examples.held_out."""
        held = held_out(self.keys, percent)
        return self.take(np.flatnonzero(~held)), self.take(np.flatnonzero(held))

    @property
    def digest(self) -> str:
        """Hash of all that a batch is made of."""
        made = hashlib.sha256(self.ids.tobytes())
        for part in (self.starts, self.skips, self.strengths, self.ties, self.bad):
            made.update(np.ascontiguousarray(part).tobytes())
        return made.hexdigest()


def encode_pairs(tokenizer: Tokenizer, pairs: Iterable[PreferencePair], *, template: str = "", system: str = "", max_seq_len: int,
                 too_long: TooLong = "cut_prompt", keep_ties: bool = False, keep_bad: bool = False) -> EncodedPairs:
    """All pairs that can be learned from; the others are left out and counted. A pair with an answer longer than `max_seq_len` tokens with
    its prompt loses the oldest turns of the prompt, the same for both ("cut_prompt"), or is left out. Mismatch when there is no template.

    keep_ties, keep_bad  whether pairs of which neither is better, and of which both are bad, teach the objective something
    """
    ids: list[np.ndarray] = []
    kept: list[tuple[int, tuple[int, int], PreferencePair]] = []
    places: dict[str, list[int]] = {name: [] for name in ("too_long", "same", "ties", "bad", "empty", "refused", "cut", "unended")}
    refusal: FledgeError | None = None
    for number, pair in enumerate(pairs):
        reason = ("bad" if pair.bad and not keep_bad else "ties" if pair.tie and not pair.bad and not keep_ties else
                  "same" if pair.chosen.strip() == pair.rejected.strip() else "")
        if reason:
            places[reason].append(number)
            continue
        try:
            made, cut = fit_answers(tokenizer, pair.prompt, (pair.chosen, pair.rejected), max_seq_len, template=template, system=system,
                                    cut=too_long == "cut_prompt")
        except FledgeError as wrong:
            if wrong.code == "no_template":
                raise
            refusal = refusal or wrong
            places["refused"].append(number)
            continue
        chosen, rejected = made
        if chosen is None or rejected is None:
            places["empty"].append(number)
            continue
        if cut < 0:
            places["too_long"].append(number)
            continue
        if cut:
            places["cut"].append(number)
        if not (chosen.ended and rejected.ended):
            places["unended"].append(number)
        shared = _shared(chosen, rejected)
        ids += [chosen.ids[:shared], chosen.ids[shared:], rejected.ids[shared:]]
        kept.append((number, (chosen.start - shared, rejected.start - shared), pair))
    starts = np.concatenate([[0], np.cumsum([len(part) for part in ids])]).astype(np.int64)
    return EncodedPairs(
        np.concatenate(ids).astype(np.uint32) if ids else np.zeros(0, np.uint32), starts,
        np.array([skips for _, skips, _ in kept], np.int64).reshape(-1, 2), np.array([pair.strength for _, _, pair in kept], np.int8),
        np.array([pair.tie and not pair.bad for _, _, pair in kept], bool), np.array([pair.bad for _, _, pair in kept], bool),
        np.array([number for number, _, _ in kept], np.int64), np.array([pair_key(pair) for _, _, pair in kept], np.uint64),
        PairsLeftOut(**counted(places), refusal=refusal))


def pair_key(pair: PreferencePair) -> int:
    """Pairs with one prompt have one key."""
    return prompt_key(Example(id="", messages=pair.prompt))


def _shared(chosen: AnswerIds, rejected: AnswerIds) -> int:
    """How many tokens both begin with before either answer begins."""
    most = min(chosen.start, rejected.start)
    different = np.flatnonzero(chosen.ids[:most] != rejected.ids[:most])
    return int(different[0]) if len(different) else most


# ------------------------------------------------------------------------------------------------------------------ batches


@dataclass(frozen=True)
class PairBatch:
    """One micro batch of P pairs. Places are those in the flattened rows: row * T + position.

    tokens_BT   int64; documents: the conversations (in several rows: both of a pair may stand in different ones)
    ends_N      the place of each answer's last token: chosen ones first, then rejected ones in the same order
    places_A    places whose next token belongs to an answer, answer by answer; targets_A: that token; owner_A: the answer, 0 to N - 1
    pairs_P     numbers of the pairs in their EncodedPairs; strength_P int64 0 to 3; tie_P, bad_P bool
    weight      P, or 0 for a rank that has nothing to do and takes part all the same; real: tokens that stand in the rows
    """

    tokens_BT: torch.Tensor
    documents: Documents
    ends_N: torch.Tensor
    places_A: torch.Tensor
    targets_A: torch.Tensor
    owner_A: torch.Tensor
    pairs_P: torch.Tensor
    strength_P: torch.Tensor
    tie_P: torch.Tensor
    bad_P: torch.Tensor
    weight: float
    real: int

    @property
    def tokens(self) -> int:
        return self.real if self.weight else 0

    @property
    def pairs(self) -> int:
        return len(self.pairs_P)

    @property
    def answer_tokens_N(self) -> torch.Tensor:
        """Tokens of each answer, float32."""
        return torch.zeros(len(self.ends_N), device=self.owner_A.device).index_add_(
            0, self.owner_A, torch.ones(len(self.owner_A), device=self.owner_A.device))

    @property
    def after_A(self) -> torch.Tensor:
        """Where the answers' own tokens stand: targets_A, once more as they are read."""
        counts_N = torch.bincount(self.owner_A, minlength=len(self.ends_N))
        behind_N = self.ends_N + 1 - counts_N.cumsum(0)  # place of an answer's token less its number among all
        return behind_N[self.owner_A] + torch.arange(len(self.owner_A), device=self.owner_A.device)

    def to(self, device: torch.device) -> "PairBatch":
        if device.type == "cpu":
            return self
        pin = device.type == "cuda"

        def move(x: torch.Tensor) -> torch.Tensor:
            return (x.pin_memory() if pin else x).to(device, non_blocking=pin)
        return replace(self, documents=self.documents.to(device), **{name: move(getattr(self, name)) for name in (
            "tokens_BT", "ends_N", "places_A", "targets_A", "owner_A", "pairs_P", "strength_P", "tie_P", "bad_P")})


def pair_batch(pairs: EncodedPairs, numbers: Sequence[int], *, row: int | None = None, pad: int = 0, weight: float | None = None,
               ) -> PairBatch:
    """Both conversations of these pairs as one batch: in one row that has each prompt once, or whole, in rows of about `row` positions."""
    count = len(numbers)
    which = np.asarray(numbers, np.int64)
    tokens, documents, ends, places = _rows(pairs, which, row, pad) if row else _one_row(pairs, which)
    targets = [pairs.conversation(int(n), side) for side in (0, 1) for n in which]
    return PairBatch(
        torch.from_numpy(tokens), documents, torch.from_numpy(ends), torch.from_numpy(np.concatenate(places)),
        torch.from_numpy(np.concatenate([ids[begin:] for ids, begin in targets]).astype(np.int64)),
        torch.from_numpy(np.repeat(np.arange(2 * count), [len(p) for p in places])), torch.from_numpy(which),
        torch.from_numpy(pairs.strengths[which].astype(np.int64)), torch.from_numpy(pairs.ties[which].copy()),
        torch.from_numpy(pairs.bad[which].copy()), float(count) if weight is None else weight,
        int(pairs.lengths()[which].sum() if row else pairs.sizes()[which].sum()))


Laid = tuple[np.ndarray, Documents, np.ndarray, list[np.ndarray]]
"""tokens_BT, documents, ends_N, and of each answer its places_A."""


def _one_row(pairs: EncodedPairs, numbers: np.ndarray) -> Laid:
    count = len(numbers)
    parts, documents = [], []
    ends = np.zeros(2 * count, np.int64)
    places: list[np.ndarray] = [np.zeros(0, np.int64)] * (2 * count)
    at = 0
    for p, number in enumerate(numbers.tolist()):
        prompt, sides = pairs.prompt(number), [pairs._part(3 * number + 1), pairs._part(3 * number + 2)]
        parts += [prompt, *sides]
        documents.append((len(prompt), [len(side) for side in sides]))
        start = at + len(prompt)
        for side, ids in enumerate(sides):
            n, skip = side * count + p, int(pairs.skips[number, side])
            before = np.arange(skip - 1, len(ids) - 1)  # -1: the prompt's last token
            places[n] = np.where(before < 0, at + len(prompt) - 1, start + before)
            start += len(ids)
            ends[n] = start - 1
        at = start
    return np.concatenate(parts).astype(np.int64)[None], Documents.forked(documents), ends, places


def _rows(pairs: EncodedPairs, numbers: np.ndarray, row: int, pad: int) -> Laid:
    count = len(numbers)
    sides = [pairs.conversation(int(n), side) for side in (0, 1) for n in numbers]
    lengths = [len(ids) for ids, _ in sides]
    rows = pack(list(range(2 * count)), lengths, max(row, *lengths), 2 * count)
    width = max(sum(lengths[n] for n in some) for some in rows)
    tokens = np.full((len(rows), width), pad, dtype=np.int64)
    ends = np.zeros(2 * count, np.int64)
    places: list[np.ndarray] = [np.zeros(0, np.int64)] * (2 * count)
    for b, some in enumerate(rows):
        at = 0
        for n in some:
            ids, begin = sides[n]
            tokens[b, at:at + len(ids)] = ids
            ends[n] = b * width + at + len(ids) - 1
            places[n] = b * width + at + np.arange(begin - 1, len(ids) - 1)
            at += len(ids)
    return tokens, Documents.of([[lengths[n] for n in some] for some in rows], width), ends, places


def pair_batches(pairs: EncodedPairs, numbers: Iterable[int], *, batch_tokens: int = 8192, row: int | None = None) -> Iterator[PairBatch]:
    """These pairs in batches of neighbours in length, about `batch_tokens` tokens each: to be read without gradients."""
    sizes = pairs.lengths().sum(1) if row else pairs.sizes()
    for some in batched(sizes, (int(n) for n in numbers), batch_tokens):
        yield pair_batch(pairs, some, row=row)


class PairRows(Epochs):
    """The batch source of stages that learn from pairs: `batches(step, micro_batch_size)` gives this rank's micro batches of a step.

    batch_size        pairs of a step, over all ranks
    micro_batch_size  pairs at once
    row               positions of a row: None lays a micro batch in one, which is best where attention works document by document
                      (`row_for`)
    """

    def __init__(self, pairs: EncodedPairs, *, batch_size: int, seed: int, row: int | None = None, pad: int = 0, rank: int = 0,
                 world_size: int = 1) -> None:
        super().__init__()
        if not len(pairs):
            raise InputError(tr("There is nothing to train on: no pair is left."),
                             tr("Label more pairs, choose other sets, a longer context, or another template."), code="no_pairs")
        assert batch_size > 0
        self.pairs, self.batch_size, self.seed, self.row, self.pad = pairs, batch_size, seed, row, pad
        self.rank, self.world_size = rank, world_size
        self._sizes = pairs.lengths().sum(1) if row else pairs.sizes()
        self._digest = pairs.digest

    @property
    def state(self) -> dict[str, Any]:
        """What must be equal for a step number to mean the same pairs; kept in checkpoints."""
        return {"pairs": len(self.pairs), "digest": self._digest, "batch_size": self.batch_size, "seed": self.seed}

    @property
    def steps_per_epoch(self) -> float:
        return len(self.pairs) / self.batch_size

    @property
    def tokens_per_step(self) -> float:
        """As they stand in the rows, without padding."""
        return int(self._sizes.sum()) / self.steps_per_epoch

    @property
    def longest_pair(self) -> int:
        """Tokens of the longest pair as it stands in the rows."""
        return int(self._sizes.max())

    def numbers(self, step: int) -> list[int]:
        """The pairs of a step, over all ranks, longest first."""
        drawn = []
        for at in range(step * self.batch_size, (step + 1) * self.batch_size):
            epoch, place = divmod(at, len(self.pairs))
            drawn.append(int(self._epoch(epoch)[place]))
        return sorted(drawn, key=lambda n: (-int(self._sizes[n]), n))

    def batches(self, step: int, micro_batch_size: int) -> list[PairBatch]:
        """This rank's micro batches. A rank with nothing to do gets one pair that does not count, so that all ranks take part."""
        mine = self.numbers(step)[self.rank::self.world_size]
        if not mine:
            return [pair_batch(self.pairs, [int(self._sizes.argmin())], row=self.row, pad=self.pad, weight=0.0)]
        return [pair_batch(self.pairs, mine[at:at + micro_batch_size], row=self.row, pad=self.pad)
                for at in range(0, len(mine), micro_batch_size)]

    def _epoch(self, epoch: int) -> np.ndarray:
        return self._kept(epoch, lambda: np.random.default_rng([self.seed, 21, epoch]).permutation(len(self.pairs)))


LEAST_ROW = 1024


def row_for(device: str, dtype: str, pairs: EncodedPairs) -> int | None:
    """`row` of PairRows: several rows where attention makes a mask of a whole row (Metal, and CUDA in float32)."""
    if device == "cpu" or device == "cuda" and dtype in ("bfloat16", "float16"):
        return None
    return max(LEAST_ROW, int(pairs.lengths().max(initial=0)))
