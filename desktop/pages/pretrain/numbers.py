"""What of a pretraining run is shown: its six numbers, its curves, in words and units. No widgets."""

from desktop.widgets import run_numbers
from desktop.widgets.run_numbers import WAITS
from desktop.widgets.run_panel import Line, Number, RunView
from engine.contract.machine import MachineFacts
from engine.contract.units import count, number, significant
from engine.contract.words import tr, trn
from engine.project.run_state import RunState


def view(machine: MachineFacts | None) -> RunView:
    """The RunView of pretraining. `machine` tells how much memory the device has."""
    return RunView(numbers=run_numbers.standard(machine, Number(tr("Validation"), _validation)),
        curve=Line("loss", tr("Loss"), tr("nats")), held_out=Line("bpb", tr("Validation"), tr("bits per byte")))


def _validation(state: RunState, status: str) -> tuple[str, str]:
    last = state.evaluations[-1].values.get("bpb") if state.evaluations else None
    return (number(last, 3) if last is not None else "–"), tr("bits per byte")


def goes_in(state: RunState, inputs: str, guess: str) -> tuple[str, str]:
    """`guess` says how much text it is, until the run tells."""
    epochs, tokens = float(state.facts.get("epochs") or 0), float(state.facts.get("tokens") or 0)
    if epochs and tokens:
        guess = tr("{tokens} tokens, {times} passes", tokens=count(tokens / epochs), times=significant(epochs, 2))
    return inputs or tr("Unknown"), guess


def came_out(state: RunState, status: str) -> tuple[str, str]:
    best = state.best
    words = tr("best: step {step}, {value} bits per byte", step=number(best.step), value=number(best.values.get("bpb") or 0.0, 3)) \
        if best is not None and best.values.get("bpb") else ""
    if status == "done" and state.artifacts:
        return state.artifacts[-1], words
    kept = len([c for c in state.checkpoints if c.step > 0])
    if not kept:
        return tr("Nothing yet") if status in WAITS else tr("Nothing"), \
            words or (tr("no checkpoint so far") if status in WAITS else
                      tr("no checkpoint was written"))
    return trn("{count} checkpoint", "{count} checkpoints", kept), words
