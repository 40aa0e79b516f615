"""Multiple choice

Right where the completion chooses the right letter, and only that: B, (B), B) Paris, “The answer is B.”, or <answer>B</answer>. A text that
mentions several letters chooses none.
"""

import re

LETTER = r"\s*[(\[*]*([A-J])(?:[)\].:*]+(?:\s[^\n]*)?|\s*)"
SAID = r"(?i:\banswer\s*(?:is|:)\s*)[(\[*\"'“]*([A-J])\b[)\]*\"'”.]*\s*$"
TAGS = "<answer>([^<>]*)</answer>"


def verify(prompt, completion, answer):
    """1 for the right letter, 0 for everything else."""
    gold = letter(str(answer))
    if not gold:
        raise ValueError(f"the answer begins with no letter of a choice: {answer}")
    tagged = re.findall(TAGS, completion[-2000:])
    if tagged:
        said = letter(tagged[-1])
    else:
        found = re.search(SAID, completion[-2000:])
        said = found[1] if found else letter(completion.strip())
    return 1.0 if said == gold else 0.0


def letter(text):
    """The letter that a short text is or begins with, "" for none."""
    found = re.fullmatch(LETTER, text) if len(text) < 200 else None
    return found[1] if found else ""
