"""Group relative policy optimisation: a model that answers tries problems again and again, verifiers say how right it was, and what was
better than its group becomes likelier (Shao et al., 2024, arXiv 2402.03300, and what came after: spec.PRESETS). Ends with a `model`
artifact.

What it does not do: make problems or verifiers. Problems come from problems.py, the verifier from verifying.py, rounds of answers from
rounds.py, batch and memory from plan.py, all the rest from engine/training/tuning.py.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from engine.contract.context import RunContext
from engine.contract.events import Facts, Phases
from engine.contract.machine import DeviceFacts
from engine.contract.words import tr
from engine.model import lora
from engine.model.checkpoint import load_model
from engine.model.decoder import Decoder
from engine.project import rollouts as rollout_files
from engine.project import snapshots
from engine.project.project import Project
from engine.rl.rollouts import Reference
from engine.rl.value_head import PolicyAndValue
from engine.stages.grpo import plan as plans
from engine.stages.grpo import verifying
from engine.stages.grpo.problems import Problems
from engine.stages.grpo.rounds import HeldOut, Pause, Rounds
from engine.stages.grpo.spec import PRESETS, GrpoSpec
from engine.stages.grpo.verifying import Opened
from engine.training import new_tokens
from engine.training.checkpoints import resume_point
from engine.training.ranks import Ranks
from engine.training.tuning import Start, Tuner, Work, check_fit, opened
from engine.training.tuning_plan import resolve

PHASES = [["load", tr("Load")], ["tokens", tr("Read the problems")], ["prepare", tr("Prepare")], ["train", tr("Train")],
          ["evaluate", tr("Evaluate")], ["save", tr("Save")]]


def run(spec: GrpoSpec, context: RunContext) -> None:
    """One attempt. Raises what its parts raise; Stopped when the person asked, or when the verifier fails."""
    context.emit(Phases(phases=PHASES))
    project = Project.open(context.project_dir)
    pause = Pause(context)
    context = replace(context, reader=pause)
    with opened(context, spec.method) as (ranks, facts), verifying.opened(context) as held:
        with context.phase("load", tr("Load")):
            start = Start.load(project, spec.model)
        with context.phase("tokens", tr("Read the problems")):
            problems = Problems.load(spec, start, held.verifier, context)
            problems.tell(context)
        with context.phase("prepare", tr("Prepare")):
            tuner, work, told = prepare(spec, problems, held, facts, context, ranks, pause)
            resumed = resume_point(context, ranks)
            if context.is_main:
                rollout_files.forget_from(context.run_dir, resumed.step if resumed else 0)
            parts = tuner.build(work, resumed)
            rounds: Rounds = work.source
            rounds.next_round = parts.trainer.state.step // rounds.stride
            rounds.kept = parts.trainer.state.kept
            context.emit(Facts(facts=told))
        tuner.compile(parts)
        with context.phase("train", tr("Train")):
            parts.trainer.train()
        with context.phase("evaluate", tr("Evaluate")):
            ending = tuner.finish(parts)
        with context.phase("save", tr("Save")):
            before, after = ending.before, ending.after
            parents = dict.fromkeys((*([start.ref.id] if "@" not in start.ref.id else start.parents),
                                     *snapshots.made_from(project, context.run_dir), *held.parents))
            tuner.save(project, parts, tr("{model}, by {method}", model=start.ref.title, method=PRESETS[spec.preset].title), (*parents,), {
                **ending.facts(), **told, "chat": True, "epochs": rounds.epoch_of(), "rounds": ending.state.step // rounds.stride,
                "sets": snapshots.sets(context.run_dir), "pass_at_1_before": before.get("pass_at_1"),
                "pass_at_1_after": after.get("pass_at_1"), "val_reward_before": before.get("val_reward"),
                "val_reward_after": after.get("val_reward"), "val_length_before": before.get("val_length"),
                "val_length_after": after.get("val_length")})


def prepare(spec: GrpoSpec, problems: Problems, held: Opened, facts: DeviceFacts, context: RunContext, ranks: Ranks,
            pause: Pause | None = None) -> tuple[Tuner, Work, dict[str, Any]]:
    """Everything up to the policy itself, and facts of the run. Raises OutOfMemory, SettingError, NotFound, Mismatch."""
    start = problems.start
    spec = plans.settled(spec, start.config)
    load = plans.load_of(spec, start.config, facts, prompts=len(problems.train), mean_prompt=problems.mean,
                         longest_prompt=problems.longest, world_size=context.world_size, verifier_bytes=held.device_bytes)
    plan = resolve(spec, start.config, load, facts, context.world_size, new_tokens.chosen(spec, start.tokenizer))
    check_fit(plan, facts)
    tuner = Tuner(spec, plan, start, facts, context, ranks)
    rounds = Rounds(spec, problems.train, start.tokenizer, start.stop_ids, held.verifier, context, ranks, pause)

    def around(decoder: Decoder) -> nn.Module:
        policy = PolicyAndValue(decoder, temperature=spec.temperature)
        rounds.bind(policy, reference(decoder) if spec.beta else None)
        return policy

    def reference(decoder: Decoder) -> Reference:
        copy = None if lora.has_lora(decoder) else load_model(start.ref.folder, context.device, decoder.compute_dtype or torch.float32)
        return Reference(decoder, copy, temperature=spec.temperature)

    work = Work(rounds, HeldOut(rounds, problems.held_out) if problems.held_out else None, problems.samples(spec), loss=rounds.loss,
                facts={"chat": True}, around=around, measures=rounds.measures, enough=rounds.enough, stride=rounds.stride, ahead=False,
                aside=rounds.aside)
    told = {"prompts": len(problems.train), "held_out": len(problems.held_out), "left_out": problems.too_long + problems.refused,
            "longest_prompt": problems.longest, "template": problems.template.origin, "preset": spec.preset,
            "source": PRESETS[spec.preset].source, "rounds_planned": spec.rollouts, "answers": spec.answers,
            "num_generations": spec.num_generations, "updates_a_round": rounds.stride, "gap_limit": spec.gap_limit,
            "filled": {name: getattr(spec, name) for name in PRESETS[spec.preset].values},
            "reference": "" if not spec.beta else "base" if spec.method != "full" else "copy",
            "verifier": held.facts, "verifier_bytes": held.device_bytes}
    return tuner, work, told
