"""Rows in pages: only what is on the screen is asked for, what has left it is forgotten, an old list's rows never come into a new one."""

from collections.abc import Callable, Sequence
from typing import Any

from desktop.models.paged import KEPT, PAGE, Pages


class Far:
    """The other side: answers when told to."""

    def __init__(self) -> None:
        self.asked: dict[int, Callable[[Sequence[Any]], None]] = {}
        self.counts: dict[int, int] = {}
        self.forgotten: list[int] = []
        self.arrived: list[tuple[int, int]] = []
        self.pages = Pages(self.ask, self.forgotten.append, lambda a, b: self.arrived.append((a, b)), lambda wrong: None)

    def ask(self, start: int, count: int, then: Callable[[Sequence[Any]], None], failed: object) -> None:
        self.asked[start // PAGE], self.counts[start // PAGE] = then, count

    def answer(self, page: int, name: str = "new") -> None:
        self.asked.pop(page)([{"number": page * PAGE + i, "list": name} for i in range(self.counts[page])])


def test_only_the_visible_pages_are_asked_for_and_once() -> None:
    far = Far()
    far.pages.reset(1_000_000)
    far.pages.want(PAGE * 5000 + 90, PAGE * 5000 + 110)
    far.pages.want(PAGE * 5000 + 95, PAGE * 5000 + 115)
    assert set(far.asked) == {5000, 5001} and not far.forgotten
    far.answer(5000)
    row = far.pages.row(PAGE * 5000 + 7)
    assert row is not None and row["number"] == PAGE * 5000 + 7 and far.pages.row(0) is None
    assert far.arrived == [(PAGE * 5000, PAGE * 5001 - 1)]


def test_pages_that_left_the_screen_are_forgotten() -> None:
    far = Far()
    far.pages.reset(1_000_000)
    for page in range(0, 900, 3):
        far.pages.want(page * PAGE, page * PAGE + 10)
    assert far.forgotten == list(range(0, 897, 3))


def test_rows_of_an_old_list_do_not_come_into_a_new_one() -> None:
    far = Far()
    far.pages.reset(500)
    far.pages.want(0, 20)
    late = far.asked.pop(0)
    far.pages.reset(40, [{"number": i, "list": "new"} for i in range(40)])
    late([{"number": i, "list": "old"} for i in range(PAGE)])
    assert {r["list"] for r in far.pages.loaded()} == {"new"} and far.pages.row(39) is not None
    far.pages.want(0, 39)
    assert not far.asked, "they came with the count"


def test_the_last_page_is_short_and_few_pages_are_kept() -> None:
    far = Far()
    far.pages.reset(PAGE * 100 + 7)
    far.pages.want(PAGE * 100, PAGE * 200)
    assert far.counts[100] == 7
    for page in range(KEPT + 20):
        far.pages.want(page * PAGE, page * PAGE)
        far.answer(page)
    assert len(far.pages.loaded()) == KEPT * PAGE
    far.pages.reset(0)
    far.pages.want(0, 10)
    assert far.pages.row(0) is None and not far.asked.keys() - {100}
