"""The process of a measured fit of training a reward model; the measuring itself is in engine/training/tuning_measure.py.

    python -m engine.stages.reward.measure PROJECT_DIR --spec SPEC.json [--device auto]
"""

import sys
from collections.abc import Callable
from typing import Any

from engine.contract.context import RunContext
from engine.contract.machine import DeviceFacts
from engine.project.artifacts import Artifact
from engine.project.project import Project
from engine.stages.reward.run import prepare
from engine.stages.reward.spec import RewardSpec
from engine.training import tuning_measure
from engine.training.pair_data import PairData
from engine.training.ranks import Ranks
from engine.training.tuning import Start, Tuner, Work


def prepared(project: Project, spec: RewardSpec, start: Start, facts: DeviceFacts, context: RunContext, ranks: Ranks,
             tokens: Callable[[Artifact], Any]) -> tuple[Tuner, Work, dict[str, Any]]:
    return prepare(spec, PairData.load(spec, start, context, keep_ties=spec.ties), facts, context, ranks)


if __name__ == "__main__":
    sys.exit(tuning_measure.main("reward", RewardSpec, prepared))
