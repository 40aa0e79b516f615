"""What programs made for Ollama may ask. No torch.

    GET  /api/version, /api/tags, /api/ps     the version, every checkpoint of the project, those in memory
    POST /api/show                            one of them
    POST /api/chat, /api/generate             answer a conversation, continue a text; newline-delimited JSON unless `stream` is false
    POST /api/embed, /api/embeddings          texts as vectors
Models are named by their ids, with `:latest` or without. A model that was not tuned to chat continues the prompt of /api/generate as it
stands, as base models do in Ollama. Over-long prompts are refused with the numbers, where Ollama cuts them silently. What makes, fetches or
removes models is refused: that is the window's and the command line's.
"""

import hashlib
import secrets
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from engine import __version__
from engine.contract.errors import FledgeError, SettingError
from engine.contract.rows import Message
from engine.contract.words import tr
from engine.project import files, layout
from engine.sampling.grammar import grammar_of
from engine.serve import replies
from engine.serve.answers import Answer, Desk, Outcomes, check_count
from engine.serve.catalogue import Listed
from engine.serve.guard import Refused
from engine.serve.jobs import Continued, Conversation, Ended, Ids, Job, Prompt, Settings, Text
from engine.serve.ollama_requests import (
    LATEST,
    ChatAsked,
    EmbedAsked,
    GenerateAsked,
    Lasting,
    Named,
    Options,
    Turn,
    Writing,
)
from engine.serve.openai_api import MAX_TEXTS, check_dimensions, shortened
from engine.serve.pieces import Token
from engine.serve.requests import M, checked, read
from engine.text.tokenizer import Tokenizer

SPOKEN_VERSION = "0.6.4"  # of Ollama's API: clients compare it with the one that brought what they need
NOT_HERE = ("/api/pull", "/api/push", "/api/create", "/api/copy", "/api/delete", "/api/blobs/{digest}")


