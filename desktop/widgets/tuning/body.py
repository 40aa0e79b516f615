"""The base of a wizard's steps: a body loads from the plan; an edit goes into the plan before `edited` is emitted."""

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from desktop.widgets.flexible import Poured
from desktop.widgets.layout import Item, Scroll, col, row
from desktop.widgets.spec_form import SpecForm
from desktop.widgets.text import Text, small
from engine.contract.spec import Problem

if TYPE_CHECKING:
    from desktop.context import AppContext

SIDE = 348
GUTTER = 8


class WizardBody(QWidget):
    """`load()`: show what the plan holds (it has `values`, `set_values`, `spec_class`). `refresh()`: something of it, or what is known, has
    changed."""

    edited = Signal()

    def __init__(self, context: "AppContext", plan: Any) -> None:
        super().__init__()
        self.context, self.theme, self.plan = context, context.theme, plan
        self.forms: list[SpecForm] = []
        self._loading = False

    def load(self) -> None:
        self._loading = True
        for form in self.forms:
            form.load(self.plan.values)
        self.fill()
        self._loading = False
        self.refresh()

    def fill(self) -> None:
        """Put the plan's values into the controls that are no form's."""

    def refresh(self) -> None:
        """Show what follows from them."""

    def rest(self) -> None:
        """Nobody looks."""

    def put(self, **values: Any) -> None:
        """What a control now says."""
        if not self._loading:
            self.plan.set_values(values)
            self.edited.emit()

    def make_form(self, fields: list[str], title: str = "", key: str = "", bare: bool = False) -> SpecForm:
        """A form of some settings of the present goal; `key` remembers whether it stands in Advanced."""
        made = SpecForm(self.theme, self.plan.spec_class, fields=fields, artifacts=self.choices, title=title, bare=bare,
                        advanced=bool(key and self.context.settings.get(f"advanced.{key}", False)))
        made.load(self.plan.values)
        made.changed.connect(lambda: self._form_edited(made))
        if key:
            made.advanced_changed.connect(lambda on: self.context.remember(f"advanced.{key}", on))
        self.forms.append(made)
        return made

    def _form_edited(self, form: SpecForm) -> None:
        values = form.values()
        self.put(**{name: values[name] for name in form.names})

    def choices(self, kind: str) -> list[tuple[str, str]]:
        """(id, words) of the project's artifacts of a kind."""
        return self.context.choices(kind)

    def show_problems(self, problems: list[Problem]) -> list[Problem]:
        """Each beside its field; gives back what has none here."""
        rest = problems
        for form in self.forms:
            rest = form.show_problems(rest)
        return rest


class Gutter(Scroll):
    """A column that scrolls in what height there is; it keeps away from its scroll bar, and where there is none it fills the width."""

    def __init__(self, *items: Item, gap: int = 12) -> None:
        self._poured = col(*items, "+", gap=gap, host=Poured())
        super().__init__(self._poured, horizontal=False)
        self.verticalScrollBar().rangeChanged.connect(lambda low, high: self._keep_away(high > low))

    def _keep_away(self, scrolls: bool) -> None:
        self._poured.layout().setContentsMargins(0, 0, GUTTER if scrolls else 0, 0)


def labelled(words: str, control: QWidget, help: str = "") -> QWidget:
    """A control under its name, for narrow places."""
    return col(Text(words, "medium"), control, small(help, wrap=True) if help else None, gap=3)


def beside(words: str, control: QWidget, help: str = "") -> QWidget:
    """A small control at the right of its name."""
    return col(row((Text(words, "medium", wrap=True), 1), control, gap=8), small(help, wrap=True) if help else None, gap=2)
