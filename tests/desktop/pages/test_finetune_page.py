"""The Fine-tune page: what it shows when, the wizard's widgets over its logic, the microscope in a real process, a real run of a small
model from the wizard to its report."""

import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from desktop.context import AppContext
from desktop.models import finetune_mask, finetune_report
from desktop.models.finetune_plan import ADAPT, SFT, FinetunePlan, StartModel
from desktop.pages.finetune import FinetunePage
from desktop.pages.finetune.wizard import Wizard
from desktop.widgets.before_now import pairs
from desktop.widgets.buttons import Button
from engine.contract import events as ev
from engine.contract.machine import DeviceFacts, MachineFacts
from engine.contract.rows import Example, Message
from engine.model.config import ModelConfig
from engine.project import launch, layout
from engine.project.artifacts import Artifact
from engine.project.examples import ExampleSet
from engine.project.follow import follow
from engine.project.project import Project
from engine.stages.adapt.spec import AdaptSpec
from engine.stages.corpus.spec import CorpusSpec
from engine.stages.pretrain.spec import PretrainSpec
from engine.stages.sft.spec import SftSpec
from engine.stages.tokenizer.spec import TokenizerSpec

WORDS = "the ferry left quay at seven with forty passengers and mail for island harbour light wind rose tide fell".split()
LAW = "the court ruled that party shall pay costs under section nine of act and appeal was dismissed quay".split()
CPU = DeviceFacts(id="cpu", kind="cpu", title="EPYC", memory_total=24_000_000_000, memory_free=20_000_000_000, threads=2)
CARD = DeviceFacts(id="cuda:0", kind="cuda", title="RTX 4090", memory_total=24_000_000_000, memory_free=23_000_000_000,
                   dtypes=("bfloat16", "float32"), peak_flops={"bfloat16": 1.5e14})
CONFIG = ModelConfig(vocab_size=512, hidden_size=64, num_layers=2, num_heads=2, num_kv_heads=2, head_dim=32, intermediate_size=192,
                     max_seq_len=64)
LARGE = CONFIG.model_copy(update={"vocab_size": 32_000, "hidden_size": 4096, "num_layers": 32, "num_heads": 32, "num_kv_heads": 32,
                                  "head_dim": 128, "intermediate_size": 11_008, "max_seq_len": 2048})
SET = ExampleSet(id="set-1", title="Questions", created=1.0, origin="", run="", count=200, accepted=120, rejected=30, new=50)


def plan_with(device: DeviceFacts | None = CPU, config: ModelConfig = CONFIG) -> FinetunePlan:
    plan = FinetunePlan(device)
    plan.set_models([StartModel("model-2", "Tuned", chat=True, config=config), StartModel("model-1", "Base", config=config),
                     StartModel("3-pretrain@0", "Base, untrained", "3-pretrain", untrained=True, config=config)])
    plan.set_sets([SET])
    return plan


def answer(problems: list[dict] = (), **changes) -> dict:
    """What the microscope prints, small."""
    pieces = [{"text": "Who?", "state": "masked", "example": 0}, {"text": " Me\n", "state": "trained", "example": 0},
              {"text": "", "state": "pad", "example": -1, "count": 7}]
    return {"problems": list(problems), "examples": [{"id": "a", "tokens": 2, "trained": 1, "refusal": ""}], "rendered": "Who? Me",
            "batches": [{"step": n, "rows": [{"pieces": pieces, "tokens": 150}] * 4, "examples": 4, "tokens": 8, "trained": 4,
                         "padding": 8, "more_rows": 0} for n in range(2)],
            "template": {"source": "x", "origin": "own", "name": "", "sentence": ""}, "roles": {"user": 170, "assistant": 170}, "note": "",
            "counts": {"examples": 170, "looked_at": 170, "usable": 160, "train": 150, "held_out": 10, "tokens": 3200,
                       "trained_tokens": 800, "share_trained": 0.25, "longest": 40, "left_out": 10}, **changes}


# ---------------------------------------------------------------------------------------------------------- the plan


def test_the_base_model_and_the_only_set_are_suggested() -> None:
    plan = plan_with()
    assert plan.values["model"] == "model-1" and plan.values["examples"] == ("set-1",)
    assert plan.examples == 170 and not plan.problems("data")


