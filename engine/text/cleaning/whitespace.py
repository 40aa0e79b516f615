"""White space that says nothing: line ends become "\\n", spaces at line ends go, blank lines at the beginning and the end go, and of more
than two blank lines in a row two stay (two are used on purpose: between functions of a program, before a chapter).

Indentation, spaces within a line, their kinds, and a line end at the end of the text stay as they are.
"""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.text.cleaning.draft import Draft
from engine.text.cleaning.excerpt import around

BLANK_LINES = 2
"""At most so many in a row."""

_SPACES = r" \t\x0b\x0c\x1c-\x1f\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}"
_SUSPECT = rf"[{_SPACES}](?:\n|\z)|\n\n\n{{{BLANK_LINES}}}|\A\n|\n\n\z|[\r\x{{2028}}\x{{2029}}]"
_RUNS = re.compile(rf"\n{{{BLANK_LINES + 2},}}")
_SIGNS = re.compile("\r\n?|[\u2028\u2029]")


class WhiteSpace:
    id = "whitespace"

    def suspects(self, texts: pa.Array) -> np.ndarray:
        """bool [documents]: which will change."""
        return np.asarray(pc.match_substring_regex(texts, _SUSPECT))

    def __call__(self, draft: Draft) -> None:
        text, count = clean(draft.text)
        if text != draft.text:
            draft.touch(self.id, text, max(1, count), *around(draft.text, text))


def clean(text: str) -> tuple[str, int]:
    """The text and in how many places it changed."""
    made, ends = _SIGNS.subn("\n", text)
    lines = made.split("\n")
    bare = [line.rstrip() for line in lines]
    count = ends + sum(map(str.__ne__, lines, bare))
    made, runs = tidy("\n".join(bare))
    return made, count + runs


def tidy(text: str) -> tuple[str, int]:
    """The text without superfluous blank lines, whose lines must be bare of spaces at their ends, and how many runs went."""
    made, runs = _RUNS.subn("\n" * (BLANK_LINES + 1), text)
    inner = made.strip("\n")
    end = "\n" if inner and made.endswith("\n") else ""
    at_ends = (not made.startswith(inner[:1]) if inner else bool(made)) + (inner != "" and made.endswith("\n\n"))
    return inner + end, runs + at_ends
