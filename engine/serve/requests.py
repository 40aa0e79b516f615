"""What clients may ask: OpenAI's requests as pydantic models, with Fledge's own fields beside them, and Fledge's own. No torch, no HTTP.

A field that would change the answer and that this server does not do is refused by name, never ignored; fields that change nothing
(who asks, what to store) are accepted. What is wrong is said in words of our own, never in pydantic's. Documented at
https://platform.openai.com/docs/api-reference/completions, /chat and /embeddings; Ollama's are in ollama_requests.py.
"""

import json
import secrets
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from engine.contract.errors import SettingError
from engine.contract.words import tr

TOP_CHOICES = 5
TOP_CHAT_CHOICES = 20
MAX_CHOICES = 64
MAX_STOPS = 16

# Asked by other clients, without a say in the text that comes back.
HARMLESS = frozenset({"user", "store", "metadata", "service_tier", "parallel_tool_calls", "safety_identifier", "prompt_cache_key",
                      "prompt_cache_retention", "verbosity"})
# Would change the answer; accepted only at the value that means "off".
OFF: dict[str, tuple[Any, ...]] = {
    "best_of": (1,), "suffix": ("",), "logit_bias": ({},), "presence_penalty": (0,), "frequency_penalty": (0,), "tools": ([],),
    "functions": ([],), "tool_choice": ("none", "auto"), "function_call": ("none", "auto"), "modalities": (["text"],), "audio": (),
    "prediction": (), "reasoning_effort": ("none",), "web_search_options": ()}

Seed = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    include_usage: bool = False


