"""What was found in a folder, a file or on the hub, and the few settings of taking it over."""

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from desktop.models.import_plan import FoundModel, HubModel
from desktop.widgets.columns import Columns
from desktop.widgets.facts import Facts
from desktop.widgets.layout import col, show_if
from desktop.widgets.notes import Note
from desktop.widgets.panel import Panel
from desktop.widgets.spec_form import SpecForm
from desktop.widgets.text import Text, small
from engine.contract.words import tr
from engine.stages.import_model.spec import ImportModelSpec

if TYPE_CHECKING:
    from desktop.context import AppContext


class FoundView(QWidget):
    changed = Signal()

    def __init__(self, context: "AppContext") -> None:
        super().__init__()
        theme = context.theme
        self._facts = Facts(gap=7)
        self._place = small(elide=True)
        found = Panel(Text(tr("What was found"), "section"), self._place, self._facts, pad=(16, 10, 16, 14), gap=8)
        self._card = Text(wrap=True, tone="text2", select=True)
        self._card_panel = Panel(Text(tr("From its card"), "section"), self._card, pad=(16, 10, 16, 14), gap=8)
        self.form = SpecForm(theme, ImportModelSpec, fields=("title", "dtype"), title=tr("Settings"))
        self.form.changed.connect(self.changed)
        settings = Panel(self.form, pad=(16, 10, 16, 10))
        self._note = Note(theme, "warn", tr("It cannot chat yet"), "")
        self._licence = Note(theme, "info", tr("No licence is named"), tr("Neither a card nor a licence file says what may be done with "
                             "this model. Ask its makers before you pass it on."))
        main = col(settings, self._note, self._licence, self._card_panel, "+", gap=12)
        col((Columns(theme, main, col(found, "+", gap=12), side_width=340, gap=12), 1), gap=0, host=self)

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
        show_if(self._licence, local and not found.licence)
        self.form.load({"folder": found.path, "title": "", "dtype": "as_is"})
        name = found.name if isinstance(found, FoundModel) else found.name
        self.form.rows["title"].control.setPlaceholderText(name)

    def values(self) -> dict[str, Any]:
        return self.form.values()
