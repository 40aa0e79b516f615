"""What a local model is asked and what it answered: the two rows that recipes, judging, providers and the journal pass to one another.

Nothing is sent from here.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from engine.contract.rows import Message

Role = Literal["responder", "second", "judge"]
"""Which of a run's models is asked: the one that writes, the second that answers too, the one that scores."""


@dataclass(frozen=True)
class Ask:
    """One request. `seed` makes two asks of the same words different ones; `schema` is the JSON schema that the answer is held to where
    the model's server can do that (readers of replies never rely on it). `max_tokens` counts the answer's."""

    messages: tuple[Message, ...]
    max_tokens: int = 512
    temperature: float = 0.7
    seed: int = 0
    schema: dict[str, Any] | None = None
    stop: tuple[str, ...] = ()
    top_p: float = 1.0


@dataclass(frozen=True)
class Reply:
    """One answer. `finish` is "stop", or "length" where it was cut; `thinking` is what the model thought aloud before, as far as its server
    tells it apart; `model` the name it is known by ("ollama:llama3.2")."""

    text: str
    tokens_in: int = 0
    tokens_out: int = 0
    finish: str = "stop"
    thinking: str = ""
    seconds: float = 0.0
    model: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
