"""All pairs of the sets that are labelled, by what was said of them: to do, skipped, done, flagged. A row opens as a card, where what was
said can be said anew. A page at a time is read, in a thread, so that a million pairs are no more work than a hundred."""

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QWidget

from desktop.context import AppContext
from desktop.models.label_desk import author_of
from desktop.models.label_words import said_words
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.empty_state import EmptyState
from desktop.widgets.fields import Choice, SearchField
from desktop.widgets.layout import clear, col, row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.panel import Panel
from desktop.widgets.run_panel import clock
from desktop.widgets.table import Cell, Column, Table
from desktop.widgets.text import small
from engine.contract.errors import FledgeError
from engine.contract.units import number
from engine.contract.words import tr
from engine.project.label_queues import Progress, QueueRow

PAGE = 100
TYPING_MS = 250
QUEUES = ("todo", "skipped", "done", "flagged", "given")
ORDERS = (("order", tr("As they came")), ("unsure", tr("Least sure first")), ("random", tr("Mixed")), ("latest", tr("Latest first")))
LATEST = ("skipped", "done", "flagged")


def queue_words(queue: str) -> str:
    return {"todo": tr("To do"), "skipped": tr("Skipped"), "done": tr("Done"), "flagged": tr("Flagged"),
            "given": tr("Came labelled")}[queue]


def one_line(words: str, most: int = 240) -> str:
    return " ".join(words[:2 * most].split())[:most]


def asked(shown: QueueRow) -> str:
    return one_line(next((m.content for m in reversed(shown.pair.prompt) if m.role == "user"), ""))


