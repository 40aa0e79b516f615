"""What is told of a finished reward model: how often it agrees with people, how sure it may be, whether it likes length, where it differs.
Numbers only; which pairs and texts they are about is given. No torch.

Everything is measured on held-out pairs; ties are left out, unless it says so. P pairs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from engine.contract.rows import PreferencePair
from engine.evaluation.intervals import wilson
from engine.stages.reward.estimates import Curve

SHOWN = 12
"""Pairs of each kind whose texts are in the report."""
LONGEST_TEXT = 4_000
BINS = 10
COLUMNS = 24


def share(right: float, count: int) -> dict[str, float | int | None]:
    """A share with its interval of 95 % (Wilson); None for none."""
    low, high = wilson(right, count)
    return {"right": right, "count": count, "share": right / count if count else None, "low": low, "high": high}


def right_of(margins_P: np.ndarray) -> np.ndarray:
    """1 where the model agrees, 0 where it does not, one half for equal rewards."""
    return (margins_P > 0) + 0.5 * (margins_P == 0)


def accuracy(rewards_P2: np.ndarray, strengths_P: np.ndarray, ties_P: np.ndarray, by: Sequence[str]) -> dict[str, Any]:
    """Agreement with the labels: of all, by strength (0: nobody said), by who labelled."""
    decided = np.flatnonzero(~ties_P)
    right = right_of(rewards_P2[:, 0] - rewards_P2[:, 1])

    def of(which: np.ndarray) -> dict[str, Any]:
        return share(float(right[which].sum()), len(which))
    names = np.array([*by, ""], dtype=object)[:-1]
    return {**of(decided), "ties": int(ties_P.sum()),
            "by_strength": {str(s): of(decided[strengths_P[decided] == s]) for s in np.unique(strengths_P[decided]).tolist()},
            "by_annotator": {name: of(decided[names[decided] == name]) for name in sorted({n for n in by if n})}}


def calibration(margins_P: np.ndarray) -> dict[str, Any]:
    """Whether the model is right as often as it says. The side it takes has the probability sigmoid(|margin|), one half to 1; bins of
    that, with the share of pairs in which people took the same side. `error`: the mean distance of the two (ECE, Guo et al., 2017)."""
    sure = 0.5 * (1 + np.tanh(0.5 * np.abs(margins_P)))
    right = right_of(margins_P)
    place = np.minimum(((sure - 0.5) * 2 * BINS).astype(int), BINS - 1)
    bins, error = [], 0.0
    for n in range(BINS):
        which = place == n
        if which.any():
            bins.append({"from": 0.5 + n / (2 * BINS), "to": 0.5 + (n + 1) / (2 * BINS), "predicted": float(sure[which].mean()),
                         **share(float(right[which].sum()), int(which.sum()))})
            error += abs(float(right[which].sum()) - float(sure[which].sum())) / len(margins_P)
    return {"bins": bins, "error": error if len(margins_P) else None, "predicted": float(sure.mean()) if len(sure) else None}


def length(rewards_P2: np.ndarray, tokens_P2: np.ndarray) -> dict[str, Any]:
    """Whether it likes length: correlation of rewards with the answers' tokens (`all`), and of the differences within pairs (`within`,
    which prompts have no part in); how often the longer answer wins by the model, and by people."""
    margins, longer = rewards_P2[:, 0] - rewards_P2[:, 1], tokens_P2[:, 0] - tokens_P2[:, 1]
    uneven = longer != 0
    by_model = right_of(np.sign(longer[uneven]) * margins[uneven])
    return {"all": {"pearson": pearson(rewards_P2.reshape(-1), tokens_P2.reshape(-1)),
                    "spearman": spearman(rewards_P2.reshape(-1), tokens_P2.reshape(-1))},
            "within": {"pearson": _uncentred(margins, longer), "spearman": _uncentred(np.sign(margins) * ranks(np.abs(margins)),
                                                                                     np.sign(longer) * ranks(np.abs(longer)))},
            "longer_wins": {"model": share(float(by_model.sum()), len(by_model)),
                            "people": share(float((longer[uneven] > 0).sum()), int(uneven.sum()))}}


def pearson(x: np.ndarray, y: np.ndarray) -> float | None:
    """None where one of them is constant."""
    x, y = x - x.mean() if len(x) else x, y - y.mean() if len(y) else y
    return _uncentred(x, y)


def spearman(x: np.ndarray, y: np.ndarray) -> float | None:
    return pearson(ranks(x), ranks(y))


def ranks(x: np.ndarray) -> np.ndarray:
    """1 for the least; equal ones share the mean of theirs."""
    _, which, counts = np.unique(x, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[which].astype(float)


def _uncentred(x: np.ndarray, y: np.ndarray) -> float | None:
    """Correlation about zero: which of a pair is named first has no part in it."""
    scale = float(np.sqrt((x.astype(float) ** 2).sum() * (y.astype(float) ** 2).sum()))
    return float((x * y).sum()) / scale if scale > 0 else None


def histogram(rewards_P2: np.ndarray) -> dict[str, Any]:
    """How the rewards of chosen and of rejected answers lie: counts between common edges."""
    if not len(rewards_P2):
        return {"edges": [], "chosen": [], "rejected": []}
    edges = np.histogram_bin_edges(rewards_P2, COLUMNS)
    chosen, rejected = (np.histogram(rewards_P2[:, side], edges)[0].tolist() for side in (0, 1))
    return {"edges": edges.tolist(), "chosen": chosen, "rejected": rejected}


def shown(rewards_P2: np.ndarray, ties_P: np.ndarray) -> dict[str, list[int]]:
    """Places of the pairs to look at: `worst` disagreements (the model is surest of the other answer), `best` agreements, and where it is
    `unsure`."""
    decided = np.flatnonzero(~ties_P)
    margins = (rewards_P2[:, 0] - rewards_P2[:, 1])[decided]
    order = decided[np.argsort(margins, kind="stable")]
    wrong = int((margins < 0).sum())
    return {"worst": order[:wrong][:SHOWN].tolist(), "best": order[wrong:][::-1][:SHOWN].tolist(),
            "unsure": decided[np.argsort(np.abs(margins), kind="stable")][:SHOWN].tolist()}


def told(pair: PreferencePair, rewards: Sequence[float]) -> dict[str, Any]:
    """A pair with its texts and rewards, for people; long texts lose their end."""
    def cut(text: str) -> str:
        return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + " …"
    return {"id": pair.id, "prompt": [{"role": m.role, "content": cut(m.content)} for m in pair.prompt], "chosen": cut(pair.chosen),
            "rejected": cut(pair.rejected), "chosen_reward": float(rewards[0]), "rejected_reward": float(rewards[1]),
            "strength": pair.strength, "by": pair.by}


def curve(made: Curve | None) -> dict[str, Any] | None:
    if made is None:
        return None
    points = [dict(zip(("labels", "accuracy", "low", "high"), point, strict=True)) for point in made.points]
    return {**asdict(made), "points": points}


def facts(report: Mapping[str, Any]) -> dict[str, Any]:
    """The few of them that the artifact tells."""
    held, estimate = report["accuracy"], report["curve"]
    return {"accuracy": held["share"], "accuracy_low": held["low"], "accuracy_high": held["high"], "accuracy_pairs": held["count"],
            "calibration_error": report["calibration"]["error"], "length_correlation": report["length"]["within"]["spearman"],
            "longer_wins_model": report["length"]["longer_wins"]["model"]["share"],
            "longer_wins_people": report["length"]["longer_wins"]["people"]["share"],
            "reward_mean": report["rewards"]["mean"], "reward_std": report["rewards"]["std"],
            **({"gain": estimate["gain"], "gain_low": estimate["low"], "gain_high": estimate["high"], "gain_labels": estimate["more"]}
               if estimate else {})}
