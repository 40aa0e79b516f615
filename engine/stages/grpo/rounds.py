"""GRPO's rounds: groups of answers sampled with the policy as it is, scored by the verifier while others are still being written, turned
into advantages, and dealt out to the updates of the round. The batch source of the stage, its loss and its measures. How sampling and
reading work is engine/rl/rollouts.py's matter.

A round is decided by the policy's weights, its number, the seed, and what the run has asked so far (`kept`, in every checkpoint): after a
crash it is sampled again and comes out the same, as far as the verifier says the same.

Old log-probabilities cost nothing: fully on-policy they are those of the update itself, else the sampler's own. Where these differ from
the trainer's by more than a limit, the trainer computes them, and tokens are weighted by the ratio of the two.

P groups of G answers; N answers, T tokens of the longest; A answer tokens of a batch.
"""

import hashlib
import json
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from engine.contract.context import Command, RunContext
from engine.contract.events import Notice
from engine.contract.rows import Rollout
from engine.contract.units import number, percent
from engine.contract.words import tr
from engine.model.decoder import Decoder
from engine.project import rollouts as rollout_files
from engine.rl import rollouts
from engine.rl.advantages import group_advantages, without_signal
from engine.rl.policy import average, clipped_policy_loss_NT, clipped_share, kl_NT
from engine.rl.rollouts import Answer, AnswerBatch, Question, Reference
from engine.rl.value_head import PolicyAndValue
from engine.rl.verified import Checks
from engine.sampling.sampling import Sampling
from engine.stages.grpo.problems import Choosing
from engine.stages.grpo.spec import GrpoSpec
from engine.text.tokenizer import Tokenizer
from engine.training.ranks import Ranks
from engine.verifiers.api import KINDS, Away, Verdict, Verifier
from engine.verifiers.pausing import PAUSE_SHARE, WARN_SHARE, judge
from engine.verifiers.scoring import is_full

PROBE = 1024
"""Tokens whose log-probabilities are compared before the sampler's are taken for a whole round."""
EPS = 1e-4
LEAST_SIGNAL = 0.25
"""Of groups asked anew, how many are counted on to have a signal at least."""
MEMORY = 0.5
"""Weight of the newest group in a problem's mean reward."""


@dataclass(frozen=True)
class Tried:
    """Groups that were asked together: P questions, G answers of each, group after group."""

    questions: list[Question]
    answers: list[Answer]
    verdicts: list[Verdict]
    rewards_PG: Tensor
    kept_PG: Tensor
    sampling: float
    verifying: float

    @property
    def silent_P(self) -> Tensor:
        """bool: groups that nothing can be learned from."""
        return without_signal(self.rewards_PG, self.kept_PG)


@dataclass(frozen=True)
class Round:
    """What the updates of a round learn from: `groups` (numbers of answers, those with a reward), an advantage an answer, whether each
    answer's tokens count (`counts_N`: not where it was cut and those are left out). `old_NT` None: that of the update itself. `weights_NT`
    None: 1. `told`: its measures; `verdicts` of all that was tried; `failed`: answers without a reward and answers, over all ranks;
    `after`: what the run keeps once the round is learned from."""

    answers: list[Answer]
    groups: list[list[int]]
    advantages_N: Tensor
    counts_N: Tensor
    sampled_NT: Tensor
    old_NT: Tensor | None
    weights_NT: Tensor | None
    reference_NT: Tensor | None
    gap: float | None
    told: dict[str, float]
    verdicts: list[Verdict]
    failed: tuple[float, float]
    after: dict[str, Any]


@dataclass(frozen=True)
class GrpoBatch:
    """A micro batch: answers, and for each what GRPO's losses need. `weight`: what the loss is divided by, all of an update's with its
    first batch: answers that nothing is learned from count, but need not be read."""

    answers: AnswerBatch
    mask_NT: Tensor
    advantages_N: Tensor
    sampled_NT: Tensor
    old_NT: Tensor | None
    weights_NT: Tensor | None
    reference_NT: Tensor | None
    weight: float

    @property
    def tokens(self) -> int:
        return self.answers.tokens

    def to(self, device: torch.device) -> "GrpoBatch":
        return self if device.type == "cpu" else GrpoBatch(self.answers.to(device), *(
            x if x is None else x.to(device) for x in (self.mask_NT, self.advantages_N, self.sampled_NT, self.old_NT, self.weights_NT,
                                                       self.reference_NT)), self.weight)


