"""A reward model learns a simulated annotator's taste; what is written, what is refused, what a resume gives, what it is unsure of."""

import json
import math
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from engine.contract.errors import InputError, NotFound, SettingError, Stopped
from engine.contract.events import CheckpointSaved, Evaluation, Metrics, Notice
from engine.contract.rows import Answer, Message, Pair, pair_id
from engine.model.checkpoint import save_weights
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.model.scorer import Scorer
from engine.project import layout
from engine.project.ingest import ingest_run
from engine.project.models import list_models, list_reward_models, resolve_reward
from engine.project.project import Project
from engine.stages.reward.run import run
from engine.stages.reward.spec import RewardSpec
from engine.text import bpe, specials
from engine.text.tokenizer import Tokenizer
from tests.attempts import Attempt, made_by, one_thread  # noqa: F401

THINGS = "apple brick cloud dress eagle fence grape horse island jacket kettle ladder mirror needle orange pencil quilt river".split()


def taste(number, best="first", **facts):
    """The simulated annotator likes answers that say thanks; which of the two does is drawn."""
    draw = random.Random(number)
    prompt = (Message(role="user", content=f"Tell me of the {draw.choice(THINGS)} and the {draw.choice(THINGS)} {number % 50}."),)
    words = [draw.choices(THINGS, k=draw.randint(3, 7)) for _ in range(2)]
    words[0].insert(draw.randint(0, len(words[0])), "thanks")
    first, second = (" ".join(some) for some in words)
    sides, best = ((first, second), best) if number % 2 else ((second, first), {"first": "second"}.get(best, best))
    said = {"best": best, "by": ("ann", "bob")[number % 2], "strength": 1 + number % 3, **facts} if best else {}
    return Pair(id=pair_id(prompt, *sides), prompt=prompt, first=Answer(text=sides[0]), second=Answer(text=sides[1]), facts=said)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    torch.set_num_threads(1)
    made = Project.create(tmp_path_factory.mktemp("reward") / "p")
    tokenizer = bpe.train([f"thanks {' '.join(random.Random(n).sample(THINGS, 8))}. Tell me of the {n}." for n in range(200)], 420,
                          special=specials.SPECIAL_TOKENS)
    add_model(made, tokenizer)
    bare = Tokenizer(bpe.train([" ".join(THINGS)] * 20, 330, special=("<|end_of_text|>",)).record, {"eos_token": "<|end_of_text|>",
                                                                                                   "chat_template": ""})
    if not bare.chat_template:
        add_model(made, bare)
    pairs = made.library.pairs
    pairs.create_set("taste")
    pairs.add("pair-set-1", [taste(n) for n in range(600)] +
              [taste(n, "tie") for n in range(600, 620)] + [taste(n, "bad") for n in (700, 701)])
    pairs.create_set("little")
    pairs.add("pair-set-2", [taste(n) for n in range(2000, 2040)] + [taste(n, "") for n in range(3000, 3030)])
    pairs.create_set("unlabelled")
    pairs.add("pair-set-3", [taste(n, "") for n in range(4000, 4010)])
    return made


def add_model(project, tokenizer):
    config = ModelConfig(vocab_size=tokenizer.vocab_size, hidden_size=32, num_layers=2, num_heads=2, num_kv_heads=2, head_dim=16,
                         intermediate_size=64, max_seq_len=96, tie_embeddings=True)
    with project.artifacts.create("model", title="small") as made:
        save_weights(made.path, Decoder(config, seed=3))
        tokenizer.save(made.path)
        made.finish(steps=0)


def spec_of(**more):
    return RewardSpec(**{"model": "model-1", "pairs": ("pair-set-1",), "compile": "off", "dtype": "float32", "epochs": 6.0,
                         "batch_size": 16, "learning_rate": 4e-3, "score_unlabelled": False, "learning_curve": False,
                         "validation_percent": 20.0, **more})


def little(**more):
    return spec_of(**{"pairs": ("pair-set-2",), "epochs": 2.0, "batch_size": 8, "eval_every": 3, "checkpoint_every_steps": 2, **more})


def attempt(project, spec, **more):
    return Attempt(project, project.runs.create(spec).id, spec, stage=run, **more)


@pytest.fixture(scope="module")
def learned(project):
    return attempt(project, spec_of(learning_curve=True)).run()


