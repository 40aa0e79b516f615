"""The local judge, against real HTTP servers on the loopback that speak both protocols (the model behind them is a fake: a few rules)."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from engine.contract.errors import FledgeError, FormatError, MachineError, NotFound, SettingError
from engine.text.cleaning import judge as judge_module
from engine.text.cleaning.draft import Draft
from engine.text.cleaning.harm import KINDS, Harm
from engine.text.cleaning.judge import CONTEXT, Judge, Opinion


class Server:
    """Answers as Ollama at /api/chat and as an OpenAI-compatible server at /v1/chat/completions; keeps what was asked. `failures` are
    status codes to answer first; `answer` replaces the fake model's JSON."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.failures: list[int] = []
        self.answer: str | None = None
        self.knows_schemas = True
        self.redirect = ""

    def opinion(self, body: dict[str, Any]) -> str:
        text = body["messages"][1]["content"]
        harmful = "knife" in text
        return self.answer or json.dumps({"harmful": harmful, "kind": "violence" if harmful else "none", "certainty": 0.9})

    async def reply(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        if self.redirect:
            return RedirectResponse(self.redirect, 307)
        if self.failures:
            return JSONResponse({"error": "not now"}, self.failures.pop(0))
        if body["model"] != "tiny":
            return JSONResponse({"error": f"model '{body['model']}' not found"}, 404)
        if request.url.path == "/api/chat":
            return JSONResponse({"model": "tiny", "created_at": "2026-01-01T00:00:00Z", "done": True,
                                 "message": {"role": "assistant", "content": self.opinion(body)}})
        if not self.knows_schemas and "response_format" in body:
            return JSONResponse({"error": {"message": "response_format is not supported"}}, 400)
        return JSONResponse({"choices": [{"message": {"role": "assistant", "content": self.opinion(body)}}]})


@contextmanager
def serving(server: Server) -> Iterator[int]:
    app = Starlette(routes=[Route("/api/chat", server.reply, methods=["POST"]), Route("/v1/chat/completions", server.reply,
        methods=["POST"])])
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        running = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 10
        while not running.started and time.monotonic() < deadline:
            time.sleep(0.01)
        try:
            yield sock.getsockname()[1]
        finally:
            running.should_exit = True
            thread.join(10)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def port(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(judge_module, "FIRST_WAIT", 0.01)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")      # a proxy that must not be asked
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with serving(server) as number:
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{number}")
        yield number


def name(protocol: str, port: int) -> str:
    return "ollama:tiny" if protocol == "ollama" else f"http://127.0.0.1:{port}/v1 tiny"


PROTOCOLS = pytest.mark.parametrize("protocol", ["ollama", "openai"])


@PROTOCOLS
def test_the_model_is_asked_and_its_opinion_read(protocol: str, port: int, server: Server) -> None:
    judge = Judge.of(name(protocol, port))
    judge.check()
    assert judge.ask("he takes the knife", KINDS) == Opinion(0.95, "violence")
    assert judge.ask("he takes the bread", KINDS) == Opinion(0.05, "")
    body = server.asked[-1]
    assert "he takes the bread" in body["messages"][1]["content"]
    if protocol == "ollama":
        assert body["options"]["num_ctx"] == CONTEXT and body["options"]["temperature"] == 0
        assert body["format"]["required"] == ["harmful", "kind", "certainty"]
    else:
        assert body["response_format"]["json_schema"]["schema"]["required"] == ["harmful", "kind",
            "certainty"] and body["temperature"] == 0


@PROTOCOLS
def test_what_was_said_is_not_asked_again_by_a_resumed_run(protocol: str, port: int, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "cache" / "judge.jsonl"
    first = Judge.of(name(protocol, port), file)
    said = first.ask("he takes the knife", KINDS)
    assert first.ask("he takes the knife", KINDS) == said and len(server.asked) == 1
    with file.open("a") as torn:
        torn.write('{"key": "abc", "sco')
    again = Judge.of(name(protocol, port), file)
    assert again.ask("he takes the knife", KINDS) == said and len(server.asked) == 1
    again.ask("other", KINDS)
    assert len(server.asked) == 2 and len(Judge.of(name(protocol, port), file)._remembered()) == 2
    assert b"knife" not in file.read_bytes()
    Judge.of(name(protocol, port), file).ask("other", ("violence",))       # another question
    assert len(server.asked) == 3


@PROTOCOLS
def test_a_busy_server_is_asked_again(protocol: str, port: int, server: Server) -> None:
    server.failures = [503, 429]
    assert Judge.of(name(protocol, port)).ask("the knife", KINDS).kind == "violence"
    assert len(server.asked) == 3


@PROTOCOLS
def test_a_server_that_stays_busy_is_an_error(protocol: str, port: int, server: Server) -> None:
    server.failures = [503] * 20
    with pytest.raises(MachineError) as error:
        Judge.of(name(protocol, port)).check()
    assert error.value.code == "judge" and len(server.asked) == judge_module.TRIES


@PROTOCOLS
def test_a_model_that_is_not_there_is_an_error_at_once(protocol: str, port: int, server: Server) -> None:
    with pytest.raises(NotFound):
        Judge.of(name(protocol, port).replace("tiny", "huge")).check()
    assert len(server.asked) == 1


@PROTOCOLS
@pytest.mark.parametrize("answer", ["I would rather not say.", '{"harmful": "yes"}', '{"harmful": true, "kind": "none", "certainty": 1}',
                                    '{"harmful": true, "kind": "violence", "certainty": 7}'])
def test_an_answer_that_is_none_is_an_error_and_not_a_verdict(protocol: str, answer: str, port: int, server: Server) -> None:
    server.answer = answer
    with pytest.raises(FormatError):
        Judge.of(name(protocol, port)).check()


def test_a_server_without_schemas_is_asked_in_words(port: int, server: Server) -> None:
    server.knows_schemas = False
    judge = Judge.of(name("openai", port))
    assert judge.ask("the knife", KINDS).kind == "violence"
    judge.ask("another", KINDS)
    assert ["response_format" in body for body in server.asked] == [True, False, False]


@PROTOCOLS
def test_redirects_are_not_followed(protocol: str, port: int, server: Server) -> None:
    other = Server()
    with serving(other) as elsewhere:
        server.redirect = f"http://127.0.0.1:{elsewhere}/api/chat"
        with pytest.raises(FledgeError):
            Judge.of(name(protocol, port)).check()
    assert not other.asked


def test_a_judge_that_is_not_running_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_module, "FIRST_WAIT", 0.01)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{number}")
    for given in ("ollama:tiny", f"http://localhost:{number}/v1 tiny"):
        with pytest.raises(MachineError) as error:
            Judge.of(given).check()
        assert error.value.code == "judge" and error.value.remedy


@pytest.mark.parametrize("given", [
    "http://example.com/v1 m", "http://gpu.example:8080/v1 m", "https://1" + "0.0.0.1/v1 m", "http://127.0.0.1.example/v1 m",
    "http://user@127.0.0.1/v1 m",
    "http://127.0.0.1@example.com/v1 m", "http://[2001:db8::1]/v1 m", "http://127.0.0.1:99999/v1 m", "ftp://127.0.0.1/v1 m", "ollama:",
    "llama3", "http://127.0.0.1:1/v1"])
def test_what_is_no_local_model_is_refused(given: str) -> None:
    with pytest.raises(SettingError) as error:
        Judge.of(given)
    assert error.value.field == "harm_judge" and error.value.remedy


def test_an_ollama_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "gpu.example.com:11434")
    with pytest.raises(SettingError):
        Judge.of("ollama:tiny")
    for host, address in (("", "http://127.0.0.1:11434"), ("0.0.0.0", "http://127.0.0.1:11434"), ("[::1]:7", "http://[::1]:7")):
        monkeypatch.setenv("OLLAMA_HOST", host)
        assert Judge.of("ollama:tiny").address == address


def test_a_long_text_is_shown_in_pieces(port: int, server: Server) -> None:
    Judge.of(name("openai", port)).ask("BEGIN " + "x" * 100_000 + " MIDDLE " + "y" * 100_000 + " END", KINDS)
    shown = server.asked[0]["messages"][1]["content"]
    assert len(shown) < 6_000 and "BEGIN" in shown and "MIDDLE" in shown and "END" in shown


def test_only_borderline_texts_are_asked_about_and_the_opinion_decides(port: int, server: Server, tmp_path: Path) -> None:
    harm = Harm(action="remove", judge=name("openai", port), cache=str(tmp_path / "judge.jsonl"))
    for text in ("Tea is ready.", "I will kill you and come for your family."):
        harm(Draft(text, language="en"))
    assert not server.asked
    spared = Draft("He was murdered in the garden.", language="en")
    harm(spared)
    assert len(server.asked) == 1 and spared.verdict is None and spared.borderline == "" and max(spared.scores.values()) == 0.05
    taken = Draft("He was murdered with a knife.", language="en")
    harm(taken)
    assert taken.verdict is not None and taken.verdict.rule == "violence" and "model" in taken.verdict.detail
