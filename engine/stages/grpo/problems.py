"""What GRPO asks: the run's own copy of the library's problems, and which of them a round takes."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Self

import numpy as np

from engine.contract.context import RunContext
from engine.contract.errors import InputError
from engine.contract.events import Notice
from engine.contract.words import tr, trn
from engine.project import snapshots
from engine.rl import prompts
from engine.rl.prompts import Asked
from engine.rl.rollouts import Order, Question
from engine.stages.grpo.spec import GrpoSpec
from engine.training.tuning import Start
from engine.verifiers.api import Verifier

CHECKED_AT_ONCE = 256
NAMED = 5
"""Of the problems left out, how many are named."""
FIRST_SHARE, WHOLE_AT = 0.2, 0.5
"""With easy problems first: how many of all the run begins with, and after which share of its rounds it has all."""
UNTRIED, LEAST = 0.5, 0.02
"""Taken for the mean reward of a problem that was not tried yet; what keeps problems that seem solved or hopeless in play."""


class Problems(prompts.Prompts):
    @classmethod
    def load(cls, spec: GrpoSpec, start: Start, verifier: Verifier, context: RunContext) -> Self:
        """From the run's own copy of the library's rows; those whose answer the verifier cannot read are left out, and named. Raises
        Mismatch (no chat template), InputError (nothing to ask, or to learn from)."""
        left_out: list[tuple[str, str]] = []
        made = cls.of(start, _asked(context, verifier, left_out), template=spec.template, system=spec.system, validation_percent=None,
                      validation_prompts=spec.validation_prompts)
        if not made.train:
            raise InputError(tr("All of these problems are held out: there is none to learn from."),
                             tr("Choose more sets, or let fewer problems be held out."), code="all_held_out", field="problem_sets")
        if not made.held_out and spec.validation_prompts:
            context.emit(Notice(level="info", code="none_held_out", title=tr("No problem is held out"), step=0,
                text=tr("How many problems are solved that were not learned from will not be measured."),
                remedy=tr("Hold some problems out, and start again.")))
        if left_out:
            context.emit(Notice(level="warning", code="left_out_answers", title=tr("Problems were left out"), step=0,
                text=trn("The answer of {count} problem cannot be compared with.",
                         "The answers of {count} problems cannot be compared with.", len(left_out))
                + "".join(f"\n{asked[:80]} – {reason}" for asked, reason in left_out[:NAMED]),
                remedy=tr("Mend them, or choose other sets.")))
        return made

    def samples(self, spec: GrpoSpec) -> list[tuple[str, list[int]]]:
        """(what is asked, its ids): the spec's questions, else some that are held out."""
        return self.heard(spec.sample_prompts, spec.system)


def _asked(context: RunContext, verifier: Verifier, left_out: list[tuple[str, str]]) -> Iterator[Asked]:
    """Problems whose answers the verifier can judge by. A prompt that is held out in one set is held out, whatever another set says."""
    some, rows = False, snapshots.problems(context.run_dir)
    while batch := list(islice(rows, CHECKED_AT_ONCE)):
        for one, reason in zip(batch, verifier.check_answers([one.answer for one in batch]), strict=True):
            if reason:
                left_out.append((one.prompt[-1].content, reason))
            else:
                some = True
                facts = one.facts if one.difficulty is None else {**one.facts, "difficulty": one.difficulty}
                yield Asked(one.prompt, one.answer, facts, one.held_out)
    if left_out and not some:
        raise InputError(tr("None of these problems has an answer that can be compared with: {reason}", reason=left_out[0][1]),
                         tr("Choose problems with known answers."), code="no_answers", field="problem_sets")


class Choosing:
    """Which problems are tried next. What was asked and how it went comes from the run's state, so that a round can be chosen again."""

    def __init__(self, questions: Sequence[Question], spec: GrpoSpec) -> None:
        self.questions, self.spec = questions, spec
        self.order = Order(len(questions), spec.seed)
        self.by_difficulty = sorted(range(len(questions)), key=lambda n: (_difficulty(questions[n].facts), n))

    def numbers(self, asked: int, size: int, share: float, rewards: Mapping[str, float]) -> list[int]:
        """`size` of them after so many. `share`: how much of the run is over; `rewards`: the mean reward of each problem so far, by its
        key."""
        if self.spec.curriculum == "off":
            return self.order.between(asked, size)
        random = np.random.default_rng([self.spec.seed, 33, asked])
        if self.spec.curriculum == "given":
            part = FIRST_SHARE + (1 - FIRST_SHARE) * min(1.0, share / WHOLE_AT)
            among = self.by_difficulty[:min(len(self.questions), max(size, round(part * len(self.questions))))]
            weights = np.ones(len(among))
        else:
            among = list(range(len(self.questions)))
            means = np.array([rewards.get(str(q.key), UNTRIED) for q in self.questions]).clip(0, 1)
            weights = means * (1 - means) + LEAST
        chosen = random.choice(len(among), size, replace=len(among) < size, p=weights / weights.sum())
        return [among[n] for n in chosen]


def _difficulty(facts: Mapping[str, Any]) -> float:
    """As a number, 0 where nobody said."""
    value = facts.get("difficulty", facts.get("level", 0))
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0
