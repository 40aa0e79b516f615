"""Documents with planted duplicates, the same every time: what duplicates are tested with, and what their speed is measured on."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from engine.text.parts import CLEAN, part_name, write_part

SHARE, LEAST = 0.2, 0.85
"""Near duplicates among the documents, and their true similarity at least."""
LETTERS = "etaoinshrdlucmfwypvbgk"


class Planted(NamedTuple):
    """kind: "own", "near" (an edited copy), "exact" (equal but for case and punctuation), "excerpt". original: number of what it copies."""

    text: str
    kind: str = "own"
    original: int = -1


def documents(count: int, seed: int = 11, exact: float = 0.0, excerpts: float = 0.0) -> Iterator[Planted]:
    """`count` documents of about 200 words drawn by Zipf's law; 20 % are copies with one to three edits, each with at least LEAST of the
    sequences of five words in common with its original. Copies follow their originals at any distance."""
    rng = np.random.default_rng(seed)
    letters = np.array(list(LETTERS))
    vocabulary = np.array(sorted({"".join(rng.choice(letters, rng.integers(2, 11))) for _ in range(60_000)}))
    rng.shuffle(vocabulary)
    chances = 1 / (np.arange(len(vocabulary)) + 3)
    edges = np.cumsum(chances / chances.sum())
    own: list[tuple[int, np.ndarray]] = []
    for number in range(count):
        lot = rng.random()
        if len(own) < 20 or lot >= SHARE + exact + excerpts:
            ids = np.searchsorted(edges, rng.random(int(rng.integers(150, 251)))).astype(np.int32)
            own.append((number, ids))
            yield Planted(_written(vocabulary[ids], rng))
            continue
        original, ids = own[int(rng.integers(len(own)))]
        if lot < SHARE:
            while True:
                copy = _edited(ids, len(vocabulary), rng)
                if true_jaccard(ids.tolist(), copy.tolist()) >= LEAST:
                    break
            yield Planted(_written(vocabulary[copy], rng), "near", original)
        elif lot < SHARE + exact:
            yield Planted(_written(vocabulary[ids], rng).upper(), "exact", original)
        else:
            length = int(rng.integers(50, 91))
            start = int(rng.integers(0, len(ids) - length))
            yield Planted(_written(vocabulary[ids[start:start + length]], rng), "excerpt", original)


def _edited(ids: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    copy = ids.copy()
    for _ in range(int(rng.integers(1, 4))):
        place, how = int(rng.integers(len(copy))), rng.integers(3)
        if how == 0:
            copy[place] = rng.integers(size)
        elif how == 1:
            copy = np.delete(copy, place)
        else:
            copy = np.insert(copy, place, rng.integers(size))
    return copy


def _written(words: Sequence[str], rng: np.random.Generator) -> str:
    """Sentences: capitals, commas, full stops, now and then a new line."""
    made: list[str] = []
    at = 0
    while at < len(words):
        until = at + int(rng.integers(6, 19))
        made.append(" ".join(words[at:until]).capitalize() + (".\n" if rng.random() < 0.15 else ". "))
        at = until
    return "".join(made).strip()


def true_jaccard(a: Sequence[Any], b: Sequence[Any], n: int = 5) -> float:
    """Shared over all sequences of n items."""
    one, other = ({tuple(x[i:i + n]) for i in range(max(1, len(x) - n + 1))} for x in (a, b))
    return len(one & other) / len(one | other)


def write_parts(folder: Path, texts: Iterable[str | dict[str, Any]], per_part: int = 15_000) -> None:
    """Clean parts of these texts; a dict gives other columns too. Without a place of its own each text is a file of one document."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    part = number = 0
    for given in texts:
        row = given if isinstance(given, dict) else {"text": given}
        rows.append({"id": f"{number:032x}", "root": 0, "file": number, "document": 0, "source": f"{number}.txt", "touched": [],
                     "quality": 0.0, **row})
        number += 1
        if len(rows) == per_part:
            _write(folder / part_name(part), rows)
            rows, part = [], part + 1
    if rows or not part:
        _write(folder / part_name(part), rows)


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    write_part(path, pa.table({f.name: pa.array([row.get(f.name) for row in rows], f.type) for f in CLEAN}, schema=CLEAN))


def peak_memory(pid: int | None = None) -> int:
    """Bytes of physical memory this process (or `pid`) has held at most, as Linux counts (VmHWM); 0 where it does not say."""
    try:
        lines = Path(f"/proc/{pid or os.getpid()}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
