"""What programs made for Ollama may ask, as pydantic models. No torch, no HTTP.

As Ollama does, fields nobody knows are passed over, since its clients send many; fields and options that would change the answer and that
this server does not do are refused by name. Documented at https://github.com/ollama/ollama/blob/main/docs/api.md.
"""

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from engine.contract.errors import SettingError
from engine.contract.words import tr
from engine.serve.requests import MAX_STOPS, TOP_CHAT_CHOICES

LATEST = ":latest"
# How a model is put into memory there, and the window of the repetition penalty, which is the whole text here.
HARMLESS = frozenset({"num_keep", "num_batch", "num_gpu", "main_gpu", "low_vram", "f16_kv", "logits_all", "vocab_only", "use_mmap",
                      "use_mlock", "embedding_only", "num_thread", "numa", "penalize_newline", "repeat_last_n", "num_gqa",
                      "rope_frequency_base", "rope_frequency_scale"})
OFF: dict[str, tuple[Any, ...]] = {"mirostat": (0,), "mirostat_tau": (5,), "mirostat_eta": (0.1,), "tfs_z": (0, 1), "typical_p": (0, 1),
                                   "min_p": (0,), "presence_penalty": (0,), "frequency_penalty": (0,)}
UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class Options(BaseModel):
    """Ollama's names and defaults. `num_predict` below 1: as much as the context holds; `num_ctx` above the model's context is that."""

    model_config = ConfigDict(extra="allow", frozen=True)

    temperature: float = Field(0.8, ge=0, le=10)
    top_k: int = Field(40, ge=0)
    top_p: float = Field(0.9, gt=0, le=1)
    repeat_penalty: float = Field(1.1, gt=0, le=10)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    num_predict: int = -1
    num_ctx: int | None = Field(None, ge=1)
    stop: list[str] = Field(default_factory=list, max_length=MAX_STOPS)

    @field_validator("temperature", "top_k", "top_p", "repeat_penalty", "num_predict", mode="before")
    @classmethod
    def _null_is_default(cls, value: Any, info: Any) -> Any:
        return cls.model_fields[info.field_name].default if value is None else value

    @field_validator("stop", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [] if value is None else [value] if isinstance(value, str) else value

    def check_extra(self) -> None:
        """A SettingError for what is not done here."""
        for name, value in (self.model_extra or {}).items():
            if name in HARMLESS or value is None or (name in OFF and value in OFF[name]):
                continue
            if name in OFF:
                raise SettingError(tr("This server does not do {name}.", name=name), tr("Leave it out."), code="unsupported_parameter",
                                   field="options")
            raise SettingError(tr("There is no option called {name}.", name=name), tr("Leave it out."), code="unknown_parameter",
                               field="options")

    @property
    def penalty(self) -> float:
        return 1.0 if (self.model_extra or {}).get("repeat_last_n") == 0 else self.repeat_penalty


class Named(BaseModel):
    """A request about a model; older clients say `name`."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    model: str = ""
    name: str = ""

    @property
    def id(self) -> str:
        """The model's id: `:latest`, which clients put behind a name without a tag, is nothing."""
        said = self.model or self.name
        if not said:
            raise SettingError(tr("{name} is missing.", name="model"), tr("Add it to the request."), code="missing_parameter",
                               field="model")
        return said.removesuffix(LATEST)


class Lasting(Named):
    options: dict[str, Any] | None = None
    keep_alive: float | str | None = None

    @property
    def keep(self) -> float | None:
        return None if self.keep_alive is None else duration(self.keep_alive)


class Writing(Lasting):
    """`format`: "json", or a schema that the text is held to."""

    stream: bool | None = None
    format: Literal["", "json"] | dict[str, Any] | None = None
    think: bool | str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=TOP_CHAT_CHOICES)

    @property
    def streams(self) -> bool:
        return self.stream is not False

    @property
    def choices_wanted(self) -> int:
        return (self.top_logprobs or 0) if self.logprobs else -1

    @property
    def schema_wanted(self) -> dict[str, Any] | None:
        return {"type": "object"} if self.format == "json" else self.format if isinstance(self.format, dict) else None

    def refuse(self, *names: str) -> None:
        """A SettingError for the first of these fields that holds something."""
        for name in (*names, "think"):
            value = getattr(self, name, None)
            if value not in (None, "", False, [], {}, "none", "false"):
                raise SettingError(tr("This server does not do {name}.", name=name), tr("Leave it out."), code="unsupported_parameter",
                                   field=name)


class Turn(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    images: list[Any] | None = None
    tool_calls: list[Any] | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _null_is_empty(cls, value: Any) -> Any:
        return "" if value is None else value


class ChatAsked(Writing):
    messages: list[Turn] = Field(default_factory=list)
    tools: list[Any] | None = None


class GenerateAsked(Writing):
    """`raw`: the prompt as it stands, without the chat template. `context`: tokens of an earlier answer, to go on from."""

    prompt: str = ""
    suffix: str | None = None
    system: str = ""
    template: str | None = None
    context: list[int] | None = None
    raw: bool | None = None
    images: list[Any] | None = None

    @field_validator("prompt", "system", mode="before")
    @classmethod
    def _null_is_empty(cls, value: Any) -> Any:
        return "" if value is None else value


class EmbedAsked(Lasting):
    input: str | list[str] = ""
    prompt: str | None = None
    truncate: bool | None = None
    dimensions: int | None = Field(None, ge=1)


def duration(value: float | str) -> float:
    """Seconds of "5m", "1h30m", "-1" or a number; below 0: for ever."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    text = str(value).strip()
    sign, rest = (-1.0, text[1:]) if text.startswith("-") else (1.0, text.removeprefix("+"))
    if re.fullmatch(r"[0-9]+(\.[0-9]*)?", rest):
        return sign * float(rest)
    parts = re.findall(r"([0-9]+(?:\.[0-9]*)?)(ns|us|µs|ms|s|m|h)", rest)
    if not parts or "".join(number + unit for number, unit in parts) != rest:
        raise SettingError(tr("{value} is no length of time.", value=f'"{text}"'), tr("Use seconds, or say 5m, 1h30m, or -1 for no end."),
                           code="bad_parameter", field="keep_alive")
    return sign * sum(float(number) * UNITS[unit] for number, unit in parts)
