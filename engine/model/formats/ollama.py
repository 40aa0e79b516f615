"""Ollama: creates a model in one that runs, through its API, or writes what `ollama create` takes (a GGUF file and a Modelfile).

Only this machine is asked unless another address is named; OLLAMA_HOST counts where it is a loopback address. It pulls and deletes nothing.
The API is that of Ollama 0.5.5 and later: blobs by their SHA-256, then /api/create.
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from engine.contract.addresses import is_own
from engine.contract.errors import InputError, MachineError, Missing, SettingError
from engine.contract.words import tr
from engine.model.formats.go_template import GoTemplate
from engine.model.formats.tokenizer_out import Words

DEFAULT = "http://127.0.0.1:11434"
BLOCK = 1 << 20
NAME = re.compile(r"(?:[a-zA-Z0-9_][a-zA-Z0-9_.-]*/){0,2}[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,79}(?::[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,79})?")


@dataclass(frozen=True)
class Recipe:
    """How Ollama should use the weights. `parameters` has "stop" (texts that end an answer) and "num_ctx"."""

    template: GoTemplate
    parameters: dict[str, Any] = field(default_factory=dict)
    licence: str = ""

    def modelfile(self, gguf: str) -> str:
        """What `ollama create NAME -f Modelfile` reads; `gguf` is a path relative to it."""
        lines = [f"FROM ./{gguf}"]
        if self.template.text:
            lines.append(f"TEMPLATE {_quoted(self.template.text)}")
        for key, value in self.parameters.items():
            lines += [f"PARAMETER {key} {_quoted(x) if isinstance(x, str) else x}" for x in (value if isinstance(value, list) else [value])]
        if self.licence:
            lines.append(f"LICENSE {_quoted(self.licence)}")
        return "\n".join(lines) + "\n"


def recipe(words: Words, template: GoTemplate, context: int, licence: str = "", sampling: dict[str, Any] | None = None) -> Recipe:
    """`sampling`: temperature, top_p, top_k, min_p and the like of a generation config, where the model brought one."""
    parameters: dict[str, Any] = {"num_ctx": context}
    stops = [words.name(id) for id in words.stop_ids]
    if stops:
        parameters["stop"] = stops
    known = {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p", "repetition_penalty": "repeat_penalty"}
    parameters |= {known[key]: value for key, value in (sampling or {}).items() if key in known and isinstance(value, (int, float))}
    return Recipe(template, parameters, licence)


def _quoted(text: str) -> str:
    """A Modelfile's string: three quotes where there are lines or quotes in it. It has no escapes; three quotes inside cannot be said."""
    if '"' not in text and "\n" not in text:
        return f'"{text}"'
    if '"""' in text or text.endswith('"'):
        raise InputError(tr("The chat template cannot be written into a Modelfile."),
                         tr("Start Ollama: its API takes the template as it is."))
    return f'"""{text}"""'


def slug(title: str) -> str:
    """A name that Ollama takes, from a title."""
    return re.sub(r"[^a-z0-9_.-]+", "-", title.lower()).strip("-.") or "fledge"


def check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise SettingError(tr("Ollama takes no model called {name}.", name=name),
                           tr("Use letters, digits, - _ and ., with a tag after a colon if you like."), field="name")


def address(named: str = "") -> str:
    """Where Ollama listens: what is named, else OLLAMA_HOST if it means this machine, else its default."""
    if named:
        return _url(named)
    said = os.environ.get("OLLAMA_HOST", "")
    return _url(said) if said and is_loopback(_url(said)) else DEFAULT


def _url(text: str) -> str:
    made = urlsplit(text if "://" in text else f"http://{text}")
    try:
        port = made.port
    except ValueError:
        port = -1
    host = "127.0.0.1" if made.hostname in (None, "0.0.0.0") else str(made.hostname)
    if made.scheme not in ("http", "https") or port == -1:
        raise SettingError(tr("{text} is no address of an Ollama.", text=text), tr("Write it as http://127.0.0.1:11434."), field="host")
    shown = f"[{host}]" if ":" in host else host
    return f"{made.scheme}://{shown}:{port or (443 if made.scheme == 'https' else 11434)}"


def is_loopback(url: str) -> bool:
    """Whether an address stays on this machine."""
    return is_own(urlsplit(url).hostname or "")


