"""One training run on its stage's page: while it goes (picture of the run), when it is done (what came of it), when something went wrong.

It knows no stage: a StageView says what the stage calls things, which numbers stand where, and what is shown of a finished run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QUrl, Signal
from PySide6.QtGui import QDesktopServices, QGuiApplication, QShowEvent
from PySide6.QtWidgets import QWidget

from desktop.jobs.process import RunProcess
from desktop.jobs.run_follow import RunFollower
from desktop.models.run_rows import RunRow, RunRows
from desktop.models.trouble import Remedy, StageWords, Trouble, trouble_of
from desktop.widgets.buttons import Button
from desktop.widgets.earlier_runs import EarlierRuns
from desktop.widgets.flow_strip import FlowStrip
from desktop.widgets.layout import Item, col, show_if
from desktop.widgets.log_view import LogView
from desktop.widgets.notes import Note, NoteSlot
from desktop.widgets.page_header import PageHeader
from desktop.widgets.panel import Panel, heading
from desktop.widgets.run_panel import RunPanel, RunView
from engine.contract.words import tr
from engine.project import layout
from engine.project.run_state import RunState
from engine.project.runs import Run

if TYPE_CHECKING:
    from desktop.context import AppContext

OTHERS = 1
AWAY = 200
"""Findings put away that are remembered."""
OVER = ("done", "failed", "crashed", "interrupted", "stopped", "paused")


@dataclass(frozen=True)
class StageView:
    """What a stage calls its runs, and what of them is shown.

    going, gone     the title by the run's name: "Pretraining Tales", "Pretrained Tales"
    unnamed         what a run without a title is called, by its number
    goes_in, happens, came_out   the three places of the flow strip: (fact, line)
    outcome         (title, sentence) of a finished run, None where there is nothing to say
    report          what is shown of a finished run in place of its charts at first (RunView.reports), None for none
    runs            the heading of the table of earlier runs; `inputs` and `measured` head two of its columns
    """

    stage: str
    going: Callable[[str], str]
    gone: Callable[[str], str]
    unnamed: Callable[[int], str]
    run: RunView
    goes_in: Callable[[Run, RunState], tuple[str, str]]
    happens: Callable[[RunState, str], tuple[str, str]]
    came_out: Callable[[RunState, str], tuple[str, str]]
    outcome: Callable[[Run, RunState], tuple[str, str] | None]
    words: StageWords
    new: tuple[str, str]
    runs: str
    inputs: str = ""
    measured: str = ""
    report: Callable[[Run, RunState], QWidget | None] = lambda run, state: None
    actions: Sequence[tuple[str, str, Callable[[str], object]]] = ()
    """Further buttons of a finished run: (words, icon, what to do with the model's id)."""
    primary: tuple[str, str, Callable[[str], object]] | None = None
    """What is done first with the model it made; None: chat with it."""
    exports: bool = True
    trouble: Callable[[Run, RunState, str], Trouble | None] = lambda run, state, status: None
    """What the stage itself says of a run that rests or broke; None: what is said of all."""


class RunSide(QWidget):
    """`edit_wanted(values)`: a new design from this run's settings with changes; `new_wanted`: a fresh one."""

    edit_wanted = Signal(dict)
    new_wanted = Signal()

    def __init__(self, context: "AppContext", run: Run, view: StageView) -> None:
        super().__init__()
        assert context.project is not None
        self.context, self.theme, self.run, self.project, self.view = context, context.theme, run, context.project, view
        self.follower = RunFollower(run, self.project.dir, self)
        self.process = RunProcess(self.follower, self)
        self.panel = RunPanel(self.theme, self.follower, self.process, view.run)
        self.rows = RunRows(self.project)
        self._others: list[RunFollower] = []
        self._trouble: Trouble | None = None
        self._state_shown: object = None
        self._looking = False
        self._report: QWidget | None = None
        self._build()
        self.panel.resume_wanted.connect(self._resume)
        self.panel.chart.exported.connect(lambda path: context.toast(tr("Saved {path}", path=path)))
        self.follower.changed.connect(self._changed)
        self.process.refused.connect(self.refused.show_error)
        self._use_doctor()
        self.follower.start()
        self._find_others()
        self._show()

    def _build(self) -> None:
        theme = self.theme
        self.header = PageHeader(self._title(), "")
        self.new = Button(theme, self.view.new[0], on_click=self.new_wanted.emit, tip=self.view.new[1])
        words, icon, act = self.view.primary or (tr("Chat with it"), "chat", lambda id: self.context.navigate("chat", model=id))
        self.chat = Button(theme, words, "primary", icon=icon, on_click=lambda: act(self._newest()))
        self.export = Button(theme, tr("Export"), icon="export", on_click=self._export)
        self.edit = Button(theme, self.view.words.edit, on_click=lambda: self.edit_wanted.emit(dict(self.run.spec)))
        self.further = [Button(theme, words, icon=icon, on_click=lambda act=act: act(self._newest()))
                        for words, icon, act in self.view.actions]
        self.header.set_actions(self.new, self.edit, *self.panel.header_actions, self.export, *self.further, self.chat)
        self.flow = FlowStrip(theme)
        self.refused, self.banner = NoteSlot(theme), NoteSlot(theme)
        self.log = LogView(theme, search=False, rows=8)
        open_log = Button(theme, tr("Open log"), "quiet", on_click=self._open_log)
        self.log_panel = Panel(heading(tr("Log"), tr("the end of log.txt"), open_log), (self.log, 1), pad=(16, 8, 16, 16), gap=8)
        self.earlier = EarlierRuns(theme, self.view.runs, self._open_row, lambda: self.context.navigate("runs"), self.view.inputs,
                                   self.view.measured)
        self.facts = col(self.log_panel, self.earlier, gap=12)
        self.facts.layout().addStretch(1)
        col(self.header, 14, self.flow, 12, self._gap(self.refused), self._gap(self.banner), (self.panel, 1),
            (self.facts, 1), gap=0, host=self)

    def _gap(self, slot: NoteSlot) -> NoteSlot:
        slot.setContentsMargins(0, 0, 0, 12)
        return slot

    def _use_doctor(self) -> None:
        doctor, place = self.panel.doctor, str(self.run.dir)
        doctor.offers_changes = True
        doctor.change_wanted.connect(lambda changes: self.edit_wanted.emit({**self.run.spec, **changes}))
        doctor.put_away_one.connect(lambda code: self.context.remember("doctor.away", [*self._put_away(), f"{place}|{code}"][-AWAY:]))
        doctor.set_dismissed(str(one).rpartition("|")[2] for one in self._put_away() if str(one).rpartition("|")[0] == place)

    def _put_away(self) -> list[str]:
        """Findings that the person put away, of whatever run: its folder and the finding's code."""
        found = self.context.settings.get("doctor.away", [])
        return found if isinstance(found, list) else []

    def close_down(self) -> None:
        """The page turns to another run."""
        self.follower.stop()
        for other in self._others:
            other.stop()

    def pause_following(self) -> None:
        self.close_down()

    def go_on_following(self) -> None:
        self.follower.start()
        for other in self._others:
            other.start()

    # showing ----------------------------------------------------------------------------------------------------------

    def _title(self) -> str:
        name = self.run.title or self.view.unnamed(self.run.number)
        return (self.view.gone if self._status() == "done" else self.view.going)(name)

    def _status(self) -> str:
        return self.follower.status

    def _changed(self) -> None:
        if self.isVisible():
            self._show()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._show()

    def _show(self) -> None:
        follower, state, status = self.follower, self.follower.state, self.follower.status
        self.header.set(self._title(), self.panel.headline())
        tense = "is" if follower.active else "will" if status in ("queued", "created") else "did"
        view = self.view
        self.flow.set(view.goes_in(self.run, state), view.happens(state, status), view.came_out(state, status), tense)
        mark = (status, state.attempt, len(state.checkpoints), bool(state.step), tuple(state.artifacts), follower.loading)
        if mark == self._state_shown or (follower.loading and status not in ("queued", "created")):
            return
        self._state_shown = mark
        self._show_status(status)

    def _show_status(self, status: str) -> None:
        """What changes with the status: buttons, the banner, and whether there is anything to draw."""
        state = self.follower.state
        over = status in OVER
        own = self.view.trouble(self.run, state, status)
        bare = over and status != "done" and not state.step and (own is None or self.view.run.browser is None)
        show_if(self.new, over and status in ("done", "stopped", "paused"))
        show_if(self.chat, status == "done")
        show_if(self.export, status == "done" and self.view.exports)
        for button in self.further:
            show_if(button, status == "done")
        self._show_report(status)
        self.panel.offers_resume = status == "created"
        self.panel.show_actions()
        self._trouble = own or trouble_of(
            state, status, self.run.spec, self._last_line() if status == "crashed" else "", self.view.words)
        offered = self._trouble is not None and any(r.act == "edit" for r in self._trouble.remedies)
        show_if(self.edit, over and status not in ("done", "stopped", "paused") and not offered)
        if self._trouble is not None:
            self.banner.show_note(self._note(self._trouble))
        elif status == "done" and (outcome := self._outcome()) is not None:
            self.banner.show_note(outcome)
        elif status == "queued":
            self.banner.show_note(self._queue_note())
        else:
            self.banner.clear()
        show_if(self.panel, not bare)
        if own is not None:
            self.panel.show_browser()  # what it was that went wrong
        show_if(self.facts, bare)
        if bare:
            self.log.watch(layout.log_file(self.run.dir))
            self._look_rows()

    def _note(self, trouble: Trouble) -> Note:
        buttons: list[Item] = []
        for i, remedy in enumerate(trouble.remedies):
            kind = "primary" if i == 0 else "secondary"
            buttons.append(Button(self.theme, remedy.words, kind, icon="play" if remedy.act == "resume" and i == 0 else "",
                                  on_click=lambda remedy=remedy: self._remedy(remedy)))
        if trouble.kind == "danger":
            buttons.append(Button(self.theme, tr("Copy details"), "quiet", on_click=self._copy))
        return Note(self.theme, trouble.kind, trouble.title, trouble.words, *buttons)

    def _outcome(self) -> Note | None:
        """What came of it, in a sentence that says what the numbers mean."""
        told = self.view.outcome(self.run, self.follower.state)
        return Note(self.theme, "info", *told, icon="check") if told is not None else None

    def _show_report(self, status: str) -> None:
        """What the stage shows of a finished run, before its charts."""
        if status == "done" and self._report is None:
            self._report = self.view.report(self.run, self.follower.state)
            if self._report is not None:
                self.panel.show_report(self._report)

    def _queue_note(self) -> Note:
        place = self.follower.queue_place or 0
        title = tr("Next in the queue") if place == 0 else tr("Place {place} in the queue", place=place + 1)
        return Note(self.theme, "info", title, tr("Another run has the device. This one starts by itself as soon as it is free, also with "
            "this window closed."), Button(self.theme, tr("Show the queue"), on_click=lambda: self.context.navigate("runs")), icon="clock")

    def _last_line(self) -> str:
        lines = [line for line in self.follower.log_tail(40).splitlines() if line.strip() and not line.startswith(" ")]
        return lines[-1] if lines else ""

    # others -----------------------------------------------------------------------------------------------------------

    def _find_others(self) -> None:
        """The last finished run before this one, dashed beside it."""
        runs = [r for r in self.project.runs.list(self.view.stage) if r.number < self.run.number]
        glances = {g.id: g for g in self.context.survey.runs} if self.context.survey is not None else {}
        for run in reversed(runs):
            if len(self._others) < OTHERS and run.id in glances and glances[run.id].status == "done":
                other = RunFollower(run, self.project.dir, self)
                other.changed.connect(self.panel.chart.refresh)
                other.start()
                self._others.append(other)
        self.panel.set_others([(tr("run {number}", number=o.run.number), o.state.metrics) for o in self._others])

    def _look_rows(self) -> None:
        if not self._looking:
            self._looking = True
            self.context.jobs.run(self.rows.look, then=self._rows_found, failed=lambda wrong: None, owner=self)

    def _rows_found(self, found: list[RunRow]) -> None:
        self._looking = False
        self.earlier.set([r for r in found if r.stage == self.view.stage], self.run.id)

    # acting -----------------------------------------------------------------------------------------------------------

    def _resume(self) -> None:
        self.refused.clear()
        self.process.resume(self.context.device)
        self.context.look()

    def _remedy(self, remedy: Remedy) -> None:
        if remedy.act == "resume":
            self._resume()
        elif remedy.act == "log":
            self._open_log()
        elif remedy.act != "edit":
            self.context.navigate(remedy.act, **dict(remedy.changes))
        else:
            self.edit_wanted.emit({**self.run.spec, **dict(remedy.changes)})

    def _newest(self) -> str:
        """The id of the model it made, else of its last checkpoint."""
        made = self.follower.state.artifacts
        return made[-1] if made else f"{self.run.id}@{self.follower.state.step}"

    def _export(self) -> None:
        self.context.navigate("export", model=self._newest())

    def _open_log(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(layout.log_file(self.run.dir))))

    def _open_row(self, chosen: RunRow) -> None:
        self.context.navigate(self.view.stage, run=chosen.id)

    def _copy(self) -> None:
        trouble = self._trouble
        details: list[Any] = [self.run.id, trouble.title if trouble else "", trouble.words if trouble else "", "",
                              self.follower.log_tail(60)]
        QGuiApplication.clipboard().setText("\n".join(details))
        self.context.toast(tr("Details copied"))
