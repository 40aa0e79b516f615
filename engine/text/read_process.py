"""Reads people's files into parts, through processes that may be killed: a file that makes its parser hang, crash or eat memory costs only
itself, and is listed with the reason.

How the result stays the same
- Files are put into batches beforehand, by their sizes alone; a batch makes its own parts, which get their numbers when all are done. So
  neither the number of processes nor a stop or kill anywhere changes what comes out.
- A finished batch is not read again. One that was cut short is read from its start, but its finished parts are not made again.
- A file over which its process died gives nothing: parts written since it began go, and the batch goes on without it. Of an archive only
  the member goes, `Limits.deaths` times at most. What was left out so is kept for a resume.
- A file that turns out to be damaged in its middle keeps the documents before that, and is listed.

Parsing is read_child.py's, watching a child read_watch.py's. It neither cleans nor splits.
"""

import dataclasses
import json
import os
import queue
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from engine.contract.errors import Missing
from engine.contract.words import tr
from engine.text import pool
from engine.text.parts import part_name
from engine.text.read_batch import RECORD, Batch, write_record
from engine.text.read_watch import POLL, Child, Limits
from engine.text.readers.base import ReadOptions, SourceFile

__all__ = ["FileRow", "Limits", "Standing", "read"]

BATCH_BYTES, BATCH_FILES = 16_000_000, 2_000
SLOW = {"html": 4, "pdf": 4, "docx": 4, "odt": 4, "epub": 4, "rtf": 4, "warc": 4, "zip": 8, "tar": 4}
"""How much more work a byte of such a file is than one of plain text."""


@dataclass(frozen=True)
class Standing:
    """How far the reading is: bytes of the files taken and in all, documents so far, seconds of this attempt, bytes of it that an earlier
    attempt had taken."""

    done: int
    total: int
    documents: int
    seconds: float
    before: int = 0

    @property
    def rate(self) -> float:
        return (self.done - self.before) / self.seconds if self.seconds > 0 else 0.0

    @property
    def eta(self) -> float:
        return (self.total - self.done) / self.rate if self.rate > 0 else -1.0


