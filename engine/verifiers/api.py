"""What a verifier is: it looks at completions and says how right each is, or that it could not say.

    event                                                         score      error
    program of the model: timeout, memory, crash, exception        0         program_timeout, program_memory, program_crash, program_raised
    verifier: timeout                                              0         timeout
    verifier: exception, memory, crash                             None      raised, memory, crash
    verifier: no number; NaN, infinite or beyond a million         None      not_a_number, out_of_range
    the sandbox process died, and died again                       None      worker_death
    a judge's verdict that cannot be read, after some tries        None      raised
    a judge that cannot be reached, after some patience            none at all: Away is raised, and the run pauses

A score of None is no zero: the rollout leaves its group, because nobody knows whether it was right. What a run does when that happens often
is pausing.py's. A gold answer a verifier cannot read is found by `check_answers` before training.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

from engine.contract.errors import MachineError

Kind = Literal["program_timeout", "program_memory", "program_crash", "program_raised", "timeout", "raised", "memory", "crash",
               "not_a_number", "out_of_range", "worker_death"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ZERO: frozenset[Kind] = frozenset({"program_timeout", "program_memory", "program_crash", "program_raised", "timeout"})
"""These are worth 0; of the others nothing is known."""
LARGEST = 1e6
MESSAGE = 500
Check = Callable[[], None]


class Away(MachineError):
    """What verifies cannot be reached now, and may be later: nobody is scored. A run pauses over it."""

    code = "verifier_away"


def never() -> None:
    """For who does not want to stop."""


@dataclass(frozen=True)
class Attempt:
    """What is to be verified. messages: the prompt as role and content, oldest first. answer: the problem's gold answer. facts: the
    problem's own, and the verifier's settings where it has some."""

    messages: Sequence[Mapping[str, str]]
    completion: str
    answer: Any = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def prompt(self) -> str:
        """What was asked last."""
        return next((message["content"] for message in reversed(self.messages) if message["role"] == "user"), "")


@dataclass(frozen=True)
class Verdict:
    """score: None where it is not known. parts: what the score is made of, by name. error, line, message: what went wrong and where in the
    verifier's source. printed: what the verifier printed. seconds: its own, without waiting."""

    score: float | None
    parts: dict[str, float] = field(default_factory=dict)
    error: Kind | None = None
    line: int | None = None
    message: str = ""
    seconds: float = 0.0
    printed: str = ""


class Verifier(Protocol):
    """Scores attempts. Implementations are safe to call from several threads."""

    def score(self, attempts: Sequence[Attempt], check: Check = never) -> list[Verdict]:
        """A verdict for each, in their order. It raises only where nothing at all can be verified (a FledgeError), or what `check` does."""
        ...

    def check_answers(self, answers: Sequence[Any]) -> list[str]:
        """"" for each gold answer that can be compared with, else the sentence that says why not."""
        ...


def failed(kind: Kind, message: str = "", *, line: int | None = None, seconds: float = 0.0, printed: str = "") -> Verdict:
    """The verdict of an event of the table above."""
    return Verdict(0.0 if kind in ZERO else None, {}, kind, line, plain(message), seconds, plain(printed, 4000))


def scored(value: float, parts: Mapping[str, float], *, line: int | None = None, seconds: float = 0.0, printed: str = "") -> Verdict:
    """The verdict of numbers, unless they are no rewards."""
    for name, one in [("", value), *parts.items()]:
        if not math.isfinite(one) or abs(one) > LARGEST:
            return failed("out_of_range", f"{name}: {one!r}" if name else repr(one), line=line, seconds=seconds, printed=printed)
    return Verdict(value, dict(parts), seconds=seconds, printed=plain(printed, 4000))


def plain(text: str, length: int = MESSAGE) -> str:
    """What somebody else's code said, fit to be shown: no control characters, no half characters, not too long."""
    text = text[:length].encode("utf-8", "replace").decode("utf-8")
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]", "\N{REPLACEMENT CHARACTER}", text)


def scores_zero(kind: Kind) -> bool:
    return kind in ZERO