class Pause:
    """Stands before a run's commands: the run can ask itself to pause."""

    def __init__(self, context: RunContext) -> None:
        self._reader, self._asked = context.reader, False

    @property
    def asked(self) -> bool:
        return self._asked

    def ask(self) -> None:
        self._asked = True

    def __call__(self) -> Command | None:
        if self._asked:
            self._asked = False
            return Command("pause")
        return self._reader()


@dataclass
class _Sums:
    """Of the micro batches of an update: over the tokens that count in them."""

    tokens: float = 0.0
    values: dict[str, float] = field(default_factory=dict)

    def add(self, tokens: float, **values: Tensor) -> None:
        self.tokens += tokens
        for name, value in values.items():
            self.values[name] = self.values.get(name, 0.0) + value.detach().item()


class Rounds:
    """The source: `batches(step, micro_batch_size)` samples when the step begins a round. `spec` has no value left open. `bind` it before;
    `kept` is the run's own memory (TrainState.kept)."""

    NAMES = ("kl", "clip_share_low", "clip_share_high", "approx_kl", "gap")

    def __init__(self, spec: GrpoSpec, questions: Sequence[Question], tokenizer: Tokenizer, stop_ids: tuple[int, ...], verifier: Verifier,
                 context: RunContext, ranks: Ranks, pause: Pause | None = None) -> None:
        assert spec == spec.filled(), "a value is left open"
        self.spec, self.questions, self.tokenizer, self.verifier = spec, questions, tokenizer, verifier
        self.context, self.ranks, self.pause = context, ranks, pause
        self.choosing = Choosing(questions, spec)
        self.sampling = Sampling(temperature=spec.temperature, top_p=spec.top_p, top_k=spec.top_k, max_new_tokens=spec.max_new_tokens,
                                 stop_ids=stop_ids)
        self.policy: PolicyAndValue | None = None
        self.reference: Reference | None = None
        self.kept: dict[str, Any] = {}
        self.next_round = 0
        self.seconds: list[float] = []
        self._round: tuple[int, Round] | None = None
        self._sums = _Sums()
        self._learning = 0.0
        self._said: set[str] = set()
        self._digest = hashlib.sha256(json.dumps([[q.ids, q.answer] for q in questions], default=str).encode()).hexdigest()

    @property
    def stride(self) -> int:
        """Updates of a round."""
        return self.spec.stride

    @property
    def state(self) -> dict[str, Any]:
        """What must be equal for a step number to mean the same round; kept in checkpoints."""
        spec = self.spec
        return {"prompts": len(self.questions), "digest": self._digest, "seed": spec.seed, "groups": spec.prompts,
                "num_generations": spec.num_generations, "passes": spec.passes, "minibatches": spec.minibatches,
                "max_new_tokens": spec.max_new_tokens, "temperature": spec.temperature, "world_size": self.ranks.world_size}

    def epoch_of(self) -> float:
        """How often each problem was asked so far."""
        return int(self.kept.get("asked", 0)) / len(self.questions)

    def bind(self, policy: PolicyAndValue, reference: Reference | None) -> None:
        """The modules on the device; whose weights are trained afterwards. A reference where the KL coefficient is not 0."""
        assert (reference is not None) == bool(self.spec.beta)
        self.policy, self.reference = policy, reference

    # ---- a round

    def sampled(self, round: int) -> Round:
        """This rank's part of a round, by the policy as it is now; the last one asked for is kept. Nothing but `batches` makes the run
        remember it."""
        if self._round is None or self._round[0] != round:
            self._round = round, self._sample(round)
        return self._round[1]

    def tried(self, asked: Sequence[Question], seeds: Sequence[int], generations: int) -> Tried:
        """Groups of answers of the policy as it is now, with their rewards."""
        assert self.policy is not None, "bind comes first"
        began = time.perf_counter()
        with Checks(self.verifier, asked, generations) as checks:
            answers = rollouts.ask(self.policy.decoder, self.tokenizer, asked, self.sampling, seeds=seeds, generations=generations,
                                   finished=checks)
            written = time.perf_counter()
            verdicts = checks.verdicts(answers)
        rewards = [self._reward(verdict, answer) for verdict, answer in zip(verdicts, answers, strict=True)]
        rewards_PG = torch.tensor(rewards, dtype=torch.float64).view(-1, generations)
        kept_PG = torch.tensor([verdict.score is not None for verdict in verdicts]).view(-1, generations)
        return Tried(list(asked), answers, verdicts, rewards_PG, kept_PG, written - began, checks.waited)

    def _reward(self, verdict: Verdict, answer: Answer) -> float:
        """0 where there is none."""
        if verdict.score is None:
            return 0.0
        return verdict.score + (self.spec.missing_end if self.spec.cut == "penalise" and not answer.ended else 0.0)

    def _sample(self, round: int) -> Round:
        """Groups are tried until enough of them have a signal, or the tries are over; where none is tried again all are learned from."""
        spec, ranks = self.spec, self.ranks
        wanted = len(range(ranks.rank, spec.prompts, ranks.world_size))
        before, g = int(self.kept.get("asked", 0)), spec.num_generations
        tries: list[Tried] = []
        asked, size = 0, spec.prompts
        for _ in range(1 + (spec.resample or 0)):
            chosen = self.choosing.numbers(before + asked, size, round / spec.rollouts, self.kept.get("rewards", {}))
            places = range(ranks.rank, size, ranks.world_size)
            if places:
                seats = [(asked + place) * g + n for place in places for n in range(g)]
                tries.append(self.tried([self.questions[chosen[place]] for place in places],
                                        rollouts.seeds(spec.seed, "rollout", round, seats), g))
            asked += size
            found = sum(int((~tried.silent_P).sum()) for tried in tries)
            all_found, short = ranks.sum(found, max(0, wanted - found))
            if not short:
                break
            size = min(spec.prompts, math.ceil(short / max(all_found / asked, LEAST_SIGNAL)))
        return self._learn(round, tries, wanted, before + asked)

    def _learn(self, round: int, tries: list[Tried], wanted: int, asked: int) -> Round:
        spec, g = self.spec, self.spec.num_generations
        answers = [answer for tried in tries for answer in tried.answers]
        rewards_PG, kept_PG = torch.cat([tried.rewards_PG for tried in tries]), torch.cat([tried.kept_PG for tried in tries])
        silent_P = without_signal(rewards_PG, kept_PG)
        taken = [p for p in range(len(silent_P)) if not spec.resample or not silent_P[p]][:wanted]
        taken_P = torch.zeros(len(silent_P), dtype=torch.bool)
        taken_P[taken] = True
        advantages_PG = self._advantages(rewards_PG, kept_PG & taken_P[:, None]).float()
        groups = [[p * g + n for n in range(g) if kept_PG[p, n]] for p in taken]
        ended_N = torch.tensor([answer.ended for answer in answers])
        counts_N = ended_N if spec.cut == "mask" else torch.ones_like(ended_N)
        told, failed = self._told(tries, rewards_PG, kept_PG, silent_P)
        verdicts = [verdict for tried in tries for verdict in tried.verdicts]
        self._write(round, tries, advantages_PG, taken_P, silent_P)
        began = time.perf_counter()
        sampled_NT = rollouts.sampled_of(answers)
        advantages_N = advantages_PG.flatten()
        made = Round(answers, groups, advantages_N, counts_N, sampled_NT, None, None, None, None, told, verdicts, failed,
                     {"asked": asked, "rewards": self._remembered(tries, rewards_PG, kept_PG)})
        old_NT, weights_NT, gap = self._old(made)
        reference_NT = self._read(made, self._learned(made), reference=True) if self.reference else None
        reading = time.perf_counter() - began
        self.seconds.append(sum(tried.sampling + tried.verifying for tried in tries) + reading)
        return Round(answers, groups, advantages_N, counts_N, sampled_NT, old_NT, weights_NT, reference_NT, gap,
                     {**told, "reading_seconds": reading / self.stride}, verdicts, failed, made.after)

    def _advantages(self, rewards_PG: Tensor, kept_PG: Tensor) -> Tensor:
        """Of a round's spread where that is what they are scaled by, over all ranks."""
        if self.spec.scale != "batch":
            assert self.spec.scale is not None
            return group_advantages(rewards_PG, scale=self.spec.scale, kept_PG=kept_PG, eps=EPS)
        among = rewards_PG[kept_PG]
        total, count = self.ranks.sum(among.sum().item(), len(among))
        squares, = self.ranks.sum((among - total / max(count, 1)).square().sum().item())
        spread = (squares / max(count - 1, 1)) ** 0.5
        return group_advantages(rewards_PG, scale="none", kept_PG=kept_PG) / (spread + EPS)

    def _learned(self, made: Round) -> list[int]:
        """Answers that move a weight: with an advantage, or held to the reference, and not left out for being cut."""
        return [n for group in made.groups for n in group if made.counts_N[n] and (self.spec.beta or made.advantages_N[n] != 0)]

    def _old(self, made: Round) -> tuple[Tensor | None, Tensor | None, float | None]:
        """(log-probabilities before the round's updates, weights of tokens, gap of the probe); none where there is but one update."""
        if self.stride == 1 or not (numbers := self._learned(made)):
            return None, None, None
        some, held = [], 0
        for n in numbers:
            some.append(n)
            held += len(made.answers[n].ids)
            if held >= PROBE:
                break
        mask_NT = rollouts.mask_of(made.answers)
        chosen_NT = torch.zeros_like(mask_NT)
        chosen_NT[some] = mask_NT[some]
        gap = rollouts.gap(made.sampled_NT, self._read(made, some), chosen_NT).mean
        if gap <= self.spec.gap_limit:
            return made.sampled_NT, None, gap
        old_NT = self._read(made, numbers)
        return old_NT, (old_NT - made.sampled_NT).exp().clamp(max=self.spec.gap_cap), gap

    def _read(self, made: Round, numbers: Sequence[int], reference: bool = False) -> Tensor:
        """Log-probabilities of these answers by the trainer, or by the reference, 0 for all others."""
        assert self.policy is not None
        table_NT = torch.zeros_like(made.sampled_NT)
        some = [made.answers[n] for n in numbers]
        if some:
            read_NT = self.reference.logprobs(some) if reference and self.reference else rollouts.read(self.policy, some).logprobs_NT
            table_NT[list(numbers), :read_NT.shape[1]] = read_NT
        return table_NT

    def _remembered(self, tries: list[Tried], rewards_PG: Tensor, kept_PG: Tensor) -> dict[str, float]:
        """The mean reward of each problem so far, where the choice of problems goes by it."""
        if self.spec.curriculum != "measured":
            return {}
        rewards = dict(self.kept.get("rewards", {}))
        questions = [question for tried in tries for question in tried.questions]
        for question, rewards_G, kept_G in zip(questions, rewards_PG, kept_PG, strict=True):
            if kept_G.any():
                new, key = rewards_G[kept_G].mean().item(), str(question.key)
                rewards[key] = MEMORY * new + (1 - MEMORY) * rewards[key] if key in rewards else new
        return rewards

    def _told(self, tries: list[Tried], rewards_PG: Tensor, kept_PG: Tensor,
              silent_P: Tensor) -> tuple[dict[str, float], tuple[float, float]]:
        """The round's measures over all answers and ranks, and how many answers of how many have no reward. The entropy is that of what
        was sampled: the mean of -log p is as right as the sum over all tokens, and free."""
        answers = [answer for tried in tries for answer in tried.answers]
        among = rewards_PG[kept_PG]
        kinds = Counter(verdict.error for tried in tries for verdict in tried.verdicts)
        sums = self.ranks.sum(
            len(answers), len(among), among.sum().item(), among.square().sum().item(), len(silent_P), int(silent_P.sum()),
            sum(not answer.ended for answer in answers), sum(len(answer.ids) for answer in answers),
            -sum(sum(answer.sampled) for answer in answers), sum(tried.sampling for tried in tries),
            sum(tried.verifying for tried in tries), *(kinds[kind] for kind in KINDS))
        count, known, total, squares, groups, silent, cut, tokens, surprise, sampling, verifying, *errors = sums
        mean, each = total / max(known, 1), self.ranks.world_size * self.stride
        return {"reward": mean, "reward_std": max(0.0, squares / max(known, 1) - mean * mean) ** 0.5,
                "frac_reward_zero_std": silent / groups, "completions_clipped": cut / count, "ended": 1 - cut / count,
                "length": tokens / count, "entropy": surprise / tokens, "groups": groups, "verifier_errors": count - known,
                **{f"verifier_{kind}": n for kind, n in zip(KINDS, errors, strict=True) if n},
                "sampling_seconds": sampling / each, "verifying_seconds": verifying / each}, (count - known, count)

    def _write(self, round: int, tries: list[Tried], advantages_PG: Tensor, taken_P: Tensor, silent_P: Tensor) -> None:
        step, g, rows = round * self.stride, self.spec.num_generations, []
        group = 0
        for tried in tries:
            for n, (answer, verdict) in enumerate(zip(tried.answers, tried.verdicts, strict=True)):
                p = group + n // g
                facts: dict[str, Any] = {"tokens": len(answer.ids), "finish": answer.finish, "advantage": advantages_PG[p, n % g].item(),
                                         "answer": answer.question.answer, "group": p * self.ranks.world_size + self.ranks.rank,
                                         "problem": str(answer.question.key)}
                if verdict.error:
                    facts |= {"error": verdict.error, "line": verdict.line, "message": verdict.message}
                if not taken_P[p]:
                    facts["left_out"] = "no_signal" if silent_P[p] else "surplus"
                elif verdict.score is None:
                    facts["left_out"] = "error"
                elif self.spec.cut == "mask" and not answer.ended:
                    facts["left_out"] = "cut"
                reward, parts = self._reward(verdict, answer), dict(verdict.parts)
                if verdict.score is not None and reward != verdict.score:
                    parts["no_end"] = self.spec.missing_end
                rows.append(Rollout(id=f"{self.context.run_id}/{step}/{facts['group']}/{n % g}", step=step, prompt=answer.question.messages,
                                    completion=answer.text, reward=reward, parts=parts, facts=facts))
            group += len(tried.questions)
        rollout_files.write(self.context.run_dir, step, rows, self.ranks.rank)

    # ---- the updates of a round

    def batches(self, step: int, micro_batch_size: int) -> list[GrpoBatch]:
        """This rank's micro batches of an update. There is always one, since ranks wait for one another."""
        assert self.policy is not None
        round, place = divmod(step, self.stride)
        made = self.sampled(round)
        if place == 0:
            self.kept.update(made.after)
        self.next_round = round + 1
        self._sums = _Sums()
        pass_, part = divmod(place, self.spec.minibatches)
        groups = made.groups
        if self.spec.minibatches > 1:
            order = np.random.default_rng([self.spec.seed, 32, round, pass_]).permutation(len(groups))
            groups = [groups[n] for n in np.array_split(order, self.spec.minibatches)[part]]
        dealt = [n for group in groups for n in group]
        moving = set(self._learned(made))
        chosen = [n for n in dealt if n in moving]
        moves = bool(chosen)
        chosen = chosen or [min(range(len(made.answers)), key=lambda n: len(made.answers[n].ids))]
        counted = sum(len(made.answers[n].ids) for n in dealt if made.counts_N[n])
        weight = float(counted if self.spec.mean == "token" else len(dealt))
        flat = rollouts.lies_flat(self.policy.decoder)
        laid = rollouts.micro_batches(made.answers, chosen, micro_batch_size, flat)
        self._learning = time.perf_counter()
        return [self._batch(made, batch, weight if n == 0 else 0.0, moves) for n, batch in enumerate(laid)]

    def _batch(self, made: Round, batch: AnswerBatch, weight: float, moves: bool) -> GrpoBatch:
        numbers, most = list(batch.numbers), max(batch.lengths)
        mask_NT = (torch.arange(most) < torch.tensor(batch.lengths)[:, None]) & made.counts_N[numbers][:, None] & moves
        tables = (table if table is None else table[numbers, :most] for table in (made.sampled_NT, made.old_NT, made.weights_NT,
                                                                                   made.reference_NT))
        return GrpoBatch(batch, mask_NT.float(), made.advantages_N[numbers], *tables, weight)

    def loss(self, runner: nn.Module, batch: GrpoBatch) -> Tensor:
        """Summed over answers, or over tokens where each of them counts alike: the clipped policy loss, and the weighted KL."""
        spec, mask_NT = self.spec, batch.mask_NT
        assert spec.mean and spec.ratio and spec.clip_low is not None and spec.clip_high is not None
        logprobs_NT = pad_sequence(list(runner(batch.answers).logprobs_A.split(batch.answers.lengths)), batch_first=True)
        now_NT = logprobs_NT.detach()
        old_NT = now_NT if batch.old_NT is None else batch.old_NT
        tokens = mask_NT.sum()
        gap = ((now_NT - batch.sampled_NT).abs() * mask_NT).sum()
        weights_NT = batch.weights_NT
        if batch.old_NT is None and gap > spec.gap_limit * tokens:
            weights_NT = (now_NT - batch.sampled_NT).exp().clamp(max=spec.gap_cap)
        loss_NT, ratio = clipped_policy_loss_NT(logprobs_NT, old_NT, batch.advantages_N, mask_NT, clip_low=spec.clip_low,
                                                clip_high=spec.clip_high, level=spec.ratio)
        if weights_NT is not None:
            loss_NT = loss_NT * weights_NT
        sums: dict[str, Tensor] = {}
        if batch.reference_NT is not None:
            apart_NT = kl_NT(logprobs_NT, batch.reference_NT)
            sums["kl"] = (apart_NT.detach() * mask_NT).sum()
            loss_NT = loss_NT + spec.beta * apart_NT
        with torch.no_grad():
            low, high = clipped_share(ratio, batch.advantages_N, mask_NT, spec.clip_low, spec.clip_high)
            self._sums.add(tokens.item(), clip_share_low=low * tokens, clip_share_high=high * tokens,
                           approx_kl=(kl_NT(now_NT, old_NT, "k2") * mask_NT).sum(), gap=gap, **sums)
        parts = tokens if spec.mean == "token" else len(batch.answers.numbers)
        return average(loss_NT.expand_as(mask_NT), mask_NT, spec.mean, longest=spec.max_new_tokens) * parts

    def measures(self) -> dict[str, float]:
        """Of the update that is just over, and of its round; the same on every rank."""
        assert self._round is not None
        made = self._round[1]
        tokens, seconds, *sums = self.ranks.sum(self._sums.tokens, time.perf_counter() - self._learning, *(
            self._sums.values.get(name, 0.0) for name in self.NAMES))
        found = {name: value / max(tokens, 1.0) for name, value in zip(self.NAMES, sums, strict=True)}
        gap = found.pop("gap")
        if not self.reference:
            found.pop("kl")
        self._tell_gap(gap if made.gap is None else made.gap)
        return {**found, "clip_share": found["clip_share_low"] + found["clip_share_high"], **made.told,
                "sampler_gap": gap if made.gap is None else made.gap, "learning_seconds": seconds / self.ranks.world_size}

    def _tell_gap(self, gap: float) -> None:
        if gap > self.spec.gap_limit and "gap" not in self._said:
            self._said.add("gap")
            self.context.emit(Notice(level="info", code="sampler_gap", title=tr("Sampler and trainer differ"),
                step=(self.next_round - 1) * self.stride,
                text=tr("The probabilities that answers were drawn with differ from those that are trained by {gap} nats a token on "
                        "average; tokens are weighted by their ratio.", gap=number(gap, 3))))

    def enough(self) -> bool:
        """Never; but the next round is sampled here, between the steps, so that the run can pause where its verifier fails."""
        if self.pause is not None and self.pause.asked:
            return False
        step = self.next_round * self.stride
        try:
            made = self.sampled(self.next_round)
        except Away as wrong:
            self.away(wrong, step)
            return False
        failed, count = made.failed
        said = judge(made.verdicts).sentence or tr("The verifier could not judge {share} of the completions.",
                                                   share=percent(failed / count))
        if failed > PAUSE_SHARE * count:
            if self.pause is not None:
                self.pause.ask()
            self.context.emit(Notice(level="problem", code="verifier_errors", title=tr("The verifier fails"), text=said, step=step,
                                     remedy=tr("The run pauses. Mend the verifier, and start again from the last checkpoint.")))
        elif failed and "errors" not in self._said:
            self._said.add("errors")
            self.context.emit(Notice(level="warning", code="verifier_errors", title=tr("The verifier fails at times"), text=said, step=step,
                                     remedy=tr("Answers it cannot judge leave their group.")))
        timeouts = made.told.get("verifier_timeout", 0.0)
        if timeouts > WARN_SHARE * count and "timeouts" not in self._said:
            self._said.add("timeouts")
            self.context.emit(Notice(level="warning", code="verifier_timeouts", title=tr("The verifier runs out of time"), step=step,
                text=tr("It did not end in time on {share} of the answers; they got a reward of 0.", share=percent(timeouts / count)),
                remedy=tr("Make it quicker, or allow it more time.")))
        return False

    def away(self, wrong: Away, step: int) -> None:
        """The run pauses; after its last step nothing is left to wait for. Raises what was raised where it cannot pause."""
        if self.pause is None or self.ranks.world_size > 1:  # the others wait for this rank's answers
            raise wrong
        if self.next_round >= self.spec.rollouts:
            if "away" not in self._said:
                self._said.add("away")
                self.context.emit(Notice(level="warning", code="verifier_away", title=tr("The verifier is away"), text=wrong.sentence,
                                         remedy=tr("How many problems are solved after the last round was not measured."), step=step))
            return
        self.pause.ask()
        self.context.emit(Notice(level="problem", code="verifier_away", title=tr("The verifier is away"), text=wrong.sentence,
                                 remedy=tr("The run pauses. {remedy} Then resume it.", remedy=wrong.remedy), step=step))

    def aside(self) -> float:
        """Seconds an update waits for its answers, as far as was measured; 0 before."""
        return sum(self.seconds) / max(1, len(self.seconds)) / self.stride


