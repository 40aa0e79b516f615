"""The bodies the server sends: OpenAI's, with Fledge's own fields beside them, and errors in every protocol's form. Pure functions; no
torch, no HTTP.

Own fields: `logprobs.content[].id` and `.rank`, the same `content` list in completions as in chat (with the raw bytes of every token), and
`fledge` in the last body of an answer: the seed used, why it ended, how long it took.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.contract import errors
from engine.contract.errors import FledgeError
from engine.contract.words import tr
from engine.serve.pieces import Token

MAX_LOGPROB = -9999.0
_STATUS: tuple[tuple[type[FledgeError], int, str], ...] = (
    (errors.NotFound, 404, "invalid_request_error"),
    (errors.SettingError, 400, "invalid_request_error"),
    (errors.OutOfMemory, 503, "server_error"),
    (errors.MachineError, 503, "server_error"),
    (errors.Stopped, 503, "server_error"),
    (errors.InputError, 409, "invalid_request_error"),
)


@dataclass(frozen=True)
class Usage:
    prompt: int
    completion: int

    def body(self) -> dict[str, int]:
        return {"prompt_tokens": self.prompt, "completion_tokens": self.completion, "total_tokens": self.prompt + self.completion}


def error(wrong: FledgeError, status: int | None = None, type: str | None = None) -> tuple[int, dict[str, Any]]:
    """(HTTP status, body). `message` is sentence and remedy for clients that show one line; both stand apart as well."""
    known = next(((s, t) for kind, s, t in _STATUS if isinstance(wrong, kind)), (500, "server_error"))
    return status or known[0], {"error": {"message": str(wrong), "type": type or known[1], "param": wrong.field or None, "code": wrong.code,
                                          "sentence": wrong.sentence, "remedy": wrong.remedy}}


def told(path: str, wrong: FledgeError, status: int | None = None, type: str | None = None) -> tuple[int, dict[str, Any]]:
    """(HTTP status, body) of an error in the form of the protocol that a path belongs to: Ollama's is one sentence."""
    status, body = error(wrong, status, type)
    return status, {"error": str(wrong)} if path.startswith("/api/") else body


def ours() -> FledgeError:
    """Our mistake, as the person hears of it."""
    return FledgeError(tr("Something went wrong inside the server."), tr("Its log says what. Trying again may help."), code="internal")


def shown(data: bytes) -> str:
    """A token's bytes as OpenAI writes them: its text, or `bytes:` and escapes where it is no whole text."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{b:02x}" for b in data)


def finite(logprob: float | None) -> float | None:
    """A log-probability that JSON can hold; None stays."""
    return logprob if logprob is None else max(logprob, MAX_LOGPROB) if logprob == logprob else MAX_LOGPROB


def content(tokens: Sequence[Token], wanted: int) -> list[dict[str, Any]]:
    """Chat's `logprobs.content`: one entry a token with its `wanted` likeliest alternatives."""
    return [{"token": shown(t.bytes), "logprob": finite(t.logprob), "bytes": list(t.bytes), "id": t.id, "rank": t.rank, "text": t.text,
             "top_logprobs": [{"token": shown(c.bytes), "logprob": finite(c.logprob), "bytes": list(c.bytes), "id": c.id}
                              for c in t.top[:wanted]]} for t in tokens]


def completion_logprobs(tokens: Sequence[Token], wanted: int, offset: int) -> dict[str, Any]:
    """Completions' `logprobs`: four parallel lists, `offset` characters of text before them; and chat's `content` beside."""
    starts, at = [], offset
    for token in tokens:
        starts.append(at)
        at += len(token.text)
    tops = [None if t.logprob is None else {shown(c.bytes): finite(c.logprob) for c in t.top[:wanted]} for t in tokens]
    return {"tokens": [shown(t.bytes) for t in tokens], "token_logprobs": [finite(t.logprob) for t in tokens], "top_logprobs": tops,
            "text_offset": starts, "content": content(tokens, wanted)}


def completion(id: str, created: int, model: str, choices: list[dict[str, Any]], usage: Usage | None = None, **own: Any) -> dict[str, Any]:
    return _body("text_completion", id, created, model, choices, usage, own)


def chat(id: str, created: int, model: str, choices: list[dict[str, Any]], usage: Usage | None = None, chunk: bool = False,
         **own: Any) -> dict[str, Any]:
    return _body("chat.completion.chunk" if chunk else "chat.completion", id, created, model, choices, usage, own)


def _body(object: str, id: str, created: int, model: str, choices: list[dict[str, Any]], usage: Usage | None,
          own: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"id": id, "object": object, "created": created, "model": model, "choices": choices}
    if usage is not None:
        made["usage"] = usage.body()
    if own:
        made["fledge"] = own
    return made
