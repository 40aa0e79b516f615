"""Servers for tests of the generators: one that misbehaves as told (OpenAI's and Ollama's protocol), and one that passes everything on to a
real server and keeps count of it."""

import hashlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are killed are what these servers are for."""


@dataclass
class Hostile:
    """`script(number, body)` says how request `number` (from 0) is answered:

    a text          an answer of the model
    ("status", code, headers, body)
    ("raw", bytes)  the body of a 200
    ("drop",)       the connection is reset
    ("slow", seconds, text)
    ("wrong", text) an answer whose form is none of the protocol's
    """

    script: Callable[[int, dict[str, Any]], Any] = lambda number, body: "fine"
    models: tuple[str, ...] = ("tiny",)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    most_at_once: int = 0
    port: int = 0
    _at_once: int = 0
    _open: set[socket.socket] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _web: _Server | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def name(self) -> str:
        return f"{self.address}/v1 tiny"

    @property
    def asks(self) -> int:
        return len(self.bodies)

    def start(self) -> "Hostile":
        """Listen, at the same port as before if there was one."""
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                with owner._lock:
                    owner._open.add(self.connection)

            def finish(self) -> None:
                with owner._lock:
                    owner._open.discard(self.connection)
                with suppress(OSError):
                    super().finish()

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                owner.paths.append(self.path)
                if self.path == "/v1/models":
                    self._json({"data": [{"id": name, "object": "model"} for name in owner.models]})
                elif self.path == "/api/tags":
                    self._json({"models": [{"model": f"{name}:latest", "name": name, "size": 5} for name in owner.models]})
                elif self.path == "/api/ps":
                    self._json({"models": []})
                else:
                    self._json({"error": "no such place"}, 404)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if self.path == "/api/show":
                    known = body["model"].removesuffix(":latest") in owner.models
                    self._json({"model_info": {"llama.context_length": 4096}, "details": {}} if known else {"error": "model not found"},
                               200 if known else 404)
                    return
                with owner._lock:
                    owner.paths.append(self.path)
                    owner.headers.append({k.lower(): v for k, v in self.headers.items()})
                    number = len(owner.bodies)
                    owner.bodies.append(body)
                    owner._at_once += 1
                    owner.most_at_once = max(owner.most_at_once, owner._at_once)
                try:
                    self._answer(owner.script(number, body))
                finally:
                    with owner._lock:
                        owner._at_once -= 1

            def _answer(self, told: Any) -> None:
                if isinstance(told, tuple) and told[0] == "slow":
                    time.sleep(told[1])
                    told = told[2]
                if isinstance(told, tuple) and told[0] == "status":
                    _, code, headers, said = told
                    self._send(said.encode() if isinstance(said, str) else json.dumps(said).encode(), code, headers)
                elif isinstance(told, tuple) and told[0] == "raw":
                    self._send(told[1])
                elif isinstance(told, tuple) and told[0] == "drop":
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close_connection = True
                    self.connection.close()
                elif isinstance(told, dict):
                    self._json(told)
                elif self.path == "/api/chat":
                    self._json({"model": "tiny", "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant", "content": told},
                                "done": True, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 3})
                else:
                    self._json({"choices": [{"message": {"role": "assistant", "content": told}, "finish_reason": "stop"}],
                                "usage": {"prompt_tokens": 7, "completion_tokens": 3}})

            def _json(self, value: Any, status: int = 200) -> None:
                self._send(json.dumps(value).encode(), status)

            def _send(self, data: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

        self._web = _Server(("127.0.0.1", self.port), Handler)
        self.port = self._web.server_address[1]
        threading.Thread(target=self._web.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self) -> None:
        """Nothing listens any more; connections that stand are cut."""
        web, self._web = self._web, None
        if web is not None:
            web.shutdown()
            web.server_close()
            with self._lock:
                for one in self._open:
                    with suppress(OSError):
                        one.shutdown(socket.SHUT_RDWR)


@contextmanager
def hostile(script: Callable[[int, dict[str, Any]], Any] | None = None, **settings: Any) -> Iterator[Hostile]:
    made = Hostile(**({"script": script} if script else {}), **settings).start()
    try:
        yield made
    finally:
        made.stop()


@dataclass
class Passed:
    """One request that went through. `ended` 0: its answer was not delivered."""

    digest: str
    began: float
    ended: float = 0.0
    status: int = 0


class Counting:
    """Passes requests on to `target` and keeps count of those that ask for text. `delay` seconds are added to each, so that a kill finds
    some under way."""

    def __init__(self, target: str, delay: float = 0.0) -> None:
        self.passed: list[Passed] = []
        owner, lock = self, threading.Lock()
        client = httpx.Client(base_url=target, timeout=120, trust_env=False, limits=httpx.Limits(max_connections=64))

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def _pass(self) -> None:
                data = self.rfile.read(int(self.headers.get("content-length") or 0))
                record = None
                if self.command == "POST" and ("/chat" in self.path):
                    record = Passed(hashlib.sha256(data).hexdigest(), time.time())
                    with lock:
                        owner.passed.append(record)
                    time.sleep(delay)
                keep = {k: v for k, v in self.headers.items() if k.lower() in ("authorization", "content-type", "accept")}
                said = client.request(self.command, self.path, content=data, headers=keep)
                self.send_response(said.status_code)
                self.send_header("Content-Type", said.headers.get("content-type", "application/json"))
                self.send_header("Content-Length", str(len(said.content)))
                self.end_headers()
                self.wfile.write(said.content)
                self.wfile.flush()
                if record:
                    record.ended, record.status = time.time(), said.status_code

            do_GET = do_POST = _pass

        self._web = _Server(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._web.server_address[1]}"
        self._client = client
        threading.Thread(target=self._web.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self._web.shutdown()
        self._web.server_close()
        self._client.close()

    def asked_again(self, kills: list[float], just_before: float = 0.3) -> tuple[int, int]:
        """(requests repeated though their answer had long been delivered, requests repeated that a kill found under way)."""
        wrongly = rightly = 0
        by_digest: dict[str, list[Passed]] = {}
        for one in self.passed:
            by_digest.setdefault(one.digest, []).append(one)
        for same in by_digest.values():
            for first in same[:-1]:
                under_way = any(first.began <= kill and (not first.ended or first.ended >= kill - just_before) for kill in kills)
                wrongly, rightly = wrongly + (not under_way), rightly + under_way
        return wrongly, rightly