def test_accepted_ones_only() -> None:
    plan = plan_with()
    plan.set_values({"only_accepted": True})
    assert plan.examples == 120
    plan.set_sets([SET.__class__(**{**SET.__dict__, "accepted": 0, "new": 170})])
    assert plan.examples == 0 and [p.field for p in plan.problems("data")] == ["only_accepted"]


def test_steps_are_those_of_the_data() -> None:
    plan = plan_with()
    assert plan.plan is not None and plan.plan.load.unit == "examples"
    before = plan.plan.steps
    plan.set_values({"epochs": 6.0})
    assert plan.plan.steps == pytest.approx(2 * before, abs=1)


def test_what_both_goals_have_is_kept_when_one_turns_to_the_other() -> None:
    plan = plan_with()
    plan.set_values({"method": "lora", "epochs": 7.0})
    plan.set_goal(ADAPT)
    assert plan.values["method"] == "lora" and plan.values["epochs"] == 1.0 and isinstance(plan.spec(), AdaptSpec)
    plan.set_goal(SFT)
    assert plan.values["epochs"] == 7.0 and isinstance(plan.spec(), SftSpec)


def test_full_training_is_recommended_where_it_fits_and_lora_where_only_that_does() -> None:
    assert plan_with().recommended()[0] == "full"
    assert plan_with(CARD, LARGE).recommended()[0] in ("lora", "qlora")
    small = DeviceFacts(id="cuda:0", kind="cuda", title="small", memory_total=10**9, memory_free=10**9)
    method, why = plan_with(small, LARGE).recommended()
    assert method == "" and why


def test_qlora_is_for_cards() -> None:
    qlora = next(m for m in plan_with(CPU).methods() if m.id == "qlora")
    assert not qlora.usable and "NVIDIA" in qlora.why
    assert next(m for m in plan_with(CARD).methods() if m.id == "qlora").usable


def test_a_measurement_stands_beside_the_formula_and_is_kept_with_its_settings() -> None:
    plan = plan_with()
    real = {"memory": 5 * 10**8, "seconds": 33.0, "tokens_per_second": 900.0}
    said = {"methods": {"full": {"measured": real, "fits": True}, "lora": {"error": {"sentence": "It died.", "remedy": ""}}},
            "recommendation": {"method": "full", "sentence": "Full."}}
    plan.take_measurement(plan.key(), said, time.time())
    full, lora, _ = plan.methods()
    assert full.measured_seconds == 33.0 and full.memory and lora.why == "It died." and plan.recommended() == ("full", "Full.")
    plan.set_values({"method": "lora"})
    assert plan.measured is not None, "all methods are measured at once"
    plan.set_values({"batch_size": 3})
    assert plan.measured is None
    again = plan_with()
    again.recall(plan.remembered())
    assert again.measured is not None


def test_a_run_waits_for_the_look_at_its_batches_and_is_stopped_by_what_it_finds() -> None:
    plan = plan_with()
    assert plan.look_is_due and not plan.ready
    key = plan.mask_key()
    plan.take_look(key, finetune_mask.looked(answer(), plan.values, 64))
    assert plan.ready and not plan.look_is_due
    stop = {"level": "block", "code": "nothing_trained", "sentence": "Nothing.", "remedy": "Look.", "share": 1.0, "field": "loss_on"}
    plan.take_look(key, finetune_mask.looked(answer([stop]), plan.values, 64))
    assert plan.blocked and not plan.ready and [p.field for p in plan.problems()] == ["loss_on"] and not plan.can_go("start")
    plan.set_values({"loss_on": "all"})
    assert plan.look_is_due


def test_a_name_for_the_new_model_does_not_ask_for_another_look() -> None:
    plan = plan_with()
    plan.take_look(plan.mask_key(), finetune_mask.looked(answer(), plan.values, 64))
    plan.set_values({"title": "Polly", "learning_rate": 1e-4, "epochs": 9.0})
    assert not plan.look_is_due and not plan.look_is_old
    plan.set_values({"batch_size": 2})
    assert not plan.look_is_due and plan.look_is_old, "the rows are put together anew, and nothing else is found in them"


