"""Adapters of PEFT as ours: adapter_config.json and adapter_model.safetensors of a folder, for a model whose shape is known.

The way back of peft_write.py. Only what our adapters can be is taken: LoRA on the projections of the layers, one rank, the same in each
layer. What has no place here (DoRA, trained biases or whole embeddings, other modules, pickled weights) is refused by name.
"""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.contract.errors import FormatError, Mismatch, NotFound
from engine.contract.tuning import TARGETS
from engine.contract.words import tr
from engine.model.config import ModelConfig
from engine.model.formats.peft_write import ADAPTER_FILE, CONFIG_FILE, GPT2, HEAD, LLAMA, TOKEN_ROWS, Module, prefix, token_tables
from engine.model.lora_shape import LoraSettings, check_tokens, projections
from engine.model.tensor_files import FLOATS, known_dtypes, load_tensors, read_header
from engine.project.files import read_json


def read_adapter(folder: Path, config: ModelConfig) -> tuple[LoraSettings, dict[str, Tensor]]:
    """Settings and tensors, as engine.model.lora.load_lora takes them; but where PEFT trained rows of tokens in one of two tables, those
    of the other are absent ("tokens.head", say): they are the base's. Raises NotFound, FormatError, Corrupt, Mismatch."""
    folder = Path(folder)
    told = _config(folder)
    known_dtypes(folder / ADAPTER_FILE, read_header(folder / ADAPTER_FILE), FLOATS)
    tensors = {name: t.float() for name, t in load_tensors(folder / ADAPTER_FILE).items()}
    tokens, made = _tokens(told, tensors, config)
    names = GPT2 if config.shape == "gpt2" else LLAMA
    every = {name: tuple(p for p in projections(config) if names[p.name] == name) for name in dict.fromkeys(names.values())}
    found = [name for name in every if f"{prefix(config)}0.{name}.lora_A.weight" in tensors]
    modules = [Module(name, every[name], every[name]) for name in found]
    wanted = {f"{prefix(config)}{layer}.{name}.lora_{x}.weight" for layer in range(config.num_layers) for name in found for x in "AB"}
    if strange := sorted(tensors.keys() ^ wanted):
        reason = tr("{name} has no place in this model.", name=strange[0]) if strange[0] in tensors else tr(
            "It lacks {name}.", name=strange[0])
        raise Mismatch(reason, tr("Adapters are taken that change the same projections of every layer, for a model of this shape."))
    if not found:
        raise Mismatch(tr("The adapter changes nothing of this model."), tr("Choose an adapter that was made for it."))
    rank = _rank(told, modules, tensors, config)
    scales = _Scales(told)
    settings = LoraSettings(rank, scales.alpha, scales.dropout, TARGETS, scales.rslora)
    present = set()
    for layer in range(config.num_layers):
        for module in modules:
            name = f"{prefix(config)}{layer}.{module.name}"
            a, b = tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"]
            rows = [p.rows for p in module.every]
            if a.shape != (a.shape[0], module.every[0].width) or b.shape != (sum(rows), a.shape[0]):
                raise Mismatch(tr("{name} has another shape than this model.", name=name), tr("Choose an adapter that was made for it."))
            share = scales.of(module.name, a.shape[0]) / settings.scale
            for part, (a_part, b_part) in zip(module.every, _split(a, b, rows, rank), strict=True):
                ours = f"layers.{layer}.{part.part}.{part.name}"
                made |= {f"{ours}.lora_A": a_part.contiguous(), f"{ours}.lora_B": (b_part * share).contiguous()}
                present.add(part.name)
    return LoraSettings(rank, scales.alpha, scales.dropout, tuple(t for t in TARGETS if t in present), scales.rslora, tokens), made


def _tokens(told: dict[str, Any], tensors: dict[str, Tensor], config: ModelConfig) -> tuple[tuple[int, ...], dict[str, Tensor]]:
    """The tokens whose rows were trained, and these rows by our names; taken out of `tensors`."""
    asked = told.get("trainable_token_indices") or {}
    if isinstance(asked, list):  # PEFT's short form means the embedding
        asked = {"embed_tokens": asked}
    ours = {"embed_tokens": "embed", "wte": "embed", HEAD: "head"}
    found = {ours.get(name.rpartition(".")[2], name): tuple(ids) for name, ids in asked.items()}
    if not found:
        return (), {}
    if found.keys() - {"embed", "head"} or len(set(found.values())) > 1 or (config.tie_embeddings and "embed" not in found):
        raise _refused(tr("trained tokens in another place, or others in the head than in the embedding"))
    ids = next(iter(found.values()))
    check_tokens(config, LoraSettings(tokens=ids))
    made = {}
    for name, table in token_tables(config).items():
        if name not in found:
            continue
        rows_KC = tensors.pop(f"base_model.model.{table}.{TOKEN_ROWS}", None)
        if rows_KC is None or rows_KC.shape != (len(ids), config.hidden_size):
            raise Mismatch(tr("The rows of its trained tokens are missing, or have another shape than this model."),
                           tr("Choose an adapter that was made for it."))
        made[f"tokens.{name}"] = rows_KC
    return ids, made


