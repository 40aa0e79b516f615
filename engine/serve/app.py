"""The HTTP application: what is there whatever the protocol, and how errors are told. The protocols have a file each. No torch.

    GET /            that a server is here (clients of Ollama look); no token needed
    GET /health      its state; no token needed
    /v1/...          openai_api.py, own_api.py
    /api/...         ollama_api.py
Checked on every request (guard.py): the Host header, the Origin header, the bearer token.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from engine import __version__
from engine.contract.errors import FledgeError, NotFound
from engine.contract.words import tr
from engine.serve import replies
from engine.serve.answers import Desk
from engine.serve.catalogue import Catalogue
from engine.serve.engine import Engine
from engine.serve.guard import Guard, Names, Refused
from engine.serve.ollama_api import Ollama
from engine.serve.openai_api import OpenAI
from engine.serve.own_api import Own

log = logging.getLogger("fledge.serve")


class Server:
    """The application and its state. `build()` gives the ASGI app; `deliver` takes the engine's pieces, on the event loop."""

    def __init__(self, catalogue: Catalogue, engine: Engine, token: str, port: Callable[[], int], names: Names | None = None) -> None:
        self.engine, self._token, self._port, self._names = engine, token, port, names or Names()
        self.desk = Desk(catalogue, engine)
        self.deliver = self.desk.deliver
        self._started = time.time()

    def build(self) -> ASGIApp:
        routes = [Route("/", self.here, methods=["GET"]), Route("/health", self.health, methods=["GET"]), *OpenAI(self.desk).routes(),
                  *Own(self.desk).routes(), *Ollama(self.desk).routes()]
        handlers: dict[Any, Any] = {FledgeError: self._told, Exception: self._broken, 404: self._no_route, 405: self._no_method}
        return Guard(Starlette(routes=routes, exception_handlers=handlers), self._token, self._port, self._names)

    async def here(self, http: HttpRequest) -> Response:
        return PlainTextResponse("Fledge is running, and speaks as Ollama and OpenAI do")

    async def health(self, http: HttpRequest) -> Response:
        """state: loading, ready or failed. Numbers, no names: it needs no token."""
        status = self.engine.status()
        body = {"status": "ok" if status.state != "failed" else "error", "state": status.state, "version": __version__,
                "device": status.device, "models": len(status.models), "active": status.active, "waiting": status.waiting,
                "sharing": status.sharing, "memory": status.memory, "seconds": round(time.time() - self._started, 3)}
        if status.error is not None:
            body["error"] = replies.error(status.error)[1]["error"]
        return JSONResponse(body, 503 if status.state == "failed" else 200)

    # -- errors ------------------------------------------------------------------------------------------------------

    async def _told(self, http: HttpRequest, wrong: Exception) -> Response:
        assert isinstance(wrong, FledgeError)
        status, body = replies.told(http.url.path, wrong, getattr(wrong, "status", None))
        return JSONResponse(body, status)

    async def _broken(self, http: HttpRequest, wrong: Exception) -> Response:
        log.error("a request failed", exc_info=wrong)
        return await self._told(http, replies.ours())

    async def _no_route(self, http: HttpRequest, wrong: Exception) -> Response:
        remedy = tr("It has /v1/models, /v1/chat/completions and others of OpenAI's, and /api/tags, /api/chat and others of Ollama's.")
        return await self._told(http, NotFound(tr("This server has no {path}.", path=http.url.path), remedy, code="no_such_path"))

    async def _no_method(self, http: HttpRequest, wrong: Exception) -> Response:
        sentence = tr("{path} does not take {method}.", path=http.url.path, method=http.method)
        return await self._told(http, Refused(405, "bad_method", sentence, tr("Ask with GET for lists, with POST for text.")))
