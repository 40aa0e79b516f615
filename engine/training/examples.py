"""Conversations as training batches: encoded once, whole in one place an epoch, positioned by the step number alone. No templates here
beyond calling chat_mask, no files, no library.

Two ways to put a step together
- packed: each epoch is shuffled, cut into windows, and each window is packed into rows of at most `max_seq_len` positions (best fit,
  longest first); the rows are shuffled and dealt out evenly, `batch_size` examples a step on average.
- natural lengths: a step is exactly `batch_size` examples, sorted by length; a micro batch is one row with borders and no padding.

Examples of a row are blind to one another (Documents) and their positions begin anew. An example of N tokens takes N - 1 positions: the
last token is only a target. Replayed documents of pretraining come on top of a step's examples, all of their tokens targets.

Two ranks together see what one alone would see. What a step means depends on the seed, the examples and the settings (`state`), nothing
else; a resume needs no more than the step.

B rows, T positions.
"""

import bisect
import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import torch

from engine.contract.errors import FledgeError, InputError
from engine.contract.rows import Example
from engine.contract.words import tr
from engine.model.attention import Documents
from engine.model.decoder import Decoder
from engine.model.length_batches import batched
from engine.text import chat_mask
from engine.text.tokenizer import Tokenizer
from engine.training.batches import IGNORED, Batch
from engine.training.epochs import Epochs
from engine.training.ranks import Ranks

WINDOW = 4096
"""Examples that are packed together: enough for rows that are nearly full, few enough to stay shuffled."""

PLACES = 8

TooLong = Literal["leave_out", "cut"]


class ReplaySplit(Protocol):
    """What is needed of token shards to replay documents."""

    @property
    def documents(self) -> int: ...

    @property
    def tokens(self) -> int: ...

    def document(self, number: int) -> np.ndarray: ...


# ------------------------------------------------------------------------------------------------------------------ encoding


@dataclass(frozen=True)
class LeftOut:
    """How many examples are not trained on, and why; `cut` ones are trained on without their end, `unended` ones without a token that
    ends the answer. `refusal` is what the template said of the first example it refused, `refused_at` its number. `places`: numbers of the
    first few of each kind, by the names of the fields here."""

    too_long: int = 0
    nothing_trained: int = 0
    refused: int = 0
    cut: int = 0
    cut_answers: int = 0
    unended: int = 0
    refusal: FledgeError | None = None
    refused_at: int = -1
    places: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return self.too_long + self.nothing_trained + self.refused


