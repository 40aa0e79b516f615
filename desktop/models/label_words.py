"""What labels come to, in plain sentences: how far one is, what was said of a pair, how sure somebody is. No Qt."""

from engine.contract.units import duration, number, significant
from engine.contract.words import tr, trn
from engine.project.label_queues import Progress
from engine.project.labels import Label
from engine.project.pair_sets import PairSet

FEW, FIRST = 50, 200
"""Labels below which a reward model learns next to nothing; from which a first one is worth a try."""
UNSURE = "unsure"


def strength_words(strength: int) -> str:
    """"better" where nobody said how much."""
    return {1: tr("slightly better"), 3: tr("much better")}.get(strength, tr("better"))


def strengths() -> list[tuple[int, str]]:
    return [(n, strength_words(n)) for n in (1, 2, 3)]


def choice_words(choice: str, strength: int, side: str = "") -> str:
    """What was said of a pair: "left, much better"; `side` is where the better answer stood."""
    if choice in ("first", "second"):
        where = {"left": tr("left"), "right": tr("right")}.get(side, tr("first") if choice == "first" else tr("second"))
        return tr("{side}, {strength}", side=where, strength=strength_words(strength)) if strength else where
    return {"tie": tr("tie"), "bad": tr("both bad"), "skip": tr("skipped")}.get(choice, "")


def said_words(label: Label) -> str:
    """A label in a table, by where the answers stood."""
    side = "" if label.choice not in ("first", "second") else "left" if label.choice == label.left else "right"
    words = choice_words(label.choice, label.strength, side)
    return tr("{words}, edited", words=words) if label.edited else words


def picked_words(label: Label, taken_back: bool = False) -> str:
    """What stands on the card that was picked."""
    strength = strength_words(label.strength)
    if taken_back:
        return tr("was picked, {strength}", strength=strength) if label.strength else tr("was picked")
    words = tr("picked, {strength}", strength=strength) if label.strength else tr("picked")
    return tr("{words}, edited", words=words) if label.edited else words


def left_words(progress: Progress) -> str:
    """"1 h 56 min left", "" while that is not known."""
    return tr("{time} left", time=duration(progress.seconds_left)) if progress.seconds_left and progress.todo else ""


def rate_words(progress: Progress) -> str:
    return tr("{rate} a minute", rate=significant(progress.a_minute, 2)) if progress.a_minute else ""


def aside_words(progress: Progress) -> str:
    """"7 skipped, 3 flagged"."""
    parts = [trn("{shown} skipped", "{shown} skipped", progress.skipped, shown=number(progress.skipped)) if progress.skipped else "",
             trn("{shown} flagged", "{shown} flagged", progress.flagged, shown=number(progress.flagged)) if progress.flagged else ""]
    return ", ".join(p for p in parts if p)


def enough_words(labels: int) -> str:
    """What so many labels are good for."""
    if labels >= FIRST:
        return tr("enough for a first reward model")
    if labels >= FEW:
        return tr("a start; {count} make a first reward model", count=number(FIRST))
    return tr("{count} make a first reward model", count=number(FIRST))


def origin_words(one: PairSet) -> str:
    """Where a set is from, as a person says it."""
    origin = one.origin
    if one.run:
        return tr("made by run {number}", number=one.run.partition("-")[0])
    if origin.startswith("import:"):
        return tr("from {file}", file=origin.removeprefix("import:").replace("\\", "/").rpartition("/")[2] or tr("a file"))
    return {"vote": tr("votes of chats and comparisons"), "judge": tr("what the judge kept and rejected"),
            "labels": tr("came with labels of another machine"), "": tr("by hand")}.get(origin, origin)
