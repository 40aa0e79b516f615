"""4-bit bases: adapters beside packed matrices equal adapters beside the same matrices unpacked. bitsandbytes packs on a CPU too, so the
arithmetic is tried wherever it is installed; the figures of a graphics card are not."""

import sys
from pathlib import Path

import pytest
import torch

from engine.contract.errors import DeviceUnavailable, Mismatch, Missing
from engine.model import quantized
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.model.lora import LoraSettings, add_lora, load_lora, lora_parameters, lora_state, merge_lora, without_lora
from engine.model.quantized import FourBitLinear, FourBitWeight, quantize

GPT2 = dict(shape="gpt2", num_kv_heads=4, attention_bias=True, output_bias=True, mlp_bias=True)
BASE = dict(vocab_size=199, hidden_size=64, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=16, intermediate_size=112, max_seq_len=96)


def pair(changes: dict, settings: LoraSettings) -> tuple[Decoder, Decoder]:
    """A model with packed matrices, and one whose matrices are those unpacked; the same adapters in both."""
    pytest.importorskip("bitsandbytes")
    packed, plain = (Decoder(ModelConfig(**{**BASE, **changes}), seed=1) for _ in range(2))
    quantize(packed)
    with torch.no_grad():
        for name, module in packed.named_modules():
            if isinstance(module, FourBitLinear):
                plain.get_submodule(name).weight.copy_(module.quantized.dequantized(torch.float32))
    for model in (packed, plain):
        add_lora(model, settings, seed=3)
        model.train()
    with torch.no_grad():
        for _, p in lora_parameters(packed):
            p.normal_(0.0, 0.05)
    load_lora(plain, lora_state(packed))
    return packed, plain


def tokens() -> torch.Tensor:
    return torch.randint(199, (2, 40), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("changes", [{}, GPT2])
@pytest.mark.parametrize("settings", [LoraSettings(rank=8), LoraSettings(rank=4, targets=("q", "v"), rslora=True)])
def test_gradients_are_those_of_the_unpacked_matrices(changes, settings):
    packed, plain = pair(changes, settings)
    given = tokens()

    def gradients(model, run) -> list[torch.Tensor]:
        model.zero_grad()
        loss = run(given[:, :-1], targets_BT=given[:, 1:])
        loss.backward()
        assert all(p.grad is None for _, p in model.named_parameters() if not p.requires_grad)
        return [loss.detach(), *(p.grad.clone() for _, p in lora_parameters(model))]

    wanted = gradients(plain, plain)
    assert max(g.abs().max() for g in wanted[1:]) > 1e-4
    packed.activation_checkpointing = False
    for run in (packed, torch.compile(packed, backend="aot_eager")):
        assert all(torch.allclose(g, w, atol=1e-6) for g, w in zip(gradients(packed, run), wanted, strict=True))
    packed.activation_checkpointing = True
    assert all(torch.allclose(g, w, atol=1e-6) for g, w in zip(gradients(packed, packed), wanted, strict=True))
    with torch.no_grad(), without_lora(packed), without_lora(plain):
        assert torch.allclose(packed(given), plain(given), atol=1e-5)
    torch._dynamo.reset()


def test_packed_matrices_take_an_eighth_and_are_near_what_they_were():
    pytest.importorskip("bitsandbytes")
    matrix = torch.randn(512, 384, generator=torch.Generator().manual_seed(0)) * 0.02
    weight = FourBitWeight(matrix, torch.device("cpu"))
    assert 0.5 * matrix.numel() < weight.nbytes < 0.53 * matrix.numel() + 1500
    away = (weight.dequantized(torch.float32) - matrix).abs()
    assert 0 < away.mean() < 0.1 * matrix.abs().mean() and away.max() < 0.2 * matrix.abs().max()
    assert list(weight.state_dict()) == [] and list(weight.parameters()) == []


def test_only_adapters_are_trained_and_saved_and_merging_is_refused():
    packed, _ = pair({}, LoraSettings(rank=4))
    assert {n for n, p in packed.named_parameters() if p.requires_grad} == {n for n, _ in lora_parameters(packed)}
    assert not [n for n in packed.state_dict() if "packed" in n] and len(lora_state(packed)) == 2 * 2 * 7
    before = {n: t.clone() for n, t in lora_state(packed).items()}
    optimizer = torch.optim.AdamW([p for _, p in lora_parameters(packed)], lr=1e-2)
    first = packed(tokens()[:, :-1], targets_BT=tokens()[:, 1:])
    for _ in range(8):
        optimizer.zero_grad()
        packed(tokens()[:, :-1], targets_BT=tokens()[:, 1:]).backward()
        optimizer.step()
    assert packed(tokens()[:, :-1], targets_BT=tokens()[:, 1:]) < first - 0.1
    assert any(not torch.equal(t, before[n]) for n, t in lora_state(packed).items())
    with pytest.raises(Mismatch, match="4 bits") as told:
        merge_lora(packed)
    assert told.value.remedy


@pytest.mark.parametrize("kind", ["cpu", "mps"])
def test_other_devices_are_refused_before_anything_is_read(kind: str, tmp_path: Path):
    for ask in (lambda: quantized.check(kind), lambda: quantized.load_four_bit(tmp_path / "none", kind, torch.float32)):
        with pytest.raises(DeviceUnavailable, match="NVIDIA") as told:
            ask()
        assert told.value.code == "qlora_device" and "LoRA" in told.value.remedy and told.value.field == "method"


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setattr("engine.model.lora_shape.find_spec", lambda name: None)
    with pytest.raises(Missing, match="bitsandbytes") as told:
        quantized.check("cuda")
    assert told.value.code == "no_bitsandbytes" and "fledge[qlora]" in told.value.remedy
