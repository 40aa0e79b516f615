"""What a chart computes before it draws: extremes a pixel, the smoothed line, ticks. numpy only; no Qt, no colours.

A Pyramid keeps minimum, maximum, sum and count of blocks of 16, 256, 4,096 and 65,536 values, added to as a series grows. With it a curve
of a million points is reduced to a screen's width in well under a millisecond, at any zoom, on linear and logarithmic axes.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engine.contract.units import count, number, significant
from engine.contract.words import tr

Numbers = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

FACTOR = 16
LEVELS = 4
SMOOTH_BLOCKS = 8192


class _Level:
    """Growing lo, hi, sum, count of the whole blocks of one size."""

    def __init__(self) -> None:
        self.length = 0
        self._data = np.empty((4, 64))

    def add(self, lo: Numbers, hi: Numbers, total: Numbers, known: Numbers) -> None:
        end = self.length + lo.size
        if end > self._data.shape[1]:
            grown = np.empty((4, end * 2))
            grown[:, :self.length] = self._data[:, :self.length]
            self._data = grown
        for place, values in enumerate((lo, hi, total, known)):
            self._data[place, self.length:end] = values
        self.length = end

    def __getitem__(self, place: int) -> Numbers:
        return self._data[place, :self.length]


class Pyramid:
    """Blocks of one growing column. `update` takes in what is new, at most `limit` values a call; `reset` when rows were taken away."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.length = 0
        self._levels = [_Level() for _ in range(LEVELS)]

    def update(self, values: Numbers, limit: int = 200_000) -> bool:
        """Whether everything is in."""
        end = min(values.size, self.length + limit)
        self.length = end
        first = self._levels[0]
        start, stop = first.length * FACTOR, end // FACTOR * FACTOR
        if stop > start:
            block = values[start:stop].reshape(-1, FACTOR)
            known = ~np.isnan(block)
            if known.all():
                first.add(block.min(1), block.max(1), block.sum(1), np.full(block.shape[0], float(FACTOR)))
            else:
                with np.errstate(invalid="ignore"):
                    first.add(np.fmin.reduce(block, 1), np.fmax.reduce(block, 1), np.where(known, block, 0.0).sum(1), known.sum(1))
        for below, level in zip(self._levels, self._levels[1:], strict=False):
            start, stop = level.length * FACTOR, below.length // FACTOR * FACTOR
            if stop > start:
                lo, hi, total, held = (below[i][start:stop].reshape(-1, FACTOR) for i in range(4))
                level.add(np.fmin.reduce(lo, 1), np.fmax.reduce(hi, 1), total.sum(1), held.sum(1))
        return self.length >= values.size

    def extremes(self, values: Numbers, starts: Indices, ends: Indices) -> tuple[Numbers, Numbers]:
        """(lowest, highest) of values[start:end] for each bin; bins are not empty. Blocks are not cut, so a bin may reach a quarter of its
        width further to either side, and nothing falls between two; NaN where a bin holds nothing."""
        width = ends - starts
        level = np.zeros(starts.size, np.intp)
        for k in range(1, LEVELS + 1):
            size = FACTOR ** k
            level[(width >= 4 * size) & (ends <= self._levels[k - 1].length * size)] = k
        lo, hi = np.empty(starts.size), np.empty(starts.size)
        for k in np.unique(level):
            chosen, size = level == k, FACTOR ** int(k)
            low, high = (values, values) if k == 0 else (self._levels[k - 1][0], self._levels[k - 1][1])
            a, b = starts[chosen] // size, -(-ends[chosen] // size)
            lo[chosen], hi[chosen] = _reduce(np.fmin, low, a, b), _reduce(np.fmax, high, a, b)
        return lo, hi

    def blocks(self, values: Numbers, start: int, end: int, most: int) -> tuple[int, Numbers, Numbers]:
        """(block size, sums, counts of known values) that cover values[start:end] with about `most` blocks at most; `start` is rounded
        down to a block, and what is left behind the last whole block is not in it."""
        k = 0
        while (end - start) // FACTOR ** k > most and k < LEVELS:
            k += 1
        size = FACTOR ** k
        if k == 0:
            part = values[start:end]
            known = ~np.isnan(part)
            return 1, np.where(known, part, 0.0), known.astype(np.float64)
        level = self._levels[k - 1]
        return size, level[2][start // size:end // size], level[3][start // size:end // size]


def _reduce(what: np.ufunc, values: Numbers, starts: Indices, ends: Indices) -> Numbers:
    """`what` over values[start:end] for each pair."""
    pairs = np.empty(starts.size * 2, np.intp)
    pairs[0::2], pairs[1::2] = starts, ends
    if pairs[-1] == values.size:
        pairs = pairs[:-1]
    found: Numbers = what.reduceat(values, pairs)[0::2]
    return found


def decay_scan(inputs: Numbers, keep: float) -> Numbers:
    """y[t] = keep * y[t-1] + inputs[t], without a loop over t: each pass doubles how far back a value reaches."""
    made, shift, factor = inputs.copy(), 1, keep
    while shift < made.size and factor > 1e-12:
        made[shift:] += factor * made[:-shift].copy()
        shift, factor = shift * 2, factor * factor
    return made


def smoothed(values: Numbers, pyramid: Pyramid, start: int, end: int, beta: float, most: int = 1000) -> tuple[Indices, Numbers]:
    """(indices, averages): the exponential moving average without its start-up bias in values[start:end], at most `most` points.

    Exact where blocks have one value; coarser views average a block first. Missing values weigh nothing.
    """
    if end <= start:
        return np.empty(0, np.intp), np.empty(0)
    begin = max(0, start - math.ceil(16 / max(1e-9, 1 - beta))) if beta > 0 else start
    size, total, known = pyramid.blocks(values, begin, end, SMOOTH_BLOCKS)
    first = begin // size * size
    keep = beta ** size
    top, weight = decay_scan(total * ((1 - keep) / size), keep), decay_scan(known * ((1 - keep) / size), keep)
    at = first + np.arange(total.size) * size + (size - 1) // 2
    rest = values[first + total.size * size:end]
    if rest.size:
        left, held = beta ** rest.size, ~np.isnan(rest)
        before = (top[-1], weight[-1]) if top.size else (0.0, 0.0)
        top = np.append(top, left * before[0] + (1 - left) * float(rest[held].sum()) / rest.size)
        weight = np.append(weight, left * before[1] + (1 - left) * float(held.sum()) / rest.size)
        at = np.append(at, end - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        line = np.where(weight > 0, top / weight, np.nan)
    inside = slice(int(np.searchsorted(at, start)), None)
    at, line = at[inside], line[inside]
    stride = -(-at.size // most) if at.size else 1
    if stride > 1:
        places = np.arange(at.size - 1, -1, -stride)[::-1]
        at, line = at[places], line[places]
    return at.astype(np.intp), line


class Bins(NamedTuple):
    """A curve reduced to what a screen shows: x and y of a polyline, NaN where it breaks."""

    x: Numbers
    y: Numbers


def reduced(x: Numbers, values: Numbers, pyramid: Pyramid, edges: Numbers) -> Bins:
    """The part of a curve between edges[0] and edges[-1], with lowest and highest value in each of the bins between the (ascending) edges.
    The points themselves where there are no more than two a bin."""
    length = min(x.size, values.size, pyramid.length)
    x, values = x[:length], values[:length]
    start, end = int(np.searchsorted(x, edges[0], "left")), int(np.searchsorted(x, edges[-1], "right"))
    start, end = max(0, start - 1), min(length, end + 1)
    if end - start <= 2 * edges.size:
        return Bins(x[start:end].copy(), values[start:end].copy())
    cuts = np.searchsorted(x, edges, "left")
    cuts[0], cuts[-1] = start, end
    starts, ends = cuts[:-1], cuts[1:]
    filled = ends > starts
    starts, ends = starts[filled], ends[filled]
    lo, hi = pyramid.extremes(values, starts, ends)
    middle = x[(starts + ends - 1) // 2]
    line_x, line_y = np.repeat(middle, 2), np.empty(middle.size * 2)
    even = np.arange(middle.size) % 2 == 0
    line_y[0::2], line_y[1::2] = np.where(even, lo, hi), np.where(even, hi, lo)
    return Bins(line_x, line_y)


def robust_range(values: Numbers, low: float = 1.0, high: float = 99.0) -> tuple[float, float] | None:
    """Percentiles of a sample of at most 4,096 values; None when there are none."""
    part = values[::max(1, values.size // 4096)]
    part = part[np.isfinite(part)]
    if not part.size:
        return None
    a, b = np.percentile(part, (low, high))
    return float(a), float(b)


# ticks ----------------------------------------------------------------------------------------------------------------

def nice_step(span: float, most: int) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that cuts `span` into at most `most` parts."""
    rough = span / max(1, most)
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1.0, 2.0, 2.5, 5.0, 10.0) if step * power >= rough * (1 - 1e-9))


TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


def ticks(low: float, high: float, most: int, kind: str = "value", whole: bool = False) -> list[tuple[float, str]]:
    """(place, words) between low and high. kind: value, step, tokens, elapsed (seconds)."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return []
    if kind == "elapsed":
        step = next((float(s) for s in TIME_STEPS if (high - low) / s <= most), nice_step((high - low) / 86400, most) * 86400)
    else:
        step = nice_step(high - low, most)
        if whole or kind in ("step", "tokens"):
            step = max(1.0, round(step)) if step < 10 else step
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    digits = 0 if kind != "value" else max(0, -math.floor(math.log10(step) + 1e-9), 1 if abs(step * 10 - round(step * 10)) < 1e-9
                                           and abs(step - round(step)) > 1e-9 else 0)
    if kind == "value" and digits == 1 and abs(step * 10 - round(step * 10)) > 1e-9:
        digits = 2
    return [(i * step, axis_words(i * step, kind, digits, step)) for i in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int, kind: str = "value") -> list[tuple[float, str]]:
    """(log10 of the place, words) for an axis whose ends are the logarithms `low` and `high`: decades, with 2 and 5 between where there is
    room for them."""
    decades = range(math.floor(low), math.ceil(high) + 1)
    marks = (1, 2, 5) if (high - low) * 3 <= most else (1,)
    if high - low < 0.7:
        inner = ticks(10 ** low, 10 ** high, most, kind)
        return [(math.log10(v), words) for v, words in inner if v > 0]
    every = max(1, math.ceil((high - low) / max(1, most)))
    found = [(d + math.log10(m), m * 10.0 ** d) for d in decades if d % every == 0 for m in marks]
    return [(place, axis_words(value, kind, 0, value)) for place, value in found if low - 1e-9 <= place <= high + 1e-9]


def axis_words(value: float, kind: str, digits: int = 0, step: float = 1.0) -> str:
    """A value as an axis says it."""
    if kind == "elapsed":
        return short_time(value)
    if kind == "tokens":
        return count(value)
    if kind == "step" or value == 0:
        return number(value)
    if abs(value) >= 1e6 or (value and abs(value) < 1e-4):
        return significant(value, 2)
    return number(value, digits if step >= 1e-4 and digits <= 5 else 5) if digits or step >= 1 else significant(value, 2)


def short_time(seconds: float) -> str:
    """5025 -> "1 h 24 min"; under a minute "40 s"; whole minutes otherwise."""
    seconds = round(seconds)
    if seconds < 60:
        return tr("{seconds} s", seconds=seconds).replace(" ", "\u00a0")
    minutes, secs = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        days, hours = divmod(hours, 24)
        words = tr("{days} d", days=days) + (f" {tr('{hours} h', hours=hours)}" if hours else "")
    elif hours:
        words = tr("{hours} h", hours=hours) + (f" {tr('{minutes} min', minutes=minutes)}" if minutes else "")
    else:
        words = tr("{minutes} min", minutes=minutes) + (f" {tr('{seconds} s', seconds=secs)}" if secs else "")
    return words.replace(" ", "\u00a0")
