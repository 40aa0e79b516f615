"""Attention within packed documents on a CPU, in groups and document by document, against a dense mask; with gradients, in both dtypes."""

import pytest
import torch

from engine.model import attention
from engine.model.attention import Documents, causal_attention

CASES = {"short": [[3, 4, 5, 20, 1]], "two rows": [[30, 2, 28], [60]], "padded groups": [[31, 30, 26, 25, 24, 40]],
         "long and short": [[150, 20, 10, 140]]}


def reference(q, k, v, documents):
    return attention._dense(q, k, v, documents, q.shape[2] != k.shape[2])


@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (3, 1)])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_documents_are_computed_as_with_a_dense_mask(name, dtype, heads, monkeypatch):
    monkeypatch.setattr(attention, "PLAIN_DOCUMENT", {torch.float32: 100, torch.bfloat16: 100})  # so that "long" goes the other way
    lengths = CASES[name]
    size = max(sum(row) for row in lengths)
    documents = Documents.of(lengths, size)
    draw = torch.Generator().manual_seed(0)
    tensors = [torch.randn(len(lengths), size, h, 16, generator=draw).to(dtype) for h in (heads[0], heads[1], heads[1])]
    grad = torch.randn(len(lengths), size, heads[0], 16, generator=draw)
    wanted = [x.float().clone().requires_grad_() for x in tensors]
    expected = reference(*wanted, documents)
    expected.backward(grad)
    bound = 2e-5 if dtype == torch.float32 else 0.06
    for way in ("eager", "operator"):
        given = [x.clone().requires_grad_() for x in tensors]
        out = causal_attention(*given, documents) if way == "eager" else \
            torch.ops.fledge.packed_attention(*given, documents.ids_BT)[0]
        out.backward(grad.to(dtype))
        assert out.dtype == dtype and (out.float() - expected).abs().max() < bound, way
        for ours, theirs in zip(given, wanted, strict=True):
            assert (ours.grad.float() - theirs.grad).abs().max() < bound * 2, way


def test_like_lengths_share_a_group_and_long_ones_go_alone():
    lengths = [[900, 100, 90, 60, 20, 5, 3], [70, 1108]]
    groups = attention._groups(Documents.of(lengths, 1178).ids_BT, torch.bfloat16)
    assert [[stop - start for _, start, stop in spans] for _, spans in groups] == [[1108], [900], [100, 90], [70, 60], [20, 5, 3]]
    assert [size for size, _ in groups] == [0, 0, 100, 70, 20]
    assert sorted(s for _, spans in groups for s in spans) == sorted(attention._spans(Documents.of(lengths, 1178).ids_BT))
