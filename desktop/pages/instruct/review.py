"""The review of examples: a table of all that fit a filter, a card for one at a time, decisions, edits, comments, undo; by mouse or keys.

It wires: rows come through models/example_list.py, steps go through models/example_desk.py, passages and differences are asked of a process
of the engine, and the parts show what comes back. What is said to be so is on the disk.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from PySide6.QtCore import QEvent, Qt, QTimer
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QApplication, QWidget

from desktop.context import AppContext
from desktop.jobs.bench import Bench
from desktop.models.example_desk import ExampleDesk
from desktop.models.example_keys import SETTING, Keys, actions
from desktop.models.example_list import ExampleList
from desktop.models.example_words import PERSON, Line, as_text, event_words, status_words, who_words
from desktop.models.instruct_words import score_words
from desktop.pages.instruct.review_card import Card, Writing
from desktop.pages.instruct.review_filters import Filters
from desktop.pages.instruct.review_keys import HintLine, KeysOfReview
from desktop.pages.instruct.review_parts import Blank, Decide, Many, Progress, Shown, button_row
from desktop.pages.instruct.review_side import Side
from desktop.pages.instruct.review_table import ExampleTable
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.columns import Columns
from desktop.widgets.fields import Choice
from desktop.widgets.layout import col, fixed, row, show_if
from desktop.widgets.notes import NoteSlot
from desktop.widgets.page_header import PageHeader
from desktop.widgets.panel import Panel
from desktop.widgets.run_panel import clock
from engine.contract.errors import FledgeError
from engine.contract.rows import Example, Message
from engine.contract.units import number
from engine.contract.words import tr, trn
from engine.project.examples import ExampleChange, ExampleFilter, ExampleRow

PROBE = "engine.text.probe"
LIMIT_SECONDS = 60.0
SIDE = 288
SETTLE_MS = 60
"""A card that is only passed by asks for no passage and no history."""
VIEW = "review.view"


class ReviewView(QWidget):
    """`load(set_ids, **filters)` shows their examples (names of ExampleFilter; `id` opens one as a card); `rest()` when nobody looks."""

    def __init__(self, context: AppContext, *, on_back: Callable[[], object]) -> None:
        super().__init__()
        self.context, self.theme, self._on_back = context, context.theme, on_back
        self.desk, self.listed = ExampleDesk(context, self), ExampleList(context, self)
        self.bench = Bench(PROBE, self, retry=tr("Try again."), limit=LIMIT_SECONDS)
        kept = context.settings.get(SETTING)
        self.keys = Keys(kept if isinstance(kept, dict) else None)
        self._at, self._skipped, self._wanted_id = -1, set[str](), ""
        self._places: dict[str, int] = {}
        self._waiting: list[str] = []
        self._acting = False
        self._asked: tuple[ExampleFilter, str] | None = None
        self._busy_words = ""
        self._shortcuts: list[QShortcut] = []
        self._build()
        self._wire()
        self._show_keys()

    # its parts --------------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        theme = self.theme
        self.undo_button = Button(theme, "", "icon", icon="undo", name=tr("Undo the last step (Ctrl+Z)"), on_click=self.undo)
        self.redo_button = Button(theme, "", "icon", icon="redo", name=tr("Redo (Ctrl+Shift+Z)"), on_click=self.redo)
        keys = Button(theme, "", "icon", icon="keyboard", name=tr("All keys"), on_click=self.show_keys)
        self.views = Segments(theme, [("table", tr("Table")), ("card", tr("Card"))], "table", name=tr("View"), on_change=self.show_view)
        back = Button(theme, tr("All sets"), icon="left", on_click=self._back)
        self.write_button = Button(theme, tr("Write an example"), icon="plus", on_click=self.write)
        self.header = PageHeader("", tr("Accept, edit or leave out each row. Every step is saved, and can be undone."), self.undo_button,
                                 self.redo_button, keys, 4, self.views, back, self.write_button)
        self.progress, self.filters, self.notes = Progress(theme), Filters(theme), NoteSlot(theme)
        self.table, self.many = ExampleTable(theme, self.listed), Many(theme)
        table_panel = Panel(fixed(row((self.many, 1), pad=(12, 0, 12, 0)), height=theme.px(30)), (self.table, 1), gap=2, pad=(1, 4, 1, 4))
        self.card, self.side, self.decide = Card(theme), Side(theme), Decide(theme)
        self.card.setMinimumHeight(theme.px(240))
        self._cards = Columns(theme, col((self.card, 1), self.decide, gap=12), self.side, side_width=SIDE, gap=12, room=480)
        self.into = Choice(theme, [], name=tr("Set"))
        self.into.setMinimumWidth(theme.px(200))
        self.writing = Writing(theme, self.into)
        self.blank = Blank(theme)
        self._places_of = Shown()
        for part in (table_panel, self._cards, self.writing, self.blank):
            self._places_of.addWidget(part)
        self._table_panel = table_panel
        self.hints = HintLine(theme)
        self._work = col((self._places_of, 1), self.hints, gap=8)
        col(self.header, 12, self.progress, 10, self.filters, 10, self.notes, (self._work, 1), gap=0, host=self)
        self.notes.layout().setContentsMargins(0, 0, 0, 10)
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._settle.timeout.connect(self._ask_about)

    def _wire(self) -> None:
        self.filters.changed.connect(self._ask)
        self.listed.after_reset.connect(self._list_came)
        self.listed.counted.connect(self._show_count)
        self.listed.arrived.connect(self._lines_came)
        self.listed.failed.connect(self._list_failed)
        self.table.moved.connect(self._moved)
        self.table.opened.connect(lambda line: self.show_view("card") if line is not None else None)
        self.table.selection_changed.connect(self._show_count)
        self.table.model_of_list.order_wanted.connect(self.filters.set_order)
        self.many.wanted.connect(self.decide_many)
        self.many.all_wanted.connect(self._choose_all)
        self.many.one_wanted.connect(self.table.choose_one)
        self.decide.wanted.connect(self.act)
        self.card.edited.connect(self._edited)
        self.card.beside_wanted.connect(self.loser_beside)
        self.card.draft_left.connect(self._draft_left)
        self.side.commented.connect(self._commented)
        self.side.look_wanted.connect(self._look_back)
        self.writing.saved.connect(self._written)
        self.writing.left.connect(self._stop_writing)
        self.desk.changed.connect(self._counts_changed)
        self.desk.failed.connect(self._step_failed)
        for keys, act in (("Ctrl+Z", self.undo), ("Ctrl+Shift+Z", self.redo), ("Ctrl+Y", self.redo)):
            self._shortcut(keys, act, self)
        self._shortcut("Ctrl+F", lambda: self.act("search"), self)

    def _shortcut(self, keys: str, act: Callable[[], object], host: QWidget) -> QShortcut:
        made = QShortcut(QKeySequence(keys), host, context=Qt.ShortcutContext.WidgetWithChildrenShortcut)
        made.activated.connect(lambda: act())
        return made

    def _show_keys(self) -> None:
        """Make the shortcuts as the person has them, and show them."""
        for old in self._shortcuts:
            old.setEnabled(False)
            old.deleteLater()
        # Of the rows only: letters typed among the filters choose there.
        self._shortcuts = [self._shortcut(key, lambda id=action.id: self.act(id), self._work)
                           for action in actions() if (key := self.keys.key(action.id))]
        self.hints.set(self.keys)
        self.decide.set_keys(self.keys)

    def show_keys(self) -> None:
        """All keys, to look at and to change."""
        def changed() -> None:
            self.context.remember(SETTING, self.keys.kept())
            self._show_keys()
        KeysOfReview(self.theme, self.keys, changed, self.window()).open()

    # coming and going -------------------------------------------------------------------------------------------------

    def load(self, set_ids: Sequence[str], **filters: Any) -> None:
        """Show the examples of these sets (of all where none is named). Without a state in `filters` what is to be reviewed comes first."""
        assert self.context.project is not None
        wanted_id = str(filters.pop("id", ""))
        project, given = self.context.project, ExampleFilter(sets=tuple(set_ids), **filters)
        self.listed.open(project)
        self.notes.clear()
        self._skipped, self._places, self._waiting, self._acting = set(), {}, [], False
        self._wanted_id, self._at, self._asked = wanted_id, -1, None
        self.card.row = None
        self.filters.set_facets({}, {})

        def opened(_: Any) -> None:
            new, accepted, rejected = self.desk.counts(set_ids)
            show_new = "status" not in filters and new > 0 and not wanted_id
            self.filters.set_sets(self.desk.sets)
            self.filters.set(replace(given, status="new") if show_new else given)
            self._name(set_ids)
            view = "card" if wanted_id else str(self.context.settings.get(VIEW, "table"))
            self.views.set(view if view in ("table", "card") else "table")
            self._ask()
            self._read_facets()
        self.desk.open(project, opened)

    def rest(self) -> None:
        """Nobody looks: what was being written is saved, no process waits."""
        self.side.flush()
        if self.card.changed:
            self.card.save()
        self._settle.stop()
        self.bench.stop()

    def _back(self) -> None:
        self.rest()
        self._on_back()

    def _name(self, set_ids: Sequence[str]) -> None:
        chosen = [s for s in self.desk.sets if s.id in set_ids]
        title = chosen[0].title if len(chosen) == 1 else trn("{count} set", "{count} sets", len(chosen)) if chosen else tr("All sets")
        self.header.set(title, tr("Accept, edit or leave out each row. Every step is saved, and can be undone."))

    # the list ---------------------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        """Another filter or order: the list from its beginning."""
        asked = self.filters.value(), self.filters.order()
        if asked == self._asked:
            return
        sets_differ = self._asked is not None and self._asked[0].sets != asked[0].sets
        self._leave_row()
        self._asked = asked
        self.table.show_order(asked[1])
        self._at = -1
        self._busy_words = tr("Looking …")
        self._show_count()
        if sets_differ:
            self._name(asked[0].sets)
            self._counts_changed()
            self._read_facets()
        self.listed.ask(*asked)

    def _read_facets(self) -> None:
        self.desk.facets(self.filters.value().sets, self.filters.set_facets)

    def _list_came(self) -> None:
        self._busy_words = ""
        self.notes.clear()
        self._show_count()
        if not self.listed.total:
            self._show_blank()
            return
        here = self.card.row.example.id if self.card.row is not None else ""
        wanted = self._wanted_id or here
        place = self.listed.place_of(wanted, max(0, self._at)) if wanted else -1
        self._wanted_id = ""
        if place < 0:
            place = max(0, min(self._at, self.listed.total - 1))
        had_focus = self._inside()
        self._to_view()
        self._go_to(place, again=True)
        if had_focus:
            self._take_focus()

    def _inside(self) -> bool:
        """Whether the keys should work at once: nobody types a search, or walks through the filters by keyboard."""
        focus = QApplication.focusWidget()
        return focus is None or not self.filters.isAncestorOf(focus) or getattr(focus, "ring", True) is False

    def _list_failed(self, wrong: FledgeError) -> None:
        self._busy_words = ""
        self._asked = None
        self.blank.set("error", "danger", wrong.sentence, wrong.remedy,
                       *button_row(self.theme, (tr("Try again"), "secondary", self._ask), (tr("All sets"), "secondary", self._back)))
        self._places_of.setCurrentWidget(self.blank)
        show_if(self.hints, False)

    def _lines_came(self, first: int, last: int) -> None:
        if first <= self._at <= last and self._needs_line():
            self._go_to(self._at, again=True)

    def _needs_line(self) -> bool:
        line = self.listed.line(self._at)
        return line is not None and (self.card.row is None or self.card.row.example.id != line.id)

    def _show_count(self) -> None:
        self.many.set(self.listed.total, self.table.chosen_count(), self.listed.exact, self._busy_words)

    def _show_blank(self) -> None:
        new, accepted, rejected = self.desk.counts(self.filters.value().sets)
        filter, theme = self.filters.value(), self.theme
        show_all = (tr("Show all"), "secondary", self.filters.clear)
        back, write = (tr("All sets"), "secondary", self._back), (tr("Write an example"), "primary", self.write)
        if not new + accepted + rejected:
            self.blank.set("pairs", "text3", tr("No examples here yet"),
                           tr("Write one by hand, import a file, or let a local model write some."), *button_row(theme, write, back))
        elif filter.status == "new" and not self.filters.narrows:
            self.blank.set("check", "ok", tr("All of it is looked through"),
                           tr("{accepted} accepted, {rejected} set aside.", accepted=number(accepted), rejected=number(rejected)),
                           *button_row(theme, (tr("All sets"), "primary", self._back), show_all))
        else:
            self.blank.set("search", "text3", tr("No example fits"), tr("Take a filter away, or search for fewer words."),
                           *button_row(theme, show_all))
        self.card.row = None
        self._at = -1
        had_focus = self._inside()
        self._places_of.setCurrentWidget(self.blank)
        show_if(self.hints, False)
        if had_focus:
            self.blank.setFocus(Qt.FocusReason.MouseFocusReason)

    # table and card ---------------------------------------------------------------------------------------------------

    @property
    def view(self) -> str:
        return str(self.views.value())

    def show_view(self, view: Any) -> None:
        """Table or card, at the same example."""
        self._leave_row()
        self.views.set(str(view))
        self.context.remember(VIEW, str(view))
        if self.listed.total:
            self._to_view()
            self._go_to(max(0, self._at), again=True)
            self._take_focus()

    def _to_view(self) -> None:
        self._places_of.setCurrentWidget(self._table_panel if self.view == "table" else self._cards)
        show_if(self.hints, True)

    def _take_focus(self) -> None:
        (self.table if self.view == "table" else self.card).setFocus(Qt.FocusReason.MouseFocusReason)

    def _moved(self, place: int) -> None:
        if self._places_of.currentWidget() is self._table_panel and place != self._at:
            self._at = place

    def _go_to(self, place: int, again: bool = False) -> None:
        """Make this place the current one, in table and card."""
        if not 0 <= place < self.listed.total or (place == self._at and not again):
            return
        if place != self._at:
            self._leave_row()
        self._at = place
        line = self.listed.line(place)
        if self.view == "table":
            self.table.choose(place)
            return
        if line is None:
            self.listed.want(place, place)
            return
        self._show(line)
        if self.listed.line(place + 1) is None and place + 1 < self.listed.total:
            self.listed.want(place, place + 1)

    def _show(self, line: Line) -> None:
        new = self.card.row is None or self.card.row.example.id != line.id
        self.card.show_row(line.row, self._at, self.listed.total, find=self.filters.value().search)
        self.side.show_row(line.row)
        self.decide.previous.setEnabled(self._at > 0)
        self.decide.next.setEnabled(self._at < self.listed.total - 1)
        if new:
            self._settle.start()
        else:
            self._read_history()

    def _ask_about(self) -> None:
        """What the row itself does not hold."""
        self._read_history()
        shown = self.card.row
        if shown is None or not shown.example.facts.get("quote"):
            return
        facts, id = shown.example.facts, shown.example.id
        corpus = self._corpus_of(shown)
        if not corpus or not facts.get("document"):
            self.side.show_no_passage("" if not facts.get("document") else tr("The corpus it was asked about is no longer here."))
            return
        given = {"corpus": corpus, "document": str(facts["document"]), "quote": str(facts["quote"]),
                 "start": int(facts.get("quote_start", -1)), "end": int(facts.get("quote_end", -1))}

        def came(answer: dict[str, Any]) -> None:
            if self.card.row is not None and self.card.row.example.id == id:
                self.side.show_passage(answer)

        def failed(wrong: FledgeError) -> None:
            if self.card.row is not None and self.card.row.example.id == id:
                self.side.show_no_passage(wrong.sentence)
        self.bench.ask("quoted", given, came, failed)

    def _corpus_of(self, shown: ExampleRow) -> str:
        """The folder of the corpus that a row was asked about: of the run that made its set."""
        project = self.context.project
        assert project is not None
        run = next((s.run for s in self.desk.sets if s.id == shown.set), "")
        if not run:
            return ""
        try:
            return str(project.artifacts.get(str(project.runs.get(run).spec.get("corpus", ""))).path)
        except FledgeError:
            return ""  # deleted meanwhile; the card says so

    def _read_history(self) -> None:
        shown = self.card.row
        if shown is not None:
            id = shown.example.id

            def came(events: Any) -> None:
                if self.card.row is not None and self.card.row.example.id == id:
                    self.side.show_history(events)
            self.desk.history(id, came)

    def _leave_row(self) -> None:
        """Before another row comes: what was written about this one is saved."""
        self.side.flush()
        if self.card.changed:
            self.card.save()
        elif self.card.editing:
            self.card.stop_editing()

    # what the person wants --------------------------------------------------------------------------------------------

    def act(self, action: str) -> None:
        """One action, by its key or its button. Decisions that come while one is saved wait for it, so that each meets its own row."""
        if self._places_of.currentWidget() is self.writing and action not in ("keys",):
            return
        if self._acting and action in ("accept", "reject", "new", "delete", "skip", "next", "previous", "undo", "redo"):
            self._waiting.append(action)
            return
        acts: dict[str, Callable[[], object]] = {
            "previous": lambda: self._step(-1), "next": lambda: self._step(1), "accept": lambda: self._decide("accepted"),
            "reject": lambda: self._decide("rejected"), "new": lambda: self._decide("new"), "skip": self._skip, "edit": self._edit,
            "add_turn": self._add_turn, "comment": self._comment, "beside": self.loser_beside, "written": self._as_written,
            "undo": self.undo, "redo": self.redo, "delete": self._delete, "write": self.write, "keys": self.show_keys,
            "view": lambda: self.show_view("card" if self.view == "table" else "table"), "search": self._to_search}
        acts[action]()

    def _go_on(self) -> None:
        """The step is saved and shown: the next one that waits."""
        self._acting = False
        if self._waiting:
            self.act(self._waiting.pop(0))

    def _step(self, by: int) -> None:
        if self._rows_shown():
            self._go_to(max(0, min(self.listed.total - 1, self._at + by)))

    def _rows_shown(self) -> bool:
        return self._places_of.currentWidget() in (self._table_panel, self._cards)

    def _skip(self) -> None:
        shown = self._current()
        if shown is not None:
            self._skipped.add(shown.example.id)
            self._counts_changed()
            self._step(1)

    def _current(self) -> ExampleRow | None:
        line = self.listed.line(self._at) if self._rows_shown() else None
        return line.row if line is not None else None

    def _decide(self, status: str) -> None:
        """Decide the chosen rows if they are several, else the current one, and go on to the next."""
        if self.view == "table" and self._rows_shown() and self.table.chosen_count() > 1:
            self.decide_many(status)
            return
        shown = self._current()
        if shown is None:
            return
        self.side.flush()
        if self.card.changed and self.view == "card":
            self.card.save()  # queued before the decision
        self._acting = True
        self._skipped.discard(shown.example.id)
        self.desk.set_status(shown.example.id, status, self._decided)

    def _decided(self, now: ExampleRow) -> None:
        place = self._take(now)
        if self.listed.total and place >= 0:
            stayed = self.listed.line(place) is not None and self.listed.line(place).id == now.example.id  # type: ignore[union-attr]
            following = place + 1 if stayed else place
            if following >= self.listed.total and stayed:
                self._show_again(place)
                self.context.toast(tr("That was the last one of this list"))
            else:
                self._at = -1
                self._go_to(min(following, self.listed.total - 1), again=True)
        self._go_on()

    def _take(self, now: ExampleRow) -> int:
        """A row that was changed, into the list: in its place, or out of it. The place it had, -1 where it is not here."""
        place = self.listed.place_of(now.example.id, self._at)
        if place < 0:
            return -1
        self._places[now.example.id] = place
        if self.listed.fits(now):
            self.listed.put(place, now)
        else:
            if self.card.row is not None and self.card.row.example.id == now.example.id:
                self.card.row = None
            self.listed.remove(place)
            if not self.listed.total:
                self._show_blank()
            elif self.view == "table":
                self._at = -1
        self._show_count()
        return place

    def _show_again(self, place: int) -> None:
        line = self.listed.line(place)
        if self.view == "card" and line is not None and place == self._at:
            self._show(line)

    def _delete(self) -> None:
        if self.view == "table" and self._rows_shown() and self.table.chosen_count() > 1:
            self.decide_many("delete")
            return
        shown = self._current()
        if shown is None:
            return
        self._acting = True

        def done(now: ExampleRow) -> None:
            self.context.toast(tr("The example is deleted"), tr("Undo"), self.undo)
            self._decided(now)
        self.desk.delete(shown.example.id, done)

    def _edit(self) -> None:
        if self._current() is not None:
            if self.view == "table":
                self.show_view("card")
            self.card.edit()

    def _add_turn(self) -> None:
        if self._current() is not None:
            if self.view == "table":
                self.show_view("card")
            self.card.add_turn()

    def _comment(self) -> None:
        if self._current() is not None:
            if self.view == "table":
                self.show_view("card")
            self.side.comment.setFocus(Qt.FocusReason.ShortcutFocusReason)

    def _as_written(self) -> None:
        self.card.show_raw(not self.card.raw)

    def _to_search(self) -> None:
        self.filters.search.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.filters.search.selectAll()

    def _choose_all(self) -> None:
        self.table.selectAll()
        self.table.setFocus(Qt.FocusReason.MouseFocusReason)

    # many -------------------------------------------------------------------------------------------------------------

    def decide_many(self, what: str) -> None:
        """Decide the chosen rows, or all that fit, in one step."""
        count, (filter, order) = self.table.chosen_count(), self._asked or (self.filters.value(), self.filters.order())
        which = filter if self.table.everything else self.desk.ids_of(filter, order, self.table.ranges())
        words = {"accepted": tr("Accepting {shown} …", shown=number(count)), "rejected": tr("Setting {shown} aside …", shown=number(count)),
                 "new": tr("Putting {shown} back …", shown=number(count)), "delete": tr("Deleting {shown} …", shown=number(count))}
        self._busy_words, self._acting = words[what], True
        self._show_count()

        def done(changed: int) -> None:
            self._busy_words = ""
            told = {"accepted": trn("{shown} example accepted", "{shown} examples accepted", changed, shown=number(changed)),
                    "rejected": trn("{shown} example set aside", "{shown} examples set aside", changed, shown=number(changed)),
                    "new": trn("{shown} example put back", "{shown} examples put back", changed, shown=number(changed)),
                    "delete": trn("{shown} example deleted", "{shown} examples deleted", changed, shown=number(changed))}
            self.context.toast(told[what], tr("Undo") if changed else "", self.undo if changed else None)
            self.listed.refresh(max(0, self._at))
            self._go_on()

        def failed(wrong: FledgeError) -> None:
            self._busy_words = ""
            self._show_count()
            self._step_failed(wrong)
        self.desk.set_many(which, what, done, failed)

    # undo -------------------------------------------------------------------------------------------------------------

    def undo(self) -> None:
        self._acting = True
        self.desk.undo(lambda change, now: self._stepped(change, now, True))

    def redo(self) -> None:
        self._acting = True
        self.desk.redo(lambda change, now: self._stepped(change, now, False))

    def _stepped(self, change: ExampleChange | None, now: ExampleRow | None, back: bool) -> None:
        if change is None:
            self.context.toast(tr("There is nothing to undo") if back else tr("There is nothing to redo"))
            self._go_on()
            return
        step = event_words(change.what)
        self.context.toast(
            (tr("Undone: {who} {did}", who=who_words(change.author), did=step) if back else
             tr("Redone: {who} {did}", who=who_words(change.author), did=step)) if change.examples == 1 else
            trn("Undone for {shown} example", "Undone for {shown} examples", change.examples, shown=number(change.examples)) if back else
            trn("Redone for {shown} example", "Redone for {shown} examples", change.examples, shown=number(change.examples)))
        if now is not None and not now.deleted and self.listed.place_of(now.example.id, self._at) >= 0 and self.listed.fits(now):
            place = self._take(now)
            self._go_to(place, again=True)
            self._show_again(place)
        else:
            self._leave_row()
            place = self._places.get(now.example.id, self._at) if now is not None else self._at
            self._wanted_id = now.example.id if now is not None and self.listed.fits(now) else ""
            self._at = max(0, place)
            self.listed.refresh(max(0, place))
        self._go_on()

    # one example ------------------------------------------------------------------------------------------------------

    def _edited(self, messages: list[Message], told: str = "") -> None:
        shown = self.card.row
        if shown is None:
            return
        id = shown.example.id

        def saved(now: ExampleRow) -> None:
            here = self.card.row is not None and self.card.row.example.id == id
            if here:
                self.card.row = None  # whatever field is open was what is saved now
            place = self._take(now)
            if here and place >= 0 and self.listed.fits(now):
                self._at = place
                self._show_again(place)
                self.card.setFocus(Qt.FocusReason.MouseFocusReason)
            if told:
                self.context.toast(told, tr("Undo"), self.undo)

        def failed(wrong: FledgeError) -> None:
            self.card.not_saved()
            self._step_failed(wrong, Button(self.theme, tr("Try again"), on_click=lambda: self.desk.edit(id, messages, saved, failed)))
        self.desk.edit(id, messages, saved, failed)

    def _draft_left(self, place: int, draft: Message) -> None:
        shown = self.card.row
        assert shown is not None
        id = shown.example.id

        def again() -> None:
            if self.card.row is not None and self.card.row.example.id == id:
                self.card.take_up(place, draft)
        self.context.toast(tr("The message is as it was"), tr("Take the draft up again"), again)

    def _commented(self, words: str) -> None:
        shown = self.card.row
        if shown is None:
            return
        id = shown.example.id

        def saved(now: ExampleRow) -> None:
            self._take(now)
            if self.card.row is not None and self.card.row.example.id == id:
                self.card.row = now
                self.side.show_row(now)
                self.side.comment_saved()
                self._read_history()
        self.desk.comment(id, words, saved)

    def _compare(self, before: str, after: str) -> None:
        id = self.card.row.example.id if self.card.row is not None else ""

        def came(answer: dict[str, Any]) -> None:
            if self.card.row is not None and self.card.row.example.id == id and not self.card.beside.isHidden():
                self.card.beside.show_pieces(answer["pieces"], bool(answer.get("cut")))
        self.bench.ask("differences", {"before": before, "after": after}, came, lambda wrong: None)

    def loser_beside(self) -> None:
        """The answer that was not kept, beside the one that was; again takes it away."""
        shown = self._current()
        if shown is None:
            return
        if self.view == "table":
            self.show_view("card")
        rejected = shown.example.facts.get("rejected")
        if not isinstance(rejected, dict) or not rejected.get("text"):
            self.context.toast(tr("There is no losing answer"))
            return
        if not self.card.beside.isHidden():
            self.card.show_beside(False)
            return
        kept, other = self.card.kept_answer, str(rejected["text"])
        score = rejected.get("score")
        close = Button(self.theme, tr("Close"), on_click=lambda: self.card.show_beside(False))
        model = who_words(str(rejected.get("model") or ""))
        self.card.beside.show_texts((tr("Kept"), tr("Not kept, {model}", model=model)),
                              (score_words(shown.example.score) if shown.example.score is not None else "",
                               score_words(float(score)) if isinstance(score, (int, float)) else ""), (kept, other), close)
        self.card.show_beside(True)
        self._compare(kept, other)

    def _look_back(self, index: int) -> None:
        """The text as it was before a step, beside the text now, with a button that brings it back."""
        shown, event = self.card.row, self.side.event_at(index)
        if shown is None or event.messages is None:
            return
        now, then = as_text(shown.example.messages), as_text(event.messages)
        same = event.messages == shown.example.messages
        back = Button(self.theme, tr("Restore this version"), icon="undo", enabled=not same,
                      on_click=lambda: self._restore(event.messages or ()))
        close = Button(self.theme, tr("Close"), on_click=lambda: self.card.show_beside(False))
        self.card.beside.show_texts((tr("Now"), tr("Before {time}", time=clock(event.made))), ("", ""), (now, then), back, close)
        self.card.show_beside(True)
        self._compare(now, then)

    def _restore(self, messages: Sequence[Message]) -> None:
        self.card.show_beside(False)
        self._edited(list(messages), tr("The older version is back"))

    # writing one ------------------------------------------------------------------------------------------------------

    def write(self) -> None:
        """A new example by hand."""
        self._leave_row()
        chosen = self.filters.value().sets
        sets = [(s.id, s.title) for s in reversed(self.desk.sets)] or [("", tr("Written by hand"))]
        self.into.set_choices(sets)
        self.into.set(chosen[0] if chosen else sets[0][0])
        self._places_of.setCurrentWidget(self.writing)
        show_if(self.hints, False)
        for part in (self.views, self.write_button):
            part.setEnabled(False)
        self.writing.start()

    def _stop_writing(self) -> None:
        for part in (self.views, self.write_button):
            part.setEnabled(True)
        if self.listed.total:
            self._to_view()
            self._go_to(max(0, self._at), again=True)
            self._take_focus()
        else:
            self._show_blank()

    def _written(self, messages: list[Message], _: str) -> None:
        made = Example(id=f"hand-{uuid.uuid4().hex[:12]}", messages=tuple(messages), origin=PERSON)

        def saved(now: ExampleRow) -> None:
            self.context.toast(tr("The example is saved, and accepted"), tr("Look at it"), lambda: self.load((now.set,), id=now.example.id,
                                                                                                            search=""))
            self._stop_writing()
            self.filters.set_sets(self.desk.sets)
            self.listed.refresh(max(0, self._at))
        self.desk.add(str(self.into.value() or ""), tr("Written by hand"), made, saved,
                      lambda wrong: self.writing.tell(f"{wrong.sentence} {wrong.remedy}"))

    # what is so -------------------------------------------------------------------------------------------------------

    def _counts_changed(self) -> None:
        new, accepted, rejected = self.desk.counts(self.filters.value().sets)
        self.progress.set(new, accepted, rejected, self.desk.pace.per_minute(), len(self._skipped))
        self.undo_button.setEnabled(self.desk.can_undo)
        self.redo_button.setEnabled(self.desk.can_redo)
        if self._places_of.currentWidget() is self.blank and not self.listed.total and self._asked is not None and not self.listed.loading:
            self._show_blank()

    def _step_failed(self, wrong: FledgeError, *actions: Button) -> None:
        self._acting = False
        self._waiting.clear()
        close = Button(self.theme, tr("Close"), on_click=self.notes.clear)
        self.notes.show_error(wrong, *actions, close, title=tr("That was not saved"))

    def state_words(self) -> str:
        """What a screen reader says of the current example."""
        shown = self._current()
        return status_words(shown.status) if shown is not None else ""

    def hideEvent(self, event: QEvent) -> None:  # type: ignore[override]
        super().hideEvent(event)  # type: ignore[arg-type]
        self.notes.clear()
