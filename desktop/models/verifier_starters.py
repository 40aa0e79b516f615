"""The verifiers to begin with, as they lie in resources/verifiers: read, never run. No Qt."""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

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


@cache
def starters() -> tuple[Starter, ...]:
    """In the order of their names."""
    found = []
    for path in sorted(FOLDER.glob("*.py")):
        if path.stem.startswith("_"):
            continue
        source = path.read_text(encoding="utf-8")
        said = (ast.get_docstring(ast.parse(source)) or "").strip()
        title, _, rest = said.partition("\n")
        found.append(Starter(path.stem, title.strip().rstrip(".") or path.stem, " ".join(rest.split()), source))
    return tuple(found)
