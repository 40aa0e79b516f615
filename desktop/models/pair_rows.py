"""The last pairs of a run as they come, read from the end of its rows. No Qt; never the whole file."""

from pathlib import Path

from pydantic import ValidationError

from engine.contract.rows import Pair

TAIL = 1 << 17


class ArrivedPairs:
    """`last(count)`: the newest first. A line that is no pair, or half of one, is passed over."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def last(self, count: int) -> list[Pair]:
        try:
            with open(self.path, "rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - TAIL))
                lines = file.read().split(b"\n")
        except FileNotFoundError:
            return []
        found: list[Pair] = []
        for line in reversed(lines[:-1] if size <= TAIL else lines[1:-1]):
            try:
                found.append(Pair.model_validate_json(line))
            except ValidationError:
                continue
            if len(found) == count:
                break
        return found
