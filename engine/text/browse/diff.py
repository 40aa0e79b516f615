"""What was cut out of a text and what was put in: two versions as pieces that are the same, removed or added. Bounded time at any length.

The texts are cut into short stretches (lines, sentences) that are matched without regard to case, spaces and signs; stretches that match,
and what stands between matches, are compared word by word, and changed words by their letters. Matching is patience: items that stand
exactly once on both sides are anchors, in the longest order that both share, and so on between the anchors.
"""

import re
import zlib
from bisect import bisect_left
from collections.abc import Hashable, Sequence
from difflib import SequenceMatcher
from typing import Literal

Piece = tuple[Literal["same", "removed", "added"], str]

_STRETCH = re.compile(r"[^\n.!?;,。！？；，、]*[\n.!?;,。！？；，、]+[ \t\r\n]*|[^\n.!?;,。！？；，、]+")
_WORD = re.compile(r"[^\W_]+|\s|[\W_]")
_SIGNS = re.compile(r"[\W_]+")
LONG_STRETCH = 400
"""A stretch longer than this is cut further, after words that a hash picks: so both versions are cut at the same words."""
SMALL = 10_000
"""Items of one side times items of the other that difflib may compare where there are no anchors."""
SHORTER = 1.5
"""A text is an excerpt of one that is so many times as long."""
SAMPLE, SAMPLES = 32, 64
"""Length and number of the samples by which an excerpt is found in its long text."""
LEAST_SHARED = 8
"""Versions that are changed beyond this share of words (one in so many) are shown as removed and added whole."""


def pieces(before: str, after: str) -> list[Piece]:
    """same + removed pieces joined are `before`, same + added ones are `after`. What was removed stands before what replaced it."""
    if before == after:
        return [("same", before)] if before else []
    made = _Pieces()
    one, other = _stretches(before), _stretches(after)
    at_one = at_other = 0
    for i, j in [*_matches([_key(s) for s in one], [_key(s) for s in other]), (len(one), len(other))]:
        _words("".join(one[at_one:i]), "".join(other[at_other:j]), made)
        if i < len(one):
            _words(one[i], other[j], made)
        at_one, at_other = i + 1, j + 1
    return made.done()


