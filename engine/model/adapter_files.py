"""Adapters on disk, and where the weights of a model folder come from.

A checkpoint of a LoRA run holds no weights but an adapter, which changes those of another model of the same project, its base:

    adapter.safetensors   a pair for each projection of each layer, and rows of tokens, as engine.model.lora.lora_state names them, float32
    adapter.json          {"format", "settings", "base": id of the base, "base_sha256", "merged"}

A finished model has the adapter and, merged (true), weights of its own besides: it needs no base any more. The base is looked for in the
project that the folder lies in and must be what the adapter was made for, else adding to it would give some other model. It may be an
adapter's folder itself. This file reads and writes; lora.py computes; the formats of other programs are formats/peft_*.py.
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.contract.errors import Corrupt, FormatError, Mismatch, NotFound
from engine.contract.tuning import TARGETS
from engine.contract.words import tr
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.model.lora import LoraSettings, delta, lora_state, targeted
from engine.model.lora_shape import check_tokens, row_names
from engine.model.tensor_files import CONFIG, TOKENIZER, WEIGHTS, load_tensors, save_tensors
from engine.project import artifacts, files, layout, runs

ADAPTER, DESCRIPTION = "adapter.safetensors", "adapter.json"
FORMAT = 1


@dataclass(frozen=True)
class AdapterFacts:
    """What adapter.json says. `folder` is where it was found."""

    folder: Path
    settings: LoraSettings
    base: str
    base_sha256: str
    merged: bool = False

    def base_folder(self) -> Path:
        """The base's folder, once its weights are known to be those that the adapter was made for. Raises NotFound, Mismatch, Corrupt."""
        found = folder_of(self.folder, self.base)
        if weights_sha256(found) != self.base_sha256:
            raise Mismatch(tr("The weights of {base} have changed since the adapter in {folder} was made for them.", base=self.base,
                              folder=self.folder.name),
                           tr("Restore {base} from a backup, or use a finished model, which needs no base.", base=self.base),
                           code="base_changed")
        return found


@dataclass(frozen=True)
class Adapter(AdapterFacts):
    """With its tensors, on the CPU."""

    tensors: dict[str, Tensor] = dataclasses.field(default_factory=dict)


class Deltas:
    """What adapters change in the tensors of a weights file: they add to matrices of the layers, and put tokens' rows into their tables."""

    def __init__(self, config: ModelConfig, adapters: Sequence[Adapter]) -> None:
        self._rows: dict[str, dict[int, Tensor]] = {}
        self._added: dict[str, list[tuple[int, Tensor, Tensor, float]]] = {}
        for adapter in adapters:
            for layer in range(config.num_layers):
                for p in targeted(config, adapter.settings):
                    name = f"layers.{layer}.{p.part}.{p.name}"
                    a, b = adapter.tensors[f"{name}.lora_A"], adapter.tensors[f"{name}.lora_B"]
                    self._added.setdefault(f"layers.{layer}.{p.module}.weight", []).append((p.first, a, b, adapter.settings.scale))
            for name in row_names(config) if adapter.settings.tokens else ():
                of_table = self._rows.setdefault(f"{name}.weight", {})
                of_table.update(zip(adapter.settings.tokens, adapter.tensors[f"tokens.{name}"], strict=True))  # the last counts

    def __bool__(self) -> bool:
        return bool(self._added or self._rows)

    def added(self, name: str, first: int, rows: Tensor) -> Tensor:
        """Rows of the tensor `name` from row `first` on as the adapters make them: float32, or `rows` themselves where they change
        nothing."""
        last = first + rows.shape[0]
        made = rows
        for start, a, b, scale in self._added.get(name, ()):
            begin, end = max(first, start), min(last, start + b.shape[0])
            if begin < end:
                if made is rows:
                    made = rows.to(torch.float32, copy=True)
                made[begin - first:end - first] += delta(a, b[begin - start:end - start], scale)
        for id, row_C in self._rows.get(name, {}).items():
            if first <= id < last:
                if made is rows:
                    made = rows.to(torch.float32, copy=True)
                made[id - first] = row_C
        return made


