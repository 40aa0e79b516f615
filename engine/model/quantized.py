"""The frozen matrices of a model in 4 bits, for QLoRA (Dettmers et al., 2023, arXiv 2305.14314): NF4 in blocks of 64, their scales in 8
bits. bitsandbytes packs and unpacks (the optional extra `qlora`); a matrix is unpacked where it is used and forgotten.

Only the matrices of the layers are packed; the embedding, the head and the norms stay as they are. Nothing here trains: adapters (lora.py)
are put beside the packed matrices. What is trained on the packed base is afterwards added to the base in full precision, which differs from
the packed one by its rounding, as with every QLoRA.

The arithmetic runs on any device (the tests run it on a CPU), but packing spares the memory of a graphics card and costs time, so a run
that asks for it elsewhere is refused in words.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.model.checkpoint import load_model
from engine.model.decoder import Decoder, Linear
from engine.model.lora_shape import FOUR_BIT_LIBRARY
from engine.model.lora_shape import check_four_bit as check

BLOCK = 64


def load_four_bit(folder: Path, device: torch.device | str, dtype: torch.dtype) -> Decoder:
    """The model of a folder with its matrices packed, everything else in `dtype`, on `device`; the whole is only ever in the CPU's memory.
    Raises what `check` and checkpoint.load_model raise."""
    check(torch.device(device).type)
    model = load_model(folder, "cpu", dtype)
    quantize(model, device)
    return model.to(device)


@torch.no_grad()
def quantize(model: Decoder, device: torch.device | str = "cpu") -> None:
    """Pack the matrices of the layers, in place, one after another, each on `device`. They come back in the dtype that they have now."""
    for layer in model.layers:
        for name, module in [(n, m) for n, m in layer.named_modules() if isinstance(m, Linear)]:
            owner, _, last = name.rpartition(".")
            setattr(layer.get_submodule(owner), last, FourBitLinear(module, torch.device(device)))


class FourBitWeight(nn.Module):
    """One packed matrix. Its tensors are no parameters or buffers: they are never saved, and ranks need not share them."""

    def __init__(self, weight_OI: Tensor, device: torch.device) -> None:
        super().__init__()
        functional = import_module(f"{FOUR_BIT_LIBRARY}.functional")
        self._unpack = functional.dequantize_4bit
        self.packed, self._state = functional.quantize_4bit(weight_OI.detach().to(device).contiguous(), blocksize=BLOCK, quant_type="nf4",
                                                            compress_statistics=True)

    @property
    def nbytes(self) -> int:
        scales = (self._state.absmax, self._state.code, self._state.state2.absmax, self._state.state2.code)
        return self.packed.nbytes + sum(tensor.nbytes for tensor in scales)

    def dequantized(self, dtype: torch.dtype) -> Tensor:
        """The matrix [O, I]."""
        return self._unpack(self.packed, self._state).to(dtype)

    def product(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """x Wᵀ + bias; backward unpacks the matrix anew instead of keeping it."""
        return _Product.apply(x, bias, self)


class FourBitLinear(nn.Module):
    """Stands for a Linear whose weight is frozen."""

    def __init__(self, base: Linear, device: torch.device) -> None:
        super().__init__()
        self.in_features, self.out_features = base.in_features, base.out_features
        self.quantized = FourBitWeight(base.weight, device)
        self.bias = base.bias

    def forward(self, x: Tensor) -> Tensor:
        return self.quantized.product(x, None if self.bias is None else self.bias.to(x.dtype))


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor | None, weight: FourBitWeight) -> Tensor:
        ctx.weight = weight
        return F.linear(x, weight.dequantized(x.dtype), bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, None]:  # type: ignore[override]
        return (grad @ ctx.weight.dequantized(grad.dtype) if ctx.needs_input_grad[0] else None), None, None
