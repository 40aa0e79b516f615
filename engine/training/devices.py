"""Finds the devices of this machine, what they can do and how fast they are. Importing this loads no torch; its functions do.

`python -m engine.training.devices [--measure]` prints one JSON object (MachineFacts.to_json) and keeps a copy in layout.machine_file():
that is how the window, which never loads torch, learns about the machine. Nothing here changes a setting of torch, the thread count
included.
"""

import argparse
import ctypes
import json
import os
import platform
import shutil
import sys
import sysconfig
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from engine.contract.errors import DeviceUnavailable, DiskFull
from engine.contract.machine import DeviceFacts, MachineFacts
from engine.contract.words import tr
from engine.project import layout
from engine.project.files import read_json, write_json
from engine.project.locks import FileLock

if TYPE_CHECKING:
    import torch

MEASURE_SECONDS = 0.25
SM_WITH_BF16 = (8, 0)
MACOS_WITH_BF16 = 14
NATIVE_BF16 = {"avx512_bf16", "amx_bf16", "bf16", "svebf16"}  # as /proc/cpuinfo spells them


# ------------------------------------------------------------------------------------------------------------------ detection


def detect() -> list[DeviceFacts]:
    """Every device that can train, best first: CUDA (most free memory first), MPS, then the CPU, which is always there.

    Speeds measured earlier with the same torch are filled in; nothing is measured here.
    """
    devices = sorted(_cuda_devices(), key=lambda device: -device.memory_free) + _mps_devices() + [_cpu_device()]
    peaks = read_json(layout.machine_file(), {})
    peaks = peaks.get("peaks", {}) if isinstance(peaks, dict) else {}
    return [replace(device, peak_flops=dict(peaks.get(_peak_key(device), {}))) for device in devices]


def choose(requested: str = "auto") -> DeviceFacts:
    """The device called `requested` ("auto", "cpu", "cuda", "cuda:1", "mps"). DeviceUnavailable when there is none such here."""
    devices = detect()
    if requested in ("auto", ""):
        return devices[0]
    for device in devices:
        if requested in (device.id, device.kind):
            return device
    known = ", ".join(device.id for device in devices)
    if requested.startswith("cuda"):
        remedy = tr("Devices here: {known}. For an NVIDIA GPU, check its driver (nvidia-smi) and that torch was installed with CUDA "
                    "(packaging/bootstrap.py --torch cuda).", known=known)
    else:
        remedy = tr("Devices here: {known}.", known=known)
    raise DeviceUnavailable(tr("There is no device {name} on this machine.", name=requested), remedy, field="device")


def machine(measure: bool = False) -> MachineFacts:
    """All facts, kept in the machine file; with `measure`, speeds that are not known yet are measured first (a second a device)."""
    import torch

    devices = detect()
    if measure:
        devices = [replace(device, peak_flops=measure_peak(device)) for device in devices]
    facts = MachineFacts(devices=tuple(devices), torch=str(torch.__version__), python=platform.python_version(),
                         system=f"{platform.system()} {platform.release()} {platform.machine()}", compiler=compiler() or "",
                         compile_lacks=compile_lacks(devices[0]), detected=time.time())
    remember("machine", facts.to_json())
    return facts


def _cuda_devices() -> list[DeviceFacts]:
    import torch

    if not torch.cuda.is_available():
        return []
    found = []
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        try:
            free, total = torch.cuda.mem_get_info(index)
        except RuntimeError:  # the device is so full that not even a context fits
            free, total = 0, facts.total_memory
        bf16 = (facts.major, facts.minor) >= SM_WITH_BF16
        found.append(DeviceFacts(id=f"cuda:{index}", kind="cuda", title=facts.name, memory_total=total, memory_free=free,
                                 dtypes=("bfloat16", "float32") if bf16 else ("float32",), capability=f"sm_{facts.major}{facts.minor}",
                                 energy="nvml" if _NvmlCounter.of(_cuda_uuid(facts)) else ""))
    return found


def _mps_devices() -> list[DeviceFacts]:
    import torch

    if not torch.backends.mps.is_available():
        return []
    version = platform.mac_ver()[0]
    total = torch.mps.recommended_max_memory()
    free = max(0, min(total - torch.mps.driver_allocated_memory(), psutil.virtual_memory().available))
    bf16 = int(version.split(".")[0] or 0) >= MACOS_WITH_BF16
    return [DeviceFacts(id="mps", kind="mps", title=processor_title(), memory_total=total, memory_free=free,
                        dtypes=("bfloat16", "float32") if bf16 else ("float32",), capability=f"macOS {version}")]


