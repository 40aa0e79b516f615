"""Writes the map of the source in engine/README.md: a line a file, taken from the file's own first sentence.

The text around the map is written by people and stays. `python packaging/tree.py` writes it; `--check` only tells whether it is current.
"""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "engine" / "README.md"
FOLDERS = ("engine", "desktop", "packaging")
BEGIN, END = "<!-- map: written by packaging/tree.py -->", "<!-- end of the map -->"


def sentence(path: Path) -> str:
    """The first sentence of a file's docstring, on one line."""
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first = " ".join(said.split("\n\n")[0].split())
    return re.split(r"(?<=[.!?]) (?=[A-Z])", first, maxsplit=1)[0]


def tree(root: Path = ROOT) -> str:
    """The map: folders as headings, files below them. Packages without words of their own are left out."""
    lines: list[str] = []
    for folder in FOLDERS:
        for place in [root / folder, *sorted(path for path in (root / folder).rglob("*") if path.is_dir() and path.name != "__pycache__")]:
            files = [path for path in sorted(place.glob("*.py")) if path.name != "__init__.py" or sentence(path)]
            if files:
                lines += ["", f"### {place.relative_to(root).as_posix()}/", ""]
                lines += [f"- `{path.name}` {sentence(path)}".rstrip() for path in files]
    return "\n".join(lines).strip("\n")


def main(arguments: list[str]) -> int:
    text = TARGET.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    assert found, f"{TARGET} has no place for the map"
    made = f"{before}{BEGIN}\n\n{tree()}\n\n{END}{after}"
    if arguments == ["--check"]:
        return 0 if made == text else 1
    if arguments:
        print(__doc__)
        return 2
    TARGET.write_text(made, encoding="utf-8", newline="\n")
    print(f"{TARGET.relative_to(ROOT)}: {made.count(chr(10) + '- `')} files")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
