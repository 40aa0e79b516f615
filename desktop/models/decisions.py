"""What a person decides about the documents of a corpus, as the screen needs it: in force, undone, not yet applied, and labels of harm.

Every change is in the library before `changed` tells it: changes run in a thread, one after the other, in the order they were made.
What a decision does to a corpus is the engine's matter.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from engine.contract.errors import FledgeError
from engine.project import layout, snapshots

if TYPE_CHECKING:
    from desktop.context import AppContext
    from engine.project.artifacts import Artifact
    from engine.project.project import Project

Document = tuple[str, str | None, str]
"""(id, step that removed it, source)"""
Wanted = Mapping[str, bool | None]
LABELS_NEEDED = 20
"""Labels of each sort from which the classifier of harm learns."""


@dataclass
class _Known:
    """The library as it was read."""

    keep: dict[str, bool] = field(default_factory=dict)
    applied: dict[str, bool] = field(default_factory=dict)
    pending: int = 0
    undo: int = 0
    redo: int = 0
    labels: dict[str, bool] = field(default_factory=dict)

    def waits(self, id: str) -> bool:
        return self.keep.get(id) != self.applied.get(id)

    def after(self, wanted: Wanted, changed: int) -> "_Known":
        """What is known once `wanted` is in the library."""
        keep, pending = dict(self.keep), self.pending
        for id, choice in wanted.items():
            pending -= self.waits(id)
            if choice is None:
                keep.pop(id, None)
            else:
                keep[id] = choice
            pending += keep.get(id) != self.applied.get(id)
        steps = (self.undo + 1, 0) if changed else (self.undo, self.redo)
        return replace(self, keep=keep, pending=pending, undo=steps[0], redo=steps[1])


class Decisions(QObject):
    """`load(artifact)`, then `keep_of(id)`, `wanted(id, step)`; `changed` after each change, `failed(error)` for one that could not be."""

    changed = Signal()
    failed = Signal(object)
    stepped = Signal(int, bool)  # undo (True) or redo: how many documents it touched

    def __init__(self, context: "AppContext", parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._context = context
        self._project: Project | None = None
        self._corpus = ""
        self._known = _Known()
        self._queue: deque[tuple[Callable[[], Any], Callable[[Any], None]]] = deque()
        self._working = False

    # what is known ----------------------------------------------------------------------------------------------------

    def load(self, artifact: "Artifact") -> None:
        """The corpus on the screen; its decisions follow with `changed`."""
        assert self._context.project is not None
        self._project, self._corpus = self._context.project, artifact.id
        self._then(lambda: None, self._take_known)

    def keep_of(self, id: str) -> bool | None:
        """What was decided about a document: keep it, leave it out, or nothing."""
        return self._known.keep.get(id)

    def kept_next(self, id: str, step: str | None) -> bool:
        """Whether the next corpus will hold a document that this one removed at `step` (None: it holds it)."""
        decided = self._known.keep.get(id)
        if decided is not None:
            return decided
        return step in (None, "", "hand") and not (step in (None, "") and self._known.applied.get(id) is True)

    @property
    def pending(self) -> int:
        """Decisions that this corpus was made without."""
        return self._known.pending

    @property
    def all(self) -> Mapping[str, bool]:
        return self._known.keep

    @property
    def can_undo(self) -> bool:
        return self._known.undo > 0

    @property
    def can_redo(self) -> bool:
        return self._known.redo > 0

    def label_of(self, id: str) -> bool | None:
        """Whether the person said that a document is harmful."""
        return self._known.labels.get(id)

    @property
    def labels(self) -> tuple[int, int]:
        """(harmful, harmless)"""
        harmful = sum(self._known.labels.values())
        return harmful, len(self._known.labels) - harmful

    # changing it ------------------------------------------------------------------------------------------------------

    def exclude(self, documents: Sequence[Document], then: Callable[[int], None] | None = None) -> None:
        """One that a step removed anyway only loses what was decided for it."""
        def choice(applied: bool | None, step: str | None) -> bool | None:
            return applied if step not in (None, "", "hand") and not applied else False
        self._decide(lambda known: {id: choice(known.applied.get(id), step) for id, step, _ in documents},
                     lambda: {id: source for id, _, source in documents}, then)

    def restore(self, documents: Sequence[Document], then: Callable[[int], None] | None = None) -> None:
        """One that the corpus holds goes back to what it was made with; one that a step removed is kept from now on."""
        def choice(applied: bool | None, step: str | None) -> bool | None:
            return applied if step in (None, "") else None if step == "hand" else True
        self._decide(lambda known: {id: choice(known.applied.get(id), step) for id, step, _ in documents},
                     lambda: {id: source for id, _, source in documents}, then)

    def keep_instead(self, id: str, others: Iterable[str], sources: Mapping[str, str], then: Callable[[int], None] | None = None) -> None:
        """Of a group of duplicates keep this one, and leave out those that stood in its place."""
        self._decide(lambda known: {**dict.fromkeys(others, False), id: True}, lambda: sources, then)

    def label(self, id: str, harmful: bool | None, *, kind: str = "", text: str = "") -> None:
        """Say that a document is harmful or harmless, or take that back."""
        project, corpus = self._project, self._corpus
        assert project is not None

        def done(_: Any) -> None:
            if harmful is None:
                self._known.labels.pop(id, None)
            else:
                self._known.labels[id] = harmful
            self.changed.emit()
        self._then(lambda: project.library.label_harm(id, harmful, kind=kind, text=text, corpus=corpus), done)

    def undo(self) -> None:
        self._step(lambda project: project.library.undo_decision())

    def redo(self) -> None:
        self._step(lambda project: project.library.redo_decision())

    def _step(self, act: "Callable[[Project], Any]") -> None:
        project = self._project

        def done(change: Any) -> None:
            if change is not None:
                self.stepped.emit(change.documents, change.undone)
            self._take_known(change)
        if project is not None:
            self._then(lambda: act(project), done)

    def _decide(self, plan: Callable[[_Known], Wanted], sources: Callable[[], Mapping[str, str]],
                then: Callable[[int], None] | None) -> None:
        """All of it in the thread, a million documents too; nobody else changes what is known meanwhile."""
        project, corpus = self._project, self._corpus
        assert project is not None

        def work() -> tuple[int, _Known]:
            wanted = plan(self._known)
            changed = project.library.decide(wanted, corpus=corpus, sources=sources())
            return changed, self._known.after(wanted, changed)

        def done(made: tuple[int, _Known]) -> None:
            changed, self._known = made
            self.changed.emit()
            if then is not None:
                then(changed)
        self._then(work, done)

    # one after the other ----------------------------------------------------------------------------------------------

    def _then(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        self._queue.append((work, done))
        self._go()

    def _go(self) -> None:
        if self._working or not self._queue:
            return
        self._working = True
        work, done = self._queue.popleft()

        def finished(result: Any) -> None:
            self._working = False
            done(result)
            self._go()

        def wrong(error: Exception) -> None:
            self._working = False
            self._go()
            if not isinstance(error, FledgeError):
                raise error
            self.failed.emit(error)
        self._context.jobs.run(work, then=finished, failed=wrong, owner=self)

    def _take_known(self, _: Any) -> None:
        """Read the library anew, and tell."""
        project, corpus = self._project, self._corpus
        assert project is not None

        def taken(found: _Known) -> None:
            self._known = found
            self.changed.emit()
        self._queue.appendleft((lambda: _read(project, corpus), taken))


def _read(project: "Project", corpus: str) -> _Known:
    library = project.library
    history = library.decision_history(100)
    keep, applied = {id: d.keep for id, d in library.decisions().items()}, _applied(project, corpus)
    pending = sum(keep.get(id) != applied.get(id) for id in keep.keys() | applied.keys())
    return _Known(keep=keep, applied=applied, pending=pending, undo=sum(not h.undone for h in history), redo=sum(h.undone for h in history),
                  labels={label.document: label.harmful for label in library.harm_labels()})


def _applied(project: "Project", corpus: str) -> dict[str, bool]:
    """The decisions that a corpus was made with: those copied into its run's inputs. A corpus made without them has none."""
    artifact = next((a for a in project.artifacts.list("corpus") if a.id == corpus), None)
    if artifact is None or not artifact.run or not artifact.spec.get("decisions", True):
        return {}
    rows = snapshots.given(layout.run(project.dir, artifact.run), "decisions", {})
    return {str(id): bool(keep) for id, keep in rows.items()} if isinstance(rows, dict) else {}
