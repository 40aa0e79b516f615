"""The Preference tuning page: decisions without a window, both wizards by keyboard, a real DPO and a real PPO run to their reports, answers
with their rewards as they come."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from desktop.context import AppContext
from desktop.models import rollout_rows, tune_report
from desktop.models.pairs_look import Labelled, RewardChoice
from desktop.models.rollout_rows import Round
from desktop.models.tune_plan import DPO, PPO, TunePlan
from desktop.models.tuning_choice import StartModel
from desktop.pages.tune import TunePage
from desktop.pages.tune.wizard import Wizard
from desktop.widgets.buttons import Button
from desktop.widgets.tuning.rollouts import PAGE, Rollouts
from engine.contract.machine import DeviceFacts, MachineFacts
from engine.contract.rows import Message, Rollout
from engine.model.config import ModelConfig
from engine.project import layout, rollouts
from engine.project.examples import ExampleSet
from engine.project.pair_sets import PairSet
from engine.project.project import Project
from engine.project.run_state import RunState
from engine.stages.dpo.spec import DpoSpec
from engine.stages.ppo.spec import PpoSpec
from tests.preferring import made_once

CPU = DeviceFacts(id="cpu", kind="cpu", title="CPU", memory_total=16 * 2**30)
CONFIG = ModelConfig(vocab_size=512, hidden_size=64, num_layers=2, num_heads=2, num_kv_heads=2, head_dim=32, intermediate_size=128,
                     max_seq_len=256)


@pytest.fixture
def plan() -> TunePlan:
    made = TunePlan(CPU)
    made.set_models([StartModel("model-2", "Answers", stage="sft", chat=True, config=CONFIG),
                     StartModel("model-1", "Base", stage="pretrain", config=CONFIG)])
    made.set_sets([PairSet("pair-set-1", "Taste", 1.0, "", "", 400, 320, 80, 0, 0, 0)])
    made.set_prompts([ExampleSet("set-1", "Questions", 1.0, "", "", 60, 40, 0, 20)],
                     [RewardChoice("reward_model-2", "Newer", CONFIG, 0.71, 0.6, 0.8, 300),
                      RewardChoice("reward_model-1", "Older", CONFIG)])
    return made


def counted(plan: TunePlan, **facts: Any) -> None:
    plan.take_count(plan.count_key(), Labelled(**{"pairs": 300, "ties": 20, "bad": 9, "prompts": 150, "letters": 200.0, "longest": 400,
                                                  **facts}))


# ------------------------------------------------------------------------------------------------------- the decisions


def test_settings_of_both_ways_are_kept_apart(plan: TunePlan) -> None:
    assert plan.goal == DPO and plan.values["model"] == "model-2" and isinstance(plan.spec(), DpoSpec)
    plan.set_values({"method": "lora", "epochs": 2.0, "validation_percent": 20.0})
    plan.set_goal(PPO)
    assert plan.values["method"] == "lora" and plan.values["validation_percent"] == 5.0 and isinstance(plan.spec(), PpoSpec)
    assert plan.values["reward"] == "reward_model-2" and plan.values["pairs"] == ("pair-set-1",)
    plan.set_goal(DPO)
    assert plan.values["epochs"] == 2.0 and plan.values["validation_percent"] == 20.0


def test_ties_teach_nothing_and_bad_pairs_only_kto(plan: TunePlan) -> None:
    counted(plan)
    assert plan.usable == 300
    plan.set_values({"loss": "kto"})
    assert plan.usable == 309 and plan.automatic()["beta"] == "0.1"
    plan.set_values({"loss": "simpo"})
    assert plan.usable == 300 and plan.automatic()["beta"] == "2" and "no reference" in plan.method_notes()


def test_label_smoothing_that_a_loss_has_not_is_said_on_the_step_of_the_loss(plan: TunePlan) -> None:
    counted(plan)
    plan.set_values({"loss": "ipo", "label_smoothing": 0.1})
    assert [p.field for p in plan.problems("data")] == ["label_smoothing"] and not plan.can_go("method")


def test_what_ppo_hides_is_its_own_to_decide_and_counts_as_no_change(plan: TunePlan) -> None:
    plan.set_goal("ppo")
    assert plan.values["compile"] == "off" and "compile" not in plan.changed()
    plan.set_goal("dpo")
    assert plan.values["compile"] == "auto"


def test_ppo_counts_the_models_in_memory_and_shares_the_reference_with_lora(plan: TunePlan) -> None:
    plan.set_goal(PPO)
    policy, reference, reward, value = plan.in_memory()
    assert policy.bytes == reference.bytes == reward.bytes > 0 and value.bytes == 0
    assert "reference" in plan.method_notes()
    plan.set_values({"method": "lora", "value": "separate"})
    _, reference, _, value = plan.in_memory()
    assert reference.bytes == 0 and value.bytes > 0 and "without the adapter" in plan.method_notes()


def test_ppo_is_as_long_as_its_rounds(plan: TunePlan) -> None:
    plan.set_goal(PPO)
    assert plan.prompts == 400 and plan.answers == 20 * 128
    before = plan.plan
    assert before is not None and before.steps == 20 * 2 and before.cost.seconds > 0
    plan.set_values({"rollouts": 40})
    assert plan.plan.steps == 80 and plan.plan.cost.seconds == pytest.approx(2 * before.cost.seconds, rel=0.05)
    plan.set_values({"minibatches": 3})
    assert [p.field for p in plan.problems("data")] == ["minibatches"]


def test_ppo_without_a_reward_model_or_prompts_does_not_go_on(plan: TunePlan) -> None:
    plan.set_goal(PPO)
    plan.set_values({"pairs": (), "examples": ()})
    assert {p.field for p in plan.problems("data")} == {"examples"}
    plan.set_prompts([], [])
    assert {p.field for p in plan.problems("data")} == {"reward"} and not plan.can_go("method")


def test_a_reward_model_that_may_be_guessing_is_warned_of(plan: TunePlan) -> None:
    plan.set_goal(PPO)
    assert plan.reward_warning() is None and dict(plan.reward_facts())["Held-out accuracy"].startswith("71.0")
    plan.set_prompts(plan.examples, [RewardChoice("reward_model-2", "Newer", CONFIG, 0.55, 0.45, 0.65)])
    assert "guessing" in plan.reward_warning()[0]


# -------------------------------------------------------------------------------------------------------- the report


def test_a_report_says_what_moved_and_what_speaks_against_it() -> None:
    outcome = {"val_reward_before": -0.5, "val_reward_after": 0.9, "val_length_before": 10.0, "val_length_after": 24.0, "kl": 41.0,
               "seconds": 30.0}
    reward, length = tune_report.measures(PPO, outcome)
    assert reward.good and length.good is None and "far" in tune_report.sentence(PPO, outcome)
    assert "longer" in tune_report.sentence(PPO, outcome)
    dpo = {"accuracy_before": 0.5, "accuracy_after": 0.8, "margin_before": 0.0, "margin_after": 0.3, "loss": "sigmoid"}
    assert [m.good for m in tune_report.measures(DPO, dpo)] == [True, True] and "80" in tune_report.sentence(DPO, dpo)
    assert "not measured" in tune_report.sentence(DPO, {"loss": "sigmoid"}) and "not measured" in tune_report.sentence(PPO, {})


# ------------------------------------------------------------------------------------------------------- the rollouts


def rollout(step: int, n: int) -> Rollout:
    return Rollout(id=f"r/{step}/{n}", step=step, prompt=(Message(role="user", content=f"Question {n}?"),), completion=f"Answer {n}.",
                   reward=n / 10 - step, facts={"tokens": 5, "kl": 0.5, "finish": "length" if n == 3 else "stop"})


def test_rollouts_are_read_by_round_and_ordered(tmp_path: Path) -> None:
    assert rollout_rows.read(tmp_path) == Round()
    for step in (0, 4):
        rollouts.write(tmp_path, step, [rollout(step, n) for n in range(8)])
    made = rollout_rows.read(tmp_path)
    assert made.steps == (0, 4) and made.step == 4 and made.mean == pytest.approx(-3.65)
    assert made.ordered("best")[0].completion == "Answer 7." and made.ordered("worst")[0].completion == "Answer 0."
    assert rollout_rows.read(tmp_path, None, made) is made and rollout_rows.read(tmp_path, 0, made).step == 0


def test_answers_come_with_the_rounds_and_an_earlier_one_stays(context: AppContext, tmp_path: Path, qtbot) -> None:
    shown = Rollouts(context, tmp_path, lambda: False)
    qtbot.addWidget(shown)
    shown.show()
    shown.refresh(RunState())
    rollouts.write(tmp_path, 0, [rollout(0, n) for n in range(PAGE + 2)])
    rollouts.write(tmp_path, 2, [rollout(2, n) for n in range(PAGE + 2)])

    def looked(step: int) -> bool:
        shown.refresh(RunState())
        return shown.round.step == step
    qtbot.waitUntil(lambda: looked(2), timeout=4000)
    assert len(shown._shown) == PAGE and shown._shown[0].completion == f"Answer {PAGE + 1}."
    QTest.mouseClick(shown.pages.after, Qt.MouseButton.LeftButton)
    assert len(shown._shown) == 2
    shown.order.changed.emit("worst")
    shown.earlier.click()
    qtbot.waitUntil(lambda: shown.round.step == 0, timeout=4000)
    rollouts.write(tmp_path, 4, [rollout(4, 1)])
    qtbot.waitUntil(lambda: shown.round.steps == (0, 2, 4) if looked(0) else False, timeout=4000)
    assert shown.round.step == 0, "an earlier round is not turned away from"
    shown.resize(context.theme.px(288), 400)
    assert shown._mean.isHidden() and shown._where.width() >= shown._where.sizeHint().width(), "nothing of the place is cut"
    shown.newest.click()
    qtbot.waitUntil(lambda: shown.round.step == 4, timeout=4000)
    assert not shown._mean.isHidden() and shown._where.words() == "3 of 3"


# ---------------------------------------------------------------------------------------------------------- the page


@pytest.fixture
def thanks(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, context: AppContext, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of the project of preferences, open in the context."""
    monkeypatch.setenv("FLEDGE_THREADS", "1")
    shutil.copytree(made_once(tmp_path_factory.getbasetemp()), tmp_path / "thanks")
    context.machine = MachineFacts(devices=(CPU,))
    return context.open_project(tmp_path / "thanks")


