"""Batched generation: transformers' greedy tokens, rows that do not depend on each other, log-probabilities, ends."""

import pytest
import torch

from engine.contract.errors import InputError, NonFinite
from engine.model import hf
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.sampling.generate import generate
from engine.sampling.sampling import Sampling
from engine.sampling.slots import SlotEngine

SMALL = dict(vocab_size=199, hidden_size=64, intermediate_size=112, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=128, initializer_range=0.2, bos_token_id=None, eos_token_id=None)
CASES = {"llama": ("LlamaForCausalLM", SMALL), "qwen3": ("Qwen3ForCausalLM", {**SMALL, "head_dim": 24, "tie_word_embeddings": True}),
         "gpt2": ("GPT2LMHeadModel", dict(vocab_size=199, n_embd=64, n_layer=3, n_head=4, n_positions=128, initializer_range=0.2,
                                          bos_token_id=None, eos_token_id=None))}


def prompts(*lengths: int) -> list[list[int]]:
    g = torch.Generator().manual_seed(5)
    return [torch.randint(199, (n,), generator=g).tolist() for n in lengths]


@pytest.fixture(scope="module", params=CASES)
def pair(request):
    """A model of transformers and ours with its weights."""
    transformers = pytest.importorskip("transformers")
    name, settings = CASES[request.param]
    cls = getattr(transformers, name)
    torch.manual_seed(0)
    reference = cls(cls.config_class(**settings)).eval()
    reference.generation_config.eos_token_id = None
    config = hf.config_from_hf(reference.config.to_dict())
    model = Decoder(config, seed=None)
    model.load_state_dict(dict(hf.from_hf(config, reference.state_dict().__getitem__)))
    return reference, model.eval()


@pytest.fixture(scope="module")
def model() -> Decoder:
    made = Decoder(ModelConfig(vocab_size=199, hidden_size=64, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=16,
                               intermediate_size=112, max_seq_len=128), seed=1).eval()
    with torch.no_grad():
        for p in made.parameters():
            p.mul_(1 if p.dim() == 1 else 8)
    return made


LENGTHS = (5, 40, 17, 5, 29, 1, 64)


def test_greedy_tokens_are_those_of_transformers_whatever_the_batch(pair):
    reference, model = pair
    given = prompts(*LENGTHS)
    wanted = []
    for prompt in given:
        ids = torch.tensor([prompt])
        made = reference.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=48, do_sample=False, pad_token_id=0)
        wanted.append(made[0, len(prompt) :].tolist())
    for rows in (64, 3, 1):
        got = generate(model, given, Sampling(temperature=0, max_new_tokens=48), max_rows=rows)
        assert [c.ids for c in got] == wanted and {c.finish_reason for c in got} == {"length"}


