"""What this program does not compute exactly is refused by name, from the config alone."""

import json

import pytest

from engine.contract.errors import FledgeError
from engine.model.formats import hf_read, source, tokenizer_read
from tests.engine.model.formats.foreign import FAMILIES, SMALL, model, take_over, tokenizer

LLAMA = {"model_type": "llama", "hidden_act": "silu", "rms_norm_eps": 1e-6, **SMALL}
MISTRAL, QWEN, PHI = {**LLAMA, "model_type": "mistral"}, {**LLAMA, "model_type": "qwen2"}, {**LLAMA, "model_type": "phi3"}
REFUSED = {
    "sliding-window attention with a window of 64 tokens": {**MISTRAL, "sliding_window": 64},
    "window of 4,096 tokens": {**MISTRAL, "max_position_embeddings": 8192},  # the default of its family
    "window of 32 tokens": {**QWEN, "use_sliding_window": True, "sliding_window": 32, "max_window_layers": 1},
    "window of 16 tokens": {**LLAMA, "model_type": "ministral", "sliding_window": 16, "layer_types": ["sliding_attention"] * 3},
    "window of 20 tokens": {**PHI, "sliding_window": 20},
    "a mixture of 8 experts": {**LLAMA, "model_type": "mixtral", "num_local_experts": 8},
    "a mixture of 64 experts": {**LLAMA, "model_type": "deepseek_v3", "n_routed_experts": 64},
    "multi-head latent attention": {**LLAMA, "model_type": "deepseek_v2", "kv_lora_rank": 512},
    "RoPE on a part of each head": {**PHI, "partial_rotary_factor": 0.75},
    "RoPE on a part": {**LLAMA, "rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
    "RoPE scaling of type yarn": {**QWEN, "rope_scaling": {"type": "yarn", "factor": 4.0}},
    "RoPE scaling of type longrope": {**PHI, "rope_scaling": {"type": "longrope", "short_factor": [1.0], "long_factor": [2.0]}},
    "RoPE scaling of type dynamic": {**LLAMA, "rope_parameters": {"rope_type": "dynamic", "factor": 2.0}},
    "RoPE that differs from layer": {**LLAMA, "rope_parameters": {"full_attention": {"rope_type": "default"}}},
    "quantised (gptq)": {**LLAMA, "quantization_config": {"quant_method": "gptq", "bits": 4}},
    "quantised (fp8)": {**LLAMA, "quantization_config": {"quant_method": "fp8"}},
    "capped logits": {**LLAMA, "model_type": "gemma2", "final_logit_softcapping": 30.0},
    "layers without positions": {**LLAMA, "model_type": "smollm3", "no_rope_layers": [1, 1, 0]},
    "pictures or sound": {**LLAMA, "model_type": "llava", "vision_config": {}, "audio_config": {"a": 1}},
    "an encoder before": {**LLAMA, "model_type": "t5", "is_encoder_decoder": True},
    "another head than": {**LLAMA, "architectures": ["LlamaForSequenceClassification"]},
    "the activation gelu": {**LLAMA, "hidden_act": "gelu"},
    "the activation relu": {"model_type": "gpt2", "vocab_size": 10, "activation_function": "relu"},
    "code of its own (auto_map)": {**LLAMA, "auto_map": {"AutoConfig": "x.Y"}},
    "type mamba": {"model_type": "mamba"},
    "type unknown": {},
    "tensor parallelism": {**LLAMA, "pretraining_tp": 2},
    "num_attention_heads is 0": {**LLAMA, "num_attention_heads": 0},
    "hidden_size is -4": {**LLAMA, "hidden_size": -4},
    "hidden_size is True": {**LLAMA, "hidden_size": True},
    "rms_norm_eps is 3": {**LLAMA, "rms_norm_eps": 3},
    "rope_theta is -1": {**LLAMA, "rope_theta": -1},
    "incomplete": {k: v for k, v in LLAMA.items() if k != "intermediate_size"},
    "do not divide": {**LLAMA, "num_key_value_heads": 3},
    "RoPE settings of this model cannot be read": {**LLAMA, "rope_scaling": "yarn"},
}


@pytest.mark.parametrize("words", REFUSED)
def test_a_config_is_refused_by_name(words):
    with pytest.raises(FledgeError) as told:
        hf_read.model_config(REFUSED[words])
    assert words in told.value.sentence and told.value.remedy


def test_what_only_looks_unsupported_is_taken():
    for raw in ({**MISTRAL, "sliding_window": 128}, {**QWEN, "sliding_window": 32, "use_sliding_window": False},
                {**QWEN, "use_sliding_window": True, "sliding_window": 32, "max_window_layers": 3},
                {**LLAMA, "rope_parameters": {"rope_type": "default", "partial_rotary_factor": 1.0}}, {**LLAMA, "num_experts": 0},
                {**LLAMA, "head_dim": None, "num_key_value_heads": None}):
        assert hf_read.model_config(raw).num_layers == 3


@pytest.fixture
def folder(tmp_path):
    made = model("llama tied")
    made.save_pretrained(tmp_path / "theirs")
    tokenizer("gpt2").save_pretrained(tmp_path / "theirs")
    return tmp_path / "theirs"


def refusal(folder, out):
    with pytest.raises(FledgeError) as told:
        take_over(folder, out)
    assert not (out / "model.safetensors").exists()
    return told.value.sentence


def test_a_head_that_is_not_the_embedding_it_is_tied_to_is_refused(folder, tmp_path):
    from safetensors.torch import load_file, save_file
    state = load_file(folder / "model.safetensors")
    save_file({**state, "lm_head.weight": state["model.embed_tokens.weight"].clone()}, folder / "model.safetensors")
    take_over(folder, tmp_path / "same")
    save_file({**state, "lm_head.weight": state["model.embed_tokens.weight"] + 1}, folder / "model.safetensors")
    assert "differs from the embedding" in refusal(folder, tmp_path / "out")


def test_weights_that_a_model_of_its_kind_has_not_are_refused_by_name(folder, tmp_path):
    from safetensors.torch import load_file, save_file
    state = load_file(folder / "model.safetensors")
    save_file({**state, "model.rotary_emb.inv_freq": state["model.norm.weight"].clone()}, folder / "model.safetensors")
    take_over(folder, tmp_path / "fine")  # follows from the config
    save_file({**state, "model.layers.0.self_attn.q_norm.weight": state["model.norm.weight"].clone()}, folder / "model.safetensors")
    assert "self_attn.q_norm.weight" in refusal(folder, tmp_path / "out")
    del state["model.layers.1.mlp.up_proj.weight"]
    save_file(state, folder / "model.safetensors")
    assert "lack model.layers.1.mlp.up_proj.weight" in refusal(folder, tmp_path / "out")


def test_whole_numbers_for_weights_are_refused_by_name(folder, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file
    state = load_file(folder / "model.safetensors")
    save_file({k: v.to(torch.int8) if v.ndim == 2 else v for k, v in state.items()}, folder / "model.safetensors")
    assert "stored as I8" in refusal(folder, tmp_path / "out")


def test_numbers_too_large_for_float16_are_refused_there_only(folder, tmp_path):
    from safetensors.torch import load_file, save_file
    state = load_file(folder / "model.safetensors")
    state["model.norm.weight"][0] = 1e6
    save_file(state, folder / "model.safetensors")
    take_over(folder, tmp_path / "bf", "bfloat16")
    with pytest.raises(FledgeError, match="too large for float16"):
        take_over(folder, tmp_path / "half", "float16")


def test_an_adapter_alone_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "someone/base"}))
    assert "someone/base" in refusal(tmp_path / "a", tmp_path / "out")


