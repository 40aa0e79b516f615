"""What domain training reads: the domain's text and general text in the starting model's tokens, as rows to train on, as held-out text and
as prompts. run.py says in which order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.model.decoder import Decoder
from engine.project.artifacts import Artifact
from engine.project.project import Project
from engine.stages.adapt.spec import AdaptSpec
from engine.text.shards import TokenShards
from engine.training.batches import TokenRows
from engine.training.evaluate import TextEvaluation
from engine.training.mixed_rows import MixedRows
from engine.training.ranks import Ranks
from engine.training.tokens import token_bytes
from engine.training.tuning import Start, corpus_of

BORDERS_FROM_DOCUMENTS = 16
EVALUATION_ROWS = 8
SAMPLES, SAMPLE_PROMPT_TOKENS = 3, 12


@dataclass(frozen=True)
class Texts:
    """`general` None: nothing is replayed, and what is forgotten is not measured."""

    start: Start
    corpus: Artifact
    domain: TokenShards
    general_corpus: Artifact | None = None
    general: TokenShards | None = None

    @classmethod
    def load(cls, project: Project, spec: AdaptSpec, start: Start, tokens: Callable[[Artifact], Any]) -> "Texts":
        """`tokens` gives a corpus in the model's tokens (tuning.tokens_of). Raises NotFound, InputError (not a corpus, or no text in it),
        Stopped."""
        corpus = corpus_of(project, spec.corpus, "corpus")
        general = corpus_of(project, spec.replay, "replay") if spec.replay else None
        return cls(start, corpus, tokens(corpus), general, tokens(general) if general else None)

    @property
    def domain_tokens(self) -> int:
        """Of the domain's training text; an estimate where only a taste of it is there."""
        return int(getattr(self.domain, "total_tokens", 0) or self.domain.split("train").tokens)

    @property
    def parents(self) -> tuple[str, ...]:
        """What a model trained on these comes from."""
        return (*([self.start.ref.id] if "@" not in self.start.ref.id else self.start.parents), self.corpus.id,
                *([self.general_corpus.id] if self.general_corpus else []))

    def rows(self, spec: AdaptSpec, seq_len: int, rows_per_step: int, rank: int = 0, world_size: int = 1) -> MixedRows:
        share = spec.replay_percent / 100 if self.general else 0.0
        general = self._rows(self.general, spec.seed, seq_len) if self.general and share else None
        return MixedRows(self._rows(self.domain, spec.seed, seq_len), general, share, rows_per_step=rows_per_step, rank=rank,
                         world_size=world_size)

    def _rows(self, shards: TokenShards, seed: int, seq_len: int) -> TokenRows:
        borders = _wants_borders(shards)
        return TokenRows(shards.split("train"), seq_len=seq_len, rows_per_step=1, seed=seed, first_input=self.start.end_id,
                         pad=self.start.end_id, borders=borders, begin=None if borders else self.start.tokenizer.bos_id)

    def prompts(self, spec: AdaptSpec) -> list[tuple[str, list[int]]]:
        """(text, ids): the spec's, else beginnings of the domain's held-out documents. Half of a short context is left to answer in."""
        tokenizer = self.start.tokenizer
        first = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
        context = self.start.config.max_seq_len
        most = max(context - spec.sample_tokens, context // 2)
        if spec.sample_prompts:
            return [(text, (first + tokenizer.encode(text))[:most]) for text in spec.sample_prompts]
        split, special = self.domain.split("validation"), set(tokenizer.special.values())
        count = min(SAMPLES, split.documents)
        found = []
        for number in range(count):
            start = int(split.starts[number * split.documents // count])
            ids = [int(t) for t in split.slice(start, min(start + min(SAMPLE_PROMPT_TOKENS, most), split.tokens)) if int(t) not in special]
            if ids:
                found.append((tokenizer.decode(ids), first + ids))
        return found


class HeldOut:
    """Loss and bits per byte on held-out text of the domain, and on general text where there is such."""

    def __init__(self, texts: Texts, seq_len: int, tokens: int, ranks: Ranks) -> None:
        self.tokens, self.ranks = tokens, ranks
        sizes = token_bytes(texts.start.tokenizer)
        end = texts.start.end_id
        self.evaluations = {
            name: TextEvaluation(shards.split("validation"), sizes, seq_len=seq_len, batch_size=EVALUATION_ROWS, first_input=end, pad=end,
                                 borders=_wants_borders(shards))
            for name, shards in (("domain", texts.domain), ("general", texts.general)) if shards is not None}

    def __call__(self, model: Decoder) -> dict[str, float]:
        """`val_loss` and `bpb` are the domain's."""
        measured = {name: evaluation.measure(model, self.tokens, self.ranks) for name, evaluation in self.evaluations.items()}
        domain, general = measured["domain"], measured.get("general")
        values = {"val_loss": domain.per_token, "bpb": domain.bits_per_byte}
        return values if general is None else {**values, "general_loss": general.per_token, "general_bpb": general.bits_per_byte}


def _wants_borders(shards: TokenShards) -> bool:
    """Whether attention stops at the end of a document: not in a few long texts, which are one stream."""
    return shards.split("train").documents >= BORDERS_FROM_DOCUMENTS
