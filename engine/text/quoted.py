"""Where a quote stands in a document of a corpus, with what is around it; and where two texts differ. For whoever reads examples through.

It answers questions of probe.py and writes nothing.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.contract.errors import NotFound
from engine.contract.words import tr
from engine.text.browse.diff import Piece, pieces
from engine.text.corpus import REMOVED, SPLITS, Corpus

AROUND = 700
LOT = 50_000
LONGEST = 20_000
"""Characters of each text that are compared: a person reads no more beside another."""
_HEAD, _TAIL, _END = re.compile(r"\w+"), re.compile(r"\w+$"), re.compile(r"\w$")


def quoted(corpus: str, document: str, quote: str = "", start: int = -1, end: int = -1, around: int = AROUND) -> dict[str, Any]:
    """{"text": .., "mark": [from, to] or null, "source": .., "split": .., "before": bool, "after": bool}: up to `around` characters on
    each side of text[start:end], or of where `quote` stands where that is something else; the beginning of the document where it stands
    nowhere. `before` and `after` say whether the document goes on there. NotFound where the corpus holds no such document."""
    import pyarrow.compute as pc

    opened = Corpus.open(Path(corpus))
    for split in (*SPLITS, REMOVED):
        for row in _rows(opened, split, document, pc):
            found = opened.document(split, row)
            text, mark = found.text, _place(found.text, quote, start, end)
            low, high = (max(0, mark[0] - around), min(len(text), mark[1] + around)) if mark else (0, min(len(text), 2 * around))
            while 0 < low < (mark[0] if mark else 0) and not text[low - 1].isspace():
                low += 1
            while len(text) > high > (mark[1] if mark else 0) and not text[high].isspace():
                high -= 1
            return {"text": text[low:high], "mark": [mark[0] - low, mark[1] - low] if mark else None, "source": found.source,
                    "split": split, "before": low > 0, "after": high < len(text)}
    raise NotFound(tr("The document is no longer in this corpus."), tr("Its quote is shown as it was kept."))


def differences(before: str, after: str) -> dict[str, Any]:
    """{"pieces": [["same"|"removed"|"added", "text"], ..], "cut": bool}: diff.pieces of the beginnings of two texts, by whole words."""
    return {"pieces": [list(piece) for piece in whole_words(pieces(before[:LONGEST], after[:LONGEST]))],
            "cut": max(len(before), len(after)) > LONGEST}


def whole_words(found: Sequence[Piece]) -> list[Piece]:
    """The same differences without marks inside a word: a word that differs in part differs as a whole."""
    spans: list[tuple[str, str, bool]] = []  # (before, after, the same), in turns
    for kind, text in found:
        if kind == "same" or not spans or spans[-1][2]:
            spans.append((text, text, True) if kind == "same" else (text, "", False) if kind == "removed" else ("", text, False))
        else:
            one, other, _ = spans[-1]
            spans[-1] = (one + text, other, False) if kind == "removed" else (one, other + text, False)
    made: list[tuple[str, str, bool]] = []
    for place, (one, other, same) in enumerate(spans):
        if not same:
            held = made.pop() if made and not made[-1][2] else ("", "", False)
            made.append((held[0] + one, held[1] + other, False))
            continue
        head = _HEAD.match(one) if place and any(_END.search(part) for part in spans[place - 1][:2]) else None
        first = head.group() if head else ""
        goes_on = place + 1 < len(spans) and any(_HEAD.match(part) for part in spans[place + 1][:2])
        tail = _TAIL.search(one[len(first):]) if goes_on else None
        last = tail.group() if tail else ""
        middle = one[len(first):len(one) - len(last)]
        if first:
            made[-1] = (made[-1][0] + first, made[-1][1] + first, False)
        if middle:
            made.append((middle, middle, True))
        if last:
            held = made.pop() if made and not made[-1][2] else ("", "", False)
            made.append((held[0] + last, held[1] + last, False))
    pieces_of: list[Piece] = []
    for one, other, same in made:
        pieces_of += [("same", one)] if same else [(kind, text) for kind, text in (("removed", one), ("added", other)) if text]
    return pieces_of


def _rows(opened: Corpus, split: str, document: str, pc: Any) -> list[int]:
    """Where a document stands in a split: at most one place. Ids are compared in Arrow, a lot at a time."""
    import numpy as np

    before = 0
    total = opened.count(split)
    while before < total:
        rows = np.arange(before, min(total, before + LOT))
        at = pc.index(opened.take(split, rows, "id"), document).as_py()
        if at >= 0:
            return [before + at]
        before += len(rows)
    return []


def _place(text: str, quote: str, start: int, end: int) -> tuple[int, int] | None:
    if 0 <= start < end <= len(text) and (not quote or text[start:end] == quote):
        return start, end
    at = text.find(quote) if quote else -1
    return (at, at + len(quote)) if at >= 0 else None
