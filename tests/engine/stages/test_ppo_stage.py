"""PPO from a model that answers and a reward model to a model that scores higher: what it learns, what is written, what a resume gives."""

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_sft import COLOURS, FORMS, THINGS, add, attempt_of, make_project, talk
from test_sft import spec_of as sft_spec

from engine.contract.errors import InputError, Mismatch, NotFound, SettingError, Stopped
from engine.contract.events import CheckpointSaved, Evaluation, Metrics, Notice, Resumed, Sample
from engine.contract.machine import DeviceFacts
from engine.model import memory
from engine.model.checkpoint import load_model
from engine.model.reward_model import RewardFacts, RewardHead, RewardModel, save_reward
from engine.model.scorer import Scorer, end_to_end
from engine.project import files, layout, rollouts
from engine.project.models import resolve_reward
from engine.project.project import Project
from engine.stages.ppo import plan
from engine.stages.ppo import run as ppo
from engine.stages.ppo.measure import prepared
from engine.stages.ppo.spec import PpoSpec
from engine.text.tokenizer import Tokenizer
from engine.training import devices, tuning, tuning_measure
from engine.training.ranks import Ranks
from engine.training.tuning_plan import learning_rate, resolve
from tests.attempts import Attempt, made_by, one_thread  # noqa: F401

COLUMNS = {"loss", "reward", "reward_std", "kl", "kl_coef", "policy_loss", "value_loss", "entropy", "clip_share", "explained_variance",
           "length", "ended", "approx_kl", "sampler_gap"}


class Taste:
    """Stands for a reward model in tests: it likes one colour."""

    def __init__(self, *given):
        pass

    def score(self, conversations):
        return [float(" is green" in messages[-1].content) for messages in conversations]

    def normalised(self, rewards):
        return [2 * reward - 1 for reward in rewards]


def add_reward(project, model):
    """A reward model that likes green: the model under a head fitted to answers of all colours."""
    decoder, tokenizer = load_model(model.path), Tokenizer.load(model.path)
    reward = RewardModel(decoder, RewardHead(decoder.config.hidden_size))
    scorer = Scorer.of(reward, tokenizer, RewardFacts())
    said = [(talk(form.format(thing), f"The {thing} is {colour}.").messages, float(colour == "green"))
            for form in FORMS[:2] for thing in THINGS for colour in COLOURS]
    tokens_BT, ends_N, documents = end_to_end([scorer.ids(messages) for messages, _ in said])
    with torch.no_grad():
        hidden_NC, wanted_N = reward.hidden(tokens_BT, ends_N, documents), torch.tensor([liked for _, liked in said])
        ridge_CC = hidden_NC.T @ hidden_NC + 0.1 * torch.eye(hidden_NC.shape[1])
        reward.head.weight.copy_(torch.linalg.solve(ridge_CC, hidden_NC.T @ wanted_N)[None])
    rewards = torch.tensor(scorer.score([messages for messages, _ in said]))
    with project.artifacts.create("reward_model", title="taste", parents=(model.id,)) as made:
        save_reward(made.path, reward, RewardFacts(rewards.mean().item(), rewards.std().item()))
        tokenizer.save(made.path)
        return made.finish()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    torch.set_num_threads(1)
    project = make_project(tmp_path_factory.mktemp("projects") / "p")
    tuned = attempt_of(project, sft_spec(project, epochs=20)).run()
    add_reward(project, made_by(project, tuned))
    return project


def spec_of(project, **more):
    sets = tuple(s.id for s in project.library.examples.sets() if s.title == "questions")
    return PpoSpec(**{"model": "model-2", "reward": "reward_model-1", "examples": sets, "rollouts": 12, "batch_size": 32,
                      "max_new_tokens": 12, "dtype": "float32", "checkpoint_every_minutes": 0, "validation_percent": 20,
                      "sample_tokens": 8, "learning_rate": 5e-4, **more})


def run_of(project, spec, **more):
    return Attempt(project, project.runs.create(spec).id, spec, stage=ppo.run, **more)


def columns(attempt, name):
    return [value for e in attempt.of(Metrics) for value in e.columns[name]]


@pytest.fixture(scope="module")
def liked(project):
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ppo, "Scorer", Taste)
        return run_of(project, spec_of(project)).run()


