"""The Reward model page: decisions without a window, the wizard by keyboard, a real run to its report, what is said of numbers."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractScrollArea

from desktop.context import AppContext
from desktop.models import reward_report
from desktop.models.pairs_look import Labelled, look
from desktop.models.reward_plan import REWARD, RewardPlan
from desktop.models.reward_report import RewardReport, outcome_words
from desktop.models.tuning_choice import StartModel
from desktop.pages.reward import RewardPage
from desktop.pages.reward.wizard import Wizard
from desktop.widgets.buttons import Button
from desktop.widgets.notes import Note
from engine.contract import events as ev
from engine.contract.errors import Corrupt
from engine.contract.machine import DeviceFacts, MachineFacts
from engine.model.config import ModelConfig
from engine.project import layout
from engine.project.pair_sets import PairSet
from engine.project.project import Project
from engine.stages.reward.spec import RewardSpec
from tests.preferring import made_once, pair

CPU = DeviceFacts(id="cpu", kind="cpu", title="CPU", memory_total=16 * 2**30)
CONFIG = ModelConfig(vocab_size=512, hidden_size=64, num_layers=2, num_heads=2, num_kv_heads=2, head_dim=32, intermediate_size=128,
                     max_seq_len=128)


def pair_set(id: str = "pair-set-1", labelled: int = 320, count: int = 400) -> PairSet:
    return PairSet(id, "Taste", 1.0, "", "", count, labelled, count - labelled, 0, 0, 0)


@pytest.fixture
def plan() -> RewardPlan:
    made = RewardPlan(CPU)
    made.set_models([StartModel("model-3", "After DPO", stage="dpo", chat=True, config=CONFIG),
                     StartModel("model-2", "Answers", stage="sft", chat=True, config=CONFIG),
                     StartModel("model-1", "Base", stage="pretrain", config=CONFIG)])
    made.set_sets([pair_set(), pair_set("pair-set-2", 0)], {"ann": 200, "bob": 120})
    return made


def counted(plan: RewardPlan, **facts: Any) -> None:
    plan.take_count(plan.count_key(), Labelled(**{"pairs": 300, "ties": 20, "prompts": 150, "letters": 200.0, "longest": 400, **facts}))


# ------------------------------------------------------------------------------------------------------- the decisions


def test_the_model_that_answers_and_the_sets_with_labels_are_suggested(plan: RewardPlan) -> None:
    assert plan.values["model"] == "model-2" and plan.values["pairs"] == ("pair-set-1",)
    assert plan.usable == 320 and not plan.problems("pairs") and plan.count_is_due
    counted(plan)
    assert plan.usable == 320 and plan.held_out == 32 and not plan.count_is_due
    plan.set_values({"ties": False})
    assert plan.usable == 300


def test_what_was_counted_is_of_these_settings_only(plan: RewardPlan) -> None:
    counted(plan, pairs=10, ties=0)
    plan.set_values({"annotators": ("ann",)})
    assert plan.known is None and plan.count_is_due and plan.usable == 320


def test_few_labels_are_warned_of_with_how_many_are_usual(plan: RewardPlan) -> None:
    counted(plan, pairs=40, ties=0)
    title, words = plan.warning()
    assert title == "Few labels" and "300" in words
    counted(plan, pairs=200, ties=0)
    assert plan.warning()[0] == "Not many labels"
    counted(plan, pairs=900)
    assert plan.warning() is None


def test_labels_that_are_all_ties_do_not_go_on(plan: RewardPlan) -> None:
    counted(plan, pairs=0, ties=12)
    assert [p.field for p in plan.further_problems()] == ["pairs"] and "ties" in plan.further_problems()[0].sentence
    counted(plan, pairs=1, ties=12)
    assert not plan.further_problems()


def test_unlabelled_sets_cannot_be_learned_from(plan: RewardPlan) -> None:
    plan.set_values({"pairs": ("pair-set-2",)})
    assert [p.field for p in plan.problems("pairs")] == ["pairs"] and not plan.can_go("method") and plan.plan is None


def test_more_pairs_take_more_steps_and_ties_count(plan: RewardPlan) -> None:
    counted(plan)
    assert plan.plan is not None and plan.plan.load.unit == "pairs" and not plan.plan.load.predicts
    before = plan.plan.steps
    plan.set_values({"epochs": 4.0})
    assert plan.plan.steps == pytest.approx(2 * before, abs=1)
    full, lora, _ = plan.methods()
    assert full.memory > lora.memory > 0 and full.trainable > lora.trainable


def test_a_draft_is_taken_up_as_it_was_left(plan: RewardPlan) -> None:
    plan.set_values({"epochs": 5.0, "title": "Mine", "annotators": ("bob",), "pairs": ("pair-set-1",)})
    plan.go("pairs")
    again = RewardPlan(CPU)
    again.recall_draft(plan.draft())
    again.set_models(plan.models)
    again.set_sets(plan.sets, plan.annotators)
    assert again.values == plan.values and again.step == "pairs"
    again.recall_draft({"goal": "nonsense"})
    again.recall_draft(None)
    assert again.values == plan.values


# -------------------------------------------------------------------------------------------------------- the report


def report(share: float = 0.7, low: float = 0.6, high: float = 0.8, model: float = 0.5, people: float = 0.5, spearman: float = 0.0,
           curve: dict[str, Any] | None = None) -> RewardReport:
    whole = {"share": share, "low": low, "high": high, "count": 100, "right": 70}
    wins = {side: {"share": s, "low": s, "high": s, "count": 90} for side, s in (("model", model), ("people", people))}
    return RewardReport({"accuracy": whole, "length": {"within": {"spearman": spearman}, "longer_wins": wins}, "curve": curve,
                         "calibration": {"bins": [], "error": 0.2, "predicted": 0.95}})


def test_an_accuracy_that_may_be_chance_is_said_so() -> None:
    assert "guessing" in report(0.55, 0.45, 0.65).accuracy_words() and "label more" in report(0.55, 0.45, 0.65).accuracy_words()
    assert "wrong often" in report(0.6, 0.55, 0.65).accuracy_words()
    assert "turned round" in report(0.3, 0.2, 0.4).accuracy_words()
    assert "surer than it should" in report().calibration_words()


def test_of_few_held_out_pairs_nothing_is_said_but_that_they_are_few() -> None:
    few = report()
    raw = {**few.raw, "accuracy": {**few.raw["accuracy"], "share": 1.0, "low": 0.2, "high": 1.0, "count": 1},
           "calibration": {"error": 0.4, "predicted": 0.52, "bins": []}}
    raw["length"] = {**raw["length"], "longer_wins": {k: {**v, "count": 1} for k, v in raw["length"]["longer_wins"].items()}}
    few = RewardReport(raw)
    assert "too few" in few.calibration_words() and few.length_words()[0].startswith("Too few")
    said = outcome_words({"accuracy": 1.0, "accuracy_low": 0.2, "accuracy_high": 1.0, "seconds": 1.0})
    assert "guessing" in said
    assert "guessing" not in outcome_words({"accuracy": 0.9, "accuracy_low": 0.8, "accuracy_high": 0.95, "seconds": 1.0})


def test_a_liking_for_length_is_a_warning_only_where_people_do_not_share_it() -> None:
    title, _, bad = report(model=0.8, people=0.55, spearman=0.5).length_words()
    assert bad and "more than people" in title
    title, _, bad = report(model=0.8, people=0.78, spearman=0.5).length_words()
    assert not bad and "as people did" in title
    assert report().length_words()[0] == "Length counts little"


def test_what_more_labels_would_buy_is_said_with_its_interval() -> None:
    points = [{"labels": 40, "accuracy": 0.6, "low": 0.5, "high": 0.7}]
    words, how = report(curve={"gain": 0.011, "low": 0.004, "high": 0.02, "more": 50, "labels": 412, "points": points}).curve_words()
    assert "+1.1 points" in words and "50 more" in words and "+0.4" in how and "412" in how
    assert "Next to nothing" in report(curve={"gain": 0.0005, "low": 0.0, "high": 0.002, "more": 50, "labels": 9, "points": points}
                                       ).curve_words()[0]


def test_a_report_that_cannot_be_read_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / reward_report.FILE).write_text("{")
    with pytest.raises(Corrupt):
        RewardReport.read(tmp_path)


# ---------------------------------------------------------------------------------------------------------- the page


@pytest.fixture
def thanks(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, context: AppContext, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of the project of preferences, open in the context."""
    monkeypatch.setenv("FLEDGE_THREADS", "1")
    shutil.copytree(made_once(tmp_path_factory.getbasetemp()), tmp_path / "thanks")
    context.machine = MachineFacts(devices=(CPU,))
    return context.open_project(tmp_path / "thanks")


