"""The window's client against the real server process: starting, streaming, stopping, and what happens when the server dies."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from PySide6.QtCore import QThread, QTimer
from pytestqt.qtbot import QtBot

from desktop.jobs.chat_client import Answer, AnswerEnd, ChatClient, ChatError, ModelInfo, SamplingSettings, StreamedToken
from engine.project import launch
from engine.project.project import Project
from engine.serve import address
from tests.serving import ROOT, ServerProcess, make_project

PROMPT = "The ferry left the quay"
MODEL = "model-1"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    made = ServerProcess(make_project(tmp_path_factory.mktemp("client") / "project", context=2048).dir)
    yield made
    made.stop()


@pytest.fixture
def client(served: ServerProcess, qtbot: QtBot) -> ChatClient:
    made = ChatClient(served.project)
    made.start()
    qtbot.waitUntil(lambda: made.state == "ready" and made.listed, timeout=20_000)
    yield made
    made.stop_server()
    made.deleteLater()


class Heard:
    """What an answer told."""

    def __init__(self, answer: Answer) -> None:
        self.batches: list[list[StreamedToken]] = []
        self.ends: list[AnswerEnd] = []
        self.errors: list[ChatError] = []
        answer.written.connect(self.batches.append)
        answer.ended.connect(self.ends.append)
        answer.failed.connect(self.errors.append)

    @property
    def tokens(self) -> list[StreamedToken]:
        return [t for batch in self.batches for t in batch]

    @property
    def text(self) -> str:
        return "".join(t.text for t in self.tokens)

    @property
    def over(self) -> bool:
        return bool(self.ends or self.errors)


def active(served: ServerProcess) -> int:
    return int(httpx.get(served.address.url + "/health").json()["active"])


def test_a_running_server_is_found_not_started_again(client: ChatClient, served: ServerProcess) -> None:
    assert client._pid == 0 and {m.id for m in client.models} == {MODEL, "1-pretrain@0", "1-pretrain@20"}
    untrained = next(m for m in client.models if m.untrained)
    assert isinstance(untrained, ModelInfo) and untrained.step == 0 and untrained.vocab_size > 256 and not untrained.chat


def test_the_stream_is_the_text_the_server_gives_in_one_piece(client: ChatClient, served: ServerProcess, qtbot: QtBot) -> None:
    settings = SamplingSettings(temperature=1.0, seed=9, max_tokens=150)
    heard = Heard(client.complete(MODEL, PROMPT, settings))
    qtbot.waitUntil(lambda: heard.over, timeout=20_000)
    whole = httpx.post(served.address.url + "/v1/completions", headers=served.address.headers, timeout=30,
                       json={"model": MODEL, "prompt": PROMPT, **settings.body()}).json()
    assert heard.text == whole["choices"][0]["text"] != "" and not heard.errors
    assert heard.ends[0].tokens == len(heard.tokens) == whole["usage"]["completion_tokens"]
    assert heard.ends[0].seed == 9 and heard.ends[0].seconds > 0
    token = heard.tokens[5]
    assert len(token.top) == 5 and token.rank >= 1 and token.logprob < 0 and token.top[0].logprob >= token.logprob


def test_a_conversation_streams_too(client: ChatClient, qtbot: QtBot) -> None:
    turns = [("user", "Hello"), ("assistant", "Good morning."), ("user", "When?")]
    heard = Heard(client.chat(MODEL, turns, SamplingSettings(max_tokens=8)))
    qtbot.waitUntil(lambda: heard.over, timeout=20_000)
    assert heard.ends and len(heard.tokens) == heard.ends[0].tokens


def test_signals_come_in_batches_and_the_window_never_stalls(client: ChatClient, qtbot: QtBot) -> None:
    """Two streams at full speed: at most about thirty batches a second, and a timer of the window keeps ticking."""
    gaps: list[float] = []
    last = time.perf_counter()

    def tick() -> None:
        nonlocal last
        now = time.perf_counter()
        gaps.append(now - last)
        last = now

    timer = QTimer()
    timer.timeout.connect(tick)
    timer.start(5)
    began = time.monotonic()
    both = [Heard(client.complete(m, PROMPT, SamplingSettings(temperature=1.0, seed=1, max_tokens=600, top_k=0, top_p=1)))
            for m in (MODEL, "1-pretrain@20")]
    qtbot.waitUntil(lambda: all(h.over for h in both), timeout=60_000)
    seconds = time.monotonic() - began
    timer.stop()
    assert all(h.ends for h in both)
    assert all(len(h.batches) <= 32 * seconds + 3 for h in both)
    assert sorted(gaps)[int(len(gaps) * 0.95)] < 0.05, sorted(gaps)[-5:]


def test_cancelling_frees_the_slot_and_keeps_what_came(client: ChatClient, served: ServerProcess, qtbot: QtBot) -> None:
    answer = client.complete(MODEL, PROMPT, SamplingSettings(temperature=1.0, seed=3, max_tokens=2000, top_k=0, top_p=1))
    heard = Heard(answer)
    qtbot.waitUntil(lambda: bool(heard.tokens), timeout=20_000)
    answer.cancel()
    assert [e.reason for e in heard.ends] == ["cancelled"] and not heard.errors
    count = len(heard.tokens)
    qtbot.waitUntil(lambda: active(served) == 0, timeout=10_000)
    qtbot.wait(100)
    assert len(heard.tokens) == count < 2000 and len(heard.ends) == 1


def test_an_error_has_its_sentence_and_remedy(client: ChatClient, qtbot: QtBot) -> None:
    for model, prompt, code in (("model-7", PROMPT, "model_not_found"), (MODEL, PROMPT * 500, "context_length_exceeded")):
        heard = Heard(client.complete(model, prompt, SamplingSettings()))
        qtbot.waitUntil(lambda heard=heard: heard.over, timeout=20_000)
        assert heard.errors[0].code == code and heard.errors[0].sentence and heard.errors[0].remedy and not heard.ends


def test_signals_come_on_the_windows_thread(client: ChatClient, qtbot: QtBot) -> None:
    threads: list[Any] = []
    answer = client.complete(MODEL, PROMPT, SamplingSettings(max_tokens=3))
    answer.written.connect(lambda _: threads.append(QThread.currentThread()))
    heard = Heard(answer)
    qtbot.waitUntil(lambda: heard.over, timeout=20_000)
    assert threads and all(t is client.thread() for t in threads)


def test_it_starts_a_server_of_its_own_survives_its_death_and_starts_another(tmp_path: Path, qtbot: QtBot) -> None:
    project = make_project(tmp_path / "project", context=4096)
    client = ChatClient(project.dir)
    failures: list[ChatError] = []
    client.failed.connect(failures.append)
    began = time.perf_counter()
    client.start()
    assert time.perf_counter() - began < 0.3 and client.state == "starting"
    qtbot.waitUntil(lambda: client.can_ask and client.listed, timeout=80_000)
    heard = Heard(client.complete(MODEL, PROMPT, SamplingSettings(temperature=1.0, max_tokens=4000, top_k=0, top_p=1)))
    qtbot.waitUntil(lambda: bool(heard.tokens), timeout=80_000)
    os.kill(client._pid, signal.SIGKILL)
    qtbot.waitUntil(lambda: heard.over and client.state == "failed", timeout=10_000)
    assert heard.errors[0].code == "server_gone" and heard.tokens and failures[0].remedy
    client.start()
    qtbot.waitUntil(lambda: client.can_ask and client.listed, timeout=80_000)
    again = Heard(client.complete(MODEL, PROMPT, SamplingSettings(max_tokens=3)))
    qtbot.waitUntil(lambda: again.over, timeout=80_000)
    assert again.ends
    pid = client._pid
    client.stop_server()
    qtbot.waitUntil(lambda: not launch.running(pid), timeout=10_000)


def test_the_server_ends_with_the_app_even_when_that_is_killed(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    app = subprocess.Popen([sys.executable, "-c", APP, str(project.dir)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert app.stdout is not None
    pid = int(app.stdout.readline())
    assert psutil.pid_exists(pid) and address.read(project.dir) is not None
    app.kill()
    app.wait()
    until = time.monotonic() + 15
    while address.read(project.dir) is not None and time.monotonic() < until:
        time.sleep(0.1)
    assert address.read(project.dir) is None


APP = """
import sys
from pathlib import Path
from PySide6.QtCore import QCoreApplication
from desktop.jobs.chat_client import ChatClient
app = QCoreApplication([])
client = ChatClient(Path(sys.argv[1]))
client.state_changed.connect(lambda state: print(client._pid, flush=True) if client.can_ask else None)
client.start()
app.exec()
"""


def test_a_server_that_cannot_start_says_why(tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project.create(tmp_path / "project", "Empty")
    client = ChatClient(project.dir, device="cuda:9")
    failures: list[ChatError] = []
    client.failed.connect(failures.append)
    client.start()
    qtbot.waitUntil(lambda: bool(failures), timeout=30_000)
    assert failures[0].code == "device_unavailable" and "cuda:9" in failures[0].sentence
    client.stop_server()
    monkeypatch.setenv("FLEDGE_PYTHON", str(tmp_path / "no-python"))
    other = ChatClient(Project.create(tmp_path / "other", "Other").dir)
    other.failed.connect(failures.append)
    other.start()
    assert failures[-1].code == "no_start" and other.state == "failed"
