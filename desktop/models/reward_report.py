"""What a reward model's report says, in words and numbers for the window. Reads report.json; no Qt, no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.contract.errors import Corrupt
from engine.contract.units import count, duration, number, percent, significant
from engine.contract.words import tr, trn
from engine.project import files
from engine.project.run_state import RunState

FILE = "report.json"
LEANS, LIKES = 0.1, 0.3
"""Rank correlation of the differences of rewards and lengths from which one is said to lean to length, and to like it."""
BIAS = 0.1
"""Share of pairs by which the model may prefer the longer answer more often than people do before it is warned of."""
FEW = 20
"""Held-out pairs below which nothing is said of how sure it is and of what it likes."""
KINDS = ("worst", "best", "unsure")


@dataclass(frozen=True)
class Shown:
    """A pair to look at: what was asked, both answers, their rewards. `by` labelled it."""

    prompt: tuple[tuple[str, str], ...]
    chosen: str
    rejected: str
    chosen_reward: float
    rejected_reward: float
    strength: int
    by: str

    @property
    def margin(self) -> float:
        return self.chosen_reward - self.rejected_reward

    @property
    def right(self) -> bool:
        return self.margin > 0


@dataclass(frozen=True)
class Share:
    """A share of pairs with its interval of 95 %; `share` None for none."""

    share: float | None
    low: float | None
    high: float | None
    count: int

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> "Share":
        return cls(raw.get("share"), raw.get("low"), raw.get("high"), int(raw.get("count") or 0))

    @property
    def words(self) -> str:
        if self.share is None:
            return "–"
        return tr("{share}, {low} to {high}", share=percent(self.share, 1), low=percent(self.low or 0.0), high=percent(self.high or 0.0))


@dataclass(frozen=True)
class RewardReport:
    """`raw` as it lies in the file; what the window shows of it below."""

    raw: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "RewardReport":
        """Of an artifact's folder. Corrupt where there is no report to read."""
        raw = files.read_json(folder / FILE, None)
        if not isinstance(raw, dict) or "accuracy" not in raw:
            raise Corrupt(tr("The report of this reward model cannot be read."), tr("Train it again; the model itself still works."))
        return cls(raw)

    @property
    def accuracy(self) -> Share:
        return Share.of(self.raw["accuracy"])

    @property
    def by_strength(self) -> list[tuple[str, Share]]:
        names = {"0": tr("Nobody said"), "1": tr("Slightly better"), "2": tr("Better"), "3": tr("Much better")}
        found = self.raw["accuracy"].get("by_strength") or {}
        return [(names.get(k, k), Share.of(v)) for k, v in sorted(found.items())]

    @property
    def by_annotator(self) -> list[tuple[str, Share]]:
        found = self.raw["accuracy"].get("by_annotator") or {}
        return [(name, Share.of(v)) for name, v in found.items()]

    @property
    def bins(self) -> list[Mapping[str, Any]]:
        return list(self.raw["calibration"]["bins"])

    @property
    def histogram(self) -> Mapping[str, Any]:
        return self.raw["histogram"]

    @property
    def curve(self) -> Mapping[str, Any] | None:
        return self.raw.get("curve")

    def shown(self, kind: str) -> list[Shown]:
        return [Shown(tuple((m["role"], m["content"]) for m in one["prompt"]), one["chosen"], one["rejected"], float(one["chosen_reward"]),
                      float(one["rejected_reward"]), int(one.get("strength") or 0), str(one.get("by") or ""))
                for one in self.raw["shown"].get(kind, ())]

    # in words ---------------------------------------------------------------------------------------------------------

    def accuracy_words(self) -> str:
        """What the accuracy means."""
        share = self.accuracy
        if share.share is None:
            return tr("Nothing was held out, so how often it is right is not known.")
        pairs = trn("{shown} pair", "{shown} pairs", share.count, shown=number(share.count))
        if (share.low or 0) <= 0.5 <= (share.high or 1):
            return tr("On {pairs} it has not seen. That cannot be told from guessing: label more before relying on it.", pairs=pairs)
        if share.share < 0.5:
            return tr("On {pairs} it has not seen. It is wrong more often than a coin: something in the labels is turned round.",
                      pairs=pairs)
        if share.share < 0.65:
            return tr("On {pairs} it has not seen. Better than guessing, and wrong often: good for a first try.", pairs=pairs)
        return tr("On {pairs} it has not seen. People agree with one another in about 65 to 75 % of such pairs.", pairs=pairs)

    def calibration_words(self) -> str:
        error, sure = self.raw["calibration"].get("error"), self.raw["calibration"].get("predicted")
        right = self.accuracy.share
        if error is None or sure is None or right is None:
            return ""
        if self.accuracy.count < FEW:
            return trn("{shown} pair was held out: too few to tell.", "{shown} pairs were held out: too few to tell.", self.accuracy.count,
                       shown=number(self.accuracy.count))
        if error < 0.05:
            return tr("When it says 80 %, it is right in about 80 %.")
        if sure > right:
            return tr("It is surer than it should be: it says {sure} on average, and is right in {right}.", sure=percent(sure),
                      right=percent(right))
        return tr("It is less sure than it could be: it says {sure} on average, and is right in {right}.", sure=percent(sure),
                  right=percent(right))

    def length_words(self) -> tuple[str, str, bool]:
        """(title, words, whether it is a warning)."""
        length = self.raw["length"]
        within = length["within"].get("spearman")
        model, people = Share.of(length["longer_wins"]["model"]).share, Share.of(length["longer_wins"]["people"]).share
        if within is None or model is None or people is None:
            return tr("Length is not known"), tr("Too few answers differ in length."), False
        if Share.of(length["longer_wins"]["model"]).count < FEW:
            return tr("Too few pairs to tell of length"), tr("Whether it likes long answers shows on more held-out pairs."), False
        wins = tr("The longer answer wins {model} of its judgements, and {people} of people's.", model=percent(model),
                  people=percent(people))
        value = tr("Correlation {value}.", value=f"{within:+.2f}".replace("-", "−"))
        if model > people + BIAS and within > LEANS:
            return (tr("It likes length more than people do"), f"{wins} {value} " +
                    tr("PPO would make answers longer: label pairs in which the shorter one is better, or watch the length."), True)
        if abs(within) < LEANS:
            return tr("Length counts little"), f"{wins} {value}", False
        if within > 0:
            title = tr("It likes long answers, as people did") if within >= LIKES else tr("It leans to longer answers, as people did")
            return title, f"{wins} {value}", False
        return tr("It likes short answers"), f"{wins} {value}", False

    def curve_words(self) -> tuple[str, str]:
        """(what more labels would buy, how that is known)."""
        made = self.curve
        if made is None:
            return tr("Not known"), tr("It takes about forty labelled pairs, and the learning curve turned on.")
        gain, low, high, more = float(made["gain"]), float(made["low"]), float(made["high"]), int(made["more"])
        words = tr("About {gain} points of accuracy for {more} more labels.", gain=_points(gain), more=number(more))
        if low <= 0.0005 and gain < 0.002:
            words = tr("Next to nothing: {more} more labels would change little.", more=number(more))
        return words, tr("Between {low} and {high} points, from the learning curve of {labels} labels.", low=_points(low),
                         high=_points(high), labels=number(int(made["labels"])))


