"""What this machine can raise: a few sizes with the time each takes from random weights, by the dial's formula. No Qt."""

from dataclasses import dataclass

from engine.contract.machine import DeviceFacts, MachineFacts
from engine.contract.units import count, duration
from engine.contract.words import tr
from engine.stages.pretrain import dial
from engine.stages.pretrain.spec import PretrainSpec

DEPTHS = (2, 4, 6, 8, 12, 16, 20, 24, 32)
VOCABULARY = 8192
LINES = 4
PATIENCE = 4 * 86400


@dataclass(frozen=True)
class Raisable:
    """One line: how big and what that is good for, and how long it takes."""

    what: str
    time: str


def what_it_is(parameters: int) -> str:
    """A size in words a beginner understands; from what models of these sizes are seen to do, not a promise."""
    for most, words in ((3e6, tr("short sentences")), (15e6, tr("simple stories")), (60e6, tr("fluent sentences")),
                        (130e6, tr("fluent pages")), (400e6, tr("keeps a thread"))):
        if parameters < most:
            return words
    return tr("knows a little")


def raisable(facts: MachineFacts | None) -> list[Raisable]:
    """Up to four sizes that fit, spread from minutes to days; [] before the machine was looked at."""
    device: DeviceFacts | None = facts.devices[0] if facts is not None and facts.devices else None
    if device is None:
        return []
    stops = [s for s in dial.stops(PretrainSpec(), VOCABULARY, device=device, depths=DEPTHS) if s.fits]
    patient = [s for s in stops if s.seconds <= PATIENCE] or stops[:1]
    last = len(patient) - 1
    chosen = patient if len(patient) <= LINES else [patient[round(i * last / (LINES - 1))] for i in range(LINES)]
    return [Raisable(f"{count(s.parameters)}, {what_it_is(s.parameters)}", duration(s.seconds)) for s in chosen]

