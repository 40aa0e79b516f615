"""GRPO from a model that answers and a verifier to one that is right more often: what it learns, what is written, what a resume gives."""

import hashlib
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from test_sft import COLOURS, FORMS, THINGS, attempt_of, make_project
from test_sft import spec_of as sft_spec

from engine.contract.composition import digest
from engine.contract.errors import Corrupt, InputError, Mismatch, Missing, SettingError, Stopped
from engine.contract.events import CheckpointSaved, Evaluation, Metrics, Notice, Resumed, Sample
from engine.contract.machine import DeviceFacts
from engine.contract.rows import Message, Problem, problem_id
from engine.model import memory
from engine.model.checkpoint import load_model
from engine.model.formats.card import model_card
from engine.model.reward_model import RewardFacts, RewardHead, RewardModel, save_reward
from engine.project import files, layout, lineage, rollouts, run_doctor, taken_sets
from engine.project.models import resolve
from engine.project.run_state import RunState, apply
from engine.stages.grpo import plan, verifying
from engine.stages.grpo import run as grpo
from engine.stages.grpo.measure import prepared
from engine.stages.grpo.spec import PRESETS, GrpoSpec
from engine.stages.grpo.verifying import Opened
from engine.text.tokenizer import Tokenizer
from engine.training import devices, tuning_measure
from engine.training.tuning_plan import learning_rate
from engine.verifiers import judge
from engine.verifiers.api import Attempt as Attempted
from engine.verifiers.api import Verdict, failed
from engine.verifiers.builtin import Weighted
from tests.attempts import Attempt, made_by, one_thread  # noqa: F401
from tests.engine.generators.servers import hostile

COLUMNS = {"loss", "reward", "reward_std", "frac_reward_zero_std", "completions_clipped", "length", "entropy", "clip_share_low",
           "clip_share_high", "clip_share", "sampler_gap", "verifier_errors", "sampling_seconds", "verifying_seconds", "learning_seconds"}
REALLY_OPENED, REALLY_UNTIL = verifying.opened, verifying.until_the_end
VERIFIER = json.dumps([{"name": "text", "weight": 0.5}, {"name": "text"}])


class Colour:
    """Stands for a person's verifier: an answer that names the known colour is right."""

    broken = frozenset()

    def score(self, attempts, check=None):
        return [failed("raised", "KeyError: 'x'", line=7) if attempt.prompt in self.broken else
                Verdict(float(f" is {attempt.answer}" in attempt.completion), {"named": float(attempt.answer in attempt.completion)})
                for attempt in attempts]

    def check_answers(self, answers):
        return ["" if answer in COLOURS else "no colour" for answer in answers]


