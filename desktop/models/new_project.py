"""The New-project wizard without Qt: what was chosen, what is wrong with it, which step comes next, and making it."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from engine.contract.spec import Problem
from engine.contract.words import tr
from engine.project import layout
from engine.project.project import Project, place_warning

STEPS = ("start", "place", "machine")
TEXT, DEMO = "text", "demo"


def default_parent() -> Path:
    """Where new projects go unless told otherwise: beside the last one, else Documents/Fledge or ~/Fledge."""
    documents = Path.home() / "Documents"
    return (documents if documents.is_dir() else Path.home()) / "Fledge"


def folder_name(name: str) -> str:
    """A project's name as a folder's: "Lowland Gazette" -> "lowland-gazette"."""
    return re.sub(r"[^\w.-]+", "-", name.strip().lower()).strip("-.") or "project"


@dataclass
class NewProject:
    """`start`: text (the person's own) or demo (the generated world). The folder follows the name until it is chosen by hand."""

    parent: Path = field(default_factory=default_parent)
    start: str = TEXT
    name: str = ""
    quick: bool = False
    step: str = STEPS[0]
    _folder: str = ""

    @property
    def shown_name(self) -> str:
        """The name, or the one it gets when none is written."""
        return self.name.strip() or (tr("Guided tour") if self.start == DEMO else tr("My model"))

    @property
    def folder(self) -> Path:
        return Path(self._folder).expanduser() if self._folder.strip() else self._free(self.parent / folder_name(self.shown_name))

    def set_folder(self, folder: str) -> None:
        """A folder chosen by hand; empty: from the name again."""
        self._folder = folder

    @property
    def chosen_by_hand(self) -> bool:
        return bool(self._folder.strip())

    @property
    def number(self) -> int:
        return STEPS.index(self.step)

    @property
    def last(self) -> bool:
        return self.step == STEPS[-1]

    def problems(self) -> list[Problem]:
        """What keeps this step from being left; the field is "name" or "folder"."""
        if self.step == "start":
            return []
        folder = self.folder
        if not folder.is_absolute():
            return [Problem("folder", tr("{folder} is not a whole path.", folder=str(folder)), tr("Begin it with /, or choose a folder."))]
        if layout.project_file(folder).exists():
            return [Problem("folder", tr("There is a project in {folder} already.", folder=str(folder)),
                            tr("Open it, or choose another folder."))]
        if folder.exists() and not folder.is_dir():
            return [Problem("folder", tr("{folder} is a file.", folder=str(folder)), tr("Choose a new or an empty folder."))]
        try:
            full = folder.is_dir() and any(not p.name.startswith(".") for p in folder.iterdir())
        except PermissionError:
            full = False
        if full:
            return [Problem("folder", tr("{folder} is not empty.", folder=str(folder)), tr("Choose a new or an empty folder."))]
        nearest = next(p for p in (folder, *folder.parents) if p.exists())
        if not nearest.is_dir() or not os.access(nearest, os.W_OK):
            return [Problem("folder", tr("{folder} cannot be written.", folder=str(nearest)), tr("Choose a folder of your own."))]
        return []

    def warning(self) -> str:
        """A risk of the place that does not forbid it, "" when there is none."""
        return place_warning(self.folder) if self.folder.is_absolute() else ""

    def next(self) -> bool:
        """To the next step, if nothing is in the way of leaving this one."""
        if self.last or self.problems():
            return False
        self.step = STEPS[self.number + 1]
        return True

    def back(self) -> None:
        self.step = STEPS[max(0, self.number - 1)]

    def create(self) -> Project:
        """Make the project of a person's own text; a FledgeError says why it cannot be. The demo makes its own (see `demo_command`)."""
        assert self.start == TEXT
        return Project.create(self.folder, self.shown_name)

    def demo_command(self) -> list[str]:
        """What the engine's interpreter is given for the guided tour."""
        return ["-m", "engine.cli", "demo", str(self.folder), *(["--quick"] if self.quick else []), "--json"]

    @staticmethod
    def _free(folder: Path) -> Path:
        """The folder, or with a number behind it where one of that name exists already."""
        made, number = folder, 2
        while made.exists() and any(made.iterdir() if made.is_dir() else [made]):
            made, number = folder.with_name(f"{folder.name}-{number}"), number + 1
        return made