def test_what_is_liked_becomes_likely_and_the_reference_holds(project, liked):
    rewards, kl = columns(liked, "reward"), columns(liked, "kl")
    assert sum(rewards[:4]) / 4 < -0.3 and sum(rewards[-4:]) / 4 > 0.5, rewards
    assert kl[0] == pytest.approx(0, abs=1e-4) and 0.3 < max(kl) < 8
    facts = made_by(project, liked).facts
    assert facts["val_reward_after"] > facts["val_reward_before"] + 0.5 and facts["kl"] > 0.2 and facts["chat"] is True
    said = {e.step: [s.text for s in liked.of(Sample) if s.step == e.step] for e in liked.of(Sample)}
    assert sum("green" in text for text in said[max(said)]) > sum("green" in text for text in said[0])


def test_measures_have_the_names_that_charts_and_doctor_rely_on(liked):
    assert len(columns(liked, "step")) == 24
    for event in liked.of(Metrics):
        assert event.columns.keys() >= COLUMNS
    first = {name: columns(liked, name)[0] for name in COLUMNS}
    assert first["policy_loss"] == pytest.approx(0, abs=1e-5) and first["approx_kl"] == pytest.approx(0, abs=1e-8)
    assert first["clip_share"] == 0 and first["sampler_gap"] < 1e-4 and first["kl_coef"] == pytest.approx(0.05)
    assert all(0 < value < 6.1 for value in columns(liked, "entropy")) and all(0 <= value <= 1 for value in columns(liked, "ended"))
    for event in liked.of(Evaluation):
        assert event.values["val_loss"] == -event.values["val_reward"] and event.values.keys() >= {"val_kl", "val_length"}


def test_rollouts_lie_beside_the_run_with_their_rewards(project, liked):
    run_dir = layout.run(project.dir, liked.context.run_id)
    assert rollouts.steps(run_dir) == list(range(0, 24, 2))
    for step in (0, 22):
        rows = list(rollouts.rows(run_dir, step))
        assert len(rows) == 32 and all(row.step == step and row.prompt[-1].role == "user" for row in rows)
        assert sum(row.reward for row in rows) / 32 == pytest.approx(columns(liked, "reward")[step], abs=1e-5)
        assert sum(row.facts["kl"] for row in rows) / 32 == pytest.approx(columns(liked, "kl")[step], abs=1e-5)
        for row in rows:
            assert sum(row.parts.values()) == pytest.approx(row.reward)
            assert (" is green" in row.completion) == (row.parts["score"] == 1)
            assert (row.facts["finish"] == "length") == ("no_end" in row.parts)


@pytest.mark.parametrize("more", [{"kl_target": 0.5, "kl_horizon": 200},
                                  {"method": "lora", "lora_rank": 4, "minibatches": 2, "ppo_epochs": 1},
                                  {"value": "separate", "entropy_weight": 0.01, "whiten_rewards": True},
                                  {"method": "lora", "value": "separate", "lora_rank": 2}])
def test_paused_and_resumed_ends_with_the_same_model(project, more):
    spec = spec_of(project, rollouts=4, batch_size=8, checkpoint_every_steps=2, **more)
    straight = run_of(project, spec).run()
    first = run_of(project, spec, commands={4: "pause"})
    with pytest.raises(Stopped):
        first.run()
    run_dir = layout.run(project.dir, first.context.run_id)
    shutil.copyfile(layout.rollouts(run_dir) / "step-00000002.jsonl", layout.rollouts(run_dir) / "step-00000006.jsonl")  # of a lost round
    second = Attempt(project, first.context.run_id, spec, number=2, stage=ppo.run).run()
    assert second.of(Resumed)[0].step == 4
    one, two = made_by(project, straight), made_by(project, second)
    assert one.files["model.safetensors"]["sha256"] == two.files["model.safetensors"]["sha256"]
    for name in ("loss", "kl_coef", "reward", "value_loss"):
        assert columns(first, name) + columns(second, name) == columns(straight, name), name
    other = layout.run(project.dir, straight.context.run_id)
    for step in rollouts.steps(other):
        ours = [row.completion for row in rollouts.rows(run_dir, step)]
        assert ours == [row.completion for row in rollouts.rows(other, step)]
    assert {c.step for c in second.of(CheckpointSaved)} <= {4, 6, 8}


def test_the_coefficient_follows_its_target(project):
    done = run_of(project, spec_of(project, rollouts=4, batch_size=16, kl_target=0.001, kl_horizon=64)).run()
    values = columns(done, "kl_coef")
    assert values[0] == values[1] == pytest.approx(0.05) and values[2] == pytest.approx(0.05 * (1 - 0.2 * 16 / 64))
    assert values[-1] > values[2]                    # the policy has moved away by then


