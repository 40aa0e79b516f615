"""How sure a measured share is, pass@k, and whether two models differ on the same questions. Pure functions on counts; no torch.
"""

import math
from collections.abc import Sequence

Z95 = 1.959963984540054
"""Standard normal quantile of a two-sided 95 % interval."""


def wilson(right: float, count: int, z: float = Z95) -> tuple[float, float]:
    """The interval of Wilson (1927) for a share `right / count`, 0 to 1: sensible at 0 and 1 and for few questions. (0, 1) for none.

    `right` may be a fraction: a tie counts half, several tries at one question its mean.
    """
    if count <= 0:
        return 0.0, 1.0
    share = right / count
    middle = share + z * z / (2 * count)
    spread = z * math.sqrt(max(0.0, share * (1 - share)) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    low, high = (middle - spread) / scale, (middle + spread) / scale
    return (0.0 if right <= 0 else max(0.0, low)), (1.0 if right >= count else min(1.0, high))


def pass_at_k(tries: int, right: int, k: int) -> float:
    """The chance that at least one of `k` answers drawn from `tries` is right, when `right` of them are: 1 - C(n-c, k) / C(n, k), the
    unbiased estimate of Chen et al. (arXiv 2107.03374). `k` is at most `tries`."""
    assert 1 <= k <= tries and 0 <= right <= tries, (tries, right, k)
    if tries - right < k:
        return 1.0
    return 1.0 - math.comb(tries - right, k) / math.comb(tries, k)


def mean_interval(values: Sequence[float], z: float = Z95) -> tuple[float, float, float]:
    """(mean, low, high) of values that are no shares of yes and no: normal approximation. One value, or none, has no interval of use."""
    count = len(values)
    if not count:
        return math.nan, math.nan, math.nan
    mean = math.fsum(values) / count
    if count == 1:
        return mean, mean, mean
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    return mean, mean - z * deviation / math.sqrt(count), mean + z * deviation / math.sqrt(count)


def sign_test(only_first: int, only_second: int) -> float:
    """Two-sided exact p of McNemar's test: how likely such an uneven split of the questions that only one of two models answers is, if
    both were equally good. 1 when they differ nowhere."""
    count = only_first + only_second
    if not count:
        return 1.0
    fewer = min(only_first, only_second)
    if count > 1000:  # exact sums of such coefficients are slow, and the normal approximation has no error left that shows
        distance = max(0.0, abs(only_first - only_second) - 1) / math.sqrt(count)
        return min(1.0, math.erfc(distance / math.sqrt(2)))
    return min(1.0, 2 * sum(math.comb(count, i) for i in range(fewer + 1)) / 2**count)
