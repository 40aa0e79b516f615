"""What was found in a folder, a file or on the hub, and the few settings of taking it over."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from desktop.jobs.answer import ModelInfo
from desktop.models.import_plan import FoundModel, HubModel
from desktop.widgets.columns import Columns
from desktop.widgets.facts import Facts
from desktop.widgets.layout import col, show_if
from desktop.widgets.model_picker import ModelPicker
from desktop.widgets.notes import Note
from desktop.widgets.panel import Panel
from desktop.widgets.spec_form import SpecForm
from desktop.widgets.text import Text, small
from engine.contract.words import tr
from engine.project.models import ModelRef
from engine.stages.import_model.spec import ImportModelSpec

if TYPE_CHECKING:
    from desktop.context import AppContext


class FoundView(QWidget):
    changed = Signal()

    def __init__(self, context: "AppContext") -> None:
        super().__init__()
        theme, self.adapter = context.theme, False
        self._facts = Facts(gap=7)
        self._place = small(elide=True)
        found = Panel(Text(tr("What was found"), "section"), self._place, self._facts, pad=(16, 10, 16, 14), gap=8)
        self._card = Text(wrap=True, tone="text2", select=True)
        self._card_panel = Panel(Text(tr("From its card"), "section"), self._card, pad=(16, 10, 16, 14), gap=8)
        # An adapter is stored as it is computed, so that its form has no number format.
        self.forms = {False: SpecForm(theme, ImportModelSpec, fields=("title", "dtype"), title=tr("Settings")),
                      True: SpecForm(theme, ImportModelSpec, fields=("title",), title=tr("Settings"))}
        for form in self.forms.values():
            form.changed.connect(self.changed)
        settings = Panel(*self.forms.values(), pad=(16, 10, 16, 10))
        self.base = ModelPicker(theme, tr("Base model"))
        self.base.changed.connect(self._base_chosen)
        self._base_problem = small(tone="danger", wrap=True)
        self._base = Panel(Text(tr("Base model"), "section"),
                           small(tr("An adapter changes another model. Choose the model of this project that it was made for; a new one is "
                                    "made of both, and the base stays as it is."), wrap=True), self.base, self._base_problem,
                           pad=(16, 10, 16, 14), gap=8)
        self._note = Note(theme, "warn", tr("It cannot chat yet"), "")
        self._licence = Note(theme, "info", tr("No licence is named"), tr("Neither a card nor a licence file says what may be done with "
                             "this model. Ask its makers before you pass it on."))
        main = col(self._base, settings, self._note, self._licence, self._card_panel, "+", gap=12)
        col((Columns(theme, main, col(found, "+", gap=12), side_width=340, gap=12), 1), gap=0, host=self)

    @property
    def form(self) -> SpecForm:
        return self.forms[self.adapter]

    def load(self, found: FoundModel | HubModel) -> None:
        self._place.set(found.path)
        self._facts.set(found.facts())
        local = isinstance(found, FoundModel)
        card = found.card if isinstance(found, FoundModel) else ""
        notes = found.notes if isinstance(found, FoundModel) else ()
        self._card.set(card)
        show_if(self._card_panel, bool(card))
        self._note.set(tr("It cannot chat yet"), tr("{why} It continues text; its chat template is kept as it is.", why=" ".join(notes)))
        show_if(self._note, bool(notes))
        self.adapter = isinstance(found, FoundModel) and found.adapter
        show_if(self._licence, local and not self.adapter and not found.licence)
        show_if(self._base, self.adapter)
        self.show_base_problem("")
        for adapter, form in self.forms.items():
            show_if(form, adapter == self.adapter)
        self.form.load({"folder": found.path, "title": "", "dtype": "as_is"})
        name = found.name if isinstance(found, FoundModel) else found.name
        self.form.rows["title"].control.setPlaceholderText(name)

    def set_models(self, models: Sequence[ModelRef]) -> None:
        """Models that an adapter could have been made for."""
        self.base.set_models([ModelInfo(id=m.id, title=m.title, step=m.step, run=m.run, stage=m.stage) for m in models if not m.untrained])

    def values(self) -> dict[str, Any]:
        return {**self.form.values(), "base": self.base.value() or "" if self.adapter else ""}

    def problem(self) -> str:
        """What keeps it from being imported, beside the form's own."""
        if not self.adapter or self.base.value():
            return ""
        return tr("There is no model in this project that it could change. Import its base first.")

    def show_base_problem(self, words: str) -> None:
        self._base_problem.set(words)
        show_if(self._base_problem, bool(words))

    def _base_chosen(self) -> None:
        self.show_base_problem("")
        self.changed.emit()
