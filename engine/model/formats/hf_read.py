"""Folders in Hugging Face's form: what kind of model one holds, whether this program has that kind, and its weights by name, row by row.

Everything is judged from the config and the headers of the weights before a weight is read; what has no place here is refused by name.
It writes nothing, runs nothing of the folder, and leaves the tokenizer to tokenizer_read.py.

Kinds that are computed exactly as one of the families that hf.py knows (a test holds each against transformers):
    llama, mistral, qwen2, qwen3, gpt2
    phi3        Llama with one matrix for queries, keys and values, and one for gate and up: ours are stored so too
    seed_oss    Llama with biases of queries, keys and values, of the output, of the MLP, each on its own
    ministral   Llama, where no layer's attention slides
"""

import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.contract import units
from engine.contract.errors import Corrupt, FormatError, NotFound
from engine.contract.words import tr
from engine.model import hf
from engine.model.checkpoint import read_header
from engine.model.config import ModelConfig
from engine.model.formats import source

INDEX, WEIGHTS, CONFIG = "model.safetensors.index.json", "model.safetensors", "config.json"
BIN, BIN_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"

FAMILIES = ("gpt2", "llama", "ministral", "mistral", "phi3", "qwen2", "qwen3", "seed_oss")

# What transformers takes where a config does not say.
DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"num_key_value_heads": 8, "sliding_window": 4096},
    "ministral": {"num_key_value_heads": 8, "sliding_window": 4096},
    "qwen2": {"num_key_value_heads": 32},
    "qwen3": {"num_key_value_heads": 32, "head_dim": 128},
    "phi3": {"rms_norm_eps": 1e-5},
    "seed_oss": {"num_key_value_heads": 8, "head_dim": 128, "attention_bias": True},
    "gpt2": {"vocab_size": 50257},
}
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts", "num_routed_experts")
_SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "intermediate_size",
          "max_position_embeddings", "n_embd", "n_layer", "n_head", "n_inner", "n_positions")
_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}

# Tables that older versions saved beside the weights and that follow from the config.
_DERIVED = re.compile(r"(.*\.)?(rotary_emb\.inv_freq|attn\.bias|attn\.masked_bias)")


def model_config(raw: dict[str, Any]) -> ModelConfig:
    """The shape by a `config.json`. Raises FormatError that names what this program does not have."""
    kind = str(raw.get("model_type", ""))
    _refuse_by_name(raw)
    if kind not in FAMILIES:
        raise FormatError(tr("Models of type {kind} are not supported.", kind=kind[:60] or tr("unknown")),
                          tr("Supported are: {known}.", known=", ".join(FAMILIES)), code="unsupported")
    given = {**DEFAULTS[kind], **raw}
    for name in _SIZES:
        value = given.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 2**31):
            raise FormatError(tr("The config of this model says {name} is {value}.", name=name, value=str(value)[:40]), source.again())
    for name in ("rms_norm_eps", "layer_norm_epsilon"):
        value = given.get(name, 1e-6)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < 1:
            raise FormatError(tr("The config of this model says {name} is {value}.", name=name, value=str(value)[:40]), source.again())
    if any(given.get(x) is not None and not isinstance(given[x], dict) for x in ("rope_parameters", "rope_scaling")):
        raise FormatError(tr("The RoPE settings of this model cannot be read."), source.again())
    rope = {**(given.get("rope_scaling") or {}), **(given.get("rope_parameters") or {})}
    if any(isinstance(value, dict) for value in rope.values()):
        raise _unsupported(tr("RoPE that differs from layer to layer"))
    theta = rope.get("rope_theta", given.get("rope_theta"))
    if theta is not None and (not isinstance(theta, (int, float)) or isinstance(theta, bool) or not 0 < theta < 1e12):
        raise FormatError(tr("The config of this model says {name} is {value}.", name="rope_theta", value=str(theta)[:40]), source.again())
    if given.get("partial_rotary_factor") not in (None, 1, 1.0):
        raise _unsupported(tr("RoPE on a part of each head"))
    biases: dict[str, Any] = {}
    if kind == "gpt2":
        return hf.config_from_hf(given)
    window = given.get("sliding_window")
    if not _slides(given, kind):
        window = None
    elif isinstance(window, int) and window < given.get("max_position_embeddings", 0):
        raise _unsupported(tr("sliding-window attention with a window of {window} tokens", window=f"{window:,}"))
    plain = {**given, "sliding_window": window, "use_sliding_window": False, "layer_types": None}
    if kind in ("phi3", "seed_oss", "ministral"):
        plain["model_type"] = "llama"
        biases = {"attention_bias": False, "output_bias": False, "mlp_bias": False}
        if kind == "seed_oss":
            biases = {"attention_bias": bool(given["attention_bias"]), "output_bias": bool(given.get("attention_out_bias")),
                      "mlp_bias": bool(given.get("mlp_bias"))}
    made = hf.config_from_hf(plain)
    return made.model_copy(update=biases) if biases else made


