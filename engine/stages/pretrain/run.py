"""Pretraining: a decoder from random weights, on the tokens of a corpus. Ends with a `model` artifact.

What it does not do: import text, train a tokenizer, load somebody else's weights. The sizes come from dial.py, the parts from prepare.py,
the loop from engine/training.
"""

from dataclasses import replace

from engine.contract.context import RunContext
from engine.contract.events import ArtifactMade, Facts, Phases
from engine.contract.words import tr
from engine.model.checkpoint import WEIGHTS, load_into
from engine.project import layout
from engine.project.project import Project
from engine.stages.pretrain import dial
from engine.stages.pretrain.prepare import Builder, Inputs, check_fit, plan_facts, tell_problems, tell_speed
from engine.stages.pretrain.spec import PretrainSpec
from engine.training import devices
from engine.training.allocator import keep_memory
from engine.training.checkpoints import resume_point
from engine.training.compiling import start_compiled
from engine.training.evaluate import unigram_bits_per_byte
from engine.training.metrics import ProcessorShare
from engine.training.ranks import process_group
from engine.training.tokens import token_shards

PHASES = [["load", tr("Load")], ["tokens", tr("Tokenize")], ["prepare", tr("Prepare")], ["compile", tr("Compile")], ["train", tr("Train")],
          ["evaluate", tr("Evaluate")], ["save", tr("Save")]]
FINAL_EVALUATION = 4
UNDISTURBED = 0.7
"""Share of its threads' time that a run on a CPU must have got for its speed to be remembered."""


def run(spec: PretrainSpec, context: RunContext) -> None:
    """One attempt. Raises what its parts raise; Stopped when the person asked."""
    context.emit(Phases(phases=PHASES))
    if context.device == "cpu":
        keep_memory()
    project = Project.open(context.project_dir)
    with process_group(context.rank, context.world_size, context.device) as ranks:
        with context.phase("load", tr("Load")):
            inputs = Inputs.load(project, spec)
            facts = devices.choose(context.device)
            facts = replace(facts, peak_flops=devices.measure_peak(facts))
        with context.phase("tokens", tr("Tokenize")):
            shards = token_shards(project, inputs.corpus, inputs.tokenizer, inputs.tokenizer_artifact.path, inputs.tokenizer_artifact.id,
                                  context, ranks)
            train, validation = shards.split("train"), shards.split("validation")
        with context.phase("prepare", tr("Prepare")):
            plan = dial.resolve(spec, inputs.tokenizer.vocab_size, train.tokens, train.bytes, facts, context.world_size)
            check_fit(plan, facts)
            resumed = resume_point(context, ranks)
            builder = Builder(spec, plan, inputs, shards, facts, context, ranks)
            parts = builder.build(resumed)
            baseline = unigram_bits_per_byte(train, validation, inputs.token_bytes)
            tell_problems(plan, context)
            if not parts.trainer.state.compiled:
                context.emit(Phases(phases=[phase for phase in PHASES if phase[0] != "compile"]))
        if parts.trainer.state.compiled:
            with context.phase("compile", tr("Compile")):
                start_compiled(parts, ranks, context, settled=resumed is not None or spec.compile == "on")
        context.emit(plan_facts(plan, parts, facts))
        context.emit(Facts(facts={"unigram_bpb": baseline}))
        with context.phase("train", tr("Train")):
            trainer, checkpoints = parts.trainer, parts.trainer.checkpoints
            if context.is_main and trainer.state.step == 0:
                checkpoints.save(trainer.state, None, "start")
            share = ProcessorShare()
            state = trainer.train()
            if context.device != "cpu" or share() > UNDISTURBED:  # what other programs slowed down says nothing about the next run
                tell_speed(plan, facts, trainer.meter.tokens_per_second(plan.tokens_per_step), state.dtype)
        with context.phase("evaluate", tr("Evaluate")):
            kept = state.best_step if spec.patience and state.best_step > 0 else state.step
            if kept != state.step:
                load_into(layout.checkpoint(context.run_dir, kept) / WEIGHTS, parts.model)
            values = builder.values(parts.model, parts.evaluation, FINAL_EVALUATION * plan.eval_tokens)
        with context.phase("save", tr("Save")):
            outcome = {**values, "unigram_bpb": baseline, "step": kept, "steps": state.step, "tokens": state.tokens,
                       "seconds": state.elapsed,
                       "parameters": plan.config.parameters, "weights": "best" if kept != state.step else "last",
                       "skipped_steps": state.skipped, "epochs": parts.rows.epoch_of(state.step), "dtype": state.dtype}
            context.emit(Facts(facts={"outcome": outcome}))
            if context.is_main:
                save_model(project, spec, context, inputs, parts.model, outcome)


def save_model(project: Project, spec: PretrainSpec, context: RunContext, inputs: Inputs, model, outcome: dict) -> None:
    """The finished model as an artifact; one that a killed attempt had finished already is taken as it is."""
    made = next((a for a in project.artifacts.list("model") if a.run == context.run_id), None)
    if made is None:
        parents = (inputs.corpus.id, inputs.tokenizer_artifact.id)
        with project.artifacts.create("model", title=spec.title, parents=parents, run=context.run_id,
                                      spec=spec.model_dump(mode="json")) as writer:
            inputs.write_model(writer.path, model)
            made = writer.finish(**outcome)
    context.emit(ArtifactMade(id=made.id, kind="model"))
