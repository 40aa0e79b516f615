"""How long the document browser ever holds the window's thread: `python -m tests.benchmarks.browser_stall [DOCUMENTS [FOLDER]]`.

A million documents are browsed in the real window with the real engine: opened, scrolled by bar and wheel as fast as events go, walked
through by keys, searched while typing, filtered, all chosen, their groups compared. A heartbeat timer measures the longest gap of each
part. Needs no display. FOLDER keeps the artifact for another run.
"""

import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.window_stall import LIMIT_MS, Heart, Stall, _wait

DOCUMENTS = 1_000_000
WORDS = 40
SECONDS = 6.0


def measure(count: int = DOCUMENTS, folder: Path | None = None, seconds: float = SECONDS) -> dict[str, Stall]:
    """By part of what a person does."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    with tempfile.TemporaryDirectory() as aside:
        os.environ["FLEDGE_HOME"] = str(Path(aside) / "home")
        return _measure(Path(folder or aside), Path(aside), count, seconds)


def _measure(folder: Path, aside: Path, count: int, seconds: float) -> dict[str, Stall]:
    from PySide6.QtWidgets import QApplication

    from desktop.context import AppContext
    from desktop.pages.corpus.browser import BrowserView
    app = QApplication.instance() or QApplication([])
    assert isinstance(app, QApplication)
    context = AppContext(app)
    context.probe.ask = lambda measure=False: None  # type: ignore[method-assign]
    project = context.create_project(aside / "project", "Stall")
    artifact = _corpus(folder, count)
    view = BrowserView(context, on_back=lambda: None, on_apply=lambda: None)
    view.resize(1000, 720)
    view.show()
    _wait(app, 0.5)
    heart, found = Heart(), {}

    def settled() -> bool:
        return view.pages.total > 0 and view.reading._document is not None and not view.desk._near.busy

    def part(name: str, act: Callable[[float], None]) -> None:
        heart.take() if heart.gaps else None
        began, n = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            act(n)
            n += 1
            _wait(app, 0.016)
        until = time.perf_counter() + 10
        while not settled() and time.perf_counter() < until:
            _wait(app, 0.02)
        found[name] = heart.take()
        print(f"{name}: {found[name].words()}", flush=True)
    try:
        view.load(artifact)
        until = time.perf_counter() + 60
        while not settled() and time.perf_counter() < until:
            _wait(app, 0.02)
        assert view.pages.total == count, view.blank._title.words()
        found["opened"] = heart.take()
        print(f"opened: {found['opened'].words()}", flush=True)
        for name, act in _parts(view).items():
            part(name, act)
        began = time.perf_counter()
        view._show_side("documents")
        view.filters.set({"split": "kept"})
        view._ask_list()
        _wait(app, 3.0)
        view.list.selectAll()
        view._decide(False)
        while view.decisions.pending < view.pages.total and time.perf_counter() - began < 240:
            _wait(app, 0.02)
        assert view.decisions.pending == view.pages.total > count // 2
        found["all excluded"] = heart.take()
        print(f"{view.pages.total:,} excluded in {time.perf_counter() - began:.0f} s: {found['all excluded'].words()}", flush=True)
        assert project is context.project
    finally:
        view.rest()
        view.close()
        context.close()
        gc.collect()
    return found


def _corpus(folder: Path, count: int) -> Any:
    """An artifact as the window knows it, wherever it lies."""
    from engine.project.artifacts import Artifact
    from engine.text.browse import build
    from tests.benchmarks.browse_search import documents
    from tests.engine.text.browse.made import make
    kept = folder / f"corpus-{count}"
    if not (kept / "corpus.json").exists():
        print(f"making {count:,} documents", flush=True)
        make(kept, documents(count, WORDS))
    build(kept)
    return Artifact(id="corpus-1", kind="corpus", title="Million", created=0.0, parents=(), run="", spec={}, facts={}, files={}, path=kept)


def _parts(view: Any) -> dict[str, Callable[[float], None]]:
    """What is done on each turn, some 60 times a second."""
    from PySide6.QtCore import QPoint, QPointF, Qt
    from PySide6.QtGui import QKeyEvent, QWheelEvent
    from PySide6.QtWidgets import QApplication
    bar, typed = view.list.verticalScrollBar(), "the of gu* -only7"

    def drag(n: float) -> None:
        bar.setValue(int((n * 0.0037 % 1) * bar.maximum()))

    def wheel(n: float) -> None:
        at = QPointF(100, 200)
        QApplication.sendEvent(view.list.viewport(), QWheelEvent(at, view.list.viewport().mapToGlobal(at), QPoint(0, 0), QPoint(0, -480),
                               Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False))

    def key(code: Any, text: str = "") -> None:
        QApplication.sendEvent(view.list, QKeyEvent(QKeyEvent.Type.KeyPress, code, Qt.KeyboardModifier.NoModifier, text))

    def walk(n: float) -> None:
        key(Qt.Key.Key_Down if n % 40 else Qt.Key.Key_PageDown)

    def type_search(n: float) -> None:
        if n % 6 == 0:
            view.search.setText(typed[:int(n // 6) % (len(typed) + 1)])

    def filter_(n: float) -> None:
        if n % 30 == 0:
            step = int(n // 30) % 4
            view.search.set("")
            view.filters.set(({"split": "removed"}, {"language": "pt"}, {"step": "quality"}, {})[step])
            view._ask_list()
        elif n % 30 == 20:
            view.filters._chips["source"].click()
        elif n % 30 == 26:
            view.filters._menu.hide()

    def everything(n: float) -> None:
        if n == 0:
            view.filters.set({})
            view._ask_list()
        elif n % 20 == 10:
            view.list.selectAll()
        elif n % 20 == 19:
            view.list.choose(int(n) * 1000 % max(1, view.pages.total))

    def groups(n: float) -> None:
        if n == 0:
            view._show_side("clusters")
        elif n % 10 == 0:
            view.clusters.step(1)
        elif n % 3 == 0:
            scroll = view.clusters.table.verticalScrollBar()
            scroll.setValue(int((n * 0.003 % 1) * scroll.maximum()))
    return {"dragged through all": drag, "wheel": wheel, "walked by keys": walk, "typed a search": type_search, "filters": filter_,
            "all chosen": everything, "groups": groups}


def main() -> int:
    given = sys.argv[1:] if __name__ == "__main__" else []
    found = measure(int(given[0]) if given else DOCUMENTS, Path(given[1]) if len(given) > 1 else None)
    worst, own = max(s.longest for s in found.values()), max(s.work for s in found.values())
    print(f"longest stall of the window's thread {worst:.1f} ms, of its own work {own:.1f} ms (limit {LIMIT_MS:.0f} ms)")
    return 0 if own < LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())