class QueueView(QWidget):
    """`load(sets, order)`; `pair_wanted(id)`: a row was opened; `label_wanted`: begin with what is to do."""

    pair_wanted = Signal(str)
    label_wanted = Signal()

    def __init__(self, context: AppContext) -> None:
        super().__init__()
        self.context, self.theme, theme = context, context.theme, context.theme
        self.sets: tuple[str, ...] = ()
        self.author = ""
        self.page, self._asked, self._more = 0, 0, False
        self.progress: Progress | None = None
        self.notes = NoteSlot(theme)
        self.queue = Segments(theme, [(q, queue_words(q)) for q in QUEUES], "todo", name=tr("Which pairs"),
                              on_change=lambda _: self._again())
        self.search = SearchField(tr("Search prompts and answers"))
        self.search.setMinimumWidth(theme.px(200))
        self.order = Choice(theme, ORDERS[:3], "order", name=tr("Order"))
        self.order.setMinimumWidth(theme.px(156))
        self.order.changed.connect(self._again)
        self._typing = QTimer(self)
        self._typing.setSingleShot(True)
        self._typing.setInterval(TYPING_MS)
        self._typing.timeout.connect(self._again)
        self.search.changed.connect(self._typing.start)
        self.table = Table(theme, [
            Column(tr("Prompt"), lambda r: Cell(asked(r), note=one_line(r.pair.first.text), strong=True), least=220),
            Column(tr("What was said"), self._said, 196),
            Column(tr("Comment"), lambda r: Cell(r.label.comment if r.label is not None else "", tone="text2"), 150, drop=2),
            Column(tr("When"), lambda r: clock(r.label.made) if r.label is not None and r.label.made else "", 116, right=True, drop=1),
        ], name=tr("Pairs"), two_lines=True)
        self.table.opened.connect(lambda r: self.pair_wanted.emit(r.pair.id))
        self._count = small()
        self.open_button = Button(theme, tr("Open as a card"), icon="pairs", on_click=self._open)
        self.before = Button(theme, "", "icon", icon="left", name=tr("The page before"), on_click=lambda: self._turn(-1))
        self.after = Button(theme, "", "icon", icon="right", name=tr("The next page"), on_click=lambda: self._turn(1))
        self._empty = col(gap=0)
        self._panel = Panel((self.table, 1), row(self._count, "+", self.open_button, 4, self.before, self.after, gap=8, pad=(12, 4, 8, 4)),
                            pad=(8, 4, 8, 6), gap=2)
        col(row(self.queue, "+", self.order, self.search, gap=10), self.notes, (self._panel, 1), (self._empty, 1), gap=12, host=self)
        show_if(self._empty, False)

    # showing ----------------------------------------------------------------------------------------------------------

    def load(self, sets: Sequence[str], order: str = "order") -> None:
        """The lists of these sets; the one that was looked at stays."""
        fresh = tuple(sets) != self.sets
        self.sets, self.author = tuple(sets), author_of(self.context)
        if fresh:
            self.queue.set("todo")
            self.search.set("")
            self.order.set(order if order in dict(ORDERS[:3]) else "order")
            self.page = 0
        self.notes.clear()
        self._ask()

    def _again(self) -> None:
        self.page = 0
        queue = str(self.queue.value())
        choices = ORDERS if queue in LATEST else ORDERS[:3]
        if self.order._values != [v for v, _ in choices]:
            kept = self.order.value()
            self.order.set_choices(choices)
            self.order.set(kept if kept in dict(choices) else "order")
        self._ask()

    def _turn(self, by: int) -> None:
        self.page = max(0, self.page + by)
        self._ask()

    def _ask(self) -> None:
        project = self.context.project
        assert project is not None
        self._asked += 1
        number_asked, sets, author, queue, page = self._asked, self.sets, self.author, str(self.queue.value()), self.page
        order, search, pairs = str(self.order.value() or "order"), self.search.value().strip(), project.library.pairs

        def read() -> tuple[list[QueueRow], Progress]:
            return pairs.queue(sets, queue, author, order, page * PAGE, PAGE + 1, search), pairs.progress(sets, author)

        def came(found: tuple[list[QueueRow], Progress]) -> None:
            if number_asked == self._asked:
                self._show(*found)

        def wrong(error: Exception) -> None:
            if not isinstance(error, FledgeError):
                raise error
            if number_asked == self._asked:
                self.notes.show_error(error, Button(self.theme, tr("Try again"), on_click=self._ask))
        self.context.jobs.run(read, then=came, failed=wrong, owner=self)

    def _show(self, rows: list[QueueRow], progress: Progress) -> None:
        self.progress, self._more = progress, len(rows) > PAGE
        rows = rows[:PAGE]
        if not rows and self.page:  # what was there went meanwhile
            self._turn(-1)
            return
        counts = {"todo": progress.todo, "skipped": progress.skipped, "done": progress.done, "flagged": progress.flagged,
                  "given": progress.given}
        for place, queue in enumerate(QUEUES):
            self.queue._group.button(place).setText(f"{queue_words(queue)} {number(counts[queue])}")
        queue = str(self.queue.value())
        self.table.set_rows(rows)
        if rows:
            self.table.select(0)
        first = self.page * PAGE
        total = counts[queue]
        searching = bool(self.search.value().strip())
        self._count.set(tr("{first} to {last}", first=number(first + 1), last=number(first + len(rows))) +
                        ("" if searching else " " + tr("of {total}", total=number(total))) if rows else "")
        self.before.setEnabled(self.page > 0)
        self.after.setEnabled(self._more)
        show_if(self._panel, bool(rows))
        show_if(self._empty, not rows)
        if not rows:
            self._show_empty(queue, searching)

    def _show_empty(self, queue: str, searching: bool) -> None:
        theme = self.theme
        clear(self._empty.layout())
        words: dict[str, tuple[str, str]] = {
            "todo": (tr("Nothing is left to do"), tr("Every pair of this set is labelled or skipped.")),
            "skipped": (tr("Nothing was skipped"), tr("Pairs that you skip wait here.")),
            "done": (tr("Nothing is labelled yet"), tr("What you say of a pair stands here, and can be changed.")),
            "flagged": (tr("Nothing is flagged"), tr("Flag a pair while you label, and find it here again.")),
            "given": (tr("None came with a label"),
                      tr("Pairs of files, of the judge and of votes that say already which answer is better."))}
        title, said = (tr("No pair fits"), tr("Search for fewer words, or look in another list.")) if searching else words[queue]
        button = Button(theme, tr("Show all"), on_click=lambda: self.search.setText("")) if searching else \
            Button(theme, tr("Label"), "primary", icon="pairs", on_click=self.label_wanted.emit) if queue != "todo" else None
        self._empty.layout().addWidget(EmptyState(theme, title, said, *([button] if button is not None else [])))

    def _said(self, shown: QueueRow) -> Cell:
        label, flag = shown.label, tr("flagged") if shown.flagged else ""
        if label is None or not label.choice:
            best = shown.pair.facts.get("best")
            if label is None and best:
                words = {"first": tr("first is better"), "second": tr("second is better"), "tie": tr("tie"), "bad": tr("both bad")}
                return Cell(words.get(str(best), str(best)), note=str(shown.pair.facts.get("by") or ""), tone="text2")
            return Cell(flag, icon="flag" if flag else "", tone="warn" if flag else "text2")
        return Cell(said_words(label), note=flag, icon="flag" if flag else "check" if label.choice != "skip" else "",
                    tone="warn" if flag else "")

    def _open(self) -> None:
        shown: Any = self.table.current_row()
        if shown is not None:
            self.pair_wanted.emit(shown.pair.id)


