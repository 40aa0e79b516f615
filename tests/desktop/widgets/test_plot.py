"""The chart on the screen: when it draws, what it reads out, zoom by mouse and keys, what it writes to files."""

import csv
import time
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest

from desktop.theme.theme import Theme
from desktop.widgets.legend import Legend
from desktop.widgets.metric_chart import MetricChart
from desktop.widgets.plot import Curve, Mark, Plot, at_steps
from engine.project.run_state import Series


def series(count: int, start: int = 1) -> Series:
    made, steps = Series(), np.arange(start, start + count, dtype=float)
    made.append({"step": steps, "loss": 3 + 6 * np.exp(-steps / count * 8), "tokens": steps * 1000, "elapsed": steps * 0.5})
    return made


@pytest.fixture
def chart(theme: Theme, qtbot) -> MetricChart:
    made = MetricChart(theme, "Loss", unit="nats")
    qtbot.addWidget(made)
    made.resize(700, 320)
    made.set_curves([Curve("loss", series=series(500), unit="nats")])
    made.show()
    qtbot.waitUntil(lambda: made.plot.draws > 0, timeout=3000)
    return made


def settle(qtbot, plot: Plot) -> None:
    qtbot.waitUntil(lambda: not plot._timer.isActive(), timeout=3000)
    plot.repaint()


def test_a_hidden_plot_never_draws(theme: Theme, qtbot) -> None:
    plot = Plot(theme, "Loss")
    qtbot.addWidget(plot)
    plot.set_curves([Curve("loss", series=series(10))])
    for _ in range(5):
        plot.refresh()
    qtbot.wait(250)
    assert plot.draws == 0
    plot.show()
    qtbot.waitUntil(lambda: plot.draws > 0, timeout=3000)
    plot.hide()
    drawn = plot.draws
    plot.refresh()
    qtbot.wait(250)
    assert plot.draws == drawn


def test_draws_at_most_ten_times_a_second(chart: MetricChart, qtbot) -> None:
    settle(qtbot, chart.plot)
    drawn, until, data = chart.plot.draws, time.perf_counter() + 1.0, chart.plot.curves[0].series
    step = data.length
    while time.perf_counter() < until:
        step += 1
        data.append({"step": [float(step)], "loss": [2.0], "tokens": [step * 1000.0], "elapsed": [step * 0.5]})
        chart.refresh()
        qtbot.wait(5)
    assert 4 <= chart.plot.draws - drawn <= 11