def _cpu_device() -> DeviceFacts:
    import torch

    flags = processor_flags()
    # torch computes bf16 on any AVX-512 machine, but only native instructions make it faster than fp32
    native = bool(flags) or any(getattr(torch.cpu, ask, bool)() for ask in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    total, free = host_memory()
    width = torch.backends.cpu.get_cpu_capability().replace("AVX512", "AVX-512").replace("DEFAULT", "")
    return DeviceFacts(id="cpu", kind="cpu", title=processor_title(), memory_total=total, memory_free=free,
                       dtypes=("bfloat16", "float32") if native else ("float32",), threads=usable_processors(),
                       capability=", ".join(part for part in (width, *sorted(flags)) if part), energy="rapl" if _rapl_domains() else "")


def processor_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> set[str]:
    """Native bf16 instructions named in /proc/cpuinfo (x86 "flags", ARM "Features"); empty elsewhere."""
    try:
        text = cpuinfo.read_text("utf-8", "replace")
    except OSError:
        return set()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return NATIVE_BF16 & set(value.split())
    return set()


def processor_title() -> str:
    """What the processor calls itself."""
    if sys.platform == "linux":
        try:
            for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
                key, _, value = line.partition(":")
                if key.strip() in ("model name", "Model", "Hardware") and value.strip():
                    return value.strip()
        except OSError:
            pass
    if sys.platform == "darwin":
        libc = ctypes.CDLL(None)
        text, length = ctypes.create_string_buffer(256), ctypes.c_size_t(256)
        if libc.sysctlbyname(b"machdep.cpu.brand_string", text, ctypes.byref(length), None, 0) == 0:
            return text.value.decode()
    return platform.processor() or platform.machine()


def usable_processors() -> int:
    """Processors this process should use: its affinity, cores rather than threads of cores, and a container's share where one is set."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    count = min(count, psutil.cpu_count(logical=False) or count)
    quota = _read_words(Path("/sys/fs/cgroup/cpu.max"))
    if len(quota) == 2 and quota[0].isdigit() and int(quota[1]) > 0:
        count = min(count, max(1, int(quota[0]) // int(quota[1])))
    return count


def host_memory() -> tuple[int, int]:
    """(total, available) bytes of the machine, or of the container where that has less."""
    memory = psutil.virtual_memory()
    total, free = int(memory.total), int(memory.available)
    for limit_file, used_file in (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")):
        limit, used = (_read_words(Path("/sys/fs/cgroup") / name) for name in (limit_file, used_file))
        if limit and used and limit[0].isdigit() and used[0].isdigit() and int(limit[0]) < total:
            total, free = int(limit[0]), min(free, max(0, int(limit[0]) - int(used[0])))
    return total, free


def _read_words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


# ------------------------------------------------------------------------------------------------------------------ compiling


def compiler() -> str | None:
    """Path of the C++ compiler that torch.compile would call (CXX, else the platform's own), None if there is none."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["cl"] if sys.platform == "win32" else ["g++", "clang++", "c++"]
    return next((path for path in map(shutil.which, names) if path), None)


def compile_lacks(device: DeviceFacts) -> tuple[str, ...]:
    """What torch.compile would miss on this device: "compiler", "python_headers" (Python.h, which its kernels include), "triton"."""
    lacks = []
    if compiler() is None:
        lacks.append("compiler")
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        lacks.append("python_headers")
    if device.kind == "cuda":
        from importlib.util import find_spec
        if find_spec("triton") is None:
            lacks.append("triton")
    return tuple(lacks)


# ------------------------------------------------------------------------------------------------------------------ speed, memory


def measure_peak(device: DeviceFacts | str, fresh: bool = False) -> dict[str, float]:
    """Floating-point operations a second of a large matrix product, by dtype, at this process's thread count.

    The best of a quarter of a second each. Kept in the machine file by device, torch version and threads; `fresh` measures again.
    """
    facts = choose(device) if isinstance(device, str) else device
    key = _peak_key(facts)
    stored = read_json(layout.machine_file(), {})
    known = stored.get("peaks", {}).get(key) if isinstance(stored, dict) else None
    if known and not fresh and set(facts.dtypes) <= set(known):
        return {dtype: float(value) for dtype, value in known.items()}
    measured = {dtype: _matmul_flops(facts.id, dtype) for dtype in facts.dtypes}
    remember("peaks", {key: measured}, merge=True)
    return measured


def _matmul_flops(device: str, dtype: str, seconds: float = MEASURE_SECONDS) -> float:
    """The size doubles until one product takes 5 ms, so that neither start-up nor a small cache sets the figure; then best of `seconds`."""
    import torch

    size, best = 512, 0.0
    while True:
        left = torch.randn(size, size, device=device).to(getattr(torch, dtype))
        right = torch.randn(size, size, device=device).to(getattr(torch, dtype))
        _timed_product(left, right)
        taken = min(_timed_product(left, right) for _ in range(2))
        best = max(best, 2 * size**3 / taken)
        if taken >= 0.005 or size >= 8192:
            break
        size *= 2
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        best = max(best, 2 * size**3 / _timed_product(left, right))
    return best


def _timed_product(left: "torch.Tensor", right: "torch.Tensor") -> float:
    synchronize(left.device)
    start = time.perf_counter()
    left @ right
    synchronize(left.device)
    return time.perf_counter() - start


def synchronize(device: "torch.device | str") -> None:
    """Wait for the device to finish what was asked of it; a CPU always has."""
    import torch

    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.synchronize(device)
    elif kind == "mps":
        torch.mps.synchronize()


def _peak_key(device: DeviceFacts) -> str:
    """Speed belongs to a device, a torch and a number of threads."""
    import torch

    return f"{device.title}|torch {torch.__version__}" + (f"|{torch.get_num_threads()} threads" if device.kind == "cpu" else "")


@dataclass(frozen=True)
class MemoryInUse:
    """Bytes this process holds on a device: now, and at most so far (`peak` equals the highest seen where the device keeps no record)."""

    now: int
    peak: int


def memory_in_use(device: DeviceFacts | str) -> MemoryInUse:
    """What this process holds on the device. MPS keeps no record of its peak: the driver's figure, which never shrinks, stands in."""
    import torch

    id = device if isinstance(device, str) else device.id
    if id.startswith("cuda"):
        return MemoryInUse(torch.cuda.memory_allocated(id), torch.cuda.max_memory_allocated(id))
    if id == "mps":
        return MemoryInUse(torch.mps.current_allocated_memory(), torch.mps.driver_allocated_memory())
    now = psutil.Process().memory_info().rss
    return MemoryInUse(now, max(now, _resident_peak()))


def _resident_peak() -> int:
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    if sys.platform == "linux":  # ru_maxrss would be wrong: a process inherits it from the one that started it
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


# ------------------------------------------------------------------------------------------------------------------ energy


def energy_counter(device: DeviceFacts) -> "_NvmlCounter | _RaplCounter | None":
    """Something with `joules()` that only grows, where the device tells its energy; None elsewhere. RAPL counts the whole package."""
    if device.energy == "nvml":
        import torch
        return _NvmlCounter.of(_cuda_uuid(torch.cuda.get_device_properties(device.id)))
    return _RaplCounter(_rapl_domains()) if device.energy == "rapl" else None


def _cuda_uuid(properties: Any) -> str:
    return f"GPU-{properties.uuid}" if getattr(properties, "uuid", None) else ""


class _NvmlCounter:
    """Energy of one NVIDIA GPU since its driver was loaded, through libnvidia-ml (it comes with the driver; no package needed)."""

    def __init__(self, library: ctypes.CDLL, handle: ctypes.c_void_p) -> None:
        self._library, self._handle = library, handle

    @classmethod
    def of(cls, uuid: str) -> "_NvmlCounter | None":
        """The counter of the GPU with this UUID; None where the driver or the GPU (before Volta) has none."""
        try:
            library = ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
        except OSError:
            return None
        handle = ctypes.c_void_p()
        if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle)):
            return None
        counter = cls(library, handle)
        return counter if counter._millijoules() is not None else None

    def _millijoules(self) -> int | None:
        value = ctypes.c_ulonglong()
        return None if self._library.nvmlDeviceGetTotalEnergyConsumption(self._handle, ctypes.byref(value)) else value.value

    def joules(self) -> float:
        return (self._millijoules() or 0) / 1e3


