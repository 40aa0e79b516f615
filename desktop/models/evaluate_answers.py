"""The answers that evaluations kept, a question at a time with every model's answer beside it. Rows stay in their files: an index of where
they lie is made in a thread, and a page is read when it is shown. No Qt, no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from engine.evaluation.kept import ROWS

JUDGED, ANY = "judged", "*"
WHICH = ("all", "right", "wrong", "differ")


@dataclass(frozen=True)
class Source:
    """Whose answers: a model in one form of asking (ANY: in whatever form it was asked), in the evaluation that lies in `folder`."""

    folder: Path
    model: str
    form: str
    title: str
    note: str = ""


@dataclass
class Asked:
    """A question: where each source's first answer lies, and how right all of its tries were together (None: not asked or not graded)."""

    id: str
    places: list[int]
    scores: list[float | None]
    tries: list[int]
    verdicts: list[int] = field(default_factory=list)
    rank: float = 0.0


class Answers:
    """The index of one suite. `read` makes it (in a thread); `find` says which questions; `page` reads them."""

    def __init__(self, suite: str, sources: Sequence[Source]) -> None:
        self.suite, self.sources = suite, list(sources)
        self.asked: list[Asked] = []
        self.graded = False

    def read(self) -> "Answers":
        """Go through the files once."""
        found: dict[str, Asked] = {}
        many = len(self.sources)
        sums: dict[tuple[str, int], float] = {}
        for folder in dict.fromkeys(s.folder for s in self.sources):
            mine: dict[Any, int] = {(s.model, s.form): i for i, s in enumerate(self.sources) if s.folder == folder}
            for offset, row in lines(folder / ROWS):
                if row.get("suite") != self.suite:
                    continue
                if row.get("form") == JUDGED:
                    asked = found.get(str(row["id"]))
                    if asked is not None:
                        asked.verdicts.append(offset)
                    continue
                place = mine.get((row.get("model"), row.get("form")), mine.get((row.get("model"), ANY)))
                if place is None:
                    continue
                asked = found.setdefault(row["id"], Asked(row["id"], [-1] * many, [None] * many, [0] * many))
                if asked.places[place] < 0:
                    asked.places[place] = offset
                asked.tries[place] += 1
                if row.get("grades"):
                    self.graded = True
                    key = (row["id"], place)
                    sums[key] = sums.get(key, 0.0) + float(row.get("score") or 0.0)
                    asked.scores[place] = sums[key] / asked.tries[place]
                elif "nats" in row:
                    asked.rank = max(asked.rank, row["nats"] / max(1, row.get("tokens") or 1))
        self.asked = [a for a in found.values() if any(p >= 0 for p in a.places)]
        if not self.graded and any(a.rank for a in self.asked):
            self.asked.sort(key=lambda a: -a.rank)  # conversations: where most was lost stands first
        return self

    def find(self, which: str = "all", search: str = "") -> list[Asked]:
        """Questions that everybody answered ("right"), nobody did ("wrong"), or only some ("differ"), with `search` in what was asked,
        known or said. A search reads the rows: in a thread."""
        def fits(asked: Asked) -> bool:
            right = [score > 0.5 for score in asked.scores if score is not None]
            if which == "all" or not right:
                return which == "all"
            return all(right) if which == "right" else not any(right) if which == "wrong" else any(right) and not all(right)
        found = [a for a in self.asked if fits(a)]
        if search.strip():
            wanted = search.strip().casefold()
            found = [a for a in found if any(wanted in text.casefold() for row in self.rows(a) if row for text in texts(row))]
        return found

    def rows(self, asked: Asked) -> list[dict[str, Any] | None]:
        """Each source's first answer; None where it was not asked."""
        made: list[dict[str, Any] | None] = []
        for place, source in zip(asked.places, self.sources, strict=True):
            made.append(row_at(source.folder / ROWS, place) if place >= 0 else None)
        return made

    def verdicts(self, asked: Asked) -> list[dict[str, Any]]:
        """What the judge said of this question's answers."""
        return [row_at(self.sources[0].folder / ROWS, place) for place in asked.verdicts]

    def page(self, asked: Sequence[Asked]) -> list[tuple[Asked, list[dict[str, Any] | None], list[dict[str, Any]]]]:
        return [(a, self.rows(a), self.verdicts(a)) for a in asked]


def texts(row: dict[str, Any]) -> list[str]:
    return [str(row.get("prompt", "")), str(row.get("said", "")), *(str(x) for x in row.get("answers") or ())]


def lines(path: Path) -> Any:
    """(offset, row) of whole lines; nothing where there is no file."""
    if not path.exists():
        return
    offset = 0
    with open(path, "rb") as file:
        for line in file:
            try:
                row = orjson.loads(line)
            except ValueError:
                row = None
            if isinstance(row, dict):
                yield offset, row
            offset += len(line)


def row_at(path: Path, offset: int) -> dict[str, Any]:
    with open(path, "rb") as file:
        file.seek(offset)
        return dict(orjson.loads(file.readline()))
