"""The base of the wizard's steps: a body loads from the plan, an edit goes into the plan before `edited` is emitted."""

from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from desktop.context import AppContext
from desktop.models.instruct_plan import InstructPlan
from engine.contract.spec import Problem


class Body(QWidget):
    """`load()`: show what the plan holds. `refresh()`: something of it, or what is known, has changed. `rest()`: nobody looks."""

    edited = Signal()

    def __init__(self, context: AppContext, plan: InstructPlan) -> None:
        super().__init__()
        self.context, self.theme, self.plan = context, context.theme, plan
        self._loading = False

    def load(self) -> None:
        self._loading = True
        self.fill()
        self._loading = False
        self.refresh()

    def fill(self) -> None:
        """Put the plan's values into the controls."""

    def refresh(self) -> None:
        """Show what follows from them."""

    def rest(self) -> None:
        """Stop what only runs while somebody looks."""

    def check(self) -> list[Problem]:
        """Show what is wrong beside its field; gives back what has no field here."""
        return self.plan.problems(self.plan.step)

    def problems(self) -> list[Problem]:
        """Everything in the way of going on, unreadable values included."""
        return self.plan.problems(self.plan.step)

    def put(self, **values: Any) -> None:
        """What a control now says."""
        if not self._loading:
            self.plan.set_values(values)
            self.refresh()
            self.edited.emit()
