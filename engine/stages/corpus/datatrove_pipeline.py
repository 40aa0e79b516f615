"""A corpus by datatrove: writes a folder with a pipeline that runs here or on a cluster, starts it here, reads its output back.

    write_pipeline   settings.json and pipeline.py (a copy of resources/pipelines/datatrove_pipeline.py, which says how it is run on Slurm
                     and Ray)
    launch           runs it on this machine, in a process of its own, telling how many tasks of each stage are done
    read_back        the cleaned documents, the duplicates and the counts of a finished folder, wherever it was run

What the pipeline's ranks do stands in datatrove_work.py. datatrove is an extra of Fledge and is imported by pipeline.py alone.
"""

import dataclasses
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.contract.errors import Corrupt, InputError, Missing, NotFound
from engine.contract.words import tr
from engine.project import files as disk
from engine.stages.corpus.datatrove_work import Work
from engine.text.cleaning.clean import CleanCounts
from engine.text.dedup.find import Duplicates
from engine.text.parts import Parts
from engine.text.readers import ReadOptions, Skipped, SourceFile

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "resources" / "pipelines" / "datatrove_pipeline.py"
VERSION = 1
STAGES = ("read", "lines", "boilerplate", "clean", "buckets", "choose", "filter")


def write_pipeline(folder: Path, settings: Mapping[str, Any], files: Sequence[SourceFile], options: Sequence[ReadOptions], *,
                   learned: dict[str, Any] | None = None, skipped: Sequence[Skipped] = ()) -> Path:
    """Fill `folder` (made if missing); the path of its pipeline.py. `settings` are the plain values of a corpus spec, `options` by the
    files' root, `learned` what CleanPlan.of takes. A folder that was written with the same is left as it is."""
    record = {"version": VERSION, "settings": dict(settings),
              "files": [{**dataclasses.asdict(file), "path": str(file.path.resolve())} for file in files],
              "options": [dataclasses.asdict(option) for option in options], "learned": learned,
              "skipped": [dataclasses.asdict(one) for one in skipped]}
    folder.mkdir(parents=True, exist_ok=True)
    there = disk.read_json(folder / "settings.json")
    disk.write_json(folder / "settings.json.new", record)
    fresh = disk.read_json(folder / "settings.json.new")
    (folder / "settings.json.new").unlink()
    if there is not None and there != fresh:
        raise InputError(tr("{folder} holds a pipeline with other settings.", folder=str(folder)), tr("Choose another folder."),
                         code="other_pipeline")
    disk.write_json(folder / "settings.json", record)
    disk.write_bytes(folder / "pipeline.py", SCRIPT.read_bytes())
    return folder / "pipeline.py"


def require_datatrove() -> None:
    """Missing, when the extra is not installed."""
    if importlib.util.find_spec("datatrove") is None:
        raise Missing(tr("datatrove is not installed."), tr("Install it with: {command}", command='pip install "fledge[datatrove]"'))


def launch(folder: Path, *, tasks: int = 0, workers: int = 0, report: Callable[[str, int, int], None] = lambda stage, done, total: None,
           check: Callable[[], None] = lambda: None) -> None:
    """Run the pipeline of `folder` with the local executor until it is done. `report` hears (stage, tasks done, tasks in all) a few times a
    second; `check` may raise: then the pipeline is ended, and goes on where it was when it is launched again. What it says goes to log.txt.
    InputError, with the last line of that, when it fails."""
    require_datatrove()
    command = [sys.executable, str(folder / "pipeline.py"), "--executor", "local", "--tasks", str(tasks), "--workers", str(workers),
               "--follow", str(os.getpid())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
                   "DATATROVE_COLORIZE_LOGS": "0", "PYTHONUNBUFFERED": "1"}
    with open(folder / "log.txt", "ab") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   start_new_session=os.name != "nt")
        try:
            while process.poll() is None:
                time.sleep(0.2)
                report(*_standing(folder))
                check()
        finally:
            _end(process)
    if process.returncode:
        lines = [line.strip() for line in (folder / "log.txt").read_text("utf-8", "replace").splitlines() if line.strip()]
        raise InputError(tr("The pipeline failed: {reason}", reason=lines[-1] if lines else process.returncode),
                         tr("What it said stands in {file}.", file=str(folder / "log.txt")), code="pipeline_failed")
    report(*_standing(folder))


def _standing(folder: Path) -> tuple[str, int, int]:
    """(stage, tasks of it that are done, tasks it has) of the stage that was begun last; as datatrove marks them."""
    begun = sorted((folder / "logs").glob("*-*"), key=lambda path: int(path.name.split("-")[0]))
    if not begun:
        return "read", 0, 0
    record = disk.read_json(begun[-1] / "executor.json", {})
    done = sum(1 for _ in (begun[-1] / "completions").glob("*"))
    return begun[-1].name.split("-", 1)[1], done, int(record.get("world_size", 0)) if isinstance(record, dict) else 0


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the pipeline with all its processes, if it still runs."""
    if process.poll() is not None:
        return
    if os.name == "nt":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True)
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@dataclasses.dataclass(frozen=True)
class ReadBack:
    """What a finished pipeline gave. `clean`: folder of clean parts (engine.text.parts.Parts), removed documents in their rows; `counts`
    and `boilerplate` of the cleaning; `files`: a row for each file, in order; `skipped`: what was left out before."""

    clean: Path
    counts: CleanCounts
    duplicates: Duplicates
    files: list[dict[str, Any]]
    skipped: list[dict[str, str]]
    boilerplate: list[dict[str, Any]]
    settings: dict[str, Any]


def read_back(folder: Path) -> ReadBack:
    """The documents of a finished pipeline's folder. NotFound where there is none, InputError when it has not finished, Corrupt when
    parts are missing."""
    if not (folder / "settings.json").exists():
        raise NotFound(tr("There is no pipeline in {folder}.", folder=str(folder)), tr("Choose the folder that holds its pipeline.py."))
    work = Work(folder)
    filtered = next(iter((folder / "logs").glob("*-filter")), None)
    done = sum(1 for _ in (filtered / "completions").glob("*")) if filtered and (folder / "tasks.json").exists() else 0
    if not done or done < work.tasks:
        raise InputError(tr("The pipeline in {folder} has not finished.", folder=str(folder)),
                         tr("Start it again: it goes on where it was."), code="unfinished_pipeline")
    counts, rows = CleanCounts(), []
    for rank in range(work.tasks):
        rows += work.file_rows(rank)
        for path in work.clean_parts(rank):
            counts = counts + CleanCounts(**(disk.read_json(path.with_suffix(".json")) or {}))
    duplicates = Duplicates.load(folder / "dup")
    documents = Parts(folder / "clean").documents
    if not documents == counts.documents == len(duplicates.step) == sum(row["documents"] for row in rows):
        raise Corrupt(tr("Parts of the pipeline's output in {folder} are missing.", folder=str(folder)), tr("Bring the whole folder here."))
    return ReadBack(folder / "clean", counts, duplicates, rows, work.record["skipped"], work.boilerplate().get("shown", []),
                    work.record["settings"])