def test_a_rows_sample_is_the_same_alone_in_a_batch_and_in_slots(pair):
    _, model = pair
    given = prompts(*LENGTHS)
    settings = [Sampling(temperature=0.9, top_k=50, top_p=0.95, max_new_tokens=40), Sampling(max_new_tokens=40),
                Sampling(repetition_penalty=1.5, max_new_tokens=40)]
    for sampling in settings:
        alone = [generate(model, [p], sampling, seeds=[i])[0] for i, p in enumerate(given)]
        together = generate(model, given, sampling, seeds=range(len(given)), max_rows=4)
        assert [c.ids for c in alone] == [c.ids for c in together]
        for one, other in zip(alone, together, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
        engine = SlotEngine(model, slots=3)
        for i, p in enumerate(given):
            engine.add(i, p, sampling.with_seed(i), alternatives=0)
        heard = {i: [] for i in range(len(given))}
        while engine.requests:
            for token in engine.step():
                heard[token.request].append(token.id)
        assert [heard[i] for i in range(len(given))] == [c.ids for c in alone]


def test_completions_of_a_group_are_those_of_the_prompt_repeated(model):
    given = prompts(20, 9)
    sampling = Sampling(max_new_tokens=15)
    grouped = generate(model, given, sampling, num_generations=4)
    repeated = generate(model, [p for p in given for _ in range(4)], sampling, seeds=None)
    assert [c.ids for c in grouped] == [c.ids for c in repeated]
    assert len({tuple(c.ids) for c in grouped}) == 8


def test_a_groups_prompt_is_read_once(model):
    read = []
    hook = model.register_forward_pre_hook(lambda _m, args: read.append(args[0].numel()))
    try:
        generate(model, prompts(50), Sampling(max_new_tokens=2), num_generations=8)
    finally:
        hook.remove()
    assert read == [50, 8]


def test_finished_rows_cost_nothing_more(model):
    widths = []
    hook = model.register_forward_pre_hook(lambda _m, args: widths.append(tuple(args[0].shape)))
    try:
        generate(model, prompts(5, 5, 5, 5), Sampling(max_new_tokens=9), max_new_tokens=[1, 3, 3, 5])
    finally:
        hook.remove()
    assert widths == [(4, 5), (3, 1), (3, 1), (1, 1), (1, 1)]


def test_both_logprobs_are_what_they_say(model):
    prompt = prompts(12)[0]
    sampling = Sampling(temperature=0.8, top_k=20, repetition_penalty=1.3, max_new_tokens=10)
    made = generate(model, [prompt], sampling)[0]
    ids = torch.tensor([prompt + made.ids])
    with torch.no_grad():
        hidden = model(ids[:, :-1])
        plain = model.logprobs(hidden, ids[:, 1:], temperature=0.8)[0, -10:]
        assert made.logprobs == pytest.approx(plain.tolist(), abs=1e-4)
        for i, chosen in enumerate(made.ids):
            row = model.logits(hidden)[0, len(prompt) - 1 + i]
            for seen in set(prompt + made.ids[:i]):
                row[seen] = row[seen] / 1.3 if row[seen] > 0 else row[seen] * 1.3
            row = row / 0.8
            kept = row.topk(20)
            assert chosen in kept.indices
            assert made.sampling_logprobs[i] == pytest.approx((row[chosen] - kept.values.logsumexp(-1)).item(), abs=1e-4)
    greedy = generate(model, [prompt], Sampling(temperature=0, max_new_tokens=5))[0]
    assert greedy.sampling_logprobs == [0.0] * 5 and all(x < 0 for x in greedy.logprobs)
    untouched = generate(model, [prompt], Sampling(max_new_tokens=5))[0]
    assert untouched.logprobs == untouched.sampling_logprobs
    assert generate(model, [prompt], Sampling(max_new_tokens=5), logprobs=False)[0].logprobs == []


def test_a_stop_id_ends_a_row_and_is_its_last_id(model):
    prompt = prompts(6)[0]
    free = generate(model, [prompt], Sampling(temperature=0, max_new_tokens=20))[0].ids
    stop = free[7]
    made = generate(model, [prompt, prompts(3)[0]], Sampling(temperature=0, max_new_tokens=20, stop_ids=(stop,)))
    assert made[0].ids == free[: free.index(stop) + 1] and made[0].finish_reason == "stop"


def test_the_models_context_is_an_end_too(model):
    made = generate(model, prompts(120), Sampling(temperature=0, max_new_tokens=50))[0]
    assert len(made.ids) == 8 and made.finish_reason == "length"


def test_the_caller_can_end_it(model):
    seen = []
    made = generate(model, prompts(4, 4), Sampling(max_new_tokens=20), on_step=lambda choices: seen.append(len(choices)) or len(seen) == 3)
    assert seen == [2, 2, 2] and all(len(c.ids) == 3 and c.finish_reason == "cancelled" for c in made)


@pytest.mark.parametrize(("prompt", "code"), [([], "prompt_empty"), ([1] * 128, "prompt_too_long"), ([199], "prompt_tokens"),
                                              ([-1], "prompt_tokens")])
def test_prompts_the_model_cannot_read_are_refused(model, prompt, code):
    with pytest.raises(InputError) as caught:
        generate(model, [prompt], Sampling())
    assert caught.value.code == code and caught.value.remedy


def test_a_broken_model_is_said_so_and_training_mode_comes_back():
    broken = Decoder(ModelConfig(vocab_size=20, hidden_size=16, num_layers=1, num_heads=1, num_kv_heads=1, head_dim=16,
                                 intermediate_size=16, max_seq_len=32)).train()
    with torch.no_grad():
        broken.norm.weight.fill_(torch.nan)
    for temperature in (0, 1):
        with pytest.raises(NonFinite):
            generate(broken, [[1, 2]], Sampling(temperature=temperature))
        assert broken.training


def test_no_prompts_give_no_completions(model):
    assert generate(model, [], Sampling()) == []


def test_bfloat16_arithmetic_over_float32_weights(model):
    made = Decoder(model.config, seed=1)
    made.compute_dtype = torch.bfloat16
    result = generate(made, prompts(5, 9), Sampling(max_new_tokens=6))
    assert all(len(c.ids) == 6 for c in result)
