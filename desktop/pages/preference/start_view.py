"""The sets of pairs that are there: how many, how far they are labelled, where they are from; what can be done with one; and what else on
this machine could become pairs."""

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QWidget

from desktop.context import AppContext
from desktop.models.label_words import origin_words
from desktop.models.pair_sources import Found
from desktop.widgets.bar import Bar
from desktop.widgets.buttons import Button
from desktop.widgets.columns import Columns
from desktop.widgets.empty_state import EmptyState
from desktop.widgets.facts import Facts
from desktop.widgets.layout import Item, clear, col, fill, row, show_if
from desktop.widgets.panel import Panel, heading, rule, table_panel
from desktop.widgets.run_panel import clock
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import Icon, Text, small
from engine.contract.units import number, percent
from engine.contract.words import tr, trn
from engine.project.pair_sets import PairSet

SIDE = 300


class StartView(QWidget):
    """`wanted(what, set)`: "label", "queues", "train", "export", "rename", "delete" of the chosen set. `source_wanted(Found)`."""

    wanted = Signal(str, object)
    source_wanted = Signal(object)

    def __init__(self, context: AppContext) -> None:
        super().__init__()
        self.context, self.theme, theme = context, context.theme, context.theme
        self.can_train = False
        self.table = Table(theme, [
            Column(tr("Set"), lambda s: Cell(s.title, note=origin_words(s), strong=True), least=160),
            Column(tr("Pairs"), lambda s: Cell(number(s.count), strong=True), 72, right=True, key=lambda s: s.count),
            Column(tr("Labelled"), lambda s: number(s.labelled), 80, right=True, key=lambda s: s.labelled),
            Column(tr("To do"), lambda s: number(s.todo), 76, right=True, key=lambda s: s.todo),
            Column(tr("Skipped"), lambda s: number(s.skipped), 76, right=True, key=lambda s: s.skipped, drop=2),
            Column(tr("Flagged"), lambda s: number(s.flagged), 76, right=True, key=lambda s: s.flagged, drop=3),
            Column(tr("Made"), lambda s: clock(s.created), 112, right=True, key=lambda s: s.created, drop=1),
        ], name=tr("Sets of pairs"), two_lines=True)
        self.table.chosen.connect(self._show)
        self.table.opened.connect(lambda s: self.wanted.emit("label", s))
        self._count = small()
        self._sources = col(gap=0)
        self._sources_panel = Panel(heading(tr("What else could become pairs")), self._sources, pad=(16, 10, 16, 10), gap=6)
        show_if(self._sources_panel, False)
        main = col((table_panel(heading(tr("Sets of pairs"), "", self._count), self.table), 1), self._sources_panel, gap=12)
        self._name, self._where = Text("", "section", elide=True), small(wrap=True)
        self._share, self._share_words = Bar(theme, name=tr("Labelled")), small(wrap=True)
        self._facts = Facts(gap=6)
        self.label = Button(theme, tr("Label"), "primary", icon="pairs", on_click=lambda: self._want("label"))
        self.queues = Button(theme, tr("All pairs"), icon="list", on_click=lambda: self._want("queues"))
        self.train = Button(theme, tr("Train reward model"), icon="seed", on_click=lambda: self._want("train"))
        self.export = Button(theme, tr("Export"), on_click=lambda: self._want("export"))
        self.rename = Button(theme, tr("Rename"), on_click=lambda: self._want("rename"))
        self.delete = Button(theme, tr("Delete"), "danger", on_click=lambda: self._want("delete"))
        self._side = Panel(self._name, self._where, 4, self._share, self._share_words, 4, self._facts, 6, self.label, self.queues,
                           self.train, rule(), row(self.export, self.rename, self.delete, "+"), "+", pad=(16, 12, 16, 14), gap=8)
        col((Columns(theme, main, self._side, side_width=SIDE, gap=12, room=560), 1), gap=0, host=self)
        self._show(None)

    def set(self, sets: Sequence[PairSet]) -> None:
        """The sets, newest first; the chosen one stays chosen."""
        self.table.set_rows(sets)
        rows = sum(s.count for s in sets)
        self._count.set(trn("{shown} pair in all", "{shown} pairs in all", rows, shown=number(rows)))
        if sets and self.table.current_row() is None:
            self.table.select(0)
        self._show(self.table.current_row())

    def choose(self, id: str) -> None:
        for i, one in enumerate(self.table.rows_model.rows):
            if one.id == id:
                self.table.select(i)

    def take_focus(self) -> None:
        """The keyboard goes on from the sets: Enter labels."""
        if self.isVisible():
            self.table.setFocus(Qt.FocusReason.MouseFocusReason)

    def set_sources(self, found: Sequence[Found]) -> None:
        """What could become pairs: votes, losing answers."""
        clear(self._sources.layout())
        lines: list[Item] = []
        for one in found:
            take = Button(self.theme, tr("Make pairs of them"), "quiet", on_click=lambda one=one: self.source_wanted.emit(one))
            take.setAccessibleName(f"{one.title}: {tr('Make pairs of them')}")
            lines += [rule() if lines else None,
                      row(Icon(self.theme, one.icon), (col(Text(one.title, "medium", elide=True), small(one.note, elide=True), gap=0), 1),
                          take, gap=12, pad=(0, 5, 0, 5))]
        fill(self._sources.layout(), tuple(lines), 0)  # type: ignore[arg-type]
        show_if(self._sources_panel, bool(found))

    def _want(self, what: str) -> None:
        chosen = self.table.current_row()
        if chosen is not None:
            self.wanted.emit(what, chosen)

    def _show(self, chosen: Any) -> None:
        show_if(self._side, chosen is not None)
        if chosen is None:
            return
        one: PairSet = chosen
        self._name.set(one.title)
        self._where.set(origin_words(one))
        share = one.labelled / one.count if one.count else 0.0
        self._share.set(share)
        self._share_words.set(tr("{share} labelled", share=percent(share)) if one.count else tr("No pairs yet"))
        facts = [(tr("Pairs"), number(one.count)), (tr("Labelled"), number(one.labelled)), (tr("To do"), number(one.todo)),
                 (tr("Skipped"), number(one.skipped)), (tr("Flagged"), number(one.flagged)), (tr("Made"), clock(one.created))]
        if one.given:
            facts.insert(2, (tr("Came with a label"), number(one.given)))
        self._facts.set(facts)
        self.label.setEnabled(one.count > 0)
        self.label.set_words(tr("Label") if one.todo or not one.given else tr("Label them myself"))
        self.queues.setEnabled(one.count > 0)
        self.export.setEnabled(one.count > 0)
        show_if(self.train, self.can_train)
        self.train.setEnabled(one.labelled > 0)


def empty_state(theme: Any, model: str, can_make: bool, make: Any, bring: Any, more: Sequence[Item] = ()) -> EmptyState:
    """What the page shows before there are pairs. `model` answers, "" while there is none."""
    return EmptyState(theme, tr("No pairs to label yet"),
        tr("Label which of two answers is better, and the model learns your taste. First it needs prompts and two answers to each: 200 "
           "pairs are enough to start."),
        Button(theme, tr("Make 200 pairs"), "primary", icon="pairs", on_click=make),
        Button(theme, tr("Import a file"), icon="in", on_click=bring), *more,
        steps=[(tr("A model that answers"), model or tr("raised or imported here, or a local one"), bool(model)),
               (tr("Pairs of answers"), tr("made in bulk, so labelling never waits"), False),
               (tr("Your labels"), tr("about 20 minutes for 200"), False)])
