"""Answers held against a verifier while others are still being written, so that neither waits for the other. What verifiers are is
engine/verifiers' matter."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from engine.rl.rollouts import Answer, Question
from engine.verifiers.api import Attempt, Verdict, Verifier

AT_ONCE = 16
"""Answers handed over together while more are being written."""


class _GivenUp(Exception):
    """Nobody waits for the verdicts any more."""


def attempt(question: Question, text: str) -> Attempt:
    return Attempt([message.model_dump() for message in question.messages], text, question.answer, question.facts)


class Checks:
    """`Checks(..)` is handed to `rollouts.ask` as `finished`; `verdicts` then waits for what is still out. One thread asks the verifier.
    `waited`: the seconds that took."""

    def __init__(self, verifier: Verifier, questions: Sequence[Question], generations: int = 1) -> None:
        self.verifier, self.questions, self.generations = verifier, questions, generations
        self.waited = 0.0
        self._thread = ThreadPoolExecutor(1, "verifier")
        self._over = threading.Event()
        self._ready: list[tuple[int, str]] = []
        self._out: list[tuple[list[tuple[int, str]], Future[list[Verdict]]]] = []

    def __enter__(self) -> "Checks":
        return self

    def __exit__(self, kind: type[BaseException] | None, wrong: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.shutdown(cancel_futures=True)

    def __call__(self, place: int, text: str) -> None:
        """An answer is whole."""
        self._ready.append((place, text))
        if len(self._ready) >= AT_ONCE:
            self._hand_over()

    def verdicts(self, answers: Sequence[Answer]) -> list[Verdict]:
        """One an answer, in their order. An answer that came out otherwise than it was told (written again where memory ran out) is
        scored again. Raises what the verifier raises where it cannot work at all."""
        began = time.perf_counter()
        self._hand_over()
        found = self._collect()
        self._ready = [(n, answer.text) for n, answer in enumerate(answers) if (n, answer.text) not in found]
        self._hand_over()
        found |= self._collect()
        self.waited = time.perf_counter() - began
        return [found[n, answer.text] for n, answer in enumerate(answers)]

    def _hand_over(self) -> None:
        if self._ready:
            some, self._ready = self._ready, []
            batch = [attempt(self.questions[place // self.generations], text) for place, text in some]
            self._out.append((some, self._thread.submit(self.verifier.score, batch, self._check)))

    def _check(self) -> None:
        if self._over.is_set():
            raise _GivenUp

    def _collect(self) -> dict[tuple[int, str], Verdict]:
        found = {}
        for some, future in self._out:
            found |= dict(zip(some, future.result(), strict=True))
        self._out = []
        return found
