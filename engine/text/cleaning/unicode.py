"""One code for each accented letter (NFC, Unicode Standard Annex 15), and no characters that nobody sees or needs.

What goes: control characters, byte-order marks, zero-width and direction marks where the script has no use for them, soft hyphens, tag
characters outside flags, non-characters of the basic plane, and what follows the thirtieth mark on one letter. What becomes a line end:
a lone carriage return, form feed, vertical tab, NEL. What stays: "\\n" and "\\t"; joiners in Arabic, Persian, Indic and the other scripts
that are written with them, and inside emoji; zero-width spaces between Thai, Lao, Tibetan, Burmese or Khmer letters; direction marks in
texts with letters that run from right to left (never overrides, which make a text read differently from what it is); variation
selectors; private letters.

It does not touch quotes, dashes, kinds of spaces or compatibility forms (no NFKC), and "\\r\\n" is left to whitespace.py.
"""

import re
import unicodedata
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.text.cleaning.draft import Draft
from engine.text.cleaning.excerpt import around

MARKS = 30
"""Marks on one letter that are kept: the stream-safe limit of the standard. It also bounds the time to order them."""

_NEW_LINES = "\x0b\x0c\x85"
_JOINING = ("\u0600-\u06ff\u0700-\u07ff\u0840-\u08ff\ufb50-\ufdff\ufe70-\ufefe"      # Arabic, Syriac, N'Ko, Mandaic
            "\u0900-\u109f\u1700-\u18af\u1900-\u1cff\ua800-\uabff\U00011000-\U00011fff")  # Indic and South East Asian, Mongolian
_SPACELESS = "\u0e00-\u109f\u1780-\u17ff\u1950-\u1aaf\ua9e0-\ua9ff\uaa60-\uaadf"
_EMOJI = "\u00a9\u00ae\u203c\u2049\u20e3\u2100-\u2bff\u3030\u303d\u3297\u3299\ufe0f\U0001f000-\U0001faff\U000e007f"
_TAGS = "\U000e0020-\U000e007f"
_DROPPED = "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffc\ufdd0-\ufdef\ufffe\uffff"
_DIRECTION = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_SOMETIMES = rf"\u200b-\u200d{_TAGS}\U000e0001"


def _dropped(always: str) -> re.Pattern[str]:
    """One class leads the pattern, so that the search skips from candidate to candidate; what stands before and behind decides then."""
    return re.compile(
        rf"[{always}{_SOMETIMES}](?:(?<=[{always}])"
        rf"|(?<=\u200c)(?<![{_JOINING}]\u200c)"
        rf"|(?<=\u200d)(?:(?<![{_JOINING}{_EMOJI}]\u200d)|(?<=[{_EMOJI}]\u200d)(?![{_EMOJI}]))"
        rf"|(?<=\u200b)(?<![{_SPACELESS}]\u200b)"
        rf"|(?<=[{_TAGS}\U000e0001])(?<![\U0001f3f4{_TAGS}][{_TAGS}\U000e0001])[{_TAGS}\U000e0001]*)")


_LEFT, _RIGHT = _dropped(_DROPPED + _DIRECTION), _dropped(_DROPPED + "\u202d\u202e")
_LINE = re.compile(f"\r(?!\n)|[{_NEW_LINES}]")
_RIGHT_LETTERS = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")

# Characters that need a second look, for RE2: those above, and everything that may not stand so in NFC. Left out are the large blocks in
# which every character is its own NFC form and no mark: Greek and Cyrillic letters, punctuation, Han, kana, Hangul syllables, emoji.
_SUSPECT = (r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x{9f}\x{ad}\x{300}-\x{377}\x{37e}\x{387}\x{483}-\x{489}\x{591}-\x{5c7}\x{610}-\x{61c}"
            r"\x{64b}-\x{65f}\x{670}\x{6d6}-\x{6ed}\x{700}-\x{903}\x{93a}-\x{93c}\x{94d}-\x{954}\x{958}-\x{dff}\x{e38}-\x{e3a}"
            r"\x{e48}-\x{e4b}\x{e4d}-\x{10ff}\x{1100}-\x{1dff}\x{1f00}-\x{1fff}\x{2000}-\x{2001}\x{200b}-\x{200f}\x{202a}-\x{202e}"
            r"\x{2060}-\x{206f}\x{20d0}-\x{20ff}\x{2126}\x{212a}\x{212b}\x{2329}\x{232a}\x{2adc}\x{2c00}-\x{2fff}\x{302a}-\x{302f}"
            r"\x{3099}\x{309a}\x{a000}-\x{abff}\x{d7a4}-\x{d7ff}\x{f900}-\x{feff}\x{fff9}-\x{fffc}\x{fffe}-\x{1efff}\x{2f800}-\x{2fa1f}"
            r"\x{1fffe}\x{1ffff}\x{2fffe}\x{2ffff}\x{3fffe}-\x{10ffff}]|\r(?:[^\n]|\z)")


class Unicode:
    id = "unicode"

    def suspects(self, texts: pa.Array) -> np.ndarray:
        """bool [documents]: which could change. The others are clean for certain."""
        return np.asarray(pc.match_substring_regex(texts, _SUSPECT))

    def __call__(self, draft: Draft) -> None:
        text, count = clean(draft.text)
        if count:
            draft.touch(self.id, text, count, *around(draft.text, text))


def clean(text: str) -> tuple[str, int]:
    """The text and how many characters were replaced, dropped or joined."""
    if text.isascii() and text.isprintable():
        return text, 0
    made, lines = _LINE.subn("\n", text)
    made, dropped = (_RIGHT if _RIGHT_LETTERS.search(made) else _LEFT).subn("", made)
    marks = joined = 0
    if not made.isascii():
        many, cut = _long_marks()
        if many.search(made):
            made, marks = cut.subn(r"\1", made)
        if not unicodedata.is_normalized("NFC", made):
            normal = unicodedata.normalize("NFC", made)
            joined = max(1, abs(len(made) - len(normal)))
            made = normal
    return made, lines + dropped + marks + joined


@cache
def _long_marks() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """(what finds more marks in a row than letters carry, what cuts them). Sorting them takes the square of their number."""
    marks = [code for code in range(0x300, 0x1F000) if unicodedata.combining(chr(code))]
    exact = _ranges(marks, 1)
    # Python's search slows with every range beyond the basic plane, so that a few wide ones stand for them.
    wide = _ranges([m for m in marks if m < 0x10000], 1) + _ranges([m for m in marks if m >= 0x10000], 0x1000)
    return re.compile(f"[{wide}](?=[{wide}]{{{MARKS}}})"), re.compile(f"([{exact}]{{{MARKS}}})[{exact}]+")


def _ranges(codes: list[int], gap: int) -> str:
    """The inside of a character class; neighbours up to `gap` apart become one range."""
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and code - ranges[-1][1] <= gap:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)
