"""What every stage shares that goes on training a model: the model it starts from, what of it is trained and how that is saved, the parts
around it, samples, and the finished model. A stage brings its data: a source of batches, a loss on held-out text, prompts.

    start = Start.load(project, spec.model)                    # the model, its tokenizer and all that travels with them
    tuner = Tuner(spec, plan, start, facts, context, ranks)
    parts = tuner.build(work, resume_point(context, ranks))    # a Trainer, ready
    tuner.compile(parts); parts.trainer.train()
    ending = tuner.finish(parts)                               # the best weights, measured and heard
    tuner.save(project, parts, title, parents, facts)          # the artifact

Nothing here knows what is learned: no corpus, no conversation, no objective.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from engine.contract.context import RunContext
from engine.contract.errors import InputError
from engine.contract.events import ArtifactMade, Facts, Notice, Sample
from engine.contract.machine import DeviceFacts
from engine.contract.tuning import TuningSpec
from engine.contract.units import number, percent
from engine.contract.words import tr
from engine.model import lora, quantized
from engine.model.adapter_files import ADAPTER, adapter_facts, save_adapter, save_adapter_checkpoint, weights_sha256
from engine.model.checkpoint import (
    GENERATION,
    WEIGHTS,
    load_config,
    load_into,
    load_model,
    load_tensors,
    save_tensors,
    save_weights,
    stop_ids,
)
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.model.quantized import load_four_bit
from engine.model.reward_model import HEAD
from engine.project import layout
from engine.project.artifacts import Artifact
from engine.project.models import ModelRef, parents_of, resolve
from engine.project.project import Project
from engine.sampling.generate import generate
from engine.sampling.sampling import Sampling
from engine.text.shards import TokenShards
from engine.text.tokenizer import Tokenizer
from engine.training import devices, precision
from engine.training.allocator import keep_memory
from engine.training.checkpoints import Checkpoint, Checkpoints, TrainState
from engine.training.compiling import next_token_loss, start_compiled
from engine.training.loop import LoopSettings, Source, Trainer
from engine.training.optim import Optimizer, OptimizerSettings
from engine.training.ranks import Ranks, process_group
from engine.training.schedule import Schedule
from engine.training.tokens import border_id, maker_of, token_shards
from engine.training.tuning_plan import TuningPlan, check_fit

__all__ = ["Ending", "Parts", "Start", "Tuner", "Work", "check_fit", "corpus_of", "opened", "tokens_of"]


@contextmanager
def opened(context: RunContext, method: str = "full") -> Iterator[tuple[Ranks, DeviceFacts]]:
    """The processes of the run and the device's facts, its speed measured. Raises DeviceUnavailable, Missing where the method cannot run
    here: before anything is read."""
    if context.device == "cpu":
        keep_memory()
    with process_group(context.rank, context.world_size, context.device) as ranks:
        facts = devices.choose(context.device)
        if method == "qlora":
            quantized.check(facts.kind)
        yield ranks, replace(facts, peak_flops=devices.measure_peak(facts))


@dataclass(frozen=True)
class Start:
    """The model that training starts from, as it lies on disk. Its tokenizer, chat template and generation settings travel to the
    checkpoints and to the finished model. `parents`: artifacts that it comes from, for the lineage."""

    ref: ModelRef
    config: ModelConfig
    tokenizer: Tokenizer
    parents: tuple[str, ...] = ()

    @classmethod
    def load(cls, project: Project, id: str, template: str = "") -> "Start":
        """By a model's id; `template` replaces its chat template. Raises NotFound, FormatError."""
        ref = resolve(project, id)
        return cls(ref, load_config(ref.folder), Tokenizer.load(ref.folder), parents_of(project, ref)).with_template(template)

    def with_template(self, template: str) -> "Start":
        """The same model with another chat template; "" leaves its own."""
        if not template or template == self.tokenizer.chat_template:
            return self
        return replace(self, tokenizer=Tokenizer(self.tokenizer.record, {**self.tokenizer.config, "chat_template": template}))

    @property
    def end_id(self) -> int:
        return border_id(self.tokenizer)

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Tokens that end an answer."""
        return stop_ids(self.ref.folder, self.tokenizer)

    def write_words(self, folder: Path) -> None:
        """Tokenizer, chat template and generation settings into a model's folder."""
        self.tokenizer.save(folder)
        if (self.ref.folder / GENERATION).is_file():
            shutil.copyfile(self.ref.folder / GENERATION, folder / GENERATION)


