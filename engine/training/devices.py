"""The devices of this machine: found, named, chosen, opened. Nothing here trains or measures (see precision.py for the peak)."""

import os
import platform
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import torch
import torch.distributed as dist

from engine.contract.errors import DeviceUnavailable
from engine.contract.words import tr


@dataclass(frozen=True)
class Device:
    """`id` is torch's name ("cpu", "cuda:0", "mps"); `memory` and `free` in bytes; `threads` what the CPU side may use."""

    id: str
    name: str
    memory: int
    free: int
    threads: int

    @property
    def kind(self) -> str:
        return self.id.partition(":")[0]

    def open(self, rank: int = 0, world_size: int = 1) -> int:
        """Make this process ready to train on the device: threads, current device, and the process group under torchrun. Gives the threads.
        The number of threads is set here, once; nothing changes it while a run is under way."""
        threads = max(1, self.threads // world_size) if self.kind == "cpu" else self.threads
        torch.set_num_threads(threads)
        if self.kind == "cuda":
            torch.cuda.set_device(torch.device(self.id))
            torch.set_float32_matmul_precision("high")
        if world_size > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if self.kind == "cuda" else "gloo", rank=rank, world_size=world_size)
        return threads


def devices() -> list[Device]:
    """Every device that can train here, the best first; the CPU is always there."""
    threads = int(os.environ.get("FLEDGE_THREADS") or os.environ.get("OMP_NUM_THREADS") or _cores())
    found = []
    if torch.cuda.is_available():
        for n in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(n)
            found.append(Device(f"cuda:{n}", torch.cuda.get_device_name(n), total, free, threads))
    if torch.backends.mps.is_available():
        total = torch.mps.recommended_max_memory()
        found.append(Device("mps", platform.processor() or "Apple GPU", total, total - torch.mps.driver_allocated_memory(), threads))
    memory = psutil.virtual_memory()
    limit = _memory_limit()
    found.append(Device("cpu", _cpu_name(), min(memory.total, limit), min(memory.available, limit), threads))
    return found


def choose(asked: str = "auto") -> Device:
    """The device asked for ("auto": the best; "cuda" or "cuda:1", "mps", "cpu"). One that is not here is a DeviceUnavailable."""
    found = devices()
    if asked in ("", "auto"):
        local = int(os.environ.get("LOCAL_RANK", "0"))
        cards = [d for d in found if d.kind == "cuda"]
        return cards[local % len(cards)] if cards else found[0]
    name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if asked == "cuda" else asked
    match = next((d for d in found if d.id == name), None)
    if match is None:
        raise DeviceUnavailable(tr("This machine has no device {device}.", device=asked),
                                tr("It has: {known}.", known=", ".join(d.id for d in found)))
    return replace(match)


def peak_memory(device: torch.device) -> int:
    """Most bytes held so far (CUDA), or held now (MPS, CPU: the process's resident memory)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    return psutil.Process().memory_info().rss


def _cores() -> int:
    """Cores this process may use: physical ones, no more than its affinity allows."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


def _memory_limit() -> int:
    """The container's limit in bytes, if it has one."""
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            return int(Path(path).read_text())
        except (OSError, ValueError):
            continue
    return 1 << 62


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
