"""Home: the first start, recent projects, a run under way, the machine; and the way through the New-project wizard by hand."""

import json
import time
from pathlib import Path

import pytest
from PySide6.QtCore import Qt

from desktop.context import AppContext
from desktop.main_window import MainWindow
from desktop.models import project_glance
from desktop.pages.home import HomePage, smooth
from desktop.widgets.new_project import NewProjectDialog
from engine.contract.machine import DeviceFacts, MachineFacts
from engine.project import layout, recent
from engine.project.project import Project
from tests.recordings.record import Story, write_run


@pytest.fixture
def page(window: MainWindow) -> HomePage:
    found = window.pages["home"]
    assert isinstance(found, HomePage)
    return found


def test_the_first_start_says_where_to_begin(page: HomePage) -> None:
    assert page._recent.isHidden() and not page._first.isHidden()


def test_recent_projects_show_stage_size_and_place(page: HomePage, context: AppContext, tmp_path: Path, qtbot) -> None:
    made = context.create_project(tmp_path / "gazette", "Lowland Gazette")
    with made.artifacts.create("corpus") as corpus:
        (corpus.path / "text").write_bytes(b"x" * 5000)
        corpus.finish(documents=1)
    page.opened()
    qtbot.waitUntil(lambda: any(g.stage == "Corpus done" for g in page._glances.values()))
    glance = page._table.rows_model.rows[0]
    assert glance.name == "Lowland Gazette" and glance.size > 5000
    assert page._first.isHidden() and not page._recent.isHidden()


def test_a_lost_project_says_so_and_can_be_forgotten(page: HomePage, home: Path, qtbot) -> None:
    recent.remember(home / "gone", "Gone")
    page.opened()
    qtbot.waitUntil(lambda: any(not g.there for g in page._glances.values()))
    page._open(page._table.rows_model.rows[0])
    assert page._notes.note is not None and "Gone" in page._notes.note.accessibleName()
    page._forget(str(home / "gone"))
    assert recent.recent() == [] and page._notes.note is None


def test_enter_opens_a_project_at_its_next_stage(window: MainWindow, page: HomePage, context: AppContext, tmp_path: Path, qtbot) -> None:
    went: list[str] = []
    context.navigate_requested.disconnect()
    context.navigate_requested.connect(lambda id, args: went.append(id))
    other = Project.create(tmp_path / "other", "Other")
    recent.remember(other.dir, other.name)
    page.opened()
    window.activateWindow()
    page._table.setFocus(Qt.FocusReason.TabFocusReason)
    qtbot.waitUntil(lambda: page._table.currentIndex().isValid())
    qtbot.keyClick(page._table, Qt.Key.Key_Return)
    assert context.project is not None and context.project.dir == other.dir and went == ["corpus"]


def test_finding_a_project(page: HomePage, tmp_path: Path, home: Path) -> None:
    for name in ("Alpha", "Beta", "Gamma", "Delta", "Epsilon", "Zeta"):
        recent.remember(Project.create(tmp_path / name.lower(), name).dir, name)
    page.opened()
    assert not page._find.isHidden() and page._table.rows_model.rowCount() == 6
    page._find.setText("gam")
    assert [g.name for g in page._table.rows_model.rows] == ["Gamma"]


