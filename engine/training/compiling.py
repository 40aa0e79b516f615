"""The first calls of a run: torch.compile tried against the plain model, and the faster kept. Whether to try is precision.py's matter."""

import time
from typing import Any, Protocol

import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException

from engine.contract.context import RunContext
from engine.contract.events import Notice
from engine.contract.units import number
from engine.contract.words import tr
from engine.training import devices
from engine.training.batches import Batch
from engine.training.loop import Trainer
from engine.training.ranks import Ranks


class Ready(Protocol):
    """A model with its trainer, nothing stepped yet; what became of compiling is noted on it."""

    model: Any
    trainer: Trainer
    compile_reason: str
    compile_seconds: float


def next_token_loss(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Summed cross entropy of the targets, in nats."""
    return model(batch.tokens_BT, targets_BT=batch.targets_BT, reduction="sum", document_lengths=batch.documents)


def first_call(parts: Ready) -> bool:
    """One micro batch there and back, its gradients thrown away: compiles, warms up. False: memory ran out. Every rank must come here."""
    trainer = parts.trainer
    trainer.model.train()
    batch = trainer.source.batches(trainer.state.step, trainer.state.micro_batch_size)[0]
    went = trainer.forward_backward([batch], batch.weight) is not None
    trainer.optimizer.zero_grad()
    devices.synchronize(trainer.device)
    return went


def start_compiled(parts: Ready, ranks: Ranks, context: RunContext, settled: bool) -> None:
    """Compile the model, time it against the plain one, and keep the faster; say which. `settled`: it was decided before (a resume, or the
    person), so nothing is compared. Rank 0's clock decides."""
    trainer = parts.trainer
    plain = 0.0 if settled else timed(parts)
    began = time.perf_counter()
    try:
        trainer.use(torch.compile(trainer.model))
        first_call(parts)
    except TorchDynamoException as wrong:
        trainer.use(trainer.model)
        trainer.state.compiled, parts.compile_reason = False, tr("off: compiling failed.")
        context.emit(Notice(level="warning", code="compile_failed", title=tr("torch.compile does not work here"), step=0,
                            text=tr("Training goes on without it. {reason}", reason=str(wrong).strip().splitlines()[0])))
        return
    parts.compile_seconds = time.perf_counter() - began
    if settled:
        return
    compiled = timed(parts)
    if ranks.first(int(compiled < plain)):
        parts.compile_reason = tr("on: {gain} times as fast, measured.", gain=number(plain / compiled, 2))
        return
    trainer.use(trainer.model)
    trainer.state.compiled, parts.compile_reason = False, tr("off: measured, it is not faster here.")


def timed(parts: Ready) -> float:
    """Seconds of a micro batch there and back: the better of two, after one of warm-up."""
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        first_call(parts)
        taken.append(time.perf_counter() - began)
    return min(taken[1:])
