"""Recipes of kind "translate": examples into another language, message by message, their structure kept.

Fenced code is not shown to the model at all but put back as it was; numbers, addresses, inline code and placeholders must come back, else
the model is asked again and the row flagged at last. Whether the result is in the language is quality.py's.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from engine.contract.rows import Message
from engine.generators import passages
from engine.generators.asks import Role
from engine.generators.recipe_kind import Examples, Kind, Prompt
from engine.generators.recipe_rows import RecipeInputs, Row, cycled, make
from engine.generators.recipe_talk import Candidate, Talk

if TYPE_CHECKING:
    from engine.generators.recipe import Recipe

_FENCED = re.compile(r"(^```.*?^```[^\n]*$|^~~~.*?^~~~[^\n]*$)", re.S | re.M)
_KEPT = re.compile(r"https?://[^\s)>\]]+|`[^`\n]+`|\{\{?[\w.]+\}?\}|</?[a-zA-Z][\w-]*[^<>]*>|%\([a-z_]+\)s")
_DIGITS = re.compile(r"\d+")
_ITEM = re.compile(r"^[ \t]*(?:[-*+•]|\d+[.)])[ \t]+", re.M)


def lost(before: str, after: str) -> list[str]:
    """What of a text's structure its translation lacks: addresses, code, placeholders, tags, numbers, list items."""
    missing = list((Counter(_KEPT.findall(before)) - Counter(_KEPT.findall(after))).elements())
    # 1,234.5 is written 1.234,5 elsewhere: digits are compared, not signs between them. Small ones may become words.
    big = [Counter(d for d in ("".join(_DIGITS.findall(n)) for n in re.findall(r"\d[\d.,  ']*", text)) if int(d) > 12)
           for text in (before, after)]
    missing += list((big[0] - big[1]).elements())
    if len(_ITEM.findall(before)) != len(_ITEM.findall(after)):
        missing.append("-")
    return missing


def _plan(recipe: "Recipe", inputs: RecipeInputs) -> Iterator[Row]:
    """Every seed once: the same translation twice teaches nothing."""
    seeds = [seed for seed in inputs.seeds if any(m.role == "assistant" for m in seed.messages)]
    for number, (turn, seed) in zip(range(inputs.count), cycled(seeds, inputs.seed), strict=False):
        if turn:
            return
        last = max(place for place, m in enumerate(seed.messages) if m.role == "assistant")
        facts = {name: seed.facts[name] for name in ("answer", "check") if name in seed.facts}
        yield make(inputs, number, {"seed": seed.id, "messages": [m.model_dump() for m in seed.messages[:last + 1]], "facts": facts})


def _steps(talk: Talk) -> Examples:
    given = talk.row.given
    messages = [Message(**m) for m in given["messages"]]
    facts = {"kind": "translation", "seed": given["seed"], "language": given["language"], **given["facts"]}
    made, flags = [], []
    for message in messages[:-1]:
        candidate = _translated(talk, message.content, "responder")
        flags += candidate.flags
        made.append(Message(role=message.role, content=candidate.text))
        if candidate.flags and not candidate.text:
            break
    shown = f"Translate into {given['language']}:\n\n{messages[-1].content}"

    def write(role: Role) -> Candidate:
        return _translated(talk, messages[-1].content, role)

    yield talk.example(made, write, question=shown, facts=facts, flags=flags)


def _translated(talk: Talk, text: str, role: Role) -> Candidate:
    """A text piece by piece; code and the white space between the pieces stay."""
    model, flags, out = "", [], []
    for number, part in enumerate(_FENCED.split(text)):
        if number % 2 or not any(map(str.isalpha, part)):
            out.append(part)
            continue
        at = 0
        for piece in passages.cut(part, talk.recipe.options["piece"], 0):

            def same_shape(found: dict[str, Any], piece: str = piece.text) -> str:
                return "structure" if lost(piece, found["translation"]) else ""

            read = talk.read("translate", {"text": piece.text}, role, same_shape)
            model = read.reply.model
            flags += [read.flag] if read.flag else []
            out += [part[at:piece.start], read.found.get("translation", "")]
            at = piece.end
        out.append(part[at:])
    return Candidate("".join(out).strip(), model, tuple(dict.fromkeys(flags)))


TRANSLATE = Kind("translate", ("seeds", "language"), {"system": Prompt(optional=True), "translate": Prompt(("text",))},
                 {"translate": ("translation",)}, _plan, _steps, {"piece": 2000})
