"""The bodies the server sends: OpenAI's, with Fledge's own fields beside them. Pure functions; no torch, no HTTP.

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


def internal() -> tuple[int, dict[str, Any]]:
    """For our own mistakes: the details are in the server's log, not in the answer."""
    return error(ours())


def ours() -> FledgeError:
    """Our mistake, as the person hears of it."""
    return FledgeError(tr("Something went wrong inside the server."), tr("Its log says what. Trying again may help."), code="internal")


def _shown(data: bytes) -> str:
    """A token's bytes as OpenAI writes them: its text, or `bytes:` and escapes where it is no whole text."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{b:02x}" for b in data)


def _finite(logprob: float) -> float:
    return max(logprob, MAX_LOGPROB) if logprob == logprob else MAX_LOGPROB


def content(tokens: Sequence[Token], wanted: int) -> list[dict[str, Any]]:
    """Chat's `logprobs.content`: one entry a token with its `wanted` likeliest alternatives."""
    return [{"token": _shown(t.bytes), "logprob": _finite(t.logprob), "bytes": list(t.bytes), "id": t.id, "rank": t.rank, "text": t.text,
             "top_logprobs": [{"token": _shown(c.bytes), "logprob": _finite(c.logprob), "bytes": list(c.bytes), "id": c.id}
                              for c in t.top[:wanted]]} for t in tokens]


def completion_logprobs(tokens: Sequence[Token], wanted: int, offset: int) -> dict[str, Any]:
    """Completions' `logprobs`: four parallel lists, `offset` characters of text before them; and chat's `content` beside."""
    starts, at = [], offset
    for token in tokens:
        starts.append(at)
        at += len(token.text)
    return {"tokens": [_shown(t.bytes) for t in tokens], "token_logprobs": [_finite(t.logprob) for t in tokens],
            "top_logprobs": [{_shown(c.bytes): _finite(c.logprob) for c in t.top[:wanted]} for t in tokens], "text_offset": starts,
            "content": content(tokens, wanted)}


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
