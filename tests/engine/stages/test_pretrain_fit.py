"""The measured fit: its figures, its errors, and that a run then takes what it said."""

import json
import os
import subprocess
import sys
import time

import pytest
import torch
from test_pretrain import make_project, spec_of

from engine.contract.machine import DeviceFacts
from engine.project import files, layout
from engine.project.locks import FileLock
from engine.stages.pretrain import fit, measure
from engine.stages.pretrain.spec import PretrainSpec
from engine.training import devices
from tests.attempts import Attempt


def measured(project, spec):
    facts = devices.choose("cpu")
    return fit.measure(project, spec, facts)


def test_measured_and_formula_stand_side_by_side_and_nothing_is_left(tmp_path):
    project = make_project(tmp_path / "p")
    made = measured(project, spec_of())
    assert made["measured"]["seconds"] > 12 * made["measured"]["step_seconds"] > 0
    assert made["measured"]["memory"] > 100e6 and made["measured"]["tokens_per_second"] > 0
    assert made["formula"]["seconds"] > 0 and made["plan"]["steps"] == 12
    assert json.loads(json.dumps(made)) == made
    assert not project.artifacts.list("tokens") and not project.artifacts.list("model")
    assert not [p for p in layout.runs(project.dir).glob("*") if files.TEMPORARY in p.name] and not project.runs.list()


def test_tokens_before_tokenizing_are_close_to_the_true_count(tmp_path):
    project = make_project(tmp_path / "p", documents=400)
    before = measured(project, spec_of(steps=1))["plan"]["epochs"]
    Attempt(project, "1-pretrain", spec_of(steps=1, sample_every=0, eval_every=0)).run()
    after = measured(project, spec_of(steps=1))["plan"]["epochs"]
    assert before == pytest.approx(after, rel=0.05)


def test_memory_that_runs_out_while_measuring_halves_the_micro_batch(tmp_path, monkeypatch):
    from engine.stages.pretrain import prepare
    real = prepare.next_token_loss
    def tight(model, batch):
        if len(batch.tokens_BT) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(model, batch)
    monkeypatch.setattr(prepare, "next_token_loss", tight)
    made = measured(make_project(tmp_path / "p"), spec_of())
    assert made["plan"]["micro_batch_size"] == 4 and made["measured"]["micro_batch_size"] == 1


def run_measure(*arguments):
    return subprocess.run([sys.executable, "-m", "engine.stages.pretrain.measure", *arguments], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "FLEDGE_THREADS": "1"})


def test_the_process_prints_json_and_errors_as_json(tmp_path):
    project = make_project(tmp_path / "p")
    spec = tmp_path / "spec.json"
    spec.write_text(spec_of().model_dump_json())
    made = run_measure(str(project.dir), "--spec", str(spec), "--device", "cpu")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["measured"]["seconds"] > 0


def test_errors_of_the_process_have_code_sentence_and_remedy(tmp_path, capsys):
    project = make_project(tmp_path / "p")
    assert measure.main([str(project.dir), "--spec", "{nonsense", "--device", "cpu"]) == 3
    assert json.loads(capsys.readouterr().out)["error"]["remedy"]
    assert measure.main([str(project.dir), "--spec", spec_of(corpus="corpus-9").model_dump_json(), "--device", "cpu"]) == 3
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "not_found"


def test_a_device_in_use_is_not_measured(tmp_path, capsys):
    project = make_project(tmp_path / "p")
    lock = FileLock(layout.device_lock("cpu"))
    assert lock.acquire()
    try:
        code = subprocess.run([sys.executable, "-m", "engine.stages.pretrain.measure", str(project.dir), "--spec",
                               spec_of().model_dump_json(),
                               "--device", "cpu"], capture_output=True, text=True, timeout=60)
    finally:
        lock.release()
    assert json.loads(code.stdout)["error"]["code"] == "device_busy" and code.returncode == 5


def test_the_estimate_of_memory_is_near_what_is_measured(tmp_path):
    """In a process of its own: the peak is the process's."""
    project = make_project(tmp_path / "p", documents=400)
    spec = PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1", depth=4, max_seq_len=256, tokens_per_step=2048, steps=5, compile="off")
    made = run_measure(str(project.dir), "--spec", spec.model_dump_json(), "--device", "cpu")
    result = json.loads(made.stdout)
    assert result["formula"]["memory"] == pytest.approx(result["measured"]["memory"], rel=0.35)


@pytest.mark.slow
def test_a_run_takes_within_a_fifth_of_what_the_fit_said(tmp_path):
    """Needs a machine that does nothing else meanwhile; prints both."""
    project = make_project(tmp_path / "p", documents=4000)
    spec = PretrainSpec(corpus="corpus-1", tokenizer="tokenizer-1", depth=3, max_seq_len=128, tokens_per_step=2048, steps=250)
    env = {k: v for k, v in os.environ.items() if k != "FLEDGE_THREADS"}
    said = json.loads(subprocess.run([sys.executable, "-m", "engine.stages.pretrain.measure", str(project.dir), "--spec",
                                      spec.model_dump_json(), "--device", "cpu"], capture_output=True, text=True, timeout=300,
                                     env=env).stdout)
    run = project.runs.create(spec)
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "engine.worker", str(run.dir), "--device", "cpu"], capture_output=True, text=True,
                          timeout=900,
                          env=env)
    took = time.perf_counter() - began
    assert done.returncode == 0, done.stderr[-2000:]
    print(f"measured fit {said['measured']['seconds']:.1f} s, formula {said['formula']['seconds']:.1f} s, the run took {took:.1f} s")
    assert said["measured"]["seconds"] == pytest.approx(took, rel=0.2)


def test_a_device_without_memory_for_the_plan_is_refused(tmp_path):
    from engine.contract.errors import OutOfMemory
    facts = DeviceFacts(id="cpu", kind="cpu", title="", memory_total=10**9, memory_free=10**8, threads=1)
    with pytest.raises(OutOfMemory):
        fit.measure(make_project(tmp_path / "p"), spec_of(), facts)
