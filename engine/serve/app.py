"""The HTTP side: routes, who may ask, streaming. It never computes: jobs go to the engine thread, pieces come back. No torch.

    GET    /health                     state of the server; no token needed
    GET    /v1/models[/ID]             every checkpoint of the project
    POST   /v1/completions             continue a text
    POST   /v1/chat/completions        answer a conversation
    DELETE /v1/completions/ID, /v1/chat/completions/ID   stop an answer under way (closing its connection does the same)

Checked on every request: the Host header (against DNS rebinding), the Origin header (against web pages), the bearer token.
"""

import asyncio
import json
import logging
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from engine import __version__
from engine.contract.errors import FledgeError, NotFound, SettingError
from engine.contract.rows import Message
from engine.contract.words import tr
from engine.serve import replies
from engine.serve.catalogue import Catalogue
from engine.serve.engine import Engine
from engine.serve.jobs import Accepted, Broke, Conversation, Ended, Ids, Job, Piece, Settings, Text, Wrote
from engine.serve.pieces import Token
from engine.serve.replies import Usage
from engine.serve.requests import ChatRequest, CompletionRequest, Request, parse

log = logging.getLogger("fledge.serve")

MAX_BODY = 16 * 2**20
MAX_JOBS = 256
COMPLETION_TOKENS = 16  # OpenAI's default of /v1/completions
LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


class Refused(FledgeError):
    """Who asks may not; `status` is the HTTP status."""

    code = "refused"

    def __init__(self, status: int, code: str, sentence: str, remedy: str) -> None:
        super().__init__(sentence, remedy, code=code)
        self.status = status


class Guard:
    """Lets in requests that name this server as host, come from no foreign web page, and know the token."""

    def __init__(self, app: ASGIApp, token: str, port: Callable[[], int]) -> None:
        self.app, self._token, self._port = app, token, port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            self._check(scope)
        except Refused as wrong:
            status, body = replies.error(wrong, wrong.status, "authentication_error" if wrong.status == 401 else "invalid_request_error")
            headers = {"WWW-Authenticate": "Bearer"} if wrong.status == 401 else None
            await JSONResponse(body, status, headers)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        name, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
        if name not in LOOPBACK or port != str(self._port()):
            raise Refused(403, "bad_host", tr("The host {host} is not this server.", host=host or '""'),
                          tr("Use http://127.0.0.1:{port}.", port=self._port()))
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).hostname not in ("127.0.0.1", "localhost", "::1"):
            raise Refused(403, "bad_origin", tr("Web pages from {origin} may not use this server.", origin=origin),
                          tr("Only pages of this machine may."))
        if not self._token or scope["path"] == "/health":
            return
        given = headers.get("authorization", "")
        if not secrets.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            raise Refused(401, "bad_token", tr("The token is missing or wrong."),
                          tr("Send the header Authorization: Bearer TOKEN; the token is in the file .server.json of the project."))


@dataclass(eq=False)
class Answer:
    """One request under way: its jobs, and the pieces that came back and wait to be sent."""

    id: str
    model: str
    request: Request
    jobs: list[Job]
    created: int = field(default_factory=lambda: int(time.time()))
    pieces: asyncio.Queue[tuple[Job, Piece]] = field(default_factory=asyncio.Queue)

    @property
    def chat(self) -> bool:
        return isinstance(self.request, ChatRequest)

    def cancel(self) -> None:
        for job in self.jobs:
            job.cancelled.set()

    async def batch(self) -> list[tuple[Job, Piece]]:
        """What there is, at least one: under load several tokens leave in one body."""
        out = [await self.pieces.get()]
        with suppress(asyncio.QueueEmpty):
            while True:
                out.append(self.pieces.get_nowait())
        return out


