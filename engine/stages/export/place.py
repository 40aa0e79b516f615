"""Where an export goes: judged before anything is written, filled aside, renamed when it is whole. What is there already is refused, or
replaced if it looks like an export and that was asked for.

An export that is killed leaves nothing under the final name; its leftovers beside it are removed when the run is done again.
"""

import hashlib
import shutil
from pathlib import Path

from engine.contract import units
from engine.contract.errors import DiskFull, InputError, SettingError
from engine.contract.words import tr
from engine.project import files, layout
from engine.project.project import Project

OURS = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
        "README.md", "*.gguf", "Modelfile", "adapter_config.json", "chat_template.jinja", "special_tokens_map.json")
"""What a folder may hold that is replaced: the files of an export and nothing else."""
ROOM = 64 << 20
"""Bytes left free beside the export."""


class Place:
    """`final` is a folder or a file; fill `aside`, then `put`."""

    def __init__(self, final: Path, project: Project, run: str, overwrite: bool, folder: bool) -> None:
        self.final, self.overwrite, self.folder = final, overwrite, folder
        mark = hashlib.sha256(str(project.dir).encode()).hexdigest()[:8]
        self.aside = final.with_name(f"{files.TEMPORARY}{final.name}-{mark}-{run}")
        self._old = final.with_name(self.aside.name + "-old")
        for inside in (layout.artifacts(project.dir), layout.runs(project.dir)):
            if inside.resolve() in (final.resolve(), *final.resolve().parents):
                raise SettingError(tr("{path} is inside the project.", path=str(final)), tr("Choose a place outside of it."), field="out")
        if final.parent.exists() and not final.parent.is_dir():
            raise InputError(tr("{path} is a file.", path=str(final.parent)), tr("Choose another place."), code="exists")
        self._judge()

    def _judge(self) -> None:
        """Refuse what is there, unless it may be replaced."""
        final = self.final
        if final.is_symlink() or not final.exists():
            if final.is_symlink():
                raise InputError(tr("{path} is a link.", path=str(final)), tr("Name the place it leads to."), code="exists")
            return
        if self.folder and final.is_dir() and not any(final.iterdir()):
            return
        if not self.overwrite:
            raise InputError(tr("{path} is there already.", path=str(final)), tr("Choose another name, or let it be replaced (--replace)."),
                             code="exists", field="out")
        if final.is_dir() != self.folder:
            raise InputError(tr("{path} is no export of this kind.", path=str(final)), tr("Choose another name."), code="exists",
                             field="out")
        if self.folder and (strange := next((p for p in final.iterdir() if p.is_dir() or not any(p.match(o) for o in OURS)), None)):
            raise InputError(tr("{path} holds {name}, which no export has written, and is not replaced.", path=str(final),
                                name=strange.name), tr("Choose another folder."), code="exists", field="out")

    def need(self, nbytes: int) -> None:
        """A DiskFull where so many bytes do not fit."""
        standing = next(p for p in (self.final.parent, *self.final.parent.parents) if p.exists())
        free = shutil.disk_usage(standing).free
        if free < nbytes + ROOM:
            raise DiskFull(tr("The export needs {need} and {folder} has {free} free.", need=units.size(nbytes), folder=str(standing),
                              free=units.size(free)), tr("Free some space, or choose another disk or a smaller precision."))

    def begin(self) -> Path:
        """The place aside, empty: a folder, or the name of a file to be."""
        self.drop()
        try:
            self.final.parent.mkdir(parents=True, exist_ok=True)
            if self.folder:
                self.aside.mkdir()
        except OSError as wrong:
            raise files.disk_error(wrong, self.final) from wrong
        return self.aside

    def drop(self) -> None:
        """Remove what stands aside."""
        for left in (self.aside, self._old):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
        for left in self.aside.parent.glob(f"{self.aside.name}*"):
            left.unlink(missing_ok=True)

    def put(self) -> None:
        """Sync, and rename to the final name."""
        try:
            if self.folder:
                files.sync_tree(self.aside)
                if self.final.is_dir() and any(self.final.iterdir()):
                    self._judge()
                    files.rename(self.final, self._old)
                    files.rename(self.aside, self.final)
                else:
                    if self.final.is_dir():  # empty, and Windows renames over nothing
                        self.final.rmdir()
                    files.rename(self.aside, self.final)
            else:
                files.sync_file(self.aside)
                self._judge()
                files.rename(self.aside, self.final)
            files.sync_folder(self.final.parent)
        except OSError as wrong:
            raise files.disk_error(wrong, self.final) from wrong

    def hashes(self, aside: bool = True) -> dict[str, dict[str, object]]:
        """{name: {"sha256", "size"}} of what is written, aside or in its place."""
        where = self.aside if aside else self.final
        if where.is_dir():
            return files.hash_folder(where)
        return {self.final.name: {"sha256": files.hash_file(where), "size": where.stat().st_size}} if where.is_file() else {}
