"""The real window over a project, used part by part as a person would, with how long its thread was held in each. What a person does is the
benchmark's (answers_stall.py, label_stall.py). Needs no display."""

import gc
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.project.project import Project
from tests.benchmarks.window_stall import Heart, Stall, _wait


@contextmanager
def alone() -> Iterator[Path]:
    """A folder for a project, with settings of nobody and no display."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FLEDGE_HOME"] = str(Path(folder) / "home")
        yield Path(folder)


class WindowParts:
    """A subclass does its parts in `do()`. `pause`: seconds between two acts of a part; `seconds`: how long a part goes on."""

    pause = 0.02

    def __init__(self, project: Project, seconds: float) -> None:
        from PySide6.QtWidgets import QApplication

        from desktop.context import AppContext
        from desktop.main_window import MainWindow
        made = QApplication.instance() or QApplication([])
        assert isinstance(made, QApplication)
        self.app, self.project, self.seconds = made, project, seconds
        self.context = AppContext(self.app)
        self.context.probe.ask = lambda measure=False: None  # type: ignore[method-assign]
        self.context.open_project(project.dir)
        self.window = MainWindow(self.context)
        self.window.resize(1280, 800)
        self.window.show()
        _wait(self.app, 0.5)
        self.heart, self.found = Heart(), dict[str, Stall]()

    def do(self) -> None:
        raise NotImplementedError

    def all(self) -> dict[str, Stall]:
        """By part; names that begin with "built" are pages shown for the first time."""
        try:
            self.do()
        finally:
            self.window.close()
            self.context.close()
            gc.collect()
        return self.found

    def part(self, name: str, act: Callable[[int], object], once: bool = False) -> None:
        """`act(n)` again and again, as fast as events go; what it asked for is waited for."""
        _wait(self.app, 0.1)
        self.heart.take()
        began, n = time.perf_counter(), 0
        while n == 0 or (not once and time.perf_counter() - began < self.seconds):
            act(n)
            n += 1
            _wait(self.app, self.pause)
        until = time.perf_counter() + 20
        while self.context.jobs.busy and time.perf_counter() < until:
            _wait(self.app, 0.02)
        _wait(self.app, 0.2)
        self.found[name] = self.heart.take()

    def wait(self, done: Callable[[], object], seconds: float = 60.0, sleep: float = 0.0002) -> None:
        """Until `done()`; looked at after each round of events, and `sleep` seconds."""
        until = time.perf_counter() + seconds
        while not done():
            assert time.perf_counter() < until, "what was waited for did not come"
            self.app.processEvents()
            time.sleep(sleep)
