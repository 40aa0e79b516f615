"""The Reasoning page: decisions without a window, the wizard by keyboard, a real GRPO run to its report, the browser of answers, a run that
its verifier has paused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from desktop.context import AppContext
from desktop.models import reasoning_look, reasoning_report, rollout_rows
from desktop.models.reasoning_look import TrialChoice, VerifierChoice, VersionChoice
from desktop.models.reasoning_plan import GRPO, SANDBOX, ReasoningPlan, quick
from desktop.models.reasoning_trouble import line_of, reference_of
from desktop.models.rollout_rows import ANY, Wanted
from desktop.models.tuning_choice import StartModel
from desktop.pages.reasoning import ReasoningPage
from desktop.pages.reasoning.browser import RolloutBrowser
from desktop.pages.reasoning.wizard import Wizard
from desktop.widgets.buttons import Button
from engine.contract import events as ev
from engine.contract.composition import parse
from engine.contract.machine import DeviceFacts, MachineFacts
from engine.contract.rows import Message, Problem, Rollout, problem_id
from engine.model.config import ModelConfig
from engine.project import layout, rollouts, trials
from engine.project.event_log import EventWriter
from engine.project.problems import ProblemSet
from engine.project.project import Project
from engine.project.run_state import RunState
from engine.stages.grpo.spec import PRESETS, GrpoSpec
from tests.preferring import THINGS, made_once

CPU = DeviceFacts(id="cpu", kind="cpu", title="CPU", memory_total=16 * 2**30)
CARD = DeviceFacts(id="cuda:0", kind="cuda", title="Card", memory_total=24 * 2**30)
CONFIG = ModelConfig(vocab_size=512, hidden_size=64, num_layers=2, num_heads=2, num_kv_heads=2, head_dim=32, intermediate_size=128,
                     max_seq_len=256)
SHORT = json.dumps([{"name": "length", "settings": {"most": 4, "unit": "words"}}])
SOURCE = "def verify(prompt, completion, answer):\n    return 1.0 if answer in completion else 0.0\n"


def version(ref: str, **more: Any) -> VersionChoice:
    return VersionChoice(ref, int(ref.partition("@")[2]), 1.0, "", **{"composition": parse([{"name": "python", "settings": {
        "source": SOURCE}}]), **more})


@pytest.fixture
def plan() -> ReasoningPlan:
    made = ReasoningPlan(CPU)
    made.set_models([StartModel("model-3", "Solver", stage="grpo", chat=True, config=CONFIG),
                     StartModel("model-2", "Answers", stage="sft", chat=True, config=CONFIG),
                     StartModel("model-1", "Base", stage="pretrain", config=CONFIG)])
    made.set_problems([ProblemSet("problems-2", "Sums", 2.0, "", "", 400, 40, ((1.0, 200), (2.0, 200))),
                       ProblemSet("problems-1", "Ages", 1.0, "", "", 60, 0)],
                      [VerifierChoice("verifier-2", "Last number", "python", (version("verifier-2@3"), version("verifier-2@2"))),
                       VerifierChoice("verifier-1", "Somebody's", "python", (version("verifier-1@1", untrusted=True),))],
                      [TrialChoice("abc", "model-2", frozenset({"problems-2"}), 8)])
    return made


# ------------------------------------------------------------------------------------------------------- the decisions


def test_what_is_newest_is_suggested_and_nothing_is_missing(plan: ReasoningPlan) -> None:
    values = plan.values
    assert (values["model"], values["problem_sets"], values["verifier"]) == ("model-2", ("problems-2",), "verifier-2@3")
    assert plan.ready and isinstance(plan.spec(), GrpoSpec) and plan.plan is not None and plan.plan.steps == values["rollouts"]
    assert (plan.problems_to_learn, plan.held_out, plan.measured_problems) == (360, 40, 40)
    assert plan.difficulties == [(1.0, 200), (2.0, 200)] and plan.verifier_words() == "Last number, version 3"
    assert plan.trial() is not None and plan.trial().key == "abc"
    plan.set_values({"problem_sets": ("problems-1",)})
    assert plan.trial() is None, "that was of other problems"


def test_a_verifier_whose_part_lacks_its_judge_is_not_suggested_and_does_not_start(plan: ReasoningPlan) -> None:
    judged = version("verifier-3@1", composition=parse([{"name": "number"}, {"name": "judge"}]))
    plan.values["verifier"] = ""
    plan.set_problems(list(plan.sets or ()), [VerifierChoice("verifier-3", "Judged", "parts", (judged,)), *(plan.verifiers or ())], [])
    assert plan.values["verifier"] == "verifier-2@3" and plan.ready
    plan.set_values({"verifier": "verifier-3@1"})
    assert not plan.ready and [p.sentence for p in plan.problems("verifier")] == ["Judge: There is no judge chosen."]


def test_amounts_suit_the_machine_and_what_a_person_chose_stays(plan: ReasoningPlan) -> None:
    on_cpu = {name: plan.values[name] for name in plan.amounts()}
    assert on_cpu["max_new_tokens"] == 64 and on_cpu["num_generations"] == 8
    plan.set_values({"rollouts": 33})
    plan.set_device(CARD)
    assert plan.values["rollouts"] == 33 and plan.values["num_generations"] == 16
    assert plan.values["max_new_tokens"] == 128, "half of what it can read"
    plan.set_device(CPU)
    assert plan.values["num_generations"] == 8


def test_settings_of_an_earlier_run_are_not_overruled(plan: ReasoningPlan) -> None:
    spec = {**plan.values, "rollouts": 80, "num_generations": 8, "max_new_tokens": 128, "prompts": 4}
    plan.take(GRPO, spec)
    plan.set_device(CARD)
    assert {k: plan.values[k] for k in ("rollouts", "num_generations", "max_new_tokens", "prompts")} == \
        {k: spec[k] for k in ("rollouts", "num_generations", "max_new_tokens", "prompts")}


def test_too_little_held_out_is_said_with_what_is_lost(plan: ReasoningPlan) -> None:
    assert plan.held_out_warning() is None
    plan.set_values({"problem_sets": ("problems-1",)})
    assert "Nothing" in plan.held_out_warning()[0] and "best step" in plan.held_out_warning()[1]
    plan.set_values({"problem_sets": ("problems-2",), "validation_prompts": 12})
    assert plan.measured_problems == 12 and "Few" in plan.held_out_warning()[0]


@pytest.mark.parametrize(("values", "sentence"), [
    ({"verifier": ""}, "no verifier"), ({"verifier": "verifier-9@1"}, "gone"), ({"verifier": "verifier-1@1"}, "trusted"),
    ({"verifier": "verifier-2"}, "version"), ({"verifier": "{"}, "JSON")])
def test_a_verifier_that_cannot_be_used_stops_at_its_step(plan: ReasoningPlan, values: dict, sentence: str) -> None:
    plan.set_values(values)
    assert [p.field for p in plan.problems("verifier")] == ["verifier"] and sentence in plan.problems("verifier")[0].sentence
    assert not plan.can_go("way") and plan.can_go("verifier")


def test_where_there_is_no_sandbox_only_code_is_refused(plan: ReasoningPlan) -> None:
    plan.set_problems(plan.sets, plan.verifiers, (), "No image.")
    assert [p.sentence for p in plan.problems("verifier")] == ["No image."] and SANDBOX in plan.needs
    plan.set_values({"verifier": quick("number")})
    assert not plan.problems("verifier") and plan.quick_kind == "number" and plan.verifier_words() == "Number"


def test_what_a_recipe_sets_is_told_and_may_be_changed(plan: ReasoningPlan) -> None:
    for id, preset in PRESETS.items():
        plan.set_values({"preset": id})
        assert all(plan.automatic()[name] == f"{preset.values[name]:g}" for name in ("beta", "clip_high"))
        assert bool(plan.method_notes()) == (id == "grpo")
    plan.set_values({"preset": "dapo", "beta": 0.1, "method": "lora"})
    assert "without the adapter" in plan.method_notes()
    assert dict(plan.further_summary())["Recipe"] == "DAPO" and plan.learns_from() == "10,240 answers of its own"


def test_each_setting_stands_on_one_step(plan: ReasoningPlan) -> None:
    steps = {name: plan.step_of(name) for name in GrpoSpec.model_fields}
    assert {steps[n] for n in ("problem_sets", "curriculum")} == {"problems"} and steps["verifier"] == steps["full_score"] == "verifier"
    assert {steps[n] for n in ("preset", "beta", "rollouts", "max_new_tokens", "learning_rate", "passes")} == {"way"}
    assert steps["method"] == steps["lora_rank"] == "method" and steps["patience"] == "start"


# -------------------------------------------------------------------------------------------------------- the report


def test_a_report_says_what_is_solved_how_that_was_measured_and_what_may_be_chance() -> None:
    outcome = {"pass_at_1_before": 0.5, "pass_at_1_after": 0.55, "held_out": 40, "val_length_before": 10.0, "val_length_after": 24.0,
               "val_reward_before": 0.5, "val_reward_after": 0.6, "seconds": 30.0, "preset": "dapo", "rounds": 80, "answers": 128}
    solved, reward, length = reasoning_report.measures(outcome)
    assert solved.good and solved.share and reward.good and length.good is None
    said = reasoning_report.sentence(outcome)
    assert "55.0" in said and "chance" in said and "2.4 times" in said
    assert "Sampled" in reasoning_report.how_measured(outcome) and "40" in reasoning_report.how_measured(outcome)
    assert "chance" not in reasoning_report.sentence({**outcome, "held_out": 4000})
    assert "not measured" in reasoning_report.sentence({}) and reasoning_report.how_measured({}) == ""
    assert reasoning_report.by_chance(0.5, 100) == pytest.approx(0.0961, abs=1e-3)  # 1.96 · sqrt(0.25 / 104)


# ------------------------------------------------------------------------------------------------------- the rollouts


def rollout(step: int, group: int, n: int, reward: float, **facts: Any) -> Rollout:
    return Rollout(id=f"r/{step}/{group}/{n}", step=step, prompt=(Message(role="user", content=f"Question {group}?"),),
                   completion=f"Answer {n} of round {step}.", reward=reward, parts={"right": reward, "short": 1.0},
                   facts={"tokens": 5, "finish": "stop", "advantage": reward - 0.5, "answer": str(group), "group": group,
                          "problem": f"90{group}", **facts})


def written(folder: Path) -> None:
    """Three rounds of three problems: one without a signal, one mixed, one at whose second answer the verifier fails in the last round."""
    for step in (0, 2, 4):
        rows = [rollout(step, 0, n, 1.0, left_out="no_signal") for n in range(4)]
        rows += [rollout(step, 1, n, float(n % 2), finish="length" if n == 2 else "stop") for n in range(4)]
        rows += [rollout(step, 2, n, 0.0) for n in range(4)]
        if step == 4:
            rows[9] = rollout(step, 2, 1, 0.0, error="raised", line=7, message="KeyError: 'x'", left_out="error")
        rollouts.write(folder, step, rows)


def test_answers_of_a_round_are_grouped_filtered_and_found_over_the_run(tmp_path: Path) -> None:
    written(tmp_path)
    made = rollout_rows.read(tmp_path)
    groups = rollout_rows.groups(made.rows)
    assert [(g.problem, g.silent, g.errors, round(g.mean, 2)) for g in groups] == [("900", True, 0, 1.0), ("901", False, 0, 0.5),
                                                                                   ("902", True, 1, 0.0)]

    def kept(**wanted: Any) -> list[int]:
        return [len(found.rows) if (found := rollout_rows.filtered(g, Wanted(**wanted))) else 0 for g in groups]
    assert kept(low=0.5) == [4, 2, 0] and kept(high=0.5) == [0, 2, 3], "an answer without a reward has none of these"
    assert kept(text="QUESTION 1") == [0, 4, 0] and kept(cut=True) == [0, 1, 0]
    assert kept(error=ANY) == kept(error="raised") == [0, 0, 1] and kept(error="timeout") == [0, 0, 0]
    assert rollout_rows.errors_in(made.rows) == ["raised"] and made.mean == pytest.approx(6 / 11)
    over = rollout_rows.of_problem(tmp_path, "901")
    assert [g.step for g in over] == [0, 2, 4] and all(len(g.rows) == 4 and g.prompt == "Question 1?" for g in over)


def test_the_best_of_a_round_are_not_all_of_one_problem(tmp_path: Path) -> None:
    rollouts.write(tmp_path, 0, [rollout(0, g, n, float(g < 2)) for g in range(3) for n in range(4)])
    best = rollout_rows.read(tmp_path).ordered("best")
    assert [r.facts["group"] for r in best[:4]] == [0, 1, 0, 1] and [r.reward for r in best] == [1.0] * 8 + [0.0] * 4
    assert [r.facts["group"] for r in rollout_rows.read(tmp_path).ordered("worst")[:5]] == [2, 2, 2, 2, 0]


def press(widget: Any, key: Qt.Key = Qt.Key.Key_Return) -> None:
    widget.setFocus()
    QTest.keyClick(widget, key)


def button(widget: Any, words: str) -> Button:
    return next(b for b in widget.findChildren(Button) if b.text().strip() == words and not b.isHidden())


def test_the_browser_filters_turns_and_follows_one_problem(context: AppContext, tmp_path: Path, qtbot) -> None:
    written(tmp_path)
    browser = RolloutBrowser(context, tmp_path, lambda: False, stride=2)
    qtbot.addWidget(browser)
    browser.resize(960, 420)
    browser.show()
    browser.refresh(RunState())
    qtbot.waitUntil(lambda: len(browser.groups) == 3, timeout=4000)
    assert browser.round.step == 4 and browser.group.problem == "901", "the first with something to learn is shown"
    assert [r.reward for r in browser._shown] == [1.0, 1.0, 0.0, 0.0]
    browser.table.select(2)
    assert browser.group.problem == "902" and browser._shown[0].facts["line"] == 7, "what failed comes first"
    browser.errors.set("raised")
    browser.errors.changed.emit()
    qtbot.waitUntil(lambda: [g.problem for g in browser.groups] == ["902"], timeout=4000)
    assert len(browser.group.rows) == 1 and browser.clear_filter.isVisible()
    browser.clear_filter.click()
    qtbot.waitUntil(lambda: len(browser.groups) == 3, timeout=4000)
    QTest.keyClicks(browser.search, "question 1")
    qtbot.waitUntil(lambda: [g.problem for g in browser.groups] == ["901"], timeout=4000)
    browser.over.click()
    qtbot.waitUntil(lambda: [g.step for g in browser.groups] == [0, 2, 4], timeout=4000)
    assert browser.chart.isVisible() and [x for x, _ in browser.chart.plot.curves[0].points] == [1.0, 2.0, 3.0]
    browser.table.select(0)
    assert browser._shown[0].completion.endswith("round 0.")
    browser._clear_filter()
    browser.back.click()
    qtbot.waitUntil(lambda: len(browser.groups) == 3 and not browser.problem, timeout=4000)
    browser.earlier.click()
    qtbot.waitUntil(lambda: browser.round.step == 2 and browser.group.step == 2, timeout=4000)
    assert browser.newest.isVisible()


# -------------------------------------------------------------------------------------------------- a run that rests


def paused_run(project: Project, saved: int = 0) -> Any:
    """A run whose verifier fails, as the stage leaves it behind."""
    run = project.runs.create(GrpoSpec(model="model-1", problem_sets=(project.library.problems.sets()[0].id,), verifier="verifier-1@1"))
    writer = EventWriter(layout.events_file(run.dir), attempt=1)
    for event in (ev.Started(stage="grpo", device="cpu"), ev.Facts(facts={"steps": 40, "prompts": 9, "held_out": 3, "answers": 8,
                                                                          "updates_a_round": 1, "rounds_planned": 40}),
                  *((ev.Metrics(columns={"step": list(range(1, saved + 1)), "reward": [0.5] * saved}), ev.CheckpointSaved(step=saved))
                    if saved else ()),
                  ev.Notice(level="problem", code="verifier_errors", title="The verifier fails", step=saved,
                            text="The verifier could not judge 3 of 12 completions (25 %): line 7: KeyError: 'x'"),
                  ev.Finished(status="paused")):
        writer.write(event)
    writer.close()
    written(run.dir)
    return run


def test_a_run_that_its_verifier_paused_leads_to_the_line(thanks: Project, context: AppContext, qtbot) -> None:
    thanks.library.verifiers.create("Mine", "python", SOURCE)
    page = page_of(context, qtbot, run=paused_run(thanks, saved=20).id)
    side = page.run_side
    qtbot.waitUntil(lambda: side._trouble is not None, timeout=8000)
    assert side._trouble.title == "Paused: the verifier fails" and "line 7" in side._trouble.words and "step 20" in side._trouble.words
    assert side.panel.what.value() == "browser", "what it failed on is there"
    qtbot.waitUntil(lambda: bool(side.panel._browser.groups), timeout=8000)
    asked: list[tuple[str, dict]] = []
    context.navigate_requested.connect(lambda id, args: asked.append((id, args)))
    button(page, "Open the verifier at line 7").click()
    assert asked == [("verifiers", {"verifier": "verifier-1@1", "line": 7})]
    button(page, "Go on from step 20 with another verifier").click()
    assert page.wizard is not None and page.wizard.plan.values["model"].endswith("@20") and page.wizard.plan.values["title"] == ""
    page.left()


def test_before_the_first_checkpoint_it_begins_again(thanks: Project, context: AppContext, qtbot) -> None:
    thanks.library.verifiers.create("Mine", "python", SOURCE)
    page = page_of(context, qtbot, run=paused_run(thanks).id)
    qtbot.waitUntil(lambda: page.run_side._trouble is not None, timeout=8000)
    assert [r.words for r in page.run_side._trouble.remedies] == ["Open the verifier at line 7", "Start again with another verifier",
                                                                  "Resume as it is"]
    assert page.run_side.panel.isVisible()
    page.left()


def test_which_verifier_a_run_names() -> None:
    assert reference_of({"verifier": "verifier-3@4"}) == "verifier-3@4" and reference_of({"verifier": SHORT}) == ""
    nested = json.dumps([{"name": "number"}, {"name": "python", "settings": {"verifier": "verifier-2@1"}}])
    assert reference_of({"verifier": nested}) == "verifier-2@1" and reference_of({"verifier": "{"}) == ""
    assert line_of("…: line 12: KeyError") == 12 and line_of("no number") == 0


# ---------------------------------------------------------------------------------------------------------- the page


@pytest.fixture
def thanks(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, context: AppContext, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of a small project with a model that answers, and problems; open in the context."""
    monkeypatch.setenv("FLEDGE_THREADS", "1")
    shutil.copytree(made_once(tmp_path_factory.getbasetemp()), tmp_path / "thanks")
    project = Project.open(tmp_path / "thanks")
    asked = [(Message(role="user", content=f"Tell me of the {thing}."),) for thing in THINGS]
    project.library.problems.take("Things", (Problem(id=problem_id(p, thing), prompt=p, answer=thing, difficulty=float(len(thing)))
                                             for p, thing in zip(asked, THINGS, strict=True)), origin="person", held_out_percent=30)
    context.machine = MachineFacts(devices=(CPU,))
    return context.open_project(tmp_path / "thanks")