def stretch_of(whole: str, part: str) -> tuple[int, int]:
    """Where in `whole` the text of a much shorter `part` stands, (start, end) in characters: samples of `part` that stand exactly once in
    `whole` say where it begins. All of `whole` where `part` is not much shorter, or cannot be found."""
    everything = (0, len(whole))
    if not part or len(whole) < SHORTER * len(part):
        return everything
    begins: list[int] = []
    step = max(1, (len(part) - SAMPLE) // SAMPLES)
    for at in range(0, max(1, len(part) - SAMPLE + 1), step):
        sample = part[at:at + SAMPLE]
        place = whole.find(sample)
        if place >= 0 and whole.find(sample, place + 1) < 0:
            begins.append(place - at)
    if not begins:
        return everything
    begin = sorted(begins)[len(begins) // 2]
    near = [b for b in begins if abs(b - begin) <= max(SAMPLE, len(part) // 4)]  # what was edited shifts the others a little
    low, high = max(0, min(near)), min(len(whole), max(near) + len(part))
    while low > 0 and not whole[low - 1].isspace() and min(near) - low < SAMPLE:
        low -= 1
    while high < len(whole) and not whole[high].isspace() and high - max(near) - len(part) < SAMPLE:
        high += 1
    return low, high


def _stretches(text: str) -> list[str]:
    found: list[str] = []
    for stretch in _STRETCH.findall(text):
        if len(stretch) <= LONG_STRETCH:
            found.append(stretch)
            continue
        start = 0
        for word in re.finditer(r"\S+\s*", stretch):
            if zlib.crc32(word[0].strip().encode("utf-8", "surrogatepass")) % 8 == 0 or word.end() - start > LONG_STRETCH:
                found.append(stretch[start:word.end()])
                start = word.end()
        if start < len(stretch):
            found.append(stretch[start:])
    return found


def _key(stretch: str) -> str:
    """What a stretch says, without case, spaces and signs; of signs alone, themselves."""
    return _SIGNS.sub("", stretch).casefold() or stretch


def _words(before: str, after: str, made: "_Pieces") -> None:
    if before == after:
        made.add("same", before)
        return
    if not before or not after:
        made.add("removed", before)
        made.add("added", after)
        return
    one, other = _WORD.findall(before), _WORD.findall(after)
    found = _matches(one, other)
    if len(found) * LEAST_SHARED < min(len(one), len(other)):
        found = []      # a word here and there in common says nothing, and reads badly
    at_one = at_other = 0
    for i, j in [*found, (len(one), len(other))]:
        _letters("".join(one[at_one:i]), "".join(other[at_other:j]), made)
        if i < len(one):
            made.add("same", one[i])
        at_one, at_other = i + 1, j + 1


def _letters(before: str, after: str, made: "_Pieces") -> None:
    """The ends that changed words share stay: Ã in “CafÃ©”, not the word."""
    most = min(len(before), len(after))
    start = next((i for i in range(most) if before[i] != after[i]), most)
    end = next((i for i in range(most - start) if before[-1 - i] != after[-1 - i]), most - start)
    made.add("same", before[:start])
    made.add("removed", before[start:len(before) - end])
    made.add("added", after[start:len(after) - end])
    made.add("same", before[len(before) - end:])


def _matches(one: Sequence[Hashable], other: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Pairs of places with equal items, rising on both sides."""
    found: list[tuple[int, int]] = []
    open_spans = [(0, len(one), 0, len(other))]
    while open_spans:
        low, high, other_low, other_high = open_spans.pop()
        while low < high and other_low < other_high and one[low] == other[other_low]:
            found.append((low, other_low))
            low, other_low = low + 1, other_low + 1
        while low < high and other_low < other_high and one[high - 1] == other[other_high - 1]:
            high, other_high = high - 1, other_high - 1
            found.append((high, other_high))
        if low == high or other_low == other_high:
            continue
        anchors = _anchors(one, other, low, high, other_low, other_high)
        if anchors:
            found += anchors
            for i, j in [*anchors, (high, other_high)]:
                open_spans.append((low, i, other_low, j))
                low, other_low = i + 1, j + 1
        elif (high - low) * (other_high - other_low) <= SMALL:
            matcher = SequenceMatcher(None, one[low:high], other[other_low:other_high], autojunk=False)
            for i, j, length in matcher.get_matching_blocks():
                found += [(low + i + k, other_low + j + k) for k in range(length)]
    return sorted(found)


def _anchors(one: Sequence[Hashable], other: Sequence[Hashable], low: int, high: int, other_low: int,
             other_high: int) -> list[tuple[int, int]]:
    """Items that stand once in each span, in the longest order common to both."""
    places = _once(one, low, high)
    pairs = sorted((places[item], j) for item, j in _once(other, other_low, other_high).items() if item in places)
    tops: list[int] = []            # the smallest end of a rising row of each length, by place in `other`
    rows: list[int] = []            # which pair that is
    before: list[int] = []          # of each pair, the one before it in its row
    for number, (_, j) in enumerate(pairs):
        length = bisect_left(tops, j)
        before.append(rows[length - 1] if length else -1)
        if length == len(tops):
            tops.append(j)
            rows.append(number)
        else:
            tops[length], rows[length] = j, number
    found, at = [], rows[-1] if rows else -1
    while at >= 0:
        found.append(pairs[at])
        at = before[at]
    return found[::-1]


def _once(items: Sequence[Hashable], low: int, high: int) -> dict[Hashable, int]:
    places: dict[Hashable, int] = {}
    for number in range(low, high):
        places[items[number]] = -1 if items[number] in places else number
    return {item: place for item, place in places.items() if place >= 0}


class _Pieces:
    """Collects pieces: neighbours of a kind become one, and between two same ones the removed stands before the added."""

    def __init__(self) -> None:
        self._made: list[Piece] = []
        self._same: list[str] = []
        self._removed: list[str] = []
        self._added: list[str] = []

    def add(self, kind: str, text: str) -> None:
        if not text:
            return
        if kind == "same":
            self._flush_changes()
            self._same.append(text)
        else:
            self._flush_same()
            (self._removed if kind == "removed" else self._added).append(text)

    def _flush_same(self) -> None:
        if self._same:
            self._made.append(("same", "".join(self._same)))
            self._same = []

    def _flush_changes(self) -> None:
        if self._removed:
            self._made.append(("removed", "".join(self._removed)))
        if self._added:
            self._made.append(("added", "".join(self._added)))
        self._removed, self._added = [], []

    def done(self) -> list[Piece]:
        self._flush_same()
        self._flush_changes()
        return self._made
