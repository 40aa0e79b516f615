"""Preference tuning from labelled pairs in the library to a model that prefers what people prefer: what it learns, what is kept, what is
refused, what a resume gives."""

import math
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_sft import make_project

from engine.contract.errors import InputError, Stopped
from engine.contract.events import Evaluation, Metrics, Notice, Phase, Phases, Resumed, Sample
from engine.contract.rows import Answer, Message, Pair, pair_id
from engine.model.checkpoint import load_model, load_tensors, save_tensors
from engine.project import layout
from engine.project.models import resolve
from engine.stages.dpo import reference
from engine.stages.dpo.run import run
from engine.stages.dpo.spec import DpoSpec
from tests.attempts import Attempt, made_by, one_thread  # noqa: F401

WORDS = "apple brick cloud dress eagle fence grape horse island jacket kettle ladder mirror needle orange pencil quilt river".split()


def pairs(count, seed=0, taste=True):
    """Answers of a few words; preferred is the one that ends with a red thing."""
    rng, made = random.Random(seed), {}
    while len(made) < count:
        prompt = (Message(role="user", content=f"Tell me of the {rng.choice(WORDS)} and the {rng.choice(WORDS)} {len(made) % 40}"),)
        good = " ".join(rng.sample(WORDS, rng.randint(1, 4))) + " is red."
        other = " ".join(rng.sample(WORDS, rng.randint(1, 4))) + " is blue."
        best = "first" if rng.random() < 0.5 else "second"
        texts = (good, other) if best == "first" else (other, good)
        id = pair_id(prompt, *texts)
        made[id] = Pair(id=id, prompt=prompt, first=Answer(text=texts[0]), second=Answer(text=texts[1]), origin="simulated",
                        facts={"best": best if taste else "tie", "by": "simulated"})
    return list(made.values())


def add(project, title, rows):
    made = project.library.pairs.create_set(title)
    project.library.pairs.add(made.id, rows, "simulated")
    return made.id


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    torch.set_num_threads(1)
    made = make_project(tmp_path_factory.mktemp("projects") / "p")
    add(made, "tastes", pairs(80))
    return made


def spec_of(project, title="tastes", **more):
    sets = tuple(s.id for s in project.library.pairs.sets() if s.title == title)
    return DpoSpec(**{"model": "model-1", "pairs": sets, "epochs": 2, "batch_size": 8, "compile": "off", "dtype": "float32",
                      "sample_tokens": 6, "checkpoint_every_minutes": 0, "learning_rate": 3e-3, **more})


def attempt_of(project, spec, **more):
    return Attempt(project, project.runs.create(spec).id, spec, stage=run, **more)


LOSSES = {"sigmoid": {"label_smoothing": 0.1, "sft_weight": 0.2}, "ipo": {}, "hinge": {}, "simpo": {}, "kto": {"good_weight": 1.3}}


@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_learns_the_taste(project, loss):
    attempt = attempt_of(project, spec_of(project, loss=loss, epochs=3, **LOSSES[loss])).run()
    facts = made_by(project, attempt).facts
    assert facts["loss"] == loss and facts["beta"] == (2.0 if loss == "simpo" else 0.1) and facts["chat"] is True
    assert facts["accuracy_after"] >= 0.9 and facts["margin_after"] > facts["margin_before"] and facts["val_loss_after"] < facts[
        "val_loss_before"]
    assert facts["pairs"] + facts["held_out"] == 80 and facts["left_out"] == 0
    columns = [e.columns for e in attempt.of(Metrics)]
    named = {"loss", "accuracy", "margin", "chosen_reward", "rejected_reward", "chosen_logprob", "rejected_logprob"}
    assert all(named <= c.keys() for c in columns) and ("kl" in columns[0]) == (loss == "kto")
    for c in columns:
        assert c["margin"][0] == pytest.approx(c["chosen_reward"][0] - c["rejected_reward"][0], abs=1e-5) and 0 <= c["accuracy"][0] <= 1
    if loss != "simpo":
        first = attempt.of(Evaluation)[0].values
        assert abs(first["val_margin"]) < 1e-4 and abs(columns[0]["margin"][0]) < 1e-4, "the policy begins as its reference"
    else:
        assert not layout.reference_file(attempt.context.run_dir).exists()


def test_the_first_losses_are_those_of_a_policy_that_is_its_reference(project):
    plain = attempt_of(project, spec_of(project, epochs=0.2)).run()
    assert plain.losses()[1] == pytest.approx(math.log(2), abs=1e-4)
    assert plain.of(Evaluation)[0].values["val_loss"] == pytest.approx(math.log(2), abs=1e-4)
    rpo = attempt_of(project, spec_of(project, epochs=0.2, sft_weight=0.5)).run()
    metrics = rpo.of(Metrics)[0].columns
    assert metrics["loss"][0] == pytest.approx(math.log(2) - 0.5 * metrics["chosen_logprob"][0], abs=1e-4)
    before = rpo.of(Evaluation)[0].values
    assert before["val_loss"] == pytest.approx(math.log(2) - 0.5 * before["val_chosen_logprob"], abs=1e-4)


