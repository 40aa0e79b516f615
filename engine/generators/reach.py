"""Which addresses may be asked, and how: this machine's own, and the one host that the person typed and confirmed. Nothing else, ever.

A number of the loopback network or "localhost" (where that resolves to loopback alone) is this machine. Every other name or number, those
of the local network included, needs the confirmation. Proxies of the environment are not used, redirects are not followed, names and
passwords in addresses are refused: each of them could carry text to somewhere else.
"""

import ipaddress
import os
import socket
import threading
import weakref
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpx

from engine.contract.errors import SettingError
from engine.contract.words import tr

KEY_VARIABLE = "FLEDGE_GENERATOR_KEY"
"""Where a server asks for a key (vLLM, LM Studio), it is taken from here: keys stand in no setting, and so in no run's folder."""
CONNECT_SECONDS = 5.0
CONNECTIONS = 256


def checked(address: str, allowed_host: str = "") -> str:
    """`address`, if it may be asked. SettingError with code "bad_address" (none at all) or "not_local" (needs to be confirmed; the host is
    in its sentence)."""
    example = tr("Write it as http://127.0.0.1:1234/v1.")
    try:
        parts = urlsplit(address)
        host, _ = (parts.hostname or "").lower(), parts.port
    except ValueError as wrong:
        raise SettingError(tr("{address} is not an address.", address=address), example, code="bad_address") from wrong
    if parts.scheme not in ("http", "https") or not host or any(c.isspace() or c in "\\\x00" for c in address):
        raise SettingError(tr("{address} is not an address.", address=address), example, code="bad_address")
    if parts.username is not None or parts.password is not None:
        raise SettingError(tr("An address with a name or password in it is not used."), tr("Write it without: http://HOST:PORT/v1."),
                           code="bad_address")
    if parts.query or parts.fragment:
        raise SettingError(tr("{address} is not an address.", address=address), example, code="bad_address")
    if host == allowed_host.strip().strip("[]").lower() or is_own(host):
        return address
    raise SettingError(tr("{host} is not this machine, or not for certain. Texts would leave it.", host=host),
                       tr("Use an address that begins with http://127.0.0.1, or confirm {host}.", host=host), code="not_local")


def is_own(host: str) -> bool:
    """Whether a host is this machine and nothing else. Only "localhost" is looked up: other names may lead elsewhere tomorrow."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        if host != "localhost":
            return False
    try:
        return all(ipaddress.ip_address(str(found[4][0])).is_loopback for found in socket.getaddrinfo(host, None))
    except OSError:
        return False


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
