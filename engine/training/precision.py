"""Which number format, and whether torch.compile: decided by rule from figures measured on the device, and said in a sentence.

Rules, not stopwatches: the same machine decides the same way every time, so that the same seed gives the same weights. Weights and
optimizer are kept in float32; bfloat16 is for the arithmetic inside (Decoder.compute_dtype).
"""

import torch

from engine.contract.machine import DeviceFacts
from engine.contract.units import duration, number
from engine.contract.words import tr
from engine.training.devices import compile_lacks

BFLOAT16_FROM_WIDTH = 32
"""On a CPU, models narrower than this stay in float32; at a width of 48 bfloat16 is 1.6 times as fast, at 128 twice (measured, EPYC)."""

COMPILE_SECONDS = {"cpu": 30.0, "cuda": 60.0}
COMPILE_GAIN = {"cpu": 1.25, "cuda": 1.4}
"""What compiling costs once and brings to each step, by kind of device (CPU: measured, EPYC; CUDA: a guess that the run itself corrects).
Metal is left out: its compiler is not dependable yet."""


def choose_dtype(asked: str, facts: DeviceFacts, width: int) -> tuple[torch.dtype, str]:
    """(dtype, why). `asked` is auto, float32 or bfloat16."""
    if asked != "auto":
        return getattr(torch, asked), tr("{dtype}, as set.", dtype=asked)
    if "bfloat16" not in facts.dtypes:
        return torch.float32, tr("float32: this device has no bfloat16.")
    if facts.kind == "cpu" and width < BFLOAT16_FROM_WIDTH:
        return torch.float32, tr("float32: a width of {width} is too narrow to gain from bfloat16.", width=width)
    gain = facts.peak("bfloat16") / facts.peak("float32") if facts.peak("float32") else 0.0
    if 0 < gain < 1.2:
        return torch.float32, tr("float32: bfloat16 products are only {gain} times as fast here.", gain=number(gain, 1))
    if gain:
        return torch.bfloat16, tr("bfloat16: matrix products are {gain} times as fast here.", gain=number(gain, 1))
    return torch.bfloat16, tr("bfloat16: this device has it.")


def choose_compile(asked: str, facts: DeviceFacts, seconds: float) -> tuple[bool, str]:
    """(whether to compile, why). `seconds` is the estimate of the run without it."""
    if asked == "off":
        return False, tr("off, as set.")
    words = {"compiler": tr("no C++ compiler was found"), "python_headers": tr("Python's headers are missing"),
             "triton": tr("Triton is missing")}
    lacks = compile_lacks(facts)
    if lacks:
        return False, tr("off: {reason}.", reason=", ".join(words[lack] for lack in lacks))
    if asked == "on":
        return True, tr("on, as set.")
    if facts.kind not in COMPILE_GAIN:
        return False, tr("off: not dependable on this device.")
    cost, saved = COMPILE_SECONDS[facts.kind], seconds * (1 - 1 / COMPILE_GAIN[facts.kind])
    if saved < 1.5 * cost:
        return False, tr("off: it would save about {saved} and cost up to {cost} at the start.", saved=duration(saved), cost=duration(cost))
    return True, tr("on: it should save about {saved}, and costs up to {cost} at the start.", saved=duration(saved), cost=duration(cost))
