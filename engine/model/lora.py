"""LoRA: small trained matrices beside the frozen ones of a Decoder (Hu et al., 2021, arXiv 2106.09685; rsLoRA: Kalajdzievski, 2023).

Each projection of `LoraSettings.targets` gets A (rank x in) and B (out x rank), and its output gains scale * x Aᵀ Bᵀ, exactly as PEFT does
for q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj and down_proj. The fused matrices hold several projections: their A's are stacked,
so that a fused matrix costs one small product on the way in. Dropout is drawn once for what goes into a fused matrix (PEFT: once for each
projection). Besides, the rows of chosen tokens may be trained, in the embedding and in the head (`TokenRows`; PEFT's
trainable_token_indices): matrices in the layers alone cannot make a token likely that the base has never met. What this file does not do:
files (adapter_files.py), 4-bit weights (quantized.py), training.

A and B are kept in float32 and cast to the dtype of the arithmetic where they are used, like every weight of the Decoder.

Shapes: N tokens, I and O what a matrix takes and gives, R rank, P projections in one matrix; B rows of a batch, T tokens, V vocabulary,
C hidden size, K tokens whose rows are trained.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.contract.errors import Mismatch, SettingError
from engine.contract.words import tr
from engine.model.decoder import Decoder, Linear, seeded_generator
from engine.model.lora_shape import LoraSettings, Projection, adapter_parameters, check_tokens, projections, row_names, targeted
from engine.model.loss import Rows

__all__ = ["LoraLinear", "LoraSettings", "Projection", "TokenRows", "adapter_parameters", "add_lora", "delta", "freeze", "has_lora",
           "load_lora", "lora_modules", "lora_parameters", "lora_state", "merge_lora", "projections", "targeted", "trained_parameters",
           "without_lora"]


class LoraLinear(nn.Module):
    """A frozen matrix with adapters. It keeps the names of the matrix it stands for (`weight`, `bias`), so that its weights load and save
    as before; `lora_A` [P R, I] and `lora_B` [rows of its projections, R] are its own. `enabled` False: the matrix alone."""

    def __init__(self, base: nn.Module, parts: tuple[Projection, ...], settings: LoraSettings) -> None:
        super().__init__()
        if isinstance(base, Linear):
            self.weight, self.bias, self.quantized = base.weight, base.bias, None
            device = base.weight.device
        else:  # engine.model.quantized.FourBitLinear
            self.weight, self.bias, self.quantized = None, base.bias, base.quantized
            device = base.quantized.packed.device
        self.in_features, self.out_features = base.in_features, base.out_features
        self.parts, self.rank, self.scale, self.dropout, self.enabled = parts, settings.rank, settings.scale, settings.dropout, True
        self.spans = tuple((p.first, p.first + p.rows) for p in parts)
        self.lora_A = nn.Parameter(torch.empty(len(parts) * self.rank, self.in_features, device=device))
        self.lora_B = nn.Parameter(torch.zeros(sum(p.rows for p in parts), self.rank, device=device))

    def frozen(self, dtype: torch.dtype) -> Tensor:
        """The frozen matrix [O, I] in `dtype`."""
        return self.weight.to(dtype) if self.quantized is None else self.quantized.dequantized(dtype)

    def adapters(self) -> Iterator[tuple[Projection, Tensor, Tensor]]:
        """(projection, its A [R, I], its B [rows, R]) as views."""
        rows = 0
        for n, part in enumerate(self.parts):
            yield part, self.lora_A[n * self.rank:(n + 1) * self.rank], self.lora_B[rows:rows + part.rows]
            rows += part.rows

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        if not self.enabled:
            return F.linear(x, self.frozen(x.dtype), bias) if self.quantized is None else self.quantized.product(x, bias)
        a, b = self.lora_A.to(x.dtype), self.lora_B.to(x.dtype)
        if self.training and self.dropout:
            base = F.linear(x, self.frozen(x.dtype), bias) if self.quantized is None else self.quantized.product(x, bias)
            return base + self._added(F.dropout(x, self.dropout), a, b)
        if torch.compiler.is_compiling():
            base = F.linear(x, self.frozen(x.dtype), bias) if self.quantized is None else self.quantized.product(x, bias)
            return base + self._added(x, a, b)
        return _Adapted.apply(x, a, b, self, bias)

    def _added(self, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """scale * x Aᵀ Bᵀ, each projection's at its place."""
        z = F.linear(x, a) * self.scale
        rows = [end - begin for begin, end in self.spans]
        pieces, at = [], 0
        for (begin, end), z_part, b_part in zip(self.spans, z.split(self.rank, -1), b.split(rows), strict=True):
            if begin > at:
                pieces.append(z.new_zeros(*z.shape[:-1], begin - at))
            pieces.append(F.linear(z_part, b_part))
            at = end
        if at < self.out_features:
            pieces.append(z.new_zeros(*z.shape[:-1], self.out_features - at))
        return torch.cat(pieces, -1) if len(pieces) > 1 else pieces[0]

    def extra_repr(self) -> str:
        return f"{self.in_features} -> {self.out_features}, {'+'.join(p.name for p in self.parts)}, rank {self.rank}"


