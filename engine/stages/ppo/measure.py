"""The process of a measured fit of PPO: whole rounds are sampled, scored and learned from; the measuring itself is in
engine/training/tuning_measure.py.

    python -m engine.stages.ppo.measure PROJECT_DIR --spec SPEC.json [--device auto]
"""

import sys
from collections.abc import Callable
from typing import Any

from engine.contract.context import RunContext
from engine.contract.machine import DeviceFacts
from engine.project.artifacts import Artifact
from engine.project.project import Project
from engine.stages.ppo.prompts import Prompts
from engine.stages.ppo.run import prepare
from engine.stages.ppo.spec import PpoSpec
from engine.training import tuning_measure
from engine.training.ranks import Ranks
from engine.training.tuning import Start, Tuner, Work


def prepared(project: Project, spec: PpoSpec, start: Start, facts: DeviceFacts, context: RunContext, ranks: Ranks,
             tokens: Callable[[Artifact], Any]) -> tuple[Tuner, Work, dict[str, Any]]:
    return prepare(project, spec, Prompts.load(spec, start, context), facts, context, ranks)


if __name__ == "__main__":
    sys.exit(tuning_measure.main("ppo", PpoSpec, prepared))
