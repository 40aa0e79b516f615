"""Local language models behind one small interface: is it there, which models has it, answer this. `of` makes the provider a setting names,
`find` (find.py) looks for all there are.

    project:MODEL      a model of this project, by the project's own server       project_provider.py
    ollama:NAME        Ollama on this machine (or where OLLAMA_HOST says)         ollama_provider.py
    ADDRESS NAME       an OpenAI-compatible server: LM Studio, llama.cpp, vLLM    openai_provider.py
    gguf:PATH          a GGUF file, by a llama.cpp binding                        gguf_provider.py

A provider asks once and says what came of it; waiting, asking again, keeping and counting are asking.py's. No torch. Which addresses may be
asked at all is reach.py's.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from engine.contract.errors import FledgeError, MachineError, SettingError
from engine.contract.events import Notice
from engine.contract.words import tr
from engine.generators.asks import Ask, Reply

__all__ = ["Ask", "Found", "LocalModel", "Provider", "Reply", "Think", "TooLong", "Unavailable", "find", "of"]

log = logging.getLogger("fledge.generators")

Think = Literal["off", "keep", "drop"]


@dataclass(frozen=True)
class LocalModel:
    """`name` as the setting takes it after its kind; `size` bytes on disk (0: unknown); `context` tokens (0: unknown)."""

    name: str
    title: str
    size: int = 0
    loaded: bool = False
    context: int = 0
    chat: bool = True


@dataclass(frozen=True)
class Found:
    """A place where models may be. `kind`: project, ollama, openai, gguf. Not running: `what_to_do` says what to start."""

    kind: str
    title: str
    address: str
    running: bool
    models: tuple[LocalModel, ...] = ()
    what_to_do: str = ""


class Unavailable(MachineError):
    """It cannot answer now, and may later. `reason`: "gone" (nothing listens), "busy" (asks for patience; `retry_after` seconds where it
    said), "slow" (longer than the timeout), "dropped" (the connection broke), "server" (a fault of its own), "form" (the answer is none of
    the protocol's)."""

    code = "unavailable"

    def __init__(self, reason: str, sentence: str, remedy: str = "", retry_after: float | None = None) -> None:
        super().__init__(sentence, remedy)
        self.reason, self.retry_after = reason, retry_after


class TooLong(FledgeError):
    """The question and the longest answer do not fit the model's context: true of this row, not of the model."""

    code, exit_code = "context_too_small", 3


def _log(notice: Notice) -> None:
    log.warning("%s %s", notice.title, notice.text)


@dataclass(eq=False)
class Provider(ABC):
    """One model at one place. `ask` may be called from many threads at once. `tell` gets what the person should know (a server that knows
    no schemas, say), each thing once."""

    name: str
    model: str
    address: str = ""
    context: int = 8192
    think: Think = "off"
    timeout: float = 300.0
    tell: Callable[[Notice], None] = _log
    _told: set[str] = field(default_factory=set, repr=False)

    @property
    def title(self) -> str:
        """The place, for people."""
        return self.address

    @abstractmethod
    def check(self) -> None:
        """Whether it could answer, before the run begins. Raises Missing or MachineError (nothing runs there: what to start), NotFound (no
        such model: how to get it), SettingError (the address)."""

    @abstractmethod
    def models(self) -> list[LocalModel]:
        """What the place has. Raises as `check`, but for the model."""

    @abstractmethod
    def ask(self, ask: Ask) -> Reply:
        """Answer once. Raises Unavailable (may be asked again), TooLong, NotFound, and MachineError (refused for good)."""

    def finished(self) -> None:  # noqa: B027
        """The run is over: memory that was taken for it may be freed."""

    def close(self) -> None:  # noqa: B027 -- most have nothing to let go of
        """Break off what is under way, let go of connections and of processes that this provider started. Callable from any thread."""

    def say_once(self, notice: Notice) -> None:
        if notice.code not in self._told:
            self._told.add(notice.code)
            self.tell(notice)


def of(name: str, project_dir: Path | None = None, allowed_host: str = "", context: int = 8192, think: Think = "off",
       timeout: float = 300.0, tell: Callable[[Notice], None] = _log, slots: int = 4) -> Provider:
    """The provider that a setting names. Asks nothing yet and starts nothing.

    allowed_host   the one host outside this machine that the person confirmed
    slots          requests at once that a server started here shall make room for
    A SettingError for a name that is none, and for an address that leaves the machine unconfirmed.
    """
    name = name.strip()
    kind, _, rest = name.partition(":")
    rest = rest.strip()
    common: dict[str, Any] = {"context": context, "think": think, "timeout": timeout, "tell": tell}
    if kind == "project" and rest:
        from engine.generators.project_provider import ProjectProvider
        if project_dir is None:
            raise SettingError(tr("{name} is a model of a project, and there is no project here.", name=name), tr("Open the project."))
        return ProjectProvider(name=name, model=rest, project_dir=project_dir, **common)
    if kind == "ollama" and rest:
        from engine.generators import ollama_provider
        return ollama_provider.OllamaProvider(name=name, model=rest, address=ollama_provider.address(allowed_host), **common)
    if kind == "gguf" and rest:
        from engine.generators.gguf_provider import GgufProvider
        return GgufProvider(name=name, model=rest, path=Path(rest).expanduser(), slots=slots, **common)
    address, _, model = name.partition(" ")
    if address.startswith(("http://", "https://")) and model.strip():
        from engine.generators import reach
        from engine.generators.openai_provider import OpenAIProvider
        return OpenAIProvider(name=name, model=model.strip(), address=reach.checked(address.rstrip("/"), allowed_host), **common)
    raise SettingError(tr("{name} does not name a local model.", name=name or '""'),
                       tr("Write project:MODEL, ollama:NAME, gguf:FILE, or an address and a model: http://127.0.0.1:1234/v1 MODEL."),
                       code="bad_model_name")


def find(project_dir: Path | None = None, allowed_host: str = "") -> list[Found]:
    """All places that could have models, running or not; asks each for two seconds at most (find.py)."""
    from engine.generators.find import look
    return look(project_dir, allowed_host)
