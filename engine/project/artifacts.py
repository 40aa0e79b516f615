"""Artifacts: finished, immutable outputs with parents and hashes. The manifest is written last; a folder without one does not exist.

Ids are `<kind>-<n>` and never reused. What an artifact holds is its stage's matter; this file knows only manifests.
"""

import builtins
import itertools
import json
import re
import shutil
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from engine import __version__
from engine.contract.errors import Corrupt, NotFound
from engine.contract.words import tr
from engine.project import files, layout

NAME = re.compile(r"[a-z_]+-[1-9][0-9]*")
"""Folders with other names (a copy made by hand, say) are nobody's artifacts."""


@dataclass(frozen=True)
class Artifact:
    """`facts` are what the page shows (counts, losses); `spec` the settings that made it; `files` {path: {"sha256", "size"}}."""

    id: str
    kind: str
    title: str
    created: float
    parents: tuple[str, ...]
    run: str
    path: Path
    spec: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    engine_version: str = ""

    @property
    def number(self) -> int:
        return int(self.id.rsplit("-", 1)[1])

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(int(entry["size"]) for entry in self.files.values())

    def verify(self) -> None:
        """Read every file and compare its hash; a Corrupt names the first that differs."""
        for name, entry in self.files.items():
            path = self.path / name
            if not path.is_file() or path.stat().st_size != entry["size"] or files.hash_file(path) != entry["sha256"]:
                raise Corrupt(tr("{artifact} is damaged: {file} is not what was written.", artifact=self.id, file=name),
                              tr("Make it again, or restore the project from a backup."))


class Writer:
    """An artifact in the making: fill `path`, then `finish`. Left without finish (an exception), nothing remains."""

    def __init__(self, store: "ArtifactStore", kind: str, title: str, parents: tuple[str, ...], run: str, spec: dict[str, Any]) -> None:
        self._store, self._kind, self._title, self._parents, self._run, self._spec = store, kind, title, parents, run, spec
        self.path = store.folder / f"{files.TEMPORARY}{kind}-{uuid.uuid4().hex[:12]}"
        self.artifact: Artifact | None = None

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(parents=True)
        except OSError as wrong:
            raise files.disk_error(wrong, self.path) from wrong
        return self

    def finish(self, **facts: Any) -> Artifact:
        """Hash, write the manifest, sync, rename into place under the next free id."""
        try:
            hashes = files.hash_folder(self.path)
            for number in self._store.free_numbers(self._kind):
                id = f"{self._kind}-{number}"
                manifest = {"id": id, "kind": self._kind, "title": self._title or id, "created": time.time(),
                            "parents": list(self._parents), "run": self._run, "spec": self._spec, "facts": facts, "files": hashes,
                            "engine_version": __version__}
                (self.path / layout.MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False, indent=1), "utf-8")
                files.sync_tree(self.path)
                try:
                    self.path.rename(self._store.folder / id)
                except OSError:
                    if (self._store.folder / id).exists():
                        continue  # another run took this number in the same moment
                    raise
                files.sync_folder(self._store.folder)
                self.artifact = self._store.get(id)
                return self.artifact
        except OSError as wrong:
            raise files.disk_error(wrong, self.path) from wrong
        raise AssertionError("unreachable: numbers do not end")

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self.path.exists():
            shutil.rmtree(self.path, ignore_errors=True)


class ArtifactStore:
    """The artifacts of one project. Reading is by folder: what another process finishes shows at the next `list`."""

    def __init__(self, project_dir: Path) -> None:
        self.folder = layout.artifacts(project_dir)
        self._seen: dict[str, Artifact] = {}

    def create(self, kind: str, *, title: str = "", parents: Iterable[str] = (), run: str = "",
               spec: dict[str, Any] | None = None) -> Writer:
        """`with store.create("corpus", ...) as made: fill made.path; made.finish(documents=9)`."""
        return Writer(self, kind, title, tuple(parents), run, spec or {})

    def list(self, kind: str | None = None) -> list[Artifact]:
        """All artifacts (of a kind), oldest first."""
        found = []
        if self.folder.is_dir():
            for entry in self.folder.iterdir():
                if NAME.fullmatch(entry.name) and (kind is None or entry.name.rpartition("-")[0] == kind):
                    made = self._read(entry.name)
                    if made:
                        found.append(made)
        return sorted(found, key=lambda a: (a.created, a.number))

    def get(self, id: str) -> Artifact:
        made = self._read(id) if NAME.fullmatch(id) else None
        if made is None:
            known = ", ".join(a.id for a in self.list())
            raise NotFound(tr("There is no artifact called {id} in this project.", id=id or "\"\""),
                           tr("It has: {known}.", known=known) if known else tr("It has none yet."))
        return made

    def made_by(self, run: str, kind: str) -> Artifact | None:
        """What a run made already: a run killed right after it finished its artifact takes it as it is, instead of making it twice."""
        return next((a for a in self.list(kind) if a.run == run), None)

    def find(self, kind: str, parents: Iterable[str]) -> Artifact | None:
        """The newest artifact of a kind with exactly these parents."""
        wanted = tuple(parents)
        return next((a for a in reversed(self.list(kind)) if a.parents == wanted), None)

    def children(self, id: str) -> builtins.list[Artifact]:
        return [a for a in self.list() if id in a.parents]

    def delete(self, id: str) -> None:
        """Remove one artifact's folder. The caller has asked about what depends on it. A tombstone keeps its number from being reused."""
        made = self.get(id)
        files.write_json(self.folder / f".gone-{id}", {"id": id, "title": made.title, "deleted": time.time()})
        files.remove_tree(made.path)
        self._seen.pop(id, None)

    def free_numbers(self, kind: str) -> Iterable[int]:
        used = [0]
        if self.folder.is_dir():
            for entry in self.folder.iterdir():
                stem, _, number = entry.name.removeprefix(".gone-").rpartition("-")
                if stem == kind and number.isdigit():
                    used.append(int(number))
        return itertools.count(max(used) + 1)

    def _read(self, id: str) -> Artifact | None:
        path = self.folder / id
        cached = self._seen.get(id)
        if cached is not None and path.is_dir():
            return cached
        raw = files.read_json(path / layout.MANIFEST)
        if not isinstance(raw, dict):
            self._seen.pop(id, None)
            return None
        made = Artifact(id=id, kind=str(raw.get("kind", "")), title=str(raw.get("title", id)), created=float(raw.get("created", 0)),
                        parents=tuple(raw.get("parents", ())), run=str(raw.get("run", "")), path=path, spec=raw.get("spec", {}),
                        facts=raw.get("facts", {}), files=raw.get("files", {}), engine_version=str(raw.get("engine_version", "")))
        self._seen[id] = made
        return made
