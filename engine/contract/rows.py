"""The rows that pass between stages, files and the library."""

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
