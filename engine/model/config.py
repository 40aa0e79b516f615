"""The shape of a decoder, and what follows from it by arithmetic: parameters, memory, floating-point operations. No torch.

One config for the Llama family (RMSNorm, RoPE, SwiGLU, grouped-query attention, optional QK-norm) and for GPT-2 (LayerNorm, learned
positions, GELU, biases). The names are those of the field; the foreign formats translate to and from them in their own files.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

ROPE_SCALINGS = {"llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"), "linear": ("factor",)}


class ModelConfig(BaseModel):
    """`hidden_size` = width; `head_dim` may differ from hidden_size / num_heads (Qwen3).

    rope_scaling    None, or {"rope_type": "llama3" or "linear", ...} with the keys of ROPE_SCALINGS
    attention_bias  biases of queries, keys and values; output_bias: of the attention's output; mlp_bias: of the MLP
    GPT-2 itself has all three; its LayerNorms always have biases here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: Literal["llama", "gpt2"] = "llama"
    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    max_seq_len: int
    norm_eps: float = 1e-5
    rope_theta: float = 10_000.0
    rope_scaling: dict[str, Any] | None = None
    qk_norm: bool = False
    tie_embeddings: bool = True
    attention_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    dropout: float = 0.0

    @model_validator(mode="after")
    def _fits_together(self) -> "ModelConfig":
        sizes = ("vocab_size", "hidden_size", "num_layers", "num_heads", "num_kv_heads", "head_dim", "intermediate_size", "max_seq_len")
        for name in sizes:
            if not 1 <= getattr(self, name) < 2**31:
                raise ValueError(f"{name} cannot be {getattr(self, name)}")
        if self.num_heads % self.num_kv_heads:
            raise ValueError(f"{self.num_kv_heads} key/value heads do not divide {self.num_heads} heads")
        if self.shape == "llama" and self.head_dim % 2:
            raise ValueError(f"RoPE turns pairs: a head of {self.head_dim} cannot be halved")
        if self.shape == "gpt2" and self.rope_scaling:
            raise ValueError("learned positions have no RoPE to scale")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout cannot be {self.dropout}")
        if self.rope_scaling is not None:
            kind = self.rope_scaling.get("rope_type")
            if kind not in ROPE_SCALINGS:
                raise ValueError(f"unknown RoPE scaling {kind}")
            for key in ROPE_SCALINGS[kind]:
                if not isinstance(self.rope_scaling.get(key), (int, float)) or self.rope_scaling[key] <= 0:
                    raise ValueError(f"RoPE scaling {kind} needs a positive {key}")
        return self

    @property
    def matrix_parameters(self) -> int:
        """Parameters in the matrices of the layers (what Muon trains; N of the scaling laws, without embeddings)."""
        attention = self.hidden_size * self.head_dim * (2 * self.num_heads + 2 * self.num_kv_heads)
        mlp = (3 if self.shape == "llama" else 2) * self.hidden_size * self.intermediate_size
        return self.num_layers * (attention + mlp)

    @property
    def embedding_parameters(self) -> int:
        """Token embedding, output head when untied, and learned positions."""
        tables = self.vocab_size * self.hidden_size * (1 if self.tie_embeddings else 2)
        return tables + (self.max_seq_len * self.hidden_size if self.shape == "gpt2" else 0)

    @property
    def parameters(self) -> int:
        """All parameters, exactly as the built model has them (a test holds that)."""
        h, d, m = self.hidden_size, self.head_dim, self.intermediate_size
        norm = h * (2 if self.shape == "gpt2" else 1)
        small = 2 * norm
        if self.qk_norm:
            small += 2 * d
        if self.attention_bias:
            small += d * (self.num_heads + 2 * self.num_kv_heads)
        if self.output_bias:
            small += h
        if self.mlp_bias:
            small += h + m * (2 if self.shape == "llama" else 1)
        return self.matrix_parameters + self.embedding_parameters + self.num_layers * small + norm

    def flops_per_token(self, seq_len: int) -> float:
        """Forward and backward, per token: 6 N for the matrices and the head, 12 L H Q T for attention (PaLM, appendix B)."""
        head = self.vocab_size * self.hidden_size
        return 6 * (self.matrix_parameters + head) + 12 * self.num_layers * self.num_heads * self.head_dim * seq_len / 2
