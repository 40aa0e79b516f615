"""A chart with its heading: name, named lines, a note, and what can be changed about it (axis, smoothing, logarithms, outliers, export).

Charts one above the other are `linked`: one x axis, one zoom, one readout. What is drawn is plot.py's matter.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PySide6.QtCore import QObject, Qt, QTimer, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QFileDialog, QMenu, QSlider, QWidget, QWidgetAction

from desktop.theme.theme import Theme
from desktop.widgets.buttons import Button, Segments
from desktop.widgets.layout import col, fixed, row, show_if
from desktop.widgets.legend import Legend
from desktop.widgets.plot import Curve, Mark, Plot
from desktop.widgets.text import Text, small
from engine.contract.words import tr

EXPORT_TURN = 0.008
COLUMNS = ("step", "tokens", "elapsed")


class MetricChart(QWidget):
    """`set_curves`, `set_marks`, `set_end`; `refresh` when the data grew. `controls` puts axis and options into the heading; `lead` stands
    there instead of the title. `legend_below`: the names of many lines, in as many rows as they take."""

    exported = Signal(str)
    failed = Signal(str)
    options_changed = Signal()

    def __init__(self, theme: Theme, title: str, *, unit: str = "", controls: bool = True, show_x: bool = True, name: str = "",
                 lead: QWidget | None = None, legend_below: bool = False) -> None:
        super().__init__()
        self.theme, self.title = theme, title
        self.plot = Plot(theme, name or title, unit=unit, show_x=show_x)
        self._links: list[MetricChart] = []
        self.legend = Legend(theme, wrap=legend_below)
        self._title = Text(title, "section")
        self._note = small()
        self._whole = Button(theme, tr("Whole run"), "quiet", on_click=lambda: self.plot.zoom(None))
        self.axis = Segments(theme, (("step", tr("Steps")), ("tokens", tr("Tokens")), ("elapsed", tr("Time"))), "step",
                             name=tr("Axis of {chart}", chart=title), on_change=lambda kind: self.set_axes(x_kind=kind))
        self.options = Button(theme, kind="icon", icon="settings", name=tr("Options of {chart}", chart=title), on_click=self._open_menu)
        fixed(self.options, theme.px(28), theme.px(28))
        head = row(lead or self._title, "+" if legend_below else (self.legend, 1), self._note, self._whole, self.axis if controls else None,
                   self.options if controls else None, gap=14)
        head.setMinimumHeight(theme.px(30) if controls else theme.px(22))
        if lead is not None:
            self._title.deleteLater()
        if not controls:
            self.axis.deleteLater()
            self.options.deleteLater()
        col(head, self.legend if legend_below else None, (self.plot, 1), gap=4 if legend_below else 2, host=self)
        self._menu = QMenu(self)
        self._smoothing_words = small()
        self._build_menu()
        self._exporter: CsvExport | None = None
        show_if(self._whole, False)
        self.plot.zoomed.connect(self._zoomed)
        self.plot.pointed.connect(self._pointed)
        self.plot.room_changed.connect(self._rooms)

    # data -------------------------------------------------------------------------------------------------------------

    def set_curves(self, curves: Sequence[Curve]) -> None:
        self.plot.set_curves(curves)
        self._show_legend()

    def set_marks(self, marks: Sequence[Mark]) -> None:
        if list(marks) != self.plot.marks:
            self.plot.marks = list(marks)
            self.plot.refresh()

    def set_end(self, steps: float, now: float | None) -> None:
        """The planned last step, and where the run stands (None: it is not under way)."""
        if (steps, now) != (self.plot.x_end, self.plot.now):
            self.plot.x_end, self.plot.now = steps, now
            self.plot.refresh()

    def set_note(self, words: str) -> None:
        self._note.set(words)

    def refresh(self) -> None:
        self.plot.refresh()

    def linked(self, *others: "MetricChart") -> None:
        """Show the same x axis, zoom and readout in these; their options follow this one's."""
        group = [self, *others]
        for chart in group:
            chart._links = [c for c in group if c is not chart]

    # settings ---------------------------------------------------------------------------------------------------------

    def set_axes(self, *, x_kind: str | None = None, log_x: bool | None = None, log_y: bool | None = None, clip: bool | None = None,
                 smoothing: float | None = None) -> None:
        for chart in (self, *self._links):
            chart.plot.set_axes(x_kind=x_kind, log_x=log_x, log_y=log_y if chart is self else None, clip=clip, smoothing=smoothing)
            show_if(chart._whole, chart.plot.view is not None)
            chart._show_legend()
        self._smoothing_words.set(tr("Smoothing {beta}", beta=f"{self.plot.smoothing:.2f}"))
        self.options_changed.emit()

    def set_smoothing(self, beta: float) -> None:
        """Another smoothing to begin with; the slider follows."""
        self._slider.setValue(round(beta * 100))

    def _build_menu(self) -> None:
        slider = self._slider = QSlider(Qt.Orientation.Horizontal)
        slider.setRange(0, 99)
        slider.setValue(round(self.plot.smoothing * 100))
        slider.setFixedWidth(self.theme.px(180))
        slider.setAccessibleName(tr("Smoothing"))
        slider.valueChanged.connect(lambda value: self.set_axes(smoothing=value / 100))
        self._smoothing_words.set(tr("Smoothing {beta}", beta=f"{self.plot.smoothing:.2f}"))
        holder = QWidgetAction(self._menu)
        holder.setDefaultWidget(col(self._smoothing_words, slider, gap=4, pad=(12, 6, 12, 6)))
        self._menu.addAction(holder)
        self._menu.addSeparator()
        self.log_x = self._check(tr("Logarithmic x axis"), lambda on: self.set_axes(log_x=on))
        self.log_y = self._check(tr("Logarithmic y axis"), lambda on: self.set_axes(log_y=on))
        self.clip = self._check(tr("Leave out the outermost values"), lambda on: self.set_axes(clip=on))
        self._menu.addSeparator()
        self._menu.addAction(tr("Save picture (PNG)"), self._ask_png)
        self._menu.addAction(tr("Save values (CSV)"), self._ask_csv)

    def _check(self, words: str, change: Callable[[bool], object]) -> QAction:
        made = self._menu.addAction(words)
        made.setCheckable(True)
        made.toggled.connect(change)
        return made

    def _open_menu(self) -> None:
        self._menu.popup(self.options.mapToGlobal(self.options.rect().bottomLeft()))

    # links ------------------------------------------------------------------------------------------------------------

    def _zoomed(self, view: tuple[float, float] | None) -> None:
        for chart in (self, *self._links):
            chart.plot.set_view(view)
            show_if(chart._whole, view is not None and chart._has_controls())

    def _has_controls(self) -> bool:
        return not self._links or self.plot.show_now_word

    def _pointed(self, x: float | None) -> None:
        for chart in self._links:
            chart.plot.point_at(x)

    def _rooms(self) -> None:
        if self._links:
            room = max(chart.plot.room for chart in (self, *self._links))
            for chart in (self, *self._links):
                chart.plot.set_min_left(room)

    # legend -----------------------------------------------------------------------------------------------------------

    def _legend_lines(self) -> list[tuple[str, str, bool]]:
        lines: list[tuple[str, str, bool]] = []
        for curve in self.plot.curves:
            if curve.series is not None and curve.spread:
                lines.append((curve.name, curve.tone, False))
            elif curve.series is not None and curve.raw:
                lines.append((tr("each step"), "raw" if curve.tone == "accent" else curve.tone, False))
                lines.append((tr("smoothed {beta}", beta=f"{self.plot.smoothing:.2f}"), curve.tone, False))
            else:
                lines.append((curve.name, curve.tone, curve.dashed or curve.dotted))
        return lines

    def _show_legend(self) -> None:
        self.legend.set(self._legend_lines())

    # export -----------------------------------------------------------------------------------------------------------

    def _ask_png(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, tr("Save picture"), f"{self.title}.png", tr("Pictures (*.png)"))
        if path:
            self.export_png(Path(path))

    def _ask_csv(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, tr("Save values"), f"{self.title}.csv", tr("Tables (*.csv)"))
        if path:
            self.export_csv(Path(path))

    def export_png(self, path: Path) -> None:
        """What is seen, heading included, as a picture."""
        if self.grab().save(str(path), "PNG"):
            self.exported.emit(str(path))
        else:
            self.failed.emit(tr("{path} could not be written.", path=str(path)))

    def export_csv(self, path: Path) -> None:
        """Every value of every curve, not only what the screen shows; written a little at a time, the window stays alive."""
        self._exporter = CsvExport(path, csv_lines(self.plot.curves), self)
        self._exporter.done.connect(lambda: self.exported.emit(str(path)))
        self._exporter.failed.connect(self.failed)
        self._exporter.start()


