"""A run of minutes at most, on its stage's page: phases, bar, rate, time left, Stop; the log on request. No charts (see run_panel.py)."""

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from desktop.jobs.process import RunProcess
from desktop.jobs.run_follow import RunFollower
from desktop.theme.theme import Theme
from desktop.widgets.bar import Bar
from desktop.widgets.buttons import Button
from desktop.widgets.layout import col, row, show_if
from desktop.widgets.log_view import LogView
from desktop.widgets.panel import Panel
from desktop.widgets.run_panel import PhaseSteps
from desktop.widgets.text import Text, small
from engine.contract import units
from engine.contract.words import tr
from engine.project import layout

LIVE = ("created", "starting", "running", "waiting", "queued")


class ShortRun(QWidget):
    """Follows one run. `ended(status)` once, when it is over."""

    ended = Signal(str)

    def __init__(self, theme: Theme, follower: RunFollower, process: RunProcess, title: str) -> None:
        super().__init__()
        self.theme, self.follower, self.process = theme, follower, process
        self._over = False
        self._phases = PhaseSteps(theme)
        self._bar = Bar(theme, name=tr("Progress"))
        self._what = Text("", "medium")
        self._rate = small()
        self._left = small()
        self.stop = Button(theme, tr("Stop"), "danger", icon="stop", on_click=process.stop)
        self._log_button = Button(theme, tr("Show the log"), "quiet", on_click=self._toggle_log)
        self._log = LogView(theme)
        self._log.setMinimumHeight(theme.px(200))
        self._log.hide()
        head = row(Text(title, "section"), "+", self._log_button, self.stop, gap=16)
        numbers = row(self._what, "+", self._rate, 16, self._left, gap=8)
        col(Panel(head, self._phases, self._bar, numbers, self._log, gap=10), gap=0, host=self)
        follower.changed.connect(self.refresh)
        follower.status_changed.connect(self.refresh)
        self.refresh()

    def refresh(self, *_: object) -> None:
        state, status = self.follower.state, self.follower.status
        self._phases.set(state, status)
        progress = state.progress
        self._bar.set(progress.done / progress.total if progress and progress.total else state.share)
        if progress is None:
            self._what.set(tr("Starting") if not state.phase else "")
            self._rate.set("")
            self._left.set("")
        else:
            shown = units.size if progress.unit == "B" else units.number
            unit = "" if progress.unit == "B" else f" {progress.unit}"
            what = tr("{done} of {total}", done=shown(progress.done), total=shown(progress.total) + unit) if progress.total else \
                shown(progress.done) + unit
            self._what.set(what + (f" · {progress.detail}" if progress.detail else ""))
            self._rate.set(tr("{rate} a second", rate=shown(progress.rate) + unit) if progress.rate else "")
            self._left.set(tr("{time} left", time=units.duration(progress.eta)) if progress.eta >= 0 else "")
        self.stop.setEnabled(status in LIVE)
        if status not in LIVE and not self._over and not self.follower.loading:
            self._over = True
            self.ended.emit(status)

    def _toggle_log(self) -> None:
        shown = not self._log.isVisible()
        if shown:
            self._log.watch(layout.log_file(self.follower.run.dir))
        show_if(self._log, shown)
        self._log_button.set_words(tr("Hide the log") if shown else tr("Show the log"))
