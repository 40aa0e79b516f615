"""Texts that are read in pieces, side by side, give what one forward pass gives."""

import random

import pytest
import torch

from engine.contract.errors import InputError
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.sampling import reading
from engine.sampling.reading import Reader, score


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def model(request: pytest.FixtureRequest) -> Decoder:
    return Decoder(ModelConfig(shape=request.param, vocab_size=83, hidden_size=32, num_layers=2, num_heads=4,
                               num_kv_heads=2 if request.param == "llama" else 4, head_dim=8, intermediate_size=64, max_seq_len=120),
                   seed=4).eval()


def texts(count: int) -> list[list[int]]:
    chance = random.Random(3)
    return [[chance.randrange(83) for _ in range(chance.choice((1, 2, 9, 40, 119, 120)))] for _ in range(count)]


def direct(model: Decoder, ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        hidden = model(torch.tensor([ids]))
        return model.logits(hidden)[0].log_softmax(-1), hidden[0]


@pytest.mark.parametrize("tokens", [7, 64, 4096])
def test_pieces_and_company_do_not_matter(model: Decoder, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BATCH_TOKENS", 700)
    reader, wanted = Reader(model), texts(30)
    for i, ids in enumerate(wanted):
        reader.add(i, ids, start=1 + i % 3, alternatives=i % 4, mean=i % 5 == 0)
    found = {}
    while reader.busy:
        found |= {read.request: read for read in reader.step(tokens)}
    assert set(found) == set(range(30)) and reader.nbytes == 0
    for i, ids in enumerate(wanted):
        table, hidden = direct(model, ids)
        if i % 5 == 0:
            mean = hidden.mean(0)
            assert torch.allclose(torch.from_numpy(found[i].mean_C), mean / mean.norm(), atol=1e-5)
            continue
        places = range(1 + i % 3, len(ids))
        assert found[i].logprobs == pytest.approx([float(table[p - 1, ids[p]]) for p in places], abs=1e-5)
        assert found[i].ranks == [1 + int((table[p - 1] > table[p - 1, ids[p]]).sum()) for p in places]
        assert all(len(top) == i % 4 for top in found[i].tops)


def test_score_in_one_call(model: Decoder) -> None:
    wanted = texts(5)
    for logprobs, ids in zip(score(model, wanted), wanted, strict=True):
        assert logprobs == pytest.approx([float(direct(model, ids)[0][p - 1, ids[p]]) for p in range(1, len(ids))], abs=1e-5)


def test_what_nobody_waits_for_is_dropped(model: Decoder) -> None:
    reader = Reader(model)
    for name in "abc":
        reader.add(name, [1, 2, 3] * 20)
    reader.step(30)
    reader.remove("b")
    done = [read for _ in range(60) for read in reader.step(30)]
    assert [r.request for r in done if r.logprobs and r.request != "b"] == ["a", "c"] and len(done[0].logprobs) == 59
    reader.add("d", [1, 2])
    reader.remove("d")
    assert not reader.busy


def test_texts_that_cannot_be_read(model: Decoder) -> None:
    for ids in ([], [1] * 121):
        with pytest.raises(InputError):
            Reader(model).add("x", ids)
