"""What a person types into the browser's search, and how the places it finds are shown. No index and no files."""

import re
from typing import NamedTuple

from engine.text.browse.words import pattern_of, places, terms

SNIPPET, LEAD = 240, 60
SCANNED = 300_000
"""Characters of a document that are looked through for the place to show."""


class Atom(NamedTuple):
    """One thing that is searched for: a word or phrase as terms; the last is only begun (`prefix`); it must be missing (`without`)."""

    phrase: tuple[str, ...]
    prefix: bool = False
    without: bool = False


_ATOM = re.compile(r'(-?)"([^"]*)(?:"(\*?)|$)|(\S+)')


def parse(search: str) -> tuple[Atom, ...]:
    """What a person typed as atoms; any text is one. A word that holds several terms ("don't") is a phrase."""
    found = []
    for minus, quoted, star, word in _ATOM.findall(search):
        if word:
            minus, word = ("-", word[1:]) if word.startswith("-") else ("", word)
            star, quoted = ("*", word) if word.endswith("*") else ("", word)
        phrase = tuple(terms(quoted))
        if phrase:
            found.append(Atom(phrase, bool(star), bool(minus)))
    return tuple(dict.fromkeys(found))


def marker(search: str) -> re.Pattern[str] | None:
    """A pattern for every place that a search finds; None for a search without words."""
    wanted = [atom for atom in parse(search) if not atom.without]
    return re.compile("|".join(pattern_of(atom.phrase, atom.prefix) for atom in wanted)) if wanted else None


def snippet(text: str, pattern: re.Pattern[str] | None, scanned: int = SCANNED) -> tuple[str, list[list[int]]]:
    """(a line of SNIPPET characters, places found in it): around the first place found, else from the first line that is not blank."""
    found = pattern.search(text, 0, max(0, scanned)) if pattern else None
    if found is None:
        start = len(text) - len(text.lstrip())
    else:
        start = max(0, found.start() - LEAD)
        if start:       # from the beginning of a word where one is near
            start = next((i + 1 for i in range(start, found.start()) if text[i].isspace()), start)
    shown = "".join(" " if c.isspace() or not c.isprintable() else c for c in text[start:start + SNIPPET])
    marks = [[a, b] for a, b in places(pattern, shown, 20)] if pattern else []
    if found and not marks:     # its ends were cut
        marks = [[found.start() - start, min(SNIPPET, found.end() - start)]]
    return shown, marks
