"""The window's side of the local server: starts one for the project if none runs, lists models, streams text into signals. No widgets.

Everything happens on the GUI thread without ever waiting: QtNetwork tells when bytes are there, and they are parsed in slices of a few
milliseconds, about thirty times a second, whatever the speed of the model. The server is told to live as long as this process.
"""

import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from PySide6.QtCore import QByteArray, QObject, QTimer, QUrl, Signal
from PySide6.QtNetwork import QNetworkAccessManager, QNetworkProxy, QNetworkReply, QNetworkRequest

from engine.contract.errors import FledgeError
from engine.contract.words import tr
from engine.project import launch, layout
from engine.serve import address
from engine.serve.address import Address

TICK_MS = 33
SLICE_SECONDS = 0.008
POLL_MS = 60
WATCH_MS = 2000
START_SECONDS = 60.0
TOP_CHOICES = 5


@dataclass(frozen=True)
class ChatError:
    """What to show: a sentence and a remedy; `code` for tests and for choosing a button."""

    code: str
    sentence: str
    remedy: str = ""


@dataclass(frozen=True)
class ModelInfo:
    """One entry of the picker. `bpb` is validation bits per byte, None where not measured; `context` in tokens."""

    id: str
    title: str
    step: int = 0
    run: str = ""
    stage: str = ""
    chat: bool = False
    untrained: bool = False
    best: bool = False
    bpb: float | None = None
    parameters: int = 0
    vocab_size: int = 0
    context: int = 0
    created: int = 0
    loaded: bool = False

    @classmethod
    def of(cls, raw: dict[str, Any]) -> "ModelInfo":
        known = cls.__dataclass_fields__
        return cls(**{k: v for k, v in raw.items() if k in known})


@dataclass(frozen=True)
class SamplingSettings:
    """temperature 0 is greedy; top_k 0, top_p 1 and repetition_penalty 1 are off."""

    temperature: float = 0.8
    top_k: int = 50
    top_p: float = 0.95
    repetition_penalty: float = 1.0
    seed: int = 42
    max_tokens: int = 128

    def body(self) -> dict[str, Any]:
        return {"temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p, "seed": self.seed,
                "repetition_penalty": self.repetition_penalty, "max_tokens": self.max_tokens}


@dataclass(frozen=True)
class TokenChoice:
    bytes: bytes
    logprob: float


@dataclass(frozen=True)
class StreamedToken:
    """`text` is what the token added ("" for half a character); `logprob` natural, the model's own; `rank` 1 for the likeliest."""

    id: int
    bytes: bytes
    text: str
    logprob: float
    rank: int
    top: tuple[TokenChoice, ...] = ()

    @classmethod
    def of(cls, raw: dict[str, Any]) -> "StreamedToken":
        top = tuple(TokenChoice(bytes(c["bytes"]), float(c["logprob"])) for c in raw.get("top_logprobs", ()))
        return cls(int(raw["id"]), bytes(raw["bytes"]), str(raw["text"]), float(raw["logprob"]), int(raw["rank"]), top)


@dataclass(frozen=True)
class AnswerEnd:
    """reason: stop, length, context (the model can see no further) or cancelled (by the person). `seconds` of sampling."""

    reason: str
    tokens: int = 0
    seconds: float = 0.0
    seed: int = 0


@dataclass
class _Parsed:
    tokens: list[StreamedToken] = field(default_factory=list)
    end: AnswerEnd | None = None
    error: ChatError | None = None


