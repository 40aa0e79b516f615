"""The phases of a corpus run up to the decision: gather, clean, duplicates, overlap. Each leaves parts in the run's work folder and takes
those that are there already; what is done to a document lives in engine/text."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from engine.contract import units
from engine.contract.errors import DiskFull, FormatError, InputError
from engine.contract.words import tr, trn
from engine.project.project import Project
from engine.stages.corpus import datatrove_pipeline
from engine.stages.corpus.decide import Fates
from engine.stages.corpus.flow import Flow
from engine.stages.corpus.spec import CorpusSpec
from engine.stages.corpus.write import read_again
from engine.text import pool
from engine.text.cleaning import clean
from engine.text.dedup import contamination, find, held_out_rows, passages, signatures
from engine.text.parts import Parts
from engine.text.read_process import Standing, read
from engine.text.readers import ReadOptions, SourceFile, list_files

SMALL = 8_000_000
"""Bytes of text below which one process does everything: starting others takes longer."""
ROOM = 3
"""Times the text that a run needs on the disk while it works."""


@dataclass
class Gathered:
    """The documents as read: `parts`, a row for each listed file, and what was left out. `sources` are the paths that were given."""

    parts: Parts
    files: list[dict[str, Any]]
    skipped: list[dict[str, str]]
    sources: list[str]

    @property
    def roots(self) -> list[str]:
        """The sources' names."""
        return [Path(s).name or s for s in self.sources]

    @property
    def bytes(self) -> int:
        return sum(row["bytes"] for row in self.files)


@dataclass
class Cleaned:
    """The same documents after cleaning, with the counts of it."""

    parts: Parts
    counts: dict[str, Any]
    boilerplate: list[dict[str, Any]] = field(default_factory=list)
    passages: dict[str, Any] = field(default_factory=dict)


