"""One dial, depth, sets the rest: width, heads, batch, tokens, learning rates, intervals; and what that will cost. No torch, nothing
measured.

`resolve` fills in every None of a PretrainSpec. The rules and where they come from:

width           64 a layer from 4 layers on (nanochat); 64, 96, 160 below
heads           of 64, below a width of 256 of 32
MLP             8/3 of the width in multiples of 64 (Llama), 4 times (GPT-2)
tokens          `tokens_per_parameter` for each parameter of the layers' matrices and the output head (Chinchilla, nanochat)
batch           nanochat's power law in the tokens, but small enough for a thousand steps: short runs need many updates (measured)
embeddings      tied in small models, and where the table would be a fifth of the model
learning rates  Muon 0.02; AdamW 4e-3 at a width of 160 (measured), falling with the square root of the width
decay           linear over the last half (measured)

Estimates come from arithmetic and the device's measured peak; speeds measured here before correct them. The measured fit (measure.py) is
better.
"""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from engine.contract.errors import SettingError
from engine.contract.machine import DeviceFacts
from engine.contract.spec import Problem
from engine.contract.units import count, duration, number, size
from engine.contract.words import tr
from engine.model import memory
from engine.model.config import ModelConfig
from engine.model.speed import MEMORY_SHARE, PROCESS, efficiency, launches, peak
from engine.project import files, layout
from engine.stages.pretrain.spec import PretrainSpec

DEPTHS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32)
BYTES_PER_TOKEN = 4.0
REFERENCE_BATCH, REFERENCE_TOKENS, BATCH_POWER = 2**19, 1.2e9, 0.383
MOST_EPOCHS = 40


@dataclass(frozen=True)
class Estimate:
    """By formula: bytes at the peak, tokens a second while stepping, seconds of steps and of everything, operations. `limit` is the memory
    there is (0: unknown): a CPU's whole, since the same settings must give the same plan; a GPU's free."""

    memory: int
    limit: int
    tokens_per_second: float
    step_seconds: float
    seconds: float
    flops: float

    @property
    def fits(self) -> bool:
        return not self.limit or self.memory <= MEMORY_SHARE * self.limit


@dataclass(frozen=True)
class Plan:
    """A PretrainSpec with every number filled in. `epochs` is how often the corpus is passed over; `problems` are warnings."""

    config: ModelConfig
    depth: int
    optimizer: str
    learning_rate: float
    matrix_learning_rate: float | None
    weight_decay: float
    beta1: float
    beta2: float
    grad_clip: float
    warmup_steps: int
    decay: str
    decay_share: float
    final_lr_share: float
    steps: int
    rows_per_step: int
    tokens_per_step: int
    tokens: int
    epochs: float
    micro_batch_size: int
    activation_checkpointing: bool
    eval_every: int
    eval_tokens: int
    sample_every: int
    sample_tokens: int
    checkpoint_every_steps: int
    checkpoint_every_minutes: float
    dtype: str
    estimate: Estimate
    problems: tuple[Problem, ...] = field(default=())

    @property
    def grad_accum_steps(self) -> int:
        return math.ceil(self.rows_per_step / self.micro_batch_size)

    def to_json(self) -> dict[str, Any]:
        """For events and files."""
        made = {k: v for k, v in asdict(self).items() if k not in ("config", "problems")}
        return {**made, "grad_accum_steps": self.grad_accum_steps, "config": self.config.model_dump()}


@dataclass(frozen=True)
class Stop:
    """One stop of the size dial. `fits` is about memory."""

    depth: int
    parameters: int
    tokens: int
    seconds: float
    memory: int
    fits: bool