@dataclass(frozen=True)
class EncodedExamples:
    """ids uint32 and trained bool of all examples laid end to end; `starts` int64 [count + 1]; `numbers` int64 [count]: each one's place
    among those given; `keys` uint64 [count]: a hash of the prompt (see `prompt_key`)."""

    ids: np.ndarray
    trained: np.ndarray
    starts: np.ndarray
    numbers: np.ndarray
    keys: np.ndarray
    left_out: LeftOut = field(default_factory=LeftOut)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def tokens(self) -> int:
        return int(self.starts[-1])

    @property
    def trained_tokens(self) -> int:
        return int(self.trained.sum())

    def lengths(self) -> np.ndarray:
        return np.diff(self.starts)

    def example(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """(ids, trained) of one."""
        start, stop = int(self.starts[number]), int(self.starts[number + 1])
        return self.ids[start:stop], self.trained[start:stop]

    def take(self, which: np.ndarray) -> "EncodedExamples":
        """Only these, in this order."""
        parts = [self.example(int(i)) for i in which]
        return EncodedExamples(
            np.concatenate([p[0] for p in parts]) if parts else self.ids[:0], np.concatenate([p[1] for p in parts]) if parts else
            self.trained[:0], np.concatenate([[0], np.cumsum([len(p[0]) for p in parts])]).astype(np.int64), self.numbers[which],
            self.keys[which], self.left_out)

    def split(self, percent: float) -> tuple["EncodedExamples", "EncodedExamples"]:
        """(for training, for validation): see held_out."""
        held = held_out(self.keys, percent)
        return self.take(np.flatnonzero(~held)), self.take(np.flatnonzero(held))

    @property
    def digest(self) -> str:
        """Hash of all ids and masks."""
        made = hashlib.sha256(self.ids.tobytes())
        made.update(np.packbits(self.trained).tobytes())
        made.update(self.starts.tobytes())
        return made.hexdigest()


def encode_examples(tokenizer: Tokenizer, examples: Iterable[Example], *, template: str = "", loss_on: chat_mask.LossOn = "assistant",
                    system: str = "", max_seq_len: int, too_long: TooLong = "leave_out") -> EncodedExamples:
    """All examples that can be trained on. Those that cannot (longer than `max_seq_len` tokens, nothing to learn in them, refused by the
    template) are left out and counted; with `too_long` "cut" long ones lose their end. Mismatch when there is no template."""
    ids: list[np.ndarray] = []
    trained: list[np.ndarray] = []
    numbers: list[int] = []
    keys: list[int] = []
    places: dict[str, list[int]] = {name: [] for name in ("too_long", "nothing_trained", "refused", "cut", "cut_answers", "unended")}
    refusal: FledgeError | None = None
    for number, example in enumerate(examples):
        try:
            made = chat_mask.encode(tokenizer, example.messages, template=template, loss_on=loss_on, system=system)
        except FledgeError as wrong:
            if wrong.code == "no_template":
                raise
            refusal = refusal or wrong
            places["refused"].append(number)
            continue
        if len(made.ids) > max_seq_len and too_long == "leave_out":
            places["too_long"].append(number)
            continue
        if not made.trained[:max_seq_len].any():
            places["nothing_trained"].append(number)
            continue
        if len(made.ids) > max_seq_len:
            places["cut"].append(number)
            if made.trained[max_seq_len:].any():
                places["cut_answers"].append(number)
        elif loss_on != "all" and not all(span.ended for span in made.spans):
            places["unended"].append(number)
        ids.append(made.ids[:max_seq_len])
        trained.append(made.trained[:max_seq_len])
        numbers.append(number)
        keys.append(prompt_key(example))
    starts = np.concatenate([[0], np.cumsum([len(x) for x in ids])]).astype(np.int64)
    return EncodedExamples(np.concatenate(ids) if ids else np.zeros(0, np.uint32), np.concatenate(trained) if ids else np.zeros(0, bool),
                           starts, np.array(numbers, np.int64), np.array(keys, np.uint64),
                           LeftOut(**counted(places), refusal=refusal, refused_at=places["refused"][0] if refusal else -1))


def counted(places: dict[str, list[int]]) -> dict[str, Any]:
    """The fields of a LeftOut: how many there are of each kind, and the first few places."""
    return {**{name: len(found) for name, found in places.items()},
            "places": {name: tuple(found[:PLACES]) for name, found in places.items()}}


def prompt_key(example: Example) -> int:
    """A hash of the words of what was asked (all turns that are not the assistant's; system prompts, capitals, punctuation and white space
    aside), 64 bits. It knows nothing of the example's id or answer."""
    asked = " ".join(m.content for m in example.messages if m.role not in ("assistant", "system"))
    words = re.findall(r"\w+", asked.casefold()) or [m.content for m in example.messages]
    return int.from_bytes(hashlib.sha256(" ".join(words).encode("utf-8", "surrogatepass")).digest()[:8], "big")


def held_out(keys: np.ndarray, percent: float) -> np.ndarray:
    """bool: what is held out for validation, by the hashes of prompts (uint64) alone: what has one prompt is on one side, and the same set
    is split alike in every run. With a percentage above 0 and more than one prompt, neither side is empty."""
    if percent <= 0 or not len(keys):
        return np.zeros(len(keys), bool)
    held = keys < np.uint64(min(percent / 100, 1.0) * (2**64 - 1))
    if held.all():
        held &= keys != keys.max()
    if not held.any() and keys.min() != keys.max():
        held = keys == keys.min()
    return held


# ------------------------------------------------------------------------------------------------------------------ batches


@dataclass(frozen=True)
class ExampleBatch(Batch):
    """`real` tokens are those of examples: `tokens` counts no padding."""

    real: int = 0

    @property
    def tokens(self) -> int:
        return self.real


def example_loss(runner: Any, batch: Batch) -> torch.Tensor:
    """Summed cross entropy of a batch's targets: the `loss` of the Trainer. `runner` is a Decoder, or its compiled or DDP form."""
    assert batch.documents is not None
    return runner(batch.tokens_BT, targets_BT=batch.targets_BT, reduction="sum", document_lengths=batch.documents,
                  positions=batch.documents.positions_BT)


class ExampleRows(Epochs):
    """The batch source of fine-tuning: `batches(step, micro_batch_size)` gives this rank's micro batches of a step.

    batch_size        examples of a step: on average (packed), or exactly
    micro_batch_size  rows at once (packed), or examples at once
    replay            documents of pretraining: `replay_documents` of them in each step, cut at `max_seq_len` tokens; `begin` goes before
                      one that does not start with it
    fixed_shapes      pad rows to `max_seq_len`, so that every batch has the same shape (torch.compile); packed only
    """

    def __init__(self, examples: EncodedExamples, *, max_seq_len: int, batch_size: int, seed: int, pad: int, packing: bool = True,
                 replay: ReplaySplit | None = None, replay_documents: int = 0, begin: int | None = None, fixed_shapes: bool = False,
                 rank: int = 0, world_size: int = 1) -> None:
        super().__init__()
        if not len(examples):
            raise InputError(tr("There is nothing to train on: no example is left."),
                             tr("Choose other instruction data, a longer context, or another template."), code="no_examples")
        assert batch_size > 0 and int(examples.lengths().max()) <= max_seq_len
        self.examples, self.max_seq_len, self.batch_size, self.seed, self.pad = examples, max_seq_len, batch_size, seed, pad
        self.packing, self.fixed_shapes, self.rank, self.world_size = packing, fixed_shapes and packing, rank, world_size
        self.replay, self.begin = replay, begin
        self.replay_documents = replay_documents if replay is not None and replay.documents else 0
        self._positions = examples.lengths() - 1
        self._most = max(1, batch_size // world_size)
        self._digest = examples.digest
        if self.replay_documents:
            assert replay is not None
            draw = np.random.default_rng([seed, 13])
            self._first = int(draw.integers(replay.documents))
            self._stride = int(draw.integers(1, replay.documents + 1))
            while math.gcd(self._stride, replay.documents) != 1:
                self._stride += 1

    @property
    def state(self) -> dict[str, Any]:
        """What must be equal for a step number to mean the same examples; kept in checkpoints."""
        return {"examples": len(self.examples), "digest": self._digest, "max_seq_len": self.max_seq_len, "batch_size": self.batch_size,
                "packing": self.packing, "seed": self.seed, "row_examples": self._most if self.packing else 0,
                "replay_documents": self.replay_documents, "replay_tokens": int(self.replay.tokens) if self.replay_documents else 0,
                "begin": self.begin}

    def keep_shape(self, wanted: bool) -> None:
        """Pad rows from here on, or no more; what they hold stays the same."""
        self.fixed_shapes = wanted and self.packing

    @property
    def steps_per_epoch(self) -> float:
        return float(self._packed_steps) if self.packing else len(self.examples) / self.batch_size

    @property
    def tokens_per_step(self) -> float:
        """Tokens of a step on average, replayed ones not counted."""
        return self.examples.tokens / self.steps_per_epoch

    def batches(self, step: int, micro_batch_size: int) -> list[Batch]:
        """This rank's micro batches. A rank with nothing to do gets a row of padding, so that all ranks take part in the step."""
        rows = self.rows(step)[self.rank::self.world_size]
        if not rows:
            return [self._batch([()])]
        if self.packing:
            return [self._batch(rows[at:at + micro_batch_size]) for at in range(0, len(rows), micro_batch_size)]
        return [self._batch([tuple(i for row in rows[at:at + micro_batch_size] for i in row)])
                for at in range(0, len(rows), micro_batch_size)]

    def rows(self, step: int) -> list[tuple[int, ...]]:
        """What a step trains on, over all ranks: numbers of examples row by row (of natural lengths: one a row, longest first); replayed
        document d is -1 - d."""
        documents = [-1 - d for d in self._documents(step)]
        if not self.packing:
            numbers = [*self._numbers(step), *documents]
            return [(i,) for i in sorted(numbers, key=lambda i: (-self._length(i), i))]
        epoch, place = divmod(step, self._packed_steps)
        rows = self._packed(epoch)
        made = rows[place * len(rows) // self._packed_steps:(place + 1) * len(rows) // self._packed_steps]
        if documents:
            made = made + pack(documents, [self._length(i) for i in documents], self.max_seq_len, len(documents))
        return made

    # ---- which

    @property
    def _packed_steps(self) -> int:
        return -(-len(self.examples) // self.batch_size)

    def _numbers(self, step: int) -> Iterator[int]:
        for at in range(step * self.batch_size, (step + 1) * self.batch_size):
            epoch, place = divmod(at, len(self.examples))
            yield int(self._epoch(epoch)[place])

    def _epoch(self, epoch: int) -> np.ndarray:
        return self._kept(epoch, lambda: np.random.default_rng([self.seed, 11, epoch]).permutation(len(self.examples)))

    def _packed(self, epoch: int) -> list[tuple[int, ...]]:
        def make() -> list[tuple[int, ...]]:
            draw = np.random.default_rng([self.seed, 12, epoch])
            order = draw.permutation(len(self.examples))
            rows: list[tuple[int, ...]] = []
            for at in range(0, len(order), WINDOW):
                window = order[at:at + WINDOW]
                made = pack(window.tolist(), self._positions[window].tolist(), self.max_seq_len, self._most)
                rows += [made[i] for i in draw.permutation(len(made))]
            return rows
        return self._kept(epoch, make)

    def _documents(self, step: int) -> list[int]:
        if not self.replay_documents:
            return []
        assert self.replay is not None
        first = step * self.replay_documents
        return [(self._first + n * self._stride) % self.replay.documents for n in range(first, first + self.replay_documents)]

    # ---- what is in it

    def item(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """(ids, trained) of an example, or of a replayed document (a negative number)."""
        if number >= 0:
            return self.examples.example(number)
        assert self.replay is not None
        ids = self.replay.document(-1 - number)[:self.max_seq_len]
        if self.begin is not None and (not len(ids) or int(ids[0]) != self.begin):
            ids = np.concatenate([[self.begin], ids[:self.max_seq_len - 1]])
        trained = np.ones(len(ids), bool)
        trained[:1] = False
        return ids, trained

    def _length(self, number: int) -> int:
        """Positions that an example or a document takes."""
        return int(self._positions[number]) if number >= 0 else max(0, len(self.item(number)[0]) - 1)

    def _batch(self, rows: Sequence[Sequence[int]]) -> ExampleBatch:
        items = [[self.item(number) for number in row] for row in rows]
        return batch_of(items, self.pad, self.max_seq_len if self.fixed_shapes else None)


def batch_of(rows: Sequence[Sequence[tuple[np.ndarray, np.ndarray]]], pad: int, width: int | None = None) -> ExampleBatch:
    """Rows of (ids, trained) as one batch, as wide as its longest row or `width`."""
    longest = max(sum(max(0, len(ids) - 1) for ids, _ in row) for row in rows)
    size = width or max(1, longest)
    assert longest <= size
    tokens = np.full((len(rows), size), pad, dtype=np.int64)
    targets = np.full((len(rows), size), IGNORED, dtype=np.int64)
    lengths, weight, real = [], 0, 0
    for b, row in enumerate(rows):
        at = 0
        for ids, trained in row:
            count = len(ids) - 1
            if count < 1:
                continue
            tokens[b, at:at + count] = ids[:-1]
            targets[b, at:at + count] = np.where(trained[1:], ids[1:].astype(np.int64), IGNORED)
            weight += int(trained[1:].sum())
            real += len(ids)
            at += count
        lengths.append([len(ids) - 1 for ids, _ in row if len(ids) > 1])
    return ExampleBatch(torch.from_numpy(tokens), torch.from_numpy(targets), Documents.of(lengths, size), float(weight), real)


def pack(numbers: Sequence[int], lengths: Sequence[int], room: int, most: int) -> list[tuple[int, ...]]:
    """Best fit, longest first: rows of at most `room` positions and `most` entries, each entry whole and in one row."""
    rows: list[list[int]] = []
    open_rows: list[tuple[int, int]] = []  # (room left, row), sorted
    for i in sorted(range(len(numbers)), key=lambda i: -lengths[i]):
        place = bisect.bisect_left(open_rows, (lengths[i], -1))
        if place < len(open_rows):
            left, row = open_rows.pop(place)
        else:
            left, row = room, len(rows)
            rows.append([])
        rows[row].append(numbers[i])
        if len(rows[row]) < most and left > lengths[i]:
            bisect.insort(open_rows, (left - lengths[i], row))
    return [tuple(row) for row in rows]


# ------------------------------------------------------------------------------------------------------------------ evaluation


@dataclass(frozen=True)
class ExampleLoss:
    """`nats` over `tokens` targets of `examples` conversations."""

    nats: float
    tokens: int
    examples: int

    @property
    def per_token(self) -> float:
        return self.nats / max(1, self.tokens)


class ExampleEvaluation:
    """Loss on held-out examples: the mean over trained tokens. At most `most` of them, evenly spread over the lengths."""

    def __init__(self, examples: EncodedExamples, *, batch_tokens: int = 4096, most: int = 2048) -> None:
        self.examples, self.batch_tokens = examples, batch_tokens
        order = np.argsort(-examples.lengths(), kind="stable")
        if len(order) > most:
            order = order[np.arange(most) * len(order) // most]
        self.order = order

    def measure(self, model: Decoder, ranks: Ranks) -> ExampleLoss:
        """Ranks share the examples. The model comes back in the mode it was in."""
        was_training = model.training
        model.eval()
        nats, tokens, examples = 0.0, 0, 0
        with torch.no_grad():
            for some in batched(self.examples.lengths(), self.order[ranks.rank::ranks.world_size].tolist(), self.batch_tokens):
                batch = batch_of([[self.examples.example(i) for i in some]], 0).to(model.device)
                nats, tokens, examples = nats + example_loss(model, batch).item(), tokens + int(batch.weight), examples + len(some)
        model.train(was_training)
        nats, tokens, examples = ranks.sum(nats, tokens, examples)
        return ExampleLoss(nats, int(tokens), int(examples))
