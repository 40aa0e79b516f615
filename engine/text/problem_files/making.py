"""One row of a file becomes a Problem, or a sentence why not. Pure; rows are untrusted: every value may be anything."""

import json
import math
import re
import string
from collections.abc import Sequence
from typing import Any

from engine.contract.rows import Message, Problem, problem_id
from engine.contract.units import number as shown_number
from engine.contract.words import tr
from engine.text.conversations.guessing import MARK
from engine.text.conversations.making import bounded, messages_of, text_of, transcript
from engine.text.problem_files.mapping import HELD_OUT, Mapping
from engine.text.readers.cutting import storable
from engine.text.row_files.kind import NoRow

LONGEST = 1_000_000
"""Characters of a prompt; a longer one is no problem."""
ANSWER_CHARACTERS = 100_000
CHOICES = 26
WORDS = {"trivial": 0.0, "very easy": 0.0, "easy": 1.0, "medium": 2.0, "normal": 2.0, "moderate": 2.0, "hard": 3.0, "difficult": 3.0,
         "very hard": 4.0, "expert": 4.0, "competition": 4.0}
"""Difficulties that are said in words."""
_BOXED = re.compile(r"\\f?boxed\s*\{")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3})")


class NoProblem(NoRow):
    """Why a row is no problem, for people."""


def make(row: Any, mapping: Mapping, origin: str) -> Sequence[Problem]:
    """NoRow says why a row is none."""
    if isinstance(row, str) and mapping.kind == "prompts":
        row = {mapping.prompt: row}
    if not isinstance(row, dict):
        raise NoProblem(tr("no object"))
    if mapping.kind == "fledge":
        return (_own(row, origin),)
    prompt, last = _prompt(row, mapping)
    facts: dict[str, Any] = {}
    answer: Any = ""
    if mapping.kind in ("gsm8k", "boxed"):
        solution = text_of(_needed(row, mapping.answer), mapping.answer)
        answer, facts["solution"] = (after_mark if mapping.kind == "gsm8k" else boxed)(solution, mapping.answer), solution
    elif mapping.answer:
        answer = _answer(row, mapping, last)
    if mapping.choices:
        options = _choices(row, mapping.choices)
        prompt = (*prompt[:-1], Message(role="user", content="\n".join([prompt[-1].content, *(f"{a}. {text}" for a, text in options)])))
        answer = _letter(answer, options)
    if mapping.solution and (text := at(row, mapping.solution)) not in (None, ""):
        facts["solution"] = text_of(text, mapping.solution)
    if mapping.system and prompt[0].role != "system" and (text := at(row, mapping.system)) not in (None, ""):
        prompt = (Message(role="system", content=text_of(text, mapping.system)), *prompt)
    named = {name.partition(".")[0] for name in mapping.columns} if mapping.rest else ()
    facts |= {name: at(row, name) for name in mapping.facts if at(row, name) is not None}
    facts |= {str(name): at(row, name) for name in row if mapping.rest and name not in named and at(row, name) is not None}
    return (_problem(prompt, answer, origin, bounded(facts), difficulty=difficulty_of(at(row, mapping.difficulty), mapping.difficulty),
                     held_out=_is_held_out(at(row, mapping.held_out), mapping)),)


def after_mark(solution: str, column: str = "answer") -> str:
    """The short answer behind #### at the end of a worked solution, without the commas between thousands."""
    head, mark, tail = solution.rpartition(MARK)
    if not mark:
        raise NoProblem(tr("“{column}” holds no ####", column=column))
    text = _THOUSANDS.sub("", tail).strip()
    if not text:
        raise NoProblem(tr("nothing stands after the ####"))
    return text


def boxed(solution: str, column: str = "solution") -> str:
    """What stands in the last \\boxed{…} of a worked solution."""
    places = [found.end() for found in _BOXED.finditer(solution)]
    if not places:
        raise NoProblem(tr("“{column}” holds no \\boxed{{…}}", column=column))
    depth, start = 1, places[-1]
    for end in range(start, len(solution)):
        depth += {"{": 1, "}": -1}.get(solution[end], 0) if solution[end - 1] != "\\" else 0
        if not depth:
            if text := solution[start:end].strip():
                return text
            raise NoProblem(tr("nothing stands in the \\boxed{{}}"))
    raise NoProblem(tr("the \\boxed{{}} does not end"))


def difficulty_of(value: Any, column: str) -> float | None:
    """A number, one in a text ("Level 3"), or a word for one; None for nothing."""
    if value is None or value == "":
        return None
    made: float | None = None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        made = float(value) if abs(value) < 1e300 else None
    elif isinstance(value, str):
        found = _NUMBER.findall(value)
        made = WORDS.get(value.strip().casefold()) if not found else float(found[0]) if len(found) == 1 and len(found[0]) < 20 else None
    if made is None or not math.isfinite(made):
        raise NoProblem(tr("“{column}” says no difficulty: {value}", column=column, value=storable(str(value))[:40]))
    return made


def at(row: dict[str, Any], column: str) -> Any:
    """A column, or what its dots lead to; None where there is nothing, which tables also write as NaN."""
    found: Any = row
    for name in ([column] if column in row else column.split(".")) if column else ():
        found = found.get(name) if isinstance(found, dict) else None
    return None if not column or isinstance(found, float) and math.isnan(found) else found


def _needed(row: dict[str, Any], column: str) -> Any:
    value = at(row, column)
    if value is None:
        raise NoProblem(tr("“{column}” is missing", column=column))
    return value


