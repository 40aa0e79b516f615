"""Imports text: people's files become one immutable corpus artifact. A run that was cut short starts again; nothing half-written stays."""

import json
import shutil
from typing import Any

from engine.contract import units
from engine.contract.context import RunContext
from engine.contract.errors import DiskFull, InputError, Stopped
from engine.contract.events import ArtifactMade, Facts, Notice, Phase, Phases
from engine.contract.words import tr, trn
from engine.project import files as disk
from engine.project.project import Project
from engine.stages.corpus.collect import Collected, Standing, collect
from engine.stages.corpus.spec import CorpusSpec
from engine.text.readers import ReadOptions, Skipped, SourceFile, list_files

SHOWN = 50
"""Files that the manifest lists; all of them are in the artifact's sources.json."""
BYTES_PER_TOKEN = 4
"""Of the estimate that stands until the corpus is tokenized."""


def run(spec: CorpusSpec, context: RunContext) -> None:
    """List the files, read them, write the artifact."""
    project = Project.open(context.project_dir)
    context.emit(Phases(phases=[["look", tr("Looking at the files")], ["read", tr("Importing")], ["save", tr("Checking and saving")]]))
    if context.attempt > 1 and (before := project.artifacts.made_by(context.run_id, "corpus")):  # killed right after it had finished
        context.emit(Facts(facts=before.facts))
        context.emit(ArtifactMade(id=before.id, kind="corpus"))
        return
    context.emit(Phase(id="look", title=tr("Looking at the files")))
    files, skipped = list_files(spec.sources)
    if not files:
        reasons = "; ".join(f"{s.name}: {s.reason}" for s in skipped[:5])
        raise InputError(tr("There is nothing here that can be read. {reasons}", reasons=reasons).strip(),
                         tr("Choose .txt, .md, .jsonl, .csv, .tsv or .parquet files, or a folder of them."), code="no_text")
    _enough_room(files, project)
    options = ReadOptions(spec.encoding, spec.text_column, spec.split_by, spec.max_document_bytes)
    roots = list(dict.fromkeys(f.name.partition("/")[0] for f in files))
    title = spec.title or (roots[0] if len(roots) == 1 else trn("{first} and {count} more", "{first} and {count} more", len(roots) - 1,
                                                                first=roots[0]))
    phase = "look"

    def report(now: str, standing: Standing) -> None:
        nonlocal phase
        if now != phase:
            phase = now
            context.emit(Phase(id=now, title=tr("Importing") if now == "read" else tr("Looking at the files")))
        context.progress(standing.done, standing.total, "B", standing.rate, standing.eta,
                         trn("{count} document", "{count} documents", standing.documents))
        command = context.command()
        if command and command.word in ("stop", "stop_save", "pause"):
            raise Stopped(tr("The import was stopped; nothing was kept."), paused=command.word == "pause")

    with project.artifacts.create("corpus", title=title, run=context.run_id, spec=spec.model_dump(mode="json")) as writer:
        try:
            made = collect(files, options, spec.validation_percent / 100, writer.path / "data", report=report)
            for part in (writer.path / "data").iterdir():
                part.rename(writer.path / part.name)
            (writer.path / "data").rmdir()
            skipped += made.failed
            (writer.path / "sources.json").write_text(json.dumps({"sources": made.sources, "skipped": [_plain(s) for s in skipped]},
                                                                 ensure_ascii=False, indent=1), "utf-8")
        except OSError as wrong:
            raise disk.disk_error(wrong, writer.path) from wrong
        _tell(made, skipped, context)
        context.emit(Phase(id="save", title=tr("Checking and saving")))
        artifact = writer.finish(**facts_of(made, skipped))
    context.emit(Facts(facts=artifact.facts))
    context.emit(ArtifactMade(id=artifact.id, kind="corpus"))


def facts_of(made: Collected, skipped: list[Skipped]) -> dict[str, Any]:
    """The artifact's facts: counts in all, for each split and for the largest files."""
    largest = sorted(made.sources, key=lambda s: -s["bytes"])[:SHOWN]
    return {"documents": made.total("documents"), "bytes": made.total("bytes"), "characters": made.total("characters"),
            "tokens_estimate": round(made.total("bytes") / BYTES_PER_TOKEN), "splits": made.splits,
            "split_by": "tail" if made.by_tail else "hash", "originals": made.originals, "files": len(made.sources), "sources": largest,
            "skipped_count": len(skipped), "skipped": [_plain(s) for s in skipped[:SHOWN]],
            "bad_lines": sum(s["bad"] for s in made.sources), "replaced": sum(s["replaced"] for s in made.sources)}


def _tell(made: Collected, skipped: list[Skipped], context: RunContext) -> None:
    """What the person should know about what was left out or mended."""
    if skipped:
        shown = "; ".join(f"{s.name}: {s.reason}" for s in skipped[:5])
        context.emit(Notice(level="warning" if made.failed else "info", code="files_skipped",
                            title=trn("{count} file was left out", "{count} files were left out", len(skipped)), text=shown))
    bad = [s for s in made.sources if s["bad"]]
    if bad:
        shown = "; ".join(tr("{file}, line {line}: {reason}", file=s["name"], line=s["bad_lines"][0][0], reason=s["bad_lines"][0][1])
                          for s in bad[:5])
        context.emit(Notice(level="warning", code="bad_lines", text=shown, title=trn("{count} line or row could not be read",
                            "{count} lines or rows could not be read", sum(s["bad"] for s in bad))))
    replaced = [s for s in made.sources if s["replaced"]]
    if replaced:
        shown = "; ".join(f"{s['name']} ({s['encoding']})" for s in replaced[:5])
        context.emit(Notice(level="warning", code="encoding", text=shown,
                            remedy=tr("If letters look wrong, import again and choose the encoding."),
                            title=trn("{count} character did not fit the encoding", "{count} characters did not fit the encoding",
                                      sum(s["replaced"] for s in replaced))))


def _enough_room(files: list[SourceFile], project: Project) -> None:
    need, free = sum(f.size for f in files), shutil.disk_usage(project.dir).free
    if need > free:
        raise DiskFull(tr("The text takes {need} and the disk has {free} left.", need=units.size(need), free=units.size(free)),
                       tr("Free some space, or import less."))


def _plain(skipped: Skipped) -> dict[str, str]:
    return {"name": skipped.name, "reason": skipped.reason}