class JsonSchema(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    schema_: dict[str, Any] = Field(alias="schema")


class ResponseFormat(BaseModel):
    """`schema` is what the text is held to: None for free text."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @property
    def wanted(self) -> dict[str, Any] | None:
        if self.type == "json_schema":
            if self.json_schema is None:
                raise SettingError(tr("{name} is missing.", name="response_format.json_schema"), tr("Add it to the request."),
                                   code="missing_parameter", field="response_format")
            return self.json_schema.schema_
        return {"type": "object"} if self.type == "json_object" else None


class Asked(BaseModel):
    """Anything that is asked of a model. `HARMLESS` fields are accepted and change nothing, `OFF` ones only at the values that mean off."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    HARMLESS: ClassVar[frozenset[str]] = HARMLESS
    OFF: ClassVar[Mapping[str, tuple[Any, ...]]] = {}

    model: str = Field(min_length=1)


class Request(Asked):
    """The common part. `top_k` 0, `top_p` 1 and `repetition_penalty` 1 mean off; `temperature` 0 is greedy; no `seed`: a fresh one,
    told in the answer. `max_tokens` None: to the end of the context (chat) or 16 (completions), as OpenAI has it."""

    OFF: ClassVar[Mapping[str, tuple[Any, ...]]] = OFF

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
    response_format: ResponseFormat | None = None

    @field_validator("stop", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [] if value is None else [value] if isinstance(value, str) else value

    @field_validator("temperature", "top_p", "top_k", "repetition_penalty", "n", "stream", "echo", mode="before", check_fields=False)
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
    """`prompt`: a text, texts, token ids, or lists of token ids. `logprobs`: how many alternatives to tell a token. `echo`: the prompt
    comes first, with its log-probabilities; with `max_tokens` 0 it comes alone."""

    prompt: str | list[str] | list[int] | list[list[int]]
    max_tokens: int | None = Field(None, ge=0)
    echo: bool = False
    logprobs: int | None = Field(None, ge=0, le=TOP_CHOICES)

    @field_validator("logprobs", mode="before")
    @classmethod
    def _flag(cls, value: Any) -> Any:
        return (TOP_CHOICES if value else None) if isinstance(value, bool) else value

    @property
    def choices_wanted(self) -> int:
        return -1 if self.logprobs is None else self.logprobs

    def prompts(self) -> list[str | list[int]]:
        return several(self.prompt)


def several(given: str | list[str] | list[int] | list[list[int]]) -> list[str | list[int]]:
    """One text or list of ids, or many, as many."""
    if isinstance(given, str):
        return [given]
    if given and isinstance(given[0], int):
        return [list(given)]
    return list(given)  # type: ignore[arg-type]


class TextPart(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """One turn; content may come as parts, of which only text is understood."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart]

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class ChatRequest(Request):
    messages: list[ChatMessage] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool = False
    top_logprobs: int | None = Field(None, ge=0, le=TOP_CHAT_CHOICES)

    @field_validator("logprobs", mode="before")
    @classmethod
    def _no_logprobs(cls, value: Any) -> Any:
        return False if value is None else value

    @property
    def choices_wanted(self) -> int:
        return (self.top_logprobs or 0) if self.logprobs else -1


class EmbeddingRequest(Asked):
    """`input`: a text, texts, token ids, or lists of token ids. `dimensions`: keep this many of the vector's numbers."""

    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)

    @field_validator("encoding_format", mode="before")
    @classmethod
    def _null_is_default(cls, value: Any) -> Any:
        return "float" if value is None else value


class Scoring(BaseModel):
    """A completion to score after its prompt, or after the turns of a conversation. `end`: with the token that ends a text or a turn."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    prompt: str | list[int] | None = None
    messages: list[ChatMessage] | None = Field(None, min_length=1)
    completion: str | list[int]
    end: bool = False


class ScoreRequest(Asked):
    """Fledge's own: log-probabilities of texts, or of completions after prompts. `tokens`: tell each token's beside the sum. `kind`
    "reward": rewards of completions by a reward model."""

    input: str | list[str | list[int] | Scoring]
    kind: Literal["logprob", "reward"] = "logprob"
    tokens: bool = True

    def items(self) -> list[str | list[int] | Scoring]:
        return [self.input] if isinstance(self.input, str) else list(self.input)


R = TypeVar("R", bound=Asked)


def parse(kind: type[R], body: bytes) -> R:
    """The request in a body; a SettingError says in a sentence what is wrong with it, and `field` names where."""
    raw = read(body)
    for name in raw.keys() - kind.model_fields.keys() - kind.HARMLESS:
        if name not in kind.OFF:
            raise SettingError(tr("There is no parameter called {name}.", name=name), tr("Leave it out."), code="unknown_parameter",
                               field=name)
        if raw[name] is not None and raw[name] not in kind.OFF[name]:
            raise SettingError(tr("This server does not do {name}.", name=name), tr("Leave it out."), code="unsupported_parameter",
                               field=name)
    return checked(kind, raw)


def read(body: bytes) -> dict[str, Any]:
    """A body's JSON object; a SettingError when it is none."""
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
    return raw


M = TypeVar("M", bound=BaseModel)


def checked(kind: type[M], raw: dict[str, Any], within: str = "") -> M:
    """`raw` as a request; a SettingError in plain words otherwise. `within` is the field that `raw` itself stands in."""
    try:
        return kind.model_validate(raw)
    except ValidationError as wrong:
        raise _plainly(wrong.errors()[0], within) from None


def _plainly(first: Mapping[str, Any], within: str) -> SettingError:
    """One of pydantic's errors as a sentence and a remedy of ours."""
    where = [*([within] if within else []), *(part for part in first["loc"] if isinstance(part, int) or _is_name(part))]
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).removeprefix(".")
    field = str(where[0]) if where else ""
    if first["type"] == "missing":
        return SettingError(tr("{name} is missing.", name=name), tr("Add it to the request."), code="missing_parameter", field=field)
    if first["type"] == "extra_forbidden":
        return SettingError(tr("There is no parameter called {name}.", name=name), tr("Leave it out."), code="unknown_parameter",
                            field=field)
    return SettingError(tr("{name} cannot be {value}.", name=name, value=_short(first.get("input"))),
                        _forms(field) or _rule(str(first["type"]), first.get("ctx") or {}), code="bad_parameter", field=field)


def _is_name(part: str) -> bool:
    """Whether a part of pydantic's place is a field, not the member of a union ("list[str]", "function-...", "TextPart")."""
    return part.islower() and part.isidentifier() and part not in ("str", "int", "float", "bool", "dict", "list")


def _forms(field: str) -> str:
    """Fields that come in several forms."""
    if field in ("prompt", "input"):
        return tr("Give a text, a list of texts, or token ids; to /v1/score also objects with a prompt or messages, and a completion.") if \
            field == "input" else tr("Give a text, a list of texts, or token ids.")
    if field == "messages":
        return tr("Give a list of turns, each with a role (system, user, assistant or tool) and a content that is text.")
    if field == "stop":
        return tr("Give a text, or a list of up to {most} texts, none of them empty.", most=MAX_STOPS)
    return ""


def _rule(type: str, bounds: Mapping[str, Any]) -> str:
    """What would have been right, for each of pydantic's types of error that our fields can have."""
    if type in ("greater_than_equal", "greater_than", "less_than_equal", "less_than"):
        low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
        if type == "greater_than":
            return tr("It must be more than {low}.", low=f"{low:g}")
        return tr("The least is {low}.", low=f"{low:g}") if high is None else tr("The most is {high}.", high=f"{high:g}")
    if type == "literal_error":
        return tr("Choose {known}.", known=str(bounds.get("expected", "")).replace("'", '"'))
    if type in ("too_short", "string_too_short"):
        return tr("It must not be empty.")
    if type in ("too_long", "string_too_long"):
        return tr("It is too long: {most} at most.", most=f"{int(bounds.get('max_length', 0)):,}")
    for kinds, words in ((("int",), tr("Give a whole number.")), (("float", "finite"), tr("Give a number.")),
                         (("string",), tr("Give a text.")), (("bool",), tr("Give true or false.")),
                         (("list", "tuple"), tr("Give a list.")), (("dict", "model"), tr("Give a JSON object."))):
        if type.startswith(kinds):
            return words
    return tr("See the description of this parameter.")


def _short(value: Any) -> str:
    """A value as it stood in the JSON."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
