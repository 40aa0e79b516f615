"""What the flags of examples mean, for people: a title for a table's cell, a sentence for whoever asks why.

Recipes in Python may set flags of their own; those are shown as they are.
"""

from typing import NamedTuple

from engine.contract.words import tr


class Flag(NamedTuple):
    id: str
    title: str
    sentence: str


def flag(id: str) -> Flag:
    """What a flag means, in the person's language."""
    found = _flags().get(id)
    return Flag(id, *found) if found else Flag(id, id.replace("_", " ").capitalize(), tr("Set by the recipe."))


def flags() -> list[Flag]:
    """All that Fledge sets."""
    return [Flag(id, *words) for id, words in _flags().items()]


def _flags() -> dict[str, tuple[str, str]]:
    return {
        "empty": (tr("Empty"), tr("The model wrote nothing.")),
        "cut": (tr("Cut off"), tr("The answer was longer than allowed and has no end. Allow longer answers.")),
        "unreadable": (tr("Not as asked"), tr("The reply was not in the form that was asked for, several times.")),
        "schema": (tr("Not as asked"), tr("The answer does not fit the schema that the recipe asks of answers.")),
        "not_grounded": (tr("Not in the text"), tr("The words that the answer is said to rest on do not stand in the passage.")),
        "no_answer": (tr("No answer there"), tr("The answer says that the passage does not tell.")),
        "refers_to_passage": (tr("Mentions the passage"), tr("The question speaks of a passage that nobody sees later.")),
        "copied": (tr("Copied"), tr("What should be new is a copy of what was shown.")),
        "not_evolved": (tr("Not rewritten"), tr("The rewritten prompt is the old one.")),
        "refers_to_prompt": (tr("Mentions the prompt"), tr("The rewritten prompt speaks of prompts instead of being one.")),
        "structure": (tr("Structure lost"), tr("Numbers, addresses, code or list items of the original are missing in the translation.")),
        "answers_differ": (tr("Answers differ"), tr("Solved again, the problem had another answer.")),
        "long_answer": (tr("Answer too long to check"), tr("The answer is neither a number nor a letter nor a few words.")),
        "not_judged": (tr("Not judged"), tr("The judge's reply could not be read, several times.")),
        "tie": (tr("Tie"), tr("The judge saw no clear difference between the two answers.")),
        "low_score": (tr("Low score"), tr("The best answer's score is below the lowest one that is kept.")),
        "too_short": (tr("Too short"), tr("The answer is shorter than the shortest that is kept.")),
        "too_long": (tr("Too long"), tr("The answer is longer than the longest that is kept.")),
        "refusal": (tr("Refusal"), tr("The model declines or speaks about itself instead of answering.")),
        "language": (tr("Other language"), tr("The answer is not in the language that was asked for.")),
        "parrots": (tr("Repeats the prompt"), tr("The answer is the prompt once more.")),
        "repetition": (tr("Repeats itself"), tr("The same words come again and again.")),
        "markup": (tr("Chat marks"), tr("The text holds marks that belong to a chat template, such as an end-of-turn token.")),
        "duplicate": (tr("Near duplicate"), tr("Nearly the same prompt was there before.")),
        "held_out": (tr("Held out"), tr("It shares its question, or a long passage, with an evaluation set.")),
    }
