"""PPO's rounds: answers sampled with the policy as it is, measured, scored, turned into advantages, and dealt out to the updates of the
round. The batch source of the stage, its loss and its measures. How sampling and reading work is engine/rl/rollouts.py's matter.

A round is decided by the policy's weights, its number and the seed: after a crash it is sampled again and comes out the same. The only
thing that passes from one round to the next besides weights and optimizer is the KL penalty's coefficient, which lies with the value head.

N answers, T tokens of the longest; A answer tokens of a batch.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.contract.context import RunContext
from engine.contract.events import Notice
from engine.contract.rows import Rollout
from engine.contract.units import number
from engine.contract.words import tr
from engine.model.decoder import Decoder
from engine.project import rollouts as rollout_files
from engine.rl import rollouts
from engine.rl.advantages import gae, token_rewards
from engine.rl.policy import KlController, clipped_policy_loss_NT, clipped_share, kl_NT, value_loss
from engine.rl.rollouts import Answer, AnswerBatch, Order, Question, Reference, Scores
from engine.rl.value_head import PolicyAndValue, ValueHead
from engine.sampling.sampling import Sampling
from engine.stages.ppo.spec import PpoSpec
from engine.text.tokenizer import Tokenizer
from engine.training.ranks import Ranks


@dataclass(frozen=True)
class Sampled:
    """A round's answers with their scores (of the reward model, and with the penalty of those that did not end), log-probabilities of the
    policy that wrote them and of the reference, and values. `kl_N`: nats of each answer against the reference."""

    answers: list[Answer]
    raw_N: Tensor
    scores_N: Tensor
    mask_NT: Tensor
    old_NT: Tensor
    reference_NT: Tensor
    values_NT: Tensor
    gap: rollouts.Gap
    seconds: dict[str, float]

    @property
    def kl_N(self) -> Tensor:
        return ((self.old_NT - self.reference_NT) * self.mask_NT).sum(1)


@dataclass(frozen=True)
class Experience:
    """What the updates of a round learn from. `told`: the round's measures."""

    sampled: Sampled
    advantages_NT: Tensor
    returns_NT: Tensor
    told: dict[str, float]


@dataclass(frozen=True)
class PpoBatch:
    """A micro batch: answers, and for each of their tokens what PPO's losses need."""

    answers: AnswerBatch
    old_A: Tensor
    values_A: Tensor
    advantages_A: Tensor
    returns_A: Tensor

    @property
    def weight(self) -> float:
        return self.answers.weight

    @property
    def tokens(self) -> int:
        return self.answers.tokens

    def to(self, device: torch.device) -> "PpoBatch":
        return self if device.type == "cpu" else PpoBatch(self.answers.to(device), *(
            x.to(device) for x in (self.old_A, self.values_A, self.advantages_A, self.returns_A)))


def penalised(scores_N: Tensor, answers: Sequence[Answer], missing_end: float) -> Tensor:
    """Scores with `missing_end` added where an answer was cut."""
    return scores_N + missing_end * torch.tensor([not a.ended for a in answers])


def whitened(values_NT: Tensor, mask_NT: Tensor, ranks: Ranks, *, shift_mean: bool = True, eps: float = 1e-8) -> Tensor:
    """advantages.whiten over the answers of all ranks."""
    total, count = ranks.sum((values_NT * mask_NT).sum().item(), mask_NT.sum().item())
    mean = total / max(count, 1)
    squares, = ranks.sum(((values_NT - mean).square() * mask_NT).sum().item())
    white_NT = (values_NT - mean) * (squares / max(count - 1, 1) + eps) ** -0.5
    return (white_NT if shift_mean else white_NT + mean) * mask_NT


@dataclass
class _Sums:
    """Of the micro batches of an update, over their answer tokens."""

    tokens: float = 0.0
    values: dict[str, float] = field(default_factory=dict)

    def add(self, tokens: float, **values: Tensor) -> None:
        self.tokens += tokens
        for name, value in values.items():
            self.values[name] = self.values.get(name, 0.0) + value.detach().item()


