"""The engine thread without HTTP: what loads, what leaves for it, and what is refused when the device is full."""

import queue
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.contract.errors import FledgeError
from engine.project.project import Project
from engine.serve import loaded
from engine.serve.catalogue import Catalogue
from engine.serve.engine import Engine
from engine.serve.jobs import Accepted, Broke, Ended, Job, Piece, Settings, Text, Wrote
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
