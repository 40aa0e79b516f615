"""Documents that begin alike, their common beginning computed once: two answers to one prompt, say. No attention here, no batches.

In the rows a beginning stands once, and its endings behind it one after another; each ending's positions go on from the beginning. Every
part of the model that looks at one token at a time then does the beginning's work once. Attention alone needs documents written out whole:
`spread` repeats the beginning in front of each ending, `collect` takes the results back. A token of the beginning sees the same tokens in
every copy, so nothing is lost: values and gradients are those of documents that share nothing.

Shapes: B rows, T tokens of a row, N = B T tokens as they stand in the rows, E tokens written out, S tokens written out again, X anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Forks:
    """Where the tokens of rows stand when their documents are written out; int64 all.

    sources_E  the place in the rows of each token written out
    first_N    of each token of the rows, its (first) place among those written out
    again      for each further copy of beginnings: (places among those written out [S], places in the rows [S]); no place in the rows
               twice in one of them
    """

    sources_E: Tensor
    first_N: Tensor
    again: tuple[tuple[Tensor, Tensor], ...]

    def to(self, device: torch.device) -> "Forks":
        return Forks(self.sources_E.to(device), self.first_N.to(device), tuple((a.to(device), b.to(device)) for a, b in self.again))

    def spread(self, x_BTXX: Tensor) -> Tensor:
        """The rows' values written out: [1, E, ..]."""
        x_NX = x_BTXX.flatten(0, 1)
        if torch.compiler.is_compiling() or not (torch.is_grad_enabled() and x_NX.requires_grad):
            return x_NX.index_select(0, self.sources_E)[None]
        return _Spread.apply(x_NX, self)[None]

    def collect(self, x_1EXX: Tensor, rows: int) -> Tensor:
        """Values of what is written out, back in their rows: [B, T, ..]."""
        x_EX = x_1EXX[0]
        if torch.compiler.is_compiling() or not (torch.is_grad_enabled() and x_EX.requires_grad):
            x_NX = x_EX.index_select(0, self.first_N)
        else:
            x_NX = _Collect.apply(x_EX, self)
        return x_NX.unflatten(0, (rows, -1))


class _Spread(torch.autograd.Function):
    """Gradients of the copies are added up copy by copy: far faster on a CPU than the general sum by index."""

    @staticmethod
    def forward(ctx: Any, x_NX: Tensor, forks: Forks) -> Tensor:
        ctx.forks = forks
        return x_NX.index_select(0, forks.sources_E)

    @staticmethod
    def backward(ctx: Any, grad_EX: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        grad_NX = grad_EX.index_select(0, ctx.forks.first_N)
        for again_S, shared_S in ctx.forks.again:
            both_SX = grad_NX.index_select(0, shared_S).add_(grad_EX.index_select(0, again_S))
            grad_NX.index_copy_(0, shared_S, both_SX)
        return grad_NX, None


class _Collect(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_EX: Tensor, forks: Forks) -> Tensor:
        ctx.forks, ctx.count = forks, x_EX.shape[0]
        return x_EX.index_select(0, forks.first_N)

    @staticmethod
    def backward(ctx: Any, grad_NX: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        grad_EX = grad_NX.new_zeros(ctx.count, *grad_NX.shape[1:])
        return grad_EX.index_copy_(0, ctx.forks.first_N, grad_NX), None


def lay_out(documents: Sequence[tuple[int, Sequence[int]]]) -> tuple[Forks | None, list[int], list[int]]:
    """One row of documents, each (tokens of its beginning, tokens of each ending): (where they are written out, or None where nothing is
    shared; the position of each token of the row in its document; lengths of the documents written out). A document without endings, or
    with empty ones, is its beginning alone."""
    sources: list[int] = []
    positions: list[int] = []
    lengths: list[int] = []
    copies: list[tuple[list[int], list[int]]] = []
    first: list[int] = []
    for shared, given in documents:
        endings = [n for n in given if n] or [0]
        begin, at = len(positions), len(positions) + shared
        positions.extend(range(shared))
        for number, size in enumerate(endings):
            written = len(sources)
            sources.extend(range(begin, begin + shared))
            sources.extend(range(at, at + size))
            if number == 0:
                first.extend(range(written, written + shared))
            else:
                while len(copies) < number:
                    copies.append(([], []))
                copies[number - 1][0].extend(range(written, written + shared))
                copies[number - 1][1].extend(range(begin, begin + shared))
            first.extend(range(written + shared, written + shared + size))
            positions.extend(range(shared, shared + size))
            lengths.append(shared + size)
            at += size
    if all(not places for places, _ in copies):
        return None, positions, lengths
    again = tuple((torch.tensor(a), torch.tensor(b)) for a, b in copies if a)
    return Forks(torch.tensor(sources), torch.tensor(first), again), positions, lengths
