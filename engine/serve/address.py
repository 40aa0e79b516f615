"""Where a project's local server can be reached: written by the server, read by the window and by other tools. No torch, no web framework.

The file holds the token, so only its owner may read it. The truth is the lock beside it, which the operating system drops when the server
dies: a file without a held lock is stale, whatever process number it names.
"""

import dataclasses
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from engine.contract.errors import Locked
from engine.contract.words import tr
from engine.project import files, layout
from engine.project.locks import FileLock

TOKEN_BYTES = 32


@dataclass(frozen=True)
class Address:
    """`url` without a slash at the end; `token` for the Authorization header, "" where none is asked for; `pid` of the server."""

    url: str
    token: str
    pid: int
    host: str
    port: int
    version: str = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


def new_token() -> str:
    return secrets.token_urlsafe(TOKEN_BYTES)


def read(project: Path) -> Address | None:
    """The address of the server that runs for this project now; None when none does (a stale file counts as none)."""
    raw = files.read_json(layout.server_file(project))
    if not isinstance(raw, dict) or not FileLock(layout.server_lock(project)).taken():
        return None
    known = {f.name for f in dataclasses.fields(Address)}
    try:
        return Address(**{k: v for k, v in raw.items() if k in known})
    except TypeError:
        return None


class Post:
    """The server's side: one server a project. `take` before listening, `publish` once listening, `withdraw` at the end."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self._lock = FileLock(layout.server_lock(project))

    def take(self) -> None:
        """Become the server of the project; Locked when there is one."""
        if not self._lock.acquire(wait=1.0):
            other = read(self.project)
            where = other.url if other else tr("an address it has not told yet")
            raise Locked(tr("A server for this project is already running at {url}.", url=where),
                         tr("Use that one, or stop it (process {pid}) first.", pid=self._lock.holder().get("pid", "?")),
                         code="server_running")
        layout.server_file(self.project).unlink(missing_ok=True)

    def publish(self, address: Address) -> None:
        files.write_json(layout.server_file(self.project), dataclasses.asdict(address), mode=0o600)

    def withdraw(self) -> None:
        """Remove the file, then let go of the lock."""
        if self._lock.held:
            raw = files.read_json(layout.server_file(self.project))
            if isinstance(raw, dict) and raw.get("pid") == os.getpid():
                layout.server_file(self.project).unlink(missing_ok=True)
            self._lock.release()
