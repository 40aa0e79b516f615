"""The last number

Right where the completion ends with the right number: 72, 1,234.50, #### 72, or “The answer is 72 metres.” A number that is mentioned
somewhere and not stood by does not count.
"""

import re
from fractions import Fraction

NUMBER = r"(?<![\w.,])(?<!\d-)-?\d[\d,]*(?:\.\d+)?"
LONGEST_TAIL = 24  # characters that may follow the number: a unit, a full stop, a closing tag


def verify(prompt, completion, answer):
    """1 for the right number at the end, 0 for everything else."""
    if completion.strip() == prompt.strip():  # the question may end with what is asked for
        return 0.0
    found = last_number(completion)
    return 1.0 if found is not None and found == gold(answer) else 0.0


def last_number(text):
    numbers = list(re.finditer(NUMBER, text[-400:]))
    if not numbers or len(text[-400:].rstrip()) - numbers[-1].end() > LONGEST_TAIL:
        return None
    return value(numbers[-1][0])


def gold(answer):
    numbers = re.findall(NUMBER, str(answer).split("####")[-1])
    if len(numbers) != 1:
        raise ValueError(f"the answer is not one number: {answer}")
    return value(numbers[0])


def value(text):
    return Fraction(text.replace(",", "").rstrip("."))
