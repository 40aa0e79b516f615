"""A recipe in Python: sums that the program works out itself, explained by a model, kept only where the model's result is right.

Copy it, change it, choose the copy. Fledge shows the text and asks whether you trust it before it runs, and asks again after any change: it
runs with your rights.
"""

import random
import re

ID, TITLE = "arithmetic", "Sums, explained"
SENTENCE = "Sums whose result is known, explained by a model; wrong results are set aside."
NEEDS = []              # of: documents, seeds, topics, language
RUBRIC = "Every step is right. A child can follow it. The result stands at the end."


def rows(inputs):
    """`inputs` has documents, seeds, topics, language, count, seed. What is yielded is asked, one a row; fewer than `count` may come."""
    seen = set()
    while len(seen) < inputs.count:
        a, b, sign = random.randint(2, 999), random.randint(2, 999), random.choice("+-*")
        if (a, b, sign) in seen:
            continue
        seen.add((a, b, sign))
        result = {"+": a + b, "-": a - b, "*": a * b}[sign]
        yield {
            "prompt": f"What is {a} {sign} {b}? Explain how you get there.",
            "system": "Explain step by step. The last line is the result alone.",       # for asking; not part of the example
            "facts": {"answer": str(result), "check": "number"},
        }


def example(row, answer):
    """What becomes of an answer: None leaves the row out; flags set it aside, for a person to look at."""
    numbers = re.findall(r"-?\d+", answer.replace(",", "").replace("−", "-"))
    right = bool(numbers) and numbers[-1] == row["facts"]["answer"]
    return {"answer": answer, "flags": [] if right else ["wrong_result"]}