def _slides(raw: Mapping[str, Any], kind: str) -> bool:
    """Whether any layer attends through a window."""
    if raw.get("sliding_window") is None:
        return False
    if kind in ("mistral", "phi3"):  # every layer does
        return True
    if kind in ("qwen2", "qwen3") and not raw.get("use_sliding_window", False):
        return False
    if kind not in ("qwen2", "qwen3", "ministral"):
        return False
    layers = raw.get("layer_types")
    if isinstance(layers, list):
        return any(x != "full_attention" for x in layers)
    return kind == "ministral" or raw.get("max_window_layers", 28) < raw.get("num_hidden_layers", 0)


def _refuse_by_name(raw: Mapping[str, Any]) -> None:
    """What no family here has, whatever the model is called."""
    if raw.get("auto_map"):
        raise FormatError(tr("This model is computed by code of its own (auto_map), which Fledge never runs."),
                          tr("Choose a model that needs no code of its own."), code="remote_code")
    if quantised := raw.get("quantization_config") or raw.get("compression_config"):
        how = str(quantised.get("quant_method", "")) if isinstance(quantised, dict) else ""
        raise FormatError(tr("The weights of this model are quantised ({how}), which is not supported.", how=how[:40] or tr("unknown")),
                          tr("Choose the model it was made from, in bfloat16 or float32."), code="quantised")
    for key in _EXPERTS:
        count = raw.get(key)
        if isinstance(count, int) and count > 1:
            raise _unsupported(tr("a mixture of {count} experts", count=count))
    if raw.get("kv_lora_rank"):
        raise _unsupported(tr("multi-head latent attention"))
    if raw.get("attn_logit_softcapping") or raw.get("final_logit_softcapping"):
        raise _unsupported(tr("capped logits"))
    if raw.get("vision_config") or raw.get("audio_config"):
        raise _unsupported(tr("pictures or sound beside text"))
    if raw.get("is_encoder_decoder"):
        raise _unsupported(tr("an encoder before its decoder"))
    no_positions = raw.get("no_rope_layers")
    if isinstance(no_positions, list) and not all(no_positions):
        raise _unsupported(tr("layers without positions"))
    named = raw.get("architectures")
    first = str(named[0]) if isinstance(named, list) and named else ""
    if first and not first.endswith(("ForCausalLM", "LMHeadModel", "Model")):
        raise _unsupported(tr("another head than that of a language model ({name})", name=first[:60]))


def _unsupported(what: str) -> FormatError:
    return FormatError(tr("This model uses {what}, which is not supported.", what=what), tr("Choose a model without it."),
                       code="unsupported")


