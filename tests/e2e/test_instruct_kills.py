"""kill -9 of a generating run, three times in the middle, against real servers: Fledge's own through the `ollama` package, and llama.cpp's.
Nothing is lost, and nothing is asked again but what a kill found under way; a proxy between them keeps count."""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from engine.contract.rows import Example
from engine.generators.reach import KEY_VARIABLE
from engine.project import launch, layout
from engine.project.follow import follow
from engine.project.ingest import ingest_run
from engine.project.project import Project
from engine.stages.instruct.spec import InstructSpec
from tests import serving
from tests.engine.generators.servers import Counting

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
KILLS, AT_ONCE = 3, 4
RECIPE = '''
ID, TITLE, SENTENCE = "facts", "Facts", "Asks for facts."
SCHEMA = {"type": "object", "properties": {"fact": {"type": "string", "pattern": "^[a-z ]{4,24}$"},
                                           "sure": {"type": "integer", "minimum": 1, "maximum": 5}},
          "required": ["fact", "sure"], "additionalProperties": False}

def rows(inputs):
    for number in range(10**9):
        yield {"prompt": f"Tell fact {number}.", "schema": SCHEMA, "facts": {"number": number}}
'''
LLAMA = ('import sys, xllamacpp\np = xllamacpp.CommonParams()\np.model.path = sys.argv[1]\np.n_ctx, p.n_parallel, p.port = 4 * 512, 4, 0\n'
         'p.warmup = p.fit_params = False\np.n_gpu_layers = 0\np.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1\np.verbosity = -1\n'
         's = xllamacpp.Server(p)\nprint("\\n" + s.listening_address, flush=True)\nsys.stdin.read()\nimport os; os._exit(0)\n')


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with models whose weights are random: they write rubbish, in the form that the grammar forces."""
    os.environ["FLEDGE_HOME"] = str(tmp_path_factory.mktemp("home"))
    return serving.make_project(tmp_path_factory.mktemp("models") / "p", context=512)


@pytest.fixture(scope="module")
def fledge(models: Project) -> Iterator[tuple[str, str]]:
    server = serving.ServerProcess(models.dir)
    yield server.address.url, server.address.token
    server.stop()


@pytest.fixture(scope="module")
def llama(models: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed")
    from engine.model.formats.gguf_file import write_gguf
    from engine.model.formats.tokenizer_out import Words
    from engine.model.formats.weights import Weights
    from engine.text.tokenizer import Tokenizer
    folder, file = models.artifacts.get("model-1").path, tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    with Weights(folder) as opened:
        write_gguf(file, opened, Words(Tokenizer.load(folder)), "f32", name="Tiny")
    child = subprocess.Popen([sys.executable, "-c", LLAMA, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True)
    assert child.stdin is not None and child.stdout is not None
    address = next(line.strip() for line in child.stdout if line.startswith("http"))
    yield address, ""
    child.stdin.close()
    child.wait(20)


def killed_run(folder: Path, kind: str, target: tuple[str, str], count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEDGE_HOME", str(folder / "home"))
    (folder / "facts.py").write_text(RECIPE)
    project, proxy, kills = Project.create(folder / "p", "Kills"), Counting(target[0], delay=0.05), []
    if kind == "ollama":
        monkeypatch.setenv("OLLAMA_HOST", proxy.address)
        responder = "ollama:model-1"
    else:
        name = httpx.get(f"{target[0]}/v1/models", trust_env=False).json()["data"][0]["id"]
        responder = f"{proxy.address}/v1 {name}"
    monkeypatch.setenv(KEY_VARIABLE, target[1])
    run = project.runs.create(InstructSpec(responder=responder, recipe=str(folder / "facts.py"), count=count, concurrency=AT_ONCE,
        recipe_hash=hashlib.sha256(RECIPE.encode()).hexdigest(), duplicates=0, check_language=False, context=512, max_tokens=160))
    try:
        for turn in range(1, KILLS + 1):
            pid, until = launch.start(run), time.monotonic() + 90
            while len(proxy.passed) < count * turn // (KILLS + 1):
                assert launch.running(pid) and time.monotonic() < until, run.log_tail()
                time.sleep(0.005)
            kills.append(time.time())
            launch.kill(pid)
        state = follow(run, launch.start(run))
        assert state.status == "done", run.log_tail()
    finally:
        proxy.close()
    lines = layout.rows_file(run.dir).read_bytes().splitlines()
    made = [Example.model_validate_json(line) for line in lines]
    assert sorted(e.facts["number"] for e in made) == list(range(count)) and len({e.id for e in made}) == count
    assert all(set(json.loads(e.messages[-1].content)) == {"fact", "sure"} for e in made)
    wrongly, rightly = proxy.asked_again(kills)
    assert wrongly == 0, f"{wrongly} requests were made again though their answers had arrived"
    assert rightly <= KILLS * AT_ONCE and all(p.status == 200 for p in proxy.passed if p.ended)
    assert len({p.digest for p in proxy.passed}) == count == len(proxy.passed) - rightly
    facts = project.artifacts.get(state.artifacts[0]).facts
    assert facts["rows"] == facts["examples"] == facts["asked"] == count and facts["tokens_out"] > 5 * count
    assert ingest_run(project, run.id) == count and state.attempt == KILLS + 1
    print(f"{kind}: {count} rows, {len(proxy.passed)} requests, {rightly} repeated")


@pytest.mark.parametrize("kind", ["ollama", "openai"])
def test_three_kills_lose_nothing_and_ask_nothing_twice(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                        request: pytest.FixtureRequest) -> None:
    killed_run(tmp_path, kind, request.getfixturevalue("fledge" if kind == "ollama" else "llama"), 30, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ollama", "openai"])
def test_three_kills_in_two_hundred_rows(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                         request: pytest.FixtureRequest) -> None:
    killed_run(tmp_path, kind, request.getfixturevalue("fledge" if kind == "ollama" else "llama"), 200, monkeypatch)
