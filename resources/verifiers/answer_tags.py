"""The answer in tags

Right where <answer>…</answer> stands once, at the end, with the right answer in it. Case, blanks and quotes do not matter, and 48.0 is 48.
"""

import re
from fractions import Fraction


def verify(prompt, completion, answer):
    """1 for the right answer in its tags, 0 for everything else."""
    if completion.count("<answer>") != 1:
        return 0.0
    found = re.search(r"<answer>([^<>]*)</answer>\s*$", completion)
    return 1.0 if found and same(found[1], str(answer)) else 0.0


def same(said, gold):
    return bool(gold.strip()) and plain(said) == plain(gold)


def plain(text):
    """A number as such, and any other text without what is only form."""
    text = " ".join(text.casefold().split()).strip("\"'“”.")
    if re.fullmatch(r"-?\d[\d,]*(\.\d+)?", text):
        return Fraction(text.replace(",", ""))
    return text
