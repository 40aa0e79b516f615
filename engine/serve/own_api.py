"""What only Fledge's own stages and tools ask. No torch.

    POST /v1/score    log-probabilities of texts, or of completions after prompts: {"model", "input": [...], "kind", "tokens"};
                      with kind "reward" the rewards that a reward model gives to completions

Each input is a text, a list of token ids, or {"prompt" or "messages", "completion", "end"}. A text is read from the beginning of a
document, as in training: what stands before its first token is the begin token, where the tokenizer has one. Prompt and completion are
tokenized apart, so that the tokens scored are the same after every prompt. Sums are in nats, under the model's own distribution
(temperature 1).
"""

import math
import uuid
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from engine.contract.errors import SettingError
from engine.contract.rows import Message
from engine.contract.words import tr
from engine.serve import replies
from engine.serve.answers import Answer, Desk, Outcome, Outcomes, check_count
from engine.serve.jobs import Conversation, Ids, Job, Pair, Prompt, Text
from engine.serve.openai_api import turns
from engine.serve.requests import ScoreRequest, Scoring, parse

MAX_INPUTS = 4096


class Own:
    """The routes, over a desk."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def routes(self) -> list[Route]:
        return [Route("/v1/score", self.score, methods=["POST"])]

    async def score(self, http: HttpRequest) -> Response:
        request = parse(ScoreRequest, await self.desk.body(http))
        items = request.items()
        check_count(len(items), "input", MAX_INPUTS)
        answer = Answer("score-" + uuid.uuid4().hex, request.model)
        if request.kind == "reward":
            return await self._rewards(http, request, answer)
        listed = await self.desk.find(request.model)
        answer.jobs = [Job(answer.id, i, listed, _prompt(item, i), purpose="score") for i, item in enumerate(items)]

        def whole(outcomes: Outcomes) -> dict[str, Any]:
            count = sum(a.prompt_tokens for a in answer.accepted.values())
            return {"object": "list", "model": request.model, "kind": request.kind,
                    "data": [_told(job.index, outcome, request.tokens) for job, outcome in outcomes.items()],
                    "usage": {"prompt_tokens": count, "total_tokens": count}}
        return await self.desk.respond(http, answer, whole)

    async def _rewards(self, http: HttpRequest, request: ScoreRequest, answer: Answer) -> Response:
        """Answers scored by a reward model."""
        listed = await self.desk.find_reward(request.model)
        answer.jobs = [Job(answer.id, i, listed, _answered(item, i), purpose="reward") for i, item in enumerate(request.items())]

        def whole(outcomes: Outcomes) -> dict[str, Any]:
            count = sum(a.prompt_tokens for a in answer.accepted.values())
            data = [{"object": "score", "index": job.index, "reward": made.reward, "normalised": made.normalised}
                    for job, outcome in outcomes.items() if (made := outcome.reward)]
            return {"object": "list", "model": request.model, "kind": request.kind, "data": data,
                    "usage": {"prompt_tokens": count, "total_tokens": count}}
        return await self.desk.respond(http, answer, whole)


def _answered(item: str | list[int] | Scoring, place: int) -> Conversation:
    """A conversation that ends with the answer to be scored."""
    if not isinstance(item, Scoring) or not isinstance(item.completion, str) or isinstance(item.prompt, list) or (
            item.prompt is None) == (item.messages is None):
        raise SettingError(tr("input[{place}] needs messages (or a prompt) and a completion, as text.", place=place),
                           tr("Give both: a reward model scores an answer to something."), code="bad_parameter", field="input")
    before = turns(item.messages) if item.messages is not None else (Message(role="user", content=item.prompt or ""),)
    return Conversation((*before, Message(role="assistant", content=item.completion)))


def _prompt(item: str | list[int] | Scoring, place: int) -> Prompt:
    if isinstance(item, str):
        return Text(item)
    if isinstance(item, list):
        return Ids(tuple(item))
    if (item.prompt is None) == (item.messages is None):
        raise SettingError(tr("input[{place}] needs either a prompt or messages.", place=place), tr("Give one of the two."),
                           code="bad_parameter", field="input")
    before: Text | Ids | Conversation
    if item.messages is not None:
        before = Conversation(turns(item.messages))
    else:
        assert item.prompt is not None
        before = Text(item.prompt) if isinstance(item.prompt, str) else Ids(tuple(item.prompt))
    after = Text(item.completion) if isinstance(item.completion, str) else Ids(tuple(item.completion))
    return Pair(before, after, item.end)


def _told(index: int, outcome: Outcome, tokens: bool) -> dict[str, Any]:
    """`count` tokens have a log-probability, `bytes` is the length of their text; bits per byte where there is text."""
    known = [t.logprob for t in outcome.tokens if t.logprob is not None]
    total, size = math.fsum(known), sum(len(t.bytes) for t in outcome.tokens if t.logprob is not None)
    made: dict[str, Any] = {"object": "score", "index": index, "logprob": total, "count": len(known), "bytes": size,
                            "bits_per_byte": -total / math.log(2) / size if size else None}
    if tokens:
        made |= {"ids": [t.id for t in outcome.tokens], "token_logprobs": [replies.finite(t.logprob) for t in outcome.tokens],
                 "ranks": [t.rank for t in outcome.tokens], "text": [t.text for t in outcome.tokens]}
    return made
