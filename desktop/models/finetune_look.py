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
    artifacts = {a.id: a for a in project.artifacts.list()}
    runs = {r.id: r for r in project.runs.list()}

    def corpus(id: str, depth: int = 8) -> str:
        """The first corpus among what it comes from, over models that were tuned."""
        run, at, _ = id.partition("@")
        if at:
            given = [str(runs[run].spec.get("model") or ""), *runs[run].inputs.values()] if run in runs else []
        else:
            given = list(artifacts[id].parents) if id in artifacts else []
        made = next((c for p in given if p.startswith("model-") or "@" in p if depth and (c := corpus(p, depth - 1))), "")
        return made or next((p for p in given if p.startswith("corpus-")), "")
    found = [StartModel(m.id, m.title, m.run, m.stage, m.chat, m.untrained, _config(m), corpus(m.id))
             for m in models.list_models(project)]
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
