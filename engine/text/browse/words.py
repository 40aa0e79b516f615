"""How the browser cuts text into the terms it can be searched by, and finds them again in a text. No index, no files.

A term is a run of letters and digits without case and accents ("Café" -> "cafe"), at most LONGEST characters of it. In scripts that do not
space words (Han, kana, Thai, Khmer and so on) every letter is a term, and words are found as phrases of letters.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import chain

LONGEST = 40

# Blocks whose words stand without spaces between them.
UNSPACED = ("\u0e01-\u0e4e\u0e81-\u0ecd\u0f40-\u0fbc\u1000-\u109f\u1780-\u17dd\u3005-\u3007\u3041-\u3096\u3099-\u309a\u309d-\u309f"
            "\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U000323af")
# Marks above and below letters that a reader leaves out when searching: accents, Hebrew points, Arabic vowels, the tatweel.
LEFT_OUT = ("\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8"
            "\u06ea-\u06ed")
# Marks that are part of a word as it is written, though Python's \w leaves them out.
MARKS = LEFT_OUT + "\u0483-\u0487\u0900-\u0963\u0966-\u0dff\u1b00-\u1b44\ua8e0-\ua8f1\u3099\u309a"

PIECE = re.compile(rf"[{UNSPACED}]|(?:[^\W_{UNSPACED}]|[{MARKS}])+")
_LEAVE_OUT = re.compile(f"[{LEFT_OUT}]+")
_UNSPACED = re.compile(f"[{UNSPACED}]")
_PLAIN = re.compile("[a-z0-9]+")


def fold(piece: str) -> str:
    """Without case, accents and the differences of width and form: "Ｃafé" -> "cafe"."""
    apart = _LEAVE_OUT.sub("", unicodedata.normalize("NFKD", piece))
    return unicodedata.normalize("NFC", apart.casefold())


class _Folded(dict[str, tuple[str, ...]]):
    """Terms of a piece, remembered: letters of unspaced scripts come again and again."""

    def __missing__(self, piece: str) -> tuple[str, ...]:
        folded = fold(piece)
        again = PIECE.findall(folded)   # a sign such as ½ becomes two numbers
        made = tuple(p[:LONGEST] for p in again)
        if len(self) > 200_000:
            self.clear()
        self[piece] = made
        return made


_FOLDED = _Folded()


def terms(text: str) -> list[str]:
    """The terms of a text, in order."""
    if text.isascii():
        return [term[:LONGEST] for term in _PLAIN.findall(text.lower())]
    return list(chain.from_iterable(map(_FOLDED.__getitem__, PIECE.findall(text))))


def spaced(term: str) -> bool:
    """Whether spaces separate this term from its neighbours."""
    return not _UNSPACED.match(term)


@cache
def _forms() -> dict[str, str]:
    """Which letters a folded letter may have been, {"e": "EéÉèÈ..."}, and which single ones two or three: {"ss": "ßẞ"}."""
    found: dict[str, list[str]] = {}
    for code in chain(range(0x30, 0x3000), range(0xFB00, 0xFB07), range(0xFF01, 0xFFEF)):
        letter = chr(code)
        if letter.isalnum() and (folded := fold(letter)) != letter:
            if len(folded) == 1 or folded.isalpha() and unicodedata.category(letter)[0] == "L":
                found.setdefault(folded, []).append(letter)
    return {folded: "".join(letters) for folded, letters in found.items()}


def _letters(term: str) -> str:
    """A pattern for a term as it may be written, with the marks that may stand after its letters."""
    forms, made, at = _forms(), [], 0
    while at < len(term):
        single = next((term[at:at + n] for n in (3, 2) if term[at:at + n] in forms and len(term) >= at + n), "")
        letters = [f"[{letter}{forms[letter]}]" if letter in forms else re.escape(letter) for letter in single or term[at]]
        apart = "".join(f"{letter}[{LEFT_OUT}]*" for letter in letters)
        made.append(f"(?:{apart}|[{forms[single]}])" if single else apart)
        at += len(letters)
    return "".join(made)


def pattern_of(phrase: tuple[str, ...], prefix: bool) -> str:
    """A pattern of Python's `re` for a word or phrase as it may be written: not inside another word, and to the word's end for a prefix."""
    inside = rf"(?:[^\W_{UNSPACED}]|[{MARKS}])"
    made = "" if not spaced(phrase[0]) else rf"(?<![^\W_{UNSPACED}])(?<![{MARKS}])"
    for number, term in enumerate(phrase):
        if number:
            # As in the index, where punctuation and spaces between words do not count.
            made += r"(?:[\W_])+?" if spaced(term) and spaced(phrase[number - 1]) else r"(?:[\W_])*?"
        made += _letters(term)
        if len(term) == LONGEST:
            made += f"{inside}*"
    last = phrase[-1]
    return made + ("" if not spaced(last) else f"{inside}*" if prefix else f"(?!{inside})")


def arrow_pattern_of(phrase: tuple[str, ...], prefix: bool) -> str:
    """The same for RE2, which Arrow runs over many texts at once: it has no look-around, so that borders are matched."""
    word = r"\pL\pN\pM"
    border = rf"[^{word}]|[{UNSPACED}]"
    made = "" if not spaced(phrase[0]) else f"(?:^|{border})"
    for number, term in enumerate(phrase):
        if number:
            made += rf"[^{word}]+" if spaced(term) and spaced(phrase[number - 1]) else rf"[^{word}]*"
        made += _letters(term)
        if len(term) == LONGEST:
            made += rf"[{word}]*"
    last = phrase[-1]
    return made + ("" if prefix or not spaced(last) else f"(?:$|{border})")


def places(pattern: re.Pattern[str], text: str, limit: int) -> Iterator[tuple[int, int]]:
    """Where a pattern stands in a text: (from, to) in characters, the first `limit`."""
    for number, found in enumerate(pattern.finditer(text)):
        if number >= limit:
            return
        yield found.span()
