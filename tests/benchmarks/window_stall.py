"""How long the window's thread is ever held: `python -m tests.benchmarks.window_stall [SECONDS [POINTS]]`.

A run of a million steps is opened in the real window: first it is replayed, then a real process adds 50 events a second to it while the
chart shows all of it, with the pointer moving over it and zooming. A heartbeat timer in the event loop measures the longest gap of each
part. Needs no display.
"""

import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

POINTS = 1_000_000
EVENTS_A_SECOND = 50
LIMIT_MS = 50.0
A_LINE = 25


@dataclass
class Stall:
    """Milliseconds: the longest gap between two beats, the longest work of the thread itself between two (the rest is other programs'),
    the 99.9th percentile of the gaps, and how many there were over the limit."""

    longest: float
    work: float
    high: float
    over: int
    beats: int

    def words(self) -> str:
        return (f"longest {self.longest:.1f} ms (own work {self.work:.1f} ms), 99.9 % under {self.high:.1f} ms, "
                f"over {LIMIT_MS:.0f} ms: {self.over} of {self.beats:,}")


def write_events(path: Path, points: int) -> None:
    """The events of a run under way that has made `points` steps, a few steps a line as its worker writes them."""
    import numpy as np
    steps = np.arange(1, points + 1)
    loss = 3 + 6 * np.exp(-steps / (points / 12)) + np.random.default_rng(0).normal(0, 0.1, points)
    with open(path, "w", encoding="utf-8") as file:
        for event in ({"e": "started", "t": 1.0, "a": 1, "stage": "pretrain", "device": "cpu"},
                      {"e": "phases", "t": 1.0, "a": 1, "phases": [["train", "Train"], ["save", "Save"]]},
                      {"e": "phase", "t": 1.0, "a": 1, "id": "train", "title": "Train"},
                      {"e": "facts", "t": 1.0, "a": 1, "facts": {"steps": int(points * 1.2), "plan": {"sample_every": 50_000}}}):
            file.write(json.dumps(event) + "\n")
        for start in range(0, points, A_LINE):
            s = [float(x) for x in steps[start:start + A_LINE]]
            columns = {"step": s, "loss": [round(float(x), 4) for x in loss[start:start + A_LINE]], "lr": [0.001] * len(s),
                       "grad_norm": [0.5] * len(s), "tokens": [x * 8192 for x in s], "tokens_per_second": [90_000.0] * len(s),
                       "elapsed": [x * 0.09 for x in s], "memory": [9e9] * len(s), "mfu": [0.4] * len(s)}
            file.write(json.dumps({"e": "metrics", "t": 2.0, "a": 1, "columns": columns}, separators=(",", ":")) + "\n")
            done = start + A_LINE
            if done % 20_000 == 0:
                values = {"bpb": 1 + 1e5 / (done + 1e5)}
                file.write(json.dumps({"e": "evaluation", "t": 2.0, "a": 1, "step": done, "values": values}) + "\n")
            if done % 50_000 == 0:
                file.write(json.dumps({"e": "sample", "t": 2.0, "a": 1, "step": done, "prompt": "The ferry left",
                                       "text": " the quay at seven with the mail and forty passengers. " * 4, "temperature": 0.8}) + "\n")


EMITTER = """
import sys, time, math
from pathlib import Path
from engine.contract import events as ev
from engine.project import layout
from engine.project.event_log import EventWriter
from engine.project.locks import FileLock
run_dir, step, rate = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
lock = FileLock(layout.lock_file(run_dir))
assert lock.acquire(wait=5)
writer = EventWriter(layout.events_file(run_dir), 1)
print("ready", flush=True)
began, sent = time.perf_counter(), 0
while True:
    step, sent = step + 1, sent + 1
    writer.write(ev.Metrics(columns={"step": [step], "loss": [3.0 + math.sin(step) / 10], "lr": [0.001], "grad_norm": [0.5],
        "tokens": [step * 8192.0], "tokens_per_second": [90_000.0], "elapsed": [step * 0.09], "memory": [9e9], "mfu": [0.4]}))
    writer.flush()
    if sent % 25 == 0:
        writer.write(ev.Progress(done=step, total=1_200_000, unit="steps", rate=50, eta=1000))
    if sent % 100 == 0:
        writer.write(ev.Evaluation(step=step, values={"bpb": 1.0}))
        writer.write(ev.Sample(step=step, prompt="The ferry", text=" left at seven." * 20, temperature=0.8))
    time.sleep(max(0.0, began + sent / rate - time.perf_counter()))
"""


