"""Passages of documents to ask about, cut at paragraphs and sentences; and whether a quotation stands in one.

Sizes are characters. Nothing is asked here.
"""

import re
from typing import NamedTuple

from engine.text.dedup import grams
from engine.text.readers.cutting import best_cut

LEAST_WORDS = 3
"""A quotation of fewer words stands in any text by chance; characters of unspaced scripts count 5/12."""
_SINGLE, _DOUBLE = "'‘’‚‛`´′ʼ＇", '"“”„‟«»″「」『』＂〝〞'
_FOLD = {**dict.fromkeys(_SINGLE, "'"), **dict.fromkeys(_DOUBLE, '"'), **dict.fromkeys("‐‑‒–—−", "-"), "\xad": "", "\u200b": "",
         "…": "..."}
_EDGES = re.compile(r"""\A[\s'"]+|[\s'"]+\Z""")
_ELIDED = re.compile(r"\A\.\.\.\s*|\s*\.\.\.\Z")


class Passage(NamedTuple):
    """text == document[start:end]."""

    text: str
    start: int
    end: int


def cut(text: str, size: int = 1500, least: int = 200) -> list[Passage]:
    """`text` in passages of some `size` characters, half of that at least and a quarter more at most, without white space around. A rest
    shorter than `least` letters and digits is left out (unless nothing else is there)."""
    assert size >= 40
    found: list[Passage] = []
    start = 0
    while start < len(text):
        rest = len(text) - start
        end = len(text) if rest <= size * 5 // 4 else best_cut(text, start + size // 2, start + size)
        piece = text[start:end]
        begin = start + len(piece) - len(piece.lstrip())
        stop = start + len(piece.rstrip())
        if stop > begin:
            found.append(Passage(text[begin:stop], begin, stop))
        start = end
    rich = [p for p in found if sum(map(str.isalnum, p.text)) >= least]
    return rich or found[:1]


def locate(quote: str, text: str) -> tuple[int, int] | None:
    """Where `quote` stands in `text`, in characters, whatever white space, quote marks and dashes it is written with; None where it does
    not. Marks of omission at its ends are no part of it. One of fewer than three words is none."""
    quote = _folded(quote)[0]
    while (bare := _ELIDED.sub("", _EDGES.sub("", quote))) != quote:
        quote = bare
    if float(grams.weight(*grams.word_hashes([quote]))[0]) < LEAST_WORDS:
        return None
    folded, places = _folded(text)
    at = folded.find(quote)
    # Not from the middle of one word to the middle of another.
    while at >= 0:
        end = at + len(quote)
        if not _joins(folded, at) and not _joins(folded, end):
            return places[at], places[end - 1] + 1
        at = folded.find(quote, at + 1)
    return None


def _joins(text: str, place: int) -> bool:
    return 0 < place < len(text) and _spaced(text[place - 1]) and _spaced(text[place])


def _spaced(sign: str) -> bool:
    """A letter or digit of a script that puts spaces between words."""
    return sign.isalnum() and ord(sign) < 0xE00


def _folded(text: str) -> tuple[str, list[int]]:
    """(text with one kind of quote marks, dashes and white space, place in `text` of each of its characters)."""
    made: list[str] = []
    places: list[int] = []
    for place, sign in enumerate(text):
        if sign.isspace():
            if made and made[-1] != " ":
                made.append(" ")
                places.append(place)
            continue
        for one in _FOLD.get(sign, sign):
            made.append(one)
            places.append(place)
    return "".join(made), places