def page_of(context: AppContext, qtbot, **args: Any) -> RewardPage:
    page = RewardPage(context)
    qtbot.addWidget(page)
    page.resize(1056, 800)
    page.show()
    page.opened(**args)
    return page


@pytest.fixture
def wizard(thanks: Project, context: AppContext, qtbot) -> Iterator[Wizard]:
    page = page_of(context, qtbot)
    page.show_wizard(REWARD)
    assert isinstance(page.wizard, Wizard)
    qtbot.waitUntil(lambda: page.wizard.plan.sets is not None and not page.wizard.plan.count_is_due, timeout=8000)
    yield page.wizard
    page.left()


def button(widget, words: str) -> Button:
    return next(b for b in widget.findChildren(Button) if b.text().strip() == words and not b.isHidden())


def press(widget, key: Qt.Key = Qt.Key.Key_Return) -> None:
    widget.setFocus()
    QTest.keyClick(widget, key)


def test_without_a_model_or_labels_the_way_leads_to_them(project: Project, context: AppContext, qtbot) -> None:
    asked: list[str] = []
    context.navigate_requested.connect(lambda id, args: asked.append(id))
    button(page_of(context, qtbot), "Pretrain a model").click()
    with project.artifacts.create("model", title="Small") as made:
        made.finish(chat=True)
    context.look()
    qtbot.waitUntil(lambda: bool(context.survey.of_kind("model")), timeout=8000)
    page = page_of(context, qtbot)
    button(page, "Label pairs").click()
    assert asked == ["pretrain", "preference"]
    pairs = project.library.pairs
    pairs.create_set("Taste")
    pairs.add("pair-set-1", [pair(n) for n in range(4)])
    context.survey_changed.emit()
    qtbot.waitUntil(lambda: page.wizard is not None, timeout=8000)
    page.left()


