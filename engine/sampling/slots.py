"""Requests that come and go while others are being answered (continuous batching): the engine of the local server. No network, no threads.

The caller owns the loop: `add` at any time between steps, `step` for one token of every request, `remove` when a client has left. Prompts
are read between the steps, a limited number of tokens each time, so that a long one does not hold up those who are being answered.
"""

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from engine.model.decoder import Decoder
from engine.sampling.batch import Constraint, Partial, Row, RowBatch, check_prompt
from engine.sampling.sampling import Sampling, Uniforms

FEW = 4  # rows that the cache keeps while nobody is being answered
CHUNK = 256
ALONE = 2048  # tokens of prompts read at a time while nobody is being answered


@dataclass(frozen=True)
class Token:
    """One token of a request. `logprob`, `top` and `rank` (1: the likeliest) are the model's own: softmax(logits) whatever the temperature,
    nothing cut away; `sampling_logprob` is under the distribution it was drawn from. finish_reason: "" (goes on), "stop" (this is the stop
    id), "complete", "length", "constraint" (see batch.Choice)."""

    request: Hashable
    id: int
    logprob: float
    sampling_logprob: float
    top: tuple[tuple[int, float], ...]
    finish_reason: str
    rank: int = 0


class SlotEngine:
    """At most `slots` requests are under way; more wait in order of arrival. A request's tokens do not depend on who is beside it.

    chunk  tokens of prompts read in a step while others are being answered
    """

    def __init__(self, model: Decoder, *, slots: int = 32, chunk: int = CHUNK) -> None:
        assert slots >= 1 and chunk >= 1
        self.model, self.slots, self.chunk = model.eval(), slots, chunk
        self.prompt_tokens = 0
        """Tokens of prompts read so far: a prompt that several requests share counts once."""
        self._waiting: deque[Row] = deque()
        self._partial: Partial | None = None
        self._batch = RowBatch(model, rows=min(slots, FEW), own=True)

    def add(self, request: Hashable, prompt: Sequence[int], sampling: Sampling, *, alternatives: int = 5,
            constraint: Constraint | None = None) -> None:
        """A new request; its first token comes with the step that has a free slot and has read the prompt. Raises InputError for a prompt
        the model cannot read. `alternatives` likeliest tokens are reported beside each choice. Requests that follow one another with equal
        prompts share the reading of it."""
        assert request not in self.requests, f"{request!r} is under way already"
        check_prompt(self.model, prompt)
        ids: Sequence[int] = [int(x) for x in prompt]
        if self._waiting and self._waiting[-1].prompt == ids:
            ids = self._waiting[-1].prompt
        limit = min(sampling.max_new_tokens, self.model.config.max_seq_len - len(ids))
        self._waiting.append(Row(request, ids, sampling, Uniforms(sampling.seed), limit, alternatives, constraint))

    def step(self) -> list[Token]:
        """One token for every request under way, once the next prompts have been read, or a piece of one. [] when nobody is under way yet.
        After a token with a finish_reason its request is gone. Raises NonFinite."""
        self._read(self.chunk if self._batch.rows else max(self.chunk, ALONE))
        made = [Token(c.row.tag, c.id, c.logprob, c.sampling_logprob, c.top, c.finish_reason, c.rank) for c in self._batch.step()]
        if made and not self._batch.rows:
            self._batch.cache.trim(FEW)
        return made

    def _read(self, budget: int) -> None:
        """Up to `budget` tokens of prompts, in order of arrival. One that is longer is read over several steps, alone."""
        if self._partial is not None:
            spent = min(budget, self._partial.rest)
            self.prompt_tokens += spent
            if not self._batch.read(self._partial, budget):
                return
            self._partial = None
            budget -= spent
        free = self.slots - len(self._batch.rows)
        taken: list[Row] = []
        prompts = longest = 0
        while self._waiting and len(taken) < free:
            row = self._waiting[0]
            another = not taken or taken[-1].prompt is not row.prompt
            if another and max(longest, len(row.prompt)) * (prompts + 1) > budget:
                break
            prompts, longest = prompts + another, max(longest, len(row.prompt))
            self.prompt_tokens += len(row.prompt) if another else 0
            taken.append(self._waiting.popleft())
        if taken:
            self._batch.admit(taken)
        elif self._waiting and free and budget > 0:
            first = self._waiting[0].prompt
            while self._waiting and len(taken) < free and self._waiting[0].prompt is first:
                taken.append(self._waiting.popleft())
            self._partial = self._batch.begin(taken)
            self._read(budget)

    def remove(self, request: Hashable) -> bool:
        """Forget a request and free its slot; False if there was none."""
        before = len(self._waiting)
        self._waiting = deque(row for row in self._waiting if row.tag != request)
        if len(self._waiting) < before:
            return True
        if self._partial is not None and any(row.tag == request for row in self._partial.rows):
            self._partial.rows = [row for row in self._partial.rows if row.tag != request]
            if not self._partial.rows:
                self._partial = None
            return True
        return self._batch.remove(request)

    @property
    def requests(self) -> list[Hashable]:
        """Under way first, then those that wait."""
        return [row.tag for row in (*self._batch.rows, *(self._partial.rows if self._partial else ()), *self._waiting)]

    @property
    def active(self) -> int:
        return len(self._batch.rows) + (len(self._partial.rows) if self._partial else 0)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def nbytes(self) -> int:
        """Bytes of the KV caches."""
        return self._batch.cache.nbytes + (self._partial.cache.nbytes if self._partial else 0)
