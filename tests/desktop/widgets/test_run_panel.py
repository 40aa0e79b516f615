"""The run panel by status: which buttons there are, what the stop question offers, what is shown as text and what is not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from desktop.jobs.process import RunProcess
from desktop.jobs.run_follow import RunFollower
from desktop.theme.theme import Theme
from desktop.widgets.run_panel import Line, Number, PhaseSteps, RunPanel, RunView, clock
from engine.contract import events as ev
from engine.project import layout
from engine.project.event_log import EventWriter
from engine.project.locks import FileLock
from engine.project.project import Project
from engine.project.run_state import RunState, apply
from engine.stages.pretrain.spec import PretrainSpec

VIEW = RunView((Number("Step", lambda state, status: (str(state.step), "of many")),), Line("loss", "Loss", "nats"),
               Line("bpb", "Validation", "bits per byte"))


class Stage:
    """A run whose events the test writes itself; the lock says whether a worker lives."""

    def __init__(self, folder: Path, theme: Theme, qtbot) -> None:
        self.project = Project.create(folder, "test")
        self.run = self.project.runs.create(PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1", title="tiny"))
        self.writer = EventWriter(layout.events_file(self.run.dir), 1)
        self.lock = FileLock(layout.lock_file(self.run.dir))
        self.follower = RunFollower(self.run, self.project.dir)
        self.process = RunProcess(self.follower)
        self.panel = RunPanel(theme, self.follower, self.process, VIEW)
        self.panel.resize(992, 640)
        qtbot.addWidget(self.panel)
        for each in self.panel.header_actions:
            each.setParent(self.panel)
        self.panel.show()
        self.qtbot = qtbot

    def running(self) -> None:
        self.lock.acquire()
        self.writer.write(ev.Started(stage="pretrain", device="cpu"))
        self.writer.write(ev.Phases(phases=[["load", "Load"], ["train", "Train"]]))
        self.writer.write(ev.Phase(id="load", title="Load"))
        self.writer.write(ev.Facts(facts={"steps": 100}))
        self.writer.write(ev.Phase(id="train", title="Train"))
        self.writer.write(ev.Metrics(columns={"step": [1.0, 2.0], "loss": [9.0, 8.0]}))
        self.writer.write(ev.CheckpointSaved(step=2, path="checkpoints/step-00000002", why="interval"))
        self.writer.write(ev.Metrics(columns={"step": [3.0, 4.0, 5.0], "loss": [7.0, 6.0, 5.0]}))
        self.writer.flush()
        self.follower.start()
        self.wait(lambda: self.follower.status == "running" and self.follower.state.step == 5)

    def wait(self, true) -> None:
        self.qtbot.waitUntil(true, timeout=8000)

    def shown(self) -> set[str]:
        panel = self.panel
        named = {"save": panel.save, "pause": panel.pause, "stop": panel.stop, "leave": panel.leave, "resume": panel.resume}
        return {name for name, button in named.items() if not button.isHidden()}


@pytest.fixture
def stage(home: Path, tmp_path: Path, theme: Theme, qtbot) -> Iterator[Stage]:
    made = Stage(tmp_path / "project", theme, qtbot)
    yield made
    made.follower.stop()
    made.writer.close()
    made.lock.release()


def test_a_new_run_offers_to_start(stage: Stage) -> None:
    stage.follower.start()
    stage.wait(lambda: stage.shown() == {"resume"})
    assert stage.panel.resume.text().strip() == "Start"


def test_a_running_one_can_be_saved_paused_and_stopped(stage: Stage) -> None:
    stage.running()
    stage.wait(lambda: stage.shown() == {"save", "pause", "stop"})
    assert "goes on when this window is closed" in stage.panel.headline()
    assert stage.panel.stats[0]._value.words() == "5"
    assert stage.panel.chart.plot.now == 5.0 and stage.panel.chart.plot.x_end == 100.0


def test_stop_asks_and_says_what_would_be_lost(stage: Stage) -> None:
    stage.running()
    stage.wait(lambda: "stop" in stage.shown())
    stage.panel.stop.click()
    assert not stage.panel.question.isHidden()
    assert "3 steps" in stage.panel.question._words.words()
    stage.panel._answer(None)
    assert stage.panel.question.isHidden()
    assert not layout.control_file(stage.run.dir).exists()


def test_save_and_stop_sends_the_word_and_waits(stage: Stage) -> None:
    stage.running()
    stage.wait(lambda: "stop" in stage.shown())
    stage.panel.ask_stop()
    buttons = [b for b in stage.panel.question.findChildren(type(stage.panel.stop))]
    next(b for b in buttons if b.text() == "Save and stop").click()
    assert '"stop_save"' in layout.control_file(stage.run.dir).read_text()
    stage.wait(lambda: stage.panel.stop.text().strip() == "Stopping" and not stage.panel.stop.isEnabled())
    stage.writer.write(ev.Finished(status="stopped", step=5))
    stage.lock.release()
    stage.wait(lambda: stage.shown() == {"resume"})
    assert stage.panel.resume.text().strip() == "Resume"


def test_what_a_model_wrote_is_never_markup(stage: Stage) -> None:
    stage.writer.write(ev.Sample(step=1, prompt="a < b", text=" <b>bold</b> & <img src=x>", temperature=0.8))
    stage.running()
    stage.wait(lambda: len(stage.panel.samples._shown) == 1)
    found = [w for w in stage.panel.samples.findChildren(type(stage.panel.samples._hint)) if "bold" in w.text()]
    assert len(found) == 1 and "&lt;b&gt;bold&lt;/b&gt; &amp; &lt;img" in found[0].text()


def test_samples_come_newest_first_and_old_ones_leave(stage: Stage) -> None:
    for step in range(1, 61):
        stage.writer.write(ev.Sample(step=step, prompt="p", text=f" text {step}", temperature=0.8))
    stage.running()
    stage.wait(lambda: len(stage.panel.samples._shown) == 40)
    first = stage.panel.samples._box.itemAt(0).widget()
    assert any(w.text() == "Step 60" for w in first.findChildren(type(stage.panel.samples._hint)))


def test_findings_show_newest_first_and_clear(stage: Stage) -> None:
    for code, title in (("one", "First"), ("two", "Second"), ("three", "Third")):
        stage.writer.write(ev.Notice(level="warning", code=code, title=title, text="x", step=3))
    stage.running()

    def titles() -> list[str]:
        return [n._title.words() for n in stage.panel._side_notes.findChildren(type(stage.panel.question))]
    stage.wait(lambda: len(titles()) == 2)
    stage.panel._more_notes()
    assert set(titles()) >= {"First", "Second", "Third"}
    for code in ("one", "two", "three"):
        stage.writer.write(ev.Notice(code=code, cleared=True))
    stage.wait(lambda: stage.panel._side_notes.isHidden())


def test_a_full_disk_says_so_and_offers_to_try_again(stage: Stage) -> None:
    stage.running()
    stage.writer.write(ev.Waiting(reason="disk_full", text="Training waits at step 5."))
    stage.wait(lambda: not stage.panel.waiting.isHidden())
    stage.panel._go_on.click()
    assert '"resume"' in layout.control_file(stage.run.dir).read_text()
    stage.writer.write(ev.Waiting(reason="disk_full", over=True))
    stage.wait(lambda: stage.panel.waiting.isHidden())


def test_phases_tell_their_time_and_where_it_stands(stage: Stage) -> None:
    stage.running()
    stage.writer.write(ev.Progress(done=41, total=100, unit="steps"))
    stage.wait(lambda: "41" in stage.panel.phases.accessibleName())
    assert stage.panel.phases.accessibleName().startswith("Phases: Load")


def test_in_a_narrow_window_phases_that_are_over_are_counted_not_left_nameless(theme: Theme, qtbot) -> None:
    names = ["Load", "Read the prompts", "Ask the reference", "Prepare", "Train", "Evaluate", "Save"]
    state = RunState()
    for event in (ev.Started(stage="dpo", device="cpu"), ev.Phases(phases=[[n.lower(), n] for n in names]),
                  *(ev.Phase(id=n.lower(), title=n, time=100.0 + i) for i, n in enumerate(names[:5]))):
        apply(state, event)
    phases = PhaseSteps(theme)
    qtbot.addWidget(phases)
    phases.show()
    counts = []
    for width in (1200, 560, 420):
        phases.resize(width, 24)
        phases.set(state, "running")
        told = [name.words() for place, (_, name, _) in zip(phases._places, phases._cells, strict=True) if not place.isHidden()]
        gone = [n for n in names[:4] if n not in told]
        assert "Train" in told and phases._row is not None and phases._row.sizeHint().width() <= width
        assert phases._before.toolTip() == ", ".join(gone) and phases._before.isHidden() == (not gone)
        assert gone == names[:len(gone)] and (not gone or phases._gone.words().startswith(f"{len(gone)} phase"))
        counts.append(len(gone))
    assert counts[0] == 0 < counts[1] < counts[2]


def test_the_log_follows_and_finds(stage: Stage) -> None:
    log = layout.log_file(stage.run.dir)
    log.write_text("first line\nan error of note\n", "utf-8")
    stage.running()
    stage.panel.what._group.button(1).click()
    stage.wait(lambda: "error of note" in stage.panel.log.text())
    with open(log, "a") as file:
        file.write("third line\n")
    stage.wait(lambda: "third line" in stage.panel.log.text())
    stage.panel.log._find.setText("line")
    stage.wait(lambda: stage.panel.log._found.words() == "2 places")


def test_clock_says_the_day_of_another_day() -> None:
    assert "," in clock(86_400.0 * 400)
    assert clock(0) == "unknown"