@dataclass(frozen=True)
class Work:
    """What a stage brings. `evaluate(model)` gives values on held-out data, the same on every rank ("val_loss" decides which step is best;
    None: nothing is held out); `prompts` are (text for people, ids) that it is heard on; `facts` are told of every checkpoint.
    `one_shape(wanted)` tells the source whether all batches must have one shape, as a compiled model needs; None: it cannot.

    head       a module trained beside the model, float32, kept in checkpoints as head.safetensors
    around     what forward and backward go through where it is not the model itself: a module that holds the model and the head
    criterion  the held-out value whose lowest is the best
    measures, enough, stride, ahead   see Trainer and LoopSettings
    aside      seconds that a step waited on average for what it learns from to be sampled, as measured so far; None: it does not
    """

    source: Source
    evaluate: Callable[[Decoder], Mapping[str, float]] | None
    prompts: Sequence[tuple[str, list[int]]]
    loss: Callable[[nn.Module, Any], torch.Tensor] = next_token_loss
    one_shape: Callable[[bool], None] | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    head: nn.Module | None = None
    around: Callable[[Decoder], nn.Module] | None = None
    criterion: str = "val_loss"
    measures: Callable[[], Mapping[str, float]] | None = None
    enough: Callable[[], bool] | None = None
    stride: int = 1
    ahead: bool = True
    aside: Callable[[], float] | None = None


@dataclass
class Parts:
    """The model and everything that trains it. `trainer` is ready; nothing has been stepped."""

    model: Decoder
    trainer: Trainer
    work: Work
    resumed: bool
    dtype_reason: str
    compile_reason: str
    compile_seconds: float = 0.0


@dataclass(frozen=True)
class Ending:
    """How training ended: the step whose weights were kept, values before and after (empty where nothing is held out), and the state."""

    kept: int
    before: dict[str, float]
    after: dict[str, float]
    state: TrainState

    def facts(self) -> dict[str, Any]:
        """What every finished model tells of its training."""
        state = self.state
        return {"step": self.kept, "steps": state.step, "best_step": state.best_step if state.best_step > 0 else None,
                "weights": "best" if self.kept != state.step else "last", "tokens": state.tokens, "seconds": state.elapsed,
                "skipped_steps": state.skipped, "dtype": state.dtype, "val_loss": self.after.get("val_loss"),
                "val_loss_before": self.before.get("val_loss"), "val_loss_after": self.after.get("val_loss")}


def tokens_of(project: Project, start: Start, context: RunContext, ranks: Ranks) -> Callable[[Artifact], TokenShards]:
    """What gives a corpus in the starting model's tokens, made where they are missing."""
    model = next((id for id in (start.ref.id, *start.parents) if id.startswith("model-")), start.ref.id)
    maker = maker_of(project, start.tokenizer, model)
    return lambda corpus: token_shards(project, corpus, start.tokenizer, start.ref.folder, maker, context, ranks)


def corpus_of(project: Project, id: str, field: str) -> Artifact:
    """The corpus that a setting names. Raises NotFound, InputError."""
    made = project.artifacts.get(id)
    if made.kind != "corpus":
        raise InputError(tr("{id} is not a {kind}.", id=id, kind="corpus"), tr("Choose another one."), field=field)
    return made


