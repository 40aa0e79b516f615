"""The split: nothing that is nearly the same stands on both sides, and the share is met."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.text.splitting import cut_at_tail, sides, tail


def corpus(seed, documents, clustered=0.3, largest=6):
    """ids, clusters, sizes."""
    rng = np.random.default_rng(seed)
    clusters = np.full(documents, -1)
    at, number = 0, 0
    order = rng.permutation(documents)
    while at < documents * clustered:
        size = int(rng.integers(2, largest + 1))
        clusters[order[at:at + size]] = number
        at, number = at + size, number + 1
    return rng.integers(0, 2**64, documents, np.uint64), clusters, rng.integers(100, 3000, documents)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(300, 2000), st.sampled_from((0.05, 0.1, 0.3, 0.5)), st.floats(0, 0.9))
def test_no_cluster_crosses_and_the_share_is_met(seed, documents, share, clustered):
    ids, clusters, sizes = corpus(seed, documents, clustered)
    chosen = sides(ids, clusters, sizes, share)
    for cluster in range(clusters.max() + 1):
        assert len(set(chosen[clusters == cluster].tolist())) == 1
    assert sizes[chosen].sum() / sizes.sum() == pytest.approx(share, rel=0.26)


def test_the_order_of_documents_does_not_matter():
    ids, clusters, sizes = corpus(1, 1000)
    chosen = sides(ids, clusters, sizes, 0.1)
    order = np.random.default_rng(2).permutation(1000)
    # Clusters are numbered otherwise too.
    assert np.array_equal(sides(ids[order], np.where(clusters >= 0, 5000 - clusters, -1)[order], sizes[order], 0.1), chosen[order])


def test_parts_of_one_text_and_copies_of_one_text_stay_together():
    ids, clusters, sizes = corpus(3, 600, clustered=0.2)
    originals = np.where(np.arange(600) < 300, np.arange(600) // 3, -1)
    ids[400:500] = ids[500:600]
    chosen = sides(ids, clusters, sizes, 0.2, originals)
    assert np.array_equal(chosen[400:500], chosen[500:600])
    assert all(len(set(chosen[3 * n:3 * n + 3].tolist())) == 1 for n in range(100))
    for cluster in range(clusters.max() + 1):
        assert len(set(chosen[clusters == cluster].tolist())) == 1
    assert 0 < chosen.sum() < 600


def test_groups_that_overlap_in_a_long_chain_are_one():
    # Cluster n ties documents 2n and 2n+1, original n ties 2n+1 and 2n+2: everything hangs together but the last hundred.
    number = np.arange(2000)
    clusters = np.where(number < 1900, number // 2, -1)
    originals = np.where(number < 1900, (number + 1) // 2, -1)
    chosen = sides(np.arange(2000, dtype=np.uint64), clusters, np.full(2000, 10), 0.02, originals)
    assert not chosen[:1900].any() and chosen[1900:].sum() == 40


def test_a_very_large_cluster_is_trained_on():
    clusters = np.where(np.arange(1000) < 300, 0, -1)
    chosen = sides(np.arange(1000, dtype=np.uint64), clusters, np.full(1000, 100), 0.1)
    assert not chosen[:300].any() and chosen.sum() == 100


def test_when_every_group_is_too_large_one_is_taken():
    assert sides(np.arange(150, dtype=np.uint64), np.full(150, -1), np.full(150, 40), 0.001).sum() == 1
    two = sides(np.arange(150, dtype=np.uint64), np.arange(150) // 100, np.full(150, 40), 0.01)
    assert two.tolist() == [False] * 100 + [True] * 50


def test_one_group_cannot_be_split():
    assert not sides(np.arange(150, dtype=np.uint64), np.zeros(150), np.full(150, 40), 0.1).any()
    assert sides([], [], [], 0.1).tolist() == []


def test_most_documents_stay_on_their_side_when_others_join():
    ids, clusters, sizes = corpus(5, 20_000, clustered=0)
    few, many = sides(ids[:10_000], clusters[:10_000], sizes[:10_000], 0.1), sides(ids, clusters, sizes, 0.1)[:10_000]
    assert (few != many).mean() < 0.01


@pytest.mark.parametrize(("text", "expected"), [
    ("a" * 100, 90), ("a" * 88 + "\n\n" + "b" * 10, 90), ("a" * 87 + ". " + "b" * 11, 89), ("word " * 20, 90)])
def test_the_tail_begins_at_a_good_place(text, expected):
    assert tail(text, 0, len(text), 0.1) == expected
    assert tail(text, 200, 1000, 0.1) == len(text) and tail(text, 950, 1000, 0.1) == 0


def test_the_tail_of_a_text_in_parts_is_cut_once():
    rng = random.Random(1)
    text = "\n\n".join(" ".join(rng.choices(["sea", "boat", "harbour"], k=40)) for _ in range(200))
    parts = [text[at:at + 5000] for at in range(0, len(text), 5000)]
    cuts = [tail(part, 5000 * n, len(text), 0.2) for n, part in enumerate(parts)]
    kept = "".join(part[cut:] for part, cut in zip(parts, cuts, strict=True))
    assert text.endswith(kept) and len(kept) / len(text) == pytest.approx(0.2, abs=0.02)
    assert sum(0 < cut < len(part) for part, cut in zip(parts, cuts, strict=True)) <= 1


def test_documents_with_near_duplicates_are_not_cut():
    assert cut_at_tail([-1, 3, -1, 4, 3]).tolist() == [True, False, True, True, False]
