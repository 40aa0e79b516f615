"""A list in order

Right where the completion (its last line, or what stands in <answer> tags) is the right list: the same items in the same order. The same
items in another order get up to half, by how many stand where they belong.
"""

import re

SIGNS = "[]()\"'` ."


def verify(prompt, completion, answer):
    """1 in order, less than 0.5 out of order, 0 where an item is missing or made up."""
    gold = items(str(answer))
    if len(gold) < 2:
        raise ValueError(f"the answer is no list: {answer}")
    tagged = re.findall(r"<answer>([^<>]*)</answer>", completion[-20000:])
    lines = [line for line in completion[-20000:].splitlines() if line.strip()]
    said = items(tagged[-1] if tagged else lines[-1] if lines else "")
    if sorted(said) != sorted(gold):
        return 0.0
    if said == gold:
        return 1.0
    return 0.5 * sum(one == other for one, other in zip(said, gold)) / len(gold)


def items(text):
    """What stands between commas, semicolons, arrows or “and”; numbers with the same value are the same."""
    parts = re.split(r"\s*(?:,|;|->|→|<|\band\b)\s*", text)
    return [plain(part) for part in (part.strip(SIGNS) for part in parts) if part]


def plain(text):
    text = text.casefold()
    if re.fullmatch(r"-?\d+(\.\d+)?", text) and "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