def sources(config: ModelConfig, raw: Mapping[str, Any]) -> dict[str, hf.Source]:
    """For each of our tensors where it stands in this folder's kind."""
    made = hf.sources(config)
    if raw.get("model_type") != "phi3":
        return made
    for name, one in made.items():
        if name.endswith("attention.qkv.weight"):
            made[name] = hf.Source((one.names[0].replace("q_proj", "qkv_proj"),), (sum(one.rows),))
        elif name.endswith("mlp.gate_up.weight"):
            made[name] = hf.Source((one.names[0].replace("gate_proj", "gate_up_proj"),), (sum(one.rows),))
    return made


class HfWeights:
    """The weights of a folder by their names in transformers' full model, from one or many safetensors files. Opening reads headers only.

    Raises NotFound, Corrupt, FormatError.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self.files: dict[str, Path] = {}
        self._at: dict[str, tuple[str, int, str, tuple[int, ...]]] = {}  # name -> (file, where, dtype, shape)
        self._open: dict[str, Any] = {}
        for name, file in self._listed().items():
            self._add(file, name)
        self._full_names("transformer." if kind == "gpt2" else "model.")

    def _listed(self) -> dict[str, str]:
        """{tensor: file} by the index; {file: file} where there is one file."""
        if path := source.find(self.folder, INDEX):
            listed = source.read_json(path, 64_000_000, INDEX).get("weight_map")
            if not isinstance(listed, dict) or not listed or not all(isinstance(x, str) for x in listed.values()):
                raise source.damaged(INDEX, tr("it lists no weights"))
            return listed
        if source.find(self.folder, WEIGHTS):
            return {"": WEIGHTS}
        alone = [p.name for p in self.folder.glob("*.safetensors") if not p.name.startswith(("adapter", "consolidated"))]
        if len(alone) == 1:
            return {"": alone[0]}
        raise no_weights(self.folder)

    def _add(self, file: str, wanted: str) -> None:
        if file not in self.files:
            if not file.endswith(".safetensors"):
                raise source.damaged(INDEX, tr("it names {file}, which is no file of weights", file=ascii(file)[:80]))
            path = source.find(self.folder, file)
            if path is None:
                raise NotFound(tr("A part of the weights is missing: {file}.", file=file), source.again())
            self.files[file] = path
            try:
                header = read_header(path)
            except Corrupt as wrong:
                raise Corrupt(wrong.sentence.replace(path.name, file, 1), source.again()) from None
            with open(path, "rb") as opened:
                start = 8 + struct.unpack("<Q", opened.read(8))[0]
            for name, entry in header.items():
                self._at.setdefault(name, (file, start + entry["data_offsets"][0], entry["dtype"], tuple(entry["shape"])))
        if wanted:
            if wanted not in self._at:
                raise source.damaged(file, tr("it lacks {name}, which the index promises", name=wanted[:80]))

    def _full_names(self, prefix: str) -> None:
        """A body saved without its head has names without the prefix."""
        if any(name.startswith(prefix) for name in self._at):
            return
        self._at = {name if name.startswith("lm_head.") else prefix + name: at for name, at in self._at.items()}

    def names(self) -> list[str]:
        """All but tables that follow from the config."""
        return [name for name in self._at if not _DERIVED.fullmatch(name)]

    def shape(self, name: str) -> tuple[int, ...]:
        return self._at[name][3]

    def dtype(self, name: str) -> torch.dtype:
        """Raises FormatError for what is no plain number format."""
        stored = self._at[name][2]
        if stored not in _DTYPES:
            raise FormatError(tr("{name} is stored as {dtype}, which this program does not read.", name=name, dtype=stored),
                              tr("Choose the model in bfloat16 or float32."), code="quantised")
        return _DTYPES[stored]

    def granule(self, name: str) -> int:
        """Rows that must be read together."""
        return 1

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows start..stop of a tensor (elements, of a vector)."""
        file, where, _, shape = self._at[name]
        dtype, width = self.dtype(name), _width(shape)
        flat = torch.empty((stop - start) * width * dtype.itemsize, dtype=torch.uint8)
        if file not in self._open:
            self._open[file] = open(self.files[file], "rb", buffering=0)
        opened = self._open[file]
        opened.seek(where + start * width * dtype.itemsize)
        view = memoryview(flat.numpy())
        while view:  # a raw read may give less than asked
            count = opened.readinto(view)
            if not count:
                raise source.damaged(file, tr("it ends early"))
            view = view[count:]
        return flat.view(dtype).view(stop - start, *shape[1:])

    def close(self) -> None:
        for opened in self._open.values():
            opened.close()
        self._open.clear()


