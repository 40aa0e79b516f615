"""Steps of preference tuning: the step says all, two ranks together see what one sees, documents and mismatched pairs are in it."""

from collections import Counter

import numpy as np
import pytest
import torch
from test_dpo_trl import CONTEXT, COUNT, encoded

from engine.stages.dpo.rows import DpoRows, Reference
from engine.training.replayed import Replayed


class Shards:
    """Documents that begin with token 7; the second has nothing behind it."""

    def __init__(self, lengths=(9, 1, 30, 5, 12)):
        self.made = [np.full(size, 7 + n) for n, size in enumerate(lengths)]
        for document in self.made:
            document[0] = 7
        self.documents, self.tokens = len(lengths), sum(lengths)

    def document(self, number):
        return self.made[number]


def rows_of(rank=0, world_size=1, **more):
    pairs = encoded()
    values = np.arange(2 * COUNT, dtype=np.float32).reshape(-1, 2)
    given = {"batch_size": 4, "seed": 3, "longest": CONTEXT, "mismatched": True,
             "replayed": Replayed(Shards(), 2, longest=20, seed=3), **more}
    return DpoRows(pairs, Reference(train=values, train_mismatched=values + 100), rank=rank, world_size=world_size, **given)


def texts(batches):
    """Every answer's tokens, with what the reference says of it."""
    found = Counter()
    for batch in batches:
        ids = [tuple(batch.answers.targets_A[batch.answers.owner_A == n].tolist()) for n in range(len(batch.answers.answer_tokens_N))]
        known = batch.reference_P2.flatten().tolist()
        if batch.weight or not batch.pairs:
            found.update(zip(ids, [*known, *[None] * (len(ids) - len(known))], strict=True))
    return found


@pytest.mark.parametrize("step", [0, 1, 5])
def test_two_ranks_and_any_micro_batch_see_what_one_sees(step):
    whole = rows_of().batches(step, 100)
    assert len(whole) == 1 and whole[0].weight == 4 and whole[0].first
    cut = rows_of().batches(step, 2)
    assert [b.first for b in cut] == [True] + [False] * (len(cut) - 1) and sum(b.weight for b in cut) == 4
    ranks = [rows_of(rank, 2).batches(step, 2) for rank in (0, 1)]
    assert texts(whole) == texts(cut) == texts(ranks[0]) + texts(ranks[1])
    for batch in (*cut, *ranks[0], *ranks[1]):
        assert batch.pairs_per_chosen == whole[0].pairs_per_chosen and batch.pairs_per_replayed == whole[0].pairs_per_replayed
    def mismatched(batches):
        return sorted(v for values in [one for _, one in batches[0].mismatched.batches] for v in values.flatten().tolist())
    assert mismatched(whole) == mismatched(cut) == sorted(mismatched(ranks[0]) + mismatched(ranks[1])) and len(mismatched(whole)) == 8


def test_a_rank_with_nothing_to_do_takes_part_without_counting():
    made = rows_of(rank=9, world_size=10).batches(0, 4)
    assert len(made) == 1 and made[0].weight == 0 and made[0].first and made[0].mismatched.batches == [] and made[0].pairs == 1


def test_every_pair_comes_once_an_epoch_and_documents_are_cut_and_begin_as_asked():
    rows = rows_of(batch_size=3)
    seen = [n for step in range(2) for n in rows.numbers(step)]
    assert sorted(seen) == list(range(COUNT)) and rows.steps(1.0) == 2 and rows.epoch_of(4) == 2
    replayed = Replayed(Shards(), 2, longest=20, seed=3, begin=1)
    drawn = [ids for step in range(5) for ids in replayed.documents(step)]
    assert sorted(map(len, drawn)) == sorted([10, 2, 20, 6, 13] * 2) and all(ids[0] == 1 for ids in drawn)
    short = [ids for step in range(5) for ids in Replayed(Shards(), 1, longest=20, seed=3).documents(step)]
    assert sorted(map(len, short)) == [5, 9, 12, 20]
    assert Replayed(None, 4, longest=20, seed=3).documents(0) == []


def test_what_a_step_means_is_in_its_state():
    base = rows_of().state
    assert base == rows_of(rank=1, world_size=2).state
    for other in (rows_of(batch_size=3), rows_of(seed=4), rows_of(mismatched=False), rows_of(replayed=None),
                  rows_of(replayed=Replayed(Shards(), 3, longest=20, seed=3))):
        assert other.state != base


def test_devices_that_mask_whole_rows_get_several_rows_with_the_same_answers():
    rows, flat = rows_of(row=60).batches(0, 100)[0], rows_of().batches(0, 100)[0]
    assert rows.answers.tokens_BT.shape[0] > 1 and rows.answers.documents.forks is None and flat.answers.documents.forks is not None
    assert texts([rows]) == texts([flat]) and rows.tokens > flat.tokens and torch.equal(
        rows.reference_P2.sort(0).values, flat.reference_P2.sort(0).values)
