"""Losses of conversations equal transformers', packed and not; every example is whole and in one place an epoch; the step says all."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.contract.errors import InputError
from engine.contract.rows import Example, Message
from engine.model import hf
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.text import bpe, specials
from engine.training.batches import IGNORED
from engine.training.examples import (
    EncodedExamples,
    ExampleEvaluation,
    ExampleRows,
    encode_examples,
    example_loss,
    pack,
    prompt_key,
)
from engine.training.ranks import Ranks

MARKED = ("{{ bos_token }}{% for message in messages %}{% if message['role'] == 'assistant' %}<|assistant|>"
          "{% generation %}{{ ' ' + message['content'] + '<|end|>' }}{% endgeneration %}"
          "{% else %}{{ '<|' + message['role'] + '|> ' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}"
          "{% if add_generation_prompt %}<|assistant|>{% endif %}")
CONTEXT = 64


@pytest.fixture(scope="module")
def tokenizer():
    return bpe.train(["the harbour master runs the boats and answers. " * 5, "Москва и море, 2024. " * 4] * 3, 330,
                     special=specials.SPECIAL_TOKENS)


def conversations(count, seed=0, turns=2):
    draw = np.random.default_rng(seed)
    words = ["the", "harbour", "boats", "море", "2024", "runs", "answers", "x", "?", "é"]

    def text():
        return " ".join(draw.choice(words, draw.integers(1, 9)))

    made = []
    for n in range(count):
        messages = [Message(role="system", content=text())] if n % 3 == 0 else []
        for _ in range(draw.integers(1, turns + 1)):
            messages += [Message(role="user", content=text()), Message(role="assistant", content=text())]
        made.append(Example(id=str(n), messages=tuple(messages)))
    return made


def fake(lengths, seed=0):
    """Examples whose tokens are all different numbers, so that a lost or doubled one shows."""
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    total = int(starts[-1])
    trained = np.random.default_rng(seed).random(total) < 0.5
    trained[starts[:-1]] = False
    trained[starts[1:] - 1] = True
    return EncodedExamples(np.arange(total, dtype=np.uint32), trained, starts, np.arange(len(lengths)),
                           np.random.default_rng(1).integers(0, 2**63, len(lengths)).astype(np.uint64))


def source(lengths, **more):
    return ExampleRows(fake(lengths), **{"max_seq_len": 32, "batch_size": 4, "seed": 3, "pad": 999_999, **more})


class Shards:
    """Documents that begin with token 7."""

    def __init__(self, lengths):
        self.made = [np.arange(1000 * n, 1000 * n + size) for n, size in enumerate(lengths, 1)]
        for document in self.made:
            document[0] = 7
        self.documents, self.tokens = len(lengths), sum(lengths)

    def document(self, number):
        return self.made[number]


LENGTHS = st.lists(st.integers(2, 33), min_size=1, max_size=40)


# ------------------------------------------------------------------------------------------------------------------ equality


@pytest.mark.parametrize("shape", ["llama", "gpt2"])
@pytest.mark.parametrize("packing", [True, False])
def test_losses_equal_those_of_transformers_on_the_same_examples(packing, shape, tokenizer, tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    vocab = tokenizer.vocab_size
    if shape == "llama":
        theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(
            vocab_size=vocab, hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=CONTEXT, initializer_range=0.2, bos_token_id=None, eos_token_id=None)).eval()
    else:
        theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(
            vocab_size=vocab, n_embd=48, n_layer=2, n_head=4, n_positions=CONTEXT, initializer_range=0.2, bos_token_id=None,
            eos_token_id=None)).eval()
    config = hf.config_from_hf(theirs.config.to_dict())
    ours = Decoder(config, seed=None)
    state = theirs.state_dict()
    ours.load_state_dict(dict(hf.from_hf(config, state.__getitem__)))
    ours.eval()
    tokenizer.save(tmp_path)
    reader = transformers.AutoTokenizer.from_pretrained(tmp_path)

    examples = conversations(30)
    encoded = encode_examples(tokenizer, examples, max_seq_len=CONTEXT)
    assert len(encoded) >= 15
    sums, counts = [], []
    for number in encoded.numbers:
        made = reader.apply_chat_template([m.model_dump() for m in examples[number].messages], chat_template=MARKED, tokenize=True,
                                          return_dict=True, return_assistant_tokens_mask=True, return_tensors="pt")
        labels = torch.where(made["assistant_masks"].bool(), made["input_ids"], -100)
        with torch.no_grad():
            loss = theirs(made["input_ids"], labels=labels).loss
        counts.append(int((labels[0, 1:] != -100).sum()))
        sums.append(loss.item() * counts[-1])

    rows = ExampleRows(encoded, max_seq_len=CONTEXT, batch_size=6, seed=1, pad=tokenizer.pad_id, packing=packing)
    for step in range(rows.steps(1)):
        held = [i for row in rows.rows(step) for i in row]
        batches = rows.batches(step, 3)
        with torch.no_grad():
            total = sum(example_loss(ours, b).item() for b in batches)
            for batch in batches:  # example by example, from the same rows
                losses = ours(batch.tokens_BT, targets_BT=batch.targets_BT, reduction="none", document_lengths=batch.documents,
                              positions=batch.documents.positions_BT)
                assert losses.sum().item() == pytest.approx(example_loss(ours, batch).item(), rel=1e-5)
        weight = sum(b.weight for b in batches)
        assert weight == sum(counts[i] for i in held)
        assert abs(total / weight - sum(sums[i] for i in held) / weight) < 1e-4
    with torch.no_grad():
        for i in range(len(encoded)):
            alone = ExampleRows(encoded.take(np.array([i])), max_seq_len=CONTEXT, batch_size=1, seed=0, pad=0, packing=packing)
            [batch] = alone.batches(0, 1)
            assert abs(example_loss(ours, batch).item() / batch.weight - sums[i] / counts[i]) < 1e-4

    measured = ExampleEvaluation(encoded, batch_tokens=150).measure(ours, Ranks(0, 1, torch.device("cpu")))
    assert abs(measured.per_token - sum(sums) / sum(counts)) < 1e-4 and measured.tokens == sum(counts)


def test_examples_of_a_row_do_not_see_each_other(tokenizer):
    torch.manual_seed(0)
    model = Decoder(ModelConfig(vocab_size=tokenizer.vocab_size, hidden_size=32, num_layers=2, num_heads=2, num_kv_heads=2, head_dim=16,
                                intermediate_size=64, max_seq_len=CONTEXT), seed=0)
    for weight in model.parameters():
        weight.data.mul_(4.0)
    encoded = encode_examples(tokenizer, conversations(8), max_seq_len=CONTEXT)
    rows = ExampleRows(encoded, max_seq_len=CONTEXT, batch_size=8, seed=1, pad=0, packing=False)
    [batch] = rows.batches(0, 8)
    assert batch.tokens_BT.shape[0] == 1 and batch.tokens_BT.numel() > CONTEXT  # longer than the context: positions begin anew
    first = int((batch.documents.ids_BT == 0).sum())
    other = batch.tokens_BT.clone()
    other[:, :first] = (other[:, :first] + 1) % tokenizer.vocab_size
    def hidden(tokens_BT):
        return model(tokens_BT, document_lengths=batch.documents, positions=batch.documents.positions_BT)
    with torch.no_grad():
        one, two = hidden(batch.tokens_BT), hidden(other)
    assert torch.equal(one[:, first:], two[:, first:]) and not torch.allclose(one[:, :first], two[:, :first])


# ------------------------------------------------------------------------------------------------------------------ rows


@settings(max_examples=80, deadline=None)
@given(LENGTHS, st.integers(1, 9), st.integers(0, 3))
def test_packing_keeps_every_example_whole_and_in_one_place_an_epoch(lengths, batch_size, epoch):
    rows = source(lengths, batch_size=batch_size, max_seq_len=33)
    steps = rows.steps(1)
    assert steps == -(-len(lengths) // batch_size)
    seen = []
    for step in range(epoch * steps, (epoch + 1) * steps):
        assert rows.rows(step)
        for batch in rows.batches(step, 2):
            assert batch.tokens_BT.shape[1] <= 33
            seen += batch.targets_BT[batch.targets_BT != IGNORED].tolist()
    wanted = rows.examples.ids[rows.examples.trained].tolist()
    assert Counter(seen) == Counter(wanted)


@settings(max_examples=80, deadline=None)
@given(LENGTHS, st.integers(1, 9), st.integers(1, 4))
def test_natural_lengths_have_exactly_the_batch_and_no_padding(lengths, batch_size, micro):
    rows = source(lengths, batch_size=batch_size, packing=False, max_seq_len=33)
    everything = []
    for step in range(2 * len(lengths)):
        assert sum(len(row) for row in rows.rows(step)) == batch_size
        everything += [i for row in rows.rows(step) for i in row]
        for batch in rows.batches(step, micro):
            assert batch.tokens_BT.shape[0] == 1 and (batch.tokens_BT != 999_999).all()
    assert set(Counter(everything).values()) == {2 * batch_size}
    order = sorted(everything[:len(lengths) * batch_size])
    assert order == sorted(list(range(len(lengths))) * batch_size)


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.booleans(), st.integers(0, 3))
def test_inputs_and_borders_are_those_of_the_examples(lengths, packing, step):
    rows = source(lengths, packing=packing, max_seq_len=33)
    known = {int(rows.examples.starts[i]): i for i in range(len(rows.examples))}
    for batch in rows.batches(step, 2):
        ids, positions = batch.documents.ids_BT, batch.documents.positions_BT
        for b in range(batch.tokens_BT.shape[0]):
            for document in range(int(ids[b].max()) + 1):
                where = (ids[b] == document).nonzero().flatten()
                tokens, targets = batch.tokens_BT[b, where].tolist(), batch.targets_BT[b, where].tolist()
                if tokens[0] == 999_999:
                    assert set(targets) == {IGNORED}
                    continue
                wanted, trained = rows.examples.example(known[tokens[0]])
                assert tokens == wanted[:-1].tolist() and positions[b, where].tolist() == list(range(len(tokens)))
                assert targets == [int(t) if on else IGNORED for t, on in zip(wanted[1:], trained[1:], strict=True)]
        assert batch.tokens == sum(len(rows.examples.example(known[t])[0]) for t in batch.tokens_BT[positions == 0].tolist() if t in known)


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 4), st.integers(1, 5), st.booleans(), st.integers(0, 6))
def test_ranks_together_see_what_one_alone_sees_and_each_takes_part(lengths, world_size, micro, packing, step):
    def one(rank, world):
        made = source(lengths, packing=packing, max_seq_len=33, batch_size=6, rank=rank, world_size=world)
        made._most = 3
        return made
    ranks = [one(rank, world_size) for rank in range(world_size)]
    alone = Counter(t for b in one(0, 1).batches(step, 6) for t in b.targets_BT.flatten().tolist() if t != IGNORED)
    shared: Counter = Counter()
    for rank in ranks:
        batches = rank.batches(step, micro)
        assert batches
        shared += Counter(t for b in batches for t in b.targets_BT.flatten().tolist() if t != IGNORED)
    assert shared == alone


def test_a_step_is_the_same_whether_reached_or_jumped_to_and_another_seed_is_another_order():
    lengths = np.random.default_rng(0).integers(2, 30, 200).tolist()
    for packing in (True, False):
        walked, jumped = (source(lengths, packing=packing) for _ in range(2))
        seen = [walked.rows(step) for step in range(170)]
        assert [jumped.rows(step) for step in (169, 3, 60)] == [seen[169], seen[3], seen[60]]
        assert source(lengths, packing=packing, seed=4).rows(0) != seen[0]
        assert seen[0] != seen[50]
        assert walked.state == jumped.state


def test_state_tells_other_examples_and_other_settings():
    base = source([5, 6, 7]).state
    other = fake([5, 6, 7])
    other.trained[1] = not other.trained[1]
    assert ExampleRows(other, max_seq_len=32, batch_size=4, seed=3, pad=0).state != base
    for change in ({"batch_size": 5}, {"packing": False}, {"seed": 4}, {"max_seq_len": 31},
                   {"replay": Shards([9]), "replay_documents": 1}):
        assert source([5, 6, 7], **change).state != base


def test_packing_wastes_little_and_beats_order_of_arrival():
    lengths = np.random.default_rng(0).integers(5, 400, 3000).tolist()
    rows = pack(range(len(lengths)), lengths, 512, 10**6)
    assert sorted(i for row in rows for i in row) == list(range(3000))
    assert all(sum(lengths[i] for i in row) <= 512 for row in rows)
    assert sum(lengths) / (512 * len(rows)) > 0.99


def test_a_small_batch_is_not_swallowed_by_one_row():
    rows = source([3] * 64, max_seq_len=64, batch_size=4)
    assert rows.steps(1) == 16 and all(sum(map(len, rows.rows(s))) == 4 for s in range(16))


def test_fixed_shapes_are_as_wide_as_the_context():
    rows = source([3, 9, 20] * 9, fixed_shapes=True, batch_size=9)
    assert {tuple(b.tokens_BT.shape) for s in range(3) for b in rows.batches(s, 1)} == {(1, 32)}


# ------------------------------------------------------------------------------------------------------------------ replay


@pytest.mark.parametrize("packing", [True, False])
def test_replayed_documents_join_each_step_whole_trained_and_cut_at_their_beginning(packing):
    shards = Shards([10, 50, 3, 1, 20])
    rows = source([6, 7, 8, 9], packing=packing, replay=shards, replay_documents=2, begin=7)
    seen = Counter()
    for step in range(10):
        numbers = [-1 - i for row in rows.rows(step) for i in row if i < 0]
        assert len(numbers) == 2
        seen.update(numbers)
        targets = {t for b in rows.batches(step, 2) for t in b.targets_BT.flatten().tolist()}
        for n in numbers:
            assert set(shards.document(n)[1:32].tolist()) <= targets
            assert not set(shards.document(n)[32:].tolist()) & targets
    assert seen == Counter({n: 4 for n in range(5)})  # all in turn
    again = source([6, 7, 8, 9], packing=packing, replay=shards, replay_documents=2, begin=7)
    assert again.rows(6) == rows.rows(6)


def test_a_document_without_its_begin_token_gets_it():
    shards = Shards([5])
    ids, trained = source([4], replay=shards, replay_documents=1, begin=9).item(-1)
    assert ids.tolist() == [9, *shards.document(0).tolist()] and trained.tolist() == [False] + [True] * 5


# ------------------------------------------------------------------------------------------------------------------ encoding


def test_long_ones_are_left_out_or_cut_and_both_are_counted(tokenizer):
    long = Example(id="l", messages=(Message(role="user", content="x"), Message(role="assistant", content="harbour boats " * 40)))
    asking = Example(id="a", messages=(Message(role="user", content="harbour boats " * 40), Message(role="assistant", content="x")))
    unanswered = Example(id="u", messages=(Message(role="user", content="x"),))
    wrong = Example(id="w", messages=(Message(role="human", content="x"), Message(role="gpt", content="y")))
    examples = [*conversations(5, turns=1), long, asking, unanswered, wrong]
    out = encode_examples(tokenizer, examples, max_seq_len=48)
    assert (out.left_out.too_long, out.left_out.nothing_trained, out.left_out.refused, len(out)) == (2, 1, 1, 5)
    assert out.left_out.refused_at == 8 and out.left_out.refusal.code == "chat_template" and out.numbers.tolist() == [0, 1, 2, 3, 4]
    cut = encode_examples(tokenizer, examples, max_seq_len=48, too_long="cut")
    assert (cut.left_out.cut, cut.left_out.cut_answers, cut.left_out.nothing_trained, len(cut)) == (1, 1, 2, 6)
    assert int(cut.lengths().max()) == 48
    with pytest.raises(InputError):
        ExampleRows(encode_examples(tokenizer, [unanswered], max_seq_len=48), max_seq_len=48, batch_size=1, seed=0, pad=0)


def test_the_validation_split_knows_only_what_was_asked():
    def asked(text, answer="a", id="1"):
        return Example(id=id, messages=(Message(role="user", content=text), Message(role="assistant", content=answer)))
    assert prompt_key(asked("Who is Ann?")) == prompt_key(asked("who is  ANN", "b", "2")) != prompt_key(asked("Who is Bob?"))
    encoded = fake([4] * 400)
    encoded.keys[200:] = encoded.keys[:200]
    train, held = encoded.split(10)
    assert 15 <= len(held) <= 70 and len(train) + len(held) == 400
    assert not set(train.keys.tolist()) & set(held.keys.tolist())
    shuffled = encoded.take(np.random.default_rng(0).permutation(400)).split(10)[1]
    assert sorted(shuffled.numbers.tolist()) == sorted(held.numbers.tolist())
    assert len(encoded.split(0)[1]) == 0
    few = fake([4, 5, 6])
    assert len(few.split(1)[1]) == 1 and len(few.split(1)[0]) == 2
