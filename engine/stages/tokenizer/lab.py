"""What a vocabulary costs: the share of a model's parameters that its embedding takes, for the tokenizer lab. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.model.config import ModelConfig

SIZES = (512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072)


@dataclass(frozen=True)
class VocabularyCost:
    """`share` = embedding / parameters, 0..1."""

    vocab_size: int
    embedding_parameters: int
    parameters: int

    @property
    def share(self) -> float:
        return self.embedding_parameters / self.parameters


def vocabulary_costs(config: ModelConfig, sizes: Sequence[int] = SIZES) -> list[VocabularyCost]:
    """The same design with each vocabulary."""
    made = [config.model_copy(update={"vocab_size": size}) for size in sizes]
    return [VocabularyCost(c.vocab_size, c.embedding_parameters, c.parameters) for c in made]
