"""The kinds of recipes: which prompts each has, what it plans, and how a row of it is asked. The words stand in the recipe's file.

A kind's `plan` gives rows for as long as they are asked for; `steps` asks for one row through a Talk and gives its examples, flagged where
something did not fit: nothing that a model wrote is lost. Whether an example is a near duplicate of another, or held out, is quality.py's.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.contract.rows import Message
from engine.generators import passages
from engine.generators.asks import Role
from engine.generators.recipe_rows import RecipeInputs, Row, make, number_of, shuffled
from engine.generators.recipe_talk import Candidate, Read, Talk

if TYPE_CHECKING:
    from collections.abc import Generator

    from engine.contract.rows import Example
    from engine.generators.recipe import Recipe


@dataclass(frozen=True)
class Prompt:
    """What a prompt must hold and may hold besides."""

    must: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True)
class Kind:
    """
    needs     documents, seeds, topics: what must be given
    prompts   by name; every one may hold {language} and {language_rule}
    schemas   by name: properties that the schema must require
    options   whole numbers with their default
    ways      whether the recipe lists ways to ask
    """

    id: str
    needs: tuple[str, ...]
    prompts: Mapping[str, Prompt]
    schemas: Mapping[str, tuple[str, ...]]
    plan: Callable[["Recipe", RecipeInputs], Iterator[Row]]
    steps: Callable[[Talk], "Generator[Example, None, None]"]
    options: Mapping[str, int]
    ways: bool = False


# ---- documents


_OF_PASSAGE = re.compile(
    r"\b(?:according to|based on|in|from|by|of|does|mentioned in|described in|given in)\s+(?:the|this|that)\s+"
    r"(?:above\s+|given\s+|provided\s+)?"
    r"(?:passage|text|excerpt|paragraph|article|document|snippet)\b(?!\s+(?:of|on|about|that|which|from|by|in)\b)|"
    r"\b(?:laut|gemäß|nach)\s+(?:dem|diesem)\s+(?:text|abschnitt|auszug|dokument)\b|\b(?:im|in diesem)\s+(?:text|textabschnitt|auszug)\b|"
    r"\b(?:según|en)\s+(?:el|este)\s+(?:texto|pasaje|fragmento|documento)\b|"
    r"\b(?:selon|d'après|dans)\s+(?:le|ce)\s+(?:texte|passage|extrait|document)\b|"
    r"\b(?:secondo|nel)\s+(?:il\s+|questo\s+)?(?:testo|brano|documento)\b", re.I)


def _plan_documents(recipe: "Recipe", inputs: RecipeInputs) -> Iterator[Row]:
    """Documents get rows by their length, at least one each; passages and ways of each take turns."""
    lengths = np.asarray(inputs.documents.lengths(), np.float64)
    total = lengths.sum()
    if not total:
        return
    quotas = np.maximum(1, np.round(lengths / total * inputs.count)).astype(np.int64)
    order = shuffled(len(lengths), "documents", inputs.seed)
    number, turn = 0, 0
    while number < inputs.count:
        before = number
        for place in order.tolist():
            document = inputs.documents[place]
            pieces = passages.cut(document.text, recipe.options["passage"])
            if not pieces:
                continue
            among = shuffled(len(pieces), "passages", inputs.seed, document.id)
            for at in range(turn * int(quotas[place]), (turn + 1) * int(quotas[place])):
                round_, piece = divmod(at, len(pieces))
                way = recipe.ways[(round_ + piece + number_of(inputs.seed, document.id)) % len(recipe.ways)]
                passage = pieces[int(among[piece])]
                yield make(inputs, number, {"document": document.id, "source": document.source, "passage": passage.text,
                                            "start": passage.start, "way": way.id, "wanted": way.text})
                number += 1
                if number == inputs.count:
                    return
        if number == before:
            return
        turn += 1


def _steps_documents(talk: Talk) -> "Generator[Example, None, None]":
    given = talk.row.given
    passage = given["passage"]
    base = {"kind": given["way"], "document": given["document"], "source": given["source"]}

    def grounded(found: dict[str, Any]) -> str:
        if "question" in found and _OF_PASSAGE.search(found["question"]):
            return "refers_to_passage"
        return "" if passages.locate(found["quote"], passage) else "not_grounded"

    asked = talk.read("ask", {"passage": passage, "wanted": given["wanted"]}, accept=grounded)
    if not asked.found:
        yield talk.failed(asked, base)
        return
    question = asked.found["question"]

    def candidate(read: Read) -> Candidate:
        if not read.found:
            return Candidate(talk.final(read.reply, read.reply.text), read.reply.model, (read.flag,))
        place = passages.locate(read.found["quote"], passage)
        facts: dict[str, Any] = {"quote": read.found["quote"]}
        if place is not None:
            facts = {"quote": passage[place[0]:place[1]], "quote_start": given["start"] + place[0], "quote_end": given["start"] + place[1]}
        flags = (read.flag,) if read.flag else ()
        return Candidate(talk.final(read.reply, read.found["answer"]), read.reply.model, flags, facts)

    def write(role: Role) -> Candidate:
        if role == "responder":
            return candidate(asked)
        return candidate(talk.read("answer", {"passage": passage, "question": question}, role, grounded))

    yield talk.example([Message(role="user", content=question)], write, context=passage, facts=base)


KINDS: dict[str, Kind] = {kind.id: kind for kind in (
    Kind("documents", ("documents",), {"system": Prompt(optional=True), "ask": Prompt(("passage",), ("wanted",)),
                                       "answer": Prompt(("passage", "question"))},
         {"ask": ("question", "answer", "quote"), "answer": ("answer", "quote")}, _plan_documents, _steps_documents, {"passage": 1500},
         True),
)}
