"""How much memory training and generating take, by arithmetic, before anything is made. No torch; the measured fit stands beside it.

What is counted: weights and gradients (float32), optimizer state, the bfloat16 copies of matrices, the activations that backward needs (as
the eager decoder keeps them; torch.compile keeps less), logits, and the one largest buffer that lives for a moment. What is not: the
process itself (libraries, allocator, data), which the caller adds.
"""

from dataclasses import dataclass

from engine.model.config import ModelConfig

CHUNK_BYTES = 8 * 2**20  # of float32 logits, as engine.model.loss takes them (a test holds the two together)
_SIZES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Memory:
    """Bytes, by what takes them; `total` is the peak of one training step."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.activations + self.logits


def training(config: ModelConfig, *, micro_batch_size: int, seq_len: int, dtype: str = "float32", optimizer: str = "adamw",
             activation_checkpointing: bool = False, chunked: bool = True) -> Memory:
    """Peak of a training step with float32 weights and arithmetic in `dtype`.

    optimizer  "adamw" (two float32 values a parameter), "muon" (one for the matrices of the layers), "none" (forward and backward only)
    chunked    cross entropy in chunks, as the decoder does it; False: whole logits
    """
    c, size, tokens = config, _SIZES[dtype], micro_batch_size * seq_len
    matrices = c.matrix_parameters
    state = {"adamw": 8 * c.parameters, "muon": 8 * c.parameters - 4 * matrices, "none": 0}[optimizer]
    copies = 0 if size == 4 else size * (matrices + c.vocab_size * c.hidden_size)
    layer = layer_activations(c, size)
    if activation_checkpointing:
        kept = tokens * (c.num_layers * c.hidden_size * size + layer)
    else:
        kept = tokens * c.num_layers * layer
    widest = max(2 * c.intermediate_size if c.shape == "llama" else c.intermediate_size, c.num_heads * c.head_dim * 3)
    passing = tokens * size * (2 * widest + 2 * c.hidden_size)  # gradients on their way through one layer
    ends = tokens * (2 * c.hidden_size * size + 16)
    return Memory(4 * c.parameters, 4 * c.parameters, state, copies + kept + passing + ends,
                  logits(c, tokens, size, chunked=chunked))


def layer_activations(config: ModelConfig, size: int) -> int:
    """Bytes a layer keeps for backward, per token, at `size` bytes a number."""
    c, q, kv = config, config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    numbers = 4 * c.hidden_size  # inputs of both norms and their results
    numbers += (q + kv) + kv  # queries and keys, turned or normalised, and values
    numbers += 2 * q  # what attention gives, and the same rearranged for the output matrix
    if c.qk_norm:
        numbers += q + kv
    numbers += c.intermediate_size * (4 if c.shape == "llama" else 2)
    return numbers * size + 4 * c.num_heads + 16


def logits(config: ModelConfig, tokens: int, size: int, *, chunked: bool = True) -> int:
    """Bytes of the cross entropy: logits, their float32 copy, its softmax; in chunks, one chunk of these and the gradients kept."""
    whole = tokens * config.vocab_size
    if not chunked or whole * 4 <= CHUNK_BYTES:
        return whole * (size + 8)
    rows = max(16, CHUNK_BYTES // (4 * config.vocab_size))
    return rows * config.vocab_size * (4 + 2 * size) + tokens * config.hidden_size * size + 8 * config.vocab_size * config.hidden_size


def kv_cache(config: ModelConfig, *, rows: int, columns: int, dtype: str = "float32") -> int:
    """Bytes of the keys and values of `rows` completions of up to `columns` tokens (in buckets of 64)."""
    columns = min(config.max_seq_len, max(64, -(-columns // 64) * 64))
    return 2 * config.num_layers * rows * config.num_kv_heads * columns * config.head_dim * _SIZES[dtype]


def weights(config: ModelConfig, dtype: str = "float32") -> int:
    """Bytes of the weights alone, as loaded for generating."""
    return config.parameters * _SIZES[dtype]
