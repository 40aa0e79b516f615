"""Orthogonalisation against the singular values it is about; the optimizer's steps against formulas; its state there and back."""

import pytest
import torch
from torch import nn

from engine.training.optim import Optimizer, OptimizerSettings, clip_gradients, gradient_norm, orthogonalize


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 64, 160), (2, 160, 64), (2, 300, 256)])
def test_orthogonalised_matrices_keep_their_directions_and_lose_their_lengths(shape):
    torch.manual_seed(0)
    matrices = torch.randn(shape) * torch.logspace(-3, 3, shape[0]).reshape(-1, 1, 1)
    made = orthogonalize(matrices).float()
    u, s, vt = torch.linalg.svd(matrices, full_matrices=False)
    values = torch.linalg.svdvals(made)
    strong = s / s.amax(-1, keepdim=True) > 0.1
    assert made.shape == matrices.shape
    assert values.max() < 1.35 and torch.diagonal(u.mT @ made @ vt.mT, dim1=-2, dim2=-1)[strong].min() > 0.5
    across = u.mT @ made @ vt.mT
    assert (across - torch.diag_embed(torch.diagonal(across, dim1=-2, dim2=-1))).abs().max() < 0.15


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.embedding = nn.Embedding(11, 8)
        self.layers = nn.ModuleList([nn.Linear(8, 8, bias=True), nn.Linear(8, 8, bias=False)])
        self.head = nn.Linear(8, 11, bias=False)

    def forward(self, x):
        x = self.embedding(x)
        for layer in self.layers:
            x = x + torch.tanh(layer(x))
        return self.head(x)


def parts_of(net):
    return [("layers.0.weight", net.layers[0].weight, (5, 3)), ("layers.1.weight", net.layers[1].weight, (8,))]


def trained(optimizer_of, steps, net=None, optimizer=None, first=0):
    net = net or Net()
    optimizer = optimizer or optimizer_of(net)
    for step in range(first, first + steps):
        x = torch.randint(0, 11, (4, 6), generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x).flatten(0, 1), x.roll(1).flatten()).backward()
        optimizer.step(1.0 / (1 + step))
    return net, optimizer


MUON = OptimizerSettings(1e-2, 2e-2, weight_decay=0.1)
ADAMW = OptimizerSettings(1e-2, None, weight_decay=0.1)


@pytest.mark.parametrize("settings", [MUON, ADAMW])
def test_state_saved_and_loaded_continues_to_the_same_bytes(settings):
    make = lambda net: Optimizer(net.named_parameters(), settings, parts_of(net))  # noqa: E731
    straight, _ = trained(make, 7)
    half, optimizer = trained(make, 3)
    fresh = Net()
    fresh.load_state_dict(half.state_dict())
    again = make(fresh)
    again.load({k: v.clone() for k, v in optimizer.state().items()})
    resumed, _ = trained(make, 4, fresh, again, first=3)
    for name, p in straight.named_parameters():
        assert torch.equal(p, dict(resumed.named_parameters())[name]), name


def test_muon_takes_the_matrices_of_layers_and_adamw_the_rest():
    net = Net()
    optimizer = Optimizer(net.named_parameters(), MUON, parts_of(net))
    assert {m[0] for m in optimizer.matrices} == {"layers.0.weight", "layers.1.weight"}
    assert {n for n, _ in optimizer.others} == {"embedding.weight", "layers.0.bias", "head.weight"}
    assert Optimizer(net.named_parameters(), ADAMW, parts_of(net)).matrices == []


def test_a_matrix_of_several_parts_moves_as_its_parts_would():
    torch.manual_seed(0)
    start, gradient = torch.randn(24, 8), torch.randn(24, 8)
    whole = nn.Parameter(start.clone())
    pieces = [nn.Parameter(start[:8].clone()), nn.Parameter(start[8:].clone())]
    whole.grad, pieces[0].grad, pieces[1].grad = gradient.clone(), gradient[:8].clone(), gradient[8:].clone()
    Optimizer([("w", whole)], MUON, [("w", whole, (8, 16))]).step(1.0)
    named = [("a", pieces[0]), ("b", pieces[1])]
    Optimizer(named, MUON, [("a", pieces[0], (8,)), ("b", pieces[1], (16,))]).step(1.0)
    torch.testing.assert_close(whole, torch.cat(pieces), rtol=0, atol=1e-4)
    assert not torch.equal(whole, start)


def test_adamw_is_torchs_with_decay_on_matrices_only():
    mine, _ = trained(lambda net: Optimizer(net.named_parameters(), ADAMW), 1)
    theirs = Net()
    plain = [p for p in theirs.parameters() if p.ndim < 2]
    matrices = [p for p in theirs.parameters() if p.ndim >= 2]
    reference = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}], lr=1e-2,
                                  betas=(0.9, 0.95))
    x = torch.randint(0, 11, (4, 6), generator=torch.Generator().manual_seed(0))
    nn.functional.cross_entropy(theirs(x).flatten(0, 1), x.roll(1).flatten()).backward()
    reference.step()
    for mine_p, theirs_p in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine_p, theirs_p, rtol=1e-5, atol=1e-6)


def test_muon_alone_learns_a_function():
    net = Net()
    optimizer = Optimizer(net.named_parameters(), OptimizerSettings(1e-9, 2e-2), parts_of(net))
    x = torch.arange(11).repeat(4)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), (3 * x + 1) % 11)
        loss.backward()
        optimizer.step(1.0)
        losses.append(loss.item())
    assert losses[0] > 2.0 and losses[-1] < 0.7 * losses[0]


def test_norm_is_of_all_gradients_together_and_clipping_scales_to_it():
    net = Net()
    for i, p in enumerate(net.parameters()):
        p.grad = torch.full_like(p, 0.5 * (i + 1))
    want = torch.cat([p.grad.flatten() for p in net.parameters()]).norm().item()
    parameters = list(net.parameters())
    assert gradient_norm(parameters).item() == pytest.approx(want, rel=1e-6)
    clip_gradients(parameters, want, 0.0)
    assert gradient_norm(parameters).item() == pytest.approx(want, rel=1e-6)
    clip_gradients(parameters, want, 2.0)
    assert gradient_norm(parameters).item() == pytest.approx(2.0, rel=1e-4)
