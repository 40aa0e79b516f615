"""Model folders: config.json, model.safetensors, tokenizer.json. Weights and shape only: no optimizer state, no manifest.

Both directions are streamed: besides the model at most one tensor stands in memory. A folder is judged before anything is allocated: the
header of the weights file must agree with the config and with the file's length, so that a lying file costs nothing.
"""

import json
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from engine.contract.errors import Corrupt, FormatError, Mismatch, NotFound
from engine.contract.words import tr
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.project.files import disk_error, read_json, write_bytes
from engine.text.tokenizer import Tokenizer

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
GENERATION = "generation_config.json"

_NAMES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.int32: "I32",
          torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL"}
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}
_FLOATS = ("F64", "F32", "F16", "BF16")
_MOST_HEADER = 100_000_000


def save_weights(folder: Path, model: Decoder, config: ModelConfig | None = None, tokenizer_file: Path | None = None) -> None:
    """Write config, weights and a copy of the tokenizer into an existing folder (a temporary one, to be renamed by the caller), synced.

    Raises DiskFull.
    """
    folder = Path(folder)
    write_bytes(folder / CONFIG, ((config or model.config).model_dump_json(indent=1) + "\n").encode())
    save_tensors(folder / WEIGHTS, dict(model.state_dict()))
    if tokenizer_file is not None:
        try:
            shutil.copyfile(tokenizer_file, folder / TOKENIZER)
        except OSError as wrong:
            raise disk_error(wrong, folder / TOKENIZER) from wrong


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """A safetensors file, tensor by tensor, synced: the same tensors give the same bytes. Raises DiskFull."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **(metadata or {})}}
    offset = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, offset + tensor.nbytes]}
        offset += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    try:
        with open(path, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for name in sorted(tensors):
                flat = tensors[name].detach().to("cpu").contiguous().reshape(-1)
                if flat.numel():
                    file.write(memoryview(flat.view(torch.uint8).numpy()))
            file.flush()
            os.fsync(file.fileno())
    except OSError as wrong:
        raise disk_error(wrong, path) from wrong


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


def read_header(path: Path) -> dict[str, dict[str, Any]]:
    """{name: {"dtype", "shape", "data_offsets"}} of a safetensors file, whose length was checked against it. Reads no weights.

    Raises NotFound, Corrupt.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else -1
            if not 2 <= length <= min(_MOST_HEADER, size - 8):
                raise _damaged(path, tr("its header is cut off"))
            header = json.loads(file.read(length))
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(tr("The weights are missing: there is no {file} in {folder}.", file=path.name, folder=path.parent.name),
                       tr("Choose another checkpoint.")) from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise _damaged(path, tr("its header cannot be read")) from None
    if not isinstance(header, dict):
        raise _damaged(path, tr("its header cannot be read"))
    header.pop("__metadata__", None)
    spans = []
    for entry in header.values():
        if not _entry_is_sound(entry):
            raise _damaged(path, tr("its header contradicts itself"))
        spans.append(tuple(entry["data_offsets"]))
    at = 0
    for begin, end in sorted(spans):
        if begin != at:
            raise _damaged(path, tr("its header contradicts itself"))
        at = end
    if size != 8 + length + at:
        raise _damaged(path, tr("it has {size} bytes and should have {expected}", size=f"{size:,}", expected=f"{8 + length + at:,}"))
    return header


def _entry_is_sound(entry: Any) -> bool:
    """A tensor's entry has a known dtype, a sane shape and as many bytes as these need."""
    if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str):
        return False
    shape, span = entry.get("shape"), entry.get("data_offsets")
    if not isinstance(shape, list) or not isinstance(span, list) or len(span) != 2 or len(shape) > 8:
        return False
    if not all(isinstance(x, int) and not isinstance(x, bool) and x >= 0 for x in (*shape, *span)):
        return False
    dtype = _DTYPES.get(entry["dtype"])
    if dtype is None:  # formats this program does not read are still well-formed files
        return span[0] <= span[1]
    count = dtype.itemsize
    for side in shape:
        count *= side
    return span[1] - span[0] == count


def _damaged(path: Path, reason: str) -> Corrupt:
    return Corrupt(tr("{file} in {folder} is damaged: {reason}.", file=path.name, folder=path.parent.name, reason=reason),
                   tr("Use the checkpoint before it, or restore the file from a backup."))


def read_tensor(file: Any, header: dict[str, dict[str, Any]], start: int, name: str) -> Tensor:
    """One tensor of an open safetensors file; `start` is where its data begin (8 + header length)."""
    entry = header[name]
    begin, end = entry["data_offsets"]
    flat = torch.empty(end - begin, dtype=torch.uint8)
    if end > begin:
        file.seek(start + begin)
        count = file.readinto(memoryview(flat.numpy()))
        if count != end - begin:
            raise _damaged(Path(file.name), tr("it ends early"))
    return flat.view(_DTYPES[entry["dtype"]]).view(entry["shape"])


def load_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, on the CPU. Raises NotFound, Corrupt, FormatError."""
    path = Path(path)
    header = read_header(path)
    _known_dtypes(path, header)
    with open(path, "rb") as file:
        start = 8 + struct.unpack("<Q", file.read(8))[0]
        return {name: read_tensor(file, header, start, name) for name in header}


def _known_dtypes(path: Path, header: dict[str, dict[str, Any]], allowed: tuple[str, ...] = tuple(_DTYPES)) -> None:
    for name, entry in header.items():
        if entry["dtype"] not in allowed:
            raise FormatError(tr("{name} in {file} is stored as {dtype}, which this program does not read.", name=name, file=path.name,
                                 dtype=entry["dtype"]), tr("Convert the weights to float32 or bfloat16 first."))


@torch.no_grad()
def load_into(path: Path, model: nn.Module) -> None:
    """Fill a model's weights from a safetensors file, in place, casting to their dtype. Names and shapes must be exactly the model's.

    Raises NotFound, Corrupt, FormatError, Mismatch.
    """
    path = Path(path)
    header = read_header(path)
    _check(path, header, model)
    weights = model.state_dict()
    with open(path, "rb") as file:
        start = 8 + struct.unpack("<Q", file.read(8))[0]
        for name in sorted(header, key=lambda n: header[n]["data_offsets"][0]):
            weights[name].copy_(read_tensor(file, header, start, name))


def _check(path: Path, header: dict[str, dict[str, Any]], model: nn.Module) -> None:
    _known_dtypes(path, header, _FLOATS)
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


def load_model(folder: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Decoder:
    """The model of a folder, in evaluation mode. Raises NotFound, FormatError, Corrupt, Mismatch, before memory is taken."""
    folder = Path(folder)
    config = load_config(folder)
    path = folder / WEIGHTS
    header = read_header(path)
    if len(header) < 4 * config.num_layers:  # before a config that claims a billion layers is built, even without memory
        raise Mismatch(tr("{file} holds {found} tensors, too few for the {layers} layers of {config}.", file=WEIGHTS,
                          found=f"{len(header):,}", layers=f"{config.num_layers:,}", config=CONFIG),
                       tr("The config and the weights belong to different models: restore the folder, or choose another one."))
    with torch.device("meta"):
        model = Decoder(config, seed=None)
    _check(path, header, model)
    model = model.to(dtype).to_empty(device=device)
    load_into(path, model)
    model.fill_rope()
    return model.eval()
