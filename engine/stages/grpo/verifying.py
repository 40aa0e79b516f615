"""The verifier of a run: its parts, weighted and summed."""

import atexit
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from engine.contract.errors import SettingError
from engine.contract.words import tr
from engine.stages.grpo.spec import GrpoSpec
from engine.verifiers.api import Attempt, Check, Verdict, Verifier, never, scored
from engine.verifiers.pool import SECONDS, Pool
from engine.verifiers.python_verifier import PythonVerifier

PYTHON = "python"


class Sum:
    """The weighted sum of its parts. Where one of them does not know, the sum does not either; what an answer did wrong in one (it had to
    be stopped, say) is told of the sum."""

    def __init__(self, parts: Sequence[tuple[str, float, Verifier]]) -> None:
        self.parts = parts

    def score(self, attempts: Sequence[Attempt], check: Check = never) -> list[Verdict]:
        columns = [verifier.score(attempts, check) for _, _, verifier in self.parts]
        return [self._sum([column[n] for column in columns]) for n in range(len(attempts))]

    def check_answer(self, answer: Any) -> str:
        return next((said for _, _, verifier in self.parts if (said := verifier.check_answer(answer))), "")

    def _sum(self, verdicts: Sequence[Verdict]) -> Verdict:
        seconds = sum(verdict.seconds for verdict in verdicts)
        unknown = next((verdict for verdict in verdicts if verdict.score is None), None)
        if unknown is not None:
            return Verdict(None, {}, unknown.error, unknown.line, unknown.message, seconds, unknown.printed)
        wrong = next((verdict for verdict in verdicts if verdict.error), None)
        total, found = 0.0, {}
        for (name, weight, _), verdict in zip(self.parts, verdicts, strict=True):
            assert verdict.score is not None
            total += weight * verdict.score
            found[name] = verdict.score
            found |= {f"{name}.{part}": value for part, value in verdict.parts.items()}
        made = scored(total, found, seconds=seconds)
        return made if wrong is None or made.error else Verdict(total, found, wrong.error, wrong.line, wrong.message, seconds)


@contextmanager
def opened(spec: GrpoSpec) -> Iterator[Verifier]:
    """The verifier that the settings compose, its processes ended afterwards. Raises SettingError, FormatError (its source), Missing."""
    with ExitStack() as stack:
        pool: Pool | None = None
        parts: list[tuple[str, float, Verifier]] = []
        for part in spec.parts():
            if part["name"] != PYTHON:
                raise SettingError(tr("There is no verifier called {name}.", name=part["name"]), tr("Choose another one."),
                                   field="verifier")
            pool = pool or stack.enter_context(Pool())
            settings = part["settings"]
            made = PythonVerifier(str(settings.get("source", "")), pool, seconds=float(settings.get("seconds", SECONDS)))
            name = str(settings.get("title") or part["name"])
            taken = {known for known, _, _ in parts}
            parts.append((next(f"{name} {n}".removesuffix(" 1") for n in range(1, len(parts) + 2) if f"{name} {n}".removesuffix(" 1")
                               not in taken), part["weight"], made))
        yield Sum(parts)


def until_the_end(spec: GrpoSpec) -> Verifier:
    """The same, for a process that does nothing else: its verifier's processes end with it."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(opened(spec))