class Phases:
    """`labels` are the person's own decisions about harm."""

    def __init__(self, spec: CorpusSpec, flow: Flow, project: Project, labels: list[dict[str, Any]]) -> None:
        self.spec, self.flow, self.project, self.labels = spec, flow, project, labels
        self._processes = 0

    @property
    def names(self) -> list[str]:
        """The phases that these settings ask for, in order."""
        spec, piped = self.spec, self.spec.executor != "local"
        asked = {"look": not spec.base, "pipeline": piped, "lines": spec.repeated_lines and not piped,
                 "passages": spec.repeated_paragraphs or spec.repeated_passages,
                 "overlap": bool(spec.held_out) or spec.compare_validation, **(dict.fromkeys(("read", "clean", "sign", "match"), False)
                                                                              if piped else {})}
        order = ["look", "pipeline", "read", "lines", "clean", "sign", "match", "overlap", "passages", "write", "save", "index"]
        return [name for name in order if asked.get(name, True)]

    def check(self) -> None:
        """Raise now what a later phase would raise about the settings, before hours of work."""
        held_out_rows.check_paths(self.spec.held_out)
        clean.check(clean.CleanPlan.of(self.spec.plain()))

    # ---- read

    def gather(self) -> Gathered:
        """Read the files, or an earlier corpus as it was read."""
        return self._from_corpus() if self.spec.base else self._from_files()

    def _from_files(self) -> Gathered:
        spec, flow = self.spec, self.flow
        with flow.enter("look"):
            files, left_out = self._listed()
            if not files:
                raise nothing_readable(left_out)
            need, free = ROOM * sum(f.size for f in files), shutil.disk_usage(self.project.dir).free
            if need > free:
                raise DiskFull(tr("Making this corpus takes about {need} of room on the disk, and {free} are left.", need=units.size(need),
                                  free=units.size(free)), tr("Free some space, or import less."))
        with flow.enter("read"):
            folder = flow.folder("read")
            listed = read(files, self._read_options(), folder, report=self._read_standing, check=flow.check)
        rows = [{"file": number, **row.plain()} for number, row in enumerate(listed)]
        unread = [{"name": row["name"], "reason": row["problem"]} for row in rows if row["problem"]]
        left_out += unread
        parts = Parts(folder)
        if not parts.documents:
            flow.done()  # the files may be mended, and are to be looked at anew then
            raise nothing_readable(left_out, len(unread))
        return Gathered(parts, [row for row in rows if row["documents"] or not row["problem"]], left_out, list(spec.sources))

    def _listed(self) -> tuple[list[SourceFile], list[dict[str, str]]]:
        """The files and what is left out; a resume takes those of the first attempt, whatever came or went since."""
        kept = self.flow.recall("files")
        if kept is None:
            files, skipped = list_files(self.spec.sources)
            kept = {"files": [{**asdict(file), "path": str(file.path)} for file in files], "skipped": [asdict(one) for one in skipped]}
            if files:
                self.flow.remember("files", kept)
        return [SourceFile(**{**row, "path": Path(row["path"])}) for row in kept["files"]], list(kept["skipped"])

    def _from_corpus(self) -> Gathered:
        """The documents of an earlier corpus, as they were read from its files."""
        base, flow = self.project.artifacts.get(self.spec.base), self.flow
        if not (base.path / "documents.parquet").exists():
            raise InputError(tr("{corpus} was made by an earlier Fledge, which kept no removed documents.", corpus=base.id),
                             tr("Import its files again."), code="old_corpus")
        with flow.enter("read"):
            folder = flow.folder("read")
            read_again(base.path, folder, lambda done, total: flow.at(done, total, tr("documents")))
        listed = json.loads((base.path / "sources.json").read_text("utf-8"))
        files = [{**row, "documents": row["documents_read"], "bytes": row["bytes_read"]} for row in listed["sources"]]
        return Gathered(Parts(folder), files, listed["skipped"], list(self.spec.sources or base.spec["sources"]))

    def _read_options(self) -> list[ReadOptions]:
        spec = self.spec
        return [ReadOptions(one.encoding or spec.encoding, spec.text_column if one.text_column is None else one.text_column,
                            one.split_by or spec.split_by, spec.max_document_bytes) for one in map(spec.options_of, spec.sources)]

    def _read_standing(self, standing: Standing) -> None:
        self.flow.at(standing.done, standing.total, "B", trn("{count} document", "{count} documents", standing.documents))

    # ---- by datatrove

    def by_datatrove(self) -> tuple[Gathered, Cleaned, find.Duplicates]:
        """Reading, cleaning and duplicates by a datatrove pipeline: written and run here, or the folder of one that ran on a cluster."""
        spec, flow = self.spec, self.flow
        folder = Path(spec.pipeline).expanduser() if spec.pipeline else flow.folder("datatrove")
        if not spec.pipeline:
            datatrove_pipeline.require_datatrove()
            self.write_pipeline(folder)
            with flow.enter("pipeline"):
                datatrove_pipeline.launch(folder, report=lambda stage, done, total: flow.at(done, total, tr("pieces"), stage),
                                          check=flow.check)
        made = datatrove_pipeline.read_back(folder)
        rows = [{"file": number, **row} for number, row in enumerate(made.files)]
        left_out = [dict(row) for row in made.skipped] + [{"name": r["name"], "reason": r["problem"]} for r in rows if r["problem"]]
        gathered = Gathered(Parts(made.clean), [row for row in rows if row["documents"] or not row["problem"]], left_out,
                            list(made.settings["sources"]))
        return gathered, Cleaned(gathered.parts, made.counts.plain(), made.boilerplate), made.duplicates

    def write_pipeline(self, folder: Path) -> None:
        """The pipeline of these settings, to be run here or on a cluster."""
        with self.flow.enter("look"):
            files, skipped = list_files(self.spec.sources)
            if not files:
                raise nothing_readable([{"name": s.name, "reason": s.reason} for s in skipped])
            datatrove_pipeline.write_pipeline(folder, self.spec.plain(), files, self._read_options(), learned=self._taught(),
                                              skipped=skipped)

    # ---- clean

    def clean(self, gathered: Gathered) -> Cleaned:
        """Run the cleaning steps over every part."""
        flow, spec = self.flow, self.spec
        self._processes = 1 if gathered.bytes < SMALL else 0
        boilerplate, shown = self._boilerplate(gathered) if spec.repeated_lines else (None, [])
        with flow.enter("clean"):
            if spec.harmful != "off" and spec.harm_judge:
                from engine.text.cleaning.judge import Judge

                Judge.of(spec.harm_judge).check()
            plan = clean.CleanPlan.of({**spec.plain(), "judge_cache": str(flow.work / "judge.jsonl")}, self._taught())
            folder = flow.folder("clean")
            parts = gathered.parts
            jobs = [clean.CleanJob(path, folder / path.name, plan, boilerplate, parts.first(n)) for n, path in enumerate(parts.paths)]
            counts = self._each(clean.clean_part, jobs, parts)
        total = clean.CleanCounts()
        for part in sorted(counts):
            total = total + counts[part]
        return Cleaned(Parts(folder), total.plain(), shown)

    def _taught(self) -> dict[str, Any] | None:
        """What the person's decisions about harm teach, where they are many enough."""
        if self.spec.harmful == "off" or not self.spec.harm_learned or not self.labels:
            return None
        from engine.text.cleaning import learned

        made = learned.train([(row["text"], row["harmful"]) for row in self.labels])
        return made.plain() if made else None

    def _boilerplate(self, gathered: Gathered) -> tuple[Path, list[dict[str, Any]]]:
        from engine.text.cleaning import lines

        with self.flow.enter("lines"):
            folder, parts = self.flow.folder("lines"), gathered.parts
            before = tuple(step for step in lines.BEFORE if getattr(self.spec, step))
            self._each(lines.count_lines, [lines.LineJob(path, folder / path.name, before) for path in parts.paths], parts)
            return lines.merge_lines(folder, self.spec.repeated_lines_documents)

    # ---- duplicates

    def duplicates(self, cleaned: Cleaned) -> find.Duplicates:
        """Signatures of every part, then which documents are duplicates of which. Those removed before take no part."""
        flow, settings = self.flow, find.DedupSettings.of(self.spec.plain())
        folder, parts = flow.folder("dup"), cleaned.parts
        with flow.enter("sign"):
            self._each(signatures.sign_part, [signatures.SignJob(path, folder / path.stem, settings) for path in parts.paths], parts)
        with flow.enter("match"):
            return find.find(folder, settings, lambda phase, done, total: flow.at(done, total), flow.check)

    def passages(self, cleaned: Cleaned, kept: Any) -> Cleaned:
        """Cut paragraphs and passages that an earlier document has out of those that are kept."""
        settings = passages.PassageSettings.of(self.spec.plain())
        if not settings.any:
            return cleaned
        with self.flow.enter("passages"):
            made = passages.cut(cleaned.parts.folder, self.flow.folder("passages"), kept, settings, processes=self._processes,
                                report=lambda phase, done, total: self.flow.at(done, total), check=self.flow.check)
        return replace(cleaned, parts=made.parts, passages=made.steps)

    # ---- held-out sets

    def overlap(self, cleaned: Cleaned, found: find.Duplicates) -> contamination.Overlaps | None:
        """Documents that hold text of the held-out sets, among those that are still kept."""
        if not self.spec.held_out:
            return None
        with self.flow.enter("overlap"):
            held = contamination.HeldOut.load(self.spec.held_out, self.spec.overlap_words)
            return contamination.find(cleaned.parts.folder, held, self.flow.folder("overlap"), gone=self._gone(cleaned.parts, found),
                                      processes=self._processes, report=self.flow.at, check=self.flow.check)

    def validation_overlap(self, cleaned: Cleaned, fates: Fates) -> contamination.Overlaps | None:
        """Training documents that share long passages with validation documents although they are no near duplicates."""
        if not self.spec.compare_validation or fates.cuts is not None:
            return None
        with self.flow.enter("overlap"):
            return contamination.validation_overlap(cleaned.parts.folder, fates.validation, ~fates.kept, self.flow.folder("validation"),
                processes=self._processes, report=self.flow.at, check=self.flow.check)

    @staticmethod
    def _gone(parts: Parts, found: find.Duplicates) -> Any:
        removed = [pc.is_valid(table["step"]).to_numpy() for _, table in parts.tables(["step"])]
        return np.concatenate(removed) | (np.asarray(found.step) > 0)

    def _each(self, work: Callable[[Any], Any], jobs: Sequence[Any], parts: Parts) -> dict[int, Any]:
        """Do every job, one a part, telling how many documents are done; the results by part."""
        results, done = {}, 0
        for number, result in pool.each(work, jobs, self._processes, check=self.flow.check):
            results[number] = result
            done += parts.lengths[number]
            self.flow.at(done, parts.documents, tr("documents"))
        return results


def nothing_readable(reasons: list[dict[str, str]], unread: int = 0) -> InputError:
    """Nothing to make a corpus of: the file's own reason where a single file could not be read, else the first reasons."""
    if len(reasons) == unread == 1:
        return FormatError(reasons[0]["reason"], code="unreadable")
    shown = "; ".join(f"{one['name']}: {one['reason']}" for one in reasons[:5])
    return InputError(tr("No text was found in what was given. {reasons}", reasons=shown).strip(), tr("Choose other files."),
                      code="no_text")
