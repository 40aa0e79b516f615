"""What of the open project learning from preferences can start from and learn from: models, sets of labelled pairs, prompts, reward models;
and what the labels of chosen sets come to. Read in threads; no Qt, no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from desktop.models import finetune_look
from desktop.models.tuning_choice import StartModel
from engine.contract.errors import FledgeError
from engine.contract.rows import PreferencePair
from engine.model.config import ModelConfig
from engine.project import models
from engine.project.examples import ExampleSet
from engine.project.pair_sets import PairSet
from engine.project.project import Project

ENOUGH_TO_MEASURE = 2_000
"""Pairs whose length in letters is looked at: their mean is known well by then."""


@dataclass(frozen=True)
class RewardChoice:
    """A reward model that answers can be scored by: what its training measured, None where it is not known; `sets` it learned from."""

    id: str
    title: str
    config: ModelConfig | None = None
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    pairs: int = 0
    sets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """`wrong`: the library could not be read, and says why."""

    models: list[StartModel]
    sets: list[PairSet]
    examples: list[ExampleSet]
    rewards: list[RewardChoice]
    annotators: dict[str, int] = field(default_factory=dict)
    wrong: FledgeError | None = None


@dataclass(frozen=True)
class Labelled:
    """What the labels of some sets come to: `pairs` that something can be learned from, ties and both-bad ones among them apart; `prompts`
    that differ, `people` who labelled; letters of a pair's two conversations on average and of the longest one looked at."""

    pairs: int = 0
    ties: int = 0
    bad: int = 0
    prompts: int = 0
    people: tuple[str, ...] = ()
    letters: float = 0.0
    longest: int = 0


def look(project: Project) -> Found:
    """Everything that can be chosen, newest first."""
    found = finetune_look.look(project)
    rewards = [_reward(project, ref) for ref in models.list_reward_models(project) if not ref.run]
    if found.wrong is not None:
        return Found(found.models, [], [], rewards, wrong=found.wrong)
    try:
        pairs = project.library.pairs
        return Found(found.models, sorted(pairs.sets(), key=lambda s: -s.created), found.sets, rewards, pairs.authors())
    except FledgeError as wrong:
        return Found(found.models, [], found.sets, rewards, wrong=wrong)


def labelled(project: Project, sets: Sequence[str], annotators: Sequence[str], least_strength: int) -> Labelled:
    """Reads every label of these sets (100,000 of them in seconds)."""
    pairs = ties = bad = letters = longest = measured = 0
    prompts, people = set(), set()
    for pair in project.library.pairs.for_training(sets, annotators, least_strength):
        bad += pair.bad
        ties += pair.tie and not pair.bad
        pairs += not pair.tie and not pair.bad
        prompts.add(tuple((m.role, m.content) for m in pair.prompt).__hash__())
        if pair.by:
            people.update(pair.by.split(", "))
        if measured < ENOUGH_TO_MEASURE:
            measured += 1
            size = _letters(pair)
            letters, longest = letters + size, max(longest, size)
    return Labelled(pairs, ties, bad, len(prompts), tuple(sorted(people)), letters / measured if measured else 0.0, longest)


def _letters(pair: PreferencePair) -> int:
    """Of both conversations of a pair."""
    return 2 * sum(len(m.content) for m in pair.prompt) + len(pair.chosen) + len(pair.rejected)


def _reward(project: Project, ref: models.ModelRef) -> RewardChoice:
    facts = ref.facts
    return RewardChoice(ref.id, ref.title, _config(ref.folder), facts.get("accuracy"), facts.get("accuracy_low"),
                        facts.get("accuracy_high"), int(facts.get("pairs") or facts.get("accuracy_pairs") or 0),
                        tuple(str(s) for s in project.artifacts.get(ref.id).spec.get("pairs") or ()))


def _config(folder: Path) -> ModelConfig | None:
    try:
        return ModelConfig.model_validate_json((folder / finetune_look.CONFIG).read_bytes())
    except (OSError, ValidationError):
        return None
