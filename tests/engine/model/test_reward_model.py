"""Rewards: equal to transformers' sequence classifier, the same alone and among others, the same after saving; texts that do not fit."""

import json

import numpy as np
import pytest
import torch

from engine.contract.errors import Corrupt, FormatError, InputError, Mismatch, NotFound
from engine.contract.rows import Message
from engine.model import hf
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.model.length_batches import batched
from engine.model.reward_model import (
    HEAD,
    REWARD,
    RewardFacts,
    RewardHead,
    RewardModel,
    load_reward,
    read_facts,
    save_reward,
)
from engine.model.scorer import Scorer
from engine.text import bpe, specials

CONTEXT = 64


@pytest.fixture(scope="module")
def tokenizer():
    return bpe.train(["the harbour master runs the boats and answers. " * 5, "Москва и море, 2024. " * 4] * 3, 330,
                     special=specials.SPECIAL_TOKENS)


def small(tokenizer, shape="llama", seed=1):
    config = ModelConfig(shape=shape, vocab_size=tokenizer.vocab_size, hidden_size=32, num_layers=2, num_heads=4, num_kv_heads=2
                         if shape == "llama" else 4, head_dim=8, intermediate_size=64, max_seq_len=CONTEXT,
                         tie_embeddings=True)
    model = RewardModel(Decoder(config, seed=seed), RewardHead(32, seed)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(8)  # so that rewards differ by what was said
    return model


@pytest.fixture
def folder(tokenizer, tmp_path):
    save_reward(tmp_path, small(tokenizer), RewardFacts(mean=0.5, std=2.0, template="own", max_seq_len=CONTEXT))
    tokenizer.save(tmp_path)
    return tmp_path


def talk(*texts):
    return tuple(Message(role=("user", "assistant")[n % 2], content=text) for n, text in enumerate(texts))


TALKS = [talk("harbour?", "the boats"), talk("море?", "answers " * 9), talk("a", "b", "the master runs", "2024"), talk("x", "y"),
         talk("the harbour " * 4, "and answers")]


def test_rewards_equal_those_of_transformers_sequence_classifier(tokenizer):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    theirs = transformers.LlamaForSequenceClassification(transformers.LlamaConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=CONTEXT, initializer_range=0.2, bos_token_id=None, eos_token_id=None, pad_token_id=0,
        num_labels=1, tie_word_embeddings=True)).eval()
    config = hf.config_from_hf(theirs.config.to_dict() | {"architectures": ["LlamaForCausalLM"]})
    decoder, state = Decoder(config, seed=None), theirs.state_dict()
    decoder.load_state_dict(dict(hf.from_hf(config, state.__getitem__)))
    ours = RewardModel(decoder, RewardHead(48)).eval()
    with torch.no_grad():
        ours.head.weight.copy_(state["score.weight"])
    lengths = [5, 17, 40, 1]
    ids = [np.random.default_rng(n).integers(1, tokenizer.vocab_size, n) for n in lengths]
    padded = np.zeros((len(ids), max(lengths)), np.int64)
    for row, one in zip(padded, ids, strict=True):
        row[:len(one)] = one
    tokens = torch.from_numpy(padded)
    with torch.no_grad():
        wanted = theirs(input_ids=tokens, attention_mask=torch.tensor([[int(i < n) for i in range(max(lengths))] for n in lengths])).logits
        flat = ours(torch.from_numpy(np.concatenate(ids))[None], torch.tensor(np.cumsum(lengths) - 1), [lengths])
        rows = ours.scores(tokens, torch.arange(len(ids)) * max(lengths) + torch.tensor(lengths) - 1)
    assert wanted.std() > 0.1
    torch.testing.assert_close(flat, wanted[:, 0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(rows, wanted[:, 0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", ["llama", "gpt2"])
def test_a_reward_does_not_hang_on_what_is_scored_beside_it(shape, tokenizer):
    scorer = Scorer.of(small(tokenizer, shape), tokenizer, RewardFacts())
    together = scorer.score(TALKS)
    assert np.std(together) > 0.01
    assert scorer.score(TALKS[::-1])[::-1] == pytest.approx(together, abs=1e-5)
    for conversation, reward in zip(TALKS, together, strict=True):
        assert scorer.score([conversation]) == pytest.approx([reward], abs=1e-5)
        ids = torch.from_numpy(scorer.ids(conversation).astype(np.int64))
        with torch.no_grad():
            plain = scorer.model.head(scorer.model.decoder(ids[None])[0, -1])
        assert plain.item() == pytest.approx(reward, abs=1e-5)


def test_what_is_scored_ends_with_the_token_that_closes_the_answer(tokenizer):
    scorer = Scorer.of(small(tokenizer), tokenizer, RewardFacts(system="the harbour"))
    ids = scorer.ids(TALKS[0]).tolist()
    assert ids[-1] == tokenizer.end_id
    assert ids == tokenizer.encode_chat([{"role": "system", "content": "the harbour"}, *[m.model_dump() for m in TALKS[0]]],
                                        add_generation_prompt=False)


def test_a_long_conversation_loses_its_oldest_turns_and_one_that_does_not_end_with_an_answer_is_refused(tokenizer):
    scorer = Scorer.of(small(tokenizer), tokenizer, RewardFacts())
    long = talk("x " * 40, "y " * 40, "harbour?", "the boats")
    assert scorer.ids(long).tolist() == scorer.ids(TALKS[0]).tolist()
    endless = scorer.ids(talk("x", "y " * 200))
    assert len(endless) == CONTEXT and endless[-1] == tokenizer.end_id
    with pytest.raises(InputError, match="no answer"):
        scorer.score([talk("a question")])


def test_a_saved_reward_model_gives_the_same_rewards(folder, tokenizer):
    before = Scorer.of(small(tokenizer), tokenizer, RewardFacts()).score(TALKS)
    scorer = Scorer(folder)
    assert scorer.score(TALKS) == before
    assert scorer.facts == RewardFacts(0.5, 2.0, "own", "", CONTEXT)
    assert scorer.normalised([4.5]) == [2.0]
    (folder / REWARD).unlink()
    assert read_facts(folder) is None and Scorer(folder).facts == RewardFacts()


def test_damaged_folders_are_refused_by_name(folder):
    (folder / REWARD).write_text(json.dumps({"mean": "much"}))
    with pytest.raises(FormatError, match=REWARD):
        Scorer(folder)
    (folder / REWARD).unlink()
    raw = (folder / HEAD).read_bytes()
    (folder / HEAD).write_bytes(raw[:-8])
    with pytest.raises(Corrupt):
        load_reward(folder)
    from engine.model.tensor_files import save_tensors
    save_tensors(folder / HEAD, {"weight": torch.zeros(1, 31)})
    with pytest.raises(Mismatch, match="1 × 31"):
        load_reward(folder)
    (folder / HEAD).unlink()
    with pytest.raises(NotFound, match="no reward model"):
        load_reward(folder)


def test_rewards_are_float32_where_the_arithmetic_is_bfloat16(tokenizer):
    model = small(tokenizer)
    model.decoder.compute_dtype = torch.bfloat16
    scorer = Scorer.of(model, tokenizer, RewardFacts())
    tokens = torch.from_numpy(scorer.ids(TALKS[0]).astype(np.int64))[None]
    assert model(tokens, torch.tensor([tokens.shape[1] - 1])).dtype == torch.float32


def test_sequences_are_batched_by_length_and_none_is_lost():
    lengths = [3, 50, 7, 7, 1, 20]
    made = list(batched(lengths, range(6), 30))
    assert sorted(n for some in made for n in some) == list(range(6))
    assert made == [[1], [5, 2], [3, 0, 4]]
    assert list(batched([], [], 10)) == []
