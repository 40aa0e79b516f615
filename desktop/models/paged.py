"""Rows that lie in another process, a page at a time: only what is on the screen is asked for, and what has left it is forgotten.

No Qt view and no meaning of the rows: `ask(start, count, then, failed)` gets them, whoever shows them calls `want`.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

Row = dict[str, Any]
Ask = Callable[[int, int, Callable[[Sequence[Row]], None], Callable[[Exception], None]], None]

PAGE = 100
KEPT = 40


class Pages:
    """`reset(total)` for another list; `row(i)` is None while it is on its way; `arrived(first, last)` is called when rows came."""

    def __init__(self, ask: Ask, forget: Callable[[int], None], arrived: Callable[[int, int], None],
                 failed: Callable[[Exception], None]) -> None:
        self._ask, self._forget, self._arrived, self._failed = ask, forget, arrived, failed
        self._pages: OrderedDict[int, list[Row]] = OrderedDict()
        self._coming: set[int] = set()
        self._list = 0
        self.total = 0

    def reset(self, total: int, first: Sequence[Row] = ()) -> None:
        """Other rows: what is on its way is void. `first` are rows from 0 that came along with the count."""
        self._list += 1
        for page in self._coming:
            self._forget(page)
        self._coming.clear()
        self._pages.clear()
        self.total = total
        if first and (len(first) == total or len(first) % PAGE == 0):
            for page in range((len(first) + PAGE - 1) // PAGE):
                self._pages[page] = list(first[page * PAGE:(page + 1) * PAGE])

    def row(self, index: int) -> Row | None:
        page = self._pages.get(index // PAGE)
        place = index % PAGE
        return page[place] if page is not None and place < len(page) else None

    def want(self, first: int, last: int) -> None:
        """These rows are on the screen now: ask for the pages they are in, and forget what was asked for elsewhere."""
        if self.total == 0:
            return
        first, last = max(0, first), min(self.total - 1, last)
        wanted = set(range(first // PAGE, last // PAGE + 1))
        for page in self._coming - wanted:
            self._forget(page)
        self._coming &= wanted
        for page in wanted & self._pages.keys():
            self._pages.move_to_end(page)
        for page in sorted(wanted - self._pages.keys() - self._coming):
            self._coming.add(page)
            self._fetch(page)

    def loaded(self) -> list[Row]:
        """The rows that are here, in no order that matters."""
        return [row for page in self._pages.values() for row in page]

    def _fetch(self, page: int) -> None:
        its = self._list

        def came(rows: Sequence[Row]) -> None:
            if its != self._list:
                return
            self._coming.discard(page)
            self._pages[page] = list(rows)
            while len(self._pages) > KEPT:
                self._pages.popitem(last=False)
            if rows:
                self._arrived(page * PAGE, page * PAGE + len(rows) - 1)

        def wrong(error: Exception) -> None:
            if its == self._list:
                self._coming.discard(page)
                self._failed(error)
        self._ask(page * PAGE, min(PAGE, self.total - page * PAGE), came, wrong)
