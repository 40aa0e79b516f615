"""What a person does to examples: one step after the other, each on the disk before anybody is told; counts, undo, and how fast it goes.

Which example is on the screen is the review's matter.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from desktop.models.example_words import PERSON
from engine.contract.errors import FledgeError
from engine.contract.rows import Example, Message
from engine.project.examples import ExampleChange, ExampleFilter, ExampleHistory, ExampleRow, Examples, ExampleSet

if TYPE_CHECKING:
    from desktop.context import AppContext
    from engine.project.project import Project

STEPS = 40
LONG_PAUSE = 90.0
RECENT = 40
ROWS = 1000
Then = Callable[[Any], object] | None


class Pace:
    """Decisions a minute, pauses left out; None until there are some."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=RECENT)

    def count(self, now: float | None = None) -> None:
        self._times.append(time.monotonic() if now is None else now)

    def per_minute(self) -> float | None:
        times = list(self._times)
        gaps = [b - a for a, b in zip(times, times[1:], strict=False) if b - a <= LONG_PAUSE]
        return 60 * len(gaps) / sum(gaps) if len(gaps) >= 4 and sum(gaps) > 0 else None


class ExampleDesk(QObject):
    """`open(project)`, then the steps; `changed` when counts or undo differ, `failed(error)` for a step that did not happen."""

    changed = Signal()
    failed = Signal(object)

    def __init__(self, context: "AppContext", parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._context = context
        self._project: Project | None = None
        self.sets: list[ExampleSet] = []
        self.can_undo = self.can_redo = False
        self.pace = Pace()
        self._queue: deque[tuple[Callable[[Examples], Any], Then, Callable[[FledgeError], object] | None]] = deque()
        self._working = False

    @property
    def busy(self) -> bool:
        """Whether a step is on its way to the disk."""
        return self._working

    def open(self, project: "Project", then: Then = None) -> None:
        self._project = project
        self.pace = Pace()
        self.do(lambda examples: None, then)

    def counts(self, sets: Sequence[str]) -> tuple[int, int, int]:
        """(to review, accepted, set aside) of these sets, of all where none is named."""
        chosen = [s for s in self.sets if not sets or s.id in sets]
        return sum(s.new for s in chosen), sum(s.accepted for s in chosen), sum(s.rejected for s in chosen)

    # steps ------------------------------------------------------------------------------------------------------------

    def set_status(self, id: str, status: str, then: Callable[[ExampleRow], object]) -> None:
        """Decide one; it is told as it is then."""
        def work(examples: Examples) -> ExampleRow:
            examples.set_status(id, status, PERSON)
            return examples.get(id)

        def done(row: ExampleRow) -> None:
            if status != "new":
                self.pace.count()
            then(row)
        self.do(work, done)

    def set_many(self, chosen: Callable[[Examples], Iterable[str]] | ExampleFilter, status: str, then: Callable[[int], object],
                 failed: Callable[[FledgeError], object] | None = None) -> None:
        """Decide many in one step of the history ("delete" takes them out); how many are different now is told."""
        def work(examples: Examples) -> int:
            which = chosen if isinstance(chosen, ExampleFilter) else list(chosen(examples))
            return examples.delete(which, PERSON) if status == "delete" else examples.set_status(which, status, PERSON)
        self.do(work, then, failed)

    def edit(self, id: str, messages: Sequence[Message], then: Callable[[ExampleRow], object],
             failed: Callable[[FledgeError], object] | None = None) -> None:
        def work(examples: Examples) -> ExampleRow:
            examples.edit(id, messages, PERSON)
            return examples.get(id)
        self.do(work, then, failed)

    def comment(self, id: str, words: str, then: Callable[[ExampleRow], object]) -> None:
        def work(examples: Examples) -> ExampleRow:
            examples.set_comment(id, words, PERSON)
            return examples.get(id)
        self.do(work, then)

    def delete(self, id: str, then: Callable[[ExampleRow], object]) -> None:
        def work(examples: Examples) -> ExampleRow:
            examples.delete(id, PERSON)
            return examples.get(id)
        self.do(work, then)

    def add(self, set_id: str, title: str, example: Example, then: Callable[[ExampleRow], object],
            failed: Callable[[FledgeError], object] | None = None) -> None:
        """A new example, accepted: whoever wrote it has looked at it. Without a set one is made, called `title`."""
        def work(examples: Examples) -> ExampleRow:
            examples.add(set_id or examples.create_set(title, origin=PERSON).id, [example], PERSON)
            examples.set_status(example.id, "accepted", PERSON)
            return examples.get(example.id)
        self.do(work, then, failed)

    def undo(self, then: Callable[[ExampleChange | None, ExampleRow | None], object]) -> None:
        """`then(change, row)`: what was taken back, and the example as it is now where it was one."""
        self._step(lambda examples: examples.undo(), then)

    def redo(self, then: Callable[[ExampleChange | None, ExampleRow | None], object]) -> None:
        self._step(lambda examples: examples.redo(), then)

    def _step(self, act: Callable[[Examples], ExampleChange | None],
              then: Callable[[ExampleChange | None, ExampleRow | None], object]) -> None:
        def work(examples: Examples) -> tuple[ExampleChange | None, ExampleRow | None]:
            change = act(examples)
            return change, examples.get(change.example) if change is not None and change.example else None
        self.do(work, lambda made: then(*made))

    # reading ----------------------------------------------------------------------------------------------------------

    def history(self, id: str, then: Callable[[list[ExampleHistory]], object]) -> None:
        """Waits for no step; nothing is said where the example went meanwhile."""
        project = self._project
        assert project is not None

        def wrong(error: Exception) -> None:
            if not isinstance(error, FledgeError):
                raise error
        self._context.jobs.run(lambda: project.library.examples.history(id), then=then, failed=wrong, owner=self)

    def facets(self, sets: Sequence[str], then: Callable[[dict[str, int], dict[str, int]], object]) -> None:
        """Flags and origins with how many rows have them."""
        project = self._project
        assert project is not None

        def wrong(error: Exception) -> None:
            if not isinstance(error, FledgeError):
                raise error
        self._context.jobs.run(lambda: (project.library.examples.flags(sets), project.library.examples.origins(sets)),
                               then=lambda found: then(*found), failed=wrong, owner=self)

    def ids_of(self, filter: ExampleFilter, order: str, ranges: Sequence[tuple[int, int]]) -> Callable[[Examples], list[str]]:
        """The ids of rows by their places, some at a time."""
        def read(examples: Examples) -> list[str]:
            found: list[str] = []
            for first, last in ranges:
                for start in range(first, last + 1, ROWS):
                    found += [r.example.id for r in examples.rows(filter, order, start, min(ROWS, last + 1 - start))]
            return found
        return read

    # one after the other ----------------------------------------------------------------------------------------------

    def do(self, work: Callable[[Examples], Any], then: Then = None, failed: Callable[[FledgeError], object] | None = None) -> None:
        self._queue.append((work, then, failed))
        self._go()

    def _go(self) -> None:
        if self._working or not self._queue or self._project is None:
            return
        self._working = True
        work, then, failed = self._queue.popleft()
        examples = self._project.library.examples

        def all_of_it() -> tuple[Any, list[ExampleSet], list[ExampleChange]]:
            return work(examples), examples.sets(), examples.changes(STEPS)

        def done(found: tuple[Any, list[ExampleSet], list[ExampleChange]]) -> None:
            self._working = False
            result, self.sets, changes = found
            self.can_redo = bool(changes) and changes[0].undone
            self.can_undo = len(changes) == STEPS or any(not c.undone and not c.overtaken for c in changes)
            if then is not None:
                then(result)
            self.changed.emit()
            self._go()

        def wrong(error: Exception) -> None:
            self._working = False
            if not isinstance(error, FledgeError):
                self._go()
                raise error
            (failed or self.failed.emit)(error)
            self._go()
        self._context.jobs.run(all_of_it, then=done, failed=wrong, owner=self)
