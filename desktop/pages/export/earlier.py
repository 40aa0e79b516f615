"""The exports made so far, in the side column: newest first, a click shows one."""

from collections.abc import Callable, Sequence

from desktop.models.export_plan import precision_words
from desktop.models.export_result import TARGET_WORDS
from desktop.theme.theme import Theme
from desktop.widgets.layout import row, show_if
from desktop.widgets.panel import Panel, heading
from desktop.widgets.table import Cell, Column, Table
from engine.contract.units import size
from engine.contract.words import tr
from engine.project.artifacts import Artifact


class EarlierExports(Panel):
    def __init__(self, theme: Theme, on_open: Callable[[Artifact], object]) -> None:
        self.table = Table(theme, [Column(tr("Model"), self._name, least=100), Column(tr("Check"), self._check, 116)],
                           name=tr("Earlier exports"), two_lines=True, row_height=52, fit=True, max_rows=5)
        self.table.opened.connect(on_open)
        self.table.clicked.connect(lambda index: on_open(self.table.rows_model.row(index.row())))
        super().__init__(row(heading(tr("Earlier exports")), pad=(8, 0, 8, 0)), self.table, pad=(8, 8, 8, 6), gap=2)

    def set(self, exports: Sequence[Artifact]) -> None:
        if list(exports) != self.table.rows_model.rows:
            self.table.set_rows(list(exports))
        show_if(self, bool(exports))

    def _name(self, made: Artifact) -> Cell:
        facts = made.facts
        what = ", ".join(x for x in (TARGET_WORDS.get(str(facts.get("to", "")), ""), precision_words(str(facts.get("precision", ""))),
                                     size(facts.get("bytes", 0)) if facts.get("bytes") else "") if x)
        return Cell(made.title, what, tip=str(facts.get("path", "")))

    def _check(self, made: Artifact) -> Cell:
        faithful = (made.facts.get("round_trip") or {}).get("faithful")
        if faithful is None:
            return Cell(tr("not checked"), tone="text2")
        return Cell(tr("faithful"), tone="ok", icon="check") if faithful else Cell(tr("differs"), tone="danger", icon="error")
