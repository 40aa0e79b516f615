"""The person's recent projects, newest first, in their own folder."""

import time
from dataclasses import dataclass
from pathlib import Path

from engine.project import files, layout

KEPT = 50


@dataclass(frozen=True)
class Recent:
    path: str
    name: str
    opened: float

    @property
    def exists(self) -> bool:
        return layout.project_file(Path(self.path)).is_file()


def recent() -> list[Recent]:
    raw = files.read_json(layout.recent_file(), [])
    return [Recent(str(r["path"]), str(r.get("name", "")), float(r.get("opened", 0))) for r in raw if isinstance(r, dict) and "path" in r]


def remember(path: Path, name: str) -> None:
    rest = [r for r in recent() if r.path != str(path)]
    _save([Recent(str(path), name, time.time()), *rest])


def forget(path: str) -> None:
    _save([r for r in recent() if r.path != path])


def _save(entries: list[Recent]) -> None:
    files.write_json(layout.recent_file(), [{"path": r.path, "name": r.name, "opened": r.opened} for r in entries[:KEPT]])
