"""How much memory training and generating take, by arithmetic, before anything is made. No torch; the measured fit stands beside it.

What is counted: weights and gradients (float32), optimizer state, the bfloat16 copies of matrices, the activations that backward needs (as
the eager decoder keeps them; torch.compile keeps less), logits, and the one largest buffer that lives for a moment. What is not: the
process itself (libraries, allocator, data), which the caller adds.
"""

from dataclasses import dataclass

from engine.model.config import ModelConfig

CHUNK_BYTES = 8 * 2**20  # of float32 logits, as engine.model.loss takes them (a test holds the two together)
PLAIN_UP_TO = 1024  # tokens; rows up to this are attended to as whole matrices in bfloat16 on a CPU, as engine.model.attention does
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
             activation_checkpointing: bool = False, chunked: bool = True, device: str = "cpu") -> Memory:
    """Peak of a training step with float32 weights and arithmetic in `dtype`.

    optimizer  "adamw" (two float32 values a parameter), "muon" (one for the matrices of the layers), "none" (forward and backward only)
    chunked    cross entropy in chunks, as the decoder does it; False: whole logits
    """
    c, size, tokens = config, _SIZES[dtype], micro_batch_size * seq_len
    matrices = c.matrix_parameters
    state = {"adamw": 8 * c.parameters, "muon": 8 * c.parameters - 4 * matrices, "none": 0}[optimizer]
    copies = 0 if size == 4 else size * (matrices + c.vocab_size * c.hidden_size)
    layer = layer_activations(c, size, seq_len, device)
    whole = _whole_scores(size, seq_len, device)
    if activation_checkpointing:
        kept = tokens * (c.num_layers * c.hidden_size * size + layer)
    else:
        kept = tokens * c.num_layers * layer
    widest = max(2 * c.intermediate_size if c.shape == "llama" else c.intermediate_size, c.num_heads * c.head_dim * 3)
    passing = tokens * size * (2 * widest + 2 * c.hidden_size + 2 * whole * c.num_heads)  # gradients on their way through one layer
    ends = tokens * (2 * c.hidden_size * size + 16)
    return Memory(4 * c.parameters, 4 * c.parameters, state, copies + kept + passing + ends,
                  logits(c, tokens, size, chunked=chunked))


def _whole_scores(size: int, seq_len: int, device: str) -> int:
    """How many scores a query keeps: none with a flash kernel."""
    return seq_len if device == "cpu" and size == 2 and seq_len <= PLAIN_UP_TO else 0


def layer_activations(config: ModelConfig, size: int, seq_len: int, device: str = "cpu") -> int:
    """Bytes a layer keeps for backward, per token, at `size` bytes a number."""
    c, q, kv = config, config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    numbers = 2 * c.hidden_size  # results of both norms
    whole = _whole_scores(size, seq_len, device)
    if whole:
        numbers += 4 * q + whole * c.num_heads  # queries, keys and values head by head, probabilities, what attention gives
    else:
        numbers += q + 2 * kv + q  # queries, keys and values as they came, and what attention gives
    in_float32 = 0
    if c.shape == "llama":
        numbers += 0 if whole else q + kv  # turned queries and keys
        numbers += 4 * c.intermediate_size  # gate, up, silu(gate), their product
        normed = 2 * c.hidden_size + (q + kv if c.qk_norm else 0)
        if size == 4:
            in_float32 = normed + 2 * c.hidden_size  # inputs of the norms, and the inputs normalised (queries and keys are kept above)
        else:
            in_float32 = 2 * normed  # RMSNorm works in float32: both of these as copies
    else:
        numbers += 2 * c.hidden_size + 2 * c.intermediate_size  # inputs of the norms; before and after GELU
    return numbers * size + in_float32 * 4 + (0 if whole else 4 * c.num_heads) + 16


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
