"""What clients may ask: OpenAI's completion and chat requests as pydantic models, with Fledge's own fields beside them. No torch, no HTTP.

A field that would change the answer and that this server does not do is refused by name, never ignored; fields that change nothing
(who asks, what to store) are accepted. Documented at https://platform.openai.com/docs/api-reference/completions and /chat.
"""

import json
import secrets
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from engine.contract.errors import SettingError
from engine.contract.words import tr

TOP_CHOICES = 5
MAX_CHOICES = 64
MAX_STOPS = 16

# Asked by other clients, without a say in the text that comes back.
HARMLESS = frozenset({"user", "store", "metadata", "service_tier", "parallel_tool_calls", "safety_identifier", "prompt_cache_key",
                      "prompt_cache_retention", "verbosity"})
# Would change the answer; accepted only at the value that means "off".
OFF = {"echo": (False,), "best_of": (1,), "suffix": ("",), "logit_bias": ({},), "presence_penalty": (0,), "frequency_penalty": (0,),
       "tools": ([],), "functions": ([],), "tool_choice": ("none", "auto"), "function_call": ("none", "auto"),
       "response_format": ({"type": "text"},), "modalities": (["text"],), "audio": (), "prediction": (), "reasoning_effort": ("none",),
       "web_search_options": ()}

Seed = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="ignore")

    include_usage: bool = False


class Request(BaseModel):
    """The common part. `top_k` 0, `top_p` 1 and `repetition_penalty` 1 mean off; `temperature` 0 is greedy; no `seed`: a fresh one,
    told in the answer. `max_tokens` None: to the end of the context (chat) or 16 (completions), as OpenAI has it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    model: str
    temperature: float = Field(1.0, ge=0, le=10)
    top_k: int = Field(0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0, le=10)
    seed: Seed | None = None
    max_tokens: int | None = Field(None, ge=1)
    stop: list[Annotated[str, StringConstraints(min_length=1, max_length=1000)]] = Field(default_factory=list, max_length=MAX_STOPS)
    n: int = Field(1, ge=1, le=MAX_CHOICES)
    stream: bool = False
    stream_options: StreamOptions | None = None

    @field_validator("stop", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [] if value is None else [value] if isinstance(value, str) else value

    @field_validator("temperature", "top_p", "top_k", "repetition_penalty", "n", "stream", mode="before")
    @classmethod
    def _null_is_default(cls, value: Any, info: Any) -> Any:
        return cls.model_fields[info.field_name].default if value is None else value

    @property
    def choices_wanted(self) -> int:
        """Number of the most likely tokens to tell beside each token; -1: no probabilities at all."""
        raise NotImplementedError

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    def seed_or_fresh(self) -> int:
        return self.seed % 2**31 if self.seed is not None else secrets.randbelow(2**31)


class CompletionRequest(Request):
    """`prompt`: a text, texts, token ids, or lists of token ids. `logprobs`: how many alternatives to tell a token."""

    prompt: str | list[str] | list[int] | list[list[int]]
    logprobs: int | None = Field(None, ge=0, le=TOP_CHOICES)

    @field_validator("logprobs", mode="before")
    @classmethod
    def _flag(cls, value: Any) -> Any:
        return (TOP_CHOICES if value else None) if isinstance(value, bool) else value

    @property
    def choices_wanted(self) -> int:
        return -1 if self.logprobs is None else self.logprobs

    def prompts(self) -> list[str | list[int]]:
        if isinstance(self.prompt, str):
            return [self.prompt]
        if self.prompt and isinstance(self.prompt[0], int):
            return [list(self.prompt)]  # type: ignore[arg-type]
        return list(self.prompt)  # type: ignore[arg-type]


class TextPart(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """One turn; content may come as parts, of which only text is understood."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart]

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class ChatRequest(Request):
    messages: list[ChatMessage] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool = False
    top_logprobs: int | None = Field(None, ge=0, le=TOP_CHOICES)

    @field_validator("logprobs", mode="before")
    @classmethod
    def _no_logprobs(cls, value: Any) -> Any:
        return False if value is None else value

    @property
    def choices_wanted(self) -> int:
        return (self.top_logprobs or 0) if self.logprobs else -1


R = TypeVar("R", bound=Request)


def parse(kind: type[R], body: bytes) -> R:
    """The request in a body; a SettingError says in a sentence what is wrong with it, and `field` names where."""
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError) as wrong:
        if isinstance(wrong, json.JSONDecodeError):
            sentence = tr("The request is not valid JSON: line {line}, column {column}.", line=wrong.lineno, column=wrong.colno)
        else:
            sentence = tr("The request is not valid JSON.")
        raise SettingError(sentence, tr("Send one JSON object in UTF-8."), code="bad_json") from None
    if not isinstance(raw, dict):
        raise SettingError(tr("The request is not a JSON object."), tr("Send one JSON object in UTF-8."), code="bad_json")
    for name in raw.keys() - kind.model_fields.keys() - HARMLESS:
        if name not in OFF:
            raise SettingError(tr("There is no parameter called {name}.", name=name), tr("Leave it out."), code="unknown_parameter",
                               field=name)
        if raw[name] is not None and raw[name] not in OFF[name]:
            raise SettingError(tr("This server does not do {name}.", name=name), tr("Leave it out."), code="unsupported_parameter",
                               field=name)
    try:
        return kind.model_validate(raw)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        if first["type"] == "missing":
            raise SettingError(tr("{name} is missing.", name=name), tr("Add it to the request."), code="missing_parameter",
                               field=name) from None
        raise SettingError(tr("{name} cannot be {value}.", name=name, value=_short(first.get("input"))), first["msg"] + ".",
                           code="bad_parameter", field=name) from None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
