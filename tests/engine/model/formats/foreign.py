"""Small foreign models for the tests of the import: saved by transformers, or written with the gguf package; tokenizers of many kinds."""

import copy
import json
import random
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
import transformers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

from engine.model.formats import import_child
from engine.text import split

TEXTS = ["The quick brown fox jumps over the lazy dog's 1234567 tails; it's \"fine\", isn't it?\n\n\tYes.  No   more.",
         "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. Съешь ещё этих мягких французских булок. 今日は世界。🙂👩🏽‍🚀",
         "def f(x):\n    return {'a': x ** 2, \"b\": [1, 2, 3]}\n"]

SMALL = dict(vocab_size=640, hidden_size=64, intermediate_size=128, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=128, initializer_range=0.2, bos_token_id=None, eos_token_id=1, pad_token_id=None)
GPT2 = dict(vocab_size=640, n_embd=64, n_layer=3, n_head=4, n_positions=128, initializer_range=0.2, bos_token_id=1, eos_token_id=1)
LLAMA3 = dict(rope_type="llama3", rope_theta=500.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", SMALL),
    "llama tied": ("Llama", {**SMALL, "tie_word_embeddings": True, "num_key_value_heads": 4}),
    "llama 3 rope": ("Llama", {**SMALL, "rope_parameters": LLAMA3}),
    "llama linear rope": ("Llama", {**SMALL, "rope_parameters": dict(rope_type="linear", rope_theta=1e4, factor=2.0)}),
    "llama with biases and wide heads": ("Llama", {**SMALL, "head_dim": 32, "attention_bias": True, "mlp_bias": True}),
    "mistral": ("Mistral", {**SMALL, "sliding_window": None}),
    "mistral with a window as long as its context": ("Mistral", {**SMALL, "sliding_window": 128}),
    "ministral": ("Ministral", {**SMALL, "head_dim": 16, "layer_types": ["full_attention"] * 3}),
    "qwen2": ("Qwen2", SMALL),
    "qwen2 tied": ("Qwen2", {**SMALL, "tie_word_embeddings": True}),
    "qwen3": ("Qwen3", {**SMALL, "head_dim": 24, "rms_norm_eps": 1e-6}),
    "phi3": ("Phi3", {**SMALL, "sliding_window": None}),
    "seed_oss": ("SeedOss", {**SMALL, "head_dim": 16, "attention_bias": True, "attention_out_bias": False, "attention_dropout": 0.0,
                             "residual_dropout": 0.0}),
    "seed_oss with all biases": ("SeedOss", {**SMALL, "head_dim": 16, "attention_bias": True, "attention_out_bias": True, "mlp_bias": True,
                                             "attention_dropout": 0.0, "residual_dropout": 0.0}),
    "gpt2": ("GPT2", GPT2),
    "gpt2 untied": ("GPT2", {**GPT2, "n_inner": 100, "tie_word_embeddings": False}),
}


def model(name: str, dtype: torch.dtype = torch.float32) -> Any:
    """A random model of a family, norms and biases away from their neutral values: a missing one would not show else."""
    family, settings = FAMILIES[name]
    head = "LMHeadModel" if family == "GPT2" else "ForCausalLM"
    torch.manual_seed(0)
    made = getattr(transformers, family + head)(getattr(transformers, family + "Config")(**copy.deepcopy(settings))).eval()
    with torch.no_grad():
        for n, p in made.named_parameters():
            if n.endswith("bias") or "norm" in n or "ln_" in n:
                p.add_(torch.randn_like(p) * 0.2)
    return made.to(dtype)


