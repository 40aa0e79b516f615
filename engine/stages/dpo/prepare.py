"""What a run of preference tuning is made of, before anything is trained: its data, its plan, its parts. run.py and measure.py say what
becomes of it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from engine.contract.context import RunContext
from engine.contract.machine import DeviceFacts
from engine.model.speed import efficiency, peak
from engine.project import snapshots
from engine.project.artifacts import Artifact
from engine.project.project import Project
from engine.rl.rollouts import Question
from engine.stages.dpo.held_out import HeldOut
from engine.stages.dpo.objective import Objective, beta_of, needs_reference
from engine.stages.dpo.plan import rate_of
from engine.stages.dpo.reference import ReferencePass
from engine.stages.dpo.rows import DpoRows, Reference
from engine.stages.dpo.spec import DpoSpec
from engine.training import new_tokens
from engine.training.evaluate import TextEvaluation
from engine.training.pair_data import PairData
from engine.training.ranks import Ranks
from engine.training.replayed import Replayed
from engine.training.tokens import token_bytes
from engine.training.tuning import Start, Tuner, Work, check_fit, corpus_of
from engine.training.tuning_plan import PAYS, Load, TuningPlan, evaluated_tokens, resolve

SAMPLES = 4
ANSWER_ROOM = 16
"""Tokens of the context that a prompt leaves free at least."""
MEASURED = 128
"""Prompts whose answers tell how far the policy has moved."""
GENERAL_TOKENS = 50_000
GENERAL_ROW = 1024
BORDERS_FROM_DOCUMENTS = 16


@dataclass(frozen=True)
class Prepared:
    """`reading` is None where the objective needs no reference; else it must `run(reference)` before batches are asked for."""

    tuner: Tuner
    work: Work
    told: dict[str, Any]
    reference: Reference
    reading: ReferencePass | None


@dataclass(frozen=True)
class Data:
    """The run's pairs, and text that is replayed."""

    pairs: PairData
    corpus: Artifact | None = None
    replay: Any = None

    @classmethod
    def load(cls, project: Project, spec: DpoSpec, start: Start, context: RunContext, tokens: Callable[[Artifact], Any]) -> "Data":
        """`tokens` gives a corpus in the model's tokens (tuning.tokens_of). Ties teach nothing here; of two bad answers only KTO learns.
        Raises what PairData.load and corpus_of raise."""
        pairs = PairData.load(spec, start, context, keep_ties=False, keep_bad=spec.loss == "kto")
        corpus = corpus_of(project, spec.replay, "replay") if spec.replay else None
        return cls(pairs, corpus, tokens(corpus) if corpus else None)

    @property
    def parents(self) -> tuple[str, ...]:
        return (*self.pairs.parents, *([self.corpus.id] if self.corpus else []))

    @cached_property
    def unmet(self) -> tuple[int, ...]:
        """Special tokens of the pairs that the starting model has never met."""
        start = self.pairs.start
        return new_tokens.unmet(start.ref.folder, set(start.tokenizer.special.values()) & set(np.unique(self.pairs.train.ids).tolist()))

    def rows(self, spec: DpoSpec, facts: DeviceFacts, reference: Reference, rank: int, world_size: int) -> DpoRows:
        plain = self.pairs.rows(spec, facts, rank, world_size)
        start, documents = self.pairs.start, spec.replay_documents or max(1, plain.batch_size // 4)
        replayed = Replayed(self.replay.split("train") if self.replay else None, documents if spec.replay else 0,
                            longest=self.pairs.longest, seed=spec.seed, begin=start.tokenizer.bos_id)
        return DpoRows(self.pairs.train, reference, batch_size=plain.batch_size, seed=spec.seed, longest=self.pairs.longest, row=plain.row,
                       pad=plain.pad, rank=rank, world_size=world_size, replayed=replayed, mismatched=spec.loss == "kto",
                       mismatch_tokens=PAYS[facts.kind])

    def load_of(self, spec: DpoSpec, rows: DpoRows, facts: DeviceFacts) -> Load:
        """What the plan starts from: a unit is a pair or a replayed document. KTO reads as much again each step, without gradients."""
        longest = int(rows.sizes.max())
        load = replace(self.pairs.load_of(spec, rows), seq_len=longest, units=rows.batch_size + rows.replayed.a_step,
                       tokens_per_step=rows.tokens_per_step)
        if rows.others is None:
            return load
        return replace(load, aside=load.tokens_per_step * self.reading_seconds(spec, facts, longest))

    def reading_seconds(self, spec: DpoSpec, facts: DeviceFacts, longest: int) -> float:
        """For one token without gradients, by formula."""
        config = self.pairs.start.config
        dtype = facts.dtype if spec.dtype == "auto" else spec.dtype
        return config.flops_per_token(longest) / 3 / (peak(facts, dtype) * efficiency(facts.kind, dtype, config.hidden_size))

    def questions(self) -> list[Question]:
        """Prompts of held-out pairs (of all where nothing is held out), each once, that leave room for an answer."""
        pairs = self.pairs.held_out if len(self.pairs.held_out) else self.pairs.train
        room = self.pairs.start.config.max_seq_len - min(ANSWER_ROOM, self.pairs.start.config.max_seq_len // 2)
        _, firsts = np.unique(pairs.keys, return_index=True)
        made = []
        for n in firsts[:MEASURED].tolist():
            ids, begin = pairs.conversation(n, 0)
            if begin <= room:
                made.append(Question((), tuple(ids[:begin].tolist()), int(pairs.keys[n])))
        return made

    def prompts(self, spec: DpoSpec, context: RunContext) -> list[tuple[str, list[int]]]:
        """(what is asked, ids up to where the answer begins): the spec's questions, else some of the held-out pairs'. Those that leave no
        room for an answer are passed over."""
        start = self.pairs.start
        room = start.config.max_seq_len - min(ANSWER_ROOM, start.config.max_seq_len // 2)
        found: list[tuple[str, list[int]]] = []
        if spec.sample_prompts:
            system = [{"role": "system", "content": spec.system}] if spec.system else []
            found = [(text, start.tokenizer.encode_chat([*system, {"role": "user", "content": text}], add_generation_prompt=True))
                     for text in spec.sample_prompts]
        else:
            pairs = self.pairs.held_out if len(self.pairs.held_out) else self.pairs.train
            _, firsts = np.unique(pairs.keys, return_index=True)  # each prompt once
            wanted = {int(pairs.numbers[n]): int(n) for n in firsts[np.arange(min(SAMPLES, len(firsts))) * len(firsts) //
                                                                    min(SAMPLES, len(firsts))]}
            for number, pair in enumerate(snapshots.pairs(context.run_dir)):
                if number in wanted:
                    ids, begin = pairs.conversation(wanted[number], 0)
                    found.append((pair.prompt[-1].content, ids[:begin].tolist()))
        return [(text, ids) for text, ids in found if len(ids) <= room]


def prepare(spec: DpoSpec, data: Data, facts: DeviceFacts, context: RunContext, ranks: Ranks) -> Prepared:
    """Everything up to the model itself; nothing is loaded. Raises OutOfMemory, SettingError."""
    pairs, start, reference = data.pairs, data.pairs.start, Reference()
    rows = data.rows(spec, facts, reference, context.rank, context.world_size)
    load = data.load_of(spec, rows, facts)
    keeps_head = spec.method != "full" or (spec.freeze_embeddings and start.config.tie_embeddings)
    automatic = data.unmet if keeps_head and spec.lora_tokens is None else ()
    rate = rate_of(spec, start.config.hidden_size, load.tokens_per_step)
    plan = resolve(spec.model_copy(update={"learning_rate": rate}), start.config, load, facts, context.world_size,
                   new_tokens.chosen(spec, start.tokenizer, automatic))
    reading = ReferencePass(spec, pairs, facts, context, ranks, rows.row, rows.pad) if needs_reference(spec) else None
    if reading is not None:
        plan = with_reading(plan, reading.tokens * data.reading_seconds(spec, facts, load.seq_len) / context.world_size)
    check_fit(plan, facts)
    objective = Objective(spec, ranks)
    work = Work(rows, held_out(data, reference, objective, rows, plan, ranks) if len(pairs.held_out) else None,
                data.prompts(spec, context), loss=objective, facts={"chat": True}, measures=objective.measures)
    told = {"pairs": len(pairs.train), "held_out": len(pairs.held_out), "left_out": pairs.left_out.total, "loss": spec.loss,
            "beta": beta_of(spec), "longest_pair": load.seq_len, "replay_documents": rows.replayed.a_step,
            "template": pairs.template.origin, "token_rows": [start.tokenizer.token_text(id) for id in plan.tokens]}
    return Prepared(Tuner(spec, plan, start, facts, context, ranks), work, told, reference, reading)


def with_reading(plan: TuningPlan, seconds: float) -> TuningPlan:
    """The plan with what the reference takes before the first step. Its memory is less than training's: no gradients, no optimizer, and it
    is gone before they come."""
    return replace(plan, cost=replace(plan.cost, seconds=plan.cost.seconds + seconds))


def held_out(data: Data, reference: Reference, objective: Objective, rows: DpoRows, plan: TuningPlan, ranks: Ranks) -> HeldOut:
    start, general, tokens = data.pairs.start, None, 0
    if data.replay:
        row = min(start.config.max_seq_len, GENERAL_ROW)
        general = TextEvaluation(data.replay.split("validation"), token_bytes(start.tokenizer), seq_len=row, batch_size=8,
                                 first_input=start.end_id, pad=start.end_id,
                                 borders=data.replay.split("train").documents >= BORDERS_FROM_DOCUMENTS)
        tokens = evaluated_tokens(GENERAL_TOKENS, plan.load, plan.eval_every, row)
    return HeldOut(data.pairs.held_out, reference, objective, ranks, longest=data.pairs.longest, row=rows.row, pad=rows.pad,
                   general=general, general_tokens=tokens)