def page_of(context: AppContext, qtbot, **args: Any) -> TunePage:
    page = TunePage(context)
    qtbot.addWidget(page)
    page.resize(1056, 800)
    page.show()
    page.opened(**args)
    return page


def wizard_of(page: TunePage, goal: str, qtbot, **values: Any) -> Wizard:
    page.show_wizard(goal, values)
    wizard = page.wizard
    assert isinstance(wizard, Wizard)
    qtbot.waitUntil(lambda: wizard.plan.sets is not None and wizard.plan.rewards is not None and not wizard.plan.count_is_due,
                    timeout=8000)
    return wizard


def button(widget, words: str) -> Button:
    return next(b for b in widget.findChildren(Button) if b.text().strip() == words and not b.isHidden())


def press(widget, key: Qt.Key = Qt.Key.Key_Return) -> None:
    widget.setFocus()
    QTest.keyClick(widget, key)


def test_without_labels_the_way_leads_to_labelling(project: Project, context: AppContext, qtbot) -> None:
    with project.artifacts.create("model", title="Small") as made:
        made.finish(chat=True)
    context.look()
    qtbot.waitUntil(lambda: bool(context.survey.of_kind("model")), timeout=8000)
    asked: list[str] = []
    context.navigate_requested.connect(lambda id, args: asked.append(id))
    button(page_of(context, qtbot), "Label pairs").click()
    assert asked == ["preference"]