class Ollama:
    """One server. Calls raise Missing when it does not answer, MachineError with its own words when it refuses."""

    def __init__(self, url: str = "") -> None:
        self.url = address(url)
        self._client = httpx.Client(base_url=self.url, timeout=httpx.Timeout(600, connect=3), trust_env=False)

    def close(self) -> None:
        self._client.close()

    def version(self) -> str:
        """Its version; "" where none runs."""
        try:
            answer = self._client.get("/api/version", timeout=3)
            return str(answer.json().get("version", "")) if answer.status_code == 200 else ""
        except (httpx.HTTPError, ValueError, AttributeError):
            return ""

    def models(self) -> list[str]:
        return [str(m.get("name")) for m in self._json("GET", "/api/tags").get("models") or ()]

    def has(self, name: str) -> bool:
        return (name if ":" in name.rpartition("/")[2] else f"{name}:latest") in self.models()

    def has_blob(self, sha256: str) -> bool:
        return self._send("HEAD", f"/api/blobs/sha256:{sha256}").status_code == 200

    def upload(self, path: Path, sha256: str, told: Callable[[int], None] = lambda count: None) -> bool:
        """Give it a file, unless it has it already (then False). `told` gets the bytes of each block and may raise to end the upload."""
        if self.has_blob(sha256):
            return False

        def blocks() -> Iterator[bytes]:
            with open(path, "rb") as file:
                while block := file.read(BLOCK):
                    yield block
                    told(len(block))

        answer = self._send("POST", f"/api/blobs/sha256:{sha256}", content=blocks(), headers={"Content-Length": str(path.stat().st_size)})
        if answer.status_code not in (200, 201):
            raise self._refused(answer)
        return True

    def create(self, name: str, files: dict[str, str], how: Recipe, heed: Callable[[], None] = lambda: None) -> None:
        """Make (or replace) the model `name`. `files`: {"model.gguf": SHA-256}; their blobs must be there."""
        body: dict[str, Any] = {"model": name, "files": {file: f"sha256:{sha}" for file, sha in files.items()},
                                "parameters": how.parameters, "stream": True}
        if how.template.text:
            body["template"] = how.template.text
        if how.licence:
            body["license"] = how.licence
        done = False
        try:
            with self._client.stream("POST", "/api/create", json=body) as answer:
                if answer.status_code != 200:
                    answer.read()
                    raise self._refused(answer)
                for line in answer.iter_lines():
                    heed()
                    said = json.loads(line) if line.strip() else {}
                    if said.get("error"):
                        raise MachineError(tr("Ollama refused the model: {reason}.", reason=str(said["error"]).rstrip(".")),
                                           tr("Read its log."), code="ollama")
                    done = done or said.get("status") == "success"
        except (httpx.HTTPError, ValueError) as wrong:
            raise self._gone(wrong) from wrong
        if not done:
            raise MachineError(tr("Ollama ended without having made the model."), tr("Read its log, and export again."), code="ollama")

    def show(self, name: str) -> dict[str, Any]:
        return self._json("POST", "/api/show", json={"model": name})

    def generate(self, name: str, prompt: str, tokens: int) -> str:
        """The likeliest continuation of a text, as it stands."""
        made = self._json("POST", "/api/generate", json={"model": name, "prompt": prompt, "raw": True, "stream": False, "options": {
            "temperature": 0, "num_predict": tokens, "repeat_penalty": 1.0, "seed": 0}})
        return str(made.get("response", ""))

    def _json(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        answer = self._send(method, path, **body)
        if answer.status_code != 200:
            raise self._refused(answer)
        try:
            made = answer.json()
        except ValueError as wrong:
            raise self._gone(wrong) from wrong
        return made if isinstance(made, dict) else {}

    def _send(self, method: str, path: str, **body: Any) -> httpx.Response:
        try:
            return self._client.request(method, path, **body)
        except httpx.HTTPError as wrong:
            raise self._gone(wrong) from wrong

    def _gone(self, wrong: Exception) -> Missing:
        return Missing(tr("Ollama at {url} does not answer as it should ({reason}).", url=self.url, reason=type(wrong).__name__),
                       tr("Start it, or export a GGUF file."), code="ollama")

    def _refused(self, answer: httpx.Response) -> MachineError:
        try:
            reason = str(answer.json().get("error", "")) or answer.reason_phrase
        except (ValueError, AttributeError):
            reason = answer.reason_phrase
        return MachineError(tr("Ollama refused: {reason}.", reason=reason.rstrip(".") or str(answer.status_code)),
                            tr("Update Ollama, or export a GGUF file."), code="ollama")
