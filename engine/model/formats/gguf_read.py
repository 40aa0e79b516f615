"""GGUF files: the model in one by its header, its weights as transformers has them, its tokenizer rebuilt. Reads versions 2 and 3.

Knows the architectures llama, qwen2, qwen3 and gpt2, with F32, F16, BF16 and Q8_0 weights; the rest is refused by name. Every length in a
header is held against what is left of the file before anything is taken for it. It writes nothing.

What differs from transformers
- `llama` has the rows of queries and keys interleaved for RoPE; they are put back, a head at a time. qwen2, qwen3 and gpt2 are as they are.
- Llama 3's RoPE scaling comes as a table of factors; its four numbers are found again and held against the table, or the file is refused.
- A Q8_0 block of 32 numbers is one float16 and 32 signed bytes; the product is exact in float32.
"""

import json
import math
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from engine.contract.errors import Corrupt, FledgeError, FormatError
from engine.contract.words import tr
from engine.model import hf
from engine.model.config import ModelConfig
from engine.model.formats import source
from engine.model.formats.convert import enough
from engine.model.formats.source import About
from engine.model.formats.tokenizer_read import Found
from engine.text import split
from engine.text.tokenizer import byte_alphabet

ARCHITECTURES = ("gpt2", "llama", "qwen2", "qwen3")
MOST_TENSORS, MOST_VALUES, MOST_STRING, MOST_ITEMS = 100_000, 10_000, 64_000_000, 10_000_000

