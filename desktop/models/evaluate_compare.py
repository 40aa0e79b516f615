"""Two evaluations set against each other: the same suites, a model of each, on the questions that both asked. Rows are read in a thread; no
Qt, no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from desktop.models.evaluate_answers import Source, lines
from desktop.models.evaluate_result import LOSSES, Result, interval_words, p_words, paired_losses, signed, unit_words
from engine.contract.units import number, percent, significant
from engine.contract.words import tr
from engine.evaluation.kept import ROWS
from engine.project.artifacts import Artifact


@dataclass(frozen=True)
class Side:
    """An evaluation and one of its models."""

    made: Artifact
    model: str

    @property
    def result(self) -> Result:
        return Result.of(self.made)

    @property
    def title(self) -> str:
        return self.result.model_title(self.model)


@dataclass(frozen=True)
class Shared:
    """A suite of both: figures in words, the difference, and what it means. `mark` as in a result; `sources` whose answers can be seen."""

    id: str
    title: str
    unit: str
    first: tuple[str, str]
    second: tuple[str, str]
    difference: str
    meaning: str
    mark: int
    sources: tuple[Source, ...]


def compare(first: Side, second: Side) -> list[Shared]:
    """Every suite that both measured. Exact p of the questions that only one answered; questions only one was asked are left out."""
    one, other = first.result, second.result
    there = {s["id"] for s in other.suites}
    made = []
    for suite in one.suites:
        if suite["id"] not in there or suite["kind"] in ("win_rate", "blind"):
            continue
        a, b = one.best(suite["id"], first.model), other.best(suite["id"], second.model)
        if a is not None and b is not None:
            made.append(_shared(suite, first, second, a, b))
    return made


def _shared(suite: dict[str, Any], first: Side, second: Side, a: dict[str, Any], b: dict[str, Any]) -> Shared:
    kind, id = suite["kind"], suite["id"]
    same = first.made.id == second.made.id
    tail = ("", "") if same else (tr("first evaluation"), tr("second evaluation"))
    sources = (Source(first.made.path, first.model, a["form"], first.title, tail[0]),
               Source(second.made.path, second.model, b["form"], second.title, tail[1]))
    if kind == "text_loss":
        return Shared(id, suite["title"], unit_words(kind), (significant(a["value"], 4), ""), (significant(b["value"], 4), ""),
                      signed(b["value"] - a["value"]), tr("one measure, no interval") if a["bytes"] == b["bytes"] else
                      tr("not the same text: not to be compared"), 0, ())
    rows_a, rows_b = rows(first, id, a["form"]), rows(second, id, b["form"])
    if kind in LOSSES:
        found = paired_losses(rows_a, rows_b)
        words = tr("too few of the same conversations") if found is None else tr("{low} to {high} nats a conversation",
                                                                                 low=signed(found[0]),
                                                                             high=signed(found[1]))
        mark = 0 if found is None else -1 if found[0] > 0 else 1 if found[1] < 0 else 0
        return Shared(id, suite["title"], unit_words(kind), (significant(a["value"], 4), ""), (significant(b["value"], 4), ""),
                      signed(b["value"] - a["value"]), words, mark, sources)
    from engine.evaluation import report  # in the thread that compares
    told = report.compare(rows_a, rows_b)
    if not told["n"]:
        return Shared(id, suite["title"], unit_words(kind), (percent(a["value"]), interval_words(a)), (percent(b["value"]),
                                                                                                       interval_words(b)), "",
                      tr("no question in common"), 0, sources)
    difference = (told["only_second"] - told["only_first"]) / told["n"]
    mark = 0 if told["p"] >= 0.05 else 1 if difference > 0 else -1
    meaning = tr("{gained} gained, {lost} lost of {count} (p {p})", gained=number(told["only_second"]), lost=number(told["only_first"]),
                 count=number(told["n"]), p=p_words(told["p"]))
    return Shared(id, suite["title"], unit_words(kind), (percent(a["value"]), interval_words(a)), (percent(b["value"]), interval_words(b)),
                  tr("{points} points", points=signed(difference * 100, 2)), meaning, mark, sources)


def rows(side: Side, suite: str, form: str) -> Sequence[dict[str, Any]]:
    """The rows of a model by a suite, with what a comparison needs of them."""
    wanted = ("id", "score", "nats", "tokens")
    return [{k: row[k] for k in wanted if k in row} for _, row in lines(side.made.path / ROWS)
            if row.get("suite") == suite and row.get("model") == side.model and row.get("form") == form]