class Answer(QObject):
    """One text under way: `written` in batches, then exactly one of `ended` and `failed`. Parented to the client; deleted at its end."""

    written = Signal(list)
    ended = Signal(object)
    failed = Signal(object)

    def __init__(self, reply: QNetworkReply, parent: QObject) -> None:
        super().__init__(parent)
        self._reply: QNetworkReply | None = reply
        self._buffer = bytearray()
        self._begun = time.monotonic()
        self._count = 0
        self._seed = 0
        self._reason = ""
        self._over = False
        self._done_reading = False
        self._timer = QTimer(self)
        self._timer.setInterval(TICK_MS)
        self._timer.timeout.connect(self._tick)
        reply.readyRead.connect(self._take)
        reply.finished.connect(self._finished)

    @property
    def running(self) -> bool:
        return not self._over

    def cancel(self) -> None:
        """Stop: the connection is closed, which frees the slot at the server. What has arrived is kept."""
        if self._over:
            return
        while self._slice():
            pass
        if not self._over:
            self._finish(end=AnswerEnd("cancelled", self._count, time.monotonic() - self._begun, self._seed))

    def _take(self) -> None:
        if self._reply is not None:
            self._buffer += self._reply.readAll().data()
            if not self._timer.isActive():
                self._timer.start()

    def _tick(self) -> None:
        self._slice()
        if self._done_reading and not self._over and b"\n\n" not in self._buffer:
            self._finish(error=server_gone())

    def _slice(self) -> bool:
        """Parse for a few milliseconds and tell what came; True when there is more."""
        until = time.monotonic() + SLICE_SECONDS
        parsed = _Parsed()
        at = 0
        while time.monotonic() < until and parsed.end is None and parsed.error is None:
            stop = self._buffer.find(b"\n\n", at)
            if stop < 0:
                break
            self._parse(bytes(self._buffer[at:stop]), parsed)
            at = stop + 2
        del self._buffer[:at]
        if parsed.tokens:
            self._count += len(parsed.tokens)
            self.written.emit(parsed.tokens)
        if self._over:  # a slot of `written` cancelled
            return False
        if parsed.error is not None or parsed.end is not None:
            self._finish(parsed.end, parsed.error)
            return False
        return b"\n\n" in self._buffer

    def _parse(self, line: bytes, into: _Parsed) -> None:
        if not line.startswith(b"data: "):
            return
        if line == b"data: [DONE]":
            into.end = AnswerEnd(self._reason or "stop", self._count + len(into.tokens), time.monotonic() - self._begun, self._seed)
            return
        body = json.loads(line[6:])
        if "error" in body:
            into.error = error_of(body)
            return
        for choice in body.get("choices", ()):
            told = choice.get("logprobs") or {}
            into.tokens += [StreamedToken.of(raw) for raw in told.get("content") or ()]
        own = body.get("fledge")
        if own:
            self._reason, self._seed = str(own["stopped_by"][0]), int(own["seed"])
            into.end = AnswerEnd(self._reason, int(own["completion_tokens"][0]), float(own["seconds"][0]), self._seed)

    def _finished(self) -> None:
        reply = self._reply
        if reply is None or self._over:
            return
        self._buffer += reply.readAll().data()
        status = reply.attribute(QNetworkRequest.Attribute.HttpStatusCodeAttribute)
        if status is None:
            self._finish(error=server_gone())
        elif int(status) != 200:
            self._finish(error=error_of_bytes(bytes(self._buffer)))
        else:
            self._done_reading = True
            if not self._timer.isActive():
                self._timer.start()

    def _finish(self, end: AnswerEnd | None = None, error: ChatError | None = None) -> None:
        self._over = True
        self._timer.stop()
        reply, self._reply = self._reply, None
        if reply is not None:
            reply.readyRead.disconnect(self._take)
            reply.finished.disconnect(self._finished)
            reply.abort()
            reply.deleteLater()
        if error is not None:
            self.failed.emit(error)
        elif end is not None:
            self.ended.emit(end)
        self.deleteLater()


