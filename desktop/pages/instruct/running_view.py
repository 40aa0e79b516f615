"""A generation under way, or one that ended early: phases, counts, rate and time left, per model, and the rows as they come."""

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QWidget
from shiboken6 import isValid

from desktop.context import AppContext
from desktop.jobs.process import RunProcess
from desktop.jobs.rows_tail import RowsTail
from desktop.jobs.run_follow import RunFollower
from desktop.models.instruct_result import by_model, counts, fact, reasons
from desktop.models.instruct_rows import Arrived
from desktop.models.instruct_words import flag_words
from desktop.models.local_models import short_name
from desktop.pages.instruct.example_card import ExampleView
from desktop.widgets.bar import Bar
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.facts import Stat
from desktop.widgets.flexible import Beside, Poured
from desktop.widgets.histogram import ShareLines
from desktop.widgets.layout import Item, Scroll, clear, col, fill, row, show_if
from desktop.widgets.log_view import LogView
from desktop.widgets.notes import Note, NoteSlot, error_note
from desktop.widgets.panel import Panel, heading, table_panel
from desktop.widgets.run_panel import KINDS, PhaseSteps
from desktop.widgets.table import Cell, Column, PagedModel, Table
from desktop.widgets.text import small
from engine.contract.errors import FledgeError
from engine.contract.rows import Example
from engine.contract.units import count, duration, number, percent, significant
from engine.contract.words import tr, trn
from engine.project import layout
from engine.project.runs import RESUMABLE

LIVE = ("created", "starting", "running", "waiting", "queued")
SIDE = 332
NOTICES = 2
AWAY = "model_away"
SCORE = 2


def first_words(example: Example, role: str) -> str:
    """The first message of a speaker on one line."""
    found = next((m.content for m in example.messages if m.role == role), "")
    return " ".join(found[:400].split())


