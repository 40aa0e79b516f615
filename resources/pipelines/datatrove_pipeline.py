"""A corpus as a datatrove pipeline, written by Fledge: the settings stand beside this file, in settings.json. Run it here or on a cluster:

    python pipeline.py                                              on this machine
    python pipeline.py --executor local --tasks 64 --workers 16
    python pipeline.py --executor slurm --tasks 500 --partition cpu --time 20:00:00 --venv /shared/venv
    python pipeline.py --executor ray --tasks 500                   on the Ray cluster that ray.init() finds
    python pipeline.py --executor slurm --partition cpu --dry-run   says what would be submitted

What it needs
- Python with Fledge and its extra:  pip install "fledge[datatrove]"   (and ray for Ray), the same version everywhere.
- This folder on a disk that every node sees, under the same path; the files of settings.json too (edit the paths there if they lie
  elsewhere on the cluster). A file is read by one task, so cut very large ones beforehand.

What it does
    read      every file by a watched process with a limit on memory and time
    lines     (only if asked for) which lines stand in many documents
    clean     the cleaning steps, and MinHash signatures
    buckets   datatrove's MinhashDedupBuckets: documents that share a band of their signatures
    choose    compares what met, keeps one of each group of exact and near duplicates and excerpts; one task (3 GB for 50M documents)
    filter    datatrove's MinhashDedupFilter, and the kept documents as Parquet or JSON lines in output/

A run that was cut short goes on where it was when it is started again with the same number of tasks. Bring the folder back when all is
done and read it as a corpus, with the removed documents and the counts:  fledge run PROJECT corpus --executor datatrove --set
pipeline=THIS_FOLDER. Contamination, mixing and the split are done then.
"""

import argparse
import os
import signal
import sys
import threading
import time
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor, RayPipelineExecutor, SlurmPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets, MinhashDedupFilter
from datatrove.pipeline.writers import JsonlWriter, ParquetWriter
from datatrove.utils.hashing import HashConfig

from engine.contract.errors import FledgeError
from engine.stages.corpus.datatrove_work import Work


class FledgeStep(PipelineStep):
    """A step that works on the files of its rank in the shared folder. Slurm's tasks get the classes of this file without its imports: what
    they use is imported where they use it."""

    type = "Fledge"

    def __init__(self, folder: str):
        super().__init__()
        self.folder = folder

    @property
    def work(self):
        from pathlib import Path

        from engine.stages.corpus.datatrove_work import Work

        return Work(Path(self.folder))


class Read(FledgeStep):
    name = "reads files"

    def run(self, data=None, rank: int = 0, world_size: int = 1):
        with self.track_time("file"):
            self.stat_update("documents", value=self.work.read(rank, world_size))


class CountLines(FledgeStep):
    name = "counts lines"

    def run(self, data=None, rank: int = 0, world_size: int = 1):
        self.work.count_lines(rank)


class MergeLines(FledgeStep):
    name = "finds boilerplate lines"

    def run(self, data=None, rank: int = 0, world_size: int = 1):
        self.work.merge_lines()


class Clean(FledgeStep):
    name = "cleans"

    def run(self, data=None, rank: int = 0, world_size: int = 1):
        with self.track_time("file"):
            counts = self.work.clean(rank, world_size)
        self.stat_update("documents", value=counts.documents)
        self.stat_update("kept", value=counts.kept)


class Sign(FledgeStep):
    """Writes what MinhashDedupSignature would, from Fledge's own word sequences: they do not depend on a tokenizer for one language."""

    name = "MinHash signatures"

    def run(self, data=None, rank: int = 0, world_size: int = 1):
        with self.track_time("file"):
            self.stat_update("signed", value=self.work.sign(rank))


class Choose(FledgeStep):
    name = "compares and keeps one of each group"

    def run(self, data=None, rank: int = 0, world_size: int = 1):
        found = self.work.choose()
        self.stat_update("removed", value=int((found.step > 0).sum()))


class Documents(FledgeStep):
    name = "cleaned documents"

    def run(self, data=None, rank: int = 0, world_size: int = 1):
        from datatrove.data import Document

        for text, id, known in self.work.documents(rank):
            self.stat_update("documents")
            yield Document(text=text, id=id, metadata=known)


