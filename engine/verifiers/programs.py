"""Programs that a model wrote, run in the sandbox over inputs; what comes out is compared here, where the program never was.

    verdicts = ProgramVerifier(pool).score(attempts)     # answer: {"entry": "area", "tests": [{"arguments": [2, 3], "expected": 6}]}
                                                          # or {"tests": [{"stdin": "2 3\\n", "expected": "6\\n"}]}

The expected outputs stay outside: the program sees inputs and gives values, which are compared with their exact types. Only plain values
pass (values.py), so no object of the program's can say of itself that it is equal. All tests must pass for a score of 1; with `partial`,
the score is the share that passed.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.contract.words import tr
from engine.verifiers.api import Attempt, Check, Kind, Verdict, failed, never, plain
from engine.verifiers.finding import fenced
from engine.verifiers.frames import Reply
from engine.verifiers.pool import SECONDS, Job, Pool
from engine.verifiers.values import encode, same

PROGRAM_SECONDS = 3 * SECONDS
_ENDS: dict[str, Kind] = {"timeout": "program_timeout", "memory": "program_memory", "stack": "program_crash", "crash": "program_crash",
                          "too_large": "program_crash", "worker_death": "worker_death"}


@dataclass(frozen=True)
class Input:
    """What a program is given: arguments and named ones of the function, or its stdin."""

    arguments: Sequence[Any] = ()
    named: Mapping[str, Any] = field(default_factory=dict)
    stdin: str = ""

    def coded(self) -> dict[str, Any]:
        return {"arguments": encode(list(self.arguments)), "named": encode(dict(self.named)), "stdin": self.stdin}


@dataclass(frozen=True)
class Output:
    """What a program gave for one input: a coded value (values.py; text of stdout without an entry), or the kind of its failure."""

    value: Any = None
    error: Kind | None = None
    line: int | None = None
    message: str = ""
    seconds: float = 0.0


def run_program(pool: Pool, source: str, inputs: Sequence[Input], *, entry: str = "", seconds: float = PROGRAM_SECONDS,
                check: Check = never) -> list[Output]:
    """Runs a program over inputs, one output each. Where it does not come to an end on all of them together, each is tried alone."""
    return run_programs(pool, [(source, inputs, entry)], seconds=seconds, apart=True, check=check)[0]


def run_programs(pool: Pool, programs: Sequence[tuple[str, Sequence[Input], str]], *, seconds: float = PROGRAM_SECONDS, apart: bool = False,
                 check: Check = never) -> list[list[Output]]:
    """Several programs (source, inputs, entry) at once. `apart`: those that failed as a whole are run again input by input."""
    replies = pool.map([_job(source, inputs, entry, seconds) for source, inputs, entry in programs], check)
    outputs = [_outputs(reply, len(inputs)) for reply, (_, inputs, _) in zip(replies, programs, strict=True)]
    if apart:
        again = [(number, place) for number, reply in enumerate(replies) if reply.end != "answered" and len(programs[number][1]) > 1
                 for place in range(len(programs[number][1]))]
        jobs = [_job(programs[number][0], [programs[number][1][place]], programs[number][2], seconds) for number, place in again]
        for (number, place), reply in zip(again, pool.map(jobs, check), strict=True):
            outputs[number][place] = _outputs(reply, 1)[0]
    return outputs


def _job(source: str, inputs: Sequence[Input], entry: str, seconds: float) -> Job:
    coded = [one.coded() for one in inputs]
    return Job(json.dumps({"do": "run", "source": source, "entry": entry or None, "inputs": coded}), seconds=seconds)


def _outputs(reply: Reply, count: int) -> list[Output]:
    if reply.end != "answered":
        return [Output(error=_ENDS.get(reply.end, "program_crash"), message=plain(reply.said), seconds=reply.seconds)] * count
    try:
        found = json.loads(reply.said, parse_float=_finite, parse_constant=_finite)
        said = found["outputs"] if "outputs" in found else [found] * count
        assert isinstance(said, list) and len(said) == count
        return [_output(one, reply.seconds) for one in said]
    except (ValueError, TypeError, KeyError, AttributeError, AssertionError, RecursionError):
        return [Output(error="program_crash", message=tr("What came out of the sandbox is no output."), seconds=reply.seconds)] * count


def _finite(text: str) -> float:
    """A coded value spells these out (values.py). Only an interpreter that was tampered with says them as numbers, since infinity is within
    any tolerance of everything."""
    if not math.isfinite(value := float(text)):
        raise ValueError("no coded value")
    return value


def _output(said: Any, seconds: float) -> Output:
    if "error" in said:
        kind: Kind = "program_memory" if said.get("type") == "MemoryError" else "program_raised"
        line = said.get("line") if type(said.get("line")) is int else None
        return Output(None, kind, line, plain(f"{said.get('type', '')}: {said.get('message', '')}".strip(": ")), seconds)
    return Output(said["value"], seconds=seconds)


def code_of(completion: str) -> str:
    """The program in a completion: its last block between fences, else all of it."""
    found = fenced(completion, ("", "python", "py", "python3"))
    return found[-1] if found else completion


class ProgramVerifier:
    """Scores completions that hold a program by the tests of their problem."""

    def __init__(self, pool: Pool, *, seconds: float = PROGRAM_SECONDS, partial: bool = False, tolerance: float = 0.0,
                 tuples_as_lists: bool = True) -> None:
        self.pool, self.seconds, self.partial = pool, seconds, partial
        self.tolerance, self.tuples_as_lists = tolerance, tuples_as_lists

    def score(self, attempts: Sequence[Attempt], check: Check = never) -> list[Verdict]:
        wrong = [self.check_answer(one.answer) for one in attempts]
        programs = [(code_of(one.completion), [_input(test) for test in one.answer["tests"]], str(one.answer.get("entry") or ""))
                    for one, why in zip(attempts, wrong, strict=True) if not why]
        outputs = iter(run_programs(self.pool, programs, seconds=self.seconds, apart=self.partial, check=check))
        return [failed("raised", why) if why else self._verdict(one.answer, next(outputs))
                for one, why in zip(attempts, wrong, strict=True)]

    def check_answers(self, answers: Sequence[Any]) -> list[str]:
        return [self.check_answer(answer) for answer in answers]

    def check_answer(self, answer: Any) -> str:
        if not isinstance(answer, Mapping) or not isinstance(answer.get("tests"), Sequence) or not answer["tests"]:
            return tr("The answer holds no tests: {example}", example='{"entry": "area", "tests": [{"arguments": [2, 3], "expected": 6}]}')
        for number, test in enumerate(answer["tests"], 1):
            if not isinstance(test, Mapping) or "expected" not in test or ("stdin" in test) == bool(answer.get("entry")):
                return tr("Test {number} needs `expected`, and `arguments` with an `entry` or `stdin` without one.", number=number)
            try:
                encode(test["expected"])
                _input(test).coded()
            except (TypeError, ValueError, RecursionError) as wrong:
                return tr("Test {number} cannot be used: {reason}", number=number, reason=str(wrong))
        return ""

    def _verdict(self, answer: Mapping[str, Any], outputs: Sequence[Output]) -> Verdict:
        passed = [self._passes(test, output, bool(answer.get("entry"))) for test, output in zip(answer["tests"], outputs, strict=True)]
        seconds = outputs[0].seconds if outputs else 0.0
        share = sum(passed) / len(passed)
        wrong = next((output for output in outputs if output.error), None)
        if wrong and wrong.error == "worker_death":
            return failed("worker_death", seconds=seconds)
        if wrong and not (self.partial and share > 0):
            return Verdict(0.0, {"passed": share}, wrong.error, wrong.line, wrong.message, seconds)
        score = share if self.partial else float(all(passed))
        return Verdict(score, {"passed": share}, wrong.error if wrong else None, seconds=seconds)

    def _passes(self, test: Mapping[str, Any], output: Output, called: bool) -> bool:
        if output.error:
            return False
        if not called:
            return type(output.value) is str and _lines(output.value) == _lines(str(test["expected"]))
        return same(encode(test["expected"]), output.value, tolerance=self.tolerance, tuples_as_lists=self.tuples_as_lists)


def _input(test: Mapping[str, Any]) -> Input:
    return Input(tuple(test.get("arguments", ())), dict(test.get("named", {})), str(test.get("stdin", "")))


def _lines(text: str) -> list[str]:
    """What counts of an output: its lines, without blanks at their ends and empty ones at the end of all."""
    return [line.rstrip() for line in text.rstrip().splitlines()]
