"""The groups of duplicates: a list of them, and the members of one side by side, the kept one pinned first."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QKeySequence, QResizeEvent, QShortcut
from PySide6.QtWidgets import QSplitter, QStackedWidget, QWidget

from desktop.context import AppContext
from desktop.models.corpus_desk import CorpusDesk
from desktop.models.decisions import Decisions
from desktop.models.paged import PAGE, Pages, Row
from desktop.pages.corpus.browser_states import Blank
from desktop.pages.corpus.clusters import keep_this
from desktop.pages.corpus.compare import Compare, group_words
from desktop.pages.corpus.wording import step_name
from desktop.widgets.buttons import Button
from desktop.widgets.chips import ChipBar
from desktop.widgets.fields import Choice
from desktop.widgets.layout import col, fixed, row, show_if
from desktop.widgets.panel import Panel
from desktop.widgets.table import ROOT, Cell, Column, Index, RowsModel, Table
from desktop.widgets.text import Key, Text, small
from engine.contract import units
from engine.contract.errors import FledgeError
from engine.contract.words import tr, trn
from engine.project.artifacts import Artifact

BESIDE, CHARACTERS = 4, 8_000
ASKED = 40
ROOM = 700
"""Width from which the list and the members stand side by side, in design pixels."""


class GroupsModel(RowsModel):
    """Groups over `Pages`; one on its way is empty."""

    def __init__(self, columns: Sequence[Column], pages: Pages) -> None:
        super().__init__(columns)
        self.pages = pages

    def row(self, index: int) -> Any:
        return self.pages.row(index) or {}

    def rowCount(self, parent: Index = ROOT) -> int:
        return 0 if parent.isValid() else self.pages.total

    def reset(self, total: int, first: Sequence[Row]) -> None:
        self.beginResetModel()
        self.pages.reset(total, first)
        self.endResetModel()


class ClustersView(QWidget):
    """`load(artifact)` says which corpus; `opened()` when it is on the screen; `open_cluster(number)` shows that group."""

    def __init__(self, context: AppContext, desk: CorpusDesk, decisions: Decisions, *, on_read: Callable[[Any], object]) -> None:
        super().__init__()
        theme = self.theme = context.theme
        self._desk, self._decisions = desk, decisions
        self._loaded, self._group, self._from, self._wanted_group = False, {}, 1, -1  # type: ignore[var-annotated]
        self._members: list[Mapping[str, Any]] = []
        self.pages = Pages(self._ask_page, lambda page: desk.forget_clusters(f"groups {page}"), lambda first, last: self._rows_came(first),
                           lambda wrong: None)
        self.model = GroupsModel([
            Column(tr("Group"),
                   lambda g: Cell(str(g["source"]).rsplit("/", 1)[-1], str(g["snippet"]) or " ", tip=g["source"]) if g else ""),
            Column(tr("Documents"), lambda g: Cell(units.number(g["documents"]), _alike(g)) if g else "", width=88, right=True)],
            self.pages)
        self.order = Choice(theme, [("size", tr("Largest first")), ("-similarity", tr("Least alike first")),
                                    ("similarity", tr("Most alike first")), ("number", tr("As imported"))], "size",
                            name=tr("Order of the groups"))
        self.order.changed.connect(self._ask)
        self._count = small("", elide=True)
        self.table = Table(theme, self.model.columns, name=tr("Groups of duplicates"), model=self.model, row_height=52)
        self.table.horizontalHeader().hide()
        self.table.chosen.connect(lambda _: self._chosen())
        self.table.verticalScrollBar().valueChanged.connect(lambda _: self._scrolled())
        self._blank = Blank(theme)
        self._states = QStackedWidget()
        self._states.addWidget(self.table)
        self._states.addWidget(self._blank)
        listed = Panel(row((self._count, 1), fixed(self.order, theme.px(156)), gap=8, pad=(12, 2, 8, 4)), (self._states, 1), gap=2,
                       pad=(1, 4, 1, 4))
        self._title, self._note = Text("", "section"), small("", elide=True)
        self._back = Button(theme, "", "icon", icon="left", tone="accent", name=tr("Group before (K)"), on_click=lambda: self.step(-1))
        self._next = Button(theme, "", "icon", icon="right", tone="accent", name=tr("Next group (J)"), on_click=lambda: self.step(1))
        self._where = small()
        self.compare = Compare(theme, decisions, BESIDE, full=True)
        self.compare.keep_wanted.connect(lambda id: keep_this(self._decisions, self._members, id))
        self.compare.read_wanted.connect(on_read)
        self._members_back = Button(theme, tr("Before"), "quiet", on_click=lambda: self._turn(-1))
        self._members_next = Button(theme, tr("More of them"), "quiet", on_click=lambda: self._turn(1))
        self._members_where = small()
        self._turns = row(self._members_back, self._members_where, self._members_next, "+", gap=12)
        keys = ChipBar(row(Key(theme, "J"), Key(theme, "K"), small(tr("next group, group before")), gap=4),
                       row(Key(theme, "1"), small("–"), Key(theme, "4"), small(tr("keep this one")), gap=4), gap=12)
        self._empty = small(tr("Choose a group to compare its documents."))
        self._shown = col(row(self._title, (self._note, 1), self._back, self._where, self._next, gap=8), (self.compare, 1), self._turns,
                          keys, gap=8)
        panel = Panel(self._empty, (self._shown, 1), pad=(16, 10, 16, 12))
        show_if(self._shown, False)
        split = self._split = QSplitter(Qt.Orientation.Horizontal)
        split.setHandleWidth(12)
        split.setChildrenCollapsible(False)
        listed.setMinimumSize(theme.px(220), theme.px(160))
        panel.setMinimumSize(theme.px(320), theme.px(200))
        split.addWidget(listed)
        split.addWidget(panel)
        split.setStretchFactor(0, 1)
        split.setStretchFactor(1, 3)
        split.setSizes([284, 716])
        col((split, 1), gap=0, host=self)
        self._fit = QTimer(self)
        self._fit.setSingleShot(True)
        self._fit.setInterval(60)
        self._fit.timeout.connect(self._show_members)
        for pressed, act in (("J", lambda: self.step(1)), ("K", lambda: self.step(-1)),
                             *((str(i + 1), lambda i=i: self.compare.press(i)) for i in range(BESIDE))):
            for place in (self.table, panel):  # not where letters choose from a list
                QShortcut(QKeySequence(pressed), place, context=Qt.ShortcutContext.WidgetWithChildrenShortcut).activated.connect(act)

    # coming and going -------------------------------------------------------------------------------------------------

    def load(self, artifact: Artifact) -> None:
        self._loaded = False
        self._wanted_group = -1

    def opened(self) -> None:
        """On the screen: its groups are asked for, once a corpus."""
        if not self._loaded:
            self._ask()

    def rest(self) -> None:
        """Nobody looks."""

    def open_cluster(self, number: int) -> None:
        """The members of this group, wherever it stands in the list."""
        self._wanted_group = number
        self.opened()
        self._group = {"cluster": number}
        self._from = 1
        self._desk.cluster(number, 0, ASKED, CHARACTERS, self._members_came, self._failed)

    def refresh(self) -> None:
        """What was decided may be different now."""
        self.compare.refresh()

    def step(self, by: int) -> None:
        place = self.table.currentIndex().row() + by
        if 0 <= place < self.pages.total:
            self.table.select(place)

    # the groups -------------------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        self._count.set(tr("Looking …"))
        self._desk.clusters(0, PAGE, str(self.order.value()), self._came, self._failed)

    def _came(self, answer: Mapping[str, Any]) -> None:
        self._loaded = True
        groups = list(answer["clusters"])
        self.model.reset(int(answer["total"]), groups)
        self._count.set(trn("{count} group", "{count} groups", int(answer["total"])))
        self._states.setCurrentIndex(0 if groups else 1)
        if not groups:
            self._blank.set("check", tr("No duplicates were found"), tr("Every document of this corpus is its own."))
            return
        place = next((i for i, g in enumerate(groups) if g["cluster"] == self._wanted_group), -1)
        if place >= 0 or self._wanted_group < 0:
            self.table.select(max(0, place))

    def _ask_page(self, start: int, count: int, then: Any, failed: Any) -> None:
        self._desk.clusters(start, count, str(self.order.value()), lambda answer: then(answer["clusters"]), failed,
                            key=f"groups {start // PAGE}")

    def _rows_came(self, first: int) -> None:
        self.table.viewport().update()
        if self.table.currentIndex().row() >= first and not self._group:
            self._chosen()

    def _scrolled(self) -> None:
        first = self.table.verticalScrollBar().value() // self.table.row_height
        self.pages.want(first, first + self.table.viewport().height() // self.table.row_height + 1)

    def _failed(self, wrong: FledgeError) -> None:
        self._count.set("")
        self._states.setCurrentIndex(1)
        self._blank.set("error", wrong.sentence, wrong.remedy, Button(self.theme, tr("Try again"), on_click=self._ask))

    # one group --------------------------------------------------------------------------------------------------------

    def _chosen(self) -> None:
        place = self.table.currentIndex().row()
        group = self.pages.row(place) if place >= 0 else None
        if group is None:
            self._group = {}
            self.pages.want(max(0, place), max(0, place))
            return
        if group["cluster"] == self._group.get("cluster") and self._members:
            self._group = dict(group)
            self._head()
            return
        self._group, self._from, self._wanted_group = dict(group), 1, -1
        self._desk.cluster(int(group["cluster"]), 0, ASKED, CHARACTERS, self._members_came, self._failed)

    def _members_came(self, answer: Mapping[str, Any]) -> None:
        self._members = list(answer["members"])
        self._group.setdefault("documents", int(answer["total"]))
        self._head()
        self._show_members()

    def _head(self) -> None:
        show_if(self._empty, False)
        show_if(self._shown, True)
        place = self.table.currentIndex().row()
        steps = self._group.get("steps") or {}
        self._title.set(tr("Group {number}", number=units.number(int(self._group["cluster"]) + 1)))
        removed = ", ".join(f"{step_name(step).lower()} {units.number(n)}" for step, n in steps.items())
        self._note.set(" · ".join(p for p in (group_words(self._group), removed) if p))
        self._where.set(tr("{place} of {total}", place=units.number(place + 1), total=units.number(self.pages.total)) if place >= 0 else "")
        self._back.setEnabled(place > 0)
        self._next.setEnabled(0 <= place < self.pages.total - 1)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        beside = self.width() >= self.theme.px(ROOM)
        if beside != (self._split.orientation() == Qt.Orientation.Horizontal):
            self._split.setOrientation(Qt.Orientation.Horizontal if beside else Qt.Orientation.Vertical)
        if self._members:
            self._fit.start()

    def _turn(self, by: int) -> None:
        self._from = max(1, min(self._from + by * (self.compare.room - 1), len(self._members) - 1))
        self._show_members()

    def _show_members(self) -> None:
        """The one that the others are compared with stays first; the others turn."""
        room = self.compare.room
        others = self._members[self._from:self._from + room - 1]
        self.compare.show_members([*self._members[:1], *others])
        count = len(self._members)
        show_if(self._turns, count > room)
        self._members_where.set(tr("{first} to {last} of {total}", first=self._from + 1, last=self._from + len(others),
                                   total=units.number(self._group.get("documents", count))))
        self._members_back.setEnabled(self._from > 1)
        self._members_next.setEnabled(self._from + len(others) < count)


def _alike(group: Mapping[str, Any]) -> str:
    least = group.get("least")
    return tr("from {value}", value=f"{least:.2f}") if least is not None else " "