def test_a_run_ends_where_the_policy_has_moved_too_far(project):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ppo, "Scorer", Taste)
        done = run_of(project, spec_of(project, kl_stop=0.1, kl_coef=0.0, learning_rate=2e-3, keep_best=False)).run()
    steps = columns(done, "step")
    assert 2 <= steps[-1] < 24 and steps[-1] % 2 == 0 and [n.code for n in done.of(Notice)].count("kl_stop") == 1
    assert max(columns(done, "kl")) <= 0.1 and made_by(project, done).facts["steps"] == steps[-1]


def test_answers_that_are_cut_pay_for_it(project):
    done = run_of(project, spec_of(project, rollouts=1, max_new_tokens=2, missing_end=-3.0)).run()
    run_dir = layout.run(project.dir, done.context.run_id)
    rows = list(rollouts.rows(run_dir, 0))
    assert columns(done, "ended")[0] == 0 and all(row.parts["no_end"] == -3 and row.facts["tokens"] == 2 for row in rows)


def test_the_reward_of_a_real_reward_model_rises(project):
    done = run_of(project, spec_of(project, seed=3)).run()
    rewards = columns(done, "reward")
    assert sum(rewards[-4:]) / 4 > sum(rewards[:4]) / 4 + 0.7, rewards


def test_prompts_of_examples_end_before_the_last_answer_and_come_once(project):
    add(project, "talks", [talk("Hello?", "Hi.", "What colour is the river?", "Blue."), talk("No answer yet?"),
                           talk("Hello?", "Hi.", "What colour is the river?", "Red.")])
    sets = tuple(s.id for s in project.library.examples.sets() if s.title == "talks")
    done = run_of(project, spec_of(project, examples=sets, rollouts=1, batch_size=4, validation_percent=0)).run()
    rows = list(rollouts.rows(layout.run(project.dir, done.context.run_id), 0))
    asked = {tuple(m.content for m in row.prompt) for row in rows}
    assert asked == {("Hello?", "Hi.", "What colour is the river?"), ("No answer yet?",)} and done.facts()["prompts"] == 2
    assert not done.of(Evaluation)


@pytest.mark.parametrize(("more", "error"), [({"model": "model-999"}, NotFound), ({"reward": "model-2"}, InputError),
                                             ({"reward": "reward_model-7"}, NotFound)])
def test_what_is_not_there_is_refused_by_name(project, more, error):
    with pytest.raises(error):
        run_of(project, spec_of(project, **more)).run()


def test_prompts_that_leave_no_room_are_refused(project):
    add(project, "long", [talk("What colour is the brick? " * 30, "Red.")])
    sets = tuple(s.id for s in project.library.examples.sets() if s.title == "long")
    with pytest.raises(InputError) as caught:
        run_of(project, spec_of(project, examples=sets)).run()
    assert caught.value.code == "no_prompts"


