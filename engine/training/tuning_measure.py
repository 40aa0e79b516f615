"""The measured fit of stages that go on training a model: a warm-up and a few timed steps with each method, and what follows for the whole
run; with a recommendation in words.

Each method is measured in a process of its own, since a process' peak of memory never falls. The process that the window starts prints
one JSON object:

    measured, formula, plan, problems   of the method that the settings ask for, as pretraining's measurement has them
    methods                             {"full": .., "lora": ..}: each with the same, or `error`
    recommendation                      {"method", "sentence"}

or `error` with code, sentence, remedy and field, and that error's exit code. Nothing is left behind; killing it does no harm.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from engine.contract.context import RunContext
from engine.contract.errors import DeviceUnavailable, FledgeError, FormatError
from engine.contract.machine import DeviceFacts
from engine.contract.tuning import TuningSpec
from engine.contract.units import duration, size
from engine.contract.words import tr
from engine.model.speed import MEMORY_SHARE
from engine.project import files, layout, snapshots
from engine.project.artifacts import Artifact
from engine.project.locks import FileLock
from engine.project.project import Project
from engine.text.shards import TokenShards
from engine.training import devices
from engine.training.allocator import keep_memory
from engine.training.checkpoints import Checkpoints, TrainState
from engine.training.compiling import start_compiled
from engine.training.ranks import Ranks
from engine.training.taste import Tastes
from engine.training.timing import Clock, Measured, timed_steps
from engine.training.tokens import find, maker_of
from engine.training.tuning import Start, Tuner, Work

METHODS = ("lora", "full")
WORTH = 3.0
"""How many times as long full training may take as LoRA and still be the one recommended."""

Prepare = Callable[[Project, Any, Start, DeviceFacts, RunContext, Ranks, Callable[[Artifact], Any]], tuple[Tuner, Work, dict[str, Any]]]
"""A stage's own: (project, spec, start, facts, context, ranks, tokens of a corpus) -> what its run prepares."""


def main(stage: str, spec_class: type[TuningSpec], prepare: Prepare, arguments: list[str] | None = None) -> int:
    """The process `python -m engine.stages.<stage>.measure`."""
    parser = argparse.ArgumentParser(prog=f"python -m engine.stages.{stage}.measure", description=tr("Measures what a run will take."))
    parser.add_argument("project", type=Path)
    parser.add_argument("--spec", required=True, help=tr("A JSON file with the settings, or the JSON itself."))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", action="store_true", help=tr("Measure the method of the settings alone."))
    asked = parser.parse_args(arguments)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        text = asked.spec if asked.spec.lstrip().startswith("{") else Path(asked.spec).read_text("utf-8")
        spec = spec_class.check(json.loads(text))
        project, facts = Project.open(asked.project), devices.choose(asked.device)
        if asked.only:
            made = _alone(project, spec, facts, prepare)
        else:
            methods = {name: _in_process(stage, asked.project, spec.model_copy(update={"method": name}), facts.id)
                       for name in dict.fromkeys((*METHODS, spec.method))}
            if "error" in (wanted := methods[spec.method]) and all("error" in m for m in methods.values()):
                print(json.dumps({"error": wanted["error"]}))
                return int(wanted["exit_code"])
            made = {**wanted, "methods": methods, "recommendation": recommendation(methods)}
        print(json.dumps(made))
        return 0
    except (json.JSONDecodeError, FileNotFoundError) as wrong:
        return _error(FormatError(tr("The settings cannot be read: {reason}", reason=str(wrong)), tr("Give a JSON object of settings.")))
    except FledgeError as wrong:
        return _error(wrong)