def report_of(project, made):
    return json.loads((made_by(project, made).path / "report.json").read_text())


def test_a_simulated_annotators_taste_is_learned(project, learned):
    made = made_by(project, learned)
    assert made.kind == "reward_model" and made.parents[0] == "model-1" and made.title == "small, reward model"
    assert made.facts["accuracy"] >= 0.95 and made.facts["accuracy_low"] > 0.85 and made.facts["accuracy_before"] < 0.8
    scorer = Scorer(made.path)
    ask = Message(role="user", content="Tell me of the river and the fence 3.")
    better, worse = scorer.score([(ask, Message(role="assistant", content=text)) for text in ("apple thanks brick", "apple quilt brick")])
    assert better > worse + 1
    assert abs(scorer.normalised([better])[0]) < 4 and scorer.facts.std > 0.3
    columns = [e.columns for e in learned.of(Metrics)]
    assert {"loss", "accuracy", "margin", "chosen_reward", "rejected_reward"} <= set(columns[0])
    assert columns[-1]["accuracy"][0] > columns[0]["accuracy"][0] and columns[-1]["margin"][0] > 1
    values = [e.values for e in learned.of(Evaluation)]
    assert values[0]["val_loss"] == pytest.approx(math.log(2), abs=0.1) and values[-1]["val_accuracy"] >= 0.95


def test_the_report_tells_of_accuracy_calibration_length_and_pairs_to_look_at(project, learned):
    told, facts = report_of(project, learned), made_by(project, learned).facts
    accuracy = told["accuracy"]
    assert accuracy["count"] + accuracy["ties"] == told["held_out"] == facts["held_out"]
    assert sum(one["count"] for one in accuracy["by_strength"].values()) == accuracy["count"]
    assert set(accuracy["by_annotator"]) == {"ann", "bob"} and accuracy["low"] < accuracy["share"] <= 1
    assert sum(one["count"] for one in told["calibration"]["bins"]) == accuracy["count"] and told["calibration"]["error"] < 0.2
    assert -1 <= told["length"]["all"]["spearman"] <= 1 and told["length"]["longer_wins"]["people"]["share"] > 0.5
    assert sum(told["histogram"]["chosen"]) == accuracy["count"]
    best = told["shown"]["best"][0]
    assert "thanks" in best["chosen"] and best["chosen_reward"] > best["rejected_reward"] and best["prompt"][0]["role"] == "user"
    assert all(one["chosen_reward"] < one["rejected_reward"] for one in told["shown"]["worst"])
    curve = told["curve"]
    assert [p["labels"] for p in curve["points"]] == sorted(p["labels"] for p in curve["points"]) and curve["labels"] == 600
    assert curve["points"][-1]["accuracy"] > 0.6 and curve["low"] <= curve["gain"] <= curve["high"] and facts["gain"] == curve["gain"]
    assert facts["ties"] == 20 and facts["left_out"] == 2  # both bad


def test_reward_models_are_listed_by_themselves_and_their_checkpoints_score(project, learned):
    made = made_by(project, learned)
    ids = [m.id for m in list_reward_models(project)]
    assert made.id in ids and f"{learned.context.run_id}@0" not in [m.id for m in list_models(project)]
    assert not {m.id for m in list_models(project)} & set(ids)
    step = learned.of(CheckpointSaved)[-1].step
    at_step = resolve_reward(project, f"{learned.context.run_id}@{step}")
    talk = (Message(role="user", content="x"), Message(role="assistant", content="thanks"))
    assert math.isfinite(Scorer(at_step.folder).score([talk])[0])
    with pytest.raises(InputError, match="model-1 is a model that writes"):
        resolve_reward(project, "model-1")
    with pytest.raises(NotFound, match="no reward model called reward_model-99"):
        resolve_reward(project, "reward_model-99")


@pytest.mark.parametrize("method", ["full", "lora"])
def test_stopped_and_resumed_it_becomes_the_same_model(method, project):
    spec = little(method=method, learning_rate=None, margin=0.2, label_smoothing=0.05)
    whole = attempt(project, spec).run()
    stopped = attempt(project, spec, commands={5: "stop_save"})
    with pytest.raises(Stopped):
        stopped.run()
    resumed = Attempt(project, stopped.context.run_id, spec, number=2, stage=run).run()
    losses = {**stopped.losses(), **resumed.losses()}
    assert losses == whole.losses() and len(resumed.losses()) < len(losses)
    one, other = (made_by(project, a).path for a in (whole, resumed))
    for name in ("model.safetensors", "head.safetensors"):
        a, b = load_file(one / name), load_file(other / name)
        assert all(torch.equal(a[key], b[key]) for key in a)
    assert (one / "reward.json").read_text() == (other / "reward.json").read_text()


