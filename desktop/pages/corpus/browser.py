"""The document browser: search, filters, the list, the reading pane, decisions by hand, and the way to the groups of duplicates.

It wires: questions go through models/corpus_desk.py, decisions through models/decisions.py, and the parts show what comes back.
"""

from collections.abc import Callable, Mapping
from typing import Any

from PySide6.QtCore import QEvent, Qt, QTimer
from PySide6.QtGui import QKeySequence, QResizeEvent, QShortcut
from PySide6.QtWidgets import QApplication, QSplitter, QStackedWidget, QWidget

from desktop.context import AppContext
from desktop.models.corpus_desk import CorpusDesk, rows_of
from desktop.models.decisions import Decisions
from desktop.models.paged import PAGE, Pages, Row
from desktop.pages.corpus import browser_bulk as bulk
from desktop.pages.corpus.browser_filters import FilterBar, orders
from desktop.pages.corpus.browser_list import DocumentList, DocumentsModel
from desktop.pages.corpus.browser_states import Blank, Building, PendingBar
from desktop.pages.corpus.clusters_view import ClustersView
from desktop.pages.corpus.reading_view import ReadingView
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.fields import Choice, SearchField
from desktop.widgets.layout import col, fixed, row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.panel import Panel
from desktop.widgets.text import small
from engine.contract import units
from engine.contract.errors import FledgeError
from engine.contract.words import tr, trn
from engine.project.artifacts import Artifact

SETTLE_MS = 160
COUNT_MS = 250
FIRST_CHARACTERS, MORE = 30_000, 4
BESIDE = 680


