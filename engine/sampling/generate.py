"""Completions for a list of prompts, in one call. For requests that come and go see slots.py.

Prompts are read in order of length, equal ones once, at most `max_rows` completions are under way at a time, and a row that finishes makes
room for the next. What a row says depends on its prompt, its settings and its seed only, not on the rows beside it (in float32; in bfloat16
rounding may differ with the batch).
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.model.decoder import Decoder
from engine.sampling.batch import Choice, Row, RowBatch, check_prompt
from engine.sampling.sampling import Sampling, Uniforms


@dataclass(frozen=True)
class Completion:
    """`ids` without the prompt; with the stop id, if one ended it. See Choice for the two kinds of log-probabilities (nats, one an id).
    finish_reason: "stop", "length", or "cancelled" (the caller asked to end)."""

    ids: list[int]
    logprobs: list[float]
    sampling_logprobs: list[float]
    finish_reason: str


def generate(model: Decoder, prompts: Sequence[Sequence[int]], sampling: Sampling, *, num_generations: int = 1,
             seeds: Sequence[int] | None = None, max_new_tokens: Sequence[int] | None = None, max_rows: int = 64, logprobs: bool = True,
             on_step: Callable[[list[Choice]], bool | None] | None = None) -> list[Completion]:
    """`num_generations` completions of each prompt, those of a prompt side by side: completion j of prompt i is at i * num_generations + j.

    seeds           one a completion; else each is drawn from `sampling.seed` and its place in the result
    max_new_tokens  one a completion, instead of the one in `sampling`
    logprobs        False leaves them empty, and greedy decoding skips the softmax
    on_step         called with the choices of each step (Choice.row.tag is the place in the result); True ends everything
    A completion also ends ("length") where the model's context does. Raises InputError for prompts the model cannot read, NonFinite.
    """
    assert num_generations >= 1 and max_rows >= 1
    total = len(prompts) * num_generations
    assert seeds is None or len(seeds) == total, (len(seeds), total)
    assert max_new_tokens is None or len(max_new_tokens) == total, (len(max_new_tokens), total)
    rows = []
    known: dict[tuple[int, ...], list[int]] = {}  # equal prompts become one object, which is read once
    for i, prompt in enumerate(prompts):
        check_prompt(model, prompt)
        same = tuple(int(x) for x in prompt)
        ids = known.setdefault(same, list(same))
        for j in range(num_generations):
            place = i * num_generations + j
            wanted = max_new_tokens[place] if max_new_tokens is not None else sampling.max_new_tokens
            assert wanted >= 1, wanted
            uniforms = Uniforms(sampling.seed, place) if seeds is None else Uniforms(seeds[place])
            rows.append(Row(place, ids, sampling, uniforms, min(wanted, model.config.max_seq_len - len(ids))))
    first = {id(ids): place for place, ids in enumerate(known.values())}
    waiting = deque(sorted(rows, key=lambda row: (len(row.prompt), -first[id(row.prompt)]), reverse=True))
    drawn: list[list[float]] = [[] for _ in rows]
    plain: list[list[float]] = [[] for _ in rows]
    reasons = ["cancelled"] * total
    trained, was = model, model.training
    trained.eval()
    try:
        columns = max((len(row.prompt) for row in rows), default=0) + 64
        batch = RowBatch(model, rows=min(max_rows, total), columns=min(columns, model.config.max_seq_len), logprobs=logprobs)
        while waiting or batch.rows:
            room = max_rows - len(batch.rows)
            if waiting and (room == max_rows or room >= max(1, max_rows // 8) or room >= len(waiting)):
                batch.admit([waiting.popleft() for _ in range(min(room, len(waiting)))])
            choices = batch.step()
            for choice in choices:
                place = choice.row.tag
                if logprobs:
                    plain[place].append(choice.logprob)
                    drawn[place].append(choice.sampling_logprob)
                if choice.finish_reason:
                    reasons[place] = choice.finish_reason
            if on_step is not None and on_step(choices):
                break
    finally:
        trained.train(was)
    return [Completion(row.ids, plain[i], drawn[i], reasons[i]) for i, row in enumerate(rows)]
