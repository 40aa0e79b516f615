"""Safetensors files, tensor by tensor: written synced, read only after the header agrees with itself and with the file's length, so that a
lying file costs nothing. What the tensors mean is the caller's matter (checkpoint.py, adapter_files.py, training/checkpoints.py).
"""

import json
import os
import struct
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.contract.errors import Corrupt, FormatError, NotFound
from engine.contract.words import tr
from engine.project.files import disk_error

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
"""The files of a model folder."""

_NAMES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.int32: "I32",
          torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL"}
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}
FLOATS = ("F64", "F32", "F16", "BF16")
_MOST_HEADER = 100_000_000


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
    known_dtypes(path, header)
    with open(path, "rb") as file:
        start = 8 + struct.unpack("<Q", file.read(8))[0]
        return {name: read_tensor(file, header, start, name) for name in header}


def known_dtypes(path: Path, header: dict[str, dict[str, Any]], allowed: tuple[str, ...] = tuple(_DTYPES)) -> None:
    """Raises FormatError where a tensor is stored in another way than those."""
    for name, entry in header.items():
        if entry["dtype"] not in allowed:
            raise FormatError(tr("{name} in {file} is stored as {dtype}, which this program does not read.", name=name, file=path.name,
                                 dtype=entry["dtype"]), tr("Convert the weights to float32 or bfloat16 first."))
