"""The recipes that come with Fledge and those in the project's own folder, as cards; copies of them, and what a person's edit comes to.

What a recipe is and does is the engine's matter; loading one never runs it. Called in a thread: reading them brings in numpy.
"""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

from desktop.models.instruct_plan import RecipeChoice
from engine.contract.errors import FledgeError, ProjectError
from engine.contract.words import tr
from engine.project import files

ORDER = ("documents", "topics", "seeds", "conversations", "evolve", "reasoning", "answers", "translate")
"""Of the shipped ones, the most asked for first."""
SUFFIXES = (".toml", ".py")
LARGEST = 1_000_000
TITLE = re.compile(r'^(\s*title\s*=\s*")((?:[^"\\]|\\.)*)(")', re.MULTILINE)


def choices(folder: Path) -> list[RecipeChoice]:
    """Shipped ones, then those of `folder` by title. A file that is no recipe is there with what is wrong with it."""
    from engine.generators import recipe as recipes
    found = sorted((_choice(recipe) for recipe in recipes.listed()), key=lambda r: ORDER.index(r.id) if r.id in ORDER else len(ORDER))
    own = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.suffix in SUFFIXES and path.is_file():
            try:
                own.append(_choice(recipes.load(str(path))))
            except FledgeError as wrong:
                own.append(RecipeChoice(path.name, path.name, "", path=str(path), python=path.suffix == ".py", text=_text(path),
                                        problem=str(wrong)))
    return found + sorted(own, key=lambda r: r.title.casefold())


def _choice(recipe: object) -> RecipeChoice:
    from engine.generators.recipe import Recipe
    assert isinstance(recipe, Recipe)
    needs = tuple(n for n in recipe.needs if not (n.startswith("topics") and recipe.topics))  # it brings its own
    optional = tuple(name for n in recipe.needs if n not in needs for name in n.split("_or_"))
    return RecipeChoice(recipe.id, recipe.title, recipe.sentence, needs, optional, 1.0, recipe.path, recipe.python, recipe.text,
                        recipe.rubric)


def _text(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(LARGEST).decode("utf-8", "replace")
    except OSError:
        return ""


def copy(recipe: RecipeChoice, folder: Path) -> Path:
    """A copy of a recipe in the project's folder, to be edited. Its title says that it is one."""
    suffix = ".py" if recipe.python else ".toml"
    stem = re.sub(r"[^a-z0-9_-]+", "-", recipe.id.lower()).strip("-") or "recipe"
    place, number = folder / f"{stem}-copy{suffix}", 1
    while place.exists():
        number += 1
        place = folder / f"{stem}-copy-{number}{suffix}"
    title = tr("{title} (copy)", title=recipe.title) if number == 1 else tr("{title} (copy {number})", title=recipe.title, number=number)
    text = recipe.text if recipe.python else TITLE.sub(lambda hit: hit[1] + title.replace("\\", "\\\\").replace('"', '\\"') + hit[3],
                                                       recipe.text, count=1)
    save(place, text)
    return place


def save(path: Path, text: str) -> None:
    """Write a recipe's text in one step."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_bytes(path, text.encode())
    except OSError as wrong:
        raise ProjectError(tr("{path} cannot be written: {why}.", path=str(path), why=wrong.strerror or str(wrong)),
                           tr("Look whether you may write in the project's folder, and whether the disk has room."),
                           code="not_writable") from wrong


def judge(path: Path, text: str) -> RecipeChoice:
    """The recipe that `text` is, under that path; FormatError says what is wrong with it. Nothing is written."""
    from engine.generators import recipe as recipes
    return replace(_choice(recipes.load(path.name, text=text)), path=str(path))


def text_hash(text: str) -> str:
    """What a person confirms when they trust a program: the SHA-256 of exactly this text."""
    return hashlib.sha256(text.encode()).hexdigest()
