"""Which files of what a person gave are read, in a fixed order, and why the others are not. It reads only the first bytes of each."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.contract.errors import InputError, NotFound
from engine.contract.words import tr
from engine.text.readers.base import Skipped, SourceFile
from engine.text.readers.cutting import storable
from engine.text.readers.kinds import LOCKS, PROJECT_FILES, folder_reason, kind_of

START = 4096


def list_files(sources: Sequence[str | Path]) -> tuple[list[SourceFile], list[Skipped]]:
    """What can be read and what is left out, in a fixed order. A source that does not exist is a NotFound."""
    found = _Found()
    for root, source in enumerate(sources):
        path = Path(source).expanduser()
        try:
            if path.is_dir():
                found.folder(path, root)
            elif path.exists():
                found.sort_in(path, path.name, root, given=True)
            else:
                raise NotFound(tr("{path} does not exist.", path=str(path)), tr("Choose another file or folder."))
        except PermissionError as wrong:
            raise InputError(tr("{path} may not be read.", path=str(path)), tr("Change its permissions, or choose another.")) from wrong
    return found.files, found.skipped


class _Found:
    def __init__(self) -> None:
        self.files: list[SourceFile] = []
        self.skipped: list[Skipped] = []
        self._seen: set[Path] = set()

    def folder(self, top: Path, root: int) -> None:
        home = top.resolve()
        if is_saved_dataset(top):
            self._dataset(top, storable(home.name), root)
            return
        programmes: set[str] = set()
        for place, folders, names in os.walk(top):
            inside = Path(place).relative_to(top).as_posix()
            shown = storable(home.name if inside == "." else f"{home.name}/{inside}")
            lowered = {n.lower() for n in names}
            if lowered & PROJECT_FILES or Path(inside).parent.as_posix() in programmes and inside != ".":
                programmes.add(inside)
            folders[:] = sorted(self._wanted(Path(place), shown, folders, lowered, root))
            for name in sorted(names):
                if not name.startswith("."):
                    self.sort_in(Path(place) / name, f"{shown}/{name}", root, in_project=inside in programmes, home=home)

    def _wanted(self, place: Path, shown: str, folders: list[str], beside: set[str], root: int) -> Iterator[str]:
        """The folders to go into. Hidden ones are passed over; datasets are taken whole; the rest that is left out is listed."""
        for name in sorted(folders):
            path, called = place / name, f"{shown}/{storable(name)}"
            if name.startswith("."):
                continue
            if path.is_symlink():
                self.skipped.append(Skipped(called, tr("a link to another folder")))
            elif reason := folder_reason(name, beside, (path / "pyvenv.cfg").exists()):
                self.skipped.append(Skipped(called, reason))
            elif is_saved_dataset(path):
                self._dataset(path, called, root)
            else:
                yield name

    def _dataset(self, path: Path, name: str, root: int) -> None:
        if (real := path.resolve()) in self._seen:
            self.skipped.append(Skipped(name, tr("given twice")))
            return
        self._seen.add(real)
        size = sum(p.stat().st_size for p in path.rglob("*.arrow") if p.is_file())
        self.files.append(SourceFile(path, name, "hf", size, root))

    def sort_in(self, path: Path, name: str, root: int, *, given: bool = False, in_project: bool = False, home: Path | None = None) -> None:
        """Put a file among those that are read or, with the reason, among those that are not."""
        real, name = Path(os.path.realpath(path)), storable(name)  # Path.resolve raises at a link that leads to itself
        if home is not None and path.is_symlink() and not _belongs(real, home):
            self.skipped.append(Skipped(name, tr("a link that leads out of the folder")))
            return
        if real in self._seen:
            self.skipped.append(Skipped(name, tr("given twice")))
            return
        self._seen.add(real)
        try:
            if not path.is_file():
                self.skipped.append(Skipped(name, tr("not a file")))
                return
            size = path.stat().st_size
            with open(path, "rb") as file:
                start = file.read(START)
        except OSError as wrong:
            self.skipped.append(Skipped(name, tr("cannot be opened: {reason}", reason=wrong.strerror or str(wrong))))
            return
        found = kind_of(path.name, start, given=given, in_project=in_project or path.name.lower() in LOCKS)
        if found.reason:
            self.skipped.append(Skipped(name, found.reason))
        else:
            self.files.append(SourceFile(path, name, found.kind, size, root, found.packing))


def _belongs(real: Path, home: Path) -> bool:
    """Whether a link's target lies in the folder that was given, or in the same download of the Hugging Face cache, whose files are links
    to a folder beside it."""
    cache = next((p for p in home.parents if p.name.startswith(("datasets--", "models--"))), home)
    return real.is_relative_to(home) or real.is_relative_to(cache)


def is_saved_dataset(folder: Path) -> bool:
    """Whether `datasets` wrote this folder with `save_to_disk`."""
    if (folder / "dataset_dict.json").is_file():
        return True
    if not (folder / "state.json").is_file() or not (folder / "dataset_info.json").is_file():
        return False
    try:
        if (folder / "state.json").stat().st_size > 10_000_000:
            return False
        return "_data_files" in json.loads((folder / "state.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
