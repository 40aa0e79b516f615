"""Pairs become batches: both answers whole, the prompt shared, borders right; what is left out is counted; the step says all."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.contract.errors import InputError, Mismatch
from engine.contract.rows import Message, PreferencePair
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.text import bpe, chat_mask, specials, templates
from engine.text.tokenizer import Tokenizer
from engine.training.pair_rows import EncodedPairs, PairRows, encode_pairs, pair_batch, pair_batches, row_for

WORDS = ["the", "harbour", "boats", "море", "2024", "runs", "answers", "x", "?", "é"]


@pytest.fixture(scope="module")
def tokenizer():
    return bpe.train(["the harbour master runs the boats and answers. " * 5, "Москва и море, 2024. " * 4] * 3, 330,
                     special=specials.SPECIAL_TOKENS)


def pair(prompt, chosen, rejected, **more):
    turns = (prompt,) if isinstance(prompt, str) else prompt
    messages = tuple(Message(role=("user", "assistant")[n % 2], content=text) for n, text in enumerate(turns))
    return PreferencePair(id=f"{prompt}/{chosen}/{rejected}", prompt=messages, chosen=chosen, rejected=rejected, **more)


def some_pairs(count, seed=0):
    draw = np.random.default_rng(seed)

    def text():
        return " ".join(draw.choice(WORDS, draw.integers(1, 9)))
    return [pair(tuple(text() for _ in range(draw.choice([1, 3]))), text() + " a", text() + " b", strength=int(draw.integers(4)))
            for _ in range(count)]


def fake(lengths, seed=0):
    """Pairs whose tokens are all different numbers, so that a lost or doubled one shows; `lengths` of prompt, chosen, rejected."""
    starts = np.concatenate([[0], np.cumsum(np.array(lengths).reshape(-1))]).astype(np.int64)
    count = len(lengths)
    draw = np.random.default_rng(seed)
    return EncodedPairs(np.arange(1, starts[-1] + 1, dtype=np.uint32), starts, np.zeros((count, 2), np.int64),
                        draw.integers(0, 4, count).astype(np.int8), draw.random(count) < 0.3, np.zeros(count, bool), np.arange(count),
                        draw.integers(0, 2**63, count).astype(np.uint64))


LENGTHS = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=20)


# ------------------------------------------------------------------------------------------------------------------ encoding


def test_both_conversations_are_what_chatting_reads_and_share_their_prompt(tokenizer):
    pairs = some_pairs(30)
    encoded = encode_pairs(tokenizer, pairs, max_seq_len=200)
    assert len(encoded) == 30 and encoded.left_out.total == 0
    for number, one in enumerate(pairs):
        for side, answer in enumerate((one.chosen, one.rejected)):
            messages = [m.model_dump() for m in one.prompt]
            ids, begin = encoded.conversation(number, side)
            assert ids.tolist() == tokenizer.encode_chat([*messages, {"role": "assistant", "content": answer}], add_generation_prompt=False)
            assert ids[:begin].tolist() == tokenizer.encode_chat(messages)
            assert tokenizer.decode(ids[begin:]).strip() == answer + "<|end|>"
            assert encoded.lengths()[number, side] == len(ids)
            assert encoded.answer_tokens()[number, side] == len(ids) - begin
    assert encoded.strengths.tolist() == [one.strength for one in pairs]
    assert encoded.tokens == int(encoded.lengths().sum()) > len(encoded.ids)


def test_what_cannot_be_learned_from_is_left_out_and_counted(tokenizer):
    given = [pair("a", "x", "y"), pair("b", "x", "y", tie=True), pair("c", "x", "y", bad=True), pair("d", "x", " x "),
             pair("e", "x " * 99, "y"), pair("f", "x", "y" * 5, by="ann")]
    encoded = encode_pairs(tokenizer, given, max_seq_len=40)
    left = encoded.left_out
    assert encoded.numbers.tolist() == [0, 5]
    assert (left.ties, left.bad, left.same, left.too_long, left.total) == (1, 1, 1, 1, 4)
    assert left.places["too_long"] == (4,)
    assert encode_pairs(tokenizer, given, max_seq_len=40, keep_ties=True).numbers.tolist() == [0, 1, 5]
    both = encode_pairs(tokenizer, given, max_seq_len=40, keep_ties=True, keep_bad=True)
    assert both.numbers.tolist() == [0, 1, 2, 5] and both.bad.tolist() == [False, False, True, False]
    assert both.ties.tolist() == [False, True, False, False]


def test_a_long_prompt_loses_its_oldest_turns_for_both_answers_alike(tokenizer):
    long = pair(("x " * 30, "y " * 30, "harbour?"), "the boats", "answers")
    encoded = encode_pairs(tokenizer, [long], max_seq_len=40)
    assert encoded.left_out.cut == 1
    assert tokenizer.decode(encoded.prompt(0), skip_special=True).strip() == "harbour?"
    assert encode_pairs(tokenizer, [long], max_seq_len=40, too_long="leave_out").left_out.too_long == 1
    system = PreferencePair(id="s", prompt=(Message(role="system", content="2024"), *long.prompt), chosen="the boats", rejected="answers")
    kept = encode_pairs(tokenizer, [system], max_seq_len=40)
    assert tokenizer.decode(kept.prompt(0), skip_special=True).split() == ["2024", "harbour?"]


def test_a_model_without_a_template_is_refused_and_the_plain_form_closes_answers_all_the_same(tokenizer):
    bare = Tokenizer(tokenizer.record, {k: v for k, v in tokenizer.config.items() if k != "chat_template"})
    if bare.chat_template:  # those of Fledge have the default one without saying so
        bare = Tokenizer(bpe.train(["the harbour master runs"] * 3, 280, special=("<|endoftext|>",)).record, {"chat_template": ""})
    with pytest.raises(Mismatch):
        encode_pairs(bare, [pair("a", "b", "c")], max_seq_len=50)
    encoded = encode_pairs(tokenizer, [pair("a", "b", "c")], template=templates.PLAIN, max_seq_len=50)
    ids, begin = encoded.conversation(0, 0)
    assert int(ids[-1]) in chat_mask.end_ids(tokenizer) and encoded.left_out.unended == 0
    assert tokenizer.decode(ids[begin:-1]).strip() == "b"


def test_pairs_of_one_prompt_are_on_one_side_and_the_split_is_the_same_every_time(tokenizer):
    given = [pair(f"question {n % 20}", f"a {n}", f"b {n}") for n in range(100)]
    encoded = encode_pairs(tokenizer, given, max_seq_len=64)
    train, held = encoded.split(25.0)
    assert len(train) + len(held) == 100 and len(held) and len(train)
    assert not {given[n].prompt for n in train.numbers} & {given[n].prompt for n in held.numbers}
    again = encode_pairs(tokenizer, given[::-1], max_seq_len=64).split(25.0)[1]
    assert {99 - n for n in again.numbers} == set(held.numbers)
    first, side = held.conversation(0, 1), encoded.conversation(int(held.numbers[0]), 1)
    assert first[0].tolist() == side[0].tolist() and first[1] == side[1]


# ------------------------------------------------------------------------------------------------------------------ batches


@given(LENGTHS, st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_batch_holds_both_conversations_of_each_pair_once(lengths, several):
    pairs = fake(lengths)
    batch = pair_batch(pairs, range(len(lengths)), row=20 if several else None)
    flat, count = batch.tokens_BT.reshape(-1), len(lengths)
    positions = batch.documents.positions_BT.reshape(-1)
    for n in range(2 * count):
        ids, begin = pairs.conversation(n % count, n // count)
        end, mine = int(batch.ends_N[n]), batch.owner_A == n
        assert int(flat[end]) == ids[-1] and int(positions[end]) == len(ids) - 1
        assert batch.targets_A[mine].tolist() == flat[batch.after_A[mine]].tolist() == ids[begin:].tolist()
        assert flat[batch.places_A[mine]].tolist() == ids[begin - 1:-1].tolist()
        assert positions[batch.places_A[mine]].tolist() == list(range(begin - 1, len(ids) - 1))
    standing = Counter(flat[flat > 0].tolist())
    if several:
        assert sum(standing.values()) == batch.tokens == pairs.tokens
    else:  # no padding, and every token once: prompts are shared
        assert standing == Counter(pairs.ids.tolist()) and batch.tokens_BT.numel() == batch.tokens == len(pairs.ids)
    assert batch.answer_tokens_N.tolist() == pairs.answer_tokens().T.reshape(-1).tolist()
    assert batch.weight == count and batch.strength_P.tolist() == pairs.strengths.tolist() and batch.tie_P.tolist() == pairs.ties.tolist()


@given(LENGTHS, st.integers(1, 7), st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_an_epoch_sees_each_pair_once_however_many_ranks_share_it(lengths, batch_size, micro, world):
    pairs = fake(lengths)
    sources = [PairRows(pairs, batch_size=batch_size, seed=3, rank=r, world_size=world) for r in range(world)]
    seen = Counter()
    steps = sources[0].steps(3)
    for step in range(steps):
        made = [b for s in sources for b in s.batches(step, micro)]
        counted = [b for b in made if b.weight]
        assert sum(b.weight for b in made) == batch_size
        assert all(b.pairs <= micro for b in counted) and all(len(s.batches(step, micro)) for s in sources)
        seen.update(n for b in counted for n in b.pairs_P.tolist())
        assert sorted(n for b in counted for n in b.pairs_P.tolist()) == sorted(sources[0].numbers(step))
    assert min(seen.values()) >= 3 and sum(seen.values()) == steps * batch_size


def test_the_step_alone_decides_and_the_state_tells_other_pairs_apart():
    lengths = [(3, n % 5 + 1, n % 7 + 1) for n in range(30)]
    one, other = (PairRows(fake(lengths), batch_size=4, seed=3) for _ in range(2))
    for step in (9, 2, 31):
        for a, b in zip(one.batches(step, 2), other.batches(step, 2), strict=True):
            assert torch.equal(a.tokens_BT, b.tokens_BT) and torch.equal(a.pairs_P, b.pairs_P)
    assert one.state == other.state
    assert PairRows(fake(lengths, seed=5), batch_size=4, seed=3).state != one.state
    assert one.numbers(0) != PairRows(fake(lengths), batch_size=4, seed=4).numbers(0)


def test_nothing_left_to_train_on_is_said(tokenizer):
    with pytest.raises(InputError, match="no pair is left"):
        PairRows(encode_pairs(tokenizer, [pair("a", "b", "b")], max_seq_len=50), batch_size=2, seed=1)


def test_batches_for_reading_cover_what_was_asked_and_are_no_longer_than_told():
    pairs = fake([(3, n % 5 + 1, n % 7 + 1) for n in range(30)])
    made = list(pair_batches(pairs, range(0, 30, 2), batch_tokens=60))
    assert sorted(n for b in made for n in b.pairs_P.tolist()) == list(range(0, 30, 2))
    assert all(b.tokens <= 60 for b in made) and 2 < len(made) < 10
    assert row_for("cpu", "float32", pairs) is None and row_for("cuda", "bfloat16", pairs) is None
    assert row_for("mps", "float32", pairs) == row_for("cuda", "float32", pairs) == 1024


def test_laid_in_one_row_or_in_several_the_answers_have_the_log_probabilities_they_have_alone(tokenizer):
    config = ModelConfig(vocab_size=tokenizer.vocab_size, hidden_size=32, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=8,
                         intermediate_size=64, max_seq_len=64, tie_embeddings=True)
    model = Decoder(config, seed=1).eval()
    pairs = encode_pairs(tokenizer, some_pairs(6), max_seq_len=64)
    alone = []
    for side in (0, 1):
        for number in range(6):
            ids, begin = pairs.conversation(number, side)
            tokens = torch.from_numpy(ids.astype(np.int64))[None]
            with torch.no_grad():
                alone.append(model.logits(model(tokens)).log_softmax(-1)[0, begin - 1:-1].gather(1, tokens[0, begin:, None]).sum().item())
    for row in (None, 80):
        batch = pair_batch(pairs, range(6), row=row)
        with torch.no_grad():
            hidden = model(batch.tokens_BT, document_lengths=batch.documents, positions=batch.documents.positions_BT)
            logprobs = model.logprobs(hidden.flatten(0, 1)[batch.places_A][None], batch.targets_A[None])[0]
        assert torch.zeros(12).index_add_(0, batch.owner_A, logprobs).tolist() == pytest.approx(alone, abs=1e-4)