@dataclass(frozen=True)
class FileRow:
    """What became of a file. documents: rows in the parts; texts: the documents before long ones were cut; problem: why it gave nothing,
    or not all; bad_lines: the first bad ones, (number, reason); replaced: characters that did not fit the encoding; members: the first
    members of an archive, {"name", "kind", "documents", "problem"}; notes: how it was read, where a person should know, and how often."""

    name: str
    kind: str
    size: int
    root: int
    encoding: str = ""
    column: str = ""
    documents: int = 0
    texts: int = 0
    bytes: int = 0
    characters: int = 0
    bad: int = 0
    bad_lines: tuple[tuple[int, str], ...] = ()
    empty: int = 0
    replaced: int = 0
    problem: str = ""
    notes: dict[str, int] = field(default_factory=dict)
    members: tuple[dict[str, Any], ...] = ()
    member_count: int = 0

    def plain(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def read(files: Sequence[SourceFile], options: Sequence[ReadOptions], folder: Path, *, limits: Limits | None = None, processes: int = 0,
         report: Callable[[Standing], None] = lambda standing: None, check: Callable[[], None] = lambda: None) -> list[FileRow]:
    """The documents of `files` as parts in `folder`; a row for each file, in their order. `options` by the files' `root`. `processes` 0: as
    many as there is room for. `report` is called a few times a second, `check` more often; both may raise, and what is done stays.
    OSError when the disk is full."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / RECORD).exists():
        return _rows(json.loads((folder / RECORD).read_text("utf-8"))["files"])
    batches = [Batch(n, numbers, folder / f"batch-{n:06d}") for n, numbers in enumerate(plan(files))]
    reading = _Reading(files, options, batches, limits or Limits(), report, check)
    reading.run(processes)
    rows: dict[int, dict[str, Any]] = {}
    peak = number = 0
    for batch in batches:
        record = batch.record()
        rows |= {int(n): row for n, row in record["files"].items()}
        peak = max(peak, record["peak"])
        for i in range(record["parts"]):
            made, final = batch.folder / part_name(i), folder / part_name(number)
            number += 1
            if made.exists():  # else an earlier attempt has moved it
                os.replace(made, final)
    # peak: the most memory that a process had which ended well; worst: that any had, as far as the watch saw it.
    ordered = [{**_of_file(file), **rows[n]} for n, file in enumerate(files)]
    write_record(folder / RECORD, {"files": ordered, "peak": peak, "worst": reading.worst})
    for batch in batches:
        shutil.rmtree(batch.folder)
    return _rows(ordered)


def plan(files: Sequence[SourceFile]) -> list[list[int]]:
    """The numbers of the files of each batch: neighbours, of about BATCH_BYTES together; a larger file is a batch of its own."""
    batches: list[list[int]] = []
    held = 0
    for number, file in enumerate(files):
        cost = file.size * (4 if file.packing else 1) * SLOW.get(file.kind, 1)
        if not batches or held + cost > BATCH_BYTES or len(batches[-1]) >= BATCH_FILES:
            batches.append([])
            held = 0
        batches[-1].append(number)
        held += cost
    return batches


class _Reading:
    """All batches through some children."""

    def __init__(self, files: Sequence[SourceFile], options: Sequence[ReadOptions], batches: Sequence[Batch], limits: Limits,
                 report: Callable[[Standing], None], check: Callable[[], None]) -> None:
        self.files, self.options, self.batches, self.limits = files, options, batches, limits
        self.report, self.check = report, check
        self.inbox: queue.SimpleQueue[tuple[Child, list[Any] | None]] = queue.SimpleQueue()
        self.busy: dict[Child, Batch] = {}
        self.children: list[Child] = []
        self.worst = 0

    def run(self, processes: int) -> None:
        waiting = [b for b in self.batches if not b.finished()]
        waiting.reverse()
        room = max(1, psutil.virtual_memory().total // (self.limits.memory + self.limits.memory // 4))
        count = min(processes or pool.processes(), len(waiting), room)
        for batch in self.batches:
            if batch.finished():
                rows = batch.record()["files"].values()
                batch.done, batch.documents = sum(self.files[n].size for n in batch.numbers), sum(r["documents"] for r in rows)
        self.before = sum(b.done for b in self.batches)
        self.began = told = looked = time.monotonic()
        try:
            while waiting or self.busy:
                self.children = [c for c in self.children if not c.ended]
                free = [c for c in self.children if c not in self.busy]
                while waiting and (free or len(self.children) < count):
                    if free:
                        child = free.pop()
                    else:
                        child = Child(self.inbox, self.limits)
                        self.children.append(child)
                    self._begin(child, waiting.pop())
                self.check()
                try:
                    self._take(*self.inbox.get(timeout=POLL))
                    while not self.inbox.empty():
                        self._take(*self.inbox.get())
                except queue.Empty:
                    pass
                now = time.monotonic()
                for child in list(self.busy):
                    if now - looked > 5:
                        child.forgive(now - looked)
                    if reason := child.offence():
                        self._lost(child, reason)
                looked = now
                if now - told > 0.25:
                    told = now
                    self._tell()
            self._tell()
        finally:
            for child in self.children:
                child.kill()
                self.worst = max(self.worst, child.peak)

    def _tell(self) -> None:
        self.report(Standing(sum(b.done for b in self.batches), sum(f.size for f in self.files), sum(b.documents for b in self.batches),
                             time.monotonic() - self.began, self.before))

    def _begin(self, child: Child, batch: Batch) -> None:
        batch.prepare()
        self.busy[child] = batch
        child.send(batch.job(self.files, self.options))

    def _take(self, child: Child, message: list[Any] | None) -> None:
        batch = self.busy.get(child)
        if batch is None:  # killed meanwhile
            return
        if message is None or message[0] == "memory":
            self._lost(child, child.cause_of_death())
            return
        word, *told = message
        if word == "refused":
            batch.member = -1  # all of the file, not the member it showed in
            batch.died(told[0], self.files[batch.file].kind, self.limits.deaths)
            self._begin(child, batch)
            return
        if word == "begin":
            batch.file, batch.member, batch.file_mark = told[0], -1, batch.parts
            child.start_clock(told[1])
        elif word == "member":
            batch.member, batch.member_mark = told[1], batch.parts
            child.start_clock(told[2])
        elif word == "at":
            batch.done, batch.documents = batch.taken + told[1], batch.found + told[2]
        elif word == "part":
            batch.parts = told[0]
        elif word == "file":
            batch.rows[told[0]] = told[1]
            batch.file = -1
            batch.taken += self.files[told[0]].size
            batch.found += told[1]["documents"]
            batch.done, batch.documents = batch.taken, batch.found
        elif word == "disk":
            raise OSError(told[0], told[1], told[2])
        elif word == "end":
            child.stop_clock()
            batch.finish(told[0])
            del self.busy[child]
            if child.peak > self.limits.memory // 4:  # what a large file has left behind must not count against the next one
                child.kill()
        else:
            assert word == "ready", word

    def _lost(self, child: Child, reason: str) -> None:
        """A child had to be killed, or died: its batch goes on in a new one."""
        batch = self.busy.pop(child)
        child.kill()
        self.worst = max(self.worst, child.peak)
        if batch.file >= 0:
            batch.died(reason, self.files[batch.file].kind, self.limits.deaths)
        else:  # between files: no file's fault
            batch.deaths += 1
            if batch.deaths >= 3:
                raise Missing(tr("The process that reads files does not start or does not stay alive. {reason}", reason=reason),
                              tr("Run `fledge doctor`; the log says more."))
        fresh = Child(self.inbox, self.limits)
        self.children.append(fresh)
        self._begin(fresh, batch)


def _of_file(file: SourceFile) -> dict[str, Any]:
    return {"name": file.name, "kind": file.kind, "size": file.size, "root": file.root}


def _rows(plain: Sequence[dict[str, Any]]) -> list[FileRow]:
    return [FileRow(**{**row, "bad_lines": tuple((n, why) for n, why in row["bad_lines"]), "members": tuple(row["members"])})
            for row in plain]
