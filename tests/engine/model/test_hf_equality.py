"""Our forward pass against transformers' with the same weights, for every family and its variants; names and configs both ways."""

import copy

import pytest
import torch

from engine.contract.errors import FormatError, Mismatch
from engine.model import hf
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder

transformers = pytest.importorskip("transformers")

SMALL = dict(vocab_size=199, hidden_size=64, intermediate_size=112, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=128, initializer_range=0.2, bos_token_id=None, eos_token_id=None)
LLAMA3_ROPE = dict(rope_type="llama3", rope_theta=500.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
                   original_max_position_embeddings=32)
CASES = {
    "llama": ("Llama", SMALL),
    "llama tied": ("Llama", {**SMALL, "tie_word_embeddings": True, "num_key_value_heads": 4}),
    "llama one kv head": ("Llama", {**SMALL, "num_key_value_heads": 1}),
    "llama 3 rope": ("Llama", {**SMALL, "rope_parameters": LLAMA3_ROPE}),
    "llama linear rope": ("Llama", {**SMALL, "rope_parameters": dict(rope_type="linear", rope_theta=1e4, factor=2.0)}),
    "llama with biases and wide heads": ("Llama", {**SMALL, "head_dim": 32, "attention_bias": True, "mlp_bias": True}),
    "mistral": ("Mistral", {**SMALL, "sliding_window": None}),
    "qwen2": ("Qwen2", SMALL),
    "qwen3": ("Qwen3", {**SMALL, "head_dim": 24, "rms_norm_eps": 1e-6}),
    "qwen3 tied": ("Qwen3", {**SMALL, "head_dim": 16, "tie_word_embeddings": True}),
    "gpt2": ("GPT2", dict(vocab_size=199, n_embd=64, n_layer=3, n_head=4, n_positions=128, initializer_range=0.2, bos_token_id=None,
                          eos_token_id=None)),
    "gpt2 untied": ("GPT2", dict(vocab_size=199, n_embd=64, n_layer=2, n_head=2, n_inner=100, n_positions=128, initializer_range=0.2,
                                 tie_word_embeddings=False, bos_token_id=None, eos_token_id=None)),
}


def theirs(name: str):
    family, settings = CASES[name]
    head = "LMHeadModel" if family == "GPT2" else "ForCausalLM"
    torch.manual_seed(0)
    model = getattr(transformers, family + head)(getattr(transformers, family + "Config")(**copy.deepcopy(settings))).eval()
    with torch.no_grad():  # norms and biases away from their neutral values, or a missing one would not show
        for n, p in model.named_parameters():
            if n.endswith("bias") or "norm" in n or "ln_" in n:
                p.add_(torch.randn_like(p) * 0.2)
    return model


def ours(model) -> Decoder:
    config = hf.config_from_hf(model.config.to_dict())
    state = model.state_dict()
    made = Decoder(config, seed=None)
    made.load_state_dict(dict(hf.from_hf(config, state.__getitem__)))
    return made.eval()


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_logits_equal_those_of_transformers(name):
    reference = theirs(name)
    model = ours(reference)
    tokens = torch.randint(199, (3, 100), generator=torch.Generator().manual_seed(1))
    wanted = reference(tokens).logits
    assert (model.logits(model(tokens)) - wanted).abs().max() < 1e-4
    assert wanted.std() > 0.5  # logits of some size, so that 1e-4 means something


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_weights_and_config_go_back_exactly(name):
    reference = theirs(name)
    model = ours(reference)
    state = model.state_dict()
    back = dict(hf.to_hf(model.config, state.__getitem__))
    known = reference.state_dict()
    assert all(torch.equal(back[k], known[k]) for k in back)
    assert known.keys() - back.keys() <= ({"lm_head.weight"} if model.config.tie_embeddings else set())
    raw = hf.config_to_hf(model.config)
    assert hf.config_from_hf(raw) == model.config
    again_class = getattr(transformers, raw["architectures"][0])
    config = again_class.config_class(**raw)
    again = again_class(config).eval()
    missing, unexpected = again.load_state_dict(back, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}
    again.tie_weights()
    tokens = torch.arange(50)[None]
    assert (again(tokens).logits - reference(tokens).logits).abs().max() < 1e-5


@pytest.mark.parametrize("changes", [dict(attention_bias=True, qk_norm=True), dict(output_bias=True), dict(shape="gpt2", num_kv_heads=4)])
@torch.no_grad()
def test_biases_their_class_has_and_ours_has_not_go_as_zeros(changes):
    config = ModelConfig(**{**dict(vocab_size=199, hidden_size=64, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=16,
                                   intermediate_size=96, max_seq_len=64), **changes})
    model = Decoder(config, seed=1).eval()
    for p in model.parameters():
        p.mul_(5)
    raw = hf.config_to_hf(config)
    cls = getattr(transformers, raw["architectures"][0])
    reference = cls(cls.config_class(**raw)).eval()
    missing, unexpected = reference.load_state_dict(dict(hf.to_hf(config, model.state_dict().__getitem__)), strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}
    reference.tie_weights()
    tokens = torch.arange(40)[None]
    assert (reference(tokens).logits - model.logits(model(tokens))).abs().max() < 1e-4


@pytest.mark.parametrize(("change", "said"), [
    (dict(model_type="gemma3"), "gemma3"), (dict(hidden_act="relu"), "relu"),
    (dict(rope_parameters=dict(rope_type="yarn", rope_theta=1.0, factor=2.0)), "yarn"),
    (dict(model_type="qwen2", use_sliding_window=True, sliding_window=32), "32"), (dict(model_type="mistral", sliding_window=64), "64"),
    (dict(rope_parameters=dict(rope_type="default", rope_theta=1.0, partial_rotary_factor=0.5)), "RoPE"),
    (dict(hidden_size=None), "contradicts"),
    (dict(num_attention_heads=0), "contradicts")])
def test_what_we_do_not_have_is_refused_by_name(change, said):
    raw = transformers.LlamaConfig(**SMALL).to_dict()
    with pytest.raises(FormatError, match=said):
        hf.config_from_hf({**raw, **change})


def test_the_old_way_to_write_rope_is_read_too():
    raw = transformers.LlamaConfig(**SMALL).to_dict()
    raw.pop("rope_parameters")
    old = {k: v for k, v in LLAMA3_ROPE.items() if k not in ("rope_theta",)}
    config = hf.config_from_hf({**raw, "rope_theta": 500.0, "rope_scaling": old})
    assert config.rope_theta == 500.0 and config.rope_scaling["rope_type"] == "llama3"


def test_a_missing_or_misshapen_tensor_is_a_mismatch():
    reference = theirs("llama")
    config = hf.config_from_hf(reference.config.to_dict())
    state = dict(reference.state_dict())
    state.pop("model.layers.1.mlp.up_proj.weight")
    with pytest.raises(Mismatch, match="up_proj"):
        dict(hf.from_hf(config, state.__getitem__))
    state = dict(reference.state_dict())
    state["model.norm.weight"] = torch.ones(5)
    with pytest.raises(Mismatch, match="norm"):
        dict(hf.from_hf(config, state.__getitem__))
