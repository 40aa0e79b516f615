"""Step 4 of the wizard: five real rows before the many, read as they come, with what a row took; then the start."""

from PySide6.QtCore import Signal

from desktop.context import AppContext
from desktop.jobs.rows_tail import RowsTail
from desktop.jobs.stage_run import StageRun
from desktop.models.instruct_plan import PREVIEW_ROWS, InstructPlan
from desktop.models.instruct_result import measured
from desktop.models.instruct_rows import Arrived
from desktop.pages.instruct.example_card import example_card
from desktop.widgets.buttons import Button
from desktop.widgets.facts import Facts
from desktop.widgets.flexible import Beside, scrolled
from desktop.widgets.layout import clear, col, fill, row, show_if
from desktop.widgets.notes import Note, NoteSlot
from desktop.widgets.panel import Panel, rule
from desktop.widgets.plan_body import PlanBody
from desktop.widgets.short_run import LIVE, ShortRun
from desktop.widgets.text import Text, small
from engine.contract.errors import FledgeError
from engine.contract.units import count, duration, number
from engine.contract.words import tr
from engine.project import layout

SIDE = 312


class PreviewBody(PlanBody):
    """`wanted`: the person asks for one; the wizard looks whether anything is in the way and calls `make()`. `ended`: one is over."""

    ended = Signal()
    wanted = Signal()
    step = "preview"

    def __init__(self, context: AppContext, plan: InstructPlan) -> None:
        super().__init__(context, plan)
        theme = self.theme
        self.run = StageRun(self)
        self.tail: RowsTail | None = None
        self.arrived: Arrived | None = None
        self._cards = 0
        self.notes = NoteSlot(theme)
        self.make_button = Button(theme, tr("Make five rows"), "primary", icon="play", on_click=self.wanted.emit)
        self._ask = Panel(Text(tr("Look at five rows first"), "section"),
                          Text(tr("They are made for real, by the models and the recipe you chose, and show what the rest will be like. "
                                  "They are not kept in the library."), tone="text2", wrap=True),
                          row(self.make_button, "+"), pad=(16, 14, 16, 16), gap=8)
        self._running = col(gap=0)
        self._rows = col(gap=12)
        self._head = row(Text(tr("Five rows"), "section"), (small(tr("as they will be"), elide=True), 1),
                         Button(theme, tr("Make five again"), "quiet", icon="refresh", on_click=self.wanted.emit), gap=10)
        self._stale = Note(theme, "info", tr("The settings changed since"), tr("These rows were made with the ones before."),
                           Button(theme, tr("Make five again"), on_click=self.wanted.emit))
        show_if(self._head, False)
        show_if(self._stale, False)
        above = col(self.notes, self._ask, self._running, self._head, self._stale, gap=10, pad=(0, 0, 8, 0))
        main = col(above, (scrolled(self._rows), 1), gap=10)
        self._steps = col(gap=8)
        self._takes, self._note = Facts(gap=6), small(wrap=True)
        happens = Panel(Text(tr("What will happen"), "section"), self._steps, pad=(16, 10, 16, 14), gap=8)
        takes = Panel(Text(tr("What it takes"), "section"), self._takes, self._note, pad=(16, 10, 16, 14), gap=8)
        col((Beside(theme, main, col(happens, takes, "+", gap=12), side_width=SIDE), 1), gap=0, host=self)

    # making -----------------------------------------------------------------------------------------------------------

    def make(self) -> None:
        """Start a preview of what is chosen now."""
        project = self.context.project
        if project is None or self.busy:
            return
        self.notes.clear()
        try:
            self.run.start(project, self.plan.spec(preview=True))
        except FledgeError as wrong:
            self.notes.show_error(wrong)
            return
        self.context.look()
        self._follow()
        self.refresh()

    @property
    def busy(self) -> bool:
        return self.run.follower is not None and self.run.follower.status in LIVE

    def _follow(self) -> None:
        follower, process = self.run.follower, self.run.process
        assert follower is not None and process is not None
        self.rest()
        clear(self._rows.layout())
        self._cards = 0
        self.arrived = Arrived(layout.rows_file(follower.run.dir))
        self.tail = RowsTail(self.arrived.path, self.arrived.take, self)
        self.tail.changed.connect(self._grown)
        self.tail.start()
        clear(self._running.layout())
        shown = ShortRun(self.theme, follower, process, tr("Making five rows"))
        shown.ended.connect(self._over)
        self._running.layout().addWidget(shown)
        show_if(self._running, True)
        show_if(self._ask, False)
        show_if(self._head, False)

    def rest(self) -> None:
        """Nobody reads rows as they come."""
        if self.tail is not None:
            self.tail.stop()
            self.tail.deleteLater()
            self.tail = None

    def _grown(self) -> None:
        if self.arrived is None:
            return
        for example in self.arrived.rows(self._cards, PREVIEW_ROWS * 4):
            self._rows.layout().addWidget(example_card(self.theme, example))
            self._cards += 1

    def _over(self, status: str) -> None:
        follower = self.run.follower
        assert follower is not None
        if self.tail is not None:
            while self.tail.read_slice():
                pass
        self._grown()
        trouble = self.run.trouble()
        show_if(self._running, False)
        clear(self._running.layout())
        if trouble is not None:
            again = Button(self.theme, tr("Try again"), "primary", on_click=self.make)
            if status == "stopped":
                self.notes.show_note(Note(self.theme, "info", tr("The preview was stopped"), "", again))
            else:
                self.notes.show_error(trouble, again, title=tr("No rows came"))
        elif not self._cards:
            self.notes.show_note(Note(self.theme, "warn", tr("No row came of it"), tr("The recipe found nothing to ask, or every reply was "
                                      "unreadable. The log of the run says more."), Button(self.theme, tr("Try again"),
                                                                                           on_click=self.make)))
        if self.arrived is not None and trouble is None:
            self.plan.note_preview(measured(follower.state, self.arrived))
        self.context.look()
        self.refresh()
        self.ended.emit()

    # showing ----------------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        plan = self.plan
        show_if(self._ask, not self.busy and not self._cards and self.notes.note is None)
        show_if(self._head, not self.busy and bool(self._cards))
        show_if(self._stale, not self.busy and bool(self._cards) and plan.preview_is_stale)
        clear(self._steps.layout())
        lines: list[object] = []
        for i, (what, how) in enumerate(plan.steps_in_words()):
            lines += [*([rule()] if i else []), col(Text(what, "medium"), small(how, wrap=True), gap=1)]
        fill(self._steps.layout(), tuple(lines), 8)  # type: ignore[arg-type]
        (asks, known), (tokens, _), seconds = plan.requests(), plan.tokens(), plan.seconds()
        facts = [(tr("Rows"), number(plan.rows)), (tr("Requests") if known else tr("Requests, about"), number(round(asks))),
                 (tr("Tokens") if known else tr("Tokens, about"), count(tokens)),
                 (tr("Time"), duration(seconds) if seconds is not None else tr("after the preview"))]
        if plan.measured is not None and not plan.preview_is_stale:
            facts.append((tr("Kept, about"), number(round(plan.rows * plan.measured.kept))))
        self._takes.set(facts)
        self._note.set(tr("Measured with these five rows; the models may get faster once they are loaded.") if known else
                       tr("The five rows measure it."))


