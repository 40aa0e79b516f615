"""One text that the local server writes: its tokens as they come, its end or its failure, and what can be asked for. No widgets.

Everything happens on the GUI thread without ever waiting: bytes are parsed in slices of a few milliseconds, about thirty times a second,
whatever the speed of the model.
"""

import json
import time
from dataclasses import dataclass, field
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtNetwork import QNetworkReply, QNetworkRequest

from engine.contract.words import tr

TICK_MS = 33
SLICE_SECONDS = 0.008


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
