"""The measured fit of fine-tuning and of domain training: its figures, its errors, what it recommends."""

import json
import os
import subprocess
import sys

import pytest
from test_sft import make_project

from engine.project import files, layout
from engine.project.locks import FileLock
from engine.stages.adapt.spec import AdaptSpec
from engine.stages.sft.spec import SftSpec
from engine.training.tuning_measure import recommendation


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("projects") / "p")


def run_measure(stage, project, spec, *arguments):
    made = subprocess.run([sys.executable, "-m", f"engine.stages.{stage}.measure", str(project.dir), "--spec", spec.model_dump_json(),
                           "--device", "cpu", *arguments], capture_output=True, text=True, timeout=180,
                          env={**os.environ, "FLEDGE_THREADS": "1"})
    return made.returncode, json.loads(made.stdout.splitlines()[-1])


def test_each_method_is_measured_and_one_is_recommended(project):
    spec = SftSpec(model="model-1", examples=("set-1",), compile="off", dtype="float32", batch_size=8)
    code, said = run_measure("sft", project, spec)
    assert code == 0, said
    assert set(said["methods"]) == {"full", "lora"} and said["measured"] == said["methods"]["full"]["measured"]
    for made in said["methods"].values():
        measured = made["measured"]
        assert measured["seconds"] > made["plan"]["steps"] * measured["step_seconds"] > 0 and measured["memory"] > 100e6
        assert made["formula"]["memory"] > 0 and made["fits"] is True and made["sentence"]
    assert said["recommendation"]["method"] == "full" and said["recommendation"]["sentence"]
    assert not [p for p in layout.runs(project.dir).glob("*") if files.TEMPORARY in p.name]
    assert not project.artifacts.list("model")[1:] and len(project.runs.list()) == 1


def test_a_corpus_nobody_has_tokenized_is_tasted(project):
    tokens = len(project.artifacts.list("tokens"))
    for made in project.artifacts.list("tokens"):
        project.artifacts.delete(made.id)
    code, said = run_measure("adapt", project, AdaptSpec(model="model-1", corpus="corpus-1", compile="off", dtype="float32"), "--only")
    assert code == 0 and tokens, said
    assert said["measured"]["tokens_per_second"] > 0 and said["facts"]["domain_tokens"] > 1000
    assert not project.artifacts.list("tokens")


def test_errors_come_as_json_with_their_exit_codes(project):
    code, said = run_measure("adapt", project, AdaptSpec(model="model-9", corpus="corpus-1"))
    assert code == 3 and said["error"]["code"] == "not_found" and "model-9" in said["error"]["sentence"]
    lock = FileLock(layout.device_lock("cpu"))
    assert lock.acquire(run="a run")
    try:
        code, said = run_measure("sft", project, SftSpec(model="model-1", examples=("set-1",)), "--only")
    finally:
        lock.release()
    assert code == 5 and said["error"]["code"] == "device_busy"


def test_full_is_recommended_unless_it_does_not_fit_or_takes_far_longer():
    def made(seconds, memory, fits=True):
        return {"measured": {"seconds": seconds, "memory": memory}, "fits": fits}
    error = {"error": {"sentence": "Too big."}}
    assert recommendation({"full": made(90, 9e9), "lora": made(60, 3e9)})["method"] == "full"
    assert recommendation({"full": made(900, 9e9), "lora": made(60, 3e9)})["method"] == "lora"
    assert recommendation({"full": made(90, 9e9, False), "lora": made(60, 3e9)})["method"] == "lora"
    refused = recommendation({"full": error, "lora": made(60, 3e9)})
    assert refused["method"] == "lora" and "Too big." in refused["sentence"]
    assert recommendation({"full": error, "lora": error}) == {"method": "", "sentence": "Neither fits: Too big."}


def test_what_the_window_reads_of_a_plan_is_free_of_torch():
    modules = "engine.training.tuning_plan", "engine.stages.sft.plan", "engine.text.templates", "engine.stages.adapt.plan"
    code = f"import sys\nfor m in {modules!r}: __import__(m)\nsys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