def resolve(spec: PretrainSpec, vocab_size: int, corpus_tokens: int = 0, corpus_bytes: int = 0, device: DeviceFacts | None = None,
            world_size: int = 1) -> Plan:
    """The plan of a spec. `corpus_tokens` 0: guessed from the bytes at four a token. SettingError for a shape that cannot be built."""
    device = device or DeviceFacts(id="cpu", kind="cpu", title="", threads=1)
    config = model_config(spec, vocab_size)
    corpus_tokens = corpus_tokens or round(corpus_bytes / BYTES_PER_TOKEN)
    scaled = config.matrix_parameters + vocab_size * config.hidden_size
    wanted = spec.tokens or round(min(spec.tokens_per_parameter * scaled, MOST_EPOCHS * corpus_tokens or math.inf))
    T = config.max_seq_len
    rows = max(world_size, round((spec.tokens_per_step or _batch(wanted)) / T), 1)
    rows += -rows % world_size
    steps = spec.steps or max(1, round(wanted / (rows * T)))
    muon = spec.optimizer == "muon"
    learning_rate = spec.learning_rate or (4e-3 if muon else 3e-3) * math.sqrt(160 / config.hidden_size)
    dtype = device.dtype if spec.dtype == "auto" else spec.dtype
    evaluations = spec.eval_every if spec.eval_every is not None else max(1, steps // 20)
    times = steps // evaluations + 1 if evaluations else 1
    tokens = steps * rows * T
    plan = Plan(
        config=config, depth=config.num_layers, optimizer=spec.optimizer, learning_rate=learning_rate,
        matrix_learning_rate=(spec.matrix_learning_rate or 0.02) if muon else None,
        weight_decay=0.1 if spec.weight_decay is None else spec.weight_decay, beta1=spec.beta1, beta2=spec.beta2, grad_clip=spec.grad_clip,
        warmup_steps=min(40, steps // 20) if spec.warmup_steps is None else spec.warmup_steps, decay=spec.decay,
        decay_share=spec.decay_share, final_lr_share=spec.final_lr_share, steps=steps, rows_per_step=rows, tokens_per_step=rows * T,
        tokens=tokens, epochs=tokens / corpus_tokens if corpus_tokens else 0.0, micro_batch_size=1, activation_checkpointing=False,
        eval_every=evaluations, eval_tokens=max(T, min(spec.eval_tokens, round(0.18 * tokens / times))),
        sample_every=max(1, steps // 10) if spec.sample_every is None else spec.sample_every, sample_tokens=spec.sample_tokens,
        checkpoint_every_steps=max(1, steps // 10) if spec.checkpoint_every_steps is None else spec.checkpoint_every_steps,
        checkpoint_every_minutes=spec.checkpoint_every_minutes, dtype=dtype,
        estimate=Estimate(0, 0, 0.0, 0.0, 0.0, 0.0))
    plan = _fit(plan, spec, device, world_size)
    return replace(plan, problems=tuple(_warnings(plan, corpus_tokens)))


def model_config(spec: PretrainSpec, vocab_size: int) -> ModelConfig:
    """The model's shape alone. SettingError where it cannot be built."""
    width = spec.width or {1: 64, 2: 96, 3: 160}.get(spec.depth, 64 * spec.depth)
    heads = spec.num_heads or _heads(width)
    if width % heads or (width // heads) % 2:
        raise SettingError(tr("{heads} heads cannot share a width of {width} evenly.", heads=heads, width=width),
                           tr("Choose a number of heads so that width divided by heads is even."), field="num_heads")
    kv = spec.num_kv_heads or heads
    if heads % kv:
        raise SettingError(tr("{kv} key and value heads do not divide {heads} heads.", kv=kv, heads=heads),
                           tr("Choose a divisor of the number of heads."), field="num_kv_heads")
    llama = spec.shape == "llama"
    middle = spec.intermediate_size or (64 * math.ceil(8 * width / 3 / 64) if llama else 4 * width)
    config = ModelConfig(
        shape=spec.shape, vocab_size=vocab_size, hidden_size=width, num_layers=spec.depth, num_heads=heads,
        num_kv_heads=kv if llama else heads, head_dim=width // heads, intermediate_size=middle, max_seq_len=spec.max_seq_len,
        rope_theta=spec.rope_theta, qk_norm=spec.qk_norm and llama, tie_embeddings=True, attention_bias=not llama, output_bias=not llama,
        mlp_bias=not llama, dropout=spec.dropout)
    tie = spec.tie_embeddings
    if tie is None:
        tie = not llama or config.matrix_parameters < 5e7 or vocab_size * width > 0.2 * config.matrix_parameters
    return config.model_copy(update={"tie_embeddings": tie})


def stops(spec: PretrainSpec, vocab_size: int, corpus_tokens: int = 0, corpus_bytes: int = 0, device: DeviceFacts | None = None,
          depths: Iterable[int] = DEPTHS) -> list[Stop]:
    """What each size would be and take, with the spec's other settings. Width, heads and MLP follow the dial: overrides belong to one
    size."""
    found = []
    for depth in depths:
        sized = spec.model_copy(update={"depth": depth, "width": None, "num_heads": None, "num_kv_heads": None, "intermediate_size": None})
        plan = resolve(sized, vocab_size, corpus_tokens, corpus_bytes, device)
        found.append(Stop(depth, plan.config.parameters, plan.tokens, plan.estimate.seconds, plan.estimate.memory, plan.estimate.fits))
    return found


def depth_for_minutes(minutes: float, spec: PretrainSpec, vocab_size: int, corpus_tokens: int = 0, corpus_bytes: int = 0,
                      device: DeviceFacts | None = None) -> int:
    """The largest size that fits in memory and ends in time; the smallest if none does."""
    within = [s.depth for s in stops(spec, vocab_size, corpus_tokens, corpus_bytes, device, range(1, 33)) if s.fits
              and s.seconds <= 60 * minutes]
    return max(within, default=1)


# ---- what it will cost


def training_memory(config: ModelConfig, optimizer: str, dtype: str, rows: int, checkpointing: bool, kind: str = "cpu") -> int:
    """Bytes at the peak of a training step with `rows` sequences at once (engine/model/memory.py), and the process."""
    T = config.max_seq_len
    counted = memory.training(config, micro_batch_size=rows, seq_len=T, dtype=dtype, optimizer=optimizer,
                              activation_checkpointing=checkpointing).total
    scores = 0
    if kind == "cpu" and dtype == "bfloat16" and T <= 1024:  # attention as plain products keeps its weights
        scores = 3 * 2 * rows * config.num_heads * T * T * (1 if checkpointing else config.num_layers)
    update = 12 * config.matrix_parameters if optimizer == "muon" else 0
    return PROCESS[kind] + counted + max(scores, update)


def estimate(plan: Plan, device: DeviceFacts, world_size: int = 1, correct: bool = True) -> Estimate:
    """Time and memory of a plan on a device; `correct` by speeds measured here before."""
    config, T = plan.config, plan.config.max_seq_len
    flops = config.flops_per_token(T)
    needed = training_memory(config, plan.optimizer, plan.dtype, plan.micro_batch_size, plan.activation_checkpointing, device.kind)
    rate = peak(device, plan.dtype) * efficiency(device.kind, plan.dtype, config.hidden_size)
    rate *= 0.75 if plan.activation_checkpointing else 1.0
    fixed = launches(device.kind, config.num_layers)
    step = (plan.tokens_per_step * flops / rate + fixed * plan.grad_accum_steps) / world_size + _update_seconds(plan, device)
    step *= _correction(device, plan.dtype, flops) if correct else 1.0
    forward = plan.tokens_per_step and step / plan.tokens_per_step / 2.6
    times = plan.steps // plan.eval_every + 1 if plan.eval_every else 0
    evaluating = (times + 4) * plan.eval_tokens * forward
    writing = (plan.steps // plan.sample_every + 1 if plan.sample_every else 0) * plan.sample_tokens * fixed * 0.7
    seconds = plan.steps * step + evaluating + writing
    limit = device.memory_total if device.kind == "cpu" else device.memory_free or device.memory_total
    return Estimate(needed, limit, plan.tokens_per_step / step, step, seconds, flops * plan.tokens)


def known_speeds() -> list[dict[str, Any]]:
    """Training speeds measured on this machine: {"device", "dtype", "flops", "tokens_per_second", "estimate"} each, by runs and fits."""
    raw = files.read_json(layout.machine_file(), {})
    speeds = raw.get("speeds", {}) if isinstance(raw, dict) else {}
    return [s for s in speeds.values() if isinstance(s, dict)]


def _correction(device: DeviceFacts, dtype: str, flops: float) -> float:
    """Factor on the formula's step time: what the nearest model measured on this device took, over what the formula said for it."""
    near = [s for s in known_speeds() if s.get("device") == device.title and s.get("dtype") == dtype and s.get("estimate")]
    near.sort(key=lambda s: abs(math.log(s["flops"] / flops)))
    if not near or abs(math.log(near[0]["flops"] / flops)) > math.log(4):
        return 1.0
    return near[0]["estimate"] / near[0]["tokens_per_second"]


def _update_seconds(plan: Plan, device: DeviceFacts) -> float:
    """One optimizer step: a pass over all state, and Muon's Newton-Schulz products (five times 4 r²c + 2 r³ for each matrix)."""
    config = plan.config
    passes = 28 * config.parameters / ({"cpu": 3e10, "cuda": 1.5e12, "mps": 1e11}[device.kind])
    if plan.optimizer != "muon":
        return passes
    C, M, Q, K = config.hidden_size, config.intermediate_size, config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    shapes = [(Q, C), (K, C), (K, C), (C, Q), *[(M, C)] * (3 if config.shape == "llama" else 2)]
    products = sum(5 * (4 * min(s) ** 2 * max(s) + 2 * min(s) ** 3) for s in shapes) * config.num_layers
    return passes + products / (0.5 * peak(device, "bfloat16"))


# ---- the parts of resolve


def _heads(width: int) -> int:
    """Heads of about 64 (32 in narrow models) that divide the width into even parts."""
    target = 64 if width >= 256 else 32
    fitting = [h for h in range(1, width // 2 + 1) if width % h == 0 and (width // h) % 2 == 0]
    if not fitting:
        raise SettingError(tr("A width of {width} cannot be cut into heads.", width=width), tr("Choose an even width."), field="width")
    return min(fitting, key=lambda h: abs(math.log(width / h / target)))


def _batch(tokens: int) -> int:
    """Tokens a step, a power of two."""
    law = REFERENCE_BATCH * (tokens / REFERENCE_TOKENS) ** BATCH_POWER
    return 2 ** max(10, math.floor(math.log2(max(1.0, min(law, tokens / 700)))))


def _fit(plan: Plan, spec: PretrainSpec, device: DeviceFacts, world_size: int) -> Plan:
    """Micro batch and activation checkpointing so that the peak stays within the device's memory, if that can be; and the estimate."""
    rows = plan.rows_per_step // world_size
    most = {"cpu": 8192, "cuda": 65_536, "mps": 16_384}[device.kind] // plan.config.max_seq_len
    sizes = [spec.micro_batch_size] if spec.micro_batch_size else [n for n in range(min(rows, max(1, most)), 0, -1) if rows % n == 0]
    modes = {"on": [True], "off": [False], "auto": [False, True]}[spec.activation_checkpointing]
    for checkpointing in modes:
        for micro in sizes:
            tried = replace(plan, micro_batch_size=min(micro, rows), activation_checkpointing=checkpointing)
            tried = replace(tried, estimate=estimate(tried, device, world_size))
            if tried.estimate.fits:
                return tried
    return tried


def _warnings(plan: Plan, corpus_tokens: int) -> list[Problem]:
    found = []
    if plan.epochs > 1.1 * MOST_EPOCHS:  # what the dial sets itself stays at about that
        found.append(Problem("tokens",
                             tr("The corpus would be passed over {times} times: past about {most} the model learns it by heart.",
            times=number(plan.epochs), most=MOST_EPOCHS), tr("Choose a smaller size or fewer tokens, add text, or set dropout.")))
    if corpus_tokens and plan.config.max_seq_len > corpus_tokens:
        found.append(Problem("max_seq_len", tr("The context of {context} is longer than the whole corpus ({tokens} tokens).",
            context=number(plan.config.max_seq_len), tokens=count(corpus_tokens)), tr("Choose a shorter context, or add text.")))
    if not plan.estimate.fits:
        found.append(Problem("depth", tr("It needs about {need} of memory; {limit} are free.", need=size(plan.estimate.memory),
            limit=size(plan.estimate.limit)), tr("Choose a smaller size, a shorter context or a smaller batch.")))
    if plan.estimate.seconds > 30 * 86400:
        found.append(Problem("depth", tr("It would take about {time}.", time=duration(plan.estimate.seconds)),
                             tr("Choose a smaller size or fewer tokens.")))
    return found
