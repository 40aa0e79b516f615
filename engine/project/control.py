"""How a person reaches a run under way: one small file in its folder, replaced at each command, looked at each step.

The file belongs to one attempt: whoever starts a worker clears it, and so does the worker when it leaves. What lies there when a worker
looks for the first time was therefore asked of it, be it while it was still starting.
"""

import os
from pathlib import Path

from engine.contract.context import Command
from engine.project import files, layout

NOTHING = (0, 0, 0)
WORDS = ("stop", "stop_save", "pause", "save", "resume")


def send(run_dir: Path, word: str) -> None:
    """Ask the run: stop, stop_save, pause, save, resume."""
    assert word in WORDS, word
    path = layout.control_file(run_dir)
    before = files.read_json(path, {})
    serial = int(before.get("serial", 0)) + 1 if isinstance(before, dict) else 1
    files.write_json(path, {"word": word, "serial": serial})


def clear(run_dir: Path) -> None:
    """Forget what was asked: an attempt is over, or one begins."""
    files.remove(layout.control_file(run_dir))


class ControlReader:
    """Gives each command once. A look costs one stat while nothing has changed."""

    def __init__(self, run_dir: Path) -> None:
        self._path = layout.control_file(run_dir)
        self._seen = NOTHING

    def __call__(self) -> Command | None:
        stamp = self._stamp()
        if stamp == self._seen:
            return None
        raw = files.read_json(self._path)
        if not isinstance(raw, dict) or raw.get("word") not in WORDS:
            return None
        self._seen = stamp
        return Command(str(raw["word"]), int(raw.get("serial", 0)))

    def _stamp(self) -> tuple[int, int, int]:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return NOTHING
        return (found.st_mtime_ns, found.st_ino, found.st_size)
