"""Supervised fine-tuning: a model that exists learns to answer from conversations. Ends with a `model` artifact that chats.

What it does not do: make conversations (instruct), judge answers (evaluate). What is read comes from conversations.py, batch and steps
from plan.py, all the rest from engine/training/tuning.py.
"""

from typing import Any

from engine.contract.context import RunContext
from engine.contract.events import Facts, Phases
from engine.contract.machine import DeviceFacts
from engine.contract.words import tr
from engine.project import snapshots
from engine.project.project import Project
from engine.stages.sft.conversations import GENERAL_TOKENS, Conversations, HeldOut, general_row, tell_unmet
from engine.stages.sft.spec import SftSpec
from engine.training import new_tokens
from engine.training.checkpoints import resume_point
from engine.training.examples import example_loss
from engine.training.ranks import Ranks
from engine.training.tuning import Start, Tuner, Work, check_fit, opened, tokens_of
from engine.training.tuning_plan import evaluated_tokens, resolve

PHASES = [["load", tr("Load")], ["tokens", tr("Read the examples")], ["prepare", tr("Prepare")], ["compile", tr("Compile")],
          ["train", tr("Train")], ["evaluate", tr("Evaluate")], ["save", tr("Save")]]


def run(spec: SftSpec, context: RunContext) -> None:
    """One attempt. Raises what its parts raise; Stopped when the person asked."""
    context.emit(Phases(phases=PHASES))
    project = Project.open(context.project_dir)
    with opened(context, spec.method) as (ranks, facts):
        with context.phase("load", tr("Load")):
            start = Start.load(project, spec.model)
        with context.phase("tokens", tr("Read the examples")):
            conversations = Conversations.load(project, spec, start, context, tokens_of(project, start, context, ranks))
            conversations.tell(context)
        with context.phase("prepare", tr("Prepare")):
            tuner, work, told = prepare(spec, conversations, facts, context, ranks)
            parts = tuner.build(work, resume_point(context, ranks))
            context.emit(Phases(phases=[p for p in PHASES if p[0] != "compile" or parts.trainer.state.compiled]))
            context.emit(Facts(facts=told))
            tell_unmet(conversations, tuner, context)
        tuner.compile(parts)
        with context.phase("train", tr("Train")):
            parts.trainer.train()
        with context.phase("evaluate", tr("Evaluate")):
            ending = tuner.finish(parts)
        with context.phase("save", tr("Save")):
            epochs = work.source.epoch_of(ending.state.step)
            tuner.save(project, parts, tr("{model}, tuned", model=start.ref.title),
                       (*conversations.parents, *snapshots.made_from(project, context.run_dir)), {
                **ending.facts(), **told, "chat": True, "epochs": epochs, "sets": snapshots.sets(context.run_dir),
                "trained_tokens": round(epochs * conversations.train.trained_tokens),
                "general_bpb_before": ending.before.get("general_bpb"), "general_bpb_after": ending.after.get("general_bpb")})


def prepare(spec: SftSpec, conversations: Conversations, facts: DeviceFacts, context: RunContext,
            ranks: Ranks) -> tuple[Tuner, Work, dict[str, Any]]:
    """Everything up to the model itself, and facts of the data. Raises OutOfMemory, SettingError."""
    start, left = conversations.start, conversations.train.left_out
    rows = conversations.rows(spec, context.rank, context.world_size)
    load = conversations.load_of(spec, rows)
    automatic = conversations.unmet if conversations.keeps_head(spec) and spec.lora_tokens is None else ()
    plan = resolve(spec, start.config, load, facts, context.world_size, new_tokens.chosen(spec, start.tokenizer, automatic))
    check_fit(plan, facts)
    general = evaluated_tokens(GENERAL_TOKENS, load, plan.eval_every, general_row(start))
    work = Work(rows, HeldOut(conversations, general, ranks) if len(conversations.held_out) else None, conversations.prompts(spec, context),
                loss=example_loss, one_shape=rows.keep_shape if spec.packing else None, facts={"chat": True})
    told = {"examples": len(conversations.train), "held_out": len(conversations.held_out), "left_out": left.total,
            "longest_example": int(conversations.train.lengths().max()), "replay_documents": rows.replay_documents,
            "template": conversations.template.origin, "token_rows": [start.tokenizer.token_text(id) for id in plan.tokens]}
    return Tuner(spec, plan, start, facts, context, ranks), work, told
