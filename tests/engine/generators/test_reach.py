"""Which addresses may be asked: this machine, and the host that was confirmed."""

import socket
from typing import Any

import httpx
import pytest

from engine.contract.errors import MachineError, SettingError
from engine.contract.rows import Message
from engine.generators import ollama_provider, provider, reach
from engine.generators.provider import Ask
from tests.engine.generators.servers import hostile

WEB = "http://"  # hosts that are none stand apart from it
ASK = Ask((Message(role="user", content="Hello?"),), max_tokens=8)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1234/v1", "http://localhost:1234/v1", "http://LOCALHOST/v1",
                                     "https://" + "127.3.2.1/v1", "http://[::1]:8080/v1"])
def test_this_machine_may_be_asked(address: str) -> None:
    assert reach.checked(address) == address


@pytest.mark.parametrize("address", [
    WEB + "192.168.1.7:1234/v1", WEB + "10.0.0.2/v1", WEB + "example.com/v1", WEB + "box.local:1234", WEB + "127.0.0.1.example.com/v1",
    WEB + "localhost.example.com", "http://2130706433/v1", WEB + "127.1/v1", "http://0x7f000001/v1", WEB + "0.0.0.0:1234/v1",
    "http://[::ffff:192.168.1.1]/v1", "http://[fe80::1]/v1", "http://localhost./v1", "http://１２７.0.0.1/v1"])
def test_everything_else_needs_to_be_confirmed(address: str) -> None:
    with pytest.raises(SettingError) as refused:
        reach.checked(address)
    assert refused.value.code == "not_local"


@pytest.mark.parametrize("address", ["", "127.0.0.1:80", "ftp://127.0.0.1", "http://", "http://127.0.0.1:99999/v1", "file:///etc/passwd",
                                     "http://me@127.0.0.1/v1", "http://me:secret@127.0.0.1/v1", WEB + "evil.com\\@127.0.0.1/",
                                     "http://127.0.0.1/v1?to=" + WEB + "evil.com", "http://127.0.0.1/ x", "http://[::1/v1",
                                     "http://127.0.0.1#@evil.com/"])
def test_what_is_no_plain_address_is_refused(address: str) -> None:
    for allowed in ("", "evil.com", "127.0.0.1"):
        with pytest.raises(SettingError) as refused:
            reach.checked(address, allowed)
        assert refused.value.code == "bad_address"


def test_the_confirmed_host_is_the_only_other_one() -> None:
    assert reach.checked(WEB + "192.168.1.7:1234/v1", "192.168.1.7")
    assert reach.checked(WEB + "Box.local:1234/v1", "box.local")
    for other in (WEB + "192.168.1.70:1234/v1", WEB + "box.local.evil.com", WEB + "xbox.local"):
        with pytest.raises(SettingError):
            reach.checked(other, "box.local")
    with pytest.raises(SettingError):
        provider.of(WEB + "192.168.1.7:1234/v1 qwen", allowed_host="192.168.1.8")


def test_localhost_that_leads_elsewhere_is_not_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: [(2, 1, 6, "", ("127.0.0.1", 0)), (2, 1, 6, "", ("203.0.113.9", 0))])
    with pytest.raises(SettingError):
        reach.checked("http://localhost:1234/v1")


@pytest.mark.parametrize("said,means", [
    ("", "http://127.0.0.1:11434"), ("127.0.0.1", "http://127.0.0.1:11434"), ("0.0.0.0", "http://127.0.0.1:11434"),
    ("localhost:5000", "http://localhost:5000"), ("http://127.0.0.1", "http://127.0.0.1:80"), ("[::1]:7", "http://[::1]:7")])
def test_ollama_s_own_variable_is_read_as_ollama_does(said: str, means: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", said)
    assert ollama_provider.address() == means


@pytest.mark.parametrize("said", ["192.168.1.7", WEB + "example.com:11434", "me:pw@127.0.0.1", WEB + "ollama.com"])
def test_ollama_s_variable_leads_nowhere_else_unconfirmed(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", said)
    with pytest.raises(SettingError):
        provider.of("ollama:llama3.2")


@pytest.mark.parametrize("kind", ["openai", "ollama"])
def test_proxies_are_not_used_and_redirects_not_followed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with hostile() as trap, hostile(lambda n, body: ("status", 307, {"Location": f"{trap.address}/v1/chat/completions"}, "")) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, trap.address)
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        assert httpx.get(f"{server.address}/v1/models").status_code  # a client that trusts the environment goes to the trap
        went = len(trap.paths)
        asked = provider.of(server.name if kind == "openai" else "ollama:tiny")
        with pytest.raises(MachineError) as refused:
            asked.ask(ASK)
        assert refused.value.code == "redirect" and server.asks == 1 and trap.asks == 0 and len(trap.paths) == went
        asked.close()


def test_names_that_are_none_are_said_so() -> None:
    bad: list[Any] = ["", "llama3", "ollama:", "project:", "gguf:", "http://127.0.0.1:1/v1", "ftp://x y", "openai:gpt"]
    for name in bad:
        with pytest.raises(SettingError) as refused:
            provider.of(name)
        assert refused.value.code == "bad_model_name" and refused.value.remedy
    with pytest.raises(SettingError):
        provider.of("project:model-1")
