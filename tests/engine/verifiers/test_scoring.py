"""pass@k, histogram, and what there is to learn from groups of scores."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.verifiers.api import Verdict, failed
from engine.verifiers.scoring import BARS, BINS, histogram, pass_at_k, scores_of, signal


@pytest.mark.parametrize("n", range(1, 9))
def test_pass_at_k_is_the_share_of_subsets_with_a_right_answer(n):
    for c in range(n + 1):
        for k in range(1, n + 1):
            subsets = list(combinations([place < c for place in range(n)], k))
            assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets), abs=1e-12), (n, c, k)


def test_pass_at_k_of_many_does_not_overflow():
    assert pass_at_k(100_000, 1, 50_000) == pytest.approx(0.5, abs=1e-9)
    assert pass_at_k(4096, 4096, 4096) == 1 and pass_at_k(4096, 0, 4096) == 0


def test_few_different_scores_have_a_bar_each():
    bars = histogram([0.0] * 291 + [0.5] * 63 + [1.0] * 126)
    assert [(bar.label, bar.count) for bar in bars] == [("0.0", 291), ("0.5", 63), ("1.0", 126)]
    assert histogram([]) == () and [(bar.label, bar.count) for bar in histogram([-0.0, 0.0, 1e-9])] == [("0.0", 3)]
    assert len(histogram([n / 10 for n in range(BARS)])) == BARS


@given(st.lists(st.floats(-1000, 1000, allow_nan=False), min_size=1, max_size=200))
def test_many_different_scores_are_counted_in_bins_and_none_is_lost(scores):
    bars = histogram(scores)
    assert sum(bar.count for bar in bars) == len(scores)
    if any(bar.low != bar.high for bar in bars):
        assert len({round(bar.high - bar.low, 6) for bar in bars}) == 1 and len(bars) <= BINS + 2
        assert all(abs(one.high - other.low) < 1e-6 for one, other in zip(bars, bars[1:], strict=False))
        assert bars[0].low <= min(scores) + 1e-5 and max(scores) - 1e-5 <= bars[-1].high


def test_a_score_on_a_border_is_counted_above_it():
    bars = histogram([n / 100 for n in range(101)])
    assert [bar.count for bar in bars] == [10] * 9 + [11] and bars[0].label == "0.0–0.1"


def test_groups_are_told_apart_by_what_grpo_learns_from():
    found = signal([[0, 1, 0], [1, 1, 1], [0, 0, 0], [0.5, 0.5, 0.5], [None, None, 1], [None, 0, 1]])
    assert (found.groups, found.mixed, found.all_right, found.all_wrong, found.unsaid) == (6, 2, 1, 2, 1)
    assert found.level == "ok" and "in 2 of 5 groups" in found.sentence


@pytest.mark.parametrize(("groups", "level", "said", "remedy"), [
    ([[0, 1]] * 38 + [[0, 0]] * 22, "ok", "There is signal: in 38 of 60 groups some answers score and some do not.", ""),
    ([[0, 0]] * 30 + [[1, 1]] * 30, "failure", "No signal: no group has a mixed result; make it easier or raise k.", "between"),
    ([[0, 0]] * 60, "failure", "none is right", "easier"),
    ([[1, 1]] * 60, "failure", "every answer is right", "harder"),
    ([[0, 1]] + [[0, 0]] * 59, "warning", "only in 1 of 60 groups", "easier"),
    ([[0, 1]] + [[1, 1]] * 59, "warning", "only in 1 of 60 groups", "harder"),
    ([[None, None]] * 5, "skipped", "could not judge", "Mend"),
])
def test_the_sentence_says_what_to_do(groups, level, said, remedy):
    found = signal(groups)
    assert found.level == level and said in found.sentence and remedy in found.remedy


def test_right_is_what_has_the_full_score_and_not_judged_counts_as_wrong():
    full = [Verdict(1.2, seconds=0.002), Verdict(1.2, seconds=0.004), Verdict(1.0, seconds=0.0), failed("raised")]
    none = [Verdict(0.2), Verdict(0.0), Verdict(0.0), Verdict(0.0)]
    made = scores_of([("a", full), ("b", none)], full=1.2)
    assert (made.tried, made.right, made.k) == (8, 2, 4) and made.errors == {"raised": 1}
    assert made.pass_at_1 == pytest.approx((2 / 4 + 0) / 2) and made.pass_at_k == pytest.approx((1 + 0) / 2)
    assert made.problems == (("a", 2, 4, pytest.approx(3.4 / 3)), ("b", 0, 4, 0.05)) and made.ms == pytest.approx(3)
    assert sum(bar.count for bar in made.bars) == 7 and made.signal.mixed == 2


def test_nothing_tried_is_no_share():
    made = scores_of([])
    assert made.pass_at_1 is None and made.pass_at_k is None and made.mean is None and made.bars == ()
