"""Log-probabilities of answers laid out together equal those of each conversation read alone, with gradients."""

import numpy as np
import pytest
import torch

from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.model.length_batches import batched
from engine.training.answer_logprobs import Part, answer_logprobs, decoder_of, lay
from engine.training.pair_rows import EncodedPairs, pair_batch
from tests.attempts import one_thread  # noqa: F401

VOCAB = 97


def model_of(**more):
    given = {"vocab_size": VOCAB, "hidden_size": 32, "num_layers": 2, "num_heads": 2, "num_kv_heads": 1, "head_dim": 16,
             "intermediate_size": 48, "max_seq_len": 96, **more}
    return Decoder(ModelConfig(**given), seed=3)


def parts_of(count, seed=0):
    """Pairs whose answers begin at the end of what they share, later, or (one token) right at the end of the conversation."""
    draw = np.random.default_rng(seed)
    made = []
    for n in range(count):
        shared = draw.integers(1, VOCAB, draw.integers(2, 30))
        endings = tuple(draw.integers(1, VOCAB, draw.integers(1, 20)) for _ in range(2))
        begins = tuple(len(shared) + (min(2, len(e) - 1) if n % 3 == 0 else 0) for e in endings)
        made.append(Part(shared, endings, begins))
    return made


def alone(model, part):
    for ending, begin in zip(part.endings, part.begins, strict=True):
        ids = torch.from_numpy(np.concatenate([part.shared, ending]))
        logprobs = model.logits(model(ids[None]))[0].float().log_softmax(-1)
        yield logprobs[torch.arange(begin - 1, len(ids) - 1), ids[begin:]].sum(), len(ids) - begin


@pytest.mark.parametrize("row", [None, 40])
@pytest.mark.parametrize("tie", [True, False])
def test_answers_laid_out_together_equal_each_alone_with_gradients(row, tie):
    model, parts = model_of(tie_embeddings=tie), parts_of(7)
    wanted, counts = zip(*(one for part in parts for one in alone(model, part)), strict=True)
    weights = torch.randn(len(wanted), generator=torch.Generator().manual_seed(5))
    (torch.stack(wanted) * weights).sum().backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    batch = lay(parts, row=row)
    sums, tokens = answer_logprobs(model, batch)
    torch.testing.assert_close(sums, torch.stack(wanted), rtol=1e-5, atol=1e-4)
    assert tokens.tolist() == list(counts) and sums.dtype == torch.float32
    (sums * weights).sum().backward()
    for got, grad in zip(model.parameters(), expected, strict=True):
        assert (got.grad - grad).norm() <= 1e-5 * grad.norm()
    if row is None:
        assert batch.tokens == batch.tokens_BT.numel() == sum(p.tokens - 2 for p in parts)
    else:
        assert batch.tokens_BT.shape[0] > 1 and batch.tokens == sum(sum(len(p.shared) + len(e) - 1 for e in p.endings) for p in parts)


def test_rows_of_pairs_have_the_same_log_probabilities():
    parts, model = parts_of(5, seed=2), model_of()
    ids = [one for part in parts for one in (part.shared, *part.endings)]
    skips = np.array([[b - len(part.shared) for b in part.begins] for part in parts])
    none = np.zeros(5, np.int64)
    pairs = EncodedPairs(np.concatenate(ids).astype(np.uint32), np.concatenate([[0], np.cumsum([len(x) for x in ids])]), skips,
                         none.astype(np.int8), none.astype(bool), none.astype(bool), np.arange(5), none.astype(np.uint64))
    with torch.no_grad():
        ours, tokens = answer_logprobs(model, lay(parts))
        theirs, their_tokens = answer_logprobs(model, pair_batch(pairs, range(5)))
    torch.testing.assert_close(ours.view(5, 2).T.reshape(-1), theirs, rtol=1e-5, atol=1e-4)
    assert torch.equal(tokens.view(5, 2).T.reshape(-1), their_tokens)


def test_a_document_of_pretraining_is_an_answer_to_its_first_token():
    document = np.random.default_rng(1).integers(1, VOCAB, 25)
    model = model_of()
    with torch.no_grad():
        sums, tokens = answer_logprobs(model, lay([*parts_of(2), Part(document[:0], (document,), (1,))]))
        ids = torch.from_numpy(document)[None]
        wanted = -model(ids[:, :-1], targets_BT=ids[:, 1:], reduction="sum")
    assert tokens[-1] == 24 and sums[-1].item() == pytest.approx(wanted.item(), rel=1e-5)


def test_the_decoder_is_found_in_what_is_around_it():
    model = model_of()
    around = torch.nn.Module()
    around.module = model
    assert decoder_of(model) is model and decoder_of(around) is model and decoder_of(torch.compile(model)) is model


def test_batches_of_neighbours_hold_about_as_many_tokens():
    sizes = [5, 50, 20, 21, 49, 6, 200]
    made = list(batched(sizes, range(7), 100))
    assert made == [[6], [1, 4], [3, 2, 5, 0]]
