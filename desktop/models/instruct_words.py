"""Reasons and scores of examples as a person reads them. No Qt."""

from engine.contract.words import tr
from engine.generators import flags


def score_words(score: float) -> str:
    """A judge's score."""
    return tr("{score} of 10", score=f"{score:.1f}".removesuffix(".0"))


def flag_words(id: str) -> str:
    """Why a row was set aside, in two or three words for a badge or a cell."""
    title = flags.flag(id).title
    return title[:1].lower() + title[1:]


def flag_sentence(id: str) -> str:
    """What that means."""
    return flags.flag(id).sentence
