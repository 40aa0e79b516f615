"""Continuous batching: requests come, go and are removed at any moment, and nobody else notices."""

import random

import pytest
import torch

from engine.contract.errors import InputError
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.sampling.generate import generate
from engine.sampling.sampling import Sampling
from engine.sampling.slots import SlotEngine


@pytest.fixture(scope="module")
def model() -> Decoder:
    made = Decoder(ModelConfig(vocab_size=101, hidden_size=32, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=8, intermediate_size=64,
                               max_seq_len=160, qk_norm=True), seed=4).eval()
    with torch.no_grad():
        for p in made.parameters():
            p.mul_(1 if p.dim() == 1 else 8)
    return made


SETTINGS = [Sampling(max_new_tokens=30), Sampling(temperature=0, max_new_tokens=12), Sampling(temperature=0.6, top_k=9, max_new_tokens=25),
            Sampling(temperature=1.4, top_p=0.8, max_new_tokens=40), Sampling(repetition_penalty=1.8, temperature=0, max_new_tokens=20),
            Sampling(temperature=0.9, top_k=1, max_new_tokens=8)]


def expected(model: Decoder, prompt: list[int], sampling: Sampling) -> list[int]:
    return generate(model, [prompt], sampling, seeds=[sampling.seed])[0].ids


@pytest.mark.parametrize("seed", range(3))
def test_requests_that_come_go_and_are_removed_do_not_disturb_each_other(model, seed):
    chance = random.Random(seed)
    wanted, heard, removed = {}, {}, set()
    engine = SlotEngine(model, slots=4)
    number = 0
    while number < 16 or engine.requests:
        if number < 16 and chance.random() < 0.4:
            prompt = [chance.randrange(101) for _ in range(chance.randrange(1, 70))]
            sampling = chance.choice(SETTINGS).with_seed(number)
            wanted[number], heard[number] = expected(model, prompt, sampling), []
            engine.add(number, prompt, sampling, alternatives=chance.choice((0, 5)))
            number += 1
        if engine.requests and chance.random() < 0.05:
            gone = chance.choice(engine.requests)
            assert engine.remove(gone) and gone not in engine.requests
            removed.add(gone)
        for token in engine.step():
            assert token.request not in removed
            heard[token.request].append(token.id)
            assert bool(token.finish_reason) == (token.request not in engine.requests)
        assert engine.active <= 4
    for request, ids in heard.items():
        assert ids == wanted[request][: len(ids)]
        assert request in removed or ids == wanted[request]


def test_alternatives_and_rank_are_the_models_own_whatever_the_temperature(model):
    engine = SlotEngine(model)
    engine.add("a", [1, 2, 3], Sampling(temperature=0, max_new_tokens=2), alternatives=5)
    engine.add("b", [4, 5], Sampling(temperature=0.5, max_new_tokens=2), alternatives=3)
    first = {t.request: t for t in engine.step()}
    with torch.no_grad():
        for name, prompt, count in (("a", [1, 2, 3], 5), ("b", [4, 5], 3)):
            probabilities = model.logits(model(torch.tensor([prompt])))[0, -1].softmax(-1)
            best = probabilities.topk(count)
            assert [id for id, _ in first[name].top] == best.indices.tolist()
            assert [p for _, p in first[name].top] == pytest.approx(best.values.tolist(), rel=1e-3)
            assert first[name].logprob == pytest.approx(probabilities[first[name].id].log().item(), abs=1e-3)
            assert first[name].rank == 1 + int((probabilities > probabilities[first[name].id]).sum())
    assert first["a"].top[0][0] == first["a"].id


def test_more_requests_than_slots_wait_their_turn(model):
    engine = SlotEngine(model, slots=2)
    for i in range(5):
        engine.add(i, [i + 1], Sampling(max_new_tokens=2))
    assert [t.request for t in engine.step()] == [0, 1] and engine.waiting == 3
    assert engine.remove(4) and not engine.remove(4) and not engine.remove("nobody")
    engine.step()
    assert {t.request for t in engine.step()} == {2, 3}


def test_a_request_that_cannot_be_read_is_refused_at_once(model):
    engine = SlotEngine(model)
    with pytest.raises(InputError):
        engine.add("x", [], Sampling())
    assert engine.requests == [] and engine.step() == []
    engine.add("x", [1], Sampling())
    with pytest.raises(AssertionError):
        engine.add("x", [1], Sampling())


def test_a_removed_request_leaves_its_slot_before_its_first_token(model):
    engine = SlotEngine(model, slots=1)
    engine.add("a", [1, 2], Sampling(max_new_tokens=50))
    engine.step()
    engine.add("b", [3], Sampling(temperature=0, max_new_tokens=3))
    engine.remove("a")
    got = []
    while engine.requests:
        got += [t.id for t in engine.step()]
    assert got == expected(model, [3], Sampling(temperature=0, max_new_tokens=3))


def test_a_long_prompt_is_read_in_pieces_while_others_go_on(model):
    engine = SlotEngine(model, slots=4, chunk=16)
    quick, long = Sampling(max_new_tokens=30, seed=1), Sampling(max_new_tokens=10, seed=2)
    prompt = [(7 * i) % 101 for i in range(140)]
    engine.add("quick", [1, 2, 3], quick)
    engine.step()
    engine.add("long", prompt, long)
    heard = {"quick": [], "long": []}
    before = 0
    while engine.requests:
        read = engine.prompt_tokens
        tokens = engine.step()
        assert "quick" not in engine.requests or engine.prompt_tokens - read <= 16
        before += not heard["long"] and any(t.request == "quick" for t in tokens)
        for token in tokens:
            heard[token.request].append(token.id)
    assert before >= 140 // 16
    assert heard["quick"] == expected(model, [1, 2, 3], quick)[1:] and heard["long"] == expected(model, prompt, long)


@pytest.mark.parametrize("length", [20, 100])
def test_completions_of_one_prompt_share_the_reading_of_it(model, length):
    engine = SlotEngine(model, slots=8, chunk=32)
    prompt = [(5 * i) % 101 for i in range(length)]
    for i in range(6):
        engine.add(i, list(prompt), Sampling(max_new_tokens=9, seed=i))
    heard = {i: [] for i in range(6)}
    while engine.requests:
        for token in engine.step():
            heard[token.request].append(token.id)
    assert engine.prompt_tokens == length
    assert heard == {i: expected(model, prompt, Sampling(max_new_tokens=9, seed=i)) for i in range(6)}


def test_a_request_that_leaves_while_its_prompt_is_read_frees_its_slot(model):
    engine = SlotEngine(model, slots=2, chunk=8)
    engine.add("quick", [1], Sampling(max_new_tokens=60))
    engine.step()
    for name in ("a", "b"):
        engine.add(name, [3] * 100, Sampling(max_new_tokens=5))
    engine.step()
    assert engine.active == 2 and engine.waiting == 1
    assert engine.remove("a") and engine.active == 1
    engine.step()
    assert engine.remove("quick") and engine.requests == ["b"]
    assert [t.request for _ in range(40) for t in engine.step()] == ["b"] * 5


def test_the_memory_of_a_busy_time_is_given_back(model):
    engine = SlotEngine(model, slots=32)
    little = engine.nbytes
    for i in range(32):
        engine.add(i, [i] * 90, Sampling(max_new_tokens=20, seed=i))
    engine.step()
    assert engine.nbytes > 8 * little
    while engine.requests:
        engine.step()
    assert engine.nbytes == little