def page_of(context: AppContext, qtbot, **args: Any) -> ReasoningPage:
    page = ReasoningPage(context)
    qtbot.addWidget(page)
    page.resize(1056, 800)
    page.show()
    page.opened(**args)
    return page


def wizard_of(page: ReasoningPage, qtbot) -> Wizard:
    qtbot.waitUntil(lambda: page.wizard is not None and page.wizard.plan.sets is not None, timeout=8000)
    assert isinstance(page.wizard, Wizard)
    return page.wizard


def test_without_problems_the_way_leads_to_making_them(project: Project, context: AppContext, qtbot) -> None:
    with project.artifacts.create("model", title="Small") as made:
        made.finish(chat=True)
    context.look()
    qtbot.waitUntil(lambda: bool(context.survey.of_kind("model")), timeout=8000)
    asked: list[str] = []
    context.navigate_requested.connect(lambda id, args: asked.append(id))
    page = page_of(context, qtbot)
    button(page, "Make problems").click()
    assert asked == ["verifiers"]
    prompt = (Message(role="user", content="What is 1 plus 1?"),)
    project.library.problems.take("Sums", [Problem(id=problem_id(prompt, "2"), prompt=prompt, answer="2")], origin="person")
    page.opened()
    qtbot.waitUntil(lambda: page.wizard is not None, timeout=8000)
    page.left()