class Tuner:
    """One attempt. Everything about the method (full, LoRA, QLoRA) is in here: stages do not ask."""

    def __init__(self, spec: TuningSpec, plan: TuningPlan, start: Start, facts: DeviceFacts, context: RunContext, ranks: Ranks) -> None:
        self.spec, self.plan, self.start, self.facts, self.context, self.ranks = spec, plan, start, facts, context, ranks
        self.lora = lora.LoraSettings.of(spec, plan.tokens)
        if spec.method == "qlora":
            quantized.check(facts.kind)

    # ---- before the first step

    def build(self, work: Work, resumed: Checkpoint | None = None) -> Parts:
        """The parts for a plan. `resumed` overrules what was decided before: format, compile, checkpointing stay as they began."""
        spec, plan, context = self.spec, self.plan, self.context
        state = resumed.state() if resumed else TrainState(micro_batch_size=plan.micro_batch_size,
                                                           checkpointing=plan.activation_checkpointing)
        dtype, dtype_reason = precision.choose_dtype(state.dtype if resumed else spec.dtype, self.facts, plan.config.hidden_size)
        if resumed and self.uses_lora:  # an attempt of an earlier version may have chosen other tokens
            self.lora = adapter_facts(resumed.path).settings
        model = self._model(dtype)
        model.activation_checkpointing = state.checkpointing
        wanted = ("on" if state.compiled else "off") if resumed else spec.compile
        compiled, compile_reason = precision.choose_compile(wanted, self.facts, plan.cost.seconds)
        if compiled and work.one_shape is None and wanted == "auto":
            compiled, compile_reason = False, tr("off: rows differ in length, and each length would be compiled anew.")
        if work.one_shape is not None:
            work.one_shape(compiled)
        state.dtype, state.compiled = str(dtype).removeprefix("torch."), compiled
        named = lora.lora_parameters(model) if self.uses_lora else list(model.named_parameters())
        if work.head is not None:
            work.head.to(context.device)
            named += [(f"head.{name}", weight) for name, weight in work.head.named_parameters()]
        optimizer = Optimizer(named, OptimizerSettings(plan.learning_rate, None, plan.weight_decay, plan.beta1, plan.beta2))
        trainer = Trainer(
            work.around(model) if work.around else model, loss=work.loss, source=work.source, optimizer=optimizer, context=context,
            state=state,
            schedule=Schedule(plan.steps, plan.warmup_steps, plan.decay, 1 - plan.warmup_steps / plan.steps, plan.final_lr_share),
            settings=LoopSettings(plan.steps, plan.micro_batch_size, plan.grad_clip, plan.eval_every, plan.sample_every,
                                  plan.checkpoint_every_steps, plan.checkpoint_every_minutes, spec.patience, work.criterion,
                                  before_and_after=True, stride=work.stride, ahead=work.ahead),
            checkpoints=Checkpoints(context, lambda folder: self.write_model(folder, model, work.head), spec.keep_checkpoints,
                                    work.facts),
            measures=work.measures, enough=work.enough,
            evaluate=(lambda step: work.evaluate(model)) if work.evaluate else None, sample=lambda step: self.sample(model, work, step),
            flops_per_token=plan.config.flops_per_token(plan.load.seq_len) * (2 / 3 if self.uses_lora else 1),
            peak=self.facts.peak(state.dtype))
        if resumed:
            self.load_trained(resumed.path, model, work.head)
            trainer.resume(resumed)
            trainer.state.compiled = compiled
        return Parts(model, trainer, work, resumed is not None, dtype_reason, compile_reason)

    @property
    def uses_lora(self) -> bool:
        return self.spec.method != "full"

    @property
    def trained_tokens(self) -> tuple[int, ...]:
        """Tokens whose rows are trained while the rest of the table stays as it is."""
        return self.lora.tokens if self.uses_lora else self.plan.tokens

    def _model(self, dtype: torch.dtype) -> Decoder:
        """The starting model on the device, what is not trained frozen."""
        spec, device = self.spec, self.context.device
        if spec.method == "qlora":
            model = load_four_bit(self.start.ref.folder, device, dtype)
        else:
            model = load_model(self.start.ref.folder, device, dtype if self.uses_lora else torch.float32)
        if self.uses_lora:
            lora.add_lora(model, self.lora, spec.seed, frozen_dtype=None if spec.method == "qlora" else dtype)
        else:
            lora.freeze(model, spec.frozen_layers, spec.freeze_embeddings, self.plan.tokens)
        model.compute_dtype = dtype if dtype != torch.float32 else None
        return model

    def compile(self, parts: Parts) -> None:
        """Compile where that was decided, and tell what the run is."""
        if parts.trainer.state.compiled:
            with self.context.phase("compile", tr("Compile")):
                start_compiled(parts, self.ranks, self.context, settled=parts.resumed or self.spec.compile == "on")
            if parts.work.one_shape is not None:
                parts.work.one_shape(parts.trainer.state.compiled)
        plan, state = self.plan, parts.trainer.state
        self.context.emit(Facts(facts={
            "model": self.start.ref.id, "model_title": self.start.ref.title, "method": plan.method,
            "parameters": plan.config.parameters, "trainable": plan.trainable, "steps": plan.steps, "epochs": plan.load.epochs,
            "tokens": round(plan.steps * plan.load.tokens_per_step), "tokens_per_step": round(plan.load.tokens_per_step),
            "batch": plan.load.batch, "micro_batch_size": state.micro_batch_size, "learning_rate": plan.learning_rate,
            "plan": plan.to_json(), "sentence": plan.sentence(), "device_title": self.facts.title, "dtype": state.dtype,
            "dtype_reason": parts.dtype_reason, "compiled": state.compiled, "compile_reason": parts.compile_reason,
            "compile_seconds": parts.compile_seconds, "peak_flops": self.facts.peak(state.dtype)}))

    # ---- while it trains

    def write_model(self, folder: Path, model: Decoder, head: nn.Module | None = None) -> None:
        """The files of a checkpoint's model: all weights, or the adapter alone; and those of what is trained beside it."""
        if self.uses_lora:
            save_adapter_checkpoint(folder, model, base=self.start.ref.id, base_sha256=weights_sha256(self.start.ref.folder))
        else:
            save_weights(folder, model)
        if head is not None:
            save_tensors(folder / HEAD, {name: tensor.detach() for name, tensor in head.state_dict().items()})
        self.start.write_words(folder)

    def load_trained(self, folder: Path, model: Decoder, head: nn.Module | None = None) -> None:
        """What a checkpoint of this run holds, into the model."""
        if self.uses_lora:
            lora.load_lora(model, load_tensors(folder / ADAPTER))
        else:
            load_into(folder / WEIGHTS, model)
        if head is not None:
            head.load_state_dict(load_tensors(folder / HEAD))

    def sample(self, model: Decoder, work: Work, step: int) -> None:
        """Let the model answer the prompts, always taking the likeliest token, so that before and after can be compared."""
        if not self.context.is_main or not work.prompts:
            return
        settings = Sampling(temperature=0.0, seed=self.spec.seed, max_new_tokens=self.spec.sample_tokens, stop_ids=self.start.stop_ids)
        special = set(self.start.tokenizer.special.values())
        made = generate(model, [ids for _, ids in work.prompts], settings, logprobs=False)
        for (text, _), completion in zip(work.prompts, made, strict=True):
            written = self.start.tokenizer.decode([id for id in completion.ids if id not in special])
            self.context.emit(Sample(step=step, prompt=text, text=written.strip()))

    # ---- after the last step

    def finish(self, parts: Parts) -> Ending:
        """The best weights, or the last where nothing is held out or that was asked for, measured and heard."""
        state, spec, plan = parts.trainer.state, self.spec, self.plan
        kept = state.best_step if spec.keep_best and state.best_step > 0 else state.step
        if kept != state.step:
            self.load_trained(layout.checkpoint(self.context.run_dir, kept), parts.model, parts.work.head)
        after = dict(parts.work.evaluate(parts.model)) if parts.work.evaluate else {}
        if kept != plan.steps and not (plan.sample_every and kept % plan.sample_every == 0):  # else it was heard at that step
            self.sample(parts.model, parts.work, kept)
        before = dict(state.first_values)
        if after and before and after[parts.work.criterion] >= before[parts.work.criterion]:
            said, remedy = not_better_words(before, after, parts.work.criterion)
            self.context.emit(Notice(level="warning", code="not_better", title=tr("It did not get better"), step=state.step, text=said,
                                     remedy=remedy))
        return Ending(kept, before, after, state)

    def save(self, project: Project, parts: Parts, title: str, parents: Sequence[str], outcome: dict[str, Any], *, kind: str = "model",
             also: Callable[[Path], None] | None = None) -> Artifact | None:
        """The finished model as an artifact (adapters merged, the adapter beside), under the spec's title or else `title`, numbered
        where the project has one of that name; one that a killed attempt had finished already is taken as it is. Rank 0 writes.

        `also(folder)` writes what the folder of this `kind` holds besides a model's files.
        """
        facts = {"model": self.start.ref.id, "method": self.plan.method, "parameters": self.plan.config.parameters,
                 "trainable": self.plan.trainable, "learning_rate": self.plan.learning_rate, **outcome}
        self.context.emit(Facts(facts={"outcome": facts}))
        if not self.context.is_main:
            return None
        made = project.artifacts.made_by(self.context.run_id, kind)
        if made is None:
            with project.artifacts.create(kind, title=self.spec.title or _untaken(project, title, kind),
                                          parents=tuple(dict.fromkeys(parents)), run=self.context.run_id,
                                          spec=self._asked(project)) as writer:
                self._write_finished(writer.path, parts.model)
                if also is not None:
                    also(writer.path)
                made = writer.finish(**facts)
        self.context.emit(ArtifactMade(id=made.id, kind=kind))
        return made

    def _asked(self, project: Project) -> dict[str, Any]:
        """The settings as they were asked for, where this is a run of the project: a stage may have worked some out since."""
        if layout.spec_file(self.context.run_dir).exists():
            return project.runs.get(self.context.run_id).spec
        return self.spec.model_dump(mode="json")

    def _write_finished(self, folder: Path, model: Decoder) -> None:
        if self.uses_lora:
            save_adapter(folder, model, base=self.start.ref.id, base_sha256=weights_sha256(self.start.ref.folder), merged=True)
            whole = load_model(self.start.ref.folder)
            lora.add_lora(whole, self.lora, self.spec.seed)
            lora.load_lora(whole, {name: tensor.to("cpu") for name, tensor in lora.lora_state(model).items()})
            lora.merge_lora(whole)
            save_weights(folder, whole)
        else:
            save_weights(folder, model)
        self.start.write_words(folder)


