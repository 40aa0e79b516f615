"""How a run's columns go, from a few thousand of their values: means of windows spread over the run, and of its two ends. The cost does
not grow with the run. Pure; it judges nothing (run_doctor.py does).
"""

import warnings

import numpy as np

from engine.project.run_state import Numbers, Series

WINDOWS, WIDEST = 48, 64
"""Windows over the whole run, and values in each at most."""
SHORTEST, LONGEST = 6, 256
"""Values at either end of the run that are its beginning and its present: an eighth of the run within these."""
ONE_JUMP = 5
"""Steps."""
LOOKED_AT = 4096
"""Values, the last ones, of which every single one is looked at."""


class Trend:
    """Of one table. Where a column is missing or has no numbers, means are NaN and arrays empty."""

    def __init__(self, series: Series) -> None:
        self.series, self.length = series, series.length
        self.window = max(SHORTEST, min(LONGEST, self.length // 8))
        self._spread: dict[str, Numbers] = {}

    def has(self, *keys: str) -> bool:
        return all(self.recent(key).size for key in keys)

    def values(self, key: str, count: int = LOOKED_AT) -> Numbers:
        """The last ones, NaN and all."""
        return self.series.column(key)[-count:]

    def recent(self, key: str) -> Numbers:
        """The numbers of the present."""
        return _numbers(self.series.column(key)[-self.window:])

    def now(self, key: str) -> float:
        return _mean(self.recent(key))

    def first(self, key: str) -> float:
        return _mean(_numbers(self.series.column(key)[:self.window]))

    def spread(self, key: str) -> Numbers:
        """Means of windows over the whole run, in their order; NaN for one without numbers. Windows of the same number of two columns are
        of the same steps."""
        if key not in self._spread:
            column = self.series.column(key)
            count = min(WINDOWS, column.size)
            if not count:
                return np.empty(0)
            width = max(1, min(WIDEST, column.size // count))
            starts = np.linspace(0, column.size - width, count).astype(np.int64)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # of nothing the mean is NaN, as wanted
                self._spread[key] = np.nanmean(column[starts[:, None] + np.arange(width)], axis=1)
        return self._spread[key]

    def lowest(self, key: str) -> float:
        """The lowest mean of three windows side by side; NaN where there are too few."""
        means = _numbers(self.spread(key))
        return float(np.convolve(means, np.full(3, 1 / 3), "valid").min()) if means.size >= 3 else float("nan")

    def gain(self, key: str) -> float:
        """How much higher it is now than at first."""
        return self.now(key) - self.first(key)

    def together(self, one: str, other: str) -> float:
        """Correlation of two columns over the run; NaN where one of them does not move."""
        a, b = self.spread(one), self.spread(other)
        if a.size != b.size:
            return float("nan")
        both = np.isfinite(a) & np.isfinite(b)
        a, b = a[both], b[both]
        if a.size < 6 or not a.std() or not b.std():
            return float("nan")
        return float(np.corrcoef(a, b)[0, 1])

    def jumps(self, key: str, times: float, share: float, above: float = np.inf) -> int:
        """How often in the present values stand out: over the median by `times` the usual deviation and by `share` of the median, or over
        `above`. What lies within a few steps is one jump: an odd batch takes some to be forgotten."""
        column = _numbers(self.values(key, 4 * self.window))  # no more: a loss that fell would have a wide usual deviation
        present = column[-min(self.window * 2, LONGEST):]
        if column.size < 2 * SHORTEST:
            return 0
        middle = float(np.median(column))
        usual = 1.4826 * float(np.median(np.abs(column - middle)))
        places = np.flatnonzero((present > middle + max(times * usual, share * abs(middle))) | (present > above))
        return int(places.size and 1 + (np.diff(places) > ONE_JUMP).sum())


def _numbers(values: Numbers) -> Numbers:
    return values[np.isfinite(values)]


def _mean(values: Numbers) -> float:
    return float(values.mean()) if values.size else float("nan")
