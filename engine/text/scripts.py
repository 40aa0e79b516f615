"""Which writing system a character belongs to, coarsely: enough to say how well a tokenizer serves Latin, Cyrillic, Han and so on.

By ranges of code points (Unicode blocks), not character by character; digits, white space, punctuation and symbols belong to none.
"""

from functools import cache

import numpy as np

from engine.contract.words import tr

OTHER = "other"
COMMON = "common"
# (name, ranges); a later entry wins where ranges overlap.
_BLOCKS: tuple[tuple[str, tuple[tuple[int, int], ...]], ...] = (
    ("latin", ((0x41, 0x5A), (0x61, 0x7A), (0xAA, 0xAA), (0xBA, 0xBA), (0xC0, 0x24F), (0x250, 0x2AF), (0x1E00, 0x1EFF), (0x2C60, 0x2C7F),
               (0xA720, 0xA7FF), (0xAB30, 0xAB6F), (0xFB00, 0xFB06), (0xFF21, 0xFF3A), (0xFF41, 0xFF5A))),
    ("greek", ((0x370, 0x3FF), (0x1F00, 0x1FFF))),
    ("cyrillic", ((0x400, 0x52F), (0x1C80, 0x1C8F), (0x2DE0, 0x2DFF), (0xA640, 0xA69F))),
    ("armenian", ((0x531, 0x58F),)),
    ("hebrew", ((0x591, 0x5FF), (0xFB1D, 0xFB4F))),
    ("arabic", ((0x600, 0x6FF), (0x750, 0x77F), (0x870, 0x8FF), (0xFB50, 0xFDFF), (0xFE70, 0xFEFE))),
    ("devanagari", ((0x900, 0x97F), (0xA8E0, 0xA8FF))),
    ("bengali", ((0x980, 0x9FF),)),
    ("gurmukhi", ((0xA00, 0xA7F),)),
    ("gujarati", ((0xA80, 0xAFF),)),
    ("tamil", ((0xB80, 0xBFF),)),
    ("telugu", ((0xC00, 0xC7F),)),
    ("kannada", ((0xC80, 0xCFF),)),
    ("malayalam", ((0xD00, 0xD7F),)),
    ("sinhala", ((0xD80, 0xDFF),)),
    ("thai", ((0xE00, 0xE7F),)),
    ("lao", ((0xE80, 0xEFF),)),
    ("tibetan", ((0xF00, 0xFFF),)),
    ("burmese", ((0x1000, 0x109F),)),
    ("georgian", ((0x10A0, 0x10FF), (0x1C90, 0x1CBF), (0x2D00, 0x2D2F))),
    ("ethiopic", ((0x1200, 0x139F), (0x2D80, 0x2DDF))),
    ("khmer", ((0x1780, 0x17FF),)),
    ("hangul", ((0x1100, 0x11FF), (0x3130, 0x318F), (0xA960, 0xA97F), (0xAC00, 0xD7FF))),
    ("kana", ((0x3041, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F))),
    ("han", ((0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF))),
    ("emoji", ((0x2600, 0x27BF), (0x1F000, 0x1FAFF))),
)
NAMES = (COMMON, OTHER, *(name for name, _ in _BLOCKS))


def title(name: str) -> str:
    """The script's name for people."""
    return {
        COMMON: tr("Digits, spaces, signs"), OTHER: tr("Other scripts"), "latin": tr("Latin"), "greek": tr("Greek"),
        "cyrillic": tr("Cyrillic"), "armenian": tr("Armenian"), "hebrew": tr("Hebrew"), "arabic": tr("Arabic"),
        "devanagari": tr("Devanagari"), "bengali": tr("Bengali"), "gurmukhi": tr("Gurmukhi"), "gujarati": tr("Gujarati"),
        "tamil": tr("Tamil"), "telugu": tr("Telugu"), "kannada": tr("Kannada"),
        "malayalam": tr("Malayalam"), "sinhala": tr("Sinhala"), "thai": tr("Thai"), "lao": tr("Lao"), "tibetan": tr("Tibetan"),
        "burmese": tr("Burmese"), "georgian": tr("Georgian"), "ethiopic": tr("Ethiopic"), "khmer": tr("Khmer"), "hangul": tr("Hangul"),
        "kana": tr("Kana"), "han": tr("Han"), "emoji": tr("Emoji"),
    }[name]


@cache
def _table() -> np.ndarray:
    """uint8 [0x110000]: index into NAMES of every code point."""
    table = np.zeros(0x110000, np.uint8)
    table[0x2B0:] = NAMES.index(OTHER)
    # Modifier letters and combining marks go with what they stand on; punctuation, currency, arrows, boxes, CJK signs and forms are common.
    for first, last in ((0x2B0, 0x36F), (0x2000, 0x2BFF), (0x3000, 0x3040), (0xFE00, 0xFE6F), (0xFEFF, 0xFEFF), (0xFF00, 0xFF65),
                        (0xFFE0, 0xFFFF), (0xE0000, 0x10FFFF)):
        table[first:last + 1] = 0
    for name, ranges in _BLOCKS:
        for first, last in ranges:
            table[first:last + 1] = NAMES.index(name)
    table[[0xD7, 0xF7, 0x37E, 0x387]] = 0
    return table


def codes(text: str) -> np.ndarray:
    """uint8, one for each character of `text` (no surrogates): the index into NAMES of its script."""
    return _table()[np.frombuffer(text.encode("utf-32-le"), np.uint32)]


def codes_of_bytes(text: str) -> np.ndarray:
    """uint8, one for each UTF-8 byte of `text` (no surrogates): the index into NAMES of the character the byte belongs to."""
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    widths = 1 + (points > 0x7F) + (points > 0x7FF) + (points > 0xFFFF)
    return np.repeat(_table()[points], widths)


def shares(text: str) -> dict[str, float]:
    """Script -> share of the bytes of `text`, largest first; scripts that do not occur are left out."""
    counts = np.bincount(codes_of_bytes(text), minlength=len(NAMES))
    found = {NAMES[i]: counts[i] / max(1, counts.sum()) for i in np.argsort(-counts, kind="stable") if counts[i]}
    return {name: float(share) for name, share in found.items()}
