"""Causal attention for training and prefill, over whole rows or over documents packed into rows. Decoding is in kv_cache.py.

Packed documents never attend across a border. Where the backend has something better than a dense mask it is used: on a CPU plain
products for short rows in bfloat16, else a loop over documents, one flash kernel each (a third of the dense mask's time with it), wrapped
in a custom operator so that torch.compile sees one node and static shapes; on CUDA in half precision `varlen_attn`. Elsewhere (MPS, CUDA in
fp32) a dense block mask.

Shapes: B rows, T tokens, H query heads, K key/value heads, D head dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

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
    """

    ids_BT: Tensor
    positions_BT: Tensor
    borders: Tensor
    longest: int

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


PLAIN_UP_TO, PLAIN_PACKED_UP_TO = 1024, 512
"""On a CPU in bfloat16, rows of up to this many tokens go as plain products (packed rows: with a mask): the flash kernel there is made for
float32 and takes two to eight times as long (EPYC: 60 ms against 29 for 4 x 512 tokens and 8 heads of 40, forward and backward)."""


def causal_attention(q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, documents: Documents | None = None) -> Tensor:
    """Attention of each token to itself and the ones before it (in its own document, if given). Returns out_BTHD."""
    grouped = q_BTHD.shape[2] != k_BTKD.shape[2]
    most = PLAIN_UP_TO if documents is None else PLAIN_PACKED_UP_TO
    if q_BTHD.device.type == "cpu" and q_BTHD.dtype == torch.bfloat16 and q_BTHD.shape[1] <= most:
        return _plain(q_BTHD, k_BTKD, v_BTKD, documents)
    if documents is not None:
        if q_BTHD.device.type == "cpu":
            return torch.ops.fledge.packed_attention(q_BTHD, k_BTKD, v_BTKD, documents.ids_BT)[0]
        if q_BTHD.is_cuda and q_BTHD.dtype in (torch.bfloat16, torch.float16):
            return _varlen(q_BTHD, k_BTKD, v_BTKD, documents, grouped)
        return _dense(q_BTHD, k_BTKD, v_BTKD, documents, grouped)
    out = F.scaled_dot_product_attention(q_BTHD.transpose(1, 2), k_BTKD.transpose(1, 2), v_BTKD.transpose(1, 2), is_causal=True,
                                         enable_gqa=grouped)
    return out.transpose(1, 2)


def _plain(q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, documents: Documents | None) -> Tensor:
    """Scores, mask, softmax, sum, each a whole matrix."""
    b, t, h, d = q_BTHD.shape
    if k_BTKD.shape[2] != h:
        k_BTKD, v_BTKD = (x.repeat_interleave(h // x.shape[2], dim=2) for x in (k_BTKD, v_BTKD))
    q, k, v = (x.transpose(1, 2).reshape(b * h, t, d) for x in (q_BTHD, k_BTKD, v_BTKD))
    mask_TT = torch.full((t, t), -torch.inf, dtype=q.dtype).triu(1)
    scores = torch.baddbmm(mask_TT, q, k.transpose(1, 2), alpha=d**-0.5)
    if documents is not None:
        other_B1TT = (documents.ids_BT[:, :, None] != documents.ids_BT[:, None, :])[:, None]
        scores = scores.view(b, h, t, t).masked_fill(other_B1TT, -torch.inf).view(b * h, t, t)
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


def _spans(ids_BT: Tensor) -> list[tuple[int, int, int]]:
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


def _document(x_BTHD: Tensor, row: int, start: int, stop: int) -> Tensor:
    return x_BTHD[row : row + 1, start:stop].transpose(1, 2)


@torch.library.custom_op("fledge::packed_attention", mutates_args=(), device_types="cpu")
def packed_attention(q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, ids_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Causal attention within each document: out_BTHD and the log-sum-exp of the scores, float32, BHT."""
    b, t, h, _ = q_BTHD.shape
    out_BTHD = torch.empty_like(q_BTHD, memory_format=torch.contiguous_format)
    lse_BHT = torch.empty(b, h, t, dtype=torch.float32)
    for row, start, stop in _spans(ids_BT):
        out, lse = _flash_cpu(_document(q_BTHD, row, start, stop), _document(k_BTKD, row, start, stop),
                              _document(v_BTKD, row, start, stop), 0.0, True)
        out_BTHD[row, start:stop] = out[0].transpose(0, 1)
        lse_BHT[row, :, start:stop] = lse[0]
    return out_BTHD, lse_BHT


@packed_attention.register_fake
def _(q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, ids_BT: Tensor) -> tuple[Tensor, Tensor]:
    b, t, h, d = q_BTHD.shape
    return q_BTHD.new_empty(b, t, h, d), q_BTHD.new_empty(b, h, t, dtype=torch.float32)


@torch.library.custom_op("fledge::packed_attention_backward", mutates_args=(), device_types="cpu")
def packed_attention_backward(grad_BTHD: Tensor, q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, out_BTHD: Tensor, lse_BHT: Tensor,
                              ids_BT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    grads = tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q_BTHD, k_BTKD, v_BTKD))
    for row, start, stop in _spans(ids_BT):
        q, k, v, out, grad = (_document(x, row, start, stop) for x in (q_BTHD, k_BTKD, v_BTKD, out_BTHD, grad_BTHD))
        lse = lse_BHT[row : row + 1, :, start:stop].contiguous()
        parts = _flash_cpu_backward(grad, q, k, v, out, lse, 0.0, True)
        for whole, part in zip(grads, parts, strict=True):
            whole[row, start:stop] = part[0].transpose(0, 1)
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
