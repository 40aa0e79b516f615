"""AdamW, and Muon for the matrices of layers, behind one object that saves and loads its state by parameter name. No schedule here.

Muon (Keller Jordan, 2024): the momentum of a matrix is replaced by the nearest orthogonal matrix, found by five Newton-Schulz steps in
bfloat16, all matrices of a shape at once. It is for matrices between hidden states; embeddings, heads, norms and biases take AdamW.

N matrices of one shape, R rows, C columns.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5
BATCHED_BELOW = 1 << 16
"""On a CPU, matrices with more entries than this are faster one by one (measured, EPYC)."""


Matrix = tuple[str, nn.Parameter, tuple[int, ...]]
"""Name, parameter, and the rows of each part of it."""


@dataclass(frozen=True)
class OptimizerSettings:
    """Peak learning rates; `matrix_learning_rate` None means AdamW for everything. Decay is decoupled and spares vectors, and
    parameters marked `undecayed`."""

    learning_rate: float
    matrix_learning_rate: float | None = None
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    momentum: float = 0.95


class Optimizer:
    """`step(share)` updates all parameters at `share` of their peak rates.

    `named` are the parameters; frozen ones are left out. `matrices` are those for Muon, when it is on: (name, parameter, rows of each
    part), as Decoder.matrix_parts gives them: a matrix that holds several (queries, keys, values) is orthogonalised part by part.
    """

    def __init__(self, named: Iterable[tuple[str, nn.Parameter]], settings: OptimizerSettings, matrices: Iterable[Matrix] = ()) -> None:
        named = [(name, p) for name, p in named if p.requires_grad]
        self.settings = settings
        self.matrices = [m for m in matrices if m[1].requires_grad] if settings.matrix_learning_rate is not None else []
        chosen = {m[0] for m in self.matrices}
        self.others = [(n, p) for n, p in named if n not in chosen]
        self.parameters = [p for _, p in named]
        decays = [p.ndim >= 2 and not getattr(p, "undecayed", False) for _, p in self.others]
        decayed, plain = ([p for (_, p), yes in zip(self.others, decays, strict=True) if yes is wanted] for wanted in (True, False))
        groups = [g for g in ({"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0})
                  if g["params"]]
        kinds = {p.device.type for p in self.parameters}
        self.adamw = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(settings.beta1, settings.beta2), eps=settings.eps,
                                       fused=kinds <= {"cpu", "cuda", "mps"}) if groups else None
        self.muon = Muon(self.matrices, settings) if self.matrices else None

    @torch.no_grad()
    def step(self, share: float) -> None:
        if self.adamw is not None:
            for group in self.adamw.param_groups:
                group["lr"] = self.settings.learning_rate * share
            self.adamw.step()
        if self.muon is not None:
            self.muon.step(share)

    def zero_grad(self) -> None:
        for p in self.parameters:
            p.grad = None

    def state(self) -> dict[str, torch.Tensor]:
        """Every number the next step depends on, by parameter name: `exp_avg.<name>`, `exp_avg_sq.<name>`, `step.<name>`,
        `momentum.<name>`."""
        kept = {f"momentum.{name}": tensor for name, tensor in self.muon.momenta().items()} if self.muon else {}
        for name, p in self.others:
            for key, value in (self.adamw.state.get(p) or {}).items():
                kept[f"{key}.{name}"] = value
        return kept

    @torch.no_grad()
    def load(self, kept: dict[str, torch.Tensor]) -> None:
        """Put back what `state` gave; a name that is missing starts from zero, as it would have."""
        if self.muon:
            self.muon.load({key.removeprefix("momentum."): value for key, value in kept.items() if key.startswith("momentum.")})
        for name, p in self.others:
            found = {key: kept[f"{key}.{name}"] for key in ("step", "exp_avg", "exp_avg_sq") if f"{key}.{name}" in kept}
            if found:
                self.adamw.state[p] = {key: value.detach().to(p.device, torch.float32).clone() for key, value in found.items()}


class Muon:
    """Momentum, orthogonalised. Parts of one shape lie in one tensor, so that a shape costs one chain of products."""

    def __init__(self, matrices: list[Matrix], settings: OptimizerSettings) -> None:
        self.settings = settings
        self._matrices = matrices
        by_shape: dict[tuple[int, int], list[tuple[str, nn.Parameter, int]]] = {}
        for name, p, rows in matrices:
            assert sum(rows) == p.shape[0], (name, rows)
            for part in range(len(rows)):
                by_shape.setdefault((rows[part], p.shape[1]), []).append((name, p, sum(rows[:part])))
        self.groups = [(shape, parts, torch.zeros(len(parts), *shape, device=parts[0][1].device)) for shape, parts in by_shape.items()]

    def momenta(self) -> dict[str, torch.Tensor]:
        """A momentum in the shape of each parameter."""
        whole = {name: torch.empty(p.shape, device=p.device) for name, p, _ in self._matrices}
        for (rows, _), parts, momentum_NRC in self.groups:
            for n, (name, _, first) in enumerate(parts):
                whole[name][first:first + rows] = momentum_NRC[n]
        return whole

    def load(self, whole: dict[str, torch.Tensor]) -> None:
        for (rows, _), parts, momentum_NRC in self.groups:
            for n, (name, _, first) in enumerate(parts):
                if name in whole:
                    momentum_NRC[n] = whole[name][first:first + rows]

    @torch.no_grad()
    def step(self, share: float) -> None:
        rate = self.settings.matrix_learning_rate * share
        for (rows, columns), parts, momentum_NRC in self.groups:
            gradient_NRC = torch.stack([p.grad[first:first + rows] for _, p, first in parts]).float()
            momentum_NRC.lerp_(gradient_NRC, 1 - self.settings.momentum)
            update_NRC = orthogonalize(gradient_NRC.lerp_(momentum_NRC, self.settings.momentum))
            weights = [p[first:first + rows] for _, p, first in parts]
            if self.settings.weight_decay:
                torch._foreach_mul_(weights, 1 - rate * self.settings.weight_decay)
            torch._foreach_add_(weights, list(update_NRC.to(weights[0].dtype)), alpha=-rate * max(1.0, rows / columns) ** 0.5)


def orthogonalize(matrices_NRC: torch.Tensor) -> torch.Tensor:
    """The nearest orthogonal matrices, roughly: singular values end between 0.7 and 1.2 (measured; the aim is 1). bfloat16 comes back."""
    if matrices_NRC.device.type == "cpu" and matrices_NRC.shape[1] * matrices_NRC.shape[2] > BATCHED_BELOW and len(matrices_NRC) > 1:
        return torch.cat([orthogonalize(one.unsqueeze(0)) for one in matrices_NRC])
    a, b, c = NEWTON_SCHULZ
    tall = matrices_NRC.size(-2) > matrices_NRC.size(-1)
    wide = matrices_NRC.mT if tall else matrices_NRC
    x = (wide / wide.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-20)).bfloat16()
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def gradient_norm(parameters: list[nn.Parameter]) -> torch.Tensor:
    """Length of all gradients as one vector, float32, on their device."""
    grads = [p.grad for p in parameters if p.grad is not None]
    if not grads:
        return torch.zeros(())
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads, dtype=torch.float32)))


def clip_gradients(parameters: list[nn.Parameter], norm: float, longest: float) -> None:
    """Scale all gradients down so that together they are no longer than `longest`; 0 leaves them. `norm` is their length now."""
    if longest and norm > longest:
        torch._foreach_mul_([p.grad for p in parameters if p.grad is not None], longest / (norm + 1e-6))