def recommendation(methods: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Full training where it fits and is not much slower: it learns most. Else LoRA, and why."""
    full, lora = methods["full"].get("measured"), methods["lora"].get("measured")
    if full and not methods["full"]["fits"] and lora and methods["lora"]["fits"]:
        full_memory = size(full["memory"])
        return {"method": "lora", "sentence": tr("LoRA: full training takes {full} of memory, which is nearly all there is; LoRA {lora}.",
                                                 full=full_memory, lora=size(lora["memory"]))}
    if full and (not lora or full["seconds"] <= WORTH * lora["seconds"]):
        words = tr("Full training: it fits ({memory}) and takes about {time}.", memory=size(full["memory"]),
                   time=duration(full["seconds"]))
        if lora:
            words += " " + tr("LoRA would take {memory} and {time}.", memory=size(lora["memory"]), time=duration(lora["seconds"]))
        return {"method": "full", "sentence": words}
    if lora:
        why = methods["full"].get("error", {}).get("sentence") or tr("Full training would take {time}.", time=duration(full["seconds"]))
        return {"method": "lora", "sentence": tr("LoRA: it fits ({memory}) and takes about {time}.", memory=size(lora["memory"]),
                                                 time=duration(lora["seconds"])) + " " + why}
    return {"method": "", "sentence": tr("Neither fits: {reason}", reason=methods["lora"]["error"]["sentence"])}


def measure(project: Project, spec: TuningSpec, facts: DeviceFacts, prepare: Prepare) -> dict[str, Any]:
    """Measured and formula figures of a spec on a device, in this process, as plain values. Raises what a run would."""
    began = time.perf_counter()
    folder = layout.runs(project.dir) / f"{files.TEMPORARY}fit-{uuid.uuid4().hex[:8]}"
    context = RunContext(run_dir=folder, project_dir=project.dir, run_id="0-fit", device=facts.id, seed=spec.seed)
    ranks, tokens = Ranks(0, 1, torch.device(facts.id)), _Tokens(project)
    try:
        folder.mkdir(parents=True)
        snapshots.take(project.dir, spec, folder)
        start = Start.load(project, spec.model)
        tokens.start = start
        tuner, work, told = prepare(project, spec, start, facts, context, ranks, tokens)
        made = _timed(tuner, work, time.perf_counter() - began, tokens.seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    limit = facts.memory_total if facts.kind == "cpu" else facts.memory_free or facts.memory_total
    return {"measured": asdict(made), "formula": asdict(tuner.plan.cost), "plan": tuner.plan.to_json(), "facts": told, "problems": [],
            "sentence": tuner.plan.sentence(), "fits": not limit or made.memory <= MEMORY_SHARE * limit}


class _Tokens:
    """A corpus in tokens: what is there, else a taste. `seconds`: what tokenizing the whole will take."""

    def __init__(self, project: Project) -> None:
        self.project, self.seconds = project, 0.0
        self.start: Start | None = None

    def __call__(self, corpus: Artifact) -> Any:
        assert self.start is not None
        tokenizer = self.start.tokenizer
        found = find(self.project, corpus.id, tokenizer, maker_of(self.project, tokenizer, self.start.ref.id))
        if found:
            return TokenShards.open(found.path)
        taste = Tastes(tokenizer, corpus.path)
        self.seconds += taste.tokenize_seconds
        return taste


def _timed(tuner: Tuner, work: Work, building: float, tokenizing: float) -> Measured:
    began = time.perf_counter()
    parts, plan, facts = tuner.build(work), tuner.plan, tuner.facts
    trainer, clock = parts.trainer, Clock(facts)
    loading = time.perf_counter() - began
    if trainer.state.compiled:
        start_compiled(parts, tuner.ranks, tuner.context, settled=tuner.spec.compile == "on")
    micro, update = timed_steps(parts, clock, plan.grad_clip)
    step = micro * -(-plan.load.units // trainer.state.micro_batch_size) + update + (work.aside() if work.aside else 0.0)
    joules = clock.joules_per_second()
    evaluation = clock.best(lambda: work.evaluate(parts.model), 1) if work.evaluate else 0.0
    sample = clock.best(lambda: tuner.sample(parts.model, work, 0), 1)
    checkpoints = Checkpoints(tuner.context, lambda folder: tuner.write_model(folder, parts.model, work.head))
    checkpoint = clock.best(lambda: checkpoints.save(TrainState(step=1), trainer.optimizer.state(), "asked"), 1)
    evaluations = (plan.steps // plan.eval_every if plan.eval_every else 1) + 2
    samples = (plan.steps // plan.sample_every if plan.sample_every else 1) + 2
    saves = evaluations + (plan.steps // plan.checkpoint_every_steps if plan.checkpoint_every_steps else 0) + 1
    start = building + loading + tokenizing + parts.compile_seconds
    seconds = start + plan.steps * step + evaluations * evaluation + samples * sample + saves * checkpoint
    return Measured(seconds=seconds, tokens_per_second=plan.load.tokens_per_step / step, memory=devices.memory_in_use(facts).peak,
                    step_seconds=step, evaluation_seconds=evaluation, sample_seconds=sample, checkpoint_seconds=checkpoint,
                    start_seconds=start, compile_seconds=parts.compile_seconds, joules=None if joules is None else joules * seconds,
                    micro_batch_size=trainer.state.micro_batch_size, dtype=trainer.state.dtype, compiled=trainer.state.compiled)


def _alone(project: Project, spec: TuningSpec, facts: DeviceFacts, prepare: Prepare) -> dict[str, Any]:
    """One method, in this process, with the device to itself."""
    _end_with_parent()
    lock = FileLock(layout.device_lock(facts.id))
    if not lock.acquire(run="fit"):
        raise DeviceUnavailable(tr("{device} is training right now; a measurement would be wrong and slow it down.", device=facts.title),
                                tr("Measure when it is free."), code="device_busy")
    try:
        torch.set_num_threads(int(os.environ.get("FLEDGE_THREADS", "0")) or devices.usable_processors())
        if facts.kind == "cpu":
            keep_memory()
        return measure(project, spec, replace(facts, peak_flops=devices.measure_peak(facts)), prepare)
    finally:
        lock.release()


def _end_with_parent() -> None:
    """Killing the process that the window started ends the one that measures, too."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name="watch", daemon=True).start()


def _in_process(stage: str, project: Path, spec: TuningSpec, device: str) -> dict[str, Any]:
    """What the process of one method says; an error as {"error": .., "exit_code": ..}."""
    made = subprocess.run([sys.executable, "-m", f"engine.stages.{stage}.measure", str(project), "--spec", spec.model_dump_json(),
                           "--device", device, "--only"], stdout=subprocess.PIPE, text=True)
    try:
        said: dict[str, Any] = json.loads(made.stdout.strip().splitlines()[-1])
    except (IndexError, json.JSONDecodeError):  # killed: on a Linux CPU that is what running out of memory looks like
        said = {"error": {"code": "died", "sentence": tr("The measurement ended without a word, most likely for want of memory."),
                          "remedy": tr("Choose a smaller model, a shorter context or a smaller micro batch."), "field": ""}}
    return {**said, "exit_code": made.returncode} if "error" in said else said


def _error(wrong: FledgeError) -> int:
    print(json.dumps({"error": {"code": wrong.code, "sentence": wrong.sentence, "remedy": wrong.remedy, "field": wrong.field}}))
    return wrong.exit_code
