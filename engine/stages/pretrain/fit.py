"""The measured fit: a warm-up and three timed steps at the chosen settings, and what follows for the whole run.

It runs the parts that the run will use (prepare.py), at the longest shape, on the corpus' first documents. A step of many micro batches is
one micro batch timed and multiplied. Validation, samples, saving, tokenizing and compiling are timed too: the total is of everything. The
process around it is measure.py.
"""

import shutil
import statistics
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from engine.contract.context import RunContext
from engine.contract.machine import DeviceFacts
from engine.project import files, layout
from engine.project.project import Project
from engine.stages.pretrain import dial
from engine.stages.pretrain.prepare import Builder, Inputs, Parts, check_fit, first_call, start_compiled, tell_speed
from engine.stages.pretrain.run import FINAL_EVALUATION
from engine.stages.pretrain.spec import PretrainSpec
from engine.text.corpus import Corpus
from engine.text.shards import TokenShards
from engine.training import devices
from engine.training.checkpoints import Checkpoints, TrainState
from engine.training.optim import clip_gradients, gradient_norm
from engine.training.ranks import Ranks

TIMED_STEPS = 3
TASTE_TOKENS = 200_000


@dataclass(frozen=True)
class Measured:
    """Seconds of one step, of one validation, one round of samples, one checkpoint, of what comes before the first step; and the whole.
    `memory`: peak in bytes of the process (CPU) or on the device. `joules` of the whole run, None where the device does not tell."""

    seconds: float
    tokens_per_second: float
    memory: int
    step_seconds: float
    evaluation_seconds: float
    sample_seconds: float
    checkpoint_seconds: float
    start_seconds: float
    compile_seconds: float
    joules: float | None
    micro_batch_size: int
    dtype: str
    compiled: bool


class Taste:
    """The first documents of a split, tokenized in memory; or the split's shards when they are there."""

    def __init__(self, inputs: Inputs, corpus: Corpus, split: str, wanted: int) -> None:
        tokenizer = inputs.tokenizer
        begin = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
        end = [] if tokenizer.eos_id is None else [tokenizer.eos_id]
        parts, lengths, self.bytes, tokens = [], [], 0, 0
        for texts in corpus.texts(split):
            for text in texts:
                ids = np.concatenate([begin, tokenizer.encode_array(text), end]).astype(np.int64)
                parts.append(ids)
                lengths.append(len(ids))
                tokens, self.bytes = tokens + len(ids), self.bytes + len(text.encode("utf-8", "replace"))
                if tokens >= wanted:
                    break
            if tokens >= wanted:
                break
        self._ids = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
        self.starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)

    @property
    def tokens(self) -> int:
        return len(self._ids)

    @property
    def documents(self) -> int:
        return len(self.starts) - 1

    def document(self, number: int) -> np.ndarray:
        return self._ids[self.starts[number]:self.starts[number + 1]]

    def slice(self, start: int, stop: int) -> np.ndarray:
        return self._ids[start:stop]


class Tastes:
    """Both splits; `total_tokens` is the estimate for the whole training text."""

    def __init__(self, inputs: Inputs) -> None:
        corpus = Corpus.open(inputs.corpus.path)
        began = time.perf_counter()
        self._splits = {name: Taste(inputs, corpus, name, TASTE_TOKENS) for name in ("train", "validation")}
        taken = sum(s.bytes for s in self._splits.values())
        whole = corpus.counts("train").bytes + corpus.counts("validation").bytes
        self.tokenize_seconds = (time.perf_counter() - began) * whole / max(1, taken)
        train = self._splits["train"]
        self.total_tokens = round(train.tokens * corpus.counts("train").bytes / max(1, train.bytes))

    def split(self, name: str) -> Taste:
        return self._splits[name]


def measure(project: Project, spec: PretrainSpec, facts: DeviceFacts) -> dict[str, Any]:
    """Measured and formula figures of a spec on a device, as plain values. Raises what a run would: OutOfMemory, NotFound, SettingError."""
    began = time.perf_counter()
    inputs = Inputs.load(project, spec)
    found = project.artifacts.find("tokens", (inputs.corpus.id, inputs.tokenizer_artifact.id))
    if found:
        shards, tokenizing, total = TokenShards.open(found.path), 0.0, TokenShards.open(found.path).split("train").tokens
    else:
        shards = Tastes(inputs)
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
    clock = _Clock(facts)
    if trainer.state.compiled:
        start_compiled(parts, builder.ranks, builder.context, settled=builder.spec.compile == "on")
    while not first_call(parts) or (timed := _steps(parts, clock, plan.grad_clip)) is None:
        trainer.halve()  # as the run would; raises when there is nothing left to halve
    micro, update = timed
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


def _steps(parts: Parts, clock: "_Clock", clip: float) -> tuple[float, float] | None:
    """Medians of three: seconds of a micro batch there and back, and of norm, clipping and update. One round of warm-up before. None:
    memory ran out."""
    trainer, micros, updates = parts.trainer, [], []
    for n in range(TIMED_STEPS + 1):
        if n == 1:
            clock.start_energy()
        batch = parts.rows.batches(n, trainer.state.micro_batch_size)[0]
        began = time.perf_counter()
        if trainer.forward_backward([batch], batch.weight) is None:
            return None
        devices.synchronize(trainer.device)
        middle = time.perf_counter()
        norm = gradient_norm(trainer.optimizer.parameters).item()
        clip_gradients(trainer.optimizer.parameters, norm, clip)
        trainer.optimizer.step(1e-6)
        trainer.optimizer.zero_grad()
        devices.synchronize(trainer.device)
        if n:
            micros.append(middle - began)
            updates.append(time.perf_counter() - middle)
    clock.stop_energy()
    return statistics.median(micros), statistics.median(updates)


class _Clock:
    """Times calls, and reads the device's energy around the steps where it tells."""

    def __init__(self, facts: DeviceFacts) -> None:
        self._facts, self._counter = facts, devices.energy_counter(facts)
        self._spent: tuple[float, float] | None = None
        self._from = (0.0, 0.0)

    def start_energy(self) -> None:
        if self._counter:
            self._from = self._counter.joules(), time.perf_counter()

    def stop_energy(self) -> None:
        if self._counter:
            self._spent = self._counter.joules() - self._from[0], time.perf_counter() - self._from[1]

    def joules_per_second(self) -> float | None:
        return self._spent[0] / self._spent[1] if self._spent and self._spent[1] > 0 else None

    def best(self, work: Callable[[], Any], times: int) -> float:
        """Seconds of the quickest of `times` calls: the first may still be warming up."""
        taken = []
        for _ in range(times):
            began = time.perf_counter()
            work()
            devices.synchronize(self._facts.id)
            taken.append(time.perf_counter() - began)
        return min(taken)
