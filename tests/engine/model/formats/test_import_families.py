"""Models saved by transformers, imported: the same logits; given back to transformers: the same tensors, bit by bit."""

import json

import pytest
import torch

from engine.model import hf
from engine.model.checkpoint import load_config, load_model, load_tensors
from engine.model.formats import hf_read
from tests.engine.model.formats.foreign import FAMILIES, model, take_over, tokenizer

TOKENS = torch.randint(600, (2, 90), generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def save(made, folder, **how):
    made.save_pretrained(folder, **how)
    tokenizer("llama-bpe").save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_a_saved_model_comes_in_and_goes_back_exactly(name, tmp_path):
    import transformers
    reference = model(name)
    facts = take_over(save(reference, tmp_path / "theirs"), tmp_path / "ours")
    mine = load_model(tmp_path / "ours")
    wanted = reference(TOKENS).logits
    assert (mine.logits(mine(TOKENS)) - wanted).abs().max() < 1e-4 and wanted.std() > 0.5
    assert facts["parameters"] == sum(p.numel() for p in reference.parameters()) and facts["dtype"] == "float32"

    state, config = mine.state_dict(), load_config(tmp_path / "ours")
    raw = hf.config_to_hf(config)
    back = getattr(transformers, raw["architectures"][0])(transformers.AutoConfig.for_model(**raw)).eval()
    back.load_state_dict(dict(hf.to_hf(config, state.__getitem__)), strict=not config.tie_embeddings)
    assert (back(TOKENS).logits - wanted).abs().max() < 1e-4
    known = reference.state_dict()
    same = [k for k in known if k in back.state_dict()]
    assert all(torch.equal(back.state_dict()[k], known[k]) for k in same)
    assert len(same) >= (0.4 if FAMILIES[name][0] == "Phi3" else 1) * len(known)  # Phi-3 goes back as Llama, its fused matrices apart
    if FAMILIES[name][0] == "Phi3":
        fused = known["model.layers.1.self_attn.qkv_proj.weight"]
        parts = [back.state_dict()[f"model.layers.1.self_attn.{x}_proj.weight"] for x in "qkv"]
        assert torch.equal(torch.cat(parts), fused)


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16, torch.float32])
def test_as_it_is_keeps_every_bit_and_a_chosen_format_rounds_as_torch_does(stored, tmp_path):
    reference = model("llama", stored)
    folder = save(reference, tmp_path / "theirs")
    embedding = reference.state_dict()["model.embed_tokens.weight"]
    for choice, dtype in (("as_is", stored), ("float32", torch.float32), ("bfloat16", torch.bfloat16), ("float16", torch.float16)):
        facts = take_over(folder, tmp_path / choice, choice)
        mine = load_tensors(tmp_path / choice / "model.safetensors")
        assert torch.equal(mine["embed.weight"], embedding.to(dtype)) and facts["dtype"] == str(dtype).removeprefix("torch.")
        assert {t.dtype for t in mine.values()} == {dtype}


@torch.no_grad()
def test_a_model_in_many_files_is_the_same_model(tmp_path):
    reference = model("qwen2")
    folder = save(reference, tmp_path / "theirs", max_shard_size="100KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 3
    take_over(folder, tmp_path / "shards")
    take_over(save(reference, tmp_path / "one"), tmp_path / "whole")
    assert (tmp_path / "shards/model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()
    source = json.loads((tmp_path / "shards/source.json").read_text())
    assert {"config.json", "tokenizer.json", "model-00001-of-00006.safetensors"} <= source["files"].keys() or len(source["files"]) > 6


@torch.no_grad()
def test_the_file_written_in_blocks_is_the_one_written_whole(tmp_path, monkeypatch):
    from engine.model.formats import convert
    folder = save(model("gpt2"), tmp_path / "theirs")
    take_over(folder, tmp_path / "a")
    monkeypatch.setattr(convert, "BLOCK", 500)
    take_over(folder, tmp_path / "b")
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


@torch.no_grad()
def test_torchs_own_files_are_read_without_running_what_is_in_them(tmp_path):
    reference = model("llama tied")
    folder = save(reference, tmp_path / "theirs")
    take_over(folder, tmp_path / "safe")
    (folder / "model.safetensors").unlink()
    torch.save({k: v for k, v in reference.state_dict().items() if k != "lm_head.weight"}, folder / "pytorch_model.bin")
    take_over(folder, tmp_path / "bin")
    assert (tmp_path / "bin/model.safetensors").read_bytes() == (tmp_path / "safe/model.safetensors").read_bytes()


@torch.no_grad()
@pytest.mark.parametrize("name", ["gpt2", "llama tied"])
def test_a_body_saved_without_its_head_is_whole_where_the_head_is_tied(name, tmp_path):
    reference = model(name)
    body = reference.transformer if name == "gpt2" else reference.model
    take_over(save(body, tmp_path / "body"), tmp_path / "ours")
    mine = load_model(tmp_path / "ours")
    assert (mine.logits(mine(TOKENS)) - reference(TOKENS).logits).abs().max() < 1e-4


def test_defaults_of_a_config_are_those_of_transformers():
    import transformers
    classes = {"llama": "Llama", "mistral": "Mistral", "ministral": "Ministral", "qwen2": "Qwen2", "qwen3": "Qwen3", "phi3": "Phi3",
               "seed_oss": "SeedOss", "gpt2": "GPT2"}
    assert set(classes) == set(hf_read.FAMILIES) == set(hf_read.DEFAULTS)
    for kind, family in classes.items():
        config = getattr(transformers, family + "Config")
        theirs = config().to_dict()
        for key, value in hf_read.DEFAULTS[kind].items():
            assert theirs[key] == value, (kind, key)
        if kind != "gpt2":  # what config_from_hf itself takes for granted
            assert theirs["rms_norm_eps"] == hf_read.DEFAULTS[kind].get("rms_norm_eps", 1e-6), kind
            assert theirs["hidden_act"] == "silu" and theirs["rope_parameters"]["rope_theta"] == 10_000.0
            assert theirs["tie_word_embeddings"] is False
            sparse = {k: v for k, v in theirs.items() if k in ("model_type", "vocab_size", "hidden_size", "num_hidden_layers",
                                                               "num_attention_heads", "intermediate_size", "max_position_embeddings")}
            sparse["sliding_window"] = None
            full = hf_read.model_config({**theirs, "sliding_window": None})
            made = hf_read.model_config(sparse)
            if "num_key_value_heads" not in hf_read.DEFAULTS[kind]:
                assert made == full, kind
            else:
                assert made.num_kv_heads == theirs["num_key_value_heads"], kind
