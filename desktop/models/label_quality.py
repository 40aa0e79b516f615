"""What stands beside the card: how sure the person is, and what more labels would buy. Read through a connection of its own, so that no
label waits for it. No Qt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from desktop.models.label_words import FIRST
from engine.contract.units import number, percent
from engine.contract.words import tr, trn
from engine.project.label_quality import Quality, Share
from engine.project.library import Library

if TYPE_CHECKING:
    from engine.project.project import Project

FEW_PICKS, FEW_REPEATS = 8, 5
LOW_AGREEMENT = 0.8


@dataclass(frozen=True)
class Habit:
    """A share (None: too little is known), what it is called, and a sentence about it; `odd` where it is worth a second look."""

    title: str
    share: float | None
    figure: str
    sentence: str
    odd: bool = False
    why: str = ""


@dataclass(frozen=True)
class Promise:
    """What 50 more labels would buy, and where that is from; or what is missing."""

    sentence: str
    note: str = ""


@dataclass(frozen=True)
class Beside:
    """Everything beside the card."""

    quality: Quality
    promise: Promise
    guidelines: str


def read(project: "Project", sets: Sequence[str], author: str) -> Beside:
    """In a thread."""
    library = Library(project.dir)
    try:
        pairs = library.pairs
        quality = pairs.quality(list(sets), author)
        labels = sum(pairs.authors(list(sets)).values())
        return Beside(quality, promise(project, labels), pairs.guidelines().markdown)
    finally:
        library.close()


def people(project: "Project", sets: Sequence[str]) -> Quality:
    """Of everybody's labels. In a thread."""
    library = Library(project.dir)
    try:
        return library.pairs.quality(list(sets))
    finally:
        library.close()


def set_guidelines(project: "Project", markdown: str, author: str) -> None:
    """Another version of them; earlier ones are kept."""
    project.library.pairs.set_guidelines(markdown, author)


def promise(project: "Project", labels: int) -> Promise:
    """From the newest reward model's learning curve, where there is one."""
    made = [a for a in project.artifacts.list("reward_model")]
    newest = max(made, key=lambda a: a.created, default=None)
    if newest is None:
        return Promise(tr("Not known yet: a first reward model tells."),
                       tr("Train one from about {count} labels on.", count=number(FIRST)) if labels < FIRST else
                       tr("{count} labels are enough to train one.", count=number(labels)))
    facts = newest.facts
    gain, accuracy = facts.get("gain"), facts.get("accuracy")
    if not isinstance(gain, (int, float)) or not isinstance(accuracy, (int, float)):
        return Promise(tr("The newest reward model drew no learning curve."),
                       tr("It takes at least 40 labels on different prompts, and the setting “Learning curve”."))
    low, high = facts.get("gain_low"), facts.get("gain_high")
    points = f"{100 * gain:+.1f}"
    sentence = tr("About {points} points of held-out accuracy, from {now} to {then}.", points=points, now=percent(accuracy, 1),
                  then=percent(min(1.0, accuracy + gain), 1))
    between = tr("Between {low} and {high} points.", low=f"{100 * low:+.1f}", high=f"{100 * high:+.1f}") \
        if isinstance(low, (int, float)) and isinstance(high, (int, float)) else ""
    source = tr("From the learning curve of “{title}”, an estimate.", title=newest.title)
    fresh = trn("{shown} label came since.", "{shown} labels came since.", new, shown=number(new)) \
        if (new := labels - int(facts.get("labels") or facts.get("pairs") or labels)) > 0 else ""
    return Promise(sentence, " ".join(w for w in (between, source, fresh) if w))


def habits(quality: Quality | None) -> list[Habit]:
    """Self-agreement, the side, the length."""
    if quality is None:
        return [Habit(title, None, "", tr("Reading …")) for title in (tr("Self-agreement"), tr("Left picked"), tr("Longer picked"))]
    return [_agreement(quality.self_agreement), _left(quality.left), _longer(quality.longer)]


def _agreement(one: Share) -> Habit:
    title = tr("Self-agreement")
    if one.n < FEW_REPEATS or one.share is None:
        words = trn("{shown} pair was shown twice so far", "{shown} pairs were shown twice so far", one.n, shown=number(one.n))
        return Habit(title, None, "", words if one.n else tr("no pair was shown twice yet"),
                     why=tr("One in twenty pairs comes again later with its sides swapped."))
    words = tr("{same} of {count} pairs shown twice", same=number(one.count), count=number(one.n))
    odd = (one.high or 0.0) < LOW_AGREEMENT
    return Habit(title, one.share, percent(one.share), tr("{words}: the guidelines may be unclear", words=words) if odd else words, odd,
                 _interval(one))


def _left(one: Share) -> Habit:
    title = tr("Left picked")
    if one.n < FEW_PICKS or one.share is None:
        return Habit(title, None, "", tr("told after {count} picks", count=number(FEW_PICKS)))
    odd = one.excludes(0.5)
    words = (tr("The left side is favoured") if one.share > 0.5 else tr("The right side is favoured")) if odd else tr("No side bias")
    return Habit(title, one.share, percent(one.share), words, odd, _interval(one))


def _longer(one: Share) -> Habit:
    title = tr("Longer picked")
    if one.n < FEW_PICKS or one.share is None:
        return Habit(title, None, "", tr("told after {count} picks", count=number(FEW_PICKS)))
    odd = one.excludes(0.5)
    words = (tr("The model will learn that too") if one.share > 0.5 else tr("Short answers win: the model will learn that too")) if odd \
        else tr("Length does not decide")
    return Habit(title, one.share, percent(one.share), words, odd, _interval(one))


def _interval(one: Share) -> str:
    """Where the share could really be."""
    assert one.low is not None and one.high is not None
    return tr("Of {count}; between {low} and {high} with 95 % confidence", count=number(one.n), low=percent(one.low),
              high=percent(one.high))
