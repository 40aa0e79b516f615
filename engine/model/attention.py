"""Causal attention for training and prefill, over whole rows or over documents packed into rows. Decoding is in kv_cache.py.

Packed documents never attend across a border. Where the backend has something better than a dense mask it is used: on a CPU short documents
of like lengths go together as plain products, padded to the longest of them, and long ones through a flash kernel each; for torch.compile
that is wrapped in a custom operator, so that it sees one node and static shapes. On CUDA in half precision `varlen_attn`. Elsewhere (MPS,
CUDA in fp32) a dense block mask.

Shapes: B rows, T tokens, H query heads, K key/value heads, D head dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.model.forks import Forks, lay_out

_flash_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_cpu_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


@dataclass(frozen=True)
class Documents:
    """Which document each token of packed rows belongs to.

    ids_BT        int32, counts up from 0 within a row
    positions_BT  int64, the token's place in its document, from 0
    borders       int32, ends of the documents in the flattened rows, from 0; the last is repeated up to a multiple of 64 entries, so that
                  the shape rarely changes
    longest       length of the longest document in tokens
    forks         where documents share their beginnings (forks.py), None where they do not. With it `ids_BT` and `borders` are those of
                  the documents written out, one row [1, E], and `positions_BT` still of the tokens as they stand in the rows
    """

    ids_BT: Tensor
    positions_BT: Tensor
    borders: Tensor
    longest: int
    forks: Forks | None = None

    @classmethod
    def of(cls, document_lengths: Sequence[Sequence[int]], seq_len: int, device: torch.device | str = "cpu") -> "Documents":
        """From the lengths of each row's documents, which add up to `seq_len`; a shorter row's rest counts as one more document."""
        ids, positions, borders, longest = [], [], [0], 0
        for row, given in enumerate(document_lengths):
            lengths = [int(n) for n in given if n]
            rest = seq_len - sum(lengths)
            assert rest >= 0 and all(n > 0 for n in lengths), f"documents of row {row}: {sum(lengths)} tokens, the row has {seq_len}"
            if rest:
                lengths.append(rest)
            sizes = torch.tensor(lengths)
            ends = sizes.cumsum(0)
            ids.append(torch.repeat_interleave(torch.arange(len(lengths), dtype=torch.int32), sizes))
            positions.append(torch.arange(seq_len) - torch.repeat_interleave(ends - sizes, sizes))
            borders.extend((ends + row * seq_len).tolist())
            longest = max(longest, max(lengths))
        borders += [borders[-1]] * (-len(borders) % 64)
        return cls(torch.stack(ids).to(device), torch.stack(positions).to(device),
                   torch.tensor(borders, dtype=torch.int32, device=device), longest)

    @classmethod
    def forked(cls, documents: Sequence[tuple[int, Sequence[int]]]) -> "Documents":
        """One row of documents, each (tokens of its beginning, tokens of each of the endings that share it), laid end to end."""
        forks, positions, lengths = lay_out(documents)
        made = cls.of([lengths], sum(lengths))
        return replace(made, positions_BT=torch.tensor(positions)[None], forks=forks)

    def to(self, device: torch.device) -> "Documents":
        """On another device, from memory it can be fetched from while the CPU goes on."""
        if device.type == "cpu":
            return self
        pin = device.type == "cuda"

        def move(x: Tensor) -> Tensor:
            return (x.pin_memory() if pin else x).to(device, non_blocking=pin)

        return replace(self, ids_BT=move(self.ids_BT), positions_BT=move(self.positions_BT), borders=move(self.borders),
                       forks=self.forks and self.forks.to(device))


PLAIN_UP_TO = 1024
"""On a CPU in bfloat16, rows of up to this many tokens go as plain products: the flash kernel there is made for float32 and takes two to
eight times as long (EPYC: 60 ms against 29 for 4 x 512 tokens and 8 heads of 40, forward and backward)."""
PLAIN_DOCUMENT = {torch.bfloat16: 768, torch.float32: 128}
"""The same for documents in packed rows, by dtype. EPYC, bfloat16, 8 heads of 40, forward and backward, flash kernel and plain: 4 of 128
tokens 5.0 and 1.1 ms, 16 of about 100 17.3 and 4.0, 32 of about 40 15.0 and 3.5, one of 512 7.4 and 2.8, one of 1024 17 and 22."""
ALIKE, SMALL = 0.75, 32
"""Documents are padded together that are at least this share of the longest of them, or no longer than SMALL."""


def causal_attention(q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, documents: Documents | None = None) -> Tensor:
    """Attention of each token to itself and the ones before it (in its own document, if given). Returns out_BTHD."""
    if documents is not None and documents.forks is not None:
        forks = documents.forks
        out_1EHD = causal_attention(forks.spread(q_BTHD), forks.spread(k_BTKD), forks.spread(v_BTKD), replace(documents, forks=None))
        return forks.collect(out_1EHD, q_BTHD.shape[0])
    grouped = q_BTHD.shape[2] != k_BTKD.shape[2]
    if documents is None and q_BTHD.device.type == "cpu" and q_BTHD.dtype == torch.bfloat16 and q_BTHD.shape[1] <= PLAIN_UP_TO:
        return _plain(q_BTHD, k_BTKD, v_BTKD)
    if documents is not None:
        if q_BTHD.device.type == "cpu":
            if torch.compiler.is_compiling():
                return torch.ops.fledge.packed_attention(q_BTHD, k_BTKD, v_BTKD, documents.ids_BT)[0]
            return _Packed.apply(q_BTHD, k_BTKD, v_BTKD, documents.ids_BT)
        if q_BTHD.is_cuda and q_BTHD.dtype in (torch.bfloat16, torch.float16):
            return _varlen(q_BTHD, k_BTKD, v_BTKD, documents, grouped)
        return _dense(q_BTHD, k_BTKD, v_BTKD, documents, grouped)
    out = F.scaled_dot_product_attention(q_BTHD.transpose(1, 2), k_BTKD.transpose(1, 2), v_BTKD.transpose(1, 2), is_causal=True,
                                         enable_gqa=grouped)
    return out.transpose(1, 2)


def _plain(q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor) -> Tensor:
    """Scores, softmax, sum, each a whole matrix."""
    b, t, h, d = q_BTHD.shape
    if k_BTKD.shape[2] != h:
        k_BTKD, v_BTKD = (x.repeat_interleave(h // x.shape[2], dim=2) for x in (k_BTKD, v_BTKD))
    q, k, v = (x.transpose(1, 2).reshape(b * h, t, d) for x in (q_BTHD, k_BTKD, v_BTKD))
    mask_TT = torch.full((t, t), -torch.inf, dtype=q.dtype).triu(1)
    scores = torch.baddbmm(mask_TT, q, k.transpose(1, 2), alpha=d**-0.5)
    return torch.bmm(scores.softmax(-1), v).view(b, h, t, d).transpose(1, 2)


def _dense(q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, documents: Documents, grouped: bool) -> Tensor:
    ids = documents.ids_BT
    mask_B1TT = (ids[:, None, :, None] == ids[:, None, None, :]).tril()
    out = F.scaled_dot_product_attention(q_BTHD.transpose(1, 2), k_BTKD.transpose(1, 2), v_BTKD.transpose(1, 2), attn_mask=mask_B1TT,
                                         enable_gqa=grouped)
    return out.transpose(1, 2)


def _varlen(q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, documents: Documents, grouped: bool) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    out = varlen_attn(q_BTHD.flatten(0, 1), k_BTKD.flatten(0, 1), v_BTKD.flatten(0, 1), documents.borders, documents.borders,
                      documents.longest, documents.longest, window_size=(-1, 0), enable_gqa=grouped)
    assert isinstance(out, Tensor)
    return out.view(q_BTHD.shape)


Span = tuple[int, int, int]


def _spans(ids_BT: Tensor) -> list[Span]:
    """(row, start, stop) of every document."""
    spans = []
    ends_BT = torch.ones_like(ids_BT, dtype=torch.bool)
    ends_BT[:, :-1] = ids_BT[:, 1:] != ids_BT[:, :-1]
    row_before, start = -1, 0
    for row, last in ends_BT.nonzero().tolist():
        if row != row_before:
            row_before, start = row, 0
        spans.append((row, start, last + 1))
        start = last + 1
    return spans


def _groups(ids_BT: Tensor, dtype: torch.dtype) -> list[tuple[int, list[Span]]]:
    """Documents that are computed together: (tokens of the longest, spans), or (0, [one span]) for one that takes the flash kernel."""
    plain = PLAIN_DOCUMENT.get(dtype, 0)
    groups: list[tuple[int, list[Span]]] = []
    for span in sorted(_spans(ids_BT), key=lambda span: span[1] - span[2]):
        size = span[2] - span[1]
        if size > plain:
            groups.append((0, [span]))
        elif groups and groups[-1][0] and (size >= ALIKE * groups[-1][0] or groups[-1][0] <= SMALL):
            groups[-1][1].append(span)
        else:
            groups.append((size, [span]))
    return groups


def _padded(x_BTHD: Tensor, spans: list[Span], size: int) -> Tensor:
    """x of the documents as [n, H, size, D], zeros behind each."""
    heads, width = x_BTHD.shape[2:]
    out = x_BTHD.new_empty(len(spans), heads, size, width)
    for n, (row, start, stop) in enumerate(spans):
        out[n, :, :stop - start] = x_BTHD[row, start:stop].transpose(0, 1)
        if stop - start < size:
            out[n, :, stop - start:] = 0
    return out


def _put(x_nHSD: Tensor, out_BTHD: Tensor, spans: list[Span]) -> None:
    for n, (row, start, stop) in enumerate(spans):
        out_BTHD[row, start:stop] = x_nHSD[n, :, :stop - start].transpose(0, 1)


def _group_inputs(q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, spans: list[Span], size: int) -> tuple[Tensor, Tensor, Tensor]:
    """q [n K, H/K size, D], k and v [n K, size, D]: the heads that share a key lie one after the other."""
    d, kv_heads = q_BTHD.shape[3], k_BTKD.shape[2]
    q = _padded(q_BTHD, spans, size).view(len(spans) * kv_heads, -1, d)
    k, v = (_padded(x, spans, size).view(len(spans) * kv_heads, size, d) for x in (k_BTKD, v_BTKD))
    return q, k, v


def _probabilities(q: Tensor, k: Tensor, size: int) -> Tensor:
    """softmax of the causal scores. Behind a document's end only zeros are looked at, by queries that nobody reads."""
    mask_SS = torch.full((size, size), -torch.inf, dtype=q.dtype).triu(1)
    return torch.baddbmm(mask_SS.repeat(q.shape[1] // size, 1), q, k.transpose(1, 2), alpha=q.shape[2]**-0.5).softmax(-1)


def _group_backward(grad_BTHD: Tensor, q: Tensor, k: Tensor, v: Tensor, p: Tensor, spans: list[Span], size: int,
                    grads: Sequence[Tensor]) -> None:
    """Gradients of one group, put into `grads` (of q, k, v)."""
    n, kv_heads, d = len(spans), grads[1].shape[2], q.shape[2]
    grad = _padded(grad_BTHD, spans, size).view(n * kv_heads, -1, d)
    _put(torch.bmm(p.transpose(1, 2), grad).view(n, kv_heads, size, d), grads[2], spans)
    dp = torch.bmm(grad, v.transpose(1, 2))
    ds = torch._softmax_backward_data(dp, p, -1, p.dtype).mul_(d**-0.5)
    _put(torch.bmm(ds, k).view(n, -1, size, d), grads[0], spans)
    _put(torch.bmm(ds.transpose(1, 2), q).view(n, kv_heads, size, d), grads[1], spans)


def _document(x_BTHD: Tensor, row: int, start: int, stop: int) -> Tensor:
    return x_BTHD[row : row + 1, start:stop].transpose(1, 2)


def _flash_document(q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, span: Span, out_BTHD: Tensor) -> Tensor:
    """One document's attention put into `out`; the log-sum-exp of its scores."""
    out, lse = _flash_cpu(_document(q_BTHD, *span), _document(k_BTKD, *span), _document(v_BTKD, *span), 0.0, True)
    row, start, stop = span
    out_BTHD[row, start:stop] = out[0].transpose(0, 1)
    return lse


def _flash_document_backward(grad_BTHD: Tensor, q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, out_BTHD: Tensor, lse: Tensor, span: Span,
                             grads: Sequence[Tensor]) -> None:
    q, k, v, out, grad = (_document(x, *span) for x in (q_BTHD, k_BTKD, v_BTKD, out_BTHD, grad_BTHD))
    row, start, stop = span
    for whole, part in zip(grads, _flash_cpu_backward(grad, q, k, v, out, lse, 0.0, True), strict=True):
        whole[row, start:stop] = part[0].transpose(0, 1)


class _Packed(torch.autograd.Function):
    """Attention within documents on a CPU. Probabilities of short ones are kept for backward."""

    @staticmethod
    def forward(ctx: Any, q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, ids_BT: Tensor) -> Tensor:
        out_BTHD = torch.empty_like(q_BTHD, memory_format=torch.contiguous_format)
        ctx.groups, kept = _groups(ids_BT, q_BTHD.dtype), []
        for size, spans in ctx.groups:
            if size:
                q, k, v = _group_inputs(q_BTHD, k_BTKD, v_BTKD, spans, size)
                p = _probabilities(q, k, size)
                _put(torch.bmm(p, v).view(len(spans), -1, size, q.shape[2]), out_BTHD, spans)
                kept += [q, k, v, p]
            else:
                kept.append(_flash_document(q_BTHD, k_BTKD, v_BTKD, spans[0], out_BTHD))
        ctx.save_for_backward(q_BTHD, k_BTKD, v_BTKD, out_BTHD, *kept)
        return out_BTHD

    @staticmethod
    def backward(ctx: Any, grad_BTHD: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:  # type: ignore[override]
        q_BTHD, k_BTKD, v_BTKD, out_BTHD, *kept = ctx.saved_tensors
        grads = tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q_BTHD, k_BTKD, v_BTKD))
        at = 0
        for size, spans in ctx.groups:
            if size:
                _group_backward(grad_BTHD, *kept[at:at + 4], spans, size, grads)
                at += 4
            else:
                _flash_document_backward(grad_BTHD, q_BTHD, k_BTKD, v_BTKD, out_BTHD, kept[at], spans[0], grads)
                at += 1
        return grads[0], grads[1], grads[2], None


@torch.library.custom_op("fledge::packed_attention", mutates_args=(), device_types="cpu")
def packed_attention(q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, ids_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Causal attention within each document: out_BTHD and the log-sum-exp of the scores of those through the flash kernel, float32, BHT."""
    b, t, h, d = q_BTHD.shape
    out_BTHD = torch.empty_like(q_BTHD, memory_format=torch.contiguous_format)
    lse_BHT = torch.zeros(b, h, t, dtype=torch.float32)
    for size, spans in _groups(ids_BT, q_BTHD.dtype):
        if size:
            q, k, v = _group_inputs(q_BTHD, k_BTKD, v_BTKD, spans, size)
            _put(torch.bmm(_probabilities(q, k, size), v).view(len(spans), -1, size, d), out_BTHD, spans)
        else:
            row, start, stop = spans[0]
            lse_BHT[row, :, start:stop] = _flash_document(q_BTHD, k_BTKD, v_BTKD, spans[0], out_BTHD)[0]
    return out_BTHD, lse_BHT


@packed_attention.register_fake
def _(q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, ids_BT: Tensor) -> tuple[Tensor, Tensor]:
    b, t, h, d = q_BTHD.shape
    return q_BTHD.new_empty(b, t, h, d), q_BTHD.new_empty(b, h, t, dtype=torch.float32)


@torch.library.custom_op("fledge::packed_attention_backward", mutates_args=(), device_types="cpu")
def packed_attention_backward(grad_BTHD: Tensor, q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, out_BTHD: Tensor, lse_BHT: Tensor,
                              ids_BT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    grads = tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q_BTHD, k_BTKD, v_BTKD))
    for size, spans in _groups(ids_BT, q_BTHD.dtype):
        if size:
            q, k, v = _group_inputs(q_BTHD, k_BTKD, v_BTKD, spans, size)
            _group_backward(grad_BTHD, q, k, v, _probabilities(q, k, size), spans, size, grads)
        else:
            row, start, stop = spans[0]
            lse = lse_BHT[row : row + 1, :, start:stop].contiguous()
            _flash_document_backward(grad_BTHD, q_BTHD, k_BTKD, v_BTKD, out_BTHD, lse, spans[0], grads)
    return grads[0], grads[1], grads[2]


@packed_attention_backward.register_fake
def _(grad_BTHD: Tensor, q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, out_BTHD: Tensor, lse_BHT: Tensor,
      ids_BT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return q_BTHD.new_empty(q_BTHD.shape), k_BTKD.new_empty(k_BTKD.shape), v_BTKD.new_empty(v_BTKD.shape)


def _setup_context(ctx, inputs, output) -> None:
    q_BTHD, k_BTKD, v_BTKD, ids_BT = inputs
    out_BTHD, lse_BHT = output
    ctx.save_for_backward(q_BTHD, k_BTKD, v_BTKD, out_BTHD, lse_BHT, ids_BT)


def _backward(ctx, grad_BTHD: Tensor, _grad_lse: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
    q_BTHD, k_BTKD, v_BTKD, out_BTHD, lse_BHT, ids_BT = ctx.saved_tensors
    return *torch.ops.fledge.packed_attention_backward(grad_BTHD, q_BTHD, k_BTKD, v_BTKD, out_BTHD, lse_BHT, ids_BT), None


packed_attention.register_autograd(_backward, setup_context=_setup_context)
