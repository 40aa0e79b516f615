"""Names and shapes of transformers <-> ours, both ways: configs as dictionaries, tensors by name. Reading and writing files is elsewhere.

Knows Llama, Mistral, Qwen2, Qwen3 and GPT-2 and what shares their shape. What has no place here is refused by name, never half translated.
Our fused matrices are their parts one below the other; GPT-2's Conv1D weights are transposed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from engine.contract.errors import FormatError, Mismatch
from engine.contract.words import tr
from engine.model.config import ModelConfig
from engine.model.exportability import transformers_architecture

FAMILIES = {"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM",
            "gpt2": "GPT2LMHeadModel"}


@dataclass(frozen=True)
class Source:
    """Where one of our tensors stands in transformers: rows of `names` one below the other, each transposed first if `transposed`.
    `rows` are their heights."""

    names: tuple[str, ...]
    rows: tuple[int, ...]
    transposed: bool = False


def sources(config: ModelConfig) -> dict[str, Source]:
    """For each of our tensors where it stands in transformers, in the order of the layers."""
    return dict(_gpt2(config) if config.shape == "gpt2" else _llama(config))


def _llama(c: ModelConfig) -> Iterator[tuple[str, Source]]:
    q, kv = c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim
    yield "embed.weight", Source(("model.embed_tokens.weight",), (c.vocab_size,))
    for i in range(c.num_layers):
        ours, theirs = f"layers.{i}.", f"model.layers.{i}."
        yield ours + "attention_norm.weight", Source((theirs + "input_layernorm.weight",), (c.hidden_size,))
        for part in ("weight", "bias"):
            if part == "weight" or c.attention_bias:
                names = tuple(f"{theirs}self_attn.{x}_proj.{part}" for x in "qkv")
                yield ours + "attention.qkv." + part, Source(names, (q, kv, kv))
            if part == "weight" or c.output_bias:
                yield ours + "attention.output." + part, Source((theirs + "self_attn.o_proj." + part,), (c.hidden_size,))
            if part == "weight" or c.mlp_bias:
                names = (f"{theirs}mlp.gate_proj.{part}", f"{theirs}mlp.up_proj.{part}")
                yield ours + "mlp.gate_up." + part, Source(names, (c.intermediate_size, c.intermediate_size))
                yield ours + "mlp.down." + part, Source((theirs + "mlp.down_proj." + part,), (c.hidden_size,))
        if c.qk_norm:
            for x in "qk":
                yield f"{ours}attention.{x}_norm.weight", Source((f"{theirs}self_attn.{x}_norm.weight",), (c.head_dim,))
        yield ours + "mlp_norm.weight", Source((theirs + "post_attention_layernorm.weight",), (c.hidden_size,))
    yield "norm.weight", Source(("model.norm.weight",), (c.hidden_size,))
    if not c.tie_embeddings:
        yield "head.weight", Source(("lm_head.weight",), (c.vocab_size,))


def _gpt2(c: ModelConfig) -> Iterator[tuple[str, Source]]:
    yield "embed.weight", Source(("transformer.wte.weight",), (c.vocab_size,))
    yield "positions.weight", Source(("transformer.wpe.weight",), (c.max_seq_len,))
    for i in range(c.num_layers):
        ours, theirs = f"layers.{i}.", f"transformer.h.{i}."
        matrices = [("attention.qkv", "attn.c_attn", 3 * c.hidden_size, c.attention_bias),
                    ("attention.output", "attn.c_proj", c.hidden_size, c.output_bias),
                    ("mlp.up", "mlp.c_fc", c.intermediate_size, c.mlp_bias), ("mlp.down", "mlp.c_proj", c.hidden_size, c.mlp_bias)]
        for mine, other, rows, bias in matrices:
            yield f"{ours}{mine}.weight", Source((f"{theirs}{other}.weight",), (rows,), transposed=True)
            if bias:
                yield f"{ours}{mine}.bias", Source((f"{theirs}{other}.bias",), (rows,))
        for mine, other in (("attention_norm", "ln_1"), ("mlp_norm", "ln_2")):
            for part in ("weight", "bias"):
                yield f"{ours}{mine}.{part}", Source((f"{theirs}{other}.{part}",), (c.hidden_size,))
    for part in ("weight", "bias"):
        yield f"norm.{part}", Source((f"transformer.ln_f.{part}",), (c.hidden_size,))
    if not c.tie_embeddings:
        yield "head.weight", Source(("lm_head.weight",), (c.vocab_size,))


def from_hf(config: ModelConfig, read: Callable[[str], Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Our tensors one by one; `read` gives one of theirs by name (raising KeyError for none). Streamed: one tensor at a time in memory.

    Raises Mismatch for a tensor that is missing or has another shape than the config says.
    """
    for name, source in sources(config).items():
        parts = []
        for their, rows in zip(source.names, source.rows, strict=True):
            try:
                part = read(their)
            except KeyError:
                raise Mismatch(tr("The weights lack {name}, which the config asks for.", name=their),
                               tr("The folder is incomplete, or of a kind this program does not know.")) from None
            part = part.T if source.transposed else part
            if part.shape[0] != rows:
                raise Mismatch(tr("{name} has {found} rows, and {wanted} by the config.", name=their, found=f"{part.shape[0]:,}",
                                  wanted=f"{rows:,}"), tr("The config and the weights belong to different models."))
            parts.append(part)
        yield name, torch.cat(parts) if len(parts) > 1 else parts[0].contiguous()


