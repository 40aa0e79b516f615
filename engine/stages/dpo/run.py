"""Preference tuning: a model that answers learns from pairs which answers people prefer (DPO and its relatives, KTO), held near itself.
Ends with a `model` artifact.

What it does not do: make pairs (preference), label them (the library), learn a reward (reward). What a step minimises is objective.py's,
what it is made of rows.py's, what the starting model says of the answers reference.py's, all the rest engine/training/tuning.py's.
"""

from engine.contract.context import RunContext
from engine.contract.events import Facts, Phases
from engine.contract.words import tr
from engine.project import snapshots
from engine.project.project import Project
from engine.rl.divergence import sampled_divergence
from engine.sampling.sampling import Sampling
from engine.stages.dpo.objective import needs_reference
from engine.stages.dpo.prepare import Data, prepare
from engine.stages.dpo.spec import DpoSpec
from engine.training.checkpoints import resume_point
from engine.training.tuning import Ending, Start, opened, tokens_of

PHASES = [["load", tr("Load")], ["tokens", tr("Read the pairs")], ["reference", tr("Ask the reference")], ["prepare", tr("Prepare")],
          ["compile", tr("Compile")], ["train", tr("Train")], ["evaluate", tr("Evaluate")], ["save", tr("Save")]]


def run(spec: DpoSpec, context: RunContext) -> None:
    """One attempt. Raises what its parts raise; Stopped when the person asked."""
    phases = [phase for phase in PHASES if phase[0] != "reference" or needs_reference(spec)]
    context.emit(Phases(phases=phases))
    project = Project.open(context.project_dir)
    with opened(context, spec.method) as (ranks, facts):
        with context.phase("load", tr("Load")):
            start = Start.load(project, spec.model)
        with context.phase("tokens", tr("Read the pairs")):
            data = Data.load(project, spec, start, context, tokens_of(project, start, context, ranks))
            data.pairs.tell(context)
            made = prepare(spec, data, facts, context, ranks)
        if made.reading is not None:
            with context.phase("reference", tr("Ask the reference")):
                made.reading.run(made.reference)
        with context.phase("prepare", tr("Prepare")):
            tuner, work = made.tuner, made.work
            parts = tuner.build(work, resume_point(context, ranks))
            context.emit(Phases(phases=[p for p in phases if p[0] != "compile" or parts.trainer.state.compiled]))
            context.emit(Facts(facts=made.told))
        tuner.compile(parts)
        with context.phase("train", tr("Train")):
            parts.trainer.train()
        with context.phase("evaluate", tr("Evaluate")):
            ending = tuner.finish(parts)
            moved = sampled_divergence(parts.model, start.ref.folder, start.tokenizer, data.questions(), Sampling(
                max_new_tokens=spec.sample_tokens, stop_ids=start.stop_ids), spec.seed) if ranks.rank == 0 else None
        with context.phase("save", tr("Save")):
            tuner.save(project, parts, tr("{model}, preferred", model=start.ref.title),
                       (*data.parents, *snapshots.made_from(project, context.run_dir)), {
                **ending.facts(), **made.told, **report(ending), "kl": moved.kl if moved else None,
                "kl_error": moved.error if moved else None, "chat": True, "epochs": work.source.epoch_of(ending.state.step),
                "sets": snapshots.sets(context.run_dir)})


def report(ending: Ending) -> dict[str, float | None]:
    """What held-out pairs say, before and after."""
    return {f"{name}_{when}": values.get(value) for when, values in (("before", ending.before), ("after", ending.after))
            for name, value in (("accuracy", "val_accuracy"), ("margin", "val_margin"), ("chosen_reward", "val_chosen_reward"),
                                ("general_bpb", "general_bpb"))}