@dataclass(frozen=True)
class WeightSource:
    """The weights of a model folder: a file, and what is added to it. `deltas` None: nothing."""

    path: Path
    deltas: Deltas | None = None


def save_adapter(folder: Path, model: Decoder, *, base: str, base_sha256: str, merged: bool = False) -> None:
    """Write the adapter of `model` into an existing folder, synced. For a checkpoint: with `save_config` and the tokenizer besides; for a
    finished model beside the merged weights, before they are merged. Raises DiskFull."""
    assert model.lora is not None, "this model has no adapter"
    save_tensors(folder / ADAPTER, {name: tensor.float() for name, tensor in lora_state(model).items()})
    kept = {"format": FORMAT, "settings": _told(model.lora), "base": base, "base_sha256": base_sha256, "merged": merged}
    files.write_bytes(folder / DESCRIPTION, (json.dumps(kept, indent=1) + "\n").encode())


def save_adapter_checkpoint(folder: Path, model: Decoder, *, base: str, base_sha256: str, config: ModelConfig | None = None,
                            tokenizer_file: Path | None = None) -> None:
    """The counterpart of checkpoint.save_weights for a model with an adapter: config, adapter and a copy of the tokenizer into an existing
    folder. Raises DiskFull."""
    files.write_bytes(folder / CONFIG, ((config or model.config).model_dump_json(indent=1) + "\n").encode())
    save_adapter(folder, model, base=base, base_sha256=base_sha256)
    if tokenizer_file is not None:
        try:
            shutil.copyfile(tokenizer_file, folder / TOKENIZER)
        except OSError as wrong:
            raise files.disk_error(wrong, folder / TOKENIZER) from wrong


def _told(settings: LoraSettings) -> dict[str, Any]:
    """For adapter.json. No tokens are left out, as in files and hashes from before there were any."""
    return {name: value for name, value in dataclasses.asdict(settings).items() if name != "tokens" or value}


def has_adapter(folder: Path) -> bool:
    return (Path(folder) / DESCRIPTION).is_file()


def needs_base(folder: Path) -> bool:
    """Whether the folder has an adapter instead of weights."""
    return has_adapter(folder) and not (Path(folder) / WEIGHTS).exists()


def weights_file(folder: Path) -> Path:
    """The file whose change means that the model changed: the weights, or the adapter that stands for them."""
    return Path(folder) / (ADAPTER if needs_base(folder) else WEIGHTS)


def adapter_facts(folder: Path) -> AdapterFacts:
    """Of a folder that has an adapter. Raises NotFound, FormatError."""
    path = Path(folder) / DESCRIPTION
    if not path.is_file():
        raise NotFound(tr("{folder} holds no adapter: {file} is missing.", folder=Path(folder).name, file=DESCRIPTION),
                       tr("Choose a model that was trained with LoRA."), code="no_adapter")
    raw = files.read_json(path)
    try:
        if not isinstance(raw, dict) or raw["format"] != FORMAT:
            raise ValueError
        said: dict[str, Any] = raw["settings"]
        settings = LoraSettings(rank=int(said["rank"]), alpha=float(said["alpha"]), dropout=float(said["dropout"]),
                                targets=tuple(str(t) for t in said["targets"]), rslora=bool(said["rslora"]),
                                tokens=tuple(int(id) for id in said.get("tokens", ())))
        if not 1 <= settings.rank <= 65_536 or not set(settings.targets) <= set(TARGETS):
            raise ValueError
        return AdapterFacts(Path(folder), settings, str(raw["base"]), str(raw["base_sha256"]), bool(raw["merged"]))
    except (KeyError, TypeError, ValueError):
        raise FormatError(tr("{file} in {folder} does not describe an adapter.", file=DESCRIPTION, folder=Path(folder).name),
                          tr("Use another checkpoint, or restore the file from a backup.")) from None


