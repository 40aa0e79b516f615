"""The rows that pass between stages, files and the library."""

import hashlib
import json
from collections.abc import Sequence
from json.encoder import encode_basestring as quoted
from typing import Any

from pydantic import BaseModel, ConfigDict


class Row(BaseModel):
    model_config = ConfigDict(frozen=True)


class Document(Row):
    """One text of a corpus. `id` is a hash of source and text; `source` the file it came from, relative to what was imported."""

    id: str
    text: str
    source: str = ""


class Message(Row):
    """One turn of a conversation. `role` is system, user, assistant or tool."""

    role: str
    content: str


class Example(Row):
    """A conversation to learn from. `origin` says who wrote it: "person", "import:FILE", or a model's name ("ollama:llama3.2"). `score` is
    the judge's, 1 to 10. `flags` name the checks it failed; a flagged example waits among the rejected until a person restores it.

    facts: recipe, question kind, `document` and `quote` (where it is grounded), `rationale`, `scores`, `rejected` ({"text", "model",
    "score"}: the losing answer, a preference pair for later), `answer` (the short known answer, for evaluation), `tokens`, `seconds`.
    """

    id: str
    messages: tuple[Message, ...]
    origin: str = ""
    score: float | None = None
    flags: tuple[str, ...] = ()
    facts: dict[str, Any] = {}


class Answer(Row):
    """One answer of a pair and who made it. facts: `temperature`, `seed`, `tokens`, `seconds`, `score`, `finish`."""

    text: str
    model: str = ""
    facts: dict[str, Any] = {}


class Pair(Row):
    """Two answers to one prompt, which nobody has to have compared yet. `prompt` ends with the user's turn. `id` is `pair_id` of what it
    says, so that the same pair has one id on every machine. `origin` as in Example; "chat", "judge", "vote" for those of Fledge's own.

    facts: `best` ("first", "second", "tie" or "bad": what the file, the judge or the vote already says) with `strength` and `by`, `why`
    ("drawn because the reward model is unsure"), `document`.
    """

    id: str
    prompt: tuple[Message, ...]
    first: Answer
    second: Answer
    origin: str = ""
    facts: dict[str, Any] = {}


class PreferencePair(Row):
    """What is learned from: `chosen` was preferred to `rejected`. `strength` 1 (slightly) to 3 (much better), 0 where nobody said; `tie`:
    neither is better, and which is called chosen means nothing. `bad`: both are bad (for objectives that take single answers; `chosen` is
    no good answer then). `by` names who labelled it, `id` the pair."""

    id: str
    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    strength: int = 0
    tie: bool = False
    bad: bool = False
    by: str = ""


class Problem(Row):
    """What a verifier can judge an answer to. `prompt` ends with the user's turn. `answer` is the known answer: a text, or JSON such as
    {"entry": .., "tests": ..} for programs. `held_out` problems only measure, and are never learned from. `difficulty` rises, None where
    nobody said. `origin` is "import:FILE", "generator:NAME@LEVEL", "examples:SET" or "person". `id` is `problem_id` of what it says.

    facts: what a verifier may ask for (`inputs`), `solution` (a worked one), columns of a file that were kept, `example` (its id)."""

    id: str
    prompt: tuple[Message, ...]
    answer: Any = ""
    held_out: bool = False
    difficulty: float | None = None
    origin: str = ""
    facts: dict[str, Any] = {}


class Rollout(Row):
    """A completion a policy was trained on at `step`, with its reward; one line of a run's rollouts. `parts` are what the reward is the sum
    of, before weights; facts: `kl`, `tokens`, `finish`, `advantage`, `answer`, `group`."""

    id: str
    step: int
    prompt: tuple[Message, ...]
    completion: str
    reward: float
    parts: dict[str, float] = {}
    facts: dict[str, Any] = {}


def pair_id(prompt: Sequence[Message], first: str, second: str) -> str:
    """SHA-256, 32 hex digits, of roles and texts as JSON (put together here, since a million are told in one go). The two answers in either
    order give one id."""
    said = [f"[{quoted(m.role)}, {quoted(m.content)}]" for m in prompt] + [quoted(text) for text in sorted((first, second))]
    return hashlib.sha256(f"[{', '.join(said)}]".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def problem_id(prompt: Sequence[Message], answer: Any) -> str:
    """SHA-256, 32 hex digits, of roles, texts and the answer as JSON with sorted keys."""
    said = [f"[{quoted(m.role)}, {quoted(m.content)}]" for m in prompt]
    said.append(quoted(answer) if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False, sort_keys=True))
    return hashlib.sha256(f"[{', '.join(said)}]".encode("utf-8", "surrogatepass")).hexdigest()[:32]
