"""What passes between the HTTP side and the engine thread: a job in, pieces out. No torch."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from engine.contract.errors import FledgeError
from engine.contract.rows import Message
from engine.serve.catalogue import Listed
from engine.serve.pieces import Token


@dataclass(frozen=True)
class Settings:
    """How to sample one completion: `temperature` 0 is greedy, `top_k` 0, `top_p` 1, `repetition_penalty` 1 are off. `max_tokens` None: as
    many as the context holds; `context` None: the model's. `top` is how many alternatives to keep a token, -1 for no probabilities.
    `grammar`: what the text is held to (sampling/grammar.py), "" for nothing. `echo`: the prompt comes first."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0
    max_tokens: int | None = None
    stops: tuple[str, ...] = ()
    top: int = -1
    context: int | None = None
    grammar: str = ""
    echo: bool = False


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


@dataclass(frozen=True)
class Continued:
    """What follows tokens of an earlier answer."""

    before: tuple[int, ...]
    prompt: Text | Conversation


@dataclass(frozen=True)
class Pair:
    """A completion to be scored after its prompt; the two are tokenized apart. `end`: with the token that ends a text or a turn."""

    prompt: Text | Ids | Conversation
    completion: Text | Ids
    end: bool = False


Prompt = Text | Ids | Conversation | Continued | Pair


@dataclass(eq=False)
class Job:
    """One thing wanted of a model. `prompt` is a text or ids; the engine thread encodes texts, since it has the tokenizer. `cancelled` may
    be set from any thread: the slot is freed before the next step.

    purpose   "complete"; "score" (log-probabilities of the prompt itself); "reward" (of a conversation that ends with an
              answer, by a reward model); "embed"; "load" (nothing but the model in memory)
    keep      seconds that the model stays after it was last needed; below 0: for good; None: as the server was told
    truncate  a prompt past the context loses its end instead of being refused ("embed")
    """

    answer: str
    index: int
    model: Listed
    prompt: Prompt
    settings: Settings = field(default_factory=Settings)
    purpose: Literal["complete", "score", "reward", "embed", "load"] = "complete"
    keep: float | None = None
    truncate: bool = False
    cancelled: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Accepted:
    """The model is loaded and the prompt fits: text will follow, as soon as a slot is free."""

    prompt_tokens: int
    ids: Sequence[int] = ()
    load_seconds: float = 0.0


@dataclass(frozen=True)
class Wrote:
    """New tokens; `text` of each sums up to the text."""

    tokens: tuple[Token, ...]


@dataclass(frozen=True)
class Scored:
    """The tokens of a text that was read, each with its log-probability (None where nothing stands before it). For a Pair those of the
    completion."""

    tokens: tuple[Token, ...]


@dataclass(frozen=True)
class Embedded:
    """The direction of the mean of the last hidden states: vector_C of length 1."""

    vector: np.ndarray


@dataclass(frozen=True)
class Rewarded:
    """A reward, and the same less the mean and over the spread of the rewards of the answers the reward model was trained on."""

    reward: float
    normalised: float


@dataclass(frozen=True)
class Ended:
    """reason: "stop" (end of text or a stop string), "length" (max_tokens), "context" (the model can see no further), "cancelled", "read"
    (scored or embedded), "load". `prompt_seconds` passed until the first token, `seconds` in all."""

    reason: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float = 0.0
    prompt_seconds: float = 0.0


@dataclass(frozen=True)
class Broke:
    """The job failed; nothing more comes."""

    error: FledgeError


Piece = Accepted | Wrote | Scored | Embedded | Rewarded | Ended | Broke
