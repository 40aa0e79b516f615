"""Label files: rows that one library gives and another takes in, a JSON object a line, gzipped where the name ends so. What they say is
engine/project/label_merge.py's matter; a line that is no object is given on as an empty one, which is counted there as damaged.
"""

import gzip
import os
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

import orjson

from engine.contract.errors import FormatError, InputError, NotFound
from engine.contract.words import tr
from engine.project import files

LONGEST = 8_000_000
"""Bytes of a line; a longer one is damaged."""


def read_labels(path: str | Path) -> Iterator[dict[str, Any]]:
    """Every line of a file. NotFound, and FormatError where it cannot be read, or not further."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise NotFound(tr("{path} does not exist.", path=str(path)), tr("Choose another file."))
    return _lines(path)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, "rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        source = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if packed else raw
        try:
            while line := source.readline(LONGEST):
                if not line.endswith(b"\n") and len(line) == LONGEST:
                    while (rest := source.readline(LONGEST)) and not rest.endswith(b"\n"):
                        pass
                    yield {}
                elif not line.isspace():
                    yield _object(line)
        except (EOFError, gzip.BadGzipFile, zlib.error) as wrong:
            raise FormatError(tr("{name} is damaged and cannot be read further.", name=path.name),
                              tr("What stands before is taken. Fetch the file again and merge it once more."), code="damaged") from wrong


def _object(line: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def write_labels(path: str | Path, rows: Iterable[Mapping[str, Any]], *, replace: bool = True) -> tuple[int, int]:
    """Write rows to a file, in one step; how many labels and pairs it has. DiskFull with the old file intact."""
    target = Path(path).expanduser()
    if target.is_dir():
        raise InputError(tr("{path} is a folder.", path=str(target)), tr("Name the file that shall be written."))
    if target.exists() and not replace:
        raise InputError(tr("{path} is there already.", path=str(target)), tr("Name another file."), code="exists")
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f"{files.TEMPORARY}{target.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    counts = {"label": 0, "pair": 0}
    try:
        with open(aside, "wb", buffering=1 << 20) as raw:
            out = cast(IO[bytes], gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0)) if target.suffix == ".gz" else raw
            for row in rows:
                out.write(orjson.dumps(dict(row)) + b"\n")
                counts[row["kind"]] += 1
            if out is not raw:
                out.close()
        files.sync_file(aside)
        files.rename(aside, target)
    except OSError as wrong:
        raise files.disk_error(wrong, target) from wrong
    finally:
        aside.unlink(missing_ok=True)
    return counts["label"], counts["pair"]
