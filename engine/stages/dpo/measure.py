"""The process of a measured fit of preference tuning; the measuring itself is in engine/training/tuning_measure.py.

    python -m engine.stages.dpo.measure PROJECT_DIR --spec SPEC.json [--device auto]

The reference reads its heaviest batch, as it will before training; what its whole pass takes is in the seconds before the first step.
"""

import sys
from collections.abc import Callable
from typing import Any

from engine.contract.context import RunContext
from engine.contract.machine import DeviceFacts
from engine.project.artifacts import Artifact
from engine.project.project import Project
from engine.stages.dpo.prepare import Data, prepare
from engine.stages.dpo.spec import DpoSpec
from engine.training import tuning_measure
from engine.training.ranks import Ranks
from engine.training.tuning import Start, Tuner, Work


def prepared(project: Project, spec: DpoSpec, start: Start, facts: DeviceFacts, context: RunContext, ranks: Ranks,
             tokens: Callable[[Artifact], Any]) -> tuple[Tuner, Work, dict[str, Any]]:
    made = prepare(spec, Data.load(project, spec, start, context, tokens), facts, context, ranks)
    if made.reading is None:
        return made.tuner, made.work, made.told
    seconds = made.reading.taste(made.reference)
    tokens.seconds += seconds  # type: ignore[attr-defined]  # what comes once before training, beside tokenizing
    return made.tuner, made.work, {**made.told, "reference_seconds": seconds}


if __name__ == "__main__":
    sys.exit(tuning_measure.main("dpo", DpoSpec, prepared))
