"""What passes between the HTTP side and the engine thread: a job in, pieces out. No torch."""

import threading
from dataclasses import dataclass, field

from engine.contract.errors import FledgeError
from engine.contract.rows import Message
from engine.serve.catalogue import Listed
from engine.serve.pieces import Token


@dataclass(frozen=True)
class Settings:
    """How to sample one completion: `temperature` 0 is greedy, `top_k` 0, `top_p` 1, `repetition_penalty` 1 are off. `max_tokens` None: as
    many as the context holds. `top` is how many alternatives to keep a token, -1 for no probabilities."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0
    max_tokens: int | None = None
    stops: tuple[str, ...] = ()
    top: int = -1


@dataclass(frozen=True)
class Text:
    """A text to continue. Special tokens spelled in it are plain text."""

    text: str


@dataclass(frozen=True)
class Ids:
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Conversation:
    """Turns to answer, rendered by the model's chat template."""

    messages: tuple[Message, ...]


@dataclass(eq=False)
class Job:
    """One completion wanted. `prompt` is a text or ids; the engine thread encodes texts, since it has the tokenizer. `cancelled` may be
    set from any thread: the slot is freed before the next step."""

    answer: str
    index: int
    model: Listed
    prompt: Text | Ids | Conversation
    settings: Settings
    cancelled: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Accepted:
    """The model is loaded and the prompt fits: text will follow, as soon as a slot is free."""

    prompt_tokens: int


@dataclass(frozen=True)
class Wrote:
    """New tokens; `text` of each sums up to the text."""

    tokens: tuple[Token, ...]


@dataclass(frozen=True)
class Ended:
    """reason: "stop" (end of text or a stop string), "length" (max_tokens), "context" (the model can see no further), "cancelled"."""

    reason: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float = 0.0


@dataclass(frozen=True)
class Broke:
    """The job failed; nothing more comes."""

    error: FledgeError


Piece = Accepted | Wrote | Ended | Broke
