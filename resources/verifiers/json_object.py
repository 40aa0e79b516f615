"""A JSON object

Right where the completion (or its last block between ``` fences) is a JSON object with the same fields and values as the answer. Some of
the fields get their share, as long as none is made up.
"""

import json
import re

DEEPEST = 500  # brackets in all: nested deeper than the interpreter goes, they would end it
FENCED = r"```(?:json)?[ \t]*\n(.*?)```"


def verify(prompt, completion, answer):
    """The share of fields that are right; 0 for what is no object, or has a field too many."""
    gold = answer if isinstance(answer, dict) else read(answer)
    if not isinstance(gold, dict) or not gold:
        raise ValueError(f"the answer is no JSON object with a field: {answer}")
    blocks = re.findall(FENCED, completion, re.DOTALL)
    said = read(blocks[-1] if blocks else completion)
    if not isinstance(said, dict) or set(said) - set(gold):
        return 0.0
    right = sum(name in said and same(said[name], value) for name, value in gold.items())
    return right / len(gold)


def same(one, other):
    """Equal, and of the same kind: 1 is 1.0, and neither True nor "1"."""
    return json.dumps(plain(one), sort_keys=True) == json.dumps(plain(other), sort_keys=True)


def plain(value):
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def read(text):
    """What a text is as JSON, None where it is none."""
    if not isinstance(text, str) or text.count("[") + text.count("{") > DEEPEST:
        return None
    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        return None


def refuse(name):
    raise ValueError(f"{name} is no JSON")