def stages(folder: Path, tasks: int, form: str) -> list[tuple[str, int, list[PipelineStep]]]:
    """(name, tasks, steps), in order; each needs the one before it."""
    work, here = Work(folder), str(folder)
    config = MinhashConfig(n_grams=work.dedup.shingle, num_buckets=work.bands, hashes_per_bucket=work.rows,
                           hash_config=HashConfig(precision=32, hash_fc="sha1"))
    counting = [("lines", tasks, [CountLines(here)]), ("boilerplate", 1, [MergeLines(here)])] if work.counts_lines else []
    writer = (ParquetWriter(f"{here}/output", compression="zstd", expand_metadata=True) if form == "parquet"
              else JsonlWriter(f"{here}/output", compression="gzip", expand_metadata=True))
    return [
        ("read", tasks, [Read(here)]),
        *counting,
        ("clean", tasks, [Clean(here), Sign(here)]),
        ("buckets", work.bands, [MinhashDedupBuckets(f"{here}/signatures", f"{here}/buckets", config=config, lines_to_buffer=4096)]),
        ("choose", 1, [Choose(here)]),
        ("filter", tasks, [Documents(here), MinhashDedupFilter(f"{here}/remove", lines_to_buffer=4096), writer]),
    ]


def executors(folder: Path, given: argparse.Namespace) -> list:
    """One executor a stage, each depending on the one before it where datatrove chains them."""
    made: list = []
    for number, (name, tasks, steps) in enumerate(stages(folder, given.tasks, given.format), 1):
        logs = str(folder / "logs" / f"{number}-{name}")
        if given.executor == "local":
            workers = min(tasks, given.workers or os.cpu_count() or 1)
            made.append(LocalPipelineExecutor(steps, tasks=tasks, workers=workers, logging_dir=logs))
            continue
        depends = made[-1] if made else None
        memory = given.choose_gb if name in ("choose", "boilerplate") else given.mem_per_cpu_gb
        workers = given.workers or -1
        if given.executor == "slurm":
            venv = f"{given.venv}/bin/activate" if given.venv else None
            made.append(SlurmPipelineExecutor(steps, tasks=tasks, workers=workers, time=given.time, partition=given.partition,
                                              qos=given.qos, mem_per_cpu_gb=memory, venv_path=venv, job_name=f"fledge-{name}",
                                              logging_dir=logs, depends=depends))
        else:
            made.append(RayPipelineExecutor(steps, tasks=tasks, workers=workers, mem_per_cpu_gb=memory, logging_dir=logs, depends=depends))
    return made


def follow(parent: int) -> None:
    """End with the process that started this one, with all that was started here."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executor", choices=("local", "slurm", "ray"), default="local")
    parser.add_argument("--tasks", type=int, default=0, help="parts of the work that are done side by side; 0: by the size of the files")
    parser.add_argument("--workers", type=int, default=0, help="how many at a time; 0: all processors here, no limit on a cluster")
    parser.add_argument("--format", choices=("parquet", "jsonl"), default="parquet", help="of the output")
    parser.add_argument("--partition", default="", help="Slurm's partition")
    parser.add_argument("--qos", default="normal")
    parser.add_argument("--time", default="20:00:00", help="Slurm's limit for a task")
    parser.add_argument("--venv", default="", help="virtual environment that Slurm's tasks activate")
    parser.add_argument("--mem-per-cpu-gb", type=int, default=4)
    parser.add_argument("--choose-gb", type=int, default=16, help="memory of the single task that compares")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be started")
    parser.add_argument("--follow", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.executor == "slurm" and not given.partition:
        parser.error("Slurm needs --partition")
    return given


def main(argv: list[str] | None = None) -> None:
    given = arguments(argv)
    if given.follow:
        follow(given.follow)
    folder = Path(__file__).resolve().parent
    try:
        given.tasks = Work(folder).fix_tasks(given.tasks)
    except FledgeError as wrong:
        sys.exit(str(wrong))
    chain = executors(folder, given)
    for executor in chain:
        print(f"{type(executor).__name__}: {executor.logging_dir.path}, {executor.tasks} tasks", flush=True)
    if given.dry_run:
        return
    if given.executor == "slurm":
        chain[-1].run()     # submits those it depends on first
        return
    for executor in chain:
        executor.depends = None     # they run one after the other anyway
        executor.run()


if __name__ == "__main__":
    main()
