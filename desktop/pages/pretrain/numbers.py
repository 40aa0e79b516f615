"""What of a pretraining run is shown: its six numbers, its curves, in words and units. No widgets."""

import time

import psutil

from desktop.widgets.run_panel import Line, Number, RunView, clock
from engine.contract.machine import MachineFacts
from engine.contract.units import count, duration, number, percent, significant, size
from engine.contract.words import tr, trn
from engine.project.run_state import RunState


def view(machine: MachineFacts | None) -> RunView:
    """The RunView of pretraining. `machine` tells how much memory the device has."""
    return RunView(
        numbers=(Number(tr("Step"), _step), Number(tr("Time left"), _time), Number(tr("Speed"), _speed), Number(tr("Loss"), _loss),
                 Number(tr("Validation"), _validation), Number(tr("Memory"), lambda state, status: _memory(state, machine))),
        curve=Line("loss", tr("Loss"), tr("nats")), held_out=Line("bpb", tr("Validation"), tr("bits per byte")))


def _step(state: RunState, status: str) -> tuple[str, str]:
    steps = int(state.facts.get("steps") or 0)
    return number(state.step), tr("of {steps}", steps=number(steps)) if steps else ""


def _time(state: RunState, status: str) -> tuple[str, str]:
    elapsed = state.metrics.last("elapsed") or 0.0
    if status == "done":
        return tr("done"), tr("took {time}", time=duration(elapsed))
    eta = state.progress.eta if state.progress is not None else -1.0
    if status == "running" and eta >= 0:
        return duration(eta), tr("done at {when}", when=clock(time.time() + eta))
    return "–", tr("{time} so far", time=duration(elapsed)) if elapsed else ""


def _speed(state: RunState, status: str) -> tuple[str, str]:
    speed, mfu = _recent(state, "tokens_per_second"), state.metrics.last("mfu")
    if speed is None:
        return "–", tr("tokens/s")
    return number(speed), tr("tokens/s, MFU {mfu}", mfu=percent(mfu)) if mfu else tr("tokens/s")


def _loss(state: RunState, status: str) -> tuple[str, str]:
    loss = _recent(state, "loss")
    return (number(loss, 2) if loss is not None else "–"), tr("nats a token")


def _validation(state: RunState, status: str) -> tuple[str, str]:
    last = state.evaluations[-1].values.get("bpb") if state.evaluations else None
    return (number(last, 3) if last is not None else "–"), tr("bits per byte")


def _memory(state: RunState, machine: MachineFacts | None) -> tuple[str, str]:
    used = state.metrics.last("memory")
    device = machine.device(state.device or "auto") if machine is not None else None
    total = float(state.facts.get("memory_total") or (device.memory_total if device is not None else 0))
    if not total and state.device == "cpu":
        total = float(psutil.virtual_memory().total)
    return size(used) if used else "–", tr("of {total}", total=size(total)) if total else ""


def _recent(state: RunState, key: str) -> float | None:
    """The mean of the last ten known values: steady enough to read."""
    values = state.metrics.column(key)[-10:]
    known = values[values == values]
    return float(known.mean()) if known.size else None


def goes_in(state: RunState, inputs: str, guess: str) -> tuple[str, str]:
    """`guess` says how much text it is, until the run tells."""
    epochs, tokens = float(state.facts.get("epochs") or 0), float(state.facts.get("tokens") or 0)
    if epochs and tokens:
        guess = tr("{tokens} tokens, {times} passes", tokens=count(tokens / epochs), times=significant(epochs, 2))
    return inputs or tr("Unknown"), guess


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


def came_out(state: RunState, status: str) -> tuple[str, str]:
    best = state.best
    words = tr("best: step {step}, {value} bits per byte", step=number(best.step), value=number(best.values.get("bpb") or 0.0, 3)) \
        if best is not None and best.values.get("bpb") else ""
    if status == "done" and state.artifacts:
        return state.artifacts[-1], words
    kept = len([c for c in state.checkpoints if c.step > 0])
    if not kept:
        return tr("Nothing yet") if status in ("running", "starting", "waiting", "queued", "created") else tr("Nothing"), \
            words or (tr("no checkpoint so far") if status in ("running", "starting", "waiting", "queued", "created") else
                      tr("no checkpoint was written"))
    return trn("{count} checkpoint", "{count} checkpoints", kept), words