class BinWeights(HfWeights):
    """The same from torch's own files (.bin, .pt): pickles, read by torch's restricted reader only, mapped and never copied whole. Only in
    a process that is capped and may be killed. Legacy files without a zip around them, packed entries, and tensors that claim more than
    their bytes are refused."""

    def _listed(self) -> dict[str, str]:
        self._tensors: dict[str, Tensor] = {}
        if path := source.find(self.folder, BIN_INDEX):
            listed = source.read_json(path, 64_000_000, BIN_INDEX).get("weight_map")
            if not isinstance(listed, dict) or not listed or not all(isinstance(x, str) for x in listed.values()):
                raise source.damaged(BIN_INDEX, tr("it lists no weights"))
            return listed
        return {"": BIN}

    def _add(self, file: str, wanted: str) -> None:
        if file not in self.files:
            path = source.find(self.folder, file)
            if path is None:
                raise NotFound(tr("A part of the weights is missing: {file}.", file=file), source.again())
            self.files[file] = path
            _sound_zip(path, file)
            try:
                loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except MemoryError:
                raise
            except Exception as wrong:  # its unpickler raises whatever it likes
                raise FormatError(tr("{file} holds more than weights, or is damaged: {reason}", file=file,
                                     reason=str(wrong).splitlines()[0][:160] if str(wrong) else type(wrong).__name__),
                                  tr("Choose the model as safetensors."), code="pickle") from None
            if not isinstance(loaded, dict):
                raise FormatError(tr("{file} holds no weights by name.", file=file), tr("Choose the model as safetensors."), code="pickle")
            for name, tensor in loaded.items():
                if not isinstance(name, str) or not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.is_quantized:
                    raise FormatError(tr("{file} holds something else than weights.", file=file), tr("Choose the model as safetensors."),
                                      code="pickle")
                if tensor.numel() * tensor.itemsize > tensor.untyped_storage().nbytes():
                    raise Corrupt(tr("{name} in {file} claims {claimed} and has {real}.", name=name[:80], file=file,
                                     claimed=units.size(tensor.numel() * tensor.itemsize),
                                     real=units.size(tensor.untyped_storage().nbytes())), tr("Choose another model."), code="lying_tensor")
                stored = {dtype: key for key, dtype in _DTYPES.items()}.get(tensor.dtype, str(tensor.dtype).removeprefix("torch."))
                self._tensors[name] = tensor
                self._at[name] = (file, 0, stored, tuple(tensor.shape))
            claimed = sum(t.numel() * t.itemsize for t in self._tensors.values())
            if claimed > 2 * sum(p.stat().st_size for p in self.files.values()):  # twice: a tied head shares the embedding's bytes
                raise Corrupt(tr("The tensors of {file} claim {claimed} together, far more than it holds.", file=file,
                                 claimed=units.size(claimed)), tr("Choose another model."), code="lying_tensor")
        if wanted and wanted not in self._at:
            raise source.damaged(file, tr("it lacks {name}, which the index promises", name=wanted[:80]))

    def _full_names(self, prefix: str) -> None:
        if not any(name.startswith(prefix) for name in self._at):
            self._tensors = {name if name.startswith("lm_head.") else prefix + name: t for name, t in self._tensors.items()}
        super()._full_names(prefix)

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        self.dtype(name)
        return self._tensors[name][start:stop].contiguous()


