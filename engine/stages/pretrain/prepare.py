"""What pretraining works with, from a spec to a Trainer: corpus and tokenizer, token shards, the model, the parts around it. run.py says in
which order; measure.py uses the same parts for a few timed steps, so that what is measured is what will run.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from engine.contract.context import RunContext
from engine.contract.errors import InputError, OutOfMemory
from engine.contract.events import Facts, Notice, Sample
from engine.contract.machine import DeviceFacts
from engine.contract.units import number, size
from engine.contract.words import tr
from engine.model.checkpoint import WEIGHTS, load_into, save_weights
from engine.model.decoder import Decoder
from engine.model.speed import MEMORY_SHARE
from engine.project.artifacts import Artifact
from engine.project.project import Project
from engine.sampling.generate import generate
from engine.sampling.sampling import Sampling
from engine.stages.pretrain import dial
from engine.stages.pretrain.spec import PretrainSpec
from engine.text.shards import TokenShards
from engine.text.tokenizer import Tokenizer
from engine.training import devices, precision
from engine.training.batches import TokenRows
from engine.training.checkpoints import Checkpoint, Checkpoints, TrainState
from engine.training.compiling import next_token_loss
from engine.training.evaluate import TextEvaluation
from engine.training.loop import LoopSettings, Trainer
from engine.training.optim import Optimizer, OptimizerSettings
from engine.training.ranks import Ranks
from engine.training.schedule import Schedule
from engine.training.tokens import border_id, token_bytes

BORDERS_FROM_DOCUMENTS = 16
EVALUATION_ROWS = 8
SAMPLE_PROMPT_TOKENS = 12
SAMPLES = 3


@dataclass(frozen=True)
class Inputs:
    """What a run learns from. `token_bytes` [V]: bytes of text behind each id."""

    corpus: Artifact
    tokenizer_artifact: Artifact
    tokenizer: Tokenizer
    token_bytes: np.ndarray

    @classmethod
    def load(cls, project: Project, spec: PretrainSpec) -> "Inputs":
        """Raises NotFound for artifacts that are not there, InputError for ones of the wrong kind."""
        corpus, made = project.artifacts.get(spec.corpus), project.artifacts.get(spec.tokenizer)
        for artifact, kind in ((corpus, "corpus"), (made, "tokenizer")):
            if artifact.kind != kind:
                raise InputError(tr("{id} is not a {kind}.", id=artifact.id, kind=kind), tr("Choose another one."), field=kind)
        tokenizer = Tokenizer.load(made.path)
        return cls(corpus, made, tokenizer, token_bytes(tokenizer))

    @property
    def end_id(self) -> int:
        return border_id(self.tokenizer)

    def write_model(self, folder: Path, model: Decoder) -> None:
        save_weights(folder, model)
        self.tokenizer.save(folder)


def wants_borders(shards: TokenShards) -> bool:
    """Whether attention stops at the end of a document. A few long texts are one stream, and borders would only cost."""
    return shards.split("train").documents >= BORDERS_FROM_DOCUMENTS


def check_fit(plan: dial.Plan, facts: DeviceFacts) -> None:
    """On a CPU, running out of memory kills the process without a word: refuse before the start, with numbers."""
    if facts.kind == "cpu" and facts.memory_free and plan.estimate.memory > MEMORY_SHARE * facts.memory_free:
        raise OutOfMemory(tr("Training would need about {need} of memory; {free} are free.", need=size(plan.estimate.memory),
                             free=size(facts.memory_free)),
                          tr("Choose a smaller size, a shorter context or a smaller micro batch, or close other programs."))


@dataclass
class Parts:
    """The model and everything that trains it. `trainer` is ready; nothing has been stepped."""

    model: Decoder
    trainer: Trainer
    rows: TokenRows
    evaluation: TextEvaluation
    compile_reason: str
    dtype_reason: str
    compile_seconds: float = 0.0


class Builder:
    """Builds the Parts for a plan. `resumed` overrules what was decided before: format, compile, checkpointing stay as they began."""

    def __init__(self, spec: PretrainSpec, plan: dial.Plan, inputs: Inputs, shards: TokenShards, facts: DeviceFacts, context: RunContext,
                 ranks: Ranks) -> None:
        self.spec, self.plan, self.inputs, self.shards, self.facts = spec, plan, inputs, shards, facts
        self.context, self.ranks = context, ranks

    def build(self, resumed: Checkpoint | None = None) -> Parts:
        spec, plan, context = self.spec, self.plan, self.context
        state = resumed.state() if resumed else TrainState(micro_batch_size=plan.micro_batch_size,
                                                           checkpointing=plan.activation_checkpointing)
        dtype, dtype_reason = precision.choose_dtype(state.dtype if resumed else spec.dtype, self.facts, plan.config.hidden_size)
        model = Decoder(plan.config, seed=spec.seed).to(context.device)
        model.compute_dtype = dtype if dtype != torch.float32 else None
        model.activation_checkpointing = state.checkpointing
        wanted = ("on" if state.compiled else "off") if resumed else spec.compile
        seconds = dial.estimate(plan, self.facts, context.world_size, correct=False).seconds
        compiled, compile_reason = precision.choose_compile(wanted, self.facts, seconds)
        state.dtype, state.compiled = str(dtype).removeprefix("torch."), compiled
        borders = wants_borders(self.shards)
        rows = TokenRows(self.shards.split("train"), seq_len=plan.config.max_seq_len, rows_per_step=plan.rows_per_step, seed=spec.seed,
                         first_input=self.inputs.end_id, pad=self.inputs.end_id, borders=borders,
                         begin=None if borders else self.inputs.tokenizer.bos_id, rank=context.rank, world_size=context.world_size)
        evaluation = TextEvaluation(self.shards.split("validation"), self.inputs.token_bytes, seq_len=plan.config.max_seq_len,
                                    batch_size=max(EVALUATION_ROWS, plan.micro_batch_size), first_input=self.inputs.end_id,
                                    pad=self.inputs.end_id, borders=borders)
        optimizer = Optimizer(model.named_parameters(), OptimizerSettings(plan.learning_rate, plan.matrix_learning_rate, plan.weight_decay,
                                                                          plan.beta1, plan.beta2), model.matrix_parts())
        trainer = Trainer(
            model, loss=next_token_loss, source=rows, optimizer=optimizer, context=context, state=state,
            schedule=Schedule(plan.steps, plan.warmup_steps, plan.decay, plan.decay_share, plan.final_lr_share),
            settings=LoopSettings(plan.steps, plan.micro_batch_size, plan.grad_clip, plan.eval_every, plan.sample_every,
                                  plan.checkpoint_every_steps, plan.checkpoint_every_minutes, spec.patience),
            checkpoints=Checkpoints(context, lambda folder: self.inputs.write_model(folder, model), spec.keep_checkpoints),
            evaluate=lambda step: self.values(model, evaluation, plan.eval_tokens), sample=lambda step: self.sample(model, step),
            flops_per_token=plan.config.flops_per_token(plan.config.max_seq_len),
            peak=self.facts.peak(state.dtype))
        if resumed:
            load_into(resumed.path / WEIGHTS, model)
            trainer.resume(resumed)
            trainer.state.compiled = compiled
        return Parts(model, trainer, rows, evaluation, compile_reason, dtype_reason)

    def values(self, model: Decoder, evaluation: TextEvaluation, tokens: int) -> dict[str, float]:
        measured = evaluation.measure(model, tokens, self.ranks)
        return {"val_loss": measured.per_token, "bpb": measured.bits_per_byte}

    def prompts(self) -> list[tuple[str, list[int]]]:
        """(text, ids) of what the model is asked to continue: the spec's prompts, else beginnings of validation documents. What is too long
        for the context is cut, the text too: half of a short context is left for what it reads, since nothing follows from nothing."""
        tokenizer, first = self.inputs.tokenizer, [] if self.inputs.tokenizer.bos_id is None else [self.inputs.tokenizer.bos_id]
        if self.spec.sample_prompts:
            found = [(text, first + tokenizer.encode(text)) for text in self.spec.sample_prompts]
        else:
            split = self.shards.split("validation")
            if split.documents >= SAMPLES:
                starts = [int(split.starts[i * split.documents // SAMPLES]) for i in range(SAMPLES)]
            else:
                starts = [i * split.tokens // SAMPLES for i in range(SAMPLES)]
            special = set(tokenizer.special.values())
            parts = [[int(t) for t in split.slice(at, min(at + SAMPLE_PROMPT_TOKENS, split.tokens)) if int(t) not in special]
                     for at in starts]
            found = [(tokenizer.decode(ids), first + ids) for ids in parts if ids]
        context = self.plan.config.max_seq_len
        most = max(context - self.plan.sample_tokens, context // 2)
        return [(text if len(ids) <= most else tokenizer.decode(ids[len(first):most]), ids[:most] or [self.inputs.end_id])
                for text, ids in found]

    def sample(self, model: Decoder, step: int) -> None:
        """Let the model continue the prompts; its random numbers are its own."""
        if not self.context.is_main:
            return
        prompts, tokenizer = self.prompts(), self.inputs.tokenizer
        settings = Sampling(temperature=self.spec.sample_temperature, seed=self.spec.seed, max_new_tokens=self.spec.sample_tokens,
                            stop_ids=() if tokenizer.eos_id is None else (tokenizer.eos_id,))
        special = set(tokenizer.special.values())
        for (text, _), made in zip(prompts, generate(model, [ids for _, ids in prompts], settings, logprobs=False), strict=True):
            written = tokenizer.decode([id for id in made.ids if id not in special])
            self.context.emit(Sample(step=step, prompt=text, text=written, temperature=self.spec.sample_temperature))


def plan_facts(plan: dial.Plan, parts: Parts, facts: DeviceFacts) -> Facts:
    """What the page shows about a run before its first step."""
    state = parts.trainer.state
    return Facts(facts={
        "parameters": plan.config.parameters, "steps": plan.steps, "tokens": plan.tokens, "tokens_per_step": plan.tokens_per_step,
        "epochs": plan.epochs, "plan": plan.to_json(), "device_title": facts.title, "dtype": state.dtype,
                        "dtype_reason": parts.dtype_reason,
        "compiled": state.compiled, "compile_reason": parts.compile_reason, "compile_seconds": parts.compile_seconds,
        "peak_flops": facts.peak(state.dtype), "document_borders": parts.rows.borders})


def tell_problems(plan: dial.Plan, context: RunContext) -> None:
    """Warnings of the dial, as notices."""
    for n, problem in enumerate(plan.problems):
        context.emit(Notice(level="warning", code=f"plan_{problem.field or n}", title=tr("About these settings"), text=problem.sentence,
                            remedy=problem.remedy, step=0))


def tell_speed(plan: dial.Plan, facts: DeviceFacts, tokens_per_second: float, dtype: str) -> None:
    """Keep what a run reached, so that the next estimate starts from it."""
    if tokens_per_second <= 0:
        return
    flops = plan.config.flops_per_token(plan.config.max_seq_len)
    key = f"{facts.title}|{dtype}|{number(round(flops, -5))}"
    formula = dial.estimate(plan, facts, correct=False).tokens_per_second
    devices.remember("speeds", {key: {"device": facts.title, "dtype": dtype, "flops": flops, "tokens_per_second": tokens_per_second,
                                      "estimate": formula}}, merge=True)
