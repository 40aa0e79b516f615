"""The decoder by itself: parameters, initialisation, packed documents, recomputation, compilation."""

import pytest
import torch

from engine.model.attention import Documents, _dense, _varlen, causal_attention
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder


def config(shape: str = "llama", **changes) -> ModelConfig:
    gpt2 = shape == "gpt2"
    base = dict(shape=shape, vocab_size=97, hidden_size=32, num_layers=2, num_heads=4, num_kv_heads=4 if gpt2 else 2, head_dim=8,
                intermediate_size=48, max_seq_len=64, qk_norm=not gpt2, attention_bias=gpt2, output_bias=gpt2, mlp_bias=gpt2)
    return ModelConfig(**{**base, **changes})


def tokens(rows: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(97, (rows, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("changes", [
    {}, {"tie_embeddings": False}, {"qk_norm": False, "num_kv_heads": 1}, {"head_dim": 16}, {"attention_bias": True},
    {"attention_bias": True, "output_bias": True, "mlp_bias": True}, {"num_layers": 1, "intermediate_size": 7},
    {"shape": "gpt2", "num_kv_heads": 4, "qk_norm": False}, {"shape": "gpt2", "num_kv_heads": 4, "qk_norm": False, "mlp_bias": True,
     "output_bias": True, "attention_bias": True, "tie_embeddings": False}])
def test_parameter_formula_is_exact(changes):
    model = Decoder(config(**changes))
    assert sum(p.numel() for p in model.parameters()) == model.config.parameters
    assert sum(w.numel() for _, w, _ in model.matrix_parts()) == model.config.matrix_parameters
    assert all(sum(parts) == w.shape[0] for _, w, parts in model.matrix_parts())


def test_initial_weights_depend_on_the_seed_and_nothing_else():
    first, again, other = Decoder(config(), seed=1), Decoder(config(), seed=1), Decoder(config(), seed=2)
    torch.manual_seed(123)
    torch.rand(5)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.embed.weight, other.embed.weight)
    deeper = Decoder(config(num_layers=3), seed=1)
    assert torch.equal(first.layers[0].attention.qkv.weight, deeper.layers[0].attention.qkv.weight)


def test_initial_spread_is_as_documented():
    model = Decoder(config(hidden_size=256, intermediate_size=512, head_dim=64, num_kv_heads=4, num_layers=4))
    assert model.layers[0].mlp.gate_up.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert model.layers[0].mlp.down.weight.std().item() == pytest.approx(0.02 / 8**0.5, rel=0.02)
    assert torch.all(model.norm.weight == 1)


@pytest.mark.parametrize("shape", ["llama", "gpt2"])
def test_no_token_sees_a_later_one(shape):
    model = Decoder(config(shape)).eval()
    x = tokens(2, 20)
    changed = x.clone()
    changed[:, 12] = (changed[:, 12] + 1) % 97
    before, after = model(x), model(changed)
    assert torch.equal(before[:, :12], after[:, :12])
    assert not torch.allclose(before[:, 12:], after[:, 12:])


@pytest.mark.parametrize("shape", ["llama", "gpt2"])
def test_packed_documents_do_not_attend_across_their_border(shape):
    model = Decoder(config(shape)).eval()
    x = tokens(2, 24)
    lengths = [[5, 12, 7], [24]]
    packed = model(x, document_lengths=lengths)
    start = 0
    for n in lengths[0]:
        alone = model(x[:1, start : start + n])
        torch.testing.assert_close(packed[0, start : start + n], alone[0], atol=2e-6, rtol=0)
        start += n
    torch.testing.assert_close(packed[1], model(x[1:])[0], atol=2e-6, rtol=0)
    changed = x.clone()
    changed[0, :5] = (changed[0, :5] + 1) % 97
    assert torch.equal(model(changed, document_lengths=lengths)[0, 5:], packed[0, 5:])


@pytest.mark.parametrize("shape", ["llama", "gpt2"])
def test_gradients_of_packed_documents_are_those_of_the_documents(shape):
    model = Decoder(config(shape))
    x, y = tokens(1, 20), tokens(1, 20, seed=1)
    model.loss(model(x, document_lengths=[[8, 12]]), y, reduction="sum").backward()
    packed = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    for part in (slice(0, 8), slice(8, 20)):
        model.loss(model(x[:, part]), y[:, part], reduction="sum").backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(packed[name], p.grad, atol=2e-5, rtol=1e-4, msg=name)


def test_the_dense_mask_and_the_loop_over_documents_agree():
    """The dense mask is the way of MPS and of float32 on CUDA."""
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 16, h, 8, generator=g) for h in (4, 2, 2))
    documents = Documents.of([[3, 13], [16]], 16)
    torch.testing.assert_close(causal_attention(q, k, v, documents), _dense(q, k, v, documents, True), atol=1e-6, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="varlen attention needs CUDA")
