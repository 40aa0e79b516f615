"""Which documents a decision is about: the one that is read, the chosen rows, or everything that matches, page by page where need be."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from desktop.models.corpus_desk import CorpusDesk, rows_of
from desktop.models.paged import Pages
from engine.contract.errors import FledgeError

Chosen = list[tuple[str, str | None, str]]
"""(id, step that removed it, source) each."""
IDS, ROWS = 10_000, 500
"""Asked for at once: answers stay small, so that reading one never holds the window."""


def of_row(row: Mapping[str, Any]) -> tuple[str, str | None, str]:
    return str(row["id"]), row.get("step"), str(row["source"])


def everything(desk: CorpusDesk, wanted: Mapping[str, Any], then: Callable[[Chosen], None], failed: Callable[[FledgeError], None]) -> None:
    """All that match: what was removed is asked for first, so that each is known as kept or removed."""
    filters, removed, found = dict(wanted["filters"]), set[str](), list[tuple[str, str | None, str]]()

    def ids(asked: Mapping[str, Any], take: Callable[[Mapping[str, Any]], None], done: Callable[[], None], start: int = 0) -> None:
        def came(answer: Mapping[str, Any]) -> None:
            take(answer)
            reached = start + len(answer["ids"])
            if answer["ids"] and reached < int(answer["total"]):
                ids(asked, take, done, reached)
            else:
                done()
        desk.numbers(asked, start, IDS, came, failed)

    def take_all(answer: Mapping[str, Any]) -> None:
        found.extend((id, "removed" if id in removed else None, source)
                     for id, source in zip(answer["ids"], answer["sources"], strict=True))

    def ask_all() -> None:
        ids(wanted, take_all, lambda: then(found))
    if filters.get("split") in (None, "removed"):
        ids({**wanted, "filters": {**filters, "split": "removed"}}, lambda answer: removed.update(answer["ids"]), ask_all)
    else:
        ask_all()


def ranges(desk: CorpusDesk, pages: Pages, wanted: Mapping[str, Any], chosen: Sequence[tuple[int, int]], then: Callable[[Chosen], None],
           failed: Callable[[FledgeError], None]) -> None:
    """Chosen rows; those that are not here are asked for, some hundreds at once."""
    found: Chosen = []
    left = list(chosen)

    def go() -> None:
        while left:
            first, last = left[0]
            while first <= last and (row := pages.row(first)) is not None:
                found.append(of_row(row))
                first += 1
            if first <= last:
                left[0] = (first, last)
                desk.browse(wanted, first, min(ROWS, last - first + 1), came, failed, key="chosen")
                return
            left.pop(0)
        then(found)

    def came(answer: Mapping[str, Any]) -> None:
        rows = rows_of(answer)
        found.extend(of_row(row) for row in rows)
        first, last = left[0]
        left[0] = (first + max(1, len(rows)), last)
        go()
    go()
