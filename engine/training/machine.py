"""What is known about the machine that trains: memory, whether it has bfloat16, its measured matrix-product peak. No torch: the window reads
this too. Measuring is done in precision.py (and by `fledge doctor`); here the figures are kept, in the person's own folder.
"""

import os
from dataclasses import asdict, dataclass, field
from typing import Any

import psutil

from engine.project import files, layout

REMEMBERED_SPEEDS = 64


@dataclass(frozen=True)
class DeviceFacts:
    """One device. `peak` {dtype name: floating-point operations a second} as measured, empty until then; `speeds` the training speeds
    measured here: {"flops_per_token", "tokens_per_second", "dtype", "compiled"} each. Memory in bytes."""

    device: str = "cpu"
    title: str = ""
    memory: int = 0
    threads: int = 1
    bfloat16: bool = False
    compiler: bool = True
    peak: dict[str, float] = field(default_factory=dict)
    speeds: tuple[dict[str, Any], ...] = ()

    @property
    def kind(self) -> str:
        """cpu, cuda or mps."""
        return self.device.partition(":")[0]

    def peak_of(self, dtype: str) -> float:
        """Measured peak in operations a second; before any measurement a guess for the kind of device, on the low side."""
        if self.peak.get(dtype):
            return self.peak[dtype]
        if self.kind == "cuda":
            return 1e14 if dtype == "bfloat16" else 2e13
        if self.kind == "mps":
            return 6e12 if dtype == "bfloat16" else 4e12
        return self.threads * (1.2e11 if dtype == "bfloat16" and self.bfloat16 else 5e10)


def cpu_facts() -> DeviceFacts:
    """The CPU as far as it is known without torch."""
    return DeviceFacts(device="cpu", memory=psutil.virtual_memory().total, threads=psutil.cpu_count(logical=False) or os.cpu_count() or 1)


def known_devices() -> list[DeviceFacts]:
    """Every device that was looked at on this machine; the CPU at least."""
    raw = files.read_json(layout.machine_file(), {})
    found = raw.get("devices", {}) if isinstance(raw, dict) else {}
    devices = [facts for facts in (_facts(entry) for entry in found.values()) if facts]
    return devices if any(d.kind == "cpu" for d in devices) else [*devices, cpu_facts()]


def known_device(device: str) -> DeviceFacts | None:
    """What was measured of one device before; None if nothing was."""
    return next((d for d in known_devices() if d.device == device and d.peak), None)


def remember(facts: DeviceFacts) -> None:
    """Keep figures for later estimates. An estimate is a convenience: where the folder cannot be written, it is left."""
    raw = files.read_json(layout.machine_file(), {})
    raw = raw if isinstance(raw, dict) else {}
    entry = asdict(facts)
    entry["speeds"] = list(facts.speeds)[-REMEMBERED_SPEEDS:]
    raw.setdefault("devices", {})[facts.device] = entry
    try:
        files.write_json(layout.machine_file(), raw)
    except OSError:
        return


def _facts(entry: Any) -> DeviceFacts | None:
    known = DeviceFacts.__dataclass_fields__
    if not isinstance(entry, dict) or "device" not in entry:
        return None
    return DeviceFacts(**{k: tuple(v) if k == "speeds" else v for k, v in entry.items() if k in known})
