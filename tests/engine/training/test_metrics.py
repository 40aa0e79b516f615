"""Figures of a step on numbers worked by hand."""

import time

import pytest
import torch

from engine.contract.context import RunContext
from engine.contract.events import Metrics, Progress
from engine.training import metrics
from engine.training.metrics import Meter, ProcessorShare


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(metrics.time, "perf_counter", lambda: now[0])
    return now


def test_rate_mfu_and_time_left(tmp_path, clock):
    events = []
    context = RunContext(run_dir=tmp_path, project_dir=tmp_path, run_id="1-x", emitter=events.append)
    meter = Meter(context, steps=10, flops_per_token=50.0, peak=1000.0, first_step=0)
    for step in (1, 2, 3, 4):
        clock[0] += 2.0 + (4.0 if step == 2 else 0.0)  # two seconds a step, four for a validation after the second
        meter.add(step, 20 * step, 2.0, meter.elapsed(), loss=3.0, step_tokens=20)
    columns = [e.columns for e in events if isinstance(e, Metrics)]
    assert [c["step"] for c in columns] == [[1.0], [2.0], [3.0], [4.0]] and columns[-1]["tokens"] == [80.0]
    assert columns[-1]["tokens_per_second"] == [10.0] and columns[-1]["mfu"] == [pytest.approx(0.5)]
    assert columns[-1]["elapsed"] == [12.0] and columns[-1]["memory"][0] > 0
    last = [e for e in events if isinstance(e, Progress)][-1]
    assert (last.done, last.total, last.rate) == (4, 10, pytest.approx(0.5))
    assert last.eta == pytest.approx(6 * (2.0 + 1.0))


def test_waiting_for_the_person_is_not_training(tmp_path, clock):
    meter = Meter(RunContext(run_dir=tmp_path, project_dir=tmp_path, run_id="1-x"), 10, 1.0, 0.0, 0)
    clock[0] += 60.0
    meter.waited(50.0)
    assert meter.elapsed() == 10.0


def test_the_processor_share_tells_a_sleeper_from_a_worker() -> None:
    torch.set_num_threads(1)
    sleeper = ProcessorShare()
    time.sleep(0.3)
    assert sleeper() < 0.5
    worker = ProcessorShare()
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    assert worker() > sleeper()