def test_both_ways_by_keyboard(thanks: Project, context: AppContext, qtbot) -> None:
    page = page_of(context, qtbot)
    wizard = wizard_of(page, DPO, qtbot)
    press(wizard.body().cards[PPO], Qt.Key.Key_Space)
    assert wizard.plan.goal == PPO and wizard.body().cards[PPO].chosen
    press(wizard.body().cards[DPO], Qt.Key.Key_Space)
    press(wizard.forward)
    press(wizard.body().losses["ipo"], Qt.Key.Key_Space)
    assert wizard.plan.values["loss"] == "ipo" and wizard.body().losses["ipo"].chosen
    for _ in range(2):
        press(wizard.forward)
    assert wizard.plan.step == "start" and wizard.forward.isEnabled() and dict(wizard.plan.summary())["Loss"] == "IPO"
    page.left()


def test_a_reward_model_that_is_handed_over_begins_ppo(thanks: Project, context: AppContext, qtbot) -> None:
    page = page_of(context, qtbot, reward="reward_model-1")
    qtbot.waitUntil(lambda: page.wizard.plan.rewards is not None, timeout=8000)
    wizard = page.wizard
    assert wizard.plan.goal == PPO and wizard.plan.reward.title == "Likes thanks"
    wizard.go("data")
    body = wizard.body()
    assert body.reward.value() == "reward_model-1" and "held-out accuracy" in body.reward_words.words()
    for tick in (*body.pairs.ticks.values(), *body.examples.ticks.values()):
        if tick.isChecked():
            tick.click()
    press(wizard.forward)
    assert wizard.plan.step == "data" and body.prompts_wrong.words()
    page.left()


