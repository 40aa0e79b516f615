"""Examples in words of the review: one line of a table, states, who wrote what, ranges of scores, a conversation as one text. No Qt."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from desktop.models.instruct_words import flag_words
from desktop.models.local_models import short_name
from engine.contract.rows import Example, Message
from engine.contract.words import tr
from engine.project.examples import ExampleRow

PERSON = "person"
LINE = 240
"""Characters of a text that a line of the table can show at most."""
RANGE = re.compile(r"\s*(\d+(?:[.,]\d+)?)\s*(?:(?:-|–|\.\.|to)\s*(\d+(?:[.,]\d+)?)|(\+))?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Line:
    """What a line of the table shows, made where the row is read, so that painting only paints."""

    row: ExampleRow
    question: str
    answer: str
    score: str
    flags: str
    who: str

    @property
    def id(self) -> str:
        return self.row.example.id


def line_of(row: ExampleRow) -> Line:
    example = row.example
    score = "" if example.score is None else f"{example.score:.1f}".removesuffix(".0")
    flags = ", ".join(flag_words(f) for f in example.flags[:1]) + (f" +{len(example.flags) - 1}" if len(example.flags) > 1 else "")
    return Line(row, one_line(question_of(example)), one_line(answer_of(example)), score, flags, who_words(row.edited_by or example.origin))


def one_line(text: str) -> str:
    return " ".join(text[:LINE * 2].split())[:LINE]


def question_of(example: Example) -> str:
    """The last thing that was asked; of a conversation of several turns the line shows how it ends."""
    first = example.messages[0].content if example.messages else ""
    return next((m.content for m in reversed(example.messages) if m.role == "user"), first)


def answer_of(example: Example) -> str:
    return next((m.content for m in reversed(example.messages) if m.role == "assistant"), "")


def status_words(status: str) -> str:
    return {"new": tr("to review"), "accepted": tr("accepted"), "rejected": tr("set aside"), "deleted": tr("deleted")}.get(status, status)


def status_look(status: str) -> tuple[str, str]:
    """(icon, tone)"""
    return {"accepted": ("check", "ok"), "rejected": ("close", "text2"), "deleted": ("trash", "text2")}.get(status, ("clock", "text2"))


def who_words(author: str) -> str:
    """Who wrote something, as a person says it."""
    if author in (PERSON, ""):
        return tr("you") if author else tr("unknown")
    if author.startswith("import:"):
        return author.removeprefix("import:").replace("\\", "/").rpartition("/")[2] or tr("a file")
    return short_name(author)


def event_words(what: str, status: str = "") -> str:
    """One event in the life of an example."""
    return {"add": tr("wrote it"), "edit": tr("edited it"), "comment": tr("commented"), "delete": tr("deleted it"),
            "accepted": tr("accepted it"), "rejected": tr("set it aside"), "new": tr("put it back to review")}.get(what, what)


def read_range(text: str) -> tuple[float | None, float | None] | None:
    """"7", "7+", "3-7", "3 to 7" as a range of scores; None for what is none."""
    hit = RANGE.fullmatch(text)
    if hit is None:
        return None
    low = float(hit[1].replace(",", "."))
    if hit[2]:
        high = float(hit[2].replace(",", "."))
        return (low, high) if low <= high else (high, low)
    return (low, None) if hit[3] else (low, low)


def range_words(low: float | None, high: float | None) -> str:
    def plain(value: float) -> str:
        return f"{value:g}"
    if low is not None and high is not None:
        return plain(low) if low == high else tr("{low} to {high}", low=plain(low), high=plain(high))
    return tr("{low} and more", low=plain(low)) if low is not None else tr("up to {high}", high=plain(high or 0))


def as_text(messages: Iterable[Message]) -> str:
    """A conversation as one text, to be compared with another version of itself."""
    names = {"system": tr("System"), "user": tr("User"), "assistant": tr("Assistant"), "tool": tr("Tool")}
    return "\n\n".join(f"{names.get(m.role, m.role)}:\n{m.content}" for m in messages)


def next_role(messages: Iterable[Message]) -> str:
    """Who speaks after these: the one who answers, or who asks."""
    last = next((m.role for m in reversed(list(messages)) if m.role != "system"), "")
    return "assistant" if last in ("user", "tool") else "user"
