"""Writing so that a crash at any moment leaves the old or the new, never half: files and folders are written aside, synced and renamed.

Also the operating systems' differences (Windows cannot sync folders, and refuses renames over open files) in one place, and hashing.
"""

import errno
import hashlib
import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from engine.contract.errors import DiskFull, ProjectError
from engine.contract.units import size
from engine.contract.words import tr

TEMPORARY = ".tmp-"
PATIENCE, PAUSE_SECONDS = 40, 0.05


def sync_file(path: Path) -> None:
    """Force a file's bytes to the disk."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Force a folder's entries to the disk; Windows has no such call and needs none."""
    if sys.platform == "win32":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def rename(source: Path, target: Path) -> None:
    """Rename over `target`. On Windows a virus scanner or a reader may hold a file for a moment: tried for two seconds."""
    for chance in range(PATIENCE):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if sys.platform != "win32" or chance == PATIENCE - 1:
                raise
            time.sleep(PAUSE_SECONDS)


def write_bytes(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace a file's content in one step, synced. A full disk is a DiskFull with the old file intact."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{TEMPORARY}{path.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        rename(aside, path)
        sync_folder(path.parent)
    except OSError as wrong:
        aside.unlink(missing_ok=True)
        raise disk_error(wrong, path) from wrong


def write_json(path: Path, value: Any, mode: int = 0o644) -> None:
    write_bytes(path, (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode(), mode)


def remove(path: Path) -> None:
    """Delete a file that may be gone already. Windows refuses while somebody reads it: tried for two seconds."""
    for chance in range(PATIENCE):
        try:
            path.unlink(missing_ok=True)
            return
        except PermissionError:
            if sys.platform != "win32" or chance == PATIENCE - 1:
                raise
            time.sleep(PAUSE_SECONDS)


def read_json(path: Path, default: Any = None) -> Any:
    """The value of a JSON file; `default` when there is none or it is torn. Windows refuses a file that is being replaced this moment:
    tried for two seconds."""
    for chance in range(PATIENCE):
        try:
            return json.loads(path.read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
            return default
        except PermissionError:
            if sys.platform != "win32" or chance == PATIENCE - 1:
                raise
            time.sleep(PAUSE_SECONDS)
    raise AssertionError("unreachable")


@contextmanager
def atomic_folder(final: Path) -> Iterator[Path]:
    """Fill a folder aside; when the block ends well, its files are synced and it is renamed to `final` in one step (which must not exist).
    After an exception nothing is left. A full disk becomes a DiskFull.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    aside = final.with_name(f"{TEMPORARY}{final.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        aside.mkdir()
        yield aside
        sync_tree(aside)
        rename(aside, final)
        sync_folder(final.parent)
    except OSError as wrong:
        raise disk_error(wrong, final) from wrong
    finally:
        if aside.exists():
            shutil.rmtree(aside, ignore_errors=True)


def sync_tree(folder: Path) -> None:
    for root, _, names in os.walk(folder):
        for name in names:
            sync_file(Path(root) / name)
        sync_folder(Path(root))


def remove_tree(folder: Path) -> None:
    """Delete a folder so that a crash midway never leaves something that looks whole: renamed first, then deleted."""
    if not folder.exists():
        return
    aside = folder.with_name(f"{TEMPORARY}gone-{folder.name}-{uuid.uuid4().hex[:8]}")
    rename(folder, aside)
    shutil.rmtree(aside, ignore_errors=True)


def sweep(folder: Path, older_than: float = 3600.0) -> None:
    """Remove what crashes left aside in `folder`, once nothing in it has changed for an hour, so that a writer at work is never swept."""
    if not folder.is_dir():
        return
    now = time.time()
    for entry in folder.iterdir():
        if entry.name.startswith(TEMPORARY) and now - _last_change(entry) > older_than:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                with suppress(OSError):  # a project that may only be read stays as it is
                    entry.unlink()


def _last_change(path: Path) -> float:
    """When anything at `path` or below was written last: a folder's own time says nothing about the files that grow in it."""
    newest = 0.0
    for place in (path, *(Path(root, name) for root, folders, names in os.walk(path) for name in (*folders, *names))):
        try:
            newest = max(newest, os.lstat(place).st_mtime)
        except FileNotFoundError:  # renamed or removed while we look: somebody is at work
            return time.time()
    return newest


def append(path: Path) -> IO[bytes]:
    """Open a file to append to it, unbuffered. A link is refused: projects come from other people, and a link could lead to any file."""
    if path.is_symlink():
        raise ProjectError(tr("{file} is a link to another place; Fledge does not write through it.", file=str(path)),
                           tr("The project was changed by something else. Remove the link."), code="link")
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return open(os.open(path, flags, 0o644), "ab", buffering=0)


def disk_error(wrong: OSError, path: Path) -> OSError | DiskFull:
    """A DiskFull for "no space left" and quota errors (also a file size limit); any other OSError unchanged."""
    if wrong.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        try:
            free = size(shutil.disk_usage(path.parent).free)
        except OSError:
            free = tr("unknown")
        return DiskFull(tr("The disk is full: {path} could not be written ({free} free).", path=path.name, free=free),
                        tr("Free some space. What was saved before is intact."))
    return wrong


def hash_file(path: Path) -> str:
    """SHA-256 in hexadecimal, read in blocks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_folder(folder: Path, skip: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """{relative path: {"sha256", "size"}} of every file, sorted."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if name not in skip:
            found[name] = {"sha256": hash_file(path), "size": path.stat().st_size}
    return found


def folder_size(folder: Path) -> int:
    """Bytes of all files below; files that vanish meanwhile count nothing."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except FileNotFoundError:
                continue
    return total
