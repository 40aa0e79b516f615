"""The learning rate's course, on numbers worked by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.training.schedule import Schedule


def test_warmup_rises_to_the_peak_then_holds_then_falls():
    schedule = Schedule(steps=10, warmup_steps=2, decay="linear", decay_share=0.4, final_share=0.0)
    assert [schedule.share(s) for s in range(10)] == pytest.approx([0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25])


def test_final_share_is_where_the_decay_ends():
    schedule = Schedule(steps=4, decay="linear", decay_share=1.0, final_share=0.2)
    assert [schedule.share(s) for s in range(5)] == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])


def test_cosine_is_half_way_in_the_middle():
    schedule = Schedule(steps=8, decay="cosine", decay_share=1.0)
    assert schedule.share(4) == pytest.approx(0.5)
    assert schedule.share(2) == pytest.approx(0.5 * (1 + 2**-0.5))


def test_constant_never_falls():
    assert {Schedule(steps=9, decay="constant", decay_share=1.0).share(s) for s in range(9)} == {1.0}


@given(st.integers(1, 500), st.integers(0, 100), st.sampled_from(["linear", "cosine", "constant"]), st.floats(0, 1), st.floats(0, 1))
def test_every_step_of_a_run_moves_and_none_passes_the_peak(steps, warmup, decay, share, final):
    schedule = Schedule(steps, warmup, decay, share, final)
    assert all(0 < schedule.share(s) <= 1 for s in range(steps))