# ggml's number formats: name, numbers in a block, bytes of a block (0: only known by name).
FORMATS = {0: ("F32", 1, 4), 1: ("F16", 1, 2), 8: ("Q8_0", 32, 34), 30: ("BF16", 1, 2)}
OTHER_FORMATS = {2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K",
                 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS",
                 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4"}
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED = 1, 2, 3, 4, 5

_LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SPLITS = {"llama-bpe": split.LLAMA3, "llama3": split.LLAMA3, "llama-v3": split.LLAMA3, "qwen2": _LETTERS + r"\p{N}" + _REST}
"""Expressions of llama.cpp's pre-tokenizers, by name; gpt-2 and smollm are GPT-2's own, which tokenizers has built in."""

_LAYER = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
          "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
          "ffn_down": "mlp.down_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
_LAYER_GPT2 = {"attn_norm": "ln_1", "ffn_norm": "ln_2", "attn_qkv": "attn.c_attn", "attn_output": "attn.c_proj", "ffn_up": "mlp.c_fc",
               "ffn_down": "mlp.c_proj"}


@dataclass(frozen=True)
class Entry:
    """A tensor of the file: shape as torch has it, number format, where it begins."""

    shape: tuple[int, ...]
    format: str
    where: int


@dataclass
class Opened:
    """A GGUF model, judged. `table`: where our tensors stand in `weights`; `spare`: tensors that are not taken over."""

    path: Path
    values: dict[str, Any]
    config: ModelConfig
    architecture: str
    weights: "GgufWeights"
    table: dict[str, hf.Source]
    about: About
    spare: frozenset[str] = field(default=frozenset())

    def tokenizer(self) -> Found:
        return rebuild_tokenizer(self.values)


class _Header:
    """Reads forward, never more than there is."""

    def __init__(self, file: BinaryIO, size: int, name: str) -> None:
        self.file, self.left, self.name = file, size, name

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise source.damaged(self.name, tr("its header claims more than the file holds"))
        self.left -= count
        raw = self.file.read(count)
        if len(raw) != count:
            raise source.damaged(self.name, tr("it ends early"))
        return raw

    def number(self, kind: str) -> Any:
        return struct.unpack("<" + kind, self.take(struct.calcsize("<" + kind)))[0]

    def string(self, most: int = MOST_STRING) -> str:
        count = self.number("Q")
        if count > most:
            raise source.damaged(self.name, tr("its header claims more than the file holds"))
        return self.take(count).decode("utf-8", "replace")

    def value(self) -> Any:
        kind = self.number("I")
        if kind == STRING:
            return self.string()
        if kind != ARRAY:
            return self._scalar(kind)
        of, count = self.number("I"), self.number("Q")
        least = 8 if of == STRING else struct.calcsize("<" + _SCALARS[of]) if of in _SCALARS else 0
        if not least:
            raise source.damaged(self.name, tr("its header contradicts itself"))
        if count > MOST_ITEMS or count * least > self.left:
            raise source.damaged(self.name, tr("its header claims more than the file holds"))
        if of == STRING:
            return [self.string() for _ in range(count)]
        return list(struct.unpack(f"<{count}{_SCALARS[of]}", self.take(count * least)))

    def _scalar(self, kind: int) -> Any:
        if kind not in _SCALARS:
            raise source.damaged(self.name, tr("its header contradicts itself"))
        return self.number(_SCALARS[kind])


def read_header(path: Path) -> tuple[dict[str, Any], dict[str, Entry]]:
    """(metadata, tensors) of a GGUF file, each length checked. Raises Corrupt, FormatError."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        header = _Header(file, size, path.name)
        if header.take(4) != b"GGUF":
            raise source.damaged(path.name, tr("it does not begin as a GGUF file"))
        version = header.number("I")
        if version not in (2, 3):
            raise FormatError(tr("{file} is GGUF of version {version}; 2 and 3 are read.", file=path.name, version=version if version < 1000
                                 else tr("big-endian")), tr("Convert it with a current llama.cpp."), code="unsupported")
        tensor_count, value_count = header.number("Q"), header.number("Q")
        if tensor_count > MOST_TENSORS or value_count > MOST_VALUES or tensor_count * 32 + value_count * 13 > header.left:
            raise source.damaged(path.name, tr("its header claims more than the file holds"))
        values: dict[str, Any] = {}
        for _ in range(value_count):
            key = header.string(65_535)
            values[key] = header.value()
        listed = []
        for _ in range(tensor_count):
            name, count = header.string(1_000), header.number("I")
            if not 1 <= count <= 4:
                raise source.damaged(path.name, tr("its header contradicts itself"))
            sides = tuple(header.number("Q") for _ in range(count))
            listed.append((name, sides, header.number("I"), header.number("Q")))
        alignment = values.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 1 <= alignment <= 65_536:
            raise source.damaged(path.name, tr("its header contradicts itself"))
        begin = size - header.left
        begin += -begin % alignment
    entries: dict[str, Entry] = {}
    total = 0
    for name, sides, kind, offset in listed:
        if kind not in FORMATS:
            raise FormatError(tr("{name} in {file} is quantised as {format}, which is not read; F32, F16, BF16 and Q8_0 are.", name=name,
                                 file=path.name, format=OTHER_FORMATS.get(kind, str(kind))),
                              tr("Choose the same model as F16, BF16 or Q8_0."), code="quantised")
        word, numbers, taken = FORMATS[kind]
        count = math.prod(sides)
        if not all(1 <= side < 2**31 for side in sides) or sides[0] % numbers:
            raise source.damaged(path.name, tr("its header contradicts itself"))
        if begin + offset + count // numbers * taken > size:
            raise source.damaged(path.name, tr("it ends before its weights do"))
        total += count // numbers * taken
        if name in entries or total > size:
            raise source.damaged(path.name, tr("its header contradicts itself"))
        entries[name] = Entry(tuple(reversed(sides)), word, begin + offset)
    return values, entries


class GgufWeights:
    """The weights of a GGUF file by their names in transformers, dequantised, in transformers' order of rows."""

    def __init__(self, path: Path, entries: dict[str, Entry], architecture: str, heads: int, kv_heads: int) -> None:
        self.path = path
        self._file = open(path, "rb", buffering=0)
        self._at: dict[str, tuple[Entry, int]] = {}  # name -> (where, heads whose rows are interleaved)
        for name, entry in entries.items():
            their = _their_name(name, architecture)
            turned = {"q_proj": heads, "k_proj": kv_heads}.get(their.split(".")[-2] if "." in their else "", 0)
            self._at[their] = (entry, turned if architecture == "llama" else 0)

    def names(self) -> list[str]:
        return list(self._at)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._at[name][0].shape

    def dtype(self, name: str) -> torch.dtype:
        return {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "Q8_0": torch.float32}[self._at[name][0].format]

    def granule(self, name: str) -> int:
        entry, heads = self._at[name]
        return entry.shape[0] // heads if heads else 1

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        entry, heads = self._at[name]
        width = math.prod(entry.shape[1:])
        if entry.format == "Q8_0":
            if len(entry.shape) == 1:  # one row of blocks
                assert start % 32 == 0
            raw = self._read(entry.where + start * width // 32 * 34, (stop - start) * width // 32 * 34)
            blocks = np.frombuffer(raw, np.dtype([("scale", "<f2"), ("numbers", "i1", 32)]))
            made = blocks["numbers"].astype(np.float32) * blocks["scale"].astype(np.float32)[:, None]
            tensor = torch.from_numpy(made.reshape(stop - start, *entry.shape[1:]))
        else:
            dtype = self.dtype(name)
            raw = self._read(entry.where + start * width * dtype.itemsize, (stop - start) * width * dtype.itemsize)
            tensor = torch.frombuffer(raw, dtype=dtype).view(stop - start, *entry.shape[1:])
        if heads:
            head = entry.shape[0] // heads
            assert start % head == 0 and stop % head == 0, "heads are read whole"
            tensor = tensor.reshape((stop - start) // head, head // 2, 2, -1).transpose(1, 2).reshape(stop - start, *entry.shape[1:])
        return tensor

    def _read(self, where: int, count: int) -> bytearray:
        raw = bytearray(count)
        self._file.seek(where)
        view = memoryview(raw)
        while view:
            got = self._file.readinto(view)
            if not got:
                raise source.damaged(self.path.name, tr("it ends early"))
            view = view[got:]
        return raw

    def close(self) -> None:
        self._file.close()


def _their_name(name: str, architecture: str) -> str:
    gpt2 = architecture == "gpt2"
    whole = {"token_embd.weight": "transformer.wte.weight" if gpt2 else "model.embed_tokens.weight", "output.weight": "lm_head.weight",
             "position_embd.weight": "transformer.wpe.weight" if gpt2 else "", "output_norm.weight": "transformer.ln_f.weight" if gpt2
             else "model.norm.weight", "output_norm.bias": "transformer.ln_f.bias" if gpt2 else ""}
    if whole.get(name):
        return whole[name]
    parts = name.split(".")
    table = _LAYER_GPT2 if gpt2 else _LAYER
    if len(parts) == 4 and parts[0] == "blk" and parts[1].isdigit() and parts[2] in table and parts[3] in ("weight", "bias"):
        return f"{'transformer.h' if gpt2 else 'model.layers'}.{parts[1]}.{table[parts[2]]}.{parts[3]}"
    return name


def open_gguf(path: Path) -> Opened:
    """Judge a file by its header. Raises FormatError, Corrupt, NotFound."""
    values, entries = read_header(path)
    architecture = str(values.get("general.architecture", ""))
    if architecture not in ARCHITECTURES:
        raise FormatError(tr("GGUF models of the architecture {name} are not supported.", name=architecture[:60] or tr("unknown")),
                          tr("Supported are: {known}.", known=", ".join(ARCHITECTURES)), code="unsupported")
    config = _config(path, values, entries, architecture)
    weights = GgufWeights(path, {k: e for k, e in entries.items() if k != "rope_freqs.weight"}, architecture, config.num_heads,
                          config.num_kv_heads)
    enough(config, weights.names())
    if "output.weight" in entries:
        from engine.model.formats.hf_read import head_is_embedding
        embedding = "transformer.wte.weight" if architecture == "gpt2" else "model.embed_tokens.weight"
        if embedding in weights.names() and head_is_embedding(weights, config, embedding, "lm_head.weight"):
            config = config.model_copy(update={"tie_embeddings": True})
    table = {name: hf.Source(one.names, one.rows) for name, one in hf.sources(config).items()}
    spare = frozenset({"lm_head.weight"} if config.tie_embeddings else ())
    return Opened(path, values, config, architecture, weights, table,
                  About(str(values.get("general.license", ""))[:200], str(values.get("general.license.link", ""))[:300],
                        str(values.get("general.base_model.0.name", ""))[:200],
                        str(values.get("general.description", ""))[:source.EXCERPT]), spare)


def _config(path: Path, values: dict[str, Any], entries: dict[str, Entry], architecture: str) -> ModelConfig:
    def of(key: str, default: Any = None, most: float = 2**31) -> Any:
        value = values.get(f"{architecture}.{key}", default)
        if isinstance(value, list) and value and all(x == value[0] for x in value):
            value = value[0]
        if value is None:
            raise FormatError(tr("{file} does not say its {key}.", file=path.name, key=f"{architecture}.{key}"), source.again())
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < most:
            raise FormatError(tr("The header of {file} says {key} is {value}.", file=path.name, key=key, value=str(value)[:40]),
                              source.again())
        return value

    if of("expert_count", 0):
        raise _unsupported(tr("a mixture of {count} experts", count=of("expert_count")))
    context, heads, width = of("context_length"), of("attention.head_count"), of("embedding_length")
    window = of("attention.sliding_window", 0)
    if 0 < window < context:
        raise _unsupported(tr("sliding-window attention with a window of {window} tokens", window=f"{window:,}"))
    if not heads or not width:
        raise FormatError(tr("The header of {file} says {key} is {value}.", file=path.name, key="head_count", value="0"), source.again())
    gpt2 = architecture == "gpt2"
    head = of("attention.key_length", width // heads)
    if of("attention.value_length", head) != head:
        raise _unsupported(tr("values of another width than keys"))
    if not gpt2 and of("rope.dimension_count", head) != head:
        raise _unsupported(tr("RoPE on a part of each head"))
    embedding = entries.get("token_embd.weight")
    if embedding is None:
        raise Corrupt(tr("The weights lack {name}, which the config asks for.", name="token_embd.weight"), source.again())
    theta = of("rope.freq_base", 10_000.0, 1e12)
    try:
        return ModelConfig(
            shape="gpt2" if gpt2 else "llama", vocab_size=embedding.shape[0], hidden_size=width, num_layers=of("block_count"),
            num_heads=heads, num_kv_heads=heads if gpt2 else of("attention.head_count_kv", heads), head_dim=head,
            intermediate_size=of("feed_forward_length"), max_seq_len=context,
            norm_eps=_clean(of("attention.layer_norm_epsilon" if gpt2 else "attention.layer_norm_rms_epsilon", 1e-5, 1)),
            rope_theta=_clean(theta), rope_scaling=None if gpt2 else _rope_scaling(path, values, entries, architecture, head, theta),
            qk_norm="blk.0.attn_q_norm.weight" in entries, tie_embeddings="output.weight" not in entries,
            attention_bias="blk.0.attn_q.bias" in entries or "blk.0.attn_qkv.bias" in entries,
            output_bias="blk.0.attn_output.bias" in entries, mlp_bias="blk.0.ffn_up.bias" in entries)
    except ValueError as wrong:
        raise FormatError(tr("The header of {file} contradicts itself: {reason}", file=path.name, reason=hf.why(wrong)[:160]),
                          source.again()) from None


def _unsupported(what: str) -> FledgeError:
    return FormatError(tr("This model uses {what}, which is not supported.", what=what), tr("Choose a model without it."),
                       code="unsupported")


def _clean(value: float) -> float:
    """The decimal that was meant by a float32: 1e-05 and not 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def _rope_scaling(path: Path, values: dict[str, Any], entries: dict[str, Entry], architecture: str, head: int,
                  theta: float) -> dict[str, Any] | None:
    kind = str(values.get(f"{architecture}.rope.scaling.type", "none"))
    if kind not in ("none", "linear"):
        raise _unsupported(tr("RoPE scaling of type {name}", name=kind[:40]))
    if kind == "linear":
        factor = values.get(f"{architecture}.rope.scaling.factor", 1.0)
        if not isinstance(factor, (int, float)) or not 0 < factor < 1e6:
            raise FormatError(tr("The header of {file} says {key} is {value}.", file=path.name, key="rope.scaling.factor",
                                 value=str(factor)[:40]), source.again())
        return None if factor == 1 else {"rope_type": "linear", "factor": _clean(factor)}
    table = entries.get("rope_freqs.weight")
    if table is None:
        return None
    if table.format != "F32" or table.shape != (head // 2,):
        raise _unsupported(tr("RoPE scaling by a table of its own"))
    with open(path, "rb") as file:
        file.seek(table.where)
        factors = np.frombuffer(file.read(4 * (head // 2)), "<f4").astype(np.float64)
    if not np.isfinite(factors).all() or factors.min() <= 0:
        raise source.damaged(path.name, tr("its header contradicts itself"))
    if np.allclose(factors, 1):
        return None
    return find_llama3(factors, theta, head, values.get(f"{architecture}.rope.scaling.original_context_length"))


def find_llama3(factors: np.ndarray, theta: float, head: int, original: Any = None) -> dict[str, Any]:
    """Llama 3's four numbers whose table is `factors`: the largest is the factor; the rest is searched among those that models use.
    A table that is none of these is refused."""
    factor = _clean(float(factors.max()))
    contexts = [original] if isinstance(original, int) and original > 0 else []
    for context in [*contexts, 8192, *(2**n for n in range(4, 21))]:
        for low, high in ((1.0, 4.0), (1.0, 2.0), (1.0, 8.0), (1.0, 32.0), (2.0, 4.0)):
            if np.allclose(llama3_factors(theta, head, factor, low, high, context), factors, rtol=1e-5):
                return {"rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high,
                        "original_max_position_embeddings": context}
    raise _unsupported(tr("RoPE scaling by a table of its own"))


def llama3_factors(theta: float, head: int, factor: float, low: float, high: float, original: int) -> np.ndarray:
    """By how much each of the head/2 frequencies is divided (convert_hf_to_gguf of llama.cpp)."""
    frequency = 1.0 / theta ** (np.arange(0, head, 2) / head)
    length = 2 * np.pi / frequency
    smooth = (original / length - low) / (high - low)
    between = 1 / ((1 - smooth) / factor + smooth)
    return np.where(length < original / high, 1.0, np.where(length > original / low, factor, between))


# ---- the tokenizer


def rebuild_tokenizer(values: dict[str, Any]) -> Found:
    """A tokenizer.json with its settings from the metadata: byte-level BPE only. Splitting is what llama.cpp does under the same name, so
    no normaliser is put before it. Raises FormatError."""
    model, pre = str(values.get("tokenizer.ggml.model", "")), str(values.get("tokenizer.ggml.pre", ""))
    if model != "gpt2":
        named = {"llama": tr("sentencepiece"), "t5": "unigram", "bert": "WordPiece"}.get(model, model[:40] or tr("none"))
        raise FormatError(tr("The tokenizer of this GGUF file is of the kind {kind}; only byte-level BPE can be rebuilt.", kind=named),
                          tr("Import the model's Hugging Face folder, which has its tokenizer.json."), code="no_tokenizer")
    tokens, merges = values.get("tokenizer.ggml.tokens"), values.get("tokenizer.ggml.merges")
    kinds = values.get("tokenizer.ggml.token_type")
    if not _strings(tokens) or not _strings(merges, empty=True) or len(set(tokens)) != len(tokens):
        raise FormatError(tr("The tokenizer of this GGUF file is incomplete."), source.again())
    kinds = kinds if isinstance(kinds, list) and len(kinds) == len(tokens) else [NORMAL] * len(tokens)
    used = {id: name for id, (name, kind) in enumerate(zip(tokens, kinds, strict=True)) if kind != UNUSED}
    added = {id: name for id, name in used.items() if kinds[id] in (CONTROL, USER_DEFINED, UNKNOWN)}
    if any(symbol not in set(used.values()) for symbol in byte_alphabet()):
        raise FormatError(tr("The tokenizer of this GGUF file lacks tokens for single bytes."), source.again())
    vocabulary = {name: id for id, name in used.items() if id not in added}
    first = 1 + max(vocabulary.values())
    if sorted(added) != list(range(first, first + len(added))):  # tokenizers gives added tokens the ids after the vocabulary's
        vocabulary |= {name: id for id, name in added.items()}
    pairs = []
    for merge in merges:
        left, space, right = merge.partition(" ")
        if not space or " " in right:
            raise FormatError(tr("The tokenizer of this GGUF file is incomplete."), source.again())
        pairs.append([left, right])
    record = {"version": "1.0", "truncation": None, "padding": None,
              "added_tokens": [{"id": id, "content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                                "special": kinds[id] != USER_DEFINED} for id, name in sorted(added.items())],
              "normalizer": None, "pre_tokenizer": _splitting(pre), "post_processor": None,
              "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
              "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                        "fuse_unk": False, "byte_fallback": False, "ignore_merges": SPLITS.get(pre) == split.LLAMA3, "vocab": vocabulary,
                        "merges": pairs}}
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    for role, key in (("bos_token", "bos"), ("eos_token", "eos"), ("pad_token", "padding"), ("unk_token", "unknown")):
        id = values.get(f"tokenizer.ggml.{key}_token_id")
        if isinstance(id, int) and id in used:
            config[role] = used[id]
    config.setdefault("bos_token", None)
    template = values.get("tokenizer.chat_template")
    if isinstance(template, str) and template:
        config["chat_template"] = template
    ends = [values.get(f"tokenizer.ggml.{key}_token_id") for key in ("eos", "eot", "eom")]
    stops = list(dict.fromkeys(id for id in ends if isinstance(id, int) and id in used))
    return Found(json.dumps(record, ensure_ascii=False), config, {"eos_token_id": stops} if stops else {})


def _splitting(pre: str) -> dict[str, Any]:
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    if pre in ("gpt-2", "gpt2"):
        return {**level, "use_regex": True}
    if pre == "smollm":
        return {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, {**level, "use_regex": True}]}
    if pre in SPLITS:
        cut = {"type": "Split", "pattern": {"Regex": SPLITS[pre]}, "behavior": "Isolated", "invert": False}
        return {"type": "Sequence", "pretokenizers": [cut, level]}
    raise FormatError(tr("This GGUF file splits text as {name} does, which cannot be rebuilt.", name=pre[:40] or tr("nobody")),
                      tr("Import the model's Hugging Face folder, which has its tokenizer.json."), code="no_tokenizer")


def _strings(value: Any, empty: bool = False) -> bool:
    return isinstance(value, list) and (empty or bool(value)) and all(isinstance(x, str) for x in value)