@lru_cache
def tokenizer(kind: str) -> transformers.PreTrainedTokenizerFast:
    """gpt2, llama-bpe, qwen2 (with its NFC), smollm; spm: as sentencepiece does, bytes for what it does not know."""
    specials = ["<unk>", "<|end|>", "<|user|>", "<|assistant|>", "<s>"]
    if kind == "spm":
        made = tokenizers.Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
        made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
        trainer = trainers.BpeTrainer(vocab_size=344, special_tokens=specials, show_progress=False)
    else:
        made = tokenizers.Tokenizer(models.BPE(ignore_merges=kind == "llama-bpe"))
        level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=kind in ("gpt2", "smollm"))
        cut = {"llama-bpe": split.LLAMA3, "qwen2": split.LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")}.get(kind)
        made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(cut), "isolated"), level]) if cut else (
            pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), level]) if kind == "smollm" else level)
        if kind == "qwen2":
            made.normalizer = normalizers.NFC()
        made.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                      show_progress=False)
    made.train_from_iterator(TEXTS * 20, trainer)
    if kind == "spm":  # its bytes are ordinary tokens
        raw = json.loads(made.to_str())
        raw["model"]["vocab"] |= {f"<0x{b:02X}>": len(raw["model"]["vocab"]) + b for b in range(256)}
        made = tokenizers.Tokenizer.from_str(json.dumps(raw))
    if kind == "llama-bpe":
        made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 4)])
    if kind == "qwen2":
        made.add_tokens([AddedToken("<tool>", special=False, normalized=False)])
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=made, bos_token=None if kind == "qwen2" else "<s>", eos_token="<|end|>")
    fast.chat_template = ("{{ bos_token }}{% for m in messages %}{{ '<|' + m.role + '|>' }}\n{{ m.content }}<|end|>\n{% endfor %}"
                          "{% if add_generation_prompt %}<|assistant|>\n{% endif %}")
    return fast


def strings(count: int, seed: int = 0) -> list[str]:
    """Random Unicode: words, digits, spaces, marks, all planes without surrogates, and stretches of real text."""
    rng = random.Random(seed)
    pools = [list(map(chr, range(32, 127))), list(" \t\n\r\u00a0\u3000'"), list("0123456789٣五"), list("éüñçøăłßœ\u0301\u0308\u0323ÅΩК"),
             list("абвгдеёжз日本語한국어ไทยहिन्दी"), list("🙂👩🏽‍🚀🇩🇪✨\ufe0f")]
    made = []
    for _ in range(count):
        text = ""
        for _ in range(rng.randrange(1, 6)):
            kind = rng.random()
            if kind < 0.35:
                source = rng.choice(TEXTS)
                at = rng.randrange(len(source))
                text += source[at:at + rng.randrange(1, 25)]
            elif kind < 0.85:
                text += "".join(rng.choices(rng.choice(pools), k=rng.randrange(1, 9)))
            else:
                points = (rng.randrange(0x110000) for _ in range(3))
                text += "".join(chr(p) for p in points if not 0xD800 <= p <= 0xDFFF)
        made.append(text)
    return made


class Quiet:
    """A line to nobody."""

    def say(self, *message: Any) -> None: ...
    def at(self, done: int, total: int) -> None: ...


def take_over(path: Path, out: Path, dtype: str = "as_is") -> dict[str, Any]:
    """The import, in this process: for tests of what it computes, not of how it is confined."""
    out.mkdir(parents=True, exist_ok=True)
    return import_child.work({"path": str(path), "out": str(out), "dtype": dtype, "named": str(path)}, Quiet())  # type: ignore[arg-type]


GGUF_PRE = {"gpt2": "gpt-2", "llama-bpe": "llama-bpe", "qwen2": "qwen2", "smollm": "smollm"}