def test_varlen_attention_equals_the_dense_mask_on_cuda():
    q, k, v = (torch.randn(2, 64, h, 64, device="cuda", dtype=torch.bfloat16) for h in (4, 2, 2))
    documents = Documents.of([[30, 34], [64]], 64, "cuda")
    torch.testing.assert_close(_varlen(q, k, v, documents, True), _dense(q, k, v, documents, True), atol=2e-2, rtol=0)


def test_document_lengths_must_fit_the_row():
    with pytest.raises(AssertionError):
        Documents.of([[10, 10]], 16)
    rest = Documents.of([[10]], 16)
    assert rest.ids_BT[0].tolist() == [0] * 10 + [1] * 6 and rest.positions_BT[0, 10] == 0 and rest.longest == 10
    assert rest.borders[:3].tolist() == [0, 10, 16] and len(rest.borders) == 64


def test_activation_checkpointing_changes_no_gradient():
    x, y = tokens(2, 16), tokens(2, 16, seed=1)
    grads = []
    for on in (False, True):
        model = Decoder(config(dropout=0.1)).train()
        model.activation_checkpointing = on
        torch.manual_seed(0)
        model(x, targets_BT=y).backward()
        grads.append([p.grad for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_dropout_works_in_training_only():
    model = Decoder(config(dropout=0.5))
    x = tokens(1, 8)
    assert not torch.equal(model.train()(x), model(x))
    assert torch.equal(model.eval()(x), model(x))


def test_bfloat16_arithmetic_keeps_float32_weights_and_gradients():
    model = Decoder(config())
    x, y = tokens(2, 16), tokens(2, 16, seed=1)
    exact = model(x, targets_BT=y).item()
    model.compute_dtype = torch.bfloat16
    hidden = model(x)
    loss = model.loss(hidden, y)
    loss.backward()
    assert hidden.dtype == torch.bfloat16 and loss.dtype == torch.float32
    assert all(p.dtype == p.grad.dtype == torch.float32 for p in model.parameters())
    assert loss.item() == pytest.approx(exact, abs=0.02)


def test_a_row_longer_than_the_context_is_our_mistake():
    with pytest.raises(AssertionError):
        Decoder(config())(tokens(1, 65))


def test_nothing_breaks_the_graph_for_torch_compile():
    model = Decoder(config())
    model.compute_dtype = torch.bfloat16
    x = tokens(2, 32)
    torch._dynamo.reset()
    whole = torch.compile(model, fullgraph=True, backend="eager")
    for lengths in (None, Documents.of([[10, 22], [32]], 32)):
        assert whole(x, targets_BT=x, document_lengths=lengths).item() > 0
    model.compute_dtype = None
    assert whole(x, targets_BT=x, document_lengths=Documents.of([[10, 22], [32]], 32)).item() > 0


@pytest.mark.slow
def test_compiles_whole_and_gives_the_same_loss_and_gradients():
    model = Decoder(config())
    x, y = tokens(2, 32), tokens(2, 32, seed=1)
    documents = Documents.of([[10, 22], [32]], 32)
    for given in (None, documents):
        model.zero_grad()
        eager = model(x, targets_BT=y, document_lengths=given)
        eager.backward()
        before = [p.grad.clone() for p in model.parameters()]
        model.zero_grad()
        compiled = torch.compile(model, fullgraph=True)(x, targets_BT=y, document_lengths=given)
        compiled.backward()
        assert compiled.item() == pytest.approx(eager.item(), abs=1e-5)
        for p, wanted in zip(model.parameters(), before, strict=True):
            torch.testing.assert_close(p.grad, wanted, atol=1e-5, rtol=1e-4)
