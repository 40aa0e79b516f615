"""How right an answer is: pure functions from what was said and what is known to a number from 0 to 1. No model, no torch.

    exact      the same text but for case, white space, quotes around it and a full stop at its end
    contains   the known answer stands in it as whole words
    number     its last number is the known one, within a tolerance
    choice     names the right one of several choices, by letter or by words
    json       all of it is JSON, and follows the schema if one is given
    regex      the pattern matches somewhere
"""

import json
import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

from engine.evaluation.schema_check import follows

NUMBER = re.compile(r"(?<![\w.])[-+\u2212]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|(?<!\w)[-+\u2212]?\.\d+")
"""A number inside a text: 1,234.5, -3, .5, 2e6. "1,2,3" are three numbers."""
GSM8K_MARK = "####"
"""Before the result in GSM8K's solutions."""
FENCE = re.compile(r"^```(?:json)?\s*\n(.*?)\n?```$", re.DOTALL)
QUOTES = "\"'“”‘’«»`"
CHOICE_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def normalised(text: str) -> str:
    """One line, no case, no quotes around it, no full stop at its end, compatible characters as one (NFKC)."""
    plain = " ".join(unicodedata.normalize("NFKC", text).split())
    return plain.strip(QUOTES + " ").rstrip(". ").strip(QUOTES + " ").casefold()


def exact(said: str, answers: Sequence[str]) -> float:
    """1 where it is one of the answers."""
    return float(normalised(said) in {normalised(answer) for answer in answers})


def contains(said: str, answers: Sequence[str]) -> float:
    """1 where one of the answers stands in it as whole words. An answer without any letter or digit must be all of it."""
    plain = " ".join(unicodedata.normalize("NFKC", said).split()).casefold()
    for answer in answers:
        wanted = normalised(answer)
        if not wanted:
            continue
        if re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", plain):
            return 1.0
    return 0.0


def last_number(text: str) -> float | None:
    """The last number in it; after GSM8K's mark, the first one behind the last mark. None without any."""
    _, mark, behind = text.rpartition(GSM8K_MARK)
    found = NUMBER.findall(behind) if mark else []
    chosen = found[0] if found else next(iter(reversed(NUMBER.findall(text))), None)
    if chosen is None:
        return None
    return float(chosen.replace(",", "").replace("\u2212", "-"))


def number(said: str, answers: Sequence[str], tolerance: float = 1e-6) -> float:
    """1 where the last number said is that of an answer; `tolerance` is relative above 1 and absolute below."""
    value = last_number(said)
    if value is None or not math.isfinite(value):
        return 0.0
    wanted = [known for answer in answers if (known := last_number(answer)) is not None]
    return float(any(abs(value - known) <= tolerance * max(1.0, abs(known)) for known in wanted))


def choice(said: str, choices: Sequence[str], right: int) -> float:
    """1 where the answer names the right choice and no other: its letter ("B", "(B)", "B.", "Answer: B") or its words."""
    return float(chosen(said, choices) == right)


def chosen(said: str, choices: Sequence[str]) -> int | None:
    """Which of the choices is named; None for none or several."""
    plain = said.strip()
    whole = [i for i, words in enumerate(choices) if normalised(words) == normalised(plain)]
    if len(whole) == 1:
        return whole[0]
    letters = CHOICE_LETTERS[:len(choices)]
    marked = re.match(rf"^\W{{0,2}}([{letters}{letters.lower()}])(?:\W|$)", plain) if len(plain) <= 3 else None
    marked = marked or re.match(rf"^\(?([{letters}])[).:]", plain) or re.search(rf"\banswer(?: is)?:?\s*\(?([{letters}])\b", plain,
                                                                                re.IGNORECASE)
    if marked:
        return letters.index(marked.group(1).upper())
    named = [i for i, words in enumerate(choices) if contains(plain, [words])]
    return named[0] if len(named) == 1 else None


def json_answer(said: str, schema: Any = None) -> float:
    """1 where all of it (a code fence around it may stay) is JSON, and follows the schema."""
    text = said.strip()
    fenced = FENCE.match(text)
    try:
        value = json.loads(fenced.group(1) if fenced else text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return 0.0
    return float(schema is None or follows(value, schema))


def _no_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are no JSON


def regex(said: str, pattern: str) -> float:
    """1 where the pattern matches somewhere (anchor it with ^ and $ for all of it)."""
    return float(re.search(pattern, said, re.DOTALL) is not None)


TEXT_GRADERS: dict[str, Callable[[str, Sequence[str]], float]] = {"exact": exact, "contains": contains, "number": number}
"""Those that need nothing but the known answers."""
GRADERS = (*TEXT_GRADERS, "choice", "json", "regex", "checks")
