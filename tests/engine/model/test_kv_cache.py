"""The KV cache: rows of different lengths, growth, sharing and removal never change what a row computes."""

import pytest
import torch

from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.model.kv_cache import BUCKET, KVCache


def build(shape: str) -> Decoder:
    gpt2 = shape == "gpt2"
    return Decoder(ModelConfig(shape=shape, vocab_size=50, hidden_size=32, num_layers=2, num_heads=4, num_kv_heads=4 if gpt2 else 2,
                               head_dim=8, intermediate_size=48, max_seq_len=200, qk_norm=not gpt2)).eval()


def whole(model: Decoder, row: list[int]) -> torch.Tensor:
    return model(torch.tensor([row]))[0, -1]


@pytest.mark.parametrize("shape", ["llama", "gpt2"])
@torch.inference_mode()
def test_rows_of_different_lengths_continue_as_if_alone(shape):
    model = build(shape)
    g = torch.Generator().manual_seed(0)
    rows = [torch.randint(50, (n,), generator=g).tolist() for n in (60, 3, 33)]
    cache = KVCache(model.config, 1)
    padded = torch.zeros(3, 60, dtype=torch.long)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = torch.tensor(row)
    cache.add_rows(3)
    model(padded, cache=cache)
    cache.set_lengths(range(3), [60, 3, 33])
    for step in range(12):  # crosses the first bucket's end
        new = torch.randint(50, (3, 1), generator=g)
        hidden = model(new, cache=cache)
        for i, row in enumerate(rows):
            row.append(int(new[i]))
            torch.testing.assert_close(hidden[i, 0], whole(model, row), atol=3e-6, rtol=0)
        if step == 5:
            assert cache.remove_row(0) == 2
            rows = [rows[2], rows[1]]
            cache.copy_row(0, cache.add_rows(1))
            rows.append(list(rows[0]))
    assert cache.columns > BUCKET and cache.lengths == [len(row) for row in rows]


@pytest.mark.parametrize("shape", ["llama", "gpt2"])
@torch.inference_mode()
def test_several_tokens_can_follow_what_is_there(shape):
    model = build(shape)
    g = torch.Generator().manual_seed(1)
    x = torch.randint(50, (2, 30), generator=g)
    for lengths in ([10, 10], [10, 4]):
        cache = KVCache(model.config, 2)
        cache.add_rows(2)
        model(x[:, :10], cache=cache)
        cache.set_lengths(range(2), lengths)
        hidden = model(x[:, 10:17], cache=cache)
        for i, n in enumerate(lengths):
            torch.testing.assert_close(hidden[i], model(torch.cat((x[i, :n], x[i, 10:17]))[None])[0, n:], atol=3e-6, rtol=0)


@torch.inference_mode()
def test_a_call_can_concern_some_rows_only():
    model = build("llama")
    x = torch.randint(50, (3, 9), generator=torch.Generator().manual_seed(2))
    cache = KVCache(model.config, 3)
    cache.add_rows(2)
    model(x[:2, :5], cache=cache)
    cache.add_rows(1)
    model(x[2:, :8], cache=cache.plan(8, 2, 3))
    assert cache.lengths == [5, 5, 8]
    hidden = model(x[:2, 5:6], cache=cache.plan(1, 0, 2))
    torch.testing.assert_close(hidden[:, 0], model(x[:2, :6])[:, -1], atol=3e-6, rtol=0)


@pytest.mark.parametrize("length", [63, 64, 65])
@torch.inference_mode()
def test_rows_are_copied_whole_at_the_end_of_a_bucket(length):
    model = build("llama")
    x = torch.randint(50, (2, length), generator=torch.Generator().manual_seed(3))
    cache = KVCache(model.config, 2)
    cache.add_rows(2)
    model(x, cache=cache)
    cache.copy_row(0, cache.add_rows(2))
    cache.copy_row(1, [0, 2])
    for keys in cache.keys:
        assert torch.equal(keys[0], keys[1]) and torch.equal(keys[2], keys[1]) and not torch.equal(keys[3], keys[1])
    assert cache.lengths == [length] * 4


def test_it_never_grows_past_the_context():
    cache = KVCache(build("llama").config, 1, 190)
    assert cache.columns == 192
    cache.reserve(200)
    assert cache.columns == 200
    with pytest.raises(AssertionError):
        cache.reserve(201)