def test_the_wizard_by_keyboard(thanks: Project, context: AppContext, qtbot) -> None:
    page = page_of(context, qtbot)
    wizard = wizard_of(page, qtbot)
    press(wizard.forward)
    assert wizard.plan.step == "problems" and wizard.body().total.words() == str(wizard.plan.problems_to_learn)
    tick = next(iter(wizard.body().sets.ticks.values()))
    press(tick, Qt.Key.Key_Space)
    press(wizard.forward)
    assert wizard.plan.step == "problems" and "no problems" in wizard.body().wrong.words()
    press(tick, Qt.Key.Key_Space)
    press(wizard.forward)
    body = wizard.body()
    press(body.quick["text"], Qt.Key.Key_Space)
    assert wizard.plan.quick_kind == "text" and body.quick["text"].chosen and "Text" in body.title.words()
    press(wizard.forward)
    press(wizard.body().cards["gspo"], Qt.Key.Key_Space)
    assert wizard.plan.values["preset"] == "gspo" and wizard.body().cards["gspo"].chosen
    told = wizard.body().sets
    assert dict(zip(told._names, (value.words() for value in told._values), strict=True))["Ratio"] == "Of answers"
    for _ in range(2):
        press(wizard.forward)
    assert wizard.plan.step == "start" and wizard.forward.isEnabled() and dict(wizard.plan.summary())["Recipe"] == "GSPO"
    page.left()


