"""Settings of tokenizer training. No torch."""

from typing import ClassVar

from engine.contract.spec import Problem, Spec, option
from engine.contract.words import tr
from engine.text.specials import SPECIAL_TOKENS

SMALLEST = 256 + len(SPECIAL_TOKENS)
LARGEST = 131_072


class TokenizerSpec(Spec):
    stage: ClassVar[str] = "tokenizer"

    corpus: str = option("", label=tr("Corpus"), help=tr("The text whose letters and words it learns from."), artifact="corpus")
    source: str = option("", label=tr("Import from"), advanced=True,
        help=tr("A tokenizer.json, or a folder with one, to be used as it is. Nothing is trained then."))
    title: str = option("", label=tr("Name"), help=tr("How this tokenizer is called in the project."))
    vocab_size: int | None = option(None, label=tr("Vocabulary"), unit=tr("tokens"), ge=SMALLEST, le=LARGEST,
        help=tr("More tokens make text shorter, and the model's embedding larger. From the size of the corpus unless set; {smallest} is "
                "bytes and special tokens only.", smallest=SMALLEST))
    sample_bytes: int = option(200_000_000, label=tr("Read at most"), unit=tr("bytes"), ge=10_000, le=10_000_000_000, advanced=True,
        help=tr("A random sample of the documents of this size; more rarely changes the result."))
    single_digits: bool = option(True, label=tr("One token a digit"), advanced=True,
        help=tr("Digits are never merged. Small models learn sums far better that way."))

    def problems(self) -> list[Problem]:
        if not self.corpus and not self.source:
            return [Problem("corpus", tr("A tokenizer needs a corpus to learn from."), tr("Import text first, or choose a corpus."))]
        return []
