"""Which projections of a model LoRA changes, and how many parameters that takes: by arithmetic, no torch. lora.py does it."""

import math
from dataclasses import dataclass
from importlib.util import find_spec

from engine.contract.errors import DeviceUnavailable, Mismatch, Missing, SettingError
from engine.contract.tuning import TARGETS, TuningSpec
from engine.contract.words import tr
from engine.model.config import ModelConfig

FOUR_BIT_LIBRARY = "bitsandbytes"


@dataclass(frozen=True)
class LoraSettings:
    """targets  names of engine.contract.tuning.TARGETS; those that the model's shape lacks (GPT-2 has no gate) count for nothing
    tokens   ids whose rows of the table of tokens are trained too (and of the head, where that is another matrix)
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: tuple[str, ...] = TARGETS
    rslora: bool = False
    tokens: tuple[int, ...] = ()

    @classmethod
    def of(cls, spec: TuningSpec, tokens: tuple[int, ...] = ()) -> "LoraSettings":
        """`tokens`: what the spec's names of tokens, or its automatic choice, come to for the model."""
        return cls(spec.lora_rank, spec.lora_alpha, spec.lora_dropout, tuple(spec.lora_targets), spec.rslora, tokens)

    @property
    def scale(self) -> float:
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)


@dataclass(frozen=True)
class Projection:
    """Where one projection lies: `rows` rows from `first` on of the matrix `module` of each layer, which takes `width` numbers."""

    name: str
    module: str
    first: int
    rows: int
    width: int

    @property
    def part(self) -> str:
        """"attention" or "mlp": with the name it makes the adapter's name."""
        return self.module.partition(".")[0]


def projections(config: ModelConfig) -> tuple[Projection, ...]:
    """Those that a layer of this shape has, in the order in which they lie in memory."""
    c, q, kv = config, config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    h, m = c.hidden_size, c.intermediate_size
    attention = (Projection("q", "attention.qkv", 0, q, h), Projection("k", "attention.qkv", q, kv, h),
                 Projection("v", "attention.qkv", q + kv, kv, h), Projection("o", "attention.output", 0, h, q))
    if c.shape == "gpt2":
        return (*attention, Projection("up", "mlp.up", 0, m, h), Projection("down", "mlp.down", 0, h, m))
    return (*attention, Projection("gate", "mlp.gate_up", 0, m, h), Projection("up", "mlp.gate_up", m, m, h),
            Projection("down", "mlp.down", 0, h, m))


def targeted(config: ModelConfig, settings: LoraSettings) -> tuple[Projection, ...]:
    """The projections that get matrices. Raises SettingError where there are none, or a name is unknown."""
    if unknown := [name for name in settings.targets if name not in TARGETS]:
        raise SettingError(tr("LoRA knows no layer called {name}.", name=unknown[0]),
                           tr("Choose among: {names}.", names=", ".join(TARGETS)), field="lora_targets")
    found = tuple(p for p in projections(config) if p.name in settings.targets)
    if not found:
        raise SettingError(tr("This model has none of the layers that LoRA was told to train."),
                           tr("Choose among: {names}.", names=", ".join(p.name for p in projections(config))), field="lora_targets")
    return found


def check_tokens(config: ModelConfig, settings: LoraSettings) -> None:
    """Raises Mismatch where a token of the settings is not one of this model's, or is named twice."""
    if wrong := [id for id in settings.tokens if not 0 <= id < config.vocab_size]:
        raise Mismatch(tr("This model has no token with the number {id}.", id=wrong[0]),
                       tr("Its tokens have the numbers 0 to {last}.", last=f"{config.vocab_size - 1:,}"), field="lora_tokens")
    if len(set(settings.tokens)) < len(settings.tokens):
        raise Mismatch(tr("A token is named twice."), tr("Name each token once."), field="lora_tokens")


def row_names(config: ModelConfig) -> tuple[str, ...]:
    """The tables that hold a row for each token: the embedding, and the head where it is a matrix of its own."""
    return ("embed",) if config.tie_embeddings else ("embed", "head")


def adapter_parameters(config: ModelConfig, settings: LoraSettings) -> int:
    """Trained parameters of an adapter, by arithmetic."""
    rows = len(settings.tokens) * config.hidden_size * len(row_names(config))
    return config.num_layers * settings.rank * sum(p.rows + p.width for p in targeted(config, settings)) + rows


def check_four_bit(device_kind: str) -> None:
    """Whether QLoRA can run on this kind of device: raises DeviceUnavailable where it is not for it, Missing where the library is not
    there. For whoever is about to start one, the window too."""
    if device_kind != "cuda":
        raise DeviceUnavailable(tr("QLoRA needs an NVIDIA card."),
                                tr("Choose LoRA: it trains the same small matrices beside the weights as they are."), code="qlora_device",
                                field="method")
    if find_spec(FOUR_BIT_LIBRARY) is None:
        raise Missing(tr("QLoRA needs bitsandbytes, which is not installed."),
                      tr("Install Fledge with the extra: pip install \"fledge[qlora]\". Or choose LoRA."), code="no_bitsandbytes",
                      field="method")
