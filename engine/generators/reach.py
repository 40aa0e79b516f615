"""Which addresses may be asked, and how: this machine's own, and the one host that the person typed and confirmed. Nothing else, ever.

engine/contract/addresses.py decides by the address alone; here it is kept to: proxies of the environment are not used and redirects not
followed, since each of them could carry text to somewhere else.
"""

import os
import socket
import threading
import weakref
from contextlib import suppress
from typing import Any

import httpx

from engine.contract.addresses import checked, is_own

__all__ = ["CONNECTIONS", "KEY_VARIABLE", "Lines", "checked", "client", "is_own", "key_headers", "settings"]

KEY_VARIABLE = "FLEDGE_GENERATOR_KEY"
"""Where a server asks for a key (vLLM, LM Studio), it is taken from here: keys stand in no setting, and so in no run's folder."""
CONNECT_SECONDS = 5.0
CONNECTIONS = 256


class Lines:
    """The connections of a client, so that they can be cut from another thread: closing a client leaves those that wait for an answer
    waiting."""

    def __init__(self) -> None:
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._lock = threading.Lock()

    def hook(self, request: httpx.Request) -> None:
        """For a client's event hooks."""
        request.extensions["trace"] = self._traced

    def cut(self) -> None:
        with self._lock:
            for one in self._sockets:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _traced(self, event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            with self._lock:
                self._sockets.add(info["return_value"].get_extra_info("socket"))


def client(timeout: float, headers: dict[str, str] | None = None, lines: Lines | None = None) -> httpx.Client:
    """A client that goes straight to the address it is given. Usable from many threads."""
    return httpx.Client(**settings(timeout, headers), event_hooks={"request": [lines.hook] if lines else []})


def settings(timeout: float, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """What every client here is made with. `timeout` seconds may pass until an answer is there."""
    return {"timeout": httpx.Timeout(timeout, connect=min(CONNECT_SECONDS, timeout), pool=None), "trust_env": False,
            "follow_redirects": False, "headers": headers or {},
            "limits": httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)}


def key_headers() -> dict[str, str]:
    key = os.environ.get(KEY_VARIABLE, "").strip()
    return {"Authorization": f"Bearer {key}"} if key else {}
