"""The measured fit of preference tuning: its figures, with what the reference takes; nothing is left behind."""

import json
import os
import subprocess
import sys

import pytest
from test_dpo_run import add, pairs, spec_of
from test_sft import make_project

from engine.contract.machine import DeviceFacts
from engine.project import files, layout
from engine.stages.dpo.plan import RATE_SHARE, rate_of
from engine.training.tuning_plan import learning_rate


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    made = make_project(tmp_path_factory.mktemp("projects") / "p")
    add(made, "tastes", pairs(40))
    return made


def run_measure(project, spec, *arguments):
    made = subprocess.run([sys.executable, "-m", "engine.stages.dpo.measure", str(project.dir), "--spec", spec.model_dump_json(),
                           "--device", "cpu", *arguments], capture_output=True, text=True, timeout=180,
                          env={**os.environ, "FLEDGE_THREADS": "1"})
    return made.returncode, json.loads(made.stdout.splitlines()[-1])


@pytest.mark.parametrize("more", [{"method": "lora"}, {"loss": "simpo"}])
def test_a_method_is_measured_with_what_the_reference_takes(project, more):
    code, said = run_measure(project, spec_of(project, **more), "--only")
    assert code == 0, said
    measured, plan = said["measured"], said["plan"]
    assert measured["seconds"] > plan["steps"] * measured["step_seconds"] > 0 and measured["memory"] > 100e6 and said["fits"] is True
    assert ("reference_seconds" in said["facts"]) == (more.get("loss") != "simpo")
    if "reference_seconds" in said["facts"]:
        assert 0 < said["facts"]["reference_seconds"] <= measured["start_seconds"]
    assert said["formula"]["memory"] > 0 and "pairs" in said["sentence"]
    assert not [p for p in layout.runs(project.dir).glob("*") if files.TEMPORARY in p.name]
    assert not project.artifacts.list("model")[1:] and len(project.runs.list()) == 1


def test_the_learning_rate_is_a_share_of_fine_tunings_unless_set(project):
    spec = spec_of(project, learning_rate=None)
    assert rate_of(spec, 160, 2048) == RATE_SHARE["full"] * learning_rate("full", 160, 2048)
    assert rate_of(spec_of(project, learning_rate=0.5), 160, 2048) == 0.5
    assert rate_of(spec.model_copy(update={"method": "lora"}), 160, 2048) > rate_of(spec, 160, 2048)


def test_the_formula_counts_the_pass_of_the_reference(project):
    from engine.stages.dpo.prepare import with_reading
    from engine.training.tuning_plan import Load, resolve
    spec = spec_of(project)
    from engine.model.config import ModelConfig
    config = ModelConfig(vocab_size=100, hidden_size=32, num_layers=2, num_heads=2, num_kv_heads=2, head_dim=16, intermediate_size=48,
                         max_seq_len=64)
    plan = resolve(spec, config, Load(10, 8, 8, 60, 400.0, 1.0, "pairs"), DeviceFacts(id="cpu", kind="cpu", title="CPU"))
    more = with_reading(plan, 30.0)
    assert more.cost.seconds == plan.cost.seconds + 30 and more.cost.memory == plan.cost.memory
