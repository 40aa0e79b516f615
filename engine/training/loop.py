"""The training loop, for every stage that trains: accumulate, clip, step, and look after the run. It knows no corpus, no model shape and no
objective: a stage gives it a source of batches and a loss.

What it takes care of: skipped steps when the loss is not finite; a micro batch halved when memory runs out (CUDA, MPS); commands of the
person; checkpoints by steps, by time, of the best; a full disk; early stopping; several ranks (DDP).

What decides the next step is the weights, the optimizer's tensors and TrainState, all of them in each checkpoint. Random numbers (dropout)
are drawn afresh for each step from seed, step and rank, so validation, samples and stops leave no trace.
"""

import gc
import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from engine.contract.context import RunContext
from engine.contract.errors import DiskFull, Mismatch, NonFinite, OutOfMemory, Stopped
from engine.contract.events import Evaluation, Notice, Waiting
from engine.contract.words import tr, trn
from engine.training.checkpoints import Checkpoint, Checkpoints, TrainState, free_space
from engine.training.devices import synchronize
from engine.training.metrics import Meter
from engine.training.optim import Optimizer, clip_gradients, gradient_norm
from engine.training.ranks import Ranks
from engine.training.schedule import Schedule

WORDS = ("", "wait", "save", "pause", "stop_save", "stop")
BAD_STEPS_IN_A_ROW = 5
DISK_POLL_SECONDS = 0.5


class Batch(Protocol):
    """`weight`: how much the batch counts in the mean (its targets); `tokens`: how many tokens the model reads for it."""

    weight: float

    @property
    def tokens(self) -> int: ...

    def to(self, device: torch.device) -> "Batch": ...


class Source(Protocol):
    """This rank's micro batches of a step; the step alone decides which. `state` is compared at a resume."""

    @property
    def state(self) -> dict[str, Any]: ...

    def batches(self, step: int, micro_batch_size: int) -> Sequence[Batch]: ...


@dataclass(frozen=True)
class LoopSettings:
    """Intervals of 0 mean never; `criterion` names the evaluated value whose lowest is the best; `patience` 0 never stops early. With
    `before_and_after` the model is measured and lets be heard at both ends whatever the intervals.

    stride   steps that belong together (updates on one batch of rollouts), a divisor of `steps`: between them nobody stops, measures or
             saves; what falls due is done after the last of them
    ahead    the next step's batches may be made before this one's update; False where the model itself makes them
    """

    steps: int
    micro_batch_size: int
    grad_clip: float = 1.0
    eval_every: int = 0
    sample_every: int = 0
    checkpoint_every_steps: int = 0
    checkpoint_every_minutes: float = 0.0
    patience: int = 0
    criterion: str = "val_loss"
    before_and_after: bool = False
    stride: int = 1
    ahead: bool = True


