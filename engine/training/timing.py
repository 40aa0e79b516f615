"""What a few real steps take: the heart of every measured fit. What follows from it for a whole run is each stage's matter."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.contract.machine import DeviceFacts
from engine.training import devices
from engine.training.compiling import Ready, first_call
from engine.training.optim import clip_gradients, gradient_norm

TIMED_STEPS = 3


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


def timed_steps(parts: Ready, clock: "Clock", clip: float) -> tuple[float, float]:
    """Seconds of a micro batch there and back, and of an update. Where memory runs out the micro batch is halved, as the run would;
    OutOfMemory when there is nothing left to halve."""
    while not first_call(parts) or (timed := _steps(parts, clock, clip)) is None:
        parts.trainer.halve()
    return timed


def _steps(parts: Ready, clock: "Clock", clip: float) -> tuple[float, float] | None:
    """Medians of three: seconds of a micro batch there and back, and of norm, clipping and update. One round of warm-up before. None:
    memory ran out."""
    trainer, micros, updates = parts.trainer, [], []
    for n in range(TIMED_STEPS + 1):
        if n == 1:
            clock.start_energy()
        batch = trainer.source.batches(n, trainer.state.micro_batch_size)[0]
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


class Clock:
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
