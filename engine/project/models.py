"""Model ids: one way to name anything one can chat with, export or start from: an artifact's id, or `run@step` for a checkpoint."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.contract.errors import InputError, NotFound
from engine.contract.words import tr
from engine.project import files, layout
from engine.project.artifacts import ArtifactStore
from engine.project.project import Project
from engine.project.runs import RunStore

PREFIXES = ("project:", "reward:")
"""How settings begin that may name other programs' models where they name one of this project: a model, a reward model."""


def prefix_of(value: str) -> str:
    """The prefix before an id of this project; "" where there is none."""
    return next((prefix for prefix in PREFIXES if value.startswith(prefix)), "")


@dataclass(frozen=True)
class ModelRef:
    """Where a model lies and what is known about it without loading it. `chat` tells whether it was tuned to answer."""

    id: str
    title: str
    folder: Path
    step: int
    run: str = ""
    stage: str = ""
    created: float = 0.0
    chat: bool = False
    untrained: bool = False
    facts: dict[str, Any] = field(default_factory=dict)


def list_models(project: Project) -> list[ModelRef]:
    """Every model of the project: finished ones (newest first), then each run's checkpoints (newest run first, last step first). Reward
    models write nothing: they are listed by themselves."""
    return _list(project, "model", lambda stage: stage != "reward")


def list_reward_models(project: Project) -> list[ModelRef]:
    """Every reward model, in the same order."""
    return _list(project, "reward_model", lambda stage: stage == "reward")


def _list(project: Project, kind: str, wanted: Callable[[str], bool]) -> list[ModelRef]:
    found = [_of_artifact(a) for a in reversed(project.artifacts.list(kind))]
    for run in reversed([run for run in project.runs.list() if wanted(run.stage)]):
        steps = run.checkpoint_steps()
        for step in reversed(steps):
            folder = layout.checkpoint(run.dir, step)
            facts = files.read_json(folder / layout.MANIFEST, {}).get("facts", {})
            name = run.title or tr("Run {number}", number=run.number)
            title = tr("{name}, untrained", name=name) if step == 0 else tr("{name}, step {step}", name=name, step=f"{step:,}")
            found.append(ModelRef(id=f"{run.id}@{step}", title=title, folder=folder, step=step, run=run.id, stage=run.stage,
                                  created=folder.stat().st_mtime, untrained=step == 0 and run.stage == "pretrain", facts=facts,
                                  chat=bool(facts.get("chat"))))
    return found


def resolve(project: Project, id: str) -> ModelRef:
    """The model of an id; NotFound says which there are, InputError that it is a reward model."""
    made = _find(project, id, "model", list_models)
    if made is None and (scorer := _find(project, id, "reward_model", list_reward_models)) is not None:
        raise InputError(tr("{id} is a reward model: it scores answers, and writes none.", id=scorer.id),
                         tr("Choose a model: `fledge models DIR` lists them."), code="reward_model")
    if made is None:
        known = ", ".join(m.id for m in list_models(project)[:12])
        raise NotFound(tr("There is no model called {id} in this project.", id=id), tr("It has: {known}.", known=known) if known else
                       tr("It has none yet: pretrain one first."))
    return made


def resolve_reward(project: Project, id: str) -> ModelRef:
    """The reward model of an id; NotFound says which there are, InputError that it is another model."""
    made = _find(project, id, "reward_model", list_reward_models)
    if made is None and (writer := _find(project, id, "model", list_models)) is not None:
        raise InputError(tr("{id} is a model that writes: it scores nothing.", id=writer.id),
                         tr("Train a reward model from labelled pairs, or choose one."), code="no_reward_model")
    if made is None:
        known = ", ".join(m.id for m in list_reward_models(project)[:12])
        raise NotFound(tr("There is no reward model called {id} in this project.", id=id),
                       tr("It has: {known}.", known=known) if known else tr("It has none yet: train one from labelled pairs."))
    return made


def _find(project: Project, id: str, kind: str, listed: Callable[[Project], list[ModelRef]]) -> ModelRef | None:
    run, at, step = id.partition("@")
    if at and step.isdigit():
        wanted = f"{project.runs.get(run).id}@{int(step)}"
        return next((m for m in listed(project) if m.id == wanted), None)
    artifact = next((a for a in project.artifacts.list(kind) if a.id == id), None)
    return _of_artifact(artifact) if artifact else None


def base_of(folder: Path) -> str:
    """The id of the model without which this one is nothing, since its folder holds an adapter alone (engine/model/adapter_files.py, which
    reads weights and so is not asked here); "" where it has weights of its own."""
    if (folder / "model.safetensors").exists():
        return ""
    said = files.read_json(folder / "adapter.json", {})
    return str(said.get("base") or "") if isinstance(said, dict) else ""


def needed_steps(project_dir: Path, run_id: str) -> dict[int, str]:
    """Checkpoints of a run that something else cannot do without, and what that is: checkpoints that hold an adapter of them alone, and
    runs that start from them and have no result yet. {step: id}."""
    found: dict[int, str] = {}
    done = {a.run for a in ArtifactStore(project_dir).list()}

    def take(id: object, who: str) -> None:
        run, at, step = str(id).removeprefix(prefix_of(str(id))).partition("@")
        if at and run == run_id and step.isdecimal():
            found.setdefault(int(step), who)
    for other in RunStore(project_dir).list():
        if other.id == run_id:
            continue
        for step in other.checkpoint_steps():
            take(base_of(layout.checkpoint(other.dir, step)), f"{other.id}@{step}")
        if other.id not in done:
            for value in other.spec.values():
                for one in value if isinstance(value, list) else [value]:
                    take(one if isinstance(one, str) else "", other.id)
    return found


def newest(project: Project) -> ModelRef:
    """The finished model that was made last, else the newest checkpoint."""
    known = list_models(project)
    if not known:
        raise NotFound(tr("This project has no model yet."), tr("Pretrain one first."))
    return known[0] if not known[0].run else max(known, key=lambda m: (m.created, m.step))


def parents_of(project: Project, ref: ModelRef) -> tuple[str, ...]:
    """The artifacts that something made from this model comes from: the finished model, or what the checkpoint's run was given (of a run
    that went on training a model, that model's too)."""
    if "@" not in ref.id:
        return (ref.id,)
    run = project.runs.get(ref.run)
    known = {a.id for a in project.artifacts.list()}
    start = str(run.spec.get("model") or "")
    given = [*run.inputs.values()]
    if start in known:
        given.insert(0, start)
    elif "@" in start:
        with suppress(NotFound):  # the checkpoint may have made room since
            given = [*parents_of(project, resolve(project, start)), *given]
    return tuple(id for id in dict.fromkeys(given) if id in known)


def _of_artifact(artifact: Any) -> ModelRef:
    facts = artifact.facts
    return ModelRef(id=artifact.id, title=artifact.title, folder=artifact.path, step=int(facts.get("step", facts.get("steps", 0)) or 0),
                    stage=artifact.run.partition("-")[2], created=artifact.created, chat=bool(facts.get("chat")), facts=facts)