def run_through(page: TunePage, qtbot) -> None:
    """From the last step to the report, by a real worker."""
    page.wizard.go("start")
    qtbot.waitUntil(lambda: page.wizard.forward.isEnabled(), timeout=8000)
    press(page.wizard.forward)
    qtbot.waitUntil(lambda: page.run_side is not None, timeout=20_000)
    qtbot.waitUntil(lambda: page.run_side.follower.status in ("done", "failed", "crashed"), timeout=120_000)
    assert page.run_side.follower.status == "done", page.run_side.follower.log_tail(20)
    qtbot.waitUntil(lambda: page.run_side._report is not None, timeout=8000)


QUICK = {"compile": "off", "dtype": "float32", "sample_tokens": 6, "checkpoint_every_minutes": 0.0}


def test_a_real_dpo_from_the_wizard_to_its_report(thanks: Project, context: AppContext, qtbot) -> None:
    page = page_of(context, qtbot)
    wizard_of(page, DPO, qtbot, **QUICK, batch_size=32, method="lora")
    run_through(page, qtbot)
    side = page.run_side
    assert [m.key for m in side._report.measures][:2] == ["accuracy", "margin"] and side._report.answers._shown
    made = thanks.artifacts.list("model")[-1]
    assert made.title == "Small, DPO" and made.facts["chat"] and made.facts["method"] == "lora"
    asked: list[tuple[str, dict]] = []
    context.navigate_requested.connect(lambda id, args: asked.append((id, args)))
    context.look()
    qtbot.waitUntil(lambda: len(context.survey.of_kind("model")) == 2, timeout=8000)
    for words in ("Chat with it", "Compare", "Export"):
        button(page, words).click()
    assert asked == [("chat", {"model": made.id}), ("evaluate", {"models": ["model-1", made.id], "suites": ["win_rate"]}),
                     ("export", {"model": made.id})]
    page.left()


def test_a_real_ppo_from_the_wizard_to_its_report(thanks: Project, context: AppContext, qtbot) -> None:
    page = page_of(context, qtbot)
    wizard = wizard_of(page, PPO, qtbot, **QUICK, rollouts=3, batch_size=16, max_new_tokens=8, validation_percent=20.0)
    assert wizard.plan.values["reward"] == "reward_model-1"
    run_through(page, qtbot)
    side = page.run_side
    run_dir = side.run.dir
    assert layout.rollouts(run_dir).is_dir() and rollout_rows.read(run_dir).rows
    assert [m.key for m in side._report.measures] == ["val_reward", "val_length"]
    side.panel.what.set("charts")
    side.panel._show_part("charts")
    for key in ("length", "entropy", "clip_share", "value_loss", "reward"):
        side.panel.which.set(key)
        side.panel._show_line(key)
        assert side.panel.main_curve.key == key and side.follower.state.metrics.last(key) is not None
    assert side.panel.second_curve.key == "kl"
    qtbot.waitUntil(lambda: side.panel.samples.round.rows != (), timeout=8000)
    assert side.panel.samples._shown[0].reward == max(r.reward for r in side.panel.samples.round.rows)
    page.left()
    page.opened(run=side.run.id)
    assert page.run_side is side, "runs of PPO are shown on this page"
    page.left()
