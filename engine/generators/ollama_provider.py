"""Models of Ollama. The context is always asked for by number: Ollama's own default cuts long prompts without a word.

It fetches nothing (pull.py does) and starts no Ollama.
"""

import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import ollama

from engine.contract.errors import FledgeError, Missing, NotFound, SettingError
from engine.contract.events import Notice
from engine.contract.words import tr
from engine.generators import reach, refusals
from engine.generators.provider import Ask, LocalModel, Provider, Reply, TooLong, Unavailable
from engine.generators.thinking import parted

PORT = 11434
KEEP_ALIVE = "15m"
"""Between two answers of a run another model may be asked: loading this one anew each time would cost more than the answers."""
LOAD_SECONDS = 600.0


def address(allowed_host: str = "") -> str:
    """Where Ollama listens: OLLAMA_HOST as Ollama itself reads it, else this machine. A SettingError where that leaves the machine."""
    said = os.environ.get("OLLAMA_HOST", "").strip().strip("\"'")
    made = said if "://" in said else f"http://{said or '127.0.0.1'}"
    try:
        parts = urlsplit(made)
        host, port = parts.hostname or "127.0.0.1", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("http://")
    if not host:
        raise SettingError(tr("OLLAMA_HOST is no address: {value}", value=said), tr("Set it to HOST:PORT, or leave it unset."),
                           code="bad_address")
    if host in ("0.0.0.0", "::"):  # where a server listens is not where a client asks
        host = "127.0.0.1"
    default = PORT if "://" not in said else 443 if parts.scheme == "https" else 80
    where = f"[{host}]" if ":" in host else host
    login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""  # refused below, with its own words
    return reach.checked(f"{parts.scheme}://{login}{where}:{port or default}{parts.path.rstrip('/')}", allowed_host)


