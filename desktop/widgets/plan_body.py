"""The base of the steps of a DraftWizard: a body loads from the plan; an edit goes into the plan before `edited` is emitted."""

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from desktop.widgets.spec_form import SpecForm
from engine.contract.spec import Problem

if TYPE_CHECKING:
    from desktop.context import AppContext


class PlanBody(QWidget):
    """`load()`: show what the plan holds. `refresh()`: something of it, or what is known, has changed. `step` is its own: it is asked what
    is in the way while another one is shown, too."""

    edited = Signal()
    step = ""

    def __init__(self, context: "AppContext", plan: Any) -> None:
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

    def check(self) -> list[Problem]:
        """Show what is wrong beside its field; gives back what has no field here."""
        return self.problems()

    def problems(self) -> list[Problem]:
        """Everything in the way of going on, unreadable values included."""
        return self.plan.problems(self.step)

    def put(self, **values: Any) -> None:
        """What a control now says."""
        if not self._loading:
            self.plan.set_values(values)
            self.refresh()
            self.edited.emit()


class FormBody(PlanBody):
    """A step that is one form over settings of the plan's SPEC: `form` is made by the subclass, at the latest when it is filled."""

    form: SpecForm | None = None

    def make_form(self, fields: list[str], title: str, advanced: bool = False) -> SpecForm:
        made = SpecForm(self.theme, self.plan.SPEC, fields=fields, artifacts=self.context.choices, title=title, advanced=advanced)
        made.changed.connect(lambda: self.put(**{n: made.values()[n] for n in made.names}))
        return made

    def check(self) -> list[Problem]:
        """The first that is wrong has the focus."""
        form, found = self.form, self.problems()
        assert form is not None
        rest = form.show_problems(found)
        first = next((p.field for p in found if p.field in form.rows), "")
        if first:
            if self.plan.SPEC.option_of(first).advanced:
                form.set_advanced(True)
            form.rows[first].control.setFocus()
        return rest

    def problems(self) -> list[Problem]:
        mine = [p for p in self.form.problems() if p.field in self.form.names] if self.form is not None else []
        return mine + [p for p in self.plan.problems(self.step) if p.field not in {m.field for m in mine}]
