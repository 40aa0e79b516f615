"""The choice of a token: equality with transformers' logits processors, the draw, the settings' ranges."""

import math

import pytest
import torch

from engine.contract.errors import NonFinite, SettingError
from engine.sampling.sampling import (
    Sampling,
    Uniforms,
    apply_temperature,
    draw,
    keep_top_k,
    keep_top_p,
    likeliest,
    penalize_repetition,
    seen_mask,
)

processors = pytest.importorskip("transformers.generation.logits_process")


def logits(rows: int = 5, vocab: int = 300) -> torch.Tensor:
    return torch.randn(rows, vocab, generator=torch.Generator().manual_seed(0)) * 3


@pytest.mark.parametrize("value", [0.1, 0.7, 1.0, 2.5])
def test_temperature_equals_transformers(value):
    assert torch.equal(apply_temperature(logits(), value), processors.TemperatureLogitsWarper(value)(None, logits()))


@pytest.mark.parametrize("k", [1, 7, 299, 300, 1000])
def test_top_k_equals_transformers(k):
    assert torch.equal(keep_top_k(logits(), k), processors.TopKLogitsWarper(k)(None, logits()))


@pytest.mark.parametrize("p", [1e-6, 0.1, 0.5, 0.9, 0.999])
def test_top_p_equals_transformers(p):
    assert torch.equal(keep_top_p(logits(), p), processors.TopPLogitsWarper(p)(None, logits()))


@pytest.mark.parametrize("penalty", [0.5, 1.1, 3.0])
def test_repetition_penalty_equals_transformers(penalty):
    ids = torch.randint(300, (5, 40), generator=torch.Generator().manual_seed(1))
    seen = torch.stack([seen_mask(row.tolist(), 300) for row in ids])
    wanted = processors.RepetitionPenaltyLogitsProcessor(penalty)(ids, logits())
    assert torch.equal(penalize_repetition(logits(), seen, penalty), wanted)


def test_a_column_of_settings_is_each_rows_own():
    x = logits(4)
    ks, ps, ts = [0, 1, 5, 1000], [1.0, 0.2, 0.9, 0.5], [1.0, 0.5, 2.0, 0.0]
    by_k = keep_top_k(x, torch.tensor(ks)[:, None])
    by_p = keep_top_p(x, torch.tensor(ps)[:, None])
    by_t = apply_temperature(x, torch.tensor(ts)[:, None])
    for i in range(4):
        row = x[i : i + 1]
        assert torch.equal(by_k[i : i + 1], keep_top_k(row, ks[i]))
        assert torch.equal(by_p[i : i + 1], keep_top_p(row, ps[i]))
        assert torch.equal(by_t[i : i + 1], apply_temperature(row, ts[i]))


def test_the_draw_follows_the_probabilities():
    row = torch.log(torch.tensor([[0.5, 0.2, 0.0, 0.3]]))
    numbers = torch.tensor([Uniforms(7).next() for _ in range(1)], dtype=torch.float64)
    assert 0 <= numbers.item() < 1
    stream = Uniforms(7)
    uniforms = torch.tensor([stream.next() for _ in range(20_000)], dtype=torch.float64)
    counts = torch.bincount(draw(row.expand(20_000, 4).clone(), uniforms), minlength=4) / 20_000
    assert counts[2] == 0
    assert torch.allclose(counts, torch.tensor([0.5, 0.2, 0.0, 0.3]), atol=0.012)


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-53])
def test_the_ends_of_the_interval_never_draw_what_was_cut_away(uniform):
    row = torch.tensor([[-math.inf, -math.inf, 0.3, 1.0, -math.inf]])
    assert draw(row, torch.tensor([uniform], dtype=torch.float64)).item() == (2 if uniform == 0 else 3)


def test_a_stream_is_the_same_however_it_is_read():
    one, other = Uniforms(3, 1), Uniforms(3, 1)
    assert [one.next() for _ in range(600)] == [other.next() for _ in range(600)]
    assert Uniforms(3, 2).next() != Uniforms(3, 1).next() != Uniforms(3).next()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_broken_logits_are_said_so(bad):
    x = logits(2)
    x[1, 5] = bad
    with pytest.raises(NonFinite):
        draw(x.clone(), torch.zeros(2, dtype=torch.float64))
    with pytest.raises(NonFinite):
        likeliest(x)


@pytest.mark.parametrize("settings", [
    {"temperature": -0.1}, {"temperature": math.nan}, {"temperature": "hot"}, {"top_k": -1}, {"top_k": 2.5}, {"top_p": 0}, {"top_p": 1.01},
    {"repetition_penalty": 0}, {"seed": -1}, {"max_new_tokens": 0}, {"temperature": True}])
def test_settings_out_of_range_name_their_field(settings):
    with pytest.raises(SettingError) as caught:
        Sampling(**settings)
    assert caught.value.field == next(iter(settings)) and caught.value.remedy
