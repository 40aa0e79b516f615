"""A run as it goes: phases with their times, one bar, its numbers, charts, samples as they come, findings with remedies, the log.

It knows no stage: a RunView says which numbers and curves to show. It asks the run to save, pause, stop and resume through RunProcess; the
run itself outlives the window. Its buttons stand in the page's header: `header_actions` is put there by the page.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QResizeEvent, QShowEvent
from PySide6.QtWidgets import QSizePolicy, QStackedLayout, QVBoxLayout, QWidget

from desktop.jobs.process import RunProcess
from desktop.jobs.run_follow import RunFollower
from desktop.theme.theme import Theme
from desktop.widgets.bar import Bar
from desktop.widgets.before_now import BeforeNow
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.doctor_notes import DoctorNotes
from desktop.widgets.facts import Stat
from desktop.widgets.flexible import Beside, Flexible
from desktop.widgets.layout import Item, Scroll, clear, col, row, show_if
from desktop.widgets.log_view import LogView
from desktop.widgets.metric_chart import MetricChart
from desktop.widgets.notes import Note
from desktop.widgets.panel import Panel, rule
from desktop.widgets.plot import Curve, Mark
from desktop.widgets.text import Icon, Text, small
from engine.contract.events import Notice, Sample
from engine.contract.units import duration, number, percent, significant
from engine.contract.words import tr, trn
from engine.project import layout
from engine.project.run_doctor import Finding
from engine.project.run_state import RunState, Series

SIDE = 328
SAMPLES = 40
NOTES = 2
KINDS = {"info": "info", "warning": "warn", "problem": "danger"}
BROKEN = ("failed", "crashed", "interrupted", "stopped", "paused")
"""Ends of a run in the middle of a phase, which is not done then."""


@dataclass(frozen=True)
class Number:
    """One of the run's numbers: its name, and how to read (value, note) from the state and the status."""

    name: str
    read: Callable[[RunState, str], tuple[str, str]]


@dataclass(frozen=True)
class Line:
    """A curve: the column (or the evaluation's value) it shows, its title and its unit in words. `name` is what the line is called where
    the chart's title would not do, `beside` are further columns in the same chart: (column, name, tone). `held` is a value of the
    evaluations whose points are drawn with it. `spread` is a column drawn as a band about the line. `measured`: `key` itself is a value of
    the evaluations. `note` says what it means, at its right."""

    key: str
    title: str
    unit: str
    name: str = ""
    beside: tuple[tuple[str, str, str], ...] = ()
    held: str = ""
    spread: str = ""
    measured: bool = False
    note: Callable[[RunState], str] | None = None


@dataclass(frozen=True)
class RunView:
    """What of a run is shown. `remedies` gives the buttons of a notice (by its code). `compare`: the samples are answers to the same
    prompts before and now; `reports`: a finished run has a report (`show_report`), shown before its charts.

    more     further lines, one of which takes the place of `curve` when it is chosen above the chart
    second   a column in a chart of its own below, where there is no `held_out`
    below    lines of which one is shown in the chart below, chosen above it, where there is neither
    browser  what is shown whole in place of the charts when it is chosen: (its name, how it is made)
    findings further buttons of what the run doctor finds
    counts   the curve is a count that only grows: it is drawn as it is, and no earlier run beside it
    heard    what stands beside the charts in place of the samples: made once, then `refresh(state)` is called with each look
    """

    numbers: tuple[Number, ...]
    curve: Line
    held_out: Line | None = None
    lower_is_better: bool = True
    remedies: Callable[[Notice], Sequence[Item]] = field(default=lambda notice: ())
    compare: bool = False
    reports: bool = False
    more: tuple[Line, ...] = ()
    second: Line | None = None
    heard: "Callable[[RunFollower], Heard] | None" = None
    counts: bool = False
    below: tuple[Line, ...] = ()
    browser: "tuple[str, Callable[[RunFollower], Heard]] | None" = None
    findings: Callable[[Finding], Sequence[Item]] = field(default=lambda finding: ())


class Heard(QWidget):
    """What stands beside a run's charts."""

    def refresh(self, state: RunState) -> None:
        raise NotImplementedError


