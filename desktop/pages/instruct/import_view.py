"""A file of examples before it is imported: its first rows as conversations, and the speakers that nobody knows, in the view that every
import of rows has."""

from pathlib import Path
from typing import Any

from PySide6.QtCore import QTimer

from desktop.context import AppContext
from desktop.models.instruct_import import ImportPlan
from desktop.pages.instruct.example_card import example_card
from desktop.widgets.fields import Lines
from desktop.widgets.layout import Item, col, row, show_if
from desktop.widgets.rows_import import RowsImport
from desktop.widgets.text import Text, small
from engine.contract.words import tr

MODULE = "engine.stages.instruct.examples_process"
LOOK_MS = 250


class ImportView(RowsImport):
    """Files of examples. Who speaks under another name is said a line each, and looked at again when the typing ends."""

    plan: ImportPlan

    def __init__(self, context: AppContext) -> None:
        super().__init__(context, ImportPlan(), MODULE, _look, _kinds, lambda e: example_card(context.theme, e, marks=False),
                         tr("Rows become conversations"), tr("a set of examples to review"))
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(LOOK_MS)
        self._later.timeout.connect(self._look)

    def _more(self) -> tuple[Item, ...]:
        self.roles = Lines(name=tr("Other speakers"), rows=3, theme=self.theme, placeholder=tr("narrator = user"))
        self.roles.changed.connect(self._roles_edited)
        self._roles_row = col(row(Text(tr("Other speakers"), "medium"), (small(tr("one a line"), "text3"), 1), gap=8), self.roles, gap=4)
        return (self._roles_row,)

    def _show_more(self) -> None:
        look, mapping = self.plan.look, self.plan.mapping
        assert look is not None and mapping is not None
        speakers = mapping.kind in ("messages", "sharegpt") or bool(mapping.conversation)
        show_if(self._roles_row, speakers and (bool(mapping.roles) or any("role" in p.reason for p in look.problems)))

    def _roles_edited(self) -> None:
        if not self._loading and self.plan.mapping is not None:
            self.plan.set_roles(self.roles.value())
            self._later.start()

    def _leave(self) -> None:
        self._later.stop()
        super()._leave()


def _look(file: Path, mapping: Any) -> Any:
    from engine.text.conversations import look
    return look(file, mapping)


def _kinds() -> Any:
    from engine.text.conversations import KINDS
    return KINDS