class Heart:
    """Beats as often as the event loop comes round."""

    def __init__(self) -> None:
        from PySide6.QtCore import QTimer
        self.gaps: list[tuple[float, float]] = []
        self._last, self._worked = time.perf_counter(), time.thread_time()
        self.timer = QTimer()
        self.timer.timeout.connect(self._beat)
        self.timer.start(1)

    def _beat(self) -> None:
        now, worked = time.perf_counter(), time.thread_time()
        self.gaps.append(((now - self._last) * 1000, (worked - self._worked) * 1000))
        self._last, self._worked = now, worked

    def take(self) -> Stall:
        gaps, work = sorted(g for g, _ in self.gaps), max(w for _, w in self.gaps)
        self.gaps = []
        return Stall(gaps[-1], work, gaps[min(len(gaps) - 1, int(len(gaps) * 0.999))], sum(g > LIMIT_MS for g in gaps), len(gaps))


def measure(seconds: float = 15.0, points: int = POINTS) -> dict[str, Stall]:
    """{"open", "replay", "live", "pointer"}: as the page is built, while the run's history is read, while it grows, while it grows and the
    pointer works on the chart."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FLEDGE_HOME"] = str(Path(folder) / "home")
        return _measure(Path(folder), seconds, points)


def _measure(folder: Path, seconds: float, points: int) -> dict[str, Stall]:
    from PySide6.QtWidgets import QApplication

    from desktop.context import AppContext
    from desktop.main_window import MainWindow
    from engine.project import layout
    from engine.project.project import Project
    from engine.stages.pretrain.spec import PretrainSpec
    app = QApplication.instance() or QApplication([])
    assert isinstance(app, QApplication)
    project = Project.create(folder / "project", "Stall")
    run = project.runs.create(PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1", title="long"))
    write_events(layout.events_file(run.dir), points)
    emitter = subprocess.Popen([sys.executable, "-c", EMITTER, str(run.dir), str(points), str(EVENTS_A_SECOND)], stdout=subprocess.PIPE,
                               cwd=Path(__file__).parents[2], env=dict(os.environ, PYTHONPATH=str(Path(__file__).parents[2])))
    assert emitter.stdout is not None
    emitter.stdout.readline()
    context = AppContext(app)
    context.probe.ask = lambda measure=False: None  # type: ignore[method-assign]
    context.open_project(project.dir)
    window = MainWindow(context)
    window.resize(1280, 800)
    window.show()
    found: dict[str, Stall] = {}
    try:
        _wait(app, 0.5)
        heart = Heart()
        window.show_page("pretrain", {"run": run.id})
        page = window.pages["pretrain"]
        side = page.run_side  # type: ignore[attr-defined]
        _wait(app, 0.3)
        found["open"] = heart.take()
        until = time.perf_counter() + 240
        while side.follower.state.step < points and time.perf_counter() < until:
            app.processEvents()
            time.sleep(0.0002)
        _wait(app, 1.0)
        found["replay"] = heart.take()
        _wait(app, seconds)
        found["live"] = heart.take()
        found["pointer"] = _with_pointer(app, heart, side.panel.chart.plot, seconds)
        assert side.panel.main_curve.pyramid.length > points
    finally:
        emitter.kill()
        emitter.wait()
        window.close()
        gc.collect()
    return found


def _with_pointer(app, heart: Heart, plot, seconds: float) -> Stall:
    from PySide6.QtCore import QEvent, QPointF, Qt
    from PySide6.QtGui import QMouseEvent
    until, place, zoomed = time.perf_counter() + seconds, 0.0, 0.0
    while time.perf_counter() < until:
        area = plot.area()
        place = (place + 3) % area.width()
        at = QPointF(area.left() + place, area.center().y())
        app.postEvent(plot, QMouseEvent(QEvent.Type.MouseMove, at, plot.mapToGlobal(at), Qt.MouseButton.NoButton, Qt.MouseButton.NoButton,
                                        Qt.KeyboardModifier.NoModifier))
        if time.perf_counter() - zoomed > 1.0:
            zoomed = time.perf_counter()
            plot.zoom(None if plot.view else (plot._value(area.left() + 100), plot._value(area.left() + 200)))
        _wait(app, 0.016)
    return heart.take()


def _wait(app, seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        app.processEvents()
        time.sleep(0.0002)


def main() -> int:
    given = sys.argv[1:] if __name__ == "__main__" else []
    seconds, points = float(given[0]) if given else 15.0, int(given[1]) if len(given) > 1 else POINTS
    found = measure(seconds, points)
    names = {"open": "the page is built", "replay": f"replay of {points:,} steps",
             "live": f"{EVENTS_A_SECOND} events a second, {points:,} points shown",
             "pointer": "the same, with readout and zoom"}
    for key, stall in found.items():
        print(f"{names[key]}: {stall.words()}", flush=True)
    worst = max(stall.longest for key, stall in found.items() if key != "open")
    own = max(stall.work for key, stall in found.items() if key != "open")
    print(f"longest stall of the window's thread {worst:.1f} ms, of its own work {own:.1f} ms (limit {LIMIT_MS:.0f} ms)")
    return 0 if worst < LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())
