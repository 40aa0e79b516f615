"""Cross entropy and log-probabilities from hidden states, without ever holding the logits of a big vocabulary whole.

Small logits (at most PLAIN_BYTES in float32) go the plain way. Larger ones go in chunks of tokens: for a mean or a sum the gradients are
computed in the same pass as the loss (the scale of the incoming gradient is applied in backward), so that no matrix product is done
twice; per-token values are recomputed chunk by chunk in backward, because each has a gradient of its own. Softmax is always in float32,
matrix products in the dtype of `hidden`. torch's own `linear_cross_entropy` is not used: its bf16 mode returned a wrong loss.

Rows of the head may be trained while the rest is frozen (lora.py): they come apart from the matrix, as `rows`. Their logits replace the
matrix' own, and no gradient of the whole matrix is made.

Shapes: N tokens, C hidden size, V vocabulary, K rows that come apart.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = -100
PLAIN_BYTES = CHUNK_BYTES = 8 * 2**20  # fits a CPU's cache: measured faster than whole logits from there on, compiled or not
Rows = tuple[Tensor, Tensor]
"""(ids_K, rows_KC): what stands in the place of the head's rows with these numbers."""


def head_logits(hidden_NC: Tensor, weight_VC: Tensor, rows: Rows | None = None) -> Tensor:
    """logits_NV in the dtype of `hidden`, whose leading shape is free."""
    logits_NV = F.linear(hidden_NC, weight_VC.to(hidden_NC.dtype))
    if rows is None:
        return logits_NV
    return logits_NV.index_copy(-1, rows[0], F.linear(hidden_NC, rows[1].to(hidden_NC.dtype)))


def cross_entropy(hidden_NC: Tensor, weight_VC: Tensor, targets_N: Tensor, *, reduction: str = "mean", ignore_index: int = IGNORE,
                  temperature: float = 1.0, chunked: bool | None = None, rows: Rows | None = None) -> Tensor:
    """Cross entropy in nats of `targets_N` under softmax(hidden @ weight.T / temperature), float32.

    reduction "mean" (over targets that are not ignored; 0 when all are), "sum", or "none" (N values, 0 where ignored). `hidden` may have
    any leading shape that matches the targets'. `chunked` forces the way; None chooses by size.
    """
    assert reduction in ("mean", "sum", "none"), reduction
    assert hidden_NC.shape[:-1] == targets_N.shape, (hidden_NC.shape, targets_N.shape)
    shape = targets_N.shape
    hidden_NC, targets_N = hidden_NC.flatten(0, -2), targets_N.flatten()
    weight_VC = weight_VC.to(hidden_NC.dtype)
    ids_K, rows_KC = (None, None) if rows is None else (rows[0], rows[1].to(hidden_NC.dtype))
    if temperature != 1.0:
        hidden_NC = hidden_NC / temperature
    if hidden_NC.device.type == "cpu" and not torch.compiler.is_compiling() and reduction != "none":
        # Targets that do not count need no logits. Elsewhere that would wait for the device, or change a compiled graph's shapes.
        kept_N = targets_N != ignore_index
        if not kept_N.all():
            hidden_NC, targets_N = hidden_NC[kept_N], targets_N[kept_N]
    if chunked is None:
        chunked = targets_N.numel() * weight_VC.shape[0] * 4 > PLAIN_BYTES
    if chunked:
        if reduction == "none":
            return _ChunkedTokens.apply(hidden_NC, weight_VC, targets_N, ignore_index, ids_K, rows_KC).view(shape)
        total = _ChunkedSum.apply(hidden_NC, weight_VC, targets_N, ignore_index, ids_K, rows_KC)
    else:
        logits_NV = head_logits(hidden_NC, weight_VC, rows).float()
        if reduction == "none":
            return F.cross_entropy(logits_NV, targets_N, ignore_index=ignore_index, reduction="none").view(shape)
        total = F.cross_entropy(logits_NV, targets_N, ignore_index=ignore_index, reduction="sum")
    return total / (targets_N != ignore_index).sum().clamp(min=1) if reduction == "mean" else total


def token_logprobs(hidden_NC: Tensor, weight_VC: Tensor, targets_N: Tensor, *, ignore_index: int = IGNORE, temperature: float = 1.0,
                   chunked: bool | None = None, rows: Rows | None = None) -> Tensor:
    """Log-probability of each target, float32, with gradients; 0 where the target is `ignore_index`."""
    return -cross_entropy(hidden_NC, weight_VC, targets_N, reduction="none", ignore_index=ignore_index, temperature=temperature,
                          chunked=chunked, rows=rows)


