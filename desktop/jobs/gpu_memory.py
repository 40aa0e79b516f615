"""How much of a CUDA device is in use right now, asked of nvidia-smi, since the window has no torch. Blocks: call it in a thread."""

import subprocess


def cuda_memory(device: str) -> tuple[int, int] | None:
    """(used, total) bytes of "cuda:0", whoever uses them; None where nvidia-smi is missing or answers otherwise."""
    index = device.partition(":")[2] or "0"
    try:
        said = subprocess.run(["nvidia-smi", f"--id={index}", "--query-gpu=memory.used,memory.total", "--format=csv,noheader,nounits"],
                              capture_output=True, text=True, timeout=5, check=True).stdout
        used, total = (int(figure) for figure in said.strip().split(","))
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return used * 2**20, total * 2**20
