"""Which documents a decision is about: the one that is read, the chosen rows, or everything that matches, page by page where need be."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from desktop.models.corpus_desk import CorpusDesk, rows_of
from desktop.models.paged import Pages
from engine.contract.errors import FledgeError

Chosen = list[tuple[str, str | None, str]]
"""(id, step that removed it, source) each."""
AT_ONCE = 500


def of_row(row: Mapping[str, Any]) -> tuple[str, str | None, str]:
    return str(row["id"]), row.get("step"), str(row["source"])


def everything(desk: CorpusDesk, wanted: Mapping[str, Any], then: Callable[[Chosen], None], failed: Callable[[FledgeError], None]) -> None:
    """All that match: what was removed is asked for first, so that each is known as kept or removed."""
    filters = dict(wanted["filters"])

    def all_came(removed: set[str], answer: Mapping[str, Any]) -> None:
        then([(id, "removed" if id in removed else None, source)
              for id, source in zip(answer["ids"], answer["sources"], strict=True)])

    def removed_came(answer: Mapping[str, Any]) -> None:
        removed = set(answer["ids"])
        desk.numbers(wanted, lambda every: all_came(removed, every), failed)
    if filters.get("split") in (None, "removed"):
        desk.numbers({**wanted, "filters": {**filters, "split": "removed"}}, removed_came, failed)
    else:
        removed_came({"ids": []})


def ranges(desk: CorpusDesk, pages: Pages, wanted: Mapping[str, Any], chosen: Sequence[tuple[int, int]], then: Callable[[Chosen], None],
           failed: Callable[[FledgeError], None]) -> None:
    """Chosen rows; those that are not here are asked for, some hundreds at once."""
    found: Chosen = []
    left = [place for first, last in chosen for place in range(first, last + 1)]

    def go() -> None:
        nonlocal left
        while left and (row := pages.row(left[0])) is not None:
            found.append(of_row(row))
            left = left[1:]
        if not left:
            then(found)
            return
        count = min(AT_ONCE, next((i for i, place in enumerate(left) if place != left[0] + i), len(left)))
        desk.browse(wanted, left[0], count, came, failed, key="chosen")

    def came(answer: Mapping[str, Any]) -> None:
        nonlocal left
        rows = rows_of(answer)
        found.extend(of_row(row) for row in rows)
        left = left[max(1, len(rows)):]
        go()
    go()
