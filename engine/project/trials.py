"""Trials: completions of a model to problems, sampled once and scored as often as a verifier changes. Where they lie and how they are read
and written; who samples is engine/stages/grpo/trial.py, who scores engine/verifiers/desk.py.

    trials/<key>.json         what is asked: settings, and the problems as they were
    trials/<key>.part.jsonl   groups as they come, whole lines, flushed; a line a kill cut off is written again
    trials/<key>.jsonl        the same, whole

The key is a hash of all that decides what is sampled, so that the same question finds its answer again, and nothing stale is taken for it.
No part of the lineage: the folder can be deleted at any time, and only the newest trials are kept.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from engine.contract.errors import FormatError
from engine.contract.rows import Problem
from engine.contract.words import tr
from engine.project import files, layout

KEPT = 30
"""Trials of a project that stay on the disk."""


@dataclass(frozen=True)
class TrialSettings:
    """How a model is tried, as GRPO would sample it. k: completions to each problem. template, system as GrpoSpec has them. seed as a
    run's: completions depend on it, the problem and their place alone."""

    model: str
    k: int = 8
    max_new_tokens: int = 128
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0
    template: str = ""
    system: str = ""

    @classmethod
    def check(cls, given: Any) -> "TrialSettings":
        """Of JSON. FormatError."""
        known = {one.name: one.type for one in fields(cls)}
        if not isinstance(given, dict) or given.keys() - known.keys() or not isinstance(given.get("model"), str):
            raise _unreadable("settings")
        kinds: dict[Any, tuple[type, ...]] = {int: (int,), float: (int, float), str: (str,)}
        for name, value in given.items():
            if isinstance(value, bool) or not isinstance(value, kinds[known[name]]):
                raise _unreadable(name)
        made = cls(**given)
        for name, fits in (("k", 1 <= made.k <= 4096), ("max_new_tokens", 1 <= made.max_new_tokens <= 131_072),
                           ("temperature", 0 < made.temperature <= 5), ("top_p", 0 < made.top_p <= 1), ("top_k", made.top_k >= 0)):
            if not fits:
                raise _unreadable(name)
        return made


@dataclass(frozen=True)
class Completion:
    """`finish` "stop" or "length"; `tokens` with the one that ended it."""

    text: str
    finish: str = "stop"
    tokens: int = 0


@dataclass(frozen=True)
class Group:
    """A problem and what the model answered, or why it could not be asked (`left_out`, no completions then)."""

    problem: Problem
    completions: tuple[Completion, ...] = ()
    left_out: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"problem": self.problem.model_dump(mode="json"), "completions": [asdict(one) for one in self.completions],
                "left_out": self.left_out}

    @classmethod
    def of(cls, said: Any) -> "Group":
        return cls(Problem.model_validate(said["problem"]), tuple(Completion(**one) for one in said["completions"]),
                   str(said.get("left_out", "")))


@dataclass(frozen=True)
class Trial:
    """A trial of a project by its key; whether anything of it is there, the disk says."""

    project_dir: Path
    key: str

    @property
    def given(self) -> Path:
        return layout.trials(self.project_dir) / f"{self.key}.json"

    @property
    def part(self) -> Path:
        return layout.trials(self.project_dir) / f"{self.key}.part.jsonl"

    @property
    def whole(self) -> Path:
        return layout.trials(self.project_dir) / f"{self.key}.jsonl"

    @property
    def lock(self) -> Path:
        """Held by who samples."""
        return layout.trials(self.project_dir) / f"{self.key}.lock"

    @property
    def path(self) -> Path | None:
        """Where there are groups to read: all, else some, else None."""
        return next((path for path in (self.whole, self.part) if path.is_file()), None)


def key_of(settings: TrialSettings, problems: Sequence[Problem]) -> str:
    """20 hex digits of a hash of the settings and of the problems' ids in their order."""
    said = json.dumps([asdict(settings), [problem.id for problem in problems]], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:20]


def prepare(project_dir: Path, settings: TrialSettings, problems: Sequence[Problem]) -> Trial:
    """Write down what is asked, for the process that samples; older trials beyond KEPT are deleted."""
    trial = Trial(project_dir, key_of(settings, problems))
    folder = layout.trials(project_dir)
    folder.mkdir(exist_ok=True)
    files.write_json(trial.given, {"settings": asdict(settings), "problems": [p.model_dump(mode="json") for p in problems]})
    given = sorted((p for p in folder.glob("*.json") if p != trial.given), key=lambda p: p.stat().st_mtime, reverse=True)
    for old in given[KEPT - 1:]:
        key = old.name.removesuffix(".json")
        for path in folder.glob(f"{key}.*"):
            path.unlink(missing_ok=True)
    return trial


def asked(trial: Trial) -> tuple[TrialSettings, list[Problem]]:
    """What `prepare` wrote. FormatError."""
    try:
        said = json.loads(trial.given.read_text("utf-8"))
        return TrialSettings.check(said["settings"]), [Problem.model_validate(row) for row in said["problems"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise _unreadable(trial.given.name) from None


def read(path: Path, start: int = 0) -> Iterator[tuple[int, Group]]:
    """(offset behind its line, group) of whole lines, from an offset on; a last line without its end is not there yet. FormatError where a
    whole line is no group."""
    with path.open("rb") as file:
        file.seek(start)
        offset = start
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                yield offset, Group.of(json.loads(line))
            except (ValueError, KeyError, TypeError):
                raise _unreadable(path.name) from None


def count(trial: Trial) -> int:
    """Groups that are there."""
    for path in (trial.part, trial.whole, trial.part):     # it may be renamed between a look and the next
        try:
            with path.open("rb") as file:
                return sum(line.endswith(b"\n") for line in file)
        except FileNotFoundError:
            continue
    return 0


class Writer:
    """Appends groups; goes on behind the last whole line. `there`: how many groups stood there already."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.there, end = 0, 0
        if trial.part.is_file():
            for offset, _ in read(trial.part):
                self.there, end = self.there + 1, offset
        self._file = trial.part.open("r+b" if trial.part.is_file() else "w+b")
        self._file.truncate(end)
        self._file.seek(end)

    def add(self, groups: Sequence[Group]) -> None:
        """On the disk when it returns."""
        for group in groups:
            self._file.write(json.dumps(group.to_json(), ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def finish(self) -> Path:
        """All groups are there."""
        self._file.close()
        os.replace(self.trial.part, self.trial.whole)
        return self.trial.whole

    def close(self) -> None:
        self._file.close()


def _unreadable(what: str) -> FormatError:
    return FormatError(tr("The trial cannot be read: {what}.", what=what), tr("Sample it again."), code="trial")
