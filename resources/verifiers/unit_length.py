"""A length with its unit

Right where <answer>…</answer> holds the right length, in any unit of length; half where the unit is missing. Answers are such as 11.65 m,
or a number alone where no unit is asked for.
"""

import re
from fractions import Fraction

TAGS = "<answer>([^<>]{1,60})</answer>"
LENGTH = r"\s*(-?\d[\d,]*(?:\.\d+)?)\s*([a-zA-Z]*)\.?\s*"
METRES = {"mm": Fraction(1, 1000), "cm": Fraction(1, 100), "dm": Fraction(1, 10), "m": Fraction(1), "km": Fraction(1000)}
NAMES = {"millimetre": "mm", "centimetre": "cm", "decimetre": "dm", "metre": "m", "meter": "m", "kilometre": "km"}


def verify(prompt, completion, answer):
    """Full marks; half if the unit is missing."""
    found = re.findall(TAGS, completion[-2000:])
    said = read(found[-1]) if found else None
    if said is None:
        return 0.0
    wanted = read(str(answer))
    if wanted is None:
        raise ValueError(f"the answer is no length: {answer}")
    number, unit = said
    gold, gold_unit = wanted
    if unit == gold_unit:
        return 1.0 if number == gold else 0.0
    if not unit:
        return 0.5 if number == gold else 0.0
    if unit in METRES and gold_unit in METRES:
        return 1.0 if number * METRES[unit] == gold * METRES[gold_unit] else 0.0
    return 0.0


def read(text):
    """(number, unit) of a text that is one length and nothing else."""
    found = re.fullmatch(LENGTH, text)
    if not found:
        return None
    unit = found[2].lower()
    return Fraction(found[1].replace(",", "")), NAMES.get(unit.removesuffix("s"), unit)
