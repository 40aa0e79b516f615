"""The Runs page wires table, overlay, details and queue together; rows come from models/run_rows.py, curves from jobs/run_follow.py."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QTimer, QUrl
from PySide6.QtGui import QDesktopServices

from desktop.jobs.process import RunProcess
from desktop.jobs.queue import RunQueue
from desktop.jobs.run_follow import RunFollower
from desktop.models.run_rows import RunRow, RunRows
from desktop.pages.runs.details import Details
from desktop.pages.runs.queue_panel import QueuePanel
from desktop.widgets.buttons import Button
from desktop.widgets.empty_state import EmptyState
from desktop.widgets.fields import Choice
from desktop.widgets.flexible import Beside, Flexible
from desktop.widgets.layout import col, fixed, row, show_if
from desktop.widgets.metric_chart import MetricChart
from desktop.widgets.notes import NoteSlot
from desktop.widgets.page import Page
from desktop.widgets.page_header import PageHeader
from desktop.widgets.panel import Panel, heading
from desktop.widgets.plot import Curve
from desktop.widgets.table import Cell, Column, Table, state_cell
from desktop.widgets.text import small
from engine.contract.errors import FledgeError
from engine.contract.units import duration, number, size
from engine.contract.words import tr
from engine.pipeline import STAGES
from engine.project.run_measures import of_stage

if TYPE_CHECKING:
    from desktop.context import AppContext

DRAWN = 8
KEPT = 12
LOOKS = (("accent", False), ("series2", False), ("series3", False), ("text2", False),
         ("accent", True), ("series2", True), ("series3", True), ("text2", True))
LOOK_MS = 1500


def measures() -> list[tuple[str, str]]:
    """What the overlay can show: (column or evaluated value, words)."""
    return [("loss", tr("Loss")), ("bpb", tr("Bits per byte")), ("val_loss", tr("Validation loss")),
            ("accuracy", tr("Pairs right")), ("val_accuracy", tr("Held-out pairs right")), ("margin", tr("Margin")),
            ("reward", tr("Reward")), ("val_reward", tr("Held-out reward")), ("pass_at_1", tr("Held-out solved")),
            ("frac_reward_zero_std", tr("Groups without signal")), ("length", tr("Answer length")), ("entropy", tr("Entropy")),
            ("kl", tr("Divergence (KL)")),
            ("lr", tr("Learning rate")), ("grad_norm", tr("Gradient norm")), ("tokens_per_second", tr("Tokens a second")),
            ("memory", tr("Memory"))]


class RunsPage(Page):
    """Every run of the project."""

    def __init__(self, context: "AppContext") -> None:
        super().__init__(context)
        theme = self.theme
        assert context.project is not None
        self.project = context.project
        self.rows = RunRows(self.project)
        self._shown: list[RunRow] = []
        self._followers: OrderedDict[str, RunFollower] = OrderedDict()
        self._process: RunProcess | None = None
        self._looking = False
        self.queue = RunQueue(self)
        self.notes = NoteSlot(theme)
        self.measure = Choice(theme, measures(), "loss", name=tr("What the chart shows"))
        self.chart = MetricChart(theme, tr("Curves"), name=tr("Curves of the chosen runs"), legend_below=True,
                                 lead=fixed(self.measure, theme.px(188)))
        self._measure_chosen = False
        self.measure.changed.connect(self._measure_picked)
        self.chart.exported.connect(lambda path: context.toast(tr("Saved {path}", path=path)))
        self.chart.failed.connect(lambda words: self.notes.show_error(FledgeError(words)))
        self.details = Details(theme)
        self.details.open_wanted.connect(self._open)
        self.details.resume_wanted.connect(self._resume)
        self.details.folder_wanted.connect(self._open_folder)
        self.details.delete_wanted.connect(self._delete)
        self.table = Table(theme, self._columns(), name=tr("Runs"), multi=True)
        self.table.chosen.connect(lambda _: self._chosen())
        self.table.opened.connect(self._open)
        self.count = small()
        self.details.setMinimumHeight(theme.px(240))
        top = Beside(theme, Panel((self.chart, 1), pad=(16, 12, 12, 6)), self.details, side_width=300, needed=800, least=300)
        table = Panel(row(heading(tr("All runs"), "", self.count), pad=(8, 0, 8, 0)), (self.table, 1), pad=(8, 10, 8, 6), gap=6)
        table.setMinimumHeight(theme.px(180))
        self.full = col(QueuePanel(theme, self.queue), (top, 3), (table, 2), gap=12, host=Flexible())
        self.empty = EmptyState(theme, tr("No runs yet"), tr("Each import, each tokenizer and each training is a run. Here they can be "
            "compared, resumed and cleaned up."), Button(theme, tr("Start with a corpus"), "primary", on_click=lambda: self._go("corpus")))
        self.set_body(PageHeader(tr("Runs"), tr("Every run of this project: compare, resume, clean up.")), 14, self.notes, (self.full, 1),
                      (self.empty, 1))
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MS)
        self._timer.timeout.connect(self._look)
        context.survey_changed.connect(self._look_soon)
        show_if(self.empty, False)

    # coming and going -------------------------------------------------------------------------------------------------

    def opened(self, **args: Any) -> None:
        self.queue.start()
        self._timer.start()
        for follower in self._followers.values():
            follower.start()
        self._look(select=str(args.get("run", "")))

    def left(self) -> None:
        self.queue.stop()
        self._timer.stop()
        for follower in self._followers.values():
            follower.stop()

    def _go(self, page: str, **args: Any) -> None:
        self.context.navigate(page, **args)

    # rows -------------------------------------------------------------------------------------------------------------

    def _columns(self) -> list[Column]:
        def steps(r: RunRow) -> str:
            return tr("{step} of {steps}", step=number(r.step), steps=number(r.steps)) if r.steps else ""

        def stage(r: RunRow) -> str:
            return tr("DPO") if r.stage == "dpo" else STAGES[r.stage].title if r.stage in STAGES else r.stage

        return [Column(tr("Run"), lambda r: str(r.number), 52, key=lambda r: r.number),
                Column(tr("Stage"), stage, 124, key=stage, drop=4),
                Column(tr("Name"), lambda r: Cell(r.title, strong=True), key=lambda r: r.title, least=150),
                Column(tr("From"), lambda r: r.inputs, key=lambda r: r.inputs, drop=2, least=168),
                Column(tr("Steps"), steps, 108, right=True, key=lambda r: r.step),
                Column(tr("Best"), lambda r: r.best_words, 148, right=True, drop=5,
                       key=lambda r: (r.stage, r.best[0] if r.best else float("inf")), tip=tr("The best on what is held out.")),
                Column(tr("Time"), lambda r: duration(r.seconds) if r.seconds else "", 96, right=True, key=lambda r: r.seconds, drop=3),
                Column(tr("On disk"), lambda r: size(r.size), 76, right=True, key=lambda r: r.size, drop=1),
                Column(tr("State"), lambda r: state_cell(r.status), 128, key=lambda r: r.status)]

    def _look_soon(self) -> None:
        if self.isVisible():
            self._look()

    def _look(self, select: str = "") -> None:
        """Read the folder in a thread; show what came of it."""
        if not self._looking:
            self._looking = True
            self.context.jobs.run(self.rows.look, then=lambda found: self._show(found, select), failed=self._failed, owner=self)

    def _failed(self, wrong: Exception) -> None:
        self._looking = False
        if not isinstance(wrong, OSError):
            raise wrong

    def _show(self, found: list[RunRow], select: str = "") -> None:
        self._looking = False
        show_if(self.full, bool(found))
        show_if(self.empty, not found)
        first = not self._shown
        if found != self._shown:
            kept = {r.id for r in self.table.selected_rows()}
            self._shown = found
            self.table.set_rows(found)
            self.count.set(tr("{size} on disk", size=size(sum(r.size for r in found))))
            self._select(kept)
        if select or (first and found):
            wanted = select or next((r.id for r in found if r.steps), found[0].id)
            self._select({wanted})
        self._chosen()

    def _select(self, ids: set[str]) -> None:
        model, chosen = self.table.selectionModel(), self.table.rows_model
        blocked = model.blockSignals(True)
        model.clearSelection()
        for place, each in enumerate(chosen.rows):
            if each.id in ids:
                model.select(chosen.index(place, 0), model.SelectionFlag.Select | model.SelectionFlag.Rows)
        model.blockSignals(blocked)
        self.table.viewport().update()

    # the chosen ones --------------------------------------------------------------------------------------------------

    def _chosen(self) -> None:
        rows = sorted(self.table.selected_rows(), key=lambda r: r.number)
        runs = [self.project.runs.get(r.id) for r in rows] if len(rows) == 2 else []
        self.details.show_rows(rows, runs)
        self._follow(rows[:DRAWN])
        self._suggest_measure(rows)
        self._draw()

    def _measure_picked(self) -> None:
        self._measure_chosen = True
        self._draw()

    def _suggest_measure(self, rows: Sequence[RunRow]) -> None:
        """What tells most of runs whose loss says nothing, while the person has picked nothing."""
        if not self._measure_chosen and rows:
            steps = {of_stage(r.stage).step for r in rows}
            self.measure.set("reward" if steps == {"reward"} else "loss")

    def _follow(self, rows: Sequence[RunRow]) -> None:
        """Followers for these; a few more are kept, so that going back and forth does not read again."""
        for each in rows:
            if each.id not in self._followers:
                follower = RunFollower(self.project.runs.get(each.id), self.project.dir, self)
                follower.changed.connect(self._grown)
                self._followers[each.id] = follower
                follower.start()
            self._followers.move_to_end(each.id)
        while len(self._followers) > KEPT:
            _, gone = self._followers.popitem(last=False)
            gone.stop()
            gone.deleteLater()
        self._drawn = [self._followers[r.id] for r in rows]

    _drawn: list[RunFollower] = []

    def _grown(self) -> None:
        if self.isVisible():
            self._draw() if self._evaluated() else self.chart.refresh()

    def _evaluated(self) -> bool:
        return self.measure.value() in ("bpb", "val_loss", "val_accuracy", "val_reward", "pass_at_1")

    def _draw(self) -> None:
        """One curve a run; what is measured rarely has dots."""
        key, curves = self.measure.value(), []
        for follower, (tone, dashed) in zip(self._drawn, LOOKS, strict=False):
            state, run = follower.state, follower.run
            name = tr("run {number}", number=run.number) + (f", {run.title}" if run.title else "")
            if self._evaluated():
                points = [(float(e.step), v) for e in state.evaluations if (v := e.values.get(key)) is not None]
                curves.append(Curve(name, tone, points=points, dots=True, dashed=dashed, steps=state.metrics))
            else:
                curves.append(Curve(name, tone, series=state.metrics, key=key, dashed=dashed, raw=len(self._drawn) == 1))
        if [_same(c) for c in curves] != [_same(c) for c in self.chart.plot.curves]:
            self.chart.set_curves(curves)
        ends = [float(f.state.facts.get("steps") or 0) for f in self._drawn if f.active]
        self.chart.set_end(max(ends, default=0.0), None)
        self.chart.refresh()

    # acting -----------------------------------------------------------------------------------------------------------

    def _open(self, chosen: RunRow) -> None:
        self._go(chosen.stage, run=chosen.id)

    def _resume(self, chosen: RunRow) -> None:
        follower = self._followers[chosen.id]
        self._process = RunProcess(follower, self)
        self._process.refused.connect(self.notes.show_error)
        self._process.resume(self.context.device)
        self.context.look()
        self._open(chosen)

    def _open_folder(self, chosen: RunRow) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.project.runs.get(chosen.id).dir)))

    def _delete(self, chosen: RunRow) -> None:
        follower = self._followers.pop(chosen.id, None)
        if follower is not None:
            follower.stop()
            follower.deleteLater()
            self._drawn = [f for f in self._drawn if f is not follower]
            self.chart.set_curves([])

        def done(_: object) -> None:
            self.context.toast(tr("Run {number} deleted, {size} freed", number=chosen.number, size=size(chosen.size)))
            self._select(set())
            self._look()
            self.context.look()
        self.context.jobs.run(lambda: self.project.runs.delete(chosen.id), then=done, failed=self._refused, owner=self)

    def _refused(self, wrong: Exception) -> None:
        if not isinstance(wrong, FledgeError):
            raise wrong
        self.notes.show_error(wrong)


def _same(curve: Curve) -> tuple[Any, ...]:
    return (curve.name, curve.tone, id(curve.series), curve.key, curve.dashed, curve.raw, tuple(curve.points))
