"""Findings above a run's charts: the worst one, its button where the stage can be started again, put away for good, words that follow."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from desktop.jobs.run_follow import RunFollower
from desktop.theme.theme import Theme
from desktop.widgets import doctor_notes
from desktop.widgets.doctor_notes import DoctorNotes
from desktop.widgets.layout import col
from engine.contract import events as ev
from engine.project import layout
from engine.project.event_log import EventWriter
from engine.project.locks import FileLock
from engine.project.project import Project
from engine.stages.ppo.spec import PpoSpec

N = 60


class Shown:
    def __init__(self, folder: Path, theme: Theme, qtbot) -> None:
        self.qtbot = qtbot
        project = Project.create(folder, "test")
        self.run = project.runs.create(PpoSpec(model="model-1", reward="reward_model-1", examples=(), pairs=(), kl_coef=0.05))
        self.lock = FileLock(layout.lock_file(self.run.dir))
        self.writer = EventWriter(layout.events_file(self.run.dir), 1)
        self.follower = RunFollower(self.run, project.dir)
        self.notes = DoctorNotes(theme, self.follower)
        self.follower.changed.connect(self.notes.look)
        self.host = col(self.notes, "+")
        qtbot.addWidget(self.host)
        self.host.resize(900, 500)
        self.host.show()

    def write(self, *events: ev.Event) -> None:
        for event in events:
            self.writer.write(event)
        self.writer.flush()

    def metrics(self, first: int = 1, count: int = N, **columns: float) -> ev.Metrics:
        steps = list(range(first, first + count))
        return ev.Metrics(columns={"step": [float(s) for s in steps], "loss": [0.1] * count,
                                   **{k: [float(v(s)) if callable(v) else v for s in steps] for k, v in columns.items()}})

    def wait(self, true) -> None:
        self.qtbot.waitUntil(true, timeout=8000)


@pytest.fixture
def shown(home: Path, tmp_path: Path, theme: Theme, qtbot, monkeypatch) -> Iterator[Shown]:
    monkeypatch.setattr(doctor_notes, "LOOK_SECONDS", 0.2)
    made = Shown(tmp_path / "project", theme, qtbot)
    made.lock.acquire()
    made.write(ev.Started(stage="ppo", device="cpu"), ev.Facts(facts={"steps": 200}))
    made.notes.offers_changes = True
    made.follower.start()
    yield made
    made.follower.stop()
    made.writer.close()
    made.lock.release()


def test_a_healthy_run_shows_nothing(shown: Shown) -> None:
    shown.write(shown.metrics(kl=lambda s: 0.01 * s, length=40.0, ended=0.95, clip_share=0.1))
    shown.wait(lambda: shown.follower.state.step == N)
    shown.qtbot.wait(400)
    assert shown.notes.isHidden() and not shown.notes.findings


def test_the_worst_finding_is_shown_with_its_change_and_the_others_on_request(shown: Shown) -> None:
    shown.write(shown.metrics(kl=lambda s: s * 2.0, length=40.0, ended=0.3, clip_share=0.5))
    shown.wait(lambda: len(shown.notes.findings) == 3)
    assert not shown.notes.isHidden() and list(shown.notes._notes) == ["kl"]
    assert shown.notes._more.text() == "2 more findings"
    with shown.qtbot.waitSignal(shown.notes.change_wanted) as asked:
        shown.notes._notes["kl"].again.click()
    assert asked.args == [{"kl_coef": 0.15}]
    shown.notes._more.click()
    assert list(shown.notes._notes) == [f.code for f in shown.notes.findings] and shown.notes._foot.isHidden()


def test_words_follow_the_numbers_and_the_button_stays(shown: Shown) -> None:
    shown.write(shown.metrics(clip_share=0.5))
    shown.wait(lambda: "clip_share" in shown.notes._notes)
    note, words = shown.notes._notes["clip_share"], shown.notes._notes["clip_share"]._words.words()
    button = note.again
    shown.write(shown.metrics(N + 1, clip_share=0.7))
    shown.wait(lambda: note._words.words() != words)
    assert shown.notes._notes["clip_share"] is note and note.again is button and "70" in note._words.words()


def test_what_is_put_away_stays_away(shown: Shown) -> None:
    shown.write(shown.metrics(clip_share=0.5, ended=0.3))
    shown.wait(lambda: len(shown.notes.findings) == 2)
    first = next(iter(shown.notes._notes))
    with shown.qtbot.waitSignal(shown.notes.put_away_one) as told:
        shown.notes._notes[first].away.click()
    assert told.args == [first] and first not in shown.notes._notes and len(shown.notes._notes) == 1
    shown.write(shown.metrics(N + 1, clip_share=0.5, ended=0.3))
    shown.wait(lambda: shown.follower.state.step == 2 * N)
    shown.qtbot.wait(400)
    assert first not in shown.notes._notes
    shown.notes.set_dismissed({"clip_share", "ended"})
    assert shown.notes.isHidden()


def test_without_a_page_that_starts_again_there_is_no_button(shown: Shown) -> None:
    shown.notes.offers_changes = False
    shown.write(shown.metrics(clip_share=0.5))
    shown.wait(lambda: "clip_share" in shown.notes._notes)
    assert shown.notes._notes["clip_share"].again is None


def test_a_finding_that_is_over_goes(shown: Shown) -> None:
    shown.write(shown.metrics(clip_share=0.5))
    shown.wait(lambda: not shown.notes.isHidden())
    shown.write(shown.metrics(N + 1, clip_share=0.1))
    shown.wait(lambda: shown.notes.isHidden())
