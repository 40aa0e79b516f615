"""Makes a corpus: people's files (or an earlier corpus) become text one can trust, every removed document listed and kept aside.

Each phase works on parts and leaves files in the run's `work/`; a run that was stopped or killed takes what is there and goes on. What
the phases do lives in engine/text; here stands their order.
"""

import json
from typing import Any

from engine.contract.context import RunContext
from engine.contract.errors import InputError
from engine.contract.events import ArtifactMade, Facts, Notice
from engine.contract.words import tr, trn
from engine.project import files as disk
from engine.project import snapshots
from engine.project.artifacts import Artifact
from engine.project.project import Project
from engine.stages.corpus.decide import Fates, decide, removals
from engine.stages.corpus.flow import Flow
from engine.stages.corpus.phases import Cleaned, Gathered, Phases
from engine.stages.corpus.report import report
from engine.stages.corpus.spec import CorpusSpec
from engine.stages.corpus.write import write
from engine.text import browse
from engine.text.corpus import SPLITS
from engine.text.dedup.contamination import Overlaps
from engine.text.dedup.find import Duplicates
from engine.text.mixing import MixOptions

SHOWN = 50
"""Files that the manifest lists; all of them are in the artifact's sources.json."""


def run(spec: CorpusSpec, context: RunContext) -> None:
    """Read, clean, find duplicates and held-out text, decide, write, make it searchable."""
    project, flow = Project.open(context.project_dir), Flow(context)
    phases = Phases(spec, flow, project, snapshots.given(context.run_dir, "harm_labels", []))
    flow.announce(phases.names)
    if spec.executor == "datatrove_cluster" and not spec.pipeline:
        return _leave_pipeline(phases, context)
    made = project.artifacts.made_by(context.run_id, "corpus") if context.attempt > 1 else None  # killed right after it was finished
    if made is None:
        phases.check()
        try:
            if spec.executor != "local":
                gathered, cleaned, found = phases.by_datatrove()
            else:
                gathered = phases.gather()
                cleaned = phases.clean(gathered)
                found = phases.duplicates(cleaned)
            overlap = phases.overlap(cleaned, found)
            removed = removals(cleaned.parts, found, overlap, remove_overlap=spec.contamination == "remove",
                               decisions=snapshots.given(context.run_dir, "decisions", {}) if spec.decisions else {})
            cleaned = phases.passages(cleaned, removed == 0)
            fates = decide(cleaned.parts, removed, found, overlap, mix_options(spec, gathered), spec.validation_percent / 100)
            fates.compare(phases.validation_overlap(cleaned, fates), remove=spec.contamination == "remove")
            made = _write(project, spec, flow, gathered, cleaned, found, fates, overlap)
        except OSError as wrong:
            raise disk.disk_error(wrong, flow.work) from wrong
    with flow.enter("index"):
        browse.build(made.path, lambda done, total: flow.at(done, total, "B"))
    context.emit(Facts(facts=made.facts))
    context.emit(ArtifactMade(id=made.id, kind="corpus"))
    flow.done()


def _leave_pipeline(phases: Phases, context: RunContext) -> None:
    """Only write the pipeline, for somebody's cluster."""
    folder = context.run_dir / "pipeline"
    phases.write_pipeline(folder)
    context.emit(Facts(facts={"pipeline": str(folder)}))
    context.emit(Notice(level="info", code="pipeline", title=tr("The pipeline is written"),
                        text=tr("It stands in {folder}; the head of its pipeline.py says how Slurm and Ray start it.", folder=str(folder)),
                        remedy=tr("When it has run, make the corpus of its output: the setting `pipeline` names the folder.")))


def mix_options(spec: CorpusSpec, gathered: Gathered) -> list[MixOptions]:
    """How much of each source goes in, by the number of the source."""
    return [MixOptions(one.weight, one.epochs, None if one.cap_mb is None else round(one.cap_mb * 1e6))
            for one in map(spec.options_of, gathered.sources)]


def _write(project: Project, spec: CorpusSpec, flow: Flow, gathered: Gathered, cleaned: Cleaned, found: Duplicates, fates: Fates,
           overlap: Overlaps | None) -> Artifact:
    """The artifact, with its report."""
    roots = gathered.roots
    title = spec.title or (roots[0] if len(roots) == 1 else trn("{first} and {count} more", "{first} and {count} more", len(roots) - 1,
                                                                first=roots[0]))
    parents = [spec.base] if spec.base else []
    with project.artifacts.create("corpus", title=title, parents=parents, run=flow.context.run_id, spec=spec.plain()) as writer:
        with flow.enter("write"):
            written = write(writer.path, cleaned.parts, found, fates,
                            lambda done: flow.at(done, cleaned.parts.documents, tr("documents")))
            if not all(written.splits[name]["documents"] for name in SPLITS):
                raise _too_little(fates)
        with flow.enter("save"):
            told = report(spec, fates, found, written, cleaned, gathered, overlap, flow.seconds)
            for name, value in (("report", told), ("sources", {name: told[name] for name in ("sources", "skipped")})):
                (writer.path / f"{name}.json").write_text(json.dumps(value, ensure_ascii=False, indent=1), "utf-8")
            _tell(told, flow.context)
            largest = sorted(told["sources"], key=lambda row: -row["bytes"])[:SHOWN]
            return writer.finish(**{**told, "sources": largest, "skipped": told["skipped"][:SHOWN]})


def _too_little(fates: Fates) -> InputError:
    if not fates.kept.any():
        return InputError(tr("Nothing is left: every document was removed."),
                          tr("Look at the steps that remove documents and switch some of them off."), code="nothing_left")
    return InputError(tr("There is too little text to train on one part and measure on another."),
                      tr("Add more text, or keep a larger share for validation."), code="too_little")


def _tell(told: dict[str, Any], context: RunContext) -> None:
    """What the person should know about what was left out or mended."""
    if told["skipped_count"]:
        shown = "; ".join(f"{s['name']}: {s['reason']}" for s in told["skipped"][:5])
        context.emit(Notice(level="warning", code="files_skipped", text=shown,
                            title=trn("{count} file was left out", "{count} files were left out", told["skipped_count"])))
    bad = [row for row in told["sources"] if row["bad"]]
    if bad:
        shown = "; ".join(tr("{file}, line {line}: {reason}", file=row["name"], line=row["bad_lines"][0][0], reason=row["bad_lines"][0][1])
                          for row in bad[:5])
        context.emit(Notice(level="warning", code="bad_lines", text=shown, title=trn("{count} line or row could not be read",
                            "{count} lines or rows could not be read", told["bad_lines"])))
    replaced = [row for row in told["sources"] if row["replaced"]]
    if replaced:
        shown = "; ".join(f"{row['name']} ({row['encoding']})" for row in replaced[:5])
        context.emit(Notice(level="warning", code="encoding", text=shown,
                            remedy=tr("If letters look wrong, import again and choose the encoding."),
                            title=trn("{count} character did not fit the encoding", "{count} characters did not fit the encoding",
                                      told["replaced"])))
