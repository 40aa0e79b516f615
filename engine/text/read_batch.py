"""One batch of files on its way through a reading process: its folder, where it stands, and what it goes on without after a death.

Who reads and who watches is read_process.py's matter.
"""

import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.contract.words import tr
from engine.text.parts import part_name
from engine.text.readers.base import ReadOptions, SourceFile

RECORD = "read.json"
CONTAINERS = ("zip", "tar", "warc")
"""Kinds of which only the member goes over which a process died."""


@dataclass
class Batch:
    """`refused`: files over which a process died; `left_out`: members. `file` and `member` are being read (-1: none),
    `file_mark` and `member_mark` are the numbers of parts there were when they began. `deaths`: those that no file is to blame for.
    `taken` and `found`: bytes and documents of its files that are done; `done` and `documents`: those of the one being read too."""

    number: int
    numbers: list[int]
    folder: Path
    refused: dict[int, str] = field(default_factory=dict)
    left_out: dict[int, dict[int, str]] = field(default_factory=dict)
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    deaths: int = 0
    file: int = -1
    member: int = -1
    parts: int = 0
    file_mark: int = 0
    member_mark: int = 0
    taken: int = 0
    found: int = 0
    done: int = 0
    documents: int = 0

    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / RECORD).read_text("utf-8"))
        return found

    def finished(self) -> bool:
        return (self.folder / RECORD).exists()

    def prepare(self) -> None:
        """Take up what an earlier attempt has left."""
        self.folder.mkdir(exist_ok=True)
        for torn in self.folder.glob(".tmp-*"):
            torn.unlink()
        if (self.folder / "deaths.json").exists():
            kept = json.loads((self.folder / "deaths.json").read_text("utf-8"))
            self.refused = {int(n): why for n, why in kept["files"].items()}
            self.left_out = {int(n): {int(m): why for m, why in of.items()} for n, of in kept["members"].items()}

    def job(self, files: Sequence[SourceFile], options: Sequence[ReadOptions]) -> dict[str, Any]:
        skip = 0
        while (self.folder / part_name(skip)).exists():
            skip += 1
        self.file = self.member = -1
        self.parts = self.file_mark = self.member_mark = self.taken = self.found = 0
        self.rows.clear()
        given = [[n, {**dataclasses.asdict(files[n]), "path": str(files[n].path)}, dataclasses.asdict(options[files[n].root]),
                  self.left_out.get(n, {}), self.refused.get(n, "")] for n in self.numbers]
        return {"do": "read", "folder": str(self.folder), "skip": skip, "files": given}

    def died(self, reason: str, kind: str, deaths: int) -> None:
        """Go on without what it died over: the parts that may hold some of it go."""
        before = self.left_out.setdefault(self.file, {})
        if kind in CONTAINERS and self.member >= 0 and len(before) < deaths:
            before[self.member] = reason
            keep = self.member_mark
        else:
            if before:
                reason = f"{reason} {tr('So it was with {count} of its members.', count=len(before))}"
            self.refused[self.file] = reason
            keep = self.file_mark
        number = keep
        while (path := self.folder / part_name(number)).exists():
            path.unlink()
            number += 1
        write_record(self.folder / "deaths.json", {"files": self.refused, "members": self.left_out})

    def finish(self, peak: int) -> None:
        write_record(self.folder / RECORD, {"files": self.rows, "parts": self.parts, "peak": peak})


def write_record(path: Path, record: dict[str, Any]) -> None:
    """A small JSON file, there whole or not at all."""
    aside = path.with_name(f".tmp-{path.name}")
    with open(aside, "w", encoding="utf-8") as file:
        json.dump(record, file, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
