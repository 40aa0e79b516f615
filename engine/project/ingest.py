"""A run's examples come into the library: rows.jsonl of its folder, each row once, also while the run still writes.

Called by whoever has the project open; as often as one likes, by several processes at once. It never writes in the run's folder.
"""

from pathlib import Path

from pydantic import ValidationError

from engine.contract.rows import Example
from engine.contract.words import tr
from engine.project import layout
from engine.project.project import Project

BLOCK = 4_000_000
"""Bytes of rows read and added at once."""
LONGEST = 64_000_000
"""Bytes of a row at most; a longer one was written by no run."""


def ingest_run(project: Project, run_id: str) -> int:
    """Add the rows of a run that the library does not have yet to the set of that run, which the first call makes. Only whole lines are
    taken, and lines that are no example are passed over: a kill can leave half of one. A preview is not taken, nor a run whose set was
    deleted. Returns how many were new."""
    run = project.runs.get(run_id)
    path = layout.rows_file(run.dir)
    if run.spec.get("preview") or not _there(path):
        return 0
    examples = project.library.examples
    size, taken = path.stat().st_size, examples.taken_of_run(run.id)
    if taken == size:
        return 0
    if examples.set_of_run(run.id, run.title or tr("Examples of run {id}", id=run.id)) is None:
        return 0
    added = 0
    with open(path, "rb") as file:
        file.seek(taken if taken < size else 0)  # shorter than what was read: written anew
        while lines := file.readlines(BLOCK):
            whole = [line for line in lines if line.endswith(b"\n")]
            if not whole:
                break
            at = file.tell() - sum(map(len, lines[len(whole):]))
            added += examples.ingest_of_run(run.id, [row for line in whole if (row := _example(line))], at)
            if len(whole) < len(lines):  # the rest of that line may be there by now: it must not be read as a line of its own
                break
    return added


def ingest_runs(project: Project) -> dict[str, int]:
    """`ingest_run` for every run that has rows: {run id: how many were new}, of those with new ones. The library is not opened where no run
    has any."""
    found = [run.id for run in project.runs.list() if _there(layout.rows_file(run.dir))]
    return {id: new for id in found if (new := ingest_run(project, id))}


def _there(path: Path) -> bool:
    """Links are not followed: a project may come from somebody else."""
    return path.is_file() and not path.is_symlink()


def _example(line: bytes) -> Example | None:
    if len(line) > LONGEST:
        return None
    try:
        return Example.model_validate_json(line)
    except ValidationError:
        return None
