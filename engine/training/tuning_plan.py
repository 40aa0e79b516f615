"""The numbers of a run that goes on training a model, each None of a TuningSpec filled in, and what it will cost by formula. No torch,
nothing measured.

Rules and where they come from:

learning rate  AdamW 1.2e-3 at a width of 160 (measured on the demo's model), falling with the square root of the width as in pretraining;
               past a width of 1,024 with the width itself, since large models have more to lose; below 2,048 tokens a step, the batch
               it was measured with, with the square root of the batch (measured: with 4 examples a step instead of 32, half the rate
               answers 96 % instead of 71 % of questions on people that no example names); LoRA ten times that, at most 1e-2
warm-up        3 % of the steps but ten at least, where there are enough: AdamW's first steps are as long as any, and in short runs the
               loss of a good model jumped at once (measured); then a decay to the end
micro batch    as large as memory allows, up to where it no longer pays

Steps and batch come from the stage, which knows its data.
"""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from engine.contract.errors import OutOfMemory, SettingError
from engine.contract.machine import DeviceFacts
from engine.contract.tuning import TuningSpec
from engine.contract.units import count, number, size
from engine.contract.words import tr
from engine.model import memory
from engine.model.config import ModelConfig
from engine.model.speed import MEMORY_SHARE, PROCESS, efficiency, launches, peak

WIDTH, RATE, BATCH, LORA_TIMES, LORA_MOST = 160, 1.2e-3, 2048, 10.0, 1e-2
WIDE = 1024
LEAST_WARMUP = 10
EVALUATION_SHARE = 0.2
"""Of the trained tokens, what all validations during a run may read; reading costs a third of training."""
LEAST_EVALUATED = 8_192
PAYS = {"cpu": 8192, "cuda": 65_536, "mps": 16_384}
"""Tokens of a micro batch past which larger ones are no faster."""
UNITS = {"examples": tr("examples"), "rows": tr("rows"), "pairs": tr("pairs"), "answers": tr("answers")}
METHODS = {"full": tr("Full training"), "lora": "LoRA", "qlora": "QLoRA"}


@dataclass(frozen=True)
class Load:
    """What a stage's data ask of a run.

    batch            rows or examples between two updates, as people count them: `unit` says which
    units            what a step hands to the model, over all ranks, in micro batches: rows or examples
    seq_len          tokens of the longest of these
    tokens_per_step  on average
    predicts         whether the next token is predicted at every position: a reward model computes no logits
    beside           bytes of what stands in memory beside the model: a reference, a reward model
    aside            seconds that a step takes besides learning: sampling what is learned from
    """

    steps: int
    batch: int
    units: int
    seq_len: int
    tokens_per_step: float
    epochs: float
    unit: str = "rows"
    predicts: bool = True
    beside: int = 0
    aside: float = 0.0


@dataclass(frozen=True)
class Cost:
    """By formula: bytes at the peak, seconds of a step and of all steps, tokens a second. `limit`: memory there is, 0 unknown."""

    memory: int
    limit: int
    step_seconds: float
    seconds: float
    tokens_per_second: float

    @property
    def fits(self) -> bool:
        return not self.limit or self.memory <= MEMORY_SHARE * self.limit


@dataclass(frozen=True)
class TuningPlan:
    """A TuningSpec with every number filled in. `tokens`: those whose rows LoRA trains."""

    config: ModelConfig
    method: str
    trained: memory.Method
    trainable: int
    learning_rate: float
    weight_decay: float
    beta1: float
    beta2: float
    grad_clip: float
    warmup_steps: int
    decay: str
    final_lr_share: float
    load: Load
    micro_batch_size: int
    activation_checkpointing: bool
    eval_every: int
    sample_every: int
    checkpoint_every_steps: int
    checkpoint_every_minutes: float
    dtype: str
    cost: Cost
    tokens: tuple[int, ...] = ()

    @property
    def steps(self) -> int:
        return self.load.steps

    def sentence(self) -> str:
        """What was chosen, for people."""
        return tr("{method} of {trainable} of {parameters} parameters: {steps} steps of {batch} {unit}, learning rate {rate}.",
                  method=METHODS[self.method], trainable=count(self.trainable), parameters=count(self.config.parameters),
                  steps=number(self.steps), batch=number(self.load.batch), rate=f"{self.learning_rate:.2g}",
                  unit=UNITS[self.load.unit])

    def to_json(self) -> dict[str, Any]:
        """For events and files."""
        return {**asdict(self), "config": self.config.model_dump(), "steps": self.steps}


