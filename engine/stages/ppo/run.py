"""Proximal policy optimisation: a model that answers learns to answer as a reward model likes it, held near the model it starts from
(Ziegler et al., 2019, arXiv 1909.08593; Ouyang et al., 2022, arXiv 2203.02155). Ends with a `model` artifact.

What it does not do: label or train the reward model. Prompts come from prompts.py, rounds of answers from rounds.py, batch and memory from
plan.py, all the rest from engine/training/tuning.py.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from engine.contract.context import RunContext
from engine.contract.errors import InputError, Mismatch
from engine.contract.events import Facts, Phases
from engine.contract.machine import DeviceFacts
from engine.contract.rows import Message
from engine.contract.words import tr
from engine.model import lora
from engine.model.checkpoint import load_config, load_model
from engine.model.decoder import Decoder
from engine.model.reward_model import RewardFacts, load_reward, read_facts
from engine.model.scorer import Scorer
from engine.project import rollouts as rollout_files
from engine.project import snapshots
from engine.project.models import ModelRef, parents_of, resolve_reward
from engine.project.project import Project
from engine.rl.rollouts import Reference
from engine.rl.value_head import REACH, PolicyAndValue, ValueHead, ValueModel
from engine.stages.ppo import plan as plans
from engine.stages.ppo.prompts import Prompts
from engine.stages.ppo.rounds import HeldOut, Rounds
from engine.stages.ppo.spec import PpoSpec
from engine.text.tokenizer import Tokenizer
from engine.training import new_tokens
from engine.training.checkpoints import resume_point
from engine.training.ranks import Ranks
from engine.training.tuning import Start, Tuner, Work, check_fit, opened
from engine.training.tuning_plan import LORA_TIMES, resolve

PHASES = [["load", tr("Load")], ["tokens", tr("Read the prompts")], ["prepare", tr("Prepare")], ["train", tr("Train")],
          ["evaluate", tr("Evaluate")], ["save", tr("Save")]]


def run(spec: PpoSpec, context: RunContext) -> None:
    """One attempt. Raises what its parts raise; Stopped when the person asked."""
    context.emit(Phases(phases=PHASES))
    project = Project.open(context.project_dir)
    with opened(context, spec.method) as (ranks, facts):
        with context.phase("load", tr("Load")):
            start = Start.load(project, spec.model)
        with context.phase("tokens", tr("Read the prompts")):
            prompts = Prompts.load(spec, start, context)
            prompts.tell(context)
        with context.phase("prepare", tr("Prepare")):
            tuner, work, told = prepare(project, spec, prompts, facts, context, ranks)
            resumed = resume_point(context, ranks)
            if context.is_main:
                rollout_files.forget_from(context.run_dir, resumed.step if resumed else 0)
            parts = tuner.build(work, resumed)
            rounds: Rounds = work.source
            rounds.next_round = parts.trainer.state.step // rounds.stride
            context.emit(Facts(facts=told))
        tuner.compile(parts)
        with context.phase("train", tr("Train")):
            parts.trainer.train()
        with context.phase("evaluate", tr("Evaluate")):
            ending = tuner.finish(parts)
        with context.phase("save", tr("Save")):
            before, after = ending.before, ending.after
            tuner.save(project, parts, tr("{model}, by PPO", model=start.ref.title), (
                *([start.ref.id] if "@" not in start.ref.id else start.parents), *parents_of(project, resolve_reward(project, spec.reward)),
                *snapshots.made_from(project, context.run_dir)), {
                **ending.facts(), **told, "chat": True, "epochs": rounds.epoch_of(ending.state.step),
                "rounds": ending.state.step // rounds.stride, "sets": snapshots.sets(context.run_dir),
                "val_reward_before": before.get("val_reward"), "val_reward_after": after.get("val_reward"), "kl": after.get("val_kl"),
                "val_length_before": before.get("val_length"), "val_length_after": after.get("val_length"),
                "kl_coef": rounds.head.kl_coef.item()})


NOTHING = -3.0
"""The score of an answer that the reward model's template writes nothing of."""