class opened:
    def __init__(self, context):
        pass

    def __enter__(self):
        return Opened(Weighted([("a", 0.5, Colour()), ("b", 0.5, Colour())]))

    def __exit__(self, *wrong):
        pass


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A model that answers in form, and gets few colours right of the problems it is given: their answers were turned round."""
    torch.set_num_threads(1)
    project = make_project(tmp_path_factory.mktemp("projects") / "p")
    attempt_of(project, sft_spec(project, epochs=20)).run()
    turned = {thing: COLOURS[(n + 1) % len(COLOURS)] for n, thing in enumerate(THINGS)}
    take(project, "problems", [problem(form.format(thing), turned[thing], held_out=(n + k) % 4 == 0) for n, thing in enumerate(THINGS)
                               for k, form in enumerate(FORMS)])
    return project


def problem(asked, answer, **more):
    prompt = (Message(role="user", content=asked),)
    return Problem(id=problem_id(prompt, answer), prompt=prompt, answer=answer, **more)


def take(project, title, rows, percent=0.0):
    return project.library.problems.take(title, rows, origin="person", held_out_percent=percent)


@pytest.fixture(autouse=True)
def verifier(monkeypatch):
    monkeypatch.setattr(verifying, "opened", opened)
    monkeypatch.setattr(verifying, "until_the_end", lambda context: opened(context).__enter__())


def spec_of(project, title="problems", **more):
    sets = tuple(s.id for s in project.library.problems.sets() if s.title == title)
    return GrpoSpec(**{"model": "model-2", "problem_sets": sets, "verifier": VERIFIER, "preset": "dr_grpo", "rollouts": 4, "prompts": 4,
                       "num_generations": 4, "max_new_tokens": 12, "dtype": "float32", "checkpoint_every_minutes": 0,
                       "sample_tokens": 8, "learning_rate": 5e-4, "temperature": 1.0, **more})


def run_of(project, spec, **more):
    return Attempt(project, project.runs.create(spec).id, spec, stage=grpo.run, **more)


def columns(attempt, name):
    return [value for e in attempt.of(Metrics) for value in e.columns[name]]


@pytest.fixture(scope="module")
def learned(project):
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verifying, "opened", opened)
        return run_of(project, spec_of(project, rollouts=40, prompts=8, num_generations=8, learning_rate=1.5e-3, temperature=1.5,
                                       eval_every=10)).run()


def test_what_is_right_becomes_likely(project, learned):
    rewards = columns(learned, "reward")
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 0.15, rewards
    facts = made_by(project, learned).facts
    assert facts["pass_at_1_after"] > facts["pass_at_1_before"] and facts["chat"] is True and facts["source"].endswith("2503.20783")
    assert [e.step for e in learned.of(Evaluation)] == [0, 10, 20, 30, 40] and learned.of(Sample)
    for event in learned.of(Evaluation):
        assert event.values["val_loss"] == -event.values["pass_at_1"] and event.values.keys() >= {"val_reward", "val_length"}
    state = RunState()
    for event in learned.events:
        apply(state, event)
    assert "verifier" not in " ".join(one.code for one in run_doctor.rules(state, "grpo", spec_of(project).model_dump()))


def test_measures_have_the_names_that_charts_and_doctor_rely_on(learned):
    for event in learned.of(Metrics):
        assert event.columns.keys() >= COLUMNS and "kl" not in event.columns
    assert max(columns(learned, "sampler_gap")) < 1e-4 and max(columns(learned, "clip_share")) == 0
    assert all(0 < value < 6.1 for value in columns(learned, "entropy"))
    assert all(a > 0 and b >= 0 and c > 0 for a, b, c in zip(*(columns(learned, f"{name}_seconds") for name in (
        "sampling", "verifying", "learning")), strict=True))


def test_rollouts_lie_beside_the_run_with_their_parts(project, learned):
    run_dir = layout.run(project.dir, learned.context.run_id)
    assert rollouts.steps(run_dir) == list(range(40))
    for step in (0, 39):
        rows = list(rollouts.rows(run_dir, step))
        assert len(rows) == 64 and sum(row.reward for row in rows) / 64 == pytest.approx(columns(learned, "reward")[step], abs=1e-6)
        for row in rows:
            assert row.parts.keys() == {"a", "b"}
            assert row.reward == pytest.approx(0.5 * row.parts["a"] + 0.5 * row.parts["b"])
            assert (row.reward == 1) == (f" is {row.facts['answer']}" in row.completion)
        for group in range(8):
            some = [row for row in rows if row.facts["group"] == group]
            assert len(some) == 8 and len({row.prompt for row in some}) == 1
            mean = sum(row.reward for row in some) / 8
            assert all(row.facts["advantage"] == pytest.approx(row.reward - mean, abs=1e-5) for row in some)


@pytest.mark.parametrize("more", [{"preset": "dapo", "curriculum": "measured"}, {"method": "lora", "lora_rank": 4, "preset": "grpo"},
                                  {"passes": 2, "minibatches": 2, "preset": "gspo", "beta": 0.05, "temperature": 1.5}])
def test_paused_and_resumed_ends_with_the_same_model(project, more):
    stride = more.get("passes", 1) * more.get("minibatches", 1)
    spec = spec_of(project, checkpoint_every_steps=stride, **{"temperature": 2.0, **more})
    straight = run_of(project, spec).run()
    first = run_of(project, spec, commands={2 * stride: "pause"})
    with pytest.raises(Stopped):
        first.run()
    second = Attempt(project, first.context.run_id, spec, number=2, stage=grpo.run).run()
    assert second.of(Resumed)[0].step == 2 * stride
    one, two = made_by(project, straight), made_by(project, second)
    assert one.files["model.safetensors"]["sha256"] == two.files["model.safetensors"]["sha256"]
    for name in ("loss", "reward", "frac_reward_zero_std", "groups", *(("kl",) if spec.filled().beta else ())):
        assert columns(first, name) + columns(second, name) == columns(straight, name), name
    assert max(columns(straight, "groups")) > 4 or spec.filled().resample == 0
    run_dir, other = (layout.run(project.dir, attempt.context.run_id) for attempt in (first, straight))
    for step in rollouts.steps(other):
        assert [r.completion for r in rollouts.rows(run_dir, step)] == [r.completion for r in rollouts.rows(other, step)]
    assert {c.step for c in second.of(CheckpointSaved)} <= {0, 2 * stride, 3 * stride, 4 * stride}


def test_a_run_whose_verifier_fails_pauses_and_names_the_line(project, monkeypatch):
    monkeypatch.setattr(Colour, "broken", frozenset(form.format(thing) for thing in THINGS[:4] for form in FORMS))
    attempt = run_of(project, spec_of(project))
    with pytest.raises(Stopped) as stopped:
        attempt.run()
    said = [e for e in attempt.of(Notice) if e.code == "verifier_errors"]
    assert stopped.value.paused and stopped.value.saved and len(said) == 1 and "line 7: KeyError" in said[0].text
    step = attempt.of(CheckpointSaved)[-1].step
    assert step == said[0].step and len(columns(attempt, "step")) == step
    monkeypatch.setattr(Colour, "broken", frozenset())
    done = Attempt(project, attempt.context.run_id, attempt.spec, number=2, stage=grpo.run).run()
    assert columns(done, "step")[-1] == 4 and made_by(project, done)


def test_problems_whose_answers_cannot_be_read_are_left_out_and_named(project):
    take(project, "some", [problem("What colour is the river?", "blue"), problem("What colour is the fog?", "fog"),
                           problem("And the apple?", "")])
    done = run_of(project, spec_of(project, title="some", rollouts=1, prompts=1)).run()
    assert any(e.code == "none_held_out" for e in done.of(Notice)) and not done.of(Evaluation)
    said = next(e for e in done.of(Notice) if e.code == "left_out_answers")
    assert "the fog" in said.text and "no colour" in said.text and "And the apple" in said.text and "river" not in said.text
    rows = rollouts.rows(layout.run(project.dir, done.context.run_id), 0)
    assert {row.prompt[-1].content for row in rows} == {"What colour is the river?"}
    assert not [e for e in done.of(Notice) if e.code == "differing_answers"]
    take(project, "none", [problem("What colour is the fog?", "fog")])
    with pytest.raises(InputError) as caught:
        run_of(project, spec_of(project, title="none")).run()
    assert caught.value.code == "no_answers"


def test_two_answers_to_one_problem_are_told(project):
    take(project, "both", [problem("What colour is the river?", "blue"), problem("What colour is the river?", "red")])
    done = run_of(project, spec_of(project, title="both", rollouts=1, prompts=1)).run()
    [said] = [e for e in done.of(Notice) if e.code == "differing_answers"]
    assert said.text.startswith("1 problem ") and {row.facts["answer"] for row in rollouts.rows(
        layout.run(project.dir, done.context.run_id), 0)} == {"blue"}


def test_what_is_held_out_is_measured_and_never_learned_from(project):
    kept = [problem(f"What colour is the {thing}?", COLOURS[0], held_out=n % 2 == 0) for n, thing in enumerate(THINGS)]
    one = take(project, "one", kept)
    take(project, "all", [problem(p.prompt[0].content, p.answer, held_out=True) for p in kept])
    done = run_of(project, spec_of(project, title="one", rollouts=2, prompts=len(THINGS) // 2, validation_prompts=3)).run()
    run = project.runs.get(done.context.run_id)
    asked = {row.prompt[-1].content for step in rollouts.steps(run.dir) for row in rollouts.rows(run.dir, step)}
    assert asked == {p.prompt[-1].content for p in kept if not p.held_out}
    facts = made_by(project, done).facts
    assert facts["prompts"] == one.count - one.held_out and facts["held_out"] == 3 and facts["sets"] == [
        {"id": one.id, "title": "one", "problems": one.count}]
    with pytest.raises(InputError) as caught:
        run_of(project, spec_of(project, title="all")).run()
    assert caught.value.code == "all_held_out"


def test_a_change_of_its_problems_makes_a_run_out_of_date(project):
    rows = [problem(f"What colour is the {thing}?", COLOURS[1]) for thing in THINGS[:4]]
    made = take(project, "mine", rows)
    run = project.runs.create(spec_of(project, title="mine"))
    library = project.library.problems
    take(project, "another", rows)
    assert taken_sets.changed(project.dir, [run]) == {}
    library.hold_out([rows[0].id], set_id=made.id)
    library.edit(rows[1].id, made.id, answer=COLOURS[2])
    library.remove([rows[2].id], set_id=made.id)
    [change] = taken_sets.changed(project.dir, [run])[run.id]
    assert (change.added, change.removed, change.edited) == (1, 2, 1)
    assert "1 problem came in, 2 were taken out or edited, 1 is held out" in taken_sets.change_words(change)
    for _ in range(3):
        library.undo()
    assert taken_sets.changed(project.dir, [run]) == {}
    library.delete_set(made.id)
    assert taken_sets.changed(project.dir, [run])[run.id][0].deleted


def test_what_is_paid_for_in_memory_and_time(project):
    config = grpo.Start.load(project, "model-2").config
    device = DeviceFacts(id="cpu", kind="cpu", title="CPU", memory_total=2**34, memory_free=2**34, threads=1)

    def load(**more):
        return plan.load_of(plan.settled(spec_of(project, **more), config), config, device, prompts=40, mean_prompt=10, longest_prompt=14)
    one = load()
    assert (one.steps, one.batch, one.units, one.seq_len, one.beside) == (4, 16, 16, 26, 0) and one.aside > 0
    assert load(preset="grpo").beside == memory.weights(config) and load(preset="grpo", method="lora").beside == 0
    assert load(passes=2, minibatches=2).steps == 16 and load(minibatches=2).batch == 8
    with pytest.raises(SettingError):
        plan.load_of(plan.settled(spec_of(project, prompts=1), config), config, device, prompts=4, mean_prompt=1, longest_prompt=2,
                     world_size=2)
    settled = plan.settled(spec_of(project, learning_rate=None, clip_high=0.5), config)
    assert settled.learning_rate == pytest.approx(learning_rate("full", 64) / 4) and (settled.clip_high, settled.clip_low) == (0.5, 0.2)
    assert settled.mean == "constant" and settled.compile == "off"


def test_a_fit_measures_rounds_and_leaves_nothing_behind(project):
    runs = len(project.runs.list())
    said = tuning_measure.measure(project, spec_of(project, rollouts=50), devices.choose("cpu"), prepared)
    assert said["measured"]["seconds"] > 40 * said["measured"]["step_seconds"] > 0 and said["plan"]["load"]["aside"] > 0
    assert len(project.runs.list()) == runs and not [p for p in layout.runs(project.dir).glob("*") if files.TEMPORARY in p.name]


@pytest.mark.parametrize(("more", "field"), [
    ({"verifier": ""}, "verifier"), ({"verifier": "{"}, "verifier"), ({"verifier": "[]"}, "verifier"), ({"verifier": "[1]"}, "verifier"),
    ({"verifier": '[{"name": "x", "weight": NaN}]'}, "verifier"), ({"verifier": '[{"name": "x", "wieght": 1}]'}, "verifier"),
    ({"verifier": '[{"name": "x", "settings": 3}]'}, "verifier"), ({"problem_sets": ()}, "problem_sets"),
    ({"minibatches": 3}, "minibatches")])
def test_settings_that_cannot_work_are_named(project, more, field):
    assert [problem.field for problem in spec_of(project, **more).problems()] == [field]
    assert not spec_of(project).problems()


def test_presets_fill_what_is_left_open_and_nothing_else():
    for id, preset in PRESETS.items():
        made = GrpoSpec(preset=id).filled()
        assert all(getattr(made, name) == value for name, value in preset.values.items()) and "arXiv" in preset.source
        assert GrpoSpec.check({"preset": id, **preset.values}).filled() == GrpoSpec(preset=id).filled()
        kept = GrpoSpec(preset=id, beta=0.7, resample=5, mean="token").filled()
        assert (kept.beta, kept.resample, kept.mean) == (0.7, 5, "token")


def context_of(project, verifier, **more):
    """Of a run that was just made with it."""
    spec = spec_of(project, verifier=verifier, **more)
    return Attempt(project, project.runs.create(spec).id, spec).context


def test_a_verifier_is_composed_of_parts_with_names_of_their_own(project):
    verifier = json.dumps([{"name": "number"}, {"name": "number", "title": "near", "weight": 0.5, "settings": {"tolerance": 3}},
                           {"name": "number", "title": "near", "weight": 0.25, "settings": {"tolerance": 3}}])
    with REALLY_OPENED(context_of(project, verifier)) as made:
        right, near, wrong = made.verifier.score([Attempted([], text, "12") for text in ("So 12.", "14", "no")])
    assert (right.score, near.score, wrong.score) == (1.75, 0.75, 0.0) and near.parts == {"number": 0.0, "near": 1.0, "near #2": 1.0}
    for parts in ([{"name": "nobody"}], [{"name": "number", "settings": {"size": 3}}]):
        with pytest.raises(SettingError), REALLY_OPENED(context_of(project, json.dumps(parts))):
            pass


SOURCE = "def verify(prompt, completion, answer):\n    return 1.0 if completion == answer else 1 / 0"


def test_a_run_keeps_the_verifier_it_was_made_with(project):
    held = project.library.verifiers
    one = held.create("Mine", "python", SOURCE)
    context = context_of(project, one.ref)
    kept = layout.input_file(context.run_dir, "verifier").read_bytes()
    held.save(one.id, SOURCE.replace("1.0", "0.5"))
    held.remove(one.id)
    with sqlite3.connect(layout.library_file(project.dir)) as db:
        db.execute("update verifier_versions set body = 'nothing' where number = 1 and verifier = ?", (int(one.id.partition("-")[2]),))
    assert layout.input_file(context.run_dir, "verifier").read_bytes() == kept
    try:
        with REALLY_OPENED(context) as made:
            right, wrong = made.verifier.score([Attempted([], "5", "5"), Attempted([], "6", "5")])
    except Missing as refused:
        pytest.skip(refused.sentence)
    assert right.score == 1 and wrong.score is None and wrong.line == 2 and "ZeroDivisionError" in wrong.message
    assert made.facts == {"ref": one.ref, "title": "Mine", "sha256": digest(SOURCE)} and made.device_bytes == 0


def test_a_source_nobody_trusts_makes_no_run_and_starts_none(project, tmp_path, monkeypatch):
    runs = len(project.runs.list())
    with pytest.raises(SettingError) as told:
        context_of(project, json.dumps([{"name": "python", "settings": {"source": SOURCE + "  # from elsewhere"}}]))
    assert told.value.code == "untrusted_verifier" and told.value.field == "verifier" and len(project.runs.list()) == runs
    context = context_of(project, project.library.verifiers.create("Mine", "python", SOURCE).ref)
    with monkeypatch.context() as other:
        other.setenv("FLEDGE_HOME", str(tmp_path))
        with pytest.raises(SettingError) as told, REALLY_OPENED(context):
            pass
        assert told.value.code == "untrusted_verifier", "a run that somebody else made"
    path = layout.input_file(context.run_dir, "verifier")
    changed = json.loads(path.read_text())
    changed["composition"]["parts"][0]["settings"]["source"] += "\n# changed"
    path.write_text(json.dumps(changed))
    with pytest.raises(Corrupt), REALLY_OPENED(context):
        pass
    path.unlink()
    with pytest.raises(Corrupt), REALLY_OPENED(context):
        pass


def reward_model(project):
    """One that means nothing, with the words of the model that is trained."""
    folder = project.artifacts.get("model-2").path
    decoder = load_model(folder)
    with project.artifacts.create("reward_model", title="taste") as made:
        save_reward(made.path, RewardModel(decoder, RewardHead(decoder.config.hidden_size, 1)), RewardFacts(mean=0.1, std=0.5))
        Tokenizer.load(folder).save(made.path)
        return made.finish(), sum(p.nbytes for p in (*decoder.parameters(), RewardHead(decoder.config.hidden_size).weight))


def test_a_reward_model_verifies_and_is_paid_for(project, monkeypatch):
    monkeypatch.setattr(verifying, "opened", REALLY_OPENED)
    monkeypatch.setattr(verifying, "until_the_end", REALLY_UNTIL)
    made, held = reward_model(project)
    parts = json.dumps({"parts": [{"name": "reward_model", "title": "taste", "settings": {"model": made.id}},
                                  {"name": "length", "weight": 0.5, "settings": {"most": 6}}]})
    spec = spec_of(project, verifier=parts, rollouts=2)
    done = run_of(project, spec).run()
    artifact = made_by(project, done)
    assert made.id in artifact.parents and artifact.facts["verifier_bytes"] == held > 10_000
    assert project.runs.get(done.context.run_id).inputs[f"verifier:{made.id}"] == made.id
    assert made.id in next(node.parents for node in lineage.read(project).nodes.values() if node.id.startswith(f"{done.context.run_id}@"))
    assert artifact.facts["verifier"]["title"] == "" and len(artifact.facts["verifier"]["sha256"]) == 64
    rows = list(rollouts.rows(layout.run(project.dir, done.context.run_id), 0))
    assert all(row.parts.keys() == {"taste", "length"} and 0 < row.parts["taste"] < 1 for row in rows)
    assert len({row.parts["taste"] for row in rows}) > 1
    said = tuning_measure.measure(project, spec, devices.choose("cpu"), prepared)
    plain = tuning_measure.measure(project, spec_of(project, verifier='[{"name": "length"}]', rollouts=2), devices.choose("cpu"), prepared)
    assert said["plan"]["load"]["beside"] - plain["plan"]["load"]["beside"] == held and said["facts"]["verifier_bytes"] == held


def test_a_run_pauses_while_its_judge_is_away(project, monkeypatch):
    monkeypatch.setattr(verifying, "opened", REALLY_OPENED)
    monkeypatch.setattr(judge, "PATIENCE", 0.3)
    away = threading.Event()

    def script(n, body):
        if n >= 8 and not away.is_set():
            return "status", 503, {}, "overloaded"
        return json.dumps({"rationale": "so", "score": 1 + int(hashlib.sha256(str(body["messages"]).encode()).hexdigest(), 16) % 10})

    with hostile(script) as server:
        one = project.library.verifiers.create("Judge", "parts", json.dumps([{"name": "judge", "settings": {"model": server.name}}]))
        attempt = run_of(project, spec_of(project, verifier=one.ref, rollouts=4, prompts=2, num_generations=2, validation_prompts=0))
        with pytest.raises(Stopped) as stopped:
            attempt.run()
        said = [e for e in attempt.of(Notice) if e.code == "verifier_away"]
        assert stopped.value.paused and stopped.value.saved and len(said) == 1 and "cannot be reached" in said[0].text
        assert attempt.of(CheckpointSaved)[-1].step == said[0].step == 2 and columns(attempt, "step") == [1, 2]
        assert all(e == 0 for e in columns(attempt, "verifier_errors")), "nobody was scored for it"
        away.set()
        done = Attempt(project, attempt.context.run_id, attempt.spec, number=2, stage=grpo.run).run()
    made = made_by(project, done)
    assert columns(done, "step") == [3, 4] and made.facts["verifier"]["ref"] == one.ref
    for id in (made.id, f"{attempt.context.run_id}@2"):
        card = model_card(project, resolve(project, id), grpo.Start.load(project, made.id).config)
        assert f"  - Verifier *Judge* (`{one.ref}`, SHA-256 `{made.facts['verifier']['sha256']}`)" in card


@pytest.mark.parametrize("gone", ["before the first step", "on the way", "after the last"])
def test_a_judge_that_is_away_while_problems_are_measured_costs_nothing(gone, project, monkeypatch):
    monkeypatch.setattr(verifying, "opened", REALLY_OPENED)
    monkeypatch.setattr(judge, "PATIENCE", 0.3)
    last = {"before the first step": 0, "on the way": 4 + 4, "after the last": 4 + 4 + 4 + 4}[gone]
    back = threading.Event()

    def script(n, body):
        if n >= last and not back.is_set():
            return "status", 503, {}, "overloaded"
        return json.dumps({"rationale": "so", "score": 1 + int(hashlib.sha256(str(body["messages"]).encode()).hexdigest(), 16) % 10})

    with hostile(script) as server:
        one = project.library.verifiers.create("Judge", "parts", json.dumps([{"name": "judge", "settings": {"model": server.name}}]))
        attempt = run_of(project, spec_of(project, verifier=one.ref, rollouts=2, prompts=2, num_generations=2, validation_prompts=4,
                                          eval_every=1))
        if gone != "after the last":
            with pytest.raises(Stopped) as stopped:
                attempt.run()
            assert stopped.value.paused and stopped.value.saved
            back.set()
            done = Attempt(project, attempt.context.run_id, attempt.spec, number=2, stage=grpo.run).run()
        else:
            done = attempt.run()
    said = [e for e in attempt.of(Notice) if e.code == "verifier_away"]
    assert len(said) == 1 and "cannot be reached" in said[0].text
    facts = made_by(project, done).facts
    assert facts["pass_at_1_before"] is not None and (facts["pass_at_1_after"] is None) == (gone == "after the last")
    assert columns(attempt, "step") + (columns(done, "step") if done is not attempt else []) == [1, 2]


def test_a_model_without_a_chat_template_is_refused(project, tmp_path):
    from engine.project.project import Project
    copy = tmp_path / "copy"
    shutil.copytree(project.dir, copy)
    other = Project.open(copy)
    folder = other.artifacts.get("model-2").path
    tokenizer = Tokenizer.load(folder)
    plain = {name: value for name, value in tokenizer.config.items() if name != "chat_template"}
    Tokenizer(tokenizer.record.replace("<|assistant|>", "<|helper|>"), plain).save(folder)
    with pytest.raises(Mismatch):
        run_of(other, spec_of(other)).run()


TWO = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from engine.contract.context import RunContext
from engine.stages.grpo import run as grpo, verifying
from engine.stages.grpo.spec import GrpoSpec
from engine.project import files, layout
from engine.verifiers.api import Verdict

class Colour:
    def __enter__(self):
        return verifying.Opened(self)
    def __exit__(self, *wrong):
        pass
    def score(self, attempts, check=None):
        return [Verdict(float(f" is {a.answer}" in a.completion), {}) for a in attempts]
    def check_answers(self, answers):
        return [""] * len(answers)

verifying.opened = lambda context: Colour()
project_dir, run_id, rank = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
run_dir = layout.run(project_dir, run_id)
spec = GrpoSpec.check(files.read_json(layout.spec_file(run_dir))["spec"])
kept = []
grpo.run(spec, RunContext(run_dir=run_dir, project_dir=project_dir, run_id=run_id, seed=spec.seed, rank=rank, world_size=2,
                          emitter=lambda event: kept.append(event) if rank == 0 else None))
for name in ("reward", "frac_reward_zero_std", "loss", "grad_norm"):
    print(name, [v for e in kept if type(e).__name__ == "Metrics" for v in e.columns[name]])
"""


