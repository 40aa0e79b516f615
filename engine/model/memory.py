"""How much memory training and generating take, by arithmetic, before anything is made. No torch; the measured fit stands beside it.

What is counted: weights and gradients (float32), optimizer state, the bfloat16 copies of matrices, the activations that backward needs (as
the eager decoder keeps them; torch.compile keeps less), logits, and the one largest buffer that lives for a moment. What is not: the
process itself (libraries, allocator, data), which the caller adds.

Frozen weights have neither gradients nor optimizer state. With LoRA they are kept in the dtype of the arithmetic, with QLoRA those of the
layers in 4 bits; what a frozen matrix took in is kept only where an adapter stands beside it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from engine.contract.tuning import TARGETS, TuningSpec
from engine.model.config import ModelConfig
from engine.model.lora_shape import LoraSettings, adapter_parameters, targeted

CHUNK_BYTES = 8 * 2**20  # of float32 logits, as engine.model.loss takes them (a test holds the two together)
PLAIN_UP_TO = 1024  # tokens; rows up to this are attended to as whole matrices in bfloat16 on a CPU, as engine.model.attention does
_SIZES = {"float32": 4, "bfloat16": 2, "float16": 2}
FOUR_BIT = 0.5 + 1 / 64 + 1 / (64 * 64)  # bytes of a number in blocks of 64: itself, the block's scale in 8 bits, the scales' own
METHODS = ("full", "lora", "qlora")


@dataclass(frozen=True)
class Method:
    """What of a model is trained. `rank` and `targets` count with LoRA; frozen layers and embeddings with full training only; `tokens` (how
    many have rows that are trained) with LoRA, and with full training where the embeddings are frozen: the table then has a gradient and a
    state like any other matrix, most of them zeros."""

    name: str = "full"
    rank: int = 16
    targets: tuple[str, ...] = TARGETS
    frozen_layers: int = 0
    freeze_embeddings: bool = False
    tokens: int = 0

    @classmethod
    def of(cls, spec: TuningSpec, tokens: int = 0) -> "Method":
        return cls(spec.method, spec.lora_rank, tuple(spec.lora_targets), spec.frozen_layers, spec.freeze_embeddings, tokens)

    def trained(self, config: ModelConfig) -> int:
        """Trained parameters. Raises SettingError for targets that the model lacks."""
        c = config
        if self.name != "full":
            return adapter_parameters(c, LoraSettings(rank=self.rank, targets=self.targets, tokens=tuple(range(self.tokens))))
        a_layer = (c.parameters - c.embedding_parameters - c.hidden_size * (2 if c.shape == "gpt2" else 1)) // c.num_layers
        head = 0 if c.tie_embeddings else c.vocab_size * c.hidden_size
        frozen_table = c.embedding_parameters - head - self.tokens * c.hidden_size if self.freeze_embeddings else 0
        return c.parameters - self.frozen_layers * a_layer - frozen_table

    def frozen_head(self, config: ModelConfig) -> bool:
        return self.name != "full" or (self.freeze_embeddings and config.tie_embeddings and not self.tokens)


FULL = Method()


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
             activation_checkpointing: bool = False, chunked: bool = True, device: str = "cpu", method: Method = FULL) -> Memory:
    """Peak of a training step with float32 weights (frozen ones as the method keeps them) and arithmetic in `dtype`.

    optimizer  "adamw" (two float32 values a parameter), "muon" (one for the matrices of the layers), "none" (forward and backward only)
    chunked    cross entropy in chunks, as the decoder does it; False: whole logits
    """
    c, size, tokens = config, _SIZES[dtype], micro_batch_size * seq_len
    if method.name == "full" and method.tokens:  # the table's gradient and state are whole
        method = replace(method, freeze_embeddings=False, tokens=0)
    matrices, trained = c.matrix_parameters, method.trained(c)
    state = {"adamw": 8 * trained, "muon": 8 * trained - 4 * matrices, "none": 0}[optimizer]
    assert optimizer != "muon" or trained == c.parameters, "Muon is for whole models"
    copies = 0 if size == 4 else size * (matrices + c.vocab_size * c.hidden_size)
    held = 4 * c.parameters
    if method.name != "full":
        copies = 0 if size == 4 else size * trained
        packed = FOUR_BIT if method.name == "qlora" else size
        held = round(packed * matrices) + size * (c.parameters - matrices) + 4 * trained
        if method.name == "qlora":
            copies += size * max(p.rows * p.width for p in targeted(c, LoraSettings())) * 3  # one matrix, unpacked
    layer = layer_activations(c, size, seq_len, device, method)
    whole = _whole_scores(size, seq_len, device)
    frozen = method.frozen_layers if method.name == "full" else 0
    passed = 0 if method.freeze_embeddings else frozen  # frozen layers that gradients go through, on their way to the embedding
    copies -= 0 if size == 4 or method.name != "full" else size * matrices * (frozen - passed) // c.num_layers
    layers = c.num_layers - frozen
    if activation_checkpointing:
        kept = tokens * ((layers + passed) * c.hidden_size * size + (layer if layers else 0))
    else:
        kept = tokens * (layers * layer + passed * _layer(c, size, seq_len, device, set(), norms=False))
    widest = max(2 * c.intermediate_size if c.shape == "llama" else c.intermediate_size, c.num_heads * c.head_dim * 3)
    passing = tokens * size * (2 * widest + 2 * c.hidden_size + 2 * whole * c.num_heads)  # gradients on their way through one layer
    ends = tokens * (2 * c.hidden_size * size + 16)
    return Memory(held, 4 * trained, state, copies + kept + passing + ends,
                  logits(c, tokens, size, chunked=chunked, frozen_head=method.frozen_head(c)))


def _whole_scores(size: int, seq_len: int, device: str) -> int:
    """How many scores a query keeps: none with a flash kernel."""
    return seq_len if device == "cpu" and size == 2 and seq_len <= PLAIN_UP_TO else 0


def layer_activations(config: ModelConfig, size: int, seq_len: int, device: str = "cpu", method: Method = FULL) -> int:
    """Bytes a layer keeps for backward, per token, at `size` bytes a number. With LoRA without its dropout; the first layer keeps less."""
    if method.name == "full":
        return _layer(config, size, seq_len, device, {"qkv", "output", "up", "down"}, norms=True)
    chosen = targeted(config, LoraSettings(rank=method.rank, targets=method.targets))
    keep = {p.module.rpartition(".")[2].removeprefix("gate_") for p in chosen}
    return _layer(config, size, seq_len, device, keep, norms=False) + size * method.rank * len(chosen)


def _layer(config: ModelConfig, size: int, seq_len: int, device: str, inputs: set[str], norms: bool) -> int:
    """Of a layer whose matrices `inputs` need what went into them (their own gradients, or an adapter's), and whose norms are trained or
    not."""
    c, q, kv = config, config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    numbers = c.hidden_size * (("qkv" in inputs) + ("up" in inputs))  # results of both norms
    whole = _whole_scores(size, seq_len, device)
    if whole:  # queries, keys and values head by head, probabilities, what attention gives
        numbers += 3 * q + whole * c.num_heads + (q if "output" in inputs else 0)
    else:
        numbers += q + 2 * kv + q  # queries, keys and values as they came, and what attention gives
    in_float32 = 0
    product = c.intermediate_size if "down" in inputs else 0
    if c.shape == "llama":
        numbers += 0 if whole else q + kv  # turned queries and keys
        numbers += 3 * c.intermediate_size + product  # gate, up, silu(gate), their product
        normed = 2 * c.hidden_size + (q + kv if c.qk_norm else 0)
        if size == 4:  # inputs of the norms, and the inputs normalised (queries and keys are kept above)
            in_float32 = (normed if norms else 0) + 2 * c.hidden_size
        else:
            in_float32 = (2 if norms else 1) * normed  # RMSNorm works in float32: both of these as copies
    else:
        numbers += 2 * c.hidden_size + c.intermediate_size + product  # inputs of the norms; before and after GELU
    return numbers * size + in_float32 * 4 + (0 if whole else 4 * c.num_heads) + 16


def logits(config: ModelConfig, tokens: int, size: int, *, chunked: bool = True, frozen_head: bool = False) -> int:
    """Bytes of the cross entropy: logits, their float32 copy, its softmax; in chunks, one chunk of these and the gradients kept."""
    whole = tokens * config.vocab_size
    if not chunked or whole * 4 <= CHUNK_BYTES:
        return whole * (size + 8)
    rows = max(16, CHUNK_BYTES // (4 * config.vocab_size))
    head = 0 if frozen_head else 8 * config.vocab_size * config.hidden_size
    return rows * config.vocab_size * (4 + 2 * size) + tokens * config.hidden_size * size + head


def kv_cache(config: ModelConfig, *, rows: int, columns: int, dtype: str = "float32") -> int:
    """Bytes of the keys and values of `rows` completions of up to `columns` tokens (in buckets of 64)."""
    columns = min(config.max_seq_len, max(64, -(-columns // 64) * 64))
    return 2 * config.num_layers * rows * config.num_kv_heads * columns * config.head_dim * _SIZES[dtype]


def weights(config: ModelConfig, dtype: str = "float32") -> int:
    """Bytes of the weights alone, as loaded for generating."""
    return config.parameters * _SIZES[dtype]


@dataclass(frozen=True)
class Recommendation:
    """`method` is the first of METHODS that fits, None if none does; `memory` are the bytes that each would take at its peak (a method that
    this device or model cannot have is absent), with activation checkpointing where `checkpointing` says so."""

    method: str | None
    memory: Mapping[str, int] = field(default_factory=dict)
    checkpointing: Mapping[str, bool] = field(default_factory=dict)


def recommend(config: ModelConfig, free: int, *, seq_len: int, micro_batch_size: int = 1, dtype: str = "bfloat16", device: str = "cpu",
              methods: Iterable[Method] = (), process: int = 0, share: float = 0.9, measured: float = 1.0) -> Recommendation:
    """Which method to train a model of this shape with where `free` bytes are free: what changes most first (full, LoRA, QLoRA), each
    without activation checkpointing before with it. The caller puts it in words.

    methods   what to try, in this order; empty: all three, QLoRA on CUDA only
    process   bytes that are taken besides, whatever the method
    share     how much of `free` may be planned for
    measured  a measured peak over this formula's, where there was a trial step

    Raises SettingError for targets that the model lacks.
    """
    tried = list(methods) or [Method(name) for name in METHODS if name != "qlora" or device == "cuda"]
    needed: dict[str, int] = {}
    checkpointing: dict[str, bool] = {}
    best = None
    for method in tried:
        for recompute in (False, True):
            counted = training(config, micro_batch_size=micro_batch_size, seq_len=seq_len, dtype=dtype, device=device, method=method,
                               activation_checkpointing=recompute)
            needed[method.name] = process + round(measured * counted.total)
            checkpointing[method.name] = recompute
            if needed[method.name] <= share * free:
                best = best or method.name
                break
    return Recommendation(best, needed, checkpointing)
