"""What the window remembers about the person: a small JSON file in their own folder, written in one step. No Qt.

Known keys: theme, scale, language, geometry, last_project, engine_python (read by engine/project/launch.py), advanced.<form>, seen_crash,
doctor.away.
"""

from pathlib import Path
from typing import Any

from engine.project import files


class Settings:
    """`get` and `set`; writing waits for `flush`, which the window calls a moment later and at its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        raw = files.read_json(path, {})
        self._values: dict[str, Any] = raw if isinstance(raw, dict) else {}
        self._changed: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        return self._values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        """None forgets the key."""
        if self._values.get(key) == value:
            return
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value
        self._changed.add(key)

    @property
    def waiting(self) -> bool:
        """Whether something is not on the disk yet."""
        return bool(self._changed)

    def flush(self) -> None:
        """Write what changed, over what another process may have written meanwhile."""
        if self._changed:
            raw = files.read_json(self.path, {})
            merged = raw if isinstance(raw, dict) else {}
            for key in self._changed:
                if key in self._values:
                    merged[key] = self._values[key]
                else:
                    merged.pop(key, None)
            files.write_json(self.path, merged)
            self._values, self._changed = merged, set()