def test_lora_keeps_an_adapter_and_a_head_in_checkpoints_and_merges_at_the_end(project):
    made = attempt(project, little(method="lora", learning_rate=1e-2, epochs=8.0)).run()
    step = made.of(CheckpointSaved)[-1].step
    kept = {p.name for p in layout.checkpoint(layout.run(project.dir, made.context.run_id), step).iterdir()}
    assert {"adapter.safetensors", "head.safetensors"} <= kept and "model.safetensors" not in kept
    folder = made_by(project, made).path
    assert {"model.safetensors", "head.safetensors", "reward.json", "report.json"} <= {p.name for p in folder.iterdir()}
    talk = (Message(role="user", content="x"), Message(role="assistant", content="thanks"))
    best = made_by(project, made).facts["step"]
    at_step = resolve_reward(project, f"{made.context.run_id}@{best}")
    assert Scorer(folder).score([talk]) == pytest.approx(Scorer(at_step.folder).score([talk]), abs=1e-4)


def test_pairs_that_nobody_labelled_are_scored_and_reach_the_library(project):
    made = attempt(project, little(pairs=("pair-set-2", "pair-set-3"), score_unlabelled=True)).run()
    lines = [json.loads(line) for line in layout.scores_file(layout.run(project.dir, made.context.run_id)).read_text().splitlines()]
    assert len(lines) == 40 == made.facts()["scored"]
    assert all(0 <= one["uncertainty"] <= 1 and 0 < one["probability"] < 1 for one in lines)
    scorer, pairs = Scorer(made_by(project, made).path), {p.id: p for p in project.library.pairs.unlabelled(("pair-set-2", "pair-set-3"))}
    for one in lines[:5]:
        pair = pairs[one["id"]]
        wanted = scorer.score([(*pair.prompt, Message(role="assistant", content=a.text)) for a in (pair.first, pair.second)])
        assert [one["first"], one["second"]] == pytest.approx(wanted, abs=1e-4)
    ingest_run(project, made.context.run_id)
    assert project.library.pairs.scored_by() == made.context.run_id


def test_scoring_that_was_stopped_goes_on_where_it_was(project, monkeypatch):
    from engine.stages.reward import scoring
    monkeypatch.setattr(scoring, "CHUNK", 8)
    spec = little(score_unlabelled=True)
    whole = attempt(project, spec).run()
    stopped = attempt(project, spec)
    calls, heed = [], scoring._heed

    def stop_at_second(context):
        calls.append(1)
        if len(calls) == 2:
            raise Stopped("")
        heed(context)
    monkeypatch.setattr(scoring, "_heed", stop_at_second)
    with pytest.raises(Stopped):
        stopped.run()
    part = layout.work(stopped.context.run_dir) / scoring.PART
    part.write_bytes(part.read_bytes() + b'{"id": "half a li')  # as a kill leaves it
    again = Attempt(project, stopped.context.run_id, spec, number=2, stage=run).run()
    assert len(calls) == 2 + 2  # 30 pairs in chunks of 8: two were done
    one, other = (layout.scores_file(layout.run(project.dir, a.context.run_id)).read_text() for a in (whole, again))
    assert one == other and len(one.splitlines()) == 30 and not part.exists()
    assert len([a for a in project.artifacts.list("reward_model") if a.run == stopped.context.run_id]) == 1


def test_a_base_model_without_a_template_takes_the_plain_form_and_says_so(project):
    made = attempt(project, little(model="model-2", epochs=1.0)).run()
    said = [e.text for e in made.of(Notice) if e.code == "template"]
    assert said and "“User:” and “Assistant:”" in said[0]
    assert json.loads((made_by(project, made).path / "reward.json").read_text())["template"] == "plain"
    assert any(e.code == "few_held_out" for e in made.of(Notice))


