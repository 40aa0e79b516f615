"""Adapters that PEFT wrote become ours and compute the same; ours come back bit by bit; what has no place is refused by name."""

import json
from pathlib import Path

import pytest
import torch

from engine.contract.errors import FormatError, InputError, Mismatch, NotFound
from engine.model import hf
from engine.model.decoder import Decoder
from engine.model.formats.peft_read import read_adapter
from engine.model.formats.peft_write import write_adapter
from engine.model.lora import LoraSettings, add_lora, load_lora, lora_parameters, lora_state
from tests.engine.model.formats import made

peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")

GPT2 = dict(shape="gpt2", num_kv_heads=4, attention_bias=True, output_bias=True, mlp_bias=True)
CASES = {
    "llama": ({}, dict(r=4, lora_alpha=8, target_modules="all-linear")),
    "llama, other strengths": (dict(attention_bias=True), dict(r=4, lora_alpha=8, use_rslora=True, target_modules=["q_proj", "down_proj"],
                                                               alpha_pattern={"down_proj": 5})),
    "gpt2, one adapter for queries, keys and values": (GPT2, dict(r=4, lora_alpha=8, target_modules=["c_attn", "c_fc"],
                                                                  fan_in_fan_out=True)),
    "trained tokens, tied": ({}, dict(r=4, lora_alpha=8, target_modules=["q_proj"], trainable_token_indices=[9, 3, 400])),
    "trained tokens, gpt2": (GPT2, dict(r=4, lora_alpha=8, target_modules=["c_fc"], fan_in_fan_out=True,
                                        trainable_token_indices={"wte": [9, 3, 400]})),
    "trained tokens, untied": (dict(tie_embeddings=False), dict(r=4, lora_alpha=8, target_modules=["q_proj"], trainable_token_indices={
        "embed_tokens": [9, 3, 400], "lm_head": [9, 3, 400]})),
    "trained tokens in the embedding alone": (dict(tie_embeddings=False), dict(r=4, lora_alpha=8, target_modules=["q_proj"],
                                                                               trainable_token_indices=[9, 3, 400])),
}


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_what_peft_saved_computes_the_same_here(case: str, tmp_path: Path) -> None:
    changes, settings = CASES[case]
    ours = made.write_random(tmp_path / "model", made.config(**changes), sharp=3.0)
    raw = hf.config_to_hf(ours.config)
    reference = getattr(transformers, raw["architectures"][0])(transformers.AutoConfig.for_model(**raw))
    reference.load_state_dict(dict(hf.to_hf(ours.config, ours.state_dict().__getitem__)), strict=False)
    theirs = peft.get_peft_model(reference, peft.LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **settings)).eval()
    for name, p in theirs.named_parameters():
        if "trainable_tokens_delta" in name:
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(4)))
    theirs.save_pretrained(tmp_path / "adapter")
    found, tensors = read_adapter(tmp_path / "adapter", ours.config)
    tokens = torch.randint(600, (2, 50), generator=torch.Generator().manual_seed(1))
    tokens[:, 5:8] = torch.tensor([9, 3, 400])
    assert found.tokens == ((9, 3, 400) if "trainable_token_indices" in settings else ())
    plain = ours.logits(ours(tokens))
    add_lora(ours, found, seed=0)
    load_lora(ours, {**{name: t for name, t in lora_state(ours).items() if name.startswith("tokens.")}, **tensors})
    wanted = theirs(tokens).logits
    assert (ours.eval().logits(ours(tokens)) - wanted).abs().max() < 1e-4 < 0.05 < (wanted - plain).abs().max()


@pytest.mark.parametrize("changes", [{}, GPT2])
@pytest.mark.parametrize("settings", [LoraSettings(rank=4, alpha=10.0),
                                      LoraSettings(rank=8, alpha=6.5, rslora=True, targets=("q", "v", "up"), tokens=(7, 590))])
def test_what_was_exported_comes_back(changes: dict, settings: LoraSettings, tmp_path: Path) -> None:
    model = Decoder(made.config(**changes), seed=1)
    add_lora(model, settings, seed=1)
    with torch.no_grad():
        for _, p in lora_parameters(model):
            p.normal_()
    state = lora_state(model)
    write_adapter(tmp_path, model.config, settings, state)
    found, tensors = read_adapter(tmp_path, model.config)
    assert (found.rank, found.alpha, found.rslora, found.tokens) == (settings.rank, settings.alpha, settings.rslora, settings.tokens)
    for name, tensor in tensors.items():
        # of c_attn every projection comes back; the one that had no adapter with zeros, which change nothing
        assert torch.allclose(tensor, state[name], atol=1e-6) if name in state else not tensor.any(), name
    assert state.keys() <= tensors.keys()


def written(folder: Path) -> Decoder:
    model = Decoder(made.config(), seed=1)
    add_lora(model, LoraSettings(rank=4), seed=1)
    write_adapter(folder, model.config, LoraSettings(rank=4), lora_state(model))
    return model


@pytest.mark.parametrize(("change", "words"), [
    ({"peft_type": "IA3"}, "IA3"), ({"use_dora": True}, "DoRA"), ({"modules_to_save": ["lm_head"]}, "whole modules"),
    ({"bias": "all"}, "biases"), ({"r": 0}, "does not describe"), ({"r": "x"}, "does not describe"), ({"lora_alpha": None}, "does not"),
    ({"trainable_token_indices": {"q_proj": [1]}}, "another place"), ({"trainable_token_indices": [1]}, "rows of its trained tokens"),
    ({"trainable_token_indices": {"embed_tokens": [1], "lm_head": [2]}}, "others in the head"),
    ({"trainable_token_indices": {"lm_head": [2]}}, "another place"), ({"trainable_token_indices": [1, 9999]}, "no token with the number"),
    ({"trainable_token_indices": {"embed_tokens": "all"}}, "does not describe"), ({"trainable_token_indices": 3}, "does not describe"),
    ({"r": 8}, "rank"), ({"alpha_pattern": [1]}, "does not describe")])
def test_what_has_no_place_here_is_refused_by_name(change: dict, words: str, tmp_path: Path) -> None:
    model = written(tmp_path)
    raw = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps({**raw, **change}))
    with pytest.raises(InputError, match=words) as told:
        read_adapter(tmp_path, model.config)
    assert told.value.remedy


def test_an_adapter_of_another_model_or_half_of_one_is_refused(tmp_path: Path) -> None:
    model = written(tmp_path)
    for other in (made.config(num_layers=1), made.config(num_layers=3), made.config(intermediate_size=96), made.config(**GPT2)):
        with pytest.raises(Mismatch) as told:
            read_adapter(tmp_path, other)
        assert told.value.remedy
    (tmp_path / "adapter_config.json").write_text("[1]")
    with pytest.raises(FormatError):
        read_adapter(tmp_path, model.config)
    (tmp_path / "adapter_config.json").unlink()
    with pytest.raises(NotFound):
        read_adapter(tmp_path, model.config)
