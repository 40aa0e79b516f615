"""The Pretrain page: what it shows when, the wizard's widgets over its logic, and a start that goes through a real process."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from desktop.context import AppContext
from desktop.models.trouble import trouble_of
from desktop.pages.pretrain import PretrainPage
from desktop.widgets.buttons import Button
from engine.contract import events as ev
from engine.contract.machine import DeviceFacts, MachineFacts
from engine.project import layout
from engine.project.project import Project
from engine.project.run_state import RunState, apply
from tests.recordings.record import newspaper

WORKER = Path(__file__).parents[1] / "fake_worker.py"
MACHINE = MachineFacts(devices=(DeviceFacts(id="cuda:0", kind="cuda", title="RTX 4090", memory_total=24_000_000_000,
                                            memory_free=23_000_000_000, peak_flops={"float32": 8e13}),))


def page_of(context: AppContext, qtbot, **args) -> PretrainPage:
    page = PretrainPage(context)
    qtbot.addWidget(page)
    page.resize(1056, 800)
    page.show()
    page.opened(**args)
    return page


@pytest.fixture
def recorded(context: AppContext, tmp_path: Path) -> Project:
    context.machine = MACHINE
    newspaper(tmp_path / "gazette")
    return context.open_project(tmp_path / "gazette")


@pytest.fixture
def wizard_page(recorded: Project, context: AppContext, qtbot) -> Iterator[PretrainPage]:
    page = page_of(context, qtbot)
    page.show_wizard()
    yield page
    page.left()


def button(widget, words: str) -> Button:
    return next(b for b in widget.findChildren(Button) if b.text().strip() == words and not b.isHidden())


def test_without_a_corpus_the_way_leads_there(project, context: AppContext, qtbot) -> None:
    page = page_of(context, qtbot)
    asked: list[str] = []
    context.navigate_requested.connect(lambda id, args: asked.append(id))
    button(page, "Import text").click()
    assert asked == ["corpus"]


def test_with_a_corpus_the_tokenizer_is_next(project: Project, context: AppContext, qtbot) -> None:
    with project.artifacts.create("corpus", title="Verse") as made:
        (made.path / "x").write_text("x")
        made.finish(bytes=1000)
    context.open_project(project.dir)
    page = page_of(context, qtbot)
    asked: list[str] = []
    context.navigate_requested.connect(lambda id, args: asked.append(id))
    button(page, "Train a tokenizer").click()
    assert asked == ["tokenizer"]


def test_inputs_that_come_while_it_is_empty_open_the_wizard(project: Project, context: AppContext, qtbot) -> None:
    page = page_of(context, qtbot)
    for kind, facts in (("corpus", {"bytes": 1_000_000}), ("tokenizer", {"vocab_size": 512})):
        with project.artifacts.create(kind, title=kind) as made:
            (made.path / "x").write_text("x")
            made.finish(**facts)
    context.look()
    qtbot.waitUntil(lambda: page.wizard is not None, timeout=8000)


def test_all_steps_by_the_keyboard(wizard_page: PretrainPage, qtbot) -> None:
    wizard = wizard_page.wizard
    seen = [wizard.plan.step]
    for _ in range(4):
        wizard.forward.setFocus()
        QTest.keyClick(wizard.forward, Qt.Key.Key_Return)
        seen.append(wizard.plan.step)
    assert seen == ["size", "data", "schedule", "fit", "start"]
    assert wizard.forward.text() == "Start training"
    wizard.back.click()
    assert wizard.plan.step == "fit"


def test_the_dial_by_arrow_keys_changes_the_design(wizard_page: PretrainPage, qtbot) -> None:
    wizard = wizard_page.wizard
    before = wizard.plan.plan.config.parameters
    wizard.dial.setFocus()
    QTest.keyClick(wizard.dial, Qt.Key.Key_Right)
    assert wizard.plan.plan.config.parameters > before
    assert wizard.form("size").values()["depth"] == wizard.plan.values["depth"]


def test_an_edit_in_the_form_reaches_the_plan_and_the_estimate(wizard_page: PretrainPage, qtbot) -> None:
    wizard = wizard_page.wizard
    seconds = wizard.plan.plan.estimate.seconds
    wizard.form("size").set("max_seq_len", 2048)
    assert wizard.plan.values["max_seq_len"] == 2048
    assert wizard.plan.plan.config.max_seq_len == 2048 and wizard.plan.plan.estimate.seconds != seconds


def test_what_was_changed_on_one_step_stands_on_the_other(wizard_page: PretrainPage, qtbot) -> None:
    wizard = wizard_page.wizard
    wizard.form("size").set("tokens_per_parameter", 5.0)
    wizard._go("schedule")
    assert wizard.form("schedule").values()["tokens_per_parameter"] == 5.0
    wizard.form("schedule").set("decay", "cosine")
    assert wizard.plan.values["tokens_per_parameter"] == 5.0 and wizard.plan.values["decay"] == "cosine"


def test_a_design_that_cannot_be_is_said_at_its_field_and_holds_the_step(wizard_page: PretrainPage, qtbot) -> None:
    wizard = wizard_page.wizard
    wizard.form("size").set_advanced(True)
    wizard.form("size").set("width", 250)
    wizard.form("size").set("num_heads", 4)
    wizard._forward()
    assert wizard.plan.step == "size"
    assert "heads" in wizard.form("size").rows["num_heads"]._problem.words()
    wizard.form("size").set("width", 256)
    wizard._forward()
    assert wizard.plan.step == "data"


def test_loading_a_run_into_the_wizard_changes_nothing_but_the_name(recorded: Project, context: AppContext, qtbot) -> None:
    run = recorded.runs.get("5")
    page = page_of(context, qtbot)
    page.show_wizard({**run.spec, "learning_rate": 0.005})
    values = page.wizard.plan.spec().model_dump(mode="json")
    assert values == {**run.spec, "learning_rate": 0.005, "title": ""}
    page.left()


def test_start_makes_a_run_and_a_real_process_runs_it(wizard_page: PretrainPage, tmp_path: Path, qtbot, monkeypatch) -> None:
    shim = tmp_path / "python"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{WORKER}" "$3" --steps 30\n', "utf-8")
    shim.chmod(0o755)
    monkeypatch.setenv("FLEDGE_PYTHON", str(shim))
    wizard = wizard_page.wizard
    for _ in range(4):
        wizard._forward()
    wizard.forward.click()
    side = wizard_page.run_side
    assert side is not None and side.run.number == 7 and side.run.title.startswith("gazette-")
    qtbot.waitUntil(lambda: side.follower.status == "done", timeout=20_000)
    qtbot.waitUntil(lambda: not side.chat.isHidden(), timeout=5000)
    assert wizard_page.wizard is None


def test_the_measured_fit_comes_from_a_process_and_can_be_cancelled(wizard_page: PretrainPage, tmp_path: Path, qtbot, monkeypatch) -> None:
    answer = '{"measured": {"memory": 5000000000, "seconds": 700.5, "tokens_per_second": 90000.0, "joules": 720000.0}, ' \
             '"formula": {"limit": 24000000000}}'
    shim = tmp_path / "python"
    shim.write_text(f"#!/bin/sh\necho a library talks\necho '{answer}'\n", "utf-8")
    shim.chmod(0o755)
    monkeypatch.setenv("FLEDGE_PYTHON", str(shim))
    wizard = wizard_page.wizard
    wizard._measure()
    qtbot.waitUntil(lambda: wizard.plan.measured is not None, timeout=8000)
    assert wizard.plan.measured.energy_kwh == pytest.approx(0.2)
    assert "measured" in wizard.plan.will_happen()[1]
    assert wizard.context.settings.get("measured_fits")
    wizard.form("size").set("max_seq_len", 1024)
    assert wizard.plan.measured is None
    shim.write_text("#!/bin/sh\nexec sleep 30\n", "utf-8")
    wizard._measure()
    assert wizard.measuring.running
    qtbot.wait(100)
    wizard._measure()
    qtbot.waitUntil(lambda: not wizard.measuring.running, timeout=8000)
    assert wizard.fit_panel._notes.note is None


def test_a_measurement_that_fails_says_why(wizard_page: PretrainPage, tmp_path: Path, qtbot, monkeypatch) -> None:
    shim = tmp_path / "python"
    said = '{"error": {"code": "device_busy", "sentence": "It trains right now.", "remedy": "Wait."}}'
    shim.write_text(f"#!/bin/sh\necho '{said}'\nexit 5\n", "utf-8")
    shim.chmod(0o755)
    monkeypatch.setenv("FLEDGE_PYTHON", str(shim))
    wizard = wizard_page.wizard
    wizard._measure()
    qtbot.waitUntil(lambda: wizard.fit_panel._notes.note is not None, timeout=8000)
    assert wizard.fit_panel._notes.note._title.words() == "It trains right now."
    shim.write_text('#!/bin/sh\necho "Killed" >&2\nexit 137\n')
    wizard._measure()
    qtbot.waitUntil(lambda: wizard.fit_panel._notes.note is not None and "without a result" in wizard.fit_panel._notes.note._title.words(),
                    timeout=8000)


def test_the_running_page_shows_the_run_and_an_earlier_one_dashed(recorded: Project, context: AppContext, qtbot) -> None:
    lock = recorded.runs.get("6").lock()
    lock.acquire()
    context.open_project(recorded.dir)
    page = page_of(context, qtbot)
    side = page.run_side
    assert side is not None and side.run.id == "6-pretrain"
    qtbot.waitUntil(lambda: side.follower.status == "running" and side.follower.state.step == 1027, timeout=8000)
    curves = side.panel.chart.plot.curves
    assert [c.dashed for c in curves] == [True, False]
    assert side.flow.accessibleName().startswith("Goes in: Corpus 1, tokenizer 1. Is happening: 656 M tokens".replace(" M", "\u00a0M"))
    lock.release()
    qtbot.waitUntil(lambda: side.follower.status == "interrupted", timeout=8000)
    qtbot.waitUntil(lambda: side.banner.note is not None, timeout=3000)
    assert side.banner.note._title.words() == "The run was interrupted"
    assert "1,000" in side.banner.note._words.words()
    assert side.panel.resume.isHidden(), "one Resume is enough"
    page.left()


def test_a_failed_run_offers_its_remedies_and_the_log(recorded: Project, context: AppContext, qtbot) -> None:
    page = page_of(context, qtbot, run="5-pretrain")
    side = page.run_side
    qtbot.waitUntil(lambda: side.banner.note is not None, timeout=8000)
    assert "8,192" in side.banner.note._title.words()
    assert "Nothing was lost" in side.banner.note._words.words()
    qtbot.waitUntil(lambda: "mismatch" in side.log.text(), timeout=5000)
    qtbot.waitUntil(lambda: len(side.earlier.table.rows_model.rows) == 4, timeout=5000)
    button(side.banner, "Edit the design").click()
    assert page.wizard is not None and page.wizard.plan.values["depth"] == 10
    page.left()


def test_a_done_run_leads_to_the_chat(recorded: Project, context: AppContext, qtbot) -> None:
    page = page_of(context, qtbot, run="4-pretrain")
    side = page.run_side
    qtbot.waitUntil(lambda: side.follower.status == "done" and not side.chat.isHidden(), timeout=8000)
    asked: list[tuple[str, dict]] = []
    context.navigate_requested.connect(lambda id, args: asked.append((id, args)))
    side.chat.click()
    assert asked == [("chat", {"model": "model-1"})]
    button(side.header, "New design").click()
    assert page.wizard is not None
    page.left()


def state(*events: ev.Event) -> RunState:
    made = RunState(stage="pretrain")
    for event in events:
        apply(made, event)
    return made


@pytest.mark.parametrize("code, words, changes", [
    ("non_finite", "Halve the learning rate, to 0.001", {"learning_rate": 0.001, "matrix_learning_rate": 0.01}),
    ("out_of_memory", "Halve the micro batch", {"micro_batch_size": 4})])
def test_remedies_change_what_was_wrong(code: str, words: str, changes: dict) -> None:
    made = trouble_of(state(ev.Facts(facts={"plan": {"learning_rate": 0.002, "matrix_learning_rate": 0.02, "micro_batch_size": 8}}),
                            ev.Finished(status="failed", code=code, sentence="It broke.", remedy="Mend it.")), "failed", {})
    assert made is not None and made.remedies[0].words == words and dict(made.remedies[0].changes) == changes


def test_what_was_kept_is_said() -> None:
    saved = ev.CheckpointSaved(step=250, path="x")
    steps = ev.Metrics(columns={"step": [260.0], "loss": [1.0]})
    made = trouble_of(state(steps, saved, ev.Finished(status="failed", code="disk_full", sentence="The disk is full.")), "failed", {})
    assert made is not None and "step 250 is intact" in made.words and made.remedies[0].act == "resume"
    crashed = trouble_of(state(steps), "crashed", {}, "RuntimeError: boom")
    assert crashed is not None and "boom" in crashed.words and crashed.remedies[0].words == "Start again"
    assert trouble_of(state(steps), "running", {}) is None


def test_the_log_of_the_recorded_run_is_there(recorded: Project) -> None:
    assert "checkpoint" in layout.log_file(recorded.runs.get("6").dir).read_text()
