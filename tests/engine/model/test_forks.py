"""Documents that share a beginning: hidden states and gradients are those of documents written out whole."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.model.attention import Documents
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.model.forks import lay_out
from tests.attempts import one_thread  # noqa: F401

SHAPES = {"llama": {}, "grouped": {"num_kv_heads": 1}, "gpt2": {"shape": "gpt2"}}


def model_of(shape="llama", **more):
    given = {"vocab_size": 97, "hidden_size": 32, "num_layers": 2, "num_heads": 2, "num_kv_heads": 2, "head_dim": 16,
             "intermediate_size": 48, "max_seq_len": 512, **SHAPES[shape], **more}
    return Decoder(ModelConfig(**given), seed=3)


def texts(documents, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return [(torch.randint(0, 97, (shared,), generator=draw), [torch.randint(0, 97, (n,), generator=draw) for n in endings])
            for shared, endings in documents]


CASES = {"pairs": [(20, (5, 9)), (3, (1, 30)), (40, (12, 12))], "alone and three": [(0, (7,)), (6, (2, 3, 4)), (5, (4,))],
         "long": [(150, (20, 130))], "empty endings": [(8, (0, 3)), (4, (0, 0))], "nothing shared": [(0, (5, 6))]}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_a_shared_beginning_changes_nothing(name, shape, dtype):
    documents, model = CASES[name], model_of(shape)
    model.compute_dtype = dtype
    made = texts(documents)
    row = torch.cat([part for shared, endings in made for part in (shared, *endings)])[None]
    forked = Documents.forked(documents)
    hidden_TC = model(row, document_lengths=forked, positions=forked.positions_BT)[0]
    weights = torch.randn(hidden_TC.shape, generator=torch.Generator().manual_seed(1))
    (hidden_TC.float() * weights).sum().backward()
    found = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    at = 0
    for shared, endings in made:
        own = at + len(shared)
        for number, ending in enumerate(endings):
            whole = torch.cat([shared, ending])[None]
            if not whole.shape[1]:
                continue
            alone_TC = model(whole)[0]
            places = [*(range(at, at + len(shared)) if number == 0 else ()), *range(own, own + len(ending))]
            kept_TC = alone_TC if number == 0 else alone_TC[len(shared):]
            torch.testing.assert_close(hidden_TC[places], kept_TC, **({"rtol": 1e-5, "atol": 1e-5} if dtype is None else
                                                                      {"rtol": 0.05, "atol": 0.05}))
            (kept_TC.float() * weights[places]).sum().backward()
            own += len(ending)
        at = own
    for (parameter_name, parameter), grad in zip(model.named_parameters(), found, strict=True):
        error = (grad - parameter.grad).norm() / parameter.grad.norm().clamp(min=1e-9)
        bound = 1e-4 if dtype is None else 0.05 if parameter.dim() == 2 else 0.2  # a vector's gradient is summed over tokens in bfloat16
        assert error < bound, (parameter_name, error.item())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.lists(st.integers(0, 5), min_size=1, max_size=3)), min_size=1, max_size=5))
def test_every_token_is_written_out_in_each_of_its_documents(documents):
    forks, positions, lengths = lay_out(documents)
    total = sum(shared + sum(endings) for shared, endings in documents)
    assert len(positions) == total
    sources = list(range(total)) if forks is None else forks.sources_E.tolist()
    wanted, written, at = [], [], 0
    for shared, endings in documents:
        own = at + shared
        for size in [n for n in endings if n] or [0]:
            wanted += [*range(at, at + shared), *range(own, own + size)]
            written.append(shared + size)
            own += size
        at = own
    assert sources == wanted and lengths == written
    if forks is not None:
        assert [sources[place] for place in forks.first_N.tolist()] == list(range(total))
        again = [place for places, _ in forks.again for place in places.tolist()]
        assert sorted([*forks.first_N.tolist(), *again]) == list(range(len(sources)))
        for places, shared_places in forks.again:
            assert [sources[place] for place in places.tolist()] == shared_places.tolist()
            assert len(set(shared_places.tolist())) == len(shared_places)
