"""Writes a model as one GGUF file, for llama.cpp and what is built on it. F32, F16, BF16 and Q8_0 are written here, tensor by tensor and
block by block; K-quants are made from such a file by llama.cpp itself (quantize.py), where a binding is installed.

RoPE's halves: llama.cpp's `llama` turns neighbouring elements, so the rows of its queries and keys are reordered; `qwen2` and `qwen3` turn
halves as we do. A file with the wrong order loads without a word and writes nonsense: round_trip.py finds that, and a test holds it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from gguf import GGML_QUANT_SIZES, GGML_QUANT_VERSION, GGMLQuantizationType, GGUFWriter, LlamaFileType, RopeScalingType
from gguf.quants import quantize
from torch import Tensor

from engine.model.config import ModelConfig
from engine.model.decoder import rope_frequencies
from engine.model.exportability import gguf_architecture
from engine.model.formats.tokenizer_out import Words
from engine.model.formats.weights import Piece, Weights, cast
from engine.project.files import disk_error

Type = GGMLQuantizationType
Told = Callable[[int], None]


@dataclass(frozen=True)
class Precision:
    """How matrices are stored; vectors, learned positions and what does not fill a block of 32 keep more."""

    type: Type
    file_type: LlamaFileType
    fallback: Type


PRECISIONS = {"f32": Precision(Type.F32, LlamaFileType.ALL_F32, Type.F32),
              "f16": Precision(Type.F16, LlamaFileType.MOSTLY_F16, Type.F16),
              "bf16": Precision(Type.BF16, LlamaFileType.MOSTLY_BF16, Type.BF16),
              "q8_0": Precision(Type.Q8_0, LlamaFileType.MOSTLY_Q8_0, Type.F16)}
K_QUANTS = {"q4_k_m": LlamaFileType.MOSTLY_Q4_K_M, "q6_k": LlamaFileType.MOSTLY_Q6_K}


def write_gguf(path: Path, weights: Weights, words: Words, precision: str, *, name: str = "", licence: str = "", description: str = "",
               told: Told = lambda count: None) -> int:
    """Write the file; the bytes of weights in it. `told` gets the bytes of each block as it is written and may raise to end the work.

    The shape and the tokenizer must be exportable (exportability.py). Raises DiskFull, Mismatch (weights too large for float16).
    """
    config, kind = weights.config, PRECISIONS[precision]
    architecture = gguf_architecture(config)
    assert architecture, "ask engine.model.exportability first"
    writer = GGUFWriter(path, architecture)
    _general(writer, kind, name, licence, description)
    _shape(writer, config)
    _words(writer, words, config.vocab_size)
    plan = [(piece, _stored(piece, kind)) for piece in pieces(weights, architecture)]
    factors = rope_factors(config)
    if factors is not None:
        writer.add_tensor_info("rope_freqs.weight", factors.shape, factors.dtype, factors.nbytes, Type.F32)
    for piece, type in plan:
        writer.add_tensor_info(piece.name, piece.shape, np.dtype(np.float32), nbytes(piece, type), type)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        assert writer.fout is not None
        file = writer.fout[0]
        writer.write_padding(file, file.tell())
        if factors is not None:
            file.write(factors.tobytes())
            writer.write_padding(file, factors.nbytes)
        for piece, type in plan:
            for block in weights.blocks(piece):
                data = encoded(block, type, piece.name)
                file.write(memoryview(data))
                told(data.nbytes)
            writer.write_padding(file, nbytes(piece, type))
    except OSError as wrong:
        raise disk_error(wrong, path) from wrong
    finally:
        writer.close()
    return sum(nbytes(piece, type) for piece, type in plan)


def output_bytes(weights: Weights, precision: str) -> int:
    """Bytes of weights that `write_gguf` will write."""
    every = pieces(weights, gguf_architecture(weights.config))
    return sum(nbytes(piece, _stored(piece, PRECISIONS[precision])) for piece in every)


def pieces(weights: Weights, architecture: str) -> list[Piece]:
    """The file's tensors, in the order of the layers."""
    return list(_pieces(weights, architecture))