def resolve(spec: TuningSpec, config: ModelConfig, load: Load, device: DeviceFacts, world_size: int = 1,
            tokens: tuple[int, ...] = ()) -> TuningPlan:
    """The plan of a spec for a model and what its data ask; `tokens` are what spec.lora_tokens comes to. SettingError where the model has
    not what is to be frozen or adapted."""
    steps, frozen = load.steps, spec.frozen_layers if spec.method == "full" else 0
    if frozen > config.num_layers:
        raise SettingError(tr("{layers} layers cannot be frozen: the model has {count}.", layers=frozen, count=config.num_layers),
                           tr("Freeze fewer."), field="frozen_layers")
    trained = memory.Method.of(spec, len(tokens))
    plan = TuningPlan(
        config=config, method=spec.method, trained=trained, trainable=trained.trained(config), tokens=tokens,
        learning_rate=spec.learning_rate or learning_rate(spec.method, config.hidden_size, load.tokens_per_step),
        weight_decay=spec.weight_decay,
        beta1=spec.beta1, beta2=spec.beta2, grad_clip=spec.grad_clip, warmup_steps=_warmup(spec.warmup_share, steps), decay=spec.decay,
        final_lr_share=spec.final_lr_share, load=load, micro_batch_size=1, activation_checkpointing=False,
        eval_every=max(1, steps // 10) if spec.eval_every is None else spec.eval_every,
        sample_every=max(1, steps // 5) if spec.sample_every is None else spec.sample_every,
        checkpoint_every_steps=max(1, steps // 10) if spec.checkpoint_every_steps is None else spec.checkpoint_every_steps,
        checkpoint_every_minutes=spec.checkpoint_every_minutes, dtype=device.dtype if spec.dtype == "auto" else spec.dtype,
        cost=Cost(0, 0, 0.0, 0.0, 0.0))
    return _fit(plan, spec, device, world_size)


def learning_rate(method: str, width: int, tokens_per_step: float = BATCH) -> float:
    """AdamW's peak for a method, a width and a batch."""
    full = RATE * math.sqrt(WIDTH / min(width, WIDE)) * min(1.0, WIDE / width) * min(1.0, math.sqrt(tokens_per_step / BATCH))
    return full if method == "full" else min(LORA_TIMES * full, LORA_MOST)


def _warmup(share: float, steps: int) -> int:
    """Steps of warm-up; a share of 0 means none."""
    return max(round(share * steps), min(LEAST_WARMUP, steps // 4)) if share else 0


def evaluated_tokens(most: int, load: Load, eval_every: int, seq_len: int) -> int:
    """How much held-out text is read each time: the same before, while and after, so that figures can be compared, and all together at
    most EVALUATION_SHARE of what is trained on."""
    times = load.steps // eval_every + 2 if eval_every else 2
    affordable = EVALUATION_SHARE * load.steps * load.tokens_per_step / times
    return max(seq_len, min(most, max(LEAST_EVALUATED, round(affordable))))


def check_fit(plan: TuningPlan, device: DeviceFacts) -> None:
    """On a CPU, running out of memory kills the process without a word: refuse before the start, with numbers."""
    if device.kind == "cpu" and device.memory_free and plan.cost.memory > MEMORY_SHARE * device.memory_free:
        remedy = tr("Choose LoRA, a shorter context, a smaller micro batch or activation checkpointing, or close other programs.")
        if plan.method != "full":
            remedy = tr("Choose a smaller model, a shorter context, a smaller micro batch or activation checkpointing.")
        raise OutOfMemory(tr("Training would need about {need} of memory; {free} are free.", need=size(plan.cost.memory),
                             free=size(device.memory_free)), remedy)


def cost(plan: TuningPlan, device: DeviceFacts, world_size: int = 1) -> Cost:
    """Memory and time of a plan on a device."""
    config, load = plan.config, plan.load
    counted = memory.training(config, micro_batch_size=plan.micro_batch_size, seq_len=load.seq_len, dtype=plan.dtype,
                              activation_checkpointing=plan.activation_checkpointing, device=device.kind, method=plan.trained)
    operations = config.flops_per_token(load.seq_len) * (2 / 3 if plan.method != "full" else 1.0)
    rate = peak(device, plan.dtype) * efficiency(device.kind, plan.dtype, config.hidden_size)
    rate *= 0.75 if plan.activation_checkpointing else 1.0
    passes = math.ceil(load.units / plan.micro_batch_size)
    update = 28 * plan.trainable / {"cpu": 3e10, "cuda": 1.5e12, "mps": 1e11}[device.kind]
    learning = load.tokens_per_step * operations / rate + launches(device.kind, config.num_layers) * passes
    step = (learning + load.aside) / world_size + update
    limit = device.memory_total if device.kind == "cpu" else device.memory_free or device.memory_total
    needed = counted.total - (0 if load.predicts else counted.logits)
    return Cost(PROCESS[device.kind] + needed + load.beside, limit, step, step * load.steps, load.tokens_per_step / step)


def _fit(plan: TuningPlan, spec: TuningSpec, device: DeviceFacts, world_size: int) -> TuningPlan:
    """Micro batch and activation checkpointing so that the peak stays within the device's memory, if that can be; and the cost."""
    units = max(1, plan.load.units // world_size)
    most = max(1, PAYS[device.kind] // plan.load.seq_len)
    sizes: Iterable[int] = [spec.micro_batch_size] if spec.micro_batch_size else _sizes(min(units, most), units)
    modes = {"on": [True], "off": [False], "auto": [False, True]}[spec.activation_checkpointing]
    for checkpointing in modes:
        for micro in sizes:
            tried = replace(plan, micro_batch_size=min(micro, units), activation_checkpointing=checkpointing)
            tried = replace(tried, cost=cost(tried, device, world_size))
            if tried.cost.fits:
                return tried
    return tried


def _sizes(most: int, units: int) -> list[int]:
    """Micro batches to try, largest first: those that divide a step evenly, where there are such of at least half of `most`."""
    even = [n for n in range(most, 0, -1) if units % n == 0]
    return even if even[0] > most // 2 else [most, *even]
