"""The engine thread without HTTP: what loads, what leaves for it, and what is refused when the device is full."""

import math
import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.contract.errors import FledgeError
from engine.project import layout
from engine.project.locks import FileLock
from engine.project.project import Project
from engine.serve import loaded
from engine.serve.catalogue import Catalogue
from engine.serve.engine import SHARING_SECONDS, Engine
from engine.serve.jobs import Accepted, Broke, Embedded, Ended, Ids, Job, Piece, Scored, Settings, Text, Wrote
from tests.serving import make_project

IDS = ("model-1", "1-pretrain@20", "1-pretrain@0")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("engine") / "project")


class Asked:
    """An engine, and a way to wait for what it says."""

    def __init__(self, project: Project, idle_seconds: float = 600) -> None:
        self.catalogue = Catalogue(project)
        self.engine = Engine("cpu", idle_seconds)
        self.said: queue.Queue[tuple[Job, Piece]] = queue.Queue()
        self.engine.start(lambda batch: [self.said.put(item) for item in batch])
        self.until(lambda: self.engine.status().state == "ready")

    def ask(self, model: str, **settings: object) -> list[Piece]:
        job = Job("a", 0, self.catalogue.get(model), Text("The ferry"), Settings(**{"max_tokens": 3, "temperature": 0.0, **settings}))
        self.engine.submit([job])
        pieces: list[Piece] = []
        while not pieces or not isinstance(pieces[-1], (Ended, Broke)):
            pieces.append(self.said.get(timeout=30)[1])
        return pieces

    def until(self, look: Callable[[], bool], seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not look():
            assert time.monotonic() < end, self.engine.status()
            time.sleep(0.02)


@pytest.fixture
def asked(project: Project) -> Iterator[Asked]:
    made = Asked(project)
    yield made
    made.engine.stop()


def test_a_job_is_accepted_written_and_ended(asked: Asked) -> None:
    pieces = asked.ask("model-1")
    assert isinstance(pieces[0], Accepted) and isinstance(pieces[-1], Ended)
    assert sum(len(p.tokens) for p in pieces if isinstance(p, Wrote)) == pieces[-1].completion_tokens
    assert pieces[0].prompt_tokens == pieces[-1].prompt_tokens > 1


def test_models_stay_until_the_room_is_needed_then_the_oldest_used_leaves(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    for id in IDS[:2]:
        asked.ask(id)
    asked.ask(IDS[0])
    asked.until(lambda: asked.engine.status().loaded == {IDS[0], IDS[1]})
    need = loaded.bytes_needed(asked.catalogue.get(IDS[2]), asked.engine._device)

    def room_for_one_more_once_one_has_left(device: object) -> int:
        return int(need * 1.3) if len(asked.engine._models) < 2 else need // 2
    monkeypatch.setattr(loaded, "bytes_free", room_for_one_more_once_one_has_left)
    assert isinstance(asked.ask(IDS[2])[-1], Ended)
    asked.until(lambda: asked.engine.status().loaded == {IDS[0], IDS[2]})


def test_a_full_device_is_said_with_the_numbers_and_the_engine_goes_on(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(loaded, "bytes_free", lambda device: 1000)
        broke = asked.ask("model-1")[-1]
    assert isinstance(broke, Broke) and broke.error.code == "device_full"
    assert "1.0\u00a0kB is free" in broke.error.sentence and "needs" in broke.error.sentence and broke.error.remedy
    assert isinstance(asked.ask("model-1")[-1], Ended)


def test_a_device_that_fills_up_while_sampling_is_said_too(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    asked.ask("model-1")

    def full(self: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")
    with monkeypatch.context() as patch:
        patch.setattr("engine.sampling.slots.SlotEngine.step", full)
        broke = asked.ask("model-1")[-1]
    assert isinstance(broke, Broke) and broke.error.code == "device_full"
    asked.until(lambda: not asked.engine.status().loaded)
    assert isinstance(asked.ask("model-1")[-1], Ended)


def test_our_own_mistake_ends_the_answers_of_a_model_not_the_engine(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object) -> None:
        raise AssertionError("ours")
    with monkeypatch.context() as patch:
        patch.setattr("engine.sampling.slots.SlotEngine.step", broken)
        broke = asked.ask("model-1")[-1]
    assert isinstance(broke, Broke) and broke.error.code == "internal" and "ours" not in str(broke.error)
    assert isinstance(asked.ask("model-1")[-1], Ended)


def test_idle_models_leave(project: Project) -> None:
    made = Asked(project, idle_seconds=0.3)
    made.ask("model-1")
    made.until(lambda: not made.engine.status().loaded and made.engine.status().memory == 0)
    assert isinstance(made.ask("model-1")[-1], Ended)
    made.engine.stop()


def test_a_cancelled_job_frees_its_slot_and_says_so(asked: Asked) -> None:
    job = Job("a", 0, asked.catalogue.get("model-1"), Text("The ferry"), Settings(max_tokens=None, temperature=1.0, seed=3))
    job.cancelled.set()
    other = Job("b", 0, job.model, job.prompt, Settings(max_tokens=2, temperature=0.0))
    asked.engine.submit([job, other])
    pieces = [asked.said.get(timeout=30) for _ in range(4)]
    assert [p.reason for j, p in pieces if isinstance(p, Ended) and j is job] == ["cancelled"]
    asked.until(lambda: asked.engine.status().active == 0)


def test_a_checkpoint_written_anew_is_loaded_anew(tmp_path: Path) -> None:
    from tests.serving import tokenizer, write_model
    own = make_project(tmp_path / "project")
    made = Asked(own)
    before = [t.id for p in made.ask("1-pretrain@20", max_tokens=8) if isinstance(p, Wrote) for t in p.tokens]
    write_model(made.catalogue.get("1-pretrain@20").ref.folder, tokenizer(), seed=77)
    after = [t.id for p in made.ask("1-pretrain@20", max_tokens=8) if isinstance(p, Wrote) for t in p.tokens]
    assert before != after
    made.engine.stop()


def test_an_engine_without_its_device_says_why_to_everybody(project: Project) -> None:
    engine = Engine("cuda:9")
    said: queue.Queue[tuple[Job, Piece]] = queue.Queue()
    engine.start(lambda batch: [said.put(item) for item in batch])
    engine.submit([Job("a", 0, Catalogue(project).get("model-1"), Text("x"), Settings())])
    broke = said.get(timeout=30)[1]
    assert isinstance(broke, Broke) and broke.error.code == "device_unavailable"
    assert engine.status().state == "failed" and isinstance(engine.status().error, FledgeError)
    engine.stop()


@pytest.fixture
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.serve.engine.LOOK_SECONDS", 0.1)


@pytest.mark.usefixtures("looks_often")
def test_each_job_says_how_long_its_model_stays(project: Project) -> None:
    made = Asked(project, idle_seconds=0.2)
    job = Job("a", 0, made.catalogue.get("model-1"), Text("x"), purpose="load", keep=-1)
    made.engine.submit([job])
    assert [type(made.said.get(timeout=30)[1]) for _ in range(2)] == [Accepted, Ended]
    made.until(lambda: made.engine.status().loaded == {"model-1"})
    assert made.engine.status().models[0].leaves == math.inf
    time.sleep(0.6)
    assert made.engine.status().loaded == {"model-1"}
    made.engine.submit([Job("b", 0, job.model, Text("x"), purpose="load", keep=0)])
    assert [p.reason for p in (made.said.get(timeout=30)[1] for _ in range(2)) if isinstance(p, Ended)] == ["unload"]
    made.until(lambda: not made.engine.status().loaded)
    made.engine.stop()


@pytest.mark.usefixtures("looks_often")
def test_a_run_that_takes_the_device_finds_its_memory_free(project: Project) -> None:
    """On a processor: models that nobody uses leave, and answers are still given."""
    made = Asked(project, idle_seconds=-1)
    made.ask("model-1")
    lock = FileLock(layout.device_lock("cpu"))
    assert lock.acquire(wait=5)
    try:
        made.until(lambda: made.engine.status().sharing and not made.engine.status().loaded)
        assert isinstance(made.ask("model-1")[-1], Ended)
        assert made.engine.status().models[0].leaves < time.time() + SHARING_SECONDS + 1, "not for good while a run has the device"
    finally:
        lock.release()
    made.until(lambda: not made.engine.status().sharing)
    assert made.engine.status().loaded == {"model-1"} and made.engine.status().models[0].leaves == math.inf
    made.engine.stop()


@pytest.mark.usefixtures("looks_often")
def test_models_move_off_an_accelerator_that_a_run_takes_and_back(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The accelerator here is the processor under another name, which torch knows as well; the rules are those of a real one."""
    made = Asked(project)
    engine, model = made.engine, made.catalogue.get("model-1")
    monkeypatch.setattr(loaded, "bytes_free", lambda device: 10**9)
    engine._device = engine._home = replace(engine._host, id="cpu:0", kind="cuda", title="An accelerator")
    made.ask("model-1")
    made.ask("1-pretrain@0")
    made.until(lambda: {m.accelerated for m in engine.status().models} == {True} and len(engine.status().models) == 2)
    long = Job("long", 0, model, Text("The"), Settings(temperature=1.0, seed=5))
    slow = engine._models["model-1"].slots.step
    monkeypatch.setattr(engine._models["model-1"].slots, "step", lambda: (time.sleep(0.02), slow())[1])
    engine.submit([long])
    lock = FileLock(layout.device_lock("cpu:0"))
    assert lock.acquire(wait=5)
    try:
        made.until(lambda: engine.status().sharing)
        assert [(m.listed.ref.id, m.accelerated) for m in engine.status().models] == [("model-1", True)], "what nobody uses left at once"
        other = Job("other", 0, model, Text("The"), Settings(max_tokens=3, temperature=0.0))
        engine.submit([other])
        made.until(lambda: {m.accelerated for m in engine.status().models} == {False}, 30)
        pieces = [made.said.get(timeout=5) for _ in range(made.said.qsize())]
        ends = [job for job, piece in pieces if isinstance(piece, Ended)]
        assert set(ends) == {long, other} and not any(isinstance(p, Broke) for _, p in pieces), "the answer under way was finished"
        assert ends[0] is other, "new answers come from the machine's own memory meanwhile"
    finally:
        lock.release()
    made.until(lambda: not engine.status().sharing and not engine.status().models)
    made.ask("model-1")
    made.until(lambda: [m.accelerated for m in engine.status().models] == [True])
    engine.stop()


def test_scores_and_vectors_come_between_the_steps_of_answers(asked: Asked) -> None:
    model = asked.catalogue.get("model-1")
    jobs = [Job("a", 0, model, Text("The ferry"), Settings(max_tokens=20)), Job("b", 0, model, Text("noon"), purpose="score"),
            Job("c", 0, model, Text("noon"), purpose="embed")]
    for job in jobs:
        asked.engine.submit([job])
    ends: dict[str, str] = {}
    kinds: set[type] = set()
    while len(ends) < 3:
        job, piece = asked.said.get(timeout=30)
        kinds.add(type(piece))
        if isinstance(piece, Ended):
            ends[job.answer] = piece.reason
    assert ends["b"] == ends["c"] == "read" and {Scored, Embedded, Wrote} <= kinds
    asked.until(lambda: asked.engine.status().active == asked.engine.status().waiting == 0)


def test_of_a_request_whose_one_prompt_is_wrong_nothing_is_done(asked: Asked) -> None:
    model = asked.catalogue.get("model-1")
    asked.engine.submit([Job("a", i, model, prompt, Settings(max_tokens=5)) for i, prompt in enumerate((Text("x"), Ids((999_999,))))])
    pieces = [asked.said.get(timeout=30)[1] for _ in range(2)]
    assert all(isinstance(p, Broke) and p.error.code == "bad_parameter" for p in pieces)
    asked.until(lambda: asked.engine.status().active == 0)