def _pieces(weights: Weights, architecture: str) -> Iterator[Piece]:
    c = weights.config
    turned = architecture == "llama"
    q, kv = c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim
    names = {"attention_norm": "attn_norm", "attention.output": "attn_output", "attention.q_norm": "attn_q_norm",
             "attention.k_norm": "attn_k_norm", "mlp_norm": "ffn_norm", "mlp.up": "ffn_up", "mlp.down": "ffn_down"}
    outside = {"embed": "token_embd", "positions": "position_embd", "norm": "output_norm", "head": "output"}
    for ours in weights.names:
        shape = weights.shape(ours)
        stem, _, kind = ours.rpartition(".")
        if not ours.startswith("layers."):
            yield Piece(f"{outside[stem]}.{kind}", shape, ours)
            continue
        _, layer, part = stem.split(".", 2)
        begin = f"blk.{layer}."
        if part == "attention.qkv" and c.shape == "gpt2":
            yield Piece(f"{begin}attn_qkv.{kind}", shape, ours)
        elif part == "attention.qkv":
            yield Piece(f"{begin}attn_q.{kind}", (q, *shape[1:]), ours, 0, heads=c.num_heads if turned else 0)
            yield Piece(f"{begin}attn_k.{kind}", (kv, *shape[1:]), ours, q, heads=c.num_kv_heads if turned else 0)
            yield Piece(f"{begin}attn_v.{kind}", (kv, *shape[1:]), ours, q + kv)
        elif part == "mlp.gate_up":
            half = (c.intermediate_size, *shape[1:])
            yield Piece(f"{begin}ffn_gate.{kind}", half, ours, 0)
            yield Piece(f"{begin}ffn_up.{kind}", half, ours, c.intermediate_size)
        else:
            yield Piece(f"{begin}{names[part]}.{kind}", shape, ours)
    if c.shape == "gpt2":  # its class always has biases
        have = set(weights.names)
        for i in range(c.num_layers):
            for part, other, rows in (("attention.qkv", "attn_qkv", 3 * c.hidden_size), ("attention.output", "attn_output", c.hidden_size),
                                      ("mlp.up", "ffn_up", c.intermediate_size), ("mlp.down", "ffn_down", c.hidden_size)):
                if f"layers.{i}.{part}.bias" not in have:
                    yield Piece(f"blk.{i}.{other}.bias", (rows,))


def _stored(piece: Piece, kind: Precision) -> Type:
    if len(piece.shape) == 1 or piece.name.startswith("position_embd"):
        return Type.F32
    return kind.type if piece.shape[-1] % GGML_QUANT_SIZES[kind.type][0] == 0 else kind.fallback


def nbytes(piece: Piece, type: Type) -> int:
    block, size = GGML_QUANT_SIZES[type]
    return piece.numel // block * size


def encoded(block: Tensor, type: Type, name: str) -> np.ndarray:
    """Bytes of a block of rows, uint8."""
    if type == Type.Q8_0:
        return quantize(block.float().numpy(), type).reshape(-1).view(np.uint8)
    dtype = {Type.F32: torch.float32, Type.F16: torch.float16, Type.BF16: torch.bfloat16}[type]
    return cast(block, dtype, name).reshape(-1).view(torch.uint8).numpy()


def rope_factors(config: ModelConfig) -> np.ndarray | None:
    """What llama.cpp divides each frequency by, float32 [head_dim / 2]: only for Llama 3's scaling."""
    if not config.rope_scaling or config.rope_scaling["rope_type"] != "llama3":
        return None
    plain = rope_frequencies(config.model_copy(update={"rope_scaling": None})).double()
    return (plain / rope_frequencies(config).double()).float().numpy()


def _general(writer: GGUFWriter, kind: Precision, name: str, licence: str, description: str) -> None:
    writer.add_type("model")
    writer.add_name(name)
    writer.add_license(licence)
    writer.add_description(description)
    writer.add_file_type(int(kind.file_type))
    writer.add_quantization_version(GGML_QUANT_VERSION)


def _shape(writer: GGUFWriter, c: ModelConfig) -> None:
    writer.add_vocab_size(c.vocab_size)
    writer.add_context_length(c.max_seq_len)
    writer.add_embedding_length(c.hidden_size)
    writer.add_block_count(c.num_layers)
    writer.add_feed_forward_length(c.intermediate_size)
    writer.add_head_count(c.num_heads)
    if c.shape == "gpt2":
        writer.add_layer_norm_eps(c.norm_eps)
        return
    writer.add_head_count_kv(c.num_kv_heads)
    writer.add_key_length(c.head_dim)
    writer.add_value_length(c.head_dim)
    writer.add_layer_norm_rms_eps(c.norm_eps)
    writer.add_rope_dimension_count(c.head_dim)
    writer.add_rope_freq_base(c.rope_theta)
    if c.rope_scaling and c.rope_scaling["rope_type"] == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(c.rope_scaling["factor"])


def _words(writer: GGUFWriter, words: Words, rows: int) -> None:
    tokens, kinds = words.tokens(rows)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(words.facts.split)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(words.merges())
    if words.bos_id is not None:
        writer.add_bos_token_id(words.bos_id)
    if words.eos_id is not None:
        writer.add_eos_token_id(words.eos_id)
    if words.tokenizer.end_id is not None:
        writer.add_eot_token_id(words.tokenizer.end_id)
    further = [id for id in words.stop_ids if id not in (words.eos_id, words.tokenizer.end_id)]
    if further:  # there is room for one more that ends a generation: a document raised here ends where the next begins
        writer.add_eom_token_id(further[0])
    if words.pad_id is not None:
        writer.add_pad_token_id(words.pad_id)
    writer.add_add_bos_token(words.adds_bos)
    writer.add_add_eos_token(False)
    if words.tokenizer.chat_template:
        writer.add_chat_template(words.tokenizer.chat_template)
