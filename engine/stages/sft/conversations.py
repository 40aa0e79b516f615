"""What fine-tuning reads: the run's examples in the model's tokens, masked, split and put together; replayed text; what the model is asked
before, while and after. run.py says in which order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from engine.contract.context import RunContext
from engine.contract.events import Notice
from engine.contract.rows import Example
from engine.contract.tuning import TuningSpec
from engine.contract.words import tr, trn
from engine.model.decoder import Decoder
from engine.project import snapshots
from engine.project.artifacts import Artifact
from engine.project.project import Project
from engine.stages.sft import microscope, plan
from engine.stages.sft.spec import SftSpec
from engine.text import chat_mask, templates
from engine.text.shards import TokenShards
from engine.training import new_tokens
from engine.training.evaluate import TextEvaluation
from engine.training.examples import EncodedExamples, ExampleEvaluation, ExampleRows, encode_examples
from engine.training.ranks import Ranks
from engine.training.tokens import token_bytes
from engine.training.tuning import Start, Tuner, corpus_of

SAMPLES = 4
ANSWER_ROOM = 16
"""Tokens of the context that a prompt leaves free at least."""
GENERAL_TOKENS = 50_000
"""Of the replay corpus' held-out text, read at each validation at most."""
BORDERS_FROM_DOCUMENTS = 16
TOLD = 8
"""Names of new tokens that are told."""