def test_two_processes_share_the_groups(project, tmp_path):
    spec = spec_of(project, rollouts=2, prompts=5, scale="batch", temperature=2.0, resample=1, seed=1)
    run = project.runs.create(spec)
    script = tmp_path / "two.py"
    script.write_text(TWO)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = [subprocess.Popen([sys.executable, str(script), str(project.dir), run.id, str(rank)], text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, cwd=Path(__file__).parents[3],
                                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "MASTER_ADDR": "127.0.0.1",
                                     "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": "2", "OMP_WAIT_POLICY": "PASSIVE"})
               for rank in range(2)]
    told = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0, 0], told
    said = {line.partition(" ")[0]: json.loads(line.partition(" ")[2]) for line in told[0][0].splitlines() if "[" in line}
    rows = list(rollouts.rows(layout.run(project.dir, run.id), 0))
    first = [row for row in rows if row.facts["group"] < 5]
    alone = run_of(project, spec_of(project, rollouts=1, prompts=5, scale="batch", temperature=2.0, seed=1)).run()
    other = list(rollouts.rows(layout.run(project.dir, alone.context.run_id), 0))
    assert len(other) == 20 and sorted(r.completion for r in other) == sorted(r.completion for r in first)
    assert len(said["reward"]) == 2 and said["reward"][0] == pytest.approx(sum(r.reward for r in rows) / len(rows), abs=1e-6)
    learned = [row for row in rows if "left_out" not in row.facts]
    assert learned
    spread = torch.tensor([r.reward for r in learned]).std().item()
    for row in learned:
        mean = [r.reward for r in learned if r.facts["group"] == row.facts["group"]]
        assert row.facts["advantage"] == pytest.approx((row.reward - sum(mean) / len(mean)) / (spread + 1e-4), abs=1e-4)
