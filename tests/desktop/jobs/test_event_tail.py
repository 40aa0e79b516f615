"""The tail keeps the state up to date, survives torn lines and resumes, and never holds the event loop for long."""

import gc
import time
from pathlib import Path

from PySide6.QtCore import QTimer

from desktop.jobs.event_tail import EventTail, merged
from engine.contract import events as ev
from engine.project.event_log import EventWriter
from engine.project.run_state import RunState


def metrics(first: int, count: int = 1) -> ev.Metrics:
    steps = [float(s) for s in range(first, first + count)]
    return ev.Metrics(columns={"step": steps, "loss": [10 / s for s in steps]})


def test_follows_a_file_that_does_not_exist_yet(qtbot, tmp_path: Path) -> None:
    path, state = tmp_path / "run" / "events.jsonl", RunState()
    path.parent.mkdir()
    tail = EventTail(path, state)
    with qtbot.waitSignal(tail.caught_up):
        tail.start()
    writer = EventWriter(path, 1)
    writer.write(ev.Started(stage="pretrain", device="cpu"))
    writer.write(metrics(1, 3))
    writer.flush()
    qtbot.waitUntil(lambda: state.step == 3, timeout=4000)
    assert state.status == "running"
    writer.close()
    tail.stop()


def test_a_torn_last_line_waits_until_it_is_whole(qtbot, tmp_path: Path) -> None:
    path, state = tmp_path / "events.jsonl", RunState()
    whole = ev.to_line(metrics(1)) + "\n"
    second = ev.to_line(metrics(2)) + "\n"
    path.write_text(whole + second[:20], "utf-8")
    tail = EventTail(path, state)
    with qtbot.waitSignal(tail.caught_up):
        tail.start()
    assert state.step == 1
    with open(path, "a") as file:
        file.write(second[20:])
    qtbot.waitUntil(lambda: state.step == 2, timeout=4000)
    tail.stop()


def test_a_resume_drops_the_steps_that_were_lost(qtbot, tmp_path: Path) -> None:
    path, state = tmp_path / "events.jsonl", RunState()
    first = EventWriter(path, 1)
    first.write(ev.Started(stage="pretrain"))
    first.write(metrics(1, 90))
    first.close()
    second = EventWriter(path, 2)
    second.write(ev.Started(stage="pretrain"))
    second.write(ev.Resumed(step=50))
    second.write(metrics(51, 5))
    second.close()
    tail = EventTail(path, state)
    with qtbot.waitSignal(tail.caught_up):
        tail.start()
    assert state.metrics.column("step").tolist() == [float(s) for s in range(1, 56)]
    assert state.metrics.cuts == 1
    tail.stop()


def test_tells_at_most_ten_times_a_second(qtbot, tmp_path: Path) -> None:
    path, state = tmp_path / "events.jsonl", RunState()
    writer = EventWriter(path, 1)
    writer.write(ev.Started(stage="pretrain"))
    tail, told = EventTail(path, state), []
    tail.changed.connect(lambda: told.append(time.perf_counter()))
    tail.start()
    until = time.perf_counter() + 1.0
    step = 0
    while time.perf_counter() < until:
        step += 1
        writer.write(metrics(step))
        writer.flush()
        qtbot.wait(10)
    qtbot.waitUntil(lambda: state.step == step, timeout=4000)
    qtbot.wait(150)
    gaps = [b - a for a, b in zip(told, told[1:], strict=False)]
    assert 5 <= len(told) <= 13
    assert min(gaps) > 0.09
    writer.close()
    tail.stop()


def test_a_long_replay_leaves_the_event_loop_alive(qtbot, tmp_path: Path) -> None:
    """120,000 steps in 60,000 lines: no turn of the loop may be long. The full measure is tests/benchmarks/window_stall.py."""
    path, state = tmp_path / "events.jsonl", RunState()
    lines = [ev.to_line(ev.Started(stage="pretrain"))]
    for step in range(1, 120_001, 2):
        columns = f'{{"step":[{step},{step + 1}],"loss":[1.5,1.25],"lr":[0.1,0.1],"tokens":[1,2]}}'
        lines.append(f'{{"e":"metrics","t":1.0,"a":1,"columns":{columns}}}')
    path.write_text("\n".join(lines) + "\n", "utf-8")
    gc.collect()
    gc.freeze()  # the collector's walk over everything the other tests loaded is not the tail's
    tail, longest, last, tick = EventTail(path, state), 0.0, time.thread_time(), QTimer()

    def beat() -> None:
        nonlocal longest, last
        now = time.thread_time()  # the thread's own work: a busy machine adds to the wall's
        longest, last = max(longest, now - last), now
    tick.timeout.connect(beat)
    tick.start(0)
    with qtbot.waitSignal(tail.caught_up, timeout=60_000):
        tail.start()
    gc.unfreeze()
    assert state.step == 120_000
    assert longest < 0.05  # a turn is 8 ms
    tail.stop()


def test_neighbouring_metrics_of_one_attempt_are_joined() -> None:
    found = merged([metrics(1), metrics(2, 2), ev.Sample(step=2, text="x"), metrics(4)])
    assert [type(e).__name__ for e in found] == ["Metrics", "Sample", "Metrics"]
    assert found[0].columns["step"] == [1.0, 2.0, 3.0]  # type: ignore[attr-defined]
    other = ev.Metrics(columns={"step": [5.0], "loss": [1.0], "extra": [1.0]})
    assert len(merged([metrics(4), other])) == 2