def open_adapter(folder: Path, config: ModelConfig) -> Adapter | None:
    """The adapter of a folder with its tensors, which are those that the settings ask for; None where it has none. Raises FormatError,
    Corrupt, Mismatch."""
    if not has_adapter(folder):
        return None
    facts = adapter_facts(folder)
    tensors = load_tensors(facts.folder / ADAPTER)
    check_tokens(config, facts.settings)
    wanted = {f"tokens.{name}": (len(facts.settings.tokens), config.hidden_size)
              for name in row_names(config) if facts.settings.tokens}
    for layer in range(config.num_layers):
        for p in targeted(config, facts.settings):
            name = f"layers.{layer}.{p.part}.{p.name}"
            wanted |= {f"{name}.lora_A": (facts.settings.rank, p.width), f"{name}.lora_B": (p.rows, facts.settings.rank)}
    for name in sorted(wanted.keys() | tensors.keys()):
        if name not in tensors or name not in wanted or tuple(tensors[name].shape) != wanted[name]:
            raise Mismatch(tr("{name} in {file} is not as {config} describes it.", name=name, file=ADAPTER, config=DESCRIPTION),
                           tr("The adapter and its description belong to different models: restore the folder, or choose another one."))
    return Adapter(**{field.name: getattr(facts, field.name) for field in dataclasses.fields(facts)}, tensors=tensors)


def weights_of(folder: Path, config: ModelConfig) -> WeightSource:
    """Where the weights of a model folder come from: its own file, or its base's with what one or more adapters add. Reads no weights but
    the adapters'. Raises NotFound, Mismatch, FormatError, Corrupt."""
    adapters: list[Adapter] = []
    while needs_base(folder):
        adapter = open_adapter(folder, config)
        assert adapter is not None
        adapters.append(adapter)
        folder = adapter.base_folder()
    return WeightSource(Path(folder) / WEIGHTS, Deltas(config, adapters[::-1]) if adapters else None)


def folder_of(inside: Path, id: str) -> Path:
    """The folder of the model `id` (an artifact, or run@step) in the project that `inside` lies in. Raises NotFound (base_missing)."""
    project = next((p for p in Path(inside).resolve().parents if layout.project_file(p).is_file()), None)
    if project is None:
        raise NotFound(tr("The adapter in {folder} lies outside of the project that its base model {base} is in.", folder=Path(inside).name,
                          base=id),
                       tr("Use it inside its project, or export the model there."), code="base_missing")
    run, at, step = id.partition("@")
    found = None
    if at and runs.NAME.fullmatch(run) and step.isdecimal():
        found = layout.checkpoint(layout.run(project, run), int(step))
    elif artifacts.NAME.fullmatch(id):
        found = layout.artifacts(project) / id
    if found is None or not found.is_dir():
        raise NotFound(tr("The model {base}, which the adapter in {folder} changes, is not in this project any more.", base=id,
                          folder=Path(inside).name),
                       tr("Restore {base} from a backup, or use a finished model, which needs no base.", base=id), code="base_missing")
    return found


_hashed: dict[tuple[Path, int, int], str] = {}


def weights_sha256(folder: Path) -> str:
    """A hash that stands for the weights of a model folder: SHA-256 of the file; of an adapter's folder, of the adapter, its settings and
    its base's hash. A file that has not changed since is not read again by this process. Raises NotFound, FormatError, Corrupt."""
    if needs_base(folder):
        facts = adapter_facts(folder)
        if facts.base_sha256 == "":
            raise Corrupt(tr("{file} in {folder} names no hash of its base.", file=DESCRIPTION, folder=Path(folder).name),
                          tr("Use another checkpoint, or restore the file from a backup."))
        told = [_sha256(Path(folder) / ADAPTER), json.dumps(_told(facts.settings), sort_keys=True), facts.base_sha256]
        return hashlib.sha256("\n".join(told).encode()).hexdigest()
    return _sha256(Path(folder) / WEIGHTS)


def _sha256(path: Path) -> str:
    try:
        stat = path.stat()
        key = (path.resolve(), stat.st_mtime_ns, stat.st_size)
        if key not in _hashed:
            _hashed[key] = files.hash_file(path)
    except FileNotFoundError:
        raise NotFound(tr("The weights are missing: there is no {file} in {folder}.", file=path.name, folder=path.parent.name),
                       tr("Choose another checkpoint.")) from None
    return _hashed[key]
