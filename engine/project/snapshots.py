"""What of the library goes into a run's inputs when it is made: workers never open the library, a run stays what it was made from."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from engine.project import files, layout
from engine.project.library import Library


def _decisions(library: Library) -> dict[str, bool]:
    return {id: made.keep for id, made in library.decisions().items()}


def _harm_labels(library: Library) -> list[dict[str, Any]]:
    return [{"document": row.document, "kind": row.kind, "harmful": row.harmful, "text": row.text} for row in library.harm_labels()]


ROWS: dict[str, Callable[[Library], Any]] = {"decisions": _decisions, "harm_labels": _harm_labels}


def take(project: Path, names: Sequence[str], folder: Path) -> None:
    """Write the rows called `names` into `folder`, one JSON file each; none where the project has no library yet."""
    if not names or not layout.library_file(project).exists():
        return
    library = Library(project)
    try:
        for name in names:
            if rows := ROWS[name](library):
                files.write_json(layout.input_file(folder, name), rows)
    finally:
        library.close()


def given(run_dir: Path, name: str, default: Any) -> Any:
    """The rows called `name` that this run was made with."""
    return files.read_json(layout.input_file(run_dir, name), default)
