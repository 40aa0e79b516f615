"""What each rank of a corpus pipeline does, in a folder that all ranks see: read, count lines, clean, sign, choose, give out documents. The
same functions as an import on one machine, so that the same documents are kept. resources/pipelines/datatrove_pipeline.py wraps them as
datatrove steps; nothing here imports datatrove.

    settings.json    what write_pipeline left: the corpus settings, the files in order, how each source is read
    tasks.json       how many ranks read; fixed by the first run
    read/RRRRR/      documents as read by a rank, and a row for each of its files (read.json)
    lines/           counts of lines, and the boilerplate found in them
    clean/           clean parts, part-RRRRRNNNNNN.arrow: in order of ranks, which is the order of the files
    dup/             signatures of each part, then the answer: what is a duplicate of what
    signatures/      the same signatures as datatrove's MinhashDedupBuckets reads them
    buckets/         what it found: neighbours in a bucket
    remove/          rows of each rank that are out, as datatrove's MinhashDedupFilter reads them
    output/          the kept documents

Every function leaves finished work alone and may be called again after a kill. A rank has a range of neighbouring files of about the same
size; a single file is not divided.
"""

import functools
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.contract.errors import InputError
from engine.contract.words import tr
from engine.text.cleaning import clean
from engine.text.dedup import find, signatures
from engine.text.dedup.near import NearSearch
from engine.text.dedup.settings import DedupSettings
from engine.text.parts import Parts, read_part, write_part
from engine.text.read_process import plan, read
from engine.text.readers import ReadOptions, SourceFile

ASIDE = ".aside"
GIVEN = ("id", "source", "language", "language_score", "quality")
"""What goes into the output beside the text."""


