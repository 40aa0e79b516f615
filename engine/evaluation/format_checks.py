"""Whether an answer keeps to the form it was asked for: "in one word", "as JSON", "exactly three bullet points". By rules alone.

The kinds follow the idea of IFEval (arXiv 2311.07911): instructions a program can check. What is said is never judged here, only how. A
check is a table in a suite: {check = "bullets", count = 3}. No model, no torch.
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine.contract.errors import SettingError
from engine.contract.words import tr
from engine.evaluation import graders
from engine.evaluation.schema_check import check_schema

WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+\S")
NUMBERED = re.compile(r"^\s*(\d+)[.)]\s+\S")
SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)]*(?=\s|$)")


def words(text: str) -> list[str]:
    return WORD.findall(text)


def sentences(text: str) -> int:
    """How many: ends of sentences, and one more where the text goes on behind the last."""
    ends = list(SENTENCE_END.finditer(text.strip()))
    rest = text.strip()[ends[-1].end():] if ends else text.strip()
    return len(ends) + bool(rest.strip())


def _one_word(text: str) -> bool:
    return len(words(text)) == 1


def _word_count(text: str, least: int = 0, most: int = 10**9) -> bool:
    return least <= len(words(text)) <= most


def _sentence_count(text: str, least: int = 1, most: int = 10**9) -> bool:
    return bool(text.strip()) and least <= sentences(text) <= most


def _lines(text: str, count: int) -> bool:
    return len([line for line in text.splitlines() if line.strip()]) == count


def _paragraphs(text: str, count: int) -> bool:
    return len([part for part in re.split(r"\n\s*\n", text.strip()) if part.strip()]) == count


def _bullets(text: str, count: int, only: bool = False) -> bool:
    """`only`: nothing but the list."""
    lines = [line for line in text.splitlines() if line.strip()]
    listed = [line for line in lines if BULLET.match(line)]
    return len(listed) == count and (not only or len(lines) == count)


def _numbered(text: str, count: int) -> bool:
    """1 to count, in order."""
    found = [int(made.group(1)) for line in text.splitlines() if (made := NUMBERED.match(line))]
    return found == list(range(1, count + 1))


def _upper(text: str) -> bool:
    return any(c.isalpha() for c in text) and text == text.upper()


def _lower(text: str) -> bool:
    return any(c.isalpha() for c in text) and text == text.lower()


def _without_letter(text: str, letter: str) -> bool:
    return bool(text.strip()) and letter.casefold() not in text.casefold()


def _without(text: str, phrases: Sequence[str]) -> bool:
    return bool(text.strip()) and not any(graders.contains(text, [phrase]) for phrase in phrases)


def _with(text: str, phrases: Sequence[str], times: int = 1) -> bool:
    """Each of the phrases as whole words, at least so many times."""
    plain = " ".join(text.split()).casefold()
    return all(len(re.findall(rf"(?<!\w){re.escape(phrase.casefold())}(?!\w)", plain)) >= times for phrase in phrases)


def _starts(text: str, phrase: str) -> bool:
    return text.strip().casefold().startswith(phrase.casefold())


def _ends(text: str, phrase: str) -> bool:
    return text.strip().casefold().endswith(phrase.casefold())


def _quoted(text: str) -> bool:
    plain = text.strip()
    return len(plain) > 2 and (plain[0], plain[-1]) in (('"', '"'), ("“", "”"))


def _json(text: str, schema: Any = None) -> bool:
    return graders.json_answer(text, schema) == 1.0


def _no_commas(text: str) -> bool:
    return bool(text.strip()) and "," not in text


def _only_number(text: str) -> bool:
    return graders.NUMBER.fullmatch(text.strip().rstrip(".")) is not None


def _one_of(text: str, choices: Sequence[str]) -> bool:
    return graders.normalised(text) in {graders.normalised(one) for one in choices}


def _separated(text: str, by: str, count: int) -> bool:
    """So many parts, none empty, with `by` between them."""
    parts = [part.strip() for part in text.strip().split(by)]
    return len(parts) == count and all(parts)


def _characters(text: str, most: int) -> bool:
    return 0 < len(text.strip()) <= most


def _title(text: str) -> bool:
    """A title in double angle brackets: <<A walk>>."""
    return re.search(r"<<[^\n<>]+>>", text) is not None


def _placeholder(text: str, count: int = 1) -> bool:
    return len(re.findall(r"\[[^\[\]\n]+\]", text)) >= count


def _repeats(text: str, phrase: str) -> bool:
    """Begins with the phrase word by word, and goes on."""
    plain, wanted = " ".join(text.split()), " ".join(phrase.split())
    return plain.casefold().startswith(wanted.casefold()) and len(plain) > len(wanted)


def _regex(text: str, pattern: str) -> bool:
    return graders.regex(text, pattern) == 1.0


CHECKS: dict[str, Callable[..., bool]] = {
    "one_word": _one_word, "words": _word_count, "sentences": _sentence_count, "lines": _lines, "paragraphs": _paragraphs,
    "bullets": _bullets, "numbered": _numbered, "upper": _upper, "lower": _lower, "without_letter": _without_letter,
    "without": _without, "with": _with, "starts": _starts, "ends": _ends, "quoted": _quoted, "json": _json, "no_commas": _no_commas,
    "only_number": _only_number, "one_of": _one_of, "separated": _separated, "characters": _characters, "title": _title,
    "placeholder": _placeholder, "repeats": _repeats, "regex": _regex,
}
"""What a suite can ask for. None is kept by an empty answer."""


def problem(check: Mapping[str, Any]) -> SettingError | None:
    """Why this table is no check: an unknown name, a setting it does not take or lacks, or a schema or pattern that cannot be read."""
    name = str(check.get("check", ""))
    rule = CHECKS.get(name)
    if rule is None:
        return SettingError(tr("There is no check called {name}.", name=name or '""'),
                            tr("Checks: {known}.", known=", ".join(sorted(CHECKS))), code="bad_check")
    takes = {key: value for key, value in list(inspect.signature(rule).parameters.items())[1:]}
    given = set(check) - {"check"}
    if unknown := sorted(given - set(takes)):
        return SettingError(tr("The check {name} takes no {setting}.", name=name, setting=unknown[0]),
                            tr("It takes: {known}.", known=", ".join(takes) or tr("nothing")), code="bad_check")
    if lacking := [key for key, value in takes.items() if value.default is inspect.Parameter.empty and key not in given]:
        return SettingError(tr("The check {name} needs {setting}.", name=name, setting=lacking[0]), tr("Add it."), code="bad_check")
    try:
        if "schema" in check:
            check_schema(check["schema"])
        if "pattern" in check:
            re.compile(str(check["pattern"]))
    except SettingError as wrong:
        return wrong
    except re.error as wrong:
        return SettingError(tr("The pattern {pattern} cannot be read: {reason}.", pattern=str(check["pattern"]), reason=str(wrong)),
                            tr("Correct the pattern."), code="bad_check")
    return None


def kept(text: str, check: Mapping[str, Any]) -> bool:
    """Whether the answer keeps to it. An empty answer keeps to nothing."""
    rule = CHECKS[str(check["check"])]
    return bool(text.strip()) and rule(text, **{key: value for key, value in check.items() if key != "check"})


def share_kept(text: str, checks: Sequence[Mapping[str, Any]]) -> tuple[float, tuple[str, ...]]:
    """(1 where every check is kept, else 0; the names of those that are not)."""
    broken = tuple(str(check["check"]) for check in checks if not kept(text, check))
    return float(not broken), broken