@dataclass(frozen=True)
class Conversations:
    """`train` and `held_out` are what is left after masking and splitting."""

    start: Start
    template: templates.Chosen
    train: EncodedExamples
    held_out: EncodedExamples
    longest: int
    replay_corpus: Artifact | None = None
    replay: TokenShards | None = None

    @classmethod
    def load(cls, project: Project, spec: SftSpec, start: Start, context: RunContext,
             tokens: Callable[[Artifact], Any]) -> "Conversations":
        """From the run's own copy of the library's rows; `tokens` gives a corpus in the model's tokens (tuning.tokens_of). `start` of the
        result has the template. Raises InputError (what the microscope blocks: the cause is named), Mismatch (the template),
        SettingError (the context), NotFound (the replay corpus)."""
        longest = plan.longest(spec, start.config)
        chosen = templates.choose(start.tokenizer, spec.template)
        start = start.with_template(chosen.source)
        microscope.check(snapshots.rows(context.run_dir, "examples"), start.tokenizer, chosen.source, spec, longest)
        encoded = encode_examples(start.tokenizer, snapshots.rows(context.run_dir, "examples"), loss_on=spec.loss_on, system=spec.system,
                                  max_seq_len=longest, too_long=spec.too_long)
        assert len(encoded), "the microscope lets nothing through of which nothing is left"
        train, held_out = encoded.split(spec.validation_percent)
        corpus = corpus_of(project, spec.replay, "replay") if spec.replay else None
        return cls(start, chosen, train, held_out, longest, corpus, tokens(corpus) if corpus else None)

    @property
    def parents(self) -> tuple[str, ...]:
        """What a model trained on these comes from."""
        return (*([self.start.ref.id] if "@" not in self.start.ref.id else self.start.parents),
                *([self.replay_corpus.id] if self.replay_corpus else []))

    @cached_property
    def unmet(self) -> tuple[int, ...]:
        """Tokens of the conversations that the starting model has never met: special ones, and where there are such, tokens of text."""
        special, said = set(self.start.tokenizer.special.values()), set(np.unique(self.train.ids).tolist())
        return new_tokens.unmet(self.start.ref.folder, special & said, said - special)

    def keeps_head(self, spec: TuningSpec) -> bool:
        """Whether the head stays as it is, so that tokens the model never met stay as unlikely as they are."""
        return spec.method != "full" or (spec.freeze_embeddings and self.start.config.tie_embeddings)

    def rows(self, spec: SftSpec, rank: int = 0, world_size: int = 1) -> ExampleRows:
        batch, tokenizer = plan.batch_size(spec, len(self.train)), self.start.tokenizer
        row = plan.row_length(self.longest, int(self.train.lengths().max()))
        return ExampleRows(self.train, max_seq_len=row, batch_size=batch, seed=spec.seed,
                           pad=self.start.end_id if tokenizer.pad_id is None else tokenizer.pad_id, packing=spec.packing,
                           replay=self.replay.split("train") if self.replay else None, replay_documents=plan.replayed(spec, batch),
                           begin=tokenizer.bos_id, rank=rank, world_size=world_size)

    def load_of(self, spec: SftSpec, rows: ExampleRows) -> plan.Load:
        """What the plan starts from."""
        split = self.replay.split("train") if self.replay else None
        mean = min(rows.max_seq_len, split.tokens / max(1, split.documents)) if split else 0.0
        longest_example = int(max(self.train.lengths().max(), min(rows.max_seq_len, np.diff(split.starts).max()) if split else 0))
        return plan.load_of(spec, steps=rows.steps(spec.epochs), batch=rows.batch_size, tokens_per_step=rows.tokens_per_step,
                            replay_tokens=mean * rows.replay_documents, row=rows.max_seq_len, longest_example=longest_example)

    def prompts(self, spec: SftSpec, context: RunContext) -> list[tuple[str, list[int]]]:
        """(what is asked, ids up to where the answer begins): the spec's questions, else some of the held-out conversations up to their
        last answer. Those that leave no room for an answer are passed over."""
        if spec.sample_prompts:
            asked = [[{"role": "user", "content": text}] for text in spec.sample_prompts]
        else:
            numbers = (self.held_out if len(self.held_out) else self.train).numbers
            wanted = {int(numbers[i * len(numbers) // SAMPLES]) for i in range(SAMPLES)}
            asked = [_up_to_answer(e) for n, e in enumerate(snapshots.rows(context.run_dir, "examples")) if n in wanted]
        found, room = [], self.start.config.max_seq_len - min(ANSWER_ROOM, self.start.config.max_seq_len // 2)
        for messages in asked:
            if spec.system and messages and messages[0]["role"] != "system":
                messages = [{"role": "system", "content": spec.system}, *messages]
            if messages and messages[-1]["role"] != "system":
                ids = self.start.tokenizer.encode_chat(messages, add_generation_prompt=True)
                if len(ids) <= room:
                    found.append((messages[-1]["content"], ids))
        return found

    def tell(self, context: RunContext) -> None:
        """What was left out and why, and which template was taken, as notices."""
        left, told = self.train.left_out, []
        if left.too_long:
            told.append(("too_long", trn("{count} example is longer than {longest} tokens.", "{count} examples are longer than {longest} "
                                         "tokens.", left.too_long, longest=f"{self.longest:,}"),
                         tr("Choose a longer context if the model has one, or shorten them.")))
        if left.nothing_trained:
            told.append(("nothing_trained", trn("{count} example has nothing in it to learn.", "{count} examples have nothing in them to "
                                                "learn.", left.nothing_trained), tr("Look whether they have an answer of the assistant.")))
        if left.refused:
            told.append(("refused", trn("The chat template refuses {count} example.", "The chat template refuses {count} examples.",
                                        left.refused) + (f" {left.refusal.sentence}" if left.refusal else ""),
                         tr("Change their roles, or choose another template.")))
        for code, text, remedy in told:
            context.emit(Notice(level="warning", code=f"left_out_{code}", title=tr("Examples were left out"), text=text, remedy=remedy,
                                step=0))
        if left.cut_answers:
            context.emit(Notice(level="warning", code="cut_answers", title=tr("Answers were cut"), step=0,
                text=trn("{count} answer does not fit and loses its end.", "{count} answers do not fit and lose their end.",
                         left.cut_answers), remedy=tr("Leave long examples out, or choose a longer context.")))
        if left.unended:
            context.emit(Notice(level="warning", code="no_end", title=tr("Answers have no end"), step=0,
                text=trn("{count} answer is not followed by a token that ends it: the model will not learn when to stop.",
                         "{count} answers are not followed by a token that ends them: the model will not learn when to stop.",
                         left.unended), remedy=tr("Choose a template that closes the assistant's turn.")))
        if self.template.sentence:
            context.emit(Notice(level="info", code="template", title=tr("Chat template"), text=self.template.sentence, step=0))


def tell_unmet(conversations: Conversations, tuner: Tuner, context: RunContext) -> None:
    """Say which tokens' rows are trained because the model has never met them; and warn where the end of an answer is such a token, and
    neither its row nor the head is trained (new_tokens.py says why that cannot be learned). A full training tells them apart."""
    train, tokenizer = conversations.train, conversations.start.tokenizer
    if not conversations.keeps_head(tuner.spec):
        return
    special = set(tokenizer.special.values())
    taught = sorted((id for id in conversations.unmet if id in tuner.trained_tokens), key=lambda id: (id not in special, id))
    if taught:
        names = ", ".join(repr(text) if (text := tokenizer.token_text(id)) != text.strip() else text for id in taught[:TOLD])
        more = len(taught) - TOLD
        context.emit(Notice(level="info", code="token_rows", title=tr("Tokens that are new to the model"), step=0,
            text=tr("This model has never met {tokens}: their rows of the table of tokens are trained, the others stay as they are.",
                    tokens=tr("{names} and {more} more", names=names, more=str(more)) if more > 0 else names)))
    ends = set(np.unique(train.ids[train.trained]).tolist()) & chat_mask.end_ids(tokenizer)
    for id in conversations.unmet:
        if id in ends and id not in tuner.trained_tokens:
            context.emit(Notice(level="warning", code="end_never_learned", title=tr("It may not learn when to stop"), step=0,
                text=tr("This model has never met {token}, which ends an answer, and the table of tokens stays as it is.",
                        token=tokenizer.token_text(id)),
                remedy=tr("Leave the trained tokens to be chosen automatically, or train fully.")))


class HeldOut:
    """Loss on held-out conversations, and bits per byte on held-out text of the replay corpus where there is one."""

    def __init__(self, conversations: Conversations, general_tokens: int, ranks: Ranks) -> None:
        self.ranks, self.general_tokens, self.general = ranks, general_tokens, None
        self.examples = ExampleEvaluation(conversations.held_out)
        if conversations.replay:
            start, split = conversations.start, conversations.replay.split("validation")
            self.general = TextEvaluation(split, token_bytes(start.tokenizer), seq_len=general_row(start), batch_size=8,
                                          first_input=start.end_id, pad=start.end_id,
                                          borders=conversations.replay.split("train").documents >= BORDERS_FROM_DOCUMENTS)

    def __call__(self, model: Decoder) -> dict[str, float]:
        values = {"val_loss": self.examples.measure(model, self.ranks).per_token}
        if self.general is not None:
            values["general_bpb"] = self.general.measure(model, self.general_tokens, self.ranks).bits_per_byte
        return values


def general_row(start: Start) -> int:
    """Tokens of a row of general text."""
    return min(start.config.max_seq_len, plan.LEAST_ROW)


def _up_to_answer(example: Example) -> list[dict[str, str]]:
    """The messages before the last answer."""
    last = max((n for n, m in enumerate(example.messages) if m.role == "assistant"), default=len(example.messages))
    return [{"role": m.role, "content": m.content} for m in example.messages[:last]]