def outcome_words(outcome: Mapping[str, Any]) -> str:
    """The sentence above the report."""
    share, low, high = (outcome.get(k) for k in ("accuracy", "accuracy_low", "accuracy_high"))
    if share is None:
        return tr("Nothing was held out, so how often it agrees with you is not measured. It took {time}.",
                  time=duration(float(outcome.get("seconds") or 0)))
    words = tr("It agrees with {share} of labels it has not seen (95 % interval {low} to {high}).", share=percent(share, 1),
               low=percent(low or 0.0), high=percent(high or 0.0))
    if (low or 0.0) <= 0.5 <= (high or 1.0):
        words += " " + tr("That cannot be told from guessing.")
    return f"{words} " + tr("It took {time}.", time=duration(float(outcome.get("seconds") or 0)))


def facts(outcome: Mapping[str, Any], state: RunState) -> list[tuple[str, str]]:
    """What was trained, as names and values."""
    if not outcome:
        return []
    method = {"full": tr("Full training"), "lora": "LoRA", "qlora": "QLoRA"}.get(str(outcome.get("method")), "–")
    found = [(tr("Pairs"), number(int(outcome.get("pairs") or 0))), (tr("Held out"), number(int(outcome.get("held_out") or 0)))]
    if outcome.get("ties"):
        found.append((tr("Ties among them"), number(int(outcome["ties"]))))
    if outcome.get("left_out"):
        found.append((tr("Left out"), number(int(outcome["left_out"]))))
    if state.facts.get("scored"):
        found.append((tr("Scored, not labelled"), number(int(state.facts["scored"]))))
    found += [(tr("Method"), method), (tr("Trained parameters"), count(float(outcome.get("trainable") or 0)))]
    if outcome.get("best_step"):
        found.append((tr("Best step"), tr("{step} of {steps}", step=number(int(outcome["best_step"])),
                                          steps=number(int(outcome.get("steps") or 0)))))
    found += [(tr("Epochs"), significant(float(outcome.get("epochs") or 0), 2)),
              (tr("Learning rate"), f"{float(outcome.get('learning_rate') or 0):.2g}"),
              (tr("Time"), duration(float(outcome.get("seconds") or 0)))]
    return found


def _points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")