def _rapl_domains(root: Path = Path("/sys/class/powercap")) -> list[Path]:
    """Readable package counters (intel-rapl:0, ...); most systems let only root read them."""
    return [path for path in sorted(root.glob("intel-rapl:*")) if path.name.count(":") == 1 and os.access(path / "energy_uj", os.R_OK)]


class _RaplCounter:
    """Energy of the processor packages since this object was made; the hardware's counters wrap round and are unwrapped here."""

    def __init__(self, domains: list[Path]) -> None:
        self._domains = domains
        self._last = [self._read(domain / "energy_uj") for domain in domains]
        self._sum = 0

    @staticmethod
    def _read(path: Path) -> int:
        return int(path.read_text())

    def joules(self) -> float:
        for index, domain in enumerate(self._domains):
            value = self._read(domain / "energy_uj")
            used = value - self._last[index]
            self._sum += used if used >= 0 else used + self._read(domain / "max_energy_range_uj")
            self._last[index] = value
        return self._sum / 1e6


# ------------------------------------------------------------------------------------------------------------------ keeping


def remember(section: str, value: dict[str, Any], merge: bool = False) -> None:
    """Keep `value` under `section` of the machine file, replacing or merged by key. Two processes may do so at once.

    Measurements are a convenience: where the person's own folder cannot be written, they are not kept.
    """
    file = layout.machine_file()
    lock = FileLock(file.with_suffix(".lock"))
    try:
        end = time.monotonic() + 2
        while not lock.acquire():
            if time.monotonic() > end:
                return
            time.sleep(0.02)
        stored = read_json(file, {})
        stored = stored if isinstance(stored, dict) else {}
        stored[section] = {**stored.get(section, {}), **value} if merge else value
        write_json(file, stored)
    except (OSError, DiskFull):
        return
    finally:
        lock.release()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m engine.training.devices",
                                     description=tr("Prints the devices of this machine as JSON."))
    parser.add_argument("--json", action="store_true", help=tr("JSON is the only form; accepted for symmetry."))
    parser.add_argument("--measure", action="store_true", help=tr("Measure speeds that are not known yet (about a second)."))
    chosen = parser.parse_args(arguments)
    print(json.dumps(machine(measure=chosen.measure).to_json()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