def test_a_model_without_a_chat_template_is_refused(project, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(project.dir, copy)
    other = Project.open(copy)
    folder = other.artifacts.get("model-2").path
    tokenizer = Tokenizer.load(folder)
    plain = {name: value for name, value in tokenizer.config.items() if name != "chat_template"}
    Tokenizer(tokenizer.record.replace("<|assistant|>", "<|helper|>"), plain).save(folder)
    with pytest.raises(Mismatch) as caught:
        run_of(other, spec_of(other)).run()
    assert caught.value.code == "no_template"


def test_four_models_are_counted_and_what_is_shared_is_not(project):
    config = load_model(project.artifacts.get("model-2").path).config
    device = DeviceFacts(id="cpu", kind="cpu", title="CPU", memory_total=2**34, memory_free=2**34, threads=1)

    def beside(**more):
        return plan.beside(spec_of(project, **more), config, config, device, batch=32, longest=40)
    weights = memory.weights(config)
    assert beside() == 2 * weights                        # reference and reward model
    assert beside(method="lora") == weights               # the reference is the base
    assert beside(value="separate") > 2 * weights + 4 * weights and beside(method="lora", value="separate") < beside(value="separate")
    half = replace(device, dtypes=("bfloat16", "float32"))
    assert plan.beside(spec_of(project, dtype="auto"), config, config, half, batch=32, longest=40) == weights
    load = plan.load_of(spec_of(project, minibatches=2), config, config, device, prompts=50, mean_prompt=10, longest_prompt=14)
    assert (load.steps, load.batch, load.units, load.seq_len) == (12 * 4, 16, 16, 26) and load.aside > 0 and load.beside > 0
    with pytest.raises(SettingError):
        plan.load_of(spec_of(project, batch_size=4, minibatches=4), config, config, device, prompts=50, mean_prompt=10, longest_prompt=14,
                     world_size=2)
    asked = plan.settled(spec_of(project, rollouts=20, learning_rate=None), config)
    assert asked.compile == "off" and asked.eval_every == 8 and asked.learning_rate == pytest.approx(learning_rate("full", 64) / 6)


def test_a_fit_measures_rounds_and_leaves_nothing_behind(project):
    runs = len(project.runs.list())
    facts = devices.choose("cpu")
    spec = spec_of(project, rollouts=50)
    said = tuning_measure.measure(project, spec, facts, prepared)
    measured = said["measured"]
    assert measured["seconds"] > 100 * measured["step_seconds"] > 0 and measured["evaluation_seconds"] > 0
    assert said["formula"]["memory"] > 0 and said["plan"]["load"]["aside"] > 0 and said["facts"]["answers"] == 32
    assert len(project.runs.list()) == runs and not [p for p in layout.runs(project.dir).glob("*") if files.TEMPORARY in p.name]


def test_a_value_model_begins_with_what_the_reward_model_says(project):
    """At the state behind an answer's end its value would be the score."""
    start = tuning.Start.load(project, "model-2")
    spec, config = spec_of(project, value="separate"), start.config
    facts = devices.choose("cpu")
    load = plan.load_of(spec, config, config, facts, prompts=50, mean_prompt=10, longest_prompt=14)
    context = run_of(project, spec).context
    reward = resolve_reward(project, "reward_model-1")
    tuner = tuning.Tuner(spec, resolve(plan.settled(spec, config), config, load, facts), start, facts, context, Ranks(0, 1, "cpu"))
    head = ppo.value_head(spec, tuner, reward, torch.float32)
    scorer = Scorer(reward.folder)
    said = [talk("What colour is the river?", f"The river is {colour}.").messages for colour in COLOURS]
    tokens_BT, ends_N, documents = end_to_end([scorer.ids(messages) for messages in said])
    with torch.no_grad():
        values_N = head(scorer.model.hidden(tokens_BT, ends_N, documents))
        assert torch.equal(head.decoder.embed.weight, scorer.model.decoder.embed.weight)
    assert values_N.tolist() == pytest.approx(ppo.Normalised(scorer).score(said), abs=1e-4)


def test_an_answer_without_words_has_a_score_too():
    class Strict(Taste):
        def score(self, conversations):
            if any(not messages[-1].content for messages in conversations):
                raise InputError("nothing", "", code="no_answer")
            return super().score(conversations)
    said = [talk("Colour?", text).messages for text in ("It is green.", "", "It is red.")]
    assert ppo.Normalised(Taste()).score(said) == [1, -1, -1] and ppo.Normalised(Strict()).score(said) == [1, ppo.NOTHING, -1]


TWO = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from engine.contract.context import RunContext
from engine.project.project import Project
from engine.stages.ppo.run import run
from engine.stages.ppo.spec import PpoSpec
from engine.project import files, layout
project_dir, run_id, rank = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
run_dir = layout.run(project_dir, run_id)
spec = PpoSpec.check(files.read_json(layout.spec_file(run_dir))["spec"])
kept = []
run(spec, RunContext(run_dir=run_dir, project_dir=project_dir, run_id=run_id, seed=spec.seed, rank=rank, world_size=2,
                     emitter=lambda event: kept.append(event) if rank == 0 else None))
print("rewards", [v for e in kept if type(e).__name__ == "Metrics" for v in e.columns["reward"]])
"""


def test_two_processes_share_the_rounds(project, tmp_path):
    spec = spec_of(project, rollouts=3, batch_size=10, minibatches=1, kl_target=0.5)
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
    alone = run_of(project, spec).run()
    rewards = json.loads(told[0][0].splitlines()[-1].removeprefix("rewards "))
    assert rewards[:2] == pytest.approx(columns(alone, "reward")[:2], abs=1e-5) and len(rewards) == 6
    rows = list(rollouts.rows(layout.run(project.dir, run.id), 0))
    other = list(rollouts.rows(layout.run(project.dir, alone.context.run_id), 0))
    assert sorted(row.completion for row in rows) == sorted(row.completion for row in other) and len(rows) == 10