def test_what_cannot_be_trained_is_refused_before_it_starts(project):
    with pytest.raises(InputError, match="label to learn from"):
        project.runs.create(spec_of(pairs=("pair-set-3",)))
    with pytest.raises(SettingError, match="96 tokens"):
        attempt(project, little(max_seq_len=400)).run()
    with pytest.raises(InputError, match="longer than 16 tokens"):
        attempt(project, little(max_seq_len=16)).run()
    pairs = project.library.pairs
    alike = pairs.create_set("alike")
    pairs.add(alike.id, [taste(n, "tie") for n in range(5000, 5012)])
    with pytest.raises(InputError, match="are ties"):
        attempt(project, little(pairs=(alike.id,))).run()


def test_with_nothing_held_out_it_is_trained_and_says_that_it_does_not_know_how_good_it_is(project):
    made = attempt(project, little(validation_percent=0.0, epochs=1.0, learning_curve=True)).run()
    facts, told = made_by(project, made).facts, report_of(project, made)
    assert facts["accuracy"] is None and facts["held_out"] == 0 and facts["weights"] == "last" and facts["val_loss"] is None
    assert told["accuracy"]["count"] == 0 and told["calibration"]["bins"] == [] and told["shown"] == {"worst": [], "best": [], "unsure": []}
    assert told["accuracy_trained"]["count"] == 40 and told["length"]["longer_wins"]["people"]["share"] is None
    assert any(e.code == "few_held_out" for e in made.of(Notice))


def test_the_margin_pushes_rewards_apart_and_without_ties_they_are_left_out(project):
    near, far = (attempt(project, spec_of(epochs=2.0, margin=m, ties=m == 0, keep_best=False)).run() for m in (0.0, 3.0))
    margins = [a.of(Evaluation)[-1].values["val_margin"] for a in (near, far)]
    assert margins[1] > margins[0] + 0.5
    assert made_by(project, far).facts["left_out"] == 22 and made_by(project, far).facts["ties"] == 0


def test_what_it_will_take_is_measured_before(project):
    made = subprocess.run([sys.executable, "-m", "engine.stages.reward.measure", str(project.dir), "--spec", spec_of().model_dump_json(),
                           "--device", "cpu", "--only"], capture_output=True, text=True, timeout=180,
                          env={**os.environ, "FLEDGE_THREADS": "1"})
    said = json.loads(made.stdout.splitlines()[-1])
    assert made.returncode == 0, said
    measured = said["measured"]
    assert measured["seconds"] > said["plan"]["steps"] * measured["step_seconds"] > 0 and measured["memory"] > 100e6 and said["fits"]
    assert "pairs" in said["sentence"] and said["facts"]["held_out"] > 50


@pytest.mark.slow
def test_it_can_be_compiled(project):
    made = attempt(project, little(compile="on", epochs=1.0)).run()
    assert made.facts()["compiled"] or any(e.code == "compile_failed" for e in made.of(Notice))
    assert math.isfinite(made_by(project, made).facts["val_loss"])


@pytest.mark.slow
def test_two_processes_train_what_one_would(project, tmp_path):
    spec = little(epochs=2.0, eval_every=0, micro_batch_size=4, batch_size=7)
    alone = attempt(project, spec).run()
    run_id = project.runs.create(spec).id
    script = tmp_path / "two.py"
    script.write_text(
        "import os, sys, torch\n"
        f"sys.path[:0] = {[str(Path(__file__).parents[3])]!r}\n"
        "from pathlib import Path\n"
        "from engine.contract.context import RunContext\n"
        "from engine.project import layout\n"
        "from engine.stages.reward.run import run\n"
        "from engine.stages.reward.spec import RewardSpec\n"
        "torch.set_num_threads(1)\n"
        f"project, spec = Path({str(project.dir)!r}), RewardSpec.model_validate_json({spec.model_dump_json()!r})\n"
        f"context = RunContext(run_dir=layout.run(project, {run_id!r}), project_dir=project, run_id={run_id!r}, seed=spec.seed,\n"
        "                     rank=int(os.environ['RANK']), world_size=2)\n"
        "run(spec, context)\n")
    made = subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)],
                          env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=200)
    assert made.returncode == 0, made.stderr[-3000:]
    one, two = (next(a for a in project.artifacts.list("reward_model") if a.run == id) for id in (alone.context.run_id, run_id))
    for name in ("accuracy", "reward_mean", "reward_std", "val_loss"):
        assert two.facts[name] == pytest.approx(one.facts[name], abs=1e-4)
