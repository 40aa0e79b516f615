"""Duplicates: documents a second, recall, precision and memory, beside datatrove's MinHash with the local executor on the same cores in the
same run, and how time and memory grow.

    python -m tests.benchmarks.dedup_speed [--documents 100000] [--processes 2] [--datatrove PYTHON] [--growth] [--million]

Planted documents of about 200 words, 20 % of them near duplicates (planted_duplicates.py). Ours: signing all parts, then finding, with the
word sequences and excerpts' sketches and everything written to disk; process starts counted. Theirs: signatures, buckets and clusters.
`--growth` adds 10,000 documents, `--million` a million (some ten minutes, mostly to make them).

datatrove wants other versions than Fledge; it need not be in this environment: `python -m venv DIR`, `DIR/bin/pip install
"datatrove[io]==0.10.1" spacy regex tokenizers "xxhash<4"`, then `--datatrove DIR/bin/python`. Without it only ours is measured, which is
said.
"""

import argparse
import json
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

from engine.text.dedup.find import DedupSettings, Duplicates, find
from engine.text.dedup.signatures import sign_jobs, sign_part
from engine.text.pool import each
from tests.benchmarks.planted_duplicates import Planted, documents, peak_memory, write_parts

ROOT = Path(__file__).parents[2]


def run(folder: Path, processes: int) -> None:
    """In a process of its own: sign and find, print the seconds."""
    settings = DedupSettings()
    began = time.perf_counter()
    for _ in each(sign_part, sign_jobs(folder / "clean", folder / "dup", settings), processes):
        pass
    signed = time.perf_counter()
    find(folder / "dup", settings)
    done = time.perf_counter()
    print(json.dumps({"sign": signed - began, "find": done - signed}))


class Watched(NamedTuple):
    """A command that was run: what it printed last, seconds on the wall and of processors (its children's too, looked at 20 times a
    second), and the bytes of physical memory that it and its children held at most: their peaks added, more than they held at one time."""

    told: dict[str, float]
    wall: float
    processor: float
    memory: int


def watched(command: list[str]) -> Watched:
    began = time.perf_counter()
    peaks: dict[int, int] = {}
    spent: dict[int, float] = {}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=out, stderr=errors, cwd=ROOT, text=True)
        top = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                for one in (top, *top.children(recursive=True)):
                    peaks[one.pid] = max(peaks.get(one.pid, 0), peak_memory(one.pid))
                    spent[one.pid] = sum(one.cpu_times()[:2])
            except psutil.NoSuchProcess:
                pass
            time.sleep(0.05)
        seconds = time.perf_counter() - began
        out.seek(0)
        errors.seek(0)
        if process.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{errors.read()[-3000:]}")
        return Watched(json.loads(out.read().strip().splitlines()[-1]), seconds, sum(spent.values()), sum(peaks.values()))


def made(folder: Path, count: int, beside: Path | None, halves: int) -> tuple[np.ndarray, int]:
    """Writes clean parts, and JSON Lines in as many files as datatrove has tasks; (whether each document is a planted copy, bytes)."""
    planted = np.zeros(count, bool)
    size = 0

    def texts() -> Iterator[str]:
        nonlocal size
        files = [open(beside / f"{i}.jsonl", "w", encoding="utf-8") for i in range(halves)] if beside else []
        document: Planted
        for number, document in enumerate(documents(count)):
            planted[number] = document.kind != "own"
            size += len(document.text.encode())
            if files:
                files[number * halves // count].write(json.dumps({"id": str(number), "text": document.text}) + "\n")
            yield document.text
        for file in files:
            file.close()

    write_parts(folder / "clean", texts(), 12_000)
    return planted, size


def ours(folder: Path, planted: np.ndarray, size: int, processes: int) -> Watched:
    run = watched([sys.executable, "-m", "tests.benchmarks.dedup_speed", "--run", str(folder), "--processes",
                                      str(processes)])
    found = Duplicates.load(folder / "dup")
    removed = np.asarray(found.step) > 0
    print(f"{len(planted):>9,} documents, {size / 1e6:,.0f} MB: {shown(run, planted, removed)}; {size / 1e6 / run.processor:.1f} MB a "
          "processor-second", flush=True)
    return run


def shown(run: Watched, planted: np.ndarray, removed: np.ndarray) -> str:
    both = (removed & planted).sum()
    stages = ", ".join(f"{name} {value:.1f}" for name, value in run.told.items())
    return (f"{len(planted) / run.wall:,.0f} documents/s, {run.wall:.1f} s wall ({stages}), {run.processor:.1f} s of processor; "
            f"recall {both / planted.sum():.4f}, precision {both / max(1, removed.sum()):.4f}; peak memory {run.memory / 1e6:,.0f} MB")


def theirs(python: str, source: Path, folder: Path, planted: np.ndarray, processes: int) -> Watched:
    script = str(ROOT / "tests/benchmarks/datatrove_minhash.py")
    run = watched([python, script, str(source), str(folder), str(processes)])
    removed = np.zeros(len(planted), bool)
    for rank in range(processes):
        path = folder / "remove" / f"{rank:06d}.remove"
        first = -(-rank * len(planted) // processes)
        numbers = [n for n, in struct.iter_unpack("<I", path.read_bytes())] if path.exists() else []
        removed[np.array(numbers, np.int64) + first] = True
    print(f"datatrove: {shown(run, planted, removed)}", flush=True)
    return run


def has_datatrove(python: str) -> bool:
    check = "import datatrove.pipeline.dedup.minhash, spacy, xxhash; xxhash.xxh64_intdigest(b'x')"
    return shutil.which(python) is not None and subprocess.run([python, "-c", check], capture_output=True).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--datatrove", default=sys.executable, help="an interpreter that has datatrove")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.run:
        run(wanted.run, wanted.processes)
        return
    compared = has_datatrove(wanted.datatrove)
    if not compared:
        print(f"{wanted.datatrove} has no datatrove: only ours is measured. See python -m tests.benchmarks.dedup_speed --help and the "
              "first lines of tests/benchmarks/dedup_speed.py for how to get it.")
    sizes = sorted({wanted.documents, *([10_000] if wanted.growth else []), *([1_000_000] if wanted.million else [])})
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="fledge-dedup-") as name:
            folder = Path(name)
            compare = compared and size == wanted.documents
            source = folder / "jsonl"
            source.mkdir()
            planted, total = made(folder, size, source if compare else None, wanted.processes)
            mine = ours(folder, planted, total, wanted.processes)
            if compare:
                other = theirs(wanted.datatrove, source, folder / "datatrove", planted, wanted.processes)
                print(f"ratio {other.wall / mine.wall:.1f} by wall, {other.processor / mine.processor:.1f} by processor time", flush=True)


if __name__ == "__main__":
    main()
