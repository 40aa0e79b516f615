"""A project: one folder that holds everything. Create it, open it; what is inside is the matter of artifacts, runs and library."""

import os
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import __version__
from engine.contract.errors import FormatError, NotFound, ProjectError, TooNew
from engine.contract.words import tr
from engine.project import files, layout
from engine.project.artifacts import ArtifactStore
from engine.project.runs import RunStore

if TYPE_CHECKING:
    from engine.project.library import Library

SCHEMA = 1
SYNCED = ("dropbox", "onedrive", "icloud", "google drive", "googledrive", "nextcloud", "mobile documents", "syncthing")
NETWORK = ("nfs", "nfs4", "cifs", "smb", "smb3", "smbfs", "sshfs", "fuse.sshfs", "afpfs", "9p")


@dataclass(frozen=True)
class Project:
    """An open project. `note` says whether it is generated (the guided demo) or the person's own."""

    dir: Path
    name: str
    created: float
    origin: str = ""

    @classmethod
    def create(cls, dir: Path | str, name: str = "", origin: str = "") -> "Project":
        """A new project in `dir` (made if missing). A folder that is a project already, or holds other files, is refused."""
        folder = Path(dir).expanduser().resolve()
        if layout.project_file(folder).exists():
            raise ProjectError(tr("There is a project in {folder} already.", folder=str(folder)), tr("Open it, or choose another folder."),
                               code="exists")
        if folder.exists() and (not folder.is_dir() or any(not p.name.startswith(".") for p in folder.iterdir())):
            raise ProjectError(tr("{folder} is not empty.", folder=str(folder)), tr("Choose a new or an empty folder."), code="not_empty")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            files.write_json(layout.project_file(folder), {"schema": SCHEMA, "name": name or folder.name, "created": time.time(),
                                                           "origin": origin, "engine_version": __version__})
        except PermissionError as wrong:
            raise ProjectError(tr("{folder} cannot be written.", folder=str(folder)), tr("Choose a folder of your own."),
                               code="not_writable") from wrong
        return cls.open(folder)

    @classmethod
    def open(cls, dir: Path | str) -> "Project":
        """The project in `dir`. Half-written leftovers of crashes are swept; nothing else is changed."""
        folder = Path(dir).expanduser().resolve()
        if not layout.project_file(folder).is_file():
            raise NotFound(tr("There is no project in {folder}.", folder=str(folder)),
                           tr("Make one with New project, or `fledge new {folder}`.", folder=str(folder)))
        raw: Any = files.read_json(layout.project_file(folder))
        if not isinstance(raw, dict) or not isinstance(raw.get("schema"), int):
            raise FormatError(tr("{file} cannot be read as a project.", file=str(layout.project_file(folder))),
                              tr("Restore it from a backup."))
        if raw["schema"] > SCHEMA:
            raise TooNew(tr("This project was made by a later Fledge."), tr("Install the newest Fledge to open it. Nothing was changed."))
        for swept in (folder, layout.artifacts(folder), layout.runs(folder)):
            files.sweep(swept)
        return cls(dir=folder, name=str(raw.get("name") or folder.name), created=float(raw.get("created", 0)),
                   origin=str(raw.get("origin", "")))

    @cached_property
    def artifacts(self) -> ArtifactStore:
        return ArtifactStore(self.dir)

    @cached_property
    def runs(self) -> RunStore:
        return RunStore(self.dir)

    @cached_property
    def library(self) -> "Library":
        from engine.project.library import Library  # sqlite_utils imports pandas where it is installed: most of a second
        return Library(self.dir)

    def size(self) -> int:
        """Bytes on disk."""
        return files.folder_size(self.dir)

    def warning(self) -> str:
        """Why this folder is a risky place for a project (a synced or network folder), or ""."""
        return place_warning(self.dir)


def place_warning(folder: Path) -> str:
    """A sentence about folders that other programs copy or that lie on another machine: locks and databases are not safe there."""
    parts = [p.lower() for p in folder.expanduser().resolve().parts]
    if any(word in part for part in parts for word in SYNCED):
        return tr("This folder is synchronised by another program, which may copy half-written files. A local folder is safer.")
    if _file_system(folder) in NETWORK:
        return tr("This folder lies on another machine. Locks may not hold there; a local folder is safer.")
    return ""


def _file_system(folder: Path) -> str:
    """The kind of file system below `folder` on Linux, "" elsewhere."""
    if not sys.platform.startswith("linux"):
        return ""
    best, kind = "", ""
    try:
        mounts = Path("/proc/mounts").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    here = str(folder.expanduser().resolve())
    for line in mounts:
        place, name = line.split(" ")[1:3]
        place = place.encode().decode("unicode_escape", "replace")
        if (here == place or here.startswith(place.rstrip(os.sep) + os.sep)) and len(place) >= len(best):
            best, kind = place, name
    return kind