class PhaseSteps(QWidget):
    """The phases in their order: a tick and the time it took, the one under way with its share, the ones to come."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        self._ids: list[str] = []
        self._cells: list[tuple[Icon, Text, Text]] = []
        self._places: list[QWidget] = []
        self._row: QWidget | None = None
        self._chevrons: list[Icon | None] = []
        self._more, self._before = small(), row()
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.setMinimumHeight(theme.px(20))
        col(gap=0, host=self)

    def set(self, state: RunState, status: str) -> None:
        last = max((i for i, phase in enumerate(state.phases) if phase.started), default=-1)
        phases = [phase for i, phase in enumerate(state.phases) if phase.started or i > last]  # what was passed over is left out
        ids = [phase.id for phase in phases]
        if ids != self._ids:
            self._build(ids)
        spoken = []
        for phase, (icon, name, note) in zip(phases, self._cells, strict=True):
            name.set(phase.title)
            here = phase.id == state.phase and (not phase.ended or status in BROKEN)
            if here and status == "running":
                icon.set("pulse", "accent")
                share = state.progress.done / state.progress.total if state.progress and state.progress.total else None
                note.set(percent(share) if share is not None else "")
            elif here:
                icon.set(*{"failed": ("error", "danger"), "crashed": ("error", "danger"), "interrupted": ("warn", "warn"),
                           "waiting": ("clock", "warn")}.get(status, ("pause", "text2")))
                note.set("")
            elif phase.ended:
                icon.set("check", "ok")
                note.set(duration(phase.seconds) if phase.seconds >= 1 else "")
            icon.setVisible(bool(here or phase.ended))
            name.setProperty("over", bool(phase.ended) and not here)
            name.set_role("strong" if here else "body")
            name.set_tone("" if here else "text2" if phase.ended else "text3")
            note.setProperty("shown", bool(note.words()) and bool(here or phase.ended))
            name.setProperty("here", here)
            icon.setToolTip(f"{phase.title} {note.words()}".strip())
            spoken.append(f"{phase.title} {note.words()}".strip())
        self.setAccessibleName(tr("Phases: {phases}", phases=", ".join(spoken)))
        self._fit()

    def _fit(self) -> None:
        """In a narrow window the times of what is over go first; then, from the left, what is over gives way to one tick that counts it and
        names it in its tooltip; last the names of what is to come but the next."""
        if self._row is None:
            return
        over = [i for i, (icon, name, _) in enumerate(self._cells) if not name.property("here") and name.property("over")]
        for times, gone, names in ((True, 0, True), *((False, n, True) for n in range(len(over) + 1)), (False, len(over), False)):
            next_, hidden, away = True, 0, set(over[:gone])
            for i, (chevron, cell, (_, name, note)) in enumerate(zip(self._chevrons, self._places, self._cells, strict=True)):
                coming = not name.property("here") and i not in over
                shown = i not in away and (not coming or names or next_)
                note.setVisible(bool(note.property("shown")) and (times or bool(name.property("here"))))
                cell.setVisible(shown)
                if chevron is not None:
                    chevron.setVisible(shown)
                hidden += coming and not shown
                next_ = next_ and not coming
            self._tell_gone([self._cells[i][1].words() for i in over[:gone]])
            self._more.set(trn("and {count} more", "and {count} more", hidden) if hidden else "")
            self._more.setVisible(bool(hidden))
            if self._row.sizeHint().width() <= self.width():
                return

    def _tell_gone(self, names: Sequence[str]) -> None:
        """One tick for phases that are over and have no room."""
        self._gone.set(trn("{count} phase done", "{count} phases done", len(names)) if names else "")
        self._before.setToolTip(", ".join(names))
        self._before.setVisible(bool(names))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _build(self, ids: list[str]) -> None:
        clear(self.layout())
        self._ids, self._cells, self._places, cells = ids, [], [], []
        self._chevrons = [Icon(self.theme, "chevron", "text3") if i else None for i in range(len(ids))]
        for chevron in self._chevrons:
            icon, name, note = Icon(self.theme, "check", "ok"), Text(), small()
            self._cells.append((icon, name, note))
            self._places.append(row(icon, name, note, gap=6))
            cells += [chevron, self._places[-1]]
        self._more = small(tone="text3")
        self._more.hide()
        self._gone = small()
        self._before = row(Icon(self.theme, "check", "ok"), self._gone, gap=6)
        self._before.hide()
        self._row = row(self._before, *cells, self._more, "+", gap=10)
        self.layout().addWidget(self._row)


class SampleList(QWidget):
    """What the model wrote, newest first; the prompt in grey, what followed in ink."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        self._shown: list[Sample] = []
        self._hint = Text(tr("They come while it trains."), tone="text2", wrap=True)
        self._inner = QWidget()
        self._box = QVBoxLayout(self._inner)
        self._box.setContentsMargins(0, 0, 8, 0)
        self._box.setSpacing(8)
        self._box.addStretch(1)
        self._scroll = Scroll(self._inner, horizontal=False)
        col(self._hint, (self._scroll, 1), gap=0, host=self)
        theme.changed.connect(self._again)

    def set(self, samples: Sequence[Sample]) -> None:
        wanted = list(samples[-SAMPLES:])
        if wanted == self._shown:
            return
        same = 0
        while same < min(len(wanted), len(self._shown)) and wanted[same] == self._shown[same]:
            same += 1
        if same < len(self._shown):  # a resume took some back, or old ones left: start over
            clear(self._box)
            self._box.addStretch(1)
            same = 0
        for sample in wanted[same:]:
            first = self._box.count() == 1
            self._box.insertWidget(0, self._card(sample))
            if not first:
                self._box.insertWidget(1, rule())
        self._shown = wanted
        show_if(self._hint, not wanted)

    def _card(self, sample: Sample) -> QWidget:
        def lines(words: str) -> str:
            return escape(words).replace("\n", "<br>").replace("  ", "&nbsp; ")
        words = f'<span style="color:{self.theme["text2"]}">{lines(sample.prompt)}</span>{lines(sample.text)}'
        body = Text(words, rich=True, wrap=True, lead=130)
        body.setAccessibleName(f"{sample.prompt}{sample.text}")
        return col(row(Text(tr("Step {step}", step=number(sample.step)), "small_strong"), "+",
                       small(tr("temperature {value}", value=f"{sample.temperature:g}"), "text3")), body, gap=2)

    def _again(self) -> None:
        shown, self._shown = self._shown, []
        clear(self._box)
        self._box.addStretch(1)
        self.set(shown)


