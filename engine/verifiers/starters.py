"""The verifiers that come with Fledge, to begin with: files in resources/verifiers. Read, never run."""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from engine.contract.errors import NotFound
from engine.contract.words import tr

FOLDER = Path(__file__).resolve().parents[2] / "resources" / "verifiers"


@dataclass(frozen=True)
class Starter:
    """`title` is the first line of the file's docstring, `help` the rest of it."""

    name: str
    title: str
    help: str
    source: str

    @property
    def file(self) -> str:
        return f"{self.name}.py"

    @property
    def origin(self) -> str:
        """Of a verifier that was made of it."""
        return f"starter:{self.name}"


@cache
def starters() -> tuple[Starter, ...]:
    """In the order of their names."""
    return tuple(_read(path) for path in sorted(FOLDER.glob("*.py")) if not path.stem.startswith("_"))


def starter(name: str) -> Starter:
    """By its name, with or without .py. NotFound says which there are."""
    found = next((one for one in starters() if one.name == name.removesuffix(".py")), None)
    if found is None:
        raise NotFound(tr("No verifier called {name} comes with Fledge.", name=name),
                       tr("There are: {known}.", known=", ".join(one.name for one in starters())))
    return found


def title_of(source: str) -> str:
    """What a source calls itself: the first line of its docstring, "" for none. It need not be Python."""
    try:
        return (ast.get_docstring(ast.parse(source)) or "").strip().partition("\n")[0].strip().rstrip(".")[:200]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""


def _read(path: Path) -> Starter:
    source = path.read_text(encoding="utf-8")
    title, _, rest = (ast.get_docstring(ast.parse(source)) or "").strip().partition("\n")
    return Starter(path.stem, title.strip().rstrip(".") or path.stem, " ".join(rest.split()), source)
