"""The process of a measured fit of GRPO: whole rounds are sampled, verified and learned from; the measuring itself is in
engine/training/tuning_measure.py.

    python -m engine.stages.grpo.measure PROJECT_DIR --spec SPEC.json [--device auto]
"""

import sys
from collections.abc import Callable
from typing import Any

from engine.contract.context import RunContext
from engine.contract.machine import DeviceFacts
from engine.project.artifacts import Artifact
from engine.project.project import Project
from engine.stages.grpo import verifying
from engine.stages.grpo.problems import Problems
from engine.stages.grpo.run import prepare
from engine.stages.grpo.spec import GrpoSpec
from engine.training import tuning_measure
from engine.training.ranks import Ranks
from engine.training.tuning import Start, Tuner, Work


def prepared(project: Project, spec: GrpoSpec, start: Start, facts: DeviceFacts, context: RunContext, ranks: Ranks,
             tokens: Callable[[Artifact], Any]) -> tuple[Tuner, Work, dict[str, Any]]:
    held = verifying.until_the_end(context)
    return prepare(spec, Problems.load(spec, start, held.verifier, context), held, facts, context, ranks)


if __name__ == "__main__":
    sys.exit(tuning_measure.main("grpo", GrpoSpec, prepared))
