"""Thinking, then a number

Asks for <think>…</think><answer>…</answer>. The right number in its tags gives 0.8, and thinking written down before it the other 0.2: the
form alone gives nothing, or a model would learn the form and stop there.
"""

import re
from fractions import Fraction

WHOLE = r"\s*<think>([^<>]*)</think>\s*<answer>([^<>]*)</answer>\s*"
ANSWER = r"<answer>([^<>]*)</answer>\s*$"
NUMBER = r"\s*(-?\d[\d,]*(?:\.\d+)?)\s*"


def verify(prompt, completion, answer):
    """A number for each part: their sum is the reward."""
    found = re.search(ANSWER, completion) if completion.count("<answer>") == 1 else None
    said = re.fullmatch(NUMBER, found[1]) if found else None
    if not said or value(said[1]) != gold(answer):
        return {"right": 0.0, "thinking": 0.0}
    whole = re.fullmatch(WHOLE, completion)
    return {"right": 0.8, "thinking": 0.2 if whole and len(whole[1].split()) >= 3 else 0.0}


def gold(answer):
    found = re.fullmatch(NUMBER, str(answer).split("####")[-1])
    if not found:
        raise ValueError(f"the answer is not one number: {answer}")
    return value(found[1])


def value(text):
    return Fraction(text.replace(",", ""))
