"""Local models as the window speaks of them: a model, the place where it runs, and how a setting names them. Which ones there are is found
elsewhere."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class ModelChoice:
    """A model as the spec names it. `size` in bytes, 0 where it is not known."""

    name: str
    title: str
    size: int = 0
    loaded: bool = False


@dataclass(frozen=True)
class Place:
    """Where models run: Ollama, a server, this project, GGUF files. `what_to_do` says what to start while it is not running."""

    kind: str
    title: str
    address: str = ""
    running: bool = False
    models: tuple[ModelChoice, ...] = ()
    what_to_do: str = ""
    added: bool = False


def host_of(model: str) -> str:
    """The host of a model on a server ("http://192.168.0.7:1234/v1 qwen3"), "" for any other."""
    address = model.partition(" ")[0]
    return (urlsplit(address).hostname or "") if address.startswith(("http://", "https://")) else ""


def is_local(host: str) -> bool:
    """Whether a host is this machine itself; another machine of the same network is not."""
    if host in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def short_name(model: str) -> str:
    """A model without where it runs: "qwen3:4b" for "ollama:qwen3:4b"."""
    if host_of(model):
        return model.partition(" ")[2] or model
    kind, _, rest = model.partition(":")
    return (rest.replace("\\", "/").rpartition("/")[2] if kind == "gguf" else rest) or model