class ChatClient(QObject):
    """One project's server. `state`: off, starting, loading (it answers; torch is on its way), ready, failed.

    `models` is filled by `refresh`; `models_changed` tells. `failed` carries a ChatError about the server itself; an answer's own failures
    come by the answer.
    """

    state_changed = Signal(str)
    models_changed = Signal(list)
    health_changed = Signal(dict)
    failed = Signal(object)

    def __init__(self, project_dir: Path, parent: QObject | None = None, device: str = "auto") -> None:
        super().__init__(parent)
        self.project_dir, self._device = project_dir, device
        self.state = "off"
        self.models: list[ModelInfo] = []
        self.health: dict[str, Any] = {}
        self._known = False
        self._address: Address | None = None
        self._pid = 0
        self._deadline = 0.0
        self._asking = False
        self._net: QNetworkAccessManager | None = None
        self._poll = QTimer(self)
        self._poll.setInterval(POLL_MS)
        self._poll.timeout.connect(self._look)
        self._watch = QTimer(self)
        self._watch.setInterval(WATCH_MS)
        self._watch.timeout.connect(self._still_there)

    @property
    def listed(self) -> bool:
        """Whether the server has told its models yet (an empty list is an answer, too)."""
        return self._known

    @property
    def can_ask(self) -> bool:
        return self._address is not None and self.state in ("loading", "ready")

    def start(self) -> None:
        """Find the server of the project or start one. Returns at once; `state_changed` tells the rest. Nothing happens if it is there."""
        if self.state not in ("off", "failed"):
            return
        self._deadline = time.monotonic() + START_SECONDS
        self._address = address.read(self.project_dir)
        if self._address is None:
            command = [launch.interpreter(), "-m", "engine.serve.main", str(self.project_dir), "--owner-pid", str(os.getpid()),
                       "--device", self._device]
            try:
                self._pid = launch.detach(command, layout.server_log(self.project_dir))
            except OSError as wrong:
                self._fail(ChatError("no_start", tr("The local server cannot be started: {why}.", why=wrong.strerror or str(wrong)),
                                     tr("Check the engine's Python in the settings.")))
                return
            except FledgeError as wrong:
                self._fail(ChatError(wrong.code, wrong.sentence, wrong.remedy))
                return
        self._set_state("starting")
        self._poll.start()

    def refresh(self) -> None:
        """Ask for the models again; `models_changed` when they differ."""
        if self._address is None:
            return
        reply = self._access().get(self._request("/v1/models"))
        reply.finished.connect(lambda: self._models_came(reply))

    def complete(self, model: str, prompt: str, settings: SamplingSettings) -> Answer:
        """Continue a text."""
        return self._post("/v1/completions", {"model": model, "prompt": prompt, "stream": True, "logprobs": TOP_CHOICES, **settings.body()})

    def chat(self, model: str, messages: Sequence[tuple[str, str]], settings: SamplingSettings) -> Answer:
        """Answer a conversation of (role, content)."""
        turns = [{"role": role, "content": content} for role, content in messages]
        return self._post("/v1/chat/completions", {"model": model, "messages": turns, "stream": True, "logprobs": True,
                                                   "top_logprobs": TOP_CHOICES, **settings.body()})

    def stop_server(self) -> None:
        """End a server that this client started (it would end with this process anyway)."""
        self._poll.stop()
        self._watch.stop()
        self._end_process()
        self._address = None
        self._set_state("off")

    # -- inside ------------------------------------------------------------------------------------------------------

    def _access(self) -> QNetworkAccessManager:
        if self._net is None:
            self._net = QNetworkAccessManager(self)
            self._net.setProxy(QNetworkProxy(QNetworkProxy.ProxyType.NoProxy))
        return self._net

    def _request(self, path: str) -> QNetworkRequest:
        assert self._address is not None
        made = QNetworkRequest(QUrl(self._address.url + path))
        for name, value in self._address.headers.items():
            made.setRawHeader(name.encode(), value.encode())
        made.setAttribute(QNetworkRequest.Attribute.Http2AllowedAttribute, False)
        made.setAttribute(QNetworkRequest.Attribute.CacheLoadControlAttribute, QNetworkRequest.CacheLoadControl.AlwaysNetwork)
        made.setAttribute(QNetworkRequest.Attribute.RedirectPolicyAttribute, QNetworkRequest.RedirectPolicy.ManualRedirectPolicy)
        return made

    def _post(self, path: str, body: dict[str, Any]) -> Answer:
        assert self._address is not None, "ask can_ask first"
        request = self._request(path)
        request.setHeader(QNetworkRequest.KnownHeaders.ContentTypeHeader, "application/json")
        made = Answer(self._access().post(request, QByteArray(json.dumps(body).encode())), self)
        made.failed.connect(self._answer_failed)
        return made

    def _look(self) -> None:
        """While starting or loading: is the address there, does it answer, is it ready."""
        if self._address is None:
            self._address = address.read(self.project_dir)
            if self._address is None:
                if self._pid and not launch.running(self._pid):
                    self._fail(ChatError("server_died", tr("The local server ended while starting."), self._log_tail()))
                elif time.monotonic() > self._deadline:
                    self._fail(ChatError("server_slow", tr("The local server does not answer."), tr("Try again, or restart Fledge.")))
                return
        if not self._asking:
            self._asking = True
            reply = self._access().get(self._request("/health"))
            reply.finished.connect(lambda: self._health_came(reply))

    def _health_came(self, reply: QNetworkReply) -> None:
        self._asking = False
        raw, failed = _body(reply), reply.error() != QNetworkReply.NetworkError.NoError
        reply.deleteLater()
        if self.state in ("off", "failed"):
            return
        if not isinstance(raw, dict) or "state" not in raw:
            if failed and address.read(self.project_dir) is None:
                self._lost()
            return
        if raw != self.health:
            self.health = raw
            self.health_changed.emit(raw)
        if raw["state"] == "failed":
            self._fail(error_of(raw))
            return
        if not self._known:
            self.refresh()
        if not self._watch.isActive():
            self._watch.start()
        if raw["state"] == "ready":
            self._poll.stop()
        self._set_state(str(raw["state"]))

    def _models_came(self, reply: QNetworkReply) -> None:
        raw = _body(reply)
        reply.deleteLater()
        if not isinstance(raw, dict) or not isinstance(raw.get("data"), list):
            return
        models = [ModelInfo.of(entry) for entry in raw["data"]]
        if models != self.models or not self._known:
            self.models, self._known = models, True
            self.models_changed.emit(models)

    def _still_there(self) -> None:
        """The lock tells at once whether the server lives; its load is asked for beside."""
        if address.read(self.project_dir) is None:
            self._lost()
        elif not self._asking:
            self._asking = True
            reply = self._access().get(self._request("/health"))
            reply.finished.connect(lambda: self._health_came(reply))

    def _answer_failed(self, error: ChatError) -> None:
        if error.code == "server_gone" and self.can_ask and address.read(self.project_dir) is None:
            self._lost()

    def _lost(self) -> None:
        self._fail(server_gone())

    def _fail(self, error: ChatError) -> None:
        self._poll.stop()
        self._watch.stop()
        self._end_process()  # one whose engine could not start still listens
        self._address, self._known = None, False
        self._set_state("failed")
        self.failed.emit(error)

    def _end_process(self) -> None:
        if self._pid:
            with suppress(psutil.Error):
                psutil.Process(self._pid).terminate()
            self._pid = 0

    def _set_state(self, state: str) -> None:
        if state != self.state:
            self.state = state
            self.state_changed.emit(state)

    def _log_tail(self) -> str:
        """The last line of the server's log: the error's own sentence, where it was one."""
        try:
            lines = layout.server_log(self.project_dir).read_bytes()[-4000:].decode("utf-8", "replace").splitlines()
        except OSError:
            lines = []
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return tr("It said: {line}", line=said) if said else tr("It left no message.")


def server_gone() -> ChatError:
    return ChatError("server_gone", tr("The local server has ended."), tr("What was written is kept. Start it again to go on."))


def error_of(body: dict[str, Any]) -> ChatError:
    raw = body.get("error")
    if not isinstance(raw, dict):
        return ChatError("unknown", tr("The local server gave an answer that cannot be read."), tr("Try again."))
    return ChatError(str(raw.get("code", "unknown")), str(raw.get("sentence") or raw.get("message", "")), str(raw.get("remedy", "")))


def error_of_bytes(data: bytes) -> ChatError:
    try:
        body = json.loads(data)
    except ValueError:
        body = {}
    return error_of(body if isinstance(body, dict) else {})


def _body(reply: QNetworkReply) -> Any:
    try:
        return json.loads(bytes(reply.readAll().data()))
    except ValueError:
        return None