def not_better_words(before: Mapping[str, float], after: Mapping[str, float], criterion: str) -> tuple[str, str]:
    """What was measured on what is held out, in its own words, and what may help: (sentence, remedy)."""
    if "pass_at_1" in after:
        return (tr("Of the problems that are held out {before} were solved before and {after} after training, in one sampled answer to "
                   "each.", before=percent(before["pass_at_1"], 1), after=percent(after["pass_at_1"], 1)),
                tr("Look whether the groups have a signal. A lower learning rate, more problems or more rounds can help."))
    if "val_reward" in after:
        return (tr("The reward on what was kept for validation was {before} before and is {after} after training.",
                   before=number(before["val_reward"], 3), after=number(after["val_reward"], 3)),
                tr("Try a lower learning rate, fewer rounds, or more prompts."))
    return (tr("The loss on what was kept for validation was {before} before and is {after} after training.",
               before=number(before[criterion], 3), after=number(after[criterion], 3)),
            tr("Try a lower learning rate, fewer epochs, or more data."))


def _untaken(project: Project, title: str, kind: str) -> str:
    """`title`, or with the next number that no artifact of this kind has in the project."""
    taken, number = {made.title for made in project.artifacts.list(kind)}, 2
    if title not in taken:
        return title
    while f"{title} {number}" in taken:
        number += 1
    return f"{title} {number}"
