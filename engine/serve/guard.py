"""Who may ask: the Host header (against DNS rebinding), the Origin header (against web pages), the bearer token. ASGI, no routes.

Beyond this machine's own names a Host is taken only when the server was told to listen beyond loopback, and then only an address (a name
can be made to point anywhere, an address cannot), this machine's name, or a name given by hand. Pages of this machine may ask from a
browser and get the headers for it.
"""

import ipaddress
import secrets
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.contract.addresses import is_own
from engine.contract.errors import FledgeError, SettingError
from engine.contract.words import tr
from engine.serve import replies

LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")
OPEN_PATHS = ("/", "/health")  # say that the server is there, and nothing of the project
CONTAINER_HOST = "host.docker.internal"  # how programs in a container name the machine they run on


class Refused(FledgeError):
    """Who asks may not; `status` is the HTTP status."""

    code = "refused"

    def __init__(self, status: int, code: str, sentence: str, remedy: str) -> None:
        super().__init__(sentence, remedy, code=code)
        self.status = status


def check_settings(host: str, token: str) -> None:
    """Beyond this machine a token is asked for: a SettingError otherwise, and for a host that is no address."""
    if host != "localhost":
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise SettingError(tr("{host} is not an address to listen on.", host=host),
                               tr("Use 127.0.0.1, or 0.0.0.0 for every network of this machine."), code="bad_host", field="host") from None
    if not token and not is_own(host):
        raise SettingError(tr("Without a token the server listens on this machine only, not on {host}.", host=host),
                           tr("Leave out --no-token, or use 127.0.0.1."), code="token_needed", field="no_token")


class Names:
    """The Host headers that name this server. `allowed` are names given by hand, with any port (a proxy has its own)."""

    def __init__(self, host: str = "127.0.0.1", allowed: Sequence[str] = ()) -> None:
        self.beyond, self._allowed = not is_own(host), {name.lower() for name in allowed}
        own = socket.gethostname().lower()
        self._names = {*LOOPBACK, host.lower(), f"[{host}]"} | ({own, f"{own}.local", CONTAINER_HOST} if self.beyond else set())

    def fits(self, header: str, port: int) -> bool:
        name, _, given = header.rpartition(":") if not header.endswith("]") and ":" in header else (header, "", "")
        name = name.lower()
        if name in self._allowed:
            return True
        return given == str(port) and (name in self._names or (self.beyond and _is_address(name)))


def _is_address(name: str) -> bool:
    with suppress(ValueError):
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        return True
    return False


class Guard:
    """Lets in requests that name this server as host, come from no foreign web page, and know the token."""

    def __init__(self, app: ASGIApp, token: str, port: Callable[[], int], names: Names) -> None:
        self.app, self._token, self._port, self._names = app, token, port, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            self._check_place(headers)
            origin = headers.get("origin")
            if origin is not None:
                send = _with_origin(send, origin)
            if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
                await Response(status_code=204, headers=_preflight(headers))(scope, receive, send)
                return
            self._check_token(scope, headers)
        except Refused as wrong:
            status, body = replies.told(scope["path"], wrong, wrong.status, "authentication_error" if wrong.status == 401 else None)
            await JSONResponse(body, status, {"WWW-Authenticate": "Bearer"} if wrong.status == 401 else None)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _check_place(self, headers: dict[str, str]) -> None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._names.fits(host, self._port()):
            raise Refused(403, "bad_host", tr("The host {host} is not this server.", host=host or '""'),
                          tr("Use http://127.0.0.1:{port}.", port=self._port()))
        if (origin is not None and urlsplit(origin).hostname not in ("127.0.0.1", "localhost", "::1")) or \
                (origin is None and headers.get("sec-fetch-site") == "cross-site"):
            raise Refused(403, "bad_origin", tr("Web pages from {origin} may not use this server.", origin=origin or tr("elsewhere")),
                          tr("Only pages of this machine may."))

    def _check_token(self, scope: Scope, headers: dict[str, str]) -> None:
        if not self._token or scope["path"] in OPEN_PATHS:
            return
        given = headers.get("authorization", "")
        if not secrets.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            raise Refused(401, "bad_token", tr("The token is missing or wrong."),
                          tr("Send the header Authorization: Bearer TOKEN; the token is in the file .server.json of the project."))


def _with_origin(send: Send, origin: str) -> Send:
    """Tells the browser that the page may read the answer."""
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            more: list[Any] = [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin")]
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await send(message)
    return sent


def _preflight(headers: dict[str, str]) -> dict[str, str]:
    return {"Access-Control-Allow-Methods": "GET, POST, DELETE, HEAD", "Access-Control-Max-Age": "600",
            "Access-Control-Allow-Headers": headers.get("access-control-request-headers", "authorization, content-type")}
