"""Models of this project, by the project's own server: the one that runs, else one that is started here and ends with this process.

So generation works with nothing else installed. A server that ends meanwhile (the window that owned it was closed) is replaced.
"""

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from engine.contract.errors import MachineError
from engine.contract.words import tr
from engine.generators.openai_provider import OpenAIProvider
from engine.generators.provider import Ask, LocalModel, Reply, Unavailable
from engine.project import files, launch, layout
from engine.project.models import list_models, resolve
from engine.project.project import Project
from engine.serve import address
from engine.serve.address import Address

START_SECONDS = 120.0
END_SECONDS = 10.0
POLL_SECONDS = 0.05


@dataclass
class Server:
    """The server of one project as one process uses it; shared by the providers of all its models."""

    project_dir: Path
    process: "subprocess.Popen[bytes] | None" = None
    users: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)

    def where(self) -> Address:
        """Its address, ready to answer; started if there is none. MachineError when it cannot be."""
        with self.lock:
            until = time.monotonic() + START_SECONDS
            while time.monotonic() < until and not self.closing.is_set():
                found = address.read(self.project_dir)
                if found is not None:
                    if self._ready(found):
                        return found
                elif self.process is None or self.process.poll() is not None:
                    if self.process is not None and self.process.returncode not in (0, 4) and self.process.returncode >= 0:
                        self.process = None
                        raise MachineError(tr("The project's own server ended while starting."), self._last_line(), code="own_server")
                    self.process = self._start()
                time.sleep(POLL_SECONDS)
        raise MachineError(tr("The project's own server does not answer."), self._last_line(), code="own_server")

    def _start(self) -> "subprocess.Popen[bytes]":
        command = [launch.interpreter(), "-m", "engine.serve.main", str(self.project_dir), "--owner-pid", str(os.getpid())]
        flags = {"creationflags": subprocess.CREATE_NO_WINDOW} if sys.platform == "win32" else {}  # a child of ours: it ends with us
        with files.append(layout.server_log(self.project_dir)) as out:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=launch.environment(),
                                    cwd=launch.source_root(), **flags)

    @staticmethod
    def _ready(found: Address) -> bool:
        try:
            state = httpx.get(f"{found.url}/health", timeout=10, trust_env=False).json()
        except (httpx.HTTPError, ValueError):
            return False
        if state.get("state") == "failed":
            raise MachineError(tr("The project's own server cannot work."), str((state.get("error") or {}).get("message", "")),
                               code="own_server")
        return state.get("state") == "ready"

    def _last_line(self) -> str:
        try:
            lines = layout.server_log(self.project_dir).read_bytes()[-4000:].decode("utf-8", "replace").splitlines()
        except OSError:
            lines = []
        return tr("It said: {line}", line=next((line.strip() for line in reversed(lines) if line.strip()), tr("nothing")))

    def end(self) -> None:
        self.closing.set()  # whoever waits for the start waits no longer
        with self.lock:
            if self.process is not None and self.process.poll() is None:
                self.process.terminate()
                try:
                    self.process.wait(END_SECONDS)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()
            self.process = None


_servers: dict[Path, Server] = {}
_lock = threading.Lock()


@dataclass(eq=False)
class ProjectProvider(OpenAIProvider):
    """One model of the project; `model` is its id."""

    project_dir: Path = Path()
    _server: Server | None = field(default=None, repr=False)

    @property
    def title(self) -> str:
        return tr("the project's own server")

    def check(self) -> None:
        resolve(Project.open(self.project_dir), self.model)
        self._find()

    def models(self) -> list[LocalModel]:
        """Read from the project: needs no server."""
        return listed(self.project_dir)

    def ask(self, ask: Ask) -> Reply:
        if not self.address:
            self._find()
        try:
            return super().ask(ask)
        except Unavailable as wrong:
            if wrong.reason in ("gone", "dropped") and address.read(self.project_dir) is None:
                self._find()  # asked again by whoever asks; a new server is there by then
            raise

    def close(self) -> None:
        super().close()
        with _lock:
            server, self._server, self.address = self._server, None, ""
            last = server is not None and server.users == 1
            if server is not None:
                server.users -= 1
                if last:
                    _servers.pop(self.project_dir, None)
        if server is not None and last:
            server.end()

    def headers(self) -> dict[str, str]:
        found = address.read(self.project_dir)
        return found.headers if found else {}

    def what_to_start(self) -> str:
        return tr("It is started again.")

    def how_to_get(self) -> str:
        return tr("Choose a model of this project.")

    def _find(self) -> None:
        with _lock:
            if self._server is None:
                self._server = _servers.setdefault(self.project_dir, Server(self.project_dir))
                self._server.users += 1
            server = self._server
        found = server.where()
        with self._lock:
            if self.address != f"{found.url}/v1":
                if self._http is not None:
                    self._http.close()
                self._http, self.address = None, f"{found.url}/v1"
                self.unknown |= {"chat_template_kwargs"}  # its templates know no thinking


def listed(project_dir: Path) -> list[LocalModel]:
    """The project's models, the tuned and the newest first: those are the ones that answer. Finished ones before checkpoints."""
    refs = list_models(Project.open(project_dir))
    refs.sort(key=lambda ref: (ref.chat, not ref.run, ref.created), reverse=True)
    return [LocalModel(ref.id, ref.title, chat=ref.chat) for ref in refs if not ref.untrained]