class Trainer:
    """Make one, maybe `resume` it, then `train`.

    loss(model, batch)   sum over the batch's targets as a scalar with gradients; `model` is the module, or its compiled or DDP form
    evaluate(step)       values on held-out data, none where they cannot be had now; the same on every rank
    sample(step)         lets the model write something and emits it
    measures()           more columns for the metrics of the step that is just over, the same on every rank
    enough()             whether to end before the last step; asked between steps, the same on every rank
    """

    def __init__(self, model: nn.Module, *, loss: Callable[[nn.Module, Any], torch.Tensor], source: Source, optimizer: Optimizer,
                 schedule: Schedule, settings: LoopSettings, context: RunContext, checkpoints: Checkpoints, state: TrainState | None = None,
                 evaluate: Callable[[int], Mapping[str, float]] | None = None, sample: Callable[[int], None] | None = None,
                 measures: Callable[[], Mapping[str, float]] | None = None, enough: Callable[[], bool] | None = None,
                 flops_per_token: float = 0.0, peak: float = 0.0) -> None:
        assert settings.steps % settings.stride == 0, (settings.steps, settings.stride)
        self.model, self.loss, self.source, self.optimizer, self.schedule = model, loss, source, optimizer, schedule
        self.settings, self.context, self.checkpoints = settings, context, checkpoints
        self.evaluate, self.sample, self.measures, self.enough = evaluate, sample, measures, enough
        self.flops_per_token, self.peak = flops_per_token, peak
        self.device = torch.device(context.device)
        self.ranks = Ranks(context.rank, context.world_size, self.device)
        self.state = state or TrainState(micro_batch_size=settings.micro_batch_size)
        self.state.source = source.state
        self.use(model)
        self._unsaved: tuple[str, bool] | None = None
        self._prepared: tuple[tuple[int, int], Sequence[Batch]] | None = None
        self._lr = optimizer.settings.learning_rate

    def use(self, module: nn.Module, share: bool = True) -> None:
        """What forward and backward go through from here on: the model itself, or its compiled form; gradients are shared by the ranks."""
        self.runner = DistributedDataParallel(module) if share and self.ranks.world_size > 1 else module

    def resume(self, checkpoint: Checkpoint) -> None:
        """Take optimizer and state from a checkpoint; the caller has loaded the model's weights from it."""
        state = checkpoint.state()
        if state.source != self.source.state:
            raise Mismatch(tr("The checkpoint of step {step} was made with other data or another batch.", step=f"{state.step:,}"),
                           tr("Resume it with as many processes as it began with, or start a new run."))
        self.optimizer.load(checkpoint.optimizer())
        self.state = state

    def train(self) -> TrainState:
        """Until the last step, or until early stopping. Stopped when the person asks; NonFinite, OutOfMemory when it cannot go on."""
        try:
            return self._train()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        """Give DDP up before the process group ends: freed later, it takes the group with it, and waits, holding Python, for threads of
        gloo that wait for Python."""
        if self.ranks.world_size > 1:
            self.use(self.model, share=False)
            gc.collect()

    def _train(self) -> TrainState:
        state, settings = self.state, self.settings
        self.meter = Meter(self.context, settings.steps, self.flops_per_token, self.peak, state.step)
        self._elapsed_before = state.elapsed
        if state.step == 0 and self.evaluate and (settings.eval_every or settings.before_and_after):
            self._evaluate()
            state.first_values = dict(state.values)
        if state.step == 0 and self.sample and (settings.sample_every or settings.before_and_after):
            self.sample(0)
        self.model.train()
        while state.step < settings.steps and not self._patience_is_over() and not (self.enough and self.enough()):
            self._obey()
            for _ in range(settings.stride):
                self._step()
            self._milestones()
        self._save("final", best=state.best_step == state.step)
        while self._owes():
            self._obey()
        return state

    # ---- one step

    def _step(self) -> None:
        state, began = self.state, time.perf_counter()
        batches = self._batches(state.step)
        weight, step_tokens = self.ranks.sum(sum(b.weight for b in batches), sum(b.tokens for b in batches))
        while (summed := self.forward_backward(batches, weight)) is None:
            self.halve()
            batches = self._batches(state.step)
        norm = gradient_norm(self.optimizer.parameters)
        if self.settings.ahead and state.step + 1 < self.settings.steps:
            self._prepared = (state.step + 1, state.micro_batch_size), self.source.batches(state.step + 1, state.micro_batch_size)
        loss, length = self.ranks.sum(summed.item())[0] / max(weight, 1.0), norm.item()
        share = self.schedule.share(state.step)
        fine = math.isfinite(loss) and math.isfinite(length)
        if fine:
            clip_gradients(self.optimizer.parameters, length, self.settings.grad_clip)
            self.optimizer.step(share)
        self.optimizer.zero_grad()
        synchronize(self.device)
        state.step, state.tokens = state.step + 1, state.tokens + int(step_tokens)
        state.elapsed = self._elapsed_before + self.meter.elapsed()
        self.meter.add(state.step, state.tokens, time.perf_counter() - began, state.elapsed, loss=loss, grad_norm=length,
                       lr=self._lr * share, step_tokens=step_tokens, **(self.measures() if self.measures else {}))
        state.bad_in_a_row = 0 if fine else state.bad_in_a_row + 1
        if not fine:
            self._skipped(loss)

    def _batches(self, step: int) -> Sequence[Batch]:
        key, prepared = self._prepared or (None, ())
        self._prepared = None
        return prepared if key == (step, self.state.micro_batch_size) else self.source.batches(step, self.state.micro_batch_size)

    def forward_backward(self, batches: Sequence[Batch], weight: float) -> torch.Tensor | None:
        """Gradients of the mean over the whole step, all ranks; gives this rank's summed loss, on the device. None: memory ran out."""
        torch.manual_seed(step_seed(self.context.seed, self.state.step, self.ranks.rank))
        scale = self.ranks.world_size / max(weight, 1.0)  # DDP takes the mean over ranks
        total = torch.zeros((), device=self.device)
        try:
            for n, batch in enumerate(batches):
                last = n == len(batches) - 1
                with nullcontext() if last or self.ranks.world_size == 1 else self.runner.no_sync():
                    loss = self.loss(self.runner, batch.to(self.device))
                    (loss * scale).backward()
                total += loss.detach()
        except RuntimeError as wrong:  # Metal says it in a plain RuntimeError
            if isinstance(wrong, torch.OutOfMemoryError) or "out of memory" in str(wrong):
                return None
            raise
        return total

    def halve(self) -> None:
        """Memory ran out: half the micro batch, twice the accumulation, the same step again."""
        self.optimizer.zero_grad()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        elif self.device.type == "mps":
            torch.mps.empty_cache()
        before = self.state.micro_batch_size
        if before == 1 or self.ranks.world_size > 1:
            raise OutOfMemory(tr("{device} has too little memory for a micro batch of {size}.", device=self.context.device, size=before),
                              tr("Choose a shorter context, a smaller model, a smaller micro batch, or turn activation checkpointing on."))
        self.state.micro_batch_size = before // 2
        self.context.emit(Notice(level="warning", code="micro_batch_halved", title=tr("Memory ran out; training goes on"),
                                 step=self.state.step,
            text=tr("The micro batch is {size} now instead of {before}; the batch stays the same.", size=before // 2, before=before)))

    def _skipped(self, loss: float) -> None:
        state = self.state
        state.skipped += 1
        self.context.emit(Notice(level="warning", code="step_skipped", title=tr("A step was skipped"), step=state.step,
            text=tr("Loss or gradient of step {step} was not a number; the weights were left as they are. Skipped so far: {count}.",
                    step=f"{state.step:,}", count=f"{state.skipped:,}")))
        if state.bad_in_a_row >= BAD_STEPS_IN_A_ROW:
            good = [c.step for c in self.checkpoints.all() if c.resumable]
            kept = tr("The checkpoint of step {step} is good.", step=f"{good[-1]:,}") if good else tr("There is no checkpoint yet.")
            raise NonFinite(tr("The loss was not a number in {count} steps in a row, up to step {step}.", count=BAD_STEPS_IN_A_ROW,
                               step=f"{state.step:,}") + " " + kept,
                            tr("Lower the learning rate, lengthen the warm-up, or train in float32."))

    # ---- between steps

    def _milestones(self) -> None:
        state, settings = self.state, self.settings
        last = state.step == settings.steps
        best = False
        if self.evaluate and self._due(settings.eval_every, last):
            best = self._evaluate()
        if self.sample and self._due(settings.sample_every, last):
            self.sample(state.step)
        state.elapsed = self._elapsed_before + self.meter.elapsed()
        if last:
            return
        if best:
            self._save("best", best=True)
        elif self._passed(settings.checkpoint_every_steps):
            self._save("interval")
        elif settings.checkpoint_every_minutes and time.monotonic() - self.checkpoints.last_saved > 60 * settings.checkpoint_every_minutes:
            self._save("time")

    def _due(self, every: int, last: bool) -> bool:
        """Whether what is done every so many steps is due after this one; at the end it always is, unless it is never done."""
        return self._passed(every) or last and (bool(every) or self.settings.before_and_after)

    def _passed(self, every: int) -> bool:
        """Whether the steps since the last stop went past a multiple of it."""
        return bool(every) and self.state.step // every > (self.state.step - self.settings.stride) // every

    def _evaluate(self) -> bool:
        """Measure, remember the best; whether this is it."""
        state = self.state
        values = dict(self.evaluate(state.step))
        if not values:
            return False
        state.values = values
        value = state.values[self.settings.criterion]
        best = state.step > 0 and math.isfinite(value) and (state.best_value is None or value < state.best_value)
        if best:
            state.best_value, state.best_step, state.evaluations_without_best = value, state.step, 0
        elif state.step:
            state.evaluations_without_best += 1
        self.context.emit(Evaluation(step=state.step, values=dict(state.values), best=best))
        return best

    def _patience_is_over(self) -> bool:
        state, patience = self.state, self.settings.patience
        over = bool(patience) and state.evaluations_without_best >= patience
        if over:
            self.context.emit(Notice(level="info", code="early_stop", title=tr("Stopped early"), step=state.step,
                text=trn("{count} validation without a new best since step {step}.",
                         "{count} validations without a new best since step {step}.", patience, step=f"{state.best_step:,}")))
        return over

    def _save(self, why: str, best: bool = False) -> bool:
        """Rank 0 writes a checkpoint. When the disk is full it is owed: `_obey` then waits for space instead of letting the run die."""
        if not self.context.is_main:
            return True
        try:
            self.checkpoints.save(self.state, self.optimizer.state(), why, best)
        except DiskFull as wrong:
            if self._unsaved is None:
                self.context.emit(Notice(level="problem", code="disk_full", title=tr("The disk is full"), text=wrong.sentence,
                                         remedy=wrong.remedy, step=self.state.step))
                self.context.emit(Waiting(reason="disk_full",
                                          text=tr("Training waits at step {step} until there is space, or until it is stopped.",
                                                                      step=f"{self.state.step:,}")))
            self._unsaved = why, best
            return False
        self.checkpoints.prune(self.state.best_step)
        if self._unsaved is not None:
            self._unsaved = None
            self.context.emit(Waiting(reason="disk_full", over=True))
            self.context.emit(Notice(level="info", code="disk_full", cleared=True))
        return True

    def _obey(self) -> None:
        """Do what the person asked since the last step. All ranks agree on rank 0's word."""
        leaving = ""
        while True:
            word = WORDS[self.ranks.first(WORDS.index(self._word()))]
            if word == "stop":
                raise Stopped(tr("Stopped at step {step}.", step=f"{self.state.step:,}"))
            if word == "save":
                self._save("asked")
            elif word in ("pause", "stop_save"):
                leaving = word
                self._save("stop")
            elif word == "wait":
                time.sleep(DISK_POLL_SECONDS)
                self.meter.waited(DISK_POLL_SECONDS)
            elif not leaving:
                return
            if leaving and not self._owes():
                raise Stopped(tr("Stopped at step {step}; saved.", step=f"{self.state.step:,}"), saved=True, paused=leaving == "pause")

    def _word(self) -> str:
        """Rank 0's word for this moment; "wait" while a checkpoint is owed."""
        if not self.context.is_main:
            return ""
        command = self.context.command()
        asked = command.word if command else ""
        if self._unsaved is None or asked in ("stop", "pause", "stop_save"):
            return asked if asked in WORDS else ""
        if asked == "resume" or free_space(self.checkpoints.folder) > 1.2 * self._size():
            self._save(*self._unsaved)
        return "wait" if self._unsaved else ""

    def _owes(self) -> bool:
        """Whether rank 0 still has a checkpoint to write."""
        return bool(self.ranks.first(int(self._unsaved is not None)))

    def _size(self) -> int:
        """Bytes a checkpoint needs."""
        held = sum(p.numel() * p.element_size() for p in self.model.parameters())
        return held + sum(t.numel() * t.element_size() for t in self.optimizer.state().values())


def step_seed(seed: int, step: int, rank: int) -> int:
    """The seed of one step's random numbers."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{step}/{rank}".encode()).digest()[:7], "big")