class _Adapted(torch.autograd.Function):
    """The frozen product with the adapters added in place: no gradient of the large matrix, no copy of the output, and what the frozen
    product would keep for a gradient that nobody needs is not kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor, b: Tensor, module: LoraLinear, bias: Tensor | None) -> Tensor:
        flat_NI = x.reshape(-1, x.shape[-1])
        weight_OI = module.frozen(x.dtype)
        out_NO = F.linear(flat_NI, weight_OI, bias)
        z_NPR = (flat_NI @ a.T).mul_(module.scale)
        rows = [end - begin for begin, end in module.spans]
        for (begin, end), z_NR, b_oR in zip(module.spans, z_NPR.split(module.rank, 1), b.split(rows), strict=True):
            out_NO[:, begin:end].addmm_(z_NR, b_oR.T)
        ctx.module = module
        keep_copy = module.quantized is None and x.dtype != module.weight.dtype  # cast once; 4-bit weights are unpacked again instead
        ctx.save_for_backward(flat_NI, a, b, z_NPR, weight_OI if keep_copy else None)
        return out_NO.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None, None]:  # type: ignore[override]
        flat_NI, a, b, z_NPR, copy_OI = ctx.saved_tensors
        module = ctx.module
        grad_NO = grad.reshape(-1, grad.shape[-1])
        rows = [end - begin for begin, end in module.spans]
        grad_b, grad_z = torch.empty_like(b), torch.empty_like(z_NPR)
        for (begin, end), z_NR, b_oR, gb_oR, gz_NR in zip(module.spans, z_NPR.split(module.rank, 1), b.split(rows), grad_b.split(rows),
                                                          grad_z.split(module.rank, 1), strict=True):
            part_No = grad_NO[:, begin:end]
            torch.mm(part_No.T, z_NR, out=gb_oR)
            torch.mm(part_No, b_oR, out=gz_NR)
        grad_z.mul_(module.scale)
        grad_x = None
        if ctx.needs_input_grad[0]:
            weight_OI = module.frozen(grad.dtype) if copy_OI is None else copy_OI
            grad_x = (grad_NO @ weight_OI).addmm_(grad_z, a).view(*grad.shape[:-1], -1)
        return grad_x, grad_z.T @ flat_NI, grad_b, None, None


class TokenRows(nn.Module):
    """Trained rows of the table of tokens that stand in the place of the frozen ones: `embed` [K, C], and `head` where that is a matrix of
    its own (else None, and `embed` serves both). They are the rows themselves, as PEFT keeps them, not what is added to them: what they
    mean does not hang on the base. `enabled` False: the base's own rows."""

    def __init__(self, model: Decoder, ids: tuple[int, ...]) -> None:
        super().__init__()
        self.ids, self.enabled = ids, True
        ids_K = torch.tensor(ids, device=model.device)
        places_V = torch.full((model.config.vocab_size,), -1, device=model.device)
        places_V[ids_K] = torch.arange(len(ids), device=model.device)
        self.register_buffer("ids_K", ids_K, persistent=False)
        self.register_buffer("places_V", places_V, persistent=False)
        tables = {name: weight[ids_K].detach().float() for name, weight in _tables(model)}
        self.embed = nn.Parameter(tables["embed"])
        self.head = nn.Parameter(tables["head"]) if "head" in tables else None

    def embedded(self, tokens_BT: Tensor, x_BTC: Tensor) -> Tensor:
        """`x_BTC`, what the base's table gives, with these rows at their tokens."""
        if not self.enabled:
            return x_BTC
        places_BT = F.embedding(tokens_BT, self.places_V[:, None]).squeeze(-1)
        own_BTC = F.embedding(places_BT.clamp(min=0), self.embed).to(x_BTC.dtype)  # cast last, so that gradients are summed in float32
        return torch.where((places_BT >= 0)[..., None], own_BTC, x_BTC)

    def of_head(self) -> Rows | None:
        """As engine.model.loss takes them."""
        return (self.ids_K, self.embed if self.head is None else self.head) if self.enabled else None

    def extra_repr(self) -> str:
        return ", ".join(map(str, self.ids))