def logprobs_and_entropy(hidden_NC: Tensor, weight_VC: Tensor, targets_N: Tensor, *, temperature: float = 1.0, rows: Rows | None = None,
                         entropy_gradient: bool = False, chunked: bool | None = None) -> tuple[Tensor, Tensor]:
    """(log-probability of each target, entropy of the distribution it was drawn from in nats), float32, with gradients (the entropy's only
    where asked for). The logits themselves are divided by `temperature`, in float32, as a sampler does it."""
    weight_VC = weight_VC.to(hidden_NC.dtype)
    if chunked is None:
        chunked = targets_N.numel() * weight_VC.shape[0] * 4 > PLAIN_BYTES
    if chunked:
        ids_K, rows_KC = (None, None) if rows is None else (rows[0], rows[1].to(hidden_NC.dtype))
        logprobs_N, entropy_N = _ChunkedEntropy.apply(hidden_NC, weight_VC, targets_N, temperature, ids_K, rows_KC)
    else:
        logits_NV = head_logits(hidden_NC, weight_VC, rows).float()
        all_NV = (logits_NV if temperature == 1 else logits_NV / temperature).log_softmax(-1)
        logprobs_N = all_NV.gather(-1, targets_N[:, None])[:, 0]
        with torch.set_grad_enabled(entropy_gradient and torch.is_grad_enabled()):
            entropy_N = -(all_NV.exp() * all_NV).sum(-1)
    return logprobs_N, entropy_N if entropy_gradient else entropy_N.detach()


