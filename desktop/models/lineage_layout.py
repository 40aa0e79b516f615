"""Where the boxes of the lineage stand: columns by stage, rows so that lines are short and seldom cross. Numbers only; no Qt, no words.

Layers after Sugiyama: an edge that passes a column gets a lane in it (edges of one parent share it), orders come from averaging the
neighbours' places a few times, and heights from the least squares that keep the order and the distances (pooling neighbours that would
overlap). A graph of 200 boxes takes some milliseconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ROUNDS = 6
LANE = 10.0


@dataclass(frozen=True)
class Box:
    """One box to be placed: its column, its parents' ids."""

    id: str
    column: int
    parents: tuple[str, ...] = ()


@dataclass(frozen=True)
class Placed:
    """`y` is the middle of each box; `lanes` {(parent, column): middle of the lane of its long edges}; `height` of all, `order` the ids of
    each column from the top."""

    y: dict[str, float]
    lanes: dict[tuple[str, int], float]
    columns: dict[str, int]
    order: tuple[tuple[str, ...], ...]
    height: float


Item = tuple[str, int]
"""A box (id, -1), or the lane of a parent in a column (id, column)."""


def place(boxes: Sequence[Box], height: float, gap: float) -> Placed:
    """Place boxes of one `height` with at least `gap` between them."""
    known = {box.id: box for box in boxes}
    count = max((box.column for box in boxes), default=-1) + 1
    columns: list[list[Item]] = [[] for _ in range(count)]
    for box in boxes:
        columns[box.column].append((box.id, -1))
    near: dict[Item, list[Item]] = {(box.id, -1): [] for box in boxes}
    where: dict[Item, int] = {(box.id, -1): box.column for box in boxes}

    def join(one: Item, other: Item) -> None:
        near.setdefault(one, []).append(other)
        near.setdefault(other, []).append(one)

    for box in boxes:
        for parent in box.parents:
            if parent not in known:
                continue
            before: Item = (parent, -1)
            for column in range(known[parent].column + 1, box.column):
                lane: Item = (parent, column)
                if lane not in where:
                    where[lane] = column
                    columns[column].append(lane)
                    join(before, lane)
                before = lane
            join(before, (box.id, -1))
    _order(columns, near, where)
    y = _heights(columns, near, where, height, gap)
    top = min((y[item] - (height if item[1] < 0 else LANE) / 2 for item in y), default=0.0)
    bottom = max((y[item] + (height if item[1] < 0 else LANE) / 2 for item in y), default=0.0)
    return Placed({id: value - top for (id, lane), value in y.items() if lane < 0},
                  {item: value - top for item, value in y.items() if item[1] >= 0}, {box.id: box.column for box in boxes},
                  tuple(tuple(id for id, lane in column if lane < 0) for column in columns), bottom - top)


def _order(columns: list[list[Item]], near: Mapping[Item, list[Item]], where: Mapping[Item, int]) -> None:
    """Sort each column by the mean place of its neighbours, to and fro; of one column, a child stands below its parent."""
    place = {item: float(i) for column in columns for i, item in enumerate(column)}
    for turn in range(ROUNDS):
        sequence = range(len(columns)) if turn % 2 == 0 else range(len(columns) - 1, -1, -1)
        for number in sequence:
            side = -1 if turn % 2 == 0 else 1
            keys: dict[Item, float] = {}
            for item in columns[number]:
                others = [place[o] for o in near.get(item, ()) if (where[o] - number) * side > 0] or \
                         [place[o] for o in near.get(item, ()) if where[o] != number]
                keys[item] = sum(others) / len(others) if others else place[item]
            rank = {item: i for i, item in enumerate(columns[number])}
            columns[number].sort(key=lambda item: (keys[item], rank[item]))
            _below_parents(columns[number], near, where)
            scale = max(1, len(columns[number]) - 1)
            for i, item in enumerate(columns[number]):
                place[item] = i / scale * 100


def _below_parents(column: list[Item], near: Mapping[Item, list[Item]], where: Mapping[Item, int]) -> None:
    """Children of boxes in their own column follow these directly."""
    inside = set(column)
    first = {item: i for i, item in enumerate(column)}
    made: list[Item] = []
    seen: set[Item] = set()
    joined = {item: [o for o in near.get(item, ()) if o in inside] for item in column}
    if not any(joined.values()):
        return
    for start in column:
        stack = [start]
        while stack:
            item = stack.pop()
            if item in seen:
                continue
            seen.add(item)
            made.append(item)
            stack += sorted((o for o in joined[item] if o not in seen), key=lambda o: -first[o])
    column[:] = made


def _heights(columns: Sequence[Sequence[Item]], near: Mapping[Item, list[Item]], where: Mapping[Item, int], height: float,
             gap: float) -> dict[Item, float]:
    def size(item: Item) -> float:
        return height if item[1] < 0 else LANE

    y: dict[Item, float] = {}
    for column in columns:
        at = -sum(size(item) + gap for item in column) / 2
        for item in column:
            y[item] = at + size(item) / 2
            at += size(item) + gap
    for turn in range(ROUNDS):
        sequence = range(len(columns)) if turn % 2 else range(len(columns) - 1, -1, -1)
        for number in sequence:
            column = columns[number]
            wanted, weights = [], []
            for item in column:
                others = [y[o] for o in near.get(item, ()) if where[o] != number]
                wanted.append(sum(others) / len(others) if others else y[item])
                weights.append(0.05 if not others else 4.0 if item[1] >= 0 else 1.0)  # lanes are kept straight
            apart = [0.0]
            for above, item in zip(column, column[1:], strict=False):
                apart.append(apart[-1] + (size(above) + size(item)) / 2 + gap)
            level = _rising([w - a for w, a in zip(wanted, apart, strict=True)], weights)
            for item, value, a in zip(column, level, apart, strict=True):
                y[item] = value + a
    return y


def _rising(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The closest never-falling numbers to `values` in weighted least squares (pool adjacent violators)."""
    blocks: list[list[float]] = []  # mean, weight, how many
    for value, weight in zip(values, weights, strict=True):
        blocks.append([value, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, heavy, many = blocks.pop()
            before = blocks[-1]
            total = before[1] + heavy
            blocks[-1] = [(before[0] * before[1] + mean * heavy) / total, total, before[2] + many]
    return [mean for mean, _, many in blocks for _ in range(int(many))]
