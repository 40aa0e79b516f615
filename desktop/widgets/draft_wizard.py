"""A wizard whose draft is kept: a header with Back and Next, the strip of steps, one body a step made when it is first shown, and what was
chosen written down at every edit. What the steps are and what follows from them is the plan's; what a step shows is its body's."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QStackedWidget, QWidget

from desktop.widgets.buttons import Button
from desktop.widgets.flow_strip import FlowStrip
from desktop.widgets.layout import col
from desktop.widgets.notes import NoteSlot
from desktop.widgets.page_header import PageHeader
from desktop.widgets.wizard_steps import WizardSteps
from engine.contract.errors import FledgeError
from engine.contract.spec import Problem
from engine.contract.words import tr

if TYPE_CHECKING:
    from desktop.context import AppContext


class Plan(Protocol):
    """The decisions of a wizard, without Qt: which step is shown, what is wrong on it, and the draft as plain values."""

    step: str

    @property
    def following(self) -> str: ...

    @property
    def begun(self) -> bool: ...

    def go(self, step: str) -> Any: ...

    def back(self) -> Any: ...

    def problems(self, step: str) -> list[Problem]: ...

    def draft(self) -> dict[str, Any]: ...

    def recall(self, draft: Any) -> None: ...

    def take_spec(self, spec: dict[str, Any]) -> None: ...


class DraftWizard(QWidget):
    """`start_wanted(spec)` when all is in order; `cancelled` when the person leaves it.

    A subclass sets `draft_name`, calls `frame` once and `restore` last, and gives `_make(step)`, `refresh()` and `_start()`. A body has
    `edited`, `load()`, `problems()` (everything in the way) and `check()` (shows it, gives back what has no field).
    """

    start_wanted = Signal(object)
    cancelled = Signal()
    draft_name = ""

    def __init__(self, context: "AppContext", plan: Any, steps: Sequence[str], title_of: Callable[[str], str]) -> None:
        super().__init__()
        self.context, self.theme, self.plan, self._steps = context, context.theme, plan, tuple(steps)
        theme = self.theme
        self.back = Button(theme, tr("Back"), on_click=self._back)
        self.cancel = Button(theme, tr("Cancel"), on_click=self._cancel)
        self.forward = Button(theme, tr("Next"), "primary", on_click=self._forward)
        self.strip = WizardSteps(theme, [(s, title_of(s)) for s in steps])
        self.strip.chosen.connect(self.go)
        self.flow, self.notes = FlowStrip(theme), NoteSlot(theme)
        self.notes.layout().setContentsMargins(0, 0, 0, 12)
        self._bodies = QStackedWidget()
        self._built: dict[str, Any] = {}
        for _ in steps:
            self._bodies.addWidget(QWidget())

    def frame(self, header: PageHeader, now: Button) -> None:
        """Put everything in its place. `now` starts without the steps that are left."""
        self.header, self.now = header, now
        header.set_actions(self.cancel, self.back, now, self.forward)
        col(header, 12, self.strip, 12, self.flow, 12, self.notes, (self._bodies, 1), gap=0, host=self)

    # parts ------------------------------------------------------------------------------------------------------------

    def body(self, step: str) -> Any:
        """The widgets of a step, made when it is first shown: all at once would hold the window."""
        if step not in self._built:
            made = self._make(step)
            made.edited.connect(self._edited)
            self._built[step] = made
            place = self._steps.index(step)
            gone = self._bodies.widget(place)
            self._bodies.removeWidget(gone)
            gone.deleteLater()
            self._bodies.insertWidget(place, made)
            made.load()
        return self._built[step]

    def _make(self, step: str) -> QWidget:
        raise NotImplementedError

    def refresh(self) -> None:
        """Show the present step, and what follows from the plan."""
        raise NotImplementedError

    def _start(self) -> None:
        raise NotImplementedError

    # the draft --------------------------------------------------------------------------------------------------------

    def _key(self) -> str:
        return f"{self.draft_name}:{self.context.project.dir if self.context.project else ''}"

    def keep(self) -> None:
        """Write down what was chosen: a crash forgets none of it."""
        if self.context.project:
            self.context.remember(self._key(), self.plan.draft() if self.plan.begun else None)

    def restore(self) -> None:
        """As it was left in this project."""
        self.plan.recall(self.context.settings.get(self._key(), {}) if self.context.project else {})
        self._reload()

    def forget(self) -> None:
        """Begin anew next time."""
        self.plan.recall({})
        self.keep()
        self._reload()

    def take_spec(self, spec: dict[str, Any]) -> None:
        """Begin with the settings of an earlier run."""
        self.plan.take_spec(spec)
        self.keep()
        self._reload()

    def _reload(self) -> None:
        for made in self._built.values():
            made.load()
        self.refresh()

    # acting -----------------------------------------------------------------------------------------------------------

    def go(self, step: str) -> None:
        """To another step; forward only when nothing on this one is in the way."""
        if step == self.plan.step:
            self.refresh()
            return
        if self._steps.index(step) > self._steps.index(self.plan.step) and self._stopped():
            self.refresh()
            return
        self.plan.go(step)
        self.keep()
        self.refresh()

    def _forward(self) -> None:
        if self.plan.following:
            self.go(self.plan.following)
        else:
            self._start()

    def _back(self) -> None:
        self.plan.back()
        self.keep()
        self.refresh()

    def _cancel(self) -> None:
        self.forget()
        self.cancelled.emit()

    def _stopped(self) -> bool:
        """Whether something on this step is in the way; it is shown beside its field, or above."""
        body = self.body(self.plan.step)
        wrong = body.problems()
        rest = body.check()
        if rest:
            self.notes.show_error(FledgeError(rest[0].sentence, rest[0].remedy))
        elif not wrong:
            self.notes.clear()
        return bool(wrong)

    def _edited(self) -> None:
        self.keep()
        self.refresh()
