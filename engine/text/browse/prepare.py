"""Prepares a corpus artifact for the browser: reads its documents once, writes their columns and the index of their texts into
`<artifact>/cache/browse/`, aside and renamed. Derived from the artifact alone: it can be deleted at any time, and is no part of the
manifest.
"""

import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa

from engine.contract.errors import ProjectError
from engine.contract.words import tr
from engine.text.browse.index import SEGMENT_BYTES, SEGMENT_DOCUMENTS, write_index
from engine.text.browse.table import Table, TableWriter, Texts, listed

VERSION = 1
PROGRESS = "progress.json"
STALE_SECONDS = 600
"""A half-made folder in which nothing happened for so long was left by a crash."""


def place(artifact: Path) -> Path:
    """Where the browser's files of an artifact lie (engine/project/layout.py names the same folder)."""
    return artifact / "cache" / "browse"


def ready(artifact: Path) -> bool:
    """Whether the browser's files are there and of this version."""
    try:
        return bool(json.loads((place(artifact) / "table.json").read_text("utf-8"))["version"] == VERSION)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def building(artifact: Path) -> tuple[int, int] | None:
    """(bytes of text done, in all) of a build under way in any process; None when there is none."""
    for folder in _aside(artifact):
        try:
            if time.time() - (folder / PROGRESS).stat().st_mtime < STALE_SECONDS:
                done, total = json.loads((folder / PROGRESS).read_text("utf-8"))
                return done, total
        except (OSError, ValueError):
            continue
    return None


def build(artifact: Path, report: Callable[[int, int], None] = lambda done, total: None, threads: int = 0) -> Path:
    """Make the browser's files unless they are there; returns their folder. `report` gets (bytes of text done, in all), and what it raises
    ends the build, leaving nothing. Holds a few segments of text (SEGMENT_BYTES each) in memory."""
    target = place(artifact)
    if ready(artifact):
        return target
    for left in _aside(artifact):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE_SECONDS and building(artifact) is None:
                shutil.rmtree(left, ignore_errors=True)
    aside = target.with_name(f".tmp-browse-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        aside.mkdir(parents=True)
        _fill(artifact, aside, report, threads)
        (aside / PROGRESS).unlink(missing_ok=True)
        old = target.with_name(f".tmp-gone-{uuid.uuid4().hex[:8]}")
        if target.exists():     # of another version, or damaged
            os.rename(target, old)
        try:
            os.rename(aside, target)
        except OSError:
            if not ready(artifact):     # else another process was first
                raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as wrong:
        raise ProjectError(tr("The documents could not be prepared for browsing: {reason}.", reason=wrong.strerror or str(wrong)),
                           tr("Free some space, or look whether the project's folder may be written."), code="browse") from wrong
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def _aside(artifact: Path) -> list[Path]:
    return sorted(place(artifact).parent.glob(".tmp-browse-*"))


def _fill(artifact: Path, folder: Path, report: Callable[[int, int], None], threads: int) -> None:
    writer = TableWriter(folder)
    for batch in listed(artifact):
        writer.add(batch)
    writer.finish({"version": VERSION})
    table = Table(folder)
    ends = np.cumsum(table["bytes"], dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    texts = Texts(artifact, table)
    said = 0.0
    for done in write_index(folder / "index", _segments(texts, ends), threads):
        now = int(ends[done - 1]) if done else 0
        if time.monotonic() - said > 0.2 or now == total:
            said = time.monotonic()
            (folder / PROGRESS).write_text(json.dumps([now, total]), "utf-8")
            report(now, total)


def _segments(texts: Texts, ends: np.ndarray) -> Iterator[pa.Array]:
    """Texts in order, in segments of bounded size (one document may be larger)."""
    start = 0
    while start < len(ends):
        before = int(ends[start - 1]) if start else 0
        stop = int(np.searchsorted(ends, before + SEGMENT_BYTES, "right"))
        stop = min(max(stop, start + 1), start + SEGMENT_DOCUMENTS, len(ends))
        yield texts.now(np.arange(start, stop))
        start = stop
