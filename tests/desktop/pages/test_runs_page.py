"""The Runs page: rows, overlay of the chosen ones, what differs, delete, queue, and the empty page."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from desktop.context import AppContext
from desktop.pages.runs import RunsPage
from engine.project import layout, queue
from tests.recordings.record import newspaper


@pytest.fixture
def recorded(context: AppContext, tmp_path: Path) -> Path:
    newspaper(tmp_path / "gazette")
    context.open_project(tmp_path / "gazette")
    return tmp_path / "gazette"


@pytest.fixture
def page(recorded: Path, context: AppContext, qtbot) -> Iterator[RunsPage]:
    made = RunsPage(context)
    qtbot.addWidget(made)
    made.resize(1056, 800)
    made.show()
    made.opened()
    qtbot.waitUntil(lambda: len(made._shown) == 6, timeout=8000)
    yield made
    made.left()


def choose(page: RunsPage, *ids: str) -> None:
    page._select(set(ids))
    page._chosen()


def test_the_newest_run_is_chosen_and_drawn(page: RunsPage, qtbot) -> None:
    assert [r.id for r in page.table.selected_rows()] == ["6-pretrain"]
    qtbot.waitUntil(lambda: page._drawn[0].state.step == 1027, timeout=8000)
    assert len(page.chart.plot.curves) == 1 and page.chart.plot.curves[0].raw


def test_two_runs_are_laid_over_each_other_and_compared(page: RunsPage, qtbot) -> None:
    choose(page, "3-pretrain", "6-pretrain")
    assert [c.name for c in page.chart.plot.curves] == ["run 3, gazette-17m", "run 6, gazette-60m"]
    assert not any(c.raw for c in page.chart.plot.curves)
    assert len({(c.tone, c.dashed) for c in page.chart.plot.curves}) == 2
    words = {w.text() for w in page.details.findChildren(type(page.count))}
    assert "What differs" in words
    qtbot.waitUntil(lambda: all(f.state.step for f in page._drawn), timeout=8000)


def test_validation_is_drawn_as_points(page: RunsPage, qtbot) -> None:
    choose(page, "4-pretrain")
    qtbot.waitUntil(lambda: page._drawn[0].state.step == 2290, timeout=8000)
    page.measure.set("bpb")
    page._draw()
    curve = page.chart.plot.curves[0]
    assert curve.dots and len(curve.points) == 19


def test_choosing_with_the_keyboard_adds_runs(page: RunsPage, qtbot) -> None:
    page.table.setFocus()
    page.table.select(0)
    QTest.keyClick(page.table, Qt.Key.Key_Down, Qt.KeyboardModifier.ShiftModifier)
    assert len(page.table.selected_rows()) == 2
    assert len(page.chart.plot.curves) == 2


def test_delete_asks_with_the_size_and_then_deletes(page: RunsPage, recorded: Path, qtbot) -> None:
    choose(page, "3-pretrain")
    chosen = page.table.selected_rows()[0]
    page.details._ask(chosen)
    words = " ".join(w.text() for w in page.details.findChildren(type(page.count)))
    assert "Delete run 3?" in words and "kB" in words
    assert layout.run(recorded, "3-pretrain").exists()
    page.details._answer(chosen)
    qtbot.waitUntil(lambda: len(page._shown) == 5, timeout=8000)
    assert not layout.run(recorded, "3-pretrain").exists()


def test_a_run_under_way_cannot_be_deleted(page: RunsPage, recorded: Path, qtbot) -> None:
    lock = page.project.runs.get("6").lock()
    lock.acquire()
    qtbot.waitUntil(lambda: next(r for r in page._shown if r.number == 6).status == "running", timeout=8000)
    choose(page, "6-pretrain")
    buttons = {b.text().strip(): b for b in page.details.findChildren(type(page.chart._whole))}
    assert not buttons["Delete"].isEnabled()
    assert "Resume" not in buttons
    lock.release()


def test_opening_leads_to_the_stages_page(page: RunsPage, context: AppContext) -> None:
    asked: list[tuple[str, dict]] = []
    context.navigate_requested.connect(lambda id, args: asked.append((id, args)))
    page.table.opened.emit(page._shown[0])
    assert asked == [("pretrain", {"run": "6-pretrain"})]


def test_the_queue_can_be_reordered(page: RunsPage, recorded: Path, qtbot, monkeypatch) -> None:
    monkeypatch.setattr(queue, "ensure_runner", lambda: None)
    for run in ("3-pretrain", "4-pretrain"):
        queue.add(recorded, run)
    qtbot.waitUntil(lambda: len(page.queue.entries) == 2, timeout=8000)
    panel = next(w for w in page.full.children() if type(w).__name__ == "QueuePanel")
    assert not panel.isHidden()
    up = next(b for b in panel.findChildren(type(page.chart._whole)) if b.accessibleName() == "Move gazette, 4-pretrain up")
    up.click()
    assert [e.run for e in queue.entries()] == ["4-pretrain", "3-pretrain"]
    for entry in list(page.queue.entries):
        page.queue.remove(entry)
    assert panel.isHidden()


def test_without_runs_the_page_says_what_to_do(project, context: AppContext, qtbot) -> None:
    page = RunsPage(context)
    qtbot.addWidget(page)
    page.show()
    page.opened()
    qtbot.waitUntil(lambda: page.empty.isVisible(), timeout=8000)
    assert not page.full.isVisible()
    asked: list[str] = []
    context.navigate_requested.connect(lambda id, args: asked.append(id))
    next(b for b in page.empty.findChildren(type(page.chart._whole))).click()
    assert asked == ["corpus"]
    page.left()


def test_a_hidden_page_reads_nothing(page: RunsPage, qtbot) -> None:
    page.left()
    assert not page._timer.isActive()
    assert not any(f.tail._net.isActive() for f in page._followers.values())
