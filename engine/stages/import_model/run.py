"""Takes a model of another program into the project: looked at, checked and converted in a process apart, then kept as an artifact.

What cannot be taken over exactly is refused before anything is written. With hub:OWNER/NAME its files are fetched into the run first, and
deleted when the artifact stands.
"""

import shutil
import time
from pathlib import Path

from engine.contract import units
from engine.contract.context import RunContext
from engine.contract.errors import SettingError, Stopped
from engine.contract.events import ArtifactMade, Facts, Notice, Phase, Phases
from engine.contract.words import tr
from engine.model.formats import hub, import_watch
from engine.model.formats.peft_write import CONFIG_FILE
from engine.project import layout
from engine.project.project import Project
from engine.stages.import_model.adapter import import_adapter
from engine.stages.import_model.spec import HUB, ImportModelSpec


def run(spec: ImportModelSpec, context: RunContext) -> None:
    """Fetch (from the hub only), read, keep."""
    for problem in spec.problems():
        raise SettingError(problem.sentence, problem.remedy, field=problem.field)
    project = Project.open(context.project_dir)
    if spec.base or (Path(spec.folder).expanduser() / CONFIG_FILE).is_file():
        return import_adapter(spec, context, project)
    fetching = [["fetch", tr("Fetching")]] if spec.folder.startswith(HUB) else []
    context.emit(Phases(phases=[*fetching, *([id, title] for id, title in import_watch.phases().items()), ["save", tr("Saving")]]))
    made = project.artifacts.made_by(context.run_id, "model") if context.attempt > 1 else None  # killed right after it had finished
    fetched = layout.work(context.run_dir) / "fetched"
    if made is None:
        path = _fetch(spec, context, fetched) if fetching else Path(spec.folder).expanduser()
        title = spec.title or (spec.folder.removeprefix(HUB) if fetching else path.stem if path.is_file() else path.resolve().name)
        with project.artifacts.create("model", title=title, run=context.run_id, spec=spec.model_dump(mode="json")) as writer:
            told = _Told(context)
            facts = import_watch.read(path, writer.path, spec.dtype, spec.folder, report=told.at, check=lambda: _heed(context))
            context.emit(Phase(id="save", title=tr("Saving")))
            made = writer.finish(**facts)
    shutil.rmtree(fetched, ignore_errors=True)
    context.emit(Facts(facts=made.facts))
    if notes := made.facts.get("notes"):
        context.emit(Notice(level="warning", code="chat_template", title=tr("It cannot chat yet"), text=" ".join(notes),
                            remedy=tr("It continues text; its chat template is kept as it is.")))
    if not made.facts.get("licence"):
        context.emit(Notice(level="info", code="licence", title=tr("No licence is named"),
                            text=tr("Neither a card nor a licence file in the folder says what may be done with this model."),
                            remedy=tr("Ask its makers before you pass it on.")))
    context.emit(ArtifactMade(id=made.id, kind="model"))


class _Told:
    """Progress in bytes with its rate, a phase at a time."""

    def __init__(self, context: RunContext) -> None:
        self.context, self.phase, self.began = context, "", 0.0

    def at(self, phase: str, done: int, total: int) -> None:
        if phase != self.phase:
            self.phase, self.began = phase, time.monotonic()
            self.context.emit(Phase(id=phase, title=import_watch.phases()[phase]))
        if total:
            seconds = time.monotonic() - self.began
            rate = done / seconds if seconds > 0 else 0.0
            self.context.progress(done, total, "B", rate, (total - done) / rate if rate else -1.0)


def _fetch(spec: ImportModelSpec, context: RunContext, folder: Path) -> Path:
    """The files of a hub's model, in the run's own folder; what an earlier attempt fetched is kept."""
    context.emit(Phase(id="fetch", title=tr("Fetching")))
    found = hub.look(spec.folder.removeprefix(HUB))
    context.emit(Facts(facts={"hub": found.name, "revision": found.revision, "fetch_bytes": found.nbytes}))
    began = time.monotonic()

    def report(done: int) -> None:
        rate = done / max(1e-6, time.monotonic() - began)
        context.progress(done, found.nbytes, "B", rate, (found.nbytes - done) / rate if rate else -1.0, units.size(found.nbytes))

    hub.fetch(found, folder, report, lambda: _heed(context))
    return folder


def _heed(context: RunContext) -> None:
    command = context.command()
    if command and command.word in ("stop", "stop_save", "pause"):
        raise Stopped(tr("The import was stopped; nothing was kept."), paused=command.word == "pause")
