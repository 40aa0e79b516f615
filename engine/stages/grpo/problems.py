"""What GRPO asks: the problems of the run, which are examples with a known answer, and which of them a round takes."""

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
        Mismatch (no chat template), InputError (nothing to ask)."""
        left_out: list[tuple[str, str]] = []
        made = cls.of(start, _asked(context, verifier, left_out), template=spec.template, system=spec.system,
                      validation_percent=spec.validation_percent, validation_prompts=spec.validation_prompts)
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
    """The turns before the last answer of each example, with the known answer of its facts, else that last answer itself."""
    some, rows = False, _known(context)
    while batch := list(islice(rows, CHECKED_AT_ONCE)):
        known = [one for one in batch if one.answer is not None]
        reasons = iter(verifier.check_answers([one.answer for one in known]))
        for one in batch:
            reason = tr("There is none.") if one.answer is None else next(reasons)
            if reason:
                left_out.append((one.messages[-1].content, reason))
            else:
                some = True
                yield one
    if left_out and not some:
        raise InputError(tr("None of these problems has an answer that can be compared with: {reason}", reason=left_out[0][1]),
                         tr("Choose problems with known answers."), code="no_answers", field="examples")


def _known(context: RunContext) -> Iterator[Asked]:
    """`answer` None where there is none."""
    for example in snapshots.rows(context.run_dir, "examples"):
        last = max((n for n, m in enumerate(example.messages) if m.role == "assistant"), default=len(example.messages))
        if last and example.messages[last - 1].role != "system":
            said = example.messages[last].content if last < len(example.messages) else None
            yield Asked(example.messages[:last], example.facts.get("answer", said),
                        {key: value for key, value in example.facts.items() if key != "answer"})


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