class Rounds:
    """The source: `batches(step, micro_batch_size)` samples when the step begins a round. `bind` it before."""

    NAMES = ("policy_loss", "value_loss", "entropy", "clip_share", "approx_kl")

    def __init__(self, spec: PpoSpec, questions: Sequence[Question], tokenizer: Tokenizer, stop_ids: tuple[int, ...], scorer: Scores,
                 head: ValueHead, context: RunContext, ranks: Ranks) -> None:
        self.spec, self.questions, self.tokenizer, self.scorer, self.head = spec, questions, tokenizer, scorer, head
        self.context, self.ranks = context, ranks
        self.order = Order(len(questions), spec.seed)
        self.sampling = Sampling(temperature=spec.temperature, max_new_tokens=spec.max_new_tokens, stop_ids=stop_ids)
        self.policy: PolicyAndValue | None = None
        self.reference: Reference | None = None
        self.next_round = 0
        self.seconds: list[float] = []
        self._sampled: tuple[int, Sampled] | None = None
        self._learned: tuple[int, Experience] | None = None
        self._sums = _Sums()
        self._gap_told = False
        self._digest = hashlib.sha256(json.dumps([q.ids for q in questions]).encode()).hexdigest()

    @property
    def stride(self) -> int:
        """Updates of a round."""
        return self.spec.ppo_epochs * self.spec.minibatches

    @property
    def state(self) -> dict[str, Any]:
        """What must be equal for a step number to mean the same round; kept in checkpoints."""
        spec = self.spec
        return {"prompts": len(self.questions), "digest": self._digest, "seed": spec.seed, "batch_size": spec.batch_size,
                "ppo_epochs": spec.ppo_epochs, "minibatches": spec.minibatches, "max_new_tokens": spec.max_new_tokens,
                "temperature": spec.temperature, "world_size": self.ranks.world_size}

    def epoch_of(self, step: int) -> float:
        """How often each prompt was asked after `step` steps."""
        return step / self.stride * self.spec.batch_size / len(self.questions)

    def bind(self, policy: PolicyAndValue, reference: Reference) -> None:
        """The modules on the device; whose weights are trained afterwards."""
        self.policy, self.reference = policy, reference

    # ---- a round

    def sampled(self, round: int) -> Sampled:
        """This rank's answers of a round, by the policy as it is now; those of the last round asked for are kept."""
        if self._sampled is None or self._sampled[0] != round:
            self._sampled = round, self._sample(round)
        return self._sampled[1]

    def _sample(self, round: int) -> Sampled:
        spec, ranks = self.spec, self.ranks
        places = range(ranks.rank, spec.batch_size, ranks.world_size)
        numbers = self.order.numbers(round, spec.batch_size)
        asked = [self.questions[numbers[place]] for place in places]
        made = self.measured(asked, rollouts.seeds(spec.seed, "rollout", round, places))
        rollout_files.write(self.context.run_dir, round * self.stride, self._rows(round, places, made), ranks.rank)
        self.seconds.append(sum(made.seconds.values()))
        if made.gap.mean > rollouts.GAP_LIMIT and not self._gap_told:
            self._gap_told = True
            self.context.emit(Notice(level="info", code="sampler_gap", title=tr("Sampler and trainer differ"), step=round * self.stride,
                text=tr("The probabilities that answers were drawn with differ from those that are trained by {gap} nats a token on "
                        "average; the trained ones count.", gap=number(made.gap.mean, 3))))
        return made

    def measured(self, asked: Sequence[Question], seeds: Sequence[int]) -> Sampled:
        """Answers of the policy as it is now to these questions, scored and read."""
        assert self.policy is not None and self.reference is not None, "bind comes first"
        began = time.perf_counter()
        answers = rollouts.ask(self.policy.decoder, self.tokenizer, asked, self.sampling, seeds=seeds)
        written = time.perf_counter()
        raw_N = torch.tensor(self.scorer.score([a.conversation for a in answers]), dtype=torch.float32)
        scored = time.perf_counter()
        mask_NT = rollouts.mask_of(answers)
        read = rollouts.read(self.policy, answers)
        assert read.values_NT is not None
        reference_NT = self.reference.logprobs(answers)
        seconds = {"sampling": written - began, "scoring": scored - written, "reading": time.perf_counter() - scored}
        return Sampled(answers, raw_N, penalised(raw_N, answers, self.spec.missing_end), mask_NT, read.logprobs_NT, reference_NT,
                       read.values_NT, rollouts.gap(rollouts.sampled_of(answers), read.logprobs_NT, mask_NT), seconds)

    def _rows(self, round: int, places: Sequence[int], made: Sampled) -> list[Rollout]:
        step, rows = round * self.stride, []
        for place, answer, raw, score, kl in zip(places, made.answers, made.raw_N.tolist(), made.scores_N.tolist(), made.kl_N.tolist(),
                                                 strict=True):
            parts = {"score": raw} if answer.ended else {"score": raw, "no_end": self.spec.missing_end}
            rows.append(Rollout(id=f"{self.context.run_id}/{step}/{place}", step=step, prompt=answer.question.messages,
                                completion=answer.text, reward=score, parts=parts,
                                facts={"kl": kl, "tokens": len(answer.ids), "finish": answer.finish}))
        return rows

    def experience(self, round: int) -> Experience:
        """Rewards, advantages and returns of a round; the KL coefficient then moves on."""
        if self._learned is None or self._learned[0] != round:
            self._learned = round, self._learn(self.sampled(round))
        return self._learned[1]

    def _learn(self, made: Sampled) -> Experience:
        spec, ranks, coefficient = self.spec, self.ranks, self.head.kl_coef.item()
        rewards_NT = token_rewards(made.scores_N, made.old_NT, made.reference_NT, made.mask_NT, kl_coef=coefficient)
        if spec.whiten_rewards:
            rewards_NT = whitened(rewards_NT, made.mask_NT, ranks, shift_mean=False)
        advantages_NT, returns_NT = gae(rewards_NT, made.values_NT, made.mask_NT, gamma=spec.gamma, lam=spec.lam)
        told = self._told(made, returns_NT)
        controller = KlController(coefficient, spec.kl_target, spec.kl_horizon)
        controller.update(told["kl"], spec.batch_size)
        self.head.kl_coef.fill_(controller.value)
        return Experience(made, whitened(advantages_NT, made.mask_NT, ranks), returns_NT, {**told, "kl_coef": coefficient})

    def _told(self, made: Sampled, returns_NT: Tensor) -> dict[str, float]:
        """The round's measures, over all ranks."""
        mask_NT, error_NT = made.mask_NT, (returns_NT - made.values_NT) * made.mask_NT
        names = ("answers", "reward", "squares", "kl", "length", "ended", "tokens", "returns", "return_squares", "errors", "error_squares",
                 "gap", *made.seconds)
        sums = dict(zip(names, self.ranks.sum(
            len(made.answers), made.scores_N.sum().item(), made.scores_N.double().square().sum().item(), made.kl_N.sum().item(),
            sum(len(a.ids) for a in made.answers), sum(a.ended for a in made.answers), mask_NT.sum().item(), returns_NT.sum().item(),
            returns_NT.double().square().sum().item(), error_NT.sum().item(), error_NT.double().square().sum().item(),
            made.gap.mean * mask_NT.sum().item(), *made.seconds.values()), strict=True))
        answers, tokens = sums["answers"], sums["tokens"]

        def variance(squares: float, total: float, count: float) -> float:
            return max(0.0, squares / count - (total / count) ** 2)

        of_returns = variance(sums["return_squares"], sums["returns"], tokens)
        return {"reward": sums["reward"] / answers, "reward_std": variance(sums["squares"], sums["reward"], answers) ** 0.5,
                "kl": sums["kl"] / answers, "length": sums["length"] / answers, "ended": sums["ended"] / answers,
                "explained_variance": 1 - variance(sums["error_squares"], sums["errors"], tokens) / of_returns if of_returns else 0.0,
                "sampler_gap": sums["gap"] / tokens,
                **{f"{name}_seconds": sums[name] / self.ranks.world_size for name in made.seconds}}

    # ---- the updates of a round

    def batches(self, step: int, micro_batch_size: int) -> list[PpoBatch]:
        """This rank's micro batches of an update."""
        assert self.policy is not None
        round, place = divmod(step, self.stride)
        made = self.experience(round)
        self.next_round = round + 1
        self._sums = _Sums()
        pass_, part = divmod(place, self.spec.minibatches)
        order = np.random.default_rng([self.spec.seed, 32, round, pass_]).permutation(len(made.sampled.answers))
        chosen = np.array_split(order, self.spec.minibatches)[part].tolist()
        flat = rollouts.lies_flat(self.policy.decoder)
        sampled = made.sampled
        return [PpoBatch(batch, *(rollouts.flat_of(table_NT, batch) for table_NT in (sampled.old_NT, sampled.values_NT, made.advantages_NT,
                                                                                      made.returns_NT)))
                for batch in rollouts.micro_batches(sampled.answers, chosen, micro_batch_size, flat)]

    def loss(self, runner: nn.Module, batch: PpoBatch) -> Tensor:
        """Summed over the answer tokens: clipped policy loss, weighted clipped value loss, less the weighted entropy."""
        spec, read = self.spec, runner(batch.answers)
        logprobs_1A, old_1A, advantages_1A = read.logprobs_A[None], batch.old_A[None], batch.advantages_A[None]
        every_1A = torch.ones_like(old_1A)
        policy_1A, ratio_1A = clipped_policy_loss_NT(logprobs_1A, old_1A, advantages_1A, every_1A, clip_low=spec.clip, clip_high=spec.clip)
        value = value_loss(read.values_A[None], batch.values_A[None], batch.returns_A[None], every_1A, clip=spec.value_clip) * batch.weight
        entropy = read.entropy_A.sum()
        with torch.no_grad():
            low, high = clipped_share(ratio_1A, advantages_1A, every_1A, spec.clip, spec.clip)
            self._sums.add(batch.weight, policy_loss=policy_1A.sum(), value_loss=value, entropy=entropy,
                           clip_share=(low + high) * batch.weight, approx_kl=kl_NT(logprobs_1A, old_1A, "k2").sum())
        return policy_1A.sum() + spec.value_weight * value - spec.entropy_weight * entropy

    def measures(self) -> dict[str, float]:
        """Of the update that is just over, and of its round; the same on every rank."""
        assert self._learned is not None
        tokens, *sums = self.ranks.sum(self._sums.tokens, *(self._sums.values.get(name, 0.0) for name in self.NAMES))
        return {**{name: value / max(tokens, 1.0) for name, value in zip(self.NAMES, sums, strict=True)}, **self._learned[1].told}

    def enough(self) -> bool:
        """Whether the next round's answers are further from the reference than the run may go. They are sampled for that, and learned from
        where it goes on; the KL coefficient moves only then."""
        if not self.spec.kl_stop:
            return False
        made = self.sampled(self.next_round)
        total, count = self.ranks.sum(made.kl_N.sum().item(), len(made.answers))
        if total / count <= self.spec.kl_stop:
            return False
        self.context.emit(Notice(level="info", code="kl_stop", title=tr("Stopped at the KL limit"), step=self.next_round * self.stride,
            text=tr("Answers are {kl} nats from where the model began; the run was to end past {limit}.", kl=number(total / count, 2),
                    limit=number(self.spec.kl_stop, 2))))
        return True

    def aside(self) -> float:
        """Seconds an update waits for its answers, as far as was measured; 0 before."""
        return sum(self.seconds) / max(1, len(self.seconds)) / self.stride


class HeldOut:
    """Rewards on prompts that are not learned from: sampled at the run's temperature, always with the same seeds."""

    def __init__(self, rounds: Rounds, questions: Sequence[Question]) -> None:
        self.rounds, self.questions = rounds, questions

    def __call__(self, model: Decoder) -> dict[str, float]:
        rounds, ranks = self.rounds, self.rounds.ranks
        assert rounds.policy is not None and rounds.policy.decoder is model
        places = range(ranks.rank, len(self.questions), ranks.world_size)
        sums = [0.0] * 5
        if places:
            made = rounds.measured([self.questions[n] for n in places], rollouts.seeds(rounds.spec.seed, "validation", 0, places))
            sums = [len(places), made.scores_N.sum().item(), made.kl_N.sum().item(), made.mask_NT.sum().item(),
                    sum(a.ended for a in made.answers)]
        count, reward, kl, length, ended = ranks.sum(*sums)
        return {"val_loss": -reward / count, "val_reward": reward / count, "val_kl": kl / count, "val_length": length / count,
                "val_ended": ended / count}
