"""Which verifiers were checked on which problems: kept in the project by the hash of what was checked, so that the rail can say so. What a
check found is shown by the workbench; nothing here runs one. No Qt."""

from pathlib import Path
from time import time
from typing import Any

from engine.contract.composition import digest
from engine.project import files, layout
from engine.project.project import Project

KEPT = 200


def keep(project: Project, body: str, failing: int, problems: int) -> None:
    """That this body was checked on so many problems, now."""
    held = read(project.dir)
    held.pop(digest(body), None)
    held[digest(body)] = {"failing": failing, "problems": problems, "made": time()}
    files.write_json(layout.verifier_checks(project.dir), dict(list(held.items())[-KEPT:]))


def read(project_dir: Path) -> dict[str, Any]:
    """{sha256 of a body: {"failing", "problems", "made"}}; nothing where nothing was checked. What cannot be read counts as nothing."""
    held = files.read_json(layout.verifier_checks(project_dir), {})
    return held if isinstance(held, dict) else {}