def to_hf(config: ModelConfig, read: Callable[[str], Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Their tensors one by one, for the class that `config_to_hf` names; `read` gives one of ours by name. Biases that their class has and
    this model has not are written as zeros."""
    for name, source in sources(config).items():
        tensor = read(name)
        for their, part in zip(source.names, tensor.split(list(source.rows)), strict=True):
            yield their, (part.T if source.transposed else part).contiguous()
    yield from _zero_biases(config, read)


def _zero_biases(c: ModelConfig, read: Callable[[str], Tensor]) -> Iterator[tuple[str, Tensor]]:
    like = read("norm.weight")
    for their, rows in zero_biases(c):
        yield their, like.new_zeros(rows)


def zero_biases(c: ModelConfig) -> Iterator[tuple[str, int]]:
    """(name, length) of the biases that the class of `config_to_hf` has and this model has not: zeros in their file."""
    written = config_to_hf(c)
    full = c.model_copy(update={"attention_bias": True, "output_bias": True, "mlp_bias": True})
    if c.shape == "llama":
        attention = bool(written.get("attention_bias")) or c.attention_bias
        full = c.model_copy(update={"attention_bias": attention, "output_bias": bool(written.get("attention_bias")),
                                    "mlp_bias": bool(written.get("mlp_bias"))})
    have = sources(c)
    for name, source in sources(full).items():
        if name not in have:
            yield from zip(source.names, source.rows, strict=True)


def config_to_hf(config: ModelConfig, *, dtype: str = "float32", bos_id: int | None = None, eos_id: int | list[int] | None = None,
                 pad_id: int | None = None) -> dict[str, Any]:
    """`config.json` of transformers, in the form that both its version 5 and older readers take. The shape must be exportable."""
    architecture = transformers_architecture(config)
    assert architecture, "ask engine.model.exportability first"
    shared = {"architectures": [architecture], "vocab_size": config.vocab_size, "tie_word_embeddings": config.tie_embeddings,
              "bos_token_id": bos_id, "eos_token_id": eos_id, "pad_token_id": pad_id, "dtype": dtype, "torch_dtype": dtype}
    if config.shape == "gpt2":
        return {"model_type": "gpt2", **shared, "n_embd": config.hidden_size, "n_layer": config.num_layers, "n_head": config.num_heads,
                "n_positions": config.max_seq_len, "n_ctx": config.max_seq_len, "n_inner": config.intermediate_size,
                "activation_function": "gelu_new", "layer_norm_epsilon": config.norm_eps, "attn_pdrop": 0.0, "embd_pdrop": config.dropout,
                "resid_pdrop": config.dropout, "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False,
                "reorder_and_upcast_attn": False}
    model_type = {"LlamaForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2", "Qwen3ForCausalLM": "qwen3"}[architecture]
    rope = {"rope_theta": config.rope_theta, **(config.rope_scaling or {"rope_type": "default"})}
    made = {"model_type": model_type, **shared, "hidden_size": config.hidden_size, "intermediate_size": config.intermediate_size,
            "num_hidden_layers": config.num_layers, "num_attention_heads": config.num_heads, "num_key_value_heads": config.num_kv_heads,
            "head_dim": config.head_dim, "max_position_embeddings": config.max_seq_len, "rms_norm_eps": config.norm_eps,
            "hidden_act": "silu", "rope_parameters": rope, "rope_theta": config.rope_theta, "rope_scaling": config.rope_scaling,
            "attention_dropout": 0.0}
    if model_type == "llama":
        made |= {"attention_bias": config.attention_bias or config.output_bias, "mlp_bias": config.mlp_bias}
    else:
        made |= {"use_sliding_window": False, "sliding_window": None, "max_window_layers": config.num_layers}
        if model_type == "qwen3":
            made["attention_bias"] = config.attention_bias or config.output_bias
    return made


def config_from_hf(raw: dict[str, Any]) -> ModelConfig:
    """Our config from their `config.json`. Raises FormatError that names what this program does not have."""
    kind = raw.get("model_type", "")
    if kind not in FAMILIES:
        raise FormatError(tr("Models of type {kind} are not supported.", kind=kind or tr("unknown")),
                          tr("Supported are: {known}.", known=", ".join(sorted(FAMILIES))))
    try:
        return _gpt2_config(raw) if kind == "gpt2" else _llama_config(raw, kind)
    except (KeyError, TypeError, ValueError) as wrong:
        raise FormatError(tr("The config of this model is incomplete or contradicts itself: {reason}", reason=why(wrong)),
                          tr("Fetch the model again.")) from None


def why(wrong: Exception) -> str:
    """What a config lacks or contradicts, in one line."""
    if isinstance(wrong, ValidationError):
        first = wrong.errors()[0]
        return ": ".join(part for part in (".".join(map(str, first["loc"])), str(first["msg"]).removeprefix("Value error, ")) if part)
    return tr("{name} is missing", name=str(wrong.args[0])) if isinstance(wrong, KeyError) else (str(wrong).splitlines() or [""])[0]


def _refuse(what: str) -> FormatError:
    return FormatError(tr("This model uses {what}, which is not supported.", what=what), tr("Choose a model without it."))


def _gpt2_config(raw: dict[str, Any]) -> ModelConfig:
    if raw.get("activation_function", "gelu_new") not in ("gelu_new", "gelu_pytorch_tanh"):
        raise _refuse(tr("the activation {name}", name=raw["activation_function"]))
    if not raw.get("scale_attn_weights", True) or raw.get("scale_attn_by_inverse_layer_idx"):
        raise _refuse(tr("attention scaled by layer"))
    if raw.get("add_cross_attention"):
        raise _refuse(tr("cross-attention"))
    width, heads = raw.get("n_embd", 768), raw.get("n_head", 12)
    return ModelConfig(shape="gpt2", vocab_size=raw["vocab_size"], hidden_size=width, num_layers=raw.get("n_layer", 12), num_heads=heads,
                       num_kv_heads=heads, head_dim=width // heads, intermediate_size=raw.get("n_inner") or 4 * width,
                       max_seq_len=raw.get("n_positions", 1024), norm_eps=raw.get("layer_norm_epsilon", 1e-5),
                       tie_embeddings=raw.get("tie_word_embeddings", True), attention_bias=True, output_bias=True, mlp_bias=True)


def _llama_config(raw: dict[str, Any], kind: str) -> ModelConfig:
    if raw.get("hidden_act", "silu") not in ("silu", "swish"):
        raise _refuse(tr("the activation {name}", name=raw["hidden_act"]))
    context = raw["max_position_embeddings"]
    window = raw.get("sliding_window")
    slides = bool(raw.get("use_sliding_window")) if kind.startswith("qwen") else kind == "mistral" and window is not None
    if "layer_types" in raw and raw["layer_types"] is not None:
        slides = slides and any(x != "full_attention" for x in raw["layer_types"])
    if slides and window is not None and window < context:
        raise _refuse(tr("sliding-window attention with a window of {window} tokens", window=f"{window:,}"))
    if raw.get("pretraining_tp", 1) not in (None, 1):
        raise _refuse(tr("weights split for tensor parallelism"))
    rope = dict(raw.get("rope_parameters") or {})
    if not rope:
        rope = dict(raw.get("rope_scaling") or {})
    theta = rope.pop("rope_theta", None) or raw.get("rope_theta") or 10_000.0
    if rope.pop("partial_rotary_factor", None) not in (None, 1, 1.0):
        raise _refuse(tr("RoPE on a part of each head"))
    rope_type = rope.pop("rope_type", None) or rope.get("type") or "default"
    rope.pop("type", None)
    if rope_type not in ("default", "linear", "llama3"):
        raise _refuse(tr("RoPE scaling of type {name}", name=rope_type))
    heads = raw["num_attention_heads"]
    qkv_bias = kind == "qwen2" or bool(raw.get("attention_bias", False))
    return ModelConfig(shape="llama", vocab_size=raw["vocab_size"], hidden_size=raw["hidden_size"], num_layers=raw["num_hidden_layers"],
                       num_heads=heads, num_kv_heads=raw.get("num_key_value_heads") or heads,
                       head_dim=raw.get("head_dim") or raw["hidden_size"] // heads, intermediate_size=raw["intermediate_size"],
                       max_seq_len=context, norm_eps=raw.get("rms_norm_eps", 1e-6), rope_theta=float(theta),
                       rope_scaling=None if rope_type == "default" else {"rope_type": rope_type, **rope},
                       qk_norm=kind == "qwen3", tie_embeddings=bool(raw.get("tie_word_embeddings", False)), attention_bias=qkv_bias,
                       output_bias=kind in ("llama", "qwen3") and bool(raw.get("attention_bias", False)),
                       mlp_bias=kind == "llama" and bool(raw.get("mlp_bias", False)))
