"""Verifiers that people write: `verify(prompt, completion, answer)` in Python, called in the sandbox.

    def verify(prompt, completion, answer):
        return 1.0 if completion.strip() == answer else 0.0

It returns a number, or a dict of numbers: their sum is the score, or the one named "score" where there is one; the rest is shown as parts.
True and False count as 1 and 0. It may also ask for `messages` (the whole prompt, [{"role", "content"}]) and `facts` (the problem's own) by
naming them as further parameters.

Every call runs the whole source anew, so that nothing it holds goes from one completion to the next. Where the source could run what a
completion says, or change the interpreter itself, each call gets an interpreter of its own; packaging/verifier_image/checking.py decides.
Here nothing of the source is run or even parsed.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.contract.errors import FormatError
from engine.contract.words import tr
from engine.verifiers.api import Attempt, Check, Kind, Verdict, failed, never, plain, scored
from engine.verifiers.frames import Reply
from engine.verifiers.pool import SECONDS, Job, Pool
from engine.verifiers.values import encode

LONGEST_SOURCE = 200_000
MOST_PARTS = 64
"""Of a score: each answer of a run keeps its own."""


@dataclass(frozen=True)
class SourceProblem:
    """Why a source is no verifier. line, column: from 1; None where there is no place."""

    sentence: str
    line: int | None = None
    column: int | None = None


@dataclass(frozen=True)
class Checked:
    """What a look at a source found. takes: what `verify` asks for beyond prompt, completion and answer. reuse: whether one interpreter
    serves many calls; reason: why not, (line, what)."""

    problems: tuple[SourceProblem, ...]
    takes: tuple[str, ...] = ()
    reuse: bool = False
    reason: tuple[int, str] | None = None


def check_source(source: str, pool: Pool, seconds: float = SECONDS) -> Checked:
    """Whether a source is Python with a `verify` that can be called, and whether its top level runs. All of it in the sandbox."""
    if len(source) > LONGEST_SOURCE:
        return Checked((SourceProblem(tr("The verifier is longer than {count} characters.", count=f"{LONGEST_SOURCE:,}")),))
    [reply] = pool.map([Job(json.dumps({"do": "check", "source": source}), seconds=seconds)])
    if reply.end != "answered":
        return Checked((SourceProblem(_ended(reply.end)),))
    found = _facts(reply)
    problems = found.get("problems")
    if not isinstance(problems, list):
        return Checked((SourceProblem(plain(str(found.get("message", ""))) or tr("The verifier could not be read.")),))
    if problems:
        return Checked(tuple(_problem(one) for one in problems))
    why = found.get("why")
    reason = (_number(why.get("line")) or 1, plain(str(why.get("what", "")), 80)) if isinstance(why, dict) else None
    takes = tuple(name for name in ("messages", "facts") if name in found.get("takes", ()))
    return Checked((), takes, found.get("reuse") is True and reason is None, reason)


def _problem(found: Any) -> SourceProblem:
    kind, message = str(found.get("kind")), plain(str(found.get("message", "")))
    sentences = {
        "missing": tr("There is no function `verify`. Write def verify(prompt, completion, answer): …"),
        "not_plain": tr("`verify` must be a plain function: not async, and without yield."),
        "signature": tr("`verify` must take prompt, completion and answer; beyond them only messages and facts are known. "
                        "It takes: {names}", names=message or "–"),
        "raised": tr("Running the verifier's first lines failed: {message}", message=message),
    }
    return SourceProblem(sentences.get(kind, message[:1].upper() + message[1:]), _number(found.get("line")), _number(found.get("column")))


def _ended(end: str) -> str:
    return {
        "timeout": tr("The verifier's first lines did not come to an end in time."),
        "memory": tr("The verifier's first lines took too much memory."),
        "worker_death": tr("The process around the sandbox died over this source."),
    }.get(end, tr("The verifier's first lines made the interpreter crash."))


class PythonVerifier:
    """One source, ready to score. FormatError (`field` "source", with the line in its sentence) where it is no verifier. `fresh`: an
    interpreter of its own for each call, though it could do without."""

    def __init__(self, source: str, pool: Pool, *, seconds: float = SECONDS, fresh: bool = False) -> None:
        checked = check_source(source, pool)
        if checked.problems:
            problem = checked.problems[0]
            where = tr("Line {line}: {sentence}", line=problem.line, sentence=problem.sentence) if problem.line else problem.sentence
            raise FormatError(where, tr("Correct the verifier there."), code="verifier_source", field="source")
        self.source, self.pool, self.seconds = source, pool, seconds
        self.reuse = checked.reuse and not fresh
        self.reason, self.takes = checked.reason, checked.takes
        self.sha256 = hashlib.sha256(source.encode("utf-8", "replace")).hexdigest()
        self._key = bytes.fromhex(self.sha256)[:16] if self.reuse else b""

    def score(self, attempts: Sequence[Attempt], check: Check = never) -> list[Verdict]:
        jobs = [Job(self._request(attempt), self._key, self.seconds) for attempt in attempts]
        return [self._verdict(reply) for reply in self.pool.map(jobs, check)]

    def check_answers(self, answers: Sequence[Any]) -> list[str]:
        return [_handed_in(answer) for answer in answers]

    def _request(self, attempt: Attempt) -> str:
        asked = {"do": "verify", "source": self.source, "prompt": attempt.prompt, "completion": attempt.completion, "seed": 0,
                 "answer": encode(attempt.answer), "takes": self.takes}
        if "messages" in self.takes:
            asked["messages"] = [dict(message) for message in attempt.messages] or [{"role": "user", "content": attempt.prompt}]
        if "facts" in self.takes:
            asked["facts"] = dict(attempt.facts)
        return json.dumps(asked)

    def _verdict(self, reply: Reply) -> Verdict:
        seconds = reply.seconds
        if reply.end == "timeout":
            return failed("timeout", tr("It took more than {limit} s.", limit=self.seconds), seconds=seconds)
        if reply.end in ("memory", "worker_death"):
            return failed("memory" if reply.end == "memory" else "worker_death", seconds=seconds)
        if reply.end != "answered":
            return failed("crash", reply.said, seconds=seconds)
        found = _facts(reply)
        line, printed = _number(found.get("line")), str(found.get("printed", ""))
        if "error" in found:
            message = str(found.get("message", ""))
            kind: Kind
            if found["error"] == "not_a_number":
                kind, message = "not_a_number", tr("It returned no number: {what}", what=message)
            else:
                kind = "memory" if found.get("type") == "MemoryError" else "raised"
                message = f"{found.get('type', '')}: {message}".strip(": ")
            return failed(kind, message, line=line, seconds=seconds, printed=printed)
        try:
            score = _float(found["score"])
            if len(found.get("parts", {})) > MOST_PARTS:
                return failed("not_a_number", tr("It returned more than {count} parts.", count=MOST_PARTS), line=line, seconds=seconds,
                              printed=printed)
            parts = {plain(str(name), 80): _float(value) for name, value in found.get("parts", {}).items()}
        except (KeyError, TypeError, ValueError, AttributeError):
            return failed("crash", tr("What came out of the sandbox is no verdict."), seconds=seconds)
        return scored(score, parts, line=line, seconds=seconds, printed=printed)


def _handed_in(answer: Any) -> str:
    try:
        encode(answer)
    except (TypeError, RecursionError) as wrong:
        return tr("The answer cannot be handed to a verifier: {reason}", reason=str(wrong))
    return ""


def _facts(reply: Reply) -> dict[str, Any]:
    """The answer as a dict. What does not parse is an empty one: an interpreter others ran code in may say anything."""
    try:
        found = json.loads(reply.said)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _number(value: Any) -> int | None:
    return value if type(value) is int and 0 < value < 10**7 else None


def _float(value: Any) -> float:
    """A number that was sent as text, so that no JSON reader has to know NaN."""
    if type(value) is not str or len(value) > 40:
        raise ValueError("no number")
    return float(value)
