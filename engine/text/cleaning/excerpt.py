"""The few characters around a change, for people to look at; invisible characters are written out. It decides nothing."""

import unicodedata

SIDE, LENGTH = 24, 80
"""Characters shown before the first difference, and in all."""


def shown(text: str) -> str:
    """One line in which line ends, tabs and invisible characters can be seen: "a\\u200b\\n" -> "a⟨U+200B⟩⏎"."""
    if text.isprintable():
        return text
    out = []
    for sign in text:
        if sign == "\n":
            out.append("⏎")
        elif sign == "\t":
            out.append("⇥")
        elif sign.isprintable() or unicodedata.category(sign) == "Zs":
            out.append(sign)
        else:
            out.append(f"⟨U+{ord(sign):04X}⟩")
    return "".join(out)


def around(before: str, after: str) -> tuple[str, str]:
    """Both texts from a little before to a little after their first difference, in time that depends on where it stands."""
    start = max(0, first_difference(before, after) - SIDE)
    mark = "…" if start else ""
    return tuple(mark + shown(text[start:start + LENGTH]) + ("…" if len(text) > start + LENGTH else "") for text in (before, after))


def first_difference(one: str, other: str) -> int:
    """The index of the first character that differs."""
    low, width = 0, 256
    shorter = min(len(one), len(other))
    while low < shorter and one[low:low + width] == other[low:low + width]:
        low += width
        width *= 2
    low = min(low, shorter)
    high = min(low + width, shorter)
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
