"""A run's examples or pairs come into the library: rows.jsonl of its folder, each row once, also while the run still writes.

A reward model's scores of pairs, scores.jsonl, come in when they are there: that file is written aside and renamed.

Called by whoever has the project open; as often as one likes, by several processes at once. It never writes in the run's folder.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import orjson
from pydantic import ValidationError

from engine.contract.rows import Example, Pair
from engine.contract.words import tr
from engine.project import layout
from engine.project.project import Project

BLOCK = 4_000_000
"""Bytes of rows read and added at once."""
PAIRS = "preference"
"""The stage whose rows are pairs."""
LONGEST = 64_000_000
"""Bytes of a row at most; a longer one was written by no run."""


def ingest_run(project: Project, run_id: str) -> int:
    """Add the rows of a run that the library does not have yet to the set of that run, which the first call makes: a set of pairs for the
    stage that makes pairs, else one of examples. Only whole lines are taken, and lines that are no row are passed over: a kill can leave
    half of one. A preview is not taken, nor a run whose set was deleted. Returns how many were new."""
    run = project.runs.get(run_id)
    path = layout.rows_file(run.dir)
    _ingest_scores(project, run.id, layout.scores_file(run.dir))
    if run.spec.get("preview") or not _there(path):
        return 0
    examples, pairs = project.library.examples, project.library.pairs
    kept = pairs if run.stage == PAIRS else examples
    size, taken = path.stat().st_size, kept.taken_of_run(run.id)
    if taken == size:
        return 0
    title = tr("Pairs of run {id}", id=run.id) if run.stage == PAIRS else tr("Examples of run {id}", id=run.id)
    if kept.set_of_run(run.id, run.title or title) is None:
        return 0
    added = 0
    with open(path, "rb") as file:
        file.seek(taken if taken < size else 0)  # shorter than what was read: written anew
        while lines := file.readlines(BLOCK):
            whole = [line for line in lines if line.endswith(b"\n")]
            if not whole:
                break
            at = file.tell() - sum(map(len, lines[len(whole):]))
            if run.stage == PAIRS:
                added += pairs.ingest_of_run(run.id, [pair for line in whole if (pair := _row(Pair, line))], at)
            else:
                added += examples.ingest_of_run(run.id, [row for line in whole if (row := _row(Example, line))], at)
            if len(whole) < len(lines):  # the rest of that line may be there by now: it must not be read as a line of its own
                break
    return added


def ingest_runs(project: Project) -> dict[str, int]:
    """`ingest_run` for every run that has rows: {run id: how many were new}, of those with new ones. The library is not opened where no run
    has any."""
    found = [run.id for run in project.runs.list() if _there(layout.rows_file(run.dir)) or _there(layout.scores_file(run.dir))]
    return {id: new for id in found if (new := ingest_run(project, id))}


AnyRow = TypeVar("AnyRow", Example, Pair)


def _there(path: Path) -> bool:
    """Links are not followed: a project may come from somebody else."""
    return path.is_file() and not path.is_symlink()


def _row(kind: type[AnyRow], line: bytes) -> AnyRow | None:
    if len(line) > LONGEST:
        return None
    try:
        return kind.model_validate_json(line)
    except ValidationError:
        return None


def _ingest_scores(project: Project, run_id: str, path: Path) -> None:
    """A later run's scores take the place of an earlier one's, never the other way round."""
    if not _there(path):
        return
    pairs = project.library.pairs
    number, by = int(run_id.partition("-")[0]), pairs.scored_by().partition("-")[0]
    if not by.isdecimal() or number > int(by):
        pairs.set_scores(run_id, _scores(path))


def _scores(path: Path) -> Iterator[tuple[str, float, float, float]]:
    with open(path, "rb") as file:
        for line in file:
            try:
                raw = orjson.loads(line)
                yield str(raw["id"]), float(raw["first"]), float(raw["second"]), float(raw["uncertainty"])
            except (ValueError, KeyError, TypeError):  # no line of ours
                continue
