"""Models of a server that speaks OpenAI's protocol: LM Studio, llama.cpp, vLLM, this project's own. `address` ends where /models and
/chat/completions begin, mostly with /v1.

What only some servers know (schemas, switching thinking off) is asked for, and left out for good once a server says that it does not know
it; the person is told, once.
"""

import threading
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from engine.contract.errors import FledgeError, Missing, NotFound
from engine.contract.events import Notice
from engine.contract.words import tr
from engine.generators import reach, refusals
from engine.generators.provider import Ask, LocalModel, Provider, Reply, Unavailable
from engine.generators.thinking import parted

ASK_SECONDS = 30.0
"""How long the list of models may take."""
_EXTRAS = {"response_format": ("response_format", "json_schema", "grammar", "structured", "guided"),
           "chat_template_kwargs": ("chat_template_kwargs", "enable_thinking"), "seed": ("seed",)}


@dataclass(eq=False)
class OpenAIProvider(Provider):
    """One model of one server. `unknown` are the fields it has refused."""

    unknown: set[str] = field(default_factory=set)
    _lines: reach.Lines = field(default_factory=reach.Lines, repr=False)
    _http: httpx.Client | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def title(self) -> str:
        return urlsplit(self.address).netloc or self.address

    def check(self) -> None:
        names = {m.name for m in self.models()}
        if names and self.model not in names:
            raise NotFound(tr("{place} has no model {model}.", place=self.title, model=self.model),
                           tr("It has: {known}.", known=", ".join(sorted(names)[:12])), code="no_model")

    def models(self) -> list[LocalModel]:
        try:
            said = self._client().get(f"{self.address}/models", timeout=min(ASK_SECONDS, self.timeout))
        except (httpx.HTTPError, RuntimeError) as wrong:
            raise self._missing(self._lost(wrong)) from wrong
        if said.status_code != 200:
            if said.status_code == 404:
                raise Missing(tr("{place} runs, and is no model server.", place=self.address),
                              tr("The address mostly ends with /v1: http://127.0.0.1:1234/v1."), code="no_server")
            raise self._refused(said)
        try:
            return [_model(one) for one in said.json()["data"]]
        except (ValueError, KeyError, TypeError, AttributeError) as wrong:
            raise Missing(tr("{place} runs, and is no model server.", place=self.address),
                          tr("The address mostly ends with /v1: http://127.0.0.1:1234/v1."), code="no_server") from wrong

    def ask(self, ask: Ask) -> Reply:
        began, body = time.monotonic(), self._body(ask)
        try:
            said = self._client().post(f"{self.address}/chat/completions", json=body)
        except (httpx.HTTPError, RuntimeError) as wrong:
            raise self._lost(wrong) from wrong
        if said.status_code in (400, 422) and self._learn(said.text, body):
            return self.ask(ask)
        if said.status_code != 200:
            raise self._refused(said)
        try:
            told = said.json()
            choice = told["choices"][0]
            message = choice["message"]
            content, beside = message.get("content") or "", message.get("reasoning_content") or message.get("reasoning") or ""
            if not isinstance(content, str) or not isinstance(beside, str):
                raise TypeError(type(content).__name__)
            usage = told.get("usage") or {}
            counts = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as wrong:
            raise refusals.of_form(self.title, f"{type(wrong).__name__}: {said.text[:80]}") from wrong
        text, thought = parted(content, beside, self.think)
        return Reply(text, *counts, "length" if choice.get("finish_reason") == "length" else "stop", thought, time.monotonic() - began,
                     self.name)

    def close(self) -> None:
        with self._lock:
            self._lines.cut()
            if self._http:
                self._http.close()
            self._http = None

    def headers(self) -> dict[str, str]:
        return reach.key_headers()

    def what_to_start(self) -> str:
        return tr("Start the server there (LM Studio: Developer, Start server; llama.cpp: llama-server), then try again.")

    def how_to_get(self) -> str:
        return tr("Load it in that server, or choose another model.")

    def _client(self) -> httpx.Client:
        with self._lock:
            if self._http is None:
                self._http = reach.client(self.timeout, self.headers(), self._lines)
            return self._http

    def _body(self, ask: Ask) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.model, "messages": [m.model_dump() for m in ask.messages], "temperature": ask.temperature,
                                "seed": ask.seed, "max_tokens": ask.max_tokens, "stream": False}
        if ask.stop:
            body["stop"] = list(ask.stop)
        if ask.top_p < 1:
            body["top_p"] = ask.top_p
        if ask.schema is not None:
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": ask.schema}}
        if self.think == "off":
            body["chat_template_kwargs"] = {"enable_thinking": False}
        return {k: v for k, v in body.items() if k not in self.unknown}

    def _learn(self, text: str, sent: dict[str, Any]) -> bool:
        """Whether the server refused a field of what was sent that can be left out; it is, from now on."""
        low = text.lower()
        for name, words in _EXTRAS.items():
            if name in sent and any(word in low for word in words):
                self.unknown.add(name)
                if name == "response_format":
                    self.say_once(Notice(level="warning", code="no_schemas", title=tr("{place} knows no schemas.", place=self.title),
                                         text=tr("The form of answers is asked for in words only: more of them will not fit.")))
                return True
        return False

    def _lost(self, wrong: Exception) -> Unavailable:
        return refusals.of_transport(wrong, self.title, self.what_to_start())

    def _refused(self, said: httpx.Response) -> FledgeError:
        return refusals.of_status(said.status_code, said.text, said.headers, self.title, self.model, self.how_to_get())

    def _missing(self, wrong: Unavailable) -> FledgeError:
        if wrong.reason == "gone":
            return Missing(tr("No server answers at {address}.", address=self.address), self.what_to_start(), code="no_server")
        return wrong


def _model(said: dict[str, Any]) -> LocalModel:
    meta = said.get("meta") or {}
    return LocalModel(str(said["id"]), str(said.get("title") or said["id"]), int(meta.get("size") or 0),
                      bool(said.get("loaded", said.get("state") == "loaded")),
                      int(said.get("context") or said.get("max_model_len") or meta.get("n_ctx_train") or 0), bool(said.get("chat", True)))
