"""A page over the sets of one kind in the library: views of which one is on the screen, what is done with a set, files that are dropped,
rows of a run taken in while it goes on. What the views are and what their buttons do is the page's own."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QTimer, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QWidget

from desktop.widgets.buttons import Button
from desktop.widgets.flow_strip import FlowStrip
from desktop.widgets.layout import Item, col, show_if
from desktop.widgets.notes import Note, NoteSlot
from desktop.widgets.page import Page
from desktop.widgets.page_header import PageHeader
from desktop.widgets.question import ask_delete, ask_name
from desktop.widgets.rows_import import RowsImport
from engine.contract.errors import FledgeError
from engine.contract.words import tr

if TYPE_CHECKING:
    from desktop.context import AppContext
    from desktop.models.survey import RunGlance

INGEST_MS = 3000


class SetsPage(Page):
    """A page puts its views into `_places` and calls `frame` once.

    VIEWS   "start" (all sets), "import" and others
    HEADED  those under the page's own header and flow strip
    RUN     the one of a run under way
    """

    VIEWS: tuple[str, ...]
    HEADED: tuple[str, ...]
    RUN: str
    bring: RowsImport

    def __init__(self, context: "AppContext", title: str, sentence: str) -> None:
        super().__init__(context)
        assert context.project is not None
        self.project = context.project
        self.title, self.sentence = title, sentence
        self.setAcceptDrops(True)
        self._view = ""
        self._sets: list[Any] | None = None
        self._header, self._flow, self._notes = PageHeader(title, sentence), FlowStrip(self.theme), NoteSlot(self.theme)
        self._notes.layout().setContentsMargins(0, 0, 0, 12)
        self._places = {view: col(gap=0) for view in self.VIEWS}
        self._ingest = QTimer(self)
        self._ingest.setInterval(INGEST_MS)
        self._ingest.timeout.connect(self.ingest)
        self._ingesting = False

    def frame(self, head: QWidget, hidden: Sequence[QWidget]) -> None:
        """The views below their head; they and the `hidden` parts are shown when their time comes."""
        self._head = head
        self.set_body(head, *((place, 1) for place in self._places.values()))
        for place in (*self._places.values(), *hidden):
            place.hide()

    # sets -------------------------------------------------------------------------------------------------------------

    @property
    def library(self) -> Any:
        """Where the sets are: it has `sets`, `rename_set` and `delete_set`."""
        raise NotImplementedError

    def read_sets(self) -> None:
        """The sets of the library, with rows that runs have left taken in first."""
        raise NotImplementedError

    def _failed(self, wrong: Exception) -> None:
        if not isinstance(wrong, FledgeError):
            raise wrong
        self._sets = self._sets or []
        if self._view in ("", "start"):
            self._show("start")
        self._notes.show_error(wrong, Button(self.theme, tr("Try again"), on_click=lambda: self.read_sets()))

    def rename(self, chosen: Any) -> None:
        ask_name(self.theme, tr("Another name"), chosen.title,
                 lambda name: self._change(lambda: self.library.rename_set(chosen.id, name)), self)

    def delete(self, chosen: Any, words: str) -> None:
        """`words` say what goes with the set."""
        def gone(_: Any) -> None:
            self.context.toast(tr("“{title}” is deleted", title=chosen.title))
            self.read_sets()
        ask_delete(self.theme, tr("Delete “{title}”?", title=chosen.title), words,
                   lambda: self._change(lambda: self.library.delete_set(chosen.id), gone), self)

    def _change(self, work: Callable[[], Any], then: Callable[[Any], object] | None = None) -> None:
        self.context.jobs.run(work, then=then or (lambda _: self.read_sets()), failed=self._failed, owner=self)

    # the run under way ------------------------------------------------------------------------------------------------

    def run_under_way(self) -> str:
        """The run whose rows come into the library, "" where there is none."""
        raise NotImplementedError

    def ingest(self) -> None:
        """Take what the run under way has written into the library, in a thread."""
        project, id = self.project, self.run_under_way()
        if not id or self._ingesting:
            return
        self._ingesting = True

        def work() -> int:
            from engine.project.ingest import ingest_run
            return ingest_run(project, id)

        def done(_: int) -> None:
            self._ingesting = False

        def failed(wrong: Exception) -> None:
            self._ingesting = False
            self._ingest_failed(wrong)
        self.context.jobs.run(work, then=done, failed=failed, owner=self)

    def _ingest_failed(self, wrong: Exception) -> None:
        self._failed(wrong)

    def _name_ended(self, run: "RunGlance", why: str, look: Button) -> None:
        """A run that ended early and can go on is named above the sets."""
        words = {"paused": tr("Run {number} is paused", number=run.number),
                 "interrupted": tr("Run {number} was interrupted", number=run.number),
                 "stopped": tr("Run {number} was stopped", number=run.number)}
        kept = tr("{title}: what came is kept, and it can go on from there.", title=run.title)
        self._notes.show_note(Note(self.theme, "info" if run.status in ("paused", "stopped") else "warn",
                                   words.get(run.status, tr("Run {number} ended early", number=run.number)),
                                   f"{run.title}: {why}" if why else kept, look))

    # which view -------------------------------------------------------------------------------------------------------

    def _show(self, view: str) -> None:
        raise NotImplementedError

    def _actions(self, view: str) -> tuple[Item, ...]:
        raise NotImplementedError

    def _put(self, view: str, fresh: bool) -> None:
        """A view on the screen; `fresh`: another one than before, so that header and notes begin anew."""
        if fresh:
            self._notes.clear()
            self._header.set(self.title, self.sentence)
            self._header.set_actions(*self._actions(view))
            self.scroll.verticalScrollBar().setValue(0)
        show_if(self._head, view in self.HEADED)
        for name, place in self._places.items():
            show_if(place, name == view)
        if view != "import":
            self.bring.rest()
        self._ingest.start() if view == self.RUN else self._ingest.stop()

    # files ------------------------------------------------------------------------------------------------------------

    def take(self, names: list[str]) -> None:
        """Files that were dropped or chosen."""
        if names and self._view != self.RUN:
            again = self._view == "import"
            self.bring.look(names)
            self._show("import")
            if again:
                self._header.set_actions(*self._actions("import"))

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls() and self._view in ("start", "import", ""):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        self.take([QUrl(u).toLocalFile() for u in event.mimeData().urls() if QUrl(u).isLocalFile()])
        event.acceptProposedAction()