def test_what_the_verifiers_page_hands_over_goes_into_what_was_begun(thanks: Project, context: AppContext, qtbot) -> None:
    mine = thanks.library.verifiers.create("Mine", "python", SOURCE)
    other = thanks.library.problems.take("Others", [Problem(id=problem_id((Message(role="user", content="Say two."),), "two"), answer="two",
                                                            prompt=(Message(role="user", content="Say two."),))], origin="person")
    page = page_of(context, qtbot)
    wizard = wizard_of(page, qtbot)
    wizard.body().put(rollouts=7)
    page.left()
    page.opened(verifier=mine.ref, problem_sets=[other.id])
    wizard = wizard_of(page, qtbot)
    assert wizard.plan.values["verifier"] == mine.ref and wizard.plan.values["problem_sets"] == (other.id,)
    assert wizard.plan.values["rollouts"] == 7
    wizard.go("verifier")
    body = wizard.body()
    assert isinstance(body.lines["verifier-1"].chosen, bool) and body.lines["verifier-1"].chosen and body.version.value() == mine.ref
    assert "Nobody has tried it yet" in body.signal.words()
    page.left()


def test_a_real_run_from_the_wizard_to_its_report_and_its_answers(thanks: Project, context: AppContext, qtbot) -> None:
    page = page_of(context, qtbot)
    wizard = wizard_of(page, qtbot)
    wizard.body().put(verifier=SHORT, preset="dr_grpo", rollouts=4, prompts=4, num_generations=4, max_new_tokens=8, dtype="float32",
                      sample_tokens=6, checkpoint_every_minutes=0.0, eval_every=2)
    wizard.go("start")
    qtbot.waitUntil(lambda: page.wizard.forward.isEnabled(), timeout=8000)
    press(wizard.forward)
    qtbot.waitUntil(lambda: page.run_side is not None, timeout=20_000)
    qtbot.waitUntil(lambda: page.run_side.follower.status in ("done", "failed", "crashed"), timeout=120_000)
    side = page.run_side
    assert side.follower.status == "done", side.follower.log_tail(20)
    qtbot.waitUntil(lambda: side._report is not None, timeout=8000)
    assert [m.key for m in side._report.measures] == ["pass_at_1", "val_reward", "val_length"]
    state, panel = side.follower.state, side.panel
    panel.what.set("charts")
    panel._show_part("charts")
    for line in panel.view.below:
        panel.which_below.set(line.key)
        panel._show_below_line(line.key)
        known = [v for e in state.evaluations if (v := e.values.get(line.key)) is not None] if line.measured else \
            state.metrics.column(line.key)
        assert len(known) or line.key == "kl", line.key
    assert panel.main_curve.spread == "reward_std" and state.metrics.last("reward_std") is not None
    panel.what.set("browser")
    panel._show_part("browser")
    browser = panel._browser
    qtbot.waitUntil(lambda: len(browser.groups) == 4, timeout=8000)
    assert len(browser.round.steps) == 4 and browser.round.step == 3 and all(g.count == 4 for g in browser.groups)
    made = thanks.artifacts.list("model")[-1]
    assert made.facts["chat"] and made.facts["preset"] == "dr_grpo" and made.facts["pass_at_1_after"] is not None
    qtbot.waitUntil(lambda: any(r.stage == "grpo" and r.status == "done" for r in (context.look() or context.survey).runs), timeout=8000)
    assert next(s for s in context.survey.stages if s.id == "grpo").state == "done"
    page.left()