def _tables(model: Decoder) -> list[tuple[str, nn.Parameter]]:
    """(what lora_shape.row_names calls it, its weight) of each table with a row for each token."""
    weights = {"embed": model.embed.weight, "head": model.head_weight_VC}
    return [(name, weights[name]) for name in row_names(model.config)]


def add_lora(model: Decoder, settings: LoraSettings, seed: int, *, frozen_dtype: torch.dtype | None = None) -> None:
    """Freeze the model and put adapters beside its matrices: A as PEFT draws it (Kaiming uniform), B zero; the settings' tokens get rows of
    their own, copies of the table's. At first nothing changes.

    Each A has a CPU stream of its own, made from the seed and its name: the same on any device and for any choice of targets.
    frozen_dtype  what the frozen weights are kept in from now on (None: as they are); the arithmetic's dtype saves the casts and memory.

    Raises SettingError (nothing to adapt), Mismatch (no such token).
    """
    assert not has_lora(model), "this model has adapters already"
    chosen = targeted(model.config, settings)
    check_tokens(model.config, settings)
    rows = TokenRows(model, settings.tokens) if settings.tokens else None
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    if frozen_dtype is not None:
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.data = parameter.data.to(frozen_dtype)
    for layer in model.layers:
        for place in dict.fromkeys(p.module for p in chosen):
            owner, _, last = place.rpartition(".")
            parent = layer.get_submodule(owner)
            setattr(parent, last, LoraLinear(getattr(parent, last), tuple(p for p in chosen if p.module == place), settings))
    model.lora, model.tokens = settings, rows
    _initialize(model, seed)


@torch.no_grad()
def _initialize(model: Decoder, seed: int) -> None:
    for name, a, b in _named(model):
        bound = 1 / math.sqrt(a.shape[1])  # kaiming_uniform_ with a = sqrt(5)
        a.copy_(torch.empty(a.shape, device="cpu").uniform_(-bound, bound, generator=seeded_generator(seed, name + ".lora_A")))
        b.zero_()


def lora_modules(model: nn.Module) -> Iterator[LoraLinear]:
    return (module for module in model.modules() if isinstance(module, LoraLinear))


def has_lora(model: nn.Module) -> bool:
    return next(lora_modules(model), None) is not None