class Part(Flexible):
    """One of several parts: it needs the height of the one that is shown, not of the highest."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = QStackedLayout(self)
        self.parts.currentChanged.connect(lambda _: self.updateGeometry())

    def minimumSizeHint(self) -> QSize:
        shown = self.parts.currentWidget()
        return shown.minimumSizeHint().expandedTo(shown.minimumSize()) if shown is not None else super().minimumSizeHint()


class RunPanel(QWidget):
    """`header_actions` are the buttons for the page's header. `resume_wanted`: the person asked to go on (the page may look first, then
    `process.resume()`). `status_changed` when the run got another status."""

    resume_wanted = Signal()
    status_changed = Signal(str)
    offers_resume = True  # False where the page offers it elsewhere

    def __init__(self, theme: Theme, follower: RunFollower, process: RunProcess, view: RunView) -> None:
        super().__init__()
        self.theme, self.follower, self.process, self.view = theme, follower, process, view
        self._stale = True
        self._others: list[Curve] = []
        self._notices_shown: list[Notice] | None = None
        self._all_notes = False
        self._smoothing_chosen = view.counts
        self._build_actions()
        self._build_progress()
        self._build_charts()
        self._side_notes = col(gap=8)
        self.doctor = DoctorNotes(theme, follower, view.findings)
        self._build_body()
        follower.changed.connect(self._changed)
        follower.status_changed.connect(self.status_changed)
        process.asked_changed.connect(self._changed)
        self.refresh()

    # building ---------------------------------------------------------------------------------------------------------

    def _build_actions(self) -> None:
        theme, process = self.theme, self.process
        self.save = Button(theme, tr("Save now"), icon="save", on_click=process.save)
        self.pause = Button(theme, tr("Pause"), icon="pause", on_click=process.pause,
                            tip=tr("Saves, and leaves the device to others."))
        self.stop = Button(theme, tr("Stop"), "danger", icon="stop", on_click=self.ask_stop)
        self.resume = Button(theme, tr("Resume"), "primary", icon="play", on_click=self.resume_wanted.emit)
        self.leave = Button(theme, tr("Leave the queue"), on_click=process.leave_queue)
        self.header_actions: tuple[Item, ...] = (self.save, self.pause, self.stop, self.leave, self.resume)
        self.question = Note(theme, "warn", tr("Stop this run?"), "",
            Button(theme, tr("Save and stop"), on_click=lambda: self._answer(process.stop_save)),
            Button(theme, tr("Stop without saving"), "danger", on_click=lambda: self._answer(process.stop)),
            Button(theme, tr("Keep going"), "quiet", on_click=lambda: self._answer(None)))
        self.question.hide()
        self.waiting = Note(theme, "warn", tr("The run waits"), "")
        self._go_on = Button(theme, tr("Try again"), on_click=process.go_on)
        self.waiting.set_actions(self._go_on)
        self.waiting.hide()

    def _build_progress(self) -> None:
        self.phases = PhaseSteps(self.theme)
        self.bar = Bar(self.theme, name=tr("Progress"))
        self.stats = [Stat(each.name) for each in self.view.numbers]
        for stat in self.stats:
            stat.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        report = (("report", tr("Report")),) if self.view.reports else ()
        browser = (("browser", self.view.browser[0]),) if self.view.browser is not None else ()
        self.what = Segments(self.theme, (*report, ("charts", tr("Charts")), *browser, ("log", tr("Log"))), "charts",
                             name=tr("What to show of the run"), on_change=self._show_part)
        if report:
            self.what.set_enabled("report", False, tr("It is there when the run is done."))
        self.progress_panel = Panel(row((self.phases, 1), self.what, gap=16), self.bar, 2, row(*[(s, 1) for s in self.stats], gap=16),
                                    pad=(16, 10, 16, 12), gap=8)

    def _build_charts(self) -> None:
        view, theme = self.view, self.theme
        self.lines = {line.key: line for line in (view.curve, *view.more)}
        self.which = Segments(theme, [(key, line.title) for key, line in self.lines.items()], view.curve.key,
                              name=tr("What the chart shows"), on_change=self._show_line) if view.more else None
        alone = view.held_out is None and view.second is None and not view.below
        self.chart = MetricChart(theme, view.curve.title, unit=view.curve.unit, show_x=alone, lead=QWidget() if view.more else None)
        self._line = view.curve
        self.main_curve = self._curves_of(view.curve)
        parts: list[Item] = [row(self.which, "+") if self.which is not None else None, (self.chart, 3)]
        self.held_out: MetricChart | None = None
        self.second: MetricChart | None = None
        if view.second is not None and view.held_out is None:
            self.second = MetricChart(theme, view.second.title, unit=view.second.unit, controls=False)
            self.second.plot.show_now_word = False
            self.second_curve = Curve(view.second.name or view.second.title, "series2", series=self.follower.state.metrics,
                                      key=view.second.key, unit=view.second.unit, raw=False)
            self.second.set_curves([self.second_curve])
            self.chart.linked(self.second)
            parts.append((self.second, 2))
        if view.held_out:
            self.held_out = MetricChart(theme, view.held_out.title, unit=view.held_out.unit, controls=False)
            self.held_out.plot.show_now_word = False
            self.held_curve = Curve(view.held_out.unit, "series2", points=[], dots=True, unit=view.held_out.unit,
                                    steps=self.follower.state.metrics)
            self.held_out.set_curves([self.held_curve])
            self.chart.linked(self.held_out)
            parts.append((self.held_out, 2))
        self.below: MetricChart | None = None
        if view.below:
            self._below_line = view.below[0]
            self.which_below = Segments(theme, [(line.key, line.title) for line in view.below], view.below[0].key,
                                        name=tr("What the lower chart shows"), on_change=self._show_below_line)
            self.below = MetricChart(theme, tr("Measures"), unit=view.below[0].unit, controls=False, lead=QWidget())
            self.below.plot.show_now_word = False
            self._below_curves = self._lines_of(view.below[0], "series2")
            self.below.set_curves(self._below_curves)
            self.chart.linked(self.below)
            parts += [row(self.which_below, "+"), (self.below, 2)]
        if view.counts:
            self.chart.set_smoothing(0.0)
        self.charts_panel = Panel(*parts, pad=(16, 8, 12, 6), gap=8)

    def _curves_of(self, line: Line) -> Curve:
        """Put a line and what belongs to it into the main chart; gives back the line itself."""
        series = self.follower.state.metrics
        main = Curve(line.name or line.title, series=series, key=line.key, unit=line.unit, raw=not self.view.counts, spread=line.spread)
        self._beside = [Curve(name, tone, series=series, key=key, unit=line.unit) for key, name, tone in line.beside]
        self._held_points = Curve(tr("on what was held out"), "series2", points=[], dots=True, unit=line.unit, steps=series) \
            if line.held else None
        others = [] if line is not self.view.curve else self._others
        self.chart.set_curves([*others, *self._beside, main, *([self._held_points] if self._held_points else [])])
        return main

    def _lines_of(self, line: Line, tone: str) -> list[Curve]:
        """A line of the lower chart, and what belongs to it."""
        series = self.follower.state.metrics
        if line.measured:
            return [Curve(line.name or line.unit or line.title, tone, points=[], dots=True, unit=line.unit, steps=series)]
        main = Curve(line.name or line.title, tone, series=series, key=line.key, unit=line.unit, raw=False, spread=line.spread)
        return [*(Curve(name, ink, series=series, key=key, unit=line.unit, raw=False) for key, name, ink in line.beside), main]

    def _show_below_line(self, key: str) -> None:
        assert self.below is not None
        self._below_line = next(line for line in self.view.below if line.key == key)
        self.below.plot.unit = self._below_line.unit
        self._below_curves = self._lines_of(self._below_line, "series2")
        self.below.set_curves(self._below_curves)
        self._show_charts(self.follower.state)

    def _show_line(self, key: str) -> None:
        self._line = self.lines[key]
        self.chart.plot.unit = self._line.unit
        self.main_curve = self._curves_of(self._line)
        self._show_charts(self.follower.state)

    def _build_body(self) -> None:
        self.samples_note = small()
        if self.view.heard is not None:
            self.samples: Any = self.view.heard(self.follower)
            samples = Panel((self.samples, 1), pad=(16, 12, 8, 12))
        else:
            self.samples = BeforeNow(self.theme) if self.view.compare else SampleList(self.theme)
            head = row(Text(tr("Before and now") if self.view.compare else tr("Samples"), "section"), "+", self.samples_note,
                       pad=(0, 0, 18, 0))
            samples = Panel(head, (self.samples, 1), pad=(16, 12, 8, 12), gap=8)
        samples.setMinimumHeight(self.theme.px(150))
        charts = Beside(self.theme, self.charts_panel, col((samples, 1), self._side_notes, gap=12), side_width=SIDE)
        self.log = LogView(self.theme)
        self.log.watch(layout.log_file(self.follower.run.dir))
        log = Panel((self.log, 1), pad=(16, 12, 16, 16))
        body = Part()
        self._parts = body.parts
        self._parts.addWidget(charts)
        self._parts.addWidget(log)
        self._browser: Heard | None = None
        self._browsing = Panel(pad=(16, 12, 16, 12))
        self._part_of: dict[str, QWidget] = {"charts": charts, "log": log, "browser": self._browsing}
        self._parts.addWidget(self._browsing)
        self._reported: QWidget | None = None
        col(self.question, self.waiting, self.progress_panel, self.doctor, (body, 1), gap=12, host=self)

    # what the page may ask --------------------------------------------------------------------------------------------

    def set_others(self, others: Sequence[tuple[str, Series]]) -> None:
        """Earlier runs beside this one: (name, their metrics), drawn dashed."""
        self._others = [Curve(name, "text3", series=series, key=self.view.curve.key, dashed=True, raw=False, unit=self.view.curve.unit)
                        for name, series in others if not self.view.counts]
        self.main_curve = self._curves_of(self._line)

    def show_report(self, report: QWidget) -> None:
        """What came of it, in place of the charts at first."""
        assert self._reported is None and self.view.reports
        self._reported = report
        self._parts.addWidget(report)
        self._part_of["report"] = report
        self.what.set_enabled("report", True)
        self.what.set("report")
        self._show_part("report")

    def show_browser(self) -> None:
        """Its answers in place of the charts, if it has any."""
        if self.view.browser is not None and self.what.value() == "charts":
            self.what.set("browser")
            self._show_part("browser")

    def ask_stop(self) -> None:
        saved = self.follower.state.checkpoints
        lost = self.follower.state.step - (saved[-1].step if saved else 0)
        words = trn("Since the last checkpoint {count} step was made. Saving keeps it; a stopped run can be resumed.",
                    "Since the last checkpoint {count} steps were made. Saving keeps them; a stopped run can be resumed.", max(0, lost))
        self.question.set(tr("Stop this run?"), words)
        show_if(self.question, True)
        self.show_actions()

    def headline(self) -> str:
        """The sentence under the page's title."""
        run, state = self.follower.run, self.follower.state
        head = tr("Run {number}, started {when}.", number=run.number, when=clock(state.started)) if state.started else \
            tr("Run {number}, made {when}.", number=run.number, when=clock(run.created))
        status = self.follower.status
        if status in ("running", "starting", "waiting"):
            return f"{head} {tr('It goes on when this window is closed.')}"
        if status == "queued":
            place = self.follower.queue_place or 0
            return tr("Run {number} waits in the queue, place {place}. It starts by itself, also with this window closed.",
                      number=run.number, place=place + 1)
        ended = f" {tr('Ended {when}.', when=clock(state.ended))}" if state.ended else ""
        return head + ended

    # following --------------------------------------------------------------------------------------------------------

    def _changed(self, *_: object) -> None:
        self._stale = True
        if self.isVisible():
            self.refresh()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._stale:
            self.refresh()

    def refresh(self) -> None:
        """Show the state as it is now. Called at most ten times a second, and only while somebody looks."""
        self._stale = False
        follower = self.follower
        state, status = follower.state, follower.status
        self.show_actions()
        self.phases.set(state, status)
        share = state.progress.done / state.progress.total if not state.facts.get("steps") and state.progress and state.progress.total \
            else state.share
        self.bar.set(share, tone="danger" if status in ("failed", "crashed") else "warn" if status == "interrupted" else "accent")
        for stat, each in zip(self.stats, self.view.numbers, strict=True):
            stat.set(*each.read(state, status))
        self._show_waiting(state)
        self._show_charts(state)
        if self.view.heard is not None:
            self.samples.refresh(state)
        else:
            self.samples.set(state.samples)
        if self._browser is not None and self.what.value() == "browser":
            self._browser.refresh(state)
        every = int(state.facts.get("sample_every") or (state.facts.get("plan") or {}).get("sample_every") or 0)
        self.samples_note.set(trn("every {count} step", "every {count} steps", every) if every else "")
        self._show_notices(state)
        self.doctor.look()

    def _show_charts(self, state: RunState) -> None:
        steps = float(state.facts.get("steps") or 0)
        now = float(state.step) if self.follower.active and state.step else None
        for curve in (self.main_curve, *self._beside):
            curve.series = state.metrics
        if self._held_points is not None:
            self._held_points.points = [(float(e.step), value) for e in state.evaluations
                                        if (value := e.values.get(self._line.held)) is not None]
            self._held_points.steps = state.metrics
        if steps and not self._smoothing_chosen:
            self._smoothing_chosen = True
            self.chart.set_smoothing(max(0.0, min(0.9, round(1 - 50 / steps, 2))))  # a short run would lag far behind itself
        self.chart.set_end(steps, now)
        notable = [Mark(n.step, "notice", n.title) for n in state.notices if n.step >= 0]
        self.chart.set_marks(notable)
        self.chart.refresh()
        if self.second is not None:
            self.second_curve.series = state.metrics
            self.second.set_end(steps, now)
            self.second.set_marks([Mark(c.step, "best" if c.best else "checkpoint", tr("checkpoint")) for c in state.checkpoints
                                   if c.step > 0])
            self.second.refresh()
        if self.below is not None:
            self._show_below(state, steps, now)
        if self.held_out is not None and self.view.held_out is not None:
            key = self.view.held_out.key
            points = [(float(e.step), value) for e in state.evaluations if (value := e.values.get(key)) is not None]
            self.held_curve.points, self.held_curve.steps = points, state.metrics
            self.held_out.set_end(steps, now)
            self.held_out.set_marks([Mark(c.step, "best" if c.best else "checkpoint", tr("checkpoint")) for c in state.checkpoints
                                     if c.step > 0])
            self.held_out.set_note(self._best_words(points, state))
            self.held_out.refresh()

    def _show_below(self, state: RunState, steps: float, now: float | None) -> None:
        assert self.below is not None
        line = self._below_line
        for curve in self._below_curves:
            if line.measured:
                curve.points = [(float(e.step), value) for e in state.evaluations if (value := e.values.get(line.key)) is not None]
                curve.steps = state.metrics
            else:
                curve.series = state.metrics
        self.below.set_end(steps, now)
        self.below.set_marks([Mark(c.step, "best" if c.best else "checkpoint", tr("checkpoint")) for c in state.checkpoints if c.step > 0])
        self.below.set_note(line.note(state) if line.note is not None else "")
        self.below.refresh()

    def _best_words(self, points: Sequence[tuple[float, float]], state: RunState) -> str:
        if not points:
            return ""
        step, value = points[-1]
        best = (min if self.view.lower_is_better else max)(points, key=lambda p: p[1])
        words = tr("{value} at step {step}", value=significant(value, 4), step=number(step))
        if best[0] == step:
            return words + tr(", the best so far") if len(points) > 1 else words
        return words + tr(", best {value} at step {step}", value=significant(best[1], 4), step=number(best[0]))

    def _show_waiting(self, state: RunState) -> None:
        waiting = state.waiting if self.follower.status == "waiting" else None
        if waiting is not None:
            full = waiting.reason == "disk_full"
            self.waiting.set(tr("The disk is full: the run waits") if full else tr("Another run has the device"), waiting.text)
            show_if(self._go_on, full)
        show_if(self.waiting, waiting is not None)

    def _show_notices(self, state: RunState) -> None:
        said = {one.code for one in self.doctor.findings if one.code not in self.doctor.dismissed}
        found = sorted((n for n in state.notices if n.code not in said), key=lambda n: n.time, reverse=True)
        if found == self._notices_shown:
            return
        self._notices_shown = found
        box = self._side_notes.layout()
        clear(box)
        shown = found if self._all_notes else found[:NOTES]
        for notice in shown:
            words = f"{notice.text} {notice.remedy}".strip()
            box.addWidget(Note(self.theme, KINDS.get(notice.level, "info"), notice.title, words, *self.view.remedies(notice),
                               icon="pulse" if notice.level == "info" else ""))
        if len(found) > len(shown):
            box.addWidget(Button(self.theme, trn("{count} earlier finding", "{count} earlier findings", len(found) - len(shown)), "quiet",
                                 on_click=self._more_notes))
        show_if(self._side_notes, bool(found))

    def _more_notes(self) -> None:
        self._all_notes, self._notices_shown = True, None
        self._show_notices(self.follower.state)

    # acting -----------------------------------------------------------------------------------------------------------

    def show_actions(self) -> None:
        """Which buttons there are, and which of them wait for the run to obey."""
        status, asked = self.follower.status, self.process.asked
        under_way = status in ("running", "waiting", "starting")
        show_if(self.save, status == "running")
        show_if(self.pause, status in ("running", "waiting"))
        show_if(self.stop, under_way)
        show_if(self.leave, status == "queued")
        show_if(self.resume, self.offers_resume and (self.follower.resumable or status == "created"))
        self.save.setEnabled(not asked)
        self.pause.setEnabled(not asked)
        self.stop.setEnabled(status != "starting" and asked not in ("stop", "stop_save"))
        self.save.set_words(tr("Saving") if asked == "save" else tr("Save now"))
        self.pause.set_words(tr("Pausing") if asked == "pause" else tr("Pause"))
        self.stop.set_words(tr("Stopping") if asked in ("stop", "stop_save") else tr("Stop"))
        resumes = bool(self.follower.state.checkpoints)
        self.resume.set_words(tr("Resume") if resumes else tr("Start") if status == "created" else tr("Start again"))
        if not under_way:
            self.question.hide()

    def _answer(self, command: Callable[[], None] | None) -> None:
        self.question.hide()
        if command is not None:
            command()
        elif self.stop.isVisible():
            self.stop.setFocus(Qt.FocusReason.OtherFocusReason)

    def _show_part(self, part: str) -> None:
        if part == "browser" and self._browser is None:  # made when somebody first looks
            assert self.view.browser is not None
            self._browser = self.view.browser[1](self.follower)
            self._browsing.box.addWidget(self._browser, 1)
            self._browser.refresh(self.follower.state)
        self._parts.setCurrentWidget(self._part_of[part])


def clock(moment: float) -> str:
    """14:38 for today, "12 Nov, 14:38" for another day."""
    if not moment:
        return tr("unknown")
    then, now = time.localtime(moment), time.localtime()
    today = then[:3] == now[:3]
    return time.strftime("%H:%M", then) if today else f"{then.tm_mday} {time.strftime('%b, %H:%M', then)}"
