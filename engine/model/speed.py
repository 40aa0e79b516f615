"""How fast a device trains, by rule, before anything is measured: peak of matrix products, the share that a training step reaches, and
what the process itself takes. No torch; measured fits and speeds of earlier runs are better.
"""

from engine.contract.machine import DeviceFacts

PROCESS = {"cpu": 450 * 2**20, "cuda": 0, "mps": 0}
"""Bytes of the process itself: on a CPU the libraries count, on a GPU only what is allocated there is compared."""

MEMORY_SHARE = 0.9
"""Of the memory there is, what a run may be planned to take."""


def efficiency(kind: str, dtype: str, width: int) -> float:
    """Share of the matrix-product peak that a whole training step reaches, by width. Fitted to measured runs on an EPYC; for GPUs a
    guess."""
    best, half_way = {("cpu", "bfloat16"): (0.80, 180), ("cpu", "float32"): (0.75, 20), ("cuda", "bfloat16"): (0.55, 900),
                      ("cuda", "float32"): (0.6, 500), ("mps", "bfloat16"): (0.5, 500), ("mps", "float32"): (0.5, 400)}[kind, dtype]
    return best * width / (width + half_way)


def peak(device: DeviceFacts, dtype: str) -> float:
    """Measured operations a second; before any measurement a guess on the low side."""
    guess = {"cpu": 5e10 * max(1, device.threads), "cuda": 2e13, "mps": 4e12}[device.kind]
    half = {"cpu": 2.0, "cuda": 5.0, "mps": 1.5}[device.kind] if dtype == "bfloat16" else 1.0
    return device.peak(dtype) or guess * half


def launches(kind: str, layers: int) -> float:
    """Seconds that a forward and a backward take however little they compute."""
    return {"cpu": 6e-4, "cuda": 7e-4, "mps": 1.5e-3}[kind] * (layers + 1)
