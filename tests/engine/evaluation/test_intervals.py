"""Intervals, pass@k and the sign test, on numbers worked by hand or known from tables."""

import math
import random

import pytest

from engine.evaluation.intervals import mean_interval, pass_at_k, sign_test, wilson


def test_wilson_gives_the_numbers_of_the_books():
    low, high = wilson(8, 10)  # 0.4902 to 0.9433: Newcombe (1998)'s method 3
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)
    low, high = wilson(0, 20)
    assert low == 0.0 and round(high, 4) == 0.1611
    assert wilson(20, 20) == (pytest.approx(1 - 0.1611, abs=1e-4), 1.0)
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = random.Random(5)
    covered = 0
    for _ in range(2000):
        right = sum(rng.random() < 0.85 for _ in range(60))
        low, high = wilson(right, 60)
        covered += low <= 0.85 <= high
    assert 0.92 < covered / 2000 < 0.98


def test_pass_at_k_is_the_share_of_draws_that_hold_a_right_one():
    assert pass_at_k(4, 1, 1) == 0.25
    assert pass_at_k(4, 1, 2) == 0.5  # of the six pairs three hold it
    assert pass_at_k(4, 2, 3) == 1.0
    assert pass_at_k(10, 0, 10) == 0.0
    with pytest.raises(AssertionError):
        pass_at_k(2, 1, 3)


def test_sign_test_is_exact_and_agrees_with_its_approximation():
    assert sign_test(0, 0) == 1.0
    assert sign_test(0, 6) == 2 / 64
    assert sign_test(3, 3) == 1.0
    exact = min(1.0, 2 * sum(math.comb(1000, i) for i in range(461)) / 2**1000)
    assert sign_test(460, 540) == pytest.approx(exact)
    assert sign_test(461, 540) == pytest.approx(exact, rel=0.1)  # one more, by the approximation


def test_mean_interval_by_hand():
    mean, low, high = mean_interval([1.0, 2.0, 3.0])
    assert mean == 2.0 and high - mean == pytest.approx(1.959964 / math.sqrt(3)) and mean - low == pytest.approx(high - mean)
    assert mean_interval([4.0]) == (4.0, 4.0, 4.0)
    assert all(math.isnan(x) for x in mean_interval([]))
