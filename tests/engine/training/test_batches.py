"""Rows lose no token, are the same for any number of ranks, and are found by the step number alone."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.training import batches as module
from engine.training.batches import IGNORED, TokenRows

END = 1_000_000


class MemorySplit:
    """Documents whose tokens are all different, so that a lost or doubled token shows."""

    def __init__(self, lengths):
        self.starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self.tokens = int(self.starts[-1])
        self._all = np.arange(self.tokens, dtype=np.uint32)

    def slice(self, start, stop):
        return self._all[start:stop]


def rows_of(lengths, seq_len, rows_per_step=1, **more):
    return TokenRows(MemorySplit(lengths), seq_len=seq_len, rows_per_step=rows_per_step, first_input=END, pad=END + 1,
                     **{"seed": 7, "borders": True, **more})


def counted(batch):
    return batch.targets_BT[batch.targets_BT != IGNORED].tolist()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=30).filter(any), st.integers(1, 33), st.integers(0, 3), st.booleans())
def test_every_token_is_a_target_exactly_once_an_epoch(lengths, seq_len, epoch, tiny_blocks):
    with pytest.MonkeyPatch.context() as patch:
        if tiny_blocks:
            patch.setattr(module, "BLOCK_TOKENS", 25)
            patch.setattr(module, "BLOCKS_KEPT", 2)
        source = rows_of(lengths, seq_len)
        source._window = 5 if tiny_blocks else source._window
        batch = source.rows(range(epoch * source.rows_per_epoch, (epoch + 1) * source.rows_per_epoch))
    assert Counter(counted(batch)) == Counter(range(sum(lengths)))
    assert batch.weight == sum(lengths)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=20), st.integers(2, 20))
def test_inputs_are_what_stands_before_the_target_and_lengths_cut_at_documents(lengths, seq_len):
    source = rows_of(lengths, seq_len)
    starts = set(source.stream._offsets.tolist())
    batch = source.rows(range(source.rows_per_epoch))
    for tokens, targets, ids in zip(batch.tokens_BT.tolist(), batch.targets_BT.tolist(), batch.documents.ids_BT.tolist(), strict=True):
        for x, y in zip(tokens, targets, strict=True):
            if y != IGNORED and y not in starts:
                assert x == y - 1  # inside a document the input is the token before
        begins = [t for t in range(seq_len) if t == 0 or ids[t] != ids[t - 1]]
        real = [t for t, y in enumerate(targets) if y != IGNORED]
        for t in real[1:]:
            assert (t in begins) == (tokens[t] in starts or tokens[t - 1] == END)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.integers(1, 4), st.integers(1, 5), st.integers(0, 9))
def test_ranks_together_see_what_one_alone_sees(lengths, world_size, micro, step):
    alone = rows_of(lengths, 8, rows_per_step=6)
    together = [rows_of(lengths, 8, rows_per_step=6, rank=r, world_size=world_size) for r in range(world_size)]
    want = [row for batch in alone.batches(step, 6) for row in batch.targets_BT.tolist()]
    got = [row for source in together for batch in source.batches(step, micro) for row in batch.targets_BT.tolist()]
    assert got == want


def test_a_step_is_the_same_whether_reached_or_jumped_to():
    walked, jumped = rows_of([30, 7, 90, 4], 16, rows_per_step=3), rows_of([30, 7, 90, 4], 16, rows_per_step=3)
    seen = [walked.batches(s, 2) for s in range(40)]
    again = jumped.batches(37, 2)
    assert [b.tokens_BT.tolist() for b in again] == [b.tokens_BT.tolist() for b in seen[37]]
    assert [b.documents.ids_BT.tolist() for b in again] == [b.documents.ids_BT.tolist() for b in seen[37]]


def test_epochs_differ_in_order_and_seeds_differ():
    source = rows_of([20] * 50, 16)
    first, second = source.rows(range(source.rows_per_epoch)), source.rows(range(source.rows_per_epoch, 2 * source.rows_per_epoch))
    other = rows_of([20] * 50, 16, seed=8).rows(range(source.rows_per_epoch))
    assert counted(first) != counted(second) and counted(first) != counted(other)


def test_one_long_document_is_cut_elsewhere_in_each_epoch():
    source = rows_of([1000], 64)
    cuts = {source._bounds(epoch, 0)[1] for epoch in range(30)}
    assert len(cuts) > 5


def test_a_huge_split_needs_no_table_of_its_tokens(monkeypatch):
    documents = 2_000_000
    split = MemorySplit([1])
    split.starts = np.arange(documents + 1, dtype=np.int64) * 2000
    split.tokens = documents * 2000
    split.slice = lambda start, stop: np.zeros(stop - start, dtype=np.uint16)
    source = TokenRows(split, seq_len=2048, rows_per_step=64, seed=1, first_input=0, pad=0, borders=False)
    source.batches(30_000, 16)
    held = sum(a.nbytes + b.nbytes for a, b in source.stream._blocks.values()) + sum(o.nbytes for o in source._orders.values())
    assert len(source.stream._blocks) <= module.BLOCKS_KEPT and held < 5_000_000


def test_every_second_row_of_a_stream_starts_from_the_begin_token_and_no_target_changes():
    plain, begun = rows_of([500], 16, borders=False), rows_of([500], 16, borders=False, begin=END + 2)
    a, b = plain.rows(range(plain.rows_per_epoch)), begun.rows(range(begun.rows_per_epoch))
    assert a.targets_BT.tolist() == b.targets_BT.tolist() and a.weight == b.weight
    assert b.tokens_BT[1::2, 0].tolist() == [END + 2] * (begun.rows_per_epoch // 2)
    assert b.tokens_BT[0::2].tolist() == a.tokens_BT[0::2].tolist() and b.tokens_BT[1::2, 1:].tolist() == a.tokens_BT[1::2, 1:].tolist()