class BrowserView(QWidget):
    """`load(artifact, filters)` shows its documents; `rest()` when nobody looks. `on_apply` makes a new corpus with the decisions."""

    def __init__(self, context: AppContext, *, on_back: Callable[[], object], on_apply: Callable[[], object]) -> None:
        super().__init__()
        self.theme = context.theme
        self.context, self._on_back = context, on_back
        self.desk, self.decisions = CorpusDesk(self), Decisions(context, self)
        self._artifact: Artifact | None = None
        self._wanted: dict[str, Any] = {}
        self._shown_wanted: dict[str, Any] = {}
        self._read: Row | None = None
        self._place, self._characters = -1, FIRST_CHARACTERS
        self._build_head(on_apply)
        self._build_body()
        self._settle = self._timer(SETTLE_MS, self._ask_list)
        self._count_soon = self._timer(COUNT_MS, self._ask_facets)
        self._wire()

    # its parts --------------------------------------------------------------------------------------------------------

    def _build_head(self, on_apply: Callable[[], object]) -> None:
        theme = self.theme
        self._title = small("", elide=True)
        self.sides = Segments(theme, [("documents", tr("Documents")), ("clusters", tr("Duplicates"))], "documents",
                              name=tr("What is browsed"), on_change=self._side)
        self.undo = Button(theme, "", "icon", icon="undo", name=tr("Undo the last decision (Ctrl+Z)"), on_click=self.decisions.undo)
        self.redo = Button(theme, "", "icon", icon="redo", name=tr("Redo (Ctrl+Shift+Z)"), on_click=self.decisions.redo)
        back = Button(theme, tr("Back to the report"), "quiet", icon="left", on_click=self._on_back)
        self._head = row(back, 4, self.sides, (self._title, 1), self.undo, self.redo, gap=8)
        self.pending = PendingBar(theme, on_apply)
        self.notes = NoteSlot(theme)

    def _build_body(self) -> None:
        theme = self.theme
        self.search = SearchField(tr("Search the text: words, \"a phrase\", begin*, -without"), name=tr("Search the documents"))
        self.search.setClearButtonEnabled(True)
        self.order = Choice(theme, orders(), "number", name=tr("Order of the documents"))
        self.filters = FilterBar(theme)
        self.pages = Pages(self._ask_page, lambda page: self.desk.forget(f"page {page}"), self._rows_came, self._page_failed)
        self.model = DocumentsModel(self.pages, self.decisions.keep_of)
        self.list = DocumentList(theme, self.model)
        self.blank, self.building = Blank(theme), Building(theme)
        self._states = QStackedWidget()
        for state in (self.list, self.blank, self.building):
            self._states.addWidget(state)
        self._count = small("", elide=True)
        self._bulk_exclude = Button(theme, tr("Exclude these"), "quiet", on_click=lambda: self._decide(False))
        self._bulk_restore = Button(theme, tr("Restore these"), "quiet", on_click=lambda: self._decide(True))
        head = fixed(row((self._count, 1), self._bulk_exclude, self._bulk_restore, gap=12, pad=(12, 0, 12, 0)), height=theme.px(30))
        listed = Panel(head, (self._states, 1), gap=0, pad=(1, 4, 1, 4))
        self.reading = ReadingView(theme, self.decisions)
        self._split = QSplitter(Qt.Orientation.Horizontal)
        self._split.setHandleWidth(12)
        self._split.setChildrenCollapsible(False)
        self._split.addWidget(listed)
        self._split.addWidget(self.reading)
        self._split.setStretchFactor(0, 2)
        self._split.setStretchFactor(1, 3)
        self._split.setSizes([400, 600])
        listed.setMinimumSize(theme.px(240), theme.px(160))
        self.reading.setMinimumSize(theme.px(300), theme.px(200))
        documents = col(row((self.search, 1), fixed(self.order, theme.px(190)), gap=8), self.filters, (self._split, 1), gap=8)
        self.clusters = ClustersView(self.context, self.desk, self.decisions, on_read=self.read_number)
        self._sides = QStackedWidget()
        self._sides.addWidget(documents)
        self._sides.addWidget(self.clusters)
        col(self._head, self.pending, self.notes, (self._sides, 1), gap=8, host=self)

    def _wire(self) -> None:
        self.search.changed.connect(self._settle.start)
        self.search.returnPressed.connect(self._search_now)
        self.order.changed.connect(self._ask_list)
        self.filters.changed.connect(self._ask_list)
        self.list.wants.connect(self.pages.want)
        self.list.chosen.connect(self._chosen)
        self.list.selection_changed.connect(self._show_count)
        self.reading.stepped.connect(self._step)
        self.reading.exclude_wanted.connect(lambda: self._decide(False))
        self.reading.restore_wanted.connect(lambda: self._decide(True))
        self.reading.label_wanted.connect(self._label)
        self.reading.cluster_wanted.connect(self.open_cluster)
        self.reading.document_wanted.connect(self.read_number)
        self.reading.source_wanted.connect(lambda source: self._only("source", source))
        self.reading.more_wanted.connect(self._more)
        self.decisions.changed.connect(self._decided)
        self.decisions.failed.connect(self.notes.show_error)
        self.decisions.stepped.connect(self._stepped_back)
        self.desk.index_changed.connect(self._index_changed)
        self.desk.index_failed.connect(self._list_failed)
        for keys, act in (("J", lambda: self._step(1)), ("K", lambda: self._step(-1)), ("E", lambda: self._decide(False)),
                          ("Del", lambda: self._decide(False)), ("R", lambda: self._decide(True)), ("H", lambda: self._label(True)),
                          ("N", lambda: self._label(False)), ("V", self.reading.cycle), ("C", self._compare)):
            self._key(keys, act, self._split)  # not where letters choose from a list
        for keys in ("/", "Ctrl+F"):
            self._key(keys, self._to_search, self._sides.widget(0))
        for keys, act in (("Ctrl+Z", self.decisions.undo), ("Ctrl+Shift+Z", self.decisions.redo), ("Ctrl+Y", self.decisions.redo)):
            self._key(keys, act, self)

    def _key(self, keys: str, act: Callable[[], object], host: QWidget) -> None:
        QShortcut(QKeySequence(keys), host, context=Qt.ShortcutContext.WidgetWithChildrenShortcut).activated.connect(lambda: act())

    def _timer(self, after: int, act: Callable[[], None]) -> QTimer:
        made = QTimer(self)
        made.setSingleShot(True)
        made.setInterval(after)
        made.timeout.connect(act)
        return made

    # coming and going -------------------------------------------------------------------------------------------------

    def load(self, artifact: Artifact, filters: Mapping[str, Any] | None = None) -> None:
        """Show a corpus; with `filters` (of the engine's questions) only those documents. The same corpus again keeps its search."""
        assert self.context.project is not None
        same = self._artifact is not None and self._artifact.path == artifact.path
        self._artifact = artifact
        self.desk.open(self.context.project, artifact)
        self.decisions.load(artifact)
        self.notes.clear()
        self._title.set(artifact.title if artifact.title == artifact.id else f"{artifact.title} ({artifact.id})")
        if not same or filters is not None:
            self.search.set("")
            self.filters.set(filters)
        if not same:
            self.order.set("number")
            self.filters.set_facets({})
            self.pages.reset(0)
            self.model.reset(0)
            self.reading.show_nothing("")
        self.sides.set("documents")
        self._sides.setCurrentIndex(0)
        self._opening = True
        self.clusters.load(artifact)
        self._ask_list()

    def rest(self) -> None:
        """Nobody looks: no process waits for questions."""
        self._settle.stop()
        self._count_soon.stop()
        self.clusters.rest()
        self.desk.rest()

    def _side(self, side: Any) -> None:
        focus = QApplication.focusWidget()
        inside = focus is not None and self._sides.isAncestorOf(focus)
        self._sides.setCurrentIndex(0 if side == "documents" else 1)
        if inside:  # it would go on to whatever comes next
            (self.list if side == "documents" else self.clusters.table).setFocus(Qt.FocusReason.MouseFocusReason)
        if side == "clusters":
            self.clusters.opened()

    def _show_side(self, side: str) -> None:
        self.sides.set(side)
        self._side(side)

    def open_cluster(self, number: Any) -> None:
        """The members of one group, side by side."""
        if number is not None and int(number) >= 0:
            self._show_side("clusters")
            self.clusters.open_cluster(int(number))

    def _compare(self) -> None:
        if self._read is not None:
            self.open_cluster(self._read.get("cluster"))

    # the list ---------------------------------------------------------------------------------------------------------

    def _search_now(self) -> None:
        self._ask_list()
        if self._states.currentWidget() is self.list:
            self.list.setFocus(Qt.FocusReason.OtherFocusReason)

    def _to_search(self) -> None:
        self.search.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.search.selectAll()

    def _ask_list(self) -> None:
        self._settle.stop()
        if self._artifact is None:
            return
        self._wanted = {"search": self.search.value().strip(), "filters": self.filters.value(), "order": self.order.value()}
        asked = dict(self._wanted)
        self._count.set(tr("Looking …"))
        self.desk.browse(asked, 0, PAGE, lambda answer: self._list_came(asked, answer), self._list_failed)

    def _list_came(self, asked: dict[str, Any], answer: Mapping[str, Any]) -> None:
        rows, kept = list(rows_of(answer)), self._read["number"] if self._read is not None else None
        same_search = self._shown_wanted.get("search") == asked["search"]
        self._shown_wanted, self._exact = asked, bool(answer.get("exact", True))
        self.notes.clear()
        self.model.reset(int(answer["total"]), rows)
        self._count_soon.start()
        if not rows:
            self._states.setCurrentWidget(self.blank)
            self.blank.nothing_found(asked["search"], asked["filters"], self._show_all)
            self._read = None
            self.reading.show_nothing("")
            self._show_count()
            return
        self._states.setCurrentWidget(self.list)
        if self._opening and not self.search.hasFocus():
            self.list.setFocus(Qt.FocusReason.MouseFocusReason)  # its keys work at once; no ring before a key is pressed
        self._opening = False
        if not same_search:
            self._read = None  # the same document again, with what was searched for now marked
        self.list.choose(next((i for i, r in enumerate(rows) if r["number"] == kept), 0))
        self._show_count()

    _exact, _opening = True, False

    def _list_failed(self, wrong: FledgeError) -> None:
        self._read = None
        if wrong.code == "no_index":
            self._states.setCurrentWidget(self.building)
            self._count.set("")
            self.reading.show_nothing("")
            self.desk.build_index()
            return
        self.model.reset(0)
        self._count.set("")
        self.reading.show_nothing("")
        self._states.setCurrentWidget(self.blank)
        self.blank.set("error", wrong.sentence, wrong.remedy, Button(self.theme, tr("Try again"), on_click=self._ask_list))

    def _index_changed(self, state: Mapping[str, Any]) -> None:
        self.building.set(state)
        if state["state"] == "ready" and self._states.currentWidget() is self.building:
            self._ask_list()

    def _show_all(self) -> None:
        self.search.set("")
        self.filters.set({})
        self._ask_list()

    def _only(self, name: str, value: Any) -> None:
        self.search.set("")
        self.filters.set({})
        self.filters.put(name, value)

    def _ask_page(self, start: int, count: int, then: Any, failed: Any) -> None:
        self.desk.browse(self._shown_wanted, start, count, lambda answer: then(rows_of(answer)), failed, key=f"page {start // PAGE}")

    def _rows_came(self, first: int, last: int) -> None:
        self.list.arrived(first, last)
        if first <= self._place <= last and self._read is None:
            self._chosen(self._place)

    def _page_failed(self, wrong: Exception) -> None:
        if isinstance(wrong, FledgeError):
            self.notes.show_error(wrong, Button(self.theme, tr("Try again"), on_click=self._ask_list))

    def _ask_facets(self) -> None:
        self.desk.facets(self._shown_wanted, self.filters.set_facets, lambda wrong: None)

    def _show_count(self) -> None:
        chosen, total = self.list.chosen_count(), self.pages.total
        many = chosen > 1
        show_if(self._bulk_exclude, many)
        show_if(self._bulk_restore, many)
        if many:
            self._count.set(tr("{count} chosen", count=units.number(chosen)))
        elif self._exact:
            self._count.set(trn("{count} document", "{count} documents", total) if total else "")
        else:
            self._count.set(trn("about {count} document", "about {count} documents", total))

    # the document -----------------------------------------------------------------------------------------------------

    def _chosen(self, place: int) -> None:
        self._place = place
        shown = self.pages.row(place)
        if shown is None:
            self._read = None
            self.pages.want(place, place)
            return
        if self._read is not None and self._read["number"] == shown["number"]:
            return
        self._read, self._characters = shown, FIRST_CHARACTERS
        self.reading.show_row(shown, place, self.pages.total)
        self._ask_document()

    def read_number(self, number: Any) -> None:
        """Read a document that need not be in the list."""
        self._show_side("documents")
        self._characters = FIRST_CHARACTERS
        self.desk.document(int(number), self._shown_wanted.get("search", ""), self._characters, self._other_came, self._document_failed)

    def _other_came(self, answer: Mapping[str, Any]) -> None:
        place = next((i for i in range(*self.list.visible()) if (r := self.pages.row(i)) and r["number"] == answer["row"]["number"]), -1)
        self._read = dict(answer["row"])
        self.reading.show_row(self._read, place, self.pages.total)
        if place < 0:
            self.reading.allow_steps(self._place > 0, self._place < self.pages.total - 1)
        self._document_came(answer)

    def _ask_document(self) -> None:
        assert self._read is not None
        self.desk.document(self._read["number"], self._shown_wanted["search"], self._characters, self._document_came, self._document_failed)

    def _document_came(self, answer: Mapping[str, Any]) -> None:
        number, stayed = answer["row"]["number"], answer["row"].get("duplicate_of")
        self.reading.show_document(answer)
        if stayed is not None and stayed >= 0:
            self.desk.source_of(int(stayed), lambda source: self.reading.set_other(number, source))

    def _document_failed(self, wrong: FledgeError) -> None:
        self.reading.show_error(wrong, Button(self.theme, tr("Try again"), on_click=self._ask_document))

    def _more(self) -> None:
        self._characters *= MORE
        self._ask_document()

    def _step(self, by: int) -> None:
        if self.pages.total:
            self.list.choose(max(0, min(self.pages.total - 1, self._place + by)))

    # decisions --------------------------------------------------------------------------------------------------------

    def _decide(self, keep: bool) -> None:
        """Exclude or restore: the chosen rows if they are several, else the document that is read."""
        act = self.decisions.restore if keep else self.decisions.exclude
        count = self.list.chosen_count()

        def decide(chosen: bulk.Chosen) -> None:
            act(chosen, lambda changed: self._told(changed, keep))
        if count > 1:
            self._count.set(tr("Deciding …"))
        if count > 1 and self.list.everything:
            bulk.everything(self.desk, self._shown_wanted, decide, self.notes.show_error)
        elif count > 1:
            bulk.ranges(self.desk, self.pages, self._shown_wanted, self.list.ranges(), decide, self.notes.show_error)
        elif self._read is not None:
            act([bulk.of_row(self._read)])

    def _told(self, changed: int, keep: bool) -> None:
        self._show_count()
        words = trn("{count} document restored", "{count} documents restored", changed) if keep else \
            trn("{count} document excluded", "{count} documents excluded", changed)
        self.context.toast(words, tr("Undo") if changed else "", self.decisions.undo if changed else None)

    def _stepped_back(self, documents: int, undone: bool) -> None:
        """Undo and redo say what they did: the document may be far off the screen."""
        self.context.toast(trn("{count} decision undone", "{count} decisions undone", documents) if undone else
                           trn("{count} decision made again", "{count} decisions made again", documents))

    def _label(self, harmful: bool) -> None:
        """Harmful or harmless; again takes it back. A word given by the list goes on to the next one."""
        shown = self._read
        if shown is None or not self.reading.takes_label:
            return
        again = self.decisions.label_of(shown["id"]) is harmful
        self.decisions.label(shown["id"], None if again else harmful, kind=str(shown.get("harm_kind") or ""), text=self.reading.text())
        if not again:
            self._step(1)

    def _decided(self) -> None:
        assert self._artifact is not None
        self.pending.set(self.decisions.pending, self._artifact.title)
        self.undo.setEnabled(self.decisions.can_undo)
        self.redo.setEnabled(self.decisions.can_redo)
        self.reading.refresh()
        self.list.viewport().update()
        self.clusters.refresh()
        self._count_soon.start()
        if "decided" in self._shown_wanted.get("filters", {}):
            self._settle.start()

    # its shape --------------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        beside = self.width() >= self.theme.px(BESIDE)
        wanted = Qt.Orientation.Horizontal if beside else Qt.Orientation.Vertical
        if self._split.orientation() != wanted:
            self._split.setOrientation(wanted)

    def hideEvent(self, event: QEvent) -> None:  # type: ignore[override]
        super().hideEvent(event)  # type: ignore[arg-type]
        self.notes.clear()
