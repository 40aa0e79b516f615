"""How much of a completion is in a language: engine/text/cleaning/language.py asked passage by passage. Nothing is downloaded."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from engine.text.cleaning import language as languages
from engine.verifiers.api import Attempt, Check, Verdict, never, scored
from engine.verifiers.finding import final_answer

PASSAGE = 200
LONGEST = 20_000
"""Characters that are looked at, from the beginning and the end."""


@dataclass(frozen=True)
class LanguageVerifier:
    """The share of letters that stand in passages of the language, among those whose language can be told; `unclear` where none can.
    `part`: as in TextVerifier."""

    language: str = "en"
    part: Literal["whole", "answer"] = "whole"
    unclear: float = 0.0

    def score(self, attempts: Sequence[Attempt], check: Check = never) -> list[Verdict]:
        check()
        passages = [list(_passages(self._said(attempt.completion))) for attempt in attempts]
        found = iter(languages.identify([text for some in passages for text in some]))
        return [scored(self._share([(text, next(found)) for text in some]), {}) for some in passages]

    def check_answers(self, answers: Sequence[Any]) -> list[str]:
        return ["" for _ in answers]

    def _said(self, completion: str) -> str:
        said = (final_answer(completion) if self.part == "answer" else None) or completion
        return said if len(said) <= LONGEST else said[:LONGEST // 2] + "\n" + said[-LONGEST // 2:]

    def _share(self, found: Sequence[tuple[str, languages.Language]]) -> float:
        known = [(sum(sign.isalpha() for sign in text), told.code) for text, told in found if told.code]
        letters = sum(count for count, _ in known)
        return sum(count for count, code in known if code == self.language) / letters if letters else self.unclear


def _passages(text: str) -> Iterator[str]:
    """Sentences, put together until there is enough to tell a language by; a new paragraph begins a new passage."""
    for paragraph in re.split(r"\n\s*\n", text):
        held = ""
        for sentence in re.split(r"(?<=[.!?。！？\n])\s*", paragraph):
            held = f"{held} {sentence}".strip()
            while len(held) > 2 * PASSAGE:
                yield held[:PASSAGE]
                held = held[PASSAGE:]
            if len(held) >= PASSAGE:
                yield held
                held = ""
        if held:
            yield held
