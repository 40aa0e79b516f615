"""Mends text that was decoded with the wrong encoding once or several times, as in “CafÃ©”, by ftfy (Robyn Speer; Apache-2.0), line by
line and only where ftfy is certain. Characters that Windows-1252 puts where Latin-1 has control codes are mended too.

Only encodings: quotes stay as they are, HTML entities too, nothing is normalised. Lines without two neighbours that such a mistake makes
are never shown to ftfy: clean text costs one fast search.
"""

import re
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ftfy import TextFixerConfig, fix_encoding
from ftfy.chardata import CHARMAP_ENCODINGS

from engine.text.cleaning.draft import Draft
from engine.text.cleaning.excerpt import around

LINE = 4_000
"""Characters that are looked at together; a longer line is cut at spaces, so that the time grows with the length only."""
_CONFIG = TextFixerConfig(unescape_html=False, remove_terminal_escapes=False, fix_latin_ligatures=False, fix_character_width=False,
                          uncurl_quotes=False, fix_line_breaks=False, fix_surrogates=False, remove_control_chars=False, normalization=None,
                          explain=False)


class Mojibake:
    id = "mojibake"

    def suspects(self, texts: pa.Array) -> np.ndarray:
        """bool [documents]: which could hold garbled letters."""
        return np.asarray(pc.match_substring_regex(texts, _pattern()))

    def __call__(self, draft: Draft) -> None:
        text, count = clean(draft.text)
        if count:
            draft.touch(self.id, text, count, *around(draft.text, text))


def clean(text: str) -> tuple[str, int]:
    """The text and how many lines of it were mended."""
    if text.isascii():
        return text, 0
    lines = text.split("\n")
    count = 0
    for number, line in enumerate(lines):
        if not line.isascii() and _search().search(line):
            mended = "".join(_mend(piece) for piece in _pieces(line))
            if mended != line:
                lines[number] = mended
                count += 1
    return "\n".join(lines), count


def _mend(line: str) -> str:
    return fix_encoding(line, _CONFIG) if _search().search(line) else line


def _pieces(line: str) -> list[str]:
    """A line in pieces of at most LINE characters, cut behind a space where there is one."""
    pieces = []
    at = 0
    while len(line) - at > LINE:
        cut = line.rfind(" ", at + LINE // 2, at + LINE) + 1 or at + LINE
        pieces.append(line[at:cut])
        at = cut
    return [*pieces, line[at:]]


@cache
def _pattern() -> str:
    """What UTF-8 read in one of ftfy's encodings looks like (a lead byte's character and then those of its continuation bytes), and
    control codes of Latin-1; as a regular expression for both RE2 and Python's re."""
    kinds: dict[tuple[str, int], set[str]] = {}
    for encoding in CHARMAP_ENCODINGS:
        signs = [bytes([b]).decode(encoding) for b in range(256)]
        follow = _set({signs[b] for b in range(0x80, 0xC0)})
        for first, last, more in ((0xC2, 0xDF, 1), (0xE0, 0xEF, 2), (0xF0, 0xF4, 3)):
            lead = set(signs[first:last + 1])
            if encoding == "macroman" and more == 1:
                # Its lead bytes are also quotes and dashes, which stand before accented letters in all French text ("l’été").
                lead -= set("«»… –—“”‘’\xa0")
            kinds.setdefault((follow, more), set()).update(lead)
    found = [f"{_set(lead)}{follow}{{{more}}}" for (follow, more), lead in kinds.items()]
    # A no-break space that became a space, "Ã " for "à"; and what ftfy mends of text whose bytes were lost.
    return "|".join((*found, "[ÂÃÅ] ", "[ÃÂ][\ufffd?]", "â\ufffd|â€", "[\x80-\x9f]"))


def _set(signs: set[str]) -> str:
    return "[" + "".join(re.escape(s) for s in sorted(signs)) + "]"


@cache
def _search() -> re.Pattern[str]:
    return re.compile(_pattern())
