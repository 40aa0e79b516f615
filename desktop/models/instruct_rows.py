"""The rows of a generation as they come: where each lies in rows.jsonl, and what they come to (kept, set aside by reason, scores, models).
No Qt; it reads one line when it is asked for a row, never the whole file."""

import json
from array import array
from collections import Counter
from pathlib import Path
from typing import Any

from engine.contract.rows import Example

SCORES = range(1, 11)


class Arrived:
    """`take(offset, line)` for every line, in order; `rows(start, count)` reads some again. A line that is no row is counted as torn."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offsets = array("Q")
        self.kept = 0
        self.flags: Counter[str] = Counter()
        self.scores: Counter[int] = Counter()
        self.kept_scores: Counter[int] = Counter()
        self.written: Counter[str] = Counter()
        self.written_kept: Counter[str] = Counter()
        self.pairs = 0
        self.torn = 0
        self._ids: set[str] = set()

    @property
    def count(self) -> int:
        return len(self.offsets)

    @property
    def set_aside(self) -> int:
        return self.count - self.kept

    def take(self, offset: int, line: bytes) -> None:
        try:
            raw: Any = json.loads(line)
            id, flags, facts, origin = str(raw["id"]), raw.get("flags") or (), raw.get("facts") or {}, str(raw.get("origin") or "")
        except (ValueError, KeyError, TypeError, AttributeError):
            self.torn += 1
            return
        if id in self._ids:
            return
        self._ids.add(id)
        self.offsets.append(offset)
        self.written[origin] += 1
        score = raw.get("score")
        near = min(10, max(1, round(float(score)))) if isinstance(score, (int, float)) else None
        if near is not None:
            self.scores[near] += 1
        if flags:
            self.flags[str(flags[0])] += 1
        else:
            self.kept += 1
            self.written_kept[origin] += 1
            if near is not None:
                self.kept_scores[near] += 1
        self.pairs += bool(facts.get("rejected"))

    def rows(self, start: int, count: int) -> list[Example]:
        """Rows in the order they came."""
        made = []
        with open(self.path, "rb") as file:
            for offset in self.offsets[start:start + count]:
                file.seek(offset)
                made.append(Example.model_validate_json(file.readline()))
        return made

    def histogram(self, kept: bool = False) -> list[tuple[int, int]]:
        """(score, rows) for 1 to 10."""
        found = self.kept_scores if kept else self.scores
        return [(score, found[score]) for score in SCORES]