def test_the_wizard_by_keyboard(wizard: Wizard, qtbot) -> None:
    seen = [wizard.plan.step]
    for _ in range(3):
        press(wizard.forward)
        seen.append(wizard.plan.step)
    assert seen == ["model", "pairs", "method", "start"]
    assert wizard.forward.text() == "Start training" and wizard.forward.isEnabled()
    press(wizard.back)
    assert wizard.plan.step == "method"


def test_what_the_labels_come_to_is_counted_and_shown(wizard: Wizard, qtbot) -> None:
    wizard.go("pairs")
    body = wizard.body()
    assert wizard.plan.known.pairs == 260 and wizard.plan.known.ties == 12 and wizard.plan.known.bad == 2
    assert body.total.words() == "272" and set(wizard.plan.known.people) == {"ann", "bob"}
    assert [n for n in body.warnings.findChildren(Note) if "Not many labels" in n.accessibleName()]
    body.strength.changed.emit(3)
    qtbot.waitUntil(lambda: not wizard.plan.count_is_due, timeout=8000)
    assert wizard.plan.known.pairs < 120 and wizard.plan.known.ties == 0
    body.sets.ticks["pair-set-1"].click()
    assert wizard.plan.values["pairs"] == ()
    press(wizard.forward)
    assert wizard.plan.step == "pairs" and wizard.notes.note is not None


def test_what_was_chosen_is_there_after_the_window_was_gone(wizard: Wizard, thanks: Project, context: AppContext, qtbot) -> None:
    wizard.go("pairs")
    wizard.body().put(least_strength=2)
    page = page_of(context, qtbot)
    page.show_wizard()
    assert page.wizard.plan.values["least_strength"] == 2 and page.wizard.plan.step == "pairs"
    page.wizard.cancel.click()
    page.show_wizard()
    assert page.wizard.plan.values["least_strength"] == 0
    page.left()