def _chunks(tokens: int, vocab: int) -> list[tuple[int, int]]:
    """Equal chunks of about CHUNK_BYTES of float32 logits, at least 16 tokens each."""
    size = max(16, CHUNK_BYTES // (4 * vocab))
    count = max(1, -(-tokens // size))
    size = -(-tokens // count)
    return [(start, min(tokens, start + size)) for start in range(0, tokens, max(1, size))]


def _loss_of_chunk(logits_nV: Tensor, targets_n: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """(loss_n with 0 where ignored, lse_n, kept_n)"""
    kept_n = targets_n != ignore_index
    lse_n = torch.logsumexp(logits_nV, -1)
    picked_n = logits_nV.gather(-1, targets_n.clamp(min=0)[:, None]).squeeze(-1)
    return torch.where(kept_n, lse_n - picked_n, 0.0), lse_n, kept_n


def _grad_of_chunk(logits_nV: Tensor, lse_n: Tensor, targets_n: Tensor, scale_n: Tensor) -> Tensor:
    """(softmax - one hot) * scale, in place of the logits."""
    grad_nV = logits_nV.sub_(lse_n[:, None]).exp_()
    grad_nV.scatter_add_(-1, targets_n.clamp(min=0)[:, None], torch.full_like(lse_n, -1.0)[:, None])
    return grad_nV.mul_(scale_n[:, None])


def _logits_of_chunk(hidden_nC: Tensor, weight_VC: Tensor, ids_K: Tensor | None, rows_KC: Tensor | None) -> Tensor:
    """In float32, a tensor of its own."""
    logits_nV = F.linear(hidden_nC, weight_VC)
    if ids_K is not None:
        logits_nV.index_copy_(1, ids_K, F.linear(hidden_nC, rows_KC))
    return logits_nV.float()


def _back_through_rows(grad_nV: Tensor, hidden_nC: Tensor, ids_K: Tensor, rows_KC: Tensor, grad_rows_KC: Tensor | None) -> Tensor:
    """What the rows add to the gradient of `hidden`; theirs is added up. Their columns of `grad` become 0: the matrix' own rows with these
    numbers have no part in it."""
    grad_nK = grad_nV.index_select(1, ids_K)
    grad_nV.index_fill_(1, ids_K, 0.0)
    if grad_rows_KC is not None:
        grad_rows_KC += grad_nK.T @ hidden_nC
    return grad_nK @ rows_KC


class _ChunkedSum(torch.autograd.Function):
    """The summed loss; gradients are made in forward, where the logits are at hand."""

    @staticmethod
    def forward(ctx: Any, hidden_NC: Tensor, weight_VC: Tensor, targets_N: Tensor, ignore_index: int, ids_K: Tensor | None,
                rows_KC: Tensor | None) -> Tensor:
        ctx.set_materialize_grads(False)
        needs_hidden, needs_weight, needs_rows = (*ctx.needs_input_grad[:2], ctx.needs_input_grad[5])
        dtype = hidden_NC.dtype
        grad_hidden_NC = torch.empty_like(hidden_NC) if needs_hidden else None
        grad_weight_VC = torch.zeros(weight_VC.shape, dtype=torch.float32, device=weight_VC.device) if needs_weight else None
        grad_rows_KC = torch.zeros(rows_KC.shape, dtype=torch.float32, device=rows_KC.device) if needs_rows else None
        total = torch.zeros((), dtype=torch.float32, device=hidden_NC.device)
        for start, stop in _chunks(hidden_NC.shape[0], weight_VC.shape[0]):
            hidden_nC, targets_n = hidden_NC[start:stop], targets_N[start:stop]
            logits_nV = _logits_of_chunk(hidden_nC, weight_VC, ids_K, rows_KC)
            loss_n, lse_n, kept_n = _loss_of_chunk(logits_nV, targets_n, ignore_index)
            total += loss_n.sum()
            if needs_hidden or needs_weight or needs_rows:
                grad_nV = _grad_of_chunk(logits_nV, lse_n, targets_n, kept_n.float()).to(dtype)
                of_rows_nC = None if ids_K is None else _back_through_rows(grad_nV, hidden_nC, ids_K, rows_KC, grad_rows_KC)
                if grad_hidden_NC is not None:
                    grad_hidden_NC[start:stop] = grad_nV @ weight_VC if of_rows_nC is None else of_rows_nC.addmm_(grad_nV, weight_VC)
                if grad_weight_VC is not None:
                    if dtype == torch.float32:
                        grad_weight_VC.addmm_(grad_nV.T, hidden_nC)
                    else:
                        grad_weight_VC += grad_nV.T @ hidden_nC
        ctx.weight_dtype = weight_VC.dtype
        ctx.save_for_backward(grad_hidden_NC, grad_weight_VC, grad_rows_KC)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        if grad is None:
            return (None,) * 6
        grad_hidden_NC, grad_weight_VC, grad_rows_KC = ctx.saved_tensors
        return (None if grad_hidden_NC is None else grad_hidden_NC * grad.to(grad_hidden_NC.dtype),
                None if grad_weight_VC is None else (grad_weight_VC * grad).to(ctx.weight_dtype), None, None, None,
                None if grad_rows_KC is None else (grad_rows_KC * grad).to(ctx.weight_dtype))


class _ChunkedTokens(torch.autograd.Function):
    """The loss of each token; logits are computed again in backward, chunk by chunk."""

    @staticmethod
    def forward(ctx: Any, hidden_NC: Tensor, weight_VC: Tensor, targets_N: Tensor, ignore_index: int, ids_K: Tensor | None,
                rows_KC: Tensor | None) -> Tensor:
        loss_N = torch.empty(hidden_NC.shape[0], dtype=torch.float32, device=hidden_NC.device)
        lse_N = torch.empty_like(loss_N)
        for start, stop in _chunks(hidden_NC.shape[0], weight_VC.shape[0]):
            logits_nV = _logits_of_chunk(hidden_NC[start:stop], weight_VC, ids_K, rows_KC)
            loss_N[start:stop], lse_N[start:stop], _ = _loss_of_chunk(logits_nV, targets_N[start:stop], ignore_index)
        ctx.save_for_backward(hidden_NC, weight_VC, targets_N, lse_N, ids_K, rows_KC)
        ctx.ignore_index = ignore_index
        return loss_N

    @staticmethod
    def backward(ctx: Any, grad_N: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        hidden_NC, weight_VC, targets_N, lse_N, ids_K, rows_KC = ctx.saved_tensors
        needs_hidden, needs_weight, needs_rows = (*ctx.needs_input_grad[:2], ctx.needs_input_grad[5])
        dtype = hidden_NC.dtype
        grad_hidden_NC = torch.empty_like(hidden_NC) if needs_hidden else None
        grad_weight_VC = torch.zeros(weight_VC.shape, dtype=torch.float32, device=weight_VC.device) if needs_weight else None
        grad_rows_KC = torch.zeros(rows_KC.shape, dtype=torch.float32, device=rows_KC.device) if needs_rows else None
        scale_N = torch.where(targets_N != ctx.ignore_index, grad_N, 0.0)
        for start, stop in _chunks(hidden_NC.shape[0], weight_VC.shape[0]):
            hidden_nC = hidden_NC[start:stop]
            logits_nV = _logits_of_chunk(hidden_nC, weight_VC, ids_K, rows_KC)
            grad_nV = _grad_of_chunk(logits_nV, lse_N[start:stop], targets_N[start:stop], scale_N[start:stop]).to(dtype)
            of_rows_nC = None if ids_K is None else _back_through_rows(grad_nV, hidden_nC, ids_K, rows_KC, grad_rows_KC)
            if grad_hidden_NC is not None:
                grad_hidden_NC[start:stop] = grad_nV @ weight_VC if of_rows_nC is None else of_rows_nC.addmm_(grad_nV, weight_VC)
            if grad_weight_VC is not None:
                grad_weight_VC += grad_nV.T @ hidden_nC
        return (grad_hidden_NC, None if grad_weight_VC is None else grad_weight_VC.to(weight_VC.dtype), None, None, None,
                None if grad_rows_KC is None else grad_rows_KC.to(rows_KC.dtype))


class _ChunkedEntropy(torch.autograd.Function):
    """Log-probability of each target and entropy; logits are computed again in backward, chunk by chunk."""

    @staticmethod
    def forward(ctx: Any, hidden_NC: Tensor, weight_VC: Tensor, targets_N: Tensor, temperature: float, ids_K: Tensor | None,
                rows_KC: Tensor | None) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        logprobs_N = torch.empty(hidden_NC.shape[0], dtype=torch.float32, device=hidden_NC.device)
        lse_N, entropy_N = torch.empty_like(logprobs_N), torch.empty_like(logprobs_N)
        for start, stop in _chunks(hidden_NC.shape[0], weight_VC.shape[0]):
            logits_nV = _logits_of_chunk(hidden_NC[start:stop], weight_VC, ids_K, rows_KC) / temperature
            lse_n = torch.logsumexp(logits_nV, -1)
            lse_N[start:stop] = lse_n
            logprobs_N[start:stop] = logits_nV.gather(-1, targets_N[start:stop, None]).squeeze(-1) - lse_n
            entropy_N[start:stop] = lse_n - torch.softmax(logits_nV, -1).mul_(logits_nV).sum(-1)
        ctx.save_for_backward(hidden_NC, weight_VC, targets_N, lse_N, entropy_N, ids_K, rows_KC)
        ctx.temperature = temperature
        return logprobs_N, entropy_N

    @staticmethod
    def backward(ctx: Any, of_logprobs_N: Tensor | None, of_entropy_N: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        hidden_NC, weight_VC, targets_N, lse_N, entropy_N, ids_K, rows_KC = ctx.saved_tensors
        needs_hidden, needs_weight, needs_rows = (*ctx.needs_input_grad[:2], ctx.needs_input_grad[5])
        dtype = hidden_NC.dtype
        grad_hidden_NC = torch.empty_like(hidden_NC) if needs_hidden else None
        grad_weight_VC = torch.zeros(weight_VC.shape, dtype=torch.float32, device=weight_VC.device) if needs_weight else None
        grad_rows_KC = torch.zeros(rows_KC.shape, dtype=torch.float32, device=rows_KC.device) if needs_rows else None
        for start, stop in _chunks(hidden_NC.shape[0], weight_VC.shape[0]):
            hidden_nC, targets_n = hidden_NC[start:stop], targets_N[start:stop]
            logs_nV = (_logits_of_chunk(hidden_nC, weight_VC, ids_K, rows_KC) / ctx.temperature).sub_(lse_N[start:stop, None])
            grad_nV = torch.zeros_like(logs_nV)
            if of_entropy_N is not None:
                grad_nV = (logs_nV + entropy_N[start:stop, None]).mul_(logs_nV.exp()).mul_(-of_entropy_N[start:stop, None])
            if of_logprobs_N is not None:
                grad_nV += _grad_of_chunk(logs_nV, torch.zeros_like(lse_N[start:stop]), targets_n, -of_logprobs_N[start:stop])
            grad_nV = grad_nV.div_(ctx.temperature).to(dtype)
            of_rows_nC = None if ids_K is None else _back_through_rows(grad_nV, hidden_nC, ids_K, rows_KC, grad_rows_KC)
            if grad_hidden_NC is not None:
                grad_hidden_NC[start:stop] = grad_nV @ weight_VC if of_rows_nC is None else of_rows_nC.addmm_(grad_nV, weight_VC)
            if grad_weight_VC is not None:
                grad_weight_VC += grad_nV.T @ hidden_nC
        return (grad_hidden_NC, None if grad_weight_VC is None else grad_weight_VC.to(weight_VC.dtype), None, None, None,
                None if grad_rows_KC is None else grad_rows_KC.to(rows_KC.dtype))