def test_phases_samples_and_what_the_model_is(project):
    attempt = attempt_of(project, spec_of(project)).run()
    artifact = made_by(project, attempt)
    artifact.verify()
    assert [p.id for p in attempt.of(Phase)] == [id for id, _ in attempt.of(Phases)[-1].phases]
    samples = attempt.of(Sample)
    last = attempt.facts()["steps"]
    assert {0, last} <= {s.step for s in samples} and all("Tell me of" in s.prompt for s in samples)
    assert [s.prompt for s in samples if s.step == 0] == [s.prompt for s in samples if s.step == last]
    assert artifact.parents == ("model-1",) and resolve(project, artifact.id).chat and "pairs" in attempt.facts()["sentence"]


@pytest.mark.parametrize("more", [{}, {"loss": "kto", "micro_batch_size": 3}, {"method": "lora", "lora_rank": 4, "lora_dropout": 0.1},
                                  {"replay": "corpus-1", "replay_documents": 3, "sft_weight": 0.1}])
def test_paused_and_resumed_ends_with_the_same_model_and_one_reading_of_the_reference(project, more, monkeypatch):
    read = []
    whole = reference.ReferencePass._read_batch
    monkeypatch.setattr(reference.ReferencePass, "_read_batch", lambda self, *given: (read.append(1), whole(self, *given)))
    spec = spec_of(project, epochs=1, checkpoint_every_steps=3, **more)
    straight = attempt_of(project, spec).run()
    first = attempt_of(project, spec, commands={5: "pause"})
    with pytest.raises(Stopped):
        first.run()
    file = layout.reference_file(first.context.run_dir)
    kept, count = file.read_bytes(), len(read)
    second = Attempt(project, first.context.run_id, spec, number=2, stage=run).run()
    assert second.of(Resumed)[0].step == 5 and len(read) == count and file.read_bytes() == kept
    one, two = made_by(project, straight), made_by(project, second)
    assert one.files["model.safetensors"]["sha256"] == two.files["model.safetensors"]["sha256"]
    keys = one.facts.keys() - {"seconds"}
    assert {k: one.facts[k] for k in keys} == {k: two.facts[k] for k in keys}
    assert {**first.losses(), **second.losses()} == straight.losses()
    if more.get("replay"):
        assert one.facts["general_bpb_after"] > 0 and one.facts["replay_documents"] == 3


def test_the_micro_batch_changes_nothing_but_rounding(project):
    for loss in ("sigmoid", "kto"):
        more = {"loss": loss, "sft_weight": 0.3, "replay": "corpus-1", "replay_documents": 2, "epochs": 0.5}
        whole, cut = (attempt_of(project, spec_of(project, micro_batch_size=size, **more)).run().losses() for size in (10, 3))
        assert list(whole) == list(cut) and list(whole.values()) == pytest.approx(list(cut.values()), rel=1e-4)


def test_what_the_reference_said_is_kept_and_a_damaged_file_is_read_again_and_said(project):
    spec = spec_of(project, epochs=1, checkpoint_every_steps=3, loss="kto")
    first = attempt_of(project, spec, commands={4: "pause"})
    with pytest.raises(Stopped):
        first.run()
    file = layout.reference_file(first.context.run_dir)
    good = load_tensors(file)
    assert {"train", "held_out", "train_mismatched", "held_out_mismatched", "key", "check"} == good.keys()
    assert all(torch.isfinite(good[name]).all() and (good[name] < 0).all() for name in good.keys() - {"key", "check"})
    save_tensors(file, {**good, "train": good["train"] + 0.5})
    second = Attempt(project, first.context.run_id, spec, number=2, stage=run).run()
    assert "reference_again" in {n.code for n in second.of(Notice)}
    assert torch.equal(load_tensors(file)["train"], good["train"])


def test_a_stop_while_the_reference_reads_keeps_what_it_has_read(project, monkeypatch):
    monkeypatch.setattr(reference, "PAYS", {"cpu": 300})
    spec = spec_of(project, epochs=0.2)
    first = attempt_of(project, spec, commands={0: "stop"})
    with pytest.raises(Stopped):
        first.run()
    values = load_tensors(layout.reference_file(first.context.run_dir))["train"]
    known = torch.isfinite(values).all(1)
    assert 0 < known.sum() < len(known)
    read = []
    whole = reference.ReferencePass._read_batch
    monkeypatch.setattr(reference.ReferencePass, "_read_batch", lambda self, model, table, numbers: (
        read.extend((table.name, n) for n in numbers), whole(self, model, table, numbers)))
    second = Attempt(project, first.context.run_id, spec, number=2, stage=run).run()
    again = [n for name, n in read if name == "train"]
    assert sorted(again) == np.flatnonzero(~known.numpy()).tolist() and second.facts()["outcome"]["pairs"] == len(values)


