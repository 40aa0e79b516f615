"""Log-probabilities of whole answers under a model, and how answers are laid out for it: what DPO and its relatives learn from. No losses,
no files.

A micro batch is one row without padding. Answers to one prompt share it: it stands once, and the answers behind it do not see each other
(engine/model/forks.py), so that a long prompt is computed once for both of a pair. Logits are made only where the next token belongs to an
answer. Where the device makes a mask of a whole row (`row` of engine/training/pair_rows.py), conversations are whole instead, packed into
several rows.

N answers, A tokens of all of them, B rows, T positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import nn

from engine.model.attention import Documents
from engine.model.decoder import Decoder
from engine.training.examples import pack


class Answers(Protocol):
    """What is needed of a batch: PairBatch (pair_rows.py) has it, and AnswerBatch. Places are those in the flattened rows; the token that
    follows places_A[a] is targets_A[a] and belongs to answer owner_A[a]."""

    @property
    def tokens_BT(self) -> torch.Tensor: ...

    @property
    def documents(self) -> Documents: ...

    @property
    def places_A(self) -> torch.Tensor: ...

    @property
    def targets_A(self) -> torch.Tensor: ...

    @property
    def owner_A(self) -> torch.Tensor: ...

    @property
    def answer_tokens_N(self) -> torch.Tensor: ...


def answer_logprobs(runner: nn.Module, batch: Answers) -> tuple[torch.Tensor, torch.Tensor]:
    """(sum_N, tokens_N), float32: the log-probability of each answer, with gradients, and how many tokens it has. `runner` is a Decoder, or
    its compiled or DDP form."""
    hidden_BTC = runner(batch.tokens_BT, document_lengths=batch.documents, positions=batch.documents.positions_BT)
    hidden_AC = hidden_BTC.flatten(0, 1).index_select(0, batch.places_A)
    logprobs_A = decoder_of(runner).logprobs(hidden_AC, batch.targets_A)
    tokens_N = batch.answer_tokens_N
    return torch.zeros_like(tokens_N).index_add(0, batch.owner_A, logprobs_A), tokens_N


def decoder_of(runner: nn.Module) -> Decoder:
    """The Decoder itself."""
    while not isinstance(runner, Decoder):
        runner = runner._orig_mod if hasattr(runner, "_orig_mod") else runner.module  # type: ignore[assignment]
    return runner


# ------------------------------------------------------------------------------------------------------------------ layout


@dataclass(frozen=True)
class Part:
    """Conversations that begin alike: `shared` ids, and what follows in each. Of conversation n the tokens from its place `begins[n]` on
    (at least 1) are its answer."""

    shared: np.ndarray
    endings: tuple[np.ndarray, ...]
    begins: tuple[int, ...]

    @property
    def tokens(self) -> int:
        return len(self.shared) + sum(len(ending) for ending in self.endings)

    def whole(self) -> "list[Part]":
        """The same conversations, sharing nothing."""
        return [Part(self.shared[:0], (np.concatenate([self.shared, ending]),), (begin,))
                for ending, begin in zip(self.endings, self.begins, strict=True)]


@dataclass(frozen=True)
class AnswerBatch:
    """See Answers. `tokens`: what the model reads for it, without padding."""

    tokens_BT: torch.Tensor
    documents: Documents
    places_A: torch.Tensor
    targets_A: torch.Tensor
    owner_A: torch.Tensor
    answer_tokens_N: torch.Tensor
    tokens: int

    def to(self, device: torch.device) -> "AnswerBatch":
        if device.type == "cpu":
            return self
        pin = device.type == "cuda"

        def move(x: torch.Tensor) -> torch.Tensor:
            return (x.pin_memory() if pin else x).to(device, non_blocking=pin)

        return replace(self, documents=self.documents.to(device), **{name: move(getattr(self, name)) for name in (
            "tokens_BT", "places_A", "targets_A", "owner_A", "answer_tokens_N")})


def lay(parts: Sequence[Part], *, row: int | None = None, pad: int = 0) -> AnswerBatch:
    """One batch; answers are numbered part by part, in each as its endings are. `row`: nothing is shared, and conversations are packed into
    rows of about so many positions. The last token of a conversation is only a target."""
    if row is not None:
        return _rows([one for part in parts for one in part.whole()], row, pad)
    tokens: list[np.ndarray] = []
    places: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    documents = []
    at = 0
    for part in parts:
        shared = len(part.shared)
        inner = [max(0, len(ending) - 1) for ending in part.endings]
        tokens += [part.shared, *(ending[:size] for ending, size in zip(part.endings, inner, strict=True))]
        documents.append((shared, inner))
        start = at + shared
        for ending, begin, size in zip(part.endings, part.begins, inner, strict=True):
            before = np.arange(begin - 1, shared + len(ending) - 1)  # in the conversation; the token behind each is learned
            places.append(np.where(before < shared, at + before, start + before - shared))
            targets.append(ending[begin - shared:] if begin >= shared else np.concatenate([part.shared[begin:], ending]))
            start += size
        at = start
    return _made(np.concatenate(tokens)[None], Documents.forked(documents), places, targets, at)


def _rows(parts: Sequence[Part], row: int, pad: int) -> AnswerBatch:
    sizes = [len(part.endings[0]) - 1 for part in parts]
    packed = pack(list(range(len(parts))), sizes, max(row, *sizes), len(parts))
    width = max(sum(sizes[n] for n in some) for some in packed)
    tokens = np.full((len(packed), width), pad, dtype=np.int64)
    places: list[np.ndarray] = [np.zeros(0, np.int64)] * len(parts)
    for b, some in enumerate(packed):
        at = 0
        for n in some:
            tokens[b, at:at + sizes[n]] = parts[n].endings[0][:-1]
            places[n] = b * width + at + np.arange(parts[n].begins[0] - 1, sizes[n])
            at += sizes[n]
    return _made(tokens, Documents.of([[sizes[n] for n in some] for some in packed], width), places,
                 [part.endings[0][part.begins[0]:] for part in parts], sum(sizes))


def _made(tokens_BT: np.ndarray, documents: Documents, places: Sequence[np.ndarray], targets: Sequence[np.ndarray],
          count: int) -> AnswerBatch:
    lengths = np.array([len(one) for one in targets], np.int64)
    return AnswerBatch(
        torch.from_numpy(tokens_BT.astype(np.int64)), documents, torch.from_numpy(np.concatenate(places).astype(np.int64)),
        torch.from_numpy(np.concatenate(targets).astype(np.int64)), torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths)),
        torch.from_numpy(lengths.astype(np.float32)), count)
