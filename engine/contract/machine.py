"""What Fledge knows about this machine: its devices, their memory and measured speed. Plain facts, no torch, nothing is detected here.

`engine.training.devices` finds them out (it imports torch) and prints them as one JSON object; the window reads that, or the copy kept in
`layout.machine_file()`, through `MachineFacts.from_json`.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from engine.contract.units import size


@dataclass(frozen=True, kw_only=True)
class DeviceFacts:
    """One device that can train.

    id            "cpu", "cuda:0", "mps"
    kind          "cpu", "cuda", "mps"
    title         what the maker calls it
    memory_total, memory_free   bytes; a CPU's are the machine's (or its container's)
    dtypes        training dtypes that pay here, fastest first; "float32" is always among them
    peak_flops    measured floating-point operations a second of a matrix product, by dtype; empty until measured
    capability    instruction sets or compute capability, for people ("AVX-512, bf16", "sm_90", "macOS 15.1")
    threads       processors this process may use (CPU); 0 elsewhere
    energy        where its energy can be read: "nvml", "rapl" or ""
    """

    id: str
    kind: str
    title: str
    memory_total: int = 0
    memory_free: int = 0
    dtypes: tuple[str, ...] = ("float32",)
    peak_flops: dict[str, float] = field(default_factory=dict)
    capability: str = ""
    threads: int = 0
    energy: str = ""

    @property
    def dtype(self) -> str:
        """What "auto" precision means here."""
        return self.dtypes[0]

    def peak(self, dtype: str) -> float:
        """Measured floating-point operations a second in `dtype`; 0.0 until measured."""
        return self.peak_flops.get(dtype, 0.0)

    def line(self) -> str:
        """For people: "NVIDIA H200 · 139 GB · bfloat16"."""
        return " · ".join(part for part in (self.title, size(self.memory_total) if self.memory_total else "", self.dtype) if part)


@dataclass(frozen=True, kw_only=True)
class MachineFacts:
    """All devices, best first (the first is what "auto" means), and what torch.compile would need.

    compiler      path of the C++ compiler that torch.compile would use, "" if there is none
    compile_lacks what torch.compile misses, in words for machines: "compiler", "python_headers", "triton"; empty when it can run
    detected      unix seconds
    """

    devices: tuple[DeviceFacts, ...]
    torch: str = ""
    python: str = ""
    system: str = ""
    compiler: str = ""
    compile_lacks: tuple[str, ...] = ()
    detected: float = 0.0

    def device(self, id: str) -> DeviceFacts | None:
        """The device called `id`; "auto" is the first."""
        if id == "auto":
            return self.devices[0] if self.devices else None
        return next((device for device in self.devices if device.id == id), None)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """The facts of `to_json`; fields of a later Fledge are skipped. A ValueError for anything else."""
        try:
            devices = tuple(DeviceFacts(**{**_known(DeviceFacts, device), "dtypes": tuple(device.get("dtypes", ("float32",)))})
                            for device in raw["devices"])
            rest = _known(cls, raw)
            return cls(**{**rest, "devices": devices, "compile_lacks": tuple(rest.get("compile_lacks", ()))})
        except (KeyError, TypeError, AttributeError) as wrong:
            raise ValueError(f"not facts about a machine: {wrong}") from None

    @classmethod
    def read(cls, machine_file: Path) -> Self | None:
        """The copy kept from the last detection, None if there is none that can be read."""
        try:
            return cls.from_json(json.loads(machine_file.read_text("utf-8"))["machine"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _known(kind: type, raw: dict[str, Any]) -> dict[str, Any]:
    names = {f.name for f in dataclasses.fields(kind)}
    return {key: value for key, value in raw.items() if key in names}
