"""The measured fit: a warm-up and three timed steps at the chosen settings, and what follows for the whole run.

It runs the parts that the run will use (prepare.py), at the longest shape, on the corpus' first documents. A step of many micro batches is
one micro batch timed and multiplied. Validation, samples, saving, tokenizing and compiling are timed too: the total is of everything. The
process around it is measure.py.
"""

import shutil
import time
import uuid
from dataclasses import asdict
from typing import Any

import torch

from engine.contract.context import RunContext
from engine.contract.machine import DeviceFacts
from engine.project import files, layout
from engine.project.project import Project
from engine.stages.pretrain import dial
from engine.stages.pretrain.prepare import Builder, Inputs, Parts, check_fit, tell_speed
from engine.stages.pretrain.run import FINAL_EVALUATION
from engine.stages.pretrain.spec import PretrainSpec
from engine.text.shards import TokenShards
from engine.training import devices
from engine.training.checkpoints import Checkpoints, TrainState
from engine.training.compiling import start_compiled
from engine.training.ranks import Ranks
from engine.training.taste import Tastes
from engine.training.timing import Clock, Measured, timed_steps


def measure(project: Project, spec: PretrainSpec, facts: DeviceFacts) -> dict[str, Any]:
    """Measured and formula figures of a spec on a device, as plain values. Raises what a run would: OutOfMemory, NotFound, SettingError."""
    began = time.perf_counter()
    inputs = Inputs.load(project, spec)
    found = project.artifacts.find("tokens", (inputs.corpus.id, inputs.tokenizer_artifact.id))
    if found:
        shards, tokenizing, total = TokenShards.open(found.path), 0.0, TokenShards.open(found.path).split("train").tokens
    else:
        shards = Tastes(inputs.tokenizer, inputs.corpus.path)
        tokenizing, total = shards.tokenize_seconds, shards.total_tokens
    plan = dial.resolve(spec, inputs.tokenizer.vocab_size, total, 0, facts)
    check_fit(plan, facts)
    folder = layout.runs(project.dir) / f"{files.TEMPORARY}fit-{uuid.uuid4().hex[:8]}"
    context = RunContext(run_dir=folder, project_dir=project.dir, run_id="0-fit", device=facts.id, seed=spec.seed)
    builder = Builder(spec, plan, inputs, shards, facts, context, Ranks(0, 1, torch.device(facts.id)))
    try:
        parts = builder.build()
        made = _timed(builder, parts, facts, time.perf_counter() - began, tokenizing)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    tell_speed(plan, facts, made.tokens_per_second, made.dtype)
    return {"measured": asdict(made), "formula": asdict(dial.estimate(plan, facts, correct=False)), "plan": plan.to_json(),
            "problems": [asdict(p) for p in plan.problems]}


def _timed(builder: Builder, parts: Parts, facts: DeviceFacts, building: float, tokenizing: float) -> Measured:
    plan, trainer, model = builder.plan, parts.trainer, parts.model
    clock = Clock(facts)
    if trainer.state.compiled:
        start_compiled(parts, builder.ranks, builder.context, settled=builder.spec.compile == "on")
    micro, update = timed_steps(parts, clock, plan.grad_clip)
    step = micro * (plan.rows_per_step / trainer.state.micro_batch_size) + update
    joules = clock.joules_per_second()
    evaluated = min(plan.eval_tokens, 4 * plan.config.max_seq_len * parts.evaluation.batch_size)
    evaluation = clock.best(lambda: builder.values(model, parts.evaluation, evaluated), 2) * plan.eval_tokens / evaluated
    sample = clock.best(lambda: builder.sample(model, 0), 1)
    checkpoints = Checkpoints(builder.context, lambda folder: builder.inputs.write_model(folder, model))
    checkpoint = clock.best(lambda: checkpoints.save(TrainState(step=1), trainer.optimizer.state(), "asked"), 1)
    evaluations = (plan.steps // plan.eval_every + 1) if plan.eval_every else 0
    saves = evaluations + (plan.steps // plan.checkpoint_every_steps if plan.checkpoint_every_steps else 0) + 2
    start = building + tokenizing + parts.compile_seconds
    seconds = (start + plan.steps * step + (evaluations + FINAL_EVALUATION) * evaluation + saves * checkpoint
               + ((plan.steps // plan.sample_every + 1) * sample if plan.sample_every else 0.0))
    memory = devices.memory_in_use(facts).peak
    return Measured(seconds=seconds, tokens_per_second=plan.tokens_per_step / step, memory=memory, step_seconds=step,
                    evaluation_seconds=evaluation, sample_seconds=sample, checkpoint_seconds=checkpoint, start_seconds=start,
                    compile_seconds=parts.compile_seconds, joules=None if joules is None else joules * seconds,
                    micro_batch_size=trainer.state.micro_batch_size, dtype=trainer.state.dtype, compiled=trainer.state.compiled)
