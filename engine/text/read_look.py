"""A preview of files nobody trusts: each is looked into by a child process that is killed when it takes too long or too much, so that a
hostile file costs its own row a reason and the other rows nothing. The rows are readers/preview.py's."""

import dataclasses
import math
import queue
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.text.read_watch import POLL, Child, Limits
from engine.text.readers.base import ReadOptions
from engine.text.readers.listing import list_files
from engine.text.readers.preview import FilePreview, Preview, refused, summary

LIMITS = Limits(memory=1_000_000_000, idle_seconds=5.0, seconds=5.0, bytes_per_second=math.inf)
IN_ALL = 15.0
"""Seconds after which no further file is begun; the rest counts as unread."""


def look(sources: Sequence[str | Path], options: Sequence[ReadOptions], *, files: int = 50, bytes_of_each: int = 400_000, texts: int = 5,
         characters: int = 600, limits: Limits = LIMITS, in_all: float = IN_ALL) -> Preview:
    """As readers.preview, through a child; `options` by source."""
    found, skipped = list_files(sources)
    rows: list[FilePreview] = []
    shown: list[tuple[str, str]] = []
    began = time.monotonic()
    inbox: queue.SimpleQueue[tuple[Child, list[Any] | None]] = queue.SimpleQueue()
    child: Child | None = None
    try:
        for file in found[:files]:
            if rows and time.monotonic() - began > in_all:
                break
            if child is None:
                child = Child(inbox, limits)
            child.send({"do": "look", "file": {**dataclasses.asdict(file), "path": str(file.path)},
                        "options": dataclasses.asdict(options[file.root]), "bytes": bytes_of_each, "texts": texts - len(shown),
                        "characters": characters})
            answer, reason = _answer(child, inbox)
            if answer is None:
                child.kill()
                child = None
                rows.append(refused(file, reason))
                continue
            child.stop_clock()
            row, begun = answer
            rows.append(FilePreview(**{**row, "columns": tuple(row["columns"]), "notes": tuple(row["notes"])}))
            shown += [(name, text) for name, text in begun]
    finally:
        if child is not None:
            child.kill()
    return summary(found, skipped, rows, shown)


def _answer(child: Child, inbox: "queue.SimpleQueue[tuple[Child, list[Any] | None]]") -> tuple[list[Any] | None, str]:
    """What the child said of its file, or why it said nothing."""
    while True:
        if reason := child.offence():
            return None, reason
        try:
            sender, message = inbox.get(timeout=POLL)
        except queue.Empty:
            continue
        if sender is not child or message is not None and message[0] == "ready":
            continue
        if message is None or message[0] == "memory":
            return None, child.cause_of_death()
        assert message[0] == "looked", message
        return message[1:], ""
