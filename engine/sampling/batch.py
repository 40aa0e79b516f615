"""Rows that are being completed together: the core under `generate` and the slot engine. Admit prompts, step, rows leave when done.

Each step is one token for every row, whatever their lengths. A finished row's place is taken by the last row, so that the batch is always
dense. Prompts that are the same object of several rows are computed once. A long prompt can be read piece by piece between the steps of
the others (`begin`, `read`). A row may be held to a grammar (`Constraint`). The model is never changed; weights are read where they are.

Shapes: B rows, T tokens, C hidden size, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from engine.contract.errors import InputError
from engine.contract.words import tr
from engine.model.decoder import Decoder
from engine.model.kv_cache import KVCache
from engine.sampling.sampling import (
    Sampling,
    Uniforms,
    apply_temperature,
    draw,
    keep_top_k,
    keep_top_p,
    likeliest,
    penalize_repetition,
    seen_mask,
)

PREFILL_TOKENS = 4096


class Constraint(Protocol):
    """What a row may write next: grammar.py has the one of JSON. `error` is set, and stays, once it cannot tell any more."""

    error: str

    def allowed(self) -> np.ndarray:
        """bool_V: the tokens that may come next, at least one."""
        ...

    def accept(self, id: int) -> bool:
        """Take note of a token that was chosen; True when nothing can follow it."""
        ...


@dataclass
class Row:
    """One completion on its way. `tag` is the caller's name for it; `alternatives` how many likeliest tokens to report."""

    tag: Any
    prompt: Sequence[int]
    sampling: Sampling
    uniforms: Uniforms
    limit: int
    alternatives: int = 0
    constraint: Constraint | None = None
    ids: list[int] = field(default_factory=list)


@dataclass
class Partial:
    """Rows whose common prompt is being read piece by piece, in a cache of its own: `done` tokens so far."""

    rows: list[Row]
    cache: KVCache
    done: int = 0

    @property
    def rest(self) -> int:
        return len(self.rows[0].prompt) - self.done


@dataclass(frozen=True)
class Choice:
    """A token that was chosen for a row.

    logprob           under softmax(logits / temperature), nothing cut away (temperature 1 for greedy rows): what a trainer computes
    sampling_logprob  under the distribution it was drawn from: after penalty, top-k and top-p (0 for greedy rows)
    top               likeliest tokens and their probabilities under the first of these
    rank              place of the token among all by the model's own probabilities, 1 for the likeliest; 0 unless asked for (`own`)
    finish_reason     "stop" (a stop id, which this is), "complete" (the row's constraint allows nothing after this token), "length",
                      "constraint" (the constraint failed; see its `error`), or "" for not finished
    """

    row: Row
    id: int
    logprob: float
    sampling_logprob: float
    top: tuple[tuple[int, float], ...]
    finish_reason: str
    rank: int = 0


def check_prompt(model: Decoder, prompt: Sequence[int]) -> None:
    """Raises InputError for a prompt that is empty, too long, or of another tokenizer."""
    config = model.config
    if not len(prompt):
        raise InputError(tr("The prompt is empty."), tr("Begin with at least one token, say the tokenizer's begin-of-text token."),
                         code="prompt_empty")
    if len(prompt) >= config.max_seq_len:
        raise InputError(tr("The prompt has {tokens} tokens; the model reads at most {limit} and needs room to answer.",
                            tokens=f"{len(prompt):,}", limit=f"{config.max_seq_len:,}"), tr("Shorten the prompt."), code="prompt_too_long")
    if min(prompt) < 0 or max(prompt) >= config.vocab_size:
        raise InputError(tr("The prompt holds token {id}; the model has {vocab} tokens.", id=max(prompt), vocab=f"{config.vocab_size:,}"),
                         tr("Use the tokenizer that the model was trained with."), code="prompt_tokens")


