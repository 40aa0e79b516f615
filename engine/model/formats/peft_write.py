"""Adapters for PEFT: adapter_model.safetensors and adapter_config.json, as `peft.PeftModel.from_pretrained` loads them onto the base in
transformers' form (hf_folder_write.py). Names and shapes; nothing is computed but GPT-2's layout.

In the Llama shape each of our projections is a module there. GPT-2's queries, keys and values are one module of transformers, c_attn, which
PEFT gives one adapter: ours for n of them are exactly one of rank n x rank, whose B has their B's on its diagonal and zeros elsewhere.
Trained rows of tokens are PEFT's `trainable_token_indices`: of the embedding, which a tied head follows there, and of an untied head.
"""

import json
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.model.config import ModelConfig
from engine.model.lora import LoraSettings, Projection, projections, targeted
from engine.model.lora_shape import row_names
from engine.model.tensor_files import save_tensors
from engine.project import files

ADAPTER_FILE, CONFIG_FILE = "adapter_model.safetensors", "adapter_config.json"

LLAMA = {"q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj", "o": "self_attn.o_proj", "gate": "mlp.gate_proj",
         "up": "mlp.up_proj", "down": "mlp.down_proj"}
GPT2 = {"q": "attn.c_attn", "k": "attn.c_attn", "v": "attn.c_attn", "o": "attn.c_proj", "up": "mlp.c_fc", "down": "mlp.c_proj"}

HEAD = "lm_head"
TOKEN_ROWS = "token_adapter.trainable_tokens_delta"
"""What PEFT calls the trained rows; they are the rows themselves."""


@dataclass(frozen=True)
class Module:
    """A module of transformers in each layer, and our projections in it: all that lie there, and those that have adapters."""

    name: str
    every: tuple[Projection, ...]
    adapted: tuple[Projection, ...]


def modules(config: ModelConfig, settings: LoraSettings) -> list[Module]:
    """Those that the adapters belong to."""
    names = GPT2 if config.shape == "gpt2" else LLAMA
    chosen = targeted(config, settings)
    made = []
    for name in dict.fromkeys(names[p.name] for p in chosen):
        every = tuple(p for p in projections(config) if names[p.name] == name)
        made.append(Module(name, every, tuple(p for p in every if p in chosen)))
    return made


def prefix(config: ModelConfig) -> str:
    """What stands before a layer's number in the names of PEFT."""
    return "base_model.model." + ("transformer.h." if config.shape == "gpt2" else "model.layers.")


def token_tables(config: ModelConfig) -> dict[str, str]:
    """Our names of the tables with a row for each token -> their modules in transformers."""
    names = {"embed": "transformer.wte" if config.shape == "gpt2" else "model.embed_tokens", "head": HEAD}
    return {ours: names[ours] for ours in row_names(config)}


def peft_tensors(config: ModelConfig, settings: LoraSettings, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of those of engine.model.lora.lora_state."""
    made = {}
    for layer in range(config.num_layers):
        for module in modules(config, settings):
            pairs = {p.name: [tensors[f"layers.{layer}.{p.part}.{p.name}.{which}"].float() for which in ("lora_A", "lora_B")]
                     for p in module.adapted}
            name = f"{prefix(config)}{layer}.{module.name}"
            made[f"{name}.lora_A.weight"] = torch.cat([a for a, _ in pairs.values()]).contiguous()
            rank = settings.rank
            b_OR = torch.zeros(sum(p.rows for p in module.every), rank * len(pairs))
            row = column = 0
            for p in module.every:
                if p.name in pairs:
                    b_OR[row:row + p.rows, column:column + rank] = pairs[p.name][1]
                    column += rank
                row += p.rows
            made[f"{name}.lora_B.weight"] = b_OR
    for ours, theirs in token_tables(config).items() if settings.tokens else ():
        made[f"base_model.model.{theirs}.{TOKEN_ROWS}"] = tensors[f"tokens.{ours}"].float().contiguous()
    return made


def peft_config(config: ModelConfig, settings: LoraSettings, base_name: str) -> dict[str, Any]:
    """`adapter_config.json`. `base_name`: what PEFT loads the base by, a path or a name on the hub."""
    found = modules(config, settings)
    wider = {m.name: len(m.adapted) for m in found if len(m.adapted) > 1}
    alpha, ids = _whole(settings.alpha), list(settings.tokens)
    tables = [name.rpartition(".")[2] for name in token_tables(config).values()]
    tokens = {"trainable_token_indices": ids if len(tables) == 1 else {name: ids for name in tables}} if ids else {}
    return {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base_name, "revision": None, "inference_mode": True,
            "r": settings.rank, "lora_alpha": alpha, "lora_dropout": settings.dropout, "use_rslora": settings.rslora, "bias": "none",
            "target_modules": [m.name.rpartition(".")[2] if config.shape == "llama" else m.name for m in found],
            "fan_in_fan_out": config.shape == "gpt2", "rank_pattern": {name: n * settings.rank for name, n in wider.items()},
            "alpha_pattern": {name: _whole(settings.alpha * (sqrt(n) if settings.rslora else n)) for name, n in wider.items()},
            "modules_to_save": None, "layers_to_transform": None, "layers_pattern": None, "init_lora_weights": True, "use_dora": False,
            **tokens}


def _whole(number: float) -> float | int:
    return int(number) if number == int(number) else number


def write_adapter(folder: Path, config: ModelConfig, settings: LoraSettings, tensors: dict[str, Tensor], base_name: str = "",
                  card: str = "") -> int:
    """Fill an existing folder; the bytes of the tensors. Raises DiskFull."""
    made = peft_tensors(config, settings, tensors)
    save_tensors(folder / ADAPTER_FILE, made)
    files.write_bytes(folder / CONFIG_FILE, (json.dumps(peft_config(config, settings, base_name), indent=2) + "\n").encode())
    if card:
        files.write_bytes(folder / "README.md", card.encode("utf-8"))
    return sum(tensor.nbytes for tensor in made.values())


def how_to_use(architecture: str, base: str, base_name: str) -> list[str]:
    """The part of the card that says how it is loaded."""
    named = base_name or "FOLDER_OF_THE_BASE"
    return [f"An adapter (LoRA) for `{architecture}`: it changes the model `{base}` of the same project, exported for transformers.", "",
            "```python", "from peft import PeftModel", "from transformers import AutoModelForCausalLM, AutoTokenizer", "",
            f"base = AutoModelForCausalLM.from_pretrained({json.dumps(named)})", 'model = PeftModel.from_pretrained(base, "THIS_FOLDER")',
            'tokenizer = AutoTokenizer.from_pretrained("THIS_FOLDER")', "```"]


def output_bytes(config: ModelConfig, settings: LoraSettings) -> int:
    """Bytes of the tensors that `write_adapter` will write."""
    count = 0
    for module in modules(config, settings):
        count += settings.rank * len(module.adapted) * (module.adapted[0].width + sum(p.rows for p in module.every))
    return 4 * (config.num_layers * count + len(settings.tokens) * config.hidden_size * len(row_names(config)))
