"""The answers an evaluation kept (rows.jsonl of its artifact), looked through page by page, and two of them beside each other. No torch.

Rows are read from the file each time, line by line: nothing but the page is held.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from engine.evaluation.journal import read

ROWS = "rows.jsonl"


@dataclass(frozen=True)
class RowFilter:
    """Which answers: of a suite, model and form (all where empty), with a score between `low` and `high`, of groups, with `search` in what
    was asked, said or known (in any case of letters)."""

    suite: str = ""
    model: str = ""
    form: str = ""
    low: float | None = None
    high: float | None = None
    search: str = ""
    group: Mapping[str, str] = field(default_factory=dict)

    def takes(self, row: Mapping[str, Any]) -> bool:
        if any(wanted and row.get(name) != wanted for name, wanted in (("suite", self.suite), ("model", self.model), ("form", self.form))):
            return False
        if self.low is not None or self.high is not None:
            score = row.get("score")
            if score is None or (self.low is not None and score < self.low) or (self.high is not None and score > self.high):
                return False
        if any(row.get("group", {}).get(name) != value for name, value in self.group.items()):
            return False
        if self.search:
            texts = (row.get("prompt", ""), row.get("said", ""), *row.get("answers", ()))
            return any(self.search.casefold() in text.casefold() for text in texts)
        return True


def rows(artifact: Path, filter: RowFilter | None = None, start: int = 0, count: int | None = None) -> list[dict[str, Any]]:
    """A page of the rows, in the order of suites, models and questions."""
    return list(islice(_matching(artifact, filter or RowFilter()), start, None if count is None else start + count))


def count(artifact: Path, filter: RowFilter | None = None) -> int:
    return sum(1 for _ in _matching(artifact, filter or RowFilter()))


def side_by_side(first: Path, second: Path, suite: str, models: tuple[str, str], forms: tuple[str, str] = ("chat", "chat"),
                 differing: bool = False) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The same questions of a suite answered by two models, in one evaluation or in two: ids follow the content of the questions.
    `differing`: only those that one model answers and the other does not."""
    known = {(row["id"], row["sample"]): row for row in _matching(second, RowFilter(suite=suite, model=models[1], form=forms[1]))}
    for row in _matching(first, RowFilter(suite=suite, model=models[0], form=forms[0])):
        other = known.get((row["id"], row["sample"]))
        if other is not None and not (differing and (row["score"] >= 0.5) == (other["score"] >= 0.5)):
            yield row, other


def _matching(artifact: Path, filter: RowFilter) -> Iterator[dict[str, Any]]:
    return (row for row in read(artifact / ROWS) if filter.takes(row))