def test_a_tokenizer_in_another_programs_form_is_named(folder, tmp_path):
    (folder / "tokenizer.json").unlink()
    assert "no tokenizer.json" in refusal(folder, tmp_path / "out")
    (folder / "tokenizer.model").write_bytes(b"x")
    assert "sentencepiece" in refusal(folder, tmp_path / "out")


def test_a_tokenizer_larger_than_the_embedding_is_refused(folder, tmp_path):
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**raw, "vocab_size": 300}))
    assert "300" in refusal(folder, tmp_path / "out")


def test_a_part_that_is_missing_is_named(folder, tmp_path):
    made = model("llama tied")
    made.save_pretrained(folder, max_shard_size="100KB")
    (folder / "model.safetensors").unlink(missing_ok=True)
    gone = sorted(folder.glob("model-*.safetensors"))[1]
    gone.unlink()
    assert gone.name in refusal(folder, tmp_path / "out")


def test_the_depth_of_json_is_told_with_brackets_in_strings():
    assert source.parse_json(json.dumps({"a": "[" * 1000 + '\\"' + "{" * 1000}).encode(), "x") == {"a": "[" * 1000 + '\\"' + "{" * 1000}
    deep: object = 1
    for _ in range(70):
        deep = [deep]
    with pytest.raises(FledgeError, match="nested"):
        source.parse_json(json.dumps({"a": deep}).encode(), "x")


def test_probes_hold_what_the_patterns_name():
    record = json.dumps({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(Q+)+Z"}}})
    assert any(p.startswith("QQQ") for p in tokenizer_read.probes(record))


def test_every_family_has_a_test():
    assert {f.lower() for f, _ in FAMILIES.values()} == {f.replace("_", "") for f in hf_read.FAMILIES}
