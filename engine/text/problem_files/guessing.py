"""What the columns of a file of problems mean, told by their names and their first values. A guess that a person can change."""

from collections.abc import Callable, Sequence
from typing import Any

from engine.text.conversations.guessing import MARK, SYSTEMS
from engine.text.problem_files.making import NoProblem, at, boxed, difficulty_of
from engine.text.problem_files.mapping import HELD_OUT, Mapping

PROMPTS = ("prompt", "question", "problem", "query", "instruction", "input", "user", "request", "text", "messages",
           "conversation")
ANSWERS = ("final_answer", "expected_answer", "reward_model.ground_truth", "ground_truth", "gold", "gold_answer", "correct_answer",
           "answerkey", "answer_key", "expected", "target", "answer", "answers", "label", "solution", "output", "response", "completion")
SOLUTIONS = ("solution", "worked_solution", "rationale", "explanation", "reasoning", "cot", "derivation", "generated_solution")
CHOICES = ("choices", "options", "endings")
DIFFICULTIES = ("difficulty", "level", "difficulty_level", "complexity")
SIDES = ("held_out", "split", "subset", "partition", "fold")
TRAIN = ("train", "training", "false", "0", "no", "n", "")
"""Values that a column about sides has beside those in HELD_OUT."""
MOST = 0.9
"""Share of the values that must be as expected."""


def guess(rows: Sequence[Any]) -> Mapping:
    """A mapping for rows that begin like these; one that is not `complete` where nothing can be told."""
    table = [row for row in rows if isinstance(row, dict)]
    if rows and not table:
        return Mapping("prompts", prompt="text") if all(isinstance(row, str) for row in rows) else Mapping()
    folded: dict[str, str] = {}
    for row in table:
        for name in row:
            folded.setdefault(str(name).strip().casefold(), str(name))
    if {"id", "prompt", "answer", "held_out", "facts"} <= folded.keys():
        return Mapping("fledge")

    def values(column: str) -> list[Any]:
        return [value for row in table if (value := at(row, column)) is not None and value != ""]

    def column(names: Sequence[str], but: Sequence[str] = (), fits: Callable[[list[Any]], bool] = bool) -> str:
        for name in names:
            head, dot, inside = name.partition(".")
            real = folded.get(head, "") + dot + inside if head in folded else ""
            if real and real not in but and fits(values(real)):
                return real
        return ""

    prompt = column(PROMPTS)
    answer = column(ANSWERS, (prompt,))
    made = Mapping(prompt=prompt, answer=answer, choices=column(CHOICES, (prompt, answer), _are_choices),
                   solution=column(SOLUTIONS, (prompt, answer)), difficulty=column(DIFFICULTIES, (prompt, answer), _are_difficulties),
                   held_out=column(SIDES, (prompt, answer), _are_sides), system=column(SYSTEMS, (prompt, answer)))
    if not prompt or made.choices:
        return made
    marked, in_box = column(ANSWERS, (prompt,), _are_marked), column((*SOLUTIONS, *ANSWERS), (prompt,), _are_boxed)
    if marked and (marked == answer or not answer):
        return Mapping(**{**vars(made), "kind": "gsm8k", "answer": marked, "solution": ""})
    if in_box and answer in (in_box, ""):
        return Mapping(**{**vars(made), "kind": "boxed", "answer": in_box, "solution": ""})
    return made


def _share(found: list[Any], fits: Callable[[Any], bool]) -> bool:
    return bool(found) and sum(map(fits, found)) >= MOST * len(found)


def _are_marked(found: list[Any]) -> bool:
    return _share(found, lambda value: isinstance(value, str) and MARK in value)


def _are_boxed(found: list[Any]) -> bool:
    return _share(found, lambda value: isinstance(value, str) and _says(boxed, value))


def _are_choices(found: list[Any]) -> bool:
    return _share(found, lambda value: isinstance(value, (list, dict)) and len(value) > 1 or isinstance(value, str) and value[:1] in "[{")


def _are_difficulties(found: list[Any]) -> bool:
    return _share(found, lambda value: _says(difficulty_of, value, "difficulty"))


def _are_sides(found: list[Any]) -> bool:
    return bool(found) and {str(value).strip().casefold() for value in found} <= {*HELD_OUT, *TRAIN}


def _says(read: Callable[..., Any], *given: Any) -> bool:
    try:
        read(*given)
        return True
    except NoProblem:
        return False