def test_a_domain_needs_a_corpus() -> None:
    plan = plan_with()
    plan.set_goal(ADAPT)
    assert [p.field for p in plan.problems("data")] == ["corpus"] and plan.plan is None
    corpus = Artifact(id="corpus-1", kind="corpus", title="Law", created=1.0, parents=(), run="", path=Path("."),
                      facts={"tokens_estimate": 500_000, "documents": 40})
    plan.set_corpora([corpus], [])
    plan.set_values({"corpus": "corpus-1"})
    assert plan.plan is not None and plan.ready and plan.will_happen()[0]


# ---------------------------------------------------------------------------------------------------------- the mask


def test_rows_are_paged_and_counted() -> None:
    made = finetune_mask.looked(answer(), {}, 64)
    assert [len(p) for p in made.pages] == [2, 2, 2, 2] and made.padding == 0.5
    assert made.pages[0][0].trained == 1 and made.pages[0][0].examples == 1 and made.pages[2][0].batch == 1


@pytest.mark.parametrize(("code", "values", "act", "changes"), [
    ("no_examples", {"only_accepted": True}, "set", {"only_accepted": False}),
    ("no_examples", {}, "go", {}),
    ("no_end_token", {"template": "{{ x }}"}, "set", {"template": ""}),
    ("no_end_token", {}, "edit", {}),
    ("template_tokens", {"template": "{{ x }}"}, "set", {"template": ""}),
    ("answers_cut", {"too_long": "cut"}, "set", {"too_long": "leave_out"}),
    ("all_too_long", {"max_seq_len": 16}, "set", {"max_seq_len": None}),
    ("unknown_role", {}, "look", {})])
def test_each_cause_has_a_remedy(code: str, values: dict, act: str, changes: dict) -> None:
    problem = {"level": "block", "code": code, "sentence": "s", "remedy": "r"}
    first = finetune_mask.looked(answer([problem]), values, 64).problems[0].remedies[0]
    assert first.act == act and dict(first.changes) == changes and first.words


# -------------------------------------------------------------------------------------------------------- the report


OUTCOME = {"val_loss_before": 5.0, "val_loss_after": 0.5, "general_bpb_before": 0.40, "general_bpb_after": 0.50, "trainable": 1000,
           "parameters": 9000, "best_step": 40, "steps": 50, "method": "lora", "seconds": 12.0, "examples": 90, "held_out": 10,
           "weights": "best", "epochs": 3.0, "learning_rate": 1e-3}


def test_the_report_says_what_was_learned_and_what_was_forgotten() -> None:
    learned, forgot = finetune_report.changes("sft", OUTCOME)
    assert learned.better and "90" in learned.words and forgot.worse
    assert "forgot some" in finetune_report.sentence("sft", OUTCOME)
    assert "forgot nothing" in finetune_report.sentence("sft", {**OUTCOME, "general_bpb_after": 0.401})
    assert dict(finetune_report.facts("sft", OUTCOME))["Best step"] == "40 of 50"


def test_a_domain_report_without_general_text_says_so() -> None:
    outcome = {"domain_bpb_before": 1.2, "domain_bpb_after": 0.9, "seconds": 3.0}
    assert [c.better for c in finetune_report.changes("adapt", outcome)] == [True]
    assert "not measured" in finetune_report.sentence("adapt", outcome)


def test_answers_are_paired_by_their_question() -> None:
    said = [ev.Sample(step=0, prompt="a", text="1"), ev.Sample(step=0, prompt="b", text="2"), ev.Sample(step=5, prompt="a", text="3"),
            ev.Sample(step=9, prompt="a", text="4")]
    first, second = pairs(said)
    assert (first.before, first.now, first.step) == ("1", "4", 9) and second.now is None


# ---------------------------------------------------------------------------------------------------------- the page


def page_of(context: AppContext, qtbot, **args) -> FinetunePage:
    page = FinetunePage(context)
    qtbot.addWidget(page)
    page.resize(1056, 800)
    page.show()
    page.opened(**args)
    return page


def button(widget, words: str) -> Button:
    return next(b for b in widget.findChildren(Button) if b.text().strip() == words and not b.isHidden())


