"""The chart's arithmetic against the plain way: extremes, smoothing, ticks."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desktop.widgets.chart_data import Pyramid, decay_scan, log_ticks, nice_step, reduced, robust_range, short_time, smoothed, ticks


def build(values: np.ndarray, pieces: int = 1) -> Pyramid:
    made = Pyramid()
    for end in np.linspace(0, values.size, pieces + 1).astype(int)[1:]:
        assert made.update(values[:end])
    return made


@settings(max_examples=40)
@given(st.integers(1, 9000), st.integers(1, 300), st.integers(1, 7), st.booleans())
def test_extremes_are_those_of_the_bins(size: int, bins: int, pieces: int, holes: bool) -> None:
    rng = np.random.default_rng(size)
    values = rng.normal(size=size)
    if holes:
        values[rng.random(size) < 0.3] = np.nan
    cuts = np.unique(np.linspace(0, size, bins + 1).astype(np.intp))
    lo, hi = build(values, pieces).extremes(values, cuts[:-1], cuts[1:])
    for i, (a, b) in enumerate(zip(cuts[:-1], cuts[1:], strict=True)):
        wide = values[max(0, a - (b - a) // 4):b + (b - a) // 4]  # a bin may reach a quarter of its width to either side
        if np.isnan(wide).all():
            assert math.isnan(lo[i]) and math.isnan(hi[i])
        elif not np.isnan(values[a:b]).all():
            assert np.nanmin(wide) <= lo[i] <= np.nanmin(values[a:b])
            assert np.nanmax(wide) >= hi[i] >= np.nanmax(values[a:b])


def test_a_single_spike_in_a_million_is_seen() -> None:
    values = np.zeros(1_000_000)
    values[123_457] = 9.0
    x = np.arange(1.0, 1_000_001.0)
    pyramid = Pyramid()
    while not pyramid.update(values):
        pass
    for edges in (np.linspace(0, 1e6, 901), 10 ** np.linspace(0, 6, 901), np.linspace(120_000, 130_000, 901)):
        assert reduced(x, values, pyramid, edges).y.max() == 9.0


def test_growing_by_pieces_is_the_same_as_at_once() -> None:
    values = np.random.default_rng(0).normal(size=20_011)
    at_once, pieces = build(values), build(values, 57)
    for level in range(4):
        for place in range(4):
            assert np.array_equal(at_once._levels[level][place], pieces._levels[level][place])


def plain_average(values: np.ndarray, beta: float) -> np.ndarray:
    top = weight = 0.0
    made = []
    for value in values:
        known = not math.isnan(value)
        top, weight = beta * top + (1 - beta) * (value if known else 0.0), beta * weight + (1 - beta) * known
        made.append(top / weight if weight else math.nan)
    return np.array(made)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.99])
def test_smoothing_is_the_debiased_average(beta: float) -> None:
    values = np.random.default_rng(1).normal(5, 1, 900)
    values[[3, 4, 77]] = math.nan
    at, line = smoothed(values, build(values), 0, 900, beta)
    np.testing.assert_allclose(line, plain_average(values, beta)[at], rtol=1e-9, equal_nan=True)
    assert at[-1] == 899


def test_smoothing_of_a_part_is_that_of_the_whole_there() -> None:
    values = np.random.default_rng(2).normal(5, 1, 30_000)
    at, line = smoothed(values, build(values), 20_000, 20_500, 0.98)
    np.testing.assert_allclose(line, plain_average(values, 0.98)[at], rtol=1e-5)


def test_a_million_points_are_smoothed_to_a_thousand_near_the_truth() -> None:
    x = np.arange(1_000_000)
    values = 3 + 6 * np.exp(-x / 1e5) + np.random.default_rng(3).normal(0, 0.01, x.size)
    pyramid = Pyramid()
    while not pyramid.update(values):
        pass
    at, line = smoothed(values, pyramid, 0, x.size, 0.9)
    assert 300 < at.size <= 1000 and at[-1] > 999_000
    assert np.abs(line - (3 + 6 * np.exp(-at / 1e5))).max() < 0.05


def test_decay_scan_is_the_recursion() -> None:
    inputs = np.random.default_rng(4).normal(size=500)
    y, expected = 0.0, []
    for value in inputs:
        y = 0.97 * y + value
        expected.append(y)
    np.testing.assert_allclose(decay_scan(inputs, 0.97), expected, rtol=1e-9)


@pytest.mark.parametrize("low, high, most, words", [
    (2.7, 9.9, 5, ["4", "6", "8"]), (0.85, 2.55, 4, ["1.0", "1.5", "2.0", "2.5"]), (1.21, 1.34, 4, ["1.25", "1.30"])])
def test_value_ticks_are_round_and_tell_apart(low: float, high: float, most: int, words: list[str]) -> None:
    found = ticks(low, high, most)
    assert [w for _, w in found] == words
    assert len({w for _, w in found}) == len(found) <= most + 1
    for value, shown in found:
        assert float(shown) == pytest.approx(value)


def test_ticks_of_steps_tokens_and_time_speak_their_units() -> None:
    assert [w for _, w in ticks(0, 2503, 6, "step")] == ["0", "500", "1,000", "1,500", "2,000", "2,500"]
    assert [w for _, w in ticks(0, 3700, 5, "elapsed")] == ["0\u00a0s", "15\u00a0min", "30\u00a0min", "45\u00a0min", "1\u00a0h"]
    assert ticks(0, 6.56e8, 5, "tokens")[1][1] == "200\u00a0M"
    assert ticks(0, 3, 9, "step")[1][0] == 1.0
    assert ticks(5, 5, 4) == []


def test_log_ticks_are_decades_and_more_where_there_is_room() -> None:
    assert [w for _, w in log_ticks(0, 4.2, 6, "step")] == ["1", "10", "100", "1,000", "10,000"]
    assert len(log_ticks(0, 12, 5, "step")) <= 6
    assert [round(10 ** p) for p, _ in log_ticks(0, 1, 5)] == [1, 2, 5, 10]


def test_steps_are_nice() -> None:
    assert [nice_step(span, 5) for span in (10, 11, 30, 0.7)] == [2.0, 2.5, 10.0, pytest.approx(0.2)]


def test_outliers_are_left_out_of_the_range() -> None:
    values = np.concatenate([np.linspace(1, 2, 5000), [1e9]])
    assert robust_range(values)[1] < 3
    assert robust_range(np.array([math.nan])) is None


def test_short_times() -> None:
    assert [short_time(s).replace("\u00a0", " ") for s in (0, 59, 90, 3600, 5025, 200_000)] == \
        ["0 s", "59 s", "1 min 30 s", "1 h", "1 h 23 min", "2 d 7 h"]
