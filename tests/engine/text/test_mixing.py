"""Mixing: shares, caps, epochs, and that a draw depends on ids alone."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.contract.errors import SettingError
from engine.text.lots import keys, lots, of_texts
from engine.text.mixing import MixOptions, amounts, mix


def corpus(seed, counts, mean=1000):
    rng = np.random.default_rng(seed)
    roots = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    sizes = rng.integers(1, 2 * mean, len(roots))
    return rng.integers(0, 2**64, len(roots), np.uint64), roots, sizes


def by_root(values, roots, count):
    return np.bincount(roots, weights=values, minlength=count)


options = st.builds(MixOptions, weight=st.none(), epochs=st.floats(0.05, 5), cap_bytes=st.none() | st.integers(5_000, 400_000))
weighted = st.builds(MixOptions, weight=st.floats(0.1, 10), epochs=st.floats(0.2, 4), cap_bytes=st.none() | st.integers(50_000, 400_000))
counts = st.lists(st.integers(20, 300), min_size=1, max_size=4)


def test_without_options_nothing_changes():
    ids, roots, sizes = corpus(1, [50, 0, 30])
    made = mix(ids, roots, sizes, [MixOptions()] * 3)
    assert (made.copies_D == 1).all()
    assert [row["documents"] for row in made.rows] == [50, 0, 30] and sum(row["share"] for row in made.rows) == pytest.approx(1)


def test_amounts_by_hand():
    plan = amounts([1000, 600, 0], [MixOptions(weight=1), MixOptions(weight=3, epochs=2, cap_bytes=300), MixOptions(weight=5)])
    # The second reaches 600 for weight 3: a unit of weight is 200 bytes. The third has nothing and is left out.
    assert [(p.available, p.taken) for p in plan] == [(1000, 200), (300, 600), (0, 0)]
    assert [p.share for p in plan] == [0.25, 0.75, 0] and plan[1].multiple == 2
    assert [p.taken for p in amounts([1000, 600], [MixOptions(epochs=0.3), MixOptions(epochs=2.5, cap_bytes=100)])] == [300, 250]


def test_weights_for_some_sources_only_are_refused():
    with pytest.raises(SettingError, match="Some sources have a weight"):
        amounts([1, 1], [MixOptions(weight=1), MixOptions()])


@settings(max_examples=60, deadline=None)
@given(counts, st.data(), st.integers(0, 99))
def test_epochs_and_caps(sizes_of, data, seed):
    chosen = [data.draw(options) for _ in sizes_of]
    ids, roots, sizes = corpus(seed, sizes_of)
    made = mix(ids, roots, sizes, chosen)
    for root, option in enumerate(chosen):
        mine = roots == root
        kept, largest = int(sizes[mine].sum()), int(sizes[mine].max())
        copies = made.copies_D[mine]
        assert copies.max() <= math.ceil(option.epochs) and copies.any()
        cap = min(kept, option.cap_bytes or kept)
        assert sizes[mine][copies > 0].sum() <= cap + largest
        assert abs((sizes[mine] * copies).sum() - cap * option.epochs) <= largest * max(1, option.epochs)
        if option.epochs >= 1 and cap == kept:
            assert copies.min() >= math.floor(option.epochs)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(100, 300), min_size=2, max_size=4), st.data(), st.integers(0, 99))
def test_weights_give_their_shares(sizes_of, data, seed):
    chosen = [data.draw(weighted) for _ in sizes_of]
    ids, roots, sizes = corpus(seed, sizes_of)
    made = mix(ids, roots, sizes, chosen)
    training = by_root(sizes * made.copies_D, roots, len(chosen))
    weights = np.array([o.weight for o in chosen])
    slack = 2000 * max(o.epochs for o in chosen) + 2000
    assert np.abs(training - training.sum() * weights / weights.sum()).max() <= slack
    reach = np.array([p.available * o.epochs for p, o in zip(made.roots, chosen, strict=True)])
    assert (training <= reach + slack).all()
    # The largest total: some source is used up.
    assert np.abs(training - reach).min() <= slack


def test_the_order_of_documents_does_not_matter():
    ids, roots, sizes = corpus(3, [200, 300, 100])
    chosen = [MixOptions(1, 2.5), MixOptions(2, 1.3, 200_000), MixOptions(0.5)]
    copies = mix(ids, roots, sizes, chosen).copies_D
    order = np.random.default_rng(4).permutation(len(ids))
    assert np.array_equal(mix(ids[order], roots[order], sizes[order], chosen).copies_D, copies[order])


def test_a_larger_share_holds_the_smaller_one():
    ids, roots, sizes = corpus(5, [500])
    drawn = [mix(ids, roots, sizes, [MixOptions(epochs=e)]).copies_D for e in (0.1, 0.3, 0.9, 1.0, 1.7, 2.0)]
    for less, more in zip(drawn, drawn[1:], strict=False):
        assert (less <= more).all() and less.sum() < more.sum()


def test_a_source_never_vanishes():
    made = mix(np.array([7], np.uint64), [0], [10_000], [MixOptions(epochs=0.01, cap_bytes=5)])
    assert made.copies_D.tolist() == [1]


def test_draws_with_different_salts_are_independent():
    drawn = np.arange(200_000, dtype=np.uint64)
    first, second = lots(drawn, "validation"), lots(drawn, "copies")
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.01 and abs(first.mean() - 0.5) < 0.003 and 0 <= first.min() and first.max() < 1
    assert abs((second[first < 0.1] < 0.1).mean() - 0.1) < 0.01


def test_keys_of_ids():
    ids = ["00ff" * 8, "0123456789abcdef" + "f" * 16, "short", "x" * 32, "ABCDEF00" * 4]
    found = keys(ids)
    assert found[:2].tolist() == [0x00FF00FF00FF00FF, 0x0123456789ABCDEF] and found[4] == 0xABCDEF00ABCDEF00
    assert found[2:4].tolist() == of_texts(["short", "x" * 32]).tolist() and len(set(found.tolist())) == 5
    assert np.array_equal(keys(pa.array(ids)), found) and np.array_equal(keys(pa.chunked_array([ids[:2], ids[2:]])), found)
    assert np.array_equal(keys(np.stack([found, found + np.uint64(1)], 1)), found) and len(keys([])) == 0
