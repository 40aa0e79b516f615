"""Where a quote stands in a document of a corpus, with what is around it; and where two texts differ. For whoever reads examples through.

It answers questions of probe.py and writes nothing.
"""

from pathlib import Path
from typing import Any

from engine.contract.errors import NotFound
from engine.contract.words import tr
from engine.text.browse.diff import pieces
from engine.text.corpus import REMOVED, SPLITS, Corpus

AROUND = 700
LOT = 50_000
LONGEST = 20_000
"""Characters of each text that are compared: a person reads no more beside another."""


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
    """{"pieces": [["same"|"removed"|"added", "text"], ..], "cut": bool}: diff.pieces of the beginnings of two texts."""
    return {"pieces": [list(piece) for piece in pieces(before[:LONGEST], after[:LONGEST])],
            "cut": max(len(before), len(after)) > LONGEST}


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
