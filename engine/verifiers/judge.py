"""A local language model as a verifier: it reads prompt, completion and a rubric, and gives 1 to 10 points, which become 0 to 1.

A judge that cannot be reached is waited for; when patience is over Away says so, and the run pauses: nobody is scored 0 because a
server was away. A verdict that cannot be read after some tries is none: the score is None ("raised"), and the rollout leaves its group.
What a completion says to the judge is text between marks; still, whoever trains against a judge trains what the judge likes.
"""

import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any, Literal

from engine.contract.words import tr
from engine.generators import judging
from engine.generators.asks import Ask, Reply
from engine.generators.judging import HIGHEST, LOWEST
from engine.generators.provider import Provider, TooLong, Unavailable
from engine.verifiers.api import Attempt, Away, Check, Verdict, failed, never, scored
from engine.verifiers.finding import final_answer

PATIENCE = 30.0
"""Seconds a judge may be gone or busy without an answer."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0
LOOK = 0.1
FENCES = re.compile("<{3,}|>{3,}")
"""What marks a text for the judge (judging.py), in runs of any length: a completion may not close its own."""


class JudgeVerifier:
    """`part`: as in TextVerifier. `show_answer`: the judge reads the gold answer, where there is one. `at_once`: asks under way."""

    def __init__(self, provider: Provider, *, rubric: str = "", show_answer: bool = True, part: Literal["whole", "answer"] = "whole",
                 at_once: int = 4, patience: float | None = None) -> None:
        self.provider, self.rubric, self.show_answer, self.part = provider, rubric, show_answer, part
        self.at_once, self.patience = at_once, PATIENCE if patience is None else patience

    def score(self, attempts: Sequence[Attempt], check: Check = never) -> list[Verdict]:
        """Raises Away (it cannot be reached), NotFound (no such model), and what `check` does."""
        if not attempts:
            return []
        over = threading.Event()
        with ThreadPoolExecutor(min(self.at_once, len(attempts)), "judge") as threads:
            asked = [threads.submit(self._judge, attempt, over) for attempt in attempts]
            try:
                waiting = set(asked)
                while waiting:
                    done, waiting = wait(waiting, LOOK, FIRST_EXCEPTION)
                    for one in done:
                        one.result()
                    check()
            except BaseException:
                over.set()
                for one in asked:
                    one.cancel()
                raise
        return [one.result() for one in asked]

    def check_answers(self, answers: Sequence[Any]) -> list[str]:
        return ["" for _ in answers]

    def _judge(self, attempt: Attempt, over: threading.Event) -> Verdict:
        began = time.monotonic()
        said = (final_answer(attempt.completion) if self.part == "answer" else None) or attempt.completion
        rubric = self.rubric.strip() or judging.RUBRIC
        if self.show_answer and str(attempt.answer).strip():
            rubric += f"\nThe right answer, which the answer is to be compared with:\n<<<\n{_inside(str(attempt.answer))}\n>>>"
        try:
            verdict = judging.judge(self._asker(over), rubric, _inside(_prompt(attempt)), _inside(said))
        except TooLong as wrong:
            return failed("raised", wrong.sentence, seconds=time.monotonic() - began)
        if not verdict.readable:
            return failed("raised", tr("The judge's verdict could not be read."), seconds=time.monotonic() - began)
        return scored((verdict.score_a - LOWEST) / (HIGHEST - LOWEST), {}, seconds=time.monotonic() - began, printed=verdict.rationale)

    def _asker(self, over: threading.Event) -> Callable[[Ask], Reply]:
        """Asks until there is an answer or patience is over. Waits double, and not in step with others."""
        def ask(ask: Ask) -> Reply:
            until, wait_for = time.monotonic() + self.patience, FIRST_WAIT
            while True:
                try:
                    return self.provider.ask(ask)
                except Unavailable as wrong:
                    if over.is_set() or time.monotonic() + wait_for > until:
                        raise Away(tr("The judge {model} cannot be reached: {reason}", model=self.provider.name,
                                      reason=wrong.sentence), wrong.remedy) from wrong
                    over.wait(max(wrong.retry_after or 0.0, wait_for * random.uniform(0.5, 1.0)))
                    wait_for = min(LONGEST_WAIT, 2 * wait_for)
        return ask


def _prompt(attempt: Attempt) -> str:
    """What was asked: the last turn alone where it is all, else the conversation."""
    if len(attempt.messages) <= 1:
        return attempt.prompt
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in attempt.messages)


def _inside(text: str) -> str:
    """Fit to stand between marks."""
    return FENCES.sub(lambda found: " ".join(found[0]), text)
