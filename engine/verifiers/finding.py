"""Finds the answer in what a model wrote: a block between fences, tags, a box, the last number. Every search takes time in proportion to
the text, whatever the text is: nothing here can be made to hang.
"""

import re
from collections.abc import Sequence
from fractions import Fraction

LOOKED_AT = 100_000
"""Characters from the end: an answer that comes before them is none."""
NUMBER = re.compile(r"[-+\u2212]?[$€£]?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d{1,3}(?!\d))?(?:/\d+)?%?")
LAST = 50
"""Numbers from the end that are tried: one of them is one, or none is."""
PLAIN = re.compile(r"([-+])?(\d{0,400})(?:\.(\d{0,400}))?(?:[eE]([-+]?\d{1,3}))?(?:/(\d{1,400}))?")
SAID = ("the answer is", "the final answer is", "answer:", "answer is", "final answer:")
MARK = "####"


def fenced(text: str, languages: Sequence[str]) -> list[str]:
    """The blocks between ``` lines that name one of the languages ("" for none), as they stand. An open one goes to the end."""
    found: list[str] = []
    block: list[str] | None = None
    taken = False
    for line in text.splitlines():
        if line.lstrip(" ").startswith("```"):
            if block is None:
                block, taken = [], line.strip("` \t").lower() in languages
                continue
            if taken:
                found.append("\n".join(block))
            block = None
        elif block is not None:
            block.append(line)
    if block is not None and taken:
        found.append("\n".join(block))
    return found


def tagged(text: str, tag: str) -> str | None:
    """What stands between the last <tag> and the </tag> after it."""
    start = text.rfind(f"<{tag}>")
    if start < 0:
        return None
    end = text.find(f"</{tag}>", start)
    return None if end < 0 else text[start + len(tag) + 2:end].strip()


def boxed(text: str) -> str | None:
    r"""What stands in the last \boxed{...}, braces in it counted."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth = 0
    for place in range(start + 6, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start + 7:place].strip()
    return None


def final_answer(text: str) -> str | None:
    """What a completion gives as its answer, by the first of these that is there: the last <answer>, box, #### line, "the answer is …"."""
    text = text[-LOOKED_AT:]
    for found in (tagged(text, "answer"), boxed(text)):
        if found is not None:
            inner = boxed(found)
            return found if inner is None else inner
    place = text.rfind(MARK)
    if place >= 0:
        return text[place + len(MARK):].strip().partition("\n")[0].strip()
    lowered = text.lower()
    if len(lowered) != len(text):       # some letters are longer in lower case
        return None
    place, said = max((lowered.rfind(said), said) for said in SAID)
    if place < 0:
        return None
    rest = text[place + len(said):].strip().partition("\n")[0].strip()
    return rest.removesuffix(".").strip() or None


def number_of(text: str) -> Fraction | None:
    """A text that is one number and nothing else: 1,234.5  -3/4  2e3  $18  50%  − 7. Exact, and no larger than people write."""
    plain = text.strip().strip("$€£*\\ ").replace("\u2212", "-")
    plain = re.sub(r"[$€£]", "", plain.removesuffix("%").removesuffix("\\").rstrip()[:1000])
    if re.fullmatch(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d*)?", plain):
        plain = plain.replace(",", "")
    found = PLAIN.fullmatch(plain.replace("- ", "-", 1).removesuffix("."))
    if not found or not (found[2] or found[3]):
        return None
    sign, whole, part, exponent, under = found.groups()
    value = Fraction(int((whole or "0") + (part or "")), 10 ** len(part or ""))
    value *= Fraction(10 ** abs(int(exponent or 0))) ** (1 if int(exponent or 0) >= 0 else -1)
    if under is not None:
        if int(under) == 0:
            return None
        value /= int(under)
    return -value if sign == "-" else value


def last_number(text: str) -> Fraction | None:
    """The last number that stands in a text."""
    for match in reversed(list(NUMBER.finditer(text[-LOOKED_AT:]))[-LAST:]):
        before = match.string[match.start() - 1:match.start()]
        said = match[0]
        if before and (before.isalnum() or before in ")]") and said[0] in "-+\u2212":    # 7-3: the sign is none of the number
            said = said[1:]
        if (value := number_of(said)) is not None:
            return value
    return None
