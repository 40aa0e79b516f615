"""An import of examples before it happens: which columns a conversation is made of, by the kind of file, and what they are called."""

from dataclasses import dataclass, replace
from typing import ClassVar

from desktop.models.rows_import import RowsImportPlan
from engine.contract.words import tr

COLUMNS: dict[str, tuple[str, ...]] = {
    "fledge": (), "messages": ("conversation", "system", "known", "score"), "sharegpt": ("conversation", "system", "known", "score"),
    "preferences": ("prompt", "answer", "rejected", "system"), "prompt_completion": ("prompt", "answer", "system", "known"),
    "alpaca": ("prompt", "input", "answer", "system", "history", "known"),
    "questions": ("prompt", "input", "answer", "known", "system", "score"),
    "columns": ("prompt", "answer", "input", "system", "conversation", "rejected", "known", "score")}
"""Which columns matter, by the kind of file."""


@dataclass
class ImportPlan(RowsImportPlan):
    """Rows that become conversations."""

    every_part: ClassVar[tuple[str, ...]] = ("prompt", "input", "answer", "conversation", "system", "history", "rejected", "known", "score")
    parts_of_kind: ClassVar[dict[str, tuple[str, ...]]] = COLUMNS
    marked: ClassVar[tuple[str, ...]] = ("prompt", "answer")

    def set_roles(self, lines: tuple[str, ...]) -> None:
        """"narrator = user" a line; lines that say something else are left out."""
        assert self.mapping is not None
        pairs = [(a.strip(), b.strip()) for a, _, b in (line.partition("=") for line in lines)]
        self.mapping = replace(self.mapping, roles=tuple((a, b) for a, b in pairs if a and b in ("system", "user", "assistant", "tool")))

    def part_words(self, part: str) -> tuple[str, str]:
        return {
            "conversation": (tr("Messages"), tr("a list of messages, each with who speaks and what is said")),
            "prompt": (tr("Question"), tr("what is asked")), "answer": (tr("Answer"), tr("what the model learns to say")),
            "input": (tr("Input"), tr("put below the question")), "system": (tr("System prompt"), tr("how the model is to behave")),
            "history": (tr("Earlier turns"), tr("pairs of questions and answers before")),
            "rejected": (tr("Rejected answer"), tr("the one that lost, kept beside it")),
            "known": (tr("Known answer"), tr("short, to be compared in an evaluation")), "score": (tr("Score"), tr("a number"))}[part]

    def unclear(self) -> str:
        return tr("It is not clear which columns hold questions and answers.")

    def none_of_them(self) -> str:
        return tr("None of the first rows is an example.")