def test_a_look_finds_versions_trust_and_trials(thanks: Project) -> None:
    mine = thanks.library.verifiers.create("Mine", "python", SOURCE)
    thanks.library.verifiers.save(mine.id, SOURCE + "# mended\n", note="mended")
    foreign = thanks.library.verifiers.create("Theirs", "python", SOURCE + "# theirs\n", origin="project:elsewhere")
    some = list(thanks.library.problems.rows(("problems-1",)))[:4]
    trial = trials.prepare(thanks.dir, trials.TrialSettings("model-1", k=2), some)
    writer = trials.Writer(trial)
    writer.add([trials.Group(problem, (trials.Completion("a"), trials.Completion("b"))) for problem in some])
    writer.finish()
    found = reasoning_look.look(thanks)
    known = {one.id: one for one in found.verifiers}
    assert [v.ref for v in known[mine.id].versions] == [f"{mine.id}@2", f"{mine.id}@1"] and known[mine.id].versions[0].note == "mended"
    assert not known[mine.id].versions[0].untrusted and known[foreign.id].versions[0].untrusted
    assert found.sets[0].title == "Things" and found.models
    assert found.trials == [TrialChoice(trial.key, "model-1", frozenset({"problems-1"}), 2)]


def test_whether_there_is_a_signal_is_told_from_what_the_workbench_has_sampled(thanks: Project, context: AppContext, qtbot) -> None:
    some = list(thanks.library.problems.rows(("problems-1",)))[:4]
    trial = trials.prepare(thanks.dir, trials.TrialSettings("model-1", k=2), some)
    writer = trials.Writer(trial)
    writer.add([trials.Group(problem, (trials.Completion("a short one"), trials.Completion("one of many words that goes on and on")))
                for problem in some])
    writer.finish()
    page = page_of(context, qtbot)
    wizard = wizard_of(page, qtbot)
    wizard.body().put(verifier=SHORT)
    wizard.go("verifier")
    body = wizard.body()
    qtbot.waitUntil(lambda: body.scores is not None, timeout=30_000)
    assert (body.scores.groups, body.scores.mixed, body.scores.pass_at_1) == (4, 4, 0.5)
    assert "There is signal" in body.signal.words() and body.stats[2].isVisible()
    body.put(verifier=quick("number"))
    qtbot.waitUntil(lambda: body.scores is not None and body.scores.mixed == 0, timeout=30_000)
    assert "No signal" in body.signal.words() and body.remedy.words()
    page.left()