def csv_lines(curves: Sequence[Curve]) -> Iterator[str]:
    """`curve,step,tokens,elapsed,value`, a few hundred lines at a time; empty where a column is missing."""
    yield "curve,step,tokens,elapsed,value\n"
    for curve in curves:
        name = '"' + curve.name.replace('"', '""') + '"'
        if curve.series is None:
            yield "".join(f"{name},{step:g},,,{value!r}\n" for step, value in curve.points)
            continue
        for start in range(0, curve.series.length, 500):
            end = min(start + 500, curve.series.length)
            columns = []
            for key in (*COLUMNS, curve.key):
                held = curve.series.column(key)[start:end].tolist()
                columns.append([repr(v).removesuffix(".0") if v == v else "" for v in held] if held else [""] * (end - start))
            yield "".join(f"{name},{','.join(cells)}\n" for cells in zip(*columns, strict=True))


class CsvExport(QObject):
    """Writes text pieces to a file in turns of 8 ms."""

    done = Signal()
    failed = Signal(str)

    def __init__(self, path: Path, pieces: Iterator[str], parent: QObject) -> None:
        super().__init__(parent)
        self._path, self._pieces = path, pieces
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._turn)

    def start(self) -> None:
        try:
            self._file = open(self._path, "w", encoding="utf-8", newline="")
        except OSError as wrong:
            self.failed.emit(tr("{path} could not be written: {why}.", path=str(self._path), why=wrong.strerror or ""))
            return
        self._timer.start(0)

    def _turn(self) -> None:
        until = time.perf_counter() + EXPORT_TURN
        try:
            while time.perf_counter() < until:
                piece = next(self._pieces, None)
                if piece is None:
                    self._timer.stop()
                    self._file.close()
                    self.done.emit()
                    return
                self._file.write(piece)
        except OSError as wrong:
            self._timer.stop()
            self.failed.emit(tr("{path} could not be written: {why}.", path=str(self._path), why=wrong.strerror or ""))
