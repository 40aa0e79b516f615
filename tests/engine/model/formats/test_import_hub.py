"""Fetching from the hub, against a server on this machine that speaks the three requests huggingface_hub makes for it (a model's files, a
file's head, a file with ranges). The hub itself was not asked: what it does beyond that is not tested here.
"""

import hashlib
import http.server
import json
import threading
import urllib.parse

import pytest
from click.testing import CliRunner

from engine.cli import cli
from engine.contract.errors import Corrupt, FormatError, MachineError, NotFound, SettingError, Stopped
from engine.model.formats import hub
from engine.project.project import Project
from tests.engine.model.formats.foreign import model, tokenizer

REVISION = "0123456789abcdef0123456789abcdef01234567"


class Hub(http.server.ThreadingHTTPServer):
    """`files` by name; `asked` every request; `cut_at` ends the connection after so many bytes of a body, once."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.ranges: list[str] = []
        self.cut_at = 0
        self.lie = ""


class _Answer(http.server.BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args) -> None: ...

    def do_HEAD(self) -> None:
        self.do_GET(body=False)

    def do_GET(self, body: bool = True) -> None:
        path = urllib.parse.unquote(urllib.parse.urlparse(self.path).path)
        self.server.asked.append(f"{self.command} {path}")
        if path.startswith("/api/models/"):
            if not path.startswith("/api/models/some/one"):
                self._send(404, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound", "X-Error-Message": "no"})
                return
            siblings = [{"rfilename": n, "size": len(d), "blobId": hashlib.sha1(d).hexdigest(), **(
                {"lfs": {"sha256": self._sha(n, d), "size": len(d), "pointerSize": 9}} if n.endswith("safetensors") else {})}
                for n, d in self.server.files.items()]
            told = {"id": "some/one", "modelId": "some/one", "sha": REVISION, "siblings": siblings, "tags": [], "downloads": 0, "likes": 0,
                    "private": False, "cardData": {"license": "mit"}}
            self._send(200, json.dumps(told).encode(), {"Content-Type": "application/json"})
            return
        name = path.rpartition("/")[2]
        data = self.server.files.get(name)
        if data is None:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        heads = {"X-Repo-Commit": REVISION, "ETag": f'"{self._sha(name, data)}"', "Accept-Ranges": "bytes"}
        status, start = 200, 0
        if (asked := self.headers.get("Range")) and body:
            self.server.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").partition("-")[0])
            status = 206
            heads["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._send(status, data[start:], heads, body)

    def _sha(self, name: str, data: bytes) -> str:
        return "0" * 64 if self.server.lie == name else hashlib.sha256(data).hexdigest()

    def _send(self, status: int, data: bytes, heads: dict[str, str], body: bool = True) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for key, value in heads.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            cut = self.server.cut_at
            if cut and len(data) > cut:
                self.server.cut_at = 0
                self.wfile.write(data[:cut])
                self.wfile.flush()
                self.close_connection = True
                return
            self.wfile.write(data)


@pytest.fixture
def server(tmp_path, monkeypatch):
    from huggingface_hub import constants
    made = Hub()
    address = f"http://127.0.0.1:{made.server_address[1]}"
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)  # set for all tests, so that none asks the hub itself
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setenv("FLEDGE_HOME", str(tmp_path / "home"))
    folder = tmp_path / "theirs"
    model("llama").save_pretrained(folder)
    tokenizer("gpt2").save_pretrained(folder)
    made.files = {p.name: p.read_bytes() for p in sorted(folder.iterdir())} | {
        "pytorch_model.bin": b"never asked for", "modeling_evil.py": b"never", "README.md": b"---\nlicense: mit\n---\nHello"}
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


def test_nobody_is_contacted_until_the_network_is_switched_on(server, tmp_path):
    assert not hub.allowed()
    with pytest.raises(SettingError, match="contacts nobody") as told:
        hub.look("some/one")
    assert told.value.code == "network_off" and server.asked == []
    Project.create(tmp_path / "project")
    made = CliRunner().invoke(cli, ["import-model", str(tmp_path / "project"), "hub:some/one", "--yes", "--json"])
    assert made.exit_code == 2 and json.loads(made.stdout.splitlines()[-1])["error"] == "network_off" and server.asked == []


def test_sizes_are_known_before_anything_is_fetched(server):
    hub.allow(True)
    found = hub.look("some/one")
    assert found.revision == REVISION and found.licence == "mit"
    assert {f.name for f in found.files} == set(server.files) - {"pytorch_model.bin", "modeling_evil.py"}
    assert found.nbytes == sum(len(server.files[f.name]) for f in found.files)
    assert not [a for a in server.asked if "/resolve/" in a]


def test_what_is_fetched_is_what_is_there_and_progress_is_told(server, tmp_path):
    hub.allow(True)
    heard = []
    found = hub.look("some/one")
    folder = hub.fetch(found, tmp_path / "got", heard.append)
    assert all((folder / f.name).read_bytes() == server.files[f.name] for f in found.files)
    assert heard == sorted(heard) and heard[-1] == found.nbytes
    assert not any("evil" in a or ".bin" in a for a in server.asked)
    before = len(server.asked)
    hub.fetch(found, tmp_path / "got")
    assert len(server.asked) == before  # what is there is not fetched again


def test_an_interrupted_file_goes_on_where_it_stopped(server, tmp_path):
    hub.allow(True)
    server.files["model.safetensors"] = bytes(range(256)) * 100_000  # 25.6 MB: huggingface_hub reads 10 MB at a time
    found = hub.look("some/one")
    held = sum(len(server.files[f.name]) for f in found.files if f.name < "model.safetensors")
    here = 0

    def report(done: int) -> None:
        nonlocal here
        here = done

    def stop() -> None:
        if here >= held + 20_000_000:
            raise Stopped()

    with pytest.raises(Stopped):
        hub.fetch(found, tmp_path / "got", report, stop)
    assert not (tmp_path / "got/model.safetensors").exists() and not server.ranges
    folder = hub.fetch(found, tmp_path / "got")
    assert (folder / "model.safetensors").read_bytes() == server.files["model.safetensors"]
    assert [r for r in server.ranges if int(r.removeprefix("bytes=").split("-")[0]) >= 10_000_000]


def test_a_connection_that_breaks_is_taken_up_again(server, tmp_path):
    hub.allow(True)
    server.files["model.safetensors"] = bytes(range(256)) * 100_000
    server.cut_at = 15_000_000
    folder = hub.fetch(hub.look("some/one"), tmp_path / "got")
    assert (folder / "model.safetensors").read_bytes() == server.files["model.safetensors"] and server.cut_at == 0


def test_bytes_that_are_not_what_the_hub_promised_are_thrown_away(server, tmp_path):
    hub.allow(True)
    server.lie = "model.safetensors"
    with pytest.raises(Corrupt, match="damaged"):
        hub.fetch(hub.look("some/one"), tmp_path / "got")
    assert not (tmp_path / "got/model.safetensors").exists()


def test_what_is_not_there_or_cannot_be_reached_is_said(server, monkeypatch):
    hub.allow(True)
    with pytest.raises(NotFound):
        hub.look("no/body")
    del server.files["model.safetensors"]
    with pytest.raises(FormatError, match="no safetensors"):
        hub.look("some/one")
    with pytest.raises(NotFound, match="x.gguf"):
        hub.look("some/one/x.gguf")
    for bad in ("", "one", "../etc/passwd", "a/b/c/d", "a/b.gguf/../..", "http://x/y", "a b/c"):
        with pytest.raises(SettingError):
            hub.look(bad)
    from huggingface_hub import constants
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(MachineError) as told:
        hub.look("some/one")
    assert told.value.code == "network"


def test_the_command_shows_sizes_asks_and_imports(server, tmp_path):
    project = Project.create(tmp_path / "project")
    assert json.loads(CliRunner().invoke(cli, ["network", "on", "--json"]).stdout) == {"network": True}
    asked = CliRunner().invoke(cli, ["import-model", str(project.dir), "hub:some/one"])
    assert asked.exit_code == 2 and "model.safetensors" in asked.output and "mit" in asked.output
    assert not [a for a in server.asked if "/resolve/" in a] and not project.runs.list()
    made = CliRunner().invoke(cli, ["import-model", str(project.dir), "hub:some/one", "--yes", "--json"])
    last = json.loads(made.stdout.strip().splitlines()[-1])
    assert last["artifact"] == "model-1" and last["from"] == f"hub:some/one@{REVISION}" and last["licence"] == "mit"
    assert project.artifacts.get("model-1").title.startswith("some/one")
    assert not list(project.runs.list()[0].dir.rglob("*.safetensors"))  # the fetched files are gone
    assert json.loads(CliRunner().invoke(cli, ["network", "off", "--json"]).stdout) == {"network": False} and not hub.allowed()