def _prompt(row: dict[str, Any], mapping: Mapping) -> tuple[tuple[Message, ...], str | None]:
    """The turns up to the question, and the answer that a conversation ends with."""
    value = _needed(row, mapping.prompt)
    if isinstance(value, dict) and ("content" in value or "value" in value):
        value = [value]
    if isinstance(value, list) or isinstance(value, str) and value.lstrip().startswith('[{"'):
        messages = messages_of(value, mapping.roles, mapping.prompt)
    else:
        text = text_of(value, mapping.prompt)
        messages = transcript(text) if text.startswith("\n\nHuman:") else [Message(role="user", content=text)]
    messages = [m for m in messages if m.role != "system" or m.content.strip()]
    last = messages.pop().content if messages and messages[-1].role == "assistant" else None
    return tuple(messages), last


def _answer(row: dict[str, Any], mapping: Mapping, last: str | None) -> Any:
    value = at(row, mapping.answer)
    if mapping.answer == mapping.prompt:
        value = last
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if value is None or isinstance(value, str) and not value.strip():
        raise NoProblem(tr("“{column}” is missing", column=mapping.answer))
    return _plain(value)


def _plain(value: Any) -> Any:
    """Text, or what JSON holds; a number is the text of it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        text = storable(value).strip()
        if text.startswith("{") and '"tests"' in text:  # a table's way to hold the tests of a program
            try:
                found = json.loads(text)
                return found if isinstance(found, dict) else text
            except (ValueError, RecursionError):
                return text
        return text
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], (str, int, float)):
        return _plain(value[0])
    try:
        text = storable(json.dumps(value, default=str, ensure_ascii=False))
        if len(text) <= ANSWER_CHARACTERS:
            return json.loads(text)
    except TypeError:
        raise NoProblem(tr("its answer is neither text nor JSON")) from None
    except (ValueError, RecursionError):
        raise NoProblem(tr("its answer is nested too deeply")) from None
    raise NoProblem(tr("its answer is longer than {count} characters", count=shown_number(ANSWER_CHARACTERS)))


def _choices(row: dict[str, Any], column: str) -> list[tuple[str, str]]:
    """(letter, text) of the possible answers."""
    value = _needed(row, column)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    labels: Any = None
    if isinstance(value, dict):
        value, labels = (value["text"], value.get("label")) if "text" in value else (list(value.values()), list(value))
    if not isinstance(value, list) or not 2 <= len(value) <= CHOICES:
        raise NoProblem(tr("“{column}” is no list of possible answers", column=column))
    if not isinstance(labels, list) or len(labels) != len(value) or not all(isinstance(a, str) and 0 < len(a) < 4 for a in labels):
        labels = list(string.ascii_uppercase[:len(value)])
    return [(storable(a), text_of(text, column).strip()) for a, text in zip(labels, value, strict=True)]


def _letter(answer: Any, options: Sequence[tuple[str, str]]) -> str:
    """Which choice is right: by its letter, its place from 0 on, or its text."""
    said = str(answer).strip()
    for letter, text in options:
        if said.casefold() == letter.casefold() or said == text:
            return letter
    if said.isdecimal() and int(said) < len(options):
        return options[int(said)][0]
    raise NoProblem(tr("its answer is none of the choices"))


def _is_held_out(value: Any, mapping: Mapping) -> bool:
    if isinstance(value, bool):
        value = str(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    known = {name.strip().casefold() for name in mapping.held_out_values or HELD_OUT}
    return value is not None and str(value).strip().casefold() in known


def _problem(prompt: Sequence[Message], answer: Any, origin: str, facts: dict[str, Any], *, difficulty: float | None,
             held_out: bool) -> Problem:
    """A problem that keeps to what a problem is; NoProblem where it cannot."""
    if not prompt or prompt[-1].role not in ("user", "tool") or not prompt[-1].content.strip():
        raise NoProblem(tr("there is no question"))
    if prompt[-1].role == "tool":
        raise NoProblem(tr("its prompt does not end with a question"))
    if any(not m.content.strip() for m in prompt):
        raise NoProblem(tr("a message in it is empty"))
    if sum(len(m.content) for m in prompt) > LONGEST:
        raise NoProblem(tr("it is longer than {count} characters", count=shown_number(LONGEST)))
    return Problem(id=problem_id(prompt, answer), prompt=tuple(prompt), answer=answer, held_out=held_out, difficulty=difficulty,
                   origin=origin, facts=facts)


def _own(row: dict[str, Any], origin: str) -> Problem:
    """A row as Fledge wrote it."""
    facts, by, answer = row.get("facts"), row.get("origin"), row.get("answer")
    if isinstance(facts, str):  # a table's way to hold them, and answers
        try:
            facts, answer = json.loads(facts), json.loads(str(answer))
        except (ValueError, RecursionError):
            raise NoProblem(tr("its facts are no JSON")) from None
    try:
        answer = "" if answer is None else json.loads(storable(json.dumps(answer, ensure_ascii=False)))
    except TypeError:
        raise NoProblem(tr("its answer is neither text nor JSON")) from None
    except (ValueError, RecursionError):
        raise NoProblem(tr("its answer is nested too deeply")) from None
    return _problem(messages_of(row.get("prompt"), (), "prompt"), answer,
                    storable(by)[:500] if isinstance(by, str) and by else origin, bounded(facts) if isinstance(facts, dict) else {},
                    difficulty=difficulty_of(row.get("difficulty"), "difficulty"), held_out=row.get("held_out") is True)
