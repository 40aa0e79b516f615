"""Requests that come and go while others are being answered (continuous batching): the engine of the local server. No network, no threads.

The caller owns the loop: `add` at any time between steps, `step` for one token of every request, `remove` when a client has left.
"""

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from engine.model.decoder import Decoder
from engine.sampling.batch import Row, RowBatch, check_prompt
from engine.sampling.sampling import Sampling, Uniforms


@dataclass(frozen=True)
class Token:
    """One token of a request. `logprob`, `top` and `rank` (1: the likeliest) are the model's own: softmax(logits) whatever the temperature,
    nothing cut away; `sampling_logprob` is under the distribution it was drawn from. finish_reason: "" (goes on), "stop" (this is the stop
    id), "length"."""

    request: Hashable
    id: int
    logprob: float
    sampling_logprob: float
    top: tuple[tuple[int, float], ...]
    finish_reason: str
    rank: int = 0


class SlotEngine:
    """At most `slots` requests are under way; more wait in order of arrival. A request's tokens do not depend on who is beside it."""

    def __init__(self, model: Decoder, *, slots: int = 32) -> None:
        assert slots >= 1
        self.model, self.slots = model.eval(), slots
        self._waiting: deque[Row] = deque()
        self._batch = RowBatch(model, rows=min(slots, 4), own=True)

    def add(self, request: Hashable, prompt: Sequence[int], sampling: Sampling, *, alternatives: int = 5) -> None:
        """A new request; its first token comes with the next step that has a free slot. Raises InputError for a prompt the model cannot
        read. `alternatives` likeliest tokens are reported beside each choice."""
        assert request not in self.requests, f"{request!r} is under way already"
        check_prompt(self.model, prompt)
        ids = [int(x) for x in prompt]
        limit = min(sampling.max_new_tokens, self.model.config.max_seq_len - len(ids))
        self._waiting.append(Row(request, ids, sampling, Uniforms(sampling.seed), limit, alternatives))

    def step(self) -> list[Token]:
        """One token for every request under way; [] when there is none. After a token with a finish_reason its request is gone.
        Raises NonFinite."""
        free = self.slots - len(self._batch.rows)
        if self._waiting and free:
            self._batch.admit([self._waiting.popleft() for _ in range(min(free, len(self._waiting)))])
        return [Token(c.row.tag, c.id, c.logprob, c.sampling_logprob, c.top, c.finish_reason, c.rank) for c in self._batch.step()]

    def remove(self, request: Hashable) -> bool:
        """Forget a request and free its slot; False if there was none."""
        before = len(self._waiting)
        self._waiting = deque(row for row in self._waiting if row.tag != request)
        return len(self._waiting) < before or self._batch.remove(request)

    @property
    def requests(self) -> list[Hashable]:
        """Under way first, then those that wait."""
        return [row.tag for row in self._batch.rows] + [row.tag for row in self._waiting]

    @property
    def active(self) -> int:
        return len(self._batch.rows)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def nbytes(self) -> int:
        """Bytes of the KV cache."""
        return self._batch.cache.nbytes
