"""The sets of examples that are there: how many rows, what was decided about them, where they are from; and what can be done with one."""

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from desktop.context import AppContext
from desktop.widgets.bar import Bar
from desktop.widgets.buttons import Button
from desktop.widgets.columns import Columns
from desktop.widgets.empty_state import EmptyState
from desktop.widgets.facts import Facts
from desktop.widgets.layout import col, row, show_if
from desktop.widgets.panel import Panel, heading, rule, table_panel
from desktop.widgets.run_panel import clock
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import Text, small
from engine.contract.units import number, percent
from engine.contract.words import tr, trn

SIDE = 300


def origin_words(origin: str, run: str = "") -> str:
    """Where a set is from, as a person says it."""
    if run:
        return tr("made by run {number}", number=run.partition("-")[0])
    if origin.startswith("import:"):
        return tr("from {file}", file=origin.removeprefix("import:").replace("\\", "/").rpartition("/")[2] or tr("a file"))
    return {"person": tr("written by hand"), "": tr("written by hand")}.get(origin, origin)


class StartView(QWidget):
    """`wanted(what, set)`: "review", "result", "export", "rename", "delete", "tune" of the chosen set."""

    wanted = Signal(str, object)

    def __init__(self, context: AppContext) -> None:
        super().__init__()
        self.context, theme = context, context.theme
        self.theme = theme
        self.table = Table(theme, [
            Column(tr("Set"), lambda s: Cell(s.title, note=origin_words(s.origin, s.run), strong=True), least=160),
            Column(tr("Rows"), lambda s: Cell(number(s.count), strong=True), 82, right=True, key=lambda s: s.count),
            Column(tr("Accepted"), lambda s: number(s.accepted), 88, right=True, key=lambda s: s.accepted, drop=3),
            Column(tr("Set aside"), lambda s: number(s.rejected), 88, right=True, key=lambda s: s.rejected, drop=2),
            Column(tr("To review"), lambda s: number(s.new), 88, right=True, key=lambda s: s.new),
            Column(tr("Made"), lambda s: clock(s.created), 112, right=True, key=lambda s: s.created, drop=1),
        ], name=tr("Sets of examples"), two_lines=True)
        self.table.chosen.connect(self._show)
        self.table.opened.connect(lambda s: self.wanted.emit("review" if self.review.isEnabled() else "result", s))
        self._count = small()
        main = table_panel(heading(tr("Sets of examples"), "", self._count), self.table)
        self._name = Text("", "section", elide=True)
        self._where = small(wrap=True)
        self._share = Bar(theme, name=tr("Looked through"))
        self._share_words = small()
        self._facts = Facts(gap=6)
        self.review = Button(theme, tr("Review"), "primary", icon="list", on_click=lambda: self._want("review"))
        self.result = Button(theme, tr("What came out"), icon="evaluate", on_click=lambda: self._want("result"))
        self.tune = Button(theme, tr("Fine-tune on it"), icon="seed", on_click=lambda: self._want("tune"))
        self.export = Button(theme, tr("Export"), on_click=lambda: self._want("export"))
        self.rename = Button(theme, tr("Rename"), on_click=lambda: self._want("rename"))
        self.delete = Button(theme, tr("Delete"), "danger", on_click=lambda: self._want("delete"))
        self._side = Panel(self._name, self._where, 4, self._share, self._share_words, 4, self._facts, 6, self.review, self.tune,
                           self.result, rule(), row(self.export, self.rename, self.delete, "+"), "+", pad=(16, 12, 16, 14), gap=8)
        col((Columns(theme, main, self._side, side_width=SIDE, gap=12, room=560), 1), gap=0, host=self)
        self.can_review, self.can_tune = False, False
        self._show(None)

    def set(self, sets: Sequence[Any]) -> None:
        """The sets, newest first; the chosen one stays chosen."""
        self.table.set_rows(sets)
        rows = sum(s.count for s in sets)
        self._count.set(trn("{shown} row in all", "{shown} rows in all", rows, shown=number(rows)))
        if sets and self.table.current_row() is None:
            self.table.select(0)
        self._show(self.table.current_row())

    def chosen(self) -> Any:
        return self.table.current_row()

    def choose(self, id: str) -> None:
        for place, each in enumerate(self.table.rows_model.rows):
            if each.id == id:
                self.table.select(place)

    def _want(self, what: str) -> None:
        if self.chosen() is not None:
            self.wanted.emit(what, self.chosen())

    def _show(self, chosen: Any) -> None:
        show_if(self._side, chosen is not None)
        if chosen is None:
            return
        self._name.set(chosen.title)
        self._where.set(origin_words(chosen.origin, chosen.run))
        decided = chosen.accepted + chosen.rejected
        share = decided / chosen.count if chosen.count else 0.0
        self._share.set(share)
        self._share_words.set(tr("{share} looked through", share=percent(share)) if chosen.count else tr("No rows yet"))
        self._facts.set([(tr("Rows"), number(chosen.count)), (tr("Accepted"), number(chosen.accepted)),
                         (tr("Set aside"), number(chosen.rejected)), (tr("To review"), number(chosen.new)),
                         (tr("Used for training"), number(chosen.accepted + chosen.new)), (tr("Made"), clock(chosen.created))])
        show_if(self.review, self.can_review)
        show_if(self.tune, self.can_tune)
        self.tune.setEnabled(chosen.accepted + chosen.new > 0)
        self.export.setEnabled(chosen.count > 0)
        self.result.setEnabled(chosen.count > 0)


def empty_state(theme: Any, generate: Any, bring: Any, write: Any) -> EmptyState:
    """What the page shows before there are examples."""
    return EmptyState(theme, tr("No examples yet"),
        tr("A base model continues text; examples of questions and answers teach it to reply. A local model can write them from your own "
           "documents, or you bring a file. Nothing leaves this machine."),
        Button(theme, tr("Generate with a local model"), "primary", icon="pairs", on_click=generate),
        Button(theme, tr("Import a file"), icon="in", on_click=bring), Button(theme, tr("Write one by hand"), on_click=write),
        steps=[(tr("A model that writes"), tr("Ollama, a server, or one of this project"), False),
               (tr("A recipe"), tr("from documents, topics or examples"), False),
               (tr("Your eye"), tr("accept, edit or leave out each row"), False),
               (tr("Fine-tuning"), tr("a base model learns to answer"), False)])
