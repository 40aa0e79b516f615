"""What is known of a model that somebody wants to take over, before it is taken: in words for the page. No Qt; no file is opened here."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.contract.units import count, number, size
from engine.contract.words import tr
from engine.stages.import_model.spec import HUB

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "F32": 4, "BF16": 2, "F16": 2}


@dataclass(frozen=True)
class FoundModel:
    """The probe's answer. `bytes`: of the weights as they are stored; `notes`: why it cannot chat yet."""

    path: str
    form: str = ""
    architecture: str = ""
    parameters: int = 0
    vocab_size: int = 0
    context: int = 0
    layers: int = 0
    width: int = 0
    heads: int = 0
    kv_heads: int = 0
    dtype: str = ""
    bytes: int = 0
    licence: str = ""
    base_model: str = ""
    card: str = ""
    chat: bool = False
    rank: int = 0
    notes: tuple[str, ...] = field(default=())

    @property
    def adapter(self) -> bool:
        """Whether it changes another model: an adapter of PEFT."""
        return self.form == "peft"

    @classmethod
    def of(cls, path: str, raw: dict[str, Any]) -> "FoundModel":
        known = {k: v for k, v in raw.items() if k in cls.__dataclass_fields__ and k not in ("path", "notes")}
        return cls(path=path, notes=tuple(str(n) for n in raw.get("notes") or ()), **known)

    @property
    def name(self) -> str:
        path = Path(self.path)
        return path.stem if self.form == "gguf" else path.name or str(path)

    def stored(self, dtype: str) -> int:
        """Bytes of the weights in the project when they are stored as `dtype` ("as_is" changes nothing)."""
        return self.parameters * BYTES[dtype] if dtype in BYTES else self.bytes

    def facts(self) -> list[tuple[str, str]]:
        """(name, value), what a person wants to know first."""
        if self.adapter:
            return [(tr("Kind"), tr("adapter of PEFT, {kind}", kind=self.architecture)), (tr("Rank"), number(self.rank)),
                    (tr("Size"), size(self.bytes)), (tr("Made for"), self.base_model or tr("not named"))]
        heads = f"{self.heads}" if self.kv_heads == self.heads else tr("{heads} ({kv} for keys)", heads=self.heads, kv=self.kv_heads)
        template = tr("yes, it can chat") if self.chat else tr("cannot be used") if self.notes else tr("none, it continues text")
        return [(tr("Kind"), f"{self.architecture}, {'GGUF' if self.form == 'gguf' else 'safetensors'}"),
                (tr("Parameters"), count(self.parameters)),
                (tr("Layers, width, heads"), f"{self.layers}, {number(self.width)}, {heads}"),
                (tr("Context"), tr("{count} tokens", count=number(self.context))),
                (tr("Vocabulary"), tr("{count} tokens", count=number(self.vocab_size))),
                (tr("Weights"), tr("{size} in {dtype}", size=size(self.bytes), dtype=self.dtype or tr("several formats"))),
                (tr("Chat template"), template),
                (tr("Licence"), self.licence or tr("none named"))]


@dataclass(frozen=True)
class HubModel:
    """What the hub has under a name, by the probe's answer."""

    name: str
    bytes: int
    files: int
    licence: str = ""
    revision: str = ""

    @property
    def path(self) -> str:
        return HUB + self.name

    def facts(self) -> list[tuple[str, str]]:
        return [(tr("To fetch"), tr("{size} in {count} files", size=size(self.bytes), count=self.files)),
                (tr("Licence"), self.licence or tr("none named")), (tr("Revision"), self.revision[:12])]


def kind_of_drop(paths: list[str]) -> str:
    """The one path that could be a model among what was dropped: a folder or a .gguf file. "" for none."""
    for path in paths:
        if Path(path).is_dir() or path.lower().endswith(".gguf"):
            return path
    return ""
