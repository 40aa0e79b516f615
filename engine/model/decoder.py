"""The decoder-only transformer: the Llama shape and the GPT-2 shape from one config. What it does not do: sampling, optimizers, files.

Queries, keys and values come from one matrix, gate and up from another: fewer, larger products are faster on every device measured.
`matrix_parts` says where their borders are, for optimizers that treat each matrix by itself (Muon) and for the foreign formats (hf.py).
RoPE is half-split, as in transformers; gguf's interleaved order is its exporter's business.

Weights may stay in float32 while the arithmetic is bfloat16: set `compute_dtype`, and each matrix is cast where it is used. Dropout falls
on the embedding and on what attention and MLP add to the residual stream, not on attention probabilities (no fast kernel has that).

Shapes: B rows, T tokens, C hidden size, H query heads, K key/value heads, D head dimension, M MLP size, V vocabulary.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from engine.model import loss as losses
from engine.model.attention import Documents, causal_attention
from engine.model.config import ModelConfig
from engine.model.kv_cache import KVCache, Plan


def seeded_generator(seed: int, name: str) -> torch.Generator:
    """A CPU stream of a tensor's own, made from the seed and its name: the same weights on any device, in any order."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


class Linear(nn.Linear):
    """A matrix whose weight is cast to the dtype of what comes in."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))


class Norm(nn.Module):
    """RMSNorm (Llama) or LayerNorm (GPT-2) over the last dimension."""

    def __init__(self, size: int, eps: float, layer_norm: bool) -> None:
        super().__init__()
        self.size, self.eps = size, eps
        self.weight = nn.Parameter(torch.empty(size))
        self.bias = nn.Parameter(torch.empty(size)) if layer_norm else None

    def forward(self, x: Tensor) -> Tensor:
        if self.bias is None:
            return rms_norm(x, self.weight, self.eps)
        return F.layer_norm(x, (self.size,), self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return F.rms_norm(x, (x.shape[-1],), weight.to(x.dtype), eps)


def rotate(x_BTHD: Tensor, cos_T1D: Tensor, sin_T1D: Tensor) -> Tensor:
    """Half-split RoPE: element i turns with element i + D/2. cos and sin are [.., T, 1, D/2] and broadcast over heads."""
    if torch.compiler.is_compiling():  # which fuses this better than anything written by hand
        first, second = x_BTHD.chunk(2, -1)
        return torch.cat((first * cos_T1D - second * sin_T1D, second * cos_T1D + first * sin_T1D), -1)
    return _Rotate.apply(x_BTHD, cos_T1D, sin_T1D)


class _Rotate(torch.autograd.Function):
    """The gradient of a turn is the turn back: half the work that autograd would find."""

    @staticmethod
    def forward(ctx: Any, x_BTHD: Tensor, cos_T1D: Tensor, sin_T1D: Tensor) -> Tensor:
        ctx.save_for_backward(cos_T1D, sin_T1D)
        return _turned(x_BTHD, cos_T1D, sin_T1D, 1)

    @staticmethod
    def backward(ctx: Any, grad_BTHD: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        cos_T1D, sin_T1D = ctx.saved_tensors
        return _turned(grad_BTHD, cos_T1D, sin_T1D, -1), None, None


def _turned(x_BTHD: Tensor, cos_T1D: Tensor, sin_T1D: Tensor, sign: int) -> Tensor:
    first, second = x_BTHD.chunk(2, -1)
    out = torch.empty(x_BTHD.shape, dtype=x_BTHD.dtype, device=x_BTHD.device)
    left, right = out.chunk(2, -1)
    torch.mul(first, cos_T1D, out=left)
    torch.mul(second, cos_T1D, out=right)
    left.addcmul_(second, sin_T1D, value=-sign)
    right.addcmul_(first, sin_T1D, value=sign)
    return out


def rope_frequencies(config: ModelConfig) -> Tensor:
    """Angle per position of each of the D/2 pairs, float32; scaled as Llama 3.1 does if the config says so (arXiv 2407.21783)."""
    d = config.head_dim
    freqs = 1.0 / (config.rope_theta ** (torch.arange(0, d, 2, dtype=torch.int64).float() / d))
    scaling = config.rope_scaling
    if not scaling:
        return freqs
    kind = scaling["rope_type"]
    if kind == "linear":
        return freqs / scaling["factor"]
    assert kind == "llama3", kind
    low, high, old = scaling["low_freq_factor"], scaling["high_freq_factor"], scaling["original_max_position_embeddings"]
    wavelength = 2 * math.pi / freqs
    smooth = (old / wavelength - low) / (high - low)
    blended = (1 - smooth) * freqs / scaling["factor"] + smooth * freqs
    scaled = torch.where(wavelength > old / low, freqs / scaling["factor"], freqs)
    middle = (wavelength <= old / low) & (wavelength >= old / high)
    return torch.where(middle, blended, scaled)


class Attention(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim, self.eps = config.num_heads, config.num_kv_heads, config.head_dim, config.norm_eps
        c, d = config.hidden_size, config.head_dim
        self.qkv = Linear(c, (self.heads + 2 * self.kv_heads) * d, bias=config.attention_bias)
        self.output = Linear(self.heads * d, c, bias=config.output_bias)
        self.q_norm = Norm(d, config.norm_eps, False) if config.qk_norm else None
        self.k_norm = Norm(d, config.norm_eps, False) if config.qk_norm else None

    def forward(self, x_BTC: Tensor, rope: tuple[Tensor, Tensor] | None, documents: Documents | None, plan: Plan | None,
                layer: int) -> Tensor:
        b, t, _ = x_BTC.shape
        h, k = self.heads, self.kv_heads
        qkv = self.qkv(x_BTC).view(b, t, h + 2 * k, self.head_dim)
        if self.q_norm is not None and self.k_norm is not None:
            q_BTHD, k_BTKD, v_BTKD = qkv.split((h, k, k), 2)
            q_BTHD, k_BTKD = self.q_norm(q_BTHD), self.k_norm(k_BTKD)
            if rope is not None:
                q_BTHD, k_BTKD = rotate(q_BTHD, *rope), rotate(k_BTKD, *rope)
        else:
            both, v_BTKD = qkv.split((h + k, k), 2)
            if rope is not None:
                both = rotate(both, *rope)
            q_BTHD, k_BTKD = both.split((h, k), 2)
        if plan is None:
            out_BTHD = causal_attention(q_BTHD, k_BTKD, v_BTKD, documents)
        else:
            out_BTHD = plan.attend(layer, q_BTHD, k_BTKD, v_BTKD)
        return self.output(out_BTHD.flatten(2))


class MLP(nn.Module):
    """SwiGLU (Llama) or GELU in its tanh form (GPT-2)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gated = config.shape == "llama"
        if self.gated:
            self.gate_up = Linear(config.hidden_size, 2 * config.intermediate_size, bias=config.mlp_bias)
        else:
            self.up = Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.down = Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)

    def forward(self, x_BTC: Tensor) -> Tensor:
        if self.gated:
            gate, up = self.gate_up(x_BTC).chunk(2, -1)
            return self.down(F.silu(gate) * up)
        return self.down(F.gelu(self.up(x_BTC), approximate="tanh"))