class Ollama:
    """The routes, over a desk."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def routes(self) -> list[Route]:
        return [
            Route("/api/version", self.version, methods=["GET"]),
            Route("/api/tags", self.tags, methods=["GET"]),
            Route("/api/ps", self.ps, methods=["GET"]),
            Route("/api/show", self.show, methods=["POST"]),
            Route("/api/chat", self.chat, methods=["POST"]),
            Route("/api/generate", self.generate, methods=["POST"]),
            Route("/api/embed", self.embed, methods=["POST"]),
            Route("/api/embeddings", self.embeddings, methods=["POST"]),
            *(Route(path, self.not_here, methods=["GET", "POST", "DELETE"]) for path in NOT_HERE),
        ]

    # -- what there is -----------------------------------------------------------------------------------------------

    async def version(self, http: HttpRequest) -> Response:
        return JSONResponse({"version": SPOKEN_VERSION, "fledge": __version__})

    async def tags(self, http: HttpRequest) -> Response:
        listed = await self.desk.models()
        return JSONResponse({"models": await run_in_threadpool(lambda: [_tag(m) for m in listed])})

    async def ps(self, http: HttpRequest) -> Response:
        models = []
        for held in self.desk.engine.status().models:
            ends = min(held.leaves, time.time() + 100 * 365 * 86400)
            models.append({**await run_in_threadpool(_tag, held.listed), "size": held.nbytes,
                           "size_vram": held.nbytes if held.accelerated else 0, "expires_at": _moment(ends),
                           "context_length": held.listed.config.max_seq_len})
        return JSONResponse({"models": models})

    async def show(self, http: HttpRequest) -> Response:
        listed = await self.desk.find((await self._asked(http, Named)).id)
        return JSONResponse(await run_in_threadpool(_shown, listed))

    async def not_here(self, http: HttpRequest) -> Response:
        raise Refused(501, "not_here", tr("This server makes, fetches and removes no models."),
                      tr("Use the window or the command fledge for that."))

    # -- text --------------------------------------------------------------------------------------------------------

    async def chat(self, http: HttpRequest) -> Response:
        asked = await self._asked(http, ChatAsked)
        asked.refuse("tools")
        for turn in asked.messages:
            _refuse_images(turn)
        listed = await self.desk.find(asked.id)
        if not asked.messages:
            return await self._load(http, asked, listed, chat=True)
        prompt = Conversation(tuple(Message(role=t.role, content=t.content) for t in asked.messages))
        return await self._answer(http, asked, listed, prompt, chat=True)

    async def generate(self, http: HttpRequest) -> Response:
        asked = await self._asked(http, GenerateAsked)
        asked.refuse("suffix", "template", "images")
        listed = await self.desk.find(asked.id)
        if not asked.prompt and not asked.context:
            return await self._load(http, asked, listed, chat=False)
        prompt: Prompt
        if listed.ref.chat and not asked.raw:
            system = (Message(role="system", content=asked.system),) if asked.system else ()
            prompt = Conversation((*system, Message(role="user", content=asked.prompt)))
        else:
            prompt = Text(f"{asked.system}\n\n{asked.prompt}" if asked.system and not asked.raw else asked.prompt)
        if asked.context:
            prompt = Continued(tuple(asked.context), prompt) if asked.prompt else Ids(tuple(asked.context))
        return await self._answer(http, asked, listed, prompt, chat=False)

    async def _answer(self, http: HttpRequest, asked: Writing, listed: Listed, prompt: Prompt, chat: bool) -> Response:
        options = _options(asked)
        schema = asked.schema_wanted
        grammar = await run_in_threadpool(grammar_of, schema) if schema is not None else ""
        seed = secrets.randbelow(2**31) if options.seed is None else options.seed % 2**31
        settings = Settings(options.temperature, options.top_k, options.top_p, options.penalty, seed,
                            options.num_predict if options.num_predict > 0 else None, tuple(s for s in options.stop if s),
                            asked.choices_wanted, options.num_ctx, grammar)
        answer = Answer("ollama-" + uuid.uuid4().hex, asked.model or asked.name)
        answer.jobs = [Job(answer.id, 0, listed, prompt, settings, keep=asked.keep)]
        shown = _Shown(answer, chat, asked.choices_wanted, with_context=isinstance(asked, GenerateAsked) and not asked.raw)
        return await self.desk.respond(http, answer, shown.whole, shown.stream if asked.streams else None, "application/x-ndjson")

    async def _load(self, http: HttpRequest, asked: Lasting, listed: Listed, chat: bool) -> Response:
        """Nothing to answer: the model is loaded, or with `keep_alive` 0 let go."""
        answer = Answer("ollama-" + uuid.uuid4().hex, asked.model or asked.name)
        answer.jobs = [Job(answer.id, 0, listed, Text(""), purpose="load", keep=asked.keep)]

        def whole(outcomes: Outcomes) -> dict[str, Any]:
            made: dict[str, Any] = {"model": answer.model, "created_at": _moment(time.time())}
            made |= {"message": {"role": "assistant", "content": ""}} if chat else {"response": ""}
            return made | {"done": True, "done_reason": outcomes[answer.jobs[0]].end.reason}
        return await self.desk.respond(http, answer, whole)

    # -- vectors -----------------------------------------------------------------------------------------------------

    async def embed(self, http: HttpRequest) -> Response:
        asked = await self._asked(http, EmbedAsked)
        texts = [asked.input] if isinstance(asked.input, str) else list(asked.input)
        vectors, answer = await self._vectors(http, asked, texts)
        if isinstance(vectors, Response):
            return vectors
        first = answer.accepted[answer.jobs[0]] if answer.jobs else None
        return JSONResponse({"model": answer.model, "embeddings": vectors, "total_duration": _nanoseconds(time.monotonic() - answer.began),
                             "load_duration": _nanoseconds(first.load_seconds if first else 0),
                             "prompt_eval_count": sum(a.prompt_tokens for a in answer.accepted.values())})

    async def embeddings(self, http: HttpRequest) -> Response:
        """The older form: one text, one vector."""
        asked = await self._asked(http, EmbedAsked)
        vectors, _ = await self._vectors(http, asked, [asked.prompt or ""])
        return vectors if isinstance(vectors, Response) else JSONResponse({"embedding": vectors[0]})

    async def _vectors(self, http: HttpRequest, asked: EmbedAsked, texts: list[str]) -> tuple[list[list[float]] | Response, Answer]:
        """A vector a text, of length 1; or the response when the client has left."""
        options = _options(asked)
        check_count(len(texts), "input", MAX_TEXTS)
        listed = await self.desk.find(asked.id)
        check_dimensions(asked.dimensions, listed.config.hidden_size)
        answer = Answer("ollama-" + uuid.uuid4().hex, asked.model or asked.name)
        settings = Settings(context=options.num_ctx)
        answer.jobs = [Job(answer.id, i, listed, Text(text), settings, "embed", asked.keep, truncate=asked.truncate is not False)
                       for i, text in enumerate(texts)]
        made: list[list[float]] = []

        def whole(outcomes: Outcomes) -> dict[str, Any]:
            for outcome in outcomes.values():
                assert outcome.vector is not None
                made.append(shortened(outcome.vector, asked.dimensions).tolist())
            return {}
        reply = await self.desk.respond(http, answer, whole)
        return (made if reply.status_code == 200 else reply), answer

    async def _asked(self, http: HttpRequest, kind: type[M]) -> M:
        return checked(kind, read(await self.desk.body(http)))


def _options(asked: Lasting) -> Options:
    made = checked(Options, asked.options or {}, "options")
    made.check_extra()
    return made


def _refuse_images(turn: Turn) -> None:
    for name in ("images", "tool_calls"):
        if getattr(turn, name):
            raise SettingError(tr("This server does not do {name}.", name=name), tr("Leave it out."), code="unsupported_parameter",
                               field="messages")


class _Shown:
    """The bodies of one answer."""

    def __init__(self, answer: Answer, chat: bool, wanted: int, with_context: bool) -> None:
        self.answer, self.chat, self.wanted, self.with_context = answer, chat, wanted, with_context
        self.ids: list[int] = []

    def whole(self, outcomes: Outcomes) -> dict[str, Any]:
        outcome = outcomes[self.answer.jobs[0]]
        return self._part(outcome.tokens, outcome.end)

    async def stream(self) -> AsyncIterator[bytes]:
        """Newline-delimited JSON."""
        job = self.answer.jobs[0]
        try:
            async for written, ended in self.answer.steps():
                if job in written:
                    yield _line(self._part(written[job], None))
                if job in ended:
                    yield _line(self._part([], ended[job]))
        except FledgeError as wrong:
            yield _line({"error": str(wrong)})

    def _part(self, tokens: list[Token], end: Ended | None) -> dict[str, Any]:
        self.ids += [t.id for t in tokens if t.id >= 0]
        text = "".join(t.text for t in tokens)
        made: dict[str, Any] = {"model": self.answer.model, "created_at": _moment(time.time())}
        made |= {"message": {"role": "assistant", "content": text}} if self.chat else {"response": text}
        made["done"] = end is not None
        if self.wanted >= 0 and tokens:
            made["logprobs"] = [{k: entry[k] for k in ("token", "logprob", "bytes", "top_logprobs")}
                                for entry in replies.content(tokens, self.wanted)]
        if end is not None:
            accepted = self.answer.accepted[self.answer.jobs[0]]
            made |= {"done_reason": "length" if end.reason in ("length", "context") else "stop",
                     "total_duration": _nanoseconds(time.monotonic() - self.answer.began),
                     "load_duration": _nanoseconds(accepted.load_seconds), "prompt_eval_count": end.prompt_tokens,
                     "prompt_eval_duration": _nanoseconds(end.prompt_seconds), "eval_count": end.completion_tokens,
                     "eval_duration": _nanoseconds(end.seconds - end.prompt_seconds)}
            if self.with_context:
                made["context"] = [*accepted.ids, *self.ids]
        return made


def _tag(listed: Listed) -> dict[str, Any]:
    """One entry of /api/tags; reads the manifest."""
    name, manifest = listed.ref.id + LATEST, listed.ref.folder / layout.MANIFEST
    try:
        digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    except OSError:  # it has just been deleted
        digest = hashlib.sha256(name.encode()).hexdigest()
    held = files.read_json(manifest, {}).get("files", {})
    return {"name": name, "model": name, "modified_at": _moment(listed.ref.created), "digest": digest,
            "size": sum(int(entry.get("size", 0)) for entry in held.values() if isinstance(entry, dict)), "details": _details(listed)}


def _details(listed: Listed) -> dict[str, Any]:
    family = listed.config.shape
    return {"parent_model": "", "format": "safetensors", "family": family, "families": [family],
            "parameter_size": _short_count(listed.config.parameters), "quantization_level": "F32"}


def _shown(listed: Listed) -> dict[str, Any]:
    """The body of /api/show."""
    config, family = listed.config, listed.config.shape
    words = Tokenizer.load(listed.ref.folder)
    ends = [name for name, id in words.special.items() if id in (words.eos_id, words.end_id)]
    return {
        "license": str(listed.ref.facts.get("licence", "")), "modelfile": f"# {listed.ref.title}\nFROM {listed.ref.id}\n",
        "parameters": "\n".join([f"num_ctx {config.max_seq_len}", *(f'stop "{name}"' for name in ends)]),
        "template": words.chat_template, "details": _details(listed), "modified_at": _moment(listed.ref.created),
        "capabilities": ["completion"],
        "model_info": {
            "general.architecture": family, "general.basename": listed.ref.title, "general.parameter_count": config.parameters,
            f"{family}.context_length": config.max_seq_len, f"{family}.embedding_length": config.hidden_size,
            f"{family}.block_count": config.num_layers, f"{family}.feed_forward_length": config.intermediate_size,
            f"{family}.attention.head_count": config.num_heads, f"{family}.attention.head_count_kv": config.num_kv_heads,
            f"{family}.vocab_size": config.vocab_size}}


def _short_count(count: int) -> str:
    """Parameters as Ollama writes them: 7.6B, 10.2M, 38.40K."""
    for size, sign, places in ((1e9, "B", 1), (1e6, "M", 1), (1e3, "K", 2)):
        if count >= size:
            return f"{count / size:.{places}f}{sign}"
    return str(count)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _nanoseconds(seconds: float) -> int:
    return max(0, round(seconds * 1e9))


def _line(body: dict[str, Any]) -> bytes:
    return orjson.dumps(body) + b"\n"