@dataclass(frozen=True)
class Work:
    """One pipeline's folder. Cheap to make; each process reads the settings once."""

    folder: Path

    @cached_property
    def record(self) -> dict[str, Any]:
        made: dict[str, Any] = json.loads((self.folder / "settings.json").read_text("utf-8"))
        return made

    @cached_property
    def files(self) -> list[SourceFile]:
        return [SourceFile(**{**row, "path": Path(row["path"])}) for row in self.record["files"]]

    @cached_property
    def dedup(self) -> DedupSettings:
        return DedupSettings.of(self.record["settings"])

    @property
    def bands(self) -> int:
        return self.dedup.bands.bands

    @property
    def rows(self) -> int:
        return self.dedup.bands.rows

    @property
    def counts_lines(self) -> bool:
        return bool(self.record["settings"].get("repeated_lines"))

    def fix_tasks(self, tasks: int) -> int:
        """How many ranks read: at most one a file, and the same number as in the first run of this folder. 0: that one, or by the size."""
        path = self.folder / "tasks.json"
        fixed = json.loads(path.read_text("utf-8"))["tasks"] if path.exists() else 0
        tasks = min(tasks, len(self.files)) if tasks else fixed or len(plan(self.files))
        if fixed and tasks != fixed:
            raise InputError(tr("This pipeline was begun with {count} tasks.", count=fixed),
                             tr("Give the same number again, or begin in a new folder."), code="other_tasks")
        _write_json(self.folder, path, {"tasks": tasks})
        return tasks

    @cached_property
    def tasks(self) -> int:
        found: int = json.loads((self.folder / "tasks.json").read_text("utf-8"))["tasks"]
        return found

    # ---- read

    def share(self, rank: int, tasks: int) -> range:
        """The numbers of a rank's files."""
        ends = np.cumsum([0, *(max(1, file.size) for file in self.files)])
        cuts = np.searchsorted(ends, ends[-1] * np.arange(tasks + 1) / tasks)
        # At least one file each, where there are as many.
        for n in range(1, tasks):
            cuts[n] = min(max(cuts[n], cuts[n - 1] + 1), len(self.files) - (tasks - n))
        return range(int(cuts[rank]), int(cuts[rank + 1]))

    def read(self, rank: int, tasks: int) -> int:
        """Read a rank's files by watched processes; documents read."""
        options = [ReadOptions(**row) for row in self.record["options"]]
        rows = read([self.files[n] for n in self.share(rank, tasks)], options, self._read(rank), processes=1)
        return sum(row.documents for row in rows)

    def _read(self, rank: int) -> Path:
        return self.folder / "read" / f"{rank:05d}"

    def file_rows(self, rank: int) -> list[dict[str, Any]]:
        """What became of each of a rank's files."""
        rows: list[dict[str, Any]] = json.loads((self._read(rank) / "read.json").read_text("utf-8"))["files"]
        return rows

    def _first(self, rank: int) -> int:
        """The number of a rank's first document."""
        return sum(row["documents"] for before in range(rank) for row in self.file_rows(before))

    # ---- boilerplate lines

    def count_lines(self, rank: int) -> None:
        from engine.text.cleaning import lines

        folder = _made(self.folder / "lines")
        before = tuple(step for step in lines.BEFORE if self.record["settings"].get(step))
        for n, path in enumerate(Parts(self._read(rank)).paths):
            lines.count_lines(lines.LineJob(path, folder / name(rank, n), before))

    def merge_lines(self) -> None:
        from engine.text.cleaning import lines

        path, shown = lines.merge_lines(self.folder / "lines", self.record["settings"]["repeated_lines_documents"])
        _write_json(self.folder, self.folder / "boilerplate.json", {"path": path.relative_to(self.folder).as_posix(), "shown": shown})

    def boilerplate(self) -> dict[str, Any]:
        """{"path", "shown"} of the boilerplate lines, empty where none were looked for."""
        path = self.folder / "boilerplate.json"
        found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
        return found

    # ---- clean and sign

    def clean(self, rank: int, tasks: int) -> clean.CleanCounts:
        """Run the cleaning steps over a rank's documents. Removed ones keep their rows."""
        plan = clean.CleanPlan.of(self.record["settings"], self.record["learned"])
        lines = self.folder / self.boilerplate()["path"] if self.counts_lines else None
        folder = _made(self.folder / "clean")
        number, first_file = self._first(rank), self.share(rank, tasks).start
        total = clean.CleanCounts()
        for n, path in enumerate(Parts(self._read(rank)).paths):
            target = folder / name(rank, n)
            table = read_part(path)
            if not target.exists():
                files = pc.add(table["file"], pa.scalar(first_file, pa.int32()))
                table = table.set_column(table.schema.get_field_index("file"), "file", files)
                cleaned, counts = clean.clean_table(table, plan, lines, number)
                _write_json(self.folder, target.with_suffix(".json"), counts.plain())
                write_part(target, cleaned)
            total = total + clean.CleanCounts(**json.loads(target.with_suffix(".json").read_text("utf-8")))
            number += table.num_rows
        return total

    def clean_parts(self, rank: int) -> list[Path]:
        return sorted((self.folder / "clean").glob(f"part-{rank:05d}*.arrow"))

    def sign(self, rank: int) -> int:
        """Signatures of a rank's documents, for Fledge and, sorted by band, for datatrove; how many take part."""
        pieces, rows, first = [np.zeros((0, self.dedup.bands.permutations), np.uint32)], [np.zeros(0, np.uint32)], 0
        for path in self.clean_parts(rank):
            target = _made(self.folder / "dup") / path.stem
            signatures.sign_part(signatures.SignJob(path, target, self.dedup))
            documents = np.load(target / "documents.npy", mmap_mode="r", allow_pickle=False)
            able = np.flatnonzero(documents["alive"] & (documents["grams"] > 0))
            pieces.append(np.load(target / "signatures.npy", mmap_mode="r", allow_pickle=False)[able])
            rows.append((able + first).astype(np.uint32))
            first += len(documents)
        signed, row = np.concatenate(pieces), np.concatenate(rows)
        for band in range(self.bands):
            columns = [*signed[:, band * self.rows:(band + 1) * self.rows].T, row]
            order = np.lexsort(columns[::-1])
            path = _made(self.folder / "signatures" / f"bucket_{band:03d}") / f"{rank:05d}.minhash.sig"
            _write(self.folder, path, np.stack([column[order] for column in columns], axis=1).astype("<u4").tobytes())
        return len(row)

    # ---- choose

    def choose(self) -> find.Duplicates:
        """Which documents are out, by all that the buckets brought together; one process for all ranks (memory: dedup/find.py). Pairs are
        measured and one of each group is kept exactly as on one machine: datatrove's own step would take every pair that met for a
        duplicate, and keep any."""
        tables = [read_part(path, ["step"]) for rank in range(self.tasks) for path in self.clean_parts(rank)]
        gone = np.concatenate([np.zeros(0, bool), *(pc.is_valid(table["step"]).to_numpy() for table in tables)])
        firsts = np.array([self._first(rank) for rank in range(self.tasks + 1)])
        search = functools.partial(BucketSearch, self.folder / "buckets", firsts)
        found = find.find(_made(self.folder / "dup"), self.dedup, clean=self.folder / "clean", search=search)
        gone |= np.asarray(found.step) > 0
        folder = self.folder / "remove"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for rank in range(self.tasks):
            rows = np.flatnonzero(gone[firsts[rank]:firsts[rank + 1]])
            if len(rows):
                _write(self.folder, folder / f"{rank:06d}.remove", rows.astype("<u4").tobytes())
        return found

    # ---- documents

    def documents(self, rank: int) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """(text, id, what else is known) of every row of a rank, the removed ones too: rows are counted."""
        for path in self.clean_parts(rank):
            table = read_part(path, [*GIVEN, "text"])
            for batch in table.to_batches(max_chunksize=512):
                for row in batch.to_pylist():
                    yield row.pop("text"), row.pop("id"), row


