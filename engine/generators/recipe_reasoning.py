"""Recipes of kind "reasoning": problems with a short answer that can be checked, for the stages that learn from being right.

The model that writes a problem is a bad witness of its answer: it is solved again, apart from the first solution, and flagged where the
answers differ. `facts["answer"]` and `facts["check"]` ("number", "choice", "text") say what is compared and how. That an answer on which
all agree is right is not proven here.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from engine.contract.rows import Message
from engine.generators.asks import Role
from engine.generators.recipe_kind import Examples, Kind, Prompt
from engine.generators.recipe_prompts import crossed, topics_of
from engine.generators.recipe_rows import RecipeInputs, Row, make
from engine.generators.recipe_talk import Candidate, Talk, fill
from engine.text.dedup import grams

if TYPE_CHECKING:
    from engine.generators.recipe import Recipe

_NUMBER = re.compile(r"[^\d\s+\-−.,/]{0,3}\s*([-+−]?\d[\d,  ]*(?:\.\d+)?(?:\s*/\s*\d+)?)\s*[^\d/=]{0,24}")
_LETTER = re.compile(r"\(?([A-Ha-h])\)?[.:)]?(?:\s.*)?", re.S)
_CHOICES = re.compile(r"(?:^|\s)\(?([A-H])[.):]\s+\S", re.M)


def number_in(answer: str) -> Fraction | None:
    """The number of a short answer: "$1,200.50", "-3/4", "12 apples"; None where there is none, or more than one."""
    found = _NUMBER.fullmatch(answer.strip().rstrip("."))
    if not found:
        return None
    try:
        return Fraction(re.sub(r"[\s, ]", "", found[1]).replace("−", "-"))
    except (ValueError, ZeroDivisionError):
        return None


def check_of(problem: str, answer: str) -> str:
    """How answers to a problem are compared: "choice" where it lists lettered choices, "number" where the answer is one, else "text"."""
    if len(set(_CHOICES.findall(problem))) >= 2 and _LETTER.fullmatch(answer.strip()):
        return "choice"
    return "number" if number_in(answer) is not None else "text"


def short(check: str, answer: str) -> str:
    """The answer as it is kept: the letter of a choice, a number without signs for thousands."""
    if check == "choice" and (letter := _LETTER.fullmatch(answer.strip())):
        return letter[1].upper()
    if check == "number" and (value := number_in(answer)) is not None:
        if value.denominator == 1:
            return str(value.numerator)
        found = _NUMBER.fullmatch(answer.strip().rstrip("."))
        assert found
        return re.sub(r"[\s, ]", "", found[1]).replace("−", "-")
    return answer.strip()


def same(check: str, one: str, other: str) -> bool:
    """Whether two answers to a problem are the same."""
    if check == "number":
        a, b = number_in(one), number_in(other)
        return a is not None and a == b
    if check == "choice":
        return short(check, one) == short(check, other)
    return grams.words(one) == grams.words(other)


def _plan(recipe: "Recipe", inputs: RecipeInputs) -> Iterator[Row]:
    pairs = crossed(recipe, topics_of(recipe, inputs), inputs.seed)
    for number, (topic, way, _) in zip(range(inputs.count), pairs, strict=False):
        yield make(inputs, number, {"topic": topic, "way": way.id, "wanted": way.text})


def _steps(talk: Talk) -> Examples:
    given, recipe = talk.row.given, talk.recipe
    facts: dict[str, Any] = {"topic": given["topic"], "kind": given["way"]}
    asked = talk.read("ask", {"topic": given["topic"], "wanted": given["wanted"]})
    if not asked.found:
        yield talk.failed(asked, facts)
        return
    problem, answer = asked.found["problem"], asked.found["answer"]
    check = check_of(problem, answer)
    facts |= {"answer": short(check, answer), "check": check}
    flags = ["long_answer"] if check == "text" and len(grams.words(answer)) > recipe.options["words"] else []
    agreed = 0
    for _ in range(recipe.options["agree"]):
        again = talk.read("solve", {"problem": problem})
        if not again.found or not same(check, answer, again.found["answer"]):
            flags.append("answers_differ")
            break
        agreed += 1
    facts["agreed"] = agreed

    def whole(found: dict[str, Any]) -> str:
        return fill(recipe.prompts["final"], {"solution": found["solution"], "answer": short(check, found["answer"])})

    def write(role: Role) -> Candidate:
        if role == "responder":
            return Candidate(talk.final(asked.reply, whole(asked.found)), asked.reply.model)
        read = talk.read("solve", {"problem": problem}, role)
        if not read.found:
            return Candidate(talk.final(read.reply, read.reply.text), read.reply.model, (read.flag,))
        differs = () if same(check, answer, read.found["answer"]) else ("answers_differ",)
        return Candidate(talk.final(read.reply, whole(read.found)), read.reply.model, differs)

    yield talk.example([Message(role="user", content=problem)], write, facts=facts, flags=flags)


REASONING = Kind("reasoning", ("topics",), {"system": Prompt(optional=True), "ask": Prompt(("topic",), ("wanted",)),
                                            "solve": Prompt(("problem",)), "final": Prompt(("solution", "answer"))},
                 {"ask": ("problem", "solution", "answer"), "solve": ("solution", "answer")}, _plan, _steps, {"agree": 1, "words": 8}, True)
