"""Writes a model folder of transformers: safetensors (in shards over 5 GB), config, tokenizer, generation config, model card.

`AutoModelForCausalLM` and `AutoTokenizer` load it without code of its own; so do mlx-lm and vLLM. Names and shapes are hf.py's. It fills
a folder that the caller made; putting it in its place is the caller's matter.
"""

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engine.model.formats.tokenizer_out import Words
from engine.model.formats.weights import Piece, Weights, cast, hf_pieces
from engine.model.hf import config_to_hf
from engine.project.files import disk_error

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_CODES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
SHARD = 5_000_000_000
INDEX = "model.safetensors.index.json"
KEPT = ("temperature", "top_p", "top_k", "min_p", "typical_p", "repetition_penalty", "do_sample", "max_new_tokens", "max_length")
"""What of a generation config that came with an imported model goes along: numbers only, nothing that names code or files."""

Told = Callable[[int], None]


@dataclass(frozen=True)
class Shard:
    file: str
    pieces: list[Piece]


def write_folder(folder: Path, weights: Weights, words: Words, dtype: str, card: str, generation: dict[str, Any] | None = None,
                 told: Told = lambda count: None, shard_bytes: int = SHARD) -> int:
    """Fill `folder`; the bytes of weights written. `told` gets the bytes of each block as it is written and may raise to end the work.

    Raises DiskFull, Mismatch (weights too large for float16).
    """
    config, kind = weights.config, DTYPES[dtype]
    shapes = {name: weights.shape(name) for name in weights.names}
    shards = split(hf_pieces(config, shapes), kind.itemsize, shard_bytes)
    place = {}
    total = 0
    for shard in shards:
        write_safetensors(folder / shard.file, shard.pieces, weights, kind, told)
        place |= {piece.name: shard.file for piece in shard.pieces}
        total += sum(piece.numel for piece in shard.pieces) * kind.itemsize
    if len(shards) > 1:
        _json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": dict(sorted(place.items()))})
    _json(folder / "config.json", config_to_hf(config, dtype=dtype, bos_id=words.bos_id, eos_id=words.eos_id, pad_id=words.pad_id))
    words.write(folder, config.max_seq_len)
    _json(folder / "generation_config.json", generation_config(words, generation or {}))
    _text(folder / "README.md", card)
    return total


def output_bytes(weights: Weights, dtype: str) -> int:
    """Bytes that `write_folder` will write for the weights."""
    shapes = {name: weights.shape(name) for name in weights.names}
    return sum(piece.numel for piece in hf_pieces(weights.config, shapes)) * DTYPES[dtype].itemsize


def generation_config(words: Words, kept: dict[str, Any]) -> dict[str, Any]:
    """What `generate` of transformers starts from: the ids that begin and end a text, and the sampling settings in `kept`."""
    made: dict[str, Any] = {key: value for key, value in kept.items()
                            if key in KEPT and isinstance(value, (int, float)) and value is not None}
    stops = words.stop_ids
    if words.bos_id is not None:
        made["bos_token_id"] = words.bos_id
    if stops:
        made["eos_token_id"] = stops if len(stops) > 1 else stops[0]
    if words.pad_id is not None:
        made["pad_token_id"] = words.pad_id
    return made


def split(pieces: list[Piece], itemsize: int, limit: int = SHARD) -> list[Shard]:
    """`pieces` in files of at most `limit` bytes, named as the hub names them; a larger tensor has a file of its own."""
    groups: list[list[Piece]] = [[]]
    size = 0
    for piece in pieces:
        nbytes = piece.numel * itemsize
        if groups[-1] and size + nbytes > limit:
            groups.append([])
            size = 0
        groups[-1].append(piece)
        size += nbytes
    if len(groups) == 1:
        return [Shard("model.safetensors", groups[0])]
    return [Shard(f"model-{i:05d}-of-{len(groups):05d}.safetensors", group) for i, group in enumerate(groups, 1)]


def write_safetensors(path: Path, pieces: list[Piece], weights: Weights, dtype: torch.dtype, told: Told) -> None:
    """One safetensors file of `pieces`, block by block."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for piece in pieces:
        end = at + piece.numel * dtype.itemsize
        header[piece.name] = {"dtype": _CODES[dtype], "shape": list(piece.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    try:
        with open(path, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for piece in pieces:
                for block in weights.blocks(piece):
                    file.write(memoryview(cast(block, dtype, piece.name).reshape(-1).view(torch.uint8).numpy()))
                    told(block.numel() * dtype.itemsize)
    except OSError as wrong:
        raise disk_error(wrong, path) from wrong


def _json(path: Path, value: Any) -> None:
    _text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def _text(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as wrong:
        raise disk_error(wrong, path) from wrong
