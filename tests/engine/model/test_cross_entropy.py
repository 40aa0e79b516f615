"""Chunked cross entropy against the plain one."""

import pytest
import torch
import torch.nn.functional as F

from engine.model import loss as losses


def case(n: int = 70, c: int = 16, v: int = 300):
    g = torch.Generator().manual_seed(0)
    hidden = torch.randn(n, c, generator=g, requires_grad=True)
    weight = torch.randn(v, c, generator=g, requires_grad=True)
    targets = torch.randint(v, (n,), generator=g)
    targets[3:9] = losses.IGNORE
    return hidden, weight, targets


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(losses, "CHUNK_BYTES", 4 * 300 * 16)  # 16 tokens a chunk


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("chunked", [True, False])
def test_loss_and_gradients_equal_the_plain_ones(reduction, chunked):
    hidden, weight, targets = case()
    wanted = F.cross_entropy(hidden @ weight.T, targets, ignore_index=losses.IGNORE, reduction=reduction)
    factor = torch.rand(wanted.shape, generator=torch.Generator().manual_seed(1)) + 0.5
    grads = torch.autograd.grad((wanted * factor).sum(), (hidden, weight))
    made = losses.cross_entropy(hidden, weight, targets, reduction=reduction, chunked=chunked)
    torch.testing.assert_close(made, wanted, atol=1e-5, rtol=1e-5)
    for mine, other in zip(torch.autograd.grad((made * factor).sum(), (hidden, weight)), grads, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_rows_that_stand_in_the_heads_place_count_as_if_they_were_in_it(reduction, chunked, whole):
    hidden, weight, targets = case()
    ids, rows = torch.tensor([41, 7, 299]), torch.randn(3, 16, generator=torch.Generator().manual_seed(2), requires_grad=True)
    targets[12:30:2] = 7
    targets[31:40:3] = 299
    needed = (hidden, rows, weight) if whole else (hidden, rows)
    weight.requires_grad_(whole)
    table = weight.index_copy(0, ids, rows)
    wanted = F.cross_entropy(hidden @ table.T / 0.8, targets, ignore_index=losses.IGNORE, reduction=reduction)
    factor = torch.rand(wanted.shape, generator=torch.Generator().manual_seed(1)) + 0.5
    grads = torch.autograd.grad((wanted * factor).sum(), needed)
    made = losses.cross_entropy(hidden, weight, targets, reduction=reduction, chunked=chunked, temperature=0.8, rows=(ids, rows))
    torch.testing.assert_close(made, wanted, atol=1e-5, rtol=1e-5)
    for mine, other in zip(torch.autograd.grad((made * factor).sum(), needed), grads, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(losses.head_logits(hidden, weight, (ids, rows)), hidden @ table.T, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("chunked", [True, False])
def test_all_targets_ignored_gives_zero_and_no_gradient(chunked):
    hidden, weight, targets = case()
    loss = losses.cross_entropy(hidden, weight, torch.full_like(targets, losses.IGNORE), chunked=chunked)
    loss.backward()
    assert loss.item() == 0 and not hidden.grad.any() and not weight.grad.any()


def test_only_what_needs_a_gradient_gets_one():
    hidden, weight, targets = case()
    losses.cross_entropy(hidden, weight.detach(), targets, chunked=True).backward()
    wanted = torch.autograd.grad(F.cross_entropy(hidden @ weight.detach().T, targets), hidden)[0]
    torch.testing.assert_close(hidden.grad, wanted, atol=1e-6, rtol=1e-5)
    with torch.no_grad():
        assert losses.cross_entropy(hidden, weight, targets, chunked=True).item() > 0


def test_logprobs_at_a_temperature_keep_the_shape():
    hidden, weight, targets = case()
    logprobs = losses.token_logprobs(hidden.view(7, 10, -1), weight, targets.view(7, 10), temperature=0.7, chunked=True)
    wanted = ((hidden @ weight.T) / 0.7).log_softmax(-1).gather(-1, targets.clamp(min=0)[:, None])[:, 0]
    wanted = torch.where(targets == losses.IGNORE, 0.0, wanted).view(7, 10)
    torch.testing.assert_close(logprobs, wanted, atol=2e-5, rtol=1e-5)


def test_bfloat16_hidden_gives_the_right_loss():
    """torch's own linear_cross_entropy does not."""
    hidden, weight, targets = case()
    exact = F.cross_entropy(hidden @ weight.T, targets)
    made = losses.cross_entropy(hidden.bfloat16(), weight, targets, chunked=True)
    assert made.dtype == torch.float32
    assert made.item() == pytest.approx(exact.item(), rel=0.01)


def test_big_logits_are_never_whole(monkeypatch):
    hidden, weight, targets = case()
    seen = []
    linear = F.linear
    monkeypatch.setattr(losses, "PLAIN_BYTES", 4 * 300 * 16)
    monkeypatch.setattr(losses.F, "linear", lambda x, w: seen.append(len(x)) or linear(x, w))
    losses.cross_entropy(hidden, weight, targets).backward()
    assert max(seen) <= 16 and sum(seen) == int((targets != losses.IGNORE).sum()) == 64  # what does not count has no logits
