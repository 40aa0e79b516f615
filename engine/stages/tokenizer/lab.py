"""What a vocabulary costs (the share of a model's parameters that its embedding takes), and how large one suits a corpus. No torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from engine.model.config import ModelConfig

SIZES = (512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072)


def recommended(corpus_bytes: int) -> int:
    """A vocabulary for a corpus of this size: 2,048 for a megabyte, 16,384 for a gigabyte; a power of 2, 512 to 65,536. A rule of thumb:
    each token should occur some hundreds of times, and small corpora train small models, whose embedding must not eat them up."""
    megabytes = max(corpus_bytes, 1) / 2**20
    return int(2 ** min(16, max(9, round(11 + 0.35 * math.log2(megabytes)))))


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
