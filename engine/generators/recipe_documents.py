"""Recipes of kind "documents": questions and answers from passages, each with the words it rests on.

The quotation must stand in the passage, else the model is asked again and the row flagged at last. What else an answer claims is not
checked here: that is the judge's.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.contract.rows import Message
from engine.generators import passages
from engine.generators.asks import Role
from engine.generators.recipe_kind import Examples, Kind, Prompt
from engine.generators.recipe_rows import RecipeInputs, Row, make, number_of, shuffled
from engine.generators.recipe_talk import Candidate, Read, Talk

if TYPE_CHECKING:
    from engine.generators.recipe import Recipe

_OF_PASSAGE = re.compile(
    r"\b(?:according to|based on|in|from|by|of|does|mentioned in|described in|given in)\s+(?:the|this|that)\s+"
    r"(?:above\s+|given\s+|provided\s+)?"
    r"(?:passage|text|excerpt|paragraph|article|document|snippet)\b(?!\s+(?:of|on|about|that|which|from|by|in)\b)|"
    r"\b(?:laut|gemäß|nach)\s+(?:dem|diesem)\s+(?:text|abschnitt|auszug|dokument)\b|\b(?:im|in diesem)\s+(?:text|textabschnitt|auszug)\b|"
    r"\b(?:según|en)\s+(?:el|este)\s+(?:texto|pasaje|fragmento|documento)\b|"
    r"\b(?:selon|d'après|dans)\s+(?:le|ce)\s+(?:texte|passage|extrait|document)\b|"
    r"\b(?:secondo|nel)\s+(?:il\s+|questo\s+)?(?:testo|brano|documento)\b", re.I)


def _plan(recipe: "Recipe", inputs: RecipeInputs) -> Iterator[Row]:
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


def _steps(talk: Talk) -> Examples:
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
        flags = (read.flag,) if read.flag and read.flag != "refers_to_passage" else ()
        return Candidate(talk.final(read.reply, read.found["answer"]), read.reply.model, flags, facts)

    def write(role: Role) -> Candidate:
        if role == "responder":
            return candidate(asked)
        return candidate(talk.read("answer", {"passage": passage, "question": question}, role, grounded))

    of_question = [asked.flag] if asked.flag == "refers_to_passage" else []
    yield talk.example([Message(role="user", content=question)], write, context=passage, facts=base, flags=of_question)


DOCUMENTS = Kind("documents", ("documents",),
                 {"system": Prompt(optional=True), "ask": Prompt(("passage",), ("wanted",)), "answer": Prompt(("passage", "question"))},
                 {"ask": ("question", "answer", "quote"), "answer": ("answer", "quote")}, _plan, _steps, {"passage": 1500}, True)