def _split(a: Tensor, b: Tensor, rows: list[int], rank: int) -> list[tuple[Tensor, Tensor]]:
    """An adapter of several projections as one for each. One of ours, whose B is a diagonal of blocks, is taken apart; of another one
    each projection has the whole A."""
    if a.shape[0] == rank:
        return [(a, part) for part in b.split(rows)]
    pairs, column = [], 0
    for part in b.split(rows):
        block = part[:, column:column + rank]
        if part.any():
            pairs.append((a[column:column + rank], block))
            column += rank
        else:
            pairs.append((torch.zeros(rank, a.shape[1]), torch.zeros(part.shape[0], rank)))
    return pairs


def _rank(told: dict[str, Any], modules: list[Module], tensors: dict[str, Tensor], config: ModelConfig) -> int:
    """The one rank of all. GPT-2's c_attn may have as many times that as it has projections, if B is blocks on a diagonal."""
    rank = int(told["r"])
    for layer in range(config.num_layers):
        for module in modules:
            a, b = (tensors[f"{prefix(config)}{layer}.{module.name}.lora_{x}.weight"] for x in "AB")
            if a.dim() != 2 or b.dim() != 2 or a.shape[0] != b.shape[1]:
                raise Mismatch(tr("{name} has another shape than this model.", name=module.name),
                               tr("Choose an adapter that was made for it."))
            if a.shape[0] != rank and not _is_diagonal(b, [p.rows for p in module.every], rank):
                raise Mismatch(tr("The adapter has the rank {found} in {name} and {rank} elsewhere.", found=a.shape[0], name=module.name,
                                  rank=rank), tr("Adapters of one rank are taken. Merge this one into its base and import that model."))
    return rank


def _is_diagonal(b: Tensor, rows: list[int], rank: int) -> bool:
    if len(rows) == 1:
        return False
    column = 0
    for part in b.split(rows):
        if part.any():
            outside = part.clone()
            outside[:, column:column + rank] = 0
            if outside.any():
                return False
            column += rank
    return column == b.shape[1]


class _Scales:
    """How strongly each module's adapter counts."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.rank, self.alpha, self.rslora = int(told["r"]), float(told["lora_alpha"]), bool(told.get("use_rslora"))
        self.dropout = float(told.get("lora_dropout") or 0.0)
        self._alphas = {str(k): float(v) for k, v in (told.get("alpha_pattern") or {}).items()}

    def of(self, module: str, rank: int) -> float:
        alpha = next((v for k, v in self._alphas.items() if module == k or module.endswith("." + k)), self.alpha)
        return alpha / (math.sqrt(rank) if self.rslora else rank)


def _config(folder: Path) -> dict[str, Any]:
    """adapter_config.json, once it asks for nothing that has no place here."""
    if not (folder / CONFIG_FILE).is_file():
        raise NotFound(tr("{folder} holds no adapter of PEFT: {file} is missing.", folder=folder.name, file=CONFIG_FILE),
                       tr("Choose a folder that PEFT or `fledge export --to lora` has written."))
    told = read_json(folder / CONFIG_FILE)
    try:
        if str(told["peft_type"]).upper() != "LORA":
            raise _refused(tr("a {kind} adapter", kind=str(told["peft_type"])))
        rank, alpha = told["r"], told["lora_alpha"]
        if not isinstance(rank, int) or not 1 <= rank <= 65_536 or not math.isfinite(float(alpha)) or float(alpha) <= 0:
            raise ValueError
        if not all(isinstance(told.get(key) or {}, dict) for key in ("alpha_pattern", "rank_pattern")):
            raise ValueError
        _Scales(told)
        asked = told.get("trainable_token_indices") or []
        if not all(isinstance(ids, list) and ids and all(type(id) is int for id in ids)
                   for ids in (asked.values() if isinstance(asked, dict) else [asked] if asked else [])):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise FormatError(tr("{file} in {folder} does not describe an adapter.", file=CONFIG_FILE, folder=folder.name),
                          tr("Fetch the adapter again.")) from None
    for key, words in (("use_dora", tr("DoRA")), ("modules_to_save", tr("whole modules that were trained")),
                       ("megatron_config", "Megatron"),
                       ("alora_invocation_tokens", "aLoRA"), ("layer_replication", tr("layers that are repeated")),
                       ("target_parameters", tr("adapters of single parameters"))):
        if told.get(key):
            raise _refused(words)
    if told.get("bias", "none") != "none" or told.get("lora_bias"):
        raise _refused(tr("trained biases"))
    return told


def told_of(folder: Path) -> dict[str, Any]:
    """What a folder with an adapter says of it: {"rank", "base" (as its maker called it, or ""), "bytes"}. Raises as reading does."""
    told = _config(folder)
    return {"rank": told["r"], "base": str(told.get("base_model_name_or_path") or ""),
            "bytes": sum(f.stat().st_size for f in folder.glob("adapter_model.*"))}


def _refused(what: str) -> FormatError:
    return FormatError(tr("This adapter has {what}, which is not supported.", what=what),
                       tr("Merge it into its base in PEFT (merge_and_unload) and import that model."))
