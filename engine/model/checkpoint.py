"""Model folders: config.json, model.safetensors, tokenizer.json; or an adapter in place of the weights (adapter_files.py), which is added
to its base while that is read. Weights and shape only: no optimizer state, no manifest.

Both directions are streamed: besides the model at most one tensor stands in memory. A folder is judged before anything is allocated: the
header of the weights file must agree with the config and with the file's length (tensor_files.py), so that a lying file costs nothing.
"""

import shutil
import struct
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from engine.contract.errors import FormatError, Mismatch, NotFound
from engine.contract.words import tr
from engine.model.adapter_files import Deltas, open_adapter, weights_of
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.model.lora import add_lora, has_lora, load_lora
from engine.model.tensor_files import (
    CONFIG,
    FLOATS,
    TOKENIZER,
    WEIGHTS,
    known_dtypes,
    load_tensors,
    read_header,
    read_tensor,
    save_tensors,
)
from engine.project.files import disk_error, read_json, write_bytes
from engine.text.tokenizer import Tokenizer

__all__ = ["CONFIG", "TOKENIZER", "WEIGHTS", "load_config", "load_into", "load_model", "load_tensors", "read_header", "save_tensors",
           "save_weights", "stop_ids"]

GENERATION = "generation_config.json"


def save_weights(folder: Path, model: Decoder, config: ModelConfig | None = None, tokenizer_file: Path | None = None) -> None:
    """Write config, weights and a copy of the tokenizer into an existing folder (a temporary one, to be renamed by the caller), synced.
    A model with adapters is saved by adapter_files.save_adapter, or merged before.

    Raises DiskFull.
    """
    assert not has_lora(model), "adapters are saved by themselves, or merged before"
    folder = Path(folder)
    write_bytes(folder / CONFIG, ((config or model.config).model_dump_json(indent=1) + "\n").encode())
    save_tensors(folder / WEIGHTS, dict(model.state_dict()))
    if tokenizer_file is not None:
        try:
            shutil.copyfile(tokenizer_file, folder / TOKENIZER)
        except OSError as wrong:
            raise disk_error(wrong, folder / TOKENIZER) from wrong


def load_config(folder: Path) -> ModelConfig:
    """The config of a model folder. Raises NotFound, FormatError (not JSON, or not a config of this program)."""
    path = Path(folder) / CONFIG
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(tr("{folder} holds no model: {file} is missing.", folder=Path(folder).name, file=CONFIG),
                       tr("Choose a folder that a run or an import has made.")) from None
    try:
        return ModelConfig.model_validate_json(raw)
    except (ValidationError, UnicodeDecodeError) as wrong:
        raise FormatError(tr("{file} in {folder} does not describe a model of this program: {reason}", file=CONFIG,
                             folder=Path(folder).name, reason=_first_line(wrong)),
                          tr("Import models of other programs; restore the file if it was edited.")) from None


def _first_line(wrong: ValidationError | UnicodeDecodeError) -> str:
    if isinstance(wrong, ValidationError):
        first = wrong.errors()[0]
        return ": ".join(x for x in (".".join(str(part) for part in first["loc"]), first["msg"]) if x)
    return str(wrong)


def stop_ids(folder: Path, tokenizer: Tokenizer) -> tuple[int, ...]:
    """The tokens that end an answer of the model in `folder`: those of its tokenizer's roles, and those that an imported model's generation
    settings name (several, often)."""
    named = read_json(Path(folder) / GENERATION, {})
    listed = named.get("eos_token_id") if isinstance(named, dict) else None
    ends = [tokenizer.eos_id, tokenizer.end_id, tokenizer.bos_id, *(listed if isinstance(listed, list) else [listed])]
    return tuple(sorted({id for id in ends if isinstance(id, int) and not isinstance(id, bool) and id >= 0}))


@torch.no_grad()
def load_into(path: Path, model: nn.Module, deltas: Deltas | None = None) -> None:
    """Fill a model's weights from a safetensors file, in place, casting to their dtype. Names and shapes must be exactly the model's.

    deltas  what adapters add to the tensors of the file (in float32, before the cast)

    Raises NotFound, Corrupt, FormatError, Mismatch.
    """
    path = Path(path)
    header = read_header(path)
    _check(path, header, model)
    weights = model.state_dict()
    with open(path, "rb") as file:
        start = 8 + struct.unpack("<Q", file.read(8))[0]
        for name in sorted(header, key=lambda n: header[n]["data_offsets"][0]):
            read = read_tensor(file, header, start, name)
            weights[name].copy_(read if deltas is None else deltas.added(name, 0, read))


def _check(path: Path, header: dict[str, dict[str, Any]], model: nn.Module) -> None:
    known_dtypes(path, header, FLOATS)
    expected = {name: list(weight.shape) for name, weight in model.state_dict().items()}
    lacking, extra = sorted(expected.keys() - header.keys()), sorted(header.keys() - expected.keys())
    remedy = tr("The config and the weights belong to different models: restore the folder, or choose another one.")
    if lacking:
        raise Mismatch(tr("{file} lacks {name}, which {config} asks for.", file=path.name, name=lacking[0], config=CONFIG), remedy)
    if extra:
        raise Mismatch(tr("{file} holds {name}, of which {config} knows nothing.", file=path.name, name=extra[0], config=CONFIG), remedy)
    for name, shape in expected.items():
        if header[name]["shape"] != shape:
            raise Mismatch(tr("{name} is {found} in {file}, and {wanted} by {config}.", name=name, file=path.name, config=CONFIG,
                              found=" × ".join(map(str, header[name]["shape"])), wanted=" × ".join(map(str, shape))), remedy)


def load_model(folder: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, *, merge: bool = True) -> Decoder:
    """The model of a folder, in evaluation mode; an adapter's folder gives its base with the adapter added.

    merge  False keeps the adapter of a folder that has one beside its base, ready to be trained on (lora.py): its matrices in float32, the
           frozen weights in `dtype`

    Raises NotFound, FormatError, Corrupt, Mismatch, before memory is taken; NotFound and Mismatch with the codes base_missing and
    base_changed where an adapter's base is not what it was made for.
    """
    folder = Path(folder)
    config = load_config(folder)
    adapter = None if merge else open_adapter(folder, config)
    source = weights_of(folder if adapter is None else adapter.base_folder(), config)
    header = read_header(source.path)
    if len(header) < 4 * config.num_layers:  # before a config that claims a billion layers is built, even without memory
        raise Mismatch(tr("{file} holds {found} tensors, too few for the {layers} layers of {config}.", file=WEIGHTS,
                          found=f"{len(header):,}", layers=f"{config.num_layers:,}", config=CONFIG),
                       tr("The config and the weights belong to different models: restore the folder, or choose another one."))
    with torch.device("meta"):
        model = Decoder(config, seed=None)
    _check(source.path, header, model)
    model = model.to(dtype).to_empty(device=device)
    load_into(source.path, model, source.deltas)
    model.fill_rope()
    if adapter is not None:
        add_lora(model, adapter.settings, seed=0)
        load_lora(model, adapter.tensors)
    return model.eval()
