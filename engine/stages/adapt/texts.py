"""What domain training reads: the domain's text and general text in the starting model's tokens, as rows to train on, as held-out text and
as prompts. run.py says in which order.
"""

from dataclasses import dataclass

from engine.contract.context import RunContext
from engine.contract.errors import InputError
from engine.contract.words import tr
from engine.model.decoder import Decoder
from engine.project.artifacts import Artifact
from engine.project.project import Project
from engine.stages.adapt.spec import AdaptSpec
from engine.text.shards import TokenShards
from engine.training.batches import TokenRows
from engine.training.evaluate import TextEvaluation
from engine.training.mixed_rows import MixedRows
from engine.training.ranks import Ranks
from engine.training.tokens import maker_of, token_bytes, token_shards
from engine.training.tuning import Start

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
    def load(cls, project: Project, spec: AdaptSpec, start: Start, context: RunContext, ranks: Ranks) -> "Texts":
        """Tokens that are there already are taken. Raises NotFound, InputError (not a corpus, or no text in it), Stopped."""
        model = next((id for id in (start.ref.id, *start.parents) if id.startswith("model-")), start.ref.id)
        maker = maker_of(project, start.tokenizer, model)

        def tokens(corpus: Artifact) -> TokenShards:
            return token_shards(project, corpus, start.tokenizer, start.ref.folder, maker, context, ranks)

        corpus = corpus_of(project, spec.corpus, "corpus")
        general = corpus_of(project, spec.replay, "replay") if spec.replay else None
        return cls(start, corpus, tokens(corpus), general, tokens(general) if general else None)

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


def corpus_of(project: Project, id: str, field: str) -> Artifact:
    """The corpus of a setting. Raises NotFound, InputError."""
    made = project.artifacts.get(id)
    if made.kind != "corpus":
        raise InputError(tr("{id} is not a {kind}.", id=id, kind="corpus"), tr("Choose another one."), field=field)
    return made


def _wants_borders(shards: TokenShards) -> bool:
    """Whether attention stops at the end of a document: not in a few long texts, which are one stream."""
    return shards.split("train").documents >= BORDERS_FROM_DOCUMENTS
