"""Providers over the real thing: this project's own server (started, shared, replaced, ended), llama.cpp bindings with an exported model,
the `ollama` package against `fledge serve`, and the look around for models."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from engine.contract.errors import MachineError, NotFound
from engine.contract.rows import Message
from engine.generators import find, gguf_provider, ollama_provider, provider
from engine.generators.answers import mismatch
from engine.generators.asks import Ask
from engine.generators.project_provider import ProjectProvider
from engine.generators.provider import Provider, TooLong, Unavailable
from engine.generators.reach import KEY_VARIABLE
from engine.project import layout
from engine.project.project import Project
from engine.serve import address
from tests import serving
from tests.engine.generators.servers import hostile

ROOT = Path(__file__).resolve().parents[3]
BINDINGS = [name for name in ("xllamacpp", "llama_cpp") if importlib.util.find_spec(name)]
SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^[a-z ]{1,12}$"}, "n": {"enum": ["one", "two", "ten"]}},
          "required": ["a", "n"], "additionalProperties": False}


def ask(seed: int = 0, schema: dict | None = SCHEMA, text: str = "Who left the quay?", most: int = 120) -> Ask:
    return Ask((Message(role="user", content=text),), most, 0.8, seed, schema)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    yield serving.make_project(tmp_path_factory.mktemp("models") / "p", context=512)


@pytest.fixture(scope="module")
def gguf(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from engine.model.formats.gguf_file import write_gguf
    from engine.model.formats.tokenizer_out import Words
    from engine.model.formats.weights import Weights
    from engine.text.tokenizer import Tokenizer
    folder, file = project.artifacts.get("model-1").path, tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    with Weights(folder) as opened:
        write_gguf(file, opened, Words(Tokenizer.load(folder)), "f32", name="Tiny")
    return file


def answers_well(asked: Provider) -> None:
    """Held to the schema, several at once, cut where it says so, and too long a question refused."""
    made: list[str] = []
    threads = [threading.Thread(target=lambda n=n: made.append(asked.ask(ask(n)).text)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 6 and not any(mismatch(json.loads(text), SCHEMA) for text in made) and len(set(made)) > 1
    cut = asked.ask(ask(schema=None, most=5))
    assert cut.finish == "length" and 4 <= cut.tokens_out <= 6 and cut.tokens_in > 5 and cut.model == asked.name and cut.seconds > 0
    with pytest.raises(TooLong):
        asked.ask(ask(text="Who left the quay? " * 400))


def test_the_project_s_own_server_is_started_shared_and_ended(project: Project) -> None:
    assert address.read(project.dir) is None
    one = provider.of("project:model-1", project.dir, context=512)
    assert [m.name for m in one.models()] == ["model-1", "1-pretrain@20"] and address.read(project.dir) is None
    one.check()
    where = address.read(project.dir)
    assert where is not None and psutil.pid_exists(where.pid)
    other = provider.of("project:1-pretrain@20", project.dir)
    other.check()
    assert address.read(project.dir) == where
    answers_well(one)
    assert not mismatch(json.loads(other.ask(ask()).text), SCHEMA)
    one.close()
    assert other.ask(ask(1)).text  # still in use
    other.close()
    assert address.read(project.dir) is None


def test_a_server_that_runs_is_used_and_left_alone(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serving.ServerProcess(project.dir)
    try:
        asked = provider.of("project:model-1", project.dir)
        asked.check()
        assert asked.ask(ask()).text
        asked.close()
        assert server.process.poll() is None
        # And by the ollama package, and as any OpenAI-compatible server.
        monkeypatch.setenv("OLLAMA_HOST", server.address.url)
        monkeypatch.setenv(KEY_VARIABLE, server.address.token)
        for name in ("ollama:model-1", f"{server.address.url}/v1 model-1"):
            asked = provider.of(name, context=512)
            asked.check()
            answers_well(asked)
            asked.close()
        place = provider.of("ollama:model-1")
        assert {m.name for m in place.models() if m.loaded} == {"model-1"}
        place.close()
        with pytest.raises(NotFound):
            provider.of("ollama:nobody").check()
        monkeypatch.setenv(KEY_VARIABLE, "wrong")
        with pytest.raises(MachineError) as refused:
            provider.of("ollama:model-1").check()
        assert refused.value.code == "key"
    finally:
        server.stop()


def test_a_server_that_dies_is_replaced(project: Project) -> None:
    server = serving.ServerProcess(project.dir)
    asked = provider.of("project:model-1", project.dir)
    asked.check()
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    server.log.close()
    with pytest.raises(Unavailable):
        asked.ask(ask())
    assert asked.ask(ask()).text  # a new one is there
    where = address.read(project.dir)
    assert where is not None and where.pid != server.process.pid
    asked.close()
    assert address.read(project.dir) is None


def test_a_start_that_nobody_waits_for_any_more_is_given_up(project: Project) -> None:
    asked = provider.of("project:model-1", project.dir)
    thread = threading.Thread(target=lambda: pytest.raises(MachineError, asked.check))
    thread.start()
    time.sleep(0.3)
    began = time.monotonic()
    asked.close()
    thread.join(10)
    assert not thread.is_alive() and time.monotonic() - began < 10
    assert isinstance(asked, ProjectProvider)
    until = time.monotonic() + 10
    while address.read(project.dir) is not None and time.monotonic() < until:
        time.sleep(0.05)
    assert address.read(project.dir) is None


def test_models_that_are_not_there_are_named(project: Project) -> None:
    with pytest.raises(NotFound) as found:
        provider.of("project:model-9", project.dir).check()
    assert "model-1" in found.value.remedy


@pytest.mark.skipif(not BINDINGS, reason="no binding of llama.cpp is installed")
@pytest.mark.parametrize("binding", BINDINGS)
def test_a_gguf_file_answers_in_a_process_of_its_own(binding: str, gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_provider, "BINDINGS", (binding,))
    asked = provider.of(f"gguf:{gguf}", context=512, slots=3)
    assert isinstance(asked, gguf_provider.GgufProvider)
    asked.check()
    answers_well(asked)
    child = asked._process
    assert child is not None and not set(BINDINGS) & set(sys.modules)
    thief = provider.of(f"{asked.address} model")
    with pytest.raises(MachineError) as refused:  # other programs of this machine do not know the key
        thief.ask(ask())
    assert refused.value.code == "key"
    thief.close()
    child.kill()  # a binding that crashes
    child.wait()
    try:
        again = asked.ask(ask(3)).text
    except Unavailable:
        again = asked.ask(ask(3)).text
    assert not mismatch(json.loads(again), SCHEMA) and asked._process is not child
    last = asked._process
    asked.close()
    assert last is not None and last.returncode is not None


@pytest.mark.skipif(not BINDINGS, reason="no binding of llama.cpp is installed")
def test_the_process_of_a_gguf_file_ends_with_whoever_started_it(gguf: Path) -> None:
    code = ("import sys, time\nfrom engine.generators import provider\np = provider.of('gguf:' + sys.argv[1], context=256)\np.check()\n"
            "print(p._process.pid, flush=True)\ntime.sleep(60)\n")
    parent = subprocess.Popen([sys.executable, "-c", code, str(gguf)], stdout=subprocess.PIPE, cwd=ROOT, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    child.wait(10)
    parent.stdout.close()


@pytest.mark.skipif(not BINDINGS, reason="no binding of llama.cpp is installed")
def test_a_broken_gguf_file_is_said_so_in_words(gguf: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(gguf.read_bytes()[:3000])
    asked = provider.of(f"gguf:{broken}", context=256)
    with pytest.raises(MachineError) as found:
        asked.check()
    assert "broken.gguf" in found.value.sentence and found.value.code == "gguf"
    asked.close()


def test_looking_around_finds_what_runs(project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "models" / "someone").mkdir(parents=True)
    (tmp_path / "models" / "someone" / "qwen.gguf").write_bytes(b"GGUF")
    with hostile(models=("llama3.2", "qwen3")) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        monkeypatch.setattr(find, "SERVERS", (("LM Studio", server.port, "start it"), ("llama.cpp", 1, "start that")))
        monkeypatch.setattr(find, "FILES", (("LM Studio", tmp_path / "models"),))
        places = {f.title: f for f in provider.find(project.dir)}
    assert [m.name for m in places["This project"].models] == ["model-1", "1-pretrain@20"]
    assert places["Ollama"].running and [m.name for m in places["Ollama"].models] == ["llama3.2", "qwen3"]
    assert places["LM Studio"].running and places["LM Studio"].address.endswith("/v1") and len(places["LM Studio"].models) == 2
    assert not places["llama.cpp"].running and places["llama.cpp"].what_to_do == "start that"
    assert [m.title for m in places["GGUF files"].models] == ["qwen (LM Studio)"]
    gone = {f.title: f for f in provider.find(project.dir)}["Ollama"]
    assert not gone.running and gone.what_to_do == ollama_provider.what_to_start(server.address)
    monkeypatch.setenv("OLLAMA_HOST", "192.0.2.7")
    elsewhere = {f.title: f for f in provider.find()}["Ollama"]
    assert not elsewhere.running and "confirm" in elsewhere.what_to_do


def test_looking_around_as_a_process_loads_no_torch(project: Project) -> None:
    code = ("import sys, runpy\nsys.argv = ['find', sys.argv[1]]\n"
            "try: runpy.run_module('engine.generators.find', run_name='__main__')\nexcept SystemExit as e: assert e.code == 0\n"
            "assert 'torch' not in sys.modules\n")
    done = subprocess.run([sys.executable, "-c", code, str(project.dir)], capture_output=True, text=True, timeout=60, cwd=ROOT,
                          env={**os.environ, "OLLAMA_HOST": "127.0.0.1:9"})
    assert done.returncode == 0, done.stderr
    assert [f["kind"] for f in json.loads(done.stdout)][:2] == ["project", "ollama"]
    assert not layout.server_file(project.dir).exists()