class HeldOut:
    """Problems that are not learned from: one answer to each, sampled at the run's temperature, always with the same seeds. The share that
    is solved is pass@1; an answer on which the verifier fails is not. Where the verifier is away nothing is measured, and the run pauses;
    after the last step it ends with what it has."""

    def __init__(self, rounds: Rounds, questions: Sequence[Question]) -> None:
        self.rounds, self.questions = rounds, questions

    def __call__(self, model: Decoder) -> dict[str, float]:
        rounds, ranks = self.rounds, self.rounds.ranks
        assert rounds.policy is not None and rounds.policy.decoder is model
        places = range(ranks.rank, len(self.questions), ranks.world_size)
        sums = [0.0] * 6
        if places:
            try:
                made = rounds.tried([self.questions[n] for n in places], rollouts.seeds(rounds.spec.seed, "validation", 0, places), 1)
            except Away as wrong:
                rounds.away(wrong, rounds.next_round * rounds.stride)
                return {}
            right = [is_full(verdict.score, rounds.spec.full_score) for verdict in made.verdicts]
            sums = [len(places), sum(right), made.rewards_PG.sum().item(), sum(len(answer.ids) for answer in made.answers),
                    sum(answer.ended for answer in made.answers), int((~made.kept_PG).sum())]
        count, solved, reward, length, ended, failed = ranks.sum(*sums)
        return {"val_loss": -solved / count, "pass_at_1": solved / count, "val_reward": reward / max(count - failed, 1),
                "val_length": length / count, "val_ended": ended / count}