class Layer(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        layer_norm = config.shape == "gpt2"
        self.attention_norm = Norm(config.hidden_size, config.norm_eps, layer_norm)
        self.attention = Attention(config)
        self.mlp_norm = Norm(config.hidden_size, config.norm_eps, layer_norm)
        self.mlp = MLP(config)
        self.dropout = config.dropout

    def forward(self, x_BTC: Tensor, rope: tuple[Tensor, Tensor] | None, documents: Documents | None, plan: Plan | None,
                layer: int) -> Tensor:
        x_BTC = x_BTC + self._drop(self.attention(self.attention_norm(x_BTC), rope, documents, plan, layer))
        return x_BTC + self._drop(self.mlp(self.mlp_norm(x_BTC)))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout) if self.training and self.dropout else x


class Decoder(nn.Module):
    """Made on the device of the torch.device context with weights of the given seed, or on "meta" without any (see checkpoint.py).

    compute_dtype             dtype of the arithmetic; None: that of the weights
    activation_checkpointing  recompute each layer in backward instead of keeping what it computed
    lora                      settings of the adapters it has (lora.py), None without
    tokens                    rows of the table of tokens that stand in the place of its own (lora.TokenRows), None without
    """

    def __init__(self, config: ModelConfig, *, seed: int | None = 0) -> None:
        """`seed` None leaves the weights uninitialised, for a caller that fills them."""
        super().__init__()
        self.config = config
        self.compute_dtype: torch.dtype | None = None
        self.activation_checkpointing = False
        self.lora: Any = None
        self.tokens: Any = None
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size, _weight=torch.empty(config.vocab_size, config.hidden_size))
        self.positions = None
        if config.shape == "gpt2":
            table = torch.empty(config.max_seq_len, config.hidden_size)
            self.positions = nn.Embedding(config.max_seq_len, config.hidden_size, _weight=table)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_layers))
        self.norm = Norm(config.hidden_size, config.norm_eps, config.shape == "gpt2")
        self.head = None if config.tie_embeddings else Linear(config.hidden_size, config.vocab_size, bias=False)
        self.register_buffer("rope_cos", None, persistent=False)
        self.register_buffer("rope_sin", None, persistent=False)
        if self.embed.weight.device.type != "meta":
            self.fill_rope()
            if seed is not None:
                self.initialize(seed)

    def fill_rope(self) -> None:
        """Computes the RoPE tables on the weights' device: float32 whatever the weights are. After a load onto real memory."""
        if self.config.shape == "llama":
            device = self.embed.weight.device
            freqs = rope_frequencies(self.config)
            angles = torch.outer(torch.arange(self.config.max_seq_len, device="cpu").float(), freqs.to("cpu"))
            self.rope_cos, self.rope_sin = angles.cos().to(device), angles.sin().to(device)

    @torch.no_grad()
    def initialize(self, seed: int) -> None:
        """Normal(0, 0.02), what adds to the residual stream by 1/sqrt(2 L) less; norms 1, biases 0 (GPT-2's recipe).

        Each tensor has a stream of its own (`seeded_generator`).
        """
        scaled = 0.02 / math.sqrt(2 * self.config.num_layers)
        for name, weight in self.named_parameters():
            if name.endswith("bias"):
                weight.zero_()
            elif weight.dim() == 1:
                weight.fill_(1.0)
            else:
                generator = seeded_generator(seed, name)
                std = scaled if name.endswith(("attention.output.weight", "mlp.down.weight")) else 0.02
                weight.copy_(torch.empty(weight.shape, device="cpu").normal_(0.0, std, generator=generator))

    @property
    def device(self) -> torch.device:
        return self.embed.weight.device

    @property
    def head_weight_VC(self) -> Tensor:
        return self.embed.weight if self.head is None else self.head.weight

    @property
    def head_rows(self) -> losses.Rows | None:
        """Rows that stand in the place of the head's own: (ids_K, rows_KC)."""
        return None if self.tokens is None else self.tokens.of_head()

    def forward(self, tokens_BT: Tensor, *, targets_BT: Tensor | None = None, reduction: str = "mean",
                document_lengths: Sequence[Sequence[int]] | Documents | None = None, cache: KVCache | Plan | None = None,
                positions: Tensor | None = None) -> Tensor:
        """Hidden states after the final norm, hidden_BTC; with `targets_BT` their cross entropy instead (see `loss`).

        document_lengths  lengths of the documents packed into each row; they do not see each other. A `Documents` made beforehand saves
                          the work per call and keeps shapes static for torch.compile
        cache             keys and values so far; these tokens are appended to its rows (see KVCache.plan)
        positions         positions_BT of the tokens where they are not 0, 1, 2, .. or what the cache knows
        """
        plan = None
        if cache is not None:
            assert document_lengths is None, "packed documents and a cache exclude each other"
            plan = cache.plan(tokens_BT.shape[1]) if isinstance(cache, KVCache) else cache
            if positions is None:
                positions = plan.positions_BT
        documents = None
        if document_lengths is not None:
            documents = document_lengths if isinstance(document_lengths, Documents) else Documents.of(
                document_lengths, tokens_BT.shape[1], tokens_BT.device)
            if positions is None and self.positions is not None:  # RoPE is relative: only learned positions need to start anew
                positions = documents.positions_BT
        hidden_BTC = self._hidden(tokens_BT, documents, plan, positions)
        if plan is not None:
            plan.done()
        return hidden_BTC if targets_BT is None else self.loss(hidden_BTC, targets_BT, reduction=reduction)

    def _hidden(self, tokens_BT: Tensor, documents: Documents | None, plan: Plan | None, positions: Tensor | None) -> Tensor:
        t = tokens_BT.shape[1]
        longest = t if documents is None or positions is None else documents.longest  # a row may hold many documents end to end
        assert longest <= self.config.max_seq_len, f"{longest} tokens, the model's context is {self.config.max_seq_len}"
        x_BTC = F.embedding(tokens_BT, self.embed.weight)
        if self.compute_dtype is not None:
            x_BTC = x_BTC.to(self.compute_dtype)
        if self.tokens is not None:
            x_BTC = self.tokens.embedded(tokens_BT, x_BTC)
        rope = None
        if self.positions is not None:
            places = self.positions.weight[:t] if positions is None else F.embedding(positions, self.positions.weight)
            x_BTC = x_BTC + places.to(x_BTC.dtype)
        elif positions is None:
            rope = (self.rope_cos[:t, None].to(x_BTC.dtype), self.rope_sin[:t, None].to(x_BTC.dtype))
        else:
            rope = (self.rope_cos[positions][:, :, None].to(x_BTC.dtype), self.rope_sin[positions][:, :, None].to(x_BTC.dtype))
        if self.training and self.config.dropout:
            x_BTC = F.dropout(x_BTC, self.config.dropout)
        recompute = self.activation_checkpointing and self.training and torch.is_grad_enabled()
        for index, layer in enumerate(self.layers):
            if recompute:
                x_BTC = checkpoint(layer, x_BTC, rope, documents, None, index, use_reentrant=False)
            else:
                x_BTC = layer(x_BTC, rope, documents, plan, index)
        return self.norm(x_BTC)

    def logits(self, hidden_BTC: Tensor) -> Tensor:
        """logits_BTV in the dtype of `hidden`."""
        return losses.head_logits(hidden_BTC, self.head_weight_VC, self.head_rows)

    def loss(self, hidden_BTC: Tensor, targets_BT: Tensor, *, reduction: str = "mean", ignore_index: int = losses.IGNORE,
             chunked: bool | None = None) -> Tensor:
        """Cross entropy in nats, float32: "mean" over the targets that count, "sum", or "none" for loss_BT. Chunked when logits are big."""
        return losses.cross_entropy(hidden_BTC, self.head_weight_VC, targets_BT, reduction=reduction, ignore_index=ignore_index,
                                    chunked=chunked, rows=self.head_rows)

    def logprobs(self, hidden_BTC: Tensor, targets_BT: Tensor, *, temperature: float = 1.0, ignore_index: int = losses.IGNORE,
                 chunked: bool | None = None) -> Tensor:
        """logprobs_BT of the targets with gradients, float32; 0 where ignored."""
        return losses.token_logprobs(hidden_BTC, self.head_weight_VC, targets_BT, ignore_index=ignore_index, temperature=temperature,
                                     chunked=chunked, rows=self.head_rows)

    def matrix_parts(self) -> Iterator[tuple[str, nn.Parameter, tuple[int, ...]]]:
        """The matrices of the layers: (name, weight, rows of each part), say ("layers.0.attention.qkv.weight", w, (H D, K D, K D))."""
        c = self.config
        for name, weight in self.named_parameters():
            if name.startswith("layers.") and weight.dim() == 2:
                if name.endswith("qkv.weight"):
                    yield name, weight, (c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim, c.num_kv_heads * c.head_dim)
                elif name.endswith("gate_up.weight"):
                    yield name, weight, (c.intermediate_size, c.intermediate_size)
                else:
                    yield name, weight, (weight.shape[0],)