def test_with_lora_the_reference_is_the_base(project):
    attempt = attempt_of(project, spec_of(project, method="lora", lora_rank=8, learning_rate=1e-2)).run()
    artifact = made_by(project, attempt)
    assert artifact.facts["accuracy_after"] >= 0.9 and {"adapter.safetensors", "model.safetensors"} <= artifact.files.keys()
    assert abs(attempt.of(Evaluation)[0].values["val_margin"]) < 1e-4
    again = attempt_of(project, spec_of(project, model=f"{attempt.context.run_id}@{attempt.last_step()}", epochs=0.2)).run()
    assert abs(again.of(Evaluation)[0].values["val_margin"]) < 1e-4, "of a checkpoint with an adapter the reference has it"
    base, tuned = load_model(project.artifacts.get("model-1").path), load_model(artifact.path)
    assert not torch.equal(base.layers[0].attention.qkv.weight, tuned.layers[0].attention.qkv.weight)


def test_ties_and_bad_ones_are_left_out_and_said_but_kto_learns_from_bad_ones(project):
    ties = [p.model_copy(update={"facts": {"best": kind, "by": "x"}}) for kind, p in zip(["tie"] * 3 + ["bad"] * 5, pairs(8, 7),
                                                                                          strict=True)]
    add(project, "mixed", [*pairs(30, 5), *ties])
    for loss, left in (("sigmoid", 8), ("kto", 3)):
        attempt = attempt_of(project, spec_of(project, title="mixed", loss=loss, epochs=1)).run()
        codes = {n.code: n.text for n in attempt.of(Notice)}
        assert "3 pairs" in codes["left_out_ties"] and ("left_out_bad" in codes) == (loss == "sigmoid")
        assert attempt.facts()["left_out"] == left


def test_nothing_but_ties_is_refused(project):
    add(project, "ties", pairs(6, 9, taste=False))
    with pytest.raises(InputError) as refused:
        attempt_of(project, spec_of(project, title="ties")).run()
    assert refused.value.code == "no_pairs" and refused.value.field == "pairs"


def test_without_held_out_pairs_the_last_step_is_kept(project):
    facts = made_by(project, attempt_of(project, spec_of(project, epochs=0.5, validation_percent=0)).run()).facts
    assert facts["held_out"] == 0 and facts["weights"] == "last" and facts["val_loss"] is None and facts["accuracy_after"] is None


@pytest.mark.slow
def test_it_can_be_compiled(project):
    attempt = attempt_of(project, spec_of(project, compile="on", epochs=0.2, validation_percent=0)).run()
    assert attempt.facts()["compiled"] or any(n.code == "compile_failed" for n in attempt.of(Notice))
    plain = attempt_of(project, spec_of(project, epochs=0.2, validation_percent=0)).run()
    assert list(attempt.losses().values()) == pytest.approx(list(plain.losses().values()), abs=1e-3)


@pytest.mark.slow
def test_two_processes_train_what_one_would(project, tmp_path):
    spec = spec_of(project, loss="kto", epochs=1, batch_size=7, micro_batch_size=2, replay="corpus-1", replay_documents=2, eval_every=0)
    alone = attempt_of(project, spec).run()
    run_id = project.runs.create(spec).id
    script = tmp_path / "two.py"
    script.write_text(
        "import os, sys, torch\n"
        f"sys.path[:0] = {[str(Path(__file__).parents[3])]!r}\n"
        "from pathlib import Path\n"
        "from engine.contract.context import RunContext\n"
        "from engine.project import layout\n"
        "from engine.stages.dpo.run import run\n"
        "from engine.stages.dpo.spec import DpoSpec\n"
        "torch.set_num_threads(1)\n"
        f"project, spec = Path({str(project.dir)!r}), DpoSpec.model_validate_json({spec.model_dump_json()!r})\n"
        f"context = RunContext(run_dir=layout.run(project, {run_id!r}), project_dir=project, run_id={run_id!r}, seed=spec.seed,\n"
        "                     rank=int(os.environ['RANK']), world_size=2)\n"
        "run(spec, context)\n")
    made = subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)],
                          env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=200)
    assert made.returncode == 0, made.stderr[-3000:]
    one = made_by(project, alone)
    two = next(a for a in project.artifacts.list("model") if a.run == run_id)
    for name in ("val_loss", "accuracy_after", "margin_after", "chosen_reward_after"):
        assert two.facts[name] == pytest.approx(one.facts[name], abs=1e-3), name
    tables = [load_tensors(layout.reference_file(layout.run(project.dir, id)))["train_mismatched"] for id in (alone.context.run_id, run_id)]
    torch.testing.assert_close(*tables, rtol=1e-4, atol=1e-4)
