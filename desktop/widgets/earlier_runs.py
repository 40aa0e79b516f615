"""The table of the stage's earlier runs, on its error and result pages."""

from collections.abc import Callable, Sequence

from desktop.models.run_rows import RunRow
from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button
from desktop.widgets.layout import row
from desktop.widgets.panel import Panel, heading
from desktop.widgets.table import Cell, Column, Table, state_cell
from engine.contract.units import duration, number
from engine.contract.words import tr
from engine.project.run_measures import short_words


class EarlierRuns(Panel):
    """`set(rows, here)`: newest first; `here` is the run the page is about."""

    def __init__(self, theme: Theme, title: str, on_open: Callable[[RunRow], object], on_all: Callable[[], object],
                 inputs: str = "", measured: str = "") -> None:
        """`inputs` and `measured` head the columns of what went in and of the best validation."""
        self._here = ""

        def steps(r: RunRow) -> str:
            return tr("{step} of {steps}", step=number(r.step), steps=number(r.steps)) if r.steps else ""

        def state(r: RunRow) -> Cell:
            words = {"interrupted": tr("interrupted, can resume"), "paused": tr("paused, can resume"), "stopped": tr("stopped, can resume"),
                     "failed": tr("stopped, see above") if r.id == self._here else tr("failed")}.get(r.status, "")
            return state_cell(r.status, words)
        columns = [Column(tr("Run"), lambda r: str(r.number), 48), Column(tr("Model"), lambda r: Cell(r.title, strong=True), least=120),
                   Column(inputs or tr("Corpus and tokenizer"), lambda r: r.inputs, drop=1, least=168),
                   Column(tr("Steps"), steps, 116, right=True),
                   Column(measured or tr("Bits per byte"), lambda r: short_words(r.stage, r.best[0]) if r.best else "", 108, right=True,
                          drop=3),
                   Column(tr("Time"), lambda r: duration(r.seconds) if r.seconds else "", 92, right=True, drop=2),
                   Column(tr("State"), state, 204)]
        self.table = Table(theme, columns, name=title, fit=True, max_rows=4)
        self.table.opened.connect(on_open)
        super().__init__(row(heading(title, "", Button(theme, tr("All runs"), "quiet", on_click=on_all)), pad=(8, 0, 8, 0)), self.table,
                         pad=(8, 6, 8, 6), gap=2)

    def set(self, rows: Sequence[RunRow], here: str = "") -> None:
        self._here = here
        if list(rows) != self.table.rows_model.rows:
            self.table.set_rows(rows)
