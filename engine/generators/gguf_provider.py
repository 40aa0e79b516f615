"""A GGUF file, run by a binding of llama.cpp in a process of its own (gguf_child.py), which ends with this one.

xllamacpp comes first: it is llama.cpp's own server, prebuilt, with several requests at once and schemas held by its grammars;
llama-cpp-python (the optional extra) answers one at a time and is built from source. A binding that crashes takes only its process along;
it is started again when it is asked next.
"""

import importlib.util
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from engine.contract.errors import FormatError, MachineError, Missing, NotFound
from engine.contract.words import tr
from engine.generators.openai_provider import OpenAIProvider
from engine.generators.provider import Ask, LocalModel, Reply, Unavailable
from engine.project import launch

BINDINGS = ("xllamacpp", "llama_cpp")
MODEL = "model"
MAGIC = b"GGUF"
LOAD_SECONDS = 900.0
MOST_SLOTS = 8
"""Each slot has a context of its own in memory."""


def binding() -> str:
    """The binding that is installed, "" for none. Imports nothing."""
    return next((name for name in BINDINGS if importlib.util.find_spec(name) is not None), "")


def how_to_install() -> str:
    return tr("Install one into Fledge's Python: pip install xllamacpp (prebuilt), or pip install fledge[llama-cpp].")


@dataclass(eq=False)
class GgufProvider(OpenAIProvider):
    """One file. `log` keeps the last of what the binding said."""

    path: Path = Path()
    slots: int = 4
    load_seconds: float = LOAD_SECONDS
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)
    _key: str = field(default="", repr=False)
    _starting: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _closed: bool = field(default=False, repr=False)
    _log: list[bytes] = field(default_factory=list, repr=False)

    @property
    def title(self) -> str:
        return self.path.name

    def check(self) -> None:
        try:
            with open(self.path, "rb") as file:
                begin = file.read(4)
        except OSError as wrong:
            raise NotFound(tr("There is no file {path}.", path=str(self.path)), tr("Choose a GGUF file."), code="no_model") from wrong
        if begin != MAGIC:
            raise FormatError(tr("{path} is no GGUF file.", path=self.path.name), tr("Choose one that ends with .gguf."))
        if not binding():
            raise Missing(tr("A binding of llama.cpp is not installed, and GGUF files need one."), how_to_install(), code="no_binding")
        self._ensure()

    def models(self) -> list[LocalModel]:
        return [LocalModel(str(self.path), self.path.name, self.path.stat().st_size, self._alive())] if self.path.is_file() else []

    def ask(self, ask: Ask) -> Reply:
        self._ensure()
        try:
            return super().ask(ask)
        except Unavailable as wrong:
            if wrong.reason in ("gone", "dropped") and not self._alive():
                raise Unavailable("dropped", tr("llama.cpp ended while answering."), self._said()) from wrong
            raise

    def close(self) -> None:
        self._closed = True
        super().close()
        process, self._process = self._process, None
        if process is not None:
            if process.stdin:
                process.stdin.close()  # it ends by itself when this closes, as it does when we are killed
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe:
                    pipe.close()

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"}

    def what_to_start(self) -> str:
        return tr("It is started again.")

    def how_to_get(self) -> str:
        return tr("Choose another file.")

    def _alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _ensure(self) -> None:
        """The process runs and has loaded the file. MachineError when it cannot."""
        with self._starting:
            if self._alive() or self._closed:
                return
            self._key, self._log = secrets.token_urlsafe(24), []
            asked = {"path": str(self.path), "context": self.context, "slots": max(1, min(self.slots, MOST_SLOTS)), "key": self._key,
                     "binding": binding(), "name": MODEL}
            flags = {"creationflags": subprocess.CREATE_NO_WINDOW} if sys.platform == "win32" else {}
            made = subprocess.Popen([launch.interpreter(), "-m", "engine.generators.gguf_child"], stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=launch.environment(), cwd=launch.source_root(),
                                    **flags)
            threading.Thread(target=self._listen, args=(made,), daemon=True).start()
            said: list[bytes] = []
            reading = threading.Thread(target=lambda: said.append(made.stdout.readline()) if made.stdout else None, daemon=True)
            assert made.stdin is not None
            made.stdin.write(json.dumps(asked).encode() + b"\n")  # not on the command line, which others can read
            made.stdin.flush()
            reading.start()
            until = time.monotonic() + self.load_seconds
            while reading.is_alive() and time.monotonic() < until and made.poll() is None and not self._closed:
                reading.join(0.1)
            reading.join(0.5)
            try:
                url = json.loads(said[0])["url"]
            except (IndexError, ValueError, KeyError, TypeError):
                made.kill()
                made.wait()
                raise MachineError(tr("llama.cpp cannot run {file}.", file=self.path.name), self._said(), code="gguf") from None
            with self._lock:
                if self._http is not None:
                    self._http.close()
                self._http, self.address, self.model = None, f"{url}/v1", MODEL
                self._process = made

    def _listen(self, process: "subprocess.Popen[bytes]") -> None:
        """Keep the last lines that the binding says."""
        assert process.stderr is not None
        try:
            for line in process.stderr:
                self._log = [*self._log[-30:], line]
        except (OSError, ValueError):  # closed
            return

    def _said(self) -> str:
        lines = [line.decode("utf-8", "replace").strip() for line in self._log]
        told = next((line for line in reversed(lines) if "error" in line.lower() or "fail" in line.lower()), lines[-1] if lines else "")
        return tr("It said: {line}", line=told[:300] or tr("nothing")) + " " + tr("Choose another file, or a shorter context.")


def cache_files(folder: Path) -> list[Path]:
    """GGUF files right in a folder and one level below, by name: where people keep them."""
    if not folder.is_dir():
        return []
    return sorted(p for pattern in ("*.gguf", "*/*.gguf") for p in folder.glob(pattern) if os.access(p, os.R_OK))
