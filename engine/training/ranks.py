"""What the processes of one run tell each other: sums, and rank 0's decisions. With one process everything is as it was."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist


@contextmanager
def process_group(rank: int, world_size: int, device: str) -> Iterator["Ranks"]:
    """The group of a run under torchrun (NCCL between CUDA devices, gloo else), for the time of the block."""
    joined = world_size > 1 and not dist.is_initialized()
    if joined:
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo", rank=rank, world_size=world_size,
                                timeout=timedelta(hours=2))
    try:
        yield Ranks(rank, world_size, torch.device(device))
    finally:
        if joined:
            dist.destroy_process_group()


class Ranks:
    """`device` is where NCCL wants its tensors; gloo takes the CPU's."""

    def __init__(self, rank: int, world_size: int, device: torch.device) -> None:
        self.rank, self.world_size = rank, world_size
        self.device = device if world_size > 1 and dist.is_initialized() and dist.get_backend() == "nccl" else torch.device("cpu")

    def sum(self, *values: float) -> list[float]:
        """Each value added up over all ranks, in float64."""
        if self.world_size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        return tensor.tolist()

    def first(self, value: int) -> int:
        """Rank 0's value, everywhere."""
        return int(self.sum(float(value if self.rank == 0 else 0))[0])
