"""What programs made for OpenAI's API may ask. No torch.

    GET  /v1/models[/ID]          every checkpoint of the project
    POST /v1/completions          continue a text
    POST /v1/chat/completions     answer a conversation
    POST /v1/embeddings           texts as vectors: the mean of the last hidden states. The models are not trained for retrieval
    DELETE /v1/completions/ID, /v1/chat/completions/ID   stop an answer under way (closing its connection does the same)
"""

import base64
import uuid
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from engine.contract.errors import FledgeError, NotFound, SettingError
from engine.contract.rows import Message
from engine.contract.words import tr
from engine.sampling.grammar import grammar_of
from engine.serve import replies
from engine.serve.answers import Answer, Desk, Outcomes, check_count
from engine.serve.jobs import Conversation, Ended, Ids, Job, Settings, Text
from engine.serve.pieces import Token
from engine.serve.replies import Usage
from engine.serve.requests import ChatMessage, ChatRequest, CompletionRequest, EmbeddingRequest, Request, parse, several

COMPLETION_TOKENS = 16  # OpenAI's default of /v1/completions
MAX_TEXTS = 2048


class OpenAI:
    """The routes, over a desk."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def routes(self) -> list[Route]:
        return [
            Route("/v1/models", self.models, methods=["GET"]),
            Route("/v1/models/{id:path}", self.model, methods=["GET"]),
            Route("/v1/completions", self.completions, methods=["POST"]),
            Route("/v1/chat/completions", self.chat_completions, methods=["POST"]),
            Route("/v1/embeddings", self.embeddings, methods=["POST"]),
            Route("/v1/completions/{id}", self.cancel, methods=["DELETE"]),
            Route("/v1/chat/completions/{id}", self.cancel, methods=["DELETE"]),
        ]

    async def models(self, http: HttpRequest) -> Response:
        loaded = self.desk.engine.status().loaded
        return JSONResponse({"object": "list", "data": [m.body(m.ref.id in loaded) for m in await self.desk.models()]})

    async def model(self, http: HttpRequest) -> Response:
        found = await self.desk.find(http.path_params["id"])
        return JSONResponse(found.body(found.ref.id in self.desk.engine.status().loaded))

    async def completions(self, http: HttpRequest) -> Response:
        request = parse(CompletionRequest, await self.desk.body(http))
        prompts = [Text(p) if isinstance(p, str) else Ids(tuple(p)) for p in request.prompts()]
        if request.max_tokens == 0 and not request.echo:
            raise SettingError(tr("{name} cannot be {value}.", name="max_tokens", value=0), tr("The least is {low}.", low=1),
                               code="bad_parameter", field="max_tokens")
        if not prompts:
            raise SettingError(tr("prompt is empty."), tr("Give a text or token ids."), code="bad_parameter", field="prompt")
        wish = COMPLETION_TOKENS if request.max_tokens is None else request.max_tokens
        return await self._answer(http, "cmpl-", request, prompts, wish, request.echo)

    async def chat_completions(self, http: HttpRequest) -> Response:
        request = parse(ChatRequest, await self.desk.body(http))
        return await self._answer(http, "chatcmpl-", request, [Conversation(turns(request.messages))],
                                  request.max_completion_tokens or request.max_tokens)

    async def embeddings(self, http: HttpRequest) -> Response:
        request = parse(EmbeddingRequest, await self.desk.body(http))
        texts = [Text(p) if isinstance(p, str) else Ids(tuple(p)) for p in several(request.input)]
        check_count(len(texts), "input", MAX_TEXTS)
        listed = await self.desk.find(request.model)
        check_dimensions(request.dimensions, listed.config.hidden_size)
        answer = Answer("embd-" + uuid.uuid4().hex, request.model)
        answer.jobs = [Job(answer.id, i, listed, text, purpose="embed") for i, text in enumerate(texts)]

        def whole(outcomes: Outcomes) -> dict[str, Any]:
            data = []
            for job, outcome in outcomes.items():
                assert outcome.vector is not None
                vector = shortened(outcome.vector, request.dimensions)
                told: Any = vector.tolist()
                if request.encoding_format == "base64":
                    told = base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
                data.append({"object": "embedding", "index": job.index, "embedding": told})
            count = sum(a.prompt_tokens for a in answer.accepted.values())
            return {"object": "list", "data": data, "model": request.model, "usage": {"prompt_tokens": count, "total_tokens": count}}
        return await self.desk.respond(http, answer, whole)

    async def cancel(self, http: HttpRequest) -> Response:
        answer = self.desk.answers.get(http.path_params["id"])
        if answer is None:
            raise NotFound(tr("There is no answer {id} under way.", id=http.path_params["id"]), tr("It may have ended."),
                           code="answer_not_found")
        answer.cancel()
        self.desk.engine.wake()
        return JSONResponse({"id": answer.id, "object": "response.cancelled", "cancelled": True})

    async def _answer(self, http: HttpRequest, prefix: str, request: Request, prompts: list[Any], max_tokens: int | None,
                      echo: bool = False) -> Response:
        if len(prompts) * request.n > 1:
            check_count(len(prompts) * request.n, "n")
        schema = request.response_format.wanted if request.response_format is not None else None
        grammar = await run_in_threadpool(grammar_of, schema) if schema is not None else ""
        listed = await self.desk.find(request.model)
        seed = request.seed_or_fresh()
        answer = Answer(prefix + uuid.uuid4().hex, request.model)
        for row, prompt in enumerate(prompts):
            for copy in range(request.n):
                settings = Settings(request.temperature, request.top_k, request.top_p, request.repetition_penalty, (seed + copy) % 2**31,
                                    max_tokens, tuple(request.stop), request.choices_wanted, grammar=grammar, echo=echo)
                answer.jobs.append(Job(answer.id, row * request.n + copy, listed, prompt, settings))
        shown = _Shown(answer, request, seed)
        return await self.desk.respond(http, answer, shown.whole, shown.stream if request.stream else None, "text/event-stream")


class _Shown:
    """The bodies of one completion or chat answer."""

    def __init__(self, answer: Answer, request: Request, seed: int) -> None:
        self.answer, self.request, self.seed = answer, request, seed
        self.chat = isinstance(request, ChatRequest)
        self.ends: dict[Job, Ended] = {}

    def whole(self, outcomes: Outcomes) -> dict[str, Any]:
        self.ends = {job: outcome.end for job, outcome in outcomes.items()}
        choices = [self._choice(job, outcome.tokens, 0, outcome.end, whole=True) for job, outcome in outcomes.items()]
        make = replies.chat if self.chat else replies.completion
        return make(self.answer.id, self.answer.created, self.answer.model, choices, self._usage(), **self._own())

    async def stream(self) -> AsyncIterator[bytes]:
        """Server-sent events."""
        answer = self.answer
        offsets = dict.fromkeys(answer.jobs, 0)
        if self.chat:
            yield self._event([{"index": job.index, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
                               for job in answer.jobs])
        try:
            async for written, ended in answer.steps():
                self.ends |= ended
                choices = []
                for job in answer.jobs if written else ():
                    if job in written:
                        choices.append(self._choice(job, written[job], offsets[job], None))
                        offsets[job] += sum(len(t.text) for t in written[job])
                if choices:
                    yield self._event(choices)
                if ended:
                    yield self._event([self._choice(job, [], offsets[job], end) for job, end in ended.items()],
                                      **(self._own() if len(self.ends) == len(answer.jobs) else {}))
        except FledgeError as wrong:
            yield _sse(replies.error(wrong)[1])
            return
        if self.request.include_usage:
            yield self._event([], self._usage())
        yield b"data: [DONE]\n\n"

    def _event(self, choices: list[dict[str, Any]], usage: Usage | None = None, **own: Any) -> bytes:
        answer = self.answer
        if self.chat:
            return _sse(replies.chat(answer.id, answer.created, answer.model, choices, usage, chunk=True, **own))
        return _sse(replies.completion(answer.id, answer.created, answer.model, choices, usage, **own))

    def _choice(self, job: Job, tokens: list[Token], offset: int, end: Ended | None, whole: bool = False) -> dict[str, Any]:
        text = "".join(t.text for t in tokens)
        wanted = self.request.choices_wanted
        reason = None if end is None else "length" if end.reason == "context" else "stop" if end.reason == "cancelled" else end.reason
        told: Any = None
        if wanted >= 0 and (tokens or whole):
            told = {"content": replies.content(tokens, wanted), "refusal": None} if self.chat else \
                replies.completion_logprobs(tokens, wanted, offset)
        made: dict[str, Any] = {"index": job.index, "logprobs": told, "finish_reason": reason}
        if not self.chat:
            made["text"] = text
        elif whole:
            made["message"] = {"role": "assistant", "content": text, "refusal": None}
        else:
            made["delta"] = {"content": text} if text or tokens else {}
        return made

    def _usage(self) -> Usage:
        """A prompt counts once however many completions of it were asked for."""
        accepted = self.answer.accepted
        return Usage(sum(accepted[job].prompt_tokens for job in self.answer.jobs if job.index % self.request.n == 0),
                     sum(e.completion_tokens for e in self.ends.values()))

    def _own(self) -> dict[str, Any]:
        by_index = [end for _, end in sorted(self.ends.items(), key=lambda item: item[0].index)]
        return {"seed": self.seed, "stopped_by": [e.reason for e in by_index], "completion_tokens": [e.completion_tokens for e in by_index],
                "seconds": [round(e.seconds, 4) for e in by_index]}


def turns(messages: list[ChatMessage]) -> tuple[Message, ...]:
    """A conversation as the chat template takes it."""
    return tuple(Message(role="system" if m.role == "developer" else m.role, content=m.text) for m in messages)


def check_dimensions(wanted: int | None, most: int) -> None:
    if wanted is not None and wanted > most:
        raise SettingError(tr("{name} cannot be {value}.", name="dimensions", value=f"{wanted:,}"),
                           tr("This model's vectors have {most} numbers.", most=f"{most:,}"), code="bad_parameter", field="dimensions")


def shortened(vector_C: np.ndarray, dimensions: int | None) -> np.ndarray:
    """The first `dimensions` numbers, of length 1 again."""
    if dimensions is None or dimensions >= len(vector_C):
        return vector_C
    kept = vector_C[:dimensions]
    return kept / max(float(np.linalg.norm(kept)), 1e-12)


def _sse(body: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"
