"""The process of a measured fit of domain training; the measuring itself is in engine/training/tuning_measure.py.

    python -m engine.stages.adapt.measure PROJECT_DIR --spec SPEC.json [--device auto]
"""

import sys
from collections.abc import Callable
from typing import Any

from engine.contract.context import RunContext
from engine.contract.machine import DeviceFacts
from engine.project.artifacts import Artifact
from engine.project.project import Project
from engine.stages.adapt.run import prepare
from engine.stages.adapt.spec import AdaptSpec
from engine.stages.adapt.texts import Texts
from engine.training import tuning_measure
from engine.training.ranks import Ranks
from engine.training.tuning import Start, Tuner, Work


def prepared(project: Project, spec: AdaptSpec, start: Start, facts: DeviceFacts, context: RunContext, ranks: Ranks,
             tokens: Callable[[Artifact], Any]) -> tuple[Tuner, Work, dict[str, Any]]:
    return prepare(spec, Texts.load(project, spec, start, tokens), facts, context, ranks)


if __name__ == "__main__":
    sys.exit(tuning_measure.main("adapt", AdaptSpec, prepared))
