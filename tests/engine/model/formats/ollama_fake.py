"""Ollama's API as a real HTTP server on loopback, as far as an export uses it: blobs by hash, create, tags, show, generate. It refuses what
Ollama refuses (a wrong digest, an unknown blob, a template that does not parse) and renders the templates it is given.

It stands in for the real one, which comes from no package registry; `Go` understands the part of Go's text/template that exports write, and
was compared with Go itself (a test does so where `go` is installed).
"""

import hashlib
import json
import re
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Go:
    """A template: `{{ range $i, $m := .Messages }}`, if / else if / end, `$x := ..`, and eq ne and or not len slice."""

    def __init__(self, text: str) -> None:
        parts = re.split(r"\{\{ (.*?) \}\}", text)
        if any("{{" in part or "}}" in part for part in parts[::2]):
            raise ValueError("unbalanced braces")
        self._items = [("text", p) if i % 2 == 0 else ("code", p) for i, p in enumerate(parts)]
        self._body, end = self._block(0)
        if end != len(self._items):
            raise ValueError("unexpected end")

    def _block(self, at: int) -> tuple[list[Any], int]:
        made: list[Any] = []
        while at < len(self._items):
            kind, text = self._items[at]
            word = text.split(" ")[0] if kind == "code" else ""
            if word in ("end", "else"):
                return made, at
            if word in ("if", "range"):
                branches, at = [], at
                condition = text[len(word) + 1:]
                while True:
                    body, at = self._block(at + 1)
                    branches.append((condition, body))
                    if at >= len(self._items):
                        raise ValueError("no end")
                    closing = self._items[at][1]
                    if closing == "end":
                        break
                    condition = closing.removeprefix("else").removeprefix(" if ") or "true"
                made.append((word, branches))
            else:
                made.append((kind, text))
            at += 1
        return made, at

    def render(self, messages: list[dict[str, str]]) -> str:
        return self._run(self._body, {"$": {"Messages": [{"Role": m["role"], "Content": m["content"]} for m in messages]}})

    def _run(self, body: list[Any], names: dict[str, Any]) -> str:
        out = ""
        for kind, what in body:
            if kind == "text":
                out += what
            elif kind == "range":
                (header, inner), = what
                keys, _, source = header.partition(" := ")
                index, item = keys.split(", ")
                for i, value in enumerate(self._value(source, names)):
                    out += self._run(inner, {**names, index: i, item: value})
            elif kind == "if":
                out += next((self._run(inner, dict(names)) for condition, inner in what if self._value(condition, names)), "")
            elif match := re.fullmatch(r"(\$\w+) := (.*)", what):
                names[match.group(1)] = self._value(match.group(2), names)
            else:
                out += str(self._value(what, names))
        return out

    def _value(self, text: str, names: dict[str, Any]) -> Any:
        made = []
        for token in re.findall(r'\((?:[^()]|\([^()]*\))*\)|"(?:[^"\\]|\\.)*"|\S+', text):
            made.append(self._value(token[1:-1], names) if token[0] == "(" else self._atom(token, names))
        if not callable(made[0]):
            return made[0]
        return made[0](*made[1:])

    @staticmethod
    def _atom(token: str, names: dict[str, Any]) -> Any:
        known = {"eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "and": lambda a, b: a and b, "or": lambda a, b: a or b,
                 "not": lambda a: not a, "len": len, "slice": lambda a, i: a[i:], "true": True}
        if token in known:
            return known[token]
        if token[0] == '"':
            return json.loads(token)
        if token.isdigit():
            return int(token)
        name, *fields = token.split(".")
        value = names[name or "$"]
        for field in fields:
            value = value[field]
        return value


class FakeOllama:
    """`with FakeOllama() as fake`: `.url`, `.blobs` {digest: bytes}, `.models` {name: body of create}, `.log` [(method, path)]."""

    def __init__(self, version: str = "0.5.7") -> None:
        self.version, self.blobs, self.models, self.log = version, dict[str, bytes](), dict[str, dict[str, Any]](), list[tuple[str, str]]()
        self.say = "the quay"
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                pass

            def reply(self, status: int, value: Any = None, lines: bool = False) -> None:
                body = b"" if value is None else b"".join(json.dumps(v).encode() + b"\n" for v in value) if lines else (
                    json.dumps(value).encode())
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def body(self) -> bytes:
                return self.rfile.read(int(self.headers["Content-Length"]))

            def do_GET(self) -> None:
                fake.log.append(("GET", self.path))
                if self.path == "/api/version":
                    self.reply(200, {"version": fake.version})
                elif self.path == "/api/tags":
                    self.reply(200, {"models": [{"name": name} for name in fake.models]})
                else:
                    self.reply(404)

            def do_HEAD(self) -> None:
                fake.log.append(("HEAD", self.path))
                self.reply(200 if self.path.removeprefix("/api/blobs/") in fake.blobs else 404)

            def do_POST(self) -> None:
                fake.log.append(("POST", self.path))
                raw = self.body()
                if self.path.startswith("/api/blobs/"):
                    digest = self.path.removeprefix("/api/blobs/")
                    if digest != "sha256:" + hashlib.sha256(raw).hexdigest():
                        return self.reply(400, {"error": "digest does not match"})
                    fake.blobs[digest] = raw
                    return self.reply(201)
                asked = json.loads(raw)
                name = asked.get("model", "")
                name = name if ":" in name else name + ":latest"
                if self.path == "/api/create":
                    return self.reply(*fake.create(name, asked), lines=True)
                if name not in fake.models:
                    return self.reply(404, {"error": f"model '{name}' not found"})
                if self.path == "/api/show":
                    return self.reply(200, {"template": fake.models[name].get("template", "{{ .Prompt }}"),
                                            "parameters": fake.models[name].get("parameters")})
                if self.path == "/api/generate":
                    return self.reply(200, {"response": fake.say, "done": True})
                return self.reply(404)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def create(self, name: str, asked: dict[str, Any]) -> tuple[int, list[dict[str, Any]]]:
        if not asked.get("files"):
            return 400, [{"error": "neither 'from' or 'files' was specified"}]
        for file, digest in asked["files"].items():
            if digest not in self.blobs:
                return 400, [{"error": f"blob {digest} not found"}]
            magic, version = struct.unpack("<4sI", self.blobs[digest][:8])
            if Path(file).name != file or magic != b"GGUF" or version != 3:
                return 400, [{"error": "invalid file"}]
        try:
            Go(asked.get("template", ""))
        except (ValueError, IndexError) as wrong:
            return 400, [{"error": f"template error: {wrong}"}]
        for key, value in asked.get("parameters", {}).items():
            kinds = {"stop": list, "num_ctx": int, "temperature": float, "top_p": float, "top_k": int, "repeat_penalty": float}
            if not isinstance(value, kinds.get(key, type(None))):
                return 400, [{"error": f"invalid parameter {key}"}]
        self.models[name] = asked
        return 200, [{"status": "parsing GGUF"}, {"status": "writing manifest"}, {"status": "success"}]

    def __enter__(self) -> "FakeOllama":
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *wrong: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