@dataclass(eq=False)
class OllamaProvider(Provider):
    """One model of one Ollama. `thinks` turns false when the server says that the model does not."""

    thinks: bool = True
    loaded_here: bool = False
    _clients: dict[float, ollama.Client] = field(default_factory=dict, repr=False)
    _lines: reach.Lines = field(default_factory=reach.Lines, repr=False)
    _heard: threading.local = field(default_factory=threading.local, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def title(self) -> str:
        return tr("Ollama")

    def check(self) -> None:
        try:
            shown = self._client(self._soon).show(self.model)
        except Exception as wrong:
            raise self._missing(self._error(wrong)) from wrong
        with suppress(Exception):  # only to know whether to let it go afterwards
            self.loaded_here = self.model not in {str(m.model).removesuffix(":latest") for m in self._client(self._soon).ps().models}
        lengths = [v for k, v in (shown.modelinfo or {}).items() if k.endswith(".context_length") and isinstance(v, int)]
        if lengths and min(lengths) < self.context:
            self.context = min(lengths)

    def models(self) -> list[LocalModel]:
        try:
            client = self._client(self._soon)
            listed, held = client.list().models, {m.model for m in client.ps().models}
        except Exception as wrong:
            raise self._missing(self._error(wrong)) from wrong
        found = []
        for one in listed:
            name = str(one.model or "").removesuffix(":latest")
            family = (one.details.parameter_size or "") if one.details else ""
            found.append(LocalModel(name, f"{name} ({family})" if family else name, int(one.size or 0), one.model in held))
        return found

    def ask(self, ask: Ask) -> Reply:
        if sum(len(m.content.encode()) for m in ask.messages) > 32 * self.context:  # no tokenizer packs that much into a token
            raise TooLong(tr("The question does not fit {count} tokens.", count=f"{self.context:,}"), tr("Choose a longer context."))
        began = time.monotonic()
        options: dict[str, Any] = {"temperature": ask.temperature, "seed": ask.seed, "num_ctx": self.context, "num_predict": ask.max_tokens}
        if ask.stop:
            options["stop"] = list(ask.stop)
        if ask.top_p < 1:
            options["top_p"] = ask.top_p
        thinking = self.think != "off" and self.thinks
        try:
            self._heard.headers = {}
            said = self._client(self.timeout).chat(self.model, [m.model_dump() for m in ask.messages], format=ask.schema, think=thinking,
                                                   stream=False, options=options, keep_alive=KEEP_ALIVE)
        except ollama.ResponseError as wrong:
            if thinking and wrong.status_code == 400 and "think" in str(wrong.error).lower():
                self.thinks = False
                self.say_once(Notice(level="info", code="no_thinking", title=tr("{model} does not think first.", model=self.model),
                                     text=tr("It is asked for the answer alone.")))
                return self.ask(ask)
            raise self._error(wrong) from wrong
        except Exception as wrong:
            raise self._error(wrong) from wrong
        if not said.done or said.message is None:
            raise refusals.of_form(self.title, "done: false")
        taken = int(said.prompt_eval_count or 0)
        if taken >= self.context:  # it cuts what does not fit, and goes on as if nothing had happened
            raise TooLong(tr("The question does not fit {count} tokens.", count=f"{self.context:,}"), tr("Choose a longer context."))
        text, thought = parted(said.message.content or "", said.message.thinking or "", self.think)
        return Reply(text, taken, int(said.eval_count or 0), "length" if said.done_reason == "length" else "stop", thought,
                     time.monotonic() - began, self.name)

    def finished(self) -> None:
        """The model leaves memory, unless it was there before: training wants the room."""
        if self.loaded_here:
            with suppress(Exception):
                self._client(self._soon).generate(self.model, keep_alive=0)

    def close(self) -> None:
        with self._lock:
            self._lines.cut()
            for client in self._clients.values():
                client._client.close()
            self._clients.clear()

    @property
    def _soon(self) -> float:
        return min(self.timeout, 30.0)

    def _client(self, timeout: float) -> ollama.Client:
        with self._lock:
            if timeout not in self._clients:
                self._clients[timeout] = ollama.Client(self.address, **reach.settings(timeout, reach.key_headers()),
                                                       event_hooks={"request": [self._lines.hook], "response": [self._hear]})
            return self._clients[timeout]

    def _hear(self, response: httpx.Response) -> None:
        """The package's errors lose the headers: they are noted for this thread."""
        self._heard.headers = response.headers

    def _error(self, wrong: Exception) -> FledgeError:
        if isinstance(wrong, FledgeError):
            return wrong
        if isinstance(wrong, ollama.ResponseError):
            return refusals.of_status(wrong.status_code, str(wrong.error), getattr(self._heard, "headers", {}), self.title, self.model,
                                      how_to_get(self.model))
        if isinstance(wrong, (httpx.TransportError, ConnectionError)):
            return refusals.of_transport(wrong, tr("Ollama at {address}", address=self.address), what_to_start(self.address))
        if isinstance(wrong, (ValueError, TypeError, httpx.HTTPError)):  # JSON, pydantic: not what Ollama says
            return refusals.of_form(self.title, type(wrong).__name__)
        raise wrong

    def _missing(self, wrong: FledgeError) -> FledgeError:
        if isinstance(wrong, Unavailable) and wrong.reason == "gone":
            return Missing(tr("Ollama does not run at {address}.", address=self.address), what_to_start(self.address), code="no_server")
        if isinstance(wrong, NotFound):
            return NotFound(tr("Ollama has no model {model}.", model=self.model), how_to_get(self.model), code="no_model")
        return wrong


def what_to_start(where: str) -> str:
    return tr("Start Ollama (its app, or the command: ollama serve), then try again. It is free, from ollama.com.") if \
        reach.is_own(urlsplit(where).hostname or "") else tr("Start Ollama there, then try again.")


def how_to_get(model: str) -> str:
    return tr("Fetch it with: ollama pull {model}. Or choose another model.", model=model)