class Normalised:
    """A reward model's scores in standard deviations of the answers it was trained on, around their mean: what the KL coefficient and the
    value head can count on."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer

    def score(self, conversations: Sequence[tuple[Message, ...]]) -> list[float]:
        worded = [n for n, messages in enumerate(conversations) if messages[-1].content]
        found = dict(zip(worded, self.scorer.normalised(self.scorer.score([conversations[n] for n in worded])), strict=True))
        for n in range(len(conversations)):
            if n not in found:
                found[n] = self._empty(conversations[n])
        return [found[n] for n in range(len(conversations))]

    def _empty(self, messages: tuple[Message, ...]) -> float:
        """Most templates write the end of an empty answer, which can be scored like any other."""
        try:
            return self.scorer.normalised(self.scorer.score([messages]))[0]
        except InputError as wrong:
            if wrong.code != "no_answer":
                raise
            return NOTHING


def prepare(project: Project, spec: PpoSpec, prompts: Prompts, facts: DeviceFacts, context: RunContext,
            ranks: Ranks) -> tuple[Tuner, Work, dict[str, Any]]:
    """Everything up to the policy itself, and facts of the run. Raises OutOfMemory, SettingError, NotFound, Mismatch."""
    start = prompts.start
    spec = plans.settled(spec, start.config)
    reward = resolve_reward(project, spec.reward)
    reward_config = load_config(reward.folder)
    load = plans.load_of(spec, start.config, reward_config, facts, prompts=len(prompts.train), mean_prompt=prompts.mean,
                         longest_prompt=prompts.longest, world_size=context.world_size)
    plan = resolve(spec, start.config, load, facts, context.world_size, new_tokens.chosen(spec, start.tokenizer))
    check_fit(plan, facts)
    dtype = getattr(torch, plan.dtype)
    scorer = Normalised(Scorer(reward.folder, context.device, dtype))
    tuner = Tuner(spec, plan, start, facts, context, ranks)
    head = value_head(spec, tuner, reward, dtype)
    rounds = Rounds(spec, prompts.train, start.tokenizer, start.stop_ids, scorer, head, context, ranks)

    def around(decoder: Decoder) -> nn.Module:
        policy = PolicyAndValue(decoder, head, temperature=spec.temperature, entropy_gradient=spec.entropy_weight > 0)
        copy = None if lora.has_lora(decoder) else load_model(start.ref.folder, context.device, decoder.compute_dtype or torch.float32)
        rounds.bind(policy, Reference(decoder, copy, temperature=spec.temperature))
        return policy

    work = Work(rounds, HeldOut(rounds, prompts.held_out) if prompts.held_out else None, prompts.samples(spec), loss=rounds.loss,
                facts={"chat": True}, head=head, around=around, measures=rounds.measures, enough=rounds.enough, stride=rounds.stride,
                ahead=False, aside=rounds.aside)
    told = {"prompts": len(prompts.train), "held_out": len(prompts.held_out), "left_out": prompts.too_long + prompts.refused,
            "longest_prompt": prompts.longest, "template": prompts.template.origin, "reward": spec.reward, "reward_title": reward.title,
            "rounds_planned": spec.rollouts, "answers": spec.batch_size, "updates_a_round": rounds.stride,
            "reference": "base" if spec.method != "full" else "copy"}
    return tuner, work, told


def value_head(spec: PpoSpec, tuner: Tuner, reward: ModelRef, dtype: torch.dtype) -> ValueHead:
    """A head on the policy, or a model of its own that starts from the reward model: its values are then the scores at first."""
    reach = REACH / (LORA_TIMES if tuner.uses_lora else 1)
    if spec.value == "shared":
        return ValueHead(tuner.plan.config.hidden_size, spec.kl_coef, reach=reach)
    if Tokenizer.load(reward.folder).record != tuner.start.tokenizer.record:
        raise Mismatch(tr("The reward model reads other tokens than this model, so it cannot become its value model."),
                       tr("Choose the value head on the policy."), field="value")
    made = load_reward(reward.folder, tuner.context.device)
    if tuner.uses_lora:
        lora.add_lora(made.decoder, tuner.lora, spec.seed, frozen_dtype=dtype)
    made.decoder.compute_dtype = dtype if dtype != torch.float32 else None
    made.decoder.activation_checkpointing = tuner.plan.activation_checkpointing
    scale = read_facts(reward.folder) or RewardFacts()
    return ValueModel(made.decoder, made.head.weight[0].detach() / scale.std, -scale.mean / scale.std, kl_coef=spec.kl_coef, reach=reach)


