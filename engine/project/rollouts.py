"""A run's rollouts: what the policy wrote to be trained on, with rewards, a file a round. No torch.

    runs/<id>/rollouts/step-00000004.jsonl     a Rollout a line; written by the weights that stood after 4 steps, learned from in step 5

A file is written aside and renamed: a reader sees the whole of it or nothing. A round sampled again (after a crash) replaces its file by
the same one. Of several processes each writes its own share ("step-00000004-1.jsonl").
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from engine.contract.errors import Corrupt
from engine.contract.rows import Rollout
from engine.contract.words import tr
from engine.project import files, layout

NAME = re.compile(r"step-([0-9]{8,})(?:-([0-9]+))?\.jsonl")


def write(run_dir: Path, step: int, rows: Iterable[Rollout], rank: int = 0) -> Path:
    """A round's rollouts, whole or not at all. Raises DiskFull."""
    folder = layout.rollouts(run_dir)
    path = folder / (f"step-{step:08d}.jsonl" if rank == 0 else f"step-{step:08d}-{rank}.jsonl")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as wrong:
        raise files.disk_error(wrong, folder) from wrong
    files.write_bytes(path, b"".join(row.model_dump_json().encode() + b"\n" for row in rows))
    return path


def steps(run_dir: Path) -> list[int]:
    """Those that there are rollouts of, in order."""
    return sorted({int(found[1]) for path in _names(run_dir) if (found := NAME.fullmatch(path.name))})


def rows(run_dir: Path, step: int, naming: str = "") -> Iterator[Rollout]:
    """The rollouts of a step, streamed; none where it has none. Only lines in which `naming` stands, as written, are read. Raises
    Corrupt."""
    wanted = naming.encode()
    shares = {int(found[2] or 0): path for path in _names(run_dir) if (found := NAME.fullmatch(path.name)) and int(found[1]) == step}
    for _, path in sorted(shares.items()):
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if wanted not in line:
                    continue
                try:
                    yield Rollout.model_validate_json(line)
                except ValidationError as wrong:
                    raise Corrupt(tr("{file}, line {line}: no rollout.", file=path.name, line=number),
                                  tr("The run's files were changed by something else.")) from wrong


def forget_from(run_dir: Path, step: int) -> None:
    """Remove what was sampled after `step` steps or later: the run continues from there, and samples it again."""
    for path in _names(run_dir):
        found = NAME.fullmatch(path.name)
        if found and int(found[1]) >= step:
            path.unlink(missing_ok=True)


def _names(run_dir: Path) -> list[Path]:
    folder = layout.rollouts(run_dir)
    return list(folder.iterdir()) if folder.is_dir() else []
