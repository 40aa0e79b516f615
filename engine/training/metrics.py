"""What each step was like: loss, gradient norm, learning rate, tokens a second, MFU, memory, time left. Every step goes to the event file;
its writer gathers them into a few lines a second. Nothing here influences training.
"""

import time

from engine.contract.context import RunContext
from engine.contract.events import Metrics
from engine.contract.words import tr
from engine.training.devices import memory_in_use

PROGRESS_SECONDS = 0.5
SMOOTHING = 0.9


class ProcessorShare:
    """Call it later: how much of the time that its torch threads could have had on the processor this process got since then, 0 to 1."""

    def __init__(self) -> None:
        self._began = time.process_time(), time.monotonic()

    def __call__(self) -> float:
        import torch
        cpu, wall = self._began
        return min(1.0, (time.process_time() - cpu) / max(1e-9, (time.monotonic() - wall) * torch.get_num_threads()))


class Meter:
    """`flops_per_token` and `peak` (operations a second) give MFU; 0 leaves it out. Times are this attempt's unless said."""

    def __init__(self, context: RunContext, steps: int, flops_per_token: float, peak: float, first_step: int) -> None:
        self.context, self.steps, self.first_step = context, steps, first_step
        self.flops_per_token, self.peak = flops_per_token, peak
        self.began = time.perf_counter()
        self.aside = 0.0
        self.in_steps = 0.0
        self.step_seconds = 0.0
        self.memory = memory_in_use(context.device).peak
        self._told = 0.0

    def elapsed(self) -> float:
        """Seconds of this attempt's training so far, waiting for the person not counted."""
        return time.perf_counter() - self.began - self.aside

    def tokens_per_second(self, tokens_per_step: int) -> float:
        """The recent pace of the steps themselves; 0 before the first."""
        return tokens_per_step / self.step_seconds if self.step_seconds else 0.0

    def waited(self, seconds: float) -> None:
        self.aside += seconds

    def add(self, step: int, tokens: int, seconds: float, elapsed: float, **values: float) -> None:
        """One step is over: `tokens` so far in the run, `seconds` this step took, `elapsed` of the whole run, and its own values."""
        self.in_steps += seconds
        self.step_seconds = seconds if not self.step_seconds else SMOOTHING * self.step_seconds + (1 - SMOOTHING) * seconds
        rate = values.pop("step_tokens") / seconds
        columns = {"step": step, **values, "tokens": tokens, "tokens_per_second": rate, "elapsed": elapsed, "memory": self.memory}
        if self.peak:
            columns["mfu"] = rate * self.flops_per_token / self.peak
        self.context.emit(Metrics(columns={key: [float(value)] for key, value in columns.items()}))
        now = time.perf_counter()
        if now - self._told > PROGRESS_SECONDS or step == self.steps:
            self._told, self.memory = now, memory_in_use(self.context.device).peak
            self.context.progress(step, self.steps, tr("steps"), rate=1 / self.step_seconds, eta=self.eta(step))

    def eta(self, step: int) -> float:
        """Seconds left: the steps at their recent pace, and their share of what validation, samples and saving have cost."""
        done, left = step - self.first_step, self.steps - step
        overhead = max(0.0, self.elapsed() - self.in_steps) / max(1, done)
        return left * (self.step_seconds + overhead)
