"""A document on its way through the cleaning steps, and what a step is. No step lives here."""

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


class Verdict(NamedTuple):
    """Why a document is removed: the step's id ("quality"), its rule ("gopher_word_count"), and a short detail for people ("38 words")."""

    step: str
    rule: str
    detail: str = ""


class Touch(NamedTuple):
    """What a step changed in a document it keeps: how many times, and one example (before, after), each short."""

    step: str
    count: int
    before: str = ""
    after: str = ""
    rule: str = ""


@dataclass
class Draft:
    """One document. Steps change `text`, or set `verdict`, after which no later step sees it. `language` is an ISO 639 code ("" unknown);
    `scores` holds what steps measured ("quality" 0..1, "harm:adult" 0..1). `borderline` marks what a person should look at."""

    text: str
    id: str = ""
    source: str = ""
    language: str = ""
    language_score: float = 0.0
    verdict: Verdict | None = None
    touches: list[Touch] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)
    borderline: str = ""

    def touch(self, step: str, text: str, count: int = 1, before: str = "", after: str = "", rule: str = "") -> None:
        """Replace the text, noting what was done."""
        self.text = text
        self.touches.append(Touch(step, count, before, after, rule))


class Step(Protocol):
    """One cleaning step, made once a process from plain settings and then given document after document. Deterministic: the same draft
    gives the same result in any process and any order."""

    id: str

    def __call__(self, draft: Draft) -> None: ...
