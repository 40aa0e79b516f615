"""An import of pairs before it happens: which columns a pair is made of, by the kind of file, and what they are called."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from desktop.models.rows_import import RowsImportPlan
from engine.contract.words import tr

COLUMNS: dict[str, tuple[str, ...]] = {
    "fledge": (), "argilla": ("prompt", "first", "second", "label"), "transcripts": ("chosen", "rejected"),
    "chosen": ("prompt", "chosen", "rejected", "system", "strength", "by"), "implicit": ("chosen", "rejected"),
    "columns": ("prompt", "first", "second", "label", "tie", "strength", "score_first", "score_second", "model_first", "model_second",
                "system", "by")}
"""Which columns matter, by the kind of file."""


@dataclass
class PairImportPlan(RowsImportPlan):
    """Rows that become pairs."""

    every_part: ClassVar[tuple[str, ...]] = ("prompt", "chosen", "rejected", "first", "second", "label", "tie", "strength", "score_first",
                                             "score_second", "model_first", "model_second", "system", "by")
    parts_of_kind: ClassVar[dict[str, tuple[str, ...]]] = COLUMNS
    marked: ClassVar[tuple[str, ...]] = ("prompt", "chosen", "rejected", "first", "second")

    def title_of(self, file: Path) -> str:
        return file.name.partition(".")[0] or file.name

    def part_words(self, part: str) -> tuple[str, str]:
        return {
            "prompt": (tr("Prompt"), tr("what was asked")), "chosen": (tr("Better answer"), tr("the chosen one")),
            "rejected": (tr("Worse answer"), tr("the rejected one")), "first": (tr("First answer"), tr("a text")),
            "second": (tr("Second answer"), tr("a text")), "label": (tr("Label"), tr("which is better")),
            "tie": (tr("Tie"), tr("true where neither is better")), "strength": (tr("Strength"), tr("1, slightly, to 3, much better")),
            "score_first": (tr("Score of the first"), tr("a number")), "score_second": (tr("Score of the second"), tr("a number")),
            "model_first": (tr("Maker of the first"), tr("hidden while you label")),
            "model_second": (tr("Maker of the second"), tr("hidden while you label")),
            "system": (tr("System prompt"), tr("how the model is to behave")), "by": (tr("Annotator"), tr("who compared them"))}[part]

    def unclear(self) -> str:
        return tr("It is not clear which columns hold prompts and answers.")

    def none_of_them(self) -> str:
        return tr("None of the first rows is a pair.")
