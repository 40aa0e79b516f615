"""What stages read that learn from labelled pairs: the run's pairs in the model's tokens, split, put together, and told about. No
objective, no model; how many steps and how large a batch is pair_plan.py's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.contract.context import RunContext
from engine.contract.errors import InputError
from engine.contract.events import Notice
from engine.contract.machine import DeviceFacts
from engine.contract.preferring import PairsSpec
from engine.contract.words import tr, trn
from engine.project import snapshots
from engine.text import templates
from engine.training.pair_plan import batch_size, longest_read
from engine.training.pair_rows import EncodedPairs, PairRows, PairsLeftOut, encode_pairs, row_for
from engine.training.tuning import Start
from engine.training.tuning_plan import Load

__all__ = ["PairData", "batch_size", "longest_read"]


@dataclass(frozen=True)
class PairData:
    """`train` and `held_out` are what is left after encoding and splitting; `start` has the template that `template` tells of; `longest`:
    tokens of the longest conversation that may be read."""

    start: Start
    template: templates.Chosen
    train: EncodedPairs
    held_out: EncodedPairs
    longest: int

    @classmethod
    def load(cls, spec: PairsSpec, start: Start, context: RunContext, *, keep_ties: bool, keep_bad: bool = False) -> "PairData":
        """From the run's own copy of the library's rows. Raises InputError (nothing is left, and why), Mismatch (the template),
        SettingError (the context)."""
        longest = longest_read(spec, start.config)
        chosen = templates.choose(start.tokenizer, spec.template)
        start = start.with_template(chosen.source)
        encoded = encode_pairs(start.tokenizer, snapshots.pairs(context.run_dir), system=spec.system, max_seq_len=longest,
                               too_long=spec.too_long, keep_ties=keep_ties, keep_bad=keep_bad)
        if not len(encoded):
            raise _nothing(encoded.left_out, longest)
        train, held_out = encoded.split(spec.validation_percent)
        if keep_ties and len(train) and bool(train.ties.all()):
            raise InputError(tr("All labels that would be learned from are ties: they never say which answer is better."),
                             tr("Label pairs of which one answer is better, or choose another set."), code="only_ties")
        return cls(start, chosen, train, held_out, longest)

    @property
    def parents(self) -> tuple[str, ...]:
        """What a model trained on these comes from."""
        return (self.start.ref.id,) if "@" not in self.start.ref.id else self.start.parents

    @property
    def left_out(self) -> PairsLeftOut:
        return self.train.left_out

    def rows(self, spec: PairsSpec, facts: DeviceFacts, rank: int = 0, world_size: int = 1) -> PairRows:
        tokenizer = self.start.tokenizer
        dtype = facts.dtype if spec.dtype == "auto" else spec.dtype
        return PairRows(self.train, batch_size=batch_size(spec, len(self.train)), seed=spec.seed,
                        row=row_for(facts.kind, dtype, self.train), rank=rank, world_size=world_size,
                        pad=self.start.end_id if tokenizer.pad_id is None else tokenizer.pad_id)

    def load_of(self, spec: PairsSpec, rows: PairRows, predicts: bool = True) -> Load:
        """What the plan starts from: a unit is a pair."""
        return Load(steps=rows.steps(spec.epochs), batch=rows.batch_size, units=rows.batch_size, seq_len=rows.longest_pair,
                    tokens_per_step=rows.tokens_per_step, epochs=spec.epochs, unit="pairs", predicts=predicts)

    def tell(self, context: RunContext) -> None:
        """What was left out and why, and which template was taken, as notices."""
        left, told = self.left_out, []
        if left.too_long:
            told.append(("too_long", trn("{count} pair is longer than {longest} tokens.", "{count} pairs are longer than {longest} tokens.",
                                         left.too_long, longest=f"{self.longest:,}"),
                         tr("Choose a longer context if the model has one, or cut the beginning of long prompts.")))
        if left.same:
            told.append(("same", trn("{count} pair has the same answer twice.", "{count} pairs have the same answer twice.", left.same),
                         ""))
        if left.empty:
            told.append(("empty", trn("{count} pair has an answer of which the chat template writes nothing.",
                                      "{count} pairs have an answer of which the chat template writes nothing.", left.empty),
                         tr("Choose another template.")))
        if left.ties:
            told.append(("ties", trn("{count} pair is a tie, from which nothing is learned here.",
                                     "{count} pairs are ties, from which nothing is learned here.", left.ties), ""))
        if left.bad:
            told.append(("bad", trn("{count} pair has two bad answers, from which nothing is learned here.",
                                    "{count} pairs have two bad answers, from which nothing is learned here.", left.bad), ""))
        if left.refused:
            told.append(("refused", trn("The chat template refuses {count} pair.", "The chat template refuses {count} pairs.",
                                        left.refused) + (f" {left.refusal.sentence}" if left.refusal else ""),
                         tr("Change their roles, or choose another template.")))
        for code, text, remedy in told:
            context.emit(Notice(level="info" if code in ("ties", "bad", "same") else "warning", code=f"left_out_{code}",
                                title=tr("Pairs were left out"), text=text, remedy=remedy, step=0))
        if left.cut:
            context.emit(Notice(level="info", code="cut_prompts", title=tr("Prompts were cut"), step=0,
                text=trn("{count} pair did not fit: the oldest turns of its prompt were taken away.",
                         "{count} pairs did not fit: the oldest turns of their prompts were taken away.", left.cut)))
        if left.unended:
            context.emit(Notice(level="warning", code="no_end", title=tr("Answers have no end"), step=0,
                text=trn("{count} pair has an answer that no token ends.", "{count} pairs have answers that no token ends.", left.unended),
                remedy=tr("Choose a template that closes the assistant's turn.")))
        if self.template.sentence:
            context.emit(Notice(level="info", code="template", title=tr("Chat template"), text=self.template.sentence, step=0))


def _nothing(left: PairsLeftOut, longest: int) -> InputError:
    """Nothing is left: the commonest cause, by name."""
    causes: Sequence[tuple[int, str]] = (
        (left.too_long, tr("they are longer than {longest} tokens", longest=f"{longest:,}")),
        (left.same, tr("both answers are the same")), (left.ties, tr("they are ties")), (left.bad, tr("both answers are bad")),
        (left.empty, tr("the chat template writes nothing of an answer")),
        (left.refused, left.refusal.sentence if left.refusal else tr("the chat template refuses them")))
    most, cause = max(causes, key=lambda one: one[0])
    remedy = tr("Label more pairs, choose other sets, a longer context, or another template.")
    if not most:
        return InputError(tr("There is nothing to train on: the sets hold no labelled pair."), remedy, code="no_pairs", field="pairs")
    return InputError(tr("There is nothing to train on: no pair is left. Of most, {cause}.", cause=cause.rstrip(".")), remedy,
                      code="no_pairs", field="pairs")