def test_the_readout_by_keys_is_spoken(chart: MetricChart, qtbot) -> None:
    plot = chart.plot
    settle(qtbot, plot)
    plot.setFocus()
    QTest.keyClick(plot, Qt.Key.Key_Home)
    assert plot.accessibleDescription().startswith("Step 1:")
    QTest.keyClick(plot, Qt.Key.Key_Right)
    QTest.keyClick(plot, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    assert "smoothed 0.90" in plot.accessibleDescription() and "nats" in plot.accessibleDescription()
    QTest.keyClick(plot, Qt.Key.Key_End)
    assert plot.accessibleDescription().startswith("Step 500:")
    QTest.keyClick(plot, Qt.Key.Key_Escape)
    assert plot._point is None


def test_the_readout_says_the_value_of_the_step(chart: MetricChart, qtbot) -> None:
    settle(qtbot, chart.plot)
    head, lines = chart.plot.readout(250.2)
    assert head == "Step 250"
    assert float(lines[0][1].split()[0]) == pytest.approx(3 + 6 * np.exp(-250 / 500 * 8), abs=1e-3)


def test_a_drag_zooms_and_a_double_click_shows_the_whole(chart: MetricChart, qtbot) -> None:
    plot = chart.plot
    settle(qtbot, plot)
    area = plot.area()
    a = QPoint(int(area.left() + area.width() * 0.25), int(area.center().y()))
    b = QPoint(int(area.left() + area.width() * 0.75), int(area.center().y()))
    QTest.mousePress(plot, Qt.MouseButton.LeftButton, pos=a)
    QTest.mouseMove(plot, b)
    plot.mouseMoveEvent(_move(b))
    QTest.mouseRelease(plot, Qt.MouseButton.LeftButton, pos=b)
    assert plot.view is not None
    assert plot.view == (pytest.approx(125, abs=4), pytest.approx(375, abs=4))
    assert chart._whole.isVisible()
    QTest.mouseDClick(plot, Qt.MouseButton.LeftButton, pos=a)
    assert plot.view is None


def _move(pos: QPoint):
    from PySide6.QtCore import QEvent, QPointF
    from PySide6.QtGui import QMouseEvent
    return QMouseEvent(QEvent.Type.MouseMove, QPointF(pos), QPointF(pos), Qt.MouseButton.NoButton, Qt.MouseButton.LeftButton,
                       Qt.KeyboardModifier.NoModifier)


def test_zoom_by_keys(chart: MetricChart, qtbot) -> None:
    plot = chart.plot
    settle(qtbot, plot)
    QTest.keyClick(plot, Qt.Key.Key_End)
    QTest.keyClick(plot, Qt.Key.Key_Plus)
    assert plot.view is not None and plot.view[1] - plot.view[0] == pytest.approx(250, rel=0.05)
    QTest.keyClick(plot, Qt.Key.Key_0)
    assert plot.view is None


def test_linked_charts_share_axis_zoom_and_readout(theme: Theme, qtbot) -> None:
    data = series(300)
    above, below = MetricChart(theme, "Loss"), MetricChart(theme, "Validation", controls=False)
    for each in (above, below):
        qtbot.addWidget(each)
        each.resize(600, 240)
    above.set_curves([Curve("loss", series=data)])
    below.set_curves([Curve("bpb", "series2", points=[(100, 2.0), (200, 123.456)], dots=True, steps=data)])
    above.linked(below)
    for each in (above, below):
        each.show()
    qtbot.waitUntil(lambda: above.plot.draws > 0 and below.plot.draws > 0, timeout=3000)
    above.plot.zoom((50.0, 150.0))
    assert below.plot.view == (50.0, 150.0)
    above.axis._group.button(1).click()
    assert above.plot.x_kind == below.plot.x_kind == "tokens"
    assert above.plot.view is None
    above.plot._move_point(150_000.0)
    assert below.plot._point == 150_000.0
    settle(qtbot, below.plot)
    settle(qtbot, above.plot)
    assert above.plot.area().left() == below.plot.area().left()


def test_evaluated_points_lie_where_their_steps_are() -> None:
    data = series(100)
    assert at_steps(data, np.array([0.0, 10.0, 50.0]), "tokens").tolist() == [0.0, 10_000.0, 50_000.0]
    assert np.isnan(at_steps(None, np.array([1.0]), "tokens")).all()


def test_log_axes_outliers_and_marks_draw_without_complaint(chart: MetricChart, qtbot) -> None:
    data = chart.plot.curves[0].series
    data.append({"step": [501.0, 502.0, 503.0], "loss": [float("nan"), -1.0, 1e12], "tokens": [5e5, 5.1e5, 5.2e5],
                 "elapsed": [251.0, 251.5, 252.0]})
    chart.set_marks([Mark(100, "checkpoint", "saved"), Mark(200, "best", "best"), Mark(300, "notice", "odd")])
    chart.set_end(600, 503)
    for settings in ({"log_x": True}, {"log_y": True}, {"clip": True}, {"log_x": False}, {"log_y": False}, {"smoothing": 0.0},
                     {"x_kind": "elapsed"}, {"clip": False}):
        chart.set_axes(**settings)
        settle(qtbot, chart.plot)
    chart.set_axes(clip=True, x_kind="step")
    settle(qtbot, chart.plot)
    assert chart.plot._y[1] < 1e6


def test_rows_taken_back_by_a_resume_are_not_drawn(chart: MetricChart, qtbot) -> None:
    data = chart.plot.curves[0].series
    data.cut(100)
    data.append({"step": [101.0], "loss": [55.0], "tokens": [1e5], "elapsed": [50.0]})
    chart.refresh()
    settle(qtbot, chart.plot)
    qtbot.waitUntil(lambda: chart.plot.curves[0].pyramid.length == 101, timeout=3000)
    chart.plot._picture = None
    chart.plot.repaint()
    assert chart.plot._raws[0][1].x.max() == 101.0


def test_csv_has_every_value(chart: MetricChart, qtbot, tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    with qtbot.waitSignal(chart.exported, timeout=5000):
        chart.export_csv(path)
    rows = list(csv.DictReader(path.open(encoding="utf-8")))
    assert len(rows) == 500
    value = repr(float(3 + 6 * np.exp(-10 / 500 * 8)))
    assert rows[9] == {"curve": "loss", "step": "10", "tokens": "10000", "elapsed": "5", "value": value}


def test_a_file_that_cannot_be_written_is_said(chart: MetricChart, qtbot, tmp_path: Path) -> None:
    with qtbot.waitSignal(chart.failed, timeout=5000) as said:
        chart.export_csv(tmp_path / "missing" / "curve.csv")
    assert "curve.csv" in said.args[0]


def test_png_is_what_is_seen(chart: MetricChart, qtbot, tmp_path: Path) -> None:
    from PySide6.QtGui import QImage
    path = tmp_path / "chart.png"
    with qtbot.waitSignal(chart.exported, timeout=5000):
        chart.export_png(path)
    assert QImage(str(path)).width() >= 700


def test_smoothed_line_is_in_the_accent(chart: MetricChart, theme: Theme, qtbot) -> None:
    settle(qtbot, chart.plot)
    image = chart.plot.grab().toImage()
    accent, seen = theme.colour("accent").rgb(), 0
    for x in range(0, image.width(), 2):
        seen += any(image.pixel(x, y) == accent for y in range(image.height()))
    assert seen > 50


def test_options_change_the_legend(chart: MetricChart) -> None:
    chart.set_axes(smoothing=0.5)
    assert ("smoothed 0.50", "accent", False) in chart.legend.lines


def test_a_legend_without_room_counts_or_wraps(theme: Theme, qtbot) -> None:
    lines = [(f"run {i}, a rather long name", "accent", False) for i in range(6)]
    one, many = Legend(theme), Legend(theme, wrap=True)
    for each in (one, many):
        qtbot.addWidget(each)
        each.set(lines)
        assert each.accessibleName().count("rather long") == 6
    assert 0 < len(one._places(400)) < 6
    assert one.heightForWidth(400) < many.heightForWidth(400)
    assert len(many._places(400)) == 6
    assert many.heightForWidth(4000) == one.heightForWidth(400)
    assert one.minimumSizeHint().width() == 0


def test_a_plot_without_data_says_so_and_takes_keys(theme: Theme, qtbot) -> None:
    plot = Plot(theme, "Loss")
    qtbot.addWidget(plot)
    plot.resize(400, 200)
    plot.show()
    qtbot.waitUntil(lambda: plot.draws > 0, timeout=3000)
    for key in (Qt.Key.Key_Home, Qt.Key.Key_Right, Qt.Key.Key_Plus, Qt.Key.Key_0, Qt.Key.Key_Escape):
        QTest.keyClick(plot, key)
    assert plot.grab().width() >= 400
