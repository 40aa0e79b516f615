"""What of the open project a fine-tuning can start from and learn from: models with their shapes, sets of examples. Read in a thread; no
Qt."""

from dataclasses import dataclass

from pydantic import ValidationError

from desktop.models.finetune_plan import StartModel
from engine.contract.errors import FledgeError
from engine.model.config import ModelConfig
from engine.project import models
from engine.project.examples import ExampleSet
from engine.project.ingest import ingest_runs
from engine.project.project import Project

CONFIG = "config.json"


@dataclass(frozen=True)
class Found:
    """`wrong`: the library could not be read, and says why."""

    models: list[StartModel]
    sets: list[ExampleSet]
    wrong: FledgeError | None = None


def look(project: Project) -> Found:
    """Everything that can be chosen, newest first."""
    found = [StartModel(m.id, m.title, m.run, m.stage, m.chat, m.untrained, _config(m)) for m in models.list_models(project)]
    try:
        ingest_runs(project)
        return Found(found, sorted(project.library.examples.sets(), key=lambda s: -s.created))
    except FledgeError as wrong:
        return Found(found, [], wrong)


def _config(ref: models.ModelRef) -> ModelConfig | None:
    try:
        return ModelConfig.model_validate_json((ref.folder / CONFIG).read_bytes())
    except (OSError, ValidationError):
        return None