class BucketSearch(NearSearch):
    """Near duplicates among those that datatrove's buckets brought together. firsts: the number of each rank's first document."""

    def __init__(self, buckets: Path, firsts: np.ndarray, *given: Any) -> None:
        super().__init__(*given)
        self._folder, self._firsts = buckets, firsts

    def _buckets(self, band: int, number: int, ranges: int) -> tuple[np.ndarray, np.ndarray]:
        members, buckets, before = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
        for path in sorted(self._folder.glob(f"{band:05d}_*.dups")):
            # Rank and row of two neighbours of a bucket; the second is the first of the next pair, while the bucket lasts.
            pairs = np.fromfile(path, "<u4").reshape(-1, 4).astype(np.int64)
            left, right = self._firsts[pairs[:, 0]] + pairs[:, 1], self._firsts[pairs[:, 2]] + pairs[:, 3]
            begins = np.ones(len(pairs), bool)
            begins[1:] = left[1:] != right[:-1]
            bucket = np.cumsum(begins) + before
            members += [left[begins], right]
            buckets += [bucket[begins], bucket]
            before = int(bucket[-1]) if len(bucket) else before
        of, bucket = np.concatenate(members), np.concatenate(buckets)
        chosen = self.part_in[of] & (bucket % ranges == number)
        of, bucket = of[chosen], bucket[chosen]
        order = np.lexsort((self.rank[of], bucket))
        of, bucket = of[order], bucket[order]
        shared = np.zeros(len(of), bool)
        same = bucket[1:] == bucket[:-1]
        shared[1:] |= same
        shared[:-1] |= same
        return of[shared], bucket[shared]


def name(rank: int, part: int) -> str:
    return f"part-{rank:05d}{part:06d}.arrow"


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write(folder: Path, path: Path, raw: bytes) -> None:
    """folder: the pipeline's."""
    # Not beside it: datatrove takes every file in a folder of signatures for one, and a rank may die here.
    aside = _made(folder / ASIDE) / f"{path.parent.name}-{path.name}-{os.getpid()}"
    with open(aside, "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)


def _write_json(folder: Path, path: Path, value: Any) -> None:
    _write(folder, path, json.dumps(value, ensure_ascii=False).encode())
