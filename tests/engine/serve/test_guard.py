"""Who may ask: names, origins, tokens; and what the server refuses to be started as. In process, with a real Guard over a real server."""

import asyncio
from pathlib import Path

import httpx
import pytest

from engine.contract.errors import SettingError
from engine.project.project import Project
from engine.serve import main
from engine.serve.app import Server
from engine.serve.catalogue import Catalogue
from engine.serve.engine import Engine
from engine.serve.guard import Names, check_settings

TOKEN, PORT = "a-token-of-some-length", 8123


def ask(project: Path, names: Names, method: str = "GET", path: str = "/v1/models", token: str = TOKEN, **headers: str) -> httpx.Response:
    app = Server(Catalogue(Project.open(project)), Engine("cpu"), token, lambda: PORT, names).build()

    async def one() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://127.0.0.1:{PORT}") as http:
            return await http.request(method, path, headers={"Authorization": f"Bearer {TOKEN}", **headers})
    return asyncio.run(one())


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Project.create(tmp_path_factory.mktemp("guard") / "p").dir


@pytest.mark.parametrize(("host", "near", "beyond"), [
    (f"127.0.0.1:{PORT}", True, True), (f"localhost:{PORT}", True, True), (f"[::1]:{PORT}", True, True), (f"LOCALHOST:{PORT}", True, True),
    (f"192.168.1.7:{PORT}", False, True), (f"[fe80::1]:{PORT}", False, True), (f"host.docker.internal:{PORT}", False, True),
    (f"evil.example:{PORT}", False, False), (f"127.0.0.1.evil.example:{PORT}", False, False), ("127.0.0.1:1", False, False),
    ("192.168.1.7:1", False, False), ("127.0.0.1", False, False), ("evil.example", False, False), (":", False, False)])
def test_only_names_of_this_machine_are_answered(project: Path, host: str, near: bool, beyond: bool) -> None:
    for names, allowed in ((Names(), near), (Names("0.0.0.0"), beyond)):
        assert (ask(project, names, host=host).status_code == 200) == allowed, host
    assert ask(project, Names(), host="evil.example").json()["error"]["code"] == "bad_host"


def test_a_name_given_by_hand_is_answered_on_any_port(project: Path) -> None:
    names = Names("127.0.0.1", ["models.example"])
    assert ask(project, names, host="models.example").status_code == ask(project, names, host="Models.Example:443").status_code == 200
    assert ask(project, names, host="other.example").status_code == 403


def test_pages_of_this_machine_may_ask_and_read(project: Path) -> None:
    here = "http://localhost:3000"
    reply = ask(project, Names(), origin=here)
    assert reply.status_code == 200 and reply.headers["access-control-allow-origin"] == here and reply.headers["vary"] == "Origin"
    asked = {"origin": here, "access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    before = ask(project, Names(), "OPTIONS", "/v1/chat/completions", authorization="", **asked)
    assert before.status_code == 204 and before.headers["access-control-allow-headers"] == "authorization,content-type"
    assert "POST" in before.headers["access-control-allow-methods"]
    refused = ask(project, Names(), authorization="", origin=here)
    assert refused.status_code == 401 and refused.headers["access-control-allow-origin"] == here, "the page can read why"


@pytest.mark.parametrize("path", ["/v1/models", "/api/tags", "/health", "/"])
def test_pages_from_elsewhere_may_not(project: Path, path: str) -> None:
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"origin": "http://localhost.evil.example"},
                    {"sec-fetch-site": "cross-site"}):
        reply = ask(project, Names(), path=path, **headers)
        assert reply.status_code == 403 and "access-control-allow-origin" not in reply.headers
    preflight = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    assert ask(project, Names(), "OPTIONS", path, **preflight).status_code == 403


def test_without_a_token_to_ask_for_none_is_needed(project: Path) -> None:
    assert ask(project, Names(), token="", authorization="").status_code == 200
    assert ask(project, Names(), authorization="").status_code == 401
    assert ask(project, Names(), path="/api/tags", authorization="").json()["error"].startswith("The token is missing")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_no_token_is_for_this_machine_alone(host: str) -> None:
    check_settings(host, "")
    for beyond in ("0.0.0.0", "192.168.1.7", "::"):
        check_settings(beyond, TOKEN)
        with pytest.raises(SettingError) as wrong:
            check_settings(beyond, "")
        assert wrong.value.code == "token_needed"
    with pytest.raises(SettingError, match="no address|not an address"):
        check_settings("example.com", TOKEN)


def test_a_server_beyond_the_machine_without_token_does_not_start(project: Path) -> None:
    with pytest.raises(SettingError):
        main.serve(project, host="0.0.0.0", token="")


def test_a_token_of_ones_own_comes_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(main.TOKEN_VARIABLE, TOKEN)
    assert main._token() == TOKEN
    for poor in ("short", "has blanks in it and is long", "ünïcödé-and-long-enough"):
        monkeypatch.setenv(main.TOKEN_VARIABLE, poor)
        with pytest.raises(SettingError):
            main._token()
    monkeypatch.delenv(main.TOKEN_VARIABLE)
    assert len(main._token()) > 32 and main._token() != main._token()