class RunningView(QWidget):
    """`ended(status)` once, when it is over; `resume_wanted`. `header_actions` stand in the page's header."""

    ended = Signal(str)
    resume_wanted = Signal()

    def __init__(self, context: AppContext, follower: RunFollower, process: RunProcess) -> None:
        super().__init__()
        self.context, self.theme, self.follower, self.process = context, context.theme, follower, process
        theme = self.theme
        self._over, self._notices_shown = False, None
        self.arrived = Arrived(layout.rows_file(follower.run.dir))
        self.tail = RowsTail(self.arrived.path, self.arrived.take, self)
        self.tail.changed.connect(self._grown)
        self.tail.caught_up.connect(self._grown)
        self._build_actions()
        self.trouble = NoteSlot(theme)
        self.phases, self.bar = PhaseSteps(theme), Bar(theme, name=tr("Progress"))
        names = (tr("Done"), tr("Kept"), tr("Set aside"), tr("Ties"), tr("Rate"), tr("Time left"), tr("Tokens"))
        self.stats = [Stat(name) for name in names]
        for stat in self.stats:
            stat.setSizePolicy(stat.sizePolicy().Policy.Ignored, stat.sizePolicy().Policy.Fixed)
        self.what = Segments(theme, (("rows", tr("Rows")), ("log", tr("Log"))), "rows", name=tr("What to show of the run"),
                             on_change=lambda _: self._show_part())
        progress = Panel(row((self.phases, 1), self.what, gap=16), self.bar, 2, row(*[(s, 1) for s in self.stats], gap=12),
                         pad=(16, 10, 16, 12), gap=8)
        self._build_rows()
        self.log = LogView(theme)
        self.log.watch(layout.log_file(follower.run.dir))
        self._log = Panel((self.log, 1), pad=(16, 12, 16, 16))
        show_if(self._log, False)
        col(self.trouble, self.question, progress, (self._rows_part, 1), (self._log, 1), gap=12, host=self)
        follower.changed.connect(self.refresh)
        follower.status_changed.connect(self.refresh)
        process.asked_changed.connect(self.refresh)
        process.refused.connect(self.trouble.show_error)
        self.tail.start()
        self.refresh()

    # building ---------------------------------------------------------------------------------------------------------

    def _build_actions(self) -> None:
        theme, process = self.theme, self.process
        self.pause = Button(theme, tr("Pause"), icon="pause", on_click=process.pause,
                            tip=tr("Waits for the answers under way. Resume whenever you like; nothing is asked twice."))
        self.stop = Button(theme, tr("Stop"), "danger", icon="stop", on_click=self._ask_stop)
        self.resume = Button(theme, tr("Resume"), "primary", icon="play", on_click=self.resume_wanted.emit)
        self.leave = Button(theme, tr("Leave the queue"), on_click=process.leave_queue)
        self.header_actions: tuple[Item, ...] = (self.pause, self.stop, self.leave, self.resume)
        self.question = Note(theme, "warn", tr("Stop this run?"), tr("Rows that came are kept and can be used. It can be resumed later: "
                             "nothing is asked twice."),
                             Button(theme, tr("Stop"), "danger", icon="stop", on_click=lambda: self._answer(True)),
                             Button(theme, tr("Keep going"), "quiet", on_click=lambda: self._answer(False)))
        self.question.hide()

    def _build_rows(self) -> None:
        theme = self.theme
        self.model = PagedModel([
            Column(tr("Asks"), lambda e: Cell(first_words(e, "user"), tip=first_words(e, "user")), least=150),
            Column(tr("Answers"), lambda e: Cell(first_words(e, "assistant"), tone="text2"), least=150, drop=2),
            Column(tr("Score"), lambda e: "" if e.score is None else f"{e.score:.1f}".removesuffix(".0"), 64, right=True),
            Column("", self._state, 144)], 0, self.arrived.rows)
        self.table = Table(theme, [], name=tr("Rows as they come"), model=self.model)
        self.table.setColumnHidden(SCORE, not self.follower.run.spec.get("judge"))
        self.table.chosen.connect(self._chosen)
        self._follow_end = True
        self.table.verticalScrollBar().valueChanged.connect(self._scrolled)
        self._waiting = small(tr("The first rows come when the models have answered."))
        self._count = small()
        self._empty = col(self._waiting, "+", pad=(8, 4, 8, 0))
        main = table_panel(heading(tr("Rows"), "", self._count), self.table)
        main.box.insertWidget(1, self._empty, 1)
        main.setMinimumHeight(theme.px(220))
        show_if(self.table, False)
        self.detail = ExampleView(theme)
        self._detail_panel = Panel(row(small(tr("The row")), "+", Button(theme, kind="icon", icon="close", name=tr("Close the row"),
                                                                         on_click=self._close_row), gap=4),
                                   (Scroll(col(self.detail, "+", pad=(0, 0, 8, 0), host=Poured()), horizontal=False), 1),
                                   pad=(16, 6, 6, 8), gap=4)
        self._reasons = ShareLines(theme, 120, 84)
        self._reasons_panel = Panel(heading(tr("Set aside, by reason")), self._reasons, pad=(16, 10, 16, 14), gap=8)
        self._models = Table(theme, [Column(tr("Model"), lambda m: Cell(m[0], strong=True, tip=m[0]), least=90),
                                     Column(tr("Asked"), lambda m: m[1], 64, right=True), Column(tr("Kept"), lambda m: m[2], 60,
                                                                                                 right=True),
                                     Column(tr("Tokens"), lambda m: m[3], 76, right=True)], name=tr("Models"), fit=True, selectable=False)
        self._models_panel = table_panel(heading(tr("Models")), self._models)
        self._notices = col(gap=8)
        self._overview = col(self._notices, self._reasons_panel, self._models_panel, "+", gap=12)
        side = col((self._overview, 1), (self._detail_panel, 1), gap=0)
        show_if(self._detail_panel, False)
        self._rows_part = Beside(theme, main, side, side_width=SIDE)

    def _state(self, example: Example) -> Cell:
        if example.flags:
            return Cell(flag_words(example.flags[0]), tone="warn", icon="warn", tip=", ".join(flag_words(f) for f in example.flags))
        return Cell(tr("kept"), tone="ok", icon="check")

    # showing ----------------------------------------------------------------------------------------------------------

    def rest(self) -> None:
        """Nobody looks now; `tail.start()` goes on."""
        self.tail.stop()

    def close_down(self) -> None:
        """Nobody looks at this run any more. Its buttons have gone with the header."""
        self._over = True
        self.tail.stop()
        if not isValid(self.follower):  # another run is followed
            return
        for signal, slot in ((self.follower.changed, self.refresh), (self.follower.status_changed, self.refresh),
                             (self.process.asked_changed, self.refresh), (self.process.refused, self.trouble.show_error)):
            signal.disconnect(slot)

    def _grown(self) -> None:
        self.model.grow(self.arrived.count)
        if self._follow_end and self.arrived.count:
            self.table.scrollToBottom()
        show_if(self._empty, not self.arrived.count)
        show_if(self.table, bool(self.arrived.count))
        self._count.set(trn("{shown} row", "{shown} rows", self.arrived.count, shown=number(self.arrived.count)))
        self.refresh()

    def _scrolled(self, value: int) -> None:
        self._follow_end = value >= self.table.verticalScrollBar().maximum() - self.table.row_height

    def refresh(self, *_: object) -> None:
        state, status = self.follower.state, self.follower.status
        told, arrived = counts(state.facts), self.arrived
        self.show_actions()
        self.phases.set(state, status)
        asked = self.follower.run.spec.get("preview") or self.follower.run.spec.get("count") or 0
        progress = state.progress
        done = progress.done if progress and progress.total else fact(told, "rows")
        total = progress.total if progress and progress.total else float(asked)
        self.bar.set(min(1.0, done / total) if total else state.share,
                     tone="danger" if status in ("failed", "crashed") else "warn" if status == "interrupted" else "accent")
        live = status in LIVE
        rate, eta = (progress.rate, progress.eta) if progress is not None and status == "running" else (0.0, -1.0)
        tokens_in, tokens_out = fact(told, "tokens_in"), fact(told, "tokens_out")
        values = [(number(done), tr("of {total}", total=number(total))),
                  (number(arrived.kept), percent(arrived.kept / arrived.count) if arrived.count else ""),
                  (number(arrived.set_aside), percent(arrived.set_aside / arrived.count) if arrived.count else ""),
                  (number(arrived.flags["tie"]), tr("of those set aside")),
                  (significant(rate * 60, 3) if rate else "–", tr("rows a minute")),
                  (duration(eta) if eta >= 0 else "–", ""),
                  (count(tokens_in + tokens_out) if tokens_in + tokens_out else "–",
                   tr("{count} written", count=count(tokens_out)) if tokens_out else tr("read and written"))]
        for stat, (value, note) in zip(self.stats, values, strict=True):
            stat.set(value, note)
        self._reasons.set(reasons(arrived.flags, arrived.count))
        show_if(self._reasons_panel, bool(arrived.flags))
        models = by_model(state.facts, arrived)
        if models != self._models.rows_model.rows:
            self._models.set_rows(models)
        show_if(self._models_panel, bool(models))
        self._show_notices()
        if not live and not self._over and not self.follower.loading:
            self._over = True
            while self.tail.read_slice():
                pass
            self.model.grow(arrived.count)
            self.ended.emit(status)

    def _show_notices(self) -> None:
        state = self.follower.state
        waiting = state.waiting if self.follower.status == "waiting" else None
        hidden = {AWAY} if waiting is not None or not self.follower.active else set()  # said by the wait itself, or over
        found: list[Any] = sorted((n for n in state.notices if n.code not in hidden), key=lambda n: n.time, reverse=True)[:NOTICES]
        shown = (found, waiting)
        if shown == self._notices_shown:
            return
        self._notices_shown = shown
        clear(self._notices.layout())
        notes: list[Item] = []
        if waiting is not None:
            again = (Button(self.theme, tr("Try again"), on_click=self.process.go_on),) if waiting.reason == "disk_full" else ()
            notes.append(Note(self.theme, "warn", tr("The run waits"), waiting.text, *again))
        notes += [Note(self.theme, KINDS.get(n.level, "info"), n.title, f"{n.text} {n.remedy}".strip()) for n in found]
        fill(self._notices.layout(), tuple(notes), 8)  # type: ignore[arg-type]
        show_if(self._notices, bool(notes))

    def _show_part(self) -> None:
        show_if(self._rows_part, self.what.value() == "rows")
        show_if(self._log, self.what.value() == "log")

    def _chosen(self, example: Example | None) -> None:
        show_if(self._detail_panel, example is not None)
        show_if(self._overview, example is None)
        if example is not None:
            self.detail.show_example(example)

    def _close_row(self) -> None:
        self.table.clearSelection()
        self._chosen(None)

    # acting -----------------------------------------------------------------------------------------------------------

    def show_actions(self) -> None:
        status, asked = self.follower.status, self.process.asked
        under_way = status in ("running", "waiting", "starting")
        show_if(self.pause, status in ("running", "waiting"))
        show_if(self.stop, under_way)
        show_if(self.leave, status == "queued")
        show_if(self.resume, status in RESUMABLE or status == "created")
        self.pause.setEnabled(not asked)
        self.stop.setEnabled(status != "starting" and asked not in ("stop", "stop_save"))
        self.pause.set_words(tr("Pausing") if asked == "pause" else tr("Pause"))
        self.stop.set_words(tr("Stopping") if asked in ("stop", "stop_save") else tr("Stop"))
        self.resume.set_words(tr("Start") if status == "created" else tr("Resume"))
        if not under_way:
            self.question.hide()

    def _ask_stop(self) -> None:
        show_if(self.question, True)

    def _answer(self, stop: bool) -> None:
        self.question.hide()
        if stop:
            self.process.stop_save()
        else:
            self.stop.setFocus(Qt.FocusReason.OtherFocusReason)

    def show_trouble(self, wrong: FledgeError, status: str, resume: Callable[[], None], change: Callable[[], None],
                     use: Callable[[], None] | None) -> None:
        """Why it ended early, with what can be done: go on, change the settings, use what came."""
        theme = self.theme
        buttons: list[Item] = []
        if status in RESUMABLE:
            buttons.append(Button(theme, tr("Resume"), "primary", icon="play", on_click=resume))
        buttons.append(Button(theme, tr("Change settings"), "secondary" if buttons else "primary", on_click=change))
        if use is not None:
            buttons.append(Button(theme, trn("Use the {shown} row that came", "Use the {shown} rows that came", self.arrived.count,
                                             shown=number(self.arrived.count)), on_click=use))
        if status in ("stopped", "paused", "interrupted"):
            title = {"stopped": tr("The run was stopped"), "paused": tr("The run is paused"),
                     "interrupted": tr("The run was interrupted")}[status]
            words = tr("Every row that came is on the disk. Resuming goes on from there, and asks nothing twice.")
            self.trouble.show_note(Note(theme, "warn" if status == "interrupted" else "info", title, words, *buttons))
        else:
            self.trouble.show_note(error_note(theme, wrong, *buttons, title=tr("The run ended early")))


def model_words(spec: dict[str, Any]) -> str:
    """Who writes and who judges, in words."""
    writer, judge = short_name(str(spec.get("responder") or "")), short_name(str(spec.get("judge") or ""))
    return tr("{writer}, judged by {judge}", writer=writer, judge=judge) if judge else writer