def test_a_real_reward_model_from_the_wizard_to_its_report(thanks: Project, context: AppContext, qtbot) -> None:
    page = page_of(context, qtbot)
    page.show_wizard(REWARD, {"epochs": 1.0, "batch_size": 32, "compile": "off", "dtype": "float32", "learning_curve": False})
    wizard = page.wizard
    qtbot.waitUntil(lambda: wizard.plan.sets is not None and not wizard.plan.count_is_due, timeout=8000)
    wizard.go("start")
    press(wizard.forward)
    qtbot.waitUntil(lambda: page.run_side is not None, timeout=20_000)
    qtbot.waitUntil(lambda: page.run_side.follower.status in ("done", "failed", "crashed"), timeout=120_000)
    side = page.run_side
    assert side.follower.status == "done", side.follower.log_tail(20)
    qtbot.waitUntil(lambda: side._report is not None and side._report.loaded is not None, timeout=8000)
    page.resize(1056, 800)
    qtbot.waitUntil(lambda: page.scroll.verticalScrollBar().maximum() > 0, timeout=8000)  # the page scrolls as a whole
    assert not [s for s in side._report.findChildren(QAbstractScrollArea) if s.isVisible() and s.verticalScrollBar().maximum() > 0]
    made = thanks.artifacts.list("reward_model")[-1]
    assert made.title == "Reward of Small" and "agrees with" in side.banner.note.accessibleName()
    asked: list[tuple[str, dict]] = []
    context.navigate_requested.connect(lambda id, args: asked.append((id, args)))
    button(page, "Tune with it").click()
    context.look()
    qtbot.waitUntil(lambda: len(context.survey.of_kind("reward_model")) == 2, timeout=8000)
    button(page, "Try it in Chat").click()
    assert asked == [("dpo", {"reward": made.id}), ("chat", {"reward": made.id, "model": "model-1"})]
    page.left()


def test_judgements_are_looked_at_one_by_one(thanks: Project, context: AppContext, qtbot) -> None:
    page = page_of(context, qtbot, run=thanks.runs.list("reward")[-1].id)
    qtbot.waitUntil(lambda: page.run_side._report is not None and page.run_side._report.loaded is not None, timeout=8000)
    judged = page.run_side._report.differences
    button(judged, "Agrees most").click()
    first = judged.shown
    assert first.right and "thanks" in first.chosen and judged.where.words().startswith("1 of")
    press(judged.after, Qt.Key.Key_Space)
    assert judged.shown != first and judged.before.isEnabled()
    assert page.run_side._report.loaded.by_strength and page.run_side._report.loaded.by_annotator
    page.left()


def test_settings_of_a_run_that_failed_can_be_changed(thanks: Project, context: AppContext, qtbot) -> None:
    run = thanks.runs.create(RewardSpec.check({"model": "model-1", "pairs": ("pair-set-1",), "epochs": 7.0}))
    events = [ev.Started(time=1.0, stage="reward"), ev.Finished(time=2.0, status="failed", code="input", sentence="No pair is left.",
                                                                remedy="Look at them.")]
    layout.events_file(run.dir).write_text("".join(ev.to_line(e) + "\n" for e in events), "utf-8")
    page = page_of(context, qtbot, run=run.id)
    qtbot.waitUntil(lambda: page.run_side.banner.note is not None, timeout=8000)
    assert "No pair is left" in page.run_side.banner.note.accessibleName()
    button(page.run_side.banner, "Change the settings").click()
    assert page.wizard is not None and page.wizard.plan.values["epochs"] == 7.0
    page.left()


def test_what_there_is_is_looked_at(thanks: Project) -> None:
    found = look(thanks)
    assert [m.id for m in found.models][0] == "model-1" and found.models[0].chat
    assert {s.id: s.labelled for s in found.sets} == {"pair-set-1": 274, "pair-set-2": 0}
    reward = found.rewards[0]
    assert reward.accuracy == 1.0 and reward.low > 0.9 and reward.config is not None