def write_gguf(made: Any, path: Path, kind: str = "llama-bpe", quantise: str = "F32", permute: bool = True, **values: Any) -> None:
    """A transformers model as a GGUF file, by the rules of llama.cpp's convert_hf_to_gguf; `permute` False leaves a mistake in."""
    import gguf

    raw, state = made.config.to_dict(), made.state_dict()
    family = {"mistral": "llama"}.get(raw["model_type"], raw["model_type"])
    writer = gguf.GGUFWriter(path, family)
    gpt2 = family == "gpt2"
    heads, kv = (raw["n_head"], raw["n_head"]) if gpt2 else (raw["num_attention_heads"], raw["num_key_value_heads"])
    width = raw["n_embd"] if gpt2 else raw["hidden_size"]
    head = raw.get("head_dim") or width // heads
    writer.add_context_length(raw["n_positions"] if gpt2 else raw["max_position_embeddings"])
    writer.add_embedding_length(width)
    writer.add_block_count(raw["n_layer"] if gpt2 else raw["num_hidden_layers"])
    writer.add_feed_forward_length((raw.get("n_inner") or 4 * width) if gpt2 else raw["intermediate_size"])
    writer.add_head_count(heads)
    if gpt2:
        writer.add_layer_norm_eps(raw["layer_norm_epsilon"])
    else:
        writer.add_head_count_kv(kv)
        writer.add_layer_norm_rms_eps(raw["rms_norm_eps"])
        writer.add_key_length(head)
        writer.add_value_length(head)
        writer.add_rope_dimension_count(head)
        rope = raw["rope_parameters"]
        writer.add_rope_freq_base(rope["rope_theta"])
        if rope["rope_type"] == "linear":
            writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(rope["factor"])
        elif rope["rope_type"] == "llama3":
            writer.add_tensor("rope_freqs.weight", _llama3_table(rope, head))
    names = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output", "transformer.wte": "token_embd",
             "transformer.wpe": "position_embd", "transformer.ln_f": "output_norm", "input_layernorm": "attn_norm",
             "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
             "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
             "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "ln_1": "attn_norm", "ln_2": "ffn_norm",
             "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}
    for name, tensor in state.items():
        if name == "lm_head.weight" and raw["tie_word_embeddings"]:
            continue
        stem, _, part = name.rpartition(".")
        layer = stem.split(".")[2] if stem.startswith(("model.layers.", "transformer.h.")) else ""
        inner = ".".join(stem.split(".")[3:]) if layer else stem
        value = tensor.float().numpy()
        if gpt2 and layer and value.ndim == 2:
            value = value.T
        if family == "llama" and permute and inner in ("self_attn.q_proj", "self_attn.k_proj"):
            of = heads if "q_proj" in inner else kv
            value = value.reshape(of, 2, value.shape[0] // of // 2, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape)
        value = np.ascontiguousarray(value)
        their = f"blk.{layer}.{names[inner]}.{part}" if layer else f"{names[inner]}.{part}"
        of_type = gguf.GGMLQuantizationType[quantise if value.ndim == 2 else "F32"]
        packed = gguf.quants.quantize(value, of_type)
        writer.add_tensor(their, packed, raw_dtype=None if quantise in ("F32", "F16") or value.ndim != 2 else of_type)
    _add_tokenizer(writer, gguf, kind, len(state["transformer.wte.weight" if gpt2 else "model.embed_tokens.weight"]))
    for key, value in values.items():
        writer.add_uint32(key.replace("__", "."), value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _llama3_table(rope: dict[str, Any], head: int) -> np.ndarray:
    """Written out as llama.cpp's converter does, apart from the reader's own formula."""
    factors = []
    for i in range(0, head, 2):
        frequency = 1.0 / rope["rope_theta"] ** (i / head)
        length = 2 * np.pi / frequency
        old = rope["original_max_position_embeddings"]
        if length < old / rope["high_freq_factor"]:
            factors.append(1.0)
        elif length > old / rope["low_freq_factor"]:
            factors.append(rope["factor"])
        else:
            smooth = (old / length - rope["low_freq_factor"]) / (rope["high_freq_factor"] - rope["low_freq_factor"])
            factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(factors, np.float32)


def _add_tokenizer(writer: Any, gguf: Any, kind: str, rows: int) -> None:
    fast = tokenizer(kind)
    raw = json.loads(fast.backend_tokenizer.to_str())
    names = {id: name for name, id in fast.get_vocab().items()}
    added = {t["id"]: t["special"] for t in raw["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(GGUF_PRE[kind])
    writer.add_token_list([names.get(i, f"[PAD{i}]") for i in range(rows)])
    types = [gguf.TokenType.CONTROL if added.get(i) else gguf.TokenType.USER_DEFINED if i in added else gguf.TokenType.NORMAL if i in names
             else gguf.TokenType.UNUSED for i in range(rows)]
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(m) for m in raw["model"]["merges"]])
    if fast.bos_token_id is not None:
        writer.add_bos_token_id(fast.bos_token_id)
    writer.add_eos_token_id(fast.eos_token_id)
    writer.add_chat_template(fast.chat_template)