def talk(n: int, role: str = "assistant") -> Example:
    return Example(id=f"{role}-{n}", messages=(Message(role="user", content=f"When does ferry {n} leave?"),
                                               Message(role=role, content=f"Ferry {n} left the quay at {n % 12}.")))


def add_set(project: Project, title: str, rows: list[Example]) -> str:
    made = project.library.examples.create_set(title)
    project.library.examples.add(made.id, rows, "person")
    return made.id


@pytest.fixture(scope="module")
def raised(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with a small base model made by the real stages, two corpora, and a set of conversations."""
    monkey = pytest.MonkeyPatch()
    monkey.setenv("FLEDGE_HOME", str(tmp_path_factory.mktemp("home")))
    monkey.setenv("FLEDGE_THREADS", "1")
    made = Project.create(tmp_path_factory.mktemp("raised") / "p", "Harbour")
    chance, source = random.Random(5), tmp_path_factory.mktemp("source")
    (source / "ferry.txt").write_text("\n\n".join(" ".join(chance.choices(WORDS, k=60)) + "." for _ in range(200)))
    (source / "law.txt").write_text("\n\n".join(" ".join(chance.choices(LAW, k=60)) + "." for _ in range(60)))
    base = PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1", title="Base", depth=1, width=32, num_heads=2, max_seq_len=64, steps=20,
                        tokens_per_step=256, compile="off", dtype="float32", eval_every=0, sample_every=0)
    for spec in (CorpusSpec(sources=(str(source / "ferry.txt"),), split_by="blank_lines", title="Ferries"),
                 TokenizerSpec(corpus="corpus-1", vocab_size=320), base,
                 CorpusSpec(sources=(str(source / "law.txt"),), split_by="blank_lines", title="Law")):
        run = made.runs.create(spec)
        assert follow(run, launch.start(run, "cpu")).status == "done", run.log_tail()
    add_set(made, "Ferries", [talk(n) for n in range(120)])
    yield made.dir
    monkey.undo()


@pytest.fixture
def harbour(raised: Path, tmp_path: Path, context: AppContext, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of it, open in the context."""
    monkeypatch.setenv("FLEDGE_THREADS", "1")
    shutil.copytree(raised, tmp_path / "harbour")
    context.machine = MachineFacts(devices=(CPU,))
    return context.open_project(tmp_path / "harbour")


@pytest.fixture
def wizard(harbour: Project, context: AppContext, qtbot) -> Iterator[Wizard]:
    page = page_of(context, qtbot)
    assert page.wizard is not None
    qtbot.waitUntil(lambda: page.wizard.plan.sets is not None, timeout=8000)
    yield page.wizard
    page.left()


def looked(wizard: Wizard, qtbot) -> None:
    qtbot.waitUntil(lambda: not wizard.plan.look_is_due, timeout=60_000)


def press(widget, key: Qt.Key = Qt.Key.Key_Return) -> None:
    widget.setFocus()
    QTest.keyClick(widget, key)


def test_without_a_model_the_way_leads_to_one(project: Project, context: AppContext, qtbot) -> None:
    page = page_of(context, qtbot)
    asked: list[str] = []
    context.navigate_requested.connect(lambda id, args: asked.append(id))
    button(page, "Pretrain a model").click()
    assert asked == ["pretrain"]


def test_the_wizard_by_keyboard_to_a_start_that_looks_first(wizard: Wizard, qtbot) -> None:
    seen = [wizard.plan.step]
    for _ in range(4):
        press(wizard.forward)
        seen.append(wizard.plan.step)
    assert seen == ["goal", "data", "template", "method", "start"]
    assert wizard.forward.text() == "Looking at the data" and not wizard.forward.isEnabled()
    looked(wizard, qtbot)
    assert wizard.forward.text() == "Start training" and wizard.forward.isEnabled()


def test_the_microscope_shows_the_rows_of_the_run(wizard: Wizard, qtbot) -> None:
    wizard.go("template")
    looked(wizard, qtbot)
    body = wizard.template
    text = body.mask.toPlainText()
    assert "Batch 1, row 1" in text and "<|assistant|>" in text and "left the quay" in text
    assert "When does ferry" in body.rendered.words() and dict(wizard.plan.looked.facts())["For validation"] != "0"
    assert len(wizard.plan.looked.pages) > 1
    before = body.where.words()
    QTest.keyClick(body.mask, Qt.Key.Key_Right)
    assert body.where.words() != before


def test_a_template_without_an_end_stops_the_run_and_its_remedy_frees_it(wizard: Wizard, qtbot) -> None:
    wizard.plan.set_values({"template": "{% for m in messages %}{{ m.role + ': ' + m.content }}{% endfor %}"})
    wizard.reload()
    wizard.go("template")
    looked(wizard, qtbot)
    assert wizard.plan.blocked and not wizard.forward.isEnabled()
    button(wizard.template, "Use the template that fits this model").click()
    looked(wizard, qtbot)
    assert not wizard.plan.blocked and wizard.forward.isEnabled() and wizard.plan.values["template"] == ""


def test_roles_that_no_template_knows_are_named(harbour: Project, wizard: Wizard, qtbot) -> None:
    wrong = add_set(harbour, "Wrong roles", [talk(n, "captain") for n in range(40)])
    wizard.read()
    qtbot.waitUntil(lambda: len(wizard.plan.sets) == 2, timeout=8000)
    wizard.plan.set_values({"examples": (wrong,)})
    wizard.go("template")
    looked(wizard, qtbot)
    assert "captain" in " ".join(p.sentence for p in wizard.plan.looked.problems if p.blocks)
    assert [p for p in wizard.plan.problems("template")]


def test_nothing_chosen_is_said_where_it_is_chosen(wizard: Wizard, qtbot) -> None:
    wizard.go("data")
    wizard.body().sets.ticks["set-1"].click()
    assert wizard.plan.values["examples"] == ()
    wizard.forward.click()
    assert wizard.plan.step == "data" and "nothing to learn" in wizard.notes.note.accessibleName()


def test_a_method_is_chosen_by_its_card(wizard: Wizard, qtbot) -> None:
    wizard.go("method")
    body = wizard.body()
    press(body.cards["lora"], Qt.Key.Key_Space)
    assert wizard.plan.values["method"] == "lora" and body.cards["lora"].chosen and not body.full.isVisible()
    for target in ("q", "k", "v", "o", "gate", "up", "down"):
        body.targets.buttons[target].click()
    assert body.targets_wrong.words() and [p.field for p in wizard.plan.problems("method")] == ["lora_targets"]


def test_the_other_goal_has_its_own_steps(wizard: Wizard, qtbot) -> None:
    press(wizard.body().cards[ADAPT], Qt.Key.Key_Space)
    assert wizard.plan.goal == ADAPT and wizard.plan.steps == ("goal", "data", "method", "start")
    wizard.forward.click()
    wizard.forward.click()
    assert wizard.plan.step == "data"
    form = wizard.body().domain
    form.set("corpus", "corpus-2")
    wizard.forward.click()
    assert wizard.plan.step == "method" and wizard.plan.plan is not None


def test_a_model_whose_tokenizer_lacks_what_a_template_needs_is_told_in_words(wizard: Wizard, qtbot) -> None:
    from engine.text.templates import CHATML
    wizard.plan.set_values({"template": CHATML})
    wizard.reload()
    wizard.go("template")
    looked(wizard, qtbot)
    problem = wizard.plan.looked.problems[0]
    assert problem.blocks and "<|im_start|>" in problem.sentence and problem.remedy


def run_through(page: FinetunePage, qtbot) -> None:
    """From the last step to the report, by a real worker."""
    page.wizard.go("start")
    qtbot.waitUntil(lambda: page.wizard.plan.ready, timeout=60_000)
    page.wizard.refresh()
    page.wizard.forward.click()
    qtbot.waitUntil(lambda: page.run_side is not None, timeout=20_000)
    qtbot.waitUntil(lambda: page.run_side.follower.status in ("done", "failed", "crashed"), timeout=120_000)
    assert page.run_side.follower.status == "done", page.run_side.follower.log_tail(20)
    qtbot.waitUntil(lambda: page.run_side._report is not None, timeout=8000)


QUICK = {"epochs": 2.0, "compile": "off", "dtype": "float32", "sample_tokens": 6, "checkpoint_every_minutes": 0.0}


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_real_fine_tuning_from_the_wizard_to_its_report(harbour: Project, context: AppContext, qtbot, method: str) -> None:
    page = page_of(context, qtbot)
    qtbot.waitUntil(lambda: page.wizard.plan.sets is not None, timeout=8000)
    page.wizard.plan.set_values({**QUICK, "method": method, "title": "Pilot"})
    page.wizard.reload()
    run_through(page, qtbot)
    side = page.run_side
    assert side.panel.what.value() == "report" and [c.title for c in side._report.measures] == ["Answers"]
    assert side._report.answers._shown and all(p.now is not None for p in side._report.answers._shown)
    made = harbour.artifacts.list("model")[-1]
    assert made.title == "Pilot" and made.facts["chat"] and made.facts["method"] == method
    asked: list[tuple[str, dict]] = []
    context.navigate_requested.connect(lambda id, args: asked.append((id, args)))
    button(page, "Chat with it").click()
    assert asked == [("chat", {"model": made.id})]
    page.left()


def test_a_real_domain_training_tells_what_was_learned_and_what_was_forgotten(harbour: Project, context: AppContext, qtbot) -> None:
    page = page_of(context, qtbot)
    page.show_wizard(ADAPT, {**QUICK, "corpus": "corpus-2", "replay": "corpus-1", "tokens_per_step": 256})
    qtbot.waitUntil(lambda: page.wizard.plan.models is not None, timeout=8000)
    run_through(page, qtbot)
    assert [c.title for c in page.run_side._report.measures] == ["The domain", "General text"]
    assert page.run_side.view.stage == "adapt"
    page.left()


def test_settings_of_a_run_that_failed_can_be_changed(harbour: Project, context: AppContext, qtbot) -> None:
    run = harbour.runs.create(SftSpec.check({"model": "model-1", "examples": ("set-1",), "method": "lora", "epochs": 5.0}))
    events = [ev.Started(time=1.0, stage="sft"), ev.Finished(time=2.0, status="failed", code="input", sentence="No example is left.",
                                                             remedy="Look at them.")]
    layout.events_file(run.dir).write_text("".join(ev.to_line(e) + "\n" for e in events), "utf-8")
    page = page_of(context, qtbot, run=run.id)
    qtbot.waitUntil(lambda: page.run_side.banner.note is not None, timeout=8000)
    assert "No example is left" in page.run_side.banner.note.accessibleName()
    button(page.run_side.banner, "Change the settings").click()
    assert page.wizard is not None and page.wizard.plan.values["method"] == "lora" and page.wizard.plan.values["epochs"] == 5.0
    page.left()


def test_a_page_that_was_sent_here_begins_with_what_it_was_given(harbour: Project, context: AppContext, qtbot) -> None:
    page = page_of(context, qtbot, examples=["set-1"])
    assert page.wizard is not None and page.wizard.plan.values["examples"] == ("set-1",)
    page.opened(corpus="corpus-2")
    assert page.wizard.plan.goal == ADAPT and page.wizard.plan.values["corpus"] == "corpus-2"
    page.left()


def test_the_keyboard_keeps_its_place_while_the_start_waits(wizard: Wizard, qtbot) -> None:
    wizard.window().activateWindow()
    for _ in range(4):
        press(wizard.forward)
    assert wizard.plan.step == "start" and not wizard.forward.isEnabled()
    looked(wizard, qtbot)
    qtbot.waitUntil(lambda: wizard.forward.hasFocus(), timeout=4000)
    QTest.keyClick(wizard.forward, Qt.Key.Key_Backtab)
    assert not wizard.forward.hasFocus()


def test_the_text_it_was_raised_on_is_offered_for_replay(wizard: Wizard, qtbot) -> None:
    wizard.go("data")
    button(wizard.body(), "Replay it").click()
    assert wizard.plan.values["replay"] == "corpus-1" and wizard.body().replay.values()["replay"] == "corpus-1"
    assert "replayed" in wizard.plan.goes_in()[1]


def test_a_name_that_is_taken_is_not_suggested(wizard: Wizard) -> None:
    assert wizard.plan.default_title() == "Base, tuned"
    wizard.plan.taken = {"Base, tuned"}
    assert wizard.plan.default_title() == "Base, tuned 2"