def test_a_run_under_way_is_shown_with_its_curve(page: HomePage, project: Project, context: AppContext, qtbot) -> None:
    from engine.stages.pretrain.spec import PretrainSpec
    run = project.runs.create(PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1", title="gazette-60m"))
    write_run(run, Story(steps=2503, upto=1027, end=""))
    lock = run.lock()
    assert lock.acquire()
    try:
        context.look()
        qtbot.waitUntil(lambda: not page._running.isHidden() and "1,027" in page._running._line.words())
        card = page._running
        assert "2,503" in card._line.words() and "loss" in card._line.words() and "left" in card._line.words()
        assert "gazette-60m" in card._title.words() and card._bar.share == pytest.approx(1027 / 2503, abs=1e-3)
        assert len(card._curve.values) > 50
        went: list[tuple[str, dict]] = []
        context.navigate_requested.disconnect()
        context.navigate_requested.connect(lambda id, args: went.append((id, args)))
        card._open()
        assert went == [("pretrain", {"run": run.id})]
    finally:
        lock.release()
    context.look()
    qtbot.waitUntil(lambda: page._running.isHidden(), timeout=5000)


def test_a_page_that_is_left_follows_nothing(page: HomePage, project: Project) -> None:
    page.left()
    assert page._running._follower is None


CARD = DeviceFacts(id="cuda:0", kind="cuda", title="NVIDIA RTX 4090", memory_total=24 * 10**9, memory_free=15 * 10**9,
                   dtypes=("bfloat16", "float32"), peak_flops={"bfloat16": 152e12})
MACHINE = MachineFacts(devices=(CARD,))


def test_what_the_machine_can_raise_comes_from_its_measured_speed(page: HomePage, context: AppContext, qtbot) -> None:
    assert page._fits.isHidden() and not page._fits_measure.isHidden()
    context.probe.found.emit(MACHINE)
    qtbot.waitUntil(lambda: page._fits.rows_model.rowCount() == 4)
    assert page._fits_measure.isHidden() and not page._fits.isHidden()


def test_measuring_is_asked_for_by_the_button(page: HomePage, context: AppContext) -> None:
    asked: list[bool] = []
    context.probe.ask = lambda measure=False: asked.append(measure)
    page._measure.click()
    assert asked == [True]


def test_a_probe_that_fails_says_what_it_heard(page: HomePage, context: AppContext) -> None:
    context.probe.refused.emit("No module named torch")
    assert page._notes.note is not None and "No module named torch" in page._notes.note.accessibleName()


def test_a_project_is_made_by_keyboard_alone(context: AppContext, window: MainWindow, tmp_path: Path, qtbot) -> None:
    dialog = NewProjectDialog(context, window)
    qtbot.addWidget(dialog)
    made: list[int] = []
    dialog.made.connect(lambda: made.append(1))
    dialog.open()
    qtbot.keyClick(dialog._next, Qt.Key.Key_Return)
    assert dialog.draft.step == "place"
    qtbot.keyClicks(dialog.name, "Kitchen sums")
    assert dialog.folder.text().endswith("kitchen-sums")
    dialog.folder.selectAll()
    qtbot.keyClicks(dialog.folder, str(tmp_path / "sums"))
    qtbot.keyClick(dialog.folder, Qt.Key.Key_Return)
    assert dialog.draft.step == "machine"
    qtbot.keyClick(dialog, Qt.Key.Key_Return)
    assert made == [1]
    assert context.project is not None and context.project.name == "Kitchen sums" and context.project.dir == tmp_path / "sums"
    assert json.loads(layout.recent_file().read_text())[0]["name"] == "Kitchen sums"


def test_a_folder_in_use_keeps_the_wizard_where_it_is(context: AppContext, window: MainWindow, tmp_path: Path, qtbot) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("x")
    dialog = NewProjectDialog(context, window)
    qtbot.addWidget(dialog)
    dialog.open()
    dialog._go_on()
    dialog.folder.setText(str(tmp_path / "full"))
    dialog._folder_edited()
    assert not dialog._next.isEnabled() and "not empty" in dialog._problem.words()
    dialog._go_back()
    assert dialog.draft.step == "start" and dialog._next.isEnabled()


def test_the_tour_starts_a_process_of_its_own_and_opens_its_project(context: AppContext, window: MainWindow, tmp_path: Path, qtbot,
                                                                    monkeypatch) -> None:
    """The real command is tried in tests/e2e; here a process that makes a project, and one that says why it cannot."""
    dialog = NewProjectDialog(context, window, "demo")
    qtbot.addWidget(dialog)
    dialog.open()
    folder = tmp_path / "tour"
    dialog.draft.set_folder(str(folder))
    dialog.draft.step = "machine"
    make = f"import time; from engine.project.project import Project; Project.create({str(folder)!r}, 'Tour', 'demo'); time.sleep(2)"
    monkeypatch.setattr(type(dialog.draft), "demo_command", lambda self: ["-c", "import sys; sys.exit('the disk is full')"])
    dialog._go_on()
    qtbot.waitUntil(lambda: dialog._notes.note is not None, timeout=15_000)
    assert "the disk is full" in dialog._notes.note.accessibleName() and dialog._next.isEnabled()
    monkeypatch.setattr(type(dialog.draft), "demo_command", lambda self: ["-c", make])
    dialog._go_on()
    qtbot.waitUntil(lambda: context.project is not None, timeout=15_000)
    assert context.project.dir == folder


def test_when_a_project_was_opened_is_said_as_people_say_it() -> None:
    now = time.mktime((2026, 11, 20, 15, 0, 0, 0, 0, -1))
    day = 86_400
    assert [project_glance.when(now - ago, now) for ago in (5, 600, 7200, day, 3 * day, 400 * day)] == [
        "now", "10 min ago", "13:00", "yesterday", "17 Nov", "16 Oct 2025"]


def test_a_curve_is_smoothed_to_a_few_means() -> None:
    import numpy as np
    values = smooth(np.arange(1000.0))
    assert len(values) == 160 and values == sorted(values)
    assert len(smooth(np.arange(9.0))) == 8
