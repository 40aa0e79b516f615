"""Two estimates beside a reward model: what more labels would buy, and how sure it is of a pair that nobody has labelled. Numbers only:
no model, no text, no torch.

Both rest on heads: Bradley and Terry's model on the difference of two hidden states, fitted exactly (a convex problem, Newton's method)
with a Gaussian prior on its weights.

P pairs, F features, S sizes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)
REPEATS = 3
"""Random parts of the pairs that are tried for each share, each with folds of its own."""
FOLDS = 5
MOST_FEATURES = 96
PENALTIES = (0.3, 3.0, 30.0, 300.0)
POWERS = (0.05, 0.25, 0.5, 0.75, 1.0)
"""From nearly a logarithm to what a fixed set of features ends with."""
T95 = 2.776
"""Student's t for four degrees of freedom: a jackknife over five folds."""
FEWEST = 40
"""Pairs below which no curve is drawn: its interval would be all there is."""
MORE = 50


# ------------------------------------------------------------------------------------------------------------------ learning curve


@dataclass(frozen=True)
class Curve:
    """Accuracy of heads on pairs they were not fitted on, by how many they were fitted on; and what a - b * n^-c, fitted to it, says of
    `more` labels on top of the `labels` there are. `low` and `high` of points and gain: an interval of about 95 % over which pairs there
    happened to be, which parts were drawn, and which power c it is. An estimate: the heads read a model that does not learn, so that they
    say how quickly labels help more than how good a reward model gets."""

    points: tuple[tuple[int, float, float, float], ...]
    a: float
    b: float
    c: float
    labels: int
    more: int
    gain: float
    low: float
    high: float

    def at(self, labels: float) -> float:
        return min(1.0, self.a - self.b * labels**-self.c)


def learning_curve(differences: np.ndarray, keys: np.ndarray, seed: int, more: int = MORE) -> Curve | None:
    """`differences` [P, F]: features of the chosen answer less those of the rejected one, of a model that has not seen these labels;
    `keys` [P] of the prompts: pairs of one prompt are never on both sides. None for fewer than FEWEST pairs or a handful of prompts.

    Each fold of the prompts is judged by heads fitted on parts of the others; their penalty is chosen within the part, once a fold and
    size. The interval is a jackknife over folds (Efron and Tibshirani, 1993, chapter 11), whose heads were fitted on different parts and
    judged on different pairs, widened to what all powers give.
    """
    count, groups = len(differences), np.unique(keys)
    if count < FEWEST or len(groups) < 2 * FOLDS:
        return None
    draw = np.random.default_rng([seed, 31])
    x = _few(differences)
    pieces = [_folds(x, keys, groups, draw) for _ in range(REPEATS)]
    right, weight, sizes = (np.concatenate([piece[n] for piece in pieces], 1) for n in range(3))
    n = sizes.mean(1)
    means = (right * weight).sum(1) / weight.sum(1)
    a, b, c = _power_law(n, means)
    gain = _gain(a, b, c, count, more)
    gains = np.array([[_gain(*_power_law(n, some, (power,)), count, more) for power in POWERS] for some in _without_one(right, weight)])
    of_power = np.array([_gain(*_power_law(n, means, (power,)), count, more) for power in POWERS])
    spread = T95 * _jackknife(gains)
    low, high = max(0.0, float((of_power - spread).min())), float((of_power + spread).max())
    around = T95 * _jackknife(np.array(_without_one(right, weight)))
    points = tuple((round(size), float(mean), max(0.0, float(mean - r)), min(1.0, float(mean + r)))
                   for size, mean, r in zip(n, means, around, strict=True))
    return Curve(points, a, b, c, count, more, gain, min(low, gain), max(high, gain))


