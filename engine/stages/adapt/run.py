"""Domain fine-tuning: a model that exists goes on reading, now the text of a domain, with general text replayed against forgetting. Ends
with a `model` artifact, and with the loss on held-out text of both kinds, before and after.

What it does not do: conversations (sft), new tokens in the tokenizer. Steps and batch come from plan.py, the text from texts.py, all the
rest from engine/training/tuning.py.
"""

from typing import Any

from engine.contract.context import RunContext
from engine.contract.events import Facts, Notice, Phases
from engine.contract.machine import DeviceFacts
from engine.contract.words import tr
from engine.project.project import Project
from engine.stages.adapt.plan import load_of
from engine.stages.adapt.spec import AdaptSpec
from engine.stages.adapt.texts import HeldOut, Texts
from engine.training import new_tokens
from engine.training.checkpoints import resume_point
from engine.training.ranks import Ranks
from engine.training.tuning import Ending, Start, Tuner, Work, check_fit, opened, tokens_of
from engine.training.tuning_plan import evaluated_tokens, resolve

PHASES = [["load", tr("Load")], ["tokens", tr("Tokenize")], ["prepare", tr("Prepare")], ["compile", tr("Compile")], ["train", tr("Train")],
          ["evaluate", tr("Evaluate")], ["save", tr("Save")]]


def run(spec: AdaptSpec, context: RunContext) -> None:
    """One attempt. Raises what its parts raise; Stopped when the person asked."""
    context.emit(Phases(phases=PHASES))
    project = Project.open(context.project_dir)
    with opened(context, spec.method) as (ranks, facts):
        with context.phase("load", tr("Load")):
            start = Start.load(project, spec.model)
        with context.phase("tokens", tr("Tokenize")):
            texts = Texts.load(project, spec, start, tokens_of(project, start, context, ranks))
        with context.phase("prepare", tr("Prepare")):
            tuner, work, told = prepare(spec, texts, facts, context, ranks)
            parts = tuner.build(work, resume_point(context, ranks))
            context.emit(Phases(phases=[p for p in PHASES if p[0] != "compile" or parts.trainer.state.compiled]))
            context.emit(Facts(facts=told))
            if texts.general is None:
                context.emit(Notice(level="info", code="no_replay", title=tr("What it forgets is not measured"), step=0,
                                    text=tr("No general text was chosen: none is replayed, and the loss on it stays unknown."),
                                    remedy=tr("Choose a corpus of what the model knows already.")))
        tuner.compile(parts)
        with context.phase("train", tr("Train")):
            parts.trainer.train()
        with context.phase("evaluate", tr("Evaluate")):
            ending = tuner.finish(parts)
        with context.phase("save", tr("Save")):
            title = tr("{model}, adapted to {corpus}", model=start.ref.title, corpus=texts.corpus.title)
            tuner.save(project, parts, title, texts.parents, {**report(ending), **told, "chat": start.ref.chat,
                                                              "epochs": work.source.epoch_of(ending.state.step)})


def prepare(spec: AdaptSpec, texts: Texts, facts: DeviceFacts, context: RunContext, ranks: Ranks) -> tuple[Tuner, Work, dict[str, Any]]:
    """Everything up to the model itself, and facts of the data. Raises OutOfMemory, SettingError."""
    start = texts.start
    load = load_of(spec, start.config, texts.domain_tokens, replayed=texts.general is not None, world_size=context.world_size)
    plan = resolve(spec, start.config, load, facts, context.world_size, new_tokens.chosen(spec, start.tokenizer))
    check_fit(plan, facts)
    rows = texts.rows(spec, load.seq_len, load.batch, context.rank, context.world_size)
    held_out = HeldOut(texts, load.seq_len, evaluated_tokens(spec.eval_tokens, load, plan.eval_every, load.seq_len), ranks)
    work = Work(rows, held_out, texts.prompts(spec), one_shape=lambda wanted: None, facts={"chat": start.ref.chat})
    told = {"domain_tokens": texts.domain_tokens, "replay_percent": rows.percent, "eval_tokens": held_out.tokens}
    return Tuner(spec, plan, start, facts, context, ranks), work, told


def report(ending: Ending) -> dict[str, Any]:
    """Bits per byte and loss on both kinds of held-out text, before and after."""
    told = {}
    for when, values in (("before", ending.before), ("after", ending.after)):
        told |= {f"domain_loss_{when}": values.get("val_loss"), f"domain_bpb_{when}": values.get("bpb"),
                 f"general_loss_{when}": values.get("general_loss"), f"general_bpb_{when}": values.get("general_bpb")}
    return {**ending.facts(), **told, "bpb": ending.after.get("bpb")}