def _sound_zip(path: Path, name: str) -> None:
    """Every entry stored as it is, within the file's own size. Raises FormatError."""
    size = path.stat().st_size
    if not zipfile.is_zipfile(path):
        raise FormatError(tr("{file} is in torch's old form, which is not read.", file=name), tr("Choose the model as safetensors."),
                          code="pickle")
    try:
        with zipfile.ZipFile(path) as packed:
            entries = packed.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise source.damaged(name, tr("its list of contents cannot be read")) from None
    if len(entries) > 100_000 or any(e.compress_type != zipfile.ZIP_STORED or e.flag_bits & 1 for e in entries):
        raise FormatError(tr("{file} is packed as no file of weights is.", file=name), tr("Choose the model as safetensors."), code="bomb")
    if sum(e.file_size for e in entries) > size or any(e.file_size != e.compress_size for e in entries):
        raise FormatError(tr("{file} claims more than it holds.", file=name), tr("Choose the model as safetensors."), code="bomb")
    if any(e.filename.endswith("data.pkl") and e.file_size > 8_000_000 for e in entries):
        raise FormatError(tr("{file} is packed as no file of weights is.", file=name), tr("Choose the model as safetensors."), code="bomb")


def _width(shape: tuple[int, ...]) -> int:
    count = 1
    for side in shape[1:]:
        count *= side
    return count


def no_weights(folder: Path) -> FormatError | NotFound:
    return NotFound(tr("{folder} holds no weights: there is no {file}.", folder=folder.name, file=WEIGHTS),
                    tr("Choose a folder with config.json and model.safetensors."))


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's config.json. Raises NotFound, FormatError (also for an adapter alone, and a reward model of ours)."""
    if (Path(folder) / "head.safetensors").is_file() and (Path(folder) / CONFIG).is_file():
        raise FormatError(tr("{folder} is a reward model of Fledge: it scores answers, and writes none.", folder=Path(folder).name),
                          tr("Copy the project to take it along; only models that write are imported."), code="reward_model")
    path = source.find(folder, CONFIG)
    if path is None:
        if source.find(folder, "adapter_config.json"):
            base = str(source.optional_json(folder, "adapter_config.json").get("base_model_name_or_path") or tr("unknown"))
            raise FormatError(tr("{folder} holds an adapter, not a model: it changes {base}.", folder=folder.name, base=base[:100]),
                              tr("Merge it into its model first, and import that."), code="adapter")
        raise NotFound(tr("{folder} holds no model: {file} is missing.", folder=folder.name, file=CONFIG),
                       tr("Choose a folder with config.json and model.safetensors."))
    return source.read_json(path, name=CONFIG)


def open_weights(folder: Path, kind: str) -> HfWeights:
    """The weights of a folder, safetensors first, torch's own files else."""
    has_bin = any(source.find(folder, name) for name in (BIN, BIN_INDEX))
    has_safe = any(folder.glob("*.safetensors")) or (folder / INDEX).exists()
    return BinWeights(folder, kind) if has_bin and not has_safe else HfWeights(folder, kind)


def head_is_embedding(weights: Any, config: ModelConfig, embedding: str, head: str) -> bool:
    """Whether the output head is stored and equals the embedding, byte for byte, in blocks."""
    if weights.shape(embedding) != weights.shape(head) or weights.dtype(embedding) != weights.dtype(head):
        return False
    count = weights.shape(head)[0]
    step = max(1, 8_000_000 // max(1, _width(weights.shape(head))))
    return all(torch.equal(weights.rows(embedding, i, min(i + step, count)), weights.rows(head, i, min(i + step, count)))
               for i in range(0, count, step))


def with_tying(config: ModelConfig, weights: Any, table: dict[str, hf.Source], head: str) -> ModelConfig:
    """The config with `tie_embeddings` as the weights have it. A head that is stored though the config ties it must be the embedding."""
    stored = head in weights.names()
    if config.tie_embeddings and stored and not head_is_embedding(weights, config, table["embed.weight"].names[0], head):
        raise _unsupported(tr("an output head that differs from the embedding it is tied to"))
    return config
