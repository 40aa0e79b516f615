"""Which number format and whether torch.compile: decided by rule, from figures measured on the device, and said in a sentence.

Rules, not stopwatches: the same machine decides the same way every time, so that the same seed gives the same weights. Weights and optimizer
are kept in float32; bfloat16 is for the products inside (autocast).
"""

import shutil
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch

from engine.contract.errors import DeviceUnavailable
from engine.contract.units import duration, number
from engine.contract.words import tr
from engine.training.devices import Device
from engine.training.machine import DeviceFacts, known_device, remember

BFLOAT16_FROM_WIDTH = 96
"""On a CPU, products narrower than this gain nothing from bfloat16: the conversions eat it (measured, EPYC)."""

COMPILE_SECONDS = {"cpu": 45.0, "cuda": 60.0, "mps": 60.0}
COMPILE_GAIN = {"cpu": 1.15, "cuda": 1.4, "mps": 1.0}


@dataclass(frozen=True)
class Precision:
    """`dtype` of the products; `reason` says why, for people."""

    dtype: torch.dtype
    device: torch.device
    reason: str = ""

    @property
    def name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    def autocast(self) -> AbstractContextManager:
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)


def choose_precision(asked: str, facts: DeviceFacts, width: int) -> Precision:
    """`asked` is auto, float32 or bfloat16. Automatic: bfloat16 where the device's products are measurably faster in it."""
    device = torch.device(facts.device)
    half, full = facts.peak_of("bfloat16"), facts.peak_of("float32")
    gain = number(half / full, 1)
    if asked == "float32":
        return Precision(torch.float32, device, tr("float32, as set."))
    if asked == "bfloat16":
        return Precision(torch.bfloat16, device, tr("bfloat16, as set."))
    if not facts.bfloat16:
        return Precision(torch.float32, device, tr("float32: this device has no bfloat16."))
    if half < 1.2 * full:
        return Precision(torch.float32, device, tr("float32: bfloat16 products are {gain} times as fast here.", gain=gain))
    if facts.kind == "cpu" and width < BFLOAT16_FROM_WIDTH:
        return Precision(torch.float32, device, tr("float32: a width of {width} is too narrow to gain from bfloat16.", width=width))
    return Precision(torch.bfloat16, device, tr("bfloat16: matrix products are {gain} times as fast here.", gain=gain))


def choose_compile(asked: str, facts: DeviceFacts, seconds: float) -> tuple[bool, str]:
    """(whether to compile, why). `seconds` is the estimate of the run without it."""
    missing = compiler_missing(facts.kind)
    if asked == "off":
        return False, tr("off, as set.")
    if missing:
        return False, missing
    if asked == "on":
        return True, tr("on, as set.")
    gain, cost = COMPILE_GAIN[facts.kind], COMPILE_SECONDS[facts.kind]
    saved = seconds * (1 - 1 / gain)
    if facts.kind == "mps":
        return False, tr("off: not dependable on this device.")
    if saved < 1.5 * cost:
        return False, tr("off: it would save about {saved} and start up to {cost} later.", saved=duration(saved), cost=duration(cost))
    return True, tr("on: it should save about {saved} for a start-up of {cost} at most.", saved=duration(saved), cost=duration(cost))


def compiler_missing(kind: str) -> str:
    """Why torch.compile cannot work here; "" if it can."""
    if sys.platform == "win32":
        names = ("cl", "clang-cl")
    else:
        names = ("g++", "clang++", "c++") if kind != "cuda" else ("gcc", "clang", "cc")
    if not any(shutil.which(name) for name in names):
        return tr("off: no C++ compiler was found.")
    if kind == "cuda" and torch.utils._triton is not None and not torch.utils._triton.has_triton():
        return tr("off: Triton is not installed.")
    return ""


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 itself, instead of imitating it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "mps":
        return torch.backends.mps.is_macos_or_newer(14, 0)
    capability = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capability.get("avx512_bf16") or capability.get("amx_bf16") or capability.get("amx_tile") or capability.get("arm_bf16")
                or torch.cpu._is_avx512_bf16_supported())


def device_facts(found: Device) -> DeviceFacts:
    """All that estimates need to know of a device. Its peak is measured once (under half a second) and remembered."""
    known = known_device(found.id)
    if known and known.title == found.name and known.threads == torch.get_num_threads():
        return replace(known, memory=found.memory)
    device = torch.device(found.id)
    half = has_bfloat16(device)
    peak = {"float32": measure_peak(device, torch.float32)}
    if half:
        peak["bfloat16"] = measure_peak(device, torch.bfloat16)
    facts = DeviceFacts(device=found.id, title=found.name, memory=found.memory, threads=torch.get_num_threads(), bfloat16=half,
                        compiler=not compiler_missing(found.kind), peak=peak)
    remember(facts)
    return facts


def measure_peak(device: torch.device, dtype: torch.dtype, seconds: float = 0.15) -> float:
    """Floating-point operations a second of a large matrix product: the best of several, since others may be at work."""
    size = 1024 if device.type == "cpu" else 4096
    try:
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    except torch.OutOfMemoryError as wrong:
        raise DeviceUnavailable(tr("{device} has no memory left.", device=str(device)), tr("Close what else uses it.")) from wrong
    best, began = float("inf"), time.perf_counter()
    a @ b
    while time.perf_counter() - began < seconds or best == float("inf"):
        synchronize(device)
        at = time.perf_counter()
        a @ b
        synchronize(device)
        best = min(best, time.perf_counter() - at)
    return 2 * size**3 / best


def synchronize(device: torch.device) -> None:
    """Wait for the device's queue to be empty."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