class RowBatch:
    """`admit` rows, `step` until `rows` is empty. `logprobs` False saves the softmax over the vocabulary where nobody wants it.

    `own` reports `logprob`, `top` and `rank` at temperature 1 whatever the rows sample at: what the model itself thinks, comparable across
    settings.
    """

    def __init__(self, model: Decoder, *, rows: int = 1, columns: int = 0, logprobs: bool = True, own: bool = False) -> None:
        self.model, self.logprobs, self.own = model, logprobs, own
        self.dtype = model.compute_dtype or model.embed.weight.dtype
        self.cache = KVCache(model.config, rows, columns, dtype=self.dtype, device=model.device)
        self.rows: list[Row] = []
        self._hidden_BC = torch.empty(0, model.config.hidden_size, dtype=self.dtype, device=model.device)
        self._last: list[int] = []  # tokens chosen but not read by the model yet; rows admitted since have their hidden state already
        self._seen_BV: Tensor | None = None
        self._settings: _Settings | None = None

    @torch.inference_mode()
    def admit(self, rows: Sequence[Row]) -> None:
        """Read the prompts of new rows. Rows with the very same prompt object, side by side, share the work."""
        groups: list[list[Row]] = []
        for row in rows:
            if groups and groups[-1][0].prompt is row.prompt:
                groups[-1].append(row)
            else:
                groups.append([row])
        start = 0
        while start < len(groups):
            stop, longest = start, 0
            while stop < len(groups):
                widest = max(longest, len(groups[stop][0].prompt))
                if stop > start and widest * (stop + 1 - start) > PREFILL_TOKENS:
                    break
                longest, stop = widest, stop + 1
            self._prefill(groups[start:stop], longest)
            start = stop
        self._settings = None

    def _prefill(self, groups: list[list[Row]], longest: int) -> None:
        lengths = [len(group[0].prompt) for group in groups]
        tokens_BT = torch.zeros(len(groups), longest, dtype=torch.long)
        for i, group in enumerate(groups):
            tokens_BT[i, : lengths[i]] = torch.as_tensor(group[0].prompt)
        firsts = self.cache.add_rows(len(groups))
        hidden_BTC = self.model(tokens_BT.to(self.model.device), cache=self.cache.plan(longest, firsts.start, firsts.stop))
        self.cache.set_lengths(firsts, lengths)
        last = torch.tensor(lengths, device=self.model.device) - 1
        self._join(groups, hidden_BTC[torch.arange(len(groups), device=self.model.device), last], firsts)

    @torch.inference_mode()
    def begin(self, rows: Sequence[Row]) -> Partial:
        """New rows with one and the same prompt, to be read by `read`."""
        assert all(row.prompt is rows[0].prompt for row in rows)
        cache = KVCache(self.model.config, 1, len(rows[0].prompt), dtype=self.dtype, device=self.model.device)
        cache.add_rows(1)
        return Partial(list(rows), cache)

    @torch.inference_mode()
    def read(self, partial: Partial, tokens: int) -> bool:
        """Up to `tokens` more of the prompt; True when it was the last piece, and the rows are under way."""
        prompt = partial.rows[0].prompt
        piece_1T = torch.as_tensor([prompt[partial.done : partial.done + tokens]])
        hidden_1TC = self.model(piece_1T.to(self.model.device), cache=partial.cache.plan(piece_1T.shape[1]))
        partial.done += piece_1T.shape[1]
        if partial.done < len(prompt):
            return False
        first = self.cache.add_rows(1)
        self.cache.adopt(partial.cache, 0, first.start)
        self._join([partial.rows], hidden_1TC[:, -1], first)
        self._settings = None
        return True

    def _join(self, groups: list[list[Row]], hidden_BC: Tensor, firsts: range) -> None:
        """Rows whose prompts have been read, one row of each group in the cache: the others of the group are copies."""
        index = list(range(len(groups)))
        self.rows.extend(group[0] for group in groups)
        for i, group in enumerate(groups):
            copies = self.cache.add_rows(len(group) - 1)
            self.cache.copy_row(firsts.start + i, copies)
            self.rows.extend(group[1:])
            index += [i] * (len(group) - 1)
        self._hidden_BC = torch.cat((self._hidden_BC, hidden_BC[torch.tensor(index, device=self.model.device)]))
        if self._seen_BV is not None or any(row.sampling.repetition_penalty != 1 for group in groups for row in group):
            vocab = self.model.config.vocab_size
            have = self._seen_BV
            if have is None:
                have = torch.zeros(0, vocab, dtype=torch.bool, device=self.model.device)
            fresh = [seen_mask([*row.prompt, *row.ids], vocab, self.model.device) for row in self.rows[have.shape[0] :]]
            self._seen_BV = torch.cat((have, torch.stack(fresh)))

    @torch.inference_mode()
    def step(self) -> list[Choice]:
        """One more token for every row; rows that finish are gone afterwards. Raises NonFinite."""
        if not self.rows:
            return []
        model, waiting = self.model, len(self._last)
        if waiting:
            tokens_B1 = torch.tensor(self._last, device=model.device)[:, None]
            hidden_BC = model(tokens_B1, cache=self.cache.plan(1, 0, waiting))[:, 0]
            self._hidden_BC = hidden_BC if waiting == len(self.rows) else torch.cat((hidden_BC, self._hidden_BC[waiting:]))
        logits_BV = model.logits(self._hidden_BC).float()
        if self._settings is None:
            self._settings = _Settings([row.sampling for row in self.rows], model.device)
        ids, logprobs, sampling_logprobs, tops, ranks = self._choose(logits_BV, self._settings)
        self._last = ids
        choices, gone = [], []
        for i, (row, id) in enumerate(zip(self.rows, ids, strict=True)):
            row.ids.append(id)
            reason = ""
            if id in row.sampling.stop_ids:
                reason = "stop"
            elif row.constraint is not None and (row.constraint.accept(id) or row.constraint.error):
                reason = "constraint" if row.constraint.error else "complete"
            elif len(row.ids) >= row.limit:
                reason = "length"
            if reason:
                gone.append(i)
            choices.append(Choice(row, id, logprobs[i], sampling_logprobs[i], tops[i], reason, ranks[i]))
        if gone:
            self._remove(gone)
        return choices

    def _choose(self, logits_BV: Tensor, settings: "_Settings") -> tuple[list[int], list[float], list[float], list[Any], list[int]]:
        rows = self.rows
        none, ranks = [0.0] * len(rows), [0] * len(rows)
        tops: list[Any] = [()] * len(rows)
        plain_BV = None
        if self.logprobs or settings.alternatives(rows):
            plain_BV = (logits_BV if self.own else apply_temperature(logits_BV, settings.temperature)).log_softmax(-1)
            most = max(row.alternatives for row in rows)
            if most:
                best = plain_BV.topk(min(most, plain_BV.shape[-1]), -1)
                for i, (probabilities, ids) in enumerate(zip(best.values.exp().tolist(), best.indices.tolist(), strict=True)):
                    tops[i] = tuple(zip(ids, probabilities, strict=True))[: rows[i].alternatives]
        held = [i for i, row in enumerate(rows) if row.constraint is not None]
        if held:
            logits_BV = self._hold(logits_BV, held)
        if settings.penalty is not None:
            assert self._seen_BV is not None
            logits_BV = penalize_repetition(logits_BV, self._seen_BV, settings.penalty)
        if settings.all_greedy:
            ids_B = likeliest(logits_BV)
        else:
            logits_BV = apply_temperature(logits_BV, settings.temperature)
            if settings.top_k is not None:
                logits_BV = keep_top_k(logits_BV, settings.top_k)
            if settings.top_p is not None:
                logits_BV = keep_top_p(logits_BV, settings.top_p)
            uniforms_B = torch.tensor([row.uniforms.next() for row in rows], dtype=torch.float64)
            ids_B = draw(logits_BV, uniforms_B)
            if settings.greedy_B is not None:
                ids_B = torch.where(settings.greedy_B, logits_BV.argmax(-1), ids_B)
        if self._seen_BV is not None:
            self._seen_BV[torch.arange(len(rows), device=ids_B.device), ids_B] = True
        ids = ids_B.tolist()
        if not self.logprobs or plain_BV is None:
            return ids, none, none, tops, ranks
        logprobs_B = plain_BV.gather(-1, ids_B[:, None])[:, 0]
        logprobs = logprobs_B.tolist()
        if self.own:
            ranks = (1 + (plain_BV > logprobs_B[:, None]).sum(-1)).tolist()
        if settings.all_greedy:
            return ids, logprobs, none, tops, ranks
        if settings.untouched and not self.own and not held:
            return ids, logprobs, logprobs, tops, ranks
        drawn_B = (logits_BV.gather(-1, ids_B[:, None]) - logits_BV.logsumexp(-1, keepdim=True))[:, 0]
        if settings.greedy_B is not None:
            drawn_B = torch.where(settings.greedy_B, 0.0, drawn_B)
        return ids, logprobs, drawn_B.tolist(), tops, ranks

    def _hold(self, logits_BV: Tensor, held: list[int]) -> Tensor:
        """-inf for what the rows' constraints forbid."""
        masks = [constraint.allowed() for i in held if (constraint := self.rows[i].constraint) is not None]
        free_BV = torch.ones(logits_BV.shape, dtype=torch.bool)
        free_BV[held] = torch.from_numpy(np.stack(masks))
        return logits_BV.masked_fill(~free_BV.to(logits_BV.device), -torch.inf)

    @torch.inference_mode()
    def remove(self, tag: Any) -> bool:
        """Drop a row that nobody waits for any more; False if it is not there."""
        found = [i for i, row in enumerate(self.rows) if row.tag == tag]
        if found:
            self._remove(found)
        return bool(found)

    def _remove(self, gone: list[int]) -> None:
        """Rows admitted but not stepped yet stand at the end and must stay there: when an older row leaves, it is filled in two moves."""
        order = list(range(len(self.rows)))
        for i in sorted(gone, reverse=True):
            waiting = len(self._last)
            if i < waiting:
                self._move(order, i, waiting - 1)
                self._last.pop()
                i = waiting - 1
            self._move(order, i, len(self.rows) - 1)
            self.cache.remove_row(len(self.rows) - 1)
            self.rows.pop()
            order.pop()
        index = torch.tensor(order, dtype=torch.long, device=self.model.device)
        self._hidden_BC = self._hidden_BC[index]
        if self._seen_BV is not None:
            self._seen_BV = self._seen_BV[index]
        self._settings = None

    def _move(self, order: list[int], target: int, source: int) -> None:
        """Overwrite a row by another."""
        if target == source:
            return
        self.cache.copy_row(source, [target])
        self.rows[target], order[target] = self.rows[source], order[source]
        if source < len(self._last):
            self._last[target] = self._last[source]


class _Settings:
    """The rows' settings as columns, or one number where all agree; what nobody uses is None."""

    def __init__(self, samplings: list[Sampling], device: torch.device) -> None:
        def column(values: list[float], dtype: torch.dtype) -> Any:
            if len(set(values)) == 1:
                return values[0]
            return torch.tensor(values, dtype=dtype, device=device)[:, None]

        greedy = [s.greedy for s in samplings]
        self.all_greedy = all(greedy)
        self.greedy_B = torch.tensor(greedy, device=device) if any(greedy) and not self.all_greedy else None
        self.temperature = column([s.temperature for s in samplings], torch.float32)
        self.top_k = None if all(s.top_k == 0 for s in samplings) else column([s.top_k for s in samplings], torch.long)
        self.top_p = None if all(s.top_p == 1 for s in samplings) else column([s.top_p for s in samplings], torch.float32)
        self.penalty = None
        if any(s.repetition_penalty != 1 for s in samplings):
            self.penalty = column([s.repetition_penalty for s in samplings], torch.float32)
        self.untouched = self.top_k is None and self.top_p is None and self.penalty is None and self.greedy_B is None

    @staticmethod
    def alternatives(rows: list[Row]) -> bool:
        return any(row.alternatives for row in rows)