def lora_parameters(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """What is trained, by name: for the optimizer."""
    return [(name, p) for name, p in model.named_parameters() if name.endswith((".lora_A", ".lora_B", "tokens.embed", "tokens.head"))]


def _named(model: Decoder) -> Iterator[tuple[str, Tensor, Tensor]]:
    """("layers.0.attention.q", its A, its B) for each adapter, views into the parameters."""
    for index, layer in enumerate(model.layers):
        for module in lora_modules(layer):
            for part, a, b in module.adapters():
                yield f"layers.{index}.{part.part}.{part.name}", a, b


def lora_state(model: Decoder) -> dict[str, Tensor]:
    """The adapters' tensors, a pair for each projection: "layers.0.attention.q.lora_A" [R, I] and ".lora_B" [rows, R]; where the settings
    name tokens "tokens.embed" [K, C], with an untied head "tokens.head" too. Views."""
    made = {f"{name}.{which}": tensor.detach() for name, a, b in _named(model) for which, tensor in (("lora_A", a), ("lora_B", b))}
    if model.tokens is not None:
        made |= {f"tokens.{name}": p.detach() for name, p in model.tokens.named_parameters()}
    return made


@torch.no_grad()
def load_lora(model: Decoder, tensors: dict[str, Tensor]) -> None:
    """Fill the adapters, in place. Names and shapes must be exactly those of `lora_state`, else Mismatch."""
    wanted = lora_state(model)
    remedy = tr("The adapter belongs to another model, or to other LoRA settings.")
    for name in sorted(wanted.keys() | tensors.keys()):
        if name not in tensors:
            raise Mismatch(tr("The adapter lacks {name}.", name=name), remedy)
        if name not in wanted:
            raise Mismatch(tr("The adapter holds {name}, which its settings do not ask for.", name=name), remedy)
        if tensors[name].shape != wanted[name].shape:
            raise Mismatch(tr("{name} of the adapter is {found}, and should be {wanted}.", name=name,
                              found=" × ".join(map(str, tensors[name].shape)), wanted=" × ".join(map(str, wanted[name].shape))), remedy)
    for name, tensor in wanted.items():
        tensor.copy_(tensors[name])


def delta(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """What an adapter adds to its matrix, or B's rows to theirs: float32."""
    return (b.float() @ a.float()).mul_(scale)


@torch.no_grad()
def merge_lora(model: Decoder) -> None:
    """Add each adapter to its matrix, put each token's row into its table, in place, and take the adapters away: the same function as an
    ordinary model, whose weights can be trained again. Added in float32 and rounded once to the dtype of the weights.

    For weights kept in bfloat16 or in 4 bits the sum is rounded (or, in 4 bits, not possible: Mismatch): load the base anew in float32
    (checkpoint.load_model of an adapter's folder does).
    """
    if any(module.quantized is not None for module in lora_modules(model)):
        raise Mismatch(tr("An adapter cannot be added to weights of 4 bits."), tr("Load its base in full precision and merge there."))
    for layer in model.layers:
        for name, module in [(n, m) for n, m in layer.named_modules() if isinstance(m, LoraLinear)]:
            for part, a, b in module.adapters():
                rows = module.weight[part.first:part.first + part.rows]
                rows.copy_(rows.float() + delta(a, b, module.scale))
            with torch.device("meta"):
                plain = Linear(module.in_features, module.out_features, bias=module.bias is not None)
            plain.weight, plain.bias = module.weight, module.bias
            owner, _, last = name.rpartition(".")
            setattr(layer.get_submodule(owner), last, plain)
    if model.tokens is not None:
        trained = dict(model.tokens.named_parameters())
        for name, weight in _tables(model):
            weight[model.tokens.ids_K] = trained[name].to(weight.dtype)
    model.lora = model.tokens = None
    for parameter in model.parameters():
        parameter.requires_grad_(True)


@contextmanager
def without_lora(model: nn.Module) -> Iterator[None]:
    """The model as it was before adapters, for the length of a `with`: the reference of DPO and PPO at no memory. Also through DDP or a
    compiled form, as they hold the same modules."""
    modules = [module for module in model.modules() if isinstance(module, LoraLinear | TokenRows)]
    before = [module.enabled for module in modules]
    try:
        for module in modules:
            module.enabled = False
        yield
    finally:
        for module, enabled in zip(modules, before, strict=True):
            module.enabled = enabled


def freeze(model: Decoder, layers: int = 0, embeddings: bool = False, rows: Sequence[int] = ()) -> None:
    """For full training: the first `layers` layers stay as they are, and with `embeddings` the table of tokens (with it the head, where the
    two are one) and learned positions, but for `rows` of the table. Everything else is trained. Raises SettingError when there are not so
    many layers."""
    if layers > len(model.layers):
        raise SettingError(tr("{layers} layers cannot be frozen: the model has {count}.", layers=layers, count=len(model.layers)),
                           tr("Freeze fewer."), field="frozen_layers")
    assert not has_lora(model), "with adapters everything else is frozen already"
    model.requires_grad_(True)
    for module in (*model.layers[:layers], *((model.embed, model.positions) if embeddings else ())):
        if module is not None:
            module.requires_grad_(False)
    if embeddings and rows:
        _train_rows(model.embed.weight, rows)


def _train_rows(weight_VC: nn.Parameter, rows: Sequence[int]) -> None:
    """Only these rows get a gradient: AdamW leaves a row whose gradient was always 0 exactly as it is, where it does not decay."""
    weight_VC.requires_grad_(True)
    kept_V1 = torch.zeros(len(weight_VC), 1, dtype=torch.bool, device=weight_VC.device)
    kept_V1[list(rows)] = True
    weight_VC.register_hook(lambda grad_VC: torch.where(kept_V1, grad_VC, 0.0))
    weight_VC.undecayed = True  # type: ignore[attr-defined]


def trained_parameters(parameters: Iterable[nn.Parameter]) -> int:
    return sum(p.numel() for p in parameters if p.requires_grad)