def _folds(x: np.ndarray, keys: np.ndarray, groups: np.ndarray, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each share and fold [S, FOLDS]: share of the fold's pairs that are right, how many pairs it has, how many the heads were fitted
    on. The parts of a fold grow: a smaller one is in the larger ones."""
    fold = dict(zip(groups.tolist(), (draw.permutation(len(groups)) % FOLDS).tolist(), strict=True))
    folds = np.array([fold[key] for key in keys.tolist()])
    right, weight, sizes = np.zeros((3, len(SHARES), FOLDS))
    for f in range(FOLDS):
        test, pool = np.flatnonzero(folds == f), draw.permutation(np.flatnonzero(folds != f))
        for s, share in enumerate(SHARES):
            part = pool[:max(2, round(share * len(pool)))]
            score = x[test] @ fit_head(x[part], _penalty(x[part], draw))
            right[s, f], weight[s, f], sizes[s, f] = ((score > 0) + 0.5 * (score == 0)).mean(), len(test), len(part)
    return right, weight, sizes


def _without_one(right: np.ndarray, weight: np.ndarray) -> list[np.ndarray]:
    """Means [S] without the n-th fold of every repeat, for each n."""
    made = []
    for n in range(FOLDS):
        keep = np.arange(right.shape[1]) % FOLDS != n
        made.append((right[:, keep] * weight[:, keep]).sum(1) / weight[:, keep].sum(1))
    return made


def _jackknife(without: np.ndarray) -> np.ndarray:
    """Standard errors from values without one fold each, [FOLDS, ..]."""
    return np.sqrt((FOLDS - 1) / FOLDS * ((without - without.mean(0)) ** 2).sum(0))


def _gain(a: float, b: float, c: float, labels: int, more: int) -> float:
    """Nothing is right more often than always."""
    now, then = (min(1.0, a - b * n**-c) for n in (labels, labels + more))
    return then - now


def _power_law(n_S: np.ndarray, accuracy_S: np.ndarray, powers: Sequence[float] = POWERS) -> tuple[float, float, float]:
    """Least squares of a - b n^-c with b at least 0, c from `powers`."""
    best: tuple[float, tuple[float, float, float]] | None = None
    for c in powers:
        z = n_S**-c
        spread = float(((z - z.mean()) ** 2).sum())
        b = max(0.0, -float(((z - z.mean()) * (accuracy_S - accuracy_S.mean())).sum()) / spread) if spread else 0.0
        a = float(accuracy_S.mean() + b * z.mean())
        wrong = float(((a - b * z - accuracy_S) ** 2).sum())
        if best is None or wrong < best[0] - 1e-12:
            best = wrong, (a, b, c)
    assert best is not None
    return best[1]


def _few(differences: np.ndarray) -> np.ndarray:
    """At most MOST_FEATURES principal directions of the features, each first scaled to a mean square of 1; float64 [P, F'], scaled so that
    a pair's squared length is its number of features on average. Labels take no part: turning a pair round changes no direction."""
    x = differences.astype(np.float64)
    x = x / np.maximum(np.sqrt((x * x).mean(0)), 1e-9)
    if x.shape[1] > MOST_FEATURES:
        _, directions = np.linalg.eigh(x.T @ x)
        x = x @ directions[:, -MOST_FEATURES:]
    return x * math.sqrt(x.shape[1] / max(1e-12, float((x * x).sum(1).mean())))


def _penalty(x: np.ndarray, draw: np.random.Generator) -> float:
    """The penalty whose heads, fitted on four fifths, are best on the last."""
    if len(x) < 10:
        return PENALTIES[-2]
    order = draw.permutation(len(x))
    held, rest = order[:len(x) // 5], order[len(x) // 5:]
    losses = [np.logaddexp(0, -(x[held] @ fit_head(x[rest], penalty))).mean() for penalty in PENALTIES]
    return PENALTIES[int(np.argmin(losses))]


def fit_head(x_PF: np.ndarray, penalty: float) -> np.ndarray:
    """w_F least in the sum of log(1 + exp(-x w)) + penalty / 2 |w|^2: every row is a pair whose first answer won."""
    w = np.zeros(x_PF.shape[1])
    value = _objective(x_PF, w, penalty)
    for _ in range(50):
        p = _sigmoid(x_PF @ w)
        gradient = penalty * w - x_PF.T @ (1 - p)
        curvature = (x_PF * (p * (1 - p))[:, None]).T @ x_PF
        curvature[np.diag_indices_from(curvature)] += penalty
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while (reached := _objective(x_PF, w - size * step, penalty)) > value and size > 1e-6:
            size /= 2
        if value - reached <= 1e-9 * (1 + abs(value)):
            break
        w, value = w - size * step, reached
    return w


def _objective(x: np.ndarray, w: np.ndarray, penalty: float) -> float:
    return float(np.logaddexp(0, -(x @ w)).sum() + 0.5 * penalty * (w @ w))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))


# ------------------------------------------------------------------------------------------------------------------ uncertainty


class Doubt:
    """How unsure a trained head is of a pair: a Laplace approximation of its weights' posterior (MacKay, 1992) on the pairs it was trained
    on, its prior as wide as its weights are.

    A difference of rewards m with the variance v = d' H^-1 d of its features d stands for the probability sigmoid(m / sqrt(1 + pi v / 8)):
    nearer to one half where the pair is unlike what was labelled. `uncertainty` is that probability's entropy in bits: 1 at one half.
    """

    def __init__(self, differences_PF: np.ndarray, weight_F: np.ndarray) -> None:
        x, w = differences_PF.astype(np.float64), weight_F.astype(np.float64)
        p = _sigmoid(x @ w)
        precision = (x * (p * (1 - p))[:, None]).T @ x
        precision[np.diag_indices_from(precision)] += len(w) / max(1e-6, float(w @ w))
        self._root = np.linalg.cholesky(precision)

    def deviation(self, differences_PF: np.ndarray) -> np.ndarray:
        """Standard deviation of the difference of rewards, of each pair."""
        if not len(differences_PF):
            return np.zeros(0)
        return np.sqrt((np.linalg.solve(self._root, differences_PF.astype(np.float64).T) ** 2).sum(0))

    def of(self, margins_P: np.ndarray, differences_PF: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(probability that the first answer is the better one, uncertainty 0 to 1) of each pair."""
        p = _sigmoid(margins_P / np.sqrt(1 + math.pi * self.deviation(differences_PF) ** 2 / 8))
        near = np.clip(p, 1e-12, 1 - 1e-12)
        return p, -(near * np.log2(near) + (1 - near) * np.log2(1 - near))
