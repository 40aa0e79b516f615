"""The examples that fit a filter, a page at a time, in an order; what leaves the filter is taken out without reading all anew.

Every question to the library runs in a thread, one at a time, the newest first: while a person types or scrolls, questions that nobody
waits for any more are never asked. No Qt view, and no changes to examples (example_desk.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from desktop.models.example_words import Line, line_of
from engine.contract.errors import FledgeError
from engine.project.examples import ExampleFilter, ExampleRow

if TYPE_CHECKING:
    from desktop.context import AppContext
    from engine.project.project import Project

PAGE = 100
KEPT = 4_000
"""Lines that are held; those farthest from the screen go first."""


@dataclass(frozen=True)
class _Read:
    """What came of one question: lines from `start`, and how many there are in all (None: not counted yet)."""

    start: int
    lines: list[Line]
    total: int | None


class ExampleList(QObject):
    """`ask(filter, order)`, then `line(i)` (None: on its way), `want(first, last)` for what is on the screen; `refresh` after a change that
    moved rows. A view follows `before_reset`/`after_reset`, `before_remove(i)`/`after_remove`, `before_grow(total)`/`after_grow`,
    `arrived(first, last)`."""

    before_reset, after_reset = Signal(), Signal()
    before_remove, after_remove = Signal(int), Signal()
    before_grow, after_grow = Signal(int, int), Signal()
    arrived = Signal(int, int)
    counted = Signal()
    failed = Signal(object)

    def __init__(self, context: "AppContext", parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._context = context
        self._project: Project | None = None
        self.filter, self.order = ExampleFilter(), "position"
        self.total, self.exact, self.loading = 0, True, False
        self._lines: dict[int, Line] = {}
        self._version = 0
        self._busy = False
        self._first: Callable[[], None] | None = None
        self._screen = (0, 0)
        self._counting = False
        self._broken: set[int] = set()

    # asking -----------------------------------------------------------------------------------------------------------

    def open(self, project: "Project") -> None:
        self._project = project

    def ask(self, filter: ExampleFilter, order: str, then: Callable[[], object] | None = None) -> None:
        """Another list, from its beginning."""
        self.filter, self.order, self.loading = filter, order, True
        self._load(0, PAGE, then)

    def refresh(self, around: int = 0, then: Callable[[], object] | None = None) -> None:
        """The same list once more; what is shown stays until it is there. `around` is the place whose neighbours come with it."""
        start = max(0, min(around, self._screen[0]) // PAGE * PAGE)
        stop = max(around, min(self._screen[1], start + 4 * PAGE)) // PAGE * PAGE + PAGE
        self._load(start, min(stop - start, 8 * PAGE), then, soft=True)

    def _load(self, start: int, count: int, then: Callable[[], object] | None, soft: bool = False) -> None:
        self._version += 1
        version, filter, order, project = self._version, self.filter, self.order, self._project
        assert project is not None
        quick = filter == ExampleFilter(sets=filter.sets, status=filter.status)

        def work() -> _Read:
            lines = [line_of(row) for row in project.library.examples.rows(filter, order, start, count)]
            known = len(lines) < count and (lines or not start)
            return _Read(start, lines, start + len(lines) if known else project.library.examples.count(filter) if quick or soft else None)

        def came(read: _Read) -> None:
            if version != self._version:
                return
            self.loading, self._counting = False, False
            self.before_reset.emit()
            self._lines = {read.start + i: line for i, line in enumerate(read.lines)}
            self._broken.clear()
            self.exact = read.total is not None
            self.total = read.total if read.total is not None else read.start + len(read.lines)
            self.after_reset.emit()
            if not self.exact:
                self._count()
            if then is not None:
                then()
        self._run(work, came, version, first=True)

    def _count(self) -> None:
        version, filter, project = self._version, self.filter, self._project
        assert project is not None

        def came(total: int) -> None:
            if version == self._version:
                self._counting, self.exact = False, True
                if total > self.total:
                    self.before_grow.emit(self.total, total - 1)
                    self.total = total
                    self.after_grow.emit()
                self.counted.emit()
        self._counting = True
        self._run(lambda: project.library.examples.count(filter), came, version, first=True)

    # what is here -----------------------------------------------------------------------------------------------------

    def line(self, index: int) -> Line | None:
        return self._lines.get(index)

    def place_of(self, id: str, near: int = -1) -> int:
        """Where an example is among the lines that are here, -1 where it is not."""
        line = self._lines.get(near)
        if line is not None and line.id == id:
            return near
        return next((i for i, each in self._lines.items() if each.id == id), -1)

    def want(self, first: int, last: int) -> None:
        """These lines are on the screen now."""
        self._screen = (max(0, first), max(0, min(last, self.total - 1)))
        self._broken.clear()
        self._next_page()

    def fits(self, row: ExampleRow) -> bool:
        """Whether a row that was changed still belongs here, as far as its state says; a search may have lost it, which the next look
        shows."""
        return not row.deleted and self.filter.status in ("", row.status)

    def put(self, index: int, row: ExampleRow) -> None:
        """Another version of the row at a place."""
        self._lines[index] = line_of(row)
        self.arrived.emit(index, index)

    def remove(self, index: int) -> None:
        """The row at a place left the list."""
        self._version += 1  # a page that is on its way counts from before
        again = self._counting or self.loading
        self.before_remove.emit(index)
        self._lines = {i - (i > index): line for i, line in self._lines.items() if i != index}
        self.total -= 1
        self.after_remove.emit()
        if again:
            self.refresh(index)
        else:
            self._next_page()

    # one after the other ----------------------------------------------------------------------------------------------

    def _run(self, work: Callable[[], Any], came: Callable[[Any], None], version: int, first: bool = False) -> None:
        def go() -> None:
            self._busy = True

            def done(result: Any) -> None:
                self._busy = False
                came(result)
                self._go()

            def wrong(error: Exception) -> None:
                self._busy = False
                if version == self._version:
                    self.loading = self._counting = False
                    if not isinstance(error, FledgeError):
                        raise error
                    self.failed.emit(error)
                self._go()
            self._context.jobs.run(work, then=done, failed=wrong, owner=self)
        if self._busy:
            if first:
                self._first = go  # a list asked for before it, and still waiting, is wanted by nobody
            return
        go()

    def _go(self) -> None:
        if self._busy:
            return
        if self._first is not None:
            go, self._first = self._first, None
            go()
        else:
            self._next_page()

    def _next_page(self) -> None:
        if self._busy or self._first is not None or not self.total:
            return
        first, last = self._screen
        page = next((i // PAGE for i in range(first, min(last, self.total - 1) + 1)
                     if i not in self._lines and i // PAGE not in self._broken), None)
        if page is None:
            return
        version, filter, order, project, start = self._version, self.filter, self.order, self._project, page * PAGE
        assert project is not None

        def came(lines: list[Line]) -> None:
            if version != self._version:
                return
            for i, line in enumerate(lines):
                self._lines[start + i] = line
            if len(lines) < min(PAGE, self.total - start):
                self._broken.add(page)  # rows went meanwhile: not asked for again and again
            self._forget_far()
            if lines:
                self.arrived.emit(start, start + len(lines) - 1)
        self._run(lambda: [line_of(row) for row in project.library.examples.rows(filter, order, start, PAGE)], came, version)

    def _forget_far(self) -> None:
        if len(self._lines) > KEPT:
            centre = sum(self._screen) // 2
            near = sorted(self._lines, key=lambda i: abs(i - centre))[:KEPT // 2]
            self._lines = {i: self._lines[i] for i in near}