class Server:
    """The application and its state. `build()` gives the ASGI app."""

    def __init__(self, catalogue: Catalogue, engine: Engine, token: str, port: Callable[[], int]) -> None:
        self.catalogue, self.engine, self._token, self._port = catalogue, engine, token, port
        self.answers: dict[str, Answer] = {}
        self._started = time.time()

    def build(self) -> ASGIApp:
        routes = [
            Route("/health", self.health, methods=["GET"]),
            Route("/v1/models", self.models, methods=["GET"]),
            Route("/v1/models/{id:path}", self.model, methods=["GET"]),
            Route("/v1/completions", self.completions, methods=["POST"]),
            Route("/v1/chat/completions", self.chat_completions, methods=["POST"]),
            Route("/v1/completions/{id}", self.cancel, methods=["DELETE"]),
            Route("/v1/chat/completions/{id}", self.cancel, methods=["DELETE"]),
        ]
        handlers: dict[Any, Any] = {FledgeError: self._told, Exception: self._broken, 404: self._no_route, 405: self._no_method}
        app = Starlette(routes=routes, exception_handlers=handlers)
        return Guard(app, self._token, self._port)

    # -- what is asked -----------------------------------------------------------------------------------------------

    async def health(self, http: HttpRequest) -> Response:
        """state: loading, ready or failed. Numbers, no names: it needs no token."""
        status = self.engine.status()
        body = {"status": "ok" if status.state != "failed" else "error", "state": status.state, "version": __version__,
                "device": status.device, "models": len(status.loaded), "active": status.active, "waiting": status.waiting,
                "sharing": status.sharing, "memory": status.memory, "seconds": round(time.time() - self._started, 3)}
        if status.error is not None:
            body["error"] = replies.error(status.error)[1]["error"]
        return JSONResponse(body, 503 if status.state == "failed" else 200)

    async def models(self, http: HttpRequest) -> Response:
        loaded = self.engine.status().loaded
        listed = await run_in_threadpool(self.catalogue.list)
        return JSONResponse({"object": "list", "data": [m.body(m.ref.id in loaded) for m in listed]})

    async def model(self, http: HttpRequest) -> Response:
        found = await run_in_threadpool(self.catalogue.get, http.path_params["id"])
        return JSONResponse(found.body(found.ref.id in self.engine.status().loaded))

    async def completions(self, http: HttpRequest) -> Response:
        request = parse(CompletionRequest, await self._body(http))
        prompts: list[Text | Ids | Conversation] = [Text(p) if isinstance(p, str) else Ids(tuple(p)) for p in request.prompts()]
        if not prompts:
            raise SettingError(tr("prompt is empty."), tr("Give a text or token ids."), code="bad_parameter", field="prompt")
        return await self._answer(http, "cmpl-", request, prompts, request.max_tokens or COMPLETION_TOKENS)

    async def chat_completions(self, http: HttpRequest) -> Response:
        request = parse(ChatRequest, await self._body(http))
        turns = tuple(Message(role="system" if m.role == "developer" else m.role, content=m.text) for m in request.messages)
        return await self._answer(http, "chatcmpl-", request, [Conversation(turns)], request.max_completion_tokens or request.max_tokens)

    async def cancel(self, http: HttpRequest) -> Response:
        answer = self.answers.get(http.path_params["id"])
        if answer is None:
            raise NotFound(tr("There is no answer {id} under way.", id=http.path_params["id"]), tr("It may have ended."),
                           code="answer_not_found")
        answer.cancel()
        self.engine.wake()
        return JSONResponse({"id": answer.id, "object": "response.cancelled", "cancelled": True})

    # -- answering ---------------------------------------------------------------------------------------------------

    async def _answer(self, http: HttpRequest, prefix: str, request: Request, prompts: list[Text | Ids | Conversation],
                      max_tokens: int | None) -> Response:
        if len(prompts) * request.n > MAX_JOBS:
            raise SettingError(tr("{count} completions in one request are too many.", count=len(prompts) * request.n),
                               tr("Ask for at most {most}.", most=MAX_JOBS), code="bad_parameter", field="n")
        listed = await run_in_threadpool(self.catalogue.get, request.model)
        seed = request.seed_or_fresh()
        answer = Answer(prefix + uuid.uuid4().hex, request.model, request, [])
        for row, prompt in enumerate(prompts):
            for copy in range(request.n):
                settings = Settings(request.temperature, request.top_k, request.top_p, request.repetition_penalty, (seed + copy) % 2**31,
                                    max_tokens, tuple(request.stop), request.choices_wanted)
                answer.jobs.append(Job(answer.id, row * request.n + copy, listed, prompt, settings))
        self.answers[answer.id] = answer
        self.engine.submit(answer.jobs)
        kept = False
        try:
            left = _Left(http)
            try:
                first = await left.unless_gone(self._accepted(answer))
                if not request.stream:
                    return JSONResponse(await left.unless_gone(self._whole(answer, first, seed)))
            except ClientDisconnect:
                return Response(status_code=499)
            finally:
                left.close()
            kept = True
            return StreamingResponse(self._stream(answer, first, seed), media_type="text/event-stream",
                                     headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        finally:
            if not kept:
                self._drop(answer)

    async def _accepted(self, answer: Answer) -> dict[Job, int]:
        """Prompt tokens of each job, once all are accepted; the first failure is raised (and becomes the HTTP status)."""
        counts: dict[Job, int] = {}
        while len(counts) < len(answer.jobs):
            job, piece = await answer.pieces.get()
            if isinstance(piece, Broke):
                raise piece.error
            assert isinstance(piece, Accepted), piece
            counts[job] = piece.prompt_tokens
        return counts

    async def _whole(self, answer: Answer, first: dict[Job, int], seed: int) -> dict[str, Any]:
        tokens: dict[Job, list[Token]] = {job: [] for job in answer.jobs}
        ends: dict[Job, Ended] = {}
        while len(ends) < len(answer.jobs):
            job, piece = await answer.pieces.get()
            if isinstance(piece, Broke):
                raise piece.error
            if isinstance(piece, Wrote):
                tokens[job].extend(piece.tokens)
            elif isinstance(piece, Ended):
                ends[job] = piece
        choices = [self._choice(answer, job, tokens[job], 0, ends[job], whole=True) for job in answer.jobs]
        make = replies.chat if answer.chat else replies.completion
        return make(answer.id, answer.created, answer.model, choices, _usage(answer, first, ends), **_own(ends, seed))

    async def _stream(self, answer: Answer, first: dict[Job, int], seed: int) -> AsyncIterator[bytes]:
        """Server-sent events. When the client goes, the iterator is closed and the slots are freed."""
        offsets = dict.fromkeys(answer.jobs, 0)
        ends: dict[Job, Ended] = {}
        try:
            if answer.chat:
                yield self._event(answer, [{"index": job.index, "delta": {"role": "assistant", "content": ""}, "logprobs": None,
                                            "finish_reason": None} for job in answer.jobs])
            while len(ends) < len(answer.jobs):
                written: dict[Job, list[Token]] = {}
                for job, piece in await answer.batch():
                    if isinstance(piece, Broke):
                        yield _sse(replies.error(piece.error)[1])
                        return
                    if isinstance(piece, Wrote):
                        written.setdefault(job, []).extend(piece.tokens)
                    elif isinstance(piece, Ended):
                        ends[job] = piece
                choices = []
                for job in answer.jobs:
                    if job in written:
                        choices.append(self._choice(answer, job, written[job], offsets[job], None))
                        offsets[job] += sum(len(t.text) for t in written[job])
                if choices:
                    yield self._event(answer, choices)
                over = [job for job in ends if job in offsets]
                if over:
                    yield self._event(answer, [self._choice(answer, job, [], offsets.pop(job), ends[job]) for job in over],
                                      **(_own(ends, seed) if len(ends) == len(answer.jobs) else {}))
            if answer.request.include_usage:
                yield self._event(answer, [], _usage(answer, first, ends))
            yield b"data: [DONE]\n\n"
        finally:
            self._drop(answer)

    def _event(self, answer: Answer, choices: list[dict[str, Any]], usage: Usage | None = None, **own: Any) -> bytes:
        if answer.chat:
            return _sse(replies.chat(answer.id, answer.created, answer.model, choices, usage, chunk=True, **own))
        return _sse(replies.completion(answer.id, answer.created, answer.model, choices, usage, **own))

    def _choice(self, answer: Answer, job: Job, tokens: list[Token], offset: int, end: Ended | None, whole: bool = False) -> dict[str, Any]:
        text = "".join(t.text for t in tokens)
        wanted = answer.request.choices_wanted
        reason = None if end is None else "length" if end.reason == "context" else "stop" if end.reason == "cancelled" else end.reason
        told: Any = None
        if wanted >= 0 and (tokens or whole):
            told = {"content": replies.content(tokens, wanted), "refusal": None} if answer.chat else \
                replies.completion_logprobs(tokens, wanted, offset)
        made: dict[str, Any] = {"index": job.index, "logprobs": told, "finish_reason": reason}
        if not answer.chat:
            made["text"] = text
        elif whole:
            made["message"] = {"role": "assistant", "content": text, "refusal": None}
        else:
            made["delta"] = {"content": text} if text or tokens else {}
        return made

    def _drop(self, answer: Answer) -> None:
        self.answers.pop(answer.id, None)
        answer.cancel()
        self.engine.wake()

    def deliver(self, batch: list[tuple[Job, Piece]]) -> None:
        """Called on the event loop by the engine thread, once a step."""
        for job, piece in batch:
            answer = self.answers.get(job.answer)
            if answer is not None:
                answer.pieces.put_nowait((job, piece))

    # -- errors ------------------------------------------------------------------------------------------------------

    async def _body(self, http: HttpRequest) -> bytes:
        data = bytearray()
        async for chunk in http.stream():
            data += chunk
            if len(data) > MAX_BODY:
                raise Refused(413, "too_large", tr("The request is longer than {most} MB.", most=MAX_BODY // 2**20),
                              tr("Send less text at once."))
        return bytes(data)

    async def _told(self, http: HttpRequest, wrong: Exception) -> Response:
        assert isinstance(wrong, FledgeError)
        status, body = replies.error(wrong, getattr(wrong, "status", None))
        return JSONResponse(body, status)

    async def _broken(self, http: HttpRequest, wrong: Exception) -> Response:
        log.error("a request failed", exc_info=wrong)
        status, body = replies.internal()
        return JSONResponse(body, status)

    async def _no_route(self, http: HttpRequest, wrong: Exception) -> Response:
        return await self._told(http, NotFound(tr("This server has no {path}.", path=http.url.path),
                                               tr("It has /v1/models, /v1/completions and /v1/chat/completions."), code="no_such_path"))

    async def _no_method(self, http: HttpRequest, wrong: Exception) -> Response:
        sentence = tr("{path} does not take {method}.", path=http.url.path, method=http.method)
        return await self._told(http, Refused(405, "bad_method", sentence, tr("Ask with GET for lists, with POST for text.")))


class _Left:
    """Notices a client that goes away while its answer is still being made."""

    def __init__(self, http: HttpRequest) -> None:
        self._gone = asyncio.ensure_future(self._watch(http))

    @staticmethod
    async def _watch(http: HttpRequest) -> None:
        while (await http.receive())["type"] != "http.disconnect":
            pass

    async def unless_gone(self, work: Any) -> Any:
        working = asyncio.ensure_future(work)
        try:
            await asyncio.wait([working, self._gone], return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise ClientDisconnect
            return working.result()
        finally:
            working.cancel()

    def close(self) -> None:
        self._gone.cancel()


def _sse(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n\n"


def _usage(answer: Answer, first: dict[Job, int], ends: dict[Job, Ended]) -> Usage:
    """A prompt counts once however many completions of it were asked for."""
    n = answer.request.n
    return Usage(sum(first[job] for job in answer.jobs if job.index % n == 0), sum(e.completion_tokens for e in ends.values()))


def _own(ends: dict[Job, Ended], seed: int) -> dict[str, Any]:
    by_index = sorted(ends.items(), key=lambda item: item[0].index)
    return {"seed": seed, "stopped_by": [e.reason for _, e in by_index], "completion_tokens": [e.completion_tokens for _, e in by_index],
            "seconds": [round(e.seconds, 4) for _, e in by_index]}
