"""Numbers that stand above every training run, in words and units: step, time left, speed, loss, memory. No widgets."""

import time

import psutil

from desktop.widgets.run_panel import Number, clock
from engine.contract.machine import MachineFacts
from engine.contract.units import count, duration, number, percent, size
from engine.contract.words import tr
from engine.project.run_state import RunState

WAITS = ("running", "starting", "waiting", "queued", "created")


def standard(machine: MachineFacts | None, held_out: Number, loss_unit: str = "") -> tuple[Number, ...]:
    """The six of a training run; `held_out` is the stage's own. `machine` tells how much memory the device has. The loss is in nats a token
    where `loss_unit` says nothing else."""
    return (Number(tr("Step"), step), Number(tr("Time left"), time_left), Number(tr("Speed"), speed),
            Number(tr("Loss"), lambda state, status: loss(state, status, loss_unit)), held_out,
            Number(tr("Memory"), lambda state, status: memory(state, machine)))


def step(state: RunState, status: str) -> tuple[str, str]:
    steps = int(state.facts.get("steps") or 0)
    return number(state.step), tr("of {steps}", steps=number(steps)) if steps else ""


def time_left(state: RunState, status: str) -> tuple[str, str]:
    elapsed = state.metrics.last("elapsed") or 0.0
    if status == "done":
        return tr("done"), tr("took {time}", time=duration(elapsed))
    eta = state.progress.eta if state.progress is not None else -1.0
    if status == "running" and eta >= 0:
        return duration(eta), tr("done at {when}", when=clock(time.time() + eta))
    return "–", tr("{time} so far", time=duration(elapsed)) if elapsed else ""


def speed(state: RunState, status: str) -> tuple[str, str]:
    found, mfu = recent(state, "tokens_per_second"), state.metrics.last("mfu")
    if found is None:
        return "–", tr("tokens/s")
    return number(found), tr("tokens/s, MFU {mfu}", mfu=percent(mfu)) if mfu else tr("tokens/s")


def loss(state: RunState, status: str, unit: str = "") -> tuple[str, str]:
    found = recent(state, "loss")
    return (number(found, 2) if found is not None else "–"), unit or tr("nats a token")


def memory(state: RunState, machine: MachineFacts | None) -> tuple[str, str]:
    used = state.metrics.last("memory")
    device = machine.device(state.device or "auto") if machine is not None else None
    total = float(state.facts.get("memory_total") or (device.memory_total if device is not None else 0))
    if not total and state.device == "cpu":
        total = float(psutil.virtual_memory().total)
    return size(used) if used else "–", tr("of {total}", total=size(total)) if total else ""


def recent(state: RunState, key: str) -> float | None:
    """The mean of the last ten known values: steady enough to read."""
    values = state.metrics.column(key)[-10:]
    known = values[values == values]
    return float(known.mean()) if known.size else None


def happens(state: RunState, status: str) -> tuple[str, str]:
    """The middle of the flow strip while a run goes, and after it."""
    elapsed, done = state.metrics.last("elapsed") or 0.0, state.metrics.last("tokens") or 0.0
    tokens = float(state.facts.get("tokens") or 0)
    if status == "failed" and not state.step:
        return tr("Could not start"), tr("no step was run")
    if not state.step:
        words = {"queued": tr("Waits in the queue"), "starting": tr("Starting"), "running": tr("Getting ready"),
                 "waiting": tr("Waits")}.get(status, tr("Not started"))
        return words, tr("no step yet")
    total = elapsed * tokens / done if done else 0.0
    first = tr("{tokens} tokens, {time}", tokens=count(tokens or done), time=duration(total if status == "running" else elapsed))
    if status == "done":
        return first, tr("{steps} steps, {speed} tokens/s", steps=number(state.step), speed=number(done / elapsed) if elapsed else "–")
    return first, tr("{done} done in {time}", done=count(done), time=duration(elapsed))
